/**
 * Sorts `items[0..count)` (indices into `keys`) by falling key, equal keys by rising index: the result does
 * not depend on the order they came in. `scratch` is as long as `items`. Returns nothing; works in place.
 */
export function sortByFallingKey(
  items: Int32Array,
  count: number,
  keys: Float64Array,
  scratch: Int32Array,
): void {
  const RUN = 16;
  for (let start = 0; start < count; start += RUN) {
    insertionSort(items, start, Math.min(start + RUN, count), keys);
  }
  let from = items;
  let to = scratch;
  for (let width = RUN; width < count; width *= 2) {
    for (let start = 0; start < count; start += 2 * width) {
      const middle = Math.min(start + width, count);
      const end = Math.min(start + 2 * width, count);
      mergeRuns(from, start, middle, end, to, keys);
    }
    const swap = from;
    from = to;
    to = swap;
  }
  if (from !== items) items.set(from.subarray(0, count));
}

function insertionSort(items: Int32Array, start: number, end: number, keys: Float64Array): void {
  for (let a = start + 1; a < end; a += 1) {
    const item = items[a]!;
    const key = keys[item]!;
    let b = a - 1;
    while (b >= start) {
      const other = items[b]!;
      const otherKey = keys[other]!;
      if (otherKey > key || (otherKey === key && other < item)) break;
      items[b + 1] = other;
      b -= 1;
    }
    items[b + 1] = item;
  }
}

function mergeRuns(
  from: Int32Array,
  start: number,
  middle: number,
  end: number,
  to: Int32Array,
  keys: Float64Array,
): void {
  let left = start;
  let right = middle;
  for (let out = start; out < end; out += 1) {
    if (right >= end || (left < middle && comesFirst(from[left]!, from[right]!, keys))) {
      to[out] = from[left]!;
      left += 1;
    } else {
      to[out] = from[right]!;
      right += 1;
    }
  }
}

function comesFirst(a: number, b: number, keys: Float64Array): boolean {
  const keyA = keys[a]!;
  const keyB = keys[b]!;
  return keyA > keyB || (keyA === keyB && a < b);
}

/**
 * Merges two sorted lists of indices into `out` (long enough for both) and returns the length of the result.
 * Made for a short `b`: each of its items finds its place by halving, what lies between is copied.
 */
export function mergeOrders(
  a: Int32Array,
  aCount: number,
  b: Int32Array,
  bCount: number,
  keys: Float64Array,
  out: Int32Array,
): number {
  let from = 0;
  for (let t = 0; t < bCount; t += 1) {
    const item = b[t]!;
    let low = from;
    let high = aCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (comesFirst(a[middle]!, item, keys)) low = middle + 1;
      else high = middle;
    }
    out.set(a.subarray(from, low), from + t);
    out[low + t] = item;
    from = low;
  }
  out.set(a.subarray(from, aCount), from + bCount);
  return aCount + bCount;
}
