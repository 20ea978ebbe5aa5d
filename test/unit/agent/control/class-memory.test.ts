import { describe, expect, it } from 'vitest';
import {
  type ClassMemories,
  ignoredShares,
  learnClasses,
  learnObedience,
  learntTimes,
  withLearntTimes,
} from '../../../../agent/control/class-memory.ts';
import { type DeviceInput, type Entry, NEW_ENTRY, type Pending } from '../../../../agent/control/ledger.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import { overshedShares } from '../../../../agent/control/overshed.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { ControlRules, StepLimit } from '../../../../agent/control/step-context.ts';
import { entryOf, minerFacts, observed, pendingOf } from '../../../support/control-states.ts';

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
    const share = (classes: ClassMemories) =>
      overshedShares(LIMITS, [awake], classes, RULES).get('grid')!.share;
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

describe('what is learnt of a class, figure by figure', () => {
  const pending = pendingOf({ sentAt: 1000, dueAt: 31_000 });
  /** One device of the class `luxos`, before and after a reading. */
  const learnt = (
    was: Partial<Pending> | null,
    after: Partial<Entry>,
    device: Partial<ObservedDevice> = {},
    before: ClassMemories = {},
    of = minerFacts(),
  ) => {
    const first = entryOf({ pending: was === null ? null : { ...pending, ...was } });
    const input = { entry: entryOf(after), facts: of, device: observed({ sampledAt: 9000, ...device }) };
    return learnClasses(before, { d: first }, [input]);
  };
  const obeyed = { pointId: 'sleep', pending: null };

  it('counts what was obeyed and what was ignored, each time less of what was before', () => {
    expect(learnt({}, obeyed)).toEqual({ luxos: { judged: 1, ignored: 0, sleepMs: [8000], changeMs: [] } });
    const before = { luxos: { judged: 100, ignored: 10, sleepMs: [], changeMs: [5] } };
    expect(learnt({}, { pending: { ...pending, failed: true } }, {}, before)).toEqual({
      luxos: { judged: 100.5, ignored: 10.95, sleepMs: [], changeMs: [5] },
    });
    expect(
      learnt({}, { quarantine: { since: 1, why: '' }, pointId: null }, {}, before)['luxos'],
    ).toMatchObject({
      ignored: 10.95,
    });
    expect(before.luxos.judged).toBe(100);
  });

  it('times a change apart from a sleep, and keeps a hundred of each', () => {
    const low = { pointId: 'low', kind: 'run' } as const;
    expect(learnt(low, { pointId: 'low', pending: null })['luxos']).toMatchObject({
      sleepMs: [],
      changeMs: [8000],
    });
    const many = Array.from({ length: 100 }, (_, n) => n);
    const before = { luxos: { judged: 0, ignored: 0, sleepMs: many, changeMs: [] } };
    expect(learnt({}, obeyed, {}, before)['luxos']!.sleepMs).toEqual([...many.slice(1), 8000]);
    expect(learnt({}, obeyed, { sampledAt: null })['luxos']).toMatchObject({ judged: 1, sleepMs: [] });
    expect(learnt({}, obeyed, { reported: false })['luxos']).toMatchObject({ judged: 1, sleepMs: [] });
  });

  it('leaves everything as it is where nothing was judged', () => {
    const before = { luxos: { judged: 3, ignored: 1, sleepMs: [], changeMs: [] } };
    const same = (...args: [Partial<Pending> | null, Partial<Entry>]) =>
      learnt(...args, {}, before) === before;
    expect(same(null, obeyed)).toBe(true);
    expect(same({ failed: true }, obeyed)).toBe(true);
    expect(same({ direction: 'up', kind: 'run' }, obeyed)).toBe(true);
    expect(same({}, { pending })).toBe(true);
    // A command in place of the one before says nothing of that one.
    expect(same({}, { pending, pointId: 'sleep' })).toBe(true);
    expect(same({}, { pending: null, pointId: 'low' })).toBe(true);
    expect(learnt({}, obeyed, {}, before, minerFacts({ kind: 'gpu-node' }))).toBe(before);
    expect(
      learnClasses(before, {}, [{ entry: entryOf(obeyed), facts: minerFacts(), device: observed() }]),
    ).toBe(before);
  });

  it('believes the ninety-nine hundredth of twenty times or more, within its bounds', () => {
    const times = (sleepMs: number[], changeMs: number[] = []) =>
      learntTimes({ luxos: { judged: 0, ignored: 0, sleepMs, changeMs } });
    const up = Array.from({ length: 100 }, (_, n) => 20_000 + n);
    expect(times(up).get('luxos')).toEqual({ sleepMs: 20_098, changeMs: null });
    expect(times([...up].reverse()).get('luxos')!.sleepMs).toBe(20_098);
    expect(times(up.slice(0, 20)).get('luxos')!.sleepMs).toBe(20_019);
    expect(times(up.slice(0, 19)).get('luxos')!.sleepMs).toBeNull();
    const of = minerFacts();
    expect(withLearntTimes(of, times(up))).toEqual({ ...of, sleepMs: 24_118 });
    expect(withLearntTimes(of, times([], up))).toEqual({ ...of, changeMs: 24_118 });
    expect(withLearntTimes(of, times([]))).toBe(of);
    expect(withLearntTimes(of, new Map())).toBe(of);
    const none = minerFacts({ sleepMs: null, changeMs: null });
    expect(withLearntTimes(none, times(up, up))).toBe(none);
    const gpu = minerFacts({ kind: 'gpu-node' });
    expect(withLearntTimes(gpu, times(up))).toBe(gpu);
    expect(
      withLearntTimes(
        of,
        times(
          up.map(() => 1),
          up.map(() => 1e6),
        ),
      ),
    ).toMatchObject({ sleepMs: 6000, changeMs: 60_000 });
  });

  it('judges apart who obeyed the last time', () => {
    const of = (
      obeyed: boolean,
      before: ClassMemories = {},
      again: Partial<Entry> = { pointId: 'sleep', pending: null },
    ) =>
      learnClasses(before, { d: entryOf({ pending, ...(obeyed ? { obeyed: true } : {}) }) }, [
        { entry: entryOf(again), facts: minerFacts(), device: observed({ sampledAt: 9000 }) },
      ])['luxos'];
    const times = { sleepMs: [8000], changeMs: [] };
    expect(of(false)).toEqual({ judged: 1, ignored: 0, ...times });
    expect(of(true)).toEqual({ judged: 0, ignored: 0, again: { judged: 1, ignored: 0 }, ...times });
    const before = {
      luxos: { judged: 4, ignored: 1, again: { judged: 100, ignored: 10 }, sleepMs: [], changeMs: [] },
    };
    const ignored = { pending: { ...pending, failed: true } };
    expect(of(true, before, ignored)).toEqual({
      ...before.luxos,
      again: { judged: 100.5, ignored: 10.95 },
    });
    expect(of(false, before, ignored)).toMatchObject({ ignored: 1.995, again: before.luxos.again });
  });

  it('expects of who obeyed the last time a quarter of what it expects of others, until falls say otherwise', () => {
    const memory = (judged: number, ignored: number, again?: { judged: number; ignored: number }) => ({
      luxos: { judged, ignored, sleepMs: [], changeMs: [], ...(again === undefined ? {} : { again }) },
    });
    const rules = { ...RULES, edition: 3 };
    const shares = (classes: ClassMemories, of = rules) =>
      [false, true].map((obeyed) => ignoredShares(classes, of)('luxos', obeyed));
    expect(shares({})).toEqual([0.05, 0.0125]);
    // What others do says nothing of them; nothing is expected below what is configured.
    expect(shares(memory(80, 19))).toEqual([0.2, 0.0125]);
    expect(shares(memory(180, 0, { judged: 180, ignored: 0 }))).toEqual([0.05, 0.0125]);
    expect(shares(memory(180, 0, { judged: 80, ignored: 9.75 }))).toEqual([0.05, 0.1]);
    expect(shares(memory(80, 80, { judged: 80, ignored: 80 }))).toEqual([0.25, 0.25]);
    // Versions before took the mean of a limit for no less than configured, not a class's.
    expect(shares(memory(80, 1), { ...RULES, edition: 2 })[0]).toBeCloseTo(0.02, 12);
    const twice = ignoredShares(memory(80, 19), rules);
    expect([twice('luxos', false), twice('luxos', false), twice('new', true)]).toEqual([0.2, 0.2, 0.0125]);
  });
});

describe('what an entry keeps of its last fall', () => {
  const falling = entryOf({ pending: pendingOf() });
  const kept = (entry: Partial<Entry>, before: Entry | undefined = falling) =>
    learnObedience(entryOf(entry), before);

  it('that it obeyed, and nothing more where it did not', () => {
    const shown = { pointId: 'sleep', pending: null };
    expect(kept(shown)).toEqual(entryOf({ ...shown, obeyed: true }));
    const known = entryOf({ ...shown, obeyed: true });
    expect(learnObedience(known, falling)).toBe(known);
    const ignored = { obeyed: true, disobeyed: 1, pending: pendingOf({ failed: true }) } as const;
    expect(kept(ignored)).not.toHaveProperty('obeyed');
    const aside = { obeyed: true, disobeyed: 3, pointId: null, quarantine: { since: 0, why: '' } } as const;
    expect(kept(aside)).not.toHaveProperty('obeyed');
    // Set aside by hand at the moment that it sleeps: that is no obedience.
    expect(kept({ ...shown, quarantine: { since: 0, why: '' } })).not.toHaveProperty('obeyed');
  });

  it('as it is while nothing was judged', () => {
    const same = (entry: Partial<Entry>, before?: Entry) => {
      const is = entryOf(entry);
      return learnObedience(is, before) === is;
    };
    const shown = { pointId: 'sleep', pending: null };
    expect(same(shown)).toBe(true);
    expect(same(shown, entryOf())).toBe(true);
    expect(same(shown, entryOf({ pending: pendingOf({ failed: true }) }))).toBe(true);
    expect(same(shown, entryOf({ pending: pendingOf({ direction: 'up' }) }))).toBe(true);
    expect(same({ obeyed: true, pending: pendingOf() }, falling)).toBe(true);
    expect(same({ obeyed: true, pending: pendingOf(), pointId: 'sleep' }, falling)).toBe(true);
    expect(same({ obeyed: true, pointId: 'low' }, falling)).toBe(true);
    // A command in place of the one before, or another point: that says nothing of that one.
    expect(same({ pending: pendingOf(), pointId: 'sleep' }, falling)).toBe(true);
    expect(same({ pointId: 'low' }, falling)).toBe(true);
    expect(same({ disobeyed: 1, pending: pendingOf({ failed: true }) }, falling)).toBe(true);
  });
});
