import type { Compiled } from './compile.ts';
import { type Cuts, createCuts } from './cuts.ts';
import { createLimitLists, type LimitLists } from './limit-lists.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { createWholeModes, type WholeModes } from './whole-modes.ts';

/** The relaxed answer without a sweep, and the whole modes in it. */
export interface Unswept {
  readonly lists: LimitLists;
  readonly cuts: Cuts;
  readonly whole: WholeModes;
}

/** Everything the sweeps write, made once per problem shape: the sweeps themselves allocate nothing. */
export interface Workspace {
  /** Root watts left at each limit. */
  readonly slack: Float64Array;
  /** Root watts left at each limit with every device at its least. */
  readonly baseSlack: Float64Array;
  /** Key of the first segment that the limit turned away; `NaN` while it has turned none away. */
  readonly limitKey: Float64Array;
  /** Floor that was being served when that happened, or -1. */
  readonly limitKeyFloor: Int32Array;
  /** Hull corner reached by each device, and root watts taken of its next segment. */
  readonly corner: Int32Array;
  readonly partRootWatts: Float64Array;
  readonly blocked: Uint8Array;
  /** Effective key of each segment (with the multiplier of a cross-cutting floor in it). */
  readonly keys: Float64Array;
  /** What finds the same answer without a sweep; `null` where there are floors. */
  readonly unswept: Unswept | null;
  /** All segments by falling key without multipliers; empty where nothing is swept. */
  readonly order: Int32Array;
  /** The order in force for a sweep; the same array as `order` where no floor cuts across. */
  readonly sweepOrder: Int32Array;
  readonly sortScratch: Int32Array;
  /** Sum of the prices of the limits from here to the root, dollars per hour and root watt. */
  readonly pathPrice: Float64Array;
  /** Multiplier of each floor, dollars per hour and watt. */
  readonly floorPrice: Float64Array;
  /** Local mode of each device that was best at the last prices: no more than a guess. */
  readonly likelyBest: Int32Array;
  /** Watts that each floor's devices reach in the relaxed answer. */
  readonly floorReached: Float64Array;
  /** Least key that was taken to serve a nested floor, in root watts; `NaN` when nothing had to be. */
  readonly floorServedKey: Float64Array;
  /** Segments of each nested floor by falling key. */
  readonly floorOrder: Int32Array[];
  orderCount: number;
  sweepCount: number;
  /** What the last bound was raised by for rounding, dollars per hour. */
  boundRounding: number;
}

/** Sites without floors are not swept, unless `swept` says that they are to be. */
export function createWorkspace(c: Compiled, swept = c.floorIds.length > 0): Workspace {
  const limitCount = c.limitIds.length;
  const deviceCount = c.deviceIds.length;
  const segmentCount = swept ? deviceCount * c.stride : 0;
  const floorCount = c.floorIds.length;
  const order = new Int32Array(segmentCount);
  const crosses = c.floorNested.some((nested) => nested === 0);
  return {
    slack: new Float64Array(limitCount),
    baseSlack: new Float64Array(limitCount),
    limitKey: new Float64Array(limitCount),
    limitKeyFloor: new Int32Array(limitCount),
    corner: new Int32Array(deviceCount),
    partRootWatts: new Float64Array(deviceCount),
    blocked: new Uint8Array(deviceCount),
    keys: crosses ? new Float64Array(segmentCount) : c.segmentKey,
    unswept: swept ? null : createUnswept(c),
    order,
    sweepOrder: crosses ? new Int32Array(segmentCount) : order,
    sortScratch: new Int32Array(segmentCount),
    pathPrice: new Float64Array(limitCount),
    floorPrice: new Float64Array(floorCount),
    likelyBest: new Int32Array(deviceCount),
    floorReached: new Float64Array(floorCount),
    floorServedKey: new Float64Array(floorCount),
    floorOrder: c.floorDevices.map((devices) => new Int32Array(devices.length * c.stride)),
    orderCount: 0,
    sweepCount: 0,
    boundRounding: 0,
  };
}

function createUnswept(c: Compiled): Unswept {
  return {
    lists: createLimitLists(c),
    cuts: createCuts(c),
    whole: createWholeModes(c),
  };
}

/** Root watts left at each limit with every device at its least; returns whether all limits hold so. */
export function computeBaseSlack(c: Compiled, w: Workspace): boolean {
  const { baseSlack } = w;
  const limitCount = c.limitIds.length;
  for (let n = 0; n < limitCount; n += 1) {
    baseSlack[n] = c.limitFixed[n]! + (w.unswept === null ? 0 : w.unswept.lists.leastWatts[n]!);
  }
  for (let i = 0; w.unswept === null && i < c.deviceIds.length; i += 1) {
    baseSlack[c.deviceLimit[i]!]! += c.modeWatts[i * c.stride]!;
  }
  for (let n = limitCount - 1; n >= 0; n -= 1) {
    const parent = c.limitParent[n]!;
    if (parent >= 0) baseSlack[parent]! += c.limitGain[n]! * baseSlack[n]!;
  }
  let holds = true;
  for (let n = 0; n < limitCount; n += 1) {
    const left = c.limitCapacity[n]! - baseSlack[n]!;
    if (left < -ACCEPTED_WATTS) holds = false;
    baseSlack[n] = Math.max(0, left) * c.limitRootGain[n]!;
  }
  return holds;
}

/** Begins a sweep: every device at its least, then the nested floors; returns whether all of those can be served. */
export function serveFloors(c: Compiled, w: Workspace): boolean {
  w.slack.set(w.baseSlack);
  w.limitKey.fill(Number.NaN);
  w.corner.fill(0);
  w.partRootWatts.fill(0);
  w.blocked.fill(0);
  let served = true;
  for (let f = 0; f < c.floorIds.length; f += 1) {
    if (c.floorNested[f] === 1 && !serveNestedFloor(c, w, f)) served = false;
  }
  return served;
}

/**
 * The exact optimum of the relaxed problem (a device may stand between two corners of its hull), for fixed
 * multipliers of the cross-cutting floors: from where the nested floors are served every segment in order takes
 * what its path to the root has left. Segments worth no more than `energyPrice` (per root watt) stay out.
 *
 * Source: greedy on polymatroids (Federgruen and Groenevelt 1986; Hochbaum 1994).
 */
export function sweepRelaxed(c: Compiled, w: Workspace, energyPrice: number): void {
  const { corner, partRootWatts, blocked, keys, sweepOrder, slack } = w;
  const count = countAbove(w, energyPrice);
  const { strideBits, segmentRootWatts, deviceLimit, limitParent } = c;
  const mask = c.stride - 1;
  const oneRoot = c.limitIds.length === 1 || c.limitParent[1] !== -1;
  for (let t = 0; t < count; t += 1) {
    const segment = sweepOrder[t]!;
    const i = segment >> strideBits;
    if (blocked[i] === 1) continue;
    const k = segment & mask;
    if (corner[i]! >= k) continue;
    const wanted = segmentRootWatts[segment]! - partRootWatts[i]!;
    // The common case in one walk: it fits everywhere.
    let n = deviceLimit[i]!;
    while (n >= 0 && slack[n]! >= wanted) {
      slack[n]! -= wanted;
      n = limitParent[n]!;
    }
    if (n < 0) {
      corner[i] = k;
      partRootWatts[i] = 0;
      continue;
    }
    for (let back = deviceLimit[i]!; back !== n; back = limitParent[back]!) slack[back]! += wanted;
    takeSegment(c, w, i, k, wanted, keys[segment]!, -1);
    // A full root ends it: nothing below can take more, and no later price is greater.
    if (oneRoot && !Number.isNaN(w.limitKey[0]!)) break;
  }
}

/** How many segments of the sweep's order are worth more than `energyPrice`. */
export function countAbove(w: Workspace, energyPrice: number): number {
  let low = 0;
  let high = w.sweepCount;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (w.keys[w.sweepOrder[middle]!]! > energyPrice) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Takes `wanted` root watts of segment `k`, or what the path has left; marks the limit that stopped it. */
function takeSegment(
  c: Compiled,
  w: Workspace,
  i: number,
  k: number,
  wanted: number,
  key: number,
  floor: number,
): number {
  const { slack } = w;
  const { limitParent } = c;
  let room = wanted;
  const limit = c.deviceLimit[i]!;
  for (let n = limit; n >= 0; n = limitParent[n]!) if (slack[n]! < room) room = slack[n]!;
  for (let n = limit; n >= 0; n = limitParent[n]!) slack[n]! -= room;
  if (room < wanted) {
    w.blocked[i] = 1;
    w.partRootWatts[i]! += room;
    // The topmost that is full: the one that stopped it has nothing left at all.
    let full = limit;
    for (let n = limit; n >= 0; n = limitParent[n]!) if (slack[n]! <= 0) full = n;
    if (Number.isNaN(w.limitKey[full]!)) {
      w.limitKey[full] = key;
      w.limitKeyFloor[full] = floor;
    }
    return room;
  }
  w.corner[i] = k;
  w.partRootWatts[i] = 0;
  return wanted;
}

function serveNestedFloor(c: Compiled, w: Workspace, f: number): boolean {
  const devices = c.floorDevices[f]!;
  const gain = c.limitRootGain[c.deviceLimit[devices[0]!]!]!;
  let need = c.floorWatts[f]!;
  for (let d = 0; d < devices.length; d += 1) need -= c.modeWatts[devices[d]! * c.stride]!;
  need *= gain;
  w.floorServedKey[f] = Number.NaN;
  const order = w.floorOrder[f]!;
  for (let t = 0; t < order.length && need > 0; t += 1) {
    const segment = order[t]!;
    if (segment < 0) break;
    const i = segment >> c.strideBits;
    if (w.blocked[i] === 1) continue;
    const k = segment - i * c.stride;
    const length = c.segmentRootWatts[segment]!;
    const wanted = Math.min(length, need);
    const key = w.keys[segment]!;
    const taken = takeSegment(c, w, i, k, wanted, key, f);
    w.floorServedKey[f] = key;
    if (taken === wanted && wanted < length) {
      // Stopped by the floor, not by a limit: the sweep may go on from here.
      w.corner[i] = k - 1;
      w.partRootWatts[i] = wanted;
    }
    need -= taken;
  }
  return need <= ACCEPTED_WATTS * gain;
}

/** Watts that each floor reaches in the relaxed answer, into `floorReached`. */
export function measureFloors(c: Compiled, w: Workspace): void {
  for (let f = 0; f < c.floorIds.length; f += 1) {
    let sum = 0;
    for (const i of c.floorDevices[f]!) {
      const start = i * c.stride;
      sum += c.modeWatts[start + c.hullMode[start + w.corner[i]!]!]!;
      sum += w.partRootWatts[i]! / c.limitRootGain[c.deviceLimit[i]!]!;
    }
    w.floorReached[f] = sum;
  }
}
