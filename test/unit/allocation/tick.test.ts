import { describe, expect, test } from 'vitest';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import {
  chosenMode,
  createTick,
  decideTick,
  runTick,
  updateDevice,
  updateEnergyPrice,
  updateFloor,
  updateLimit,
} from '../../../agent/allocation/tick.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

const NO_SEARCH = { workUnits: 0 };

const two = siteOf(
  [limitOf('site', null, 100), limitOf('pdu', 'site', 60)],
  [
    deviceOf('b', 'site', [
      [0, 0],
      [50, 2],
    ]),
    deviceOf('a', 'pdu', [
      [0, 0],
      [50, 3],
    ]),
  ],
);
const tickOf = (problem: Problem = two, price = 0) => createTick(problem, { energyDollarsPerKwh: price });

describe('one tick after another', () => {
  test('says what is new, by device id, and what binds', () => {
    const tick = tickOf();
    expect(chosenMode(tick, 'a')).toBeNull();
    const first = runTick(tick, NO_SEARCH);
    expect(first.changes).toEqual([
      { deviceId: 'a', from: null, to: 'm1' },
      { deviceId: 'b', from: null, to: 'm1' },
    ]);
    expect(first).toMatchObject({ status: 'optimal', dollarsPerHour: 5, binding: [], infeasible: [] });
    expect(runTick(tick, NO_SEARCH).changes).toEqual([]);
    updateLimit(tick, 'pdu', { capacityWatts: 40 });
    const second = runTick(tick, NO_SEARCH);
    expect(second.changes).toEqual([{ deviceId: 'a', from: 'm1', to: 'm0' }]);
    expect(second.binding).toEqual([{ limit: 'pdu', dollarsPerKwh: expect.closeTo(60, 9) }]);
    expect([chosenMode(tick, 'a'), chosenMode(tick, 'b'), chosenMode(tick, 'c')]).toEqual(['m0', 'm1', null]);
    updateLimit(tick, 'site', { capacityWatts: 70 });
    const third = runTick(tick, NO_SEARCH);
    expect(third.changes).toEqual([]);
    // A place is left at the site for half of a; the PDU takes 40 W at most.
    expect(third.binding.map((one) => one.limit)).toEqual(['site', 'pdu']);
  });

  test("a limit's capacity and fixed load change apart from each other", () => {
    const tick = tickOf();
    updateLimit(tick, 'pdu', { fixedWatts: 11 });
    runTick(tick, NO_SEARCH);
    expect(chosenMode(tick, 'a')).toBe('m0');
    updateLimit(tick, 'pdu', { capacityWatts: 61 });
    updateLimit(tick, 'site', { capacityWatts: 111 });
    runTick(tick, NO_SEARCH);
    expect([chosenMode(tick, 'a'), chosenMode(tick, 'b')]).toEqual(['m1', 'm1']);
    updateLimit(tick, 'pdu', {});
    expect(runTick(tick, NO_SEARCH).changes).toEqual([]);
  });

  test('the price of energy is one for the whole site', () => {
    const tick = tickOf(two, 50);
    // 5 cents a watt: b earns 4, a 6.
    runTick(tick, NO_SEARCH);
    expect([chosenMode(tick, 'a'), chosenMode(tick, 'b')]).toEqual(['m1', 'm0']);
    updateEnergyPrice(tick, 30);
    expect(runTick(tick, NO_SEARCH).dollarsPerHour).toBeCloseTo(5 - 0.03 * 100, 12);
  });

  test("a floor's demand changes", () => {
    const tick = tickOf({ ...two, floors: [floorOf('firm', ['b'], 0)] });
    updateLimit(tick, 'site', { capacityWatts: 60 });
    runTick(tick, NO_SEARCH);
    expect([chosenMode(tick, 'a'), chosenMode(tick, 'b')]).toEqual(['m1', 'm0']);
    updateFloor(tick, 'firm', 30);
    runTick(tick, NO_SEARCH);
    expect([chosenMode(tick, 'a'), chosenMode(tick, 'b')]).toEqual(['m0', 'm1']);
    updateFloor(tick, 'firm', 20);
    const { boundDollarsPerHour } = runTick(tick, NO_SEARCH);
    expect(boundDollarsPerHour).toBeCloseTo(20 * 0.04 + 40 * 0.06, 12);
    // Without its demand the floor has no price any more.
    updateFloor(tick, 'firm', 0);
    expect(runTick(tick, NO_SEARCH).boundDollarsPerHour).toBeCloseTo(50 * 0.06 + 10 * 0.04, 12);
    updateFloor(tick, 'firm', 51);
    const none = runTick(tick, NO_SEARCH);
    expect(none).toMatchObject({
      status: 'infeasible',
      infeasible: [{ floor: 'firm', watts: 1 }],
      binding: [],
    });
  });

  test.each([
    [
      'a device that is not there',
      () => updateDevice(tickOf(), deviceOf('x', 'site', [[0, 0]])),
      'x: not in this tick',
    ],
    [
      'a device elsewhere',
      () => updateDevice(tickOf(), deviceOf('a', 'site', [[0, 0]])),
      'a: hangs on another limit',
    ],
    ['a limit that is not there', () => updateLimit(tickOf(), 'x', {}), 'x: not in this tick'],
    ['a floor that is not there', () => updateFloor(tickOf(), 'x', 1), 'x: not in this tick'],
  ])('refuses %s', (_name, act, message) => {
    expect(act).toThrow(new RangeError(message));
  });
});

describe('devices that change', () => {
  const withFloors = (crossing: boolean): Problem => ({
    ...two,
    limits: [limitOf('site', null, 300), limitOf('pdu', 'site', 200), limitOf('other', 'site', 150)],
    devices: [
      ...two.devices,
      deviceOf('c', 'pdu', [
        [0, 0],
        [40, 1],
      ]),
      deviceOf('d', 'other', [
        [0, 0],
        [80, 2],
      ]),
    ],
    floors: [floorOf('firm', crossing ? ['a', 'd'] : ['a'], 45)],
  });

  test.each([
    ['without floors', { ...withFloors(false), floors: [] }],
    ['with a floor below one limit', withFloors(false)],
    ['with a floor across the tree', withFloors(true)],
  ])('%s: warm as if compiled afresh, more modes than there was room for or not', (_name, problem) => {
    const tick = createTick(problem, { energyDollarsPerKwh: 0 });
    runTick(tick, NO_SEARCH);
    const room = tick.bench.compiled.stride;
    let now = problem;
    for (const [id, limit, modes] of [
      [
        'c',
        'pdu',
        [
          [10, 0],
          [60, 5],
          [90, 6],
        ],
      ],
      [
        'a',
        'pdu',
        [
          [0, 0],
          [50, 1],
          [70, 9],
        ],
      ],
      [
        'c',
        'pdu',
        [
          [0, 0],
          [20, 1],
        ],
      ],
      ['d', 'other', Array.from({ length: room + 1 }, (_, n): [number, number] => [20 * n, n])],
      [
        'a',
        'pdu',
        [
          [0, 0],
          [60, 1],
        ],
      ],
      ['b', 'site', [[5, 0]]],
    ] as [string, string, [number, number][]][]) {
      const device = deviceOf(id, limit, modes);
      updateLimit(tick, 'pdu', { capacityWatts: 120, fixedWatts: 3 });
      updateDevice(tick, device);
      now = {
        ...now,
        limits: now.limits.map((one) =>
          one.id === 'pdu' ? { ...one, capacityWatts: 120, fixedWatts: 3 } : one,
        ),
        devices: now.devices.map((one) => (one.id === id ? device : one)),
      };
      const decision = runTick(tick, { workUnits: 1000 });
      const answer = solveProblem(now, { workUnits: 1000 });
      expect(decision.dollarsPerHour).toBe(answer.dollarsPerHour);
      expect(decision.boundDollarsPerHour).toBe(answer.upperBoundDollarsPerHour);
      for (const one of now.devices) expect(chosenMode(tick, one.id)).toBe(answer.modes[one.id]);
      expect(decision.changes.map((one) => one.to)).toEqual(
        decision.changes.map((one) => answer.modes[one.deviceId]),
      );
    }
    expect(tick.bench.compiled.stride).toBeGreaterThan(room);
  });

  test('what was changed of limits, floors and other devices stays when there is more room to be made', () => {
    const tick = createTick(withFloors(false), { energyDollarsPerKwh: 0 });
    updateLimit(tick, 'site', { capacityWatts: 60, fixedWatts: 5 });
    updateFloor(tick, 'firm', 50);
    updateDevice(
      tick,
      deviceOf('b', 'site', [
        [1, 0],
        [50, 2],
      ]),
    );
    const modes = Array.from({ length: 9 }, (_, n): [number, number] => [n, n]);
    updateDevice(tick, deviceOf('d', 'other', modes));
    const decision = runTick(tick, NO_SEARCH);
    // 55 W: 50 for the floor, 1 for b, and 4 for d.
    expect(decision).toMatchObject({ status: 'optimal', dollarsPerHour: 7 });
    expect(['a', 'b', 'c', 'd'].map((id) => chosenMode(tick, id))).toEqual(['m1', 'm0', 'm0', 'm4']);
  });

  test('two more modes fit without a new compilation', () => {
    const tick = tickOf();
    const { bench } = tick;
    updateDevice(
      tick,
      deviceOf('a', 'pdu', [
        [0, 0],
        [10, 1],
        [20, 2],
        [30, 4],
      ]),
    );
    expect(tick.bench).toBe(bench);
    expect(runTick(tick, NO_SEARCH).changes[0]).toEqual({ deviceId: 'a', from: null, to: 'm3' });
    updateDevice(
      tick,
      deviceOf('a', 'pdu', [
        [0, 0],
        [10, 1],
        [20, 2],
        [30, 4],
        [40, 5],
      ]),
    );
    expect(tick.bench).not.toBe(bench);
    expect(runTick(tick, NO_SEARCH).changes).toEqual([{ deviceId: 'a', from: 'm3', to: 'm4' }]);
  });

  test('a mode of another place but the same name is no change', () => {
    const tick = tickOf();
    runTick(tick, NO_SEARCH);
    const device = deviceOf('a', 'pdu', []);
    const modes = [
      { id: 'm0', watts: 0, dollarsPerHour: 0 },
      { id: 'new', watts: 20, dollarsPerHour: 1 },
      { id: 'm1', watts: 50, dollarsPerHour: 3 },
    ];
    updateDevice(tick, { ...device, modes });
    expect(runTick(tick, NO_SEARCH).changes).toEqual([]);
    // The same place, another name.
    updateDevice(tick, {
      ...device,
      modes: modes.map((one) => (one.id === 'm1' ? { ...one, id: 'full' } : one)),
    });
    expect(runTick(tick, NO_SEARCH).changes).toEqual([{ deviceId: 'a', from: 'm1', to: 'full' }]);
  });
});

describe('a search in one tick', () => {
  test('knows the prices of that tick', () => {
    const three = (siteWatts: number): Problem =>
      siteOf(
        [limitOf('site', null, siteWatts)],
        [
          deviceOf('a', 'site', [
            [0, 0],
            [60, 6],
          ]),
          deviceOf('b', 'site', [
            [0, 0],
            [50, 4.9],
          ]),
          deviceOf('c', 'site', [
            [0, 0],
            [50, 4.9],
          ]),
          deviceOf('d', 'site', [
            [0, 0],
            [45, 1],
          ]),
        ],
      );
    const tick = tickOf(three(100));
    for (const watts of [100, 155, 60, 205, 145, 50]) {
      updateLimit(tick, 'site', { capacityWatts: watts });
      const decision = runTick(tick, { workUnits: 1000 });
      const fresh = runTick(tickOf(three(watts)), { workUnits: 1000 });
      expect({ ...decision, changes: [] }, `${watts} W`).toEqual({ ...fresh, changes: [] });
      expect(decision.status, `${watts} W`).toBe('optimal');
    }
  });
});

describe('what a tick is asked with', () => {
  const knapsack = siteOf(
    [limitOf('site', null, 100)],
    [
      deviceOf('a', 'site', [
        [0, 0],
        [60, 6],
      ]),
      deviceOf('b', 'site', [
        [0, 0],
        [50, 4.9],
      ]),
      deviceOf('c', 'site', [
        [0, 0],
        [50, 4.9],
      ]),
    ],
  );

  test('is what a problem is solved with', () => {
    for (const options of [
      { workUnits: 0 },
      { workUnits: 1000 },
      { workUnits: 1000, mostStates: 1 },
      { workUnits: 1000, smallGap: 0.7 },
      { workUnits: 1000, smallGap: 0.7, smallGapUnits: 24 },
      { workUnits: 0, known: { a: 'm0', b: 'm1' } },
    ]) {
      const answer = solveProblem(knapsack, options);
      const decision = decideTick(tickOf(knapsack), options);
      expect(decision.status).toBe(answer.status);
      expect(decision.dollarsPerHour).toBe(answer.dollarsPerHour);
      expect(decision.gap).toBe(answer.gap);
    }
    expect(solveProblem(knapsack, { workUnits: 1000, mostStates: 1 }).dollarsPerHour).toBe(6);
    expect(solveProblem(knapsack).dollarsPerHour).toBe(9.8);
  });
});
