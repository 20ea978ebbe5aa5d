import type { Compiled } from './compile.ts';
import { sortByFallingKey } from './order.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { clearStates, createStates, readBack, reserveStates, type Span, type States } from './states.ts';
import type { Workspace } from './sweep.ts';

/**
 * The search over whole modes. Every choice earns the relaxed bound less its losses: what each device's mode
 * falls short of the best at the prices of its path, plus the unused watts of each priced limit, plus what a
 * priced floor is exceeded by. So the tree is walked from the leaves up with lists of partial choices; a
 * partial choice that has already lost as much as the best known choice is dropped, as is one that another
 * beats in watts and value. Where nothing had to be cut for room, the result is proved optimal.
 */
export interface WindowOptions {
  /** Per limit, how many devices nearest to their break keep a choice; the others stay at their best mode. */
  readonly coreDevices: number;
  /** Partial choices kept per step. */
  readonly beam: number;
  /** Only choices that lose less than this against the bound are wanted, dollars per hour. */
  readonly lossBelow: number;
  /** Partial choices that may be looked at; the search gives up beyond. */
  readonly workUnits: number;
}

export interface WindowResult {
  /** A choice within `lossBelow` was found; `mode` holds it. */
  readonly found: boolean;
  /** Nothing was left out: if `found`, it is optimal; if not, no choice loses less than `lossBelow`. */
  readonly complete: boolean;
  readonly workUnits: number;
}

interface Candidates {
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
interface Search {
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

/** Searches once; on `found` the choice is in `mode`. The losses and rooms must have been computed. */
export function searchWindow(
  c: Compiled,
  w: Workspace,
  m: WindowMemory,
  energyPrice: number,
  options: WindowOptions,
  mode: Int32Array,
): WindowResult {
  clearStates(m.states);
  const search: Search = {
    c,
    w,
    m,
    options,
    energyPrice,
    inCore: new Uint8Array(c.deviceIds.length),
    floorMost: new Float64Array(m.states.sumCount),
    mergedMost: new Float64Array(m.states.sumCount),
    limitMost: new Float64Array(m.states.sumCount * c.limitIds.length),
    work: 0,
    complete: true,
    restWatts: 0,
  };
  chooseCore(search);
  for (let f = 0; f < c.floorIds.length; f += 1) {
    const sum = m.sumOf[f]!;
    if (sum < 0) continue;
    for (const i of c.floorDevices[f]!) {
      search.floorMost[sum]! += c.modeWatts[i * c.stride + c.modeCount[i]! - 1]!;
    }
  }
  const spans = new Array<Span | null>(c.limitIds.length).fill(null);
  for (let n = c.limitIds.length - 1; n >= 0; n -= 1) {
    const span = searchLimit(search, n, spans);
    if (span === null) return { found: false, complete: search.complete, workUnits: search.work };
    spans[n] = span;
  }
  search.mergedMost.fill(0);
  search.restWatts = 0;
  let top: Span | null = startSpan(search, 0);
  for (let n = 0; n < c.limitIds.length && top !== null; n += 1) {
    if (c.limitParent[n]! >= 0) continue;
    addMost(search, n);
    top = mergeSpans(search, top, spans[n]!, 0, Number.POSITIVE_INFINITY, true);
  }
  const best = bestState(search, top);
  if (best < 0) return { found: false, complete: search.complete, workUnits: search.work };
  for (let i = 0; i < c.deviceIds.length; i += 1) mode[i] = m.bestMode[i]!;
  readBack(m.states, best, mode);
  return { found: true, complete: search.complete, workUnits: search.work };
}

/** Marks the devices that keep a choice: per limit those whose second best mode loses least. */
function chooseCore(search: Search): void {
  const { c, m, options, inCore } = search;
  const devices = new Int32Array(c.deviceIds.length);
  const scratch = new Int32Array(c.deviceIds.length);
  const near = new Float64Array(c.deviceIds.length);
  for (const list of m.devicesOf) {
    let count = 0;
    for (const i of list) {
      let second = Number.POSITIVE_INFINITY;
      for (let k = 0; k < c.modeCount[i]!; k += 1) {
        if (k !== m.bestMode[i]) second = Math.min(second, m.loss[i * c.stride + k]!);
      }
      if (second >= options.lossBelow) continue;
      near[i] = -second;
      devices[count++] = i;
    }
    if (count > options.coreDevices) {
      search.complete = false;
      sortByFallingKey(devices, count, near, scratch);
      count = options.coreDevices;
    }
    for (let t = 0; t < count; t += 1) inCore[devices[t]!] = 1;
  }
}

function startSpan(search: Search, watts: number): Span {
  const { states } = search.m;
  reserveStates(states, 1);
  const at = states.size;
  states.watts[at] = watts;
  states.value[at] = 0;
  states.loss[at] = 0;
  for (let k = 0; k < states.sumCount; k += 1) states.sums[at * states.sumCount + k] = 0;
  states.left[at] = -1;
  states.right[at] = -1;
  states.device[at] = -1;
  states.size += 1;
  return { start: at, end: at + 1 };
}

/** All that hangs below limit `n`, merged; `null` when no partial choice is left. */
function searchLimit(search: Search, n: number, spans: readonly (Span | null)[]): Span | null {
  const { c, w, m } = search;
  const room = m.roomWatts[n]!;
  search.restWatts = m.leastWatts[n]! - c.limitFixed[n]!;
  let span: Span | null = startSpan(search, c.limitFixed[n]!);
  search.mergedMost.fill(0);
  const settled = floorsSettledAt(search, n);
  span = mergeDevices(search, span, m.devicesOf[n]!, -1, room);
  for (const f of settled) {
    if (span === null) return null;
    const least = leastOfFloor(search, f);
    const outside = search.restWatts - least;
    search.restWatts = least;
    let own: Span | null = startSpan(search, 0);
    own = mergeDevices(search, own, c.floorDevices[f]!, f, room);
    own = own === null ? null : settleFloor(search, own, f);
    search.restWatts = outside;
    span = own === null ? null : mergeSpans(search, span, own, 0, room, true);
  }
  for (const child of m.childrenOf[n]!) {
    if (span === null) return null;
    search.restWatts -= c.limitGain[child]! * m.leastWatts[child]!;
    addMost(search, child);
    span = mergeSpans(search, span, spans[child]!, c.limitGain[child]!, room, true);
  }
  span = span === null ? null : dropAbove(m.states, span, room);
  if (span === null) return null;
  const { sumCount } = m.states;
  for (let k = 0; k < sumCount; k += 1) search.limitMost[n * sumCount + k] = search.mergedMost[k]!;
  const parent = c.limitParent[n]!;
  const price = (w.pathPrice[n]! - (parent >= 0 ? w.pathPrice[parent]! : 0)) * c.limitRootGain[n]!;
  if (price > 0) {
    // Watts that a priced limit leaves unused are lost.
    const { states } = m;
    for (let s = span.start; s < span.end; s += 1) {
      states.loss[s]! += price * Math.max(0, c.limitCapacity[n]! - states.watts[s]!);
    }
  }
  return span;
}

/** Drops the states of the newest span that need more than `room`: devices without a choice were not checked. */
function dropAbove(states: States, span: Span, room: number): Span | null {
  let end = span.end;
  while (end > span.start && states.watts[end - 1]! > room) end -= 1;
  return end === span.start ? null : { start: span.start, end };
}

function addMost(search: Search, child: number): void {
  const { sumCount } = search.m.states;
  for (let k = 0; k < sumCount; k += 1) {
    search.mergedMost[k]! += search.limitMost[child * sumCount + k]!;
  }
}

/** Floors whose devices all hang on limit `n` itself. */
function floorsSettledAt(search: Search, n: number): number[] {
  const { c, m } = search;
  const settled: number[] = [];
  for (let f = 0; f < c.floorIds.length; f += 1) {
    const members = c.floorDevices[f]!;
    if (m.sumOf[f]! < 0 && members.length > 0 && c.deviceLimit[members[0]!] === n) settled.push(f);
  }
  return settled;
}

function leastOfFloor(search: Search, f: number): number {
  let least = 0;
  for (const i of search.c.floorDevices[f]!) least += search.c.modeWatts[i * search.c.stride]!;
  return least;
}

/** Merges devices one by one; `floor` >= 0: the devices of that settled floor, else those in none settled. */
function mergeDevices(
  search: Search,
  from: Span | null,
  devices: Int32Array,
  floor: number,
  room: number,
): Span | null {
  const { c, m } = search;
  let span = from;
  // Devices without a choice first: their watts then count against all the others.
  for (let inCore = 0; inCore < 2; inCore += 1) {
    for (const i of devices) {
      if (span === null) return null;
      const f = c.deviceFloor[i]!;
      if (search.inCore[i] !== inCore || (floor < 0 && f >= 0 && m.sumOf[f]! < 0)) continue;
      span = mergeDevice(search, span, i, room, floor < 0);
    }
  }
  return span;
}

function mergeDevice(search: Search, span: Span, i: number, room: number, dominate: boolean): Span | null {
  const { c, m, options } = search;
  const { states } = m;
  const start = i * c.stride;
  search.restWatts -= c.modeWatts[start]!;
  const sum = c.deviceFloor[i]! >= 0 ? m.sumOf[c.deviceFloor[i]!]! : -1;
  if (sum >= 0) search.mergedMost[sum]! += c.modeWatts[start + c.modeCount[i]! - 1]!;
  if (search.inCore[i] === 0) {
    // One mode only: move the states along in place.
    const s = start + m.bestMode[i]!;
    for (let at = span.start; at < span.end; at += 1) {
      states.watts[at]! += c.modeWatts[s]!;
      states.value[at]! += netValue(search, i, s);
      if (sum >= 0) states.sums[at * states.sumCount + sum]! += c.modeWatts[s]!;
    }
    return span;
  }
  if (isSpent(search)) return null;
  const { candidates } = m;
  candidates.size = 0;
  reserveCandidates(candidates, (span.end - span.start) * c.modeCount[i]!);
  const most = room - search.restWatts;
  for (let k = 0; k < c.modeCount[i]!; k += 1) {
    const s = start + k;
    if (m.loss[s]! >= options.lossBelow) continue;
    const value = netValue(search, i, s);
    for (let at = span.start; at < span.end; at += 1) {
      search.work += 1;
      const loss = states.loss[at]! + m.loss[s]!;
      const watts = states.watts[at]! + c.modeWatts[s]!;
      if (loss >= options.lossBelow || watts > most) continue;
      addCandidate(candidates, at, k, watts, states.value[at]! + value, loss);
    }
  }
  return keepCandidates(search, i, c.modeWatts, start, sum, dominate);
}

function isSpent(search: Search): boolean {
  if (search.work <= search.options.workUnits) return false;
  search.complete = false;
  return true;
}

function netValue(search: Search, i: number, s: number): number {
  const { c, energyPrice } = search;
  if (energyPrice === 0) return c.modeValue[s]!;
  return c.modeValue[s]! - energyPrice * c.limitRootGain[c.deviceLimit[i]!]! * c.modeWatts[s]!;
}

/** Merges two spans; the watts of `right` count `gain` times (0 stands for 1: same limit). */
function mergeSpans(
  search: Search,
  left: Span,
  right: Span | null,
  gain: number,
  room: number,
  dominate: boolean,
): Span | null {
  if (right === null || isSpent(search)) return null;
  const { m, options } = search;
  const { states, candidates } = m;
  const factor = gain === 0 ? 1 : gain;
  const pairs = (left.end - left.start) * (right.end - right.start);
  candidates.size = 0;
  reserveCandidates(candidates, pairs);
  const most = room - search.restWatts;
  for (let b = right.start; b < right.end; b += 1) {
    const loss = states.loss[b]!;
    if (loss >= options.lossBelow) continue;
    const watts = room === Number.POSITIVE_INFINITY ? 0 : states.watts[b]! * factor;
    for (let a = left.start; a < left.end; a += 1) {
      search.work += 1;
      if (states.loss[a]! + loss >= options.lossBelow || states.watts[a]! + watts > most) continue;
      addCandidate(
        candidates,
        a,
        b,
        states.watts[a]! + watts,
        states.value[a]! + states.value[b]!,
        states.loss[a]! + loss,
      );
    }
  }
  return keepCandidates(search, -1, null, 0, -1, dominate);
}

function reserveCandidates(list: Candidates, count: number): void {
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

function addCandidate(
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
function keepCandidates(
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
  reserveCandidates(candidates, count);
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
function settleFloor(search: Search, span: Span, f: number): Span | null {
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

/** The finished state of greatest value that meets all summed floors, or -1. */
function bestState(search: Search, span: Span | null): number {
  if (span === null) return -1;
  const { c, m } = search;
  const { states } = m;
  let best = -1;
  for (let s = span.start; s < span.end; s += 1) {
    let meets = true;
    for (let f = 0; f < c.floorIds.length && meets; f += 1) {
      const k = m.sumOf[f]!;
      if (k >= 0 && states.sums[s * states.sumCount + k]! < c.floorWatts[f]! - ACCEPTED_WATTS) meets = false;
    }
    if (meets && (best < 0 || states.value[s]! > states.value[best]!)) best = s;
  }
  return best;
}
