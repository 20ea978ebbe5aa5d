import { describe, expect, it } from 'vitest';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type NodeInput, type RiseRules, sumNodes } from '../../../../agent/control/node-sums.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import { entryOf, minerFacts, nodeFacts, observed, pendingOf } from '../../../support/control-states.ts';

const RULES: RiseRules = {
  driftShare: 0.01,
  sleepersAtLeast: 2,
  meterLagMs: 2000,
  now: 160_000,
  gone: () => false,
};
const measured = (watts: number, highestWatts = watts, sampledAt = 150_000) => ({
  watts,
  highestWatts,
  sampledAt,
});
const limit = (changes: Partial<NodeInput> = {}): NodeInput => ({
  limit: 'grid',
  parent: null,
  gain: 1,
  loadWorstWatts: 0,
  measured: null,
  ...changes,
});
const input = (
  entry: Partial<Entry> = {},
  device: Partial<ObservedDevice> = {},
  facts: DeviceFacts = minerFacts(),
): DeviceInput => ({ entry: entryOf(entry), facts, device: observed(device) });
const asleep = (powerWatts = 60, sleptAt: number | null = 1) =>
  input({ pointId: 'sleep', provenWatts: powerWatts, sleptAt }, { activity: 'asleep', powerWatts });
const sumsOf = (
  devices: readonly DeviceInput[],
  node: Partial<NodeInput> = {},
  rules: Partial<RiseRules> = {},
) => sumNodes([limit(node)], devices, { ...RULES, ...rules }).get('grid')!;
/** What may rise above what a meter of 10 kW shows. */
const rise = (
  entry: Partial<Entry>,
  device: Partial<ObservedDevice>,
  facts?: DeviceFacts,
  rules?: Partial<RiseRules>,
) => sumsOf([input(entry, device, facts)], { measured: measured(10_000) }, rules).meteredWorstWatts! - 10_000;

describe('the two sums of a limit', () => {
  it('without a meter are those of its parts, loads included', () => {
    expect(sumsOf([input({ provenWatts: 3100 }), asleep()], { loadWorstWatts: 500 })).toEqual({
      limit: 'grid',
      expectedWatts: 3560,
      worstWatts: 3660,
      sumWorstWatts: 3660,
      meteredWorstWatts: null,
      measuredWatts: null,
    });
  });

  it('by a meter are what it shows and what may rise; the parts count where they are less', () => {
    // One at work may not rise. The load has shown 400 W of its 1,000 W.
    const sums = sumsOf([input({ provenWatts: 5000 })], {
      loadWorstWatts: 1000,
      measured: measured(3400, 3500),
    });
    expect(sums).toEqual({
      limit: 'grid',
      expectedWatts: 3400,
      worstWatts: 4000,
      sumWorstWatts: 6000,
      meteredWorstWatts: 4000,
      measuredWatts: 3400,
    });
    expect(sumsOf([input()], { measured: measured(3100), loadWorstWatts: 0 }).worstWatts).toBe(3100);
    // What a meter shows is there, whatever the parts add up to.
    expect(sumsOf([input()], { measured: measured(5000, 6000) })).toMatchObject({
      worstWatts: 6000,
      sumWorstWatts: 6000,
    });
    // More than the loads at their worst flows already: they rise no more.
    expect(sumsOf([input()], { measured: measured(5000), loadWorstWatts: 1000 }).meteredWorstWatts).toBe(
      5000,
    );
    expect(sumsOf([input()], { measured: measured(2000), loadWorstWatts: 700 }).meteredWorstWatts).toBe(2700);
  });

  it('rise to the parent with the losses of the child', () => {
    const tree = [
      limit({ measured: measured(30_000), loadWorstWatts: 100 }),
      limit({ limit: 'hall', parent: 'grid', gain: 2, loadWorstWatts: 500 }),
      limit({ limit: 'rack', parent: 'hall', gain: 1.5 }),
    ];
    const facts = minerFacts({ limit: 'rack' });
    const at = (sums: ReturnType<typeof sumNodes>) =>
      [...sums.values()].map(({ limit: id, worstWatts, expectedWatts }) => [id, worstWatts, expectedWatts]);
    const run = input({ provenWatts: 3200 }, {}, facts);
    expect(at(sumNodes(tree, [run], RULES))).toEqual([
      ['rack', 3200, 3000],
      ['hall', 5300, 5000],
      // 500 W of load are 1,000 W here; all of it may be in what the meter shows beyond the miner.
      ['grid', 30_000, 30_000],
    ]);
    const slept = {
      ...asleep(),
      facts,
      device: observed({ activity: 'asleep', powerWatts: 60 }),
    };
    const grid = (devices: DeviceInput[], rules: Partial<RiseRules> = {}) =>
      sumNodes(tree, devices, { ...RULES, ...rules }).get('grid')!.meteredWorstWatts! - 30_000;
    // The largest sleeper of the two below: 2,940 W are 8,820 W at the grid.
    expect(grid([slept])).toBeCloseTo(8820, 6);
    expect(grid([slept, slept, slept])).toBeCloseTo(17_640, 6);
    expect(grid([slept, slept, slept], { driftShare: 1 })).toBeCloseTo(26_460, 6);
    const starting = input({}, { activity: 'starting', powerWatts: 300 }, facts);
    expect(grid([starting])).toBeCloseTo(3 * 3000, 6);
    const falling = input({ pending: pendingOf() }, {}, facts);
    const rising = input({ pending: pendingOf({ kind: 'run', watts: 3500, direction: 'up' }) }, {}, facts);
    const expected = (devices: DeviceInput[]) =>
      sumNodes(tree, devices, RULES).get('grid')!.expectedWatts - 30_000;
    expect(expected([falling])).toBeCloseTo(-3 * 2940, 6);
    expect(expected([rising])).toBeCloseTo(3 * 500, 6);
  });

  it('count what a rise that showed has still to come to, until its end', () => {
    const rising = { watts: 3000, until: 160_001 };
    const room = (
      entry: Partial<Entry>,
      device: Partial<ObservedDevice> = {},
      rules: Partial<RiseRules> = {},
    ) =>
      sumNodes([limit({ measured: measured(30_000) })], [input(entry, { powerWatts: 2600, ...device })], {
        ...RULES,
        ...rules,
      }).get('grid')!.meteredWorstWatts! - 30_000;
    expect(room({})).toBe(0);
    expect(room({ rising })).toBe(400);
    expect(room({ rising: { ...rising, watts: 3300 } })).toBe(700);
    expect(room({ rising }, { powerWatts: 3100 })).toBe(0);
    expect(room({ rising }, {}, { now: 160_001 })).toBe(0);
    // Where it tells no watts of its own, by what is estimated; a fall that is on its way does not end it.
    expect(room({ rising }, { reported: false })).toBe(400);
    expect(room({ rising, pending: pendingOf() })).toBe(400);
    // Far below its point the room is not free either way.
    expect(room({ rising: { watts: 2000, until: 160_001 } }, { powerWatts: 1500 })).toBe(1500);
  });

  it('count what is right below a limit for it, not against it', () => {
    const tree = [
      limit({ measured: measured(30_000) }),
      limit({ limit: 'hall', parent: 'grid', gain: 2, loadWorstWatts: 500 }),
    ];
    const grid = (devices: DeviceInput[], rules: Partial<RiseRules> = {}) =>
      sumNodes(tree, devices, { ...RULES, ...rules }).get('grid')!;
    const facts = minerFacts({ limit: 'hall' });
    const starting = input({}, { activity: 'starting', powerWatts: 300 }, facts);
    expect(grid([starting]).meteredWorstWatts).toBeCloseTo(36_000, 6);
    const sleeper = { ...asleep(), facts };
    expect(grid([sleeper], { sleepersAtLeast: 0 }).meteredWorstWatts).toBeCloseTo(30_058.8, 6);
    expect(grid([input({ pending: pendingOf() }, {}, facts)]).expectedWatts).toBe(24_120);
    const up = pendingOf({ kind: 'run', watts: 3500, direction: 'up' });
    expect(grid([input({ pending: up }, {}, facts)]).expectedWatts).toBe(31_000);
    // Five miners explain all that the meter shows: the load below may come on top, with its losses.
    const five = Array.from({ length: 5 }, () => input({ provenWatts: 3000 }, {}, facts));
    expect(grid(five).meteredWorstWatts).toBe(31_000);
    expect(grid(five.slice(0, 4)).meteredWorstWatts).toBe(30_000);
  });

  it('keeps the largest sleepers of all that hang below, wherever they hang', () => {
    const tree = [limit({ measured: measured(30_000) }), limit({ limit: 'hall', parent: 'grid' })];
    const small = minerFacts({
      points: [minerFacts().points[0]!, { ...minerFacts().points[2]!, watts: 1060 }],
    });
    const one = (facts: DeviceFacts) => ({ ...asleep(), facts });
    const devices = [one(small), one({ ...small, limit: 'hall' }), one(minerFacts({ limit: 'hall' }))];
    const grid = (order: DeviceInput[]) =>
      sumNodes(tree, order, RULES).get('grid')!.meteredWorstWatts! - 30_000;
    expect(grid(devices)).toBe(3940);
    expect(grid([...devices].reverse())).toBe(3940);
    const largest = sumNodes(tree, devices, { ...RULES, sleepersAtLeast: 1 });
    expect(largest.get('grid')!.meteredWorstWatts! - 30_000).toBe(2940);
    const first = { measured: measured(10_000) };
    expect(sumsOf([one(small), asleep()], first, { sleepersAtLeast: 1 }).meteredWorstWatts).toBe(12_940);
    // Of few sleepers one is enough, wherever they hang.
    const few = (fewSleepers: number) =>
      sumNodes(tree, devices, { ...RULES, fewSleepers }).get('grid')!.meteredWorstWatts! - 30_000;
    expect(few(3)).toBe(2940);
    expect(few(2)).toBe(3940);
    const alone = sumsOf([one(small), asleep(), one(small)], { measured: measured(10_000) });
    expect(alone.meteredWorstWatts).toBe(13_940);
  });
});

describe('what may rise on top of a measurement', () => {
  it('of one at work that draws its point: nothing', () => {
    expect(rise({}, {})).toBe(0);
    expect(rise({}, { powerWatts: 2400 })).toBe(0);
    expect(rise({}, { powerWatts: null })).toBe(0);
  });

  it('of one that draws much less than its point: the rest of it', () => {
    expect(rise({}, { powerWatts: 2399 })).toBe(601);
    expect(rise({ pointId: 'low' }, { powerWatts: 1599 })).toBe(401);
    expect(rise({ pointId: null }, { powerWatts: 1000 })).toBe(2000);
    // Without watts of its own its hashrate tells as much: a pool that is back brings all of it in the same second.
    expect(rise({}, { reported: false, powerWatts: 100 })).toBe(2900);
    const before = sumNodes(
      [limit({ measured: measured(30_000) })],
      [input({}, { reported: false, powerWatts: 100 })],
      { ...RULES, seesIdle: false },
    );
    expect(before.get('grid')!.meteredWorstWatts).toBe(30_000);
  });

  it('of one that starts, or of which nobody knows what it does: full power with its overshoot', () => {
    expect(rise({}, { activity: 'starting', powerWatts: 300 })).toBeCloseTo(3000, 6);
    expect(rise({}, { activity: 'starting', powerWatts: 4000 })).toBe(0);
    for (const device of [
      { inventory: 'absent' },
      { fresh: false },
      { activity: 'unknown' },
      { activity: 'fault' },
    ] as const)
      expect(rise({}, device), JSON.stringify(device)).toBe(3300);
    const weak = minerFacts({ nameplateWatts: 1000 });
    expect(rise({}, { fresh: false }, weak)).toBeCloseTo(3300, 6);
    // What a node draws that was removed and answers still is in what the meter shows.
    for (const inventory of ['expected', 'removed'] as const) {
      expect(rise({}, { inventory })).toBe(0);
      expect(rise({}, { inventory, activity: 'starting', powerWatts: 300 })).toBe(0);
    }
  });

  it('of one that was told to rise: up to its point, with the overshoot of a wake', () => {
    const up = pendingOf({ kind: 'run', watts: 3500, direction: 'up' });
    expect(rise({ pending: up }, {})).toBe(500);
    expect(rise({ pending: up, wokeAt: 100_000 }, {})).toBeCloseTo(850, 6);
    expect(rise({ pending: up }, { powerWatts: 3600 })).toBe(0);
    expect(rise({ pending: pendingOf({ watts: 5000 }) }, {})).toBe(0);
  });

  it('of a sleeper by order: only drift; of one that idles by itself: all that was proved', () => {
    const idle = { activity: 'asleep', powerWatts: 60 } as const;
    expect(rise({ pointId: 'sleep', sleptAt: 1 }, idle)).toBe(2940);
    expect(rise({ pointId: 'sleep', sleptAt: 1 }, idle, minerFacts(), { sleepersAtLeast: 0 })).toBeCloseTo(
      29.4,
      6,
    );
    expect(rise({ pointId: 'sleep', sleptAt: null, provenWatts: 3200 }, idle)).toBe(3140);
    expect(rise({ pointId: 'low', sleptAt: 1, provenWatts: 3200 }, idle)).toBe(3140);
    expect(rise({ pointId: 'low', sleptAt: 1, provenWatts: 10 }, { ...idle, reported: false })).toBe(0);
    // Held: nobody put it to sleep for the site.
    expect(rise({ pointId: 'sleep', sleptAt: 1 }, { ...idle, inventory: 'held' })).toBe(0);
    expect(rise({ pointId: 'sleep', sleptAt: 1 }, { ...idle, powerWatts: 3500 })).toBe(0);
  });

  it('of a node: what its caps leave above its draw', () => {
    const node = nodeFacts();
    expect(rise({ provenWatts: 5000 }, { powerWatts: 4200 }, node)).toBe(800);
    expect(rise({ provenWatts: 4000 }, { powerWatts: 4200 }, node)).toBe(0);
    expect(rise({ provenWatts: 5000 }, { powerWatts: null }, node)).toBe(5000);
    expect(rise({ provenWatts: 5000 }, { powerWatts: 4200, fresh: false }, node)).toBe(10_000);
  });

  it('of one that is gone: what a sleeper might, by its nameplate', () => {
    const gone = { gone: (id: string) => id === 'd' };
    expect(rise({}, { fresh: false }, minerFacts(), gone)).toBe(3300);
    expect(rise({}, { fresh: false }, minerFacts(), { ...gone, sleepersAtLeast: 0 })).toBeCloseTo(33, 6);
    expect(rise({}, { powerWatts: 3400, fresh: true }, minerFacts(), gone)).toBe(0);
  });
});

describe('what is expected by a meter', () => {
  const expected = (entry: Partial<Entry>, device: Partial<ObservedDevice> = {}, sampledAt = 150_000) =>
    sumsOf([input(entry, device)], { measured: measured(10_000, 10_000, sampledAt) }).expectedWatts;

  it('is less by what is told to fall, and by a fall that it cannot have seen', () => {
    expect(expected({ pending: pendingOf() })).toBe(7060);
    expect(expected({ pending: pendingOf({ failed: true }) })).toBe(10_000);
    expect(expected({ pending: pendingOf({ fromWatts: 10 }) })).toBe(10_000);
    expect(expected({ pending: pendingOf({ fromWatts: 90_000 }) })).toBe(0);
    const lastDrop = { watts: 700, at: 148_001 };
    expect(expected({ lastDrop })).toBe(9300);
    expect(expected({ lastDrop: { ...lastDrop, at: 148_000 } })).toBe(10_000);
    expect(expected({ lastDrop }, { inventory: 'absent' })).toBe(10_000);
    expect(expected({ lastDrop, pending: pendingOf({ failed: true }) })).toBe(10_000);
  });

  it('is more by what is told to rise and has not', () => {
    const up = pendingOf({ kind: 'run', watts: 3500, direction: 'up', fromWatts: 9000 });
    expect(expected({ pending: up })).toBe(10_500);
    expect(expected({ pending: up }, { powerWatts: 4000 })).toBe(10_000);
    expect(expected({ pending: { ...up, failed: true } })).toBe(10_000);
    expect(expected({ pending: up }, { fresh: false })).toBe(13_500);
    expect(expected({ pending: up }, { powerWatts: null })).toBe(13_500);
  });
});
