import { describe, expect, it } from 'vitest';
import {
  book,
  type Entry,
  endedRise,
  expectedOf,
  type Finding,
  learn,
  type Pending,
  shows,
  worstOf,
} from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
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

const HOUR_MS = 3_600_000;
const miner = minerFacts();
const node = nodeFacts();

/** What an entry becomes by one reading at second 160, and what is told. */
function learnt(
  entry: Partial<Entry>,
  device: Partial<ObservedDevice> = {},
  facts: DeviceFacts = miner,
  now = 160_000,
): { entry: Entry; told: string[] } {
  const findings: Finding[] = [];
  const next = learn(entryOf(entry), facts, observed(device), now, findings);
  return { entry: next, told: findings.map(({ kind, device: id, message }) => `${kind} ${id}: ${message}`) };
}

describe('whether a reading shows what a command asked for', () => {
  const shown = (
    command: Partial<Pending>,
    device: Partial<ObservedDevice>,
    facts: DeviceFacts = miner,
  ): boolean => shows(pendingOf(command), facts, observed(device));

  it('a sleep: asleep by its own word, and by its own watts where it has any', () => {
    expect(shown({}, { activity: 'asleep', powerWatts: 300 })).toBe(true);
    expect(shown({}, { activity: 'asleep', powerWatts: 301 })).toBe(false);
    expect(shown({}, { activity: 'asleep', powerWatts: null })).toBe(true);
    expect(shown({}, { activity: 'asleep', powerWatts: 3000, reported: false })).toBe(true);
    expect(shown({}, { activity: 'running', powerWatts: 100 })).toBe(false);
    expect(shown({}, { activity: 'starting', powerWatts: 100, reported: false })).toBe(false);
  });

  it('a rise: running, at four fifths of what was asked where it tells its watts', () => {
    const up = { kind: 'run', watts: 3000, direction: 'up' } as const;
    expect(shown(up, { powerWatts: 2400 })).toBe(true);
    expect(shown(up, { powerWatts: 2399 })).toBe(false);
    expect(shown(up, { powerWatts: 100, reported: false })).toBe(true);
    expect(shown(up, { powerWatts: null })).toBe(true);
    expect(shown(up, { activity: 'starting' })).toBe(false);
    expect(shown(up, { activity: 'starting', reported: false })).toBe(false);
  });

  it('a fall to a lower point: five per cent above it at most, or by its limit to one per cent', () => {
    const down = { kind: 'run', watts: 2000, direction: 'down' } as const;
    expect(shown(down, { powerWatts: 2100 })).toBe(true);
    expect(shown(down, { powerWatts: 2101 })).toBe(false);
    expect(shown(down, { powerWatts: 2000, activity: 'starting' })).toBe(true);
    expect(shown(down, { powerWatts: 60, activity: 'asleep' })).toBe(false);
    expect(shown(down, { powerWatts: 60, activity: 'unknown' })).toBe(false);
    for (const silent of [{ reported: false }, { powerWatts: null }]) {
      expect(shown(down, { ...silent, limitWatts: 2020 })).toBe(true);
      expect(shown(down, { ...silent, limitWatts: 2021 })).toBe(false);
      expect(shown(down, { ...silent, limitWatts: null })).toBe(false);
    }
  });

  it('caps of a node: read back, to two per mille above and, for a rise, two per cent below', () => {
    const down = { kind: 'run', watts: 5000, direction: 'down' } as const;
    const up = { ...down, direction: 'up' } as const;
    expect(shown(down, { limitWatts: 5010 }, node)).toBe(true);
    expect(shown(down, { limitWatts: 5011 }, node)).toBe(false);
    expect(shown(down, { limitWatts: 1000 }, node)).toBe(true);
    expect(shown(down, { limitWatts: null }, node)).toBe(false);
    expect(shown(up, { limitWatts: 4900 }, node)).toBe(true);
    expect(shown(up, { limitWatts: 4899 }, node)).toBe(false);
    expect(shown(up, { limitWatts: 5011 }, node)).toBe(false);
  });
});

describe('a command that a later reading shows', () => {
  it('is done: the bound falls to what is reported with its noise, and what fell is kept with its moment', () => {
    const { entry, told } = learnt(
      { pending: pendingOf(), disobeyed: 2 },
      { activity: 'asleep', powerWatts: 100 },
    );
    expect(entry).toMatchObject({
      pointId: 'sleep',
      pending: null,
      disobeyed: 0,
      provenWatts: 103,
      lastDrop: { watts: 2940, at: 150_100 },
    });
    expect(entry).not.toHaveProperty('heldWatts');
    expect(told).toEqual(['obeyed d: d shows sleep']);
    // Never below the point, never above what it was.
    expect(learnt({ pending: pendingOf() }, { activity: 'asleep', powerWatts: 10 }).entry.provenWatts).toBe(
      60,
    );
    expect(
      learnt({ pending: pendingOf(), provenWatts: 50 }, { activity: 'asleep', powerWatts: 100 }).entry
        .provenWatts,
    ).toBe(50);
    expect(
      learnt({ pending: pendingOf({ fromWatts: 20 }) }, { activity: 'asleep', powerWatts: 10 }).entry
        .lastDrop!.watts,
    ).toBe(0);
  });

  it('proves no watts by a word alone, and its watts are gone at the slow end of the facts', () => {
    const quiet = (pending: Partial<Pending>, device: Partial<ObservedDevice>, facts = miner) =>
      learnt({ pending: pendingOf(pending) }, { reported: false, ...device }, facts).entry;
    expect(quiet({ sentAt: 140_000 }, { activity: 'asleep' })).toMatchObject({
      provenWatts: 3000,
      lastDrop: { at: 155_000 },
    });
    expect(quiet({}, { activity: 'asleep' }).lastDrop!.at).toBe(150_100);
    const low = { pointId: 'low', kind: 'run', watts: 2000, sentAt: 140_000 } as const;
    expect(quiet(low, { limitWatts: 2000 }).lastDrop!.at).toBe(160_000);
    expect(quiet(low, { limitWatts: 2000 }, minerFacts({ changeMs: null })).lastDrop!.at).toBe(150_100);
    expect(
      learnt({ pending: pendingOf(low) }, { powerWatts: null, limitWatts: 2000 }).entry.provenWatts,
    ).toBe(3000);
  });

  it('a rise is bounded by its point or its report, whichever is more, and is no fall', () => {
    const up = pendingOf({ pointId: 'normal', kind: 'run', watts: 3000, direction: 'up', fromWatts: 60 });
    const lastDrop = { watts: 5, at: 6 };
    expect(learnt({ pending: up, provenWatts: 3300, lastDrop }).entry).toMatchObject({
      provenWatts: 3000,
      pointId: 'normal',
      lastDrop,
    });
    expect(learnt({ pending: up }, { powerWatts: 3100 }).entry.provenWatts).toBe(3100);
    expect(learnt({ pending: up }, { powerWatts: null }).entry.provenWatts).toBe(3000);
  });

  it('of a node is bounded by the caps that are read back, and remembered as held', () => {
    const down = pendingOf({ pointId: 'cap-5', kind: 'run', watts: 5000, limitWatts: 5000, fromWatts: 8000 });
    expect(learnt({ pending: down }, { limitWatts: 4990 }, node).entry).toMatchObject({
      provenWatts: 4990,
      heldWatts: 5000,
      pointId: 'cap-5',
    });
    const free = pendingOf({ pointId: 'full', kind: 'run', watts: 8000, direction: 'up' });
    expect(learnt({ pending: free, heldWatts: 5000 }, { limitWatts: 8000 }, node).entry).toMatchObject({
      provenWatts: 8000,
      heldWatts: null,
    });
  });
});

describe('a command without effect', () => {
  const late = (entry: Partial<Entry>, now = 200_000, device: Partial<ObservedDevice> = {}) =>
    learnt({ pending: pendingOf(), ...entry }, device, miner, now);

  it('waits until it is due, and fails then, once', () => {
    expect(late({}, 199_999)).toMatchObject({ told: [], entry: { disobeyed: 0 } });
    const { entry, told } = late({});
    expect(told).toEqual(['disobeyed d: d shows no effect of "sleep" after 100 s']);
    expect(entry).toMatchObject({ disobeyed: 1, pending: { failed: true }, quarantine: null });
    expect(late({ pending: pendingOf({ failed: true }), disobeyed: 1 }).told).toEqual([]);
    // Silence, and a reading that was asked for before the command, let it fall due as well.
    expect(late({}, 200_000, { fresh: false }).told).toHaveLength(1);
    expect(late({}, 200_000, { requestedAt: 100_000, activity: 'asleep', powerWatts: 50 }).told).toHaveLength(
      1,
    );
    expect(late({}, 160_000, { requestedAt: 100_001, activity: 'asleep', powerWatts: 50 }).told).toEqual([
      'obeyed d: d shows sleep',
    ]);
  });

  it('sets the device aside the third time in a row, at its nameplate', () => {
    expect(late({ disobeyed: 1 }).entry.quarantine).toBeNull();
    const { entry, told } = late({ disobeyed: 2 });
    const why = '3 commands in a row without effect, the last "sleep"';
    expect(entry).toMatchObject({
      pending: null,
      pointId: null,
      disobeyed: 3,
      quarantine: { since: 200_000, why },
    });
    expect(told[1]).toBe(`quarantined d: d is set aside at its nameplate: ${why}`);
  });

  it('and the device gets another chance after half an hour', () => {
    const quarantine = { since: 100_000, why: 'x' };
    const until = (now: number) =>
      learnt({ quarantine, disobeyed: 3, capRises: [1], pointId: null }, { fresh: false }, miner, now);
    expect(until(1_900_000)).toMatchObject({ told: [], entry: { quarantine, disobeyed: 3 } });
    const { entry, told } = until(1_900_001);
    expect(entry).toMatchObject({ quarantine: null, disobeyed: 0, capRises: [] });
    expect(told).toEqual(['released d: d gets another chance after 30 minutes of quarantine']);
  });
});

describe('silence', () => {
  it('begins with the last reading, for those that stand in their place, and ends with the next', () => {
    const since = (device: Partial<ObservedDevice>, silentSince: number | null = null) =>
      learnt({ silentSince }, { fresh: false, ...device }).entry.silentSince;
    expect(since({})).toBe(150_100);
    expect(since({ inventory: 'absent' })).toBe(150_100);
    expect(since({ inventory: 'held' })).toBeNull();
    expect(since({ inventory: 'expected' })).toBeNull();
    expect(since({ sampledAt: null })).toBe(160_000);
    expect(since({ fresh: true, sampledAt: null })).toBe(160_000);
    expect(since({ fresh: true, requestedAt: null })).toBe(150_100);
    expect(since({}, 7)).toBe(7);
    expect(since({ fresh: true }, 7)).toBeNull();
  });
});

describe('without a command an entry follows what its device shows', () => {
  it('a running one is bounded by its point and by what it says, whichever is more', () => {
    const bound = (entry: Partial<Entry>, device: Partial<ObservedDevice>) =>
      learnt(entry, device).entry.provenWatts;
    expect(bound({ provenWatts: 100 }, { powerWatts: 2000 })).toBe(3000);
    expect(bound({ provenWatts: 100 }, { powerWatts: 3100 })).toBe(3193);
    expect(bound({ provenWatts: 9000 }, { powerWatts: 3100 })).toBe(3193);
    expect(bound({ provenWatts: 100 }, { powerWatts: 4000 })).toBe(4120);
    expect(bound({ provenWatts: 100 }, { reported: false })).toBe(3300);
    expect(bound({ provenWatts: 100 }, { powerWatts: null })).toBe(3300);
    // A lower limit that its own word names is a lower point.
    expect(bound({ provenWatts: 100 }, { powerWatts: 1900, limitWatts: 2000 })).toBe(2000);
  });

  it('stays at the point it was put to while what it draws agrees with that', () => {
    const at = (entry: Partial<Entry>, device: Partial<ObservedDevice>, facts = miner) =>
      learnt(entry, device, facts).entry.pointId;
    const low = { pointId: 'low' };
    expect(at(low, { powerWatts: 2100 })).toBe('low');
    expect(at(low, { powerWatts: 2101 })).toBe('normal');
    expect(at(low, { powerWatts: 2000, reported: false })).toBe('normal');
    expect(at(low, { powerWatts: null })).toBe('normal');
    expect(at(low, { powerWatts: 2000, activity: 'starting' })).toBe('normal');
    expect(at({ pointId: 'normal' }, { powerWatts: 2000, limitWatts: 2000 })).toBe('low');
    expect(at({ pointId: 'gone' }, { powerWatts: 2000 })).toBe('normal');
    expect(at(low, { powerWatts: 60, activity: 'asleep' })).toBe('sleep');
  });

  it('one that shows no point counts at its nameplate', () => {
    expect(learnt({ provenWatts: 100 }, { activity: 'unknown' }).entry).toMatchObject({
      provenWatts: 3300,
      pointId: 'normal',
    });
  });

  it('a node that shows no point has its caps for a bound all the same', () => {
    const { entry } = learnt({ pointId: 'full' }, { activity: 'unknown', limitWatts: 6000 }, node);
    expect(entry).toMatchObject({ pointId: null, provenWatts: 6000 });
  });

  it('one that idles without an order keeps its bound: it may be back in any second', () => {
    const asleep = { activity: 'asleep', powerWatts: 60 } as const;
    expect(learnt({}, asleep).entry).toMatchObject({ pointId: 'sleep', provenWatts: 3000 });
    expect(learnt({ pointId: 'sleep', provenWatts: 60 }, asleep).entry.provenWatts).toBe(60);
  });

  it('one that works although it slept is booked at the most it may draw', () => {
    const { entry, told } = learnt({ pointId: 'sleep', provenWatts: 60 }, { powerWatts: 500 });
    expect(entry).toMatchObject({ pointId: 'normal', provenWatts: 3300, roseAt: 150_100 });
    expect(told).toEqual(['rose-by-itself d: d works although it was put to sleep']);
    const strong = minerFacts({ nameplateWatts: 2500 });
    expect(learnt({ pointId: 'sleep' }, {}, strong).entry.provenWatts).toBe(3000);
  });

  it('full power is learnt by a miner at work alone, and its usual limit at the first sight of it', () => {
    expect(learnt({}, { limitWatts: 3400 }).entry.normalLimitWatts).toBe(3400);
    expect(learnt({ normalLimitWatts: 3000 }, { limitWatts: 3400 }).entry.normalLimitWatts).toBe(3000);
    expect(learnt({}, { limitWatts: 3400, activity: 'starting' }).entry.normalLimitWatts).toBeNull();
    expect(learnt({}, { limitWatts: 8000 }, node).entry.normalLimitWatts).toBeNull();
    const seen = (before: number, powerWatts: number | null, more: Partial<Entry> = {}) =>
      learnt({ observedWatts: before, ...more }, { powerWatts }).entry.observedWatts;
    expect(seen(0, 0)).toBe(0);
    expect(seen(0, null)).toBe(0);
    expect(seen(3000, 2970)).toBe(3000);
    expect(seen(3000, 2969)).toBe(2994);
    expect(seen(3000, 2551)).toBe(2911);
    expect(seen(3000, 2550)).toBe(3000);
    expect(seen(3000, 3200, { pending: pendingOf() })).toBe(3000);
  });
});

describe('caps of a node that something else raised', () => {
  const raised = (entry: Partial<Entry>, limitWatts: number | null) =>
    learnt({ pointId: 'cap-5', heldWatts: 5000, ...entry }, { limitWatts }, node);

  it('are booked at once, and told beyond half a per cent', () => {
    expect(raised({}, 5024)).toMatchObject({ told: [], entry: { provenWatts: 5024, heldWatts: 5000 } });
    const { entry, told } = raised({}, 7000);
    expect(entry).toMatchObject({
      provenWatts: 7000,
      heldWatts: null,
      capRises: [160_000],
      roseAt: 150_100,
      quarantine: null,
    });
    expect(told).toEqual([
      'rose-by-itself d: the caps of d were raised by something else, from 5000 W to 7000 W (1 in an hour)',
    ]);
    expect(raised({}, null).entry.provenWatts).toBe(10_000);
    expect(raised({ heldWatts: null }, 7000).told).toEqual([]);
    expect(learnt({ pointId: 'full' }, { limitWatts: 7000 }, node).told).toEqual([]);
    expect(raised({ quarantine: { since: 150_000, why: 'x' } }, 7000).told).toEqual([]);
  });

  it('bound nothing any more after the fourth time within an hour', () => {
    const now = 160_000;
    const old = now - HOUR_MS;
    expect(raised({ capRises: [old, 1, 2] }, 7000).entry).toMatchObject({
      capRises: [1, 2, now],
      quarantine: null,
    });
    const { entry, told } = raised({ capRises: [old + 1, 1, 2] }, 7000);
    const why = 'something else raised its caps 4 times within an hour';
    expect(entry).toMatchObject({ pointId: null, quarantine: { since: now, why } });
    expect(told[1]).toBe(`quarantined d: d is set aside at its nameplate: ${why}`);
  });
});

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
    expect(endedRise(none, observed())).toBe(none);
  });

  it('is none of a GPU node: its caps are its worst case', () => {
    const cap = pendingOf({ pointId: 'full', kind: 'run', watts: 8000, direction: 'up' });
    const { entry } = learnt({ pending: cap }, { limitWatts: 8000 }, node);
    expect(entry).toMatchObject({ pending: null, pointId: 'full' });
    expect(entry).not.toHaveProperty('rising');
  });
});
