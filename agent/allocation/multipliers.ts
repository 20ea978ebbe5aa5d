/**
 * Several multipliers at once. The dual bound is convex and piecewise linear in them; seen from the other side
 * its minimum is the best mixture of relaxed answers whose floors are met on average (Dantzig and Wolfe). So a
 * small linear programme with one row per floor is solved by the simplex method, and each of its prices asks
 * the sweep for one more answer, until none improves it.
 */

/** What the sweep says at some multipliers: the bound there, and by how much each floor is exceeded. */
export interface Evaluation {
  readonly bound: number;
  readonly surplus: Float64Array;
}

interface Column {
  /** One entry per floor, then 1 for the sum of the mixture (0 for slack and artificial columns). */
  readonly entries: Float64Array;
  readonly value: number;
}

export interface MultiplierResult {
  readonly multipliers: Float64Array;
  readonly bound: number;
}

/**
 * Least bound found from `start` on, in at most `rounds` evaluations. `largest` is a multiplier beyond any that
 * can be needed. Every bound seen is valid, so stopping early costs tightness only.
 */
export function minimiseBound(
  evaluate: (multipliers: Float64Array) => Evaluation,
  start: Float64Array,
  largest: number,
  rounds: number,
): MultiplierResult {
  const first = evaluate(start);
  const size = start.length + 1;
  const basis = startingBasis(first, start, largest);
  let best: MultiplierResult = { multipliers: start, bound: first.bound };
  for (let round = 0; round < rounds; round += 1) {
    const inverse = invert(basis, size);
    if (inverse === null) break;
    const prices = pricesOf(basis, inverse, size);
    let entering = risingSlack(prices, size);
    if (entering === null) {
      const multipliers = prices.subarray(0, size - 1).map((price) => Math.max(0, -price));
      const found = evaluate(multipliers);
      if (found.bound < best.bound) best = { multipliers, bound: found.bound };
      const lowest = prices[size - 1]!;
      if (best.bound - lowest <= 1e-13 * Math.abs(best.bound)) break;
      entering = columnOf(found, multipliers);
    }
    if (!pivot(basis, inverse, size, entering)) break;
  }
  return best;
}

function columnOf(found: Evaluation, multipliers: Float64Array): Column {
  const entries = new Float64Array(multipliers.length + 1);
  let value = found.bound;
  for (let k = 0; k < multipliers.length; k += 1) {
    entries[k] = found.surplus[k]!;
    value -= multipliers[k]! * found.surplus[k]!;
  }
  entries[multipliers.length] = 1;
  return { entries, value };
}

/** The first answer alone: floors it misses are made up at the largest multiplier, floors it exceeds slacken. */
function startingBasis(first: Evaluation, start: Float64Array, largest: number): Column[] {
  const basis: Column[] = [];
  for (let k = 0; k < start.length; k += 1) {
    const entries = new Float64Array(start.length + 1);
    const exceeds = first.surplus[k]! >= 0;
    entries[k] = exceeds ? -1 : 1;
    basis.push({ entries, value: exceeds ? 0 : -largest });
  }
  basis.push(columnOf(first, start));
  return basis;
}

/** A slack column that would improve the mixture (its multiplier would be negative), or `null`. */
function risingSlack(prices: Float64Array, size: number): Column | null {
  const rising = prices.subarray(0, size - 1).findIndex((price) => price > 1e-14);
  if (rising < 0) return null;
  const entries = new Float64Array(size);
  entries[rising] = -1;
  return { entries, value: 0 };
}

/** Price of each floor, then of the mixture's sum: what one more of it would be worth. */
function pricesOf(basis: readonly Column[], inverse: Float64Array, size: number): Float64Array {
  const prices = new Float64Array(size);
  for (let r = 0; r < size; r += 1) {
    for (let k = 0; k < size; k += 1) prices[k]! += basis[r]!.value * inverse[r * size + k]!;
  }
  return prices;
}

/** Lets `entering` replace the basic column that reaches zero first; false when there is none. */
function pivot(basis: Column[], inverse: Float64Array, size: number, entering: Column): boolean {
  let leaving = -1;
  let leavingStep = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let r = 0; r < size; r += 1) {
    let step = 0;
    for (let k = 0; k < size; k += 1) step += inverse[r * size + k]! * entering.entries[k]!;
    if (step <= 1e-10) continue;
    // The last column of the inverse is the mixture: how much of each basic column there is.
    const ratio = Math.max(0, inverse[r * size + size - 1]!) / step;
    if (ratio < least - 1e-14 || (ratio <= least && step > leavingStep)) {
      least = ratio;
      leaving = r;
      leavingStep = step;
    }
  }
  if (leaving < 0) return false;
  basis[leaving] = entering;
  return true;
}

/** The inverse of the basis, row by row, by elimination with row exchange; `null` when its columns depend on each other. */
function invert(basis: readonly Column[], size: number): Float64Array | null {
  const width = 2 * size;
  const a = new Float64Array(size * width);
  for (let r = 0; r < size; r += 1) {
    for (let k = 0; k < size; k += 1) a[r * width + k] = basis[k]!.entries[r]!;
    a[r * width + size + r] = 1;
  }
  for (let k = 0; k < size; k += 1) {
    let top = k;
    for (let r = k + 1; r < size; r += 1) {
      if (Math.abs(a[r * width + k]!) > Math.abs(a[top * width + k]!)) top = r;
    }
    const head = a[top * width + k]!;
    if (Math.abs(head) < 1e-13) return null;
    for (let q = k; q < width; q += 1) {
      const fromTop = a[top * width + q]!;
      a[top * width + q] = a[k * width + q]!;
      a[k * width + q] = fromTop / head;
    }
    for (let r = 0; r < size; r += 1) {
      if (r === k) continue;
      const factor = a[r * width + k]!;
      for (let q = k; q < width; q += 1) a[r * width + q]! -= factor * a[k * width + q]!;
    }
  }
  const inverse = new Float64Array(size * size);
  for (let r = 0; r < size; r += 1) inverse.set(a.subarray(r * width + size, (r + 1) * width), r * size);
  return inverse;
}
