import { compareIds } from './compile.ts';
import type { Answer, Problem, ProblemDevice, ProblemFloor, ProblemLimit } from './problem.ts';
import { type SolveOptions, toAnswer, workUnitsOf } from './solve.ts';
import { createTick, decideTick, type Tick, updateDevice, updateFloor, updateLimit } from './tick.ts';

/** Solves one problem after another. */
export type Solver = (problem: Problem, options?: SolveOptions) => Answer;

/**
 * A solver for problems that follow each other and differ little: the compiled form and the order of segments stay
 * from call to call, and a call costs what has changed plus one sweep; nothing, where nothing has. Answers are those of
 * `solveProblem`, to the last bit, whatever came before. Another set of devices, limits or floors starts anew, by `compile`.
 */
export function createPlanner(compile = createTick): Solver {
  let kept: Kept | null = null;
  return (problem, options = {}) => {
    const warm = kept !== null && sameShape(kept.problem, problem) ? kept : null;
    const tick = warm?.tick ?? compile(problem, { energyDollarsPerKwh: 0 });
    const isChanged = warm === null || takeIn(tick, warm.problem, problem);
    if (warm !== null && !isChanged && sameOptions(warm.options, options)) return warm.answer;
    const decision = decideTick(tick, { ...options, workUnits: workUnitsOf(options) });
    const answer = toAnswer(problem, tick.bench, decision);
    kept = { tick, problem, options, answer };
    return answer;
  };
}

/** The last problem, as it was asked and answered. */
interface Kept {
  readonly tick: Tick;
  readonly problem: Problem;
  readonly options: SolveOptions;
  readonly answer: Answer;
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

/** Takes in what differs; whether anything did. */
function takeIn(tick: Tick, before: Problem, after: Problem): boolean {
  let isChanged = false;
  for (const [index, device] of after.devices.entries()) {
    if (sameDevice(before.devices[index]!, device)) continue;
    isChanged = true;
    updateDevice(tick, device);
  }
  for (const [index, limit] of after.limits.entries()) {
    const { capacityWatts, fixedWatts } = before.limits[index]!;
    if (limit.capacityWatts === capacityWatts && limit.fixedWatts === fixedWatts) continue;
    isChanged = true;
    updateLimit(tick, limit.id, limit);
  }
  for (const [index, floor] of after.floors.entries()) {
    if (floor.watts === before.floors[index]!.watts) continue;
    isChanged = true;
    updateFloor(tick, floor.id, floor.watts);
  }
  return isChanged;
}

function sameOptions(a: SolveOptions, b: SolveOptions): boolean {
  const { known: knownA = null, wholeBreakers: wholesA, ...restA } = a;
  const { known: knownB = null, wholeBreakers: wholesB, ...restB } = b;
  return (
    sameRecord(restA, restB) &&
    (knownA === knownB || (knownA !== null && knownB !== null && sameRecord(knownA, knownB))) &&
    (wholesA === wholesB ||
      (typeof wholesA === 'object' &&
        typeof wholesB === 'object' &&
        wholesA.size === wholesB.size &&
        wholesA.isSubsetOf(wholesB)))
  );
}

function sameRecord<T>(a: Readonly<Record<string, T>>, b: Readonly<Record<string, T>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.is(a[key], b[key]));
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
