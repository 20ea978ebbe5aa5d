import type { Compiled } from './compile.ts';
import { sortByFallingKey } from './order.ts';
import type { Problem, ProblemDevice, ProblemMode } from './problem.ts';
import { readBack, type Span } from './states.ts';
import type { Workspace } from './sweep.ts';
import { createSearch, searchOwnDevices } from './window.ts';
import type { Search, WindowMemory } from './window-memory.ts';

/**
 * Whole choices of small breakers. A breaker is a limit with a few devices right below it, none of them in a floor, and
 * no limits. To everything above it is like one device: its modes are the whole choices of its devices that hold within
 * it. Those near the prices of the limits above are few and are found exactly, so a tree of breakers that bind
 * becomes a small tree of coarse devices, whose relaxed optimum is nearer to the truth: no breaker is filled with part of
 * a step.
 *
 * Source: column generation of Dantzig and Wolfe (1960), the columns of one breaker by dynamic programming.
 */
export interface Breaker {
  readonly limit: number;
  /** Price of the whole path in the relaxed answer, dollars per hour and own watt. */
  readonly price: number;
  /** What the relaxed answer says it earns at its capacity: no choice at `w` watts earns more less `price` a watt unused. */
  readonly relaxedDollars: number;
  /** By how much known choices are wanted to be worse than the best, dollars per hour. */
  readonly marginDollars: number;
  /** Price of the limits above, dollars per hour and own watt, at which it was looked at last. */
  priceAbove: number;
  /** All choices that lose less than this at `price` are known, less those that others beat. */
  lossBelow: number;
  /** By rising watts and value. */
  columns: readonly Column[];
}

/** One whole choice of a breaker's devices. */
export interface Column {
  /** At the breaker, its fixed load among them. */
  readonly watts: number;
  /** Dollars per hour, net of energy. */
  readonly value: number;
  /** Mode of each of the breaker's devices, in their order. */
  readonly modes: Int32Array;
}

/** What a search of breakers may take. */
export interface BreakerOptions {
  readonly energyPrice: number;
  readonly workUnits: number;
  readonly mostStates: number;
}

/** More devices than this are no small breaker: the parts of their steps are small beside what it carries. */
const MOST_DEVICES = 16;

/** Choices worse than the best by up to this share of what a device earns are wanted too: they fill the limits above. */
const MARGIN = 0.003;

/** A breaker with more choices than this is none that is worth it. */
const BEAM = 512;

/** How often the loss that is looked at is widened while nothing is found. */
const WIDENINGS = 6;

/**
 * The breakers of a site, those first whose own price weighs most: where the work does not reach for all, the others
 * are left as they are. `only`: the ids of limits that may be one; `null`: all may. Losses must have been computed.
 */
export function findBreakers(
  c: Compiled,
  w: Workspace,
  m: WindowMemory,
  energyPrice: number,
  only: ReadonlySet<string> | null = null,
): Breaker[] {
  const found: Breaker[] = [];
  const weights: number[] = [];
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const parent = c.limitParent[n]!;
    const devices = m.devicesOf[n]!;
    if (parent < 0 || m.childrenOf[n]!.length > 0) continue;
    if (only !== null && !only.has(c.limitIds[n]!)) continue;
    if (devices.length < 2 || devices.length > MOST_DEVICES) continue;
    if (devices.some((i) => c.deviceFloor[i]! >= 0)) continue;
    const gain = c.limitRootGain[n]!;
    const price = w.pathPrice[n]! * gain;
    const priceAbove = w.pathPrice[parent]! * gain;
    let relaxedDollars = price * (c.limitCapacity[n]! - c.limitFixed[n]!);
    for (const i of devices) {
      const s = i * c.stride + m.bestMode[i]!;
      relaxedDollars += netOf(c, i, s, energyPrice) - price * c.modeWatts[s]!;
    }
    const marginDollars = (MARGIN * Math.abs(relaxedDollars)) / devices.length;
    if (marginDollars === 0) continue;
    weights.push((price - priceAbove) * c.limitCapacity[n]!);
    found.push({ limit: n, price, relaxedDollars, marginDollars, priceAbove, lossBelow: 0, columns: [] });
  }
  const order = Int32Array.from(found, (_one, k) => k);
  sortByFallingKey(order, order.length, Float64Array.from(weights), new Int32Array(order.length));
  return Array.from(order, (k) => found[k]!);
}

/** What a device earns in the mode at place `s`, net of energy. */
function netOf(c: Compiled, i: number, s: number, energyPrice: number): number {
  return c.modeValue[s]! - energyPrice * c.limitRootGain[c.deviceLimit[i]!]! * c.modeWatts[s]!;
}

/**
 * Finds the choices of each breaker that may be wanted at the prices above it, in turn, while the work reaches; those
 * that are known already stay. Returns the work that it took and whether anything was found that was not known.
 */
export function extendBreakers(
  c: Compiled,
  w: Workspace,
  m: WindowMemory,
  breakers: readonly Breaker[],
  options: BreakerOptions,
): { workUnits: number; extended: boolean } {
  const limits = { coreDevices: MOST_DEVICES, beam: BEAM, lossBelow: 0, workUnits: options.workUnits };
  const base = createSearch(c, w, m, options.energyPrice, { ...limits, mostStates: options.mostStates });
  const mode = new Int32Array(c.deviceIds.length);
  let workUnits = 0;
  let extended = false;
  for (const breaker of breakers) {
    if (breaker.lossBelow === 0) {
      const chain = chainOf(c, m, breaker.limit, options.energyPrice);
      if (workUnits + chain.length > options.workUnits) break;
      workUnits += chain.length;
      breaker.columns = unbeaten(chain);
    }
    for (let step = 0; step < WIDENINGS; step += 1) {
      const lossBelow = lossWanted(c, breaker);
      if (lossBelow <= breaker.lossBelow) break;
      const left = options.workUnits - workUnits;
      const search: Search = { ...base, options: { ...base.options, lossBelow, workUnits: left } };
      const span = searchOwnDevices(search, breaker.limit);
      workUnits += search.work;
      if (!search.complete) break;
      const found = span === null ? [] : columnsOf(search, span, breaker.limit, mode);
      breaker.columns = unbeaten([...breaker.columns, ...found]);
      breaker.lossBelow = lossBelow;
      extended = true;
    }
  }
  return { workUnits, extended };
}

/**
 * Choices that lose less than this at the breaker's price are to be known: all that are within its margin of the best
 * at the prices above. Where nothing is known to be near, four times what was looked at.
 */
function lossWanted(c: Compiled, breaker: Breaker): number {
  const { priceAbove, relaxedDollars, marginDollars } = breaker;
  const best = reducedBest(breaker, priceAbove);
  const gap = relaxedDollars - priceAbove * c.limitCapacity[breaker.limit]! - best;
  const enough = (gap + marginDollars) * (1 + 1e-9);
  const next = breaker.lossBelow === 0 ? 2 * marginDollars : 4 * breaker.lossBelow;
  return priceAbove > breaker.price ? Math.max(breaker.lossBelow, marginDollars) : Math.min(enough, next);
}

/** The most that a known choice earns less `price` for each of its watts. */
export function reducedBest({ columns }: Breaker, price: number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (const { watts, value } of columns) best = Math.max(best, value - price * watts);
  return best;
}

/** The same of any choice that is not known: no more than this. */
export function reducedUnknown(
  c: Compiled,
  m: WindowMemory,
  breaker: Breaker,
  price: number,
  energyPrice: number,
): number {
  const n = breaker.limit;
  if (price <= breaker.price) return breaker.relaxedDollars - price * c.limitCapacity[n]! - breaker.lossBelow;
  // Dearer than its whole path was: each device on its own.
  let sum = -price * c.limitFixed[n]!;
  for (const i of m.devicesOf[n]!) {
    let best = Number.NEGATIVE_INFINITY;
    for (let s = i * c.stride; s < i * c.stride + c.modeCount[i]!; s += 1) {
      best = Math.max(best, netOf(c, i, s, energyPrice) - price * c.modeWatts[s]!);
    }
    sum += best;
  }
  return sum;
}

/** From everything at its least on, by the best segment after the other: what fits whole. */
function chainOf(c: Compiled, m: WindowMemory, n: number, energyPrice: number): Column[] {
  const devices = m.devicesOf[n]!;
  const segments = new Int32Array(devices.length * c.stride);
  let count = 0;
  const modes = new Int32Array(devices.length);
  let watts = c.limitFixed[n]!;
  let value = 0;
  for (const i of devices) {
    watts += c.modeWatts[i * c.stride]!;
    value += netOf(c, i, i * c.stride, energyPrice);
    for (let k = 1; k < c.hullCount[i]!; k += 1) segments[count++] = i * c.stride + k;
  }
  sortByFallingKey(segments, count, c.segmentKey, new Int32Array(count));
  const chain: Column[] = [{ watts, value, modes: modes.slice() }];
  for (let t = 0; t < count; t += 1) {
    const segment = segments[t]!;
    if (c.segmentKey[segment]! <= energyPrice) break;
    const i = segment >> c.strideBits;
    const from = i * c.stride + c.hullMode[segment - 1]!;
    const to = i * c.stride + c.hullMode[segment]!;
    watts += c.modeWatts[to]! - c.modeWatts[from]!;
    value += netOf(c, i, to, energyPrice) - netOf(c, i, from, energyPrice);
    if (watts > m.roomWatts[n]!) break;
    modes[devices.indexOf(i)] = c.hullMode[segment]!;
    chain.push({ watts, value, modes: modes.slice() });
  }
  return chain;
}

/** The states of a span as choices; `mode` has room for a mode of each device of the site. */
function columnsOf({ m }: Search, span: Span, n: number, mode: Int32Array): Column[] {
  const { states } = m;
  return Array.from({ length: span.end - span.start }, (_, k): Column => {
    const at = span.start + k;
    readBack(states, at, mode);
    const modes = m.devicesOf[n]!.map((i) => mode[i]!);
    return { watts: states.watts[at]!, value: states.value[at]!, modes };
  });
}

/** By rising watts, without those that another beats. */
function unbeaten(columns: Column[]): Column[] {
  columns.sort((a, b) => a.watts - b.watts || b.value - a.value);
  let best = Number.NEGATIVE_INFINITY;
  return columns.filter(({ value }) => {
    if (value <= best) return false;
    best = value;
    return true;
  });
}

/** The site with each breaker that has choices as one device on the limit above; values are net of energy. */
export function wholeBreakerSite(c: Compiled, breakers: readonly Breaker[], energyPrice: number): Problem {
  const isBreaker = new Uint8Array(c.limitIds.length);
  const devices: ProblemDevice[] = [];
  const add = (id: string, n: number, modes: readonly ProblemMode[]): void => {
    const limit = c.limitIds[n]!;
    devices.push({ id, limit, current: null, modes, switchDollarsPerHour: {}, allowed: null });
  };
  for (const { limit: n, columns } of breakers) {
    isBreaker[n] = 1;
    const gain = c.limitGain[n]!;
    const modes = columns.map(({ watts, value }, k) => ({
      id: String(k),
      watts: watts * gain,
      dollarsPerHour: value,
    }));
    add(`breaker ${n}`, c.limitParent[n]!, modes);
  }
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    const n = c.deviceLimit[i]!;
    if (isBreaker[n] === 1) continue;
    const modes = Array.from({ length: c.modeCount[i]! }, (_, k) => {
      const s = i * c.stride + k;
      return { id: String(k), watts: c.modeWatts[s]!, dollarsPerHour: netOf(c, i, s, energyPrice) };
    });
    add(`device ${i}`, n, modes);
  }
  const limits = c.limitIds.flatMap((id, n) => {
    if (isBreaker[n] === 1) return [];
    const parent = c.limitParent[n]! < 0 ? null : c.limitIds[c.limitParent[n]!]!;
    const [capacityWatts, fixedWatts] = [c.limitCapacity[n]!, c.limitFixed[n]!];
    return [{ id, parent, capacityWatts, fixedWatts, gain: c.limitGain[n]! }];
  });
  const floors = c.floorIds.map((id, f) => ({
    id,
    devices: Array.from(c.floorDevices[f]!, (i) => `device ${i}`),
    watts: c.floorWatts[f]!,
  }));
  return { limits, devices, floors };
}

/** The modes that a choice of `wholeBreakerSite` stands for, into `mode`. */
export function takeApart(
  c: Compiled,
  m: WindowMemory,
  breakers: readonly Breaker[],
  site: Compiled,
  chosen: Int32Array,
  mode: Int32Array,
): void {
  const chosenOf = (id: string): number => {
    const i = site.deviceIndex.get(id)!;
    return Number(site.modeId[i * site.stride + chosen[i]!]!);
  };
  const isBreaker = new Uint8Array(c.limitIds.length);
  for (const { limit: n, columns } of breakers) {
    isBreaker[n] = 1;
    const { modes } = columns[chosenOf(`breaker ${n}`)]!;
    for (const [d, i] of m.devicesOf[n]!.entries()) mode[i] = modes[d]!;
  }
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    if (isBreaker[c.deviceLimit[i]!] === 0) mode[i] = chosenOf(`device ${i}`);
  }
}
