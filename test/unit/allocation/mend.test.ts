import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { createBench } from '../../../agent/allocation/decide.ts';
import { isFeasible } from '../../../agent/allocation/fill.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import { mendFloors } from '../../../agent/allocation/mend.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { computeBaseSlack } from '../../../agent/allocation/sweep.ts';
import { computeLosses } from '../../../agent/allocation/window-memory.ts';
import { ADVERSARIAL, adversarialSite } from '../../support/adversarial-trees.ts';
import { manyFloors, randomSite, tinySite } from '../../support/allocation-problems.ts';
import { bruteForce, judge } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** What mending alone comes to: modes, whether it says that all is held, whether a fresh sum says so. */
function mend(
  problem: Problem,
  mostUnits = 1e6,
): { mended: boolean; workUnits: number; holds: boolean; modes: number[] } | null {
  const bench = createBench(compileProblem(problem));
  const { compiled: c, workspace: w, memory: m, trial } = bench;
  sortAllSegments(c, w);
  if (!computeBaseSlack(c, w) || solveRelaxed(c, w, 0) === null) return null;
  computeLosses(c, w, m, 0);
  const result = mendFloors(c, w, m, 0, trial, mostUnits);
  return { ...result, holds: isFeasible(c, trial), modes: [...trial.mode] };
}

const on = (watts: number, dollars: number): [number, number][] => [
  [0, 0],
  [watts, dollars],
];

/**
 * Two PDUs of 100 W. The floor wants 100 W of f1 and f2; next to f2 stands g, which is worth much less than its watts on
 * the left. The relaxed answer takes f1 and half of f2 with half of g.
 */
const across = (floorWatts: number, g: readonly [number, number] = [60, 5]): Problem =>
  siteOf(
    [limitOf('site', null, 1000), limitOf('left', 'site', 100), limitOf('right', 'site', 100, { gain: 1.2 })],
    [
      deviceOf('f1', 'left', on(60, 3)),
      deviceOf('f2', 'right', on(60, 1)),
      deviceOf('g', 'right', on(...g)),
      deviceOf('h', 'left', on(30, 2)),
    ],
    [floorOf('firm', ['f1', 'f2'], floorWatts)],
  );

describe('floors that the order of the relaxed answer misses', () => {
  test('one device makes room for another', () => {
    const { mended, holds, modes } = mend(across(100))!;
    expect({ mended, holds, modes }).toEqual({ mended: true, holds: true, modes: [1, 1, 0, 1] });
    // f1, f2, g, h in the order of their ids: g gives way to f2.
    expect(solveProblem(across(100), { workUnits: 1000 })).toMatchObject({
      dollarsPerHour: 6,
      status: 'optimal',
    });
  });

  test('nothing is missed: nothing is exchanged', () => {
    expect(mend(across(60))).toMatchObject({ mended: true, holds: true, workUnits: 0, modes: [1, 0, 1, 1] });
  });

  test('a floor that nests beside one that cuts across is served first, not mended', () => {
    const { limits, devices, floors } = across(60);
    const beside = siteOf(
      [...limits, limitOf('third', 'site', 100)],
      [...devices, deviceOf('n', 'third', on(50, -1))],
      [...floors, floorOf('nested', ['n'], 40)],
    );
    expect(mend(beside)).toMatchObject({ mended: true, holds: true, workUnits: 0, modes: [1, 0, 1, 1, 1] });
  });

  test('it gives up where no exchange helps, or the work is spent', () => {
    // What must make room can go no lower.
    const stuck = across(100);
    const devices = stuck.devices.map((device) =>
      device.id === 'g' ? { ...device, allowed: ['m1'] } : device,
    );
    expect(mend({ ...stuck, devices })).toMatchObject({ mended: false, modes: [1, 0, 0, 1] });
    const { workUnits } = mend(across(100))!;
    expect(mend(across(100), workUnits)).toMatchObject({ mended: true, workUnits });
    for (let units = 0; units < workUnits; units += 1) {
      const less = mend(across(100), units)!;
      expect(less.workUnits).toBeLessThanOrEqual(units + 1);
      if (less.mended) expect(less.holds).toBe(true);
    }
    expect(mend(across(100), 0)).toMatchObject({ mended: false });
  });

  test('losses count where there is no room: what goes down must free what goes up takes there', () => {
    const lossy = (x: number, f2: string, gain: number): Problem =>
      siteOf(
        [limitOf('site', null, 130 + x), limitOf('pdu', 'site', 1000, { gain })],
        [
          deviceOf('a', 'site', on(70, 6)),
          deviceOf('f1', 'site', on(60, 3)),
          deviceOf('f2', f2, on(60, 1)),
          deviceOf('x', 'site', on(x, (x * 7) / 75)),
        ],
        [floorOf('firm', ['f1', 'f2'], 100)],
      );
    // f2 takes 72 W of the site: a frees 70 and would be cheaper, x frees 75.
    expect(mend(lossy(75, 'pdu', 1.2))).toMatchObject({ mended: true, holds: true, modes: [1, 1, 1, 0] });
    expect(mend(lossy(75, 'pdu', 1))).toMatchObject({ mended: true, holds: true, modes: [0, 1, 1, 1] });
  });

  test('what makes room misses no floor for it: of two that could, the one outside of floors', () => {
    const problem = siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 120), limitOf('other', 'site', 60)],
      [
        deviceOf('a', 'pdu', on(60, 1)),
        deviceOf('b', 'pdu', on(60, 2)),
        deviceOf('c', 'pdu', on(60, 9)),
        deviceOf('d', 'other', on(60, 1)),
      ],
      [floorOf('one', ['a', 'd'], 120), floorOf('two', ['b'], 60)],
    );
    expect(mend(problem)).toMatchObject({ mended: true, holds: true, modes: [1, 1, 0, 1] });
  });

  test('what it says it holds, it holds; and it is never worse with it (seeds 1 to 40)', () => {
    let better = 0;
    let mendedSites = 0;
    for (let seed = 1; seed <= 40; seed += 1) {
      const family = seed % 3 === 0 ? 'gains' : 'tight';
      const problem = manyFloors(randomSite({ family, deviceCount: 30 + seed, seed }), seed);
      const alone = mend(problem);
      if (alone === null) continue;
      if (alone.mended) {
        expect(alone.holds, `seed ${seed}`).toBe(true);
        mendedSites += 1;
      }
      // Repairs and kicks would do much of the same.
      const apart = { workUnits: 20_000, repair: false } as const;
      const without = solveProblem(problem, { ...apart, mendFloors: false, wholeBreakers: false });
      const answer = solveProblem(problem, apart);
      expect(answer.upperBoundDollarsPerHour ?? 1e9).toBeGreaterThanOrEqual(answer.dollarsPerHour);
      if (answer.status === 'infeasible') continue;
      expect(judge(problem, answer.modes).violations, `seed ${seed}`).toEqual([]);
      if (without.status === 'infeasible' || answer.dollarsPerHour > without.dollarsPerHour + 1e-9)
        better += 1;
    }
    expect(mendedSites).toBeGreaterThan(15);
    expect(better).toBeGreaterThan(8);
  });

  test('tiny sites of every kind: what it says it holds, it holds (seeds 1 to 300)', () => {
    let mendedSites = 0;
    for (let seed = 1; seed <= 300; seed += 1) {
      const problem = tinySite(seed);
      if (problem.floors.length === 0) continue;
      const alone = mend(problem);
      if (alone === null || !alone.mended) continue;
      expect(alone.holds, `seed ${seed}`).toBe(true);
      expect(bruteForce(problem), `seed ${seed}`).not.toBeNull();
      mendedSites += 1;
    }
    expect(mendedSites).toBeGreaterThan(50);
  });

  test('many floors across a tight tree: within 1 per cent in one cycle where serving them first lost 5.5', () => {
    const problem = adversarialSite(ADVERSARIAL[7], 29);
    const gapOf = (options: object): number => {
      const { dollarsPerHour, upperBoundDollarsPerHour } = solveProblem(problem, {
        workUnits: 60_000,
        ...options,
      });
      return (upperBoundDollarsPerHour! - dollarsPerHour) / dollarsPerHour;
    };
    expect(gapOf({ mendFloors: false, repair: false })).toBeGreaterThan(0.05);
    expect(gapOf({ repair: false })).toBeLessThan(0.01);
    expect(gapOf({})).toBeLessThan(0.01);
  });
});
