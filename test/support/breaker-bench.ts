import { type Breaker, extendBreakers, findBreakers } from '../../agent/allocation/breakers.ts';
import { compileProblem } from '../../agent/allocation/compile.ts';
import { type Bench, createBench } from '../../agent/allocation/decide.ts';
import { solveRelaxed, sortAllSegments } from '../../agent/allocation/floors.ts';
import type { Problem } from '../../agent/allocation/problem.ts';
import { computeBaseSlack } from '../../agent/allocation/sweep.ts';
import { computeLosses, computeRooms } from '../../agent/allocation/window-memory.ts';
import { deviceOf, limitOf, siteOf } from './small-site.ts';

/** A device's modes: off, or `watts` at `dollars` an hour. */
export const offOrOn = (watts: number, dollars: number): [number, number][] => [
  [0, 0],
  [watts, dollars],
];

/**
 * Six on one breaker of 200 W, two of 60 W at 6 $, four of 50 W at 4.90 $: of the best per watt two take 120 W, and
 * nothing fills the rest as well as all others do.
 */
export const SIX_ON_A_BREAKER = siteOf(
  [limitOf('site', null, 1000), limitOf('b', 'site', 200)],
  [
    ...['a1', 'a2'].map((id) => deviceOf(id, 'b', offOrOn(60, 6))),
    ...['c1', 'c2', 'c3', 'c4'].map((id) => deviceOf(id, 'b', offOrOn(50, 4.9))),
  ],
);

/** A bench at the prices of the relaxed answer, and its breakers as they are found. */
export function prepareBreakers(problem: Problem, energyPrice = 0): { bench: Bench; breakers: Breaker[] } {
  const bench = createBench(compileProblem(problem));
  const { compiled: c, workspace: w, memory: m } = bench;
  sortAllSegments(c, w);
  computeBaseSlack(c, w);
  solveRelaxed(c, w, energyPrice);
  computeLosses(c, w, m, energyPrice);
  computeRooms(c, m);
  return { bench, breakers: findBreakers(c, w, m, energyPrice) };
}

/** Looks for the choices of the breakers once, with room for all that it finds. */
export function extendOn(
  { compiled: c, workspace: w, memory: m }: Bench,
  breakers: readonly Breaker[],
  workUnits = 1e6,
  energyPrice = 0,
): { workUnits: number; extended: boolean } {
  return extendBreakers(c, w, m, breakers, { energyPrice, workUnits, mostStates: 1e6 });
}

/** Watts and value of every choice of the limit's devices that holds within it, found by trying each. */
export function allChoices(
  { compiled: c, memory: m }: Bench,
  n: number,
  energyPrice: number,
): (readonly [watts: number, value: number])[] {
  let choices: (readonly [number, number])[] = [[c.limitFixed[n]!, 0]];
  for (const i of m.devicesOf[n]!) {
    choices = choices.flatMap(([watts, value]) =>
      Array.from({ length: c.modeCount[i]! }, (_, k): [number, number] => {
        const s = i * c.stride + k;
        const energy = energyPrice * c.limitRootGain[n]! * c.modeWatts[s]!;
        return [watts + c.modeWatts[s]!, value + c.modeValue[s]! - energy];
      }),
    );
  }
  return choices.filter(([watts]) => watts <= c.limitCapacity[n]!);
}
