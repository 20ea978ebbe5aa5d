import { describe, expect, it } from 'vitest';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { StepLimit } from '../../../../agent/control/step-context.ts';
import { blindWatts, plannedUnseen } from '../../../../agent/control/unseen.ts';
import {
  entryOf,
  minerFacts,
  observed,
  pendingOf,
  stepContextOf,
  stepLimit,
} from '../../../support/control-states.ts';

const NOW = 10_000_000;
/** Stale after 15 s, and put up with for 30 s more. */
const COUNTS_AFTER_MS = 45_000;

/** A device of 3,000 W by its point and 3,300 W by its nameplate, silent for so long. */
const lost = (
  id: string,
  silentMs: number,
  {
    entry = {},
    device = {},
    facts = {},
  }: { entry?: Partial<Entry>; device?: Partial<ObservedDevice>; facts?: Partial<DeviceFacts> } = {},
): DeviceInput => ({
  entry: entryOf({ id, silentSince: NOW - silentMs, ...entry }),
  facts: minerFacts({ id, ...facts }),
  device: observed({ id, fresh: false, ...device }),
});
const seen = (id: string): DeviceInput => ({
  entry: entryOf({ id }),
  facts: minerFacts({ id }),
  device: observed({ id }),
});
const many = (count: number, make: (n: number) => DeviceInput) =>
  Array.from({ length: count }, (_, n) => make(n));

describe('what is planned for devices that are silent', () => {
  const planned = (
    inputs: readonly DeviceInput[],
    {
      limits = [stepLimit()],
      goodAt = NOW,
      watts = 100_000,
      isRead = true,
      edition = 2,
    }: { limits?: StepLimit[]; goodAt?: number; watts?: number; isRead?: boolean; edition?: number } = {},
  ) => {
    const context = stepContextOf(limits);
    const memory = (): LimitMemory => ({
      ...newLimitMemory(watts, goodAt),
      samples: isRead ? [[goodAt, 1000]] : [],
    });
    return plannedUnseen(
      { ...context, rules: { ...context.rules, edition } },
      inputs,
      Object.fromEntries(limits.map(({ id }): [string, LimitMemory] => [id, memory()])),
      NOW,
    );
  };
  const one = (silentMs: number, more?: Parameters<typeof lost>[2]) =>
    planned([lost('d', silentMs, more)]).get('d');

  it('alone: its point for the grace, then its worst', () => {
    expect(one(COUNTS_AFTER_MS)).toBe(3000);
    expect(one(COUNTS_AFTER_MS + 1)).toBe(3300);
    expect(one(1, { entry: { pending: pendingOf() } })).toBe(60);
    expect(one(COUNTS_AFTER_MS + 1, { entry: { provenWatts: 3500 } })).toBe(3500);
    // Its point may be more than its worst.
    expect(one(COUNTS_AFTER_MS + 1, { entry: { provenWatts: 100 }, facts: { nameplateWatts: 2900 } })).toBe(
      2900,
    );
    expect(one(COUNTS_AFTER_MS + 1, { entry: { provenWatts: 3300.2 } })).toBe(3301);
  });

  it('nobody who is seen, never was, is set aside, held, another machine, or at no point', () => {
    expect(planned([seen('d')]).size).toBe(0);
    for (const more of [
      { entry: { silentSince: null } },
      { entry: { quarantine: { since: 0, why: '' } } },
      { device: { inventory: 'held' } },
      { device: { inventory: 'expected' } },
      { device: { failure: 'wrong-device' } },
      { entry: { pointId: null } },
      { facts: { limit: 'nowhere' } },
    ] as const)
      expect(one(1, more as Parameters<typeof lost>[2]), JSON.stringify(more)).toBeUndefined();
    expect(one(1, { device: { inventory: 'absent' } })).toBe(3000);
    expect(one(1, { device: { failure: 'timeout' } })).toBe(3000);
  });

  it('gone for three minutes below a meter that is read: nothing more', () => {
    const tree = [stepLimit({ metered: true }), stepLimit({ id: 'hall', parent: 'grid' })];
    const hall = (
      silentMs: number,
      goodAt = NOW,
      limits = tree,
      more: { isRead?: boolean; edition?: number } = {},
    ) => planned([lost('d', silentMs, { facts: { limit: 'hall' } })], { limits, goodAt, ...more }).get('d');
    expect(hall(300_000)).toBe(3300);
    expect(hall(300_001)).toBe(0);
    expect(hall(300_001, NOW - 10_000)).toBe(0);
    expect(hall(300_001, NOW - 10_001)).toBe(3300);
    expect(hall(300_001, NOW, [stepLimit(), tree[1]!])).toBe(3300);
    // The meter of another root says nothing of it.
    const other = stepLimit({ id: 'other', metered: true });
    expect(hall(300_001, NOW, [other, stepLimit(), tree[1]!])).toBe(3300);
    // That was the second edition; what is in force waits for three, the first waited for ten.
    expect([hall(180_000, NOW, tree, { edition: 3 }), hall(180_001, NOW, tree, { edition: 3 })]).toEqual([
      3300, 0,
    ]);
    expect([hall(600_000, NOW, tree, { edition: 1 }), hall(600_001, NOW, tree, { edition: 1 })]).toEqual([
      3300, 0,
    ]);
    // A start does not bring back who was gone: the meter has its grace before it is read in this life.
    const starting = (goodAt: number, edition = 2) => hall(600_001, goodAt, tree, { isRead: false, edition });
    expect([starting(NOW - 40_000), starting(NOW - 40_001)]).toEqual([0, 3300]);
    expect(starting(NOW - 10_001, 1)).toBe(3300);
  });

  it('not read since the agent started: what it was told, or nothing while nothing says that', () => {
    // Before its first reading nothing says that it can sleep.
    const facts = { points: [minerFacts().points.at(-1)!] };
    const unread = (entry: Partial<Entry>, silentMs = 1, edition = 2) =>
      planned([lost('d', silentMs, { facts, entry, device: { sampledAt: null } })], {
        limits: [stepLimit({ metered: true })],
        edition,
      }).get('d');
    expect(unread({ pointId: 'sleep' })).toBe(60);
    expect(unread({ pointId: 'sleep' }, COUNTS_AFTER_MS + 1)).toBe(3300);
    expect(unread({ pointId: 'low', pending: pendingOf({ watts: 75 }) })).toBe(75);
    expect(unread({ pointId: 'sleep', pending: pendingOf({ watts: 75, failed: true }) })).toBe(60);
    expect(unread({ pointId: 'low' })).toBeUndefined();
    expect(unread({ pointId: 'low' }, 300_001)).toBe(0);
    expect(unread({ pointId: 'sleep' }, 1, 1)).toBeUndefined();
    expect(unread({ pointId: 'low' }, 900_000, 1)).toBeUndefined();
    // Many together are one cause, and who is at no point known is left out of it.
    const group = planned(
      many(4, (n) =>
        lost(`d${n}`, COUNTS_AFTER_MS + 10, { facts, entry: { pointId: n === 3 ? 'low' : 'sleep' } }),
      ),
    );
    // 100 W a second for a hundredth of one, on 9,720 W.
    expect([...group]).toEqual([
      ['d0', 61],
      ['d1', 61],
      ['d2', 61],
    ]);
  });

  it('four and more together: by ramp after the grace, from the first of them on', () => {
    const group = (silentMs: number, count = 4, watts = 100_000) =>
      planned(
        many(count, (n) => lost(`d${n}`, silentMs + n)),
        { watts },
      ).get('d0');
    expect(group(COUNTS_AFTER_MS)).toBe(3001);
    expect(group(COUNTS_AFTER_MS - 10)).toBe(3000);
    // 6 % of 100 kW a minute are 100 W a second for 1,200 W of four devices.
    expect(group(COUNTS_AFTER_MS + 5997)).toBe(3150);
    expect(group(COUNTS_AFTER_MS + 6100)).toBe(3153);
    expect(group(COUNTS_AFTER_MS + 60_000)).toBe(3300);
    expect(group(COUNTS_AFTER_MS + 5997, 4, 50_000)).toBe(3075);
    // Three are three faults.
    expect(group(COUNTS_AFTER_MS + 1, 3)).toBe(3300);
  });

  it('each counts from its own silence on: a death before a start is no reason to count who was not asked yet', () => {
    const now = (edition: number) =>
      planned(
        [
          ...many(2, (n) => lost(`dead${n}`, COUNTS_AFTER_MS + 10_000)),
          ...many(8, (n) => lost(`unread${n}`, 2000, { device: { sampledAt: null } })),
        ],
        { edition },
      );
    // 1,000 W of 3,000 on ten devices.
    expect([now(3).get('dead0'), now(3).get('unread0')]).toEqual([3100, 3000]);
    // In journals of versions before the third edition all counted from the first of them on.
    expect([now(2).get('dead0'), now(2).get('unread0')]).toEqual([3100, 3100]);
  });

  it('what was under way when the agent ended is under way for one that was not read yet', () => {
    const facts = { points: [minerFacts().points.at(-1)!] };
    const falling = (edition: number, pending = pendingOf({ watts: 75 })) =>
      planned([lost('d', 1, { facts, entry: { pending }, device: { sampledAt: null } })], { edition }).get(
        'd',
      );
    expect(falling(3)).toBe(75);
    expect(falling(2)).toBe(3000);
    expect(falling(3, pendingOf({ watts: 75, failed: true }))).toBe(3000);
    expect(one(1, { entry: { pending: pendingOf() } })).toBe(60);
  });

  it('together is within a minute of each other', () => {
    const with_ = (apartMs: number) =>
      planned([
        ...many(3, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10)),
        lost('e', COUNTS_AFTER_MS + 10 + apartMs),
      ]).get('d0');
    expect(with_(60_000)).toBe(3300);
    expect(with_(60_001)).toBe(3300);
    expect(with_(0)).toBe(3001);
    const young = planned([
      ...many(4, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10)),
      lost('e', COUNTS_AFTER_MS + 60_011),
    ]);
    expect([young.get('d0'), young.get('e')]).toEqual([3001, 3300]);
  });

  it('together is two of a hundred that were ever seen, at least, and below one root', () => {
    const hall = (count: number, seenCount: number) =>
      planned([
        ...many(count, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10)),
        ...many(seenCount, (n) => seen(`s${n}`)),
      ]).get('d0');
    expect(hall(5, 245)).toBe(3001);
    expect(hall(5, 246)).toBe(3300);
    const never = { device: { sampledAt: null } };
    expect(
      planned([
        ...many(5, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10, never)),
        ...many(246, (n) => ({ ...seen(`s${n}`), device: observed({ sampledAt: null }) })),
      ]).get('d0'),
    ).toBe(3001);
    // Those that were read in an earlier life of the agent were seen as well.
    const young = planned([
      ...many(4, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10, never)),
      ...many(246, (n) => lost(`o${n}`, 300_000, never)),
    ]);
    expect(young.get('d0')).toBe(3300);
    const roots = [stepLimit(), stepLimit({ id: 'other' })];
    const two = planned(
      many(6, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10, { facts: { limit: n < 3 ? 'grid' : 'other' } })),
      { limits: roots },
    );
    expect(two.get('d0')).toBe(3300);
    const halls = [stepLimit(), stepLimit({ id: 'a', parent: 'grid' }), stepLimit({ id: 'b', parent: 'a' })];
    const below = planned(
      many(4, (n) => lost(`d${n}`, COUNTS_AFTER_MS + 10, { facts: { limit: n < 2 ? 'a' : 'b' } })),
      { limits: halls },
    );
    expect(below.get('d0')).toBe(3001);
  });

  it('a group with nothing more to fear counts at what it is known for', () => {
    const flat = many(4, (n) => lost(`d${n}`, 1, { facts: { nameplateWatts: 3000 } }));
    expect([...planned(flat).values()]).toEqual([3000, 3000, 3000, 3000]);
  });
});

describe('what a limit whose meter is silent may use less', () => {
  const blind = (
    silentMs: number | Readonly<Record<string, number>>,
    inputs: readonly DeviceInput[],
    limits: StepLimit[] = [stepLimit({ metered: true })],
    isRead = true,
  ) =>
    Object.fromEntries(
      blindWatts(
        stepContextOf(limits),
        inputs,
        Object.fromEntries(
          limits.map(({ id }) => [
            id,
            {
              ...newLimitMemory(
                100_000,
                NOW - (typeof silentMs === 'number' ? silentMs : (silentMs[id] ?? 0)),
              ),
              samples: isRead ? ([[0, 1000]] as const) : [],
            },
          ]),
        ),
        NOW,
      ),
    );

  it('nothing while it is read, or has no meter; its reserve as soon as it is stale', () => {
    expect(blind(10_000, [seen('d')])).toEqual({});
    expect(blind(10_001, [seen('d')])).toEqual({ grid: 2000 });
    expect(blind(99_999, [seen('d')], [stepLimit()])).toEqual({});
    // A start sheds nothing by itself: not even its reserve, until the meter should have been read.
    expect(blind(40_000, [], undefined, false)).toEqual({ grid: 0 });
    expect(blind(40_001, [], undefined, false)).toEqual({ grid: 2000 });
  });

  it('after the grace, as much as nameplates are above points', () => {
    expect(blind(30_000, [seen('d')])).toEqual({ grid: 2000 });
    const short = 98_000 * (1 - 3000 / 3300);
    expect(blind(30_001, [seen('d')])['grid']).toBeCloseTo(2000 + short, 6);
    const asleep = { ...seen('s'), entry: entryOf({ pointId: 'sleep' }) };
    for (const out of [
      asleep,
      { ...seen('s'), device: observed({ inventory: 'expected' }) },
      { ...seen('s'), device: observed({ inventory: 'removed' }) },
    ]) {
      const weak = { ...out, facts: minerFacts({ nameplateWatts: 9000 }) };
      expect(blind(30_001, [seen('d'), weak])['grid']).toBeCloseTo(2000 + short, 6);
      expect(blind(30_001, [weak])['grid']).toBe(2000);
    }
  });

  it('a lower point may stray as far as full power may; who shows none counts at its nameplate', () => {
    const low = { ...seen('d'), entry: entryOf({ pointId: 'low' }) };
    expect(blind(30_001, [low])['grid']).toBeCloseTo(2000 + 98_000 * (1 - 3000 / 3300), 6);
    const none = { ...seen('d'), entry: entryOf({ pointId: null }) };
    // 3,300 W, and a tenth more than that.
    expect(blind(30_001, [none])['grid']).toBeCloseTo(2000 + 98_000 * (1 - 3000 / 3300), 6);
    const mixed = 98_000 * (1 - (3000 + 3300) / (3300 + 3630));
    expect(blind(30_001, [seen('d'), none])['grid']).toBeCloseTo(2000 + mixed, 6);
    const modest = { ...seen('e'), facts: minerFacts({ nameplateWatts: 1000 }) };
    expect(blind(30_001, [modest])['grid']).toBe(2000);
    const flat = { ...seen('e'), entry: entryOf({ pointId: null }), facts: minerFacts({ points: [] }) };
    expect(blind(30_001, [flat])['grid']).toBe(2000);
    const zero = {
      ...seen('e'),
      facts: minerFacts({ points: minerFacts().points.map((point) => ({ ...point, watts: 0 })) }),
    };
    expect(blind(30_001, [zero])['grid']).toBe(2000);
    expect(blind(30_001, [zero, seen('d')])['grid']).toBeCloseTo(2000 + 98_000 * (1 - 3000 / 3300), 6);
  });

  const TREE = [
    stepLimit({ metered: true }),
    stepLimit({ id: 'hall', parent: 'grid', gain: 2, metered: true }),
    stepLimit({ id: 'rack', parent: 'hall', gain: 1.5 }),
  ];
  const inRack = { ...seen('d'), facts: minerFacts({ limit: 'rack', nameplateWatts: 6000 }) };

  it('what stands below another meter that is read is known by that', () => {
    expect(blind({ grid: 40_000 }, [inRack], TREE)).toEqual({ grid: 2000 });
    expect(blind({ hall: 40_000 }, [inRack], TREE)['hall']).toBeCloseTo(2000 + 98_000 / 2, 6);
  });

  it('counts with the losses on its way up', () => {
    const atGrid = { ...seen('e'), facts: minerFacts({ id: 'e' }) };
    const unmetered = [TREE[0]!, { ...TREE[1]!, metered: false }, TREE[2]!];
    // In the rack 3,000 W are 9,000 W at the grid, and may be 18,000 W.
    expect(blind({ grid: 40_000 }, [inRack, atGrid], unmetered)['grid']).toBeCloseTo(
      2000 + 98_000 * (1 - 12_000 / 21_300),
      6,
    );
  });

  it('meters that fell silent within ten seconds have one cause: by ramp', () => {
    const both = (apartMs: number, silentMs: number) =>
      blind({ grid: silentMs, hall: silentMs + apartMs }, [inRack], TREE)['hall'];
    // 100 W for each millisecond past the grace, a thousandth of that.
    expect(both(0, 40_000)).toBeCloseTo(2000 + 1000, 6);
    expect(both(10_000, 40_000)).toBeCloseTo(2000 + 2000, 6);
    expect(both(10_001, 40_000)).toBeCloseTo(2000 + 49_000, 6);
    expect(both(0, 600_000)).toBeCloseTo(2000 + 49_000, 6);
    expect(both(0, 30_000)).toBe(2000);
  });
});
