import { type Compiled, compileProblem } from './compile.ts';
import { type Bench, createBench, type Decision, decide } from './decide.ts';
import { limitTotals } from './fill.ts';
import { sortAllSegments } from './floors.ts';
import { shortfalls } from './infeasible.ts';
import { limitDollarsPerKwh } from './prices.ts';
import type { Answer, LimitAnswer, Problem } from './problem.ts';

export interface SolveOptions {
  /** Budget of the window search; one unit is one partial choice looked at. 0: sweep and fill only. */
  readonly workUnits?: number;
  /** Partial choices kept at once, about 50 bytes each; default: about 100 MB. */
  readonly mostStates?: number;
  /** A certified gap at which the search has `smallGapUnits` alone; default 0: never. */
  readonly smallGap?: number;
  readonly smallGapUnits?: number;
  /** Device id to mode id, from a search elsewhere: taken where it holds and earns more. Unknown ids are passed over. */
  readonly known?: Readonly<Record<string, string>> | null;
  /** Small breakers are taken as wholes where that may earn more: all (the default), none, or those with these ids alone. */
  readonly wholeBreakers?: boolean | ReadonlySet<string>;
  /** Floors across the tree are also tried by the order of the relaxed answer, mended by exchanges; default: so. */
  readonly mendFloors?: boolean;
  /** What then still breaks a limit or misses a floor is repaired device by device; default: so. */
  readonly repair?: boolean;
  /** Without floors the bound is put together from sums kept per limit: other last digits; default: so. */
  readonly boundPerLimit?: boolean;
}

/** Enough to prove small and coarse problems optimal, a second or so on a gateway for large ones. */
const DEFAULT_WORK_UNITS = 12_000_000;

/**
 * Solves a checked problem. The answer is feasible to `FEASIBILITY_WATTS`, by totals computed afresh from the
 * problem's own doubles; its bound is never below the true optimum and, where no floor cuts across the tree,
 * is the optimum of the relaxed problem. The same problem always gives the same answer. `milliseconds` is left
 * to the caller.
 */
export function solveProblem(problem: Problem, options: SolveOptions = {}): Answer {
  const bench = createBench(compileProblem(problem));
  sortAllSegments(bench.compiled, bench.workspace);
  const decision = decide(bench, {
    ...options,
    energyDollarsPerWattHour: 0,
    workUnits: workUnitsOf(options),
    known: knownModes(bench.compiled, options.known ?? null),
  });
  return toAnswer(problem, bench, decision);
}

/** The known choice by index; modes that a device may not take now count as not known. */
export function knownModes(c: Compiled, known: Readonly<Record<string, string>> | null): Int32Array | null {
  if (known === null) return null;
  const modes = new Int32Array(c.deviceIds.length).fill(-1);
  for (const [i, id] of c.deviceIds.entries()) {
    const start = i * c.stride;
    const wanted = Object.hasOwn(known, id) ? known[id] : undefined;
    for (let k = 0; wanted !== undefined && k < c.modeCount[i]!; k += 1) {
      if (c.modeId[start + k] === wanted) modes[i] = k;
    }
  }
  return modes;
}

/** The budget of the window search, by default what proves small problems. */
export function workUnitsOf(options: SolveOptions): number {
  return options.workUnits ?? DEFAULT_WORK_UNITS;
}

/** The decision that stands in `bench`, in the words of the problem. */
export function toAnswer(problem: Problem, bench: Bench, decision: Decision): Answer {
  const { compiled: c, workspace: w, choice } = bench;
  const modes: Record<string, string> = {};
  for (const device of problem.devices) {
    const i = c.deviceIndex.get(device.id)!;
    modes[device.id] = c.modeId[i * c.stride + choice.mode[i]!]!;
  }
  const totals = new Float64Array(c.limitIds.length);
  limitTotals(c, choice.mode, totals);
  const limits = problem.limits.map((limit): LimitAnswer => {
    const n = c.limitIndex.get(limit.id)!;
    return {
      id: limit.id,
      watts: totals[n]!,
      capacityWatts: limit.capacityWatts,
      dollarsPerKwh: limitDollarsPerKwh(c, w, n),
    };
  });
  return {
    status: decision.status,
    dollarsPerHour: decision.dollarsPerHour,
    upperBoundDollarsPerHour: decision.boundDollarsPerHour,
    gap: decision.gap,
    modes,
    limits,
    infeasible: decision.status === 'infeasible' ? shortfalls(c, choice) : [],
    milliseconds: null,
  };
}
