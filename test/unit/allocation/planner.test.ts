import { describe, expect, test } from 'vitest';
import { createPlanner } from '../../../agent/allocation/planner.ts';
import type { Problem, ProblemDevice } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

const first = siteOf(
  [limitOf('site', null, 140), limitOf('pdu', 'site', 100, { gain: 1.1 }), limitOf('other', 'site', 60)],
  [
    deviceOf(
      'a',
      'pdu',
      [
        [0, 0],
        [40, 3],
        [60, 4],
      ],
      { current: 'm1', switchDollarsPerHour: { m0: 0.2, m2: 0.1 } },
    ),
    deviceOf(
      'b',
      'pdu',
      [
        [0, 0],
        [50, 2],
      ],
      { allowed: ['m0', 'm1'] },
    ),
    deviceOf('c', 'other', [
      [0, 0],
      [50, 1],
    ]),
    deviceOf('d', 'other', [
      [0, 0],
      [10, 0.1],
    ]),
  ],
  [floorOf('firm', ['c'], 20), floorOf('more', ['d'], 5)],
);

const withDevice = (id: string, change: (device: ProblemDevice) => Partial<ProblemDevice>): Problem => ({
  ...first,
  devices: first.devices.map((one) => (one.id === id ? { ...one, ...change(one) } : one)),
});
const withMode = (id: string, m: number, change: object): Problem =>
  withDevice(id, (device) => ({
    modes: device.modes.map((one, n) => (n === m ? { ...one, ...change } : one)),
  }));
const withLimit = (id: string, change: object): Problem => ({
  ...first,
  limits: first.limits.map((one) => (one.id === id ? { ...one, ...change } : one)),
});

describe('a problem that differs from the one before', () => {
  test.each<readonly [string, Problem]>([
    ['watts of a mode', withMode('a', 2, { watts: 55 })],
    ['watts of the last mode of a device', withMode('c', 1, { watts: 30 })],
    ['value of a mode', withMode('a', 1, { dollarsPerHour: 9 })],
    [
      'id of a mode',
      withDevice('d', (one) => ({ modes: one.modes.map((mode) => ({ ...mode, id: `${mode.id}x` })) })),
    ],
    [
      'one mode more',
      withDevice('c', (one) => ({ modes: [...one.modes, { id: 'm2', watts: 55, dollarsPerHour: 9 }] })),
    ],
    ['one mode fewer', withDevice('a', (one) => ({ modes: one.modes.slice(0, 2) }))],
    ['the present mode', withDevice('a', () => ({ current: 'm2' }))],
    ['no present mode', withDevice('a', () => ({ current: null, switchDollarsPerHour: { m1: 0.3 } }))],
    ['the cost of a change', withDevice('a', () => ({ switchDollarsPerHour: { m0: 0.2, m2: 0.9 } }))],
    ['no cost of a change', withDevice('a', () => ({ switchDollarsPerHour: {} }))],
    ['a mode that may not be chosen', withDevice('b', () => ({ allowed: ['m0'] }))],
    ['another mode that may be chosen alone', withDevice('b', () => ({ allowed: ['m1'] }))],
    ['modes that may be chosen where all might', withDevice('a', () => ({ allowed: ['m0', 'm2'] }))],
    ['all modes where some might', { ...withDevice('b', () => ({ allowed: null })) }],
    ['a capacity', withLimit('site', { capacityWatts: 90 })],
    ['a fixed load', withLimit('pdu', { fixedWatts: 45 })],
    ['a loss', withLimit('pdu', { gain: 1.6 })],
    ['a parent', withLimit('other', { parent: 'pdu' })],
    ["a floor's watts", { ...first, floors: [floorOf('firm', ['c'], 51), first.floors[1]!] }],
    ["a floor's devices", { ...first, floors: [floorOf('firm', ['c', 'b'], 20), first.floors[1]!] }],
    ['one floor fewer', { ...first, floors: first.floors.slice(0, 1) }],
    ['one floor for another', { ...first, floors: [floorOf('firm', ['b'], 20), floorOf('less', ['d'], 5)] }],
    ['one device fewer', { ...first, devices: first.devices.filter((one) => one.id !== 'b') }],
    ['one device for another', withDevice('b', () => ({ id: 'e' }))],
    ['a device elsewhere', withDevice('b', () => ({ limit: 'other' }))],
    [
      'a limit by another name',
      {
        ...first,
        limits: first.limits.map((one) => (one.id === 'other' ? { ...one, id: 'third' } : one)),
        devices: first.devices.map((one) => (one.limit === 'other' ? { ...one, limit: 'third' } : one)),
      },
    ],
  ])('%s: answered as if it were the first, and the first again', (_name, second) => {
    const plan = createPlanner();
    expect(plan(first)).toEqual(solveProblem(first));
    expect(plan(second)).toEqual(solveProblem(second));
    expect(plan(first)).toEqual(solveProblem(first));
    // And by steps of one field each, from a copy that is equal.
    expect(plan(structuredClone(second))).toEqual(solveProblem(second));
    expect(plan(second)).toEqual(solveProblem(second));
  });

  test('the same one again costs no new compilation, a change of shape does', () => {
    const plan = createPlanner();
    const answer = plan(first);
    expect(plan(first)).toEqual(answer);
    expect(plan(structuredClone(first))).toEqual(answer);
    expect(
      plan({ limits: first.limits.toReversed(), devices: first.devices.toReversed(), floors: [] }),
    ).toEqual(
      solveProblem({ limits: first.limits.toReversed(), devices: first.devices.toReversed(), floors: [] }),
    );
  });

  test('the search is what the call says', () => {
    const plan = createPlanner();
    for (const workUnits of [0, 1000, 0])
      expect(plan(first, { workUnits })).toEqual(solveProblem(first, { workUnits }));
  });
});
