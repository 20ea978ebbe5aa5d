import { describe, expect, test } from 'vitest';
import { type SolveOptions, solveProblem } from '../../../../agent/allocation/solve.ts';
import { step } from '../../../../agent/control/step.ts';
import type { StepContext } from '../../../../agent/control/step-context.ts';
import { controlSite } from '../../../support/control-site.ts';

/** What each search of one cycle was asked with, and what the cycle decided. */
function cycleWith(change: (context: StepContext) => StepContext) {
  const site = controlSite(14, 3, false);
  site.limitWatts = Math.round(site.limitWatts * 0.7);
  for (let cycle = 0; cycle < 12; cycle += 1) site.cycle();
  const { before, observation, orders, context } = site.cycle();
  const asked: SolveOptions[] = [];
  const result = step(change(context), before, observation, orders, (problem, options = {}) => {
    asked.push(options);
    return solveProblem(problem, options);
  });
  return { asked, result };
}

describe('the search of a cycle', () => {
  test('takes small breakers that have a meter as wholes, mends floors and repairs, as the rules say', () => {
    const { asked } = cycleWith((context) => context);
    const wholeBreakers = new Set(['grid', 'feeder-a']);
    expect(asked).toMatchObject([{ workUnits: 60_000, mendFloors: true, repair: true, boundPerLimit: true }]);
    expect(asked[0]!.wholeBreakers).toEqual(wholeBreakers);
  });

  test('by the rules of earlier versions it does not, and decides as they did', () => {
    const { asked, result } = cycleWith((context) => {
      const { edition: _, ...rules } = context.rules;
      return { ...context, rules };
    });
    expect(asked).toMatchObject([
      { workUnits: 60_000, wholeBreakers: false, mendFloors: false, repair: false, boundPerLimit: false },
    ]);
    const again = solveProblem(result.search.problem, asked[0]);
    expect(result.decision.upperBoundDollarsPerHour).toBe(again.upperBoundDollarsPerHour);
  });
});
