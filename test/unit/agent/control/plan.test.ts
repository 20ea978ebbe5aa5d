import { describe, expect, it } from 'vitest';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import {
  buildPlan,
  currentPoint,
  type PlanFloor,
  type PlanLimit,
  type PlanRules,
} from '../../../../agent/control/plan.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import {
  entryOf,
  LOW,
  minerFacts,
  NORMAL,
  nodeFacts,
  observed,
  pendingOf,
  SLEEP,
} from '../../../support/control-states.ts';

const NOW = 1_000_000;
const HOUR_MS = 3_600_000;
const RULES: PlanRules = {
  now: NOW,
  shedOnly: false,
  dwellMs: 600_000,
  leastSleepMs: 60_000,
  wakesPerHour: 3,
  meterLagMs: 2000,
  ceilings: {},
  unseen: new Map(),
  doubted: new Map(),
};
const limit = (changes: Partial<PlanLimit> = {}): PlanLimit => ({
  limit: 'grid',
  parent: null,
  gain: 1,
  capacityWatts: 10_000.9,
  fixedWatts: 100.1,
  authority: 'full',
  noRise: false,
  deadlineAt: null,
  ...changes,
});
const input = (
  entry: Partial<Entry> = {},
  device: Partial<ObservedDevice> = {},
  facts: Partial<DeviceFacts> = {},
): DeviceInput => ({
  entry: entryOf(entry),
  facts: minerFacts(facts),
  device: observed(device),
});
const planned = (
  one: DeviceInput,
  {
    limits = [limit()],
    rules = {},
    floors = [],
  }: { limits?: PlanLimit[]; rules?: Partial<PlanRules>; floors?: PlanFloor[] } = {},
) => buildPlan(limits, [one], floors, { ...RULES, ...rules });
/** Watts that a device takes which cannot be commanded; `null`: it can be. */
const fixed = (one: DeviceInput, options: Parameters<typeof planned>[1] = {}) => {
  const plan = planned(one, { limits: [limit({ fixedWatts: 0 })], ...options });
  return plan.candidates.size === 0 ? plan.problem.limits[0]!.fixedWatts : null;
};
const allowed = (one: DeviceInput, options: Parameters<typeof planned>[1] = {}) =>
  planned(one, options).problem.devices[0]?.allowed;
const costs = (one: DeviceInput, options: Parameters<typeof planned>[1] = {}) =>
  planned(one, options).problem.devices[0]!.switchDollarsPerHour;
const ASLEEP = { activity: 'asleep', powerWatts: 60 } as const;

describe('the problem of a cycle', () => {
  it('has room in whole watts, down, and need in whole watts, up', () => {
    const one = input({}, {}, { points: [SLEEP, { ...NORMAL, watts: 3000.2 }] });
    expect(planned(one).problem).toEqual({
      limits: [{ id: 'grid', parent: null, capacityWatts: 10_000, fixedWatts: 101, gain: 1 }],
      devices: [
        {
          id: 'd',
          limit: 'grid',
          current: 'normal',
          modes: [
            { id: 'sleep', watts: 60, dollarsPerHour: 0 },
            { id: 'normal', watts: 3001, dollarsPerHour: 0.2 },
          ],
          switchDollarsPerHour: { sleep: 0.012 },
          allowed: ['sleep', 'normal'],
        },
      ],
      floors: [],
    });
    expect(planned(one).candidates.get('d')).toMatchObject({ overGrant: false, current: { id: 'normal' } });
  });

  it('puts who obeyed the last time to sleep first among equals', () => {
    expect(costs(input({ obeyed: true }))['sleep']).toBeCloseTo(costs(input())['sleep']! - 0.0005, 12);
    expect(costs(input({ obeyed: true, pointId: 'sleep' }, ASLEEP))).toEqual(
      costs(input({ pointId: 'sleep' }, ASLEEP)),
    );
  });

  it('lets a watt be worth a little more or less for fairness', () => {
    const one = input({}, {}, { points: [SLEEP, { ...NORMAL, watts: 3000 }] });
    const worth = (favour: number, id = 'd') =>
      planned(one, { rules: { favours: new Map([[id, favour]]) } }).problem.devices[0]!.modes.map(
        (mode) => mode.dollarsPerHour,
      );
    expect(worth(0.000_001)).toEqual([expect.closeTo(0.000_06, 12), expect.closeTo(0.203, 12)]);
    expect(worth(-0.000_001)[1]).toBeCloseTo(0.197, 12);
    expect(worth(1, 'another')).toEqual([0, 0.2]);
  });

  it('names the limits that are over now, losses included', () => {
    const tree = (grid: number, hall: number) =>
      planned(input({}, {}, { limit: 'hall' }), {
        limits: [
          limit({ capacityWatts: grid, fixedWatts: 100 }),
          limit({ limit: 'hall', parent: 'grid', gain: 1.5, capacityWatts: hall, fixedWatts: 200 }),
        ],
      }).over;
    expect([...tree(4900, 3200)]).toEqual([]);
    expect([...tree(4899, 3200)]).toEqual(['grid']);
    expect([...tree(4900, 3199)]).toEqual(['hall']);
  });

  it('lets no more rise than unequal phases can take, and nothing fall for them', () => {
    const room = (riseWatts: number, capacityWatts = 10_000) => {
      const plan = planned(input(), { limits: [limit({ capacityWatts, fixedWatts: 100, riseWatts })] });
      return [plan.problem.limits[0]!.capacityWatts, [...plan.over]];
    };
    expect(room(4000.9)).toEqual([4000, []]);
    expect(room(11_000)).toEqual([10_000, []]);
    expect(room(2000)).toEqual([3100, []]);
    expect(room(2000, 3000)).toEqual([3000, ['grid']]);
  });
});

describe('what a device takes that cannot be commanded', () => {
  it('nothing, if it was never seen or is removed', () => {
    expect(fixed(input({}, { inventory: 'expected' }))).toBe(0);
    expect(fixed(input({}, { inventory: 'removed' }), { rules: { unseen: new Map([['d', 7]]) } })).toBe(0);
  });

  it('what is planned for the unseen, before everything else', () => {
    expect(fixed(input({}, { fresh: false }), { rules: { unseen: new Map([['d', 7]]) } })).toBe(7);
  });

  it('not read yet: what it was last told to fall to, or what was proved without its noise', () => {
    const unread = { sampledAt: null, fresh: false } as const;
    expect(fixed(input({ provenWatts: 3090 }, unread))).toBe(3000);
    expect(fixed(input({ pending: pendingOf() }, unread))).toBe(60);
    expect(fixed(input({ provenWatts: 1030, pending: pendingOf({ failed: true }) }, unread))).toBe(1000);
    expect(fixed(input({ provenWatts: 1030, pending: pendingOf({ direction: 'up' }) }, unread))).toBe(1000);
    expect(fixed(input({ provenWatts: 1030 }, { ...unread, inventory: 'held' }))).toBe(3300);
  });

  it('only reporting: what it draws, or its full power where it may go there by itself', () => {
    const reports = (
      device: Partial<ObservedDevice>,
      entry: Partial<Entry> = {},
      facts: Partial<DeviceFacts> = {},
    ) =>
      fixed(input({ provenWatts: 1000, ...entry }, device, facts), {
        limits: [limit({ fixedWatts: 0, authority: 'observe' })],
      });
    expect(reports({ powerWatts: 2000 })).toBe(3000);
    expect(reports({ powerWatts: 3100 })).toBe(3100);
    // Otherwise its worst case.
    expect(reports({ powerWatts: null })).toBe(1000);
    expect(reports({ powerWatts: 2000, activity: 'fault' })).toBe(2000);
    expect(reports({ powerWatts: 2000, activity: 'unknown' })).toBe(2000);
    expect(reports({ powerWatts: 2000, fresh: false })).toBe(3300);
    expect(reports({ powerWatts: 2000, inventory: 'absent' })).toBe(3300);
    expect(reports({ powerWatts: 2000, failure: 'wrong-device' })).toBe(3300);
    expect(reports({ powerWatts: 2000 }, { quarantine: { since: 0, why: '' } })).toBe(3300);
    expect(
      fixed(
        { ...input({ provenWatts: 500 }), facts: nodeFacts() },
        { limits: [limit({ fixedWatts: 0, authority: 'observe' })] },
      ),
    ).toBe(500);
  });
});

describe('who may be commanded', () => {
  it('whoever is there, is seen, and shows a point of two or more', () => {
    expect(fixed(input())).toBeNull();
    for (const out of [
      input({}, { inventory: 'absent' }),
      input({}, { fresh: false }),
      input({ quarantine: { since: 0, why: '' } }),
      input({}, { failure: 'wrong-device' }),
      input({}, { activity: 'unknown' }),
      input({ pointId: null }),
      input({}, {}, { points: [NORMAL] }),
    ])
      expect(fixed(out)).not.toBeNull();
    expect(fixed(input({}, { failure: 'timeout' }))).toBeNull();
  });

  it('where the site has the authority', () => {
    const by = (authority: PlanLimit['authority']) =>
      fixed(input(), { limits: [limit({ authority, fixedWatts: 0 })] });
    expect(by('observe')).toBe(3000);
    expect(by('advise')).toBe(3000);
    expect(by('shed-only')).toBeNull();
    expect(planned(input({}, {}, { limit: 'nowhere' })).candidates.size).toBe(0);
  });
});

describe('the points that may be chosen', () => {
  const low = input({ pointId: 'low' });

  it('are all of them, and no higher ones where nothing may rise', () => {
    expect(allowed(low)).toEqual(['sleep', 'low', 'normal']);
    expect(allowed(low, { rules: { shedOnly: true } })).toEqual(['sleep', 'low']);
    expect(allowed(low, { limits: [limit({ noRise: true })] })).toEqual(['sleep', 'low']);
    const tree = (changes: Partial<PlanLimit>) =>
      allowed(input({ pointId: 'low' }, {}, { limit: 'hall' }), {
        limits: [limit(changes), limit({ limit: 'hall', parent: 'grid' })],
      });
    expect(tree({})).toEqual(['sleep', 'low', 'normal']);
    expect(tree({ authority: 'shed-only' })).toEqual(['sleep', 'low']);
    expect(tree({ noRise: true })).toEqual(['sleep', 'low']);
  });

  it('of one that is on its way are none above where it goes', () => {
    const to = (pending: Partial<Parameters<typeof pendingOf>[0]>) =>
      allowed(input({ pointId: 'normal', pending: pendingOf({ pointId: 'low', kind: 'run', ...pending }) }));
    expect(to({})).toEqual(['sleep', 'low']);
    expect(to({ failed: true })).toEqual(['sleep', 'low', 'normal']);
  });

  it('of a sleeper are none above before its least sleep, nor after too many wakes within the hour', () => {
    const sleeper = (entry: Partial<Entry>) => allowed(input({ pointId: 'sleep', ...entry }, ASLEEP));
    expect(sleeper({ sleptAt: NOW - 59_999 })).toEqual(['sleep']);
    expect(sleeper({ sleptAt: NOW - 60_000 })).toEqual(['sleep', 'low', 'normal']);
    expect(sleeper({ sleptAt: null })).toHaveLength(3);
    expect(sleeper({ wakes: [1, 2, NOW - HOUR_MS + 1] })).toEqual(['sleep']);
    expect(sleeper({ wakes: [NOW - HOUR_MS, 1, 2] })).toHaveLength(3);
    // Of one at work they are as before.
    expect(allowed(input({ pointId: 'low', wakes: [1, 2, 3, 4], sleptAt: NOW - 1 }))).toHaveLength(3);
  });

  it('are none above a ceiling; below its lowest point there is nothing to tell a device', () => {
    const under = (watts: number, one = low) => planned(one, { rules: { ceilings: { d: watts } } });
    expect(under(2000).problem.devices[0]!.allowed).toEqual(['sleep', 'low']);
    expect(under(2000).candidates.get('d')!.overGrant).toBe(false);
    expect(under(1999).candidates.get('d')).toMatchObject({ overGrant: true, allowed: [SLEEP] });
    expect(under(1).problem.devices[0]!.allowed).toEqual(['sleep']);
    const node = { ...input({ pointId: 'full' }), facts: nodeFacts() };
    expect(under(1, node).problem.devices[0]!.allowed).toEqual(['cap-5']);
    // Nothing may rise, and nothing that is granted is as low as this: it stays where it is.
    const odd = {
      ...input({ pointId: 'full' }),
      facts: nodeFacts({ points: [...nodeFacts().points].reverse() }),
    };
    expect(
      planned(odd, { rules: { shedOnly: true, ceilings: { d: 9000 } } }).problem.devices[0]!.allowed,
    ).toEqual(['full', 'cap-5']);
  });
});

describe('where a device is, or is on its way to', () => {
  it('by its command, as long as that has not failed and is a point of its own', () => {
    expect(currentPoint(input({ pending: pendingOf() }))).toBe(SLEEP);
    expect(currentPoint(input({ pending: pendingOf({ failed: true }) }))).toBe(NORMAL);
    expect(currentPoint(input({ pending: pendingOf({ pointId: 'gone' }), pointId: 'low' }))).toBe(LOW);
    expect(currentPoint(input({ pointId: 'gone' }))).toBeNull();
  });
});

describe('what a change costs', () => {
  const at = (deadlineAt: number | null) => ({ limits: [limit({ deadlineAt })] });

  it('a little, and the wear of a wake, half of it at the sleep', () => {
    expect(costs(input({ pointId: 'sleep' }, ASLEEP))).toEqual({ low: 0.022, normal: 0.022 });
    expect(costs(input({ pointId: 'low' }))).toEqual({ sleep: 0.012, normal: 0.002 });
  });

  it('a thousand dollars, if it is too late for the earliest deadline on the way up', () => {
    expect(costs(input(), at(NOW + 22_000))).toEqual({ sleep: 0.012, low: 0.002 });
    expect(costs(input(), at(NOW + 21_999))).toEqual({ sleep: 0.012, low: 1000.002 });
    expect(costs(input(), at(NOW + 16_999))).toEqual({ sleep: 1000.012, low: 1000.002 });
    expect(costs(input({}, {}, { sleepMs: null }), at(NOW + HOUR_MS))['sleep']).toBeCloseTo(1000.012, 9);
    expect(costs(input({}, {}, { sleepMs: null }), at(null))['sleep']).toBeCloseTo(0.012, 9);
    expect(costs(input({ pointId: 'low' }), at(NOW))).toMatchObject({ normal: 0.002 });
    const tree = costs(input({}, {}, { limit: 'hall' }), {
      limits: [
        limit({ deadlineAt: NOW }),
        limit({ limit: 'hall', parent: 'grid', deadlineAt: NOW + HOUR_MS }),
      ],
    });
    expect(tree['low']).toBeCloseTo(1000.002, 9);
  });

  it('half of that soon after a wake, and a quarter for each time that it did not obey', () => {
    expect(costs(input({ wokeAt: NOW - 599_999 }))['low']).toBeCloseTo(500.002, 9);
    expect(costs(input({ wokeAt: NOW - 600_000 }))['low']).toBeCloseTo(0.002, 9);
    expect(costs(input({ pointId: 'low', wokeAt: NOW }))['normal']).toBeCloseTo(0.002, 9);
    expect(costs(input({ disobeyed: 2 }))['low']).toBeCloseTo(500.002, 9);
    expect(costs(input({ pointId: 'low', disobeyed: 2 }))['normal']).toBeCloseTo(0.002, 9);
  });
});

describe('a floor', () => {
  const floors = (watts: number, rules: Partial<PlanRules> = {}, ids = ['d', 'x']) =>
    planned(input(), { rules, floors: [{ id: 'f', devices: ids, watts }] }).problem.floors;

  it('asks no more of its devices than the most that they may draw now', () => {
    expect(floors(1000.1)).toEqual([{ id: 'f', devices: ['d'], watts: 1001 }]);
    expect(floors(9000)).toEqual([{ id: 'f', devices: ['d'], watts: 3000 }]);
    expect(floors(9000, { ceilings: { d: 2000 } })).toEqual([{ id: 'f', devices: ['d'], watts: 2000 }]);
    expect(floors(0)).toEqual([]);
    expect(floors(1000, {}, ['x'])).toEqual([]);
    const two = buildPlan(
      [limit()],
      [
        input(),
        { entry: entryOf({ id: 'e' }), facts: minerFacts({ id: 'e' }), device: observed({ id: 'e' }) },
      ],
      [{ id: 'f', devices: ['d', 'e'], watts: 9000 }],
      RULES,
    );
    expect(two.problem.floors[0]!.watts).toBe(6000);
  });
});
