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
  evaluate: (multipliers: Float64Array) => Evaluation | null,
  start: Float64Array,
  largest: number,
  rounds: number,
): MultiplierResult | null {
  const first = evaluate(start);
  if (first === null) return null;
  const size = start.length + 1;
  const basis = startingBasis(first, start, largest);
  let best: MultiplierResult = { multipliers: start.slice(), bound: first.bound };
  for (let round = 0; round < rounds; round += 1) {
    const prices = solveDense(basis, size, true);
    const weights = solveDense(basis, size, false);
    if (prices === null || weights === null) return best;
    let entering = risingSlack(prices, size);
    if (entering === null) {
      const multipliers = prices.subarray(0, size - 1).map((price) => Math.max(0, -price));
      const found = evaluate(multipliers);
      if (found === null) return best;
      if (found.bound < best.bound) best = { multipliers, bound: found.bound };
      const lowest = prices[size - 1]!;
      if (best.bound - lowest <= 1e-13 * Math.abs(best.bound)) return best;
      entering = columnOf(found, multipliers);
    }
    if (!pivot(basis, size, weights, entering)) return best;
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
  let worst = -1;
  for (let k = 0; k < size - 1; k += 1) {
    if (prices[k]! > 1e-14 && (worst < 0 || prices[k]! > prices[worst]!)) worst = k;
  }
  if (worst < 0) return null;
  const entries = new Float64Array(size);
  entries[worst] = -1;
  return { entries, value: 0 };
}

/** Lets `entering` replace the basic column that reaches zero first; false when there is none. */
function pivot(basis: Column[], size: number, weights: Float64Array, entering: Column): boolean {
  const step = solveDense(basis, size, false, entering.entries);
  if (step === null) return false;
  let leaving = -1;
  let least = Number.POSITIVE_INFINITY;
  for (let r = 0; r < size; r += 1) {
    if (step[r]! <= 1e-10) continue;
    const ratio = Math.max(0, weights[r]!) / step[r]!;
    if (ratio < least - 1e-14 || (ratio <= least && step[r]! > step[leaving]!)) {
      least = ratio;
      leaving = r;
    }
  }
  if (leaving < 0) return false;
  basis[leaving] = entering;
  return true;
}

/**
 * Solves with the basis matrix by elimination with row exchange: `transposed` for the prices (right side: the
 * columns' values), else for weights (right side: `right`, or the unit of the last row). `null` when singular.
 */
function solveDense(
  basis: readonly Column[],
  size: number,
  transposed: boolean,
  right?: Float64Array,
): Float64Array | null {
  const width = size + 1;
  const a = new Float64Array(size * width);
  for (let r = 0; r < size; r += 1) {
    for (let k = 0; k < size; k += 1) {
      a[r * width + k] = transposed ? basis[r]!.entries[k]! : basis[k]!.entries[r]!;
    }
    const unit = r === size - 1 ? 1 : 0;
    a[r * width + size] = transposed ? basis[r]!.value : right === undefined ? unit : right[r]!;
  }
  for (let k = 0; k < size; k += 1) {
    let top = k;
    for (let r = k + 1; r < size; r += 1) {
      if (Math.abs(a[r * width + k]!) > Math.abs(a[top * width + k]!)) top = r;
    }
    if (Math.abs(a[top * width + k]!) < 1e-13) return null;
    for (let q = k; top !== k && q < width; q += 1) {
      const swap = a[k * width + q]!;
      a[k * width + q] = a[top * width + q]!;
      a[top * width + q] = swap;
    }
    for (let r = 0; r < size; r += 1) {
      if (r === k) continue;
      const factor = a[r * width + k]! / a[k * width + k]!;
      if (factor === 0) continue;
      for (let q = k; q < width; q += 1) a[r * width + q]! -= factor * a[k * width + q]!;
    }
  }
  return Float64Array.from({ length: size }, (_, r) => a[r * width + size]! / a[r * width + r]!);
}
