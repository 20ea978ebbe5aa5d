import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import type { LimitMemory } from './limit-memory.ts';
import type { Overshed } from './overshed.ts';
import type { PlanLimit } from './plan.ts';
import { type ControlRules, editionOf, type StepLimit } from './step-context.ts';

/** What a limit offers to the plan at this moment. Pure. */
export function planLimit(
  rules: ControlRules,
  limit: StepLimit,
  memory: LimitMemory,
  at: {
    /** Promised to hand-overs. */
    readonly reservedWatts: Watts;
    /** Taken off because its meter is silent; `null` while it is read. */
    readonly blindWatts: Watts | null;
    /** What is shed on top of a fall, for those who will not obey. */
    readonly overshed: Overshed;
    /** What its meter shows of devices that were never asked yet; absent: nothing. */
    readonly unaskedWatts?: Watts | undefined;
    readonly now: MonotonicMs;
  },
): PlanLimit {
  const reserve = memory.inForceWatts * rules.reserveShare;
  const riseWatts = editionOf(rules) >= 3 ? memory.bounds?.phases?.riseWatts : undefined;
  const overshed = overshedWatts(rules, memory, at);
  return {
    limit: limit.id,
    parent: limit.parent,
    gain: limit.gain,
    capacityWatts: mostWatts(memory, reserve) - (at.blindWatts ?? 0) - overshed - at.reservedWatts,
    fixedWatts: limit.loadWorstWatts + coarse(memory.biasWatts + (at.unaskedWatts ?? 0), limit.ratingWatts),
    authority: limit.authority,
    noRise:
      at.blindWatts !== null || memory.drop !== null || at.now - memory.lastShedAt < rules.restoreHoldMs,
    ...(riseWatts === undefined
      ? {}
      : { riseWatts: riseWatts * (1 - rules.reserveShare) - at.reservedWatts }),
    deadlineAt: memory.drop?.deadlineAt ?? overDeadline(rules, memory, at.now),
  };
}

/** What is over a limit is to be gone after this long: whoever needs longer (a tuner, say) is asked last. */
const OVER_MS = 30_000;

/** By when what its meter shows above a limit is to be gone, though nobody named a time; `null`: nothing is. */
function overDeadline(rules: ControlRules, memory: LimitMemory, now: MonotonicMs): MonotonicMs | null {
  const latest = memory.samples.at(-1);
  if (editionOf(rules) < 3 || latest === undefined || now - latest[0] > rules.meterStaleMs) return null;
  const most = Math.max(memory.inForceWatts, memory.follow?.ceilingWatts ?? 0);
  return latest[1] > most ? now + OVER_MS + rules.meterLagMs : null;
}

/** Nineteen of twenty falls are ignored by no more than this many standard deviations beyond the mean. */
const NINETEEN_OF_TWENTY = 1.645;

/**
 * What is shed beyond need. Where nobody who did not obey can be replaced in time, as the quickest take more than half of it,
 * enough for nineteen falls of twenty, also of what nobody named a time for; otherwise the mean.
 */
function overshedWatts(
  rules: ControlRules,
  memory: LimitMemory,
  { blindWatts, overshed, now }: { blindWatts: Watts | null; overshed: Overshed; now: MonotonicMs },
): Watts {
  const { drop, inForceWatts } = memory;
  const { share, deviceWatts } = drop?.ignored ?? overshed;
  const { quickestMs } = overshed;
  const fallWatts = Math.max(0, fallsFrom(rules, memory, blindWatts) - inForceWatts);
  const givenMs =
    drop === null ? OVER_MS : drop.deadlineAt === null ? Infinity : drop.deadlineAt - drop.startedAt;
  if (editionOf(rules) < 3 || quickestMs * 2 <= givenMs) return fallWatts * share;
  const isOver = drop === null && overDeadline(rules, memory, now) !== null;
  const watts = isOver ? memory.samples.at(-1)![1] - inForceWatts : fallWatts;
  const strays = Math.sqrt(share * (1 - share) * watts * deviceWatts);
  return watts * share + NINETEEN_OF_TWENTY * strays;
}

/** From where the limit still has to fall: those who will not obey are among those who have not fallen yet. */
function fallsFrom(rules: ControlRules, { drop, samples }: LimitMemory, blindWatts: Watts | null): Watts {
  if (drop === null) return 0;
  if (editionOf(rules) < 2 || blindWatts !== null || samples.length === 0) return drop.fromWatts;
  return Math.min(drop.fromWatts, Math.max(...samples.map(([, watts]) => watts)));
}

/** A limit is kept away from, a set point is aimed at: where it will be when what wakes now is awake. */
function mostWatts({ inForceWatts, follow }: LimitMemory, reserve: Watts): Watts {
  const under = inForceWatts - reserve;
  if (follow === undefined || !follow.isSeen) return under;
  const aimed = follow.targetWatts + follow.aheadWatts;
  return Math.max(under, Math.min(aimed, follow.ceilingWatts - reserve));
}

/** Rounded up to a thousandth of the rating: noise in the last digits does not change the plan. */
function coarse(watts: Watts, ratingWatts: Watts): Watts {
  const grain = Math.max(10, ratingWatts / 1000);
  return Math.ceil(watts / grain) * grain;
}
