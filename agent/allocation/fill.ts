import type { Compiled } from './compile.ts';
import { sortByFallingKey } from './order.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { countAbove, type Workspace } from './sweep.ts';

/** A choice of one mode per device (local mode index), with what is left at every limit in its own watts. */
export interface Choice {
  readonly mode: Int32Array;
  readonly slackWatts: Float64Array;
  readonly floorWatts: Float64Array;
  /** What filling up works with: room below each limit, and the least step of any device there. */
  readonly roomWatts: Float64Array;
  readonly leastStepWatts: Float64Array;
}

export function createChoice(c: Compiled): Choice {
  return {
    mode: new Int32Array(c.deviceIds.length),
    slackWatts: new Float64Array(c.limitIds.length),
    floorWatts: new Float64Array(c.floorIds.length),
    roomWatts: new Float64Array(c.limitIds.length),
    leastStepWatts: new Float64Array(c.limitIds.length),
  };
}

/** Totals of all limits for `mode`, by the outside form's own formula. */
export function limitTotals(c: Compiled, mode: Int32Array, totals: Float64Array): void {
  totals.set(c.limitFixed);
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    totals[c.deviceLimit[i]!]! += c.modeWatts[i * c.stride + mode[i]!]!;
  }
  for (let n = c.limitIds.length - 1; n >= 0; n -= 1) {
    const parent = c.limitParent[n]!;
    if (parent >= 0) totals[parent]! += c.limitGain[n]! * totals[n]!;
  }
}

/** Recomputes slack and floors of a choice from its modes. */
export function refreshChoice(c: Compiled, choice: Choice): void {
  limitTotals(c, choice.mode, choice.slackWatts);
  for (let n = 0; n < c.limitIds.length; n += 1) {
    choice.slackWatts[n] = c.limitCapacity[n]! - choice.slackWatts[n]!;
  }
  for (let f = 0; f < c.floorIds.length; f += 1) choice.floorWatts[f] = floorTotal(c, choice.mode, f);
}

export function floorTotal(c: Compiled, mode: Int32Array, f: number): number {
  let sum = 0;
  for (const i of c.floorDevices[f]!) sum += c.modeWatts[i * c.stride + mode[i]!]!;
  return sum;
}

/** Whether every limit and floor holds, from totals computed afresh. */
export function isFeasible(c: Compiled, choice: Choice): boolean {
  refreshChoice(c, choice);
  for (let n = 0; n < c.limitIds.length; n += 1) if (choice.slackWatts[n]! < -ACCEPTED_WATTS) return false;
  for (let f = 0; f < c.floorIds.length; f += 1) {
    if (choice.floorWatts[f]! < c.floorWatts[f]! - ACCEPTED_WATTS) return false;
  }
  return true;
}

/** Value of a choice, net of energy, and the sum of the absolute values of its parts. */
export function choiceValue(
  c: Compiled,
  mode: Int32Array,
  energyPrice: number,
): { value: number; magnitude: number } {
  let value = 0;
  let lost = 0;
  let magnitude = 0;
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    const s = i * c.stride + mode[i]!;
    const energy =
      energyPrice === 0 ? 0 : energyPrice * c.limitRootGain[c.deviceLimit[i]!]! * c.modeWatts[s]!;
    const term = c.modeValue[s]! - energy;
    const next = value + term;
    lost += Math.abs(value) >= Math.abs(term) ? value - next + term : term - next + value;
    value = next;
    magnitude += Math.abs(term);
  }
  return { value: value + lost, magnitude };
}

/** Moves device `i` to `mode` if every limit on its path has room and its floor still holds. */
function tryMove(c: Compiled, choice: Choice, i: number, mode: number, guardFloor: boolean): boolean {
  const { slackWatts } = choice;
  const start = i * c.stride;
  const step = c.modeWatts[start + mode]! - c.modeWatts[start + choice.mode[i]!]!;
  const limit = c.deviceLimit[i]!;
  if (step > 0) {
    let watts = step;
    for (let n = limit; n >= 0; n = c.limitParent[n]!) {
      if (watts > slackWatts[n]! + ACCEPTED_WATTS / 2) return false;
      watts *= c.limitGain[n]!;
    }
  }
  const f = c.deviceFloor[i]!;
  if (f >= 0) {
    if (guardFloor && step < 0 && choice.floorWatts[f]! + step < c.floorWatts[f]!) return false;
    choice.floorWatts[f]! += step;
  }
  let watts = step;
  for (let n = limit; n >= 0; n = c.limitParent[n]!) {
    slackWatts[n]! -= watts;
    watts *= c.limitGain[n]!;
  }
  choice.mode[i] = mode;
  return true;
}

/**
 * A whole-mode choice from the relaxed answer in the workspace: floors first (by what a segment is worth after
 * the prices of its path), then every segment in order that fits. Floors may end unmet; the caller checks.
 */
export function roundDown(c: Compiled, w: Workspace, energyPrice: number, choice: Choice): void {
  if (w.unswept !== null) {
    takeWhole(c, w.unswept, choice);
    return;
  }
  choice.mode.fill(0);
  refreshChoice(c, choice);
  w.corner.fill(0);
  w.blocked.fill(0);
  for (let f = 0; f < c.floorIds.length; f += 1) raiseFloor(c, w, f, choice);
  const { sweepOrder, corner, blocked } = w;
  const count = countAbove(w, energyPrice);
  for (let t = 0; t < count; t += 1) {
    const segment = sweepOrder[t]!;
    const i = segment >> c.strideBits;
    if (blocked[i] === 1) continue;
    const k = segment - i * c.stride;
    if (corner[i]! >= k) continue;
    if (tryMove(c, choice, i, c.hullMode[i * c.stride + k]!, false)) corner[i] = k;
    else blocked[i] = 1;
  }
}

/** Without floors the relaxed answer less its parts of segments is feasible as it stands. */
function takeWhole(c: Compiled, { lists, cuts }: NonNullable<Workspace['unswept']>, choice: Choice): void {
  const { limitStart, strideBits, hullMode } = c;
  const { segment } = lists;
  choice.mode.fill(0);
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const start = limitStart[n]! << strideBits;
    const end = start + cuts.taken[n]!;
    // The segments of a device stand in its own order: the last one says where it ends.
    for (let t = start; t < end; t += 1) choice.mode[segment[t]! >> strideBits] = hullMode[segment[t]!]!;
  }
  refreshChoice(c, choice);
}

/** Raises the devices of floor `f` by whole segments, best after path prices first, until it is met. */
function raiseFloor(c: Compiled, w: Workspace, f: number, choice: Choice): void {
  const demanded = c.floorWatts[f]!;
  if (choice.floorWatts[f]! >= demanded) return;
  const { stride } = c;
  const devices = c.floorDevices[f]!;
  const segments = new Int32Array(devices.length * stride);
  const worth = new Float64Array(devices.length * stride);
  const source = new Int32Array(devices.length * stride);
  let count = 0;
  for (const i of devices) {
    const price = w.pathPrice[c.deviceLimit[i]!]!;
    for (let k = 1; k < c.hullCount[i]!; k += 1) {
      source[count] = i * stride + k;
      worth[count] = w.keys[i * stride + k]! - price;
      segments[count] = count;
      count += 1;
    }
  }
  sortByFallingKey(segments, count, worth, new Int32Array(count));
  for (let t = 0; t < count && choice.floorWatts[f]! < demanded; t += 1) {
    const segment = source[segments[t]!]!;
    const i = segment >> c.strideBits;
    const k = segment - i * stride;
    if (w.corner[i] !== k - 1) continue;
    if (tryMove(c, choice, i, c.hullMode[i * stride + k]!, false)) w.corner[i] = k;
  }
  // Corners do not fit any more: any mode that brings the floor nearer.
  for (const i of devices) {
    for (let m = c.modeCount[i]! - 1; m > choice.mode[i]! && choice.floorWatts[f]! < demanded; m -= 1) {
      if (c.modeWatts[i * stride + m]! > c.modeWatts[i * stride + choice.mode[i]!]!) {
        tryMove(c, choice, i, m, false);
      }
    }
  }
}

/**
 * Improves a choice by single moves, limit by limit and best for each device in turn, until a whole pass finds none or
 * `passes` are spent. Never makes it worse; leaves floors held.
 */
export function fillUp(c: Compiled, energyPrice: number, choice: Choice, passes: number): void {
  const { roomWatts, leastStepWatts } = choice;
  leastStepWatts.fill(Number.NEGATIVE_INFINITY);
  for (let pass = 0; pass < passes; pass += 1) {
    let moved = false;
    // Room below each limit as the pass begins. What a move gives back within a pass is seen by the next.
    roomsBelow(c, choice, roomWatts);
    for (let n = 0; n < c.limitIds.length; n += 1) {
      if (leastStepWatts[n]! <= roomWatts[n]! && fillLimit(c, energyPrice, choice, n)) moved = true;
    }
    if (!moved) return;
  }
}

/** One pass over the devices of limit `n`; whether any moved. */
function fillLimit(c: Compiled, energyPrice: number, choice: Choice, n: number): boolean {
  const { stride, modeWatts, modeValue, modeCount, deviceFloor, limitDevices } = c;
  const room = choice.roomWatts[n]!;
  const perWatt = energyPrice * c.limitRootGain[n]!;
  let leastStep = Number.POSITIVE_INFINITY;
  let moved = false;
  for (let d = c.limitStart[n]!; d < c.limitStart[n + 1]!; d += 1) {
    const i = limitDevices[d]!;
    const start = i * stride;
    const end = start + modeCount[i]!;
    const now = start + choice.mode[i]!;
    const floored = deviceFloor[i]! >= 0;
    if (floored) leastStep = Number.NEGATIVE_INFINITY;
    else {
      if (now + 1 >= end) continue;
      const step = modeWatts[now + 1]! - modeWatts[now]!;
      if (step < leastStep) leastStep = step;
      // The common case: there is no room for the next mode.
      if (step > room) continue;
    }
    const most = modeWatts[now]! + roomFor(c, choice, i);
    const least = floorNeeds(c, choice, i, modeWatts[now]!);
    let best = now;
    let bestValue = modeValue[now]! - perWatt * modeWatts[now]!;
    // Only a floor can make a device take more watts than a better mode needs: the others look upwards.
    for (let s = floored ? start : now + 1; s < end; s += 1) {
      const watts = modeWatts[s]!;
      if (watts > most) break;
      const value = modeValue[s]! - perWatt * watts;
      if (value > bestValue && watts >= least) {
        best = s;
        bestValue = value;
      }
    }
    if (best !== now && tryMove(c, choice, i, best - start, true)) {
      moved = true;
      leastStep = Number.NEGATIVE_INFINITY;
    }
  }
  choice.leastStepWatts[n] = leastStep;
  return moved;
}

/** Watts that a device may add at each limit, by that limit and all above it. */
function roomsBelow(c: Compiled, choice: Choice, room: Float64Array): void {
  for (let n = 0; n < room.length; n += 1) {
    const parent = c.limitParent[n]!;
    const own = choice.slackWatts[n]! + ACCEPTED_WATTS / 2;
    room[n] = parent < 0 ? own : Math.min(own, room[parent]! / c.limitGain[n]!);
  }
}

/** Watts that device `i` may still add, by the limits on its path. */
function roomFor(c: Compiled, choice: Choice, i: number): number {
  let room = Number.POSITIVE_INFINITY;
  let gain = 1;
  for (let n = c.deviceLimit[i]!; n >= 0; n = c.limitParent[n]!) {
    const left = (choice.slackWatts[n]! + ACCEPTED_WATTS / 2) / gain;
    if (left < room) room = left;
    gain *= c.limitGain[n]!;
  }
  return Math.max(0, room);
}

/** Least watts that device `i` must keep for its floor. */
function floorNeeds(c: Compiled, choice: Choice, i: number, watts: number): number {
  const f = c.deviceFloor[i]!;
  return f < 0 ? 0 : watts - (choice.floorWatts[f]! - c.floorWatts[f]!);
}
