import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { createChoice } from '../../../agent/allocation/fill.ts';
import { leastChoice, shortfalls } from '../../../agent/allocation/infeasible.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

function least(problem: Problem, price = 0): { modes: number[]; slack: number[]; short: unknown } {
  const c = compileProblem(problem);
  const choice = createChoice(c);
  choice.mode.fill(1);
  leastChoice(c, price, choice);
  const slack = [...choice.slackWatts];
  choice.slackWatts.fill(0);
  return { modes: [...choice.mode], slack, short: shortfalls(c, choice) };
}

const site = limitOf('site', null, 100);

describe('the least that floors allow', () => {
  test('everything else at its least', () => {
    const problem = siteOf(
      [site],
      [
        deviceOf('a', 'site', [
          [70, 9],
          [90, 10],
        ]),
        deviceOf('b', 'site', [
          [50, 1],
          [60, 2],
        ]),
      ],
    );
    expect(least(problem)).toEqual({ modes: [0, 0], slack: [-20], short: [{ limit: 'site', watts: 20 }] });
  });

  test('a floor by the watts that lose least, and no more than it needs', () => {
    // 50 W: b loses 1 cent a watt, a 3 cents.
    const problem = (watts: number): Problem =>
      siteOf(
        [limitOf('site', null, 1000)],
        [
          deviceOf('a', 'site', [
            [0, 0],
            [50, -1.5],
            [100, -3],
          ]),
          deviceOf('b', 'site', [
            [0, 0],
            [60, -0.6],
          ]),
        ],
        [floorOf('firm', ['a', 'b'], watts)],
      );
    expect(least(problem(0)).modes).toEqual([0, 0]);
    expect(least(problem(50)).modes).toEqual([0, 1]);
    expect(least(problem(60)).modes).toEqual([0, 1]);
    expect(least(problem(60 + 8e-7)).modes).toEqual([0, 1]);
    expect(least(problem(61)).modes).toEqual([1, 1]);
    expect(least(problem(110)).modes).toEqual([1, 1]);
    expect(least(problem(111)).modes).toEqual([2, 1]);
    expect(least(problem(160))).toEqual({ modes: [2, 1], slack: [840], short: [] });
    expect(least(problem(170))).toEqual({
      modes: [2, 1],
      slack: [840],
      short: [{ floor: 'firm', watts: 10 }],
    });
  });

  test('watts beyond the floor do not count for a move', () => {
    // 100 W for 1 $ are a cent each, but of 10 W that are needed it is ten; 10 W for 0.5 $ are five.
    const problem = siteOf(
      [limitOf('site', null, 1000)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [10, -0.5],
          [100, -1],
        ]),
      ],
      [floorOf('firm', ['a'], 10)],
    );
    expect(least(problem).modes).toEqual([1]);
  });

  test('nor does what one device takes beyond it make another dearer', () => {
    const down = (id: string, least: number, most: number, dollars: number) =>
      deviceOf(id, 'site', [
        [least, 0],
        [most, -dollars],
      ]);
    const limits = [limitOf('site', null, 1000)];
    // 10 W: of a for 5 cents each, of b's hundred for 10 each.
    const small = siteOf(
      limits,
      [down('a', 0, 10, 0.5), down('b', 0, 100, 1)],
      [floorOf('firm', ['a', 'b'], 10)],
    );
    expect(least(small).modes).toEqual([1, 0]);
    // 100 W beyond the least: b at 1.5 cents each; a and c have 50 at 2 cents.
    const devices = [down('a', 50, 100, 1), down('b', 0, 100, 1.5), down('c', 0, 50, 1)];
    expect(least(siteOf(limits, devices, [floorOf('firm', ['a', 'b', 'c'], 150)])).modes).toEqual([0, 1, 0]);
  });

  test('what turned out not to be needed goes back', () => {
    // a is the cheaper one for 90 W, but 40 W are missing then, and b has only 100: a is not needed at all.
    const problem = siteOf(
      [limitOf('site', null, 1000)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [20, 0],
          [60, 0.6],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [100, -1],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 100)],
    );
    expect(least(problem).modes).toEqual([0, 1]);
    // One step back is enough where the rest is needed.
    expect(least({ ...problem, floors: [floorOf('firm', ['a', 'b'], 110)] }).modes).toEqual([1, 1]);
    expect(least({ ...problem, floors: [floorOf('firm', ['a', 'b'], 121)] }).modes).toEqual([2, 1]);
  });

  test('weighs energy with its losses, steps from where a device stands, modes of equal watts not at all', () => {
    const problem = siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 1000, { gain: 2 })],
      [
        deviceOf('a', 'pdu', [
          [10, 0],
          [10, -5],
          [110, 6],
        ]),
        deviceOf('b', 'site', [
          [20, 1],
          [120, 6],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 130)],
    );
    expect(least(problem).modes).toEqual([2, 0]);
    // At 2 cents a watt a pays 4 a watt.
    expect(least(problem, 0.02).modes).toEqual([0, 1]);
  });

  test('a mode that is the better start is not a step', () => {
    // From 0 W: 50 W earn 1 $. From 50 W: 50 more earn 4 $.
    const problem = siteOf(
      [limitOf('site', null, 1000)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [50, 1],
          [100, 5],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [50, 2.4],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 100)],
    );
    expect(least(problem).modes).toEqual([2, 0]);
  });
});

describe('what cannot be met', () => {
  test('limits, then floors, by id, with the watts; a millionth of a watt is rounding', () => {
    const problem = siteOf(
      [
        limitOf('site', null, 100),
        limitOf('a', 'site', 50 - 1e-6, { gain: 2 }),
        limitOf('b', 'site', 20 - 8e-7),
      ],
      [deviceOf('d', 'a', [[50, 0]]), deviceOf('e', 'b', [[20, 0]])],
      [floorOf('z', ['d'], 53), floorOf('y', ['e'], 20 + 8e-7)],
    );
    expect(least(problem).short).toEqual([
      { limit: 'site', watts: 20 },
      { limit: 'a', watts: expect.closeTo(1e-6, 12) },
      { floor: 'z', watts: 3 },
    ]);
  });
});
