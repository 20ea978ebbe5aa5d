import { describe, expect, it } from 'vitest';
import { type Entry, type Pending, shows } from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import { learnt, minerFacts, nodeFacts, observed, pendingOf } from '../../../support/control-states.ts';

const HOUR_MS = 3_600_000;
const miner = minerFacts();
const node = nodeFacts();

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
