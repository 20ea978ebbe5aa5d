import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import {
  type Bench,
  createBench,
  type DecideOptions,
  type Decision,
  decide,
} from '../../../agent/allocation/decide.ts';
import { sortAllSegments } from '../../../agent/allocation/floors.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { knownModes, solveProblem } from '../../../agent/allocation/solve.ts';
import { coarseSite, tinySite } from '../../support/allocation-problems.ts';
import { bruteForce, judge } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

function decided(
  problem: Problem,
  options: Partial<DecideOptions> = {},
): { decision: Decision; modes: number[]; bench: Bench } {
  const bench = createBench(compileProblem(problem));
  sortAllSegments(bench.compiled, bench.workspace);
  const decision = decide(bench, { energyDollarsPerWattHour: 0, workUnits: 0, ...options });
  return { decision, modes: [...bench.choice.mode], bench };
}

/**
 * The best per watt is not the best: 60 W for 6 $, twice 50 W for 4.90 $, 100 W in all. The relaxed answer takes 40 W of
 * the second: 6 + 3.92 $.
 */
const knapsack = siteOf(
  [limitOf('site', null, 100)],
  [
    deviceOf('a', 'site', [
      [0, 0],
      [60, 6],
    ]),
    deviceOf('b', 'site', [
      [0, 0],
      [50, 4.9],
    ]),
    deviceOf('c', 'site', [
      [0, 0],
      [50, 4.9],
    ]),
  ],
);

describe('the search within its budget', () => {
  test('without one: the rounded choice, its gap over the sum of absolute values', () => {
    const { decision, modes } = decided(knapsack);
    expect(decision).toEqual({
      status: 'feasible',
      dollarsPerHour: 6,
      boundDollarsPerHour: expect.closeTo(9.92, 12),
      gap: expect.closeTo(3.92 / 6, 12),
      workUnits: 0,
    });
    expect(modes).toEqual([1, 0, 0]);
  });

  test('with one: the best, proved, at the work that one can count', () => {
    const { decision, modes } = decided(knapsack, { workUnits: 1000 });
    // 2 ways with a, 4 with b, 6 with c, and the 2 that are left are finished.
    expect(decision).toEqual({
      status: 'optimal',
      dollarsPerHour: 9.8,
      boundDollarsPerHour: expect.closeTo(9.92, 12),
      gap: expect.closeTo(0.12 / 9.8, 12),
      workUnits: 14,
    });
    expect(modes).toEqual([0, 1, 1]);
  });

  test('one that could not end is not begun: 8 units for each device that keeps a choice', () => {
    expect(decided(knapsack, { workUnits: 23 }).decision).toMatchObject({ status: 'feasible', workUnits: 0 });
    expect(decided(knapsack, { workUnits: 24 }).decision).toMatchObject({ status: 'optimal', workUnits: 14 });
    // 6 devices of each limit keep one in the first search.
    const many = siteOf(
      [limitOf('site', null, 250)],
      Array.from({ length: 9 }, (_, n) =>
        deviceOf(`d${n}`, 'site', [
          [0, 0],
          [60 + n, 6 + n / 10],
        ]),
      ),
    );
    expect(decided(many, { workUnits: 47 }).decision.workUnits).toBe(0);
    expect(decided(many, { workUnits: 48 }).decision.workUnits).toBeGreaterThan(0);
    const roots = siteOf(
      [...many.limits, limitOf('other', null, 250)],
      many.devices.flatMap((device) => [device, { ...device, id: `other-${device.id}`, limit: 'other' }]),
    );
    expect(decided(roots, { workUnits: 95 }).decision.workUnits).toBe(0);
    expect(decided(roots, { workUnits: 96 }).decision.workUnits).toBeGreaterThan(0);
  });

  test('none of it is for devices of which another mode would lose more than there is to win', () => {
    const rich = Array.from({ length: 10 }, (_, n) =>
      deviceOf(`rich-${n}`, 'site', [
        [0, 0],
        [10, 100],
      ]),
    );
    const more = siteOf([limitOf('site', null, 200)], [...knapsack.devices, ...rich]);
    const { decision, modes } = decided(more, { workUnits: 1000 });
    expect(decision).toMatchObject({ status: 'optimal', workUnits: 14 });
    expect(modes).toEqual([0, 1, 1, ...Array(10).fill(1)]);
  });

  test('however little there is to earn', () => {
    const devices = knapsack.devices.map((device) => ({
      ...device,
      modes: device.modes.map((mode) => ({ ...mode, dollarsPerHour: mode.dollarsPerHour * 1e-9 })),
    }));
    const { decision, modes } = decided({ ...knapsack, devices }, { workUnits: 1000 });
    expect(decision.status).toBe('optimal');
    expect(modes).toEqual([0, 1, 1]);
  });

  test('a small gap has its own budget', () => {
    const search = (smallGap: number, smallGapUnits: number): number =>
      decided(knapsack, { workUnits: 1000, smallGap, smallGapUnits }).decision.workUnits;
    // The gap is 3.92 $ of 6.
    expect(search(0.66, 0)).toBe(0);
    expect(search(0.66, 23)).toBe(0);
    expect(search(0.66, 24)).toBe(14);
    expect(search(0.65, 0)).toBe(14);
    // No greater is small as well.
    const quarters = siteOf(
      [limitOf('site', null, 4)],
      ['a', 'b'].map((id) =>
        deviceOf(id, 'site', [
          [0, 0],
          [3, 3],
        ]),
      ),
    );
    const { gap } = decided(quarters).decision;
    expect(gap).toBeCloseTo(1 / 3, 12);
    expect(decided(quarters, { workUnits: 1000, smallGap: gap! }).decision.workUnits).toBe(0);
    expect(decided(quarters, { workUnits: 1000, smallGap: gap! - 1e-9 }).decision.workUnits).toBeGreaterThan(
      0,
    );
    expect(decided(knapsack, { workUnits: 1000, smallGap: 0.66 }).decision.workUnits).toBe(0);
    // Without any budget not even that.
    expect(decided(knapsack, { workUnits: 0, smallGap: 0.66, smallGapUnits: 1000 }).decision.workUnits).toBe(
      0,
    );
  });

  test('no more states at once than allowed, at half as many candidates', () => {
    expect(decided(knapsack, { workUnits: 1000, mostStates: 1 }).decision).toMatchObject({
      status: 'feasible',
    });
    // b has 4 candidates, c 6 of them.
    expect(decided(knapsack, { workUnits: 1000, mostStates: 11 }).decision.dollarsPerHour).toBe(6);
    expect(decided(knapsack, { workUnits: 1000, mostStates: 12 }).decision).toMatchObject({
      status: 'optimal',
      dollarsPerHour: 9.8,
    });
  });

  test('what loses nothing is optimal without a search', () => {
    const loose = { ...knapsack, limits: [limitOf('site', null, 160)] };
    expect(decided(loose).decision).toMatchObject({
      status: 'optimal',
      gap: expect.closeTo(0, 12),
      workUnits: 0,
    });
    expect(decided(loose, { workUnits: 1000 }).decision.workUnits).toBe(0);
  });

  test('nothing to earn: no gap', () => {
    const nothing = siteOf([limitOf('site', null, 10)], [deviceOf('a', 'site', [[0, 0]])]);
    expect(decided(nothing, { workUnits: 1000 }).decision).toMatchObject({
      status: 'optimal',
      gap: 0,
      dollarsPerHour: 0,
      workUnits: 0,
    });
    // Ten devices and room for none: what the bound is rounded up by is all that is left.
    const dark = siteOf(
      [limitOf('site', null, 10)],
      Array.from({ length: 10 }, (_, n) =>
        deviceOf(`d${n}`, 'site', [
          [1, 0],
          [50 + n, 2 + 0.3 * n],
        ]),
      ),
    );
    const { decision } = decided(dark, { workUnits: 1000 });
    expect(decision).toMatchObject({ status: 'optimal', gap: 0, dollarsPerHour: 0, workUnits: 0 });
    expect(decision.boundDollarsPerHour).toBeGreaterThanOrEqual(0);
    expect(decision.boundDollarsPerHour).toBeLessThan(1e-12);
  });

  test('energy is taken off value and bound', () => {
    const { decision, modes } = decided(knapsack, { workUnits: 1000, energyDollarsPerWattHour: 0.05 });
    expect(modes).toEqual([0, 1, 1]);
    expect(decision.dollarsPerHour).toBeCloseTo(9.8 - 5, 12);
    expect(decision.boundDollarsPerHour).toBeCloseTo(9.92 - 5, 12);
    // Of 2.40 $ twice, in absolute terms.
    expect(decision.gap).toBeCloseTo(0.12 / 4.8, 12);
  });

  test('more work is never worse, and stays within its budget (seeds 1 to 8)', () => {
    for (let seed = 1; seed <= 8; seed += 1) {
      const problem = coarseSite(seed, 20, 5, 3);
      let before = Number.NEGATIVE_INFINITY;
      for (const workUnits of [0, 200, 2000, 20_000]) {
        const { decision } = decided(problem, { workUnits });
        expect(decision.workUnits, `seed ${seed}`).toBeLessThanOrEqual(workUnits);
        expect(decision.dollarsPerHour, `seed ${seed}`).toBeGreaterThanOrEqual(before);
        expect(decision.dollarsPerHour, `seed ${seed}`).toBeLessThanOrEqual(decision.boundDollarsPerHour!);
        before = decision.dollarsPerHour;
      }
    }
  });
});

describe('one search after another', () => {
  test('goes on, wider, until nothing is left out: 12 blocks on one breaker (seeds 1 to 4)', () => {
    for (let seed = 1; seed <= 4; seed += 1) {
      const problem = coarseSite(seed, 12, 1, 2);
      const { decision } = decided(problem, { workUnits: 1_000_000 });
      expect(decision.status, `seed ${seed}`).toBe('optimal');
      expect(decision.dollarsPerHour, `seed ${seed}`).toBeCloseTo(bruteForce(problem)!.dollarsPerHour, 10);
    }
  });

  test('never spends more than its budget, and none on a wider one that would', () => {
    for (let seed = 1; seed <= 4; seed += 1) {
      const problem = coarseSite(seed, 24, 2, 3);
      for (const workUnits of [96, 300, 1000, 3000, 10_000])
        expect(decided(problem, { workUnits }).decision.workUnits, `seed ${seed}`).toBeLessThanOrEqual(
          workUnits,
        );
    }
  });
});

describe('a choice from elsewhere', () => {
  const take = (modes: readonly number[]) => decided(knapsack, { known: Int32Array.from(modes) });

  test('is taken where it holds and earns more', () => {
    const { decision, modes } = take([0, 1, 1]);
    expect(modes).toEqual([0, 1, 1]);
    expect(decision).toMatchObject({
      status: 'feasible',
      dollarsPerHour: 9.8,
      gap: expect.closeTo(0.12 / 9.8, 12),
    });
  });

  test('and filled up where it leaves room', () => {
    expect(take([0, 1, 0]).modes).toEqual([0, 1, 1]);
    expect(take([0, 0, 0]).modes).toEqual([1, 0, 0]);
  });

  test('what it does not say is our own', () => {
    // Ours is a; with b and c it is over the limit.
    expect(take([-1, 1, 1]).modes).toEqual([1, 0, 0]);
    expect(take([0, -1, 1]).modes).toEqual([0, 1, 1]);
    expect(take([-1, -1, -1]).modes).toEqual([1, 0, 0]);
  });

  test('that does not hold or earns no more changes nothing', () => {
    expect(take([1, 1, 1])).toMatchObject({ modes: [1, 0, 0], decision: { dollarsPerHour: 6 } });
    const equal = siteOf(
      [limitOf('site', null, 50)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [50, 3],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [50, 3],
        ]),
      ],
    );
    expect(decided(equal, { known: Int32Array.of(0, 1) }).modes).toEqual([1, 0]);
  });

  test('is where the search begins', () => {
    const { decision } = decided(knapsack, { known: Int32Array.of(0, 1, 1), workUnits: 1000 });
    expect(decision).toMatchObject({ status: 'optimal', dollarsPerHour: 9.8 });
    // Only what loses less than 12 cents is looked at.
    expect(decision.workUnits).toBeLessThan(14);
  });

  test('by ids: modes and devices that are not there are not known', () => {
    const problem = siteOf(
      [limitOf('site', null, 100)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [60, 6],
        ]),
        deviceOf(
          'b',
          'site',
          [
            [0, 0],
            [10, 1],
            [50, 4.9],
          ],
          { allowed: ['m0', 'm2'] },
        ),
        deviceOf('c', 'site', [[30, 0]]),
      ],
    );
    const c = compileProblem(problem);
    expect(knownModes(c, null)).toBeNull();
    expect(knownModes(c, {})).toEqual(Int32Array.of(-1, -1, -1));
    expect(knownModes(c, { a: 'm1', b: 'm2', c: 'm0', d: 'm0' })).toEqual(Int32Array.of(1, 1, 0));
    expect(knownModes(c, { a: 'm0', b: 'm1', c: 'x' })).toEqual(Int32Array.of(0, -1, -1));
    const named = siteOf(problem.limits, [deviceOf('toString', 'site', [[0, 0]])]);
    expect(knownModes(compileProblem(named), {})).toEqual(Int32Array.of(-1));
    expect(
      solveProblem(knapsack, { workUnits: 0, known: { a: 'm0', b: 'm1', c: 'm1' } }).dollarsPerHour,
    ).toBe(9.8);
  });
});

describe('floors that the rounded choice misses', () => {
  /**
   * 115 W, 100 of them for the floor. Rounded, b takes 60 W and c finds no room for 60; the least puts a first, which its
   * PDU cannot carry. What holds is b at 50 W, beneath its hull, and c.
   */
  const missed = (floorWatts: number): Problem =>
    siteOf(
      [limitOf('site', null, 115), limitOf('pdu', 'site', 30)],
      [
        deviceOf('a', 'pdu', [
          [0, 0],
          [50, 6],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [50, 0.45],
          [60, 0.6],
        ]),
        deviceOf('c', 'site', [
          [0, 0],
          [60, 0.5],
        ]),
      ],
      [floorOf('firm', ['a', 'b', 'c'], floorWatts)],
    );

  test('the least that meets them stands in, whatever it earns', () => {
    const cheap = siteOf(
      [limitOf('site', null, 85)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [60, 6],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [80, 7.9],
        ]),
        deviceOf('c', 'site', [
          [0, 0],
          [5, 0.1],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 75)],
    );
    // Rounded, a takes 60 W first and b does not fit; of the least, b alone is left.
    const { decision, modes } = decided(cheap);
    expect(decision).toMatchObject({ status: 'feasible', dollarsPerHour: 7.9 });
    expect(modes).toEqual([0, 1, 0]);
  });

  test('nothing in hand: the search finds what holds, or all is given up', () => {
    expect(decided(missed(100)).decision).toMatchObject({ status: 'infeasible', workUnits: 0 });
    const found = decided(missed(100), { workUnits: 1000 });
    expect(found.decision).toMatchObject({ status: 'optimal', dollarsPerHour: 0.95 });
    expect(found.modes).toEqual([0, 1, 1]);
    const known = decided(missed(100), { known: Int32Array.of(0, 1, 1) });
    expect(known.decision).toMatchObject({ status: 'feasible', dollarsPerHour: 0.95 });
  });

  test('given up: the least, no prices, no bound, the work that it took', () => {
    const { decision, modes, bench } = decided(missed(112), { workUnits: 1000 });
    expect(decision).toMatchObject({
      status: 'infeasible',
      dollarsPerHour: 1.1,
      boundDollarsPerHour: null,
      gap: null,
    });
    expect(decision.workUnits).toBeGreaterThan(0);
    expect(modes).toEqual([0, 2, 1]);
    expect([...bench.workspace.pathPrice]).toEqual([0, 0]);
    const limits = [limitOf('site', null, 115, { fixedWatts: 116 }), limitOf('pdu', 'site', 30)];
    expect(decided({ ...missed(100), limits }, { workUnits: 1000 }).decision).toMatchObject({
      status: 'infeasible',
      workUnits: 0,
    });
    expect(decided(missed(171), { workUnits: 1000 }).decision).toMatchObject({
      status: 'infeasible',
      workUnits: 0,
    });
  });
});

describe('figures beyond any site', () => {
  /** At 2^40 W a double has steps of 2^-12 W: three devices of 1,365.55 steps and less, where there is room for 4,096. */
  const step = 2 ** -12;
  const huge = siteOf(
    [limitOf('site', null, 2 ** 40 + 4096 * step, { fixedWatts: 2 ** 40 })],
    [1365.55, 1365.55, 1364.9].map((steps, n) =>
      deviceOf(`d${n}`, 'site', [
        [0, 0],
        [steps * step, 1],
      ]),
    ),
  );

  test('a limit holds by the sum computed afresh, however it was added up on the way', () => {
    for (const options of [
      {},
      { workUnits: 1000 },
      { known: Int32Array.of(0, 0, 0) },
      { known: Int32Array.of(1, 1, 0) },
    ]) {
      const { decision, bench } = decided(huge, options);
      const watts = bench.choice.mode.reduce(
        (sum, mode, i) => sum + (mode === 0 ? 0 : huge.devices[i]!.modes[1]!.watts),
        2 ** 40,
      );
      expect(watts).toBeLessThanOrEqual(2 ** 40 + 4096 * step);
      expect(decision.status).not.toBe('infeasible');
    }
  });

  test('what a search found and a fresh sum refuses is neither taken nor proof', () => {
    // The search adds the one step first, and half a step is rounded down; the sum afresh adds it last.
    const problem = siteOf(
      [limitOf('site', null, 2 ** 40 + 1366 * step, { fixedWatts: 2 ** 40 })],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [1365.5 * step, 1],
        ]),
        deviceOf('b', 'site', [[step, 0]]),
      ],
    );
    const { decision, modes } = decided(problem, { workUnits: 1000 });
    expect(modes).toEqual([0, 0]);
    expect(decision).toMatchObject({ status: 'feasible', dollarsPerHour: 0 });
    expect(decision.workUnits).toBeGreaterThan(0);
  });
});

describe('tiny sites by any search (seeds 1 to 60)', () => {
  test('every answer holds and is worth what it says, optimal only where none is better', () => {
    for (let seed = 1; seed <= 60; seed += 1) {
      const problem = tinySite(seed);
      const best = solveProblem(problem);
      for (const workUnits of [0, 10, 40, 100, 1000]) {
        const answer = solveProblem(problem, { workUnits, mostStates: 40 + seed });
        const judged = judge(problem, answer.modes);
        expect(answer.dollarsPerHour, `seed ${seed}`).toBeCloseTo(judged.dollarsPerHour, 12);
        if (answer.status === 'infeasible') continue;
        expect(judged.violations, `seed ${seed}`).toEqual([]);
        if (answer.status === 'optimal') expect(answer.dollarsPerHour).toBeCloseTo(best.dollarsPerHour, 12);
      }
    }
  });
});
