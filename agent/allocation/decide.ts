import {
  type Breaker,
  extendBreakers,
  findBreakers,
  reducedBest,
  reducedUnknown,
  takeApart,
  wholeBreakerSite,
} from './breakers.ts';
import { type Compiled, compileProblem } from './compile.ts';
import {
  type Choice,
  choiceValue,
  createChoice,
  fillUp,
  isFeasible,
  NOTHING,
  refreshChoice,
  roundByOrder,
  roundDown,
  type Worth,
  worthOf,
} from './fill.ts';
import { solveRelaxed, sortAllSegments } from './floors.ts';
import { leastChoice } from './infeasible.ts';
import { kickChoice } from './kicks.ts';
import { mendFloors } from './mend.ts';
import { repairChoice } from './repair.ts';
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
  /** Small breakers are taken as wholes where that may earn more: all (the default), none, or those with these ids alone. */
  readonly wholeBreakers?: boolean | ReadonlySet<string>;
  /** Floors across the tree are also tried by the order of the relaxed answer, mended by exchanges; default: so. */
  readonly mendFloors?: boolean;
  /** What then still breaks a limit or misses a floor is repaired device by device; default: so. */
  readonly repair?: boolean;
  /** Without floors the bound is put together from sums kept per limit: other last digits; default: so. */
  readonly boundPerLimit?: boolean;
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
  const bound = solveRelaxed(c, w, energyPrice, options.boundPerLimit !== false);
  if (bound === null) return giveUp(bench, energyPrice, 0);
  roundDown(c, w, energyPrice, choice);
  fillUp(c, energyPrice, choice, 4, w.unswept?.lists.leastStepWatts ?? null);
  let own = worthOf(c, choice, energyPrice);
  if (own === NOTHING) {
    leastChoice(c, energyPrice, choice);
    own = worthOf(c, choice, energyPrice);
  }
  const found = takeKnown(bench, options, own);
  const noGap = Math.max(NO_GAP * Math.abs(bound), 2 * w.boundRounding);
  const mended = mendCrossing(bench, bound, found, noGap, options);
  const early = Math.min(Math.floor(options.workUnits * KICK_SHARE), options.workUnits - mended.workUnits);
  const kicked = kick(bench, bound, mended.best, WIDE_GAP * mended.best.magnitude, early, options);
  const wholes = improveWholes(bench, bound, kicked.best, noGap, {
    ...options,
    workUnits: options.workUnits - mended.workUnits - kicked.workUnits,
  });
  wholes.workUnits += mended.workUnits + kicked.workUnits;
  const search = wholes.proved
    ? { best: wholes.best, proved: true, workUnits: 0 }
    : improve(bench, bound, wholes.best, noGap, options, wholes.workUnits);
  const left = search.proved ? 0 : options.workUnits - wholes.workUnits - search.workUnits;
  const late = kick(bench, bound, search.best, noGap, left, options);
  const { value, magnitude } = late.best;
  const workUnits = wholes.workUnits + search.workUnits + late.workUnits;
  if (value === Number.NEGATIVE_INFINITY) return giveUp(bench, energyPrice, workUnits);
  const top = Math.max(Math.min(bound, wholes.bound), value);
  const lost = top - value;
  // Where nothing is earned there is nothing to compare with: rounding is no gap, anything more is all of it.
  const gap = magnitude > 0 ? lost / magnitude : lost <= 2 * w.boundRounding ? 0 : 1;
  return {
    status: search.proved || gap <= NO_GAP ? 'optimal' : 'feasible',
    dollarsPerHour: value,
    boundDollarsPerHour: top,
    gap,
    workUnits,
  };
}

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
  return worthOf(c, trial, energyPrice);
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

/** Whether more than a small gap may be won, so that what is tried beyond the searches is worth its work. */
function isWide(bound: number, { value, magnitude }: Worth, noGap: number, options: DecideOptions): boolean {
  const lossBelow = bound - value;
  return lossBelow > noGap && !(lossBelow <= (options.smallGap ?? 0) * magnitude);
}

/** Share of the work that mending floors may take, with repairs where nothing holds, and the most of both. */
const MEND_SHARE = 0.5;
const REPAIR_SHARE = 0.75;
const MEND_UNITS = 100_000;

/**
 * Tries the order of the relaxed answer where floors cut across the tree, and repairs what holds too little; what is
 * better ends in `bench.choice`.
 */
function mendCrossing(
  bench: Bench,
  bound: number,
  start: Worth,
  noGap: number,
  options: DecideOptions,
): { best: Worth; workUnits: number } {
  const { compiled: c, workspace: w, memory: m, trial } = bench;
  const mostUnits = Math.floor(Math.min(options.workUnits * MEND_SHARE, MEND_UNITS));
  const mends = options.mendFloors !== false && c.floorNested.some((nested) => nested === 0);
  const repairs = options.repair !== false && (mends || start === NOTHING);
  if (!(mends || repairs) || mostUnits <= 0 || !isWide(bound, start, noGap, options))
    return { best: start, workUnits: 0 };
  const energyPrice = options.energyDollarsPerWattHour;
  computeLosses(c, w, m, energyPrice);
  let best = start;
  let workUnits = 0;
  let holds = false;
  if (mends) ({ mended: holds, workUnits } = mendFloors(c, w, m, energyPrice, trial, mostUnits));
  else roundByOrder(c, w, energyPrice, trial);
  if (!holds && repairs) {
    const from = trial.mode.slice();
    // Where nothing holds yet, a choice that does is worth most of the work.
    const share = start === NOTHING ? REPAIR_SHARE : MEND_SHARE;
    const most = Math.floor(Math.min(options.workUnits * share, MEND_UNITS));
    // One device at a time often ends nearer, two find what one cannot: the better of both.
    for (const pairs of [false, true]) {
      trial.mode.set(from);
      refreshChoice(c, trial);
      const left = most - workUnits;
      const { repaired, workUnits: spent } = repairChoice(c, m, trial, pairs ? left : left >> 2, pairs);
      workUnits += spent;
      if (repaired) best = takeBetter(bench, fillTrial(bench, energyPrice), best);
    }
  } else if (holds) best = takeBetter(bench, fillTrial(bench, energyPrice), best);
  return { best, workUnits };
}

/** Kicks come before the searches where the gap is wider than this, with this share of the work; and after them with the rest. */
const WIDE_GAP = 0.02;
const KICK_SHARE = 1 / 3;

/** Kicks a choice with floors that is more than `gap` below the bound; the best ends in `bench.choice`. */
function kick(
  bench: Bench,
  bound: number,
  start: Worth,
  gap: number,
  mostUnits: number,
  options: DecideOptions,
): { best: Worth; workUnits: number } {
  const { compiled: c, workspace: w, memory: m } = bench;
  const energyPrice = options.energyDollarsPerWattHour;
  const isWorthIt = isWide(bound, start, gap, options);
  if (options.repair === false || c.floorIds.length === 0 || start === NOTHING || !isWorthIt)
    return { best: start, workUnits: 0 };
  computeLosses(c, w, m, energyPrice);
  return kickChoice(c, m, bench, start, mostUnits, (best) =>
    takeBetter(bench, fillTrial(bench, energyPrice), best),
  );
}

/** How often the choices of breakers are looked at anew, at the prices that those before led to. */
const ROUNDS = 3;

/** With less no breaker could begin: each has two devices at least. */
const LEAST_WHOLE_UNITS = 16;

/** Share of the work for the choices of breakers, and of what is left then for the search among them. */
const COLUMN_SHARE = 0.75;
const WHOLE_SHARE = 0.5;

/** The site with small breakers as one device each, on a bench of its own. */
interface WholeSite {
  readonly breakers: readonly Breaker[];
  readonly bench: Bench;
}

/** What taking breakers as wholes has come to. */
interface Wholes {
  best: Worth;
  /** No choice earns more; infinite while nothing is known. */
  bound: number;
  proved: boolean;
  workUnits: number;
}

/**
 * Takes small breakers as wholes: the site with each as one device, its modes the choices near the prices above it, is
 * decided like any other. Its relaxed answer bounds what can be earned, as what is not known of a breaker is bounded too.
 * The best choice ends in `bench.choice`.
 */
function improveWholes(
  bench: Bench,
  bound: number,
  start: Worth,
  noGap: number,
  options: DecideOptions,
): Wholes {
  const { compiled: c, workspace: w, memory: m } = bench;
  const energyPrice = options.energyDollarsPerWattHour;
  const wholes: Wholes = { best: start, bound: Number.POSITIVE_INFINITY, proved: false, workUnits: 0 };
  if (options.workUnits < LEAST_WHOLE_UNITS || options.wholeBreakers === false) return wholes;
  if (!isWide(bound, start, noGap, options)) return wholes;
  computeLosses(c, w, m, energyPrice);
  const only = typeof options.wholeBreakers === 'object' ? options.wholeBreakers : null;
  const breakers = findBreakers(c, w, m, energyPrice, only);
  let devices = 0;
  for (const { limit } of breakers) devices += m.devicesOf[limit]!.length;
  // As with the searches: what cannot end within the budget is not begun.
  if (devices === 0 || devices * 8 > options.workUnits) return wholes;
  computeRooms(c, m);
  const { mostStates = MOST_STATES, repair = true, boundPerLimit = true } = options;
  const kept = { mostStates, repair, boundPerLimit };
  let last: WholeSite | null = null;
  for (let round = 0; round < ROUNDS && !wholes.proved; round += 1) {
    const workUnits = Math.floor(options.workUnits * COLUMN_SHARE) - wholes.workUnits;
    const found = extendBreakers(c, w, m, breakers, { energyPrice, workUnits, mostStates });
    wholes.workUnits += found.workUnits;
    if (!found.extended) break;
    const whole = breakers.filter((breaker) => breaker.lossBelow > 0);
    const site = createBench(compileProblem(wholeBreakerSite(c, whole, energyPrice)));
    sortAllSegments(site.compiled, site.workspace);
    last = { breakers: whole, bench: site };
    decideWholes(bench, last, energyPrice, { ...kept, workUnits: 0 }, wholes);
  }
  if (last !== null && !wholes.proved) {
    const workUnits = Math.floor((options.workUnits - wholes.workUnits) * WHOLE_SHARE);
    decideWholes(bench, last, energyPrice, { ...kept, workUnits }, wholes);
  }
  return wholes;
}

/** Decides on the site of whole breakers; takes what is better into `wholes` and the prices above into its breakers. */
function decideWholes(
  bench: Bench,
  site: WholeSite,
  energyPrice: number,
  search: Pick<DecideOptions, 'workUnits' | 'mostStates' | 'repair' | 'boundPerLimit'>,
  wholes: Wholes,
): void {
  const { compiled: c, memory: m, trial } = bench;
  const { compiled: above, workspace, choice } = site.bench;
  const decision = decide(site.bench, { ...search, energyDollarsPerWattHour: 0, wholeBreakers: false });
  wholes.workUnits += decision.workUnits;
  if (decision.boundDollarsPerHour === null) return;
  takeApart(c, m, site.breakers, above, choice.mode, trial.mode);
  const found = fillTrial(bench, energyPrice);
  wholes.best = takeBetter(bench, found, wholes.best);
  let bound = decision.boundDollarsPerHour;
  // By how much every choice that is not known is worse than one that is.
  let worse = Number.POSITIVE_INFINITY;
  for (const breaker of site.breakers) {
    const n = breaker.limit;
    const parent = above.limitIndex.get(c.limitIds[c.limitParent[n]!]!)!;
    const price = workspace.pathPrice[parent]! * c.limitRootGain[n]!;
    const margin = reducedBest(breaker, price) - reducedUnknown(c, m, breaker, price, energyPrice);
    bound += Math.max(0, -margin);
    worse = Math.min(worse, margin);
    // More than what rounding can have taken away.
    bound +=
      1e-14 * (Math.abs(breaker.relaxedDollars) + (price + breaker.price) * Math.abs(c.limitCapacity[n]!));
    breaker.priceAbove = price;
  }
  wholes.bound = Math.min(wholes.bound, bound);
  // As with the searches, what a fresh sum refuses proves nothing.
  const known = decision.status === 'optimal' && found !== NOTHING;
  if (known && bound - Math.max(0, worse) <= wholes.best.value) wholes.proved = true;
}

/** Runs the window searches while more than `noGap` may be won; the best choice ends in `bench.choice`. */
function improve(
  bench: Bench,
  bound: number,
  start: Worth,
  noGap: number,
  options: DecideOptions,
  spentUnits: number,
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
    const budget = (isSmall ? (options.smallGapUnits ?? 0) : options.workUnits) - spentUnits;
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
