import type { Problem, ProblemDevice, ProblemLimit, ProblemMode } from '../../agent/allocation/problem.ts';
import { usable } from './allocation-problems.ts';

/** Beyond this many partial choices a limit is left as it is. */
const MOST_PARTIAL = 20_000;

/**
 * The same problem with each lowest limit as one device of its whole choices, for a relaxed solve alone: that takes part of
 * a whole choice, not of a step, so its optimum lies between the whole-mode optimum and the relaxed one. All choices
 * are tried, apart from the core's own code; those that another beats, or a mixture of two others, are left out. Limits
 * with a device in a floor stay as they are.
 */
export function wholeBreakers(problem: Problem): Problem {
  const parents = new Set(problem.limits.map((limit) => limit.parent));
  const inFloor = new Set(problem.floors.flatMap((floor) => floor.devices));
  const devicesAt = Map.groupBy(problem.devices, (device) => device.limit);
  const instead = new Map<string, ProblemDevice>();
  for (const limit of problem.limits) {
    const own = devicesAt.get(limit.id) ?? [];
    if (limit.parent === null || parents.has(limit.id) || own.length === 0) continue;
    if (own.some((device) => inFloor.has(device.id))) continue;
    const modes = choicesOf(limit, own);
    if (modes === null) continue;
    const id = `whole ${limit.id}`;
    instead.set(limit.id, {
      id,
      limit: limit.parent,
      current: null,
      modes,
      switchDollarsPerHour: {},
      allowed: null,
    });
  }
  return {
    limits: problem.limits.filter((limit) => !instead.has(limit.id)),
    devices: [...problem.devices.filter((device) => !instead.has(device.limit)), ...instead.values()],
    floors: problem.floors,
  };
}

/** All whole choices of the limit's devices within it, in watts of its parent; `null`: too many, or none. */
function choicesOf(limit: ProblemLimit, devices: readonly ProblemDevice[]): ProblemMode[] | null {
  let partial: (readonly [watts: number, dollars: number])[] = [[limit.fixedWatts, 0]];
  for (const device of devices) {
    const next: (readonly [number, number])[] = [];
    for (const mode of usable(device)) {
      const cost = mode.id === device.current ? 0 : (device.switchDollarsPerHour[mode.id] ?? 0);
      for (const [watts, dollars] of partial) {
        const sum = watts + mode.watts;
        if (sum <= limit.capacityWatts + 1e-6) next.push([sum, dollars + mode.dollarsPerHour - cost]);
      }
    }
    if (next.length > MOST_PARTIAL) return null;
    next.sort(([a, x], [b, y]) => a - b || y - x);
    let best = Number.NEGATIVE_INFINITY;
    partial = next.filter(([, dollars]) => {
      if (dollars <= best) return false;
      best = dollars;
      return true;
    });
  }
  if (partial.length === 0) return null;
  return corners(partial).map(([watts, dollars], k) => ({
    id: `${k}`,
    watts: watts * limit.gain,
    dollarsPerHour: dollars,
  }));
}

/** Of points by rising watts and dollars: those that no mixture of two others beats. */
function corners(points: readonly (readonly [watts: number, dollars: number])[]): typeof points {
  const kept: (readonly [number, number])[] = [];
  for (const point of points) {
    while (kept.length > 1 && slope(kept.at(-2)!, kept.at(-1)!) <= slope(kept.at(-1)!, point)) kept.pop();
    kept.push(point);
  }
  return kept;
}

function slope([a, x]: readonly [number, number], [b, y]: readonly [number, number]): number {
  return (y - x) / (b - a);
}
