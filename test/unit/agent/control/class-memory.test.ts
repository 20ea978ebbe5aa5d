import { describe, expect, it } from 'vitest';
import {
  type ClassMemories,
  learnClasses,
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

  it('sheds more by what devices ignore, weighted by their watts, up the tree', () => {
    const tree = [
      { id: 'grid', parent: null, gain: 1 },
      { id: 'hall', parent: 'grid', gain: 1 },
      { id: 'spare', parent: 'grid', gain: 1 },
    ] as StepLimit[];
    const classes = {
      bad: { judged: 80, ignored: 11, sleepMs: [], changeMs: [] },
      worse: { judged: 80, ignored: 80, sleepMs: [], changeMs: [] },
    };
    const one = (
      of: Partial<DeviceFacts>,
      device: Partial<ObservedDevice> = {},
      entry: Partial<Entry> = {},
    ) => ({
      entry: entryOf(entry),
      facts: minerFacts({ limit: 'hall', className: 'bad', ...of }),
      device: observed(device),
    });
    const oversheds = (...inputs: DeviceInput[]) => overshedShares(tree, inputs, classes, RULES);
    const shares = (...inputs: DeviceInput[]) =>
      [...oversheds(...inputs)].map(([id, { share }]) => [id, share]);
    // (11 + 0.05 * 20) of 100 commands; a quarter at most; what is not known counts as configured.
    expect(shares(one({}))).toEqual([
      ['spare', 0.05],
      ['hall', 0.12],
      ['grid', 0.12],
    ]);
    const by = (...inputs: DeviceInput[]) => shares(...inputs).at(-1)![1];
    expect(by(one({ className: 'worse' }))).toBe(0.25);
    expect(by(one({ className: 'new' }))).toBeCloseTo(0.05, 12);
    const weak = {
      className: 'worse',
      points: [minerFacts().points[0]!, { ...minerFacts().points[2]!, watts: 1000 }],
    };
    expect(by(one({}), one(weak))).toBeCloseTo((3000 * 0.12 + 1000 * 0.25) / 4000, 12);
    expect(by(one({}), one({ ...weak, limit: 'grid' }))).toBeCloseTo((3000 * 0.12 + 1000 * 0.25) / 4000, 12);
    // Who cannot be commanded sheds nothing.
    for (const out of [
      one(weak, { inventory: 'absent' }),
      one(weak, {}, { quarantine: { since: 0, why: '' } }),
      one({ ...weak, points: weak.points.slice(1) }),
      one({ ...weak, limit: 'nowhere' }),
    ])
      expect(by(one({}), out)).toBeCloseTo(0.12, 12);
    // What one comes to, and how long the quickest at work takes.
    const slow = { sleepMs: 60_000, changeMs: 480_000 };
    expect(oversheds(one({ ...weak, ...slow }), one({ ...slow, limit: 'grid' })).get('grid')).toMatchObject({
      deviceWatts: 2000,
      quickestMs: 60_000,
    });
    const mixed = oversheds(
      one(slow),
      one({ sleepMs: 5000 }, {}, { pointId: 'sleep' }),
      one({ sleepMs: null, changeMs: null }),
    );
    expect(mixed.get('hall')).toMatchObject({ deviceWatts: 3000, quickestMs: 60_000 });
    expect(oversheds(one({}), one({ ...slow, limit: 'grid' })).get('grid')?.quickestMs).toBe(15_000);
    expect(oversheds(one(slow), one({ limit: 'grid' })).get('grid')?.quickestMs).toBe(15_000);
    // A node sleeps never and has its caps within seconds: somebody else can still be asked.
    const node = oversheds(one(slow), one({ kind: 'gpu-node', sleepMs: null, changeMs: 2000 }));
    expect(node.get('hall')?.quickestMs).toBe(2000);
    expect(mixed.get('spare')).toEqual({ share: 0.05, deviceWatts: 0, quickestMs: Number.POSITIVE_INFINITY });
  });
});
