import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { createBench, decide } from '../../../agent/allocation/decide.ts';
import { sortAllSegments } from '../../../agent/allocation/floors.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { deviceOf, limitOf, siteOf } from '../../support/small-site.ts';

describe('a site whose last watt nobody can use (seed 1)', () => {
  const random = seededRandom(1);
  const even = Array.from({ length: 16 }, () => 2 * Math.floor(50_000 + 400_000 * random()));
  const half = even.reduce((sum, watts) => sum + watts, 0) / 2;
  const odd = siteOf(
    [limitOf('site', null, 2 * Math.round(half / 2) + 1)],
    even.map((watts, n) =>
      deviceOf(`d${String(n).padStart(2, '0')}`, 'site', [
        [0, 0],
        [watts, watts / 10_000],
      ]),
    ),
  );
  const workOf = (workUnits: number): number => {
    const bench = createBench(compileProblem(odd));
    sortAllSegments(bench.compiled, bench.workspace);
    return decide(bench, { energyDollarsPerWattHour: 0, workUnits }).workUnits;
  };
  /** Partial choices kept by one search after another. */
  const BEAMS = [24, 64, 128, 256, 1024, 4096, 20_000];

  test('is searched ever wider: each time when the budget has room for as much again as it is wider', () => {
    let begins = 6 * 8;
    let done = 0;
    for (const [pass, beam] of BEAMS.entries()) {
      const least = Math.ceil(begins);
      expect(workOf(least - 1), `before search ${pass + 1}`).toBe(done);
      expect(workOf(least), `search ${pass + 1}`).toBeGreaterThan(done);
      expect(workOf(least), `search ${pass + 1}`).toBeLessThanOrEqual(least);
      // As much budget as it takes to end, and not enough for the next.
      const wider = (BEAMS[pass + 1] ?? 1e9) / beam;
      let budget = least;
      let work = workOf(budget);
      for (let next = budget + 1; next > budget; next = Math.ceil(done + (work - done) * (1 + wider)) - 1) {
        budget = next;
        work = workOf(budget);
      }
      begins = work + (work - done) * wider;
      done = work;
    }
    expect(workOf(1e9)).toBe(done);
  });
});
