import type { Problem, ProblemDevice, ProblemFloor, ProblemLimit } from '../../agent/allocation/problem.ts';

/** A limit for sites that one can add up by hand: nothing fixed and no losses unless said. */
export function limitOf(
  id: string,
  parent: string | null,
  capacityWatts: number,
  more: Partial<ProblemLimit> = {},
): ProblemLimit {
  return { id, parent, capacityWatts, fixedWatts: 0, gain: 1, ...more };
}

/** A device with modes `m0`, `m1` and so on: watts, and dollars per hour. */
export function deviceOf(
  id: string,
  limit: string,
  modes: readonly (readonly [watts: number, dollarsPerHour: number])[],
  more: Partial<ProblemDevice> = {},
): ProblemDevice {
  return {
    id,
    limit,
    current: null,
    modes: modes.map(([watts, dollarsPerHour], m) => ({ id: `m${m}`, watts, dollarsPerHour })),
    switchDollarsPerHour: {},
    allowed: null,
    ...more,
  };
}

/** Limits, devices and floors put together. */
export function siteOf(
  limits: readonly ProblemLimit[],
  devices: readonly ProblemDevice[],
  floors: readonly ProblemFloor[] = [],
): Problem {
  return { limits, devices, floors };
}

/** A floor over some devices. */
export function floorOf(id: string, devices: readonly string[], watts: number): ProblemFloor {
  return { id, devices, watts };
}
