import { describe, expect, it } from 'vitest';
import type { Solver } from '../../../../agent/allocation/planner.ts';
import type { Answer } from '../../../../agent/allocation/problem.ts';
import { type SolveOptions, solveProblem } from '../../../../agent/allocation/solve.ts';
import { type Follow, followSetPoints, updateFollow } from '../../../../agent/control/follow.ts';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type Drop, type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import { buildPlan, type Plan, type PlanLimit } from '../../../../agent/control/plan.ts';
import { planLimit } from '../../../../agent/control/plan-limit.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { StepContext, StepLimit } from '../../../../agent/control/step-context.ts';
import type { SetPointInForce } from '../../../../agent/orders/set-points.ts';
import {
  CONTROL_RULES,
  entryOf,
  LOW,
  minerFacts,
  NORMAL,
  observed,
  overshed,
  pendingOf,
  SLEEP,
  stepContextOf,
  stepLimit,
} from '../../../support/control-states.ts';

const NOW = 1_000_000;
const AT: SetPointInForce = {
  targetWatts: 60_000,
  bandWatts: 600,
  headingWatts: null,
  ceilingWatts: 100_000,
};

/** Feeds one sample a second; `watts` is what the meter shows. */
function fed(watts: readonly (number | null)[], setPoint = AT, before?: Follow): Follow {
  let follow = before;
  watts.forEach((one, index) => {
    const now = NOW + index * 1000;
    follow = updateFollow(follow, setPoint, one === null ? null : [now, one], now);
  });
  return follow!;
}
const repeat = <T>(count: number, one: T): T[] => Array.from({ length: count }, () => one);

describe('the trim of a set point', () => {
  it('makes up for what the meter shows, a thirtieth of it a second', () => {
    expect(fed([57_000]).trimWatts).toBe(0);
    expect(fed([57_000, 57_000]).trimWatts).toBe(100);
    expect(fed(repeat(11, 57_000)).trimWatts).toBe(1000);
    expect(fed(repeat(11, 63_000)).trimWatts).toBe(-1000);
  });

  it('leaves alone what is within a third of the band, and what it has seen already', () => {
    expect(fed(repeat(50, 59_800)).trimWatts).toBe(0);
    expect(fed(repeat(50, 60_200)).trimWatts).toBe(0);
    const once = fed([57_000, 57_000]);
    const again = updateFollow(once, AT, [NOW + 1000, 57_000], NOW + 9000);
    expect(again.trimWatts).toBe(100);
    // Half of the band is more.
    expect(fed(repeat(11, 59_700)).trimWatts).toBe(100);
    // What nobody could use is taken back once for each sample.
    const unused = { ...once, unusedWatts: 350 };
    const seen = updateFollow(unused, AT, [NOW + 1000, 57_000], NOW + 9000);
    expect(seen).toMatchObject({ trimWatts: 100, unusedWatts: 350 });
    expect(updateFollow(unused, AT, [NOW + 2000, 57_000], NOW + 9000).trimWatts).toBe(50);
  });

  it('is bounded above and below, and stays where the meter is silent', () => {
    expect(fed(repeat(2000, 20_000)).trimWatts).toBe(4800);
    expect(fed(repeat(2000, 90_000)).trimWatts).toBe(-1800);
    expect(fed([57_000, 57_000, null, null])).toMatchObject({ trimWatts: 100, isSeen: false });
    // A gap in the samples counts for half a minute's worth at most.
    const gone = fed([57_000]);
    expect(updateFollow(gone, AT, [NOW + 600_000, 57_000], NOW + 600_000).trimWatts).toBe(1500);
  });

  it('goes back by the room that nobody could use, and does not grow against it', () => {
    const before = { ...fed(repeat(11, 57_000)), unusedWatts: 700 };
    const next = (follow: Follow, watts: number) =>
      updateFollow(follow, AT, [NOW + 11_000, watts], NOW + 11_000).trimWatts;
    expect(next(before, 57_000)).toBe(600);
    expect(next({ ...before, unusedWatts: 5000 }, 57_000)).toBe(0);
    expect(next({ ...before, unusedWatts: 700 }, 63_000)).toBe(500);
    // Half a band always stays free: points are steps.
    expect(next({ ...before, unusedWatts: 300 }, 57_000)).toBe(1100);
    expect(next({ ...before, trimWatts: -400, unusedWatts: 5000 }, 57_000)).toBe(-400);
  });
});

/** A set point that moves every four seconds, by `steps`. */
function moved(steps: readonly number[], more: Partial<SetPointInForce> = {}): Follow {
  let follow: Follow | undefined;
  let targetWatts = 60_000;
  for (const [index, step] of [0, ...steps].entries()) {
    targetWatts += step;
    const now = NOW + index * 4000;
    follow = updateFollow(follow, { ...AT, targetWatts, ...more }, [now, targetWatts], now);
  }
  return follow!;
}

describe('where a set point is going', () => {
  it('is told by a line: a wake that begins now is there four minutes on', () => {
    expect(moved(repeat(8, 100)).aheadWatts).toBe(6000);
    expect(moved(repeat(4, 100)).aheadWatts).toBe(6000);
    expect(moved(repeat(3, 100)).aheadWatts).toBe(0);
  });

  it('is nowhere after a step, on a level and on the way down', () => {
    expect(moved([...repeat(7, 0), 20_000]).aheadWatts).toBe(0);
    expect(moved([20_000, ...repeat(7, 0)]).aheadWatts).toBe(0);
    expect(moved(repeat(8, -100)).aheadWatts).toBe(0);
    expect(moved([100, 0, 100, 0, 100, 0, 100, 0]).aheadWatts).toBe(0);
  });

  it('is no further than its ramp, and nowhere while the meter is silent', () => {
    expect(moved(repeat(8, 100), { headingWatts: 62_000 }).aheadWatts).toBe(1200);
    expect(moved(repeat(8, 100), { headingWatts: 50_000 }).aheadWatts).toBe(0);
    const follow = moved(repeat(8, 100));
    expect(updateFollow(follow, AT, null, NOW + 33_000).aheadWatts).toBe(0);
  });

  it('is the middle of its steps, in whatever order they come', () => {
    expect(moved([200, 100, 300, 50, 100]).aheadWatts).toBe(6000);
    expect(moved([50, 300, 40, 200]).aheadWatts).toBe(3000);
  });

  it('is told by targets of the last minute and a half, three seconds apart, nine at most', () => {
    const times = (count: number) => fed(repeat(count, 60_000)).targets.map(([at]) => (at - NOW) / 1000);
    expect(times(8)).toEqual([0, 3, 6]);
    expect(times(60)).toEqual([33, 36, 39, 42, 45, 48, 51, 54, 57]);
    const every = (milliseconds: number): number =>
      [0, 1, 2, 3, 4].reduce<Follow | undefined>((before, index) => {
        const now = NOW + index * milliseconds;
        return updateFollow(before, { ...AT, targetWatts: 60_000 + 900 * index }, [now, 60_000], now);
      }, undefined)!.aheadWatts;
    expect(every(22_500)).toBe(9600);
    expect(every(22_600)).toBe(0);
  });

  it('is forgotten when it has stood still for long', () => {
    const line = moved(repeat(8, 100));
    const later = updateFollow(line, { ...AT, targetWatts: 60_800 }, [NOW + 200_000, 60_800], NOW + 200_000);
    expect(later.aheadWatts).toBe(0);
  });
});

/** Quick ones sleep, run at 2 or at 3 kW, and change in 5 s; slow ones sleep or run at 3 kW. */
const quick = (id: string, entry: Partial<Entry> = {}, seen: Partial<ObservedDevice> = {}): DeviceInput =>
  device(id, { changeMs: 5000 }, entry, seen);
const slow = (id: string, entry: Partial<Entry> = {}, seen: Partial<ObservedDevice> = {}): DeviceInput =>
  device(id, { changeMs: 300_000, points: [SLEEP, NORMAL] }, entry, seen);
/** One that is to go down to 2 kW, which takes it minutes. */
const slowDown = (id: string, entry: Partial<Entry>): DeviceInput =>
  device(id, { changeMs: 300_000 }, entry, {});
function device(
  id: string,
  facts: Partial<DeviceFacts>,
  entry: Partial<Entry>,
  seen: Partial<ObservedDevice>,
): DeviceInput {
  return {
    entry: entryOf({ id, ...entry }),
    facts: minerFacts({ id, ...facts }),
    device: observed({ id, ...seen }),
  };
}
const asleep = [
  { pointId: 'sleep', sleptAt: 0 },
  { activity: 'asleep', powerWatts: 60 },
] as const;
const waking = [
  {
    pointId: 'sleep',
    pending: pendingOf({ pointId: 'normal', kind: 'run', watts: 3000, direction: 'up', fromWatts: 60 }),
  },
  { activity: 'starting', powerWatts: 500 },
] as const;

interface Case {
  readonly target: number;
  readonly trim?: number;
  readonly ahead?: number;
  readonly ceiling?: number;
  readonly isSeen?: boolean;
  readonly drop?: Drop;
  readonly limits?: readonly StepLimit[];
}

/** Plans, then follows: points by device id. */
function follow(inputs: readonly DeviceInput[], given: Case) {
  const context = stepContextOf(given.limits ?? [stepLimit()]);
  const held: Follow = {
    targetWatts: given.target,
    ceilingWatts: given.ceiling ?? 100_000,
    isSeen: given.isSeen ?? true,
    aheadWatts: given.ahead ?? 0,
    trimWatts: given.trim ?? 0,
    unusedWatts: 0,
    sampledAt: NOW,
    targets: [],
  };
  const limits: Record<string, LimitMemory> = {};
  for (const { id, ratingWatts } of context.limits)
    limits[id] = {
      ...newLimitMemory(ratingWatts, NOW),
      ...(id === 'grid' ? { inForceWatts: given.target + 500, follow: held, drop: given.drop ?? null } : {}),
    };
  const { plan, answer } = planOf(context, limits, inputs);
  const asked: SolveOptions[] = [];
  const solve: Solver = (problem, options = {}) => {
    asked.push(options);
    return solveProblem(problem, options);
  };
  return { answer, plan, asked, following: followSetPoints(context, limits, plan, answer, solve) };
}

function planOf(
  context: StepContext,
  limits: Readonly<Record<string, LimitMemory>>,
  inputs: readonly DeviceInput[],
): { plan: Plan; answer: Answer } {
  const planLimits = context.limits.map(
    (limit): PlanLimit =>
      planLimit(CONTROL_RULES, limit, limits[limit.id]!, {
        reservedWatts: 0,
        blindWatts: null,
        overshed: overshed(0),
        now: NOW,
      }),
  );
  const plan = buildPlan(planLimits, inputs, [], {
    now: NOW,
    shedOnly: false,
    dwellMs: 0,
    leastSleepMs: 0,
    wakesPerHour: 9,
    meterLagMs: 2000,
    ceilings: {},
    unseen: new Map(),
    doubted: new Map(),
  });
  return { plan, answer: solveProblem(plan.problem) };
}

describe('following a set point', () => {
  it('lets quick miners draw what wakes have been granted and do not draw yet', () => {
    const inputs = [slow('s', ...waking), quick('q'), quick('r', { pointId: 'low' }, { powerWatts: 2000 })];
    // Awake at 3 kW the slow one leaves 5 kW; now it draws 500 W, and both may have 3 kW.
    const { answer, following } = follow(inputs, { target: 8000 });
    expect(answer.modes).toMatchObject({ s: 'normal', q: 'normal', r: 'low' });
    expect(following!.modes).toMatchObject({ s: 'normal', q: 'normal', r: 'normal' });
    expect(following!.quick).toEqual(new Set(['q', 'r']));
    expect(following!.unused.get('grid')).toBe(1500);
  });

  it('counts what is on its way up, whatever it says of itself, and what starts with no command pending', () => {
    const others = [quick('q'), quick('r', { pointId: 'low' }, { powerWatts: 2000 })];
    const told = slow('s', waking[0], { activity: 'running', powerWatts: 500 });
    expect(follow([told, ...others], { target: 8000 }).following!.unused.get('grid')).toBe(1500);
    const starts = slow('s', {}, { activity: 'starting', powerWatts: 500 });
    expect(follow([starts, ...others], { target: 8000 }).following!.unused.get('grid')).toBe(1500);
    // Who stays where it is draws what it draws: the trim makes up for that.
    const over = slow('s', {}, { powerWatts: 3200 });
    expect(follow([over, ...others], { target: 9000 }).following!.unused.get('grid')).toBe(0);
  });

  it('fills, and does not search: it is chosen anew every second', () => {
    expect(follow([slow('s'), quick('q')], { target: 8000 }).asked).toEqual([{ workUnits: 0 }]);
  });

  it('lets who has the room keep it: equal ones do not take turns', () => {
    const low = [{ pointId: 'low' }, { powerWatts: 2000 }] as const;
    expect(follow([quick('q', ...low), quick('r')], { target: 5000 }).following!.modes).toEqual({
      q: 'low',
      r: 'normal',
    });
    expect(follow([quick('q'), quick('r', ...low)], { target: 5000 }).following!.modes).toEqual({
      q: 'normal',
      r: 'low',
    });
  });

  it('leaves the sleep of quick ones to the plan, and who is told to sleep and still runs', () => {
    const { answer, following } = follow([quick('q'), quick('r')], { target: 3100 });
    expect(Object.values(answer.modes).toSorted()).toEqual(['normal', 'sleep']);
    expect(following!.modes).toEqual(answer.modes);
    expect(following!.quick.size).toBe(1);
    const still = quick('r', { pointId: 'sleep', sleptAt: 0 });
    expect(follow([quick('q'), still], { target: 9000 }).following!.quick).toEqual(new Set(['q']));
  });

  it('follows with who takes a limit within half a minute, and says so', () => {
    const inputs = (changeMs: number | null) => [quick('q'), device('r', { changeMs }, {}, {})];
    expect(follow(inputs(30_000), { target: 8000 }).following!.quick).toEqual(new Set(['q', 'r']));
    for (const changeMs of [30_001, null])
      expect(follow(inputs(changeMs), { target: 8000 }).following!.quick).toEqual(new Set(['q']));
  });

  it('takes it back from them as what wakes draws its power, and by the trim', () => {
    const inputs = [slow('s'), quick('q'), quick('r')];
    expect(follow(inputs, { target: 8000 }).following!.modes).toMatchObject({
      s: 'normal',
      q: 'normal',
      r: 'low',
    });
    const trimmed = follow(inputs, { target: 9000, trim: -500 }).following!.modes;
    expect(Object.values(trimmed).filter((mode) => mode === 'low')).toHaveLength(1);
  });

  it('counts what a slow miner still draws on its way down', () => {
    const down = pendingOf({ pointId: 'low', kind: 'run', watts: 2000, limitWatts: 2000 });
    const inputs = [slowDown('s', { pending: down }), quick('q'), quick('r')];
    // Planned 2 + 3 + 3 kW; at this moment it is still 1 kW more.
    const { answer, following } = follow(inputs, { target: 8000 });
    expect(answer.modes).toMatchObject({ s: 'low', q: 'normal', r: 'normal' });
    expect(Object.values(following!.modes).toSorted()).toEqual(['low', 'low', 'normal']);
    // The same before it is told.
    const untold = follow([slowDown('s', {}), quick('q'), quick('r')], { target: 8000 });
    expect(Object.values(untold.following!.modes).toSorted()).toEqual(['low', 'low', 'normal']);
  });

  it('wakes ahead where the target is going, and keeps to the target with quick ones', () => {
    const inputs = [slow('s', ...asleep), quick('q'), quick('r')];
    expect(follow(inputs, { target: 6100 }).answer.modes['s']).toBe('sleep');
    const { answer, following } = follow(inputs, { target: 6100, ahead: 3000 });
    expect(answer.modes['s']).toBe('normal');
    expect(following!.modes).toMatchObject({ s: 'normal', q: 'normal', r: 'normal' });
    // The wake has room as far as quick ones can give theirs back: 1 kW each, on top of the band's end.
    expect(following!.rooms.get('grid')).toEqual({ slow: 8600, quick: 100_000 });
  });

  it('never passes another limit: at its own the worst case counts as ever', () => {
    const inputs = [slow('s', ...waking), quick('q'), quick('r', { pointId: 'low' }, { powerWatts: 2000 })];
    const { following } = follow(inputs, { target: 8000, ceiling: 8200 });
    expect(following!.modes).toMatchObject({ r: 'low' });
    expect(following!.rooms.get('grid')).toEqual({ slow: 8500, quick: 8500 });
    // The reserve stays free: 2 % of 8.5 kW.
    expect(following!.unused.get('grid')).toBe(330);
    const limits = [stepLimit(), stepLimit({ id: 'hall', parent: 'grid', ratingWatts: 8200 })];
    const below = inputs.map((input) => ({ ...input, facts: { ...input.facts, limit: 'hall' } }));
    expect(follow(below, { target: 8000, limits }).following!.modes).toMatchObject({ r: 'low' });
  });

  it('counts what hangs below other limits by their losses, and leaves what is not below alone', () => {
    const limits = [
      stepLimit(),
      stepLimit({ id: 'hall', parent: 'grid', gain: 2 }),
      stepLimit({ id: 'other', ratingWatts: 5200 }),
    ];
    const at = (limit: string, input: DeviceInput) => ({ ...input, facts: { ...input.facts, limit } });
    const inputs = [
      at('hall', slow('s', ...waking)),
      at('hall', quick('q', { pointId: 'low' }, { powerWatts: 2000 })),
      at('other', quick('x')),
      at('other', quick('y', { pointId: 'low' }, { powerWatts: 2000 })),
    ];
    // 2 x (3 + 2) kW planned; 2 x 2.5 kW are missing now: room for one more kilowatt, twice.
    const { following } = follow(inputs, { target: 10_000, limits });
    expect(following!.modes).toEqual({ s: 'normal', q: 'normal', x: 'normal', y: 'low' });
    expect(following!.quick).toEqual(new Set(['q']));
  });

  it('takes each set point for itself', () => {
    const tree = (id: string, from: SetPointInForce): readonly [string, LimitMemory] => {
      const held: Follow = { ...fed([60_000], from), targetWatts: from.targetWatts };
      return [id, { ...newLimitMemory(100_000, NOW), inForceWatts: from.targetWatts + 500, follow: held }];
    };
    const limits = Object.fromEntries([
      tree('grid', { ...AT, targetWatts: 8000 }),
      tree('other', { ...AT, targetWatts: 5000 }),
    ]);
    const context = stepContextOf([stepLimit(), stepLimit({ id: 'other' })]);
    const elsewhere = (input: DeviceInput) => ({ ...input, facts: { ...input.facts, limit: 'other' } });
    const inputs = [
      slow('s', ...waking),
      quick('q'),
      quick('r', { pointId: 'low' }, { powerWatts: 2000 }),
      elsewhere(quick('x')),
      elsewhere(quick('y')),
    ];
    const { plan, answer } = planOf(context, limits, inputs);
    const following = followSetPoints(context, limits, plan, answer, solveProblem)!;
    expect(following.modes).toMatchObject({ s: 'normal', q: 'normal', r: 'normal' });
    expect([following.modes['x'], following.modes['y']].toSorted()).toEqual(['low', 'normal']);
    expect(following.rooms.get('other')).toEqual({ slow: 7500, quick: 100_000 });
  });

  it('touches nobody else where even its least is too much for the moment', () => {
    const limits = [stepLimit(), stepLimit({ id: 'other', ratingWatts: 20_000 })];
    const elsewhere = (input: DeviceInput) => ({ ...input, facts: { ...input.facts, limit: 'other' } });
    const inputs = [
      slow('s'),
      slow('t'),
      quick('q', { pointId: 'low' }, { powerWatts: 2000 }),
      elsewhere(quick('x')),
      elsewhere(slow('y')),
      elsewhere(device('g', { kind: 'gpu-node', changeMs: 5000, points: [LOW, NORMAL] }, {}, {})),
    ];
    // Planned for 9 kW soon; now two slow ones draw 6 kW, and the quick one cannot go below 2.
    const { answer, following } = follow(inputs, { target: 7000, ahead: 2000, limits });
    expect(answer.modes).toEqual({
      s: 'normal',
      t: 'normal',
      q: 'normal',
      x: 'normal',
      y: 'normal',
      g: 'normal',
    });
    expect(following!.modes).toEqual({ ...answer.modes, q: 'low' });
  });

  it('knows nothing of what a slow miner draws that does not say', () => {
    const silent = [waking[0], { activity: 'starting', powerWatts: null }] as const;
    const inputs = [slow('s', ...silent), quick('q'), quick('r', { pointId: 'low' }, { powerWatts: 2000 })];
    expect(follow(inputs, { target: 8000 }).following!.modes).toMatchObject({ r: 'low' });
  });

  it('leaves alone what starts by itself, and what falls within seconds', () => {
    // Takes a limit within 5 s, but it starts: nothing can be had from it now.
    const starting = quick('q', {}, { activity: 'starting', powerWatts: 1000 });
    const inputs = [starting, quick('r'), slow('s')];
    const { following } = follow(inputs, { target: 9000 });
    expect(following!.quick).toEqual(new Set(['r']));
    const falling = pendingOf({ watts: 60, sentAt: NOW - 1000, dueAt: NOW + 20_000 });
    const sleepy = slow('s', { pending: falling });
    const down = follow([sleepy, quick('q'), quick('r')], { target: 6100 });
    expect(down.following!.modes).toMatchObject({ s: 'sleep', q: 'normal', r: 'normal' });
    // Half a minute is within seconds, more is not: 2.94 kW are still drawn.
    const falls = (sleepMs: number) => {
      const sleeper = { ...sleepy, facts: { ...sleepy.facts, sleepMs } };
      return follow([sleeper, quick('q'), quick('r')], { target: 6100 }).following!.modes;
    };
    expect(falls(30_000)).toMatchObject({ q: 'normal', r: 'normal' });
    expect(falls(30_001)).toMatchObject({ q: 'low', r: 'low' });
  });

  it('waits while a fall by a step is shed: who is quick need not go down twice', () => {
    const drop: Drop = { fromWatts: 20_000, startedAt: NOW, deadlineAt: null, met: 0 };
    const inputs = [slow('s', ...waking), quick('q')];
    expect(follow(inputs, { target: 8000 }).following).not.toBeNull();
    expect(follow(inputs, { target: 8000, drop }).following).toBeNull();
  });

  it('is not tried without a meter, without quick miners, and where the plan has no room', () => {
    const inputs = [slow('s', ...waking), quick('q')];
    expect(follow(inputs, { target: 8000, isSeen: false }).following).toBeNull();
    expect(follow([slow('s'), slow('t')], { target: 8000 }).following).toBeNull();
    expect(follow([quick('q', { quarantine: { since: 0, why: '' } })], { target: 100 }).following).toBeNull();
    const nodes = [device('g', { kind: 'gpu-node', changeMs: 5000 }, {}, {})];
    expect(follow(nodes, { target: 8000 }).following).toBeNull();
    // The plan cannot be met at all: everybody is shed as far as it goes.
    const stays = device('s', { changeMs: 300_000, points: [NORMAL] }, {}, {});
    const awake = device('q', { changeMs: 5000, points: [LOW, NORMAL] }, {}, {});
    const shed = follow([stays, awake], { target: 1000 });
    expect(shed.answer.status).toBe('infeasible');
    expect(shed.following).toBeNull();
  });
});
