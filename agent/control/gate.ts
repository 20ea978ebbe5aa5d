import { formatWatts } from '../../config/quantity.ts';
import type { LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Answer } from '../allocation/problem.ts';
import type { Command } from './decision.ts';
import type { Following } from './follow.ts';
import { book, type DeviceInput, type Entry, OVERSHOOT, worstOf } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import type { NodeSums } from './node-sums.ts';
import type { Candidate, Plan } from './plan.ts';
import type { OperatingPoint } from './points.ts';
import { editionOf, type Permitted, RAMP_BUCKET_MS, type StepContext } from './step-context.ts';

export interface GateInput {
  readonly context: StepContext;
  readonly plan: Plan;
  readonly answer: Answer;
  readonly limits: Readonly<Record<LimitId, LimitMemory>>;
  readonly sums: ReadonlyMap<LimitId, NodeSums>;
  readonly inputs: readonly DeviceInput[];
  readonly orders: Permitted;
  readonly now: MonotonicMs;
  readonly rampTokensWatts: Watts;
  /** What may fall for money alone, where the rules have a ramp for it. */
  readonly fallTokensWatts: Watts;
  /** Where set points are held: who makes up for the moment, and what else there is room for. */
  readonly following?: Following | null;
}

export interface Gated {
  readonly commands: readonly Command[];
  readonly entries: ReadonlyMap<string, Entry>;
  /** Limits below which something was shed in this cycle. */
  readonly shedLimits: readonly LimitId[];
  readonly wakesAt: ReadonlyMap<LimitId, readonly MonotonicMs[]>;
  readonly rampTokensWatts: Watts;
  readonly fallTokensWatts: Watts | null;
  /** What would go down for money and waits for the ramp. */
  readonly heldFalls: { readonly count: number; readonly watts: Watts } | null;
  readonly heldBack: { readonly count: number; readonly watts: Watts; readonly why: string } | null;
}

interface Move {
  readonly candidate: Candidate;
  readonly target: OperatingPoint;
}

/**
 * From wanted points to commands: every fall that something asks for goes out at once; one for money alone by the ramp of
 * the site, where it has one; a rise only where the worst case of every limit
 * on its path still fits, the ramp and the stagger allow it, and nothing was shed below the same limit. Pure.
 */
export function commandsOf(input: GateInput): Gated {
  const falls: Move[] = [];
  const rises: Move[] = [];
  for (const candidate of input.plan.candidates.values()) {
    const wanted = input.answer.modes[candidate.facts.id];
    const target = candidate.facts.points.find((point) => point.id === wanted);
    if (target === undefined || target.id === candidate.current.id) continue;
    (target.watts > candidate.current.watts ? rises : falls).push({ candidate, target });
  }
  const room = new Room(input);
  const commands: Command[] = [];
  const entries = new Map<string, Entry>();
  const shed = new Set<LimitId>();
  const paced = pacedFalls(input, falls, room);
  for (const { candidate, target } of paced.falls) {
    const why = reason(input, candidate, target);
    commands.push(commandOf(candidate, target, why));
    entries.set(
      candidate.facts.id,
      book(candidate.entry, candidate.facts, target, candidate.current, input.now, slack(input), why.text),
    );
    // A fall that a limit needs forbids rises below it for a while; one that only earns more does not.
    for (const { id } of room.path(candidate.facts.limit)) if (isShed(input, id)) shed.add(id);
  }
  const held = { count: 0, watts: 0, why: '' };
  let tokens = input.rampTokensWatts;
  for (const move of byWorth(rises)) {
    const { candidate, target } = move;
    const riseWatts = target.watts - candidate.current.watts;
    const refusal =
      room.refuse(candidate, target, shed) ??
      (tokens < riseWatts && tokens < fullBucket(input, input.context.rules.rampPercentPerMinute)
        ? 'the restore ramp'
        : null);
    if (refusal !== null) {
      held.count += 1;
      held.watts += riseWatts;
      held.why = held.why === '' ? refusal : held.why;
      continue;
    }
    tokens -= riseWatts;
    room.take(candidate, target);
    const why = {
      text: `room for ${candidate.facts.id} below ${candidate.facts.limit}: worst case fits every limit above it`,
      limit: null,
      price: null,
    };
    commands.push(commandOf(candidate, target, why));
    entries.set(
      candidate.facts.id,
      book(candidate.entry, candidate.facts, target, candidate.current, input.now, slack(input), why.text),
    );
  }
  return {
    commands,
    entries,
    shedLimits: [...shed],
    wakesAt: room.wakes(),
    rampTokensWatts: tokens,
    fallTokensWatts: paced.tokensWatts,
    heldFalls: paced.heldFalls,
    heldBack: held.count === 0 ? null : held,
  };
}

/** The falls of this cycle: all that a limit, a set point or an ended grant asks for; of the others what the ramp lets go. */
function pacedFalls(
  input: GateInput,
  falls: readonly Move[],
  room: Room,
): Pick<Gated, 'heldFalls'> & { falls: readonly Move[]; tokensWatts: Watts | null } {
  const percent = input.context.rules.fallRampPercentPerMinute;
  if (percent === undefined) return { falls, tokensWatts: null, heldFalls: null };
  const isAsked = ({ candidate }: Move) =>
    candidate.overGrant ||
    room
      .path(candidate.facts.limit)
      .some(({ id }) => input.plan.over.has(id) || input.following?.rooms.has(id) === true);
  let tokens = input.fallTokensWatts;
  const full = fullBucket(input, percent);
  const held = { count: 0, watts: 0 };
  const lets = ({ candidate, target }: Move): boolean => {
    const watts = candidate.current.watts - target.watts;
    const goes = tokens >= watts || tokens >= full;
    if (goes) tokens -= watts;
    else {
      held.count += 1;
      held.watts += watts;
    }
    return goes;
  };
  const asked = falls.filter(isAsked);
  const rest = byGain(falls.filter((move) => !isAsked(move))).filter(lets);
  return { falls: [...asked, ...rest], tokensWatts: tokens, heldFalls: held.count === 0 ? null : held };
}

/** Who gains most per watt by going down first, then by id. */
function byGain(moves: Move[]): Move[] {
  const gain = ({ candidate: { current }, target }: Move) =>
    (target.dollarsPerHour - current.dollarsPerHour) / Math.max(1, current.watts - target.watts);
  return moves.sort((a, b) => gain(b) - gain(a) || (a.candidate.facts.id < b.candidate.facts.id ? -1 : 1));
}

/** Something below had to go down for it. Below a set point quick miners go up and down all the time. */
function isShed({ plan, following }: GateInput, limit: LimitId): boolean {
  return plan.over.has(limit) && !following?.rooms.has(limit);
}

function slack(input: GateInput): number {
  // One poll to see it, one more in case that one was just missed.
  return input.context.rules.pollMs * 2;
}

/** A single device larger than what the bucket ever holds may go when the bucket is full. */
function fullBucket(input: GateInput, percentPerMinute: number): Watts {
  const { context } = input;
  const size = context.limits
    .filter((limit) => limit.parent === null)
    .reduce((sum, root) => sum + Math.min(root.ratingWatts, input.limits[root.id]!.inForceWatts), 0);
  return ((size * percentPerMinute * RAMP_BUCKET_MS) / 100 / 60_000) * 0.999;
}

function commandOf(
  candidate: Candidate,
  target: OperatingPoint,
  why: { text: string; limit: LimitId | null; price: number | null },
): Command {
  return {
    device: candidate.facts.id,
    pointId: target.id,
    kind: target.kind,
    watts: target.watts,
    limitWatts: target.limitWatts,
    direction: target.watts > candidate.current.watts ? 'up' : 'down',
    fromPointId: candidate.current.id,
    fromWatts: candidate.current.watts,
    why: why.text,
    bindingLimit: why.limit,
    dollarsPerKwh: why.price,
  };
}

/** Why a device goes down: the dearest limit that binds above it, or that it earns less than it costs. */
function reason(
  input: GateInput,
  candidate: Candidate,
  target: OperatingPoint,
): { text: string; limit: LimitId | null; price: number | null } {
  const parents = new Map(input.context.limits.map((limit) => [limit.id, limit.parent]));
  let binding: { id: LimitId; price: number } | null = null;
  for (let at: LimitId | null | undefined = candidate.facts.limit; at != null; at = parents.get(at)) {
    const price = input.answer.limits.find((limit) => limit.id === at)?.dollarsPerKwh ?? 0;
    if (price > (binding?.price ?? 0)) binding = { id: at, price };
    const memory = input.limits[at];
    if (binding === null && memory?.drop != null) binding = { id: at, price };
  }
  const verb = target.kind === 'sleep' ? 'sleeps' : `goes down to ${formatWatts(target.watts)}`;
  if (candidate.overGrant) {
    const entitled = input.orders.ceilings[candidate.facts.id] ?? 0;
    return {
      text: `${candidate.facts.id} ${verb}: it may draw ${entitled} W, no grant covers more`,
      limit: null,
      price: null,
    };
  }
  if (binding !== null) {
    const watts = formatWatts(input.limits[binding.id]!.inForceWatts);
    return {
      text: `${candidate.facts.id} ${verb}: ${binding.id} is limited to ${watts}, where one more kWh is worth ${binding.price.toFixed(4)} $ and this device earns less`,
      limit: binding.id,
      price: binding.price,
    };
  }
  return {
    text: `${candidate.facts.id} ${verb}: it earns less than its energy costs`,
    limit: null,
    price: null,
  };
}

/** Most worth per watt first, then by id: two runs decide alike. */
function byWorth(moves: Move[]): Move[] {
  const worth = ({ candidate, target }: Move) =>
    (target.dollarsPerHour - candidate.current.dollarsPerHour) /
    Math.max(1, target.watts - candidate.current.watts);
  return moves.sort((a, b) => worth(b) - worth(a) || (a.candidate.facts.id < b.candidate.facts.id ? -1 : 1));
}

/** Keeps the worst case of every limit up to date while rises are granted one by one. */
class Room {
  private readonly input: GateInput;
  private readonly worst = new Map<LimitId, { sum: number; metered: number | null }>();
  private readonly paths = new Map<LimitId, { id: LimitId; gain: number }[]>();
  private readonly wakesAt = new Map<LimitId, MonotonicMs[]>();
  private readonly mostWakes = new Map<LimitId, number>();
  /** Granted and not yet drawn: per node, and what it comes to at each limit. */
  private readonly granted: Record<string, Watts>;
  private readonly promised = new Map<LimitId, Watts>();

  constructor(input: GateInput) {
    this.input = input;
    for (const limit of input.context.limits) {
      const sums = input.sums.get(limit.id)!;
      this.worst.set(limit.id, { sum: sums.sumWorstWatts, metered: sums.meteredWorstWatts });
      this.wakesAt.set(limit.id, [...input.limits[limit.id]!.wakesAt]);
      this.mostWakes.set(limit.id, limit.wakesPerTenSeconds ?? input.context.rules.wakesPerTenSeconds);
    }
    this.granted = { ...input.orders.grantedWatts };
    if (Object.keys(this.granted).length === 0) return;
    for (const { facts } of input.inputs) {
      const watts = this.granted[facts.id] ?? 0;
      if (watts > 0) this.promise(facts.limit, watts);
    }
  }

  private promise(limit: LimitId, watts: Watts): void {
    for (const { id, gain } of this.path(limit))
      this.promised.set(id, (this.promised.get(id) ?? 0) + watts * gain);
  }

  /** The part of a rise that a grant stands behind: all above what the node may draw without it. */
  private ownGrant(candidate: Candidate, target: OperatingPoint): Watts {
    const granted = this.granted[candidate.facts.id] ?? 0;
    const without = (this.input.orders.ceilings[candidate.facts.id] ?? 0) - granted;
    return Math.max(0, Math.min(granted, target.watts - without));
  }

  /** Why a rise may not happen now, or null. */
  refuse(candidate: Candidate, target: OperatingPoint, shed: ReadonlySet<LimitId>): string | null {
    const { context, limits } = this.input;
    const wakes = target.kind === 'run' && candidate.current.kind === 'sleep';
    const own = this.ownGrant(candidate, target);
    for (const { id, gain, sum, metered } of this.after(candidate, target)) {
      if (shed.has(id)) return `${id} was shed in this cycle`;
      const memory = limits[id]!;
      const after = worstOfTwo(sum, metered);
      const kept = (this.input.orders.reservedWatts[id] ?? 0) + (this.promised.get(id) ?? 0) - own * gain;
      const room = this.mostWatts(candidate, id, memory) * (1 - context.rules.reserveShare / 2) - kept;
      if (after > room) return `the worst case of ${id} (${Math.round(after)} W of ${Math.round(room)} W)`;
      if (wakes && this.wakesAt.get(id)!.length >= this.mostWakes.get(id)!)
        return `the stagger of wakes below ${id}`;
    }
    return null;
  }

  /**
   * The limit in force; at a set point more, as far as it can be taken back within seconds. Where phases are unequal no
   * more than fits if what comes lands on the fullest.
   */
  private mostWatts(candidate: Candidate, limit: LimitId, memory: LimitMemory): Watts {
    const { context, following } = this.input;
    const earlier = editionOf(context.rules) < 3;
    const phases = (earlier ? undefined : memory.bounds?.phases?.riseWatts) ?? Infinity;
    const room = following?.rooms.get(limit);
    if (following == null || room === undefined) return Math.min(phases, memory.inForceWatts);
    return Math.min(phases, following.quick.has(candidate.facts.id) ? room.quick : room.slow);
  }

  take(candidate: Candidate, target: OperatingPoint): void {
    const wakes = target.kind === 'run' && candidate.current.kind === 'sleep';
    const own = this.ownGrant(candidate, target);
    if (own > 0) {
      this.granted[candidate.facts.id] = this.granted[candidate.facts.id]! - own;
      this.promise(candidate.facts.limit, -own);
    }
    for (const { id, sum, metered } of this.after(candidate, target)) {
      this.worst.set(id, { sum, metered });
      if (wakes) this.wakesAt.get(id)!.push(this.input.now);
    }
  }

  wakes(): ReadonlyMap<LimitId, readonly MonotonicMs[]> {
    return this.wakesAt;
  }

  /**
   * The two sums of every limit on the path after a rise. To its parent a limit is the less of its own two: a rise
   * that the parts had booked already may still be one for the meter in between.
   */
  private after(
    candidate: Candidate,
    target: OperatingPoint,
  ): { id: LimitId; gain: number; sum: Watts; metered: Watts | null }[] {
    const { sumRise, meterRise } = this.rises(candidate, target);
    let below = sumRise;
    let gainBelow = 1;
    return this.path(candidate.facts.limit).map(({ id, gain }) => {
      const before = this.worst.get(id)!;
      const sum = before.sum + (below * gain) / gainBelow;
      const metered = before.metered === null ? null : before.metered + meterRise * gain;
      below = Math.max(0, worstOfTwo(sum, metered) - worstOfTwo(before.sum, before.metered));
      gainBelow = gain;
      return { id, gain, sum, metered };
    });
  }

  /** How far the two sums go up: from the booked worst, and from the measured draw. */
  private rises(candidate: Candidate, target: OperatingPoint): { sumRise: Watts; meterRise: Watts } {
    const { entry, facts, device } = candidate;
    const wakes = target.kind === 'run' && candidate.current.kind === 'sleep';
    const peak = facts.kind === 'gpu-node' ? target.watts : target.watts * (wakes ? OVERSHOOT : 1);
    const booked = worstOf(entry, facts, device);
    // For a GPU node the room between draw and caps is in the metered worst already.
    const drawn = facts.kind === 'gpu-node' ? booked : (device.powerWatts ?? 0);
    return { sumRise: Math.max(0, peak - booked), meterRise: Math.max(0, peak - drawn) };
  }

  path(limit: LimitId): { id: LimitId; gain: number }[] {
    const known = this.paths.get(limit);
    if (known !== undefined) return known;
    const path: { id: LimitId; gain: number }[] = [];
    let gain = 1;
    for (let at = this.input.context.limits.find((candidate) => candidate.id === limit); at !== undefined; ) {
      path.push({ id: at.id, gain });
      gain *= at.gain;
      const { parent } = at;
      at =
        parent === null ? undefined : this.input.context.limits.find((candidate) => candidate.id === parent);
    }
    this.paths.set(limit, path);
    return path;
  }
}

function worstOfTwo(sum: Watts, metered: Watts | null): Watts {
  return metered === null ? sum : Math.min(sum, metered);
}
