import type { Compiled } from './compile.ts';
import { type Choice, moveTo } from './fill.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import type { WindowMemory } from './window-memory.ts';

/** Devices looked at in one step, one by one and two by two: where there are more, those that follow on the last ones. */
const MOST_SINGLES = 256;
const MOST_IN_PAIRS = 12;

/** A walk towards a choice that holds, and what each limit and floor that is not held weighs on it. */
interface Walk {
  readonly c: Compiled;
  readonly m: WindowMemory;
  readonly choice: Choice;
  readonly limitWeight: Float64Array;
  readonly floorWeight: Float64Array;
  /** Devices below each limit, gathered when first asked for. */
  readonly below: Map<number, ArrayLike<number>>;
  readonly mostUnits: number;
  /** A device that is not moved; -1: none. */
  readonly held: number;
  workUnits: number;
}

/** One device or two that change, and what that loses for each watt, weighed, that it mends. */
interface Step {
  readonly moves: readonly { readonly device: number; readonly mode: number }[];
  readonly lossPerWatt: number;
}

/**
 * Brings a choice to one that holds every limit and floor, a device or two at a time. A step may break one limit to mend
 * another; where no step mends more than it breaks, everything that is not held comes to weigh more, so the walk does
 * not stay there (the breakout method of Morris, 1993; on whole programs the "feasibility jump" of Luteberget and Sartor,
 * 2023). Of the steps that mend it takes the one that loses least for what it mends, so that the end is near to where
 * it began. Whether all is held then; a unit of work is one change looked at, and it gives up at `mostUnits`. Finding
 * nothing proves nothing. Without `pairs` one device changes at a time: where that is enough, the end is often nearer to
 * the beginning. `held`: a device that stays where it is. `choice` must be refreshed, losses computed.
 */
export function repairChoice(
  c: Compiled,
  m: WindowMemory,
  choice: Choice,
  mostUnits: number,
  pairs = true,
  held = -1,
): { repaired: boolean; workUnits: number } {
  const walk: Walk = {
    c,
    m,
    choice,
    limitWeight: new Float64Array(c.limitIds.length).fill(1),
    floorWeight: new Float64Array(c.floorIds.length).fill(1),
    below: new Map(),
    mostUnits,
    held,
    workUnits: 0,
  };
  for (let turn = 0; ; turn += 1) {
    const open = notHeld(c, choice);
    if (open.length === 0) return { repaired: true, workUnits: walk.workUnits };
    if (walk.workUnits >= mostUnits) return { repaired: false, workUnits: walk.workUnits };
    // A turn costs a unit at least: there may be nothing to change.
    walk.workUnits += 1;
    const devices = devicesOf(walk, open[turn % open.length]!);
    const step =
      bestSingle(walk, inTurn(devices, MOST_SINGLES, turn)) ??
      (pairs ? bestPair(walk, inTurn(devices, MOST_IN_PAIRS, turn)) : null);
    if (step !== null) for (const { device, mode } of step.moves) moveTo(c, choice, device, mode);
    else for (const at of open) weigh(walk, at);
  }
}

/** Limits by their index, floors by theirs from -1 downwards. */
function notHeld(c: Compiled, choice: Choice): number[] {
  const open: number[] = [];
  for (let f = 0; f < c.floorIds.length; f += 1)
    if (choice.floorWatts[f]! < c.floorWatts[f]! - ACCEPTED_WATTS / 2) open.push(-1 - f);
  for (let n = 0; n < c.limitIds.length; n += 1)
    if (choice.slackWatts[n]! < -ACCEPTED_WATTS / 2) open.push(n);
  return open;
}

function weigh({ limitWeight, floorWeight }: Walk, at: number): void {
  if (at >= 0) limitWeight[at]! += 1;
  else floorWeight[-1 - at]! += 1;
}

function devicesOf({ c, m, below }: Walk, at: number): ArrayLike<number> {
  if (at < 0) return c.floorDevices[-1 - at]!;
  const known = below.get(at);
  if (known !== undefined) return known;
  const limits = [at];
  const devices: number[] = [];
  for (let t = 0; t < limits.length; t += 1) {
    for (const child of m.childrenOf[limits[t]!]!) limits.push(child);
    for (const i of m.devicesOf[limits[t]!]!) devices.push(i);
  }
  below.set(at, devices);
  return devices;
}

/** At most `most` of the devices, others in each turn. */
function inTurn(devices: ArrayLike<number>, most: number, turn: number): readonly number[] {
  const count = Math.min(devices.length, most);
  const from = count < devices.length ? turn * count : 0;
  return Array.from({ length: count }, (_, d) => devices[(from + d) % devices.length]!);
}

function bestSingle(walk: Walk, devices: readonly number[]): Step | null {
  let best: Step | null = null;
  for (const device of devices) best = bestMode(walk, device, null, best);
  return best;
}

/** Two devices that together mend more than they break, where no one does by itself. */
function bestPair(walk: Walk, devices: readonly number[]): Step | null {
  const { c, choice } = walk;
  let best: Step | null = null;
  for (const [a, device] of devices.entries()) {
    if (device === walk.held) continue;
    const now = choice.mode[device]!;
    for (let mode = 0; mode < c.modeCount[device]!; mode += 1) {
      if (mode === now) continue;
      const first: First = {
        device,
        mode,
        broken: brokenMore(walk, device, mode),
        loss: lossOf(walk, device, mode),
      };
      moveTo(c, choice, device, mode);
      for (const second of devices.slice(a + 1)) best = bestMode(walk, second, first, best);
      moveTo(c, choice, device, now);
    }
  }
  return best;
}

/** A change that the other of a pair is looked at with: what it breaks more, weighed, and what it loses. */
interface First {
  readonly device: number;
  readonly mode: number;
  readonly broken: number;
  readonly loss: number;
}

/** The mode of `device` that loses least for what it mends, together with `first`, if that is better than `best`. */
function bestMode(walk: Walk, device: number, first: First | null, best: Step | null): Step | null {
  if (device === walk.held) return best;
  const { c, choice } = walk;
  let found = best;
  for (let mode = 0; mode < c.modeCount[device]! && walk.workUnits < walk.mostUnits; mode += 1) {
    if (mode === choice.mode[device]!) continue;
    walk.workUnits += 1;
    const mends = -(first?.broken ?? 0) - brokenMore(walk, device, mode);
    if (mends <= ACCEPTED_WATTS) continue;
    const lossPerWatt = ((first?.loss ?? 0) + lossOf(walk, device, mode)) / mends;
    if (found !== null && lossPerWatt >= found.lossPerWatt) continue;
    const moves = [{ device, mode }];
    found = { moves: first === null ? moves : [first, ...moves], lossPerWatt };
  }
  return found;
}

function lossOf({ c, m, choice }: Walk, device: number, mode: number): number {
  const start = device * c.stride;
  return m.loss[start + mode]! - m.loss[start + choice.mode[device]!]!;
}

/** By how many watts, weighed, more is not held once `device` is at `mode`; below 0: less. */
function brokenMore({ c, choice, limitWeight, floorWeight }: Walk, device: number, mode: number): number {
  const start = device * c.stride;
  const watts = c.modeWatts[start + mode]! - c.modeWatts[start + choice.mode[device]!]!;
  let more = 0;
  let added = watts;
  for (let n = c.deviceLimit[device]!; n >= 0; n = c.limitParent[n]!) {
    const slack = choice.slackWatts[n]!;
    more += limitWeight[n]! * (Math.max(0, added - slack) - Math.max(0, -slack));
    added *= c.limitGain[n]!;
  }
  const f = c.deviceFloor[device]!;
  if (f < 0) return more;
  const short = c.floorWatts[f]! - choice.floorWatts[f]!;
  return more + floorWeight[f]! * (Math.max(0, short - watts) - Math.max(0, short));
}
