import type { MeterPoint, MeterProfile } from '../../config/meters/profile.ts';
import { registersOf } from '../../config/meters/profile.ts';
import { decodeNumber, decodeText, isNotAvailable, lin3, scaled } from '../../protocols/modbus/values.ts';

/** What one point of a meter says, in its own unit. */
export interface PointValue {
  readonly value: number | string | null;
  /** Why there is no value: `null` when there is one. */
  readonly gap: PointGap | null;
}

/**
 * `not-available`: the meter said so. `unscaled`: nobody knows the scale, or the configuration does not give the
 * parameter. `implausible`: a number that no meter measures, as a wrong word order or an address off by one gives.
 */
export type PointGap = 'not-available' | 'unscaled' | 'implausible';

/** Figures that are set in a meter and copied into the configuration, by name. */
export type MeterParameters = Readonly<Record<string, number>>;

/**
 * `words` of `point` to its value. `words` must be as long as the point. `factor` is the value of the SunSpec
 * scale factor that belongs to it, read in the same request, or `null`.
 */
export function decodePoint(
  profile: MeterProfile,
  point: MeterPoint,
  words: readonly number[],
  parameters: MeterParameters,
  factor: number | null,
): PointValue {
  if (words.length !== registersOf(point)) {
    throw new RangeError(`${point.name} is not ${words.length} registers long`);
  }
  const { type } = point;
  if (type === 'str' || type === 'str1') {
    const text = decodeText(type, profile.wordOrder, words);
    return text === null ? gap('not-available') : { value: text, gap: null };
  }
  if (isNotAvailable(profile.notAvailable[type] ?? [], profile.wordOrder, words)) return gap('not-available');
  const raw = decodeNumber(type, profile.wordOrder, words);
  if (raw === null) return gap('not-available');
  if (!isPlausible(raw)) return gap('implausible');
  const value = toUnit(point, raw, parameters, factor);
  return value === null ? gap('unscaled') : { value, gap: null };
}

/** Subnormal and astronomic floats come from words in the wrong order, never from a meter. */
function isPlausible(raw: number): boolean {
  const size = Math.abs(raw);
  return raw === 0 || (size > 1e-12 && size < 1e18);
}

function toUnit(
  point: MeterPoint,
  raw: number,
  parameters: MeterParameters,
  factor: number | null,
): number | null {
  const { scale, encoding } = point;
  if (encoding === 'hz-by-magnitude') return raw > 10_000 ? raw / 1000 : raw / 100;
  if (scale === null) return null;
  if (typeof scale === 'number') {
    const value = scaled(raw, scale);
    return encoding === 'pf-4q' ? fourQuadrants(value) : value;
  }
  if ('parameter' in scale) {
    const parameter = parameters[scale.parameter];
    return parameter === undefined ? null : scaled(raw, parameter);
  }
  if ('lin3' in scale) {
    const low = limitOf(scale.lin3[0], parameters);
    const high = limitOf(scale.lin3[1], parameters);
    if (low === null || high === null || raw > 9999) return null;
    return lin3(raw, low, high);
  }
  // Source: SunSpec Information Model Specification 1.9: scale factors are -10 to 10.
  if (factor === null || !Number.isInteger(factor) || Math.abs(factor) > 10) return null;
  return factor < 0 ? raw / 10 ** -factor : raw * 10 ** factor;
}

function limitOf(limit: number | string, parameters: MeterParameters): number | null {
  if (typeof limit === 'number') return limit;
  const negative = limit.startsWith('-');
  const value = parameters[negative ? limit.slice(1) : limit];
  if (value === undefined) return null;
  return negative ? -value : value;
}

/**
 * Schneider's power factor: beyond 1 it is leading, counted on from 1. Source: Schneider PM5500 and iEM3000
 * register lists, "4Q FP PF".
 */
function fourQuadrants(value: number): number {
  if (value > 1) return 2 - value;
  if (value < -1) return -2 - value;
  return value;
}

function gap(kind: PointGap): PointValue {
  return { value: null, gap: kind };
}
