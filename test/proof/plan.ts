import { solveProblem } from '../../agent/allocation/solve.ts';
import { FAMILIES, randomSite, siteSize } from '../support/allocation-problems.ts';
import { judge } from '../support/brute-force.ts';
import { loadOracle } from '../support/highs-oracle.ts';

/**
 * All 300 trees against HiGHS's relaxed and whole-mode optimum, with the default work budget. Minutes, hence not
 * part of `npm test`, which asks for the whole-mode optimum only where its own bound leaves a doubt. Where HiGHS
 * runs out of time its best choice so far is what we are compared with. Returns the number of broken promises.
 */
export async function provePlan(seeds = 60, secondsEach = 10): Promise<number> {
  const oracle = await loadOracle();
  let broken = 0;
  for (const family of FAMILIES) {
    const gaps: number[] = [];
    const boundErrors: number[] = [];
    const times: number[] = [];
    const ratios: number[] = [];
    let proved = 0;
    let cutShort = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const problem = randomSite({ family, deviceCount: siteSize(seed), seed });
      const start = performance.now();
      const answer = solveProblem(problem);
      const middle = performance.now();
      const relaxed = oracle(problem, { relaxed: true });
      if (relaxed.status === 'Infeasible') {
        if (answer.status !== 'infeasible') broken += 1;
        continue;
      }
      const wholeStart = performance.now();
      const whole = oracle(problem, { relaxed: false, relativeGap: 1e-5, timeLimitSeconds: secondsEach });
      const end = performance.now();
      times.push(middle - start);
      ratios.push((end - wholeStart) / (middle - start));
      if (answer.status === 'optimal') proved += 1;
      if (whole.status !== 'Optimal') cutShort += 1;
      const bound = answer.upperBoundDollarsPerHour ?? Number.NaN;
      const boundError = Math.abs(bound - relaxed.dollarsPerHour) / Math.abs(relaxed.dollarsPerHour);
      const gap = (whole.dollarsPerHour - answer.dollarsPerHour) / Math.abs(whole.dollarsPerHour);
      boundErrors.push(boundError);
      if (Number.isFinite(gap)) gaps.push(gap);
      const holds =
        judge(problem, answer.modes).violations.length === 0 &&
        boundError < 1e-9 &&
        !(gap > 0.005) &&
        !(whole.dollarsPerHour > bound * (1 + 1e-9)) &&
        !(answer.status === 'optimal' && gap > 1e-7);
      if (!holds) {
        broken += 1;
        console.log(`${family} seed ${seed}: ${answer.status}, gap ${gap}, bound error ${boundError}`);
      }
    }
    console.log(
      `${family} (seeds 1 to ${seeds}): true gap median ${percent(median(gaps))}, worst ${percent(Math.max(...gaps))}; ` +
        `bound error at most ${Math.max(...boundErrors).toExponential(1)}; proved optimal ${proved} of ${times.length}; ` +
        `median ${median(times).toFixed(0)} ms, HiGHS ${median(ratios).toFixed(1)} times as long ` +
        `(out of time on ${cutShort})`,
    );
  }
  return broken;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(5)} %`;
}
