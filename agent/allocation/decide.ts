import type { Compiled } from './compile.ts';
import { type Choice, choiceValue, createChoice, fillUp, isFeasible, roundDown } from './fill.ts';
import { solveRelaxed } from './floors.ts';
import { leastChoice } from './infeasible.ts';
import { computeBaseSlack, createWorkspace, type Workspace } from './sweep.ts';
import { searchWindow } from './window.ts';
import { computeLosses, computeRooms, createWindowMemory, type WindowMemory } from './window-memory.ts';

/** A compiled problem with everything that solving it writes. */
export interface Bench {
  readonly compiled: Compiled;
  readonly workspace: Workspace;
  readonly memory: WindowMemory;
  readonly choice: Choice;
  readonly trial: Choice;
}

/** Everything that a decision on this problem writes to: made once, used every cycle. */
export function createBench(compiled: Compiled): Bench {
  return {
    compiled,
    workspace: createWorkspace(compiled),
    memory: createWindowMemory(compiled),
    choice: createChoice(compiled),
    trial: createChoice(compiled),
  };
}

/** What was decided; the modes are in the bench's `choice`. */
export interface Decision {
  readonly status: 'optimal' | 'feasible' | 'infeasible';
  readonly dollarsPerHour: number;
  readonly boundDollarsPerHour: number | null;
  readonly gap: number | null;
  /** Partial choices looked at by the window search. */
  readonly workUnits: number;
}

export interface DecideOptions {
  /** Price of energy at the root in dollars per watt and hour, taken off every mode. */
  readonly energyDollarsPerWattHour: number;
  /** Budget of the window search in work units: the same input gives the same answer on any machine. */
  readonly workUnits: number;
  /** Partial choices that it may keep at once; default: what fits into about 100 MB. */
  readonly mostStates?: number;
  /** At a certified gap no greater than this the window search has `smallGapUnits` alone; default 0: never. */
  readonly smallGap?: number;
  readonly smallGapUnits?: number;
  /**
   * A choice from elsewhere, the mode of each device as its place among its modes, -1 where it says none: taken where
   * it holds here and earns more, whoever made it.
   */
  readonly known?: Int32Array | null;
}

const MOST_STATES = 2_000_000;

/** Proved optimal below this relative gap. */
const NO_GAP = 1e-12;

/** Core size and beam of each search in turn: narrow ones first, since a better choice makes the next cheap. */
const PASSES: readonly (readonly [coreDevices: number, beam: number])[] = [
  [6, 24],
  [12, 64],
  [32, 128],
  [Number.POSITIVE_INFINITY, 256],
  [Number.POSITIVE_INFINITY, 1024],
  [Number.POSITIVE_INFINITY, 4096],
  [Number.POSITIVE_INFINITY, 20_000],
];

/** Decides on the cached order of segments, which must be current. */
export function decide(bench: Bench, options: DecideOptions): Decision {
  const { compiled: c, workspace: w, choice } = bench;
  const energyPrice = options.energyDollarsPerWattHour;
  if (!computeBaseSlack(c, w)) return giveUp(bench, energyPrice, 0);
  const bound = solveRelaxed(c, w, energyPrice);
  if (bound === null) return giveUp(bench, energyPrice, 0);
  roundDown(c, w, energyPrice, choice);
  fillUp(c, energyPrice, choice, 4, w.unswept?.lists.leastStepWatts ?? null);
  let holds = isFeasible(c, choice);
  if (!holds) {
    leastChoice(c, energyPrice, choice);
    holds = isFeasible(c, choice);
  }
  const own = holds ? choiceValue(c, choice.mode, energyPrice) : NOTHING;
  const found = takeKnown(bench, options, own);
  const noGap = Math.max(NO_GAP * Math.abs(bound), 2 * w.boundRounding);
  const search = improve(bench, bound, found, noGap, options);
  const { value, magnitude } = search.best;
  if (value === Number.NEGATIVE_INFINITY) return giveUp(bench, energyPrice, search.workUnits);
  const top = Math.max(bound, value);
  const lost = top - value;
  // Where nothing is earned there is nothing to compare with: rounding is no gap, anything more is all of it.
  const gap = magnitude > 0 ? lost / magnitude : lost <= 2 * w.boundRounding ? 0 : 1;
  return {
    status: search.proved || gap <= NO_GAP ? 'optimal' : 'feasible',
    dollarsPerHour: value,
    boundDollarsPerHour: top,
    gap,
    workUnits: search.workUnits,
  };
}

interface Worth {
  readonly value: number;
  readonly magnitude: number;
}

/** Worth of a choice that does not hold. */
const NOTHING: Worth = { value: Number.NEGATIVE_INFINITY, magnitude: 0 };

/** Takes the known choice if every limit and floor holds with it and it is worth more. */
function takeKnown(bench: Bench, options: DecideOptions, own: Worth): Worth {
  const { compiled: c, choice, trial } = bench;
  const known = options.known ?? null;
  if (known === null) return own;
  for (let i = 0; i < c.deviceIds.length; i += 1) trial.mode[i] = known[i]! < 0 ? choice.mode[i]! : known[i]!;
  return takeBetter(bench, fillTrial(bench, options.energyDollarsPerWattHour), own);
}

/** Fills the trial up; its worth, or `NOTHING` where a limit or floor does not hold by totals computed afresh. */
function fillTrial({ compiled: c, trial }: Bench, energyPrice: number): Worth {
  if (!isFeasible(c, trial)) return NOTHING;
  fillUp(c, energyPrice, trial, 2);
  return isFeasible(c, trial) ? choiceValue(c, trial.mode, energyPrice) : NOTHING;
}

/** The trial becomes the choice where it is worth more than `best`; what is best then. */
function takeBetter({ choice, trial }: Bench, found: Worth, best: Worth): Worth {
  if (found.value <= best.value) return best;
  choice.mode.set(trial.mode);
  return found;
}

function giveUp(bench: Bench, energyPrice: number, workUnits: number): Decision {
  leastChoice(bench.compiled, energyPrice, bench.choice);
  bench.workspace.pathPrice.fill(0);
  return {
    status: 'infeasible',
    dollarsPerHour: choiceValue(bench.compiled, bench.choice.mode, energyPrice).value,
    boundDollarsPerHour: null,
    gap: null,
    workUnits,
  };
}

/** Runs the window searches while more than `noGap` may be won; the best choice ends in `bench.choice`. */
function improve(
  bench: Bench,
  bound: number,
  start: Worth,
  noGap: number,
  options: DecideOptions,
): { best: Worth; proved: boolean; workUnits: number } {
  const { compiled: c, workspace: w, memory: m, trial } = bench;
  const energyPrice = options.energyDollarsPerWattHour;
  let best = start;
  let workUnits = 0;
  let lastCost = 0;
  let proved = false;
  for (const [p, [coreDevices, beam]] of PASSES.entries()) {
    const lossBelow = bound - best.value;
    if (lossBelow <= noGap || options.workUnits <= 0) break;
    const isSmall = lossBelow <= (options.smallGap ?? 0) * start.magnitude;
    const budget = isSmall ? (options.smallGapUnits ?? 0) : options.workUnits;
    // A pass that cannot end within the budget would only waste it.
    const expected =
      p === 0
        ? Math.min(c.deviceIds.length, coreDevices * c.limitIds.length) * 8
        : lastCost * (beam / PASSES[p - 1]![1]);
    if (workUnits + expected > budget) break;
    if (p === 0) {
      computeLosses(c, w, m, energyPrice);
      computeRooms(c, m);
    }
    const result = searchWindow(
      c,
      w,
      m,
      energyPrice,
      {
        coreDevices,
        beam,
        lossBelow,
        workUnits: budget - workUnits,
        mostStates: options.mostStates ?? MOST_STATES,
      },
      trial.mode,
    );
    workUnits += result.workUnits;
    lastCost = result.workUnits;
    const found = result.found ? fillTrial(bench, energyPrice) : NOTHING;
    best = takeBetter(bench, found, best);
    // What the search found but a fresh sum refuses proves nothing.
    proved = result.complete && result.found === (found !== NOTHING);
    if (proved) break;
  }
  return { best, proved, workUnits };
}
