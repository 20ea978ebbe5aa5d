import type { Answer, Problem } from './problem.ts';

/**
 * A problem that no choice meets, without what cannot be met: limits that are over even with everything at its least carry
 * that, floors that are missed are served as far as they were. `least` is the answer that named them. That answer meets
 * it, so it has one; what lies elsewhere is bound by its own limits alone. Pure.
 */
export function withoutImpossible(problem: Problem, least: Answer): Problem {
  const wattsOf = new Map(
    problem.devices.map((device) => [
      device.id,
      device.modes.find((mode) => mode.id === least.modes[device.id])!.watts,
    ]),
  );
  const missed = new Set(
    least.infeasible.map((shortfall) => ('floor' in shortfall ? shortfall.floor : null)),
  );
  const totalOf = new Map(least.limits.map((limit) => [limit.id, limit.watts]));
  return {
    ...problem,
    limits: problem.limits.map((limit) => ({
      ...limit,
      capacityWatts: Math.max(limit.capacityWatts, totalOf.get(limit.id)!),
    })),
    floors: problem.floors.map((floor) =>
      missed.has(floor.id)
        ? { ...floor, watts: floor.devices.reduce((sum, id) => sum + wattsOf.get(id)!, 0) }
        : floor,
    ),
  };
}
