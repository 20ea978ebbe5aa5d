import { type Breaker, extendBreakers, findBreakers } from '../../agent/allocation/breakers.ts';
import { compileProblem } from '../../agent/allocation/compile.ts';
import { type Bench, createBench } from '../../agent/allocation/decide.ts';
import { solveRelaxed, sortAllSegments } from '../../agent/allocation/floors.ts';
import type { Problem } from '../../agent/allocation/problem.ts';
import { computeBaseSlack } from '../../agent/allocation/sweep.ts';
import { computeLosses, computeRooms } from '../../agent/allocation/window-memory.ts';

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
