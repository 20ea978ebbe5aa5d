import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import {
  type Choice,
  choiceValue,
  createChoice,
  fillUp,
  floorTotal,
  isFeasible,
  limitTotals,
  NOTHING,
  refreshChoice,
  worthOf,
} from '../../../agent/allocation/fill.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** A choice on a problem, its slack and floors worked out. */
function chosen(
  problem: Problem,
  modes: readonly number[],
): { c: ReturnType<typeof compileProblem>; choice: Choice } {
  const c = compileProblem(problem);
  const choice = createChoice(c);
  choice.mode.set(modes);
  refreshChoice(c, choice);
  return { c, choice };
}

/** The modes after filling up. */
function filled(
  problem: Problem,
  modes: readonly number[],
  { price = 0, passes = 4, leastSteps = null as Float64Array | null } = {},
): number[] {
  const { c, choice } = chosen(problem, modes);
  fillUp(c, price, choice, passes, leastSteps);
  const { slackWatts, floorWatts } = choice;
  const kept = { slackWatts: slackWatts.slice(), floorWatts: floorWatts.slice() };
  refreshChoice(c, choice);
  // What it carries along is what a fresh sum says.
  for (const [n, slack] of kept.slackWatts.entries()) expect(slack).toBeCloseTo(choice.slackWatts[n]!, 9);
  for (const [f, watts] of kept.floorWatts.entries()) expect(watts).toBeCloseTo(choice.floorWatts[f]!, 9);
  return [...choice.mode];
}

const tree = siteOf(
  [
    limitOf('site', null, 1000, { fixedWatts: 100 }),
    limitOf('pdu', 'site', 300, { gain: 1.5, fixedWatts: 20 }),
    limitOf('spare', 'site', 40),
  ],
  [
    deviceOf('a', 'site', [
      [10, 1],
      [50, 3],
    ]),
    deviceOf('b', 'pdu', [
      [20, 2],
      [60, 5],
      [80, 9],
    ]),
    deviceOf('c', 'pdu', [
      [0, 0],
      [40, 7],
    ]),
  ],
  [floorOf('firm', ['a', 'b'], 60)],
);

describe('a choice', () => {
  test('its totals, slack and floors', () => {
    const { c, choice } = chosen(tree, [1, 2, 1]);
    // The PDU: 20 + 80 + 40; the site: 100 + 50 + 1.5 of that.
    const totals = new Float64Array(3);
    limitTotals(c, choice.mode, totals);
    expect([...totals]).toEqual([360, 140, 0]);
    expect([...choice.slackWatts]).toEqual([640, 160, 40]);
    expect([...choice.floorWatts]).toEqual([130]);
    expect(floorTotal(c, Int32Array.of(0, 1, 1), 0)).toBe(70);
  });

  test('its value, net of energy, and the sum of absolute values', () => {
    const { c, choice } = chosen(tree, [1, 2, 1]);
    expect(choiceValue(c, choice.mode, 0)).toEqual({ value: 19, magnitude: 19 });
    // 10 cents a watt at the site, half as much again at the PDU: 5, 12 and 6 dollars.
    const { value, magnitude } = choiceValue(c, choice.mode, 0.1);
    expect(value).toBeCloseTo(3 - 5 + (9 - 12) + (7 - 6), 12);
    expect(magnitude).toBeCloseTo(2 + 3 + 1, 12);
  });

  test('its value keeps what rounding would lose', () => {
    const problem = siteOf(
      [limitOf('site', null, 10)],
      [1e16, 1, -1e16, 1, 2e16, -2e16].map((dollars, n) => deviceOf(`d${n}`, 'site', [[0, dollars]])),
    );
    const { c, choice } = chosen(problem, [0, 0, 0, 0, 0, 0]);
    expect(choiceValue(c, choice.mode, 0).value).toBe(2);
  });

  test('holds where every limit and floor does, to a millionth of a watt', () => {
    const holds = (change: { site?: number; pdu?: number; floor?: number }): boolean => {
      const { site = 360, pdu = 140, floor = 130 } = change;
      const limits = tree.limits.map((one) =>
        one.id === 'site'
          ? { ...one, capacityWatts: site }
          : one.id === 'pdu'
            ? { ...one, capacityWatts: pdu }
            : one,
      );
      const { c, choice } = chosen(
        { ...tree, limits, floors: [floorOf('firm', ['a', 'b'], floor)] },
        [1, 2, 1],
      );
      choice.slackWatts.fill(-1);
      choice.floorWatts.fill(-1);
      const holds = isFeasible(c, choice);
      const fresh = { slackWatts: choice.slackWatts.slice(), floorWatts: choice.floorWatts.slice() };
      choice.slackWatts.fill(-1);
      choice.floorWatts.fill(-1);
      // In one walk with the value: the same slack and floors, and nothing for what does not hold.
      const worth = worthOf(c, choice, 0.1);
      expect(worth).toEqual(holds ? choiceValue(c, choice.mode, 0.1) : NOTHING);
      expect(choice).toMatchObject(fresh);
      return holds;
    };
    expect(holds({})).toBe(true);
    expect([holds({ site: 359.9 }), holds({ pdu: 139.9 }), holds({ floor: 130.1 })]).toEqual([
      false,
      false,
      false,
    ]);
    expect([holds({ site: 360 - 8e-7 }), holds({ pdu: 140 - 8e-7 }), holds({ floor: 130 + 8e-7 })]).toEqual([
      true,
      true,
      true,
    ]);
    expect([holds({ site: 360 - 1e-6 }), holds({ pdu: 140 - 1e-6 }), holds({ floor: 130 + 1e-6 })]).toEqual([
      false,
      false,
      false,
    ]);
  });
});

describe('filling up', () => {
  const one = (capacityWatts: number, ...modes: (readonly [number, number])[][]): Problem =>
    siteOf(
      [limitOf('site', null, capacityWatts)],
      modes.map((list, n) => deviceOf(`d${n}`, 'site', list)),
    );

  test('takes the best mode that fits, not the one of most watts', () => {
    const modes: [number, number][] = [
      [0, 0],
      [30, 5],
      [50, 4],
      [80, 6],
      [90, 9],
    ];
    expect(filled(one(29, modes), [0])).toEqual([0]);
    expect(filled(one(30, modes), [0])).toEqual([1]);
    expect(filled(one(60, modes), [0])).toEqual([1]);
    expect(filled(one(85, modes), [0])).toEqual([3]);
    expect(filled(one(90, modes), [0])).toEqual([4]);
    expect(filled(one(90, modes), [2])).toEqual([4]);
  });

  test('moves for nothing but more value', () => {
    expect(
      filled(
        one(100, [
          [0, 5],
          [10, 5],
          [20, 4],
        ]),
        [0],
      ),
    ).toEqual([0]);
    expect(
      filled(
        one(100, [
          [0, 5],
          [10, 5.5],
          [20, 5.5],
        ]),
        [0],
      ),
    ).toEqual([1]);
  });

  test('device after device, each with what the ones before have left', () => {
    const modes: [number, number][] = [
      [0, 0],
      [40, 1],
    ];
    expect(filled(one(100, modes, modes, modes), [0, 0, 0])).toEqual([1, 1, 0]);
    expect(filled(one(120, modes, modes, modes), [0, 0, 0])).toEqual([1, 1, 1]);
    // One that needs less comes behind one that needs more than there is.
    expect(
      filled(
        one(30, modes, [
          [0, 0],
          [30, 1],
        ]),
        [0, 0],
      ),
    ).toEqual([0, 1]);
  });

  test('from a mode that is not the least, only what is added counts', () => {
    expect(
      filled(
        one(100, [
          [60, 1],
          [100, 2],
        ]),
        [0],
      ),
    ).toEqual([1]);
    expect(
      filled(
        one(99, [
          [60, 1],
          [100, 2],
        ]),
        [0],
      ),
    ).toEqual([0]);
    expect(
      filled(
        one(99, [
          [60, 1],
          [100, 2],
          [101, 9],
        ]),
        [0],
      ),
    ).toEqual([0]);
    // Above its limit already: it neither rises nor makes it worse.
    expect(
      filled(
        one(50, [
          [60, 1],
          [60, 2],
          [61, 3],
        ]),
        [1],
      ),
    ).toEqual([1]);
  });

  test('half a millionth of a watt is rounding, a whole one is not', () => {
    const modes: [number, number][] = [
      [0, 0],
      [40, 1],
    ];
    expect(filled(one(40 - 4e-7, modes), [0])).toEqual([1]);
    expect(filled(one(40 - 5e-7, modes), [0])).toEqual([0]);
  });

  test('needs room at every limit above, in watts of that limit', () => {
    const at = (site: number, pdu: number): number[] =>
      filled(
        siteOf(
          [limitOf('site', null, site), limitOf('pdu', 'site', pdu, { gain: 1.5 })],
          [
            deviceOf('d', 'pdu', [
              [0, 0],
              [20, 1],
              [40, 2],
            ]),
          ],
        ),
        [0],
      );
    expect(at(60, 40)).toEqual([2]);
    expect(at(59, 40)).toEqual([1]);
    expect(at(60, 39)).toEqual([1]);
    expect(at(29, 40)).toEqual([0]);
    expect(at(60, 19)).toEqual([0]);
  });

  test('weighs energy, with its losses', () => {
    const problem = siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 1000, { gain: 2 })],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [100, 10],
        ]),
        deviceOf('b', 'pdu', [
          [0, 0],
          [100, 10],
        ]),
      ],
    );
    expect(filled(problem, [0, 0], { price: 0.04 })).toEqual([1, 1]);
    expect(filled(problem, [0, 0], { price: 0.06 })).toEqual([1, 0]);
    expect(filled(problem, [0, 0], { price: 0.11 })).toEqual([0, 0]);
    // From a mode that costs more than it earns nothing leads down: that is the choice's own business.
    expect(filled(problem, [1, 1], { price: 0.11 })).toEqual([1, 1]);
  });

  test('leaves out limits whose least step is more than their room', () => {
    const modes: [number, number][] = [
      [0, 0],
      [40, 1],
    ];
    const problem = siteOf(
      [limitOf('site', null, 90), limitOf('pdu', 'site', 45)],
      [deviceOf('a', 'site', modes), deviceOf('b', 'pdu', modes)],
    );
    expect(filled(problem, [0, 0], { leastSteps: Float64Array.of(40, 40) })).toEqual([1, 1]);
    // What is said is believed: 45 W are more than there is.
    expect(filled(problem, [0, 0], { leastSteps: Float64Array.of(40, 45.1) })).toEqual([1, 0]);
    expect(filled(problem, [0, 0], { leastSteps: Float64Array.of(90.1, 45) })).toEqual([0, 1]);
  });

  /** `a` on the site wants 50 W more; `b` on the PDU earns more with 60 W less; the site is full. */
  const swap = (floorWatts: number): Problem =>
    siteOf(
      [limitOf('site', null, 100), limitOf('pdu', 'site', 100)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [50, 9],
        ]),
        deviceOf('b', 'pdu', [
          [20, 4],
          [40, 6],
          [100, 3],
        ]),
      ],
      [floorOf('firm', ['b'], floorWatts)],
    );

  test('a device of a floor may take less, as far as its floor allows', () => {
    expect(filled(swap(100), [0, 2])).toEqual([0, 2]);
    expect(filled(swap(40.1), [0, 2])).toEqual([0, 2]);
    expect(filled(swap(40), [0, 2])).toEqual([1, 1]);
    expect(filled(swap(10), [0, 2])).toEqual([1, 1]);
    // And more.
    expect(filled(swap(20), [0, 0])).toEqual([1, 1]);
  });

  test('what one pass makes room for the next one takes', () => {
    expect(filled(swap(40), [0, 2], { passes: 0 })).toEqual([0, 2]);
    expect(filled(swap(40), [0, 2], { passes: 1 })).toEqual([0, 1]);
    expect(filled(swap(40), [0, 2], { passes: 2 })).toEqual([1, 1]);
  });

  test('a floor that is not met yet: only upwards', () => {
    const problem = siteOf(
      [limitOf('site', null, 100)],
      [
        deviceOf('a', 'site', [
          [0, 9],
          [30, 1],
          [60, 2],
          [80, 1.5],
        ]),
      ],
      [floorOf('firm', ['a'], 50)],
    );
    expect(filled(problem, [1])).toEqual([2]);
    expect(filled(problem, [2])).toEqual([2]);
    expect(filled(problem, [3])).toEqual([2]);
  });

  test('several devices of one floor share what it is exceeded by', () => {
    const modes: [number, number][] = [
      [0, 5],
      [50, 4],
    ];
    const problem = (floorWatts: number): Problem =>
      siteOf(
        [limitOf('site', null, 500)],
        [deviceOf('a', 'site', modes), deviceOf('b', 'site', modes), deviceOf('c', 'site', modes)],
        [floorOf('firm', ['a', 'b', 'c'], floorWatts)],
      );
    expect(filled(problem(100), [1, 1, 1])).toEqual([0, 1, 1]);
    expect(filled(problem(50), [1, 1, 1])).toEqual([0, 0, 1]);
    expect(filled(problem(150), [1, 1, 1])).toEqual([1, 1, 1]);
  });

  test('weighs what a device earns now the same way', () => {
    const problem = one(500, [
      [100, 1],
      [110, 1.2],
    ]);
    expect(filled(problem, [0], { price: 0.01 })).toEqual([1]);
    expect(filled(problem, [0], { price: 0.03 })).toEqual([0]);
  });

  test('says the least step that a device of each limit would need, while nothing moved', () => {
    const leastStep = (problem: Problem, modes: readonly number[]): number => {
      const { c, choice } = chosen(problem, modes);
      fillUp(c, 0, choice, 4);
      return choice.leastStepWatts[0]!;
    };
    const step = (from: number, to: number): [number, number][] => [
      [from, 0],
      [to, 1],
    ];
    expect(leastStep(one(99, step(60, 100)), [0])).toBe(40);
    expect(leastStep(one(170, step(60, 100), step(70, 105), step(20, 80)), [0, 0, 0])).toBe(35);
    expect(
      leastStep(
        one(40, [
          [0, 0],
          [30, -1],
          [50, 4],
        ]),
        [0],
      ),
    ).toBe(50);
    expect(leastStep(one(100, [[60, 1]]), [0])).toBe(Number.POSITIVE_INFINITY);
    expect(leastStep({ ...one(90, step(60, 100)), floors: [floorOf('f', ['d0'], 10)] }, [0])).toBe(
      Number.NEGATIVE_INFINITY,
    );
  });

  test('knows nothing of what was filled up before', () => {
    const problem = one(39, [
      [0, 0],
      [40, 1],
      [45, 2],
    ]);
    const { c, choice } = chosen(problem, [0]);
    fillUp(c, 0, choice, 4);
    expect(choice.leastStepWatts[0]).toBe(40);
    c.limitCapacity[0] = 47;
    choice.mode[0] = 1;
    refreshChoice(c, choice);
    fillUp(c, 0, choice, 4);
    expect(choice.mode[0]).toBe(2);
  });
});
