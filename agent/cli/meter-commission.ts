import { type MeterProfile, registersOf } from '../../config/meters/profile.ts';
import { meterProfile } from '../../config/meters/profiles.ts';
import { parsePower } from '../../config/quantity.ts';
import type { MeterReading } from '../../drivers/load-driver.ts';
import type { MeterFinding } from '../../drivers/meter/commission.ts';
import { judgeKnownLoad, judgeReadings, judgeWordOrder } from '../../drivers/meter/commission.ts';
import type { MeterConfig } from '../../drivers/modbus-meter.ts';
import { openMeter } from '../../drivers/modbus-meter.ts';
import { systemClock } from '../../protocols/clock.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import type { Context } from './context.ts';
import { deviceFailure, limited, usage } from './device-commands.ts';
import { EXIT, type Outcome } from './outcome.ts';

/** Reads at 10 Hz for this long: enough to see how often the meter makes new values. */
const WATCH_MS = 5000;
const WATCH_PACE_MS = 100;
/** How long a person has to switch the known load on. */
const KNOWN_LOAD_MS = 60_000;
const KNOWN_LOAD_PACE_MS = 500;
const RESPONSE_TIMEOUT_MS = 1000;

/**
 * `meter ... --commission [--known-load POWER]`: word order by frequency, figures against each other and against
 * the configured transformers, direction, refresh; with a known load its sign and scale. Reads only.
 */
export async function commissionMeter(
  context: Context,
  meter: MeterConfig,
  knownLoad: string | undefined,
): Promise<Outcome> {
  const known = knownLoad === undefined ? null : parsePower(knownLoad);
  if (known !== null && !known.ok) return usage(`--known-load: ${known.message}.`);
  const profile = typeof meter.profile === 'string' ? meterProfile(meter.profile) : meter.profile;
  if (profile === null) return usage(`there is no profile "${String(meter.profile)}".`);
  const buses = new BusPool({ clock: systemClock, random: Math.random });
  const driver = openMeter(meter, { clock: systemClock, buses });
  try {
    const first = await driver.read(limited(context, context.flags.timeoutMs));
    if (!first.ok) return deviceFailure(context, meter.id, first.error);
    const readings: MeterReading[] = [first.value];
    const watch = async (forMs: number, paceMs: number): Promise<MeterReading[]> => {
      const found: MeterReading[] = [];
      const endAt = systemClock.monotonicMs() + forMs;
      while (systemClock.monotonicMs() < endAt && !context.signal.aborted) {
        const reading = await driver.read(limited(context, context.flags.timeoutMs));
        if (reading.ok) found.push(reading.value);
        await systemClock.sleep(paceMs, context.signal);
      }
      return found;
    };
    readings.push(...(await watch(WATCH_MS, WATCH_PACE_MS)));
    const ratings = { nominalVolts: meter.nominalVolts ?? null, ratedAmps: meter.ratedAmps ?? null };
    const findings: MeterFinding[] = [
      await wordOrder(buses, meter, profile, context),
      ...judgeReadings(readings, ratings),
    ];
    if (known?.ok) {
      context.streams.err(`Switch the load on now: ${KNOWN_LOAD_MS / 1000} s.\n`);
      const during = await watch(KNOWN_LOAD_MS, KNOWN_LOAD_PACE_MS);
      const watts = during.flatMap(({ powerWatts }) => (powerWatts === null ? [] : [powerWatts]));
      findings.push(judgeKnownLoad(watts, known.value));
    }
    if (context.signal.aborted) return { exit: EXIT.interrupted };
    const failed = findings.filter(({ result }) => result === 'fail' || result === 'warn');
    return {
      exit: failed.length === 0 ? EXIT.ok : EXIT.problems,
      data: { kind: 'meter-commissioning', meter: meter.id, profile: profile.id, at: Date.now(), findings },
      text: findings
        .map(({ check, result, evidence }) => `  ${result.padEnd(8)} ${check.padEnd(11)} ${evidence}`)
        .join('\n'),
      problems: failed.map(({ check, evidence, nextStep }) => ({
        code: check,
        message: evidence,
        ...(nextStep === null ? {} : { hint: nextStep }),
      })),
    };
  } finally {
    await driver[Symbol.asyncDispose]();
    await buses[Symbol.asyncDispose]();
  }
}

async function wordOrder(
  buses: BusPool,
  meter: MeterConfig,
  profile: MeterProfile,
  context: Context,
): Promise<MeterFinding> {
  const frequency = profile.points.find((point) => point.name === 'frequency');
  if (frequency === undefined || profile.sunspec !== undefined)
    return judgeWordOrder(profile, frequency, null);
  const lease = buses.lease(meter.transport, { responseTimeoutMs: RESPONSE_TIMEOUT_MS });
  const reply = await lease.bus.exchange(
    meter.transport.unit,
    {
      kind: 'read',
      functionCode: frequency.functionCode ?? profile.functionCode,
      address: frequency.address,
      count: registersOf(frequency),
    },
    systemClock.monotonicMs() + context.flags.timeoutMs,
    context.signal,
  );
  await lease[Symbol.asyncDispose]();
  return judgeWordOrder(profile, frequency, reply.ok ? reply.value.words : null);
}
