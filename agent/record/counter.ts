import type { EpochMs, Milliseconds, WattHours, Watts } from '../../protocols/units.ts';

/**
 * Energy of one meter by the minute, from differences of its counters; the integral of its power runs beside them
 * as a cross-check and stands in, marked, where the counter cannot be used. Pure but for what it remembers.
 */

export type EnergyQuality = 'OK' | 'ESTIMATED' | 'MISSING' | 'BAD';

/** One reading of a meter, at the wall time of its sample. `null` = the meter did not say. */
export interface CounterSample {
  readonly ts: EpochMs;
  readonly importWattHours: WattHours | null;
  readonly exportWattHours: WattHours | null;
  readonly powerWatts: Watts | null;
  readonly serialNumber: string | null;
}

/** Energy of one meter over a span. */
export interface MeterEnergy {
  /** Import less export; `null`: not known. */
  readonly wattHours: WattHours | null;
  readonly quality: EnergyQuality;
  /** `register`: counter differences; `integral`: summed up from power. */
  readonly basis: 'register' | 'integral' | null;
  /** The integral of power over the same span, where power was known throughout. */
  readonly integralWattHours: WattHours | null;
  readonly minWatts: Watts | null;
  readonly maxWatts: Watts | null;
  readonly samples: number;
  /** How far the nearest reading is from the begin and the end of the span. */
  readonly beginUncertaintyMs: Milliseconds;
  readonly endUncertaintyMs: Milliseconds;
  /** Net counter at the end of the span, interpolated. */
  readonly endWattHours: WattHours | null;
  readonly flags: readonly EnergyFlag[];
}

export type EnergyFlag =
  | 'counter-reset'
  | 'meter-swap'
  | 'impossible-power'
  | 'counter-frozen'
  | 'integral-differs'
  | 'clock-step';

export interface Minute extends MeterEnergy {
  readonly start: EpochMs;
}

export const MINUTE_MS = 60_000;
/** A boundary that no reading is nearer to than this part of the span makes it an estimate. */
const UNCERTAINTY_SHARE = 0.01;
/** Between readings further apart power says nothing. */
const INTEGRAL_GAP_MS = 15_000;
/** Counter and integral may differ by this part, and by this many steps of a coarse counter. */
const DIFFERENCE_SHARE = 0.05;
const COARSE_WATT_HOURS = 1000;
const MS_PER_HOUR = 3_600_000;

interface Open {
  start: EpochMs;
  wattHours: number;
  unknownMs: number;
  integral: number;
  integralUnknownMs: number;
  estimatedMs: number;
  min: number;
  max: number;
  samples: number;
  beginUncertaintyMs: number;
  flags: Set<EnergyFlag>;
}

/** Follows one meter. `add` gives the minutes that a reading ended, oldest first. */
export class CounterTrack {
  private readonly maximumWatts: Watts;
  private last: CounterSample | null;
  private open: Open | null = null;

  /** `maximumWatts`: more cannot flow here. `last`: the reading that an earlier life ended with. */
  constructor(maximumWatts: Watts, last: CounterSample | null = null) {
    this.maximumWatts = maximumWatts;
    this.last = last;
    if (last !== null) this.open = openMinute(floorMinute(last.ts), last.ts - floorMinute(last.ts));
    if (this.open !== null && last !== null) {
      // What the minute held before the earlier life ended is in that life's record, or nowhere.
      this.open.unknownMs = last.ts - this.open.start;
      this.open.integralUnknownMs = this.open.unknownMs;
    }
  }

  get lastSample(): CounterSample | null {
    return this.last;
  }

  add(sample: CounterSample): Minute[] {
    const { last } = this;
    if (last === null || this.open === null) {
      this.last = sample;
      const start = floorMinute(sample.ts);
      this.open = openMinute(start, sample.ts - start);
      this.open.unknownMs = sample.ts - start;
      this.open.integralUnknownMs = sample.ts - start;
      see(this.open, sample);
      return [];
    }
    if (sample.ts <= last.ts) {
      // The same reading again, or a clock that was set back: its energy comes with the next one.
      if (sample.ts < last.ts - 1000) {
        this.open.flags.add('clock-step');
        this.last = { ...last, ts: Math.max(this.open.start, sample.ts) };
      }
      return [];
    }
    const { wattHours, basis, flags } = this.between(last, sample);
    const closed = this.spread(last, sample, wattHours, basis, flags);
    this.last = sample;
    see(this.open, sample);
    return closed;
  }

  /** Energy between two readings, or `null`. */
  private between(
    from: CounterSample,
    to: CounterSample,
  ): { wattHours: number | null; basis: 'register' | 'integral' | null; flags: EnergyFlag[] } {
    const [before, after] = [netOf(from), netOf(to)];
    const flags: EnergyFlag[] = [];
    const hours = (to.ts - from.ts) / MS_PER_HOUR;
    if (before !== null && after !== null) {
      const difference = after - before;
      const swapped =
        from.serialNumber !== null && to.serialNumber !== null && from.serialNumber !== to.serialNumber;
      if (swapped) flags.push('meter-swap');
      else if (
        (to.importWattHours ?? 0) < (from.importWattHours ?? 0) ||
        (to.exportWattHours ?? 0) < (from.exportWattHours ?? 0)
      )
        flags.push('counter-reset');
      else if (Math.abs(difference) > this.maximumWatts * 1.2 * hours + 2 * COARSE_WATT_HOURS)
        flags.push('impossible-power');
      else return { wattHours: difference, basis: 'register', flags };
    }
    const integral = integralOf(from, to);
    return { wattHours: integral, basis: integral === null ? null : 'integral', flags };
  }

  /** Lays the energy between two readings over the minutes that it touches, evenly. */
  private spread(
    from: CounterSample,
    to: CounterSample,
    wattHours: number | null,
    basis: 'register' | 'integral' | null,
    flags: readonly EnergyFlag[],
  ): Minute[] {
    const closed: Minute[] = [];
    const integral = integralOf(from, to);
    const wholeMs = to.ts - from.ts;
    for (let at = from.ts; at < to.ts; ) {
      const open = this.open!;
      const end = Math.min(to.ts, open.start + MINUTE_MS);
      const partMs = end - at;
      const part = partMs / wholeMs;
      if (wattHours === null) open.unknownMs += partMs;
      else open.wattHours += wattHours * part;
      if (basis === 'integral') open.estimatedMs += partMs;
      if (integral === null) open.integralUnknownMs += partMs;
      else open.integral += integral * part;
      for (const flag of flags) open.flags.add(flag);
      at = end;
      if (end < open.start + MINUTE_MS) break;
      const uncertaintyMs = Math.min(end - from.ts, to.ts - end);
      const [before, after] = [netOf(from), netOf(to)];
      const endWattHours =
        basis === 'register' && before !== null && after !== null
          ? before + ((after - before) * (end - from.ts)) / wholeMs
          : null;
      closed.push(closeMinute(open, uncertaintyMs, endWattHours));
      this.open = openMinute(end, uncertaintyMs);
    }
    return closed;
  }
}

function floorMinute(ts: EpochMs): EpochMs {
  return Math.floor(ts / MINUTE_MS) * MINUTE_MS;
}

function openMinute(start: EpochMs, beginUncertaintyMs: Milliseconds): Open {
  return {
    start,
    wattHours: 0,
    unknownMs: 0,
    integral: 0,
    integralUnknownMs: 0,
    estimatedMs: 0,
    min: Number.POSITIVE_INFINITY,
    max: Number.NEGATIVE_INFINITY,
    samples: 0,
    beginUncertaintyMs,
    flags: new Set(),
  };
}

function see(open: Open, sample: CounterSample): void {
  open.samples += 1;
  if (sample.powerWatts === null) return;
  open.min = Math.min(open.min, sample.powerWatts);
  open.max = Math.max(open.max, sample.powerWatts);
}

function netOf(sample: CounterSample): WattHours | null {
  return sample.importWattHours === null ? null : sample.importWattHours - (sample.exportWattHours ?? 0);
}

/** Trapezium between two readings; `null` where power is not known or they are too far apart. */
function integralOf(from: CounterSample, to: CounterSample): WattHours | null {
  if (from.powerWatts === null || to.powerWatts === null || to.ts - from.ts > INTEGRAL_GAP_MS) return null;
  return (((from.powerWatts + to.powerWatts) / 2) * (to.ts - from.ts)) / MS_PER_HOUR;
}

function closeMinute(open: Open, endUncertaintyMs: Milliseconds, endWattHours: WattHours | null): Minute {
  const missing = open.unknownMs > MINUTE_MS * UNCERTAINTY_SHARE;
  const integral = open.integralUnknownMs > MINUTE_MS * UNCERTAINTY_SHARE ? null : open.integral;
  const basis = missing ? null : open.estimatedMs > 0 ? 'integral' : 'register';
  return {
    start: open.start,
    wattHours: missing ? null : open.wattHours,
    basis,
    integralWattHours: integral,
    minWatts: Number.isFinite(open.min) ? open.min : null,
    maxWatts: Number.isFinite(open.max) ? open.max : null,
    samples: open.samples,
    beginUncertaintyMs: open.beginUncertaintyMs,
    endUncertaintyMs,
    endWattHours,
    flags: [...open.flags],
    quality: qualityOf({
      missing,
      bad: open.flags.has('impossible-power'),
      estimated: basis === 'integral' || open.flags.has('clock-step'),
      uncertaintyMs: Math.max(open.beginUncertaintyMs, endUncertaintyMs),
      lengthMs: MINUTE_MS,
    }),
  };
}

function qualityOf(facts: {
  missing: boolean;
  bad: boolean;
  estimated: boolean;
  uncertaintyMs: Milliseconds;
  lengthMs: Milliseconds;
}): EnergyQuality {
  if (facts.missing) return 'MISSING';
  if (facts.bad) return 'BAD';
  return facts.estimated || facts.uncertaintyMs > facts.lengthMs * UNCERTAINTY_SHARE ? 'ESTIMATED' : 'OK';
}

/**
 * Energy of a span out of its minutes, oldest first. The sum telescopes: what was estimated where a minute was
 * split between two readings is exact for the span, so only its own begin and end count.
 */
export function joinMinutes(minutes: readonly MeterEnergy[], expected: number): MeterEnergy {
  const known = minutes.flatMap((minute) => (minute.wattHours === null ? [] : [minute.wattHours]));
  const missing = minutes.length < expected || known.length < minutes.length;
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const integrals = minutes.flatMap((minute) =>
    minute.integralWattHours === null ? [] : [minute.integralWattHours],
  );
  const integral = missing || integrals.length < minutes.length ? null : sum(integrals);
  const flags = new Set(minutes.flatMap((minute) => minute.flags));
  const basis = missing
    ? null
    : minutes.every((minute) => minute.basis === 'register')
      ? 'register'
      : 'integral';
  const wattHours = missing ? null : sum(known);
  if (wattHours !== null && integral !== null && basis === 'register') {
    const apart = Math.abs(wattHours - integral);
    if (apart > Math.abs(integral) * DIFFERENCE_SHARE + 2 * COARSE_WATT_HOURS) {
      flags.add('integral-differs');
      if (wattHours === 0) flags.add('counter-frozen');
    }
  }
  const least = minutes.flatMap((minute) => (minute.minWatts === null ? [] : [minute.minWatts]));
  const most = minutes.flatMap((minute) => (minute.maxWatts === null ? [] : [minute.maxWatts]));
  const beginUncertaintyMs = minutes[0]?.beginUncertaintyMs ?? 0;
  const endUncertaintyMs = minutes.at(-1)?.endUncertaintyMs ?? 0;
  return {
    wattHours,
    basis,
    integralWattHours: integral,
    minWatts: least.length === 0 ? null : Math.min(...least),
    maxWatts: most.length === 0 ? null : Math.max(...most),
    samples: sum(minutes.map((minute) => minute.samples)),
    beginUncertaintyMs,
    endUncertaintyMs,
    endWattHours: minutes.at(-1)?.endWattHours ?? null,
    flags: [...flags],
    quality: qualityOf({
      missing,
      bad: flags.has('impossible-power') || flags.has('counter-frozen'),
      estimated: basis === 'integral' || flags.has('clock-step') || flags.has('integral-differs'),
      uncertaintyMs: Math.max(beginUncertaintyMs, endUncertaintyMs),
      lengthMs: expected * MINUTE_MS,
    }),
  };
}
