import type { Compiled } from './compile.ts';
import { type LimitLists, sortByKey } from './limit-lists.ts';

/**
 * The sweep's answer without the sweep, where there are no floors. In the order of the sweep each limit has a cut: the
 * first segment that it turns away; from then on nothing below it rises. What stands below a limit at some place of
 * the order is a sum over its subtree, each limit below taking no more than its capacity: one look-up per limit in the
 * lists. So the cut is found by closing in on it instead of walking the order, a few sums instead of all segments. Only
 * limits that bind need one; the root's is found first, since it ends the order for all others.
 *
 * What was found before is where the next search begins. The sums rise with the place to the last bit, so there is one
 * cut and every search finds it.
 */
export interface Cuts {
  /** Limits in depth-first order, the limits below rank `r` from `r + 1` to `walkEnd[r]`. */
  readonly walk: Int32Array;
  readonly walkEnd: Int32Array;
  readonly parentRank: Int32Array;
  /** Per limit: how many of its own segments stand in the relaxed answer as a whole. */
  readonly taken: Int32Array;
  /** By rank: own segments that are worth their energy. */
  readonly worth: Int32Array;
  /** By rank: own segments surely before the cut, surely not beyond it, and at the place in hand. */
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly at: Int32Array;
  /** By rank: the cut that was found last, a key and its segment; -1 where none was. */
  readonly lastKey: Float64Array;
  readonly lastSegment: Int32Array;
  /** By rank: root watts at the place in hand, not held to the limit's own capacity. */
  readonly demand: Float64Array;
  readonly children: Float64Array;
  readonly sampleSegment: Int32Array;
  readonly sampleKey: Float64Array;
}

/** Segments looked at to choose the next place: their spread is what halving loses. */
const SAMPLE = 32;

/** Room for the cuts of one compiled problem, with its limits in depth-first order; no cut is known yet. */
export function createCuts(c: Compiled): Cuts {
  const count = c.limitIds.length;
  const size = new Int32Array(count).fill(1);
  for (let n = count - 1; n >= 0; n -= 1) if (c.limitParent[n]! >= 0) size[c.limitParent[n]!]! += size[n]!;
  const walk = new Int32Array(count);
  const walkEnd = new Int32Array(count);
  const parentRank = new Int32Array(count).fill(-1);
  const rank = new Int32Array(count);
  const next = new Int32Array(count);
  let roots = 0;
  // Limits stand parents first.
  for (let n = 0; n < count; n += 1) {
    const parent = c.limitParent[n]!;
    const r = parent < 0 ? roots : next[parent]!;
    if (parent < 0) roots += size[n]!;
    else {
      next[parent]! += size[n]!;
      parentRank[r] = rank[parent]!;
    }
    rank[n] = r;
    next[n] = r + 1;
    walk[r] = n;
    walkEnd[r] = r + size[n]!;
  }
  return {
    walk,
    walkEnd,
    parentRank,
    taken: new Int32Array(count),
    worth: new Int32Array(count),
    lastKey: new Float64Array(count),
    lastSegment: new Int32Array(count).fill(-1),
    low: new Int32Array(count),
    high: new Int32Array(count),
    at: new Int32Array(count),
    demand: new Float64Array(count),
    children: new Float64Array(count),
    sampleSegment: new Int32Array(SAMPLE),
    sampleKey: new Float64Array(SAMPLE),
  };
}

/**
 * Finds `taken` and the key of the cut of every limit that binds (`NaN` in `limitKey` for the others). `baseSlack` are
 * the root watts left at each limit with every device at its least, none negative. Segments worth no more than
 * `energyPrice` stay out. What was found before leaves no trace.
 */
export function findCuts(
  c: Compiled,
  lists: LimitLists,
  cuts: Cuts,
  baseSlack: Float64Array,
  energyPrice: number,
  limitKey: Float64Array,
): void {
  const { walk, walkEnd, parentRank, worth, low, high, at, demand, taken } = cuts;
  limitKey.fill(Number.NaN);
  for (let r = 0; r < walk.length; r += 1) {
    const n = walk[r]!;
    const end = walkEnd[r]!;
    const isRoot = parentRank[r]! < 0;
    if (isRoot) {
      for (let q = r; q < end; q += 1) {
        low[q] = 0;
        high[q] = lists.count[walk[q]!]!;
      }
      placeAll(c, lists, cuts, r, worth, energyPrice, -1);
      sumDemand(c, lists, cuts, baseSlack, r, worth);
    }
    // Below a root, `at` is the place where the limits above have left off.
    if (demand[r]! > baseSlack[n]!) {
      for (let q = r; q < end; q += 1) high[q] = isRoot ? worth[q]! : at[q]!;
      limitKey[n] =
        end === r + 1 ? cutOwn(c, lists, cuts, baseSlack, r) : cutBelow(c, lists, cuts, baseSlack, r);
    } else if (isRoot) {
      for (let q = r; q < end; q += 1) at[q] = worth[q]!;
    }
    taken[n] = at[r]!;
  }
}

/** Sums the subtree of rank `top` at the place `at`; returns its demand. */
function sumDemand(
  c: Compiled,
  lists: LimitLists,
  cuts: Cuts,
  baseSlack: Float64Array,
  top: number,
  at: Int32Array,
): number {
  const { walk, walkEnd, parentRank, demand, children } = cuts;
  const { takenRootWatts } = lists;
  const { limitStart, strideBits } = c;
  for (let r = walkEnd[top]! - 1; r >= top; r -= 1) {
    const n = walk[r]!;
    let watts = children[r]!;
    children[r] = 0;
    if (at[r]! > 0) watts += takenRootWatts[(limitStart[n]! << strideBits) + at[r]! - 1]!;
    demand[r] = watts;
    if (r > top) children[parentRank[r]!]! += Math.min(watts, baseSlack[n]!);
  }
  return demand[top]!;
}

/** The cut of a limit with nothing but devices below it. */
function cutOwn(c: Compiled, lists: LimitLists, cuts: Cuts, baseSlack: Float64Array, r: number): number {
  const { takenRootWatts } = lists;
  const n = cuts.walk[r]!;
  const start = c.limitStart[n]! << c.strideBits;
  const room = baseSlack[n]!;
  let low = start;
  let high = start + cuts.high[r]! - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (takenRootWatts[middle]! > room) high = middle;
    else low = middle + 1;
  }
  cuts.at[r] = low - start;
  return lists.key[low]!;
}

/** First step from the cut that was found last, as a share of its key. */
const FIRST_STEP = 2 ** -12;

/**
 * The cut of the limit at rank `top`, whose demand at `high` exceeds its capacity. From the last cut steps lead away
 * until the new one lies between `low` and `high`; then a place is chosen by a sample, nearer to the side whose demand
 * is nearer to the capacity, until one segment is left. Ends with the place just before it in hand.
 */
function cutBelow(c: Compiled, lists: LimitLists, cuts: Cuts, baseSlack: Float64Array, top: number): number {
  const { walk, walkEnd, low, high, at, lastKey, lastSegment } = cuts;
  const end = walkEnd[top]!;
  const room = baseSlack[walk[top]!]!;
  let lowWatts = 0;
  let highWatts = cuts.demand[top]!;
  let open = 0;
  for (let r = top; r < end; r += 1) {
    low[r] = 0;
    open += high[r]!;
  }
  // Steps are over once there is a place on either side.
  let step = lastSegment[top]! < 0 ? 0 : FIRST_STEP;
  let below = false;
  let above = false;
  let key = lastKey[top]!;
  let segment = lastSegment[top]!;
  let slow = false;
  while (open > 1) {
    if (step === 0) {
      const share = slow ? 0.5 : (room - lowWatts) / (highWatts - lowWatts);
      const pivot = choosePlace(c, lists, cuts, top, open, share);
      key = cuts.sampleKey[pivot]!;
      segment = cuts.sampleSegment[pivot]!;
    }
    placeAll(c, lists, cuts, top, at, key, segment);
    const watts = sumDemand(c, lists, cuts, baseSlack, top, at);
    const before = open;
    open = 0;
    if (watts > room) {
      above = true;
      highWatts = watts;
      for (let r = top; r < end; r += 1) {
        high[r] = at[r]!;
        open += at[r]! - low[r]!;
      }
    } else {
      below = true;
      lowWatts = watts;
      for (let r = top; r < end; r += 1) {
        low[r] = at[r]!;
        open += high[r]! - at[r]!;
      }
    }
    if (below && above) step = 0;
    if (step > 0) {
      key += (above ? step : -step) * Math.abs(key);
      step = step < 1 ? step * 8 : 0;
    }
    slow = !slow && open > before >> 1;
  }
  for (let r = top; r < end; r += 1) {
    at[r] = low[r]!;
    if (high[r]! === low[r]!) continue;
    const place = (c.limitStart[walk[r]!]! << c.strideBits) + low[r]!;
    lastKey[top] = lists.key[place]!;
    lastSegment[top] = lists.segment[place]!;
  }
  sumDemand(c, lists, cuts, baseSlack, top, at);
  return lastKey[top]!;
}

/**
 * Takes a sample spread evenly over the `open` segments between `low` and `high`, in order, and returns which of it
 * stands at `share` of the way; never its last one, so that every choice brings the two nearer.
 */
function choosePlace(
  c: Compiled,
  lists: LimitLists,
  cuts: Cuts,
  top: number,
  open: number,
  share: number,
): number {
  const { walk, low, high, sampleSegment, sampleKey } = cuts;
  const size = Math.min(open, SAMPLE);
  let count = 0;
  let passed = 0;
  for (let r = top; count < size; r += 1) {
    const start = (c.limitStart[walk[r]!]! << c.strideBits) + low[r]! - passed;
    passed += high[r]! - low[r]!;
    for (; count < size; count += 1) {
      const wanted = Math.floor(((count + 0.5) * open) / size);
      if (wanted >= passed) break;
      sampleSegment[count] = lists.segment[start + wanted]!;
      sampleKey[count] = lists.key[start + wanted]!;
    }
  }
  sortByKey(sampleSegment, sampleKey, size);
  return Math.max(0, Math.min(size - 2, Math.floor(share * size)));
}

/**
 * Brings `at` of every list below rank `top` to the place just after `segment`, within `low` and `high`: from where it
 * stands, by steps that double.
 */
function placeAll(
  c: Compiled,
  lists: LimitLists,
  cuts: Cuts,
  top: number,
  at: Int32Array,
  key: number,
  segment: number,
): void {
  const { walk, walkEnd, low, high } = cuts;
  const { limitStart, strideBits } = c;
  const keys = lists.key;
  const segments = lists.segment;
  for (let r = top; r < walkEnd[top]!; r += 1) {
    const start = limitStart[walk[r]!]! << strideBits;
    let from = start + low[r]!;
    let to = start + high[r]!;
    // Never before `low`; what was found before may lie beyond `high`.
    let next = Math.min(to, start + at[r]!);
    // Rises while what stands at `next` belongs before the place.
    for (let step = 1; next < to && isBefore(keys, segments, next, key, segment); step *= 2) {
      from = next + 1;
      next += step;
    }
    if (next < to) to = next;
    next = to - 1;
    // Falls while what stands at `next` belongs behind it.
    for (let step = 1; next >= from && !isBefore(keys, segments, next, key, segment); step *= 2) {
      to = next;
      next -= step;
    }
    if (next >= from) from = next + 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (isBefore(keys, segments, middle, key, segment)) from = middle + 1;
      else to = middle;
    }
    at[r] = from - start;
  }
}

/** Whether the entry at `place` comes before the end of `segment` in the order. */
function isBefore(
  keys: Float64Array,
  segments: Int32Array,
  place: number,
  key: number,
  segment: number,
): boolean {
  const other = keys[place]!;
  return other > key || (other === key && segments[place]! <= segment);
}
