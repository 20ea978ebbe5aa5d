import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { SetPointInForce } from '../orders/set-points.ts';
import { type BoundedLimit, type BoundKind, type Bounds, deriveLimit } from './derived-limits.ts';
import type { FirmMemory } from './firm-power.ts';
import { type Follow, updateFollow } from './follow.ts';
import type { ObservedMeter } from './observation.ts';
import { editionOf } from './step-context.ts';

/** What control remembers of a limit between cycles. Plain data. */
export interface LimitMemory {
  readonly inForceWatts: Watts;
  /** A limit that fell and is not yet met. */
  readonly drop: Drop | null;
  /** What its meter shows beyond everything that is known. Never negative. */
  readonly biasWatts: Watts;
  readonly biasRaisedAt: MonotonicMs;
  /** Since when its meter and the rises under way come to too much together; absent where they do not. */
  readonly overSince?: MonotonicMs;
  readonly lastShedAt: MonotonicMs;
  /** Good samples of the last poll interval: moment and watts. */
  readonly samples: readonly (readonly [MonotonicMs, Watts])[];
  /** When its meter last gave a good figure. */
  readonly goodAt: MonotonicMs;
  /** Moments of wakes below it in the last ten seconds. */
  readonly wakesAt: readonly MonotonicMs[];
  /** What its phases, its average and its heat allow; absent where none is bounded. */
  readonly bounds?: Bounds;
  /** What holds it below its rating and its orders. */
  readonly heldBy?: BoundKind;
  /** The set point that is held here; absent where none is, or something else holds it lower. */
  readonly follow?: Follow;
  /** What is asked of firm power here; absent where floors fit. */
  readonly firm?: FirmMemory;
}

export interface Drop {
  readonly fromWatts: Watts;
  readonly startedAt: MonotonicMs;
  readonly deadlineAt: MonotonicMs | null;
  /** Samples in a row at or under the limit. */
  readonly met: number;
  /** What of it was expected to be ignored when it began: who obeyed meanwhile has fallen and says nothing of the others. */
  readonly ignored?: { readonly share: number; readonly deviceWatts: Watts };
}

/** Long before any start: a moment that never happened. */
const NEVER = -1e12;

/** A limit that was never looked at. `goodAt` stands for its meter: silent from now on, with all its grace. */
export function newLimitMemory(ratingWatts: Watts, goodAt: MonotonicMs): LimitMemory {
  return {
    inForceWatts: ratingWatts,
    drop: null,
    biasWatts: 0,
    biasRaisedAt: NEVER,
    lastShedAt: NEVER,
    samples: [],
    goodAt,
    wakesAt: [],
  };
}

export interface LimitUpdate {
  readonly limit: BoundedLimit;
  readonly inForce: {
    readonly watts: Watts;
    readonly deadlineAt: MonotonicMs | null;
    readonly setPoint?: SetPointInForce;
  };
  readonly meter: ObservedMeter | null;
  readonly metered: boolean;
  readonly now: MonotonicMs;
  readonly rules: {
    readonly pollMs: Milliseconds;
    readonly meterLagMs: Milliseconds;
    readonly meterStaleMs: Milliseconds;
    readonly edition?: number;
  };
}

/**
 * A set point that moves down by less than this at a time is a line to follow, no fall to make room for; a fall that goes on
 * by less than this is no other fall. A limit that is lifted by more is another limit: what was shed for the lower one holds nothing.
 */
const LINE_SHARE = 0.02;
/** A drop counts as met after this many good samples at or under the limit. */
const MET_SAMPLES = 2;

/** Takes in the limit in force and the meter's sample. Pure. */
export function updateLimit(memory: LimitMemory, update: LimitUpdate): LimitMemory {
  const { now, rules } = update;
  const sample = goodSample(update.meter);
  const isNew = sample !== null && sample[0] > (memory.samples.at(-1)?.[0] ?? NEVER);
  const samples = (isNew ? [...memory.samples, sample] : memory.samples).filter(
    ([at], index, all) => now - at <= rules.pollMs + rules.meterLagMs || index === all.length - 1,
  );
  const { bounds, lowest } = deriveLimit(
    update.limit,
    memory.bounds ?? null,
    sample === null ? null : { at: sample[0], watts: sample[1], worstAmps: update.meter?.worstAmps ?? null },
    now,
  );
  const heldBy = lowest !== null && lowest.watts < update.inForce.watts ? lowest.by : null;
  const inForceWatts = heldBy === null ? update.inForce.watts : lowest!.watts;
  const deadlineAt = heldBy === null ? update.inForce.deadlineAt : null;
  const follow = heldBy === null ? followed(memory, update, samples, lowest?.watts ?? null) : null;
  let { drop } = memory;
  if (inForceWatts < memory.inForceWatts * (follow === null ? 1 : 1 - LINE_SHARE)) {
    const measured = samples.at(-1)?.[1] ?? memory.inForceWatts;
    const goesOn = drop?.ignored !== undefined && inForceWatts >= memory.inForceWatts * (1 - LINE_SHARE);
    drop = {
      ...(goesOn ? { ignored: drop!.ignored } : {}),
      fromWatts: Math.max(
        drop?.fromWatts ?? 0,
        Math.min(memory.inForceWatts, Math.max(measured, inForceWatts)),
      ),
      startedAt: now,
      deadlineAt,
      met: 0,
    };
  } else if (drop !== null) {
    if (isNew && sample[0] > drop.startedAt + rules.meterLagMs)
      drop = { ...drop, met: sample[1] <= inForceWatts ? drop.met + 1 : 0 };
    const unmeasured = !update.metered && now > (drop.deadlineAt ?? drop.startedAt + 60_000);
    if (drop.met >= MET_SAMPLES || unmeasured || inForceWatts > memory.inForceWatts) drop = null;
  }
  // Only by orders: what the limit's own meter lowers and lifts would otherwise shed and wake in turns.
  const byOrders = heldBy === null && memory.heldBy === undefined && follow === null;
  const isLifted = editionOf(rules) >= 3 && byOrders && inForceWatts > memory.inForceWatts * (1 + LINE_SHARE);
  const { bounds: _, heldBy: __, follow: ___, ...kept } = memory;
  return {
    ...kept,
    ...(isLifted ? { lastShedAt: NEVER } : {}),
    ...(bounds === null ? {} : { bounds }),
    ...(heldBy === null ? {} : { heldBy }),
    ...(follow === null ? {} : { follow }),
    inForceWatts,
    drop,
    samples,
    goodAt: sample === null ? memory.goodAt : Math.max(memory.goodAt, sample[0]),
    wakesAt: memory.wakesAt.filter((at) => now - at < 10_000),
  };
}

/** The memory with what of its fall is expected to be ignored; without a fall as it is. Pure. */
export function withIgnored(
  memory: LimitMemory,
  { share, deviceWatts }: NonNullable<Drop['ignored']>,
): LimitMemory {
  const { drop } = memory;
  return drop === null ? memory : { ...memory, drop: { ...drop, ignored: { share, deviceWatts } } };
}

function followed(
  memory: LimitMemory,
  { inForce, now, rules }: LimitUpdate,
  samples: LimitMemory['samples'],
  boundWatts: Watts | null,
): Follow | null {
  const { setPoint } = inForce;
  if (setPoint === undefined) return null;
  const latest = samples.at(-1);
  const fresh = latest !== undefined && now - latest[0] <= rules.meterStaleMs;
  const ceilingWatts = Math.min(setPoint.ceilingWatts, boundWatts ?? setPoint.ceilingWatts);
  return updateFollow(memory.follow, { ...setPoint, ceilingWatts }, fresh ? latest : null, now);
}

function goodSample(meter: ObservedMeter | null): readonly [MonotonicMs, Watts] | null {
  if (meter === null || meter.powerWatts === null || meter.sampledAt === null) return null;
  return meter.quality === 'good' ? [meter.sampledAt, meter.powerWatts] : null;
}
