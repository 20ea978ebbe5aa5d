import { readFileSync } from 'node:fs';
import { expandHosts } from '../../config/hosts.ts';
import type { MeterProfile } from '../../config/meters/profile.ts';
import { isProfileFile, parseProfile } from '../../config/meters/profile-file.ts';
import { meterProfile, meterProfiles } from '../../config/meters/profiles.ts';
import { nearest } from '../../config/problem.ts';
import type { MeterReading } from '../../drivers/load-driver.ts';
import type { MeterConfig } from '../../drivers/modbus-meter.ts';
import { openMeter } from '../../drivers/modbus-meter.ts';
import { systemClock } from '../../protocols/clock.ts';
import { openBus } from '../../protocols/modbus/bus.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { tcpPath } from '../../protocols/modbus/connect.ts';
import { poke } from '../../protocols/modbus/values.ts';
import { meterOptions } from '../drivers.ts';
import { type Context, needConfig, problemsOf } from './context.ts';
import { deviceFailure, limited, type Options, usage } from './device-commands.ts';
import { commissionMeter } from './meter-commission.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { renderMeter } from './render-device.ts';

/** `meter NAME` or `meter --profile ...`: read one meter now. */
export async function meterCommand(
  context: Context,
  name: string | undefined,
  options: Options,
): Promise<Outcome> {
  const found = meterOf(context, name, options);
  if ('exit' in found) return found;
  if (options['commission'] === true)
    return commissionMeter(context, found, options['knownLoad'] as string | undefined);
  const buses = new BusPool({ clock: systemClock, random: Math.random });
  const driver = openMeter(found, {
    clock: systemClock,
    buses,
    ...(options['raw'] === true
      ? {
          onBytes: (direction: string, bytes: Uint8Array) =>
            context.streams.err(
              `${direction} ${Buffer.from(bytes).toString('hex').replace(/(..)/g, '$1 ')}\n`,
            ),
        }
      : {}),
  });
  try {
    for (;;) {
      const reading = await driver.read(limited(context, context.flags.timeoutMs));
      if (!reading.ok) return deviceFailure(context, found.id, reading.error);
      const data = meterData(reading.value);
      const outcome: Outcome = {
        exit: data.quality === 'good' || data.quality === 'estimated' ? EXIT.ok : EXIT.problems,
        data,
        text: renderMeter(data),
      };
      if (options['repeat'] === undefined) return outcome;
      context.streams.out(context.flags.json ? `${JSON.stringify(data)}\n` : `${outcome.text}\n`);
      await systemClock.sleep(1000, context.signal);
      if (context.signal.aborted) return { exit: EXIT.interrupted };
    }
  } finally {
    await driver[Symbol.asyncDispose]();
  }
}

function meterData(reading: MeterReading) {
  const { sampledAt: _sampled, requestedAt: _requested, roundTripMs, uncertaintyMs, ...rest } = reading;
  const tenths = (milliseconds: number) => Math.round(milliseconds * 10) / 10;
  return { ...rest, roundTripMs: tenths(roundTripMs), uncertaintyMs: tenths(uncertaintyMs) };
}

function meterOf(context: Context, name: string | undefined, options: Options): MeterConfig | Outcome {
  if (name !== undefined) {
    const need = needConfig(context);
    if ('outcome' in need) return need.outcome;
    const meter = need.loaded.config.meters.find((candidate) => candidate.id === name);
    if (meter !== undefined) return meterOptions(meter, need.loaded.profiles);
    const near = nearest(
      name,
      need.loaded.config.meters.map((candidate) => candidate.id),
    );
    return usage(
      `there is no meter "${name}" in the configuration.`,
      near === null ? undefined : `Did you mean "${near}"?`,
    );
  }
  const named = profileOf(String(options['profile'] ?? ''));
  if ('exit' in named) return named;
  const { profile } = named;
  const kind = String(options['transport'] ?? 'modbus-tcp');
  const unit = Number(options['unit'] ?? 1);
  if (kind === 'rtu') {
    if (typeof options['device'] !== 'string')
      return usage('--transport rtu needs --device, for example /dev/ttyUSB0.');
    return {
      id: 'meter',
      profile,
      transport: {
        kind,
        device: options['device'],
        baud: Number(options['baud'] ?? 9600),
        parity: (options['parity'] as 'none' | undefined) ?? 'none',
        stopBits: 1,
        unit,
      },
    };
  }
  if (kind !== 'modbus-tcp' && kind !== 'rtu-over-tcp')
    return usage(`"${kind}" is no transport.`, 'Known: modbus-tcp, rtu-over-tcp, rtu.');
  if (typeof options['host'] !== 'string') return usage('--host is missing.');
  return {
    id: 'meter',
    profile,
    transport: { kind, host: options['host'], port: Number(options['port'] ?? 502), unit },
  };
}

/** A register map by its name, or from a file that is checked first. */
function profileOf(name: string): { readonly profile: string | MeterProfile } | Outcome {
  if (isProfileFile(name)) {
    try {
      const parsed = parseProfile(name, readFileSync(name, 'utf8'));
      if (parsed.ok) return { profile: parsed.value };
      return { exit: EXIT.configuration, problems: problemsOf(parsed.problems) };
    } catch (error) {
      return usage(`${name} cannot be read: ${(error as Error).message}.`);
    }
  }
  if (meterProfile(name) !== null) return { profile: name };
  const near = nearest(name, meterProfiles().keys());
  return usage(
    name === '' ? 'name a meter of the configuration, or --profile.' : `there is no profile "${name}".`,
    near === null ? `Known: ${[...meterProfiles().keys()].join(', ')}.` : `Did you mean "${near}"?`,
  );
}

const REGISTER_TYPES = ['u16', 'i16', 'u32', 'i32', 'f32', 'u64', 'i64', 'f64'] as const;

/** `modbus read HOST[:PORT] UNIT ADDRESS COUNT`: registers as they are, every word order side by side. */
export async function modbusReadCommand(
  context: Context,
  args: { host: string; unit: string; address: string; count: string; input?: boolean; as?: string },
): Promise<Outcome> {
  const expanded = expandHosts(args.host);
  if (!expanded.ok) return usage(`${expanded.message}.`);
  const { host, port } = expanded.hosts[0]!;
  const [unit, address, count] = [Number(args.unit), Number(args.address), Number(args.count)];
  if (!Number.isInteger(unit) || unit < 0 || unit > 255) return usage('UNIT is a number from 0 to 255.');
  if (!Number.isInteger(address) || address < 0 || address > 65_535)
    return usage('ADDRESS is the wire address, 0 to 65535 (0x.. is fine).');
  if (!Number.isInteger(count) || count < 1 || count > 125) return usage('COUNT is 1 to 125 registers.');
  const types = REGISTER_TYPES.filter((type) =>
    args.as === undefined ? ['u16', 'i16', 'u32', 'f32'].includes(type) : type === args.as,
  );
  if (types.length === 0) return usage(`"${args.as}" is no type.`, `Known: ${REGISTER_TYPES.join(', ')}.`);
  const bus = openBus(
    {
      framing: 'mbap',
      name: `${host}:${port ?? 502}`,
      connect: tcpPath(host, port ?? 502, context.flags.timeoutMs, systemClock),
      responseTimeoutMs: context.flags.timeoutMs,
    },
    { clock: systemClock, random: Math.random },
  );
  try {
    const reply = await bus.exchange(
      unit,
      { kind: 'read', functionCode: args.input === true ? 4 : 3, address, count },
      systemClock.monotonicMs() + context.flags.timeoutMs,
      context.signal,
    );
    if (!reply.ok) return deviceFailure(context, `${host}:${port ?? 502}`, reply.error);
    const { words } = reply.value;
    const rows = types.flatMap((type) => poke(address, words, type).map((row) => ({ type, ...row })));
    const text = [
      `registers ${address} to ${address + count - 1} of unit ${unit}: ${words.map((word) => word.toString(16).padStart(4, '0')).join(' ')}`,
      ...rows.map(
        (row) =>
          `${String(row.address).padStart(6)} ${row.type.padEnd(4)} ${Object.entries(row.values)
            .map(([order, value]) => `${order}=${value ?? '-'}`)
            .join('  ')}`,
      ),
    ].join('\n');
    return { exit: EXIT.ok, data: { kind: 'registers', unit, address, words, readings: rows }, text };
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}
