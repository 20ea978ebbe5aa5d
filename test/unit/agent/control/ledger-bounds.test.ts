import { describe, expect, it } from 'vitest';
import { book, type Entry, endedRise, expectedOf, worstOf } from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import {
  entryOf,
  LOW,
  learnt,
  minerFacts,
  NORMAL,
  nodeFacts,
  observed,
  pendingOf,
  SLEEP,
} from '../../../support/control-states.ts';

const HOUR_MS = 3_600_000;
const miner = minerFacts();
const node = nodeFacts();

describe('a command is booked before it is sent', () => {
  const NOW = 500_000;
  const booked = (entry: Partial<Entry>, point = SLEEP, from = 3000, facts = miner) =>
    book(entryOf(entry), facts, point, { watts: from }, NOW, 10_000, 'the cause');

  it('a sleep keeps what was proved, and is due after the time that the facts give', () => {
    const entry = booked({ wokeAt: 5, wakes: [5] });
    expect(entry).toMatchObject({ provenWatts: 3000, sleptAt: NOW, wokeAt: 5, wakes: [5] });
    expect(entry.pending).toEqual({
      pointId: 'sleep',
      kind: 'sleep',
      watts: 60,
      limitWatts: null,
      direction: 'down',
      sentAt: NOW,
      dueAt: NOW + 25_000,
      fromWatts: 3000,
      failed: false,
      cause: 'the cause',
    });
    expect(booked({}, SLEEP, 3000, minerFacts({ sleepMs: null })).pending!.dueAt).toBe(NOW + 70_000);
  });

  it('a wake counts with its overshoot, from the first watt, and in the hour of its wakes', () => {
    const entry = booked(
      { pointId: 'sleep', provenWatts: 60, wakes: [NOW - HOUR_MS, NOW - HOUR_MS + 1] },
      NORMAL,
      60,
    );
    expect(entry).toMatchObject({
      provenWatts: 3301,
      wokeAt: NOW,
      sleptAt: null,
      wakes: [NOW - HOUR_MS + 1, NOW],
    });
    expect(entry.pending).toMatchObject({ direction: 'up', dueAt: NOW + 310_000, fromWatts: 60 });
    // One that was told to sleep a moment ago is woken as well.
    expect(booked({ pending: pendingOf() }, NORMAL, 60).wokeAt).toBe(NOW);
  });

  it('a change between points takes the time of a change, up at its point, down at what was proved', () => {
    const up = booked({ pointId: 'low', provenWatts: 2000 }, NORMAL, 2000);
    expect(up).toMatchObject({ provenWatts: 3000, wokeAt: null, wakes: [], sleptAt: null });
    expect(up.pending).toMatchObject({ direction: 'up', dueAt: NOW + 30_000 });
    const down = booked({ provenWatts: 3100 }, LOW);
    expect(down).toMatchObject({ provenWatts: 3100, wokeAt: null });
    expect(down.pending).toMatchObject({ direction: 'down', limitWatts: 2000 });
    expect(booked({}, NORMAL, 3000).pending!.direction).toBe('down');
    expect(
      booked({ provenWatts: 10, pointId: 'low', pending: pendingOf({ kind: 'run' }) }, NORMAL, 2000).wokeAt,
    ).toBeNull();
  });
});

describe('the most that a device could be drawing', () => {
  const worst = (device: Partial<ObservedDevice>, entry: Partial<Entry> = {}, facts = miner) =>
    worstOf(entryOf({ provenWatts: 2000, ...entry }), facts, observed(device));

  it('is nothing for who was never seen or is removed', () => {
    expect(worst({ inventory: 'expected' })).toBe(0);
    expect(worst({ inventory: 'removed' })).toBe(0);
  });

  it('is its nameplate, or what was proved if that is more, where nobody can say', () => {
    for (const device of [
      { inventory: 'held' },
      { inventory: 'absent' },
      { failure: 'wrong-device' },
      { fresh: false },
    ] as const) {
      expect(worst({ ...device, powerWatts: 10 }), JSON.stringify(device)).toBe(3300);
      expect(worst({ ...device, powerWatts: 10 }, { provenWatts: 4000 }), JSON.stringify(device)).toBe(4000);
    }
    const quarantine = { since: 0, why: '' };
    expect(worst({ powerWatts: 10 }, { quarantine })).toBe(3300);
    expect(worst({ powerWatts: 10 }, { quarantine, provenWatts: 4000 })).toBe(4000);
    expect(worst({ powerWatts: 10, failure: 'timeout' })).toBe(2000);
  });

  it('is what was proved, or what it says of itself if that is more', () => {
    expect(worst({ powerWatts: 1500 })).toBe(2000);
    expect(worst({ powerWatts: 2500 })).toBe(2500);
    expect(worst({ powerWatts: null })).toBe(2000);
    expect(worst({ powerWatts: 2500, reported: false })).toBe(2000);
    expect(worst({ powerWatts: 2500 }, {}, node)).toBe(2000);
  });
});

describe('what a device draws if it obeys', () => {
  const expected = (device: Partial<ObservedDevice>, entry: Partial<Entry> = {}, facts = miner) =>
    expectedOf(entryOf(entry), facts, observed(device));

  it('is what it was told last, unless that failed', () => {
    expect(expected({}, { pending: pendingOf() })).toBe(60);
    expect(expected({}, { pending: pendingOf({ failed: true }) })).toBe(3000);
    expect(expected({ inventory: 'expected' }, { pending: pendingOf() })).toBe(0);
    expect(expected({ inventory: 'removed' })).toBe(0);
  });

  it('is what it shows; of a node its caps if they are more', () => {
    expect(expected({ powerWatts: 2500 })).toBe(2500);
    expect(expected({ powerWatts: 2500, limitWatts: 5000 }, {}, node)).toBe(5000);
    expect(expected({ powerWatts: 5500, limitWatts: 5000 }, {}, node)).toBe(5500);
    expect(expected({ powerWatts: 2500, limitWatts: null }, {}, node)).toBe(10_000);
  });

  it('is its point, else its nameplate, while nothing is known of now', () => {
    expect(expected({ fresh: false, powerWatts: 1 }, { pointId: 'low' })).toBe(2000);
    expect(expected({ powerWatts: null }, { pointId: 'low' })).toBe(2000);
    expect(expected({ fresh: false }, { pointId: null })).toBe(3300);
  });
});

describe('a rise that shows before its end', () => {
  const up = pendingOf({ pointId: 'normal', kind: 'run', watts: 3000, direction: 'up', sentAt: 100_000 });

  it('is remembered until it was due, a start with what it ends above its target', () => {
    expect(learnt({ pending: up }, { powerWatts: 2500 }).entry).toMatchObject({
      pending: null,
      rising: { watts: 3000, until: 200_000 },
    });
    expect(learnt({ pending: up, wokeAt: 100_000 }, { powerWatts: 2500 }).entry.rising).toEqual({
      // A tenth more, rounded up.
      watts: 3301,
      until: 200_000,
    });
  });

  it('is forgotten when it was due, and when a fall shows', () => {
    const rising = { watts: 3000, until: 200_000 };
    expect(learnt({ rising }).entry.rising).toEqual(rising);
    expect(learnt({ rising }, {}, miner, 199_999).entry.rising).toEqual(rising);
    expect(learnt({ rising }, {}, miner, 200_000).entry).not.toHaveProperty('rising');
    const down = pendingOf({ pointId: 'low', kind: 'run', watts: 2000 });
    expect(learnt({ rising, pending: down }, { powerWatts: 2000 }).entry).not.toHaveProperty('rising');
    expect(learnt({ rising, pending: down }, { powerWatts: 2900 }).entry.rising).toEqual(rising);
  });

  it('is over when its own watts stay where they are, near the target, for a minute', () => {
    const rising = { watts: 3300, until: 900_000 };
    /** Readings as `second:watts`; `more` is true of the last one. */
    const left = (readings: string, more: Partial<ObservedDevice> = {}) => {
      const pairs = readings.split(' ').map((pair) => pair.split(':').map(Number));
      return pairs.reduce(
        (entry, [second, powerWatts], index) =>
          endedRise(
            entry,
            observed({
              sampledAt: second! * 1000,
              powerWatts: powerWatts!,
              ...(index === pairs.length - 1 ? more : {}),
            }),
            false,
          ),
        entryOf({ rising }),
      ).rising;
    };
    expect(left('100:2700')).toEqual({ ...rising, top: { watts: 2700, at: 100_000 } });
    expect(left('100:2700 160:2754')).toBeUndefined();
    expect(left('100:2700 159.999:2700')?.top).toEqual({ watts: 2700, at: 100_000 });
    // Still on its way: two hundredths more within the minute.
    expect(left('100:2700 160:2755')?.top).toEqual({ watts: 2755, at: 160_000 });
    // Above its target and back: the end of a start.
    expect(left('100:3240 130:3000 160:3010')).toBeUndefined();
    // Far from the target it is level for another reason, and a pool that went away says nothing of a rise.
    expect(left('100:2639 300:2639')).toBeDefined();
    expect(left('100:2640 300:2640')).toBeUndefined();
    expect(left('100:2700 110:400 200:2700 259.999:2700')?.top).toEqual({ watts: 2700, at: 200_000 });
    expect(left('100:3200 160:2720')).toBeUndefined();
    expect(left('100:3200 160:2719')?.top?.watts).toBe(2719);
    for (const more of [
      { fresh: false },
      { reported: false },
      { powerWatts: null },
      { activity: 'starting' },
      { sampledAt: null },
    ] as const)
      expect(left('100:2700 160:2700', more)?.top, JSON.stringify(more)).toEqual({
        watts: 2700,
        at: 100_000,
      });
    const none = entryOf();
    expect(endedRise(none, observed(), true)).toBe(none);
  });

  it('is over as well when what it hashes says so, nearer to the target', () => {
    const rising = { watts: 3300, until: 900_000 };
    const left = (readings: readonly (readonly [ms: number, watts: number])[], byHashrate = true) =>
      readings.reduce(
        (entry, [sampledAt, powerWatts]) =>
          endedRise(entry, observed({ sampledAt, powerWatts, reported: false }), byHashrate),
        entryOf({ rising }),
      ).rising;
    const level = (ms: number, watts: number) =>
      [
        [100_000, watts],
        [100_000 + ms, watts],
      ] as const;
    expect(left(level(60_000, 2838))).toBeUndefined();
    expect(left(level(59_999, 2838))).toBeDefined();
    expect(left(level(60_000, 2837))).toBeDefined();
    expect(left(level(600_000, 2838), false)).toEqual(rising);
  });

  it('is none of a GPU node: its caps are its worst case', () => {
    const cap = pendingOf({ pointId: 'full', kind: 'run', watts: 8000, direction: 'up' });
    const { entry } = learnt({ pending: cap }, { limitWatts: 8000 }, node);
    expect(entry).toMatchObject({ pending: null, pointId: 'full' });
    expect(entry).not.toHaveProperty('rising');
  });
});
