import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { createBench } from '../../../agent/allocation/decide.ts';
import { isFeasible, refreshChoice } from '../../../agent/allocation/fill.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { repairChoice } from '../../../agent/allocation/repair.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { computeBaseSlack } from '../../../agent/allocation/sweep.ts';
import { computeLosses } from '../../../agent/allocation/window-memory.ts';
import { adversarialSite } from '../../support/adversarial-trees.ts';
import { manyFloors, nestedFloors, randomSite, tinySite } from '../../support/allocation-problems.ts';
import { bruteForce, judge } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** What repairing alone comes to from these modes, devices in the order of their ids. */
function repair(
  problem: Problem,
  from: readonly number[],
  mostUnits = 1e6,
): { repaired: boolean; workUnits: number; holds: boolean; modes: number[] } {
  const bench = createBench(compileProblem(problem));
  const { compiled: c, workspace: w, memory: m, trial } = bench;
  sortAllSegments(c, w);
  computeBaseSlack(c, w);
  solveRelaxed(c, w, 0);
  computeLosses(c, w, m, 0);
  trial.mode.set(from);
  refreshChoice(c, trial);
  const result = repairChoice(c, m, trial, mostUnits);
  return { ...result, holds: isFeasible(c, trial), modes: [...trial.mode] };
}

const on = (watts: number, dollars: number): [number, number][] => [
  [0, 0],
  [watts, dollars],
];

describe('a choice that breaks a limit or misses a floor', () => {
  test('is left as it is where all is held', () => {
    const site = siteOf([limitOf('site', null, 100)], [deviceOf('a', 'site', on(60, 1))]);
    expect(repair(site, [1])).toEqual({ repaired: true, workUnits: 0, holds: true, modes: [1] });
  });

  test('is mended by the device that loses least for each watt', () => {
    const site = siteOf(
      [limitOf('site', null, 160)],
      [deviceOf('a', 'site', on(60, 3)), deviceOf('b', 'site', on(60, 1)), deviceOf('c', 'site', on(100, 4))],
    );
    expect(repair(site, [1, 1, 1])).toMatchObject({ repaired: true, holds: true, modes: [1, 0, 1] });
  });

  test('is mended with the losses on the way', () => {
    const site = siteOf(
      [limitOf('site', null, 129), limitOf('hall', 'site', 1000, { gain: 1.1 })],
      [deviceOf('a', 'hall', on(60, 3)), deviceOf('b', 'hall', on(60, 1))],
    );
    expect(repair(site, [1, 1]).modes).toEqual([1, 0]);
    const roomy = siteOf(
      [limitOf('site', null, 132), limitOf('hall', 'site', 1000, { gain: 1.1 })],
      [deviceOf('a', 'hall', on(60, 3)), deviceOf('b', 'hall', on(60, 1))],
    );
    expect(repair(roomy, [1, 1]).modes).toEqual([1, 1]);
  });

  test('counts what a device frees at the limit that is over, and what it loses from where it stands', () => {
    const halls = siteOf(
      [limitOf('site', null, 60), limitOf('a', 'site', 1000, { gain: 2 }), limitOf('b', 'site', 1000)],
      [deviceOf('a1', 'a', on(60, 15)), deviceOf('b1', 'b', on(60, 10))],
    );
    // 180 W: a1 frees 120 of them for 15 $, b1 60 for 10 $.
    expect(repair(halls, [1, 1])).toMatchObject({ repaired: true, modes: [0, 1] });
    // One step down: 40 W less for 1 $ from the highest, 60 W for 4 $ from the middle.
    const steps = (id: string, middle: number, most: number) =>
      deviceOf(id, 'site', [
        [0, 0],
        [60, middle],
        [100, most],
      ]);
    const ladder = siteOf([limitOf('site', null, 120)], [steps('s', 4, 5), steps('t', 4, 5)]);
    expect(repair(ladder, [1, 2]).modes).toEqual([1, 1]);
    expect(repair(ladder, [2, 1]).modes).toEqual([1, 1]);
  });

  /** The floor is met by a and b alone, whose steps are larger than the room: one must go down as the other goes up. */
  const exact = siteOf(
    [limitOf('site', null, 100)],
    [
      deviceOf('a', 'site', [
        [0, 0],
        [50, 1],
        [70, 2],
      ]),
      deviceOf('b', 'site', [
        [0, 0],
        [30, 1],
        [48, 2],
      ]),
    ],
    [floorOf('firm', ['a', 'b'], 99)],
  );

  test('is mended by two devices together where no one mends by itself', () => {
    expect(repair(exact, [1, 2])).toMatchObject({ repaired: true, holds: true, modes: [2, 1] });
    expect(solveProblem(exact, { workUnits: 1000 })).toMatchObject({ status: 'optimal', dollarsPerHour: 3 });
  });

  test('is walked out of places where every step breaks as much as it mends', () => {
    // The floor needs f, which fills the PDU; g must leave it, and h with g does not fit beside f either.
    const site = siteOf(
      [limitOf('site', null, 300), limitOf('left', 'site', 100), limitOf('right', 'site', 100)],
      [
        deviceOf('f1', 'left', on(100, 1)),
        deviceOf('f2', 'right', on(100, 1)),
        deviceOf('g1', 'left', on(60, 3)),
        deviceOf('g2', 'right', on(60, 3)),
        deviceOf('h1', 'left', on(40, 3)),
        deviceOf('h2', 'right', on(40, 3)),
      ],
      [floorOf('firm', ['f1', 'f2'], 200)],
    );
    expect(repair(site, [0, 0, 1, 1, 1, 1])).toMatchObject({
      repaired: true,
      holds: true,
      modes: [1, 1, 0, 0, 0, 0],
    });
  });

  test('is given up when the work is spent, and where nothing can change', () => {
    const never = siteOf(
      [limitOf('site', null, 100)],
      [deviceOf('a', 'site', on(60, 1))],
      [floorOf('firm', ['a'], 90)],
    );
    for (const mostUnits of [0, 1, 500]) {
      const { repaired, workUnits } = repair(never, [0], mostUnits);
      expect({ repaired, workUnits }).toEqual({ repaired: false, workUnits: mostUnits });
    }
    const fixed = siteOf(
      [limitOf('site', null, 100)],
      [deviceOf('a', 'site', [[60, 1]])],
      [floorOf('firm', ['a'], 90)],
    );
    expect(repair(fixed, [0], 50)).toMatchObject({ repaired: false, workUnits: 50 });
  });

  test('is found below a limit of more devices than are looked at in one step', () => {
    const devices = Array.from({ length: 700 }, (_, d) =>
      deviceOf(`d${String(d).padStart(3, '0')}`, 'site', on(10, d < 690 ? 1 : 0.1)),
    );
    const site = siteOf([limitOf('site', null, 6900)], devices);
    const { repaired, holds, modes } = repair(site, new Array(700).fill(1));
    expect({ repaired, holds, on: modes.reduce((sum, mode) => sum + mode, 0) }).toEqual({
      repaired: true,
      holds: true,
      on: 690,
    });
  });
});

describe('floors that are hard to meet', () => {
  const budget = { workUnits: 60_000 };

  test('are met where many cut across a tight tree', () => {
    const problem = adversarialSite('many-floors', 269);
    expect(solveProblem(problem, { ...budget, repair: false }).status).toBe('infeasible');
    const answer = solveProblem(problem, budget);
    expect(answer.status).toBe('feasible');
    expect(judge(problem, answer.modes).violations).toEqual([]);
    // The optimum is 147.22 $/h.
    expect(answer.dollarsPerHour).toBeGreaterThan(147.22 * 0.985);
  });

  test.each([22, 83, 106])('are met where each fits its breaker by few choices, seed %i', (seed) => {
    const problem = nestedFloors(randomSite({ family: 'tight', deviceCount: 100, seed }), seed);
    expect(solveProblem(problem, { ...budget, repair: false }).status).toBe('infeasible');
    const answer = solveProblem(problem, budget);
    expect(answer.status).not.toBe('infeasible');
    expect(judge(problem, answer.modes).violations).toEqual([]);
  });

  test('are never called impossible where some choice holds them', () => {
    let held = 0;
    for (let seed = 1; seed <= 300; seed += 1) {
      const tiny = tinySite(seed);
      const problem = seed % 2 === 0 ? manyFloors(tiny, seed) : nestedFloors(tiny, seed);
      const best = bruteForce(problem);
      const answer = solveProblem(problem, { workUnits: 2000 });
      expect(answer.status === 'infeasible', `seed ${seed}`).toBe(best === null);
      if (best !== null) held += 1;
    }
    expect(held).toBeGreaterThan(100);
  });
});
