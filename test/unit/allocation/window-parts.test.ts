import { describe, expect, test } from 'vitest';
import { type Compiled, compileProblem } from '../../../agent/allocation/compile.ts';
import { ACCEPTED_WATTS } from '../../../agent/allocation/problem.ts';
import { createWorkspace } from '../../../agent/allocation/sweep.ts';
import {
  addCandidate,
  keepCandidates,
  reserveCandidates,
  settleFloor,
} from '../../../agent/allocation/window-keep.ts';
import {
  computeLosses,
  computeRooms,
  createWindowMemory,
  type Search,
} from '../../../agent/allocation/window-memory.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

const three = siteOf(
  [
    limitOf('site', null, 100, { fixedWatts: 10 }),
    limitOf('pdu', 'site', 40, { gain: 2, fixedWatts: 5 }),
    limitOf('leaf', 'pdu', 50),
  ],
  [
    deviceOf('a', 'site', [
      [20, 1],
      [30, 5],
    ]),
    deviceOf('b', 'pdu', [
      [4, 0],
      [14, 3],
      [24, 4],
    ]),
    deviceOf('c', 'leaf', [
      [1, 0],
      [11, 1],
    ]),
  ],
  [floorOf('across', ['a', 'c'], 25), floorOf('own', ['b'], 6)],
);

describe('what a search remembers', () => {
  test('devices and limits below each limit, and where each floor is settled', () => {
    const c = compileProblem(three);
    const m = createWindowMemory(c);
    expect(c.limitIds).toEqual(['site', 'pdu', 'leaf']);
    expect(m.devicesOf.map((list) => [...list])).toEqual([[0], [1], [2]]);
    expect(m.childrenOf.map((list) => [...list])).toEqual([[1], [2], []]);
    // The floor across the tree has the first sum; the other one needs none.
    expect([...m.sumOf]).toEqual([0, -1]);
    expect(m.states.sumCount).toBe(1);
    const turned = createWindowMemory(
      compileProblem({ ...three, floors: [floorOf('a', ['b'], 1), floorOf('b', ['a', 'c'], 1)] }),
    );
    expect([...turned.sumOf]).toEqual([-1, 0]);
    const both = siteOf(
      three.limits,
      [...three.devices, deviceOf('d', 'pdu', [[0, 0]])],
      [floorOf('a', ['a', 'b'], 1), floorOf('b', ['c', 'd'], 1)],
    );
    expect([...createWindowMemory(compileProblem(both)).sumOf]).toEqual([0, 1]);
  });

  test('the room that each limit has if all others are at their least', () => {
    const c = compileProblem(three);
    const m = createWindowMemory(c);
    computeRooms(c, m);
    // leaf 1; PDU 5 + 4 + 1; site 10 + 20 + 2 * 10.
    expect([...m.leastWatts]).toEqual([50, 10, 1]);
    // Of 50 W that are left at the site the PDU can have 25 of its own.
    const rooms = [...m.roomWatts];
    expect(rooms[0]).toBeCloseTo(100, 5);
    expect(rooms[1]).toBeCloseTo(35, 5);
    expect(rooms[2]).toBeCloseTo(26, 5);
    // Never less than what a limit accepts.
    expect(rooms[0]).toBe(100 + ACCEPTED_WATTS);
    expect(rooms[1]).toBeGreaterThan(35 + ACCEPTED_WATTS);
    c.limitCapacity.set([100, 30, 50]);
    computeRooms(c, m);
    expect(m.roomWatts[1]).toBe(30 + ACCEPTED_WATTS);
    expect(m.roomWatts[2]).toBeCloseTo(21, 5);
  });

  test('what each mode loses at the prices of its path and floor', () => {
    const c = compileProblem(three);
    const w = createWorkspace(c);
    const m = createWindowMemory(c);
    w.pathPrice.set([0.1, 0.15, 0.2]);
    w.floorPrice.set([0.05, 0.02]);
    computeLosses(c, w, m, 0.01);
    // a: 0.05 - 0.11 a watt: 1 - 1.2 and 5 - 1.8.
    expect([m.loss[0], m.loss[1]].map((one) => one!.toFixed(12))).toEqual([
      '3.400000000000',
      '0.000000000000',
    ]);
    // b: 0.02 - 0.16 * 2: -1.2, 3 - 4.2, 4 - 7.2: the first of equals.
    const start = c.stride;
    expect(m.loss[start]).toBeCloseTo(0, 12);
    expect(m.loss[start + 1]).toBeCloseTo(0, 12);
    expect(m.loss[start + 2]).toBeCloseTo(2, 12);
    // c: 0.05 - 0.42: -0.37 and 1 - 4.07.
    expect(m.loss[2 * start]).toBe(0);
    expect(m.loss[2 * start + 1]).toBeCloseTo(2.7, 12);
    expect([m.bestMode[0], m.bestMode[2]]).toEqual([1, 0]);
  });
});

/** A search in hand, with nothing merged. */
function searchOn(c: Compiled, beam: number, lossBelow = 1e9): Search {
  const m = createWindowMemory(c);
  return {
    c,
    w: createWorkspace(c),
    m,
    options: { coreDevices: 9, beam, lossBelow, workUnits: 1e9, mostStates: 1e9 },
    energyPrice: 0,
    inCore: new Uint8Array(c.deviceIds.length),
    floorMost: new Float64Array(m.states.sumCount),
    mergedMost: new Float64Array(m.states.sumCount),
    limitMost: new Float64Array(m.states.sumCount * c.limitIds.length),
    work: 0,
    complete: true,
    restWatts: 0,
  };
}

interface Offer {
  readonly watts: number;
  readonly value: number;
  readonly loss?: number;
  readonly left?: number;
  readonly right?: number;
}

/** Keeps what is offered; what stands in the span then, by watts. */
function keep(search: Search, offers: readonly Offer[], dominate = true): Offer[] | null {
  const { candidates, states } = search.m;
  candidates.size = 0;
  reserveCandidates(candidates, offers.length);
  for (const { left = 0, right = 0, watts, value, loss = 0 } of offers)
    addCandidate(candidates, left, right, watts, value, loss);
  const span = keepCandidates(search, -1, null, 0, -1, dominate);
  if (span === null) return null;
  expect(span.end).toBe(states.size);
  return Array.from({ length: span.end - span.start }, (_, n) => ({
    watts: states.watts[span.start + n]!,
    value: states.value[span.start + n]!,
    loss: states.loss[span.start + n]!,
    left: states.left[span.start + n]!,
    right: states.right[span.start + n]!,
  }));
}

const plain = compileProblem(
  siteOf(
    [limitOf('site', null, 100)],
    [
      deviceOf('a', 'site', [
        [0, 0],
        [1, 1],
      ]),
    ],
  ),
);

describe('partial choices that are kept', () => {
  test('by rising watts, without those that another beats', () => {
    const search = searchOn(plain, 100);
    const kept = keep(search, [
      { watts: 30, value: 3, loss: 5, left: 1, right: 2 },
      { watts: 10, value: 2, loss: 6, left: 3, right: 4 },
      { watts: 20, value: 2 },
      { watts: 20, value: 1 },
      { watts: 10, value: 1 },
      { watts: 40, value: 2.9 },
    ]);
    expect(kept).toEqual([
      { watts: 10, value: 2, loss: 6, left: 3, right: 4 },
      { watts: 30, value: 3, loss: 5, left: 1, right: 2 },
    ]);
    expect(search.complete).toBe(true);
    expect(keep(search, [])).toBeNull();
  });

  test('inside a floor more watts may be wanted: only of equal watts one beats another', () => {
    const offers = [
      { watts: 10, value: 2 },
      { watts: 10, value: 2 },
      { watts: 10, value: 1 },
      { watts: 20, value: 1 },
      { watts: 20, value: 1.5 },
    ];
    const kept = keep(searchOn(plain, 100), offers, false)!;
    expect(kept.map(({ watts, value }) => [watts, value])).toEqual([
      [10, 2],
      [20, 1],
      [20, 1.5],
    ]);
  });

  test('beyond the beam: half by least loss, the other half spread over the watts', () => {
    const offers = [9, 1, 8, 2, 7, 3, 6, 4].map((loss, n) => ({
      watts: 10 * n + 5,
      value: n,
      loss,
      left: n,
      right: 2 * n,
    }));
    const kept = (beam: number): { watts: number[]; complete: boolean } => {
      const search = searchOn(plain, beam);
      const spans = keep(search, offers)!;
      for (const one of spans) expect(one).toEqual(offers[(one.watts - 5) / 10]);
      return { watts: spans.map((one) => one.watts), complete: search.complete };
    };
    expect(kept(8)).toEqual({ watts: [5, 15, 25, 35, 45, 55, 65, 75], complete: true });
    // Two by loss, 15 and 35 W; of the halves of the range only the upper one is without.
    expect(kept(4)).toEqual({ watts: [15, 35, 55], complete: false });
    // Three by loss; of four quarters the lowest and the second have one, the third has 55 W, 75 W is the last.
    expect(kept(7)).toEqual({ watts: [15, 35, 55, 75], complete: false });
    // None by loss: the best of all.
    expect(kept(1)).toEqual({ watts: [15], complete: false });
    expect(kept(2)).toEqual({ watts: [15], complete: false });
  });

  test('all of the same watts are one bucket', () => {
    const search = searchOn(plain, 2);
    // Only of equal watts and rising value: nothing is beaten inside a floor.
    const offers = [3, 2, 1].map((loss, n) => ({ watts: 10, value: n, loss }));
    expect(keep(search, offers, false)!.map((one) => one.loss)).toEqual([1]);
  });

  test('more candidates than there was room for', () => {
    const search = searchOn(plain, 1e9);
    const { candidates } = search.m;
    const { capacity, watts } = candidates;
    reserveCandidates(candidates, capacity);
    expect(candidates.watts).toBe(watts);
    const many = Array.from({ length: capacity + 1 }, (_, n) => ({
      watts: n,
      value: n,
      loss: n,
      left: n,
      right: n,
    }));
    expect(keep(search, many)).toHaveLength(capacity + 1);
    expect(candidates.capacity).toBe(2 * capacity);
    for (const list of ['left', 'right', 'watts', 'value', 'loss', 'order', 'scratch', 'key'] as const)
      expect(candidates[list]).toHaveLength(2 * capacity);
    reserveCandidates(candidates, 9 * capacity);
    expect(candidates.capacity).toBe(9 * capacity);
  });
});

describe('partial choices beside floors', () => {
  /** Two floors across the tree, 50 W each; a third one on one limit, which has no sum. */
  const c = compileProblem(
    siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 1000)],
      ['a', 'b', 'c', 'd', 'e'].map((id, n) =>
        deviceOf(id, n % 2 === 0 ? 'site' : 'pdu', [
          [0, 0],
          [100, 1],
        ]),
      ),
      [floorOf('f', ['a', 'b'], 50), floorOf('g', ['c', 'd'], 50), floorOf('own', ['e'], 70)],
    ),
  );

  /** States with these sums to be merged with a start of none. */
  function withSums(search: Search, sums: readonly (readonly [number, number])[]): void {
    const { states } = search.m;
    for (const [n, [f, g]] of [[0, 0] as const, ...sums].entries()) {
      states.sums[2 * n] = f;
      states.sums[2 * n + 1] = g;
    }
    states.size = sums.length + 1;
  }

  test('add up the sums of both, and only those count that can still be met', () => {
    const search = searchOn(c, 100);
    search.floorMost.set([100, 90]);
    search.mergedMost.set([70, 60]);
    // 30 W of either floor are elsewhere: 20 W of each are needed here.
    withSums(search, [
      [20, 20],
      [19, 90],
      [90, 19],
      [20 - 8e-7, 20],
    ]);
    const kept = keep(search, [
      { watts: 1, value: 1, left: 0, right: 1 },
      { watts: 2, value: 2, left: 0, right: 2 },
      { watts: 3, value: 3, left: 0, right: 3 },
      { watts: 4, value: 4, left: 0, right: 4 },
    ])!;
    expect(kept.map((one) => one.watts)).toEqual([1, 4]);
    const { states } = search.m;
    expect([...states.sums.subarray(2 * (states.size - 2), 2 * (states.size - 1))]).toEqual([20, 20]);
  });

  test('are beaten only by what helps the floors no less, as far as they need it', () => {
    const kept = (sums: readonly (readonly [number, number])[], values: readonly number[]): number[] => {
      const search = searchOn(c, 100);
      search.floorMost.set([500, 500]);
      withSums(search, sums);
      const offers = values.map((value, n) => ({ watts: n + 1, value, left: 0, right: n + 1 }));
      return keep(search, offers)!.map((one) => one.watts);
    };
    const none = [0, 0] as const;
    expect(kept([none, none], [2, 1])).toEqual([1]);
    expect(kept([none, none], [2, 2])).toEqual([1]);
    expect(kept([none, none], [1, 2])).toEqual([1, 2]);
    expect(
      kept(
        [
          [10, 10],
          [11, 10],
        ],
        [2, 1],
      ),
    ).toEqual([1, 2]);
    expect(
      kept(
        [
          [10, 10],
          [10, 11],
        ],
        [2, 1],
      ),
    ).toEqual([1, 2]);
    expect(
      kept(
        [
          [10, 11],
          [10, 10],
        ],
        [2, 1],
      ),
    ).toEqual([1]);
    // More than a floor needs is no help.
    expect(
      kept(
        [
          [50 + 1e-6, 10],
          [60, 10],
        ],
        [2, 1],
      ),
    ).toEqual([1]);
    expect(
      kept(
        [
          [50, 10],
          [60, 10],
        ],
        [2, 1],
      ),
    ).toEqual([1, 2]);
    // Any of those before may be the one that beats it.
    expect(
      kept(
        [
          [10, 10],
          [0, 0],
          [5, 5],
        ],
        [3, 4, 2],
      ),
    ).toEqual([1, 2]);
  });

  test('cut to the beam with their sums', () => {
    const search = searchOn(c, 2);
    search.floorMost.set([500, 500]);
    withSums(search, [
      [1, 2],
      [3, 4],
      [5, 6],
      [7, 8],
    ]);
    const offers = [4, 3, 1, 2].map((loss, n) => ({ watts: n, value: n, loss, left: 0, right: n + 1 }));
    expect(keep(search, offers)!.map((one) => one.loss)).toEqual([1]);
    const { states } = search.m;
    expect([...states.sums.subarray(2 * (states.size - 1), 2 * states.size)]).toEqual([5, 6]);
  });

  test('inside a settled floor nothing is dropped for the others', () => {
    const search = searchOn(c, 100);
    search.floorMost.set([1, 1]);
    withSums(search, [[0, 0]]);
    expect(keep(search, [{ watts: 1, value: 1, left: 0, right: 1 }], false)).toHaveLength(1);
    expect(keep(search, [{ watts: 1, value: 1, left: 0, right: 1 }], true)).toBeNull();
  });

  test('a settled floor drops what misses it and charges what exceeds it', () => {
    const settled = (lossBelow: number): { watts: number; loss: number; value: number }[] | null => {
      const search = searchOn(c, 100, lossBelow);
      search.w.floorPrice.set([9, 9, 0.5]);
      const { states } = search.m;
      for (const [n, watts] of [60, 70 - 1e-6, 70 - 8e-7, 70, 75, 80, 90].entries()) {
        states.watts[n + 2] = watts;
        states.value[n + 2] = n;
        states.loss[n + 2] = 1;
      }
      states.size = 9;
      const span = settleFloor(search, { start: 2, end: 9 }, 2);
      if (span === null) return null;
      expect(span.start).toBe(2);
      expect(states.size).toBe(span.end);
      return Array.from({ length: span.end - 2 }, (_, n) => ({
        watts: states.watts[n + 2]!,
        loss: states.loss[n + 2]!,
        value: states.value[n + 2]!,
      }));
    };
    expect(settled(1e9)).toEqual([
      { watts: 70 - 8e-7, loss: 1, value: 2 },
      { watts: 70, loss: 1, value: 3 },
      { watts: 75, loss: 3.5, value: 4 },
      { watts: 80, loss: 6, value: 5 },
      { watts: 90, loss: 11, value: 6 },
    ]);
    expect(settled(6)!.map((one) => one.watts)).toEqual([70 - 8e-7, 70, 75]);
    expect(settled(1)).toBeNull();
  });
});
