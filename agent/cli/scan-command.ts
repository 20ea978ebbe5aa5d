import { readFileSync, writeFileSync } from 'node:fs';
import type { HostAddress } from '../../config/hosts.ts';
import { openGpuNode } from '../../drivers/gpu/gpu-node.ts';
import { openMiner } from '../../drivers/miners/registry.ts';
import { systemClock } from '../../protocols/clock.ts';
import { openBus } from '../../protocols/modbus/bus.ts';
import { tcpPath } from '../../protocols/modbus/connect.ts';
import type { Context } from './context.ts';
import { EXIT, type Outcome } from './outcome.ts';
import { progressLine, scanTargets } from './scan-targets.ts';
import { renderTable } from './table.ts';

/** Ports that say what a host is: miner API, Modbus, DCGM exporter. */
const PORTS = { miner: 4028, modbus: 502, dcgm: 9400 } as const;
const HOSTS_AT_ONCE = 128;
const CONNECT_LIMIT_MS = 1500;
const TELL_MS = 200;

interface Unknown {
  readonly address: string;
  readonly open: readonly number[];
  readonly note: string;
}

type Found = Readonly<Record<string, unknown>> & { readonly kind: string; readonly address: string };

/** `scan RANGE... [--ip-file F] [--rate N]`: finds miners, meters and GPU nodes. Opens and reads, never writes. */
export async function scanCommand(
  context: Context,
  ranges: readonly string[],
  options: { ipFile?: string; rate: string; save?: string },
): Promise<Outcome> {
  const words = [
    ...ranges,
    ...(options.ipFile === undefined ? [] : readFileSync(options.ipFile, 'utf8').split(/[\s,]+/)),
  ].filter((word) => word !== '' && !word.startsWith('#'));
  if (words.length === 0)
    return {
      exit: EXIT.usage,
      problems: [{ code: 'usage', message: 'name what to scan, for example 10.1.0.0/24.' }],
    };
  const targets = scanTargets(words);
  if (!targets.ok) return { exit: EXIT.usage, problems: [{ code: 'usage', message: targets.message }] };
  const { hosts } = targets;
  const rate = Number(options.rate.replace(/\/s$/, ''));
  if (!(rate > 0))
    return {
      exit: EXIT.usage,
      problems: [{ code: 'usage', message: '--rate is hosts per second, for example 200/s.' }],
    };
  const startedAt = performance.now();
  const found: Found[] = [];
  const unknown: Unknown[] = [];
  let next = 0;
  let scanned = 0;
  let toldAt = 0;
  // On a terminal one line that moves; into a file a line now and then.
  const tell = (): void => {
    if (context.flags.quiet) return;
    const elapsedMs = performance.now() - startedAt;
    const line = progressLine(scanned, hosts.length, found.length, elapsedMs);
    if (context.streams.isTerminal !== true) {
      if (scanned % 256 === 0) context.streams.err(`${line}\n`);
    } else if (elapsedMs - toldAt >= TELL_MS || scanned === hosts.length) {
      toldAt = elapsedMs;
      context.streams.err(`\r${line}\u001b[K${scanned === hosts.length ? '\n' : ''}`);
    }
  };
  const worker = async (): Promise<void> => {
    for (;;) {
      const index = next;
      next += 1;
      const host = hosts[index];
      if (host === undefined || context.signal.aborted) return;
      await systemClock.sleep(
        Math.max(0, (index / rate) * 1000 - (performance.now() - startedAt)),
        context.signal,
      );
      const result = await scanHost(context, host);
      scanned += 1;
      found.push(...result.found);
      if (result.unknown !== null) unknown.push(result.unknown);
      tell();
    }
  };
  await Promise.all(Array.from({ length: Math.min(HOSTS_AT_ONCE, hosts.length) }, worker));
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10;
  const order = new Map(hosts.map(({ host }, index) => [host, index]));
  found.sort(
    (a, b) =>
      (order.get(a.address.replace(/:\d+$/, '')) ?? 0) - (order.get(b.address.replace(/:\d+$/, '')) ?? 0),
  );
  const data = { scanned, seconds, found, unknown };
  if (options.save !== undefined) writeFileSync(options.save, `${JSON.stringify(data, null, 2)}\n`);
  const table =
    found.length === 0
      ? 'Nothing was found.'
      : renderTable(
          ['address', 'kind', 'model', 'firmware', 'state', 'W'],
          found.map((row) => [
            row.address,
            row.kind,
            String(row['model'] ?? '-'),
            String(row['firmware'] ?? row['source'] ?? '-'),
            String(row['state'] ?? '-'),
            String(row['powerWatts'] ?? '-'),
          ]),
        );
  return {
    exit: context.signal.aborted
      ? EXIT.interrupted
      : found.length + unknown.length === 0
        ? EXIT.unanswered
        : EXIT.ok,
    data,
    text: [
      table,
      ...unknown.map((row) => `${row.address}: open ${row.open.join(', ')}; ${row.note}`),
      `${scanned} addresses in ${seconds} s.`,
    ].join('\n'),
  };
}

async function scanHost(
  context: Context,
  address: HostAddress,
): Promise<{ found: Found[]; unknown: Unknown | null }> {
  const { host } = address;
  const ports = address.port === null ? Object.values(PORTS) : [address.port];
  const open: number[] = [];
  for (const { port, opened } of await Promise.all(
    ports.map(async (port) => ({ port, opened: await isOpen(host, port, context.signal) })),
  ))
    if (opened) open.push(port);
  if (open.length === 0) return { found: [], unknown: null };
  const found: Found[] = [];
  const notes: string[] = [];
  for (const port of open) {
    if (port === PORTS.modbus) notes.push(await modbusNote(host, port, context));
    else if (port === PORTS.dcgm) {
      const node = await readDcgm(host, port, context);
      if (node !== null) found.push(node);
    } else {
      const miner = await readMiner(host, port, context);
      if ('kind' in miner) found.push(miner);
      else notes.push(miner.note);
    }
  }
  return {
    found,
    unknown:
      found.length > 0 && notes.length === 0
        ? null
        : notes.length === 0
          ? { address: host, open, note: 'open, and nothing that is known' }
          : { address: host, open, note: notes.join('; ') },
  };
}

async function isOpen(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  const path = await tcpPath(host, port, CONNECT_LIMIT_MS, systemClock)(signal);
  if (path.ok) path.value.destroy();
  return path.ok;
}

async function readMiner(host: string, port: number, context: Context): Promise<Found | { note: string }> {
  const driver = openMiner(
    { deviceId: 'scan', host, port, webPort: 80, user: null, password: null, model: null },
    'auto',
    { clock: systemClock, random: Math.random },
  );
  const signal = AbortSignal.any([
    context.signal,
    AbortSignal.timeout(Math.max(context.flags.timeoutMs, 10_000)),
  ]);
  try {
    const identity = await driver.identify(signal);
    if (!identity.ok) return { note: identity.error.message };
    const reading = await driver.read(signal);
    const { vendor, model, firmware, firmwareVersion, macAddress, serialNumber } = identity.value;
    const base = {
      kind: 'miner',
      address: `${host}:${port}`,
      vendor,
      model,
      firmware,
      firmwareVersion,
      macAddress,
      serialNumber,
    };
    if (!reading.ok || reading.value.kind !== 'miner') return { ...base, state: 'unknown', powerWatts: null };
    const { state, hashrateThs, powerWatts, powerSource } = reading.value;
    return { ...base, state, hashrateThs, powerWatts, powerSource };
  } finally {
    await driver[Symbol.asyncDispose]();
  }
}

async function readDcgm(host: string, port: number, context: Context): Promise<Found | null> {
  const url = `http://${host}:${port}/metrics`;
  const driver = openGpuNode(
    { id: 'scan', reader: { kind: 'dcgm', url }, cap: { kind: 'none' }, nameplateWatts: 0 },
    { clock: systemClock },
  );
  try {
    const reading = await driver.read(
      AbortSignal.any([context.signal, AbortSignal.timeout(context.flags.timeoutMs)]),
    );
    if (!reading.ok || reading.value.kind !== 'gpu-node') return null;
    return {
      kind: 'gpu-node',
      address: `${host}:${port}`,
      url,
      source: 'dcgm',
      model: reading.value.gpus[0]?.name ?? null,
      gpus: reading.value.gpus.length,
      powerWatts: reading.value.powerWatts,
    };
  } finally {
    await driver[Symbol.asyncDispose]();
  }
}

/** Any Modbus answer, an exception too, shows that a meter or gateway is there; which one no register tells for all. */
async function modbusNote(host: string, port: number, context: Context): Promise<string> {
  const bus = openBus(
    {
      name: `${host}:${port}`,
      framing: 'mbap',
      connect: tcpPath(host, port, CONNECT_LIMIT_MS, systemClock),
      responseTimeoutMs: 1500,
    },
    { clock: systemClock, random: Math.random },
  );
  try {
    const reply = await bus.exchange(
      1,
      { kind: 'read', functionCode: 3, address: 0, count: 1 },
      systemClock.monotonicMs() + 3000,
      context.signal,
    );
    const answers = reply.ok || reply.error.exceptionCode !== null;
    return answers
      ? 'Modbus TCP answers as unit 1: name its profile with `switchyard meter --profile ID --host HOST`'
      : 'port 502 is open, and unit 1 does not answer';
  } finally {
    await bus[Symbol.asyncDispose]();
  }
}
