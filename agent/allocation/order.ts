/** A list whose runs in order are this long in the mean is merged from them; any other is first sorted in runs of this length. */
const RUN = 16;

/**
 * Sorts `items[0..count)` (indices into `keys`) by falling key, equal keys by rising index: the result does
 * not depend on the order they came in, the time does: a few long runs in order are only merged. `scratch` is as
 * long as `items`. Returns nothing; works in place.
 */
export function sortByFallingKey(
  items: Int32Array,
  count: number,
  keys: Float64Array,
  scratch: Int32Array,
): void {
  if (runsOf(items, count, keys) * RUN <= count) {
    mergeFound(items, count, keys, scratch);
    return;
  }
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

/** How many runs in order the list consists of. */
function runsOf(items: Int32Array, count: number, keys: Float64Array): number {
  let runs = 1;
  for (let t = 1; t < count; t += 1) if (!comesFirst(items[t - 1]!, items[t]!, keys)) runs += 1;
  return runs;
}

/** Merges the runs that are there, two by two, until one is left. */
function mergeFound(items: Int32Array, count: number, keys: Float64Array, scratch: Int32Array): void {
  let from = items;
  let to = scratch;
  while (endOfRun(from, 0, count, keys) < count) {
    for (let start = 0; start < count; ) {
      const middle = endOfRun(from, start, count, keys);
      const end = endOfRun(from, middle, count, keys);
      mergeRuns(from, start, middle, end, to, keys);
      start = end;
    }
    const swap = from;
    from = to;
    to = swap;
  }
  if (from !== items) items.set(from.subarray(0, count));
}

/** Where the run that begins at `start` ends. */
function endOfRun(items: Int32Array, start: number, count: number, keys: Float64Array): number {
  let t = Math.min(start + 1, count);
  while (t < count && comesFirst(items[t - 1]!, items[t]!, keys)) t += 1;
  return t;
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
  let out = start;
  while (left < middle && right < end) {
    const a = from[left]!;
    const b = from[right]!;
    if (comesFirst(a, b, keys)) {
      to[out++] = a;
      left += 1;
    } else {
      to[out++] = b;
      right += 1;
    }
  }
  while (left < middle) to[out++] = from[left++]!;
  while (right < end) to[out++] = from[right++]!;
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
