import type { Compiled } from './compile.ts';

/**
 * The segments of each limit's own devices by falling key (equal keys by rising index), with running sums: what the
 * devices of a limit take at any price is one look-up. A change of some devices repairs the lists of their limits
 * alone. Limit `n` has the places from `limitStart[n] * stride` on.
 */
export interface LimitLists {
  readonly count: Int32Array;
  readonly segment: Int32Array;
  readonly key: Float64Array;
  /** Root watts of this segment and all before it. */
  readonly takenRootWatts: Float64Array;
  /** Least watts of the limit's own devices together. */
  readonly leastWatts: Float64Array;
  /** No device of the limit can take more watts by less than this. */
  readonly leastStepWatts: Float64Array;
  /** 1 where the list has been repaired since the devices' modes were last taken from it. */
  readonly repaired: Uint8Array;
  /** 1 for a device whose segments stand in its list no more. */
  readonly changed: Uint8Array;
  /** New segments of one limit while they are merged in. */
  readonly newSegment: Int32Array;
  readonly newKey: Float64Array;
}

/** Empty lists, one for each limit, with room for every segment of its own devices. */
export function createLimitLists(c: Compiled): LimitLists {
  const size = c.deviceIds.length * c.stride;
  let most = 0;
  for (let n = 0; n < c.limitIds.length; n += 1)
    most = Math.max(most, c.limitStart[n + 1]! - c.limitStart[n]!);
  return {
    count: new Int32Array(c.limitIds.length),
    segment: new Int32Array(size),
    key: new Float64Array(size),
    takenRootWatts: new Float64Array(size),
    leastWatts: new Float64Array(c.limitIds.length),
    leastStepWatts: new Float64Array(c.limitIds.length),
    repaired: new Uint8Array(c.limitIds.length),
    changed: new Uint8Array(c.deviceIds.length),
    newSegment: new Int32Array(most * c.stride),
    newKey: new Float64Array(most * c.stride),
  };
}

/** Lists everything afresh. */
export function listAll(c: Compiled, lists: LimitLists): void {
  lists.changed.fill(1);
  for (let n = 0; n < c.limitIds.length; n += 1) repairList(c, lists, n);
}

/** Takes in the devices named, by index; the lists are then those of `listAll`, to the last bit. */
export function listChanged(c: Compiled, lists: LimitLists, devices: ReadonlySet<number>): void {
  const { changed } = lists;
  for (const i of devices) changed[i] = 1;
  // The first device of a limit repairs its list, and with it all others of that limit.
  for (const i of devices) if (changed[i] === 1) repairList(c, lists, c.deviceLimit[i]!);
}

function repairList(c: Compiled, lists: LimitLists, n: number): void {
  const { segment, key, changed, newSegment, newKey } = lists;
  const { strideBits, stride, limitStart, limitDevices, hullCount, segmentKey } = c;
  const start = limitStart[n]! << strideBits;
  const end = start + lists.count[n]!;
  let top = start;
  for (let t = start; t < end; t += 1) {
    const at = segment[t]!;
    segment[top] = at;
    key[top] = key[t]!;
    // Without a branch on what cannot be guessed.
    top += 1 - changed[at >> strideBits]!;
  }
  let fresh = 0;
  for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) {
    const i = limitDevices[d]!;
    if (changed[i] === 0) continue;
    changed[i] = 0;
    for (let k = 1; k < hullCount[i]!; k += 1) {
      newSegment[fresh] = i * stride + k;
      newKey[fresh] = segmentKey[i * stride + k]!;
      fresh += 1;
    }
  }
  sortByKey(newSegment, newKey, fresh);
  mergeNew(lists, start, top, fresh);
  lists.count[n] = top + fresh - start;
  addUp(c, lists, n);
}

/** Merges the new segments into the list from `start` to `end`, from its end on. */
function mergeNew(lists: LimitLists, start: number, end: number, fresh: number): void {
  const { segment, key, newSegment, newKey } = lists;
  let from = end - 1;
  let out = end + fresh - 1;
  for (let t = fresh - 1; t >= 0; t -= 1) {
    const at = newSegment[t]!;
    const atKey = newKey[t]!;
    while (from >= start && (key[from]! < atKey || (key[from] === atKey && segment[from]! > at))) {
      segment[out] = segment[from]!;
      key[out] = key[from]!;
      from -= 1;
      out -= 1;
    }
    segment[out] = at;
    key[out] = atKey;
    out -= 1;
  }
}

/**
 * Sorts the first `count` places of both by falling key, equal keys by rising index: a heap, which needs no memory
 * and has no order that it is slow on; by insertion where they are few.
 */
export function sortByKey(segment: Int32Array, key: Float64Array, count: number): void {
  if (count <= 32) {
    insertionSort(segment, key, count);
    return;
  }
  for (let root = (count >> 1) - 1; root >= 0; root -= 1) sift(segment, key, root, count);
  for (let last = count - 1; last > 0; last -= 1) {
    const at = segment[0]!;
    const atKey = key[0]!;
    segment[0] = segment[last]!;
    key[0] = key[last]!;
    segment[last] = at;
    key[last] = atKey;
    sift(segment, key, 0, last);
  }
}

function insertionSort(segment: Int32Array, key: Float64Array, count: number): void {
  for (let t = 1; t < count; t += 1) {
    const at = segment[t]!;
    const atKey = key[t]!;
    let to = t;
    while (to > 0 && (key[to - 1]! < atKey || (key[to - 1] === atKey && segment[to - 1]! > at))) {
      segment[to] = segment[to - 1]!;
      key[to] = key[to - 1]!;
      to -= 1;
    }
    segment[to] = at;
    key[to] = atKey;
  }
}

/** Lets the entry at `root` sink until nothing below it comes later in the order. */
function sift(segment: Int32Array, key: Float64Array, root: number, count: number): void {
  const at = segment[root]!;
  const atKey = key[root]!;
  let hole = root;
  for (;;) {
    let child = 2 * hole + 1;
    if (child >= count) break;
    let childKey = key[child]!;
    if (child + 1 < count) {
      const otherKey = key[child + 1]!;
      if (otherKey < childKey || (otherKey === childKey && segment[child + 1]! > segment[child]!)) {
        child += 1;
        childKey = otherKey;
      }
    }
    if (childKey > atKey || (childKey === atKey && segment[child]! < at)) break;
    segment[hole] = segment[child]!;
    key[hole] = childKey;
    hole = child;
  }
  segment[hole] = at;
  key[hole] = atKey;
}

/** What is summed up per limit, in one fixed order: no trace of what stood there before. */
function addUp(c: Compiled, lists: LimitLists, n: number): void {
  const { segment, takenRootWatts } = lists;
  const { strideBits, limitStart, limitDevices, segmentRootWatts, modeWatts, deviceLeastStep } = c;
  const start = limitStart[n]! << strideBits;
  let sum = 0;
  for (let t = start; t < start + lists.count[n]!; t += 1) {
    sum += segmentRootWatts[segment[t]!]!;
    takenRootWatts[t] = sum;
  }
  let least = 0;
  let leastStep = Number.POSITIVE_INFINITY;
  for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) {
    const i = limitDevices[d]!;
    least += modeWatts[i << strideBits]!;
    leastStep = Math.min(leastStep, deviceLeastStep[i]!);
  }
  lists.leastWatts[n] = least;
  lists.leastStepWatts[n] = leastStep;
  lists.repaired[n] = 1;
}
