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
