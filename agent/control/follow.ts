import type { DeviceId, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Solver } from '../allocation/planner.ts';
import type { Answer, ProblemDevice } from '../allocation/problem.ts';
import type { SetPointInForce } from '../orders/set-points.ts';
import type { LimitMemory } from './limit-memory.ts';
import type { Candidate, Plan } from './plan.ts';
import type { OperatingPoint } from './points.ts';
import type { StepContext } from './step-context.ts';

/**
 * Holding a set point: at, not only under. Sleeping and waking is planned for where the set point is going; miners that
 * take a new power limit within seconds make up for what wakes have been granted and do not draw yet, and for what the
 * meter shows the plan to be off. Only the set point's own limit is followed so: ratings and other orders keep their
 * worst case.
 */

/** What is remembered of a set point between cycles. Plain data. */
export interface Follow {
  readonly targetWatts: Watts;
  /** Rating, other orders, phases, heat: whatever is followed, this is not passed. */
  readonly ceilingWatts: Watts;
  /** Its meter is read. */
  readonly isSeen: boolean;
  /** By how much the target will be higher when a wake that begins now draws its power. */
  readonly aheadWatts: Watts;
  /** Added to the target, out of what the meter showed. */
  readonly trimWatts: Watts;
  /** Room that the last plan could not use: a trim that grew on would only be in the way later. */
  readonly unusedWatts: Watts;
  /** Of the last sample that counted. */
  readonly sampledAt: MonotonicMs;
  /** The last targets, the oldest first. */
  readonly targets: readonly (readonly [MonotonicMs, Watts])[];
}

/** Targets nearer to each other are one. */
const TARGET_SPACING_MS: Milliseconds = 3000;
const TARGETS_KEPT = 9;
/** So many steps in a row make a line, within so long; a single step goes nowhere. */
const LINE_STEPS = 4;
const LINE_MS: Milliseconds = 90_000;
/** Until a wake that begins now draws most of its power. */
const WAKE_AHEAD_MS: Milliseconds = 240_000;
/** An error is made up for over this: some times longer than commands, meters and polls are late. */
const TRIM_MS: Milliseconds = 30_000;
const TRIM_UP_SHARE = 0.08;
const TRIM_DOWN_SHARE = 0.03;
/** Limits that hold within this are quick enough to follow with. */
const QUICK_MS: Milliseconds = 30_000;

const CALM_DOLLARS_PER_HOUR = 0.01;

/** Takes in the set point in force and the meter's last good sample; `null` while it is silent. Pure. */
export function updateFollow(
  before: Follow | undefined,
  setPoint: SetPointInForce,
  sample: readonly [MonotonicMs, Watts] | null,
  now: MonotonicMs,
): Follow {
  const { targetWatts, ceilingWatts } = setPoint;
  const known = before?.targets ?? [];
  const last = known.at(-1);
  const targets =
    last === undefined || now - last[0] >= TARGET_SPACING_MS
      ? [...known, [now, targetWatts] as const].slice(-TARGETS_KEPT)
      : known;
  const isNew = sample !== null && before !== undefined && sample[0] > before.sampledAt;
  const moves = targets.filter(([at]) => now - at <= LINE_MS);
  return {
    targetWatts,
    ceilingWatts,
    isSeen: sample !== null,
    aheadWatts: sample === null ? 0 : risesAhead(moves, setPoint),
    trimWatts: isNew ? trimmed(before, setPoint, sample) : (before?.trimWatts ?? 0),
    unusedWatts: before?.unusedWatts ?? 0,
    sampledAt: Math.max(before?.sampledAt ?? 0, sample?.[0] ?? 0),
    targets,
  };
}

function trimmed(before: Follow, setPoint: SetPointInForce, sample: readonly [MonotonicMs, Watts]): Watts {
  const { targetWatts, bandWatts } = setPoint;
  const error = targetWatts - sample[1];
  const passedMs = Math.min(sample[0] - before.sampledAt, TRIM_MS / 2);
  const change = Math.abs(error) <= bandWatts / 3 ? 0 : (error * passedMs) / TRIM_MS;
  // The last bit of a target always stays free: points are steps.
  const unused = Math.max(0, before.unusedWatts - bandWatts / 2);
  const wanted =
    unused > 0
      ? before.trimWatts - Math.min(Math.max(0, before.trimWatts), unused) + Math.min(0, change)
      : before.trimWatts + change;
  return Math.round(Math.max(-targetWatts * TRIM_DOWN_SHARE, Math.min(targetWatts * TRIM_UP_SHARE, wanted)));
}

/** The lower of two middle slopes counts: one step in what is level otherwise is no line. */
function risesAhead(moves: Follow['targets'], setPoint: SetPointInForce): Watts {
  const slopes = moves
    .slice(1)
    .map(([at, watts], index) => (watts - moves[index]![1]) / (at - moves[index]![0]))
    .sort((a, b) => a - b);
  if (slopes.length < LINE_STEPS) return 0;
  const ahead = Math.max(0, slopes[(slopes.length - 1) >> 1]!) * WAKE_AHEAD_MS;
  const { headingWatts, targetWatts } = setPoint;
  return Math.floor(headingWatts === null ? ahead : Math.min(ahead, Math.max(0, headingWatts - targetWatts)));
}

/** What quick miners may be told beside the plan, and what can be taken back from them at once. */
export interface Following {
  /** The plan's points, those of quick miners chosen anew so that the meters come to show the targets. */
  readonly modes: Answer['modes'];
  readonly quick: ReadonlySet<DeviceId>;
  /** What each followed limit may carry at most once its wakes draw their power and quick miners have made room. */
  readonly rooms: ReadonlyMap<LimitId, { readonly quick: Watts; readonly slow: Watts }>;
  /** Room at each followed limit that quick miners could not use. */
  readonly unused: ReadonlyMap<LimitId, Watts>;
}

/**
 * Chooses the points of quick miners for the moment: the plan is made for the time when everything that wakes is awake.
 * `null`: nothing is followed. Pure.
 */
export function followSetPoints(
  context: StepContext,
  limits: Readonly<Record<LimitId, LimitMemory>>,
  plan: Plan,
  answer: Answer,
  solve: Solver,
): Following | null {
  // A fall by a step is shed like any other: who is quick need not go down twice for it.
  const followed =
    answer.status === 'infeasible'
      ? []
      : context.limits.filter(({ id }) => limits[id]!.follow?.isSeen && limits[id]!.drop === null);
  if (followed.length === 0) return null;
  const shares = new Map(followed.map(({ id }) => [id, gainsTo(context, id)]));
  const quick = new Set<DeviceId>();
  const at = new Map(followed.map(({ id }) => [id, { notYet: 0, givesBack: 0 }]));
  const add = (what: 'notYet' | 'givesBack', from: LimitId, watts: Watts) => {
    for (const [id, gains] of shares) at.get(id)![what] += watts * (gains.get(from) ?? 0);
  };
  const devices = plan.problem.devices.map((device): ProblemDevice => {
    const candidate = plan.candidates.get(device.id)!;
    const chosen = candidate.facts.points.find((point) => point.id === answer.modes[device.id])!;
    const isBelow = shares.values().some((gains) => gains.has(device.limit));
    const points = isBelow ? quickPoints(candidate, chosen) : null;
    if (points !== null) {
      quick.add(device.id);
      add('givesBack', device.limit, Math.max(0, candidate.current.watts - points[0]!.watts));
      return { ...device, allowed: points.map((point) => point.id), switchDollarsPerHour: calm(device) };
    }
    add('notYet', device.limit, missingWatts(candidate, chosen));
    // Where even the least is too much for the moment, everybody else keeps the plan's point all the same.
    return { ...device, allowed: [chosen.id] };
  });
  if (quick.size === 0) return null;
  const rooms = new Map<LimitId, { quick: Watts; slow: Watts }>();
  const problemLimits = plan.problem.limits.map((limit) => {
    const follow = shares.has(limit.id) ? limits[limit.id]!.follow! : null;
    if (follow === null) return limit;
    const { inForceWatts } = limits[limit.id]!;
    const ceiling = Math.max(inForceWatts, follow.ceilingWatts);
    rooms.set(limit.id, {
      quick: ceiling,
      slow: Math.min(ceiling, inForceWatts + at.get(limit.id)!.givesBack),
    });
    const wanted = follow.targetWatts + follow.trimWatts + at.get(limit.id)!.notYet;
    const most = ceiling * (1 - context.rules.reserveShare);
    return { ...limit, capacityWatts: Math.floor(Math.min(wanted, most)) };
  });
  // Steps of quick miners are small beside a band: filling comes near enough, every second anew.
  const now = solve({ ...plan.problem, limits: problemLimits, devices }, { workUnits: 0 });
  const unused = new Map(
    now.limits.flatMap(({ id, capacityWatts, watts }) =>
      shares.has(id) ? [[id, Math.max(0, Math.floor(capacityWatts - watts))] as const] : [],
    ),
  );
  return { modes: now.modes, quick, rooms, unused };
}

/** Points of a miner that works, stays at work, and takes a new limit within seconds; `null`: it is none. */
function quickPoints(candidate: Candidate, chosen: OperatingPoint): OperatingPoint[] | null {
  const { facts, device, current } = candidate;
  const takesMs = facts.changeMs;
  if (facts.kind !== 'miner' || takesMs === null || takesMs > QUICK_MS) return null;
  if (chosen.kind !== 'run' || current.kind !== 'run' || device.activity !== 'running') return null;
  // What was chosen is one of them.
  return candidate.allowed.filter((point) => point.kind === 'run');
}

/** Staying costs nothing, any other point a little: what is chosen anew every second should not wander. */
function calm({ switchDollarsPerHour }: ProblemDevice): ProblemDevice['switchDollarsPerHour'] {
  return Object.fromEntries(
    Object.entries(switchDollarsPerHour).map(([id, dollars]) => [id, dollars + CALM_DOLLARS_PER_HOUR]),
  );
}

/** What a slow miner is to draw and does not yet; negative while it still draws what it is to give up. */
function missingWatts({ device, facts, current, entry }: Candidate, chosen: OperatingPoint): Watts {
  const { pending } = entry;
  const drawn = device.powerWatts;
  if (drawn === null) return 0;
  const rises = chosen.watts > current.watts || pending?.direction === 'up' || device.activity === 'starting';
  if (rises) return Math.max(0, chosen.watts - drawn);
  const takesMs = chosen.kind === 'sleep' ? facts.sleepMs : facts.changeMs;
  const falls = chosen.watts < current.watts || pending?.direction === 'down';
  return falls && takesMs !== null && takesMs > QUICK_MS ? Math.min(0, chosen.watts - drawn) : 0;
}

/** Watts at `limit` per watt at each limit below it, itself included. */
function gainsTo(context: StepContext, limit: LimitId): ReadonlyMap<LimitId, number> {
  const gains = new Map<LimitId, number>([[limit, 1]]);
  // Parents stand before children.
  for (const one of context.limits) {
    const above = one.parent === null ? undefined : gains.get(one.parent);
    if (above !== undefined && one.id !== limit) gains.set(one.id, above * one.gain);
  }
  return gains;
}
