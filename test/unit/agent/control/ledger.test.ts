import { describe, expect, it } from 'vitest';
import { type Entry, type Finding, learn, NEW_ENTRY } from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import { observed } from '../../../support/control-states.ts';

const facts: DeviceFacts = {
  id: 'd',
  kind: 'miner',
  limit: 'grid',
  className: 'luxos',
  nameplateWatts: 3300,
  points: [
    { id: 'sleep', kind: 'sleep', watts: 60, limitWatts: null, dollarsPerHour: 0 },
    { id: 'normal', kind: 'run', watts: 3000, limitWatts: null, dollarsPerHour: 0.2 },
  ],
  sleepMs: 15_000,
  wakeMs: 300_000,
  changeMs: 60_000,
  wakeDollars: 0.02,
};

const RUNNING = observed({ requestedAt: 1000, sampledAt: 1020 });

/** What the ledger holds as the most that the device was seen drawing, after one reading. */
function observedAfter(
  before: number,
  reading: Partial<ObservedDevice>,
  normalLimitWatts: number | null = null,
): number {
  const entry: Entry = { id: 'd', provenWatts: 0, ...NEW_ENTRY, observedWatts: before, normalLimitWatts };
  const device: ObservedDevice = { ...RUNNING, ...reading };
  return learn(entry, facts, device, 2500, []).observedWatts;
}

describe('what a miner draws at full is learnt from its own reports', () => {
  it('goes up at once, and not beyond what its nameplate makes likely', () => {
    expect(observedAfter(3000, { powerWatts: 3200 })).toBe(3200);
    expect(observedAfter(3000, { powerWatts: 4290 })).toBe(4290);
    expect(observedAfter(3000, { powerWatts: 4291 })).toBe(3000);
  });

  it('comes down slowly, and not to what is no full draw', () => {
    const settled = observedAfter(3000, { powerWatts: 2600 });
    expect(settled).toBeGreaterThan(2600);
    expect(settled).toBeLessThan(3000);
    expect(observedAfter(3000, { powerWatts: 100 })).toBe(3000);
  });

  it('learns nothing from what was not reported, not running or under a lower limit', () => {
    expect(observedAfter(3000, { powerWatts: 3200, reported: false })).toBe(3000);
    expect(observedAfter(3000, { powerWatts: 3200, activity: 'starting' })).toBe(3000);
    expect(observedAfter(3000, { powerWatts: 3200, limitWatts: 3300 }, 3400)).toBe(3000);
    expect(observedAfter(3000, { powerWatts: 3200, limitWatts: 3400 }, 3400)).toBe(3200);
  });
});

describe('a miner that works although it slept', () => {
  const asleep: Entry = { id: 'd', provenWatts: 60, ...NEW_ENTRY, pointId: 'sleep' };

  it('is told as one that rose by itself', () => {
    const findings: Finding[] = [];
    const entry = learn(asleep, facts, RUNNING, 2500, findings);
    expect(findings.map((finding) => finding.kind)).toEqual(['rose-by-itself']);
    expect(entry).toMatchObject({ pointId: 'normal', roseAt: 1020, provenWatts: 3300 });
  });

  it('is no surprise while people hold it: what they do with it is theirs, and it is booked all the same', () => {
    const findings: Finding[] = [];
    const entry = learn(asleep, facts, { ...RUNNING, inventory: 'held' }, 2500, findings);
    expect(findings).toEqual([]);
    expect(entry).toMatchObject({ pointId: 'normal', roseAt: null });
    expect(entry.provenWatts).toBeGreaterThanOrEqual(3000);
  });
});
