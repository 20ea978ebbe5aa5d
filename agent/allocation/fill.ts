import type { Compiled } from './compile.ts';
import { sortByFallingKey } from './order.ts';
import { ACCEPTED_WATTS } from './problem.ts';
import { countAbove, type Unswept, type Workspace } from './sweep.ts';
import { lostBy } from './whole-modes.ts';

/** A choice of one mode per device (local mode index), with what is left at every limit in its own watts. */
export interface Choice {
  readonly mode: Int32Array;
  readonly slackWatts: Float64Array;
  readonly floorWatts: Float64Array;
  /** While filling up: no device of the limit gains by less than this. */
  readonly leastStepWatts: Float64Array;
}

/** Room for one choice: a mode for each device, the watts that each limit has left. */
export function createChoice(c: Compiled): Choice {
  return {
    mode: new Int32Array(c.deviceIds.length),
    slackWatts: new Float64Array(c.limitIds.length),
    floorWatts: new Float64Array(c.floorIds.length),
    leastStepWatts: new Float64Array(c.limitIds.length),
  };
}

/** Totals of all limits for `mode`, by the outside form's own formula. */
export function limitTotals(c: Compiled, mode: Int32Array, totals: Float64Array): void {
  const { limitStart, limitDevices, strideBits, modeWatts } = c;
  for (let n = 0; n < c.limitIds.length; n += 1) {
    let watts = c.limitFixed[n]!;
    for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) {
      const i = limitDevices[d]!;
      watts += modeWatts[(i << strideBits) + mode[i]!]!;
    }
    totals[n] = watts;
  }
  carryUp(c, totals);
}

/** Adds to what is at each limit itself what the limits below it carry. */
function carryUp(c: Compiled, totals: Float64Array): void {
  for (let n = c.limitIds.length - 1; n >= 0; n -= 1) {
    const parent = c.limitParent[n]!;
    if (parent >= 0) totals[parent]! += c.limitGain[n]! * totals[n]!;
  }
}

/** Recomputes slack and floors of a choice from its modes. */
export function refreshChoice(c: Compiled, choice: Choice): void {
  limitTotals(c, choice.mode, choice.slackWatts);
  leaveSlack(c, choice);
}

/** Slack where the totals stand, and the floors of the choice. */
function leaveSlack(c: Compiled, { mode, slackWatts, floorWatts }: Choice): void {
  for (let n = 0; n < c.limitIds.length; n += 1) slackWatts[n] = c.limitCapacity[n]! - slackWatts[n]!;
  for (let f = 0; f < c.floorIds.length; f += 1) floorWatts[f] = floorTotal(c, mode, f);
}

/** Watts of the devices of a floor. */
export function floorTotal(c: Compiled, mode: Int32Array, f: number): number {
  let sum = 0;
  for (const i of c.floorDevices[f]!) sum += c.modeWatts[i * c.stride + mode[i]!]!;
  return sum;
}

/** Whether every limit and floor holds, from totals computed afresh. */
export function isFeasible(c: Compiled, choice: Choice): boolean {
  refreshChoice(c, choice);
  return holds(c, choice);
}

function holds(c: Compiled, { slackWatts, floorWatts }: Choice): boolean {
  for (let n = 0; n < c.limitIds.length; n += 1) if (slackWatts[n]! < -ACCEPTED_WATTS) return false;
  for (let f = 0; f < c.floorIds.length; f += 1)
    if (floorWatts[f]! < c.floorWatts[f]! - ACCEPTED_WATTS) return false;
  return true;
}

/** What a choice earns, net of energy, and the sum of the absolute values of its parts: dollars per hour. */
export interface Worth {
  readonly value: number;
  readonly magnitude: number;
}

/** Worth of a choice that does not hold. */
export const NOTHING: Worth = { value: Number.NEGATIVE_INFINITY, magnitude: 0 };

/** `isFeasible` and `choiceValue` in one walk over the devices; `NOTHING` where a limit or floor does not hold. */
export function worthOf(c: Compiled, choice: Choice, energyPrice: number): Worth {
  const worth = choiceValue(c, choice.mode, energyPrice, choice.slackWatts);
  carryUp(c, choice.slackWatts);
  leaveSlack(c, choice);
  return holds(c, choice) ? worth : NOTHING;
}

/**
 * Worth of a choice, whether it holds or not. What rounding loses at each sum is kept (Knuth's two-sum: no branch that
 * the processor could guess wrong). `ownTotals`, where given: what each limit then has on itself, as in `limitTotals`.
 */
export function choiceValue(
  c: Compiled,
  mode: Int32Array,
  energyPrice: number,
  ownTotals: Float64Array | null = null,
): Worth {
  let value = 0;
  let lost = 0;
  let magnitude = 0;
  const { limitStart, limitDevices, strideBits, modeWatts, modeValue } = c;
  for (let n = 0; n < c.limitIds.length; n += 1) {
    const energyPerWatt = energyPrice * c.limitRootGain[n]!;
    let total = c.limitFixed[n]!;
    for (let d = limitStart[n]!; d < limitStart[n + 1]!; d += 1) {
      const i = limitDevices[d]!;
      const s = (i << strideBits) + mode[i]!;
      const watts = modeWatts[s]!;
      total += watts;
      const term = modeValue[s]! - energyPerWatt * watts;
      lost += lostBy(value, term);
      value += term;
      magnitude += Math.abs(term);
    }
    if (ownTotals !== null) ownTotals[n] = total;
  }
  return { value: value + lost, magnitude };
}

/** The lowest limit on the path of device `i` that has no room for `step` watts more of it; -1: all have. */
export function fullAt(c: Compiled, choice: Choice, i: number, step: number): number {
  const { slackWatts } = choice;
  let watts = step;
  for (let n = c.deviceLimit[i]!; n >= 0; n = c.limitParent[n]!) {
    if (watts > slackWatts[n]! + ACCEPTED_WATTS / 2) return n;
    watts *= c.limitGain[n]!;
  }
  return -1;
}

/** Moves device `i` to `mode`, whether there is room or not. */
export function moveTo(c: Compiled, choice: Choice, i: number, mode: number): void {
  const { slackWatts } = choice;
  const start = i * c.stride;
  const step = c.modeWatts[start + mode]! - c.modeWatts[start + choice.mode[i]!]!;
  const f = c.deviceFloor[i]!;
  if (f >= 0) choice.floorWatts[f]! += step;
  let watts = step;
  for (let n = c.deviceLimit[i]!; n >= 0; n = c.limitParent[n]!) {
    slackWatts[n]! -= watts;
    watts *= c.limitGain[n]!;
  }
  choice.mode[i] = mode;
}

/** Moves device `i` to `mode` if every limit on its path has room. */
function tryMove(c: Compiled, choice: Choice, i: number, mode: number): boolean {
  const start = i * c.stride;
  const step = c.modeWatts[start + mode]! - c.modeWatts[start + choice.mode[i]!]!;
  if (step > 0 && fullAt(c, choice, i, step) >= 0) return false;
  moveTo(c, choice, i, mode);
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
  startRounding(c, w, choice);
  for (let f = 0; f < c.floorIds.length; f += 1) raiseFloor(c, w, f, choice);
  takeInOrder(c, w, energyPrice, choice);
}

/**
 * The same with the floors that cut across the tree left to their multipliers, which lift the segments of their devices
 * in the order: nearer to the relaxed answer, but such a floor is mostly missed by part of a step.
 */
export function roundByOrder(c: Compiled, w: Workspace, energyPrice: number, choice: Choice): void {
  startRounding(c, w, choice);
  for (let f = 0; f < c.floorIds.length; f += 1) if (c.floorNested[f] === 1) raiseFloor(c, w, f, choice);
  takeInOrder(c, w, energyPrice, choice);
}

function startRounding(c: Compiled, w: Workspace, choice: Choice): void {
  choice.mode.fill(0);
  refreshChoice(c, choice);
  w.corner.fill(0);
  w.blocked.fill(0);
}

/** Takes every segment in order that fits. */
function takeInOrder(c: Compiled, w: Workspace, energyPrice: number, choice: Choice): void {
  const { sweepOrder, corner, blocked } = w;
  const count = countAbove(w, energyPrice);
  for (let t = 0; t < count; t += 1) {
    const segment = sweepOrder[t]!;
    const i = segment >> c.strideBits;
    if (blocked[i] === 1) continue;
    const k = segment - i * c.stride;
    if (corner[i]! >= k) continue;
    if (tryMove(c, choice, i, c.hullMode[i * c.stride + k]!)) corner[i] = k;
    else blocked[i] = 1;
  }
}

/** Without floors the relaxed answer less its parts of segments is feasible as it stands. */
function takeWhole(c: Compiled, { whole }: Unswept, choice: Choice): void {
  const { limitFixed, limitParent, limitGain } = c;
  const { slackWatts } = choice;
  choice.mode.set(whole.mode);
  for (let n = 0; n < c.limitIds.length; n += 1) slackWatts[n] = limitFixed[n]! + whole.watts[n]!;
  for (let n = c.limitIds.length - 1; n >= 0; n -= 1) {
    const parent = limitParent[n]!;
    if (parent >= 0) slackWatts[parent]! += limitGain[n]! * slackWatts[n]!;
    slackWatts[n] = c.limitCapacity[n]! - slackWatts[n]!;
  }
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
    if (tryMove(c, choice, i, c.hullMode[i * stride + k]!)) w.corner[i] = k;
  }
  // Corners do not fit any more: any mode that brings the floor nearer.
  for (const i of devices) {
    for (let m = c.modeCount[i]! - 1; m > choice.mode[i]! && choice.floorWatts[f]! < demanded; m -= 1) {
      if (c.modeWatts[i * stride + m]! > c.modeWatts[i * stride + choice.mode[i]!]!) {
        tryMove(c, choice, i, m);
      }
    }
  }
}

/**
 * Improves a choice by single moves, limit by limit and best for each device in turn, until a whole pass finds none or
 * `passes` are spent. Never makes it worse; leaves floors held. `leastSteps`, where it is known: watts per limit that
 * any of its devices takes at least when it takes more.
 */
export function fillUp(
  c: Compiled,
  energyPrice: number,
  choice: Choice,
  passes: number,
  leastSteps: Float64Array | null = null,
): void {
  const { leastStepWatts } = choice;
  if (leastSteps === null) leastStepWatts.fill(Number.NEGATIVE_INFINITY);
  else leastStepWatts.set(leastSteps);
  for (let pass = 0; pass < passes; pass += 1) {
    let moved = false;
    for (let n = 0; n < c.limitIds.length; n += 1) {
      const room = roomBelow(c, choice, n);
      if (leastStepWatts[n]! <= room && fillLimit(c, energyPrice, choice, n, room)) moved = true;
    }
    if (!moved) return;
  }
}

/** One pass over the devices of limit `n`, which have `room` watts in all; whether any moved. */
function fillLimit(c: Compiled, energyPrice: number, choice: Choice, n: number, room: number): boolean {
  const { stride, modeWatts, modeValue, modeCount, deviceFloor, limitDevices } = c;
  const perWatt = energyPrice * c.limitRootGain[n]!;
  let left = room;
  let leastStep = Number.POSITIVE_INFINITY;
  let moved = false;
  for (let d = c.limitStart[n]!; d < c.limitStart[n + 1]!; d += 1) {
    const i = limitDevices[d]!;
    const start = i * stride;
    const end = start + modeCount[i]!;
    const now = start + choice.mode[i]!;
    const watts = modeWatts[now]!;
    // Only a floor can make a device take more watts than a better mode needs: the others look upwards.
    const floored = deviceFloor[i]! >= 0;
    if (!floored && now + 1 < end && modeWatts[now + 1]! - watts > left) {
      // The common case: there is no room for the next mode.
      leastStep = Math.min(leastStep, modeWatts[now + 1]! - watts);
      continue;
    }
    const most = watts + Math.max(0, left);
    const least = floored ? floorNeeds(c, choice, i, watts) : 0;
    let best = now;
    let bestValue = modeValue[now]! - perWatt * watts;
    for (let s = floored ? start : now + 1; s < end; s += 1) {
      const value = modeValue[s]! - perWatt * modeWatts[s]!;
      if (value <= bestValue || modeWatts[s]! < least) continue;
      if (modeWatts[s]! > most) {
        leastStep = Math.min(leastStep, modeWatts[s]! - watts);
        break;
      }
      best = s;
      bestValue = value;
    }
    if (floored) leastStep = Number.NEGATIVE_INFINITY;
    if (best === now || !tryMove(c, choice, i, best - start)) continue;
    moved = true;
    leastStep = Number.NEGATIVE_INFINITY;
    left = roomBelow(c, choice, n);
  }
  choice.leastStepWatts[n] = leastStep;
  return moved;
}

/** Watts that the devices of limit `n` may add, by that limit and all above it. */
function roomBelow(c: Compiled, choice: Choice, limit: number): number {
  const { slackWatts } = choice;
  let room = Number.POSITIVE_INFINITY;
  let gain = 1;
  for (let n = limit; n >= 0; n = c.limitParent[n]!) {
    const left = (slackWatts[n]! + ACCEPTED_WATTS / 2) / gain;
    if (left < room) room = left;
    gain *= c.limitGain[n]!;
  }
  return room;
}

/** Least watts that device `i`, now at `watts`, must keep for the floor it is in. */
function floorNeeds(c: Compiled, choice: Choice, i: number, watts: number): number {
  const f = c.deviceFloor[i]!;
  return watts - (choice.floorWatts[f]! - c.floorWatts[f]!);
}
