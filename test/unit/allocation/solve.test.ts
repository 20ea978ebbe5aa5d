import { describe, expect, test } from 'vitest';
import { upperHull } from '../../../agent/allocation/hull.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { problemFileSchema } from '../../../config/problem-file.ts';

const file = {
  v: 1,
  limits: [
    { id: 'site', parent: null, capacityWatts: 20_000_000, fixedWatts: 150_000 },
    { id: 'pdu-1', parent: 'site', capacityWatts: 6400, fixedWatts: 0, gain: 1.0 },
  ],
  devices: ['m1', 'm2'].map((id) => ({
    id,
    limit: 'pdu-1',
    current: 'normal',
    modes: [
      { id: 'sleep', watts: 30, dollarsPerHour: 0 },
      { id: 'low', watts: 2800, dollarsPerHour: 0.212 },
      { id: 'normal', watts: 3500, dollarsPerHour: 0.251 },
    ],
    switchDollarsPerHour: { sleep: 0.01, low: 0.002 },
    allowed: ['sleep', 'low', 'normal'],
  })),
  floors: [] as { id: string; devices: string[]; watts: number }[],
};

function read(change: object = {}): Problem {
  return problemFileSchema.parse({ ...file, ...change });
}

describe('a problem file solved', () => {
  test('two miners on a PDU for one and a bit: one goes low, at its price', () => {
    const answer = solveProblem(read());
    expect(answer.status).toBe('optimal');
    expect(Object.values(answer.modes).sort()).toEqual(['low', 'normal']);
    expect(answer.dollarsPerHour).toBeCloseTo(0.251 + 0.21, 12);
    // Between low and normal: (0.251 - 0.210) $/h for 0.7 kW.
    expect(answer.limits).toEqual([
      { id: 'site', watts: 156_300, capacityWatts: 20_000_000, dollarsPerKwh: 0 },
      { id: 'pdu-1', watts: 6300, capacityWatts: 6400, dollarsPerKwh: expect.closeTo(0.041 / 0.7, 9) },
    ]);
    // The PDU as a whole has nothing better; taken in parts of steps it would.
    expect(answer.upperBoundDollarsPerHour).toBeCloseTo(0.461, 12);
    for (const options of [{ workUnits: 0 }, { wholeBreakers: false }]) {
      const relaxed = solveProblem(read(), options).upperBoundDollarsPerHour;
      expect(relaxed).toBeCloseTo(0.461 + (0.1 * 0.041) / 0.7, 9);
    }
    expect(answer.infeasible).toEqual([]);
    expect(answer.milliseconds).toBeNull();
  });

  test('a limit that the least watts exceed is named with the watts', () => {
    const limits = [file.limits[0], { ...file.limits[1], capacityWatts: 50 }];
    const answer = solveProblem(read({ limits }));
    expect(answer.status).toBe('infeasible');
    expect(answer.modes).toEqual({ m1: 'sleep', m2: 'sleep' });
    expect(answer.infeasible).toEqual([{ limit: 'pdu-1', watts: 10 }]);
    expect(answer.upperBoundDollarsPerHour).toBeNull();
    expect(answer.gap).toBeNull();
  });

  test('where nothing fits although a part of it would, the gap is the whole of what the part would earn', () => {
    const modes = [
      { id: 'off', watts: 0, dollarsPerHour: 0 },
      { id: 'on', watts: 60, dollarsPerHour: 6 },
    ];
    const devices = [
      { id: 'm', limit: 'site', current: 'off', modes, switchDollarsPerHour: {}, allowed: ['off', 'on'] },
    ];
    const limits = [{ id: 'site', parent: null, capacityWatts: 50, fixedWatts: 0 }];
    const answer = solveProblem(read({ limits, devices }));
    expect(answer).toMatchObject({ modes: { m: 'off' }, dollarsPerHour: 0, gap: 1 });
    expect(answer.upperBoundDollarsPerHour).toBeCloseTo(5, 9);
  });

  test('a floor beyond what its devices can take is named with the watts', () => {
    const answer = solveProblem(read({ floors: [{ id: 'firm', devices: ['m1'], watts: 3600 }] }));
    expect(answer.status).toBe('infeasible');
    expect(answer.modes).toEqual({ m1: 'normal', m2: 'sleep' });
    expect(answer.infeasible).toEqual([{ floor: 'firm', watts: 100 }]);
  });

  test('a floor that its limit cannot carry: the floor is served, the limit is named', () => {
    const limits = [file.limits[0], { ...file.limits[1], capacityWatts: 2000 }];
    const answer = solveProblem(read({ limits, floors: [{ id: 'firm', devices: ['m1'], watts: 2500 }] }));
    expect(answer.status).toBe('infeasible');
    expect(answer.modes).toEqual({ m1: 'low', m2: 'sleep' });
    expect(answer.infeasible).toEqual([{ limit: 'pdu-1', watts: 830 }]);
  });

  test('a floor is met although it earns less', () => {
    const limits = [file.limits[0], { ...file.limits[1], capacityWatts: 3600 }];
    const both = solveProblem(read({ limits }));
    expect(both.status).toBe('optimal');
    const floors = [{ id: 'firm', devices: ['m2'], watts: 3000 }];
    const devices = file.devices.map((one) => (one.id === 'm2' ? { ...one, current: 'sleep' } : one));
    const answer = solveProblem(read({ limits, devices, floors }));
    expect(answer.status).toBe('optimal');
    expect(answer.modes).toEqual({ m1: 'sleep', m2: 'normal' });
  });

  test('a total over by rounding alone is feasible', () => {
    const limits = [{ id: 'site', parent: null, capacityWatts: 0.3, fixedWatts: 0 }];
    const devices = [0.1, 0.2].map((watts, d) => ({
      id: `d${d}`,
      limit: 'site',
      modes: [{ id: 'on', watts, dollarsPerHour: 1 }],
    }));
    expect(0.1 + 0.2).toBeGreaterThan(0.3);
    expect(solveProblem(read({ limits, devices })).status).toBe('optimal');
  });

  test('no devices at all', () => {
    const answer = solveProblem(read({ devices: [] }));
    expect(answer).toMatchObject({
      status: 'optimal',
      dollarsPerHour: 0,
      upperBoundDollarsPerHour: 0,
      gap: 0,
    });
  });

  test('several roots', () => {
    const limits = file.limits.map((limit) => ({ ...limit, parent: null }));
    expect(solveProblem(read({ limits })).dollarsPerHour).toBeCloseTo(0.461, 12);
  });
});

describe('upper hull', () => {
  const hull = (points: readonly (readonly [number, number])[]): number[] => {
    // In the middle of other devices' modes, which stay as they are.
    const watts = Float64Array.from([9, 9, 5, ...points.map((point) => point[0]), 5]);
    const value = Float64Array.from([9, 9, 5, ...points.map((point) => point[1]), 5]);
    const corners = new Int32Array(points.length + 4).fill(2);
    const count = upperHull(watts, value, 3, points.length, corners);
    expect([...corners.subarray(0, 3), corners.at(-1)]).toEqual([2, 2, 2, 2]);
    return [...corners.subarray(3, 3 + count)];
  };

  test('leaves out what lies under a line, keeps a falling end', () => {
    expect(
      hull([
        [0, 0],
        [1, 1],
        [2, 5],
        [3, 6],
        [4, 5],
      ]),
    ).toEqual([0, 2, 3, 4]);
    expect(
      hull([
        [0, 0],
        [1, 1],
        [2, 2],
      ]),
    ).toEqual([0, 2]);
    expect(
      hull([
        [5, 3],
        [5, 2],
        [6, 1],
      ]),
    ).toEqual([0, 2]);
    expect(hull([[7, -1]])).toEqual([0]);
  });
});

describe('the problem file', () => {
  const complaint = (change: object): string => {
    const result = problemFileSchema.safeParse({ ...file, ...change });
    return result.success
      ? ''
      : result.error.issues.map((one) => `${one.path.join('.')}: ${one.message}`).join('\n');
  };
  const device = (change: object): object => ({ devices: [{ ...file.devices[0], ...change }] });

  test('defaults: gain 1, nothing fixed, all modes allowed, no floors', () => {
    const problem = problemFileSchema.parse({
      v: 1,
      limits: [{ id: 'a', capacityWatts: 5 }],
      devices: [{ id: 'd', limit: 'a', modes: [{ id: 'on', watts: 1, dollarsPerHour: 1 }] }],
    });
    expect(problem.limits[0]).toEqual({ id: 'a', parent: null, capacityWatts: 5, fixedWatts: 0, gain: 1 });
    expect(problem.devices[0]).toMatchObject({ current: null, allowed: null, switchDollarsPerHour: {} });
    expect(problem.floors).toEqual([]);
  });

  test.each([
    [
      'unknown parent',
      { limits: [{ ...file.limits[0], parent: 'x' }] },
      'limits.0.parent: limit "site": no limit has the id "x"',
    ],
    [
      'own parent',
      { limits: [{ ...file.limits[0], parent: 'site' }, file.limits[1]] },
      'limits.0.parent: limit "site" is its own ancestor',
    ],
    [
      'cycle',
      { limits: [{ ...file.limits[0], parent: 'pdu-1' }, file.limits[1]] },
      'limits.0.parent: limit "site" is its own ancestor',
    ],
    [
      'limit twice',
      { limits: [...file.limits, file.limits[1]] },
      'limits.2.id: limit "pdu-1" is named twice',
    ],
    [
      'device twice',
      { devices: [file.devices[0], file.devices[0]] },
      'devices.1.id: device "m1" is named twice',
    ],
    ['unknown limit', device({ limit: 'x' }), 'devices.0.limit: device "m1": no limit has the id "x"'],
    [
      'unknown current',
      device({ current: 'x' }),
      'devices.0.current: device "m1": "x" is none of its modes (sleep, low, normal)',
    ],
    [
      'unknown allowed',
      device({ allowed: ['low', 'x'] }),
      'devices.0.allowed.1: device "m1": "x" is none of its modes',
    ],
    [
      'unknown switch',
      device({ switchDollarsPerHour: { x: 1 } }),
      'devices.0.switchDollarsPerHour.x: device "m1": "x" is none',
    ],
    ['empty allowed', device({ allowed: [] }), 'devices.0.allowed'],
    ['no modes', device({ modes: [] }), 'devices.0.modes'],
    [
      'mode twice',
      device({
        modes: [file.devices[0]!.modes[0], file.devices[0]!.modes[0]],
        current: 'sleep',
        allowed: ['sleep'],
      }),
      'devices.0.modes.1.id: device "m1": mode "sleep" is named twice',
    ],
    [
      'two floors',
      {
        floors: [
          { id: 'a', devices: ['m1'], watts: 1 },
          { id: 'b', devices: ['m1'], watts: 1 },
        ],
      },
      'floors.1.devices.0: floor "b": device "m1" is already in floor "a"',
    ],
    [
      'unknown in floor',
      { floors: [{ id: 'a', devices: ['x'], watts: 1 }] },
      'floors.0.devices.0: floor "a": no device has the id "x"',
    ],
    ['gain 0', { limits: [{ ...file.limits[0], gain: 0 }] }, 'limits.0.gain'],
    ['version', { v: 2 }, 'v: '],
  ])('refuses: %s', (_name, change, message) => {
    expect(complaint(change)).toContain(message);
  });
});
