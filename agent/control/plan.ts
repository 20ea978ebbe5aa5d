import type { Authority } from '../../config/schema.ts';
import type { LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Problem, ProblemDevice, ProblemFloor, ProblemLimit } from '../allocation/problem.ts';
import { type DeviceInput, NOISE_SHARE, worstOf } from './ledger.ts';
import type { OperatingPoint } from './points.ts';

/** A limit as the plan sees it. */
export interface PlanLimit {
  readonly limit: LimitId;
  readonly parent: LimitId | null;
  readonly gain: number;
  /** Room for everything below, reserves taken off. */
  readonly capacityWatts: Watts;
  /** Uncontrolled load, at most, and what meters show that nothing explains. */
  readonly fixedWatts: Watts;
  readonly authority: Authority;
  /** Nothing below may rise: its meter is silent, or it was shed a moment ago. */
  readonly noRise: boolean;
  /** How far what is below may rise, where that is less: phases are unequal. Never a reason to go down. */
  readonly riseWatts?: Watts;
  /** By when a fallen limit must be met; devices that are too slow for it are used last. */
  readonly deadlineAt: MonotonicMs | null;
}

export interface PlanFloor {
  readonly id: string;
  readonly devices: readonly string[];
  readonly watts: Watts;
}

export interface PlanRules {
  readonly now: MonotonicMs;
  readonly shedOnly: boolean;
  /** Least time awake before it may be put to sleep for money alone. */
  readonly dwellMs: Milliseconds;
  /** Least time asleep. */
  readonly leastSleepMs: Milliseconds;
  readonly wakesPerHour: number;
  /** From a fall of watts until the meter shows it. */
  readonly meterLagMs: Milliseconds;
  /** Largest point that may be chosen for a device; absent = any. */
  readonly ceilings: Readonly<Record<string, Watts>>;
  /** Watts to plan for devices that were read once and are silent now. */
  readonly unseen: ReadonlyMap<string, Watts>;
  /** Watts to plan for devices that may ignore what they were told: others go down in time. */
  readonly doubted: ReadonlyMap<string, Watts>;
  /** Dollars per watt and hour that a device's watts are worth beside what they earn: fairness among tenants. */
  readonly favours?: ReadonlyMap<string, number>;
}

/** The price of last resort: a device too slow for a deadline, or awake for too short a time. */
const RELUCTANT_DOLLARS_PER_HOUR = 1000;

/** No change is free: a gain of less than this is noise in the figures. */
const CHANGE_DOLLARS_PER_HOUR = 0.002;

/** What is known to obey is worth a little: less than any difference between machines that matters. */
const OBEYED_DOLLARS_PER_HOUR = 0.0005;

/** A device that may be commanded now, with the points that may be chosen. */
export interface Candidate extends DeviceInput {
  readonly current: OperatingPoint;
  readonly allowed: readonly OperatingPoint[];
  /** It is above what it is entitled to. */
  readonly overGrant: boolean;
}

export interface Plan {
  readonly problem: Problem;
  readonly candidates: ReadonlyMap<string, Candidate>;
  /** Limits that hold no more than they may only if something below them falls. */
  readonly over: ReadonlySet<LimitId>;
}

/** Turns the state of the site into one allocation problem in whole watts: need rounded up, room down. Pure. */
export function buildPlan(
  limits: readonly PlanLimit[],
  devices: readonly DeviceInput[],
  floors: readonly PlanFloor[],
  rules: PlanRules,
): Plan {
  const limitOf = new Map(limits.map((limit) => [limit.limit, limit]));
  const fixed = new Map(limits.map((limit) => [limit.limit, limit.fixedWatts]));
  const aboveOf = new Map<LimitId, Above>();
  const candidates = new Map<string, Candidate>();
  const problemDevices: ProblemDevice[] = [];
  for (const input of devices) {
    const { limit } = input.facts;
    const above = aboveOf.get(limit) ?? whatHolds(limitOf, limit);
    aboveOf.set(limit, above);
    const candidate = candidateOf(input, above, rules);
    if (candidate === null) {
      fixed.set(input.facts.limit, (fixed.get(input.facts.limit) ?? 0) + constantWatts(input, rules));
      continue;
    }
    candidates.set(input.facts.id, candidate);
    problemDevices.push(problemDevice(candidate, above, rules));
  }
  const held = limits.map(
    (limit): ProblemLimit => ({
      id: limit.limit,
      parent: limit.parent,
      capacityWatts: Math.floor(limit.capacityWatts),
      fixedWatts: Math.ceil(fixed.get(limit.limit)!),
      gain: limit.gain,
    }),
  );
  const totals = totalsNow(held, candidates);
  const problemLimits = held.map((limit, index): ProblemLimit => {
    const most = Math.max(Math.floor(limits[index]!.riseWatts ?? Infinity), totals.get(limit.id)!);
    return most < limit.capacityWatts ? { ...limit, capacityWatts: most } : limit;
  });
  return {
    problem: { limits: problemLimits, devices: problemDevices, floors: problemFloors(floors, candidates) },
    candidates,
    over: new Set(
      held.filter(({ id, capacityWatts }) => totals.get(id)! > capacityWatts).map(({ id }) => id),
    ),
  };
}

/** What every limit (parents stand before children) holds at the present points. */
function totalsNow(
  limits: readonly ProblemLimit[],
  candidates: ReadonlyMap<string, Candidate>,
): ReadonlyMap<LimitId, Watts> {
  const totals = new Map(limits.map((limit) => [limit.id, limit.fixedWatts]));
  for (const { facts, current } of candidates.values())
    totals.set(facts.limit, totals.get(facts.limit)! + current.watts);
  for (const { id, parent, gain } of limits.toReversed())
    if (parent !== null) totals.set(parent, totals.get(parent)! + totals.get(id)! * gain);
  return totals;
}

/** What the limits above a device hold it to, together. */
interface Above {
  readonly authority: Authority;
  readonly noRise: boolean;
  /** The first deadline of them; `null`: none has any. */
  readonly deadlineAt: MonotonicMs | null;
}

function whatHolds(limitOf: ReadonlyMap<LimitId, PlanLimit>, lowest: LimitId): Above {
  let noRise = false;
  let deadlineAt: MonotonicMs | null = null;
  for (let at = limitOf.get(lowest); at !== undefined; ) {
    noRise ||= at.noRise || at.authority === 'shed-only';
    if (at.deadlineAt !== null) deadlineAt = Math.min(deadlineAt ?? at.deadlineAt, at.deadlineAt);
    at = at.parent === null ? undefined : limitOf.get(at.parent);
  }
  return { authority: limitOf.get(lowest)?.authority ?? 'observe', noRise, deadlineAt };
}

/** What a device that cannot be commanded takes in the plan. */
function constantWatts(input: DeviceInput, { unseen, doubted }: PlanRules): Watts {
  const { device, facts } = input;
  if (device.inventory === 'expected' || device.inventory === 'removed') return 0;
  const known = unseen.get(facts.id) ?? doubted.get(facts.id);
  if (known !== undefined) return known;
  // Not read yet since the agent started: what it was last told or proved to do says whether others must fall.
  // Its worst case still forbids every rise; a start alone must not shed the site. The margin that proof adds
  // for noise is taken off: the plan counts points.
  if (device.inventory === 'present' && device.sampledAt === null) {
    const { pending, provenWatts } = input.entry;
    return pending !== null && !pending.failed && pending.direction === 'down'
      ? pending.watts
      : provenWatts / (1 + NOISE_SHARE);
  }
  const trusted =
    device.inventory === 'present' &&
    device.fresh &&
    input.entry.quarantine === null &&
    device.failure !== 'wrong-device';
  if (
    trusted &&
    facts.kind === 'miner' &&
    device.powerWatts !== null &&
    device.activity !== 'fault' &&
    device.activity !== 'unknown'
  ) {
    // It only reports: what it draws, or its full power where it may go there by itself.
    return Math.max(device.powerWatts, facts.points.at(-1)!.watts);
  }
  return worstOf(input.entry, facts, device);
}

function candidateOf(input: DeviceInput, above: Above, rules: PlanRules): Candidate | null {
  const { entry, facts, device } = input;
  if (device.inventory !== 'present' || !device.fresh || entry.quarantine !== null) return null;
  if (rules.doubted.has(facts.id)) return null;
  if (device.failure === 'wrong-device' || device.activity === 'unknown') return null;
  const { authority } = above;
  if (authority === 'observe' || authority === 'advise' || facts.points.length < 2) return null;
  const current = currentPoint(input);
  if (current === null) return null;
  const { pending } = entry;
  const noRise = rules.shedOnly || above.noRise;
  const asleep = current.kind === 'sleep';
  const tooEarly = asleep && entry.sleptAt !== null && rules.now - entry.sleptAt < rules.leastSleepMs;
  const tooOften =
    asleep && entry.wakes.filter((at) => rules.now - at < 3_600_000).length >= rules.wakesPerHour;
  const moving = pending !== null && !pending.failed;
  const ceiling = noRise || tooEarly || tooOften || moving ? current.watts : Number.POSITIVE_INFINITY;
  // Without a grant a node stays at its ceiling; below its lowest point there is nothing to tell it.
  const granted = Math.max(rules.ceilings[facts.id] ?? Number.POSITIVE_INFINITY, facts.points[0]!.watts);
  const allowed = facts.points.filter((point) => point.watts <= Math.min(ceiling, granted));
  const overGrant = current.watts > granted;
  return { ...input, current, overGrant, allowed };
}

/** Where the device is, or is on its way to. */
export function currentPoint(input: DeviceInput): OperatingPoint | null {
  const { entry, facts } = input;
  const { pending } = entry;
  if (pending !== null && !pending.failed) {
    const point = facts.points.find((candidate) => candidate.id === pending.pointId);
    if (point !== undefined) return point;
  }
  return facts.points.find((point) => point.id === entry.pointId) ?? null;
}

function problemDevice(candidate: Candidate, { deadlineAt }: Above, rules: PlanRules): ProblemDevice {
  const { facts, entry, current } = candidate;
  const switching: Record<string, number> = {};
  const favour = rules.favours?.get(facts.id) ?? 0;
  for (const point of facts.points) {
    if (point.id === current.id) continue;
    let cost = CHANGE_DOLLARS_PER_HOUR;
    if (point.kind === 'run' && current.kind === 'sleep') cost += facts.wakeDollars;
    if (point.kind === 'sleep') cost += facts.wakeDollars / 2;
    if (point.watts < current.watts) {
      const takesMs = point.kind === 'sleep' ? facts.sleepMs : facts.changeMs;
      const late =
        deadlineAt !== null && (takesMs === null || rules.now + takesMs + rules.meterLagMs > deadlineAt);
      const early = entry.wokeAt !== null && rules.now - entry.wokeAt < rules.dwellMs;
      if (late) cost += RELUCTANT_DOLLARS_PER_HOUR;
      if (early) cost += RELUCTANT_DOLLARS_PER_HOUR / 2;
      // Of equals who obeyed before goes first; a device that did not obey is the last to rely on.
      if (entry.obeyed === true) cost -= OBEYED_DOLLARS_PER_HOUR;
      if (entry.disobeyed > 0) cost += (RELUCTANT_DOLLARS_PER_HOUR / 4) * entry.disobeyed;
    }
    switching[point.id] = cost;
  }
  return {
    id: facts.id,
    limit: facts.limit,
    current: current.id,
    modes: facts.points.map((point) => ({
      id: point.id,
      watts: Math.ceil(point.watts),
      dollarsPerHour: point.dollarsPerHour + favour * point.watts,
    })),
    switchDollarsPerHour: switching,
    allowed: candidate.allowed.map((point) => point.id),
  };
}

/** A floor asks no more of its devices than they can draw now; what cannot be commanded counts as it is. */
function problemFloors(
  floors: readonly PlanFloor[],
  candidates: ReadonlyMap<string, Candidate>,
): ProblemFloor[] {
  return floors.flatMap((floor): ProblemFloor[] => {
    const devices = floor.devices.filter((id) => candidates.has(id));
    const most = devices.reduce(
      (sum, id) => sum + Math.max(...candidates.get(id)!.allowed.map((point) => point.watts)),
      0,
    );
    const watts = Math.min(Math.ceil(floor.watts), most);
    return devices.length === 0 || watts <= 0 ? [] : [{ id: floor.id, devices, watts }];
  });
}
