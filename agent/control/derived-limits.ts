import type { Amps, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import { type ThermalBound, type ThermalRule, thermalBound } from './thermal-bound.ts';

/**
 * What a limit allows beside its rating and its orders: no phase above its amperes, no average above its watts,
 * nothing hotter than at its continuous load. All follow from the limit's own meter, all only lower, and all keep what they
 * said while the meter is silent, or less.
 */

export interface BoundedLimit {
  readonly ratingWatts: Watts;
  /** Rating of each phase; `null`: not given in amperes. */
  readonly ratingAmps: Amps | null;
  readonly average: { readonly watts: Watts; readonly overMs: Milliseconds } | null;
  readonly thermal?: ThermalRule | null | undefined;
}

export interface BoundSample {
  readonly at: MonotonicMs;
  readonly watts: Watts;
  /** Current of the phase that carries most; `null`: the meter does not say. */
  readonly worstAmps: Amps | null;
}

/** Plain data, part of what control remembers of a limit. */
export interface Bounds {
  readonly sampledAt: MonotonicMs;
  readonly sampleWatts: Watts;
  readonly phases: PhaseBound | null;
  readonly average: AverageBound | null;
  readonly thermal?: ThermalBound;
}

interface PhaseBound {
  /** Watts at which the worst phase is full; `null`: not below the rating. */
  readonly watts: Watts | null;
  /** What the sample before said. */
  readonly before: Watts;
  /** How far what flows may rise if what comes lands where it is fullest; absent while nothing says that phases are unequal. */
  readonly riseWatts?: Watts;
  /** The same by the latest sample alone. */
  readonly lastRiseWatts?: Watts;
  /** Lowest in each stretch of `STRETCH_MS`, by the start of the stretch. */
  readonly lowest: readonly (readonly [MonotonicMs, Watts])[];
}

interface AverageBound {
  readonly watts: Watts;
  /** Watt-milliseconds in each thirtieth of the time, by its start. What is not there was never seen. */
  readonly energy: readonly (readonly [MonotonicMs, number, Milliseconds])[];
}

export type BoundKind = 'phases' | 'average' | 'thermal';

export interface Derived {
  readonly bounds: Bounds | null;
  /** The lowest of them, and which it is; `null`: none lowers anything. */
  readonly lowest: { readonly watts: Watts; readonly by: BoundKind } | null;
}

/** Proportions of phases are only told by a load: below this share of the rating they say little. */
const LEAST_SHARE = 0.3;
const STRETCH_MS: Milliseconds = 10_000;
/** A bound that was lower within this time still counts: phases that swing are not followed up and down. */
const REMEMBER_MS: Milliseconds = 60_000;
/** What comes may be this many times as unequal as what is there: nobody says which phase a machine hangs on. */
const SKEW = 6;
/** A moment before any sample, in plain data. */
const NEVER = -1e12;
const PARTS = 30;
/** Part of the time over which an average above its limit is brought back: slower is gentler, faster is stricter. */
const RECOVER_SHARE = 1 / 3;
/** Steps of a bound, as a share of what it bounds: noise does not move it. */
const GRAIN = 0.01;

/** Takes in the latest good sample of the limit's meter (the same one again changes nothing). Pure. */
export function deriveLimit(
  limit: BoundedLimit,
  before: Bounds | null,
  sample: BoundSample | null,
  now: MonotonicMs,
): Derived {
  const rule = limit.thermal ?? null;
  // Journals of earlier versions know of none.
  if ((limit.ratingAmps ?? null) === null && (limit.average ?? null) === null && rule === null)
    return { bounds: null, lowest: null };
  const isNew = sample !== null && (before === null || sample.at > before.sampledAt);
  const phases =
    limit.ratingAmps !== null && isNew ? phaseBound(limit, before?.phases ?? null, sample) : before?.phases;
  const average =
    limit.average === null ? null : averageBound(limit.average, before, isNew ? sample : null, now);
  const thermal =
    rule === null
      ? null
      : thermalBound(rule, before?.thermal ?? null, isNew ? sample : null, now, (watts) =>
          watts >= limit.ratingWatts ? limit.ratingWatts : coarse(watts, rule.watts),
        );
  const bounds: Bounds | null =
    sample === null && before === null && average === null && thermal === null
      ? null
      : {
          sampledAt: isNew ? sample.at : (before?.sampledAt ?? NEVER),
          sampleWatts: isNew ? sample.watts : (before?.sampleWatts ?? 0),
          phases: phases ?? null,
          average,
          ...(thermal === null ? {} : { thermal }),
        };
  let lowest: Derived['lowest'] = phases?.watts == null ? null : { watts: phases.watts, by: 'phases' };
  for (const [by, bound] of [['average', average] as const, ['thermal', thermal] as const])
    if (bound !== null && bound.watts < Math.min(lowest?.watts ?? limit.ratingWatts, limit.ratingWatts))
      lowest = { watts: bound.watts, by };
  return { bounds, lowest };
}

/** The same in the time of another life; `moved` maps moments of the old one. */
export function moveBounds(bounds: Bounds, moved: (at: MonotonicMs) => MonotonicMs): Bounds {
  const { phases, average, thermal } = bounds;
  return {
    ...bounds,
    ...(thermal === undefined ? {} : { thermal: { ...thermal, at: moved(thermal.at) } }),
    sampledAt: bounds.sampledAt === NEVER ? NEVER : moved(bounds.sampledAt),
    phases:
      phases === null
        ? null
        : { ...phases, lowest: phases.lowest.map(([at, watts]) => [moved(at), watts] as const) },
    average:
      average === null
        ? null
        : { ...average, energy: average.energy.map(([at, wattMs, ms]) => [moved(at), wattMs, ms] as const) },
  };
}

/**
 * The watts at which the worst phase carries its rating, if the present proportions hold. Two samples in a row must
 * say so: power and current may come from two refreshes of a meter. A phase that is over its rating counts at once.
 */
function phaseBound(limit: BoundedLimit, before: PhaseBound | null, sample: BoundSample): PhaseBound | null {
  const share = sample.worstAmps === null ? 0 : sample.worstAmps / limit.ratingAmps!;
  if (share < LEAST_SHARE || sample.watts <= 0) return beforeLoad(limit, before, sample, share);
  const candidate = Math.floor(sample.watts / share);
  const believed = share > 1 || before === null ? candidate : Math.max(candidate, before.before);
  const start = Math.floor(sample.at / STRETCH_MS) * STRETCH_MS;
  const last = before?.lowest.at(-1);
  const lowest =
    last !== undefined && last[0] === start
      ? [...before!.lowest.slice(0, -1), [start, Math.min(last[1], believed)] as const]
      : [...(before?.lowest ?? []), [start, believed] as const];
  const recent = lowest.filter(([at]) => start - at <= REMEMBER_MS);
  const least = Math.min(...recent.map(([, watts]) => watts));
  // Within a step of the rating the phases are as equal as phases are.
  if (least >= limit.ratingWatts * (1 - GRAIN)) return { watts: null, before: candidate, lowest: recent };
  const lastRiseWatts = riseWatts(limit, sample.watts, share, limit.ratingWatts / least);
  return {
    watts: coarse(least, limit.ratingWatts),
    before: candidate,
    lowest: recent,
    riseWatts: Math.min(lastRiseWatts, before?.lastRiseWatts ?? lastRiseWatts),
    lastRiseWatts,
  };
}

/** With too little load to tell its proportions, phases that were unequal are taken for as unequal as they can be. */
function beforeLoad(
  limit: BoundedLimit,
  before: PhaseBound | null,
  { watts, worstAmps }: BoundSample,
  share: number,
): PhaseBound | null {
  if (before?.riseWatts === undefined || worstAmps === null) return before;
  const most = riseWatts(limit, Math.max(0, watts), share, 3);
  return { ...before, riseWatts: most, lastRiseWatts: most };
}

/** `unequal`: what the fullest phase carries over what it would carry if all were equal, 1 to 3. */
function riseWatts(limit: BoundedLimit, watts: Watts, share: number, unequal: number): Watts {
  const part = Math.min(1, (1 + SKEW * (unequal - 1)) / 3);
  return Math.floor(watts + (Math.max(0, 1 - share) * limit.ratingWatts) / 3 / part);
}

/**
 * What may flow so that the average is back under its limit within a third of the time, and never more than the
 * limit itself. The window slides: wherever a billing period begins, it is inside. Time that was not seen counts at
 * the limit, or at what flowed before and after it if that was more.
 */
function averageBound(
  { watts: limitWatts, overMs }: { readonly watts: Watts; readonly overMs: Milliseconds },
  before: Bounds | null,
  sample: BoundSample | null,
  now: MonotonicMs,
): AverageBound {
  const partMs = overMs / PARTS;
  let energy = before?.average?.energy ?? [];
  if (sample !== null) {
    const sinceMs = before === null || before.sampledAt === NEVER ? 0 : sample.at - before.sampledAt;
    const isGap = sinceMs > partMs;
    const flowed = Math.max(sample.watts, isGap ? Math.max(before!.sampleWatts, limitWatts) : 0);
    const passedMs = Math.min(sinceMs, overMs);
    const start = Math.floor(sample.at / partMs) * partMs;
    const last = energy.at(-1);
    energy =
      last !== undefined && last[0] === start
        ? [...energy.slice(0, -1), [start, last[1] + flowed * passedMs, last[2] + passedMs] as const]
        : [...energy, [start, flowed * passedMs, passedMs] as const];
  }
  energy = energy.filter(([start]) => now - start <= overMs + partMs);
  const aheadMs = overMs * RECOVER_SHARE;
  const countedMs = overMs - aheadMs;
  let seenMs = 0;
  let used = 0;
  for (const [start, wattMs, ms] of energy.toReversed()) {
    if (start + partMs <= now - countedMs || ms === 0) continue;
    const share = Math.min(1, (countedMs - seenMs) / ms);
    seenMs += ms * share;
    used += wattMs * share;
  }
  used += limitWatts * (countedMs - seenMs);
  const allowed = (limitWatts * overMs - used) / aheadMs;
  const watts =
    allowed >= limitWatts * (1 - GRAIN / 2) ? limitWatts : coarse(Math.max(0, allowed), limitWatts);
  return { watts, energy };
}

function coarse(watts: Watts, of: Watts): Watts {
  const grain = Math.max(1, of * GRAIN);
  return Math.floor(Math.floor(watts / grain + 1e-9) * grain);
}
