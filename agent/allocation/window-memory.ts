import type { Compiled } from './compile.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { createStates, type States } from './states.ts';
import type { Workspace } from './sweep.ts';

/** How wide one search is. */
export interface WindowOptions {
  /** Per limit, how many devices nearest to their break keep a choice; the others stay at their best mode. */
  readonly coreDevices: number;
  /** Partial choices kept per step. */
  readonly beam: number;
  /** Only choices that lose less than this against the bound are wanted, dollars per hour. */
  readonly lossBelow: number;
  /** Partial choices that may be looked at; the search gives up beyond. */
  readonly workUnits: number;
  /** States kept at once, and candidates at once for half as many: 50 bytes each or so. */
  readonly mostStates: number;
}

/** Partial choices of one merge before the beaten ones are dropped. */
export interface Candidates {
  size: number;
  capacity: number;
  left: Int32Array;
  right: Int32Array;
  watts: Float64Array;
  value: Float64Array;
  loss: Float64Array;
  /** Sort key: falling order of this is the order of rising watts, then falling value. */
  order: Int32Array;
  scratch: Int32Array;
  key: Float64Array;
}

/** Lives between searches so that they allocate little. */
export interface WindowMemory {
  readonly states: States;
  readonly candidates: Candidates;
  /** Loss of every device mode at the prices in force. */
  readonly loss: Float64Array;
  readonly bestMode: Int32Array;
  /** Least watts of everything below each limit, its fixed load included. */
  readonly leastWatts: Float64Array;
  /** Most watts that a limit may carry so that all limits above hold with the rest at its least. */
  readonly roomWatts: Float64Array;
  /** Devices of each limit. */
  readonly devicesOf: readonly Int32Array[];
  readonly childrenOf: readonly Int32Array[];
  /** For each floor: its place in a state's `sums`, or -1 where it is settled inside one limit. */
  readonly sumOf: Int32Array;
}

/** Room for the window search on one compiled problem. */
export function createWindowMemory(c: Compiled): WindowMemory {
  const limitCount = c.limitIds.length;
  const devices: number[][] = Array.from({ length: limitCount }, () => []);
  for (let i = 0; i < c.deviceIds.length; i += 1) devices[c.deviceLimit[i]!]!.push(i);
  const children: number[][] = Array.from({ length: limitCount }, () => []);
  for (let n = 0; n < limitCount; n += 1) if (c.limitParent[n]! >= 0) children[c.limitParent[n]!]!.push(n);
  let sums = 0;
  const sumOf = new Int32Array(c.floorIds.length).fill(-1);
  for (const [f, members] of c.floorDevices.entries()) {
    const direct = members.every((i) => c.deviceLimit[i] === c.deviceLimit[members[0]!]);
    if (!direct) sumOf[f] = sums++;
  }
  const capacity = 4096;
  return {
    states: createStates(sums),
    candidates: {
      size: 0,
      capacity,
      left: new Int32Array(capacity),
      right: new Int32Array(capacity),
      watts: new Float64Array(capacity),
      value: new Float64Array(capacity),
      loss: new Float64Array(capacity),
      order: new Int32Array(capacity),
      scratch: new Int32Array(capacity),
      key: new Float64Array(capacity),
    },
    loss: new Float64Array(c.deviceIds.length * c.stride),
    bestMode: new Int32Array(c.deviceIds.length),
    leastWatts: new Float64Array(limitCount),
    roomWatts: new Float64Array(limitCount),
    devicesOf: devices.map((list) => Int32Array.from(list)),
    childrenOf: children.map((list) => Int32Array.from(list)),
    sumOf,
  };
}

/** Everything that a single search carries along. */
export interface Search {
  readonly c: Compiled;
  readonly w: Workspace;
  readonly m: WindowMemory;
  readonly options: WindowOptions;
  readonly energyPrice: number;
  /** 1 where the device keeps a choice. */
  readonly inCore: Uint8Array;
  /** Most watts that each summed floor can reach, and the part of it that is merged in the span in hand. */
  readonly floorMost: Float64Array;
  readonly mergedMost: Float64Array;
  /** The same below each finished limit. */
  readonly limitMost: Float64Array;
  work: number;
  complete: boolean;
  /** Watts that must still be added at the limit in hand. */
  restWatts: number;
}

/** Loss of every mode, and the mode of each device that loses nothing. */
export function computeLosses(c: Compiled, w: Workspace, m: WindowMemory, energyPrice: number): void {
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    const n = c.deviceLimit[i]!;
    const f = c.deviceFloor[i]!;
    const perWatt = (f >= 0 ? w.floorPrice[f]! : 0) - (w.pathPrice[n]! + energyPrice) * c.limitRootGain[n]!;
    const start = i * c.stride;
    const end = start + c.modeCount[i]!;
    let best = Number.NEGATIVE_INFINITY;
    for (let s = start; s < end; s += 1) {
      const reduced = c.modeValue[s]! + perWatt * c.modeWatts[s]!;
      m.loss[s] = reduced;
      if (reduced > best) {
        best = reduced;
        m.bestMode[i] = s - start;
      }
    }
    for (let s = start; s < end; s += 1) m.loss[s] = best - m.loss[s]!;
  }
}

/** Least watts per limit and the room that the limits above leave it. */
export function computeRooms(c: Compiled, m: WindowMemory): void {
  const { leastWatts, roomWatts } = m;
  leastWatts.set(c.limitFixed);
  for (let i = 0; i < c.deviceIds.length; i += 1)
    leastWatts[c.deviceLimit[i]!]! += c.modeWatts[i * c.stride]!;
  for (let n = c.limitIds.length - 1; n >= 0; n -= 1) {
    const parent = c.limitParent[n]!;
    if (parent >= 0) leastWatts[parent]! += c.limitGain[n]! * leastWatts[n]!;
  }
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const parent = c.limitParent[n]!;
    const own = c.limitCapacity[n]! + ACCEPTED_WATTS;
    const above =
      parent < 0
        ? own
        : leastWatts[n]! + (roomWatts[parent]! - leastWatts[parent]!) / c.limitGain[n]! + ACCEPTED_WATTS;
    roomWatts[n] = Math.min(own, above);
  }
}
