import { describe, expect, it } from 'vitest';
import {
  type ClassMemories,
  learnClasses,
  learntTimes,
  overshedShares,
  withLearntTimes,
} from '../../../../agent/control/class-memory.ts';
import { type DeviceInput, type Entry, NEW_ENTRY } from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { ControlRules, StepLimit } from '../../../../agent/control/step-context.ts';

const RULES = { overshedShare: 0.05 } as ControlRules;
const LIMITS = [{ id: 'grid', parent: null, gain: 1 } as StepLimit];
const facts: DeviceFacts = {
  id: 'd',
  kind: 'miner',
  limit: 'grid',
  className: 'slowpoke',
  nameplateWatts: 3300,
  points: [
    { id: 'sleep', kind: 'sleep', watts: 60, limitWatts: null, dollarsPerHour: 0 },
    { id: 'normal', kind: 'run', watts: 3000, limitWatts: null, dollarsPerHour: 0.2 },
  ],
  sleepMs: 20_000,
  wakeMs: 60_000,
  changeMs: 10_000,
  wakeDollars: 0,
};

/** One fall of one device, `tookMs` from command to evidence, or ignored. */
function fall(classes: ClassMemories, tookMs: number | null, reported = true): ClassMemories {
  const pending = {
    pointId: 'sleep',
    kind: 'sleep',
    watts: 60,
    limitWatts: null,
    direction: 'down',
    sentAt: 1000,
    dueAt: 31_000,
    fromWatts: 3000,
    failed: false,
    cause: '',
  } as const;
  const base: Entry = { ...NEW_ENTRY, id: 'd', provenWatts: 3000, pointId: 'normal' };
  const after: Entry =
    tookMs === null
      ? { ...base, pending: { ...pending, failed: true } }
      : { ...base, pointId: 'sleep', pending: null };
  const device = { reported, sampledAt: 1000 + (tookMs ?? 31_000), inventory: 'present' } as ObservedDevice;
  return learnClasses(classes, { d: { ...base, pending } }, [{ entry: after, facts, device }]);
}

const awake: DeviceInput = {
  entry: { ...NEW_ENTRY, id: 'd', provenWatts: 3000 },
  facts,
  device: { inventory: 'present' } as ObservedDevice,
};

describe('what is learnt of a class', () => {
  it('times: the facts until enough was seen, then the slow end of what was seen', () => {
    let classes: ClassMemories = {};
    for (let count = 0; count < 19; count += 1) classes = fall(classes, 11_000);
    expect(withLearntTimes(facts, learntTimes(classes)).sleepMs).toBe(20_000);
    classes = fall(classes, 12_000);
    expect(withLearntTimes(facts, learntTimes(classes)).sleepMs).toBe(14_400);
    expect(withLearntTimes(facts, learntTimes(classes)).changeMs).toBe(10_000);
    // One slow one is enough to be the slow end; and nothing counts for more than three times the facts.
    expect(withLearntTimes(facts, learntTimes(fall(classes, 40_000))).sleepMs).toBe(48_000);
    expect(withLearntTimes(facts, learntTimes(fall(classes, 400_000))).sleepMs).toBe(60_000);
  });

  it('never less than two fifths of the facts, however fast it was', () => {
    let classes: ClassMemories = {};
    for (let count = 0; count < 50; count += 1) classes = fall(classes, 100);
    expect(withLearntTimes(facts, learntTimes(classes)).sleepMs).toBe(8000);
  });

  it('a class without watts of its own teaches no times: its word says nothing of when they went', () => {
    let classes: ClassMemories = {};
    for (let count = 0; count < 50; count += 1) classes = fall(classes, 1000, false);
    expect(withLearntTimes(facts, learntTimes(classes)).sleepMs).toBe(20_000);
    expect(classes['slowpoke']!.judged).toBeGreaterThan(40);
  });

  it('obedience: what is configured at the least, what is known beyond it', () => {
    const share = (classes: ClassMemories) => overshedShares(LIMITS, [awake], classes, RULES).get('grid')!;
    expect(share({})).toBeCloseTo(0.05, 6);
    let good: ClassMemories = {};
    for (let count = 0; count < 100; count += 1) good = fall(good, 5000);
    expect(share(good)).toBe(0.05);
    let bad: ClassMemories = {};
    for (let count = 0; count < 200; count += 1) bad = fall(bad, count % 5 === 0 ? null : 5000);
    expect(share(bad)).toBeGreaterThan(0.16);
    expect(share(bad)).toBeLessThan(0.21);
    // And it is forgotten again.
    let mended = bad;
    for (let count = 0; count < 1000; count += 1) mended = fall(mended, 5000);
    expect(share(mended)).toBe(0.05);
  });
});
