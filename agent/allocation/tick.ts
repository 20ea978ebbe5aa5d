import { compileDevice, compileProblem } from './compile.ts';
import { type Bench, createBench, type Decision, decide } from './decide.ts';
import { sortAllSegments } from './floors.ts';
import { shortfalls } from './infeasible.ts';
import { listChanged } from './limit-lists.ts';
import { mergeOrders, sortByFallingKey } from './order.ts';
import { limitDollarsPerKwh } from './prices.ts';
import type { Problem, ProblemDevice, Shortfall } from './problem.ts';
import { knownModes, type SolveOptions } from './solve.ts';

/**
 * The allocation that runs every control cycle: the compiled problem with its order of segments is kept, so
 * that a cycle costs what has changed plus one sweep. The modes' values leave energy out; its price is one
 * number for the whole site, paid at the root, so a new price moves every segment alike and the order stays.
 */
export interface Tick {
  bench: Bench;
  /** By compiled index. */
  readonly devices: ProblemDevice[];
  problem: Problem;
  energyDollarsPerKwh: number;
  readonly dirty: Set<number>;
  /** Choice of the last run by compiled index; `null` before the first. */
  readonly lastModeId: (string | null)[];
  /** Its place among the device's modes; -1 where those have changed since. */
  readonly lastMode: Int32Array;
}

export interface TickOptions {
  /** Price of a kWh at the root; losses on the way to a device are paid by it. */
  readonly energyDollarsPerKwh: number;
}

/** One device that should change (or be told for the first time). */
export interface TickChange {
  readonly deviceId: string;
  /** `null` on the first run. */
  readonly from: string | null;
  readonly to: string;
}

export interface TickDecision extends Decision {
  /** In the order of device ids. */
  readonly changes: readonly TickChange[];
  /** Limits that bind, with the price of a kWh there, in the order of the tree. */
  readonly binding: readonly { readonly limit: string; readonly dollarsPerKwh: number }[];
  readonly infeasible: readonly Shortfall[];
}

/** Modes that a device may gain later without a new compilation. */
const SPARE_MODES = 2;

/** Compiles a problem for many cycles; modes may be added to a device later. Throws a RangeError for a tree that is none. */
export function createTick(problem: Problem, options: TickOptions): Tick {
  const most = problem.devices.reduce((count, device) => Math.max(count, device.modes.length), 0);
  const bench = createBench(compileProblem(problem, most + SPARE_MODES));
  sortAllSegments(bench.compiled, bench.workspace);
  const byId = new Map(problem.devices.map((device) => [device.id, device]));
  return {
    bench,
    devices: bench.compiled.deviceIds.map((id) => byId.get(id)!),
    problem,
    energyDollarsPerKwh: options.energyDollarsPerKwh,
    dirty: new Set(),
    lastModeId: new Array<string | null>(problem.devices.length).fill(null),
    lastMode: new Int32Array(problem.devices.length).fill(-1),
  };
}

/** Takes new facts about one device (same id, same limit). Throws on an unknown id: the site has changed. */
export function updateDevice(tick: Tick, device: ProblemDevice): void {
  const i = tick.bench.compiled.deviceIndex.get(device.id);
  if (i === undefined) throw new RangeError(`${device.id}: not in this tick`);
  if (device.limit !== tick.devices[i]!.limit) throw new RangeError(`${device.id}: hangs on another limit`);
  tick.devices[i] = device;
  tick.dirty.add(i);
  tick.lastMode[i] = -1;
  if (device.modes.length > tick.bench.compiled.stride) recompile(tick);
  else compileDevice(tick.bench.compiled, i, device);
}

/** A limit's capacity or fixed load has changed. */
export function updateLimit(
  tick: Tick,
  limitId: string,
  change: { readonly capacityWatts?: number; readonly fixedWatts?: number },
): void {
  const { compiled } = tick.bench;
  const n = compiled.limitIndex.get(limitId);
  if (n === undefined) throw new RangeError(`${limitId}: not in this tick`);
  if (change.capacityWatts !== undefined) compiled.limitCapacity[n] = change.capacityWatts;
  if (change.fixedWatts !== undefined) compiled.limitFixed[n] = change.fixedWatts;
}

/** A floor's demand has changed. */
export function updateFloor(tick: Tick, floorId: string, watts: number): void {
  const f = tick.bench.compiled.floorIds.indexOf(floorId);
  if (f < 0) throw new RangeError(`${floorId}: not in this tick`);
  tick.bench.compiled.floorWatts[f] = watts;
}

/** Moves every slope alike; the order stays. */
export function updateEnergyPrice(tick: Tick, dollarsPerKwh: number): void {
  tick.energyDollarsPerKwh = dollarsPerKwh;
}

/**
 * Decides on all that has been taken in; the choice stands in the bench. A warm tick and a fresh one agree to the
 * last bit.
 */
export function decideTick(tick: Tick, options: SolveOptions & { readonly workUnits: number }): Decision {
  if (tick.dirty.size > 0) refreshOrder(tick);
  return decide(tick.bench, {
    ...options,
    energyDollarsPerWattHour: tick.energyDollarsPerKwh / 1000,
    known: knownModes(tick.bench.compiled, options.known ?? null),
  });
}

/** Decides, and says what changed since the last run. */
export function runTick(tick: Tick, options: SolveOptions & { readonly workUnits: number }): TickDecision {
  const decision = decideTick(tick, options);
  const { compiled: c, workspace: w, choice } = tick.bench;
  const changes: TickChange[] = [];
  const { lastMode } = tick;
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    if (choice.mode[i] === lastMode[i]) continue;
    lastMode[i] = choice.mode[i]!;
    const to = c.modeId[i * c.stride + choice.mode[i]!]!;
    const from = tick.lastModeId[i]!;
    if (from === to) continue;
    changes.push({ deviceId: c.deviceIds[i]!, from, to });
    tick.lastModeId[i] = to;
  }
  const binding: { limit: string; dollarsPerKwh: number }[] = [];
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const dollarsPerKwh = limitDollarsPerKwh(c, w, n);
    if (dollarsPerKwh > 0) binding.push({ limit: c.limitIds[n]!, dollarsPerKwh });
  }
  const infeasible = decision.status === 'infeasible' ? shortfalls(c, choice) : [];
  return { ...decision, changes, binding, infeasible };
}

/** The mode that the last run chose for a device. */
export function chosenMode(tick: Tick, deviceId: string): string | null {
  const i = tick.bench.compiled.deviceIndex.get(deviceId);
  return i === undefined ? null : tick.lastModeId[i]!;
}

/** Takes the segments of changed devices out of the order and merges their new ones in. */
function refreshOrder(tick: Tick): void {
  const { compiled: c, workspace: w } = tick.bench;
  if (w.unswept !== null) {
    listChanged(c, w.unswept.lists, tick.dirty);
    tick.dirty.clear();
    return;
  }
  const dirty = new Uint8Array(c.deviceIds.length);
  let freshCount = 0;
  for (const i of tick.dirty) {
    dirty[i] = 1;
    freshCount += c.hullCount[i]! - 1;
  }
  const fresh = new Int32Array(freshCount);
  let count = 0;
  for (const i of tick.dirty) {
    for (let k = 1; k < c.hullCount[i]!; k += 1) fresh[count++] = i * c.stride + k;
  }
  sortByFallingKey(fresh, freshCount, c.segmentKey, new Int32Array(freshCount));
  const { order, sortScratch, orderCount } = w;
  let kept = 0;
  for (let t = 0; t < orderCount; t += 1) {
    const segment = order[t]!;
    sortScratch[kept] = segment;
    // Without a branch on what cannot be guessed.
    kept += 1 - dirty[segment >> c.strideBits]!;
  }
  w.orderCount = mergeOrders(sortScratch, kept, fresh, freshCount, c.segmentKey, order);
  tick.dirty.clear();
}

function recompile(tick: Tick): void {
  const old = tick.bench.compiled;
  const most = tick.devices.reduce((count, device) => Math.max(count, device.modes.length), 0);
  const problem = { ...tick.problem, devices: tick.devices };
  const compiled = compileProblem(problem, most + SPARE_MODES);
  // Both compile to the same indices: limits and ids are the same.
  compiled.limitCapacity.set(old.limitCapacity);
  compiled.limitFixed.set(old.limitFixed);
  compiled.floorWatts.set(old.floorWatts);
  tick.problem = problem;
  tick.bench = createBench(compiled);
  tick.lastMode.fill(-1);
  sortAllSegments(tick.bench.compiled, tick.bench.workspace);
  tick.dirty.clear();
}
