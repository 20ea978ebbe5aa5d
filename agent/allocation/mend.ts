import type { Compiled } from './compile.ts';
import { type Choice, fullAt, moveTo, roundByOrder } from './fill.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import type { Workspace } from './sweep.ts';
import type { WindowMemory } from './window-memory.ts';

/** A device that goes up and, where it has no room by itself, another that makes room for it. */
interface Exchange {
  readonly up: number;
  readonly upMode: number;
  /** -1: none. */
  readonly down: number;
  readonly downMode: number;
  /** Dollars per hour that it loses for each watt that floors miss less. */
  readonly lossPerWatt: number;
}

interface Mending {
  readonly c: Compiled;
  readonly m: WindowMemory;
  readonly choice: Choice;
  /** Watts freed at each limit by the device that makes room. */
  readonly freed: Float64Array;
  readonly mostUnits: number;
  workUnits: number;
}

/**
 * A choice where floors cut across the tree: the order of the relaxed answer, rounded down, is near to it but misses
 * floors by parts of steps. Serving the floors first is far from it where there are many: they take the room of limits
 * that others of their devices would have left free. Here what is missed is made up by exchanges, each the one that
 * loses least for what it mends. Whether all floors and limits are then held; a unit of work is one change looked at, and
 * it gives up beyond `mostUnits`. Losses must have been computed.
 */
export function mendFloors(
  c: Compiled,
  w: Workspace,
  m: WindowMemory,
  energyPrice: number,
  choice: Choice,
  mostUnits: number,
): { mended: boolean; workUnits: number } {
  roundByOrder(c, w, energyPrice, choice);
  const freed = new Float64Array(c.limitIds.length);
  const mending: Mending = { c, m, choice, freed, mostUnits, workUnits: 0 };
  for (let f = missedFloor(c, choice); f >= 0; f = missedFloor(c, choice)) {
    const exchange = bestExchange(mending, f);
    // Each brings the floors nearer by some watts, so there is an end.
    if (exchange === null) return { mended: false, workUnits: mending.workUnits };
    if (exchange.down >= 0) moveTo(c, choice, exchange.down, exchange.downMode);
    moveTo(c, choice, exchange.up, exchange.upMode);
  }
  return { mended: true, workUnits: mending.workUnits };
}

/** The first floor that is missed, or -1. */
function missedFloor(c: Compiled, choice: Choice): number {
  for (let f = 0; f < c.floorIds.length; f += 1) if (missing(c, choice, f) > ACCEPTED_WATTS) return f;
  return -1;
}

function missing(c: Compiled, choice: Choice, f: number): number {
  return Math.max(0, c.floorWatts[f]! - choice.floorWatts[f]!);
}

/** The exchange for floor `f` that loses least; `null` where there is none or the work is spent. */
function bestExchange(mending: Mending, f: number): Exchange | null {
  const { c, choice } = mending;
  const need = missing(c, choice, f);
  let best: Exchange | null = null;
  for (const up of c.floorDevices[f]!) {
    const now = choice.mode[up]!;
    for (let upMode = now + 1; upMode < c.modeCount[up]!; upMode += 1) {
      mending.workUnits += 1;
      if (mending.workUnits > mending.mostUnits) return null;
      const watts = stepOf(c, up, now, upMode);
      if (watts <= 0) continue;
      const mends = Math.min(watts, need);
      const lossDollars = lossOf(mending, up, now, upMode);
      const full = fullAt(c, choice, up, watts);
      const found: Exchange | null =
        full < 0
          ? { up, upMode, down: -1, downMode: 0, lossPerWatt: lossDollars / mends }
          : makeRoom(mending, { up, upMode, watts, mends, lossDollars, full });
      if (found !== null && (best === null || found.lossPerWatt < best.lossPerWatt)) best = found;
    }
  }
  return best;
}

/** A rise that finds the limit `full` without room. */
interface Rise {
  readonly up: number;
  readonly upMode: number;
  readonly watts: number;
  readonly mends: number;
  readonly lossDollars: number;
  readonly full: number;
}

/** The best exchange with one device below the limit that is full; it goes down no further than it must. */
function makeRoom(mending: Mending, rise: Rise): Exchange | null {
  const { c, m, choice } = mending;
  const limits = [rise.full];
  let best: Exchange | null = null;
  for (let t = 0; t < limits.length; t += 1) {
    const n = limits[t]!;
    for (const child of m.childrenOf[n]!) limits.push(child);
    for (const down of m.devicesOf[n]!) {
      if (down === rise.up) continue;
      const now = choice.mode[down]!;
      for (let downMode = now - 1; downMode >= 0; downMode -= 1) {
        mending.workUnits += 1;
        if (mending.workUnits > mending.mostUnits) return best;
        const watts = -stepOf(c, down, now, downMode);
        const mends = rise.mends - missedMore(c, choice, down, watts);
        if (mends <= ACCEPTED_WATTS || !fits(mending, rise, down, watts)) continue;
        const lossPerWatt = (rise.lossDollars + lossOf(mending, down, now, downMode)) / mends;
        if (best === null || lossPerWatt < best.lossPerWatt)
          best = { up: rise.up, upMode: rise.upMode, down, downMode, lossPerWatt };
        break;
      }
    }
  }
  return best;
}

/** Whether the rise has room everywhere once `down` takes `watts` less. */
function fits({ c, choice, freed }: Mending, rise: Rise, down: number, watts: number): boolean {
  let back = watts;
  for (let n = c.deviceLimit[down]!; n >= 0; n = c.limitParent[n]!) {
    freed[n] = back;
    back *= c.limitGain[n]!;
  }
  let holds = true;
  let more = rise.watts;
  for (let n = c.deviceLimit[rise.up]!; n >= 0 && holds; n = c.limitParent[n]!) {
    holds = more <= choice.slackWatts[n]! + freed[n]! + ACCEPTED_WATTS / 2;
    more *= c.limitGain[n]!;
  }
  for (let n = c.deviceLimit[down]!; n >= 0; n = c.limitParent[n]!) freed[n] = 0;
  return holds;
}

/** Watts by which the floor of device `i` is missed more where it takes `watts` less. */
function missedMore(c: Compiled, choice: Choice, i: number, watts: number): number {
  const f = c.deviceFloor[i]!;
  if (f < 0) return 0;
  return Math.max(0, c.floorWatts[f]! - choice.floorWatts[f]! + watts) - missing(c, choice, f);
}

function stepOf(c: Compiled, i: number, from: number, to: number): number {
  return c.modeWatts[i * c.stride + to]! - c.modeWatts[i * c.stride + from]!;
}

/** What device `i` loses more at the prices in force. */
function lossOf({ c, m }: Mending, i: number, from: number, to: number): number {
  return m.loss[i * c.stride + to]! - m.loss[i * c.stride + from]!;
}
