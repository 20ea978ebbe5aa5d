import { describe, expect, test } from 'vitest';
import { compileDevice, compileProblem } from '../../../agent/allocation/compile.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import { listChanged } from '../../../agent/allocation/limit-lists.ts';
import { computeBaseSlack, createWorkspace } from '../../../agent/allocation/sweep.ts';
import { lostBy, type WholeModes } from '../../../agent/allocation/whole-modes.ts';
import { relax } from '../../support/relaxed.ts';
import { deviceOf, limitOf, siteOf } from '../../support/small-site.ts';

/** The PDU has room for `b` and half of `c`, the site for both of `a`'s segments. */
const site = siteOf(
  [limitOf('site', null, 1000, { fixedWatts: 7 }), limitOf('pdu', 'site', 260, { gain: 1.25 })],
  [
    deviceOf('a', 'site', [
      [10, -4],
      [110, 100],
      [210, 150],
    ]),
    deviceOf('b', 'pdu', [
      [5, 0],
      [205, 600],
    ]),
    deviceOf('c', 'pdu', [
      [20, -3],
      [120, 60],
    ]),
  ],
);

const sumsOf = ({ taken, watts, dollars, absoluteDollars, raisedWatts, mostRaisedWatts }: WholeModes) =>
  [taken, watts, dollars, absoluteDollars, raisedWatts, mostRaisedWatts].map((one) => [...one]);

describe('the whole modes of the relaxed answer', () => {
  test("add up by limit, each limit's own devices alone", () => {
    const { whole } = relax(site).w.unswept!;
    expect([...whole.mode]).toEqual([2, 1, 0]);
    expect(sumsOf(whole)).toEqual([
      [2, 1],
      [210, 225],
      [150, 597],
      [150, 603],
      [200, 200],
      [200, 300],
    ]);
  });

  test('a limit is gone through where its list or its cut has changed, and nowhere else', () => {
    const c = compileProblem(site);
    const w = createWorkspace(c);
    const { lists, whole } = w.unswept!;
    const solve = (price: number): void => {
      computeBaseSlack(c, w);
      solveRelaxed(c, w, price);
    };
    sortAllSegments(c, w);
    solve(0);
    const kept = sumsOf(whole);
    // What is kept is not looked at again: a wrong sum stays.
    whole.watts.fill(-1);
    solve(0);
    expect([...whole.watts]).toEqual([-1, -1]);
    // At 0.7 $/h for a watt the second segment of `a` is not worth its energy.
    solve(0.7);
    expect([...whole.watts]).toEqual([110, -1]);
    expect([...whole.mode]).toEqual([1, 1, 0]);
    solve(0);
    expect([...whole.watts]).toEqual([210, -1]);
    // The same modes by another list.
    compileDevice(
      c,
      2,
      deviceOf('c', 'pdu', [
        [20, -3],
        [130, 60],
      ]),
    );
    listChanged(c, lists, new Set([2]));
    solve(0);
    expect(sumsOf(whole)).toEqual([...kept.slice(0, 5), [200, 310]]);
  });

  test('what rounding takes from their sums comes back', () => {
    const tenth = Array.from({ length: 1000 }, (_, n) =>
      deviceOf(`d${String(n).padStart(4, '0')}`, 'site', [
        [0.1, 0.1],
        [0.4, 0.7],
      ]),
    );
    const great = deviceOf('great', 'site', [
      [0, 0],
      [2 ** 53, 2 ** 54],
    ]);
    const { whole } = relax(siteOf([limitOf('site', null, 2 ** 60)], [...tenth, great])).w.unswept!;
    // The exact sums of these doubles, rounded once: what is added one by one after the great one would be lost.
    const exact = (part: number): number => Number(BigInt(Math.round(1000 * part)));
    expect(whole.watts[0]! + whole.lostWatts[0]!).toBe(2 ** 53 + exact(0.4));
    expect(whole.raisedWatts[0]).toBe(2 ** 53 + exact(0.3));
    expect(whole.dollars[0]).toBe(2 ** 54 + exact(0.7));
    const first = relax(siteOf([limitOf('site', null, 2 ** 60)], [{ ...great, id: 'a' }, ...tenth])).w
      .unswept!;
    expect(first.whole.watts[0]).toBe(2 ** 53);
    expect(first.whole.watts[0]! + first.whole.lostWatts[0]!).toBe(2 ** 53 + exact(0.4));
    expect(first.whole.raisedWatts[0]).toBe(2 ** 53 + exact(0.3));
    expect(first.whole.dollars[0]).toBe(2 ** 54 + exact(0.7));
  });

  test.each([
    [2 ** 53, 1, 1],
    [1, 2 ** 53, 1],
    [-(2 ** 53), -1, -1],
    [2 ** 60, -3, -3],
    [1, 2, 0],
  ])('of %d and %d rounding takes %d', (sum, term, lost) => {
    expect(lostBy(sum, term)).toBe(lost);
  });
});
