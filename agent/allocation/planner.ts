import { compareIds } from './compile.ts';
import type { Answer, Problem, ProblemDevice, ProblemFloor, ProblemLimit } from './problem.ts';
import { type SolveOptions, toAnswer, workUnitsOf } from './solve.ts';
import { createTick, decideTick, type Tick, updateDevice, updateFloor, updateLimit } from './tick.ts';

/** Solves one problem after another. */
export type Solver = (problem: Problem, options?: SolveOptions) => Answer;

/**
 * A solver for problems that follow each other and differ little: the compiled form and the order of segments stay
 * from call to call, and a call costs what has changed plus one sweep. Answers are those of `solveProblem`, to the
 * last bit, whatever came before. Another set of devices, limits or floors starts anew, by `compile`.
 */
export function createPlanner(compile = createTick): Solver {
  let kept: { readonly tick: Tick; readonly problem: Problem } | null = null;
  return (problem, options = {}) => {
    const warm = kept !== null && sameShape(kept.problem, problem) ? kept : null;
    const tick = warm?.tick ?? compile(problem, { energyDollarsPerKwh: 0 });
    if (warm !== null) takeIn(tick, warm.problem, problem);
    kept = { tick, problem };
    const decision = decideTick(tick, { ...options, workUnits: workUnitsOf(options) });
    return toAnswer(problem, tick.bench, decision);
  };
}

/** Problems of one shape list the same limits, devices and floors in the same order. */
function sameShape(a: Problem, b: Problem): boolean {
  return (
    sameList(a.limits, b.limits, sameLimit) &&
    sameList(a.devices, b.devices, (one, other) => one.id === other.id && one.limit === other.limit) &&
    sameList(a.floors, b.floors, sameFloor)
  );
}

function sameList<T>(a: readonly T[], b: readonly T[], same: (a: T, b: T) => boolean): boolean {
  return a.length === b.length && a.every((one, index) => same(one, b[index]!));
}

function sameLimit(a: ProblemLimit, b: ProblemLimit): boolean {
  return a.id === b.id && a.parent === b.parent && a.gain === b.gain;
}

function sameFloor(a: ProblemFloor, b: ProblemFloor): boolean {
  return a.id === b.id && sameList(a.devices, b.devices, (one, other) => one === other);
}

function takeIn(tick: Tick, before: Problem, after: Problem): void {
  for (const [index, device] of after.devices.entries())
    if (!sameDevice(before.devices[index]!, device)) updateDevice(tick, device);
  for (const limit of after.limits) updateLimit(tick, limit.id, limit);
  for (const floor of after.floors) updateFloor(tick, floor.id, floor.watts);
}

function sameDevice(a: ProblemDevice, b: ProblemDevice): boolean {
  if (a === b) return true;
  if (a.current !== b.current || a.modes.length !== b.modes.length) return false;
  for (let m = 0; m < a.modes.length; m += 1) {
    const one = a.modes[m]!;
    const other = b.modes[m]!;
    if (one.watts !== other.watts || one.dollarsPerHour !== other.dollarsPerHour || one.id !== other.id)
      return false;
    if ((a.switchDollarsPerHour[one.id] ?? 0) !== (b.switchDollarsPerHour[one.id] ?? 0)) return false;
  }
  return sameAllowed(a.allowed, b.allowed);
}

function sameAllowed(a: readonly string[] | null, b: readonly string[] | null): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((id, index) => compareIds(id, b[index]!) === 0);
}
