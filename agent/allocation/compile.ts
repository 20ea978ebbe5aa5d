import { upperHull } from './hull.ts';
import type { Problem, ProblemDevice, ProblemLimit, ProblemMode } from './problem.ts';

/**
 * The problem as typed arrays. Limits stand parents first, devices by id, so every loop in index order is
 * repeatable whatever the order of the file. A watt below a limit is also counted in "root watts": watts at
 * the root that it causes (`rootGain`); in root watts all limits measure the same thing, which is what makes
 * the sweep exact.
 *
 * Segment `device * stride + k` (k >= 1) leads from hull corner k-1 to corner k.
 */
export interface Compiled {
  readonly limitIds: readonly string[];
  readonly limitIndex: ReadonlyMap<string, number>;
  readonly limitParent: Int32Array;
  readonly limitGain: Float64Array;
  readonly limitRootGain: Float64Array;
  readonly limitCapacity: Float64Array;
  readonly limitFixed: Float64Array;
  readonly deviceIds: readonly string[];
  readonly deviceIndex: ReadonlyMap<string, number>;
  readonly deviceLimit: Int32Array;
  /** Devices hanging on limit `n` itself, by rising index: `limitDevices` from `limitStart[n]` to `limitStart[n + 1]`. */
  readonly limitStart: Int32Array;
  readonly limitDevices: Int32Array;
  /** Index of the floor that the device is in, or -1. */
  readonly deviceFloor: Int32Array;
  /** Modes and segments per device, a power of two: a segment's device is `segment >> strideBits`. */
  readonly stride: number;
  readonly strideBits: number;
  readonly modeCount: Int32Array;
  /** By rising watts, equal watts by falling value. */
  readonly modeWatts: Float64Array;
  /** Net of the switching cost. */
  readonly modeValue: Float64Array;
  readonly modeId: string[];
  /** Watts between the two nearest modes of each device; infinite where it has but one. */
  readonly deviceLeastStep: Float64Array;
  readonly hullCount: Int32Array;
  readonly hullMode: Int32Array;
  /** Value per root watt of each segment. */
  readonly segmentKey: Float64Array;
  /** Length of each segment in root watts. */
  readonly segmentRootWatts: Float64Array;
  readonly floorIds: readonly string[];
  readonly floorWatts: Float64Array;
  /** Devices of each floor, by index. */
  readonly floorDevices: readonly Int32Array[];
  /** Lowest limit that has the whole floor below it, or -1 (several roots). */
  readonly floorTop: Int32Array;
  /** 1 where the floor nests with every limit and can be served first exactly; 0 where it cuts across. */
  readonly floorNested: Uint8Array;
}

/** Compiles a problem that has been checked (ids known, no cycle, no empty `allowed`); throws on a bug there. */
export function compileProblem(problem: Problem, strideAtLeast = 0): Compiled {
  const limits = limitsParentsFirst(problem.limits);
  const limitCount = limits.length;
  const limitIndex = new Map(limits.map((limit, n) => [limit.id, n]));
  const limitParent = new Int32Array(limitCount);
  const limitGain = new Float64Array(limitCount);
  const limitRootGain = new Float64Array(limitCount);
  for (const [n, limit] of limits.entries()) {
    const parent = limit.parent === null ? -1 : limitIndex.get(limit.parent)!;
    limitParent[n] = parent;
    limitGain[n] = limit.gain;
    limitRootGain[n] = parent < 0 ? 1 : limitRootGain[parent]! * limit.gain;
  }
  const devices = [...problem.devices].sort((a, b) => compareIds(a.id, b.id));
  const most = devices.reduce((count, device) => Math.max(count, device.modes.length), strideAtLeast);
  const strideBits = Math.max(1, Math.ceil(Math.log2(most)));
  const stride = 2 ** strideBits;
  const size = devices.length * stride;
  const deviceIndex = new Map(devices.map((device, i) => [device.id, i]));
  const deviceLimit = Int32Array.from(devices, (device) => limitIndex.get(device.limit)!);
  const deviceFloor = new Int32Array(devices.length).fill(-1);
  const floors = [...problem.floors].sort((a, b) => compareIds(a.id, b.id));
  const floorDevices = floors.map((floor, f) => {
    const members = Int32Array.from(floor.devices, (id) => deviceIndex.get(id)!).sort();
    for (const i of members) deviceFloor[i] = f;
    return members;
  });
  const { limitStart, limitDevices } = devicesByLimit(deviceLimit, limitCount);
  const shape = floorShapes(floorDevices, deviceLimit, limitParent, limitRootGain);
  const compiled: Compiled = {
    limitIds: limits.map((limit) => limit.id),
    limitIndex,
    limitParent,
    limitGain,
    limitRootGain,
    limitCapacity: Float64Array.from(limits, (limit) => limit.capacityWatts),
    limitFixed: Float64Array.from(limits, (limit) => limit.fixedWatts),
    deviceIds: devices.map((device) => device.id),
    deviceIndex,
    deviceLimit,
    limitStart,
    limitDevices,
    deviceFloor,
    stride,
    strideBits,
    modeCount: new Int32Array(devices.length),
    modeWatts: new Float64Array(size),
    modeValue: new Float64Array(size),
    modeId: new Array<string>(size).fill(''),
    deviceLeastStep: new Float64Array(devices.length),
    hullCount: new Int32Array(devices.length),
    hullMode: new Int32Array(size),
    segmentKey: new Float64Array(size),
    segmentRootWatts: new Float64Array(size),
    floorIds: floors.map((floor) => floor.id),
    floorWatts: Float64Array.from(floors, (floor) => floor.watts),
    floorDevices,
    floorTop: shape.top,
    floorNested: shape.nested,
  };
  for (const [i, device] of devices.entries()) compileDevice(compiled, i, device);
  return compiled;
}

/** Writes the modes and hull of device `i` (its limit and floor stay). Throws when it has more modes than fit. */
export function compileDevice(c: Compiled, i: number, device: ProblemDevice): void {
  if (device.modes.length > c.stride) throw new RangeError(`${device.id}: more modes than compiled for`);
  const start = i * c.stride;
  const count = writeModes(c, start, device);
  if (count === 0) throw new RangeError(`${device.id}: no allowed mode`);
  c.modeCount[i] = count;
  let leastStep = Number.POSITIVE_INFINITY;
  for (let s = start + 1; s < start + count; s += 1) {
    const step = c.modeWatts[s]! - c.modeWatts[s - 1]!;
    if (step > 0 && step < leastStep) leastStep = step;
  }
  c.deviceLeastStep[i] = leastStep;
  const corners = upperHull(c.modeWatts, c.modeValue, start, count, c.hullMode);
  c.hullCount[i] = corners;
  const gain = c.limitRootGain[c.deviceLimit[i]!]!;
  for (let k = 1; k < corners; k += 1) {
    const a = start + c.hullMode[start + k - 1]!;
    const b = start + c.hullMode[start + k]!;
    const watts = c.modeWatts[b]! - c.modeWatts[a]!;
    c.segmentRootWatts[start + k] = watts * gain;
    const key = (c.modeValue[b]! - c.modeValue[a]!) / watts / gain;
    // Rounding must not put a later segment of the device before an earlier one.
    c.segmentKey[start + k] = k > 1 ? Math.min(key, c.segmentKey[start + k - 1]!) : key;
  }
}

/** What a mode earns, less what it costs to get there. */
function netOf(device: ProblemDevice, mode: ProblemMode): number {
  if (mode.id === device.current) return mode.dollarsPerHour;
  return mode.dollarsPerHour - (device.switchDollarsPerHour[mode.id] ?? 0);
}

/**
 * Writes the modes that may be chosen by rising watts; of equal watts the better first; of equal value staying first,
 * then by id, so that nothing switches for nothing. A handful, mostly in order already: sorted by insertion. Returns
 * how many.
 */
function writeModes(c: Compiled, start: number, device: ProblemDevice): number {
  const { modeWatts, modeValue, modeId } = c;
  const { allowed, current, modes } = device;
  let end = start;
  for (let m = 0; m < modes.length; m += 1) {
    const mode = modes[m]!;
    if (allowed !== null && !allowed.includes(mode.id)) continue;
    const value = netOf(device, mode);
    let at = end;
    while (at > start) {
      const before = at - 1;
      if (modeWatts[before]! < mode.watts) break;
      if (modeWatts[before]! === mode.watts) {
        if (modeValue[before]! > value) break;
        if (modeValue[before]! === value && !staysFirst(mode.id, modeId[before]!, current)) break;
      }
      modeWatts[at] = modeWatts[before]!;
      modeValue[at] = modeValue[before]!;
      modeId[at] = modeId[before]!;
      at = before;
    }
    modeWatts[at] = mode.watts;
    modeValue[at] = value;
    modeId[at] = mode.id;
    end += 1;
  }
  return end - start;
}

/** Of two modes that are worth the same: whether `a` comes before `b`. */
function staysFirst(a: string, b: string, current: string | null): boolean {
  if ((a === current) !== (b === current)) return a === current;
  return compareIds(a, b) < 0;
}

/** Ids by code unit: the same order on every machine and locale. */
export function compareIds(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function devicesByLimit(
  deviceLimit: Int32Array,
  limitCount: number,
): { limitStart: Int32Array; limitDevices: Int32Array } {
  const limitStart = new Int32Array(limitCount + 1);
  for (const n of deviceLimit) limitStart[n + 1]! += 1;
  for (let n = 0; n < limitCount; n += 1) limitStart[n + 1]! += limitStart[n]!;
  const next = limitStart.slice();
  const limitDevices = new Int32Array(deviceLimit.length);
  for (let i = 0; i < deviceLimit.length; i += 1) limitDevices[next[deviceLimit[i]!]!++] = i;
  return { limitStart, limitDevices };
}

function limitsParentsFirst(limits: readonly ProblemLimit[]): ProblemLimit[] {
  const children = new Map<string | null, ProblemLimit[]>();
  for (const limit of [...limits].sort((a, b) => compareIds(a.id, b.id))) {
    const siblings = children.get(limit.parent);
    if (siblings === undefined) children.set(limit.parent, [limit]);
    else siblings.push(limit);
  }
  const sorted: ProblemLimit[] = [...(children.get(null) ?? [])];
  for (let n = 0; n < sorted.length; n += 1) {
    for (const child of children.get(sorted[n]!.id) ?? []) sorted.push(child);
  }
  if (sorted.length !== limits.length) throw new RangeError('limits: unknown parent or cycle');
  return sorted;
}

/**
 * A floor nests when no limit cuts it (each limit has all of it below, none of it, or lies wholly inside it)
 * and all its devices have the same gain to the root. Only then is "serve the floor first" exact.
 */
function floorShapes(
  floorDevices: readonly Int32Array[],
  deviceLimit: Int32Array,
  limitParent: Int32Array,
  limitRootGain: Float64Array,
): { top: Int32Array; nested: Uint8Array } {
  const limitCount = limitParent.length;
  const below = new Int32Array(limitCount);
  for (const n of deviceLimit) below[n]! += 1;
  for (let n = limitCount - 1; n >= 0; n -= 1) {
    const parent = limitParent[n]!;
    if (parent >= 0) below[parent]! += below[n]!;
  }
  const top = new Int32Array(floorDevices.length).fill(-1);
  const nested = new Uint8Array(floorDevices.length);
  const inside = new Int32Array(limitCount);
  for (const [f, members] of floorDevices.entries()) {
    inside.fill(0);
    for (const i of members) inside[deviceLimit[i]!]! += 1;
    for (let n = limitCount - 1; n >= 0; n -= 1) {
      const parent = limitParent[n]!;
      if (parent >= 0) inside[parent]! += inside[n]!;
    }
    let nests = members.length > 0;
    for (let n = 0; n < limitCount; n += 1) {
      if (inside[n] === members.length) top[f] = n;
      else if (inside[n]! > 0 && inside[n] !== below[n]) nests = false;
    }
    const gainOf = (i: number): number => limitRootGain[deviceLimit[i]!]!;
    for (const i of members) if (gainOf(i) !== gainOf(members[0]!)) nests = false;
    nested[f] = nests && top[f]! >= 0 ? 1 : 0;
  }
  return { top, nested };
}
