import { describe, expect, test } from 'vitest';
import { createPlanner, type Solver } from '../../../agent/allocation/planner.ts';
import type { Problem, ProblemDevice } from '../../../agent/allocation/problem.ts';
import { type SolveOptions, solveProblem } from '../../../agent/allocation/solve.ts';
import { createTick, type Tick } from '../../../agent/allocation/tick.ts';
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

/** A planner that shows what it compiled. */
function shown(): { plan: Solver; ticks: Tick[]; takenIn: (before: Problem) => string[] } {
  const ticks: Tick[] = [];
  const plan = createPlanner((problem, options) => {
    ticks.push(createTick(problem, options));
    return ticks.at(-1)!;
  });
  // What was not taken in is still the very device of the problem before.
  const takenIn = (before: Problem): string[] =>
    ticks
      .at(-1)!
      .devices.filter((device) => !before.devices.includes(device))
      .map((device) => device.id);
  return { plan, ticks, takenIn };
}

/** The devices that have to be taken in; `null`: all is compiled anew. */
const TAKEN: Readonly<Record<string, readonly string[] | null>> = {
  'watts of a mode': ['a'],
  'watts of the last mode of a device': ['c'],
  'value of a mode': ['a'],
  'id of a mode': ['d'],
  'one mode more': ['c'],
  'one mode fewer': ['a'],
  'the present mode': ['a'],
  'no present mode': ['a'],
  'the cost of a change': ['a'],
  'no cost of a change': ['a'],
  'a cost of nothing': [],
  'a mode that may not be chosen': ['b'],
  'another mode that may be chosen alone': ['b'],
  'another mode of two that may be chosen': ['b'],
  'modes that may be chosen where all might': ['a'],
  'all modes where some might': ['b'],
  'a capacity': [],
  'a fixed load': [],
  "a floor's watts": [],
};

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
    ['a cost of nothing', withDevice('a', () => ({ switchDollarsPerHour: { m0: 0.2, m1: 0, m2: 0.1 } }))],
    ['another mode of two that may be chosen', withDevice('b', () => ({ allowed: ['m1', 'm0'] }))],
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
  ])('%s: answered as if it were the first, and the first again', (name, second) => {
    const { plan, ticks, takenIn } = shown();
    expect(plan(first)).toEqual(solveProblem(first));
    expect(plan(second)).toEqual(solveProblem(second));
    const taken = TAKEN[name] ?? null;
    if (taken !== null) expect(takenIn(first)).toEqual(taken);
    expect(ticks).toHaveLength(taken === null ? 2 : 1);
    expect(plan(first)).toEqual(solveProblem(first));
    // And from a copy that is equal: nothing is new.
    expect(plan(structuredClone(second))).toEqual(solveProblem(second));
    const compiled = ticks.length;
    const held = [...ticks.at(-1)!.devices];
    expect(plan(structuredClone(second))).toEqual(solveProblem(second));
    expect(ticks).toHaveLength(compiled);
    for (const [i, device] of ticks.at(-1)!.devices.entries()) expect(device).toBe(held[i]);
  });

  test('the same limits, devices and floors in another order are compiled anew', () => {
    const { plan, ticks } = shown();
    plan(first);
    for (const turned of [
      { ...first, limits: first.limits.toReversed() },
      { ...first, devices: first.devices.toReversed() },
      { ...first, floors: first.floors.toReversed() },
    ]) {
      const before = ticks.length;
      expect(plan(turned)).toEqual(solveProblem(turned));
      expect(ticks).toHaveLength(before + 1);
    }
  });

  test('nothing new, asked alike: the answer that was given', () => {
    const known = { a: 'm1', b: 'm0' };
    const wholeBreakers = new Set(['pdu', 'other']);
    const asked = { workUnits: 1000, known, wholeBreakers, repair: true };
    const plan = createPlanner();
    const answer = plan(first, asked);
    expect(plan(structuredClone(first), asked)).toBe(answer);
    const alike = { ...asked, known: { ...known }, wholeBreakers: new Set(['other', 'pdu']) };
    expect(plan(first, alike)).toBe(answer);
  });

  test.each<readonly [string, SolveOptions]>([
    ['less work', { workUnits: 900 }],
    ['nothing known', { known: null }],
    ['something else known', { known: { a: 'm1', b: 'm1' } }],
    ['less known', { known: { a: 'm1' } }],
    ['known of another', { known: { a: 'm1', c: 'm0' } }],
    ['no whole breakers', { wholeBreakers: false }],
    ['other whole breakers', { wholeBreakers: new Set(['other']) }],
    ['as many other whole breakers', { wholeBreakers: new Set(['site']) }],
    ['more whole breakers', { wholeBreakers: new Set(['pdu', 'other']) }],
    ['all whole breakers', { wholeBreakers: true }],
    ['no repairs', { repair: false }],
    ['one word more', { mendFloors: true }],
  ])('nothing new, asked with %s: decided again, and the first way again', (_, change) => {
    const asked: SolveOptions = {
      workUnits: 1000,
      known: { a: 'm1', b: 'm0' },
      wholeBreakers: new Set(['pdu']),
      repair: true,
    };
    const plan = createPlanner();
    const answer = plan(first, asked);
    const again = plan(first, { ...asked, ...change });
    expect(again).not.toBe(answer);
    expect(again).toEqual(solveProblem(first, { ...asked, ...change }));
    expect(plan(first, asked)).not.toBe(again);
    expect(plan(first, asked)).toEqual(answer);
  });

  test('nothing known at all is as good as no word of it', () => {
    const plan = createPlanner();
    const answer = plan(first, { known: null });
    expect(plan(first, {})).toBe(answer);
    expect(plan(first, { known: {} })).not.toBe(answer);
  });

  test('the search is what the call says', () => {
    const plan = createPlanner();
    for (const workUnits of [0, 1000, 0])
      expect(plan(first, { workUnits })).toEqual(solveProblem(first, { workUnits }));
  });
});
