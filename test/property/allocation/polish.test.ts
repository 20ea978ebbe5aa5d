import { beforeAll, describe, expect, test } from 'vitest';
import { createPlanner } from '../../../agent/allocation/planner.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { searchInThread } from '../../../agent/control/polisher.ts';
import { CYCLE_SEARCH } from '../../../agent/control/solve-plan.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { coarseSite, FAMILIES, randomSite } from '../../support/allocation-problems.ts';
import { judge } from '../../support/brute-force.ts';
import { loadOracle, type Oracle } from '../../support/highs-oracle.ts';

const SHAPES = [
  [20, 5, 2],
  [60, 12, 2],
  [60, 12, 4],
  [200, 40, 2],
] as const;
let oracle: Oracle;

beforeAll(async () => {
  oracle = await loadOracle();
});

describe('coarse blocks (seeds 11 to 13)', () => {
  test.each(SHAPES)(
    '%i blocks on %i breakers, %i modes: within 3 per cent in one cycle, 0.01 once polished',
    async (...shape) => {
      for (let seed = 11; seed <= 13; seed += 1) {
        const name = `seed ${seed}`;
        const problem = coarseSite(seed, ...shape);
        const plan = createPlanner();
        const own = plan(problem, CYCLE_SEARCH);
        let known: Readonly<Record<string, string>> | null = null;
        await searchInThread(
          problem,
          (modes) => {
            known = modes;
          },
          new AbortController().signal,
        );
        expect(known, name).not.toBeNull();
        const polished = plan(problem, { ...CYCLE_SEARCH, known });
        expect(judge(problem, polished.modes).violations, name).toEqual([]);
        expect(polished.dollarsPerHour, name).toBeGreaterThanOrEqual(own.dollarsPerHour);
        const whole = oracle(problem, { relaxed: false, relativeGap: 1e-6, timeLimitSeconds: 5 });
        const gapOf = (dollars: number): number => (whole.dollarsPerHour - dollars) / whole.dollarsPerHour;
        expect(gapOf(own.dollarsPerHour), name).toBeLessThan(0.03);
        expect(gapOf(polished.dollarsPerHour), name).toBeLessThan(0.0001);
      }
    },
  );
});

describe('a known choice (seeds 1 to 40)', () => {
  const sites = Array.from({ length: 40 }, (_, n) =>
    n % 2 === 0
      ? coarseSite(n + 1, 40, 8, 3)
      : randomSite({ family: FAMILIES[n % FAMILIES.length]!, deviceCount: 40, seed: n + 1 }),
  );

  test('is taken only where it holds and earns more, whatever it says', () => {
    const random = seededRandom(5);
    let taken = 0;
    for (const [n, problem] of sites.entries()) {
      const name = `seed ${n + 1}`;
      const own = solveProblem(problem, { workUnits: 2000 });
      if (own.status === 'infeasible') continue;
      const best = solveProblem(problem, { workUnits: 400_000 });
      for (const known of hints(problem, best.modes, random)) {
        const answer = solveProblem(problem, { workUnits: 2000, known });
        const judged = judge(problem, answer.modes);
        expect(judged.violations, name).toEqual([]);
        expect(answer.dollarsPerHour, name).toBeCloseTo(judged.dollarsPerHour, 9);
        expect(answer.dollarsPerHour, name).toBeGreaterThanOrEqual(own.dollarsPerHour);
        expect(answer.upperBoundDollarsPerHour, name).toBe(own.upperBoundDollarsPerHour);
      }
      const answer = solveProblem(problem, { workUnits: 2000, known: best.modes });
      expect(answer.dollarsPerHour, name).toBeGreaterThanOrEqual(best.dollarsPerHour);
      if (answer.dollarsPerHour > own.dollarsPerHour) taken += 1;
    }
    expect(taken).toBeGreaterThan(5);
  });

  test('that no longer holds changes nothing', () => {
    for (const [n, problem] of sites.entries()) {
      // Enough to be over some limit by one device at least.
      const known = Object.fromEntries(problem.devices.map((one) => [one.id, one.modes.at(-1)!.id]));
      const broken = judge(problem, known).violations.filter((one) => one.startsWith('limit'));
      if (broken.length === 0 || problem.devices.some((one) => one.allowed !== null)) continue;
      const own = solveProblem(problem, { workUnits: 2000 });
      expect(solveProblem(problem, { workUnits: 2000, known }), `seed ${n + 1}`).toEqual(own);
    }
  });

  test('leaves no trace in a planner that is kept', () => {
    const plan = createPlanner();
    for (const problem of sites) {
      const own = solveProblem(problem, { workUnits: 2000 });
      plan(problem, { workUnits: 2000, known: own.modes });
      expect(plan(problem, { workUnits: 2000 })).toEqual(own);
    }
  });
});

/** The best choice, parts of it, nothing, everything at its most, modes and devices that do not exist, modes at random. */
function hints(
  problem: Problem,
  best: Readonly<Record<string, string>>,
  random: () => number,
): Readonly<Record<string, string>>[] {
  const each = (mode: (id: string, modes: readonly { id: string }[]) => string) =>
    Object.fromEntries(problem.devices.map((one) => [one.id, mode(one.id, one.modes)]));
  return [
    best,
    Object.fromEntries(Object.entries(best).filter(() => random() < 0.7)),
    {},
    each((_id, modes) => modes.at(-1)!.id),
    each(() => 'toString'),
    { nobody: 'on', constructor: 'on' },
    each((_id, modes) => modes[Math.floor(random() * modes.length)]!.id),
  ];
}
