import { describe, expect, test } from 'vitest';
import { createChoice, refreshChoice, roundDown } from '../../../agent/allocation/fill.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { relax } from '../../support/relaxed.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** Whole modes from the relaxed answer, by device. */
function rounded(problem: Problem, price = 0): Record<string, string> {
  const { c, w, bound } = relax(problem, price);
  expect(bound).not.toBeNull();
  const choice = createChoice(c);
  roundDown(c, w, price, choice);
  return Object.fromEntries(c.deviceIds.map((id, i) => [id, c.modeId[i * c.stride + choice.mode[i]!]!]));
}

describe('whole modes from the relaxed answer', () => {
  test('the floor comes first, though others earn more', () => {
    const problem = siteOf(
      [limitOf('site', null, 100)],
      [
        deviceOf('ai', 'site', [
          [0, 0],
          [60, 1],
        ]),
        deviceOf('miner', 'site', [
          [0, 0],
          [50, 9],
        ]),
      ],
      [floorOf('firm', ['ai'], 50)],
    );
    expect(rounded(problem)).toEqual({ ai: 'm1', miner: 'm0' });
  });

  test('of a floor, first what is worth most after the prices of its path', () => {
    // The PDU is full of better things: 60 W there displace 6 $; on the site they cost nothing.
    const problem = siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 60)],
      [
        deviceOf('a', 'pdu', [
          [0, 0],
          [60, 3],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [60, 1],
        ]),
        deviceOf('miner', 'pdu', [
          [0, 0],
          [50, 5],
          [90, 8],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 60)],
    );
    expect(rounded(problem)).toEqual({ a: 'm0', b: 'm1', miner: 'm1' });
  });

  test('segment by segment, as far as the floor needs and no further at this stage', () => {
    const problem = siteOf(
      [limitOf('site', null, 100)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [30, 3],
          [60, 5],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [40, 1],
        ]),
        deviceOf('miner', 'site', [
          [0, 0],
          [70, 70],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 30)],
    );
    expect(rounded(problem)).toEqual({ a: 'm1', b: 'm0', miner: 'm1' });
  });

  test('where the corners do not fit, any mode that brings the floor nearer', () => {
    // Halfway between 0 and 100 W there is a mode beneath the hull.
    const problem = siteOf(
      [limitOf('site', null, 70)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [40, 0.1],
          [60, 0.2],
          [100, 5],
        ]),
      ],
      [floorOf('firm', ['a'], 50)],
    );
    expect(rounded(problem)).toEqual({ a: 'm2' });
    const two = siteOf(
      [limitOf('site', null, 110)],
      ['a', 'b', 'c'].map((id) =>
        deviceOf(id, 'site', [
          [0, 0],
          [40, 0.1],
          [60, 0.2],
          [100, 5],
        ]),
      ),
      [floorOf('firm', ['a', 'b', 'c'], 105)],
    );
    // a takes 100 W; nothing more fits, and 100 W are not enough: the caller sees.
    expect(rounded(two)).toEqual({ a: 'm3', b: 'm0', c: 'm0' });
  });

  test('an equal mode that earns less is no way nearer', () => {
    const problem = siteOf(
      [limitOf('site', null, 85)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [50, 2],
          [50, 1],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [40, 1],
        ]),
      ],
      [floorOf('firm', ['a', 'b'], 80)],
    );
    expect(rounded(problem)).toEqual({ a: 'm1', b: 'm0' });
  });

  test('a device that does not fit is passed over, with all it could take after', () => {
    const problem = siteOf(
      [limitOf('site', null, 100), limitOf('pdu', 'site', 30)],
      [
        deviceOf('a', 'pdu', [
          [0, 0],
          [40, 8],
          [50, 9],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [60, 3],
        ]),
        deviceOf('f', 'site', [
          [0, 0],
          [10, 0],
        ]),
      ],
      [floorOf('firm', ['f'], 10)],
    );
    expect(rounded(problem)).toEqual({ a: 'm0', b: 'm1', f: 'm1' });
  });

  test('what is not worth its energy is not taken, but for a floor', () => {
    const problem = siteOf(
      [limitOf('site', null, 500)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [100, 5],
        ]),
        deviceOf('f', 'site', [
          [0, 0],
          [100, 4],
        ]),
      ],
      [floorOf('firm', ['f'], 60)],
    );
    expect(rounded(problem, 0.04)).toEqual({ a: 'm1', f: 'm1' });
    expect(rounded(problem, 0.06)).toEqual({ a: 'm0', f: 'm1' });
  });

  test('fits at every limit above, in watts of that limit, to half a millionth', () => {
    const at = (siteWatts: number): Record<string, string> =>
      rounded(
        siteOf(
          [limitOf('site', null, siteWatts), limitOf('pdu', 'site', 500, { gain: 2 })],
          [
            deviceOf('a', 'pdu', [
              [0, 0],
              [60, 3],
            ]),
            deviceOf('f', 'site', [
              [0, 0],
              [10, 9],
            ]),
          ],
          [floorOf('firm', ['f'], 10)],
        ),
      );
    expect(at(130)).toEqual({ a: 'm1', f: 'm1' });
    expect(at(130 - 4e-7)).toEqual({ a: 'm1', f: 'm1' });
    expect(at(130 - 6e-7)).toEqual({ a: 'm0', f: 'm1' });
    expect(at(129)).toEqual({ a: 'm0', f: 'm1' });
    expect(at(100)).toEqual({ a: 'm0', f: 'm1' });
  });

  test('what is left at each limit is what a fresh sum says, with floors and without', () => {
    for (const floors of [[], [floorOf('firm', ['b'], 20)]]) {
      const problem = siteOf(
        [
          limitOf('site', null, 400, { fixedWatts: 7 }),
          limitOf('hall', 'site', 300, { gain: 1.1, fixedWatts: 3 }),
          limitOf('pdu', 'hall', 90, { gain: 1.2 }),
        ],
        [
          deviceOf('a', 'pdu', [
            [5, 0],
            [60, 3],
          ]),
          deviceOf('b', 'pdu', [
            [2, 0],
            [25, 2],
          ]),
          deviceOf('c', 'hall', [
            [1, 0],
            [100, 2],
          ]),
          deviceOf('d', 'site', [
            [1, 0],
            [50, 1],
          ]),
        ],
        floors,
      );
      const { c, w } = relax(problem);
      const choice = createChoice(c);
      choice.slackWatts.fill(-1);
      roundDown(c, w, 0, choice);
      const slack = [...choice.slackWatts];
      refreshChoice(c, choice);
      for (const [n, one] of slack.entries()) expect(one).toBeCloseTo(choice.slackWatts[n]!, 9);
      expect([...choice.mode]).toEqual([1, 1, 1, 1]);
    }
  });
});
