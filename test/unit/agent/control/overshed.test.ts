import { describe, expect, it } from 'vitest';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import { expectFalls, type Overshed, overshedShares } from '../../../../agent/control/overshed.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { SolvedPlan } from '../../../../agent/control/solve-plan.ts';
import type { ControlRules, StepContext, StepLimit } from '../../../../agent/control/step-context.ts';
import { entryOf, minerFacts, observed } from '../../../support/control-states.ts';

const RULES = { overshedShare: 0.05 } as ControlRules;
const NOW_RULES = { ...RULES, edition: 3 };

describe('what a limit sheds beyond need', () => {
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
    // In versions before also who sleeps, and who did not obey.
    for (const entry of [{ pointId: 'sleep' }, { disobeyed: 1 }])
      expect(by(one({}), one(weak, {}, entry))).toBeCloseTo((3000 * 0.12 + 1000 * 0.25) / 4000, 12);
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

  it('now counts those alone who can fall and may be relied on, and who obeyed the last time for less', () => {
    const limits = [{ id: 'grid', parent: null, gain: 1 }] as StepLimit[];
    const classes = { luxos: { judged: 80, ignored: 11, sleepMs: [], changeMs: [] } };
    const one = (entry: Partial<Entry> = {}, facts: Partial<DeviceFacts> = {}) => ({
      entry: entryOf(entry),
      facts: minerFacts(facts),
      device: observed(),
    });
    const of = (...inputs: DeviceInput[]) => overshedShares(limits, inputs, classes, NOW_RULES).get('grid')!;
    const quick = { sleepMs: 1000 };
    expect(of(one(), one({ obeyed: true }))).toEqual({
      share: (0.12 + 0.0125) / 2,
      deviceWatts: 3000,
      quickestMs: 15_000,
    });
    expect(of(one(), one({ pointId: 'sleep', obeyed: true }, quick), one({ disobeyed: 1 }, quick))).toEqual(
      of(one()),
    );
    expect(of(one({ disobeyed: 1 }))).toEqual({ share: 0.05, deviceWatts: 0, quickestMs: Infinity });
    // Less than configured, where everybody obeyed the last time.
    expect(of(one({ obeyed: true })).share).toBe(0.0125);
  });
});

describe('what is expected of a fall that begins', () => {
  const limits = [
    { id: 'grid', parent: null, gain: 1 },
    { id: 'hall', parent: 'grid', gain: 1 },
    { id: 'yard', parent: 'grid', gain: 1 },
  ] as StepLimit[];
  const context = (edition: number) =>
    ({ limits, devices: [], floors: [], rules: { ...RULES, edition } }) as StepContext;
  const drop = { fromWatts: 90_000, startedAt: 0, deadlineAt: null, met: 0 };
  const memories = (falls: Record<string, LimitMemory['drop']>) =>
    Object.fromEntries(
      limits.map(({ id }) => [id, { ...newLimitMemory(50_000, 0), drop: falls[id] ?? null }]),
    );
  const MEAN = new Map(
    limits.map(({ id }) => [id, { share: 0.07, deviceWatts: 5000, quickestMs: 1 } as Overshed]),
  );
  /** Four miners of 3 kW: two of the hall, one of which obeyed before, two of the yard. */
  const candidates = [
    { id: 'a', limit: 'hall', obeyed: true },
    { id: 'b', limit: 'hall', obeyed: false },
    { id: 'c', limit: 'yard', obeyed: true },
    { id: 'd', limit: 'yard', obeyed: false },
  ];
  const solvedWith =
    (modes: Record<string, string>, seen: unknown[] = []) =>
    (asked: Record<string, LimitMemory>) => {
      seen.push(Object.fromEntries(Object.entries(asked).map(([id, memory]) => [id, memory.drop?.ignored])));
      return {
        plan: {
          candidates: new Map(
            candidates.map(({ id, limit, obeyed }) => [
              id,
              {
                entry: entryOf({ id, ...(obeyed ? { obeyed: true } : {}) }),
                facts: minerFacts({ id, limit }),
                current: minerFacts().points.at(-1)!,
              },
            ]),
          ),
        },
        answer: { modes },
      } as unknown as SolvedPlan;
    };
  const expected = (
    falls: Record<string, LimitMemory['drop']>,
    modes: Record<string, string>,
    { edition = 3, seen = [] as unknown[] } = {},
  ) => {
    const next = expectFalls(context(edition), memories(falls), MEAN, {}, solvedWith(modes, seen));
    return Object.fromEntries(Object.entries(next).map(([id, memory]) => [id, memory.drop?.ignored]));
  };

  it('is what those will ignore who would go down if everybody obeyed, by how far each goes', () => {
    const seen: unknown[] = [];
    // 2,940 W of one that obeyed before, 1,000 W of one that was never asked.
    const { grid } = expected({ grid: drop }, { a: 'sleep', b: 'low', c: 'normal', d: 'gone' }, { seen });
    expect(grid!.share).toBeCloseTo((2940 * 0.0125 + 1000 * 0.05) / 3940, 12);
    expect(grid!.deviceWatts).toBe(1970);
    expect(seen).toEqual([{ grid: { share: 0, deviceWatts: 0 }, hall: undefined, yard: undefined }]);
  });

  it('of each limit by those below it; where nobody goes down by all that are at work', () => {
    const modes = { a: 'sleep', b: 'normal', c: 'sleep', d: 'sleep' };
    const all = expected({ grid: drop, hall: drop, yard: drop }, modes);
    expect(all['hall']).toEqual({ share: 0.0125, deviceWatts: 2940 });
    expect(all['yard']!.share).toBeCloseTo((0.0125 + 0.05) / 2, 12);
    expect(all['grid']!.share).toBeCloseTo((0.0125 * 2 + 0.05) / 3, 12);
    expect(expected({ hall: drop }, { c: 'sleep' })).toEqual({ hall: { share: 0.07, deviceWatts: 5000 } });
  });

  it('stays what it was when the fall began, and earlier versions had none', () => {
    const seen: unknown[] = [];
    expect(expected({ grid: { ...drop, ignored: { share: 0.2, deviceWatts: 1 } } }, {}, { seen })).toEqual(
      {},
    );
    expect(expected({}, {}, { seen })).toEqual({});
    expect(expected({ grid: drop }, { a: 'sleep' }, { edition: 2, seen })).toEqual({});
    expect(seen).toEqual([]);
  });
});
