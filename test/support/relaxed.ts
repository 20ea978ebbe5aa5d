import { type Compiled, compileProblem } from '../../agent/allocation/compile.ts';
import { solveRelaxed, sortAllSegments } from '../../agent/allocation/floors.ts';
import { limitDollarsPerKwh } from '../../agent/allocation/prices.ts';
import type { Problem } from '../../agent/allocation/problem.ts';
import { computeBaseSlack, createWorkspace, type Workspace } from '../../agent/allocation/sweep.ts';

/** The relaxed problem solved, with everything that it wrote. */
export interface RelaxedRun {
  readonly c: Compiled;
  readonly w: Workspace;
  /** Dollars per hour; `null`: the least does not hold, or floors cannot be met. */
  readonly bound: number | null;
  /** Dollars per hour and own watt, by limit. */
  readonly limitPrice: Readonly<Record<string, number>>;
  /** Dollars per hour and watt, by floor. */
  readonly floorPrice: Readonly<Record<string, number>>;
}

/** Solves the relaxed problem afresh; `swept`: by the sweep although there are no floors; `perLimit`: how it is bounded. */
export function relax(
  problem: Problem,
  energyPrice = 0,
  swept = problem.floors.length > 0,
  perLimit = true,
): RelaxedRun {
  const c = compileProblem(problem);
  const w = createWorkspace(c, swept);
  sortAllSegments(c, w);
  const bound = computeBaseSlack(c, w) ? solveRelaxed(c, w, energyPrice, perLimit) : null;
  const limitPrice = Object.fromEntries(c.limitIds.map((id, n) => [id, limitDollarsPerKwh(c, w, n) / 1000]));
  const floorPrice = Object.fromEntries(c.floorIds.map((id, f) => [id, w.floorPrice[f]!]));
  return { c, w, bound, limitPrice, floorPrice };
}

/**
 * The dual function in the problem's own words: no choice earns more than this, whatever the prices (none negative).
 * Each device takes the mode that is best at the prices of its path; what the limits have to give is paid for.
 */
export function dualValue(
  problem: Problem,
  prices: Pick<RelaxedRun, 'limitPrice' | 'floorPrice'>,
  energyPrice: number,
): number {
  const byId = new Map(problem.limits.map((limit) => [limit.id, limit]));
  /** Energy and prices of all limits above for one watt at a limit. */
  const perWatt = (id: string): number => {
    let sum = 0;
    let gain = 1;
    for (let limit = byId.get(id)!; ; limit = byId.get(limit.parent)!) {
      sum += gain * prices.limitPrice[limit.id]!;
      if (limit.parent === null) return sum + gain * energyPrice;
      gain *= limit.gain;
    }
  };
  const energyPerWatt = (id: string): number => {
    const limit = byId.get(id)!;
    return limit.parent === null ? energyPrice : limit.gain * energyPerWatt(limit.parent);
  };
  let sum = 0;
  for (const device of problem.devices) {
    const floor = problem.floors.find((one) => one.devices.includes(device.id));
    const lift = floor === undefined ? 0 : prices.floorPrice[floor.id]!;
    const worths = device.modes
      .filter((mode) => device.allowed?.includes(mode.id) ?? true)
      .map((mode) => {
        const cost = mode.id === device.current ? 0 : (device.switchDollarsPerHour[mode.id] ?? 0);
        return mode.dollarsPerHour - cost + (lift - perWatt(device.limit)) * mode.watts;
      });
    sum += Math.max(...worths);
  }
  for (const limit of problem.limits) {
    sum += prices.limitPrice[limit.id]! * limit.capacityWatts;
    // Fixed load takes room, but its energy is nobody's choice.
    sum -= (perWatt(limit.id) - energyPerWatt(limit.id)) * limit.fixedWatts;
  }
  for (const floor of problem.floors) sum -= prices.floorPrice[floor.id]! * floor.watts;
  return sum;
}

/** What the swept answer earns, a device between two corners earning its share, and what each limit carries so. */
export function sweptValue(
  { c, w }: RelaxedRun,
  energyPrice: number,
): { value: number; totals: number[]; floors: number[] } {
  let value = 0;
  const totals = [...c.limitFixed];
  const floors = c.floorIds.map(() => 0);
  for (let i = 0; i < c.deviceIds.length; i += 1) {
    const start = i * c.stride;
    const n = c.deviceLimit[i]!;
    const rootGain = c.limitRootGain[n]!;
    const at = start + c.hullMode[start + w.corner[i]!]!;
    const part = w.partRootWatts[i]!;
    const watts = c.modeWatts[at]! + part / rootGain;
    if (part > 0) value += part * c.segmentKey[start + w.corner[i]! + 1]!;
    value += c.modeValue[at]! - energyPrice * rootGain * watts;
    totals[n]! += watts;
    if (c.deviceFloor[i]! >= 0) floors[c.deviceFloor[i]!]! += watts;
  }
  for (let n = c.limitIds.length - 1; n >= 0; n -= 1) {
    const parent = c.limitParent[n]!;
    if (parent >= 0) totals[parent]! += c.limitGain[n]! * totals[n]!;
  }
  return { value, totals, floors };
}
