import type { Compiled } from './compile.ts';
import { sortByFallingKey } from './order.ts';
import { clearStates, readBack, reserveStates, type Span, type States } from './states.ts';
import type { Workspace } from './sweep.ts';
import { addCandidate, keepCandidates, reserveCandidates, settleFloor } from './window-keep.ts';
import type { Search, WindowMemory, WindowOptions } from './window-memory.ts';

export interface WindowResult {
  /** A choice within `lossBelow` was found; `mode` holds it. */
  readonly found: boolean;
  /** Nothing was left out: if `found`, it is optimal; if not, no choice loses less than `lossBelow`. */
  readonly complete: boolean;
  readonly workUnits: number;
}

/**
 * The search over whole modes. Every choice earns the relaxed bound less its losses: what each device's mode
 * falls short of the best at the prices of its path, plus the unused watts of each priced limit, plus what a
 * priced floor is exceeded by. So the tree is walked from the leaves up with lists of partial choices; a
 * partial choice that has already lost as much as the best known choice is dropped, as is one that another
 * beats in watts and value. Where nothing had to be cut for room, the result is proved optimal.
 *
 * Searches once; on `found` the choice is in `mode`. The losses and rooms must have been computed.
 */
export function searchWindow(
  c: Compiled,
  w: Workspace,
  m: WindowMemory,
  energyPrice: number,
  options: WindowOptions,
  mode: Int32Array,
): WindowResult {
  const search = createSearch(c, w, m, energyPrice, options);
  chooseCore(search);
  const spans = new Array<Span>(c.limitIds.length);
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
    top = mergeSpans(search, top, spans[n]!, 0, Number.POSITIVE_INFINITY);
  }
  if (top === null) return { found: false, complete: search.complete, workUnits: search.work };
  const best = bestState(search, top);
  for (let i = 0; i < c.deviceIds.length; i += 1) mode[i] = m.bestMode[i]!;
  readBack(m.states, best, mode);
  return { found: true, complete: search.complete, workUnits: search.work };
}

/** A search that has not looked at anything yet; its states are cleared, no device keeps a choice. */
export function createSearch(
  c: Compiled,
  w: Workspace,
  m: WindowMemory,
  energyPrice: number,
  options: WindowOptions,
): Search {
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
  for (let f = 0; f < c.floorIds.length; f += 1) {
    const sum = m.sumOf[f]!;
    if (sum < 0) continue;
    for (const i of c.floorDevices[f]!) {
      search.floorMost[sum]! += c.modeWatts[i * c.stride + c.modeCount[i]! - 1]!;
    }
  }
  return search;
}

/**
 * The whole choices of limit `n`'s own devices, none of them in a floor, by rising watts (its fixed load among them):
 * those within its room that lose less than the search's `lossBelow` and that no other beats. `null` where there is
 * none, or where work or room for them were too little: `complete` says which. States before are forgotten.
 */
export function searchOwnDevices(search: Search, n: number): Span | null {
  const { c, m } = search;
  clearStates(m.states);
  search.mergedMost.fill(0);
  search.restWatts = m.leastWatts[n]! - c.limitFixed[n]!;
  for (const i of m.devicesOf[n]!) search.inCore[i] = 1;
  const start = startSpan(search, c.limitFixed[n]!);
  return mergeDevices(search, start, m.devicesOf[n]!, -1, m.roomWatts[n]!);
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
function searchLimit(search: Search, n: number, spans: readonly Span[]): Span | null {
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
    span = own === null ? null : mergeSpans(search, span, own, 0, room);
  }
  for (const child of m.childrenOf[n]!) {
    if (span === null) return null;
    search.restWatts -= c.limitGain[child]! * m.leastWatts[child]!;
    addMost(search, child);
    span = mergeSpans(search, span, spans[child]!, c.limitGain[child]!, room);
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
    if (m.sumOf[f]! < 0 && c.deviceLimit[members[0]!] === n) settled.push(f);
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
  const pairs = (span.end - span.start) * c.modeCount[i]!;
  if (isSpent(search, pairs)) return null;
  const { candidates } = m;
  candidates.size = 0;
  reserveCandidates(candidates, pairs);
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

/** Whether the budget is used up, or would be by `pairs` more. */
function isSpent(search: Search, pairs: number): boolean {
  const { states } = search.m;
  const left = search.options.workUnits - search.work;
  const most = search.options.mostStates;
  if (pairs <= Math.min(left, most / 2) && states.size <= most) return false;
  search.complete = false;
  return true;
}

function netValue(search: Search, i: number, s: number): number {
  const { c, energyPrice } = search;
  if (energyPrice === 0) return c.modeValue[s]!;
  return c.modeValue[s]! - energyPrice * c.limitRootGain[c.deviceLimit[i]!]! * c.modeWatts[s]!;
}

/** Merges two spans; the watts of `right` count `gain` times (0 stands for 1: same limit). */
function mergeSpans(search: Search, left: Span, right: Span, gain: number, room: number): Span | null {
  const { m, options } = search;
  const pairs = (left.end - left.start) * (right.end - right.start);
  if (isSpent(search, pairs)) return null;
  const { states, candidates } = m;
  const factor = gain === 0 ? 1 : gain;
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
  return keepCandidates(search, -1, null, 0, -1, true);
}

/** The finished state of greatest value. */
function bestState({ m }: Search, span: Span): number {
  const { value } = m.states;
  let best = span.start;
  for (let s = span.start + 1; s < span.end; s += 1) if (value[s]! > value[best]!) best = s;
  return best;
}
