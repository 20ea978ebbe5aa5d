import { describe, expect, test } from 'vitest';
import { compareIds, compileDevice, compileProblem } from '../../../agent/allocation/compile.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** The modes of device `i` in the order they are kept. */
function modesOf(problem: Problem, i = 0): { id: string; watts: number; value: number }[] {
  const c = compileProblem(problem);
  return Array.from({ length: c.modeCount[i]! }, (_, k) => {
    const s = i * c.stride + k;
    return { id: c.modeId[s]!, watts: c.modeWatts[s]!, value: c.modeValue[s]! };
  });
}

describe('the limits of a compiled problem', () => {
  test('stand parents first, siblings by id, with watts at the root per watt of their own', () => {
    const c = compileProblem(
      siteOf(
        [
          limitOf('pdu-2', 'feeder', 300, { gain: 1.5, fixedWatts: 7 }),
          limitOf('pdu-1', 'feeder', 400, { gain: 1.25 }),
          limitOf('feeder', 'site', 500, { gain: 2 }),
          limitOf('site', null, 600, { gain: 3 }),
          limitOf('other', null, 700),
        ],
        [],
      ),
    );
    expect(c.limitIds).toEqual(['other', 'site', 'feeder', 'pdu-1', 'pdu-2']);
    expect(Object.fromEntries(c.limitIndex)).toEqual({
      other: 0,
      site: 1,
      feeder: 2,
      'pdu-1': 3,
      'pdu-2': 4,
    });
    expect([...c.limitParent]).toEqual([-1, -1, 1, 2, 2]);
    expect([...c.limitGain]).toEqual([1, 3, 2, 1.25, 1.5]);
    // A root's own gain leads nowhere.
    expect([...c.limitRootGain]).toEqual([1, 1, 2, 2.5, 3]);
    expect([...c.limitCapacity]).toEqual([700, 600, 500, 400, 300]);
    expect([...c.limitFixed]).toEqual([0, 0, 0, 0, 7]);
  });

  test.each([
    ['a parent that is not there', [limitOf('site', null, 1), limitOf('pdu', 'nowhere', 1)]],
    ['a cycle', [limitOf('site', null, 1), limitOf('a', 'b', 1), limitOf('b', 'a', 1)]],
    ['no root', [limitOf('a', 'b', 1), limitOf('b', 'a', 1)]],
  ])('throws at %s', (_name, limits) => {
    expect(() => compileProblem(siteOf(limits, []))).toThrow(
      new RangeError('limits: unknown parent or cycle'),
    );
  });

  test('know the devices that hang on them, by index', () => {
    const on: [number, number][] = [[1, 0]];
    const c = compileProblem(
      siteOf(
        [limitOf('a', null, 1), limitOf('b', 'a', 1), limitOf('c', 'a', 1)],
        [deviceOf('z', 'c', on), deviceOf('y', 'a', on), deviceOf('x', 'c', on), deviceOf('w', 'c', on)],
      ),
    );
    expect(c.deviceIds).toEqual(['w', 'x', 'y', 'z']);
    expect(Object.fromEntries(c.deviceIndex)).toEqual({ w: 0, x: 1, y: 2, z: 3 });
    expect([...c.deviceLimit]).toEqual([2, 2, 0, 2]);
    expect([...c.limitStart]).toEqual([0, 1, 1, 4]);
    expect([...c.limitDevices]).toEqual([2, 0, 1, 3]);
  });

  test('ids are compared by code unit', () => {
    expect([compareIds('a', 'b'), compareIds('b', 'a'), compareIds('a', 'a')]).toEqual([-1, 1, 0]);
    expect([compareIds('Z', 'a'), compareIds('m10', 'm9')]).toEqual([-1, -1]);
  });
});

describe('the modes of a compiled device', () => {
  const site = limitOf('site', null, 1000);

  test('stand by watts, equal watts by value, each less what it costs to get there', () => {
    const device = deviceOf(
      'd',
      'site',
      [
        [300, 9],
        [100, 2],
        [300, 10],
        [0, 0],
        [300, 8],
      ],
      { current: 'm1', switchDollarsPerHour: { m1: 50, m2: 0.5, m3: 0.25 } },
    );
    expect(modesOf(siteOf([site], [device]))).toEqual([
      { id: 'm3', watts: 0, value: -0.25 },
      { id: 'm1', watts: 100, value: 2 },
      { id: 'm2', watts: 300, value: 9.5 },
      { id: 'm0', watts: 300, value: 9 },
      { id: 'm4', watts: 300, value: 8 },
    ]);
  });

  test('of equal watts and value the present one comes first, then by id, in whatever order they are named', () => {
    const same = ['p', 'q', 'r'].map((id) => ({ id, watts: 5, dollarsPerHour: 1 }));
    for (const modes of [same, same.toReversed(), [same[1]!, same[0]!, same[2]!]]) {
      for (const [current, order] of [
        [null, 'pqr'],
        ['p', 'pqr'],
        ['q', 'qpr'],
        ['r', 'rpq'],
      ] as const) {
        const device = { ...deviceOf('d', 'site', []), modes, current };
        const ids = modesOf(siteOf([site], [device])).map((one) => one.id);
        expect(ids.join(''), `present: ${current}`).toBe(order);
      }
    }
  });

  test('only those that are allowed', () => {
    const device = deviceOf(
      'd',
      'site',
      [
        [0, 0],
        [1, 1],
        [2, 2],
      ],
      { allowed: ['m2', 'm0'] },
    );
    expect(modesOf(siteOf([site], [device])).map((one) => one.id)).toEqual(['m0', 'm2']);
  });

  test('none allowed, or more than there is room for: refused', () => {
    const none = deviceOf('d', 'site', [[0, 0]], { allowed: ['x'] });
    expect(() => compileProblem(siteOf([site], [none]))).toThrow(new RangeError('d: no allowed mode'));
    const c = compileProblem(
      siteOf(
        [site],
        [
          deviceOf('d', 'site', [
            [0, 0],
            [1, 1],
            [2, 2],
          ]),
        ],
      ),
    );
    expect(c.stride).toBe(4);
    const four: [number, number][] = [
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 3],
    ];
    compileDevice(c, 0, deviceOf('d', 'site', four));
    expect(c.modeCount[0]).toBe(4);
    expect(() => compileDevice(c, 0, deviceOf('d', 'site', [...four, [4, 4]]))).toThrow(
      new RangeError('d: more modes than compiled for'),
    );
  });

  test.each([
    [1, 0, 2],
    [2, 0, 2],
    [3, 0, 4],
    [4, 0, 4],
    [5, 0, 8],
    [2, 3, 4],
    [2, 9, 16],
    [9, 2, 16],
  ])('%i modes and room for %i: %i places each', (count, atLeast, stride) => {
    const modes = Array.from({ length: count }, (_, n): [number, number] => [n, n]);
    const c = compileProblem(
      siteOf([site], [deviceOf('c', 'site', [[0, 0]]), deviceOf('d', 'site', modes)]),
      atLeast,
    );
    expect(c.stride).toBe(stride);
    expect(2 ** c.strideBits).toBe(stride);
    expect(c.modeId).toHaveLength(2 * stride);
    expect(c.modeId[stride + count - 1]).toBe(`m${count - 1}`);
  });

  test('the least step is the one between the two nearest, equal watts aside', () => {
    const c = compileProblem(
      siteOf(
        [site],
        [
          deviceOf('a', 'site', [
            [0, 0],
            [10, 1],
            [10, 2],
            [13, 3],
            [20, 4],
          ]),
          deviceOf('b', 'site', [[5, 1]]),
          deviceOf('c', 'site', [
            [5, 1],
            [5, 2],
          ]),
          deviceOf('d', 'site', [
            [2, 0],
            [4, 0],
            [9, 1],
          ]),
        ],
      ),
    );
    expect([...c.deviceLeastStep]).toEqual([3, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 2]);
  });

  test('segments: value per root watt and length in root watts', () => {
    const c = compileProblem(
      siteOf(
        [site, limitOf('pdu', 'site', 500, { gain: 1.25 })],
        [
          deviceOf('d', 'pdu', [
            [10, 0],
            [20, 1],
            [30, 8],
            [70, 16],
          ]),
        ],
      ),
    );
    expect(c.hullCount[0]).toBe(3);
    expect([...c.hullMode.subarray(0, 3)]).toEqual([0, 2, 3]);
    expect([...c.segmentKey.subarray(1, 3)]).toEqual([8 / 20 / 1.25, 8 / 40 / 1.25]);
    expect([...c.segmentRootWatts.subarray(1, 3)]).toEqual([25, 50]);
  });

  test('a later segment is never worth more than an earlier one, rounding or not', () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      // Modes on a straight line but for the last bits.
      const perWatt = 1 / (2 + seed);
      const modes = [0, 1, 3, 7, 12].map((watts): [number, number] => [watts / 3, (watts / 3) * perWatt]);
      const c = compileProblem(siteOf([site], [deviceOf('d', 'site', modes)]));
      for (let k = 2; k < c.hullCount[0]!; k += 1)
        expect(c.segmentKey[k]!, `seed ${seed}`).toBeLessThanOrEqual(c.segmentKey[k - 1]!);
    }
  });
});

describe('the floors of a compiled problem', () => {
  const on: [number, number][] = [
    [0, 0],
    [100, 1],
  ];
  const limits = [
    limitOf('site', null, 1000),
    limitOf('feeder', 'site', 1000),
    limitOf('pdu-1', 'feeder', 1000),
    limitOf('pdu-2', 'feeder', 1000),
    limitOf('spare', 'site', 1000, { gain: 1.5 }),
    limitOf('root-2', null, 1000),
  ];
  const devices = [
    deviceOf('a1', 'pdu-1', on),
    deviceOf('a2', 'pdu-1', on),
    deviceOf('b1', 'pdu-2', on),
    deviceOf('f1', 'feeder', on),
    deviceOf('r1', 'root-2', on),
    deviceOf('s1', 'site', on),
    deviceOf('x1', 'spare', on),
  ];
  const shapeOf = (members: string[], over = limits): { top: string | null; nested: boolean } => {
    const c = compileProblem(siteOf(over, devices, [floorOf('f', members, 50)]));
    const top = c.floorTop[0]!;
    return { top: top < 0 ? null : c.limitIds[top]!, nested: c.floorNested[0] === 1 };
  };

  test.each([
    ['one device of a limit', ['a1'], 'pdu-1', true],
    ['all of a limit', ['a1', 'a2'], 'pdu-1', true],
    ['some of a limit and all of what hangs below it', ['a1', 'a2', 'b1'], 'feeder', true],
    ["a limit's own and one whole limit below", ['f1', 'b1'], 'feeder', true],
    ['part of one limit and all of another', ['a1', 'b1'], 'feeder', false],
    ['all below the root, but not with equal losses', ['x1', 's1'], 'site', false],
    ['all below the root but for one limit', ['a1', 'a2', 'b1', 'f1', 's1'], 'site', true],
    ['all below the root but for one device of a feeder', ['a1', 'a2', 'b1', 's1'], 'site', false],
    ['its own devices at the root alone', ['s1'], 'site', true],
    ['two roots', ['r1', 's1'], null, false],
    ['nothing', [], null, false],
  ])('%s', (_name, members, top, nested) => {
    const shape = shapeOf(members);
    expect(shape.nested).toBe(nested);
    if (members.length > 0) expect(shape.top).toBe(top);
  });

  test('two roots with all of their devices: no limit has both below it', () => {
    const roots = [limitOf('a', null, 100), limitOf('b', null, 100)];
    const c = compileProblem(
      siteOf(roots, [deviceOf('d', 'a', on), deviceOf('e', 'b', on)], [floorOf('f', ['d', 'e'], 5)]),
    );
    expect([...c.floorTop, ...c.floorNested]).toEqual([-1, 0]);
  });

  test('equal losses by two ways are equal', () => {
    const both = [...limits.slice(0, 4), limitOf('spare', 'site', 1000), limitOf('root-2', null, 1000)];
    expect(shapeOf(['x1', 's1'], both)).toEqual({ top: 'site', nested: true });
  });

  test('each on its own, whatever floors came before', () => {
    const c = compileProblem(
      siteOf(limits, devices, [
        floorOf('x', ['a1', 'a2'], 5),
        floorOf('y', ['b1', 'f1'], 5),
        floorOf('z', ['s1'], 5),
      ]),
    );
    expect([...c.floorNested]).toEqual([1, 1, 1]);
    expect([...c.floorTop].map((n) => c.limitIds[n])).toEqual(['pdu-1', 'feeder', 'site']);
  });

  test('stand by id, each device knows its own', () => {
    const c = compileProblem(
      siteOf(limits, devices, [floorOf('z', ['b1', 'a2'], 7), floorOf('y', ['s1'], 9)]),
    );
    expect(c.floorIds).toEqual(['y', 'z']);
    expect([...c.floorWatts]).toEqual([9, 7]);
    expect(c.floorDevices.map((list) => [...list])).toEqual([[5], [1, 2]]);
    expect([...c.deviceFloor]).toEqual([-1, 1, 1, -1, -1, 0, -1]);
  });
});
