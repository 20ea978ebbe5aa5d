import { describe, expect, it } from 'vitest';
import type { Answer } from '../../../../agent/allocation/problem.ts';
import type { Following } from '../../../../agent/control/follow.ts';
import { commandsOf, type GateInput } from '../../../../agent/control/gate.ts';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { NodeSums } from '../../../../agent/control/node-sums.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import { type Candidate, currentPoint } from '../../../../agent/control/plan.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { StepLimit } from '../../../../agent/control/step-context.ts';
import {
  entryOf,
  LOW,
  minerFacts,
  nodeFacts,
  observed,
  pendingOf,
  stepContextOf,
  stepLimit,
} from '../../../support/control-states.ts';

const NOW = 1_000_000;
const TREE = [stepLimit(), stepLimit({ id: 'hall', parent: 'grid', gain: 2 })];

const device = (
  id: string,
  entry: Partial<Entry> = {},
  seen: Partial<ObservedDevice> = {},
  facts: Partial<DeviceFacts> = {},
): DeviceInput => ({
  entry: entryOf({ id, ...entry }),
  facts: minerFacts({ id, limit: 'hall', ...facts }),
  device: observed({ id, ...seen }),
});
const sleeper = (id: string, facts: Partial<DeviceFacts> = {}) =>
  device(id, { pointId: 'sleep', provenWatts: 60 }, { activity: 'asleep', powerWatts: 60 }, facts);

interface Case {
  readonly limits?: readonly StepLimit[];
  readonly memory?: Readonly<Record<string, Partial<LimitMemory>>>;
  /** Worst case now of each limit: by its parts, and by its meter. */
  readonly sums?: Readonly<Record<string, readonly [sum: number, metered: number | null]>>;
  readonly over?: readonly string[];
  readonly overGrant?: boolean;
  readonly prices?: Readonly<Record<string, number>>;
  readonly orders?: Partial<GateInput['orders']>;
  readonly tokens?: number;
  /** Per cent of the site a minute by which power may fall for money, and what is in its bucket. */
  readonly fall?: { readonly percent: number; readonly tokens: number };
  readonly following?: Following;
}

const paced = (context: GateInput['context'], percent: number | undefined): GateInput['context'] =>
  percent === undefined
    ? context
    : { ...context, rules: { ...context.rules, fallRampPercentPerMinute: percent } };

/** What the gate makes of `wanted` points. */
function gate(inputs: readonly DeviceInput[], wanted: Readonly<Record<string, string>>, given: Case = {}) {
  const limits = given.limits ?? TREE;
  const sums = new Map(
    limits.map(({ id }): [string, NodeSums] => {
      const [sumWorstWatts, meteredWorstWatts] = given.sums?.[id] ?? [10_000, null];
      return [id, { limit: id, sumWorstWatts, meteredWorstWatts } as NodeSums];
    }),
  );
  const candidates = new Map(
    inputs.map((input): [string, Candidate] => [
      input.facts.id,
      {
        ...input,
        current: currentPoint(input)!,
        allowed: input.facts.points,
        overGrant: given.overGrant ?? false,
      },
    ]),
  );
  return commandsOf({
    context: paced(stepContextOf(limits), given.fall?.percent),
    plan: { candidates, over: new Set(given.over ?? []), problem: { limits: [], devices: [], floors: [] } },
    answer: {
      modes: wanted,
      limits: Object.entries(given.prices ?? {}).map(([id, dollarsPerKwh]) => ({ id, dollarsPerKwh })),
    } as unknown as Answer,
    limits: Object.fromEntries(
      limits.map(({ id }) => [id, { ...newLimitMemory(100_000, 0), ...given.memory?.[id] }]),
    ),
    sums,
    inputs,
    orders: { reservedWatts: {}, ceilings: {}, ...given.orders },
    now: NOW,
    rampTokensWatts: given.tokens ?? 1e6,
    fallTokensWatts: given.fall?.tokens ?? 0,
    ...(given.following === undefined ? {} : { following: given.following }),
  });
}
const ids = (gated: ReturnType<typeof gate>) =>
  gated.commands.map(({ device: id, pointId }) => `${id} ${pointId}`);

describe('falls for money alone, where they have a ramp', () => {
  // The grid has 100 kW: at 60 % a minute the bucket holds 6 kW, at 10 % 1 kW.
  const both = [device('c'), device('a'), device('b')];
  const down = { a: 'sleep', b: 'sleep', c: 'sleep' };

  it('go as far as it lets them, who gains most first', () => {
    const dear = minerFacts().points.map((point) => ({ ...point, dollarsPerHour: -point.watts / 1000 }));
    const gated = gate(
      [...both, device('d', {}, {}, { points: dear })],
      { ...down, d: 'sleep' },
      {
        fall: { percent: 60, tokens: 5990 },
      },
    );
    expect(ids(gated)).toEqual(['d sleep', 'a sleep']);
    expect(gated.fallTokensWatts).toBe(5990 - 2 * 2940);
    expect(gated.heldFalls).toEqual({ count: 2, watts: 2 * 2940 });
    expect(gate(both, down, { fall: { percent: 60, tokens: 2939 } }).commands).toEqual([]);
  });

  it('one alone may go from a full bucket that is smaller than itself', () => {
    const gated = gate(both, down, { fall: { percent: 10, tokens: 1000 } });
    expect(ids(gated)).toEqual(['a sleep']);
    expect(gated.fallTokensWatts).toBe(1000 - 2940);
  });

  it('are never held up where a limit, a set point or an ended grant asks for them', () => {
    const none = { percent: 10, tokens: 0 };
    expect(ids(gate(both, down, { fall: none, over: ['grid'] }))).toHaveLength(3);
    expect(ids(gate(both, down, { fall: none, over: ['hall'] }))).toHaveLength(3);
    expect(ids(gate(both, down, { fall: none, over: ['elsewhere'] }))).toEqual([]);
    expect(ids(gate(both, down, { fall: none, overGrant: true }))).toHaveLength(3);
    const rooms = new Map([['grid', { quick: 0, slow: 0 }]]);
    const following = { modes: down, quick: new Set<string>(), rooms, unused: new Map() };
    expect(ids(gate(both, down, { fall: none, following }))).toHaveLength(3);
  });

  it('without a ramp go at once', () => {
    const gated = gate(both, down);
    expect(gated).toMatchObject({ fallTokensWatts: null, heldFalls: null });
    expect(ids(gated)).toHaveLength(3);
  });
});

describe('falls', () => {
  it('go out at once, booked, with what they come from', () => {
    const gated = gate([device('d')], { d: 'sleep' });
    expect(gated.commands).toEqual([
      {
        device: 'd',
        pointId: 'sleep',
        kind: 'sleep',
        watts: 60,
        limitWatts: null,
        direction: 'down',
        fromPointId: 'normal',
        fromWatts: 3000,
        why: 'd sleeps: it earns less than its energy costs',
        bindingLimit: null,
        dollarsPerKwh: null,
      },
    ]);
    // Two polls of five seconds beyond the time that a sleep takes.
    expect(gated.entries.get('d')).toMatchObject({
      pending: { sentAt: NOW, dueAt: NOW + 25_000 },
      sleptAt: NOW,
    });
    expect(gated).toMatchObject({ shedLimits: [], heldBack: null, rampTokensWatts: 1e6 });
  });

  it('are none where the point is the present one, or none of the device', () => {
    expect(gate([device('d')], { d: 'normal' }).commands).toEqual([]);
    expect(gate([device('d')], { d: 'gone' }).commands).toEqual([]);
    expect(gate([device('d')], {}).commands).toEqual([]);
  });

  it('say the dearest limit above, or one that fell, or a grant that ends', () => {
    const why = (given: Case, wanted = 'sleep') => {
      const [command] = gate([device('d')], { d: wanted }, given).commands;
      return [command!.why, command!.bindingLimit, command!.dollarsPerKwh];
    };
    expect(why({ prices: { grid: 0.2, hall: 0.1 } })).toEqual([
      'd sleeps: grid is limited to 100 kW, where one more kWh is worth 0.2000 $ and this device earns less',
      'grid',
      0.2,
    ]);
    expect(why({ prices: { grid: 0.1, hall: 0.1 } })[1]).toBe('hall');
    expect(why({ prices: { other: 9 } })[1]).toBeNull();
    const drop = { fromWatts: 1, startedAt: 0, deadlineAt: null, met: 0 };
    expect(why({ memory: { grid: { drop } } }).slice(1)).toEqual(['grid', 0]);
    expect(why({ memory: { grid: { drop } }, prices: { hall: 0.1 } })[1]).toBe('hall');
    expect(why({ memory: { hall: { drop } }, prices: { grid: 0.1 } })[1]).toBe('grid');
    expect(why({ overGrant: true, orders: { ceilings: { d: 500 } }, prices: { grid: 1 } }, 'low')).toEqual([
      'd goes down to 2.0 kW: it may draw 500 W, no grant covers more',
      null,
      null,
    ]);
    expect(why({ overGrant: true })[0]).toBe('d sleeps: it may draw 0 W, no grant covers more');
  });

  it('that a limit needs forbid rises below it, others do not', () => {
    const both = [device('d'), sleeper('s')];
    const wanted = { d: 'sleep', s: 'normal' };
    expect(ids(gate(both, wanted))).toEqual(['d sleep', 's normal']);
    const shed = gate(both, wanted, { over: ['grid'] });
    expect(ids(shed)).toEqual(['d sleep']);
    expect(shed).toMatchObject({
      shedLimits: ['grid'],
      heldBack: { count: 1, watts: 2940, why: 'grid was shed in this cycle' },
    });
    expect(gate(both, wanted, { over: ['elsewhere'] }).shedLimits).toEqual([]);
  });
});

describe('rises', () => {
  const rise = (given: Case, input: DeviceInput = sleeper('s'), to = 'normal') =>
    gate([input], { [input.facts.id]: to }, given);
  /** Why it is held back; `null`: it goes. */
  const held = (given: Case, input?: DeviceInput, to?: string) =>
    rise(given, input, to).heldBack?.why ?? null;

  it('say that there is room, and take their watts from the ramp', () => {
    const gated = rise({ tokens: 5000 });
    expect(gated.commands[0]).toMatchObject({
      direction: 'up',
      why: 'room for s below hall: worst case fits every limit above it',
      bindingLimit: null,
      dollarsPerKwh: null,
    });
    expect(gated.rampTokensWatts).toBe(2060);
    expect(gated.entries.get('s')).toMatchObject({ wokeAt: NOW, pending: { dueAt: NOW + 310_000 } });
    expect(gated.wakesAt.get('grid')).toEqual([NOW]);
  });

  it('wait where the worst case of a limit above would not fit, by what is kept free of it', () => {
    // 3,300 W with the overshoot of a wake, less 60 W that are booked: 3,240 W, at the grid twice that.
    expect(held({ sums: { hall: [95_760, null] } })).toBeNull();
    expect(held({ sums: { hall: [95_761, null] } })).toBe('the worst case of hall (99001 W of 99000 W)');
    expect(held({ sums: { grid: [92_520, null] } })).toBeNull();
    expect(held({ sums: { grid: [92_521, null] } })).toBe('the worst case of grid (99001 W of 99000 W)');
    const phases = (riseWatts: number) => ({
      hall: {
        bounds: {
          sampledAt: 0,
          sampleWatts: 0,
          average: null,
          phases: { watts: 60_000, before: 0, lowest: [], riseWatts },
        },
      },
    });
    const nearly = { sums: { hall: [40_000, null] } as const };
    expect(held({ ...nearly, memory: phases(43_676) })).toBe('the worst case of hall (43240 W of 43239 W)');
    expect(held({ ...nearly, memory: phases(43_677) })).toBeNull();
    expect(held({ ...nearly, memory: phases(0) })).toBe('the worst case of hall (43240 W of 0 W)');
    expect(held({ sums: { hall: [90_000, null] }, orders: { reservedWatts: { hall: 5760 } } })).toBeNull();
    expect(held({ sums: { hall: [90_000, null] }, orders: { reservedWatts: { hall: 5761 } } })).toContain(
      'hall',
    );
    expect(held({ memory: { hall: { inForceWatts: 13_374 } } })).toBeNull();
    expect(held({ memory: { hall: { inForceWatts: 13_373 } } })).toContain('of hall');
  });

  it('go by the less of parts and meter, for each limit on the way', () => {
    expect(held({ sums: { hall: [1e6, 95_760] } })).toBeNull();
    expect(held({ sums: { hall: [1e6, 95_761] } })).toContain('hall');
    expect(held({ sums: { hall: [95_760, 1e6] } })).toBeNull();
    // By its meter the hall rises by less than by its parts: so does the grid.
    const drawing = device('s', { pointId: 'low', provenWatts: 0 }, { powerWatts: 2000 });
    expect(held({ sums: { hall: [50_000, 50_000], grid: [97_000, null] } }, drawing)).toBeNull();
    expect(held({ sums: { hall: [50_000, 50_000], grid: [97_001, null] } }, drawing)).toContain('grid');
    expect(held({ sums: { hall: [50_000, null], grid: [1e6, 97_001] } }, drawing)).toContain('grid');
    const silent = device('s', { pointId: 'low', provenWatts: 3000 }, { powerWatts: null });
    expect(held({ sums: { hall: [50_000, 96_000] } }, silent)).toBeNull();
    expect(held({ sums: { hall: [1e6, 96_000] } }, silent)).toBeNull();
    expect(held({ sums: { hall: [1e6, 96_001] } }, silent)).toContain('hall');
  });

  it('count at each limit with the losses of the whole way', () => {
    const limits = [...TREE, stepLimit({ id: 'rack', parent: 'hall', gain: 1.5 })];
    const low = device('s', { pointId: 'low', provenWatts: 2000 }, { powerWatts: 2000 }, { limit: 'rack' });
    expect(held({ limits, sums: { grid: [96_000, null] } }, low)).toBeNull();
    expect(held({ limits, sums: { grid: [96_001, null] } }, low)).toContain('grid');
    expect(held({ limits, sums: { hall: [97_500, null] } }, low)).toBeNull();
    expect(held({ limits, sums: { hall: [97_501, null] } }, low)).toContain('hall');
  });

  it('are staggered: so many wakes in ten seconds, of sleepers alone', () => {
    const woken = { memory: { grid: { wakesAt: [1, 2] } } };
    expect(held(woken)).toBe('the stagger of wakes below grid');
    expect(held({ memory: { grid: { wakesAt: [1] } } })).toBeNull();
    expect(held(woken, device('s', { pointId: 'low', provenWatts: 2000 }))).toBeNull();
    // Where a limit has its own number, that.
    const limits = TREE.map((limit) => (limit.id === 'grid' ? { ...limit, wakesPerTenSeconds: 3 } : limit));
    expect(held({ ...woken, limits })).toBeNull();
    expect(held({ memory: { grid: { wakesAt: [1, 2, 3] } }, limits })).toContain('stagger');
    const three = [sleeper('a'), sleeper('b'), sleeper('c')];
    expect(ids(gate(three, { a: 'low', b: 'low', c: 'low' }))).toEqual(['a low', 'b low']);
  });

  it('wait for the ramp, unless one alone is more than it ever holds', () => {
    // 6 % of 100 kW a minute, six seconds of it: 600 W.
    expect(held({ tokens: 2940 })).toBeNull();
    expect(held({ tokens: 599.3 })).toBe('the restore ramp');
    expect(held({ tokens: 599.5 })).toBeNull();
    expect(held({ tokens: 450, memory: { grid: { inForceWatts: 75_000 } } })).toBeNull();
    const low = device(
      's',
      { pointId: 'sleep', provenWatts: 60 },
      { powerWatts: 60 },
      { points: [...minerFacts().points.slice(0, 1), { ...LOW, watts: 160 }] },
    );
    expect(held({ tokens: 99 }, low, 'low')).toBe('the restore ramp');
    expect(held({ tokens: 100 }, low, 'low')).toBeNull();
    expect(held({ tokens: 300, limits: [stepLimit({ ratingWatts: 50_000 }), TREE[1]!] })).toBeNull();
    expect(held({ tokens: 290, limits: [stepLimit({ ratingWatts: 50_000 }), TREE[1]!] })).toBe(
      'the restore ramp',
    );
  });

  it('go by worth per watt, then by name, each with what the one before left', () => {
    const rich = (id: string, dollarsPerHour: number) =>
      sleeper(id, {
        points: minerFacts().points.map((point) =>
          point.id === 'normal' ? { ...point, dollarsPerHour } : point,
        ),
      });
    const three = [rich('c', 0.2), rich('b', 0.3), rich('a', 0.2)];
    const wanted = { a: 'normal', b: 'normal', c: 'normal' };
    expect(ids(gate(three, wanted))).toEqual(['b normal', 'a normal']);
    expect(ids(gate([...three].reverse(), wanted))).toEqual(['b normal', 'a normal']);
    const small = device('z', { pointId: 'low', provenWatts: 2000 }, {}, {});
    expect(ids(gate([rich('a', 0.2), small], { a: 'normal', z: 'normal' }))).toEqual([
      'a normal',
      'z normal',
    ]);
    const room = { sums: { hall: [92_519, null] as const } };
    const one = gate(three, wanted, room);
    expect(ids(one)).toEqual(['b normal', 'a normal']);
    expect(ids(gate(three, wanted, { sums: { hall: [92_521, null] } }))).toEqual(['b normal']);
    expect(ids(gate(three, wanted, { sums: { hall: [1e6, 92_521] } }))).toEqual(['b normal']);
    expect(gate(three, wanted, { sums: { hall: [92_521, null] } }).heldBack).toMatchObject({
      count: 2,
      watts: 5880,
    });
  });
});

describe('what is granted to a node', () => {
  const node = (entry: Partial<Entry> = {}): DeviceInput => ({
    entry: entryOf({ id: 'n', pointId: 'cap-5', provenWatts: 5000, ...entry }),
    facts: nodeFacts({ id: 'n', limit: 'hall' }),
    device: observed({ id: 'n', powerWatts: 4000 }),
  });
  const orders = { grantedWatts: { n: 3000 }, ceilings: { n: 8000 } };

  it('is room for it and for nobody else', () => {
    const sums = { hall: [95_000, null] as const };
    expect(ids(gate([node()], { n: 'full' }, { sums, orders }))).toEqual(['n full']);
    expect(ids(gate([node()], { n: 'full' }, { sums: { grid: [93_000, null] }, orders }))).toEqual([
      'n full',
    ]);
    expect(ids(gate([node()], { n: 'full' }, { sums: { grid: [93_001, null] }, orders }))).toEqual([]);
    // By the meter it rises from its caps: what they leave above its draw is in there already.
    expect(ids(gate([node()], { n: 'full' }, { sums: { hall: [1e6, 96_000] }, orders }))).toEqual(['n full']);
    expect(ids(gate([node()], { n: 'full' }, { sums: { hall: [1e6, 96_001] }, orders }))).toEqual([]);
    const low = device('s', { pointId: 'low', provenWatts: 2000 }, { powerWatts: 2000 });
    const beside = (hall: number) =>
      gate([node(), low], { s: 'normal' }, { sums: { hall: [hall, null] }, orders }).heldBack?.why ?? null;
    expect(beside(95_000)).toBeNull();
    expect(beside(95_001)).toBe('the worst case of hall (96001 W of 96000 W)');
    const grid = (watts: number) =>
      gate([node(), low], { s: 'normal' }, { sums: { grid: [watts, null] }, orders }).heldBack?.why ?? null;
    expect(grid(91_000)).toBeNull();
    expect(grid(91_001)).toContain('grid');
  });

  it('is used up by its rise: the rest is promised still', () => {
    const low = device('s', { pointId: 'low', provenWatts: 2000 }, { powerWatts: 2000 });
    const both = (hall: number, grantedWatts = 3000) =>
      ids(
        gate(
          [node(), low],
          { n: 'full', s: 'normal' },
          {
            sums: { hall: [hall, null] },
            orders: { ceilings: { n: 5000 + grantedWatts }, grantedWatts: { n: grantedWatts } },
          },
        ),
      );
    expect(both(95_000)).toEqual(['n full', 's normal']);
    expect(both(95_001)).toEqual(['n full']);
    // 1,000 W more are granted than it takes.
    expect(both(94_000, 4000)).toEqual(['n full', 's normal']);
    expect(both(94_001, 4000)).toEqual(['n full']);
  });

  it('covers only what is above its own', () => {
    const short = (hall: number, ceiling: number) =>
      ids(
        gate(
          [node()],
          { n: 'full' },
          { sums: { hall: [hall, null] }, orders: { ...orders, ceilings: { n: ceiling } } },
        ),
      );
    expect(short(95_000, 8000)).toEqual(['n full']);
    const without = { sums: { hall: [95_000, null] as const }, orders: { grantedWatts: { n: 3000 } } };
    expect(ids(gate([node()], { n: 'full' }, without))).toEqual(['n full']);
    // It may draw 7,000 W without the grant: 2,000 of its rise are its own, and as much stays promised.
    expect(short(94_000, 10_000)).toEqual(['n full']);
    expect(short(94_001, 10_000)).toEqual([]);
  });
});

it('a wake is one from sleep, whatever was told since', () => {
  const falling = device('s', { pointId: 'normal', pending: pendingOf() });
  expect(gate([falling], { s: 'normal' }).entries.get('s')!.wokeAt).toBe(NOW);
});

describe('where a set point is held', () => {
  const following = (slow: number, quick: number): Following => ({
    modes: {},
    quick: new Set(['q']),
    rooms: new Map([['grid', { slow, quick }]]),
    unused: new Map(),
  });
  const memory = { grid: { inForceWatts: 10_000 }, hall: { inForceWatts: 50_000 } };
  const sums = { grid: [9000, null], hall: [4500, null] } as const;
  const low = (id: string) => device(id, { pointId: 'low', provenWatts: 2000 }, { powerWatts: 2000 });

  it('quick miners may rise to the limit that stands without it, others as far as those can give way', () => {
    // A kilowatt more in the hall is two at the grid: 11 kW, less half of the reserve of 2 %.
    const rise = (id: string, slow: number, quick: number) =>
      ids(gate([low(id)], { [id]: 'normal' }, { memory, sums, following: following(slow, quick) }));
    expect(rise('q', 10_000, 11_200)).toEqual(['q normal']);
    expect(rise('q', 20_000, 11_100)).toEqual([]);
    expect(rise('d', 11_200, 10_000)).toEqual(['d normal']);
    expect(rise('d', 11_100, 20_000)).toEqual([]);
  });

  it('other limits keep what is in force there', () => {
    const tight = { ...memory, hall: { inForceWatts: 5000 } };
    const gated = gate([low('q')], { q: 'normal' }, { memory: tight, sums, following: following(1e6, 1e6) });
    expect(gated.commands).toEqual([]);
    expect(gated.heldBack!.why).toMatch(/the worst case of hall/);
  });

  it('a fall there holds nothing back afterwards', () => {
    const falls = (given: Case) => gate([device('q')], { q: 'low' }, { over: ['grid', 'hall'], ...given });
    expect(falls({}).shedLimits).toEqual(['hall', 'grid']);
    expect(falls({ following: following(1e6, 1e6) }).shedLimits).toEqual(['hall']);
  });
});
