import { describe, expect, test } from 'vitest';
import { compileDevice, compileProblem } from '../../../agent/allocation/compile.ts';
import { createLimitLists, listAll, listChanged, sortByKey } from '../../../agent/allocation/limit-lists.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { deviceOf, limitOf, siteOf } from '../../support/small-site.ts';

const SEED = 23;

describe('segments sorted with their keys', () => {
  test.each([0, 1, 2, 3, 8, 31, 32, 33, 34, 47, 64, 65, 200])(
    `%i of them by falling key, equal keys by index (seed ${SEED})`,
    (count) => {
      const random = seededRandom(SEED + count);
      for (const distinct of [1, 3, 1e9]) {
        const entries = Array.from({ length: count }, (_, n) => ({
          segment: (n * 7919) % 10_007,
          key: Math.floor(random() * distinct),
        }));
        const segment = Int32Array.from([...entries.map((one) => one.segment), -5]);
        const key = Float64Array.from([...entries.map((one) => one.key), 1e12]);
        sortByKey(segment, key, count);
        entries.sort((a, b) => b.key - a.key || a.segment - b.segment);
        expect([...segment]).toEqual([...entries.map((one) => one.segment), -5]);
        expect([...key]).toEqual([...entries.map((one) => one.key), 1e12]);
      }
    },
  );

  test('rising and falling runs, with every key twice', () => {
    for (const count of [20, 60]) {
      for (const keyOf of [(n: number) => n >> 1, (n: number) => -(n >> 1)]) {
        const segment = Int32Array.from({ length: count }, (_, n) => count - n);
        const key = Float64Array.from({ length: count }, (_, n) => keyOf(n));
        const entries = [...segment].map((at, n) => ({ at, key: key[n]! }));
        sortByKey(segment, key, count);
        entries.sort((a, b) => b.key - a.key || a.at - b.at);
        expect([...segment]).toEqual(entries.map((one) => one.at));
        expect([...key]).toEqual(entries.map((one) => one.key));
      }
    }
  });
});

/**
 * `site` has device `a`, `pdu` below it, with a loss of a quarter, `b` and `c`. Segments: `a` 100 W at 1 and 100 W at
 * 0.5 $/h for 100 W; `b` 200 W at 3; `c` 50 W at 1 and 50 W at 0.2 $/h: all per watt of their own.
 */
const site = siteOf(
  [limitOf('site', null, 1000), limitOf('pdu', 'site', 1000, { gain: 1.25 })],
  [
    deviceOf('a', 'site', [
      [10, 0],
      [110, 100],
      [210, 150],
    ]),
    deviceOf('b', 'pdu', [
      [5, 0],
      [205, 600],
    ]),
    deviceOf('c', 'pdu', [
      [0, 0],
      [50, 50],
      [100, 60],
    ]),
  ],
);

describe('the lists of the limits', () => {
  test("hold each limit's own segments by falling key, with running sums in root watts", () => {
    const c = compileProblem(site);
    const lists = createLimitLists(c);
    lists.changed.fill(0);
    listAll(c, lists);
    expect(c.stride).toBe(4);
    expect([...lists.count]).toEqual([2, 3]);
    const [ofSite, ofPdu] = [0, c.limitStart[1]! * 4];
    expect([...lists.segment.subarray(ofSite, ofSite + 2)]).toEqual([1, 2]);
    expect([...lists.key.subarray(ofSite, ofSite + 2)]).toEqual([1, 0.5]);
    expect([...lists.takenRootWatts.subarray(ofSite, ofSite + 2)]).toEqual([100, 200]);
    expect([...lists.segment.subarray(ofPdu, ofPdu + 3)]).toEqual([5, 9, 10]);
    expect([...lists.key.subarray(ofPdu, ofPdu + 3)]).toEqual([3 / 1.25, 1 / 1.25, 0.2 / 1.25]);
    expect([...lists.takenRootWatts.subarray(ofPdu, ofPdu + 3)]).toEqual([250, 312.5, 375]);
    expect([...lists.leastWatts]).toEqual([10, 5]);
    expect([...lists.leastStepWatts]).toEqual([100, 50]);
    expect([...lists.repaired]).toEqual([1, 1]);
    expect([...lists.changed]).toEqual([0, 0, 0]);
  });

  test('a change repairs the list of its limit alone', () => {
    const c = compileProblem(site);
    const lists = createLimitLists(c);
    listAll(c, lists);
    lists.repaired.fill(0);
    compileDevice(
      c,
      2,
      deviceOf('c', 'pdu', [
        [20, 0],
        [60, 400],
      ]),
    );
    listChanged(c, lists, new Set([2]));
    expect([...lists.repaired]).toEqual([0, 1]);
    expect([...lists.count]).toEqual([2, 2]);
    const ofPdu = c.limitStart[1]! * 4;
    expect([...lists.segment.subarray(ofPdu, ofPdu + 2)]).toEqual([9, 5]);
    expect([...lists.takenRootWatts.subarray(ofPdu, ofPdu + 2)]).toEqual([50, 300]);
    expect([...lists.leastWatts]).toEqual([10, 25]);
    expect([...lists.leastStepWatts]).toEqual([100, 40]);
  });

  test('no device, or one that cannot take more: no least step', () => {
    const c = compileProblem(
      siteOf([limitOf('site', null, 100), limitOf('pdu', 'site', 100)], [deviceOf('a', 'pdu', [[10, 1]])]),
    );
    const lists = createLimitLists(c);
    listAll(c, lists);
    expect([...lists.count]).toEqual([0, 0]);
    expect([...lists.leastWatts]).toEqual([0, 10]);
    expect([...lists.leastStepWatts]).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  test(`repaired again and again they are those made afresh (seed ${SEED})`, () => {
    const random = seededRandom(SEED);
    const whole = (most: number): number => Math.floor(random() * (most + 1));
    const modes = (): [number, number][] => {
      const list: [number, number][] = [[whole(3), 0]];
      for (let m = 0; m < whole(3); m += 1) list.push([list[m]![0] + whole(2), list[m]![1] + whole(3)]);
      return list;
    };
    const devices = Array.from({ length: 40 }, (_, n) =>
      deviceOf(`d${String(n).padStart(2, '0')}`, `l${n % 3}`, modes()),
    );
    const limits = [limitOf('l0', null, 100), limitOf('l1', 'l0', 100), limitOf('l2', 'l0', 100)];
    const c = compileProblem(siteOf(limits, devices), 4);
    const warm = createLimitLists(c);
    listAll(c, warm);
    for (let step = 0; step < 60; step += 1) {
      const changed = new Set(Array.from({ length: whole(5) }, () => whole(39)));
      for (const i of changed)
        compileDevice(c, i, { ...devices[i]!, ...deviceOf('', '', modes()), id: devices[i]!.id });
      listChanged(c, warm, changed);
      const cold = createLimitLists(c);
      listAll(c, cold);
      expect(warm.count).toEqual(cold.count);
      expect(warm.leastWatts).toEqual(cold.leastWatts);
      expect(warm.leastStepWatts).toEqual(cold.leastStepWatts);
      expect([...warm.changed].every((one) => one === 0)).toBe(true);
      for (let n = 0; n < 3; n += 1) {
        const start = c.limitStart[n]! << c.strideBits;
        const end = start + warm.count[n]!;
        for (const list of ['segment', 'key', 'takenRootWatts'] as const)
          expect(warm[list].slice(start, end), `${list} of limit ${n}`).toEqual(cold[list].slice(start, end));
      }
    }
  });
});
