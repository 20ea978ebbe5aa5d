import type { MeterPoint, MeterProfile } from '../../config/meters/profile.ts';
import type { WordOrder } from '../../protocols/modbus/values.ts';
import { WORD_ORDERS } from '../../protocols/modbus/values.ts';
import type { Watts } from '../../protocols/units.ts';
import type { MeterReading } from '../load-driver.ts';
import { decodePoint } from './decode.ts';
import type { MeterRatings } from './quality.ts';

/** One check of a meter before it is trusted with control. Pure: whoever reads the meter brings the readings. */
export interface MeterFinding {
  readonly check: 'word-order' | 'figures' | 'voltage' | 'current' | 'direction' | 'refresh' | 'known-load';
  readonly result: 'ok' | 'warn' | 'fail' | 'skipped';
  /** What was seen, one sentence. */
  readonly evidence: string;
  readonly nextStep: string | null;
}

/** The word orders in which the registers of the frequency show a grid frequency, 45 to 65 Hz. */
export function plausibleOrders(
  profile: MeterProfile,
  frequency: MeterPoint,
  words: readonly number[],
): WordOrder[] {
  return WORD_ORDERS.filter((wordOrder) => {
    const { value } = decodePoint({ ...profile, wordOrder }, frequency, words, {}, null);
    return typeof value === 'number' && value >= 45 && value <= 65;
  });
}

/** Judges the word order by the frequency. `words`: its registers, `null` where the map or the meter has none. */
export function judgeWordOrder(
  profile: MeterProfile,
  frequency: MeterPoint | undefined,
  words: readonly number[] | null,
): MeterFinding {
  const finding = (result: MeterFinding['result'], evidence: string, nextStep: string | null = null) =>
    ({ check: 'word-order', result, evidence, nextStep }) as const;
  if (profile.sunspec !== undefined) return finding('skipped', 'SunSpec fixes the order of words');
  if (frequency === undefined || words === null)
    return finding('skipped', `${profile.id} gives no frequency to tell the order by`);
  const hex = words.map((word) => word.toString(16).padStart(4, '0')).join(' ');
  const orders = plausibleOrders(profile, frequency, words);
  if (orders.includes(profile.wordOrder)) {
    return finding(
      'ok',
      `registers ${hex} at ${frequency.address} are a frequency in the order ${profile.wordOrder}`,
    );
  }
  if (orders.length === 0) {
    return finding(
      'fail',
      `registers ${hex} at ${frequency.address} are no frequency in any order`,
      'The profile is of another meter, or its addresses are off by one: compare with `switchyard modbus read`.',
    );
  }
  return finding(
    'fail',
    `registers ${hex} at ${frequency.address} are a frequency in the order ${orders.join(' or ')}, the profile says ${profile.wordOrder}`,
    `Take a profile with \`wordOrder: ${orders[0]}\`.`,
  );
}

/** Everything that a few readings in a row say about wiring, transformers and pace. */
export function judgeReadings(readings: readonly MeterReading[], ratings: MeterRatings): MeterFinding[] {
  const last = readings.at(-1);
  if (last === undefined) return [];
  const doubts = [...new Set(readings.flatMap((reading) => reading.doubts))];
  const figures: MeterFinding =
    doubts.length === 0
      ? {
          check: 'figures',
          result: 'ok',
          evidence: `${readings.length} readings agree with themselves`,
          nextStep: null,
        }
      : {
          check: 'figures',
          result: 'fail',
          evidence: doubts.join('; '),
          nextStep: 'Compare with the display; check profile, current transformers and wiring.',
        };
  return [
    figures,
    judgeVoltage(last, ratings),
    judgeCurrent(last, ratings),
    judgeDirection(last),
    judgeRefresh(last),
  ];
}

function judgeVoltage(reading: MeterReading, { nominalVolts }: MeterRatings): MeterFinding {
  const volts = Object.values(reading.voltageVolts).filter((value): value is number => value !== null);
  const told = volts.length === 0 ? 'no voltage' : `${volts.map((value) => value.toFixed(1)).join(', ')} V`;
  const finding = (result: MeterFinding['result'], evidence: string, nextStep: string | null = null) =>
    ({ check: 'voltage', result, evidence, nextStep }) as const;
  if (nominalVolts === null || volts.length === 0)
    return finding(
      'skipped',
      `${told}; the configuration gives no nominalVolts`,
      'Add `nominalVolts` to the meter.',
    );
  const off = volts.find((value) => value > 10 && Math.abs(value / nominalVolts - 1) > 0.15);
  if (off === undefined) return finding('ok', `${told} at a nominal ${nominalVolts} V`);
  return finding(
    'fail',
    `${told} at a nominal ${nominalVolts} V: a factor of ${(off / nominalVolts).toFixed(2)}`,
    'Check the voltage transformer ratio in the meter, and whether nominalVolts is line to neutral.',
  );
}

function judgeCurrent(reading: MeterReading, { ratedAmps }: MeterRatings): MeterFinding {
  const amps = Object.values(reading.currentAmps).filter((value): value is number => value !== null);
  const told = amps.length === 0 ? 'no current' : `${amps.map((value) => value.toFixed(1)).join(', ')} A`;
  const finding = (result: MeterFinding['result'], evidence: string, nextStep: string | null = null) =>
    ({ check: 'current', result, evidence, nextStep }) as const;
  if (ratedAmps === null || amps.length === 0)
    return finding(
      'skipped',
      `${told}; the configuration gives no ratedAmps`,
      'Add `ratedAmps` to the meter.',
    );
  const most = Math.max(...amps.map(Math.abs));
  if (most > 1.2 * ratedAmps)
    return finding(
      'fail',
      `${told} through transformers of ${ratedAmps} A`,
      'The current transformer ratio in the meter is too high, or ratedAmps is wrong.',
    );
  if (most < 0.01 * ratedAmps)
    return finding(
      'warn',
      `${told} through transformers of ${ratedAmps} A: too little to judge`,
      'Commission it again under load.',
    );
  return finding('ok', `${told} through transformers of ${ratedAmps} A`);
}

function judgeDirection(reading: MeterReading): MeterFinding {
  const { powerWatts } = reading;
  if (powerWatts === null)
    return { check: 'direction', result: 'fail', evidence: 'no total power', nextStep: 'Check the profile.' };
  const told = `${Math.round(powerWatts)} W`;
  if (powerWatts >= 0)
    return { check: 'direction', result: 'ok', evidence: `${told}: import`, nextStep: null };
  return {
    check: 'direction',
    result: 'warn',
    evidence: `${told}: export`,
    nextStep: 'Where nothing generates, the current transformers are mounted backwards: `invert: true`.',
  };
}

function judgeRefresh(reading: MeterReading): MeterFinding {
  if (reading.refreshMs === null)
    return {
      check: 'refresh',
      result: 'skipped',
      evidence: 'too few changes to tell how often it makes new values',
      nextStep: null,
    };
  return {
    check: 'refresh',
    result: 'ok',
    evidence: `new values every ${reading.refreshMs} ms, round trip ${reading.roundTripMs.toFixed(1)} ms`,
    nextStep: null,
  };
}

/** A step is judged by the levels this many readings before and after it. */
const LEVEL_READINGS = 3;

/**
 * Sign and scale by a load of `knownWatts` that is switched on while `watts` are read: the greatest lasting step
 * is taken for it.
 */
export function judgeKnownLoad(watts: readonly Watts[], knownWatts: Watts): MeterFinding {
  const finding = (result: MeterFinding['result'], evidence: string, nextStep: string | null = null) =>
    ({ check: 'known-load', result, evidence, nextStep }) as const;
  let step = 0;
  for (let at = LEVEL_READINGS; at + LEVEL_READINGS <= watts.length; at += 1) {
    const change =
      median(watts.slice(at, at + LEVEL_READINGS)) - median(watts.slice(at - LEVEL_READINGS, at));
    if (Math.abs(change) > Math.abs(step)) step = change;
  }
  const ratio = step / knownWatts;
  const told = `a load of ${Math.round(knownWatts)} W moved it by ${Math.round(step)} W`;
  if (Math.abs(ratio) < 0.03)
    return finding(
      'fail',
      `nothing moved by more than ${Math.round(Math.abs(step))} W`,
      'Was the load switched on, and does it hang on this meter?',
    );
  if (Math.abs(ratio - 1) <= 0.1) return finding('ok', told);
  if (Math.abs(ratio + 1) <= 0.1)
    return finding(
      'fail',
      `${told}: the sign is turned`,
      'Set `invert: true`, or turn the current transformers.',
    );
  const hint = ratio < 0 ? ' and the sign is turned' : '';
  return finding(
    'fail',
    `${told}: a factor of ${Math.abs(ratio).toPrecision(2)}${hint}`,
    'Compare the current and voltage transformer ratios set in the meter with those on their plates.',
  );
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}
