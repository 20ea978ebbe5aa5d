import type { DeviceId, EpochMs, Milliseconds, WattHours } from '../../protocols/units.ts';
import { type EnergyQuality, joinMinutes, type MeterEnergy, MINUTE_MS } from './counter.ts';
import { intervalStart } from './local-time.ts';

/** Classes of load as they are booked. `ai` is firm and flexible together. */
export const CLASSES = ['mining', 'ai', 'cooling', 'other'] as const;
export type LoadClass = (typeof CLASSES)[number];

/** One minute of the whole site, or a longer interval joined from minutes. */
export interface EnergyInterval {
  readonly start: EpochMs;
  readonly seconds: number;
  /** By the meter of the grid connection. */
  readonly totalWattHours: WattHours | null;
  readonly quality: EnergyQuality;
  /** As seen at the grid connection, losses included; firm and flexible AI are `null` where not known apart. */
  readonly classes: {
    readonly miningWattHours: WattHours | null;
    readonly aiFirmWattHours: WattHours | null;
    readonly aiFlexibleWattHours: WattHours | null;
    readonly coolingWattHours: WattHours | null;
    readonly otherWattHours: WattHours | null;
  };
  /** What no meter and no reading explains: booked, never spread. */
  readonly residualWattHours: WattHours | null;
  /** Classes whose figure rests on the devices' own readings, wholly or in part. */
  readonly estimated: readonly string[];
  readonly tenants: Readonly<Record<string, WattHours | null>>;
  readonly meters: Readonly<Record<DeviceId, MeterEnergy>>;
}

export const LENGTHS_MINUTES = [1, 5, 15, 30, 60] as const;

/** Joins minutes of one interval, oldest first; those that are missing make it MISSING. */
export function joinIntervals(
  minutes: readonly EnergyInterval[],
  start: EpochMs,
  lengthMs: Milliseconds,
  rootMeters: readonly DeviceId[],
): EnergyInterval {
  const expected = Math.round(lengthMs / MINUTE_MS);
  const complete = minutes.length === expected;
  const sum = (pick: (minute: EnergyInterval) => number | null | undefined): number | null => {
    if (!complete) return null;
    let total = 0;
    for (const minute of minutes) {
      const value = pick(minute);
      if (value === null || value === undefined) return null;
      total += value;
    }
    return Math.round(total * 1000) / 1000;
  };
  const ids = (pick: (minute: EnergyInterval) => object) =>
    [...new Set(minutes.flatMap((minute) => Object.keys(pick(minute))))].sort();
  const meters = Object.fromEntries(
    ids((minute) => minute.meters).map((id) => [
      id,
      joinMinutes(
        minutes.flatMap((minute) => (minute.meters[id] === undefined ? [] : [minute.meters[id]!])),
        expected,
      ),
    ]),
  );
  return {
    start,
    seconds: lengthMs / 1000,
    totalWattHours: sum((minute) => minute.totalWattHours),
    quality: worst(rootMeters.map((id) => meters[id]?.quality ?? 'MISSING')),
    classes: {
      miningWattHours: sum((minute) => minute.classes.miningWattHours),
      aiFirmWattHours: sum((minute) => minute.classes.aiFirmWattHours),
      aiFlexibleWattHours: sum((minute) => minute.classes.aiFlexibleWattHours),
      coolingWattHours: sum((minute) => minute.classes.coolingWattHours),
      otherWattHours: sum((minute) => minute.classes.otherWattHours),
    },
    residualWattHours: sum((minute) => minute.residualWattHours),
    estimated: [...new Set(minutes.flatMap((minute) => minute.estimated))].sort(),
    tenants: Object.fromEntries(
      ids((minute) => minute.tenants).map((id) => [
        id,
        sum((minute) => (id in minute.tenants ? minute.tenants[id] : 0)),
      ]),
    ),
    meters,
  };
}

const RANK: Readonly<Record<EnergyQuality, number>> = { OK: 0, ESTIMATED: 1, BAD: 2, MISSING: 3 };

/** The worst of several; MISSING where there is none. */
export function worst(qualities: readonly EnergyQuality[]): EnergyQuality {
  if (qualities.length === 0) return 'MISSING';
  return qualities.reduce((a, b) => (RANK[b] > RANK[a] ? b : a));
}

/** Intervals of a span by local time, every one of them, also those without a single minute. */
export function intervalsOf(
  minutes: readonly EnergyInterval[],
  span: { fromMs: EpochMs; toMs: EpochMs; lengthMs: Milliseconds; zone: string },
  rootMeters: readonly DeviceId[],
): EnergyInterval[] {
  const byStart = new Map<number, EnergyInterval[]>();
  for (const minute of minutes) {
    const start = intervalStart(span.zone, minute.start, span.lengthMs);
    byStart.set(start, [...(byStart.get(start) ?? []), minute]);
  }
  const intervals: EnergyInterval[] = [];
  for (let at = intervalStart(span.zone, span.fromMs, span.lengthMs); at < span.toMs; ) {
    if (at >= span.fromMs)
      intervals.push(joinIntervals(byStart.get(at) ?? [], at, span.lengthMs, rootMeters));
    const next = intervalStart(span.zone, at + span.lengthMs, span.lengthMs);
    // Where the clock is set back an hour begins twice: each is an interval of its own.
    at = next > at ? next : at + span.lengthMs;
  }
  return intervals;
}
