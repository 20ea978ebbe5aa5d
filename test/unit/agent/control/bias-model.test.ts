import { describe, expect, it } from 'vitest';
import { correctBias } from '../../../../agent/control/bias.ts';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { NodeSums } from '../../../../agent/control/node-sums.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import type { StepLimit } from '../../../../agent/control/step-context.ts';
import {
  entryOf,
  minerFacts,
  observed,
  pendingOf,
  stepContextOf,
  stepLimit,
} from '../../../support/control-states.ts';

const NOW = 1_000_000;

/** One limit: how it stands, what its meter shows (`null`: nothing) and what flows if devices obey. */
interface Node extends Partial<StepLimit> {
  readonly id: string;
  readonly shows: number | null;
  readonly expected?: number;
  readonly memory?: Partial<LimitMemory>;
}

function correct(
  nodes: readonly Node[],
  inputs: readonly DeviceInput[],
  unseen: Record<string, number> = {},
) {
  const limits: Record<string, LimitMemory> = {};
  const sums = new Map<string, NodeSums>();
  for (const { id, shows, expected = shows ?? 0, memory } of nodes) {
    limits[id] = { ...newLimitMemory(100_000, NOW - 60_000), ...memory };
    sums.set(id, {
      limit: id,
      expectedWatts: expected,
      worstWatts: expected,
      sumWorstWatts: expected,
      meteredWorstWatts: shows,
      measuredWatts: shows,
    });
  }
  const context = stepContextOf(
    nodes.map(({ shows, expected: _, memory: __, ...limit }) =>
      stepLimit({ ...limit, metered: shows !== null }),
    ),
  );
  correctBias(
    { ...context, rules: { ...context.rules, edition: 3 } },
    limits,
    sums,
    inputs,
    new Map(Object.entries(unseen)),
    NOW,
  );
  return limits;
}

function miner(
  entry: Partial<Entry> = {},
  device: Partial<ObservedDevice> = {},
  limit = 'grid',
): DeviceInput {
  return { entry: entryOf(entry), facts: minerFacts({ limit }), device: observed(device) };
}

/** What a limit's bias becomes out of `before`, where its meter shows `shows`. */
function biasAfter(before: number, shows: number, inputs: readonly DeviceInput[]): number {
  return correct([{ id: 'grid', shows, memory: { biasWatts: before } }], inputs)['grid']!.biasWatts;
}

/** What the plan knows of below a limit: it is over by all that flows beyond. */
function plannedAt(
  nodes: readonly Omit<Node, 'shows'>[],
  inputs: readonly DeviceInput[],
  unseen: Record<string, number> = {},
): number {
  const [root, ...rest] = nodes;
  const flows = 90_000;
  const after = correct(
    [
      { ...root!, shows: 0, expected: flows, memory: { inForceWatts: 0 } },
      ...rest.map((node) => ({ ...node, shows: null })),
    ],
    inputs,
    unseen,
  );
  return flows - after[root!.id]!.biasWatts;
}

/** What devices draw at this moment as far as known: what a bias of 10 kW falls by shows it. */
function presentAt(nodes: readonly Omit<Node, 'shows'>[], inputs: readonly DeviceInput[]): number {
  const shows = 9000;
  const [root, ...rest] = nodes;
  const after = correct(
    [{ ...root!, shows, memory: { biasWatts: 10_000 } }, ...rest.map((node) => ({ shows: null, ...node }))],
    inputs,
  );
  const excess = 10_000 + (after[root!.id]!.biasWatts - 10_000) / 0.05;
  return Math.round(shows - excess);
}

const GRID = { id: 'grid' };

describe('what a meter shows beyond the plan', () => {
  const two = [miner(), miner()];

  it.each([
    ['comes in by halves', 0, 6400, 200],
    ['on top of what was there', 300, 6400, 350],
    ['stays', 400, 6400, 400],
    ['goes by a twentieth', 800, 6400, 780],
    ['goes where nothing is beyond any more', 800, 5000, 760],
    ['is none below a watt', 1, 6000, 0],
    ['is a watt', 1, 6001, 1],
    ['never makes room', 0, 4000, 0],
  ])('%s', (_, before, shows, after) => {
    expect(biasAfter(before, shows, two)).toBeCloseTo(after, 9);
  });

  it.each([
    ['a command is under way', miner({ pending: pendingOf({ pointId: 'low', watts: 2000 }) })],
    ['one starts', miner({}, { activity: 'starting' })],
    ['one has just gone down', miner({ lastDrop: { watts: 900, at: NOW - 3999 } })],
    ['one was not asked yet', miner({}, { requestedAt: null })],
  ])('waits while %s', (_, moving) => {
    expect(biasAfter(0, 9000, [miner(), moving])).toBe(0);
    expect(biasAfter(800, 0, [miner(), moving])).toBe(760);
  });

  it('waits no longer than a fall takes to show', () => {
    expect(biasAfter(0, 6400, [miner(), miner({ lastDrop: { watts: 900, at: NOW - 4000 } })])).toBe(200);
    expect(biasAfter(0, 6400, [miner(), miner({}, { requestedAt: null, failure: 'timeout' })])).toBe(200);
  });
});

describe('what the plan knows of', () => {
  it.each<readonly [string, DeviceInput, number]>([
    ['where it is', miner({ pointId: 'low' }), 2000],
    ['where it is going', miner({ pending: pendingOf({ pointId: 'sleep' }) }), 60],
    ['its nameplate where nothing is known', miner({ pointId: null }), 3300],
    ['its nameplate where it is set aside', miner({ quarantine: { since: 0, why: '' } }), 3300],
    ['nothing before it is there', miner({}, { inventory: 'expected' }), 0],
    ['nothing once it was removed', miner({}, { inventory: 'removed' }), 0],
  ])('%s', (_, input, watts) => {
    expect(plannedAt([GRID], [input])).toBe(watts);
    // Others are counted beside it, and what nobody commands.
    expect(plannedAt([{ ...GRID, loadWorstWatts: 500 }], [input, miner()])).toBe(watts + 3500);
  });

  it.each([0, 700])('of who is not seen what is planned for it: %i W', (watts) => {
    expect(plannedAt([GRID], [miner({ id: 'd' })], { d: watts })).toBe(watts);
  });

  it('is carried up with losses, and with what was beyond it where no meter says better', () => {
    const hall = { id: 'hall', parent: 'grid', gain: 1.25, loadWorstWatts: 400 };
    const nodes = [GRID, { ...hall, memory: { biasWatts: 200 } }];
    expect(plannedAt(nodes, [miner(), miner({}, {}, 'hall')])).toBe(3000 + 3600 * 1.25);
    expect(presentAt(nodes, [miner(), miner({}, {}, 'hall')])).toBe(3000 + 3600 * 1.25);
  });
});

describe('what devices draw at this moment', () => {
  const down = { pending: pendingOf({ pointId: 'low', watts: 2000, fromWatts: 3100 }) };
  it.each<readonly [string, DeviceInput, number]>([
    ['their points', miner({}, { powerWatts: 2900 }), 3000],
    ['their own watts while they move', miner(down, { powerWatts: 2500 }), 2500],
    ['the most they move between where they tell none', miner(down, { reported: false }), 3100],
    ['the same where they told them long ago', miner(down, { fresh: false, powerWatts: 2500 }), 3100],
    [
      'where they go to, if that is more',
      miner(
        { pending: pendingOf({ pointId: 'normal', kind: 'run', direction: 'up', fromWatts: 60 }) },
        { reported: false },
      ),
      3000,
    ],
    ['nothing, by their own word', miner(down, { powerWatts: 0 }), 0],
    [
      'their points where they start without a word',
      miner({}, { activity: 'starting', reported: false }),
      3000,
    ],
  ])('%s', (_, input, watts) => {
    expect(presentAt([GRID], [input])).toBe(watts);
    expect(presentAt([{ ...GRID, loadWorstWatts: 500 }], [input, miner()])).toBe(watts + 3500);
  });

  it('is what a meter below shows', () => {
    const hall = { id: 'hall', parent: 'grid', gain: 1.25, shows: 2000 };
    expect(presentAt([GRID, hall], [miner(), miner({}, {}, 'hall')])).toBe(3000 + 2000 * 1.25);
  });
});

describe('more than a limit while the plan is under it', () => {
  const over = (watts: number, memory: Partial<LimitMemory>, inputs: readonly DeviceInput[]) =>
    correct(
      [{ id: 'grid', shows: 6000, expected: 10_000 + watts, memory: { inForceWatts: 10_000, ...memory } }],
      inputs,
    )['grid']!;
  const two = [miner(), miner()];

  it('counts in full, once what the last of it did can be seen', () => {
    expect(over(500, { biasRaisedAt: NOW - 3001 }, two)).toMatchObject({ biasWatts: 500, biasRaisedAt: NOW });
    const early = over(500, { biasRaisedAt: NOW - 3000 }, two);
    expect(early).toMatchObject({ biasWatts: 0, biasRaisedAt: NOW - 3000, overSince: NOW });
    // With what was known to be beyond: all that flows beyond the 6 kW of the plan.
    expect(over(500, { inForceWatts: 1000, biasWatts: 300 }, two).biasWatts).toBeCloseTo(4500, 9);
  });

  it('is none at the limit, nor below it', () => {
    for (const watts of [0, -2000]) {
      const memory = over(watts, { overSince: NOW - 1000, biasRaisedAt: NOW - 60_000 }, two);
      expect(memory).toMatchObject({ biasWatts: 0, biasRaisedAt: NOW - 60_000 });
      expect(memory).not.toHaveProperty('overSince');
    }
  });

  it('may be as much as is still to rise, also below another limit', () => {
    const up = pendingOf({ pointId: 'normal', kind: 'run', watts: 3000, direction: 'up' });
    const rising = miner({ pending: up }, { powerWatts: 2200 }, 'hall');
    const at = (watts: number) =>
      correct(
        [
          { id: 'grid', shows: 6000, expected: 10_000 + watts, memory: { inForceWatts: 10_000 } },
          { id: 'hall', parent: 'grid', gain: 1.25, shows: null },
        ],
        [miner(), rising],
      )['grid']!;
    // 800 W below, 1 kW with the losses.
    expect(at(1000)).toMatchObject({ biasWatts: 0, overSince: NOW });
    expect(at(1001)).toMatchObject({ biasWatts: 1001, biasRaisedAt: NOW });
    const falling = { ...rising, entry: entryOf({ pending: { ...up, direction: 'down' } }) };
    expect(
      correct(
        [{ id: 'grid', shows: 6000, expected: 10_100, memory: { inForceWatts: 10_000 } }],
        [{ ...falling, facts: minerFacts() }],
      )['grid'],
    ).toMatchObject({ biasWatts: 100, biasRaisedAt: NOW });
  });
});
