import { sortByFallingKey } from './order.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { reserveStates, type Span, type States } from './states.ts';
import type { Candidates, Search } from './window-memory.ts';

/** Makes room for `count` candidates; what was in the list is forgotten. */
export function reserveCandidates(list: Candidates, count: number): void {
  if (count <= list.capacity) return;
  const capacity = Math.max(count, list.capacity * 2);
  list.capacity = capacity;
  list.left = new Int32Array(capacity);
  list.right = new Int32Array(capacity);
  list.watts = new Float64Array(capacity);
  list.value = new Float64Array(capacity);
  list.loss = new Float64Array(capacity);
  list.order = new Int32Array(capacity);
  list.scratch = new Int32Array(capacity);
  list.key = new Float64Array(capacity);
}

/** Appends a candidate; room must have been reserved. */
export function addCandidate(
  list: Candidates,
  left: number,
  right: number,
  watts: number,
  value: number,
  loss: number,
): void {
  const at = list.size;
  list.left[at] = left;
  list.right[at] = right;
  list.watts[at] = watts;
  list.value[at] = value;
  list.loss[at] = loss;
  list.key[at] = -watts;
  list.size += 1;
}

/**
 * Turns the candidates into a new span: by rising watts, without those that another beats, cut to the beam.
 * `null` when none is left.
 */
export function keepCandidates(
  search: Search,
  device: number,
  modeWatts: Float64Array | null,
  modeStart: number,
  sum: number,
  dominate: boolean,
): Span | null {
  const { m, options } = search;
  const { states, candidates } = m;
  const { order } = candidates;
  for (let t = 0; t < candidates.size; t += 1) order[t] = t;
  sortByFallingKey(order, candidates.size, candidates.key, candidates.scratch);
  reserveStates(states, candidates.size);
  const start = states.size;
  for (let t = 0; t < candidates.size; t += 1) {
    const at = order[t]!;
    const to = states.size;
    if (states.sumCount > 0) writeSums(states, candidates, at, to, device, modeWatts, modeStart, sum);
    // A settled floor's own span holds no sums yet: those are in the span it will be merged with.
    if (dominate && states.sumCount > 0 && !floorsReachable(search, to)) continue;
    if (isBeaten(search, start, candidates.watts[at]!, candidates.value[at]!, dominate)) continue;
    states.watts[to] = candidates.watts[at]!;
    states.value[to] = candidates.value[at]!;
    states.loss[to] = candidates.loss[at]!;
    states.left[to] = candidates.left[at]!;
    states.right[to] = candidates.right[at]!;
    states.device[to] = device;
    states.size += 1;
  }
  if (states.size - start > options.beam) {
    search.complete = false;
    cutToBeam(search, start);
  }
  return states.size === start ? null : { start, end: states.size };
}

function writeSums(
  states: States,
  candidates: Candidates,
  at: number,
  to: number,
  device: number,
  modeWatts: Float64Array | null,
  modeStart: number,
  sum: number,
): void {
  const { sumCount, sums } = states;
  const left = candidates.left[at]! * sumCount;
  for (let k = 0; k < sumCount; k += 1) {
    let total = sums[left + k]!;
    if (device < 0) total += sums[candidates.right[at]! * sumCount + k]!;
    else if (k === sum) total += modeWatts![modeStart + candidates.right[at]!]!;
    sums[to * sumCount + k] = total;
  }
}

/** Whether the floors can still be met if everything not merged here goes to its most. */
function floorsReachable(search: Search, at: number): boolean {
  const { c, m, floorMost, mergedMost } = search;
  const { states } = m;
  for (let f = 0; f < c.floorIds.length; f += 1) {
    const k = m.sumOf[f]!;
    if (k < 0) continue;
    const elsewhere = floorMost[k]! - mergedMost[k]!;
    if (states.sums[at * states.sumCount + k]! + elsewhere < c.floorWatts[f]! - ACCEPTED_WATTS) return false;
  }
  return true;
}

/** How many of the newest kept states a new one is compared with where sums make the order partial. */
const COMPARISONS = 96;

/** Whether a kept state of the span needs no more watts, earns no less and helps the floors no less. */
function isBeaten(search: Search, start: number, watts: number, value: number, dominate: boolean): boolean {
  const { c, m } = search;
  const { states } = m;
  const to = states.size;
  if (!dominate) {
    for (let s = to - 1; s >= start && states.watts[s] === watts; s -= 1) {
      if (states.value[s]! >= value) return true;
    }
    return false;
  }
  if (states.sumCount === 0) return to > start && states.value[to - 1]! >= value;
  const { sumCount, sums } = states;
  for (let s = to - 1; s >= start && s >= to - COMPARISONS; s -= 1) {
    if (states.value[s]! < value) continue;
    let beaten = true;
    for (let f = 0; f < c.floorIds.length && beaten; f += 1) {
      const k = m.sumOf[f]!;
      if (k < 0) continue;
      const enough = c.floorWatts[f]! + ACCEPTED_WATTS;
      if (Math.min(sums[s * sumCount + k]!, enough) < Math.min(sums[to * sumCount + k]!, enough))
        beaten = false;
    }
    if (beaten) return true;
  }
  return false;
}

/** Keeps half of the beam by least loss and spreads the other half over the range of watts. */
function cutToBeam(search: Search, start: number): void {
  const { m, options } = search;
  const { states, candidates } = m;
  const count = states.size - start;
  const { order, scratch, key } = candidates;
  for (let t = 0; t < count; t += 1) {
    order[t] = t;
    key[t] = -states.loss[start + t]!;
  }
  sortByFallingKey(order, count, key, scratch);
  const byLoss = options.beam >> 1;
  const buckets = options.beam - byLoss;
  const used = new Uint8Array(buckets);
  const keep = new Uint8Array(count);
  const lowest = states.watts[start]!;
  const width = Math.max(states.watts[start + count - 1]! - lowest, 1e-9);
  for (let t = 0; t < count; t += 1) {
    const at = order[t]!;
    const bucket = Math.min(
      buckets - 1,
      Math.floor(((states.watts[start + at]! - lowest) / width) * buckets),
    );
    if (t < byLoss || used[bucket] === 0) {
      keep[at] = 1;
      used[bucket] = 1;
    }
  }
  let to = start;
  for (let t = 0; t < count; t += 1) if (keep[t] === 1) moveState(states, start + t, to++);
  states.size = to;
}

function moveState(states: States, from: number, to: number): void {
  if (from === to) return;
  states.watts[to] = states.watts[from]!;
  states.value[to] = states.value[from]!;
  states.loss[to] = states.loss[from]!;
  states.left[to] = states.left[from]!;
  states.right[to] = states.right[from]!;
  states.device[to] = states.device[from]!;
  for (let k = 0; k < states.sumCount; k += 1) {
    states.sums[to * states.sumCount + k] = states.sums[from * states.sumCount + k]!;
  }
}

/** Drops the states that miss a settled floor and charges the rest for what they exceed it by. */
export function settleFloor(search: Search, span: Span, f: number): Span | null {
  const { c, w, m, options } = search;
  const { states } = m;
  let to = span.start;
  for (let s = span.start; s < span.end; s += 1) {
    const surplus = states.watts[s]! - c.floorWatts[f]!;
    if (surplus < -ACCEPTED_WATTS) continue;
    const loss = states.loss[s]! + w.floorPrice[f]! * Math.max(0, surplus);
    if (loss >= options.lossBelow) continue;
    moveState(states, s, to);
    states.loss[to] = loss;
    to += 1;
  }
  states.size = to;
  return to === span.start ? null : { start: span.start, end: to };
}
