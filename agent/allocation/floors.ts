import type { Compiled } from './compile.ts';
import { findCuts } from './cuts.ts';
import { listAll } from './limit-lists.ts';
import { minimiseBound } from './multipliers.ts';
import { mergeOrders, sortByFallingKey } from './order.ts';
import { boundByLimits, computePrices, dualBound } from './prices.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { measureFloors, serveFloors, sweepRelaxed, type Workspace } from './sweep.ts';
import { takeWholeModes } from './whole-modes.ts';

/** Collects and sorts all segments afresh. */
export function sortAllSegments(c: Compiled, w: Workspace): void {
  if (w.unswept !== null) {
    listAll(c, w.unswept.lists);
    return;
  }
  let count = 0;
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    const corners = c.hullCount[i]!;
    for (let k = 1; k < corners; k += 1) w.order[count++] = i * c.stride + k;
  }
  sortByFallingKey(w.order, count, c.segmentKey, w.sortScratch);
  w.orderCount = count;
}

/**
 * Solves the relaxed problem on the cached order. Without floors the cuts of the limits say it all. Nested floors are
 * served first inside a sweep; each floor that cuts across the tree gets a multiplier, searched until the floor is met.
 * Returns the bound in dollars per hour, net of energy; `null`: the floors cannot be met. The workspace holds the relaxed
 * answer and its prices afterwards.
 */
export function solveRelaxed(
  c: Compiled,
  w: Workspace,
  energyPrice: number,
  boundPerLimit = true,
): number | null {
  if (w.unswept !== null) {
    findCuts(c, w.unswept.lists, w.unswept.cuts, w.baseSlack, energyPrice, w.limitKey);
    w.limitKeyFloor.fill(-1);
    takeWholeModes(c, w.unswept.lists, w.unswept.cuts, w.unswept.whole);
    computePrices(c, w, energyPrice);
    return boundPerLimit ? boundByLimits(c, w, w.unswept.whole, energyPrice) : dualBound(c, w, energyPrice);
  }
  const crossing: number[] = [];
  for (let f = 0; f < c.floorIds.length; f += 1) {
    if (c.floorNested[f] === 0) crossing.push(f);
    else listFloorSegments(c, w, f);
  }
  w.sweepCount = w.orderCount;
  if (crossing.length > 0) w.keys.set(c.segmentKey);
  // Nothing that follows changes what the nested floors take.
  if (!serveFloors(c, w)) return null;
  if (crossing.length > 0) return searchMultipliers(c, w, energyPrice, crossing);
  sweepRelaxed(c, w, energyPrice);
  computePrices(c, w, energyPrice);
  return dualBound(c, w, energyPrice);
}

/** The segments of a nested floor in the order of the sweep. */
function listFloorSegments(c: Compiled, w: Workspace, f: number): void {
  const list = w.floorOrder[f]!;
  let count = 0;
  for (const i of c.floorDevices[f]!) {
    for (let k = 1; k < c.hullCount[i]!; k += 1) list[count++] = i * c.stride + k;
  }
  sortByFallingKey(list, count, c.segmentKey, w.sortScratch);
  list.fill(-1, count);
}

/** One evaluation of the dual function: at these multipliers, the bound and what the floors reach. */
interface Point {
  readonly multiplier: number;
  readonly bound: number;
  /** Watts reached less watts demanded: a subgradient of the bound. */
  readonly surplus: number;
}

/**
 * Minimises the dual bound over the multipliers of the cross-cutting floors, one after another, then all together; along
 * one multiplier the bound is convex and piecewise linear, so meeting tangents end at its exact minimum.
 */
function searchMultipliers(
  c: Compiled,
  w: Workspace,
  energyPrice: number,
  crossing: readonly number[],
): number | null {
  const search = crossingSearch(c, w, energyPrice);
  for (const f of crossing) w.floorPrice[f] = 0;
  for (const f of crossing) w.floorPrice[f] = search.along(f).multiplier;
  if (crossing.length > 1) polish(c, w, crossing, search);
  const bound = search.evaluate();
  // Floors that can each be met may still be too much together.
  return bound >= search.leastValue ? bound : null;
}

/** One multiplier after another stops at an edge: all of them together go on from there to the minimum. */
function polish(c: Compiled, w: Workspace, crossing: readonly number[], search: CrossingSearch): void {
  const set = (multipliers: Float64Array): void => {
    for (const [k, f] of crossing.entries()) w.floorPrice[f] = multipliers[k]!;
  };
  const best = minimiseBound(
    (multipliers) => {
      set(multipliers);
      const bound = search.evaluate();
      const surplus = Float64Array.from(crossing, (f) => w.floorReached[f]! - c.floorWatts[f]!);
      return { bound, surplus };
    },
    Float64Array.from(crossing, (f) => w.floorPrice[f]!),
    search.largestMultiplier,
    100 + 100 * crossing.length,
  );
  set(best.multipliers);
}

interface CrossingSearch {
  /** A multiplier beyond any that can be needed. */
  readonly largestMultiplier: number;
  /** No feasible choice earns less than this: a bound below it proves that there is none. */
  readonly leastValue: number;
  /** Sweeps at the multipliers in force; returns the bound. */
  evaluate(): number;
  /** Least bound along the multiplier of floor `f`, or one below `leastValue` where nothing is feasible. */
  along(f: number): Point;
}

function crossingSearch(c: Compiled, w: Workspace, energyPrice: number): CrossingSearch {
  const isCrossing = (i: number): boolean => {
    const f = c.deviceFloor[i]!;
    return f >= 0 && c.floorNested[f] === 0;
  };
  const rest = w.order.subarray(0, w.orderCount).filter((segment) => !isCrossing(segment >> c.strideBits));
  const own = w.order.subarray(0, w.orderCount).filter((segment) => isCrossing(segment >> c.strideBits));
  let leastValue = 0;
  let greatestKey = 0;
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    let least = Number.POSITIVE_INFINITY;
    const gain = c.limitRootGain[c.deviceLimit[i]!]!;
    for (let s = i * c.stride; s < i * c.stride + c.modeCount[i]!; s += 1) {
      least = Math.min(least, c.modeValue[s]! - energyPrice * gain * c.modeWatts[s]!);
    }
    leastValue += least;
    for (let k = 1; k < c.hullCount[i]!; k += 1) {
      const key = c.segmentKey[i * c.stride + k]!;
      greatestKey = Math.max(greatestKey, Math.abs(key - energyPrice) * gain);
    }
  }
  leastValue -= 1e-9 * Math.abs(leastValue) + 1e-9;
  const evaluate = (): number => {
    for (const segment of own) {
      const i = segment >> c.strideBits;
      const lift = w.floorPrice[c.deviceFloor[i]!]! / c.limitRootGain[c.deviceLimit[i]!]!;
      w.keys[segment] = c.segmentKey[segment]! + lift;
    }
    sortByFallingKey(own, own.length, w.keys, w.sortScratch);
    mergeOrders(rest, rest.length, own, own.length, w.keys, w.sweepOrder);
    serveFloors(c, w);
    sweepRelaxed(c, w, energyPrice);
    computePrices(c, w, energyPrice);
    measureFloors(c, w);
    return dualBound(c, w, energyPrice);
  };
  const at = (f: number, multiplier: number): Point => {
    w.floorPrice[f] = multiplier;
    const bound = evaluate();
    return { multiplier, bound, surplus: w.floorReached[f]! - c.floorWatts[f]! };
  };
  return {
    leastValue,
    largestMultiplier: 1000 * greatestKey + 1e-6,
    evaluate,
    along: (f) => meetTangents((multiplier) => at(f, multiplier), greatestKey, leastValue),
  };
}

function meetTangents(at: (multiplier: number) => Point, scale: number, leastValue: number): Point {
  let low = at(0);
  if (low.surplus >= -ACCEPTED_WATTS) return low;
  // First step: the price at which every segment seen so far would be worth taking.
  let high = at(2 * scale + 1e-9);
  while (high.surplus < -ACCEPTED_WATTS) {
    if (!(high.bound >= leastValue)) return high;
    low = high;
    high = at(high.multiplier * 4);
  }
  for (let step = 0; step < 200; step += 1) {
    if (Math.abs(high.surplus) <= ACCEPTED_WATTS) return high;
    const across = high.surplus - low.surplus;
    const meet =
      (low.bound - high.bound + high.surplus * high.multiplier - low.surplus * low.multiplier) / across;
    if (!(meet > low.multiplier && meet < high.multiplier)) break;
    const lowest = low.bound + low.surplus * (meet - low.multiplier);
    const middle = at(meet);
    // The bound touches where the tangents meet: this is the minimum.
    const exact = middle.bound - lowest <= 1e-15 * Math.abs(lowest);
    if (middle.surplus < 0) low = middle;
    else high = middle;
    if (exact) break;
  }
  return high.bound <= low.bound ? high : low;
}
