import type { DeviceId, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import { type DeviceInput, type Entry, expectedOf, OVERSHOOT, worstOf } from './ledger.ts';
import type { ObservedDevice } from './observation.ts';
import type { DeviceFacts } from './points.ts';

/** Two sums at a limit: what flows if devices obey, and the most that could flow. */
export interface NodeSums {
  readonly limit: LimitId;
  readonly expectedWatts: Watts;
  readonly worstWatts: Watts;
  /** The sum of the parts alone, whatever a meter says. */
  readonly sumWorstWatts: Watts;
  /** What the meter allows to conclude; `null` without a fresh one. */
  readonly meteredWorstWatts: Watts | null;
  readonly measuredWatts: Watts | null;
}

export interface NodeInput {
  readonly limit: LimitId;
  readonly parent: LimitId | null;
  readonly gain: number;
  /** Uncontrolled load here, at most. */
  readonly loadWorstWatts: Watts;
  /** Its meter, where fresh: the last sample and the highest of the last poll interval. */
  readonly measured: {
    readonly watts: Watts;
    readonly highestWatts: Watts;
    readonly sampledAt: MonotonicMs;
  } | null;
}

/** Share of what sleepers below a limit could take back by themselves, and how many of them at least. */
export interface RiseRules {
  readonly driftShare: number;
  readonly sleepersAtLeast: number;
  /** Up to this many sleepers one is enough: two hardly ever come back within one minute; absent: it never is. */
  readonly fewSleepers?: number;
  /** What a meter shows is at most this much older than its sample. */
  readonly meterLagMs: Milliseconds;
  readonly now: MonotonicMs;
  /** Silent alone and for long, below a meter that is read: like a sleeper, what it may regain is drift. */
  readonly gone: (device: DeviceId) => boolean;
  /** A device that tells no watts and is at work counts as idle by its hashrate; versions before the second edition did not see that. */
  readonly seesIdle?: boolean;
}

/**
 * Worst and expected sums of every limit, children first. `worst = min(sum of parts, metered + what may still
 * rise)`: a meter proves a node, not a device. `nodes` stand parents before children. Pure.
 */
export function sumNodes(
  nodes: readonly NodeInput[],
  devices: readonly DeviceInput[],
  rules: RiseRules,
): Map<LimitId, NodeSums> {
  const byLimit = new Map<string, DeviceInput[]>();
  for (const input of devices) {
    const list = byLimit.get(input.facts.limit);
    if (list === undefined) byLimit.set(input.facts.limit, [input]);
    else list.push(input);
  }
  const sums = new Map<LimitId, NodeSums>();
  const carried = new Map<LimitId, Carried>();
  for (const node of [...nodes].reverse()) {
    const own = ownPart(node, byLimit.get(node.limit) ?? [], rules);
    for (const child of nodes) {
      if (child.parent !== node.limit) continue;
      const below = carried.get(child.limit)!;
      const sum = sums.get(child.limit)!;
      own.worst += child.gain * sum.worstWatts;
      own.expected += child.gain * sum.expectedWatts;
      own.loads += child.gain * below.loads;
      own.drawn += child.gain * below.drawn;
      own.rises += child.gain * below.rises;
      own.drift += child.gain * below.drift;
      own.largest = [...own.largest, ...below.largest.map((watts) => watts * child.gain)]
        .sort((a, b) => b - a)
        .slice(0, rules.sleepersAtLeast);
      own.sleepers += below.sleepers;
      own.pendingDrops += child.gain * below.pendingDrops;
      own.ups += child.gain * below.ups;
    }
    carried.set(node.limit, own);
    const metered = node.measured === null ? null : meteredWorst(node.measured.highestWatts, own, rules);
    // What its meter shows is there, whatever the parts add up to.
    own.worst = Math.max(own.worst, node.measured?.highestWatts ?? 0);
    const worst = metered === null ? own.worst : Math.min(own.worst, metered);
    // By the meter, less drops that it cannot have seen yet.
    const expected =
      node.measured === null ? own.expected : Math.max(0, node.measured.watts - own.pendingDrops) + own.ups;
    sums.set(node.limit, {
      limit: node.limit,
      expectedWatts: expected,
      worstWatts: worst,
      sumWorstWatts: own.worst,
      meteredWorstWatts: metered,
      measuredWatts: node.measured?.watts ?? null,
    });
  }
  return sums;
}

interface Carried {
  worst: number;
  expected: number;
  loads: number;
  /** What devices are known to draw. */
  drawn: number;
  /** What may rise on top of a measurement: ups in flight, caps above draw, idleness nobody ordered. */
  rises: number;
  ups: number;
  drift: number;
  largest: number[];
  sleepers: number;
  pendingDrops: number;
}

function ownPart(node: NodeInput, devices: readonly DeviceInput[], rules: RiseRules): Carried {
  const own: Carried = {
    worst: node.loadWorstWatts,
    expected: node.loadWorstWatts,
    loads: node.loadWorstWatts,
    drawn: 0,
    rises: 0,
    ups: 0,
    drift: 0,
    largest: [],
    sleepers: 0,
    pendingDrops: 0,
  };
  const sampledAt = node.measured?.sampledAt ?? null;
  for (const { entry, facts, device } of devices) {
    const worst = worstOf(entry, facts, device);
    const drawn = device.fresh ? (device.powerWatts ?? 0) : 0;
    own.worst += worst;
    own.expected += expectedOf(entry, facts, device);
    own.drawn += drawn;
    const gone = rules.gone(facts.id);
    const rise = gone ? 0 : riseOf(entry, facts, device, worst, rules);
    own.rises += rise;
    // Counted once: what may rise at any moment is not drift as well.
    if (gone || (rise === 0 && asleepAsOrdered(entry, device))) {
      const back = Math.max(0, (gone ? facts.nameplateWatts : facts.points.at(-1)!.watts) - drawn);
      own.drift += back;
      own.largest.push(back);
      own.sleepers += 1;
    }
    own.pendingDrops += dropAhead(entry, device, sampledAt, rules.meterLagMs);
    const { pending } = entry;
    if (pending !== null && !pending.failed && pending.direction === 'up')
      own.ups += Math.max(0, pending.watts - drawn);
  }
  own.largest.sort((a, b) => b - a);
  return own;
}

/** Watts that are about to disappear, or have disappeared, without the meter having shown it yet. */
function dropAhead(
  entry: Entry,
  device: ObservedDevice,
  meterAt: MonotonicMs | null,
  lagMs: Milliseconds,
): Watts {
  const { pending, lastDrop } = entry;
  const unseen = (at: MonotonicMs) => meterAt === null || meterAt < at + lagMs;
  if (pending !== null && pending.direction === 'down' && !pending.failed) {
    return Math.max(0, pending.fromWatts - pending.watts);
  }
  if (pending === null && lastDrop !== null && unseen(lastDrop.at) && device.inventory === 'present')
    return lastDrop.watts;
  return 0;
}

function asleepAsOrdered(entry: Entry, device: ObservedDevice): boolean {
  return entry.pointId === 'sleep' && device.inventory === 'present';
}

/** How far a device may go above what it drew when the meter was read. */
function riseOf(
  entry: Entry,
  facts: DeviceFacts,
  device: ObservedDevice,
  worst: Watts,
  { now, seesIdle = true }: RiseRules,
): Watts {
  if (device.inventory === 'expected' || device.inventory === 'removed') return 0;
  const drawn = device.fresh ? (device.powerWatts ?? 0) : 0;
  const { pending } = entry;
  if (facts.kind === 'gpu-node') return Math.max(0, worst - drawn);
  if (
    device.inventory === 'absent' ||
    !device.fresh ||
    device.activity === 'unknown' ||
    device.activity === 'fault'
  )
    // Nobody knows what it does: it may be starting this moment.
    return Math.max(facts.nameplateWatts, facts.points.at(-1)!.watts * OVERSHOOT);
  if (device.activity === 'starting') return Math.max(0, facts.points.at(-1)!.watts * OVERSHOOT - drawn);
  if (pending !== null && pending.direction === 'up') {
    const wakes = entry.wokeAt === pending.sentAt;
    return Math.max(0, pending.watts * (wakes ? OVERSHOOT : 1) - drawn);
  }
  if (device.activity === 'asleep') {
    // Asleep by order: the drift reserve of its limit covers it. Asleep by itself: it may be back any second.
    return entry.pointId === 'sleep' && entry.sleptAt !== null ? 0 : Math.max(0, worst - drawn);
  }
  // Shown and not yet at its end.
  const ramp =
    entry.rising !== undefined && now < entry.rising.until ? Math.max(0, entry.rising.watts - drawn) : 0;
  // Works, but draws much less than its point (a pool outage): that room is not free.
  const point = facts.points.find((candidate) => candidate.id === entry.pointId) ?? facts.points.at(-1)!;
  if (device.powerWatts === null || !(device.reported || seesIdle)) return ramp;
  return device.powerWatts < point.watts * 0.8 ? Math.max(ramp, point.watts - device.powerWatts) : ramp;
}

function meteredWorst(measuredWatts: Watts, own: Carried, rules: RiseRules): Watts {
  const atLeast = own.sleepers <= (rules.fewSleepers ?? 0) ? 1 : rules.sleepersAtLeast;
  const largest = own.largest.slice(0, atLeast).reduce((sum, watts) => sum + watts, 0);
  const drift = Math.max(own.drift * rules.driftShare, largest);
  // What the meter shows beyond the devices is uncontrolled load; it may rise to its worst.
  const uncontrolled = Math.max(0, measuredWatts - own.drawn);
  const loadRise = Math.max(0, own.loads - uncontrolled);
  return measuredWatts + own.rises + drift + loadRise;
}
