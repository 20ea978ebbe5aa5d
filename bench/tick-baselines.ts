import type { Problem, ProblemDevice, ProblemMode } from '../agent/allocation/problem.ts';

/**
 * What the field does, on the same problem: modes by device index, in a tree without losses and floors. Neither ever
 * exceeds a limit here, since watts do what they are told at once.
 */
export type Baseline = (problem: Problem) => ProblemMode[];

/** Everything runs at its most; where a limit is over, whole devices sleep, those that earn least per watt first. */
export const leastEfficientFirst: Baseline = (problem) => {
  const tree = treeOf(problem);
  const mode = problem.devices.map((device) => device.modes.at(-1)!);
  const order = problem.devices.map((_, d) => d).sort((a, b) => perWatt(mode[a]!) - perWatt(mode[b]!));
  for (const [d, device] of problem.devices.entries()) tree.add(device.limit, mode[d]!.watts);
  for (const d of order) {
    const { limit, modes } = problem.devices[d]!;
    if (!tree.isOver(limit)) continue;
    tree.add(limit, modes[0]!.watts - mode[d]!.watts);
    mode[d] = modes[0]!;
  }
  return mode;
};

/** One device after the other takes the highest point that what is measured at every limit above it leaves. */
export const measuredHeadroom: Baseline = (problem) => {
  const tree = treeOf(problem);
  const mode = problem.devices.map((device) => device.modes[0]!);
  for (const [d, device] of problem.devices.entries()) tree.add(device.limit, mode[d]!.watts);
  for (const [d, device] of problem.devices.entries()) {
    const room = tree.room(device.limit) + mode[d]!.watts;
    const best = device.modes.findLast((candidate) => candidate.watts <= room) ?? mode[d]!;
    tree.add(device.limit, best.watts - mode[d]!.watts);
    mode[d] = best;
  }
  return mode;
};

/** Net of switching. */
export function netDollars(device: ProblemDevice, mode: ProblemMode): number {
  const cost = mode.id === device.current ? 0 : (device.switchDollarsPerHour[mode.id] ?? 0);
  return mode.dollarsPerHour - cost;
}

/** Value of the modes; throws where a limit is exceeded. */
export function choiceDollars(problem: Problem, modes: readonly ProblemMode[]): number {
  const tree = treeOf(problem);
  let dollars = 0;
  for (const [d, device] of problem.devices.entries()) {
    tree.add(device.limit, modes[d]!.watts);
    dollars += netDollars(device, modes[d]!);
  }
  for (const limit of problem.limits) if (tree.isOver(limit.id)) throw new Error(`${limit.id} is exceeded`);
  return dollars;
}

function perWatt(mode: ProblemMode): number {
  return mode.dollarsPerHour / mode.watts;
}

function treeOf(problem: Problem) {
  const limits = new Map(problem.limits.map((limit) => [limit.id, limit]));
  const left = new Map(problem.limits.map((limit) => [limit.id, limit.capacityWatts]));
  const path = (from: string): string[] => {
    const ids: string[] = [];
    for (let at = limits.get(from); at !== undefined; at = limits.get(at.parent ?? '')) ids.push(at.id);
    return ids;
  };
  const paths = new Map(problem.limits.map((limit) => [limit.id, path(limit.id)]));
  const add = (limit: string, watts: number): void => {
    for (const id of paths.get(limit)!) left.set(id, left.get(id)! - watts);
  };
  const room = (limit: string): number => Math.min(...paths.get(limit)!.map((id) => left.get(id)!));
  for (const limit of problem.limits) add(limit.id, limit.fixedWatts);
  return { add, room, isOver: (limit: string) => room(limit) < -1e-6 };
}
