import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { type Bench, createBench } from '../../../agent/allocation/decide.ts';
import { limitTotals } from '../../../agent/allocation/fill.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import { mendFloors } from '../../../agent/allocation/mend.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { computeBaseSlack } from '../../../agent/allocation/sweep.ts';
import { computeLosses } from '../../../agent/allocation/window-memory.ts';
import { manyFloors, randomSite, tinySite } from '../../support/allocation-problems.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** At the prices of the relaxed answer; `null`: there is none. */
function benchOf(problem: Problem): Bench | null {
  const bench = createBench(compileProblem(problem));
  const { compiled: c, workspace: w, memory: m } = bench;
  sortAllSegments(c, w);
  if (!computeBaseSlack(c, w) || solveRelaxed(c, w, 0) === null) return null;
  computeLosses(c, w, m, 0);
  return bench;
}

function mend(
  { compiled, workspace, memory, trial }: Bench,
  mostUnits: number,
): { mended: boolean; workUnits: number; modes: number[] } {
  return { ...mendFloors(compiled, workspace, memory, 0, trial, mostUnits), modes: [...trial.mode] };
}

/** By how many watts the floor is missed. */
function missing({ compiled: c }: Bench, mode: Int32Array, f: number): number {
  let watts = c.floorWatts[f]!;
  for (const i of c.floorDevices[f]!) watts -= c.modeWatts[i * c.stride + mode[i]!]!;
  return Math.max(0, watts);
}

/** Whether no limit carries more than it may. */
function holds({ compiled: c }: Bench, mode: Int32Array): boolean {
  const totals = new Float64Array(c.limitIds.length);
  limitTotals(c, mode, totals);
  return totals.every((watts, n) => watts <= c.limitCapacity[n]! + 5e-7);
}

/**
 * Every exchange tried, from the rounded choice on: the one that loses least for each watt that the first missed floor gains
 * and others do not lose. A device gives way no further than it must, and none where there is room. `null`: it ends
 * without all floors held.
 */
function byTrying(bench: Bench, start: readonly number[]): number[] | null {
  const { compiled: c, memory: m } = bench;
  const mode = Int32Array.from(start);
  const lossAt = (i: number, k: number): number => m.loss[i * c.stride + k]!;
  for (;;) {
    const f = c.floorIds.findIndex((_id, k) => missing(bench, mode, k) > 9e-7);
    if (f < 0) return [...mode];
    const need = missing(bench, mode, f);
    const found: { lossPerWatt: number; modes: Int32Array }[] = [];
    const consider = (modes: Int32Array, lossDollars: number, mends: number): void => {
      if (mends > 9e-7) found.push({ modes, lossPerWatt: lossDollars / mends });
    };
    for (const up of c.floorDevices[f]!) {
      for (let upMode = mode[up]! + 1; upMode < c.modeCount[up]!; upMode += 1) {
        const risen = mode.slice();
        risen[up] = upMode;
        const mends = need - missing(bench, risen, f);
        const upLoss = lossAt(up, upMode) - lossAt(up, mode[up]!);
        if (holds(bench, risen)) {
          consider(risen, upLoss, mends);
          continue;
        }
        for (let down = 0; down < mode.length; down += 1) {
          const other = c.deviceFloor[down]!;
          for (let downMode = mode[down]! - 1; downMode >= 0 && down !== up; downMode -= 1) {
            const modes = risen.slice();
            modes[down] = downMode;
            const alone = mode.slice();
            alone[down] = downMode;
            const missed = other < 0 ? 0 : missing(bench, alone, other) - missing(bench, mode, other);
            if (!holds(bench, modes) || mends - missed <= 9e-7) continue;
            consider(modes, upLoss + lossAt(down, downMode) - lossAt(down, mode[down]!), mends - missed);
            break;
          }
        }
      }
    }
    if (found.length === 0) return null;
    mode.set(found.reduce((best, one) => (one.lossPerWatt < best.lossPerWatt ? one : best)).modes);
  }
}

describe('each exchange is the one that loses least for what it mends', () => {
  test.each([
    ['tiny sites of every kind', 800, (seed: number) => tinySite(seed), 5],
    [
      'floors across a tight tree',
      60,
      (seed: number) =>
        manyFloors(randomSite({ family: 'tight', deviceCount: 12 + (seed % 20), seed }), seed),
      18,
    ],
    [
      'floors across a tree with losses',
      60,
      (seed: number) =>
        manyFloors(randomSite({ family: 'gains', deviceCount: 12 + (seed % 20), seed }), seed),
      12,
    ],
  ] as const)('%s: as by trying every one (seeds 1 to %i)', (_name, seeds, siteOfSeed, atLeast) => {
    let exchanged = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const problem = siteOfSeed(seed);
      const bench = problem.floors.length > 0 ? benchOf(problem) : null;
      if (bench === null) continue;
      const start = mend(bench, 0).modes;
      const { mended, modes } = mend(bench, 1e6);
      const tried = byTrying(bench, start);
      expect(mended, `seed ${seed}`).toBe(tried !== null);
      if (tried !== null) expect(modes, `seed ${seed}`).toEqual(tried);
      if (mended && modes.some((k, i) => k !== start[i])) exchanged += 1;
    }
    expect(exchanged).toBeGreaterThan(atLeast);
  });
});

describe('what is no exchange', () => {
  /** The floor wants more of f1, which stands at 30 W; f2 is at its most. */
  const short = (capacityWatts: number, more: readonly (readonly [number, number])[]): Problem =>
    siteOf(
      [
        limitOf('site', null, 1000),
        limitOf('left', 'site', capacityWatts),
        limitOf('right', 'site', 500, { gain: 1.2 }),
      ],
      [
        deviceOf('f1', 'left', [[0, 0], [30, -0.5], ...more, [100, -3]]),
        deviceOf('f2', 'right', [
          [0, 0],
          [60, -0.6],
        ]),
      ],
      [floorOf('firm', ['f1', 'f2'], 130)],
    );

  test('a device that makes room for itself', () => {
    const { mended, modes } = mend(benchOf(short(80, []))!, 1e6);
    expect({ mended, modes }).toEqual({ mended: false, modes: [1, 1] });
  });

  test('one mode for another of as many watts', () => {
    const bench = benchOf(short(100, [[30, -0.5]]))!;
    expect(mend(bench, 1e6)).toEqual({ mended: true, workUnits: 2, modes: [3, 1] });
  });
});

describe('work and watts to the last', () => {
  /** Nothing is short but the floor: 100 W of two devices that earn nothing, on limits with other losses. */
  const loose = siteOf(
    [limitOf('site', null, 1000), limitOf('left', 'site', 500), limitOf('right', 'site', 500, { gain: 1.2 })],
    [
      deviceOf('f1', 'left', [
        [0, 0],
        [60, -1],
      ]),
      deviceOf('f2', 'right', [
        [0, 0],
        [30, -2.5],
        [60, -3],
      ]),
    ],
    [floorOf('firm', ['f1', 'f2'], 100)],
  );

  test('every change looked at is a unit, and the last of them may be used', () => {
    const bench = benchOf(loose)!;
    // f2 at 30 W, and at 60 W.
    expect(mend(bench, 2)).toEqual({ mended: true, workUnits: 2, modes: [1, 2] });
    expect(mend(bench, 1)).toMatchObject({ mended: false, modes: [1, 0] });
  });

  test('a floor missed by a tenth of a microwatt is held', () => {
    const near = { ...loose, floors: [floorOf('firm', ['f1', 'f2'], 60 + 1e-7)] };
    expect(mend(benchOf(near)!, 1e6)).toEqual({ mended: true, workUnits: 0, modes: [1, 0] });
  });
});
