import { describe, expect, it } from 'vitest';
import { doubtedFalls, dueForProof } from '../../../../agent/control/late-falls.ts';
import type { DeviceInput, Entry, Pending } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import {
  entryOf,
  LOW,
  minerFacts,
  NORMAL,
  observed,
  pendingOf,
  stepContextOf,
  stepLimit,
} from '../../../support/control-states.ts';

/** Told at second 100; the firmware's slow end is 15 s for a sleep and 20 s for a lower point. */
const SLOW_END = 115_000;

interface Changes {
  readonly pending?: Partial<Pending> | null;
  readonly entry?: Partial<Entry>;
  readonly facts?: Partial<DeviceFacts>;
  readonly device?: Partial<ObservedDevice>;
}
const told = (
  id: string,
  { pending = {}, entry = {}, facts = {}, device = {} }: Changes = {},
): DeviceInput => ({
  entry: entryOf({ id, pending: pending === null ? null : pendingOf(pending), ...entry }),
  facts: minerFacts({ id, ...facts }),
  device: observed({ id, requestedAt: SLOW_END, ...device }),
});
/** Works and was told nothing. */
const free = (id: string, changes: Changes = {}) => told(id, { pending: null, ...changes });

describe('devices that are read at the slow end of their firmware', () => {
  const due = (input: DeviceInput, since: number, now: number) => dueForProof([input], since, now).length;

  it('are those that were told to fall, once', () => {
    expect(due(told('d'), 114_000, SLOW_END)).toBe(1);
    expect(due(told('d'), 114_000, SLOW_END - 1)).toBe(0);
    expect(due(told('d'), SLOW_END, 116_000)).toBe(0);
    expect(due(told('d', { pending: { kind: 'run', watts: 2000 } }), 119_000, 120_000)).toBe(1);
  });

  it('are not those that rise, have failed, were told nothing, or whose time nobody knows', () => {
    for (const pending of [{ direction: 'up' as const }, { failed: true }, null])
      expect(due(told('d', { pending }), 0, 200_000)).toBe(0);
    expect(due(told('d', { facts: { sleepMs: null } }), 0, 200_000)).toBe(0);
  });
});

describe('falls that are doubted', () => {
  const fallen: LimitMemory = {
    ...newLimitMemory(100_000, 0),
    drop: { fromWatts: 120_000, startedAt: 100_000, deadlineAt: 130_000, met: 0 },
  };
  /** The last moment for others that take 15 s: 2 s of the meter's lag and 3 s on the way before the deadline. */
  const LAST_CALL = 110_000;
  const doubted = (
    inputs: readonly DeviceInput[],
    memory: LimitMemory = fallen,
    { edition = 3, now = LAST_CALL }: { edition?: number; now?: number } = {},
  ) => {
    const context = stepContextOf([
      stepLimit(),
      stepLimit({ id: 'rack', parent: 'grid' }),
      stepLimit({ id: 'other' }),
    ]);
    const calm = newLimitMemory(100_000, 0);
    const limits = { grid: memory, rack: calm, other: calm };
    return [...doubtedFalls({ ...context, rules: { ...context.rules, edition } }, inputs, limits, now)];
  };

  it('are those whose slow end has passed at a reading that shows nothing: planned at what they drew', () => {
    expect(doubted([told('d'), free('f')])).toEqual([['d', 3000]]);
    expect(doubted([told('d', { device: { requestedAt: SLOW_END - 1 } }), free('f')])).toEqual([]);
    expect(doubted([told('d', { device: { requestedAt: null } }), free('f')])).toEqual([]);
    expect(doubted([told('d', { device: { fresh: false } }), free('f')])).toEqual([]);
    expect(doubted([told('d', { pending: { failed: true } }), free('f')])).toEqual([]);
    expect(doubted([told('d'), free('f')], fallen, { edition: 2 })).toEqual([]);
  });

  it('stand below a limit that fell, at any depth, or whose meter shows more than it may carry', () => {
    const below = (limit: string) => [told('d', { facts: { limit } }), free('f', { facts: { limit } })];
    expect(doubted(below('rack'))).toEqual([['d', 3000]]);
    expect(doubted(below('other'))).toEqual([]);
    const calm = newLimitMemory(100_000, 0);
    expect(doubted(below('rack'), calm)).toEqual([]);
    expect(doubted(below('rack'), { ...calm, samples: [[114_000, 100_001]] })).toEqual([['d', 3000]]);
    expect(doubted(below('rack'), { ...calm, samples: [[114_000, 100_000]] })).toEqual([]);
    const follow = { ceilingWatts: 110_000 } as LimitMemory['follow'] & object;
    expect(doubted(below('rack'), { ...calm, follow, samples: [[114_000, 105_000]] })).toEqual([]);
  });

  it('have until the quickest of the others must be asked, where there is a deadline', () => {
    const quick = free('q', { facts: { sleepMs: 5000 } });
    expect(doubted([told('d'), free('f')], fallen, { now: LAST_CALL - 1 })).toEqual([]);
    expect(doubted([told('d'), free('f'), quick], fallen, { now: LAST_CALL + 9999 })).toEqual([]);
    expect(doubted([told('d'), free('f'), quick], fallen, { now: LAST_CALL + 10_000 })).toEqual([
      ['d', 3000],
    ]);
    // Nobody counts on those whose time is not known.
    expect(doubted([told('d'), free('f', { facts: { sleepMs: null } })])).toEqual([]);
    const atOnce = { ...fallen, drop: { ...fallen.drop!, deadlineAt: null } };
    expect(doubted([told('d'), free('f')], atOnce, { now: SLOW_END })).toEqual([['d', 3000]]);
  });

  describe('beside others of their class that were told to sleep with them and show it', () => {
    /** Of a slow firmware: its slow end is two minutes, half of that 160 s. */
    const SLOW = { sleepMs: 120_000 };
    const over: LimitMemory = { ...fallen, samples: [[159_000, 100_001]] };
    const slow = (id: string, { facts, device, ...changes }: Changes = {}) =>
      told(id, {
        ...changes,
        entry: { sleptAt: 100_000, ...changes.entry },
        facts: { ...SLOW, ...facts },
        device: { requestedAt: 160_000, ...device },
      });
    const asleep = (count: number, { entry, ...changes }: Changes = {}) =>
      Array.from({ length: count }, (_, n) =>
        slow(`s${n}`, { pending: null, entry: { pointId: 'sleep', ...entry }, ...changes }),
      );
    const FREE = free('f', { facts: SLOW });
    const behind = (inputs: readonly DeviceInput[], memory = over, now = 161_000) =>
      doubted([...inputs, FREE], memory, { now });

    it('are doubted half way to their slow end', () => {
      expect(behind([slow('d'), ...asleep(20)])).toEqual([['d', 3000]]);
      expect(behind([slow('d', { device: { requestedAt: 159_999 } }), ...asleep(20)])).toEqual([]);
      expect(behind([slow('d', { pending: { failed: true } }), ...asleep(20)])).toEqual([]);
      const toLower = {
        pending: { kind: 'run' as const, pointId: 'low', watts: 2000 },
        facts: { changeMs: 120_000 },
      };
      expect(behind([slow('d', toLower), ...asleep(20)])).toEqual([]);
    });

    it('are not doubted within half a minute', () => {
      const quicker = { sleepMs: 40_000 };
      const at = (requestedAt: number) =>
        behind([slow('d', { facts: quicker, device: { requestedAt } }), ...asleep(20, { facts: quicker })]);
      expect(at(129_999)).toEqual([]);
      expect(at(130_000)).toEqual([['d', 3000]]);
    });

    it('are those of few: twenty others at least, four in five of all', () => {
      expect(behind([slow('d'), ...asleep(19)])).toEqual([]);
      const late = (count: number) => Array.from({ length: count }, (_, n) => slow(`d${n}`));
      expect(behind([...late(5), ...asleep(20)])).toEqual([['d0', 3000]]);
      expect(behind([...late(6), ...asleep(20)])).toEqual([]);
    });

    it('count nobody else among the others', () => {
      for (const changes of [
        { facts: { className: 'another' } },
        { entry: { sleptAt: 103_001 } },
        { entry: { sleptAt: 96_999 } },
        { entry: { sleptAt: null } },
        { entry: { pointId: 'normal' } },
        { device: { fresh: false } },
        { device: { inventory: 'absent' as const } },
      ])
        expect(behind([slow('d'), ...asleep(1, changes), ...asleep(19)])).toEqual([]);
      for (const sleptAt of [97_000, 103_000])
        expect(behind([slow('d'), ...asleep(20, { entry: { sleptAt } })])).toEqual([['d', 3000]]);
    });

    it('are judged by those of their own class and moment alone', () => {
      const others = Array.from({ length: 6 }, (_, n) =>
        slow(`o${n}`, { facts: { className: 'another' }, device: { requestedAt: 159_999 } }),
      );
      expect(behind([...others, slow('d'), ...asleep(20)])).toEqual([['d', 3000]]);
      const judged = others.map((other) => ({ ...other, device: { ...other.device, requestedAt: 160_000 } }));
      expect(behind([...judged, slow('d'), ...asleep(20)])).toEqual([['d', 3000]]);
      expect(behind([slow('d'), ...judged, free('g'), ...asleep(20)])).toEqual([['d', 3000]]);
    });

    it('are doubted where the meter shows too much, and if there was a deadline, also what was there at that', () => {
      const all = [slow('d'), ...asleep(20)];
      expect(behind(all, fallen)).toEqual([]);
      expect(behind(all, { ...over, samples: [[159_000, 100_000]] })).toEqual([]);
      expect(behind(all, { ...over, drop: null })).toEqual([['d', 3000]]);
      expect(behind(all, { ...over, drop: { ...over.drop!, deadlineAt: null } })).toEqual([['d', 3000]]);
      const deadlineAt = 156_000;
      const late = { ...over, drop: { ...over.drop!, deadlineAt } };
      expect(behind(all, late, deadlineAt + 5000)).toEqual([['d', 3000]]);
      expect(behind(all, late, deadlineAt + 4999)).toEqual([]);
    });

    it('are no more than the others at work can make up for', () => {
      const late = [slow('c'), slow('d')];
      expect(behind([...late, ...asleep(20)])).toEqual([['c', 3000]]);
    });
  });

  it('are no more than others can make up for', () => {
    const late = [
      told('a'),
      told('b'),
      told('c', { pending: { pointId: 'low', kind: 'run', watts: 2000, sentAt: 90_000 } }),
    ];
    expect(doubted([...late, free('f')])).toEqual([['a', 3000]]);
    // 2,000 W of the second are there: enough for the fall by a thousand.
    expect(doubted([...late, free('f'), free('g', { entry: { pointId: 'low' } })])).toEqual([
      ['a', 3000],
      ['c', 3000],
    ]);
    expect(doubted(late)).toEqual([]);
  });

  it('count on nobody who cannot go down, or did not when it was told', () => {
    const no: readonly Changes[] = [
      { entry: { quarantine: { since: 0, why: 'why' } } },
      { entry: { disobeyed: 1 } },
      { entry: { pointId: 'sleep' } },
      { entry: { pointId: null } },
      { device: { inventory: 'absent' } },
      { device: { fresh: false } },
      { facts: { points: [LOW, NORMAL] } },
      { facts: { points: [] } },
    ];
    for (const changes of no) expect(doubted([told('d'), free('f', changes)])).toEqual([]);
  });

  it('below two limits that fell are doubted once', () => {
    const context = stepContextOf([stepLimit(), stepLimit({ id: 'rack', parent: 'grid' })]);
    const facts = { limit: 'rack' };
    const inputs = [told('d', { facts }), free('f', { facts })];
    expect([...doubtedFalls(context, inputs, { grid: fallen, rack: fallen }, LAST_CALL)]).toEqual([
      ['d', 3000],
    ]);
  });
});
