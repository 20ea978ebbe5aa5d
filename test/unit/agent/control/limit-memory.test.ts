import { describe, expect, it } from 'vitest';
import {
  type LimitMemory,
  type LimitUpdate,
  newLimitMemory,
  updateLimit,
  withIgnored,
} from '../../../../agent/control/limit-memory.ts';

const RULES = { pollMs: 5000, meterLagMs: 2000, meterStaleMs: 10_000 };
const LIMIT = { ratingWatts: 100_000, ratingAmps: null, average: null };
const meter = (sampledAt: number | null, powerWatts: number | null, quality = 'good') =>
  ({ id: 'm', sampledAt, powerWatts, quality, worstAmps: null }) as unknown as LimitUpdate['meter'];
const next = (
  memory: Partial<LimitMemory>,
  update: Partial<LimitUpdate> & { readonly watts?: number },
): LimitMemory =>
  updateLimit(
    { ...newLimitMemory(100_000, 0), ...memory },
    {
      limit: LIMIT,
      inForce: { watts: update.watts ?? 100_000, deadlineAt: 80_000 },
      meter: null,
      metered: true,
      now: 50_000,
      rules: RULES,
      ...update,
    },
  );

describe('samples of a limit', () => {
  it('are kept for a poll and the lag of the meter, and the last one for ever', () => {
    const samples = [
      [42_999, 1],
      [43_000, 2],
      [46_000, 3],
    ] as const;
    expect(next({ samples }, { meter: meter(50_000, 4) }).samples).toEqual([
      [43_000, 2],
      [46_000, 3],
      [50_000, 4],
    ]);
    expect(next({ samples: [[1, 9]] }, {}).samples).toEqual([[1, 9]]);
    expect(next({ samples }, { meter: meter(46_000, 8) }).samples.at(-1)).toEqual([46_000, 3]);
  });

  it('are good ones alone, and say when the meter was well last', () => {
    expect(next({ goodAt: 7 }, { meter: meter(49_000, 5) }).goodAt).toBe(49_000);
    expect(next({ goodAt: 49_500 }, { meter: meter(49_000, 5) }).goodAt).toBe(49_500);
    for (const bad of [meter(49_000, null), meter(null, 5), meter(49_000, 5, 'stale'), null]) {
      const memory = next({ goodAt: 7 }, { meter: bad });
      expect(memory.goodAt).toBe(7);
      expect(memory.samples).toEqual([]);
    }
  });

  it('wakes are remembered for ten seconds', () => {
    expect(next({ wakesAt: [40_000, 40_001, 50_000] }, {}).wakesAt).toEqual([40_001, 50_000]);
  });
});

describe('a limit that falls', () => {
  it('is a drop from what flowed, never above what was allowed nor below what is', () => {
    const drop = (watts: number | null) =>
      next({ samples: watts === null ? [] : [[49_000, watts]] }, { watts: 60_000 }).drop;
    expect(drop(80_000)).toEqual({ fromWatts: 80_000, startedAt: 50_000, deadlineAt: 80_000, met: 0 });
    expect(drop(150_000)!.fromWatts).toBe(100_000);
    expect(drop(10_000)!.fromWatts).toBe(60_000);
    expect(drop(null)!.fromWatts).toBe(100_000);
  });

  it('again, keeps the higher start', () => {
    const before = { fromWatts: 90_000, startedAt: 1, deadlineAt: 2, met: 1 };
    const memory = next({ drop: before, samples: [[49_000, 80_000]] }, { watts: 60_000 });
    expect(memory).toMatchObject({
      inForceWatts: 60_000,
      drop: { fromWatts: 90_000, startedAt: 50_000, met: 0 },
    });
  });

  const drop = { fromWatts: 90_000, startedAt: 40_000, deadlineAt: 45_000, met: 0 };
  const falling = (memory: Partial<LimitMemory>, update: Partial<LimitUpdate>, watts = 60_000) =>
    next({ inForceWatts: 60_000, drop, ...memory }, { ...update, watts }).drop;

  it('is met by two good samples in a row that were taken after it and are not above it', () => {
    expect(falling({}, { meter: meter(42_000, 50_000) })).toMatchObject({ met: 0 });
    expect(falling({}, { meter: meter(42_001, 60_000) })).toMatchObject({ met: 1 });
    expect(falling({}, { meter: meter(42_001, 60_001) })).toMatchObject({ met: 0 });
    const once = { drop: { ...drop, met: 1 }, samples: [[45_000, 50_000]] as const };
    expect(falling(once, { meter: meter(45_000, 50_000) })).toMatchObject({ met: 1 });
    expect(falling(once, { meter: meter(46_000, 70_000) })).toMatchObject({ met: 0 });
    expect(falling(once, { meter: meter(46_000, 50_000) })).toBeNull();
    expect(falling(once, {})).toMatchObject({ met: 1 });
  });

  it('is over when the limit rises, and without a meter at its deadline, or after a minute', () => {
    expect(falling({}, {}, 60_001)).toBeNull();
    expect(falling({}, {})).not.toBeNull();
    expect(falling({}, { metered: false })).toBeNull();
    expect(falling({}, { metered: false, now: 45_000 })).not.toBeNull();
    const open = { drop: { ...drop, deadlineAt: null } };
    expect(falling(open, { metered: false, now: 100_000 })).not.toBeNull();
    expect(falling(open, { metered: false, now: 100_001 })).toBeNull();
    expect(falling({ drop: null }, { metered: false })).toBeNull();
  });
});

describe('a limit that its own meter holds', () => {
  const limit = { ratingWatts: 100_000, ratingAmps: 100, average: null };
  const full = (at: number, worstAmps: number) =>
    ({
      id: 'm',
      sampledAt: at,
      powerWatts: 80_000,
      quality: 'good',
      worstAmps,
    }) as unknown as LimitUpdate['meter'];

  it('says by what, has no deadline, and forgets it when it is gone', () => {
    const held = next({}, { limit, meter: full(49_000, 160) });
    expect(held).toMatchObject({ heldBy: 'phases', inForceWatts: 50_000, drop: { deadlineAt: null } });
    expect(held.bounds).toBeDefined();
    // An order that asks for less is what holds.
    const ordered = next(held, { limit, meter: full(49_000, 160), watts: 50_000 });
    expect(ordered).not.toHaveProperty('heldBy');
    expect(ordered.inForceWatts).toBe(50_000);
    expect(next(held, {})).not.toHaveProperty('bounds');
  });
});

describe('what was shed for a limit', () => {
  const before = { inForceWatts: 60_000, lastShedAt: 45_000 };
  const rules = { ...RULES, edition: 3 };
  const shedAt = (memory: Partial<LimitMemory>, update: Parameters<typeof next>[1]) =>
    next(memory, { rules, ...update }).lastShedAt;

  it('holds nothing once orders lift the limit clear of it', () => {
    expect(shedAt(before, { watts: 61_201 })).toBe(newLimitMemory(0, 0).lastShedAt);
    expect(shedAt(before, { watts: 61_200 })).toBe(45_000);
    expect(shedAt(before, { watts: 60_000 })).toBe(45_000);
    expect(shedAt(before, { watts: 50_000 })).toBe(45_000);
    expect(shedAt(before, { watts: 90_000, rules: { ...rules, edition: 2 } })).toBe(45_000);
  });

  it('holds where the meter of the limit lifts it, or a set point does', () => {
    const limit = { ratingWatts: 100_000, ratingAmps: null, average: { watts: 90_000, overMs: 900_000 } };
    expect(next({}, { limit }).heldBy).toBe('average');
    expect(shedAt(before, { limit })).toBe(45_000);
    expect(shedAt({ ...before, heldBy: 'phases' }, { watts: 90_000 })).toBe(45_000);
    const setPoint = { targetWatts: 89_000, bandWatts: 1000, headingWatts: null, ceilingWatts: 90_000 };
    expect(shedAt(before, { inForce: { watts: 90_000, deadlineAt: null, setPoint } })).toBe(45_000);
  });
});

it('what is expected of a fall is kept with it, and goes with it', () => {
  const drop = { fromWatts: 90_000, startedAt: 40_000, deadlineAt: 80_000, met: 0 };
  const still = newLimitMemory(50_000, 0);
  const ignored = { share: 0.1, deviceWatts: 3000 };
  expect(withIgnored(still, ignored)).toBe(still);
  const falling = withIgnored({ ...still, drop }, { ...ignored, quickestMs: 1 } as typeof ignored);
  expect(falling.drop).toEqual({ ...drop, ignored });
  expect(next(falling, { watts: 50_000, meter: meter(45_000, 60_000) }).drop).toEqual({ ...drop, ignored });
  // It falls further: that is another fall; a line that goes on falling (an average, heat) is the same.
  expect(next(falling, { watts: 49_000 }).drop).toMatchObject({ startedAt: 50_000, ignored });
  expect(next(falling, { watts: 48_999 }).drop).not.toHaveProperty('ignored');
  expect(next({ ...still, drop }, { watts: 49_000 }).drop).not.toHaveProperty('ignored');
});

it('a limit that was never looked at has its rating in force and nothing behind it', () => {
  expect(newLimitMemory(5, 6)).toEqual({
    inForceWatts: 5,
    drop: null,
    biasWatts: 0,
    biasRaisedAt: -1e12,
    lastShedAt: -1e12,
    samples: [],
    goodAt: 6,
    wakesAt: [],
  });
});

describe('a set point at a limit', () => {
  const setPoint = { targetWatts: 59_000, bandWatts: 1000, headingWatts: null, ceilingWatts: 90_000 };
  const held = (watts: number, more: Partial<LimitUpdate> = {}, memory: Partial<LimitMemory> = {}) =>
    next(memory, { inForce: { watts, deadlineAt: null, setPoint }, meter: meter(49_000, 58_000), ...more });

  it('is followed while its meter is read, under the ceiling of what else is in force', () => {
    expect(held(60_000).follow).toMatchObject({ targetWatts: 59_000, ceilingWatts: 90_000, isSeen: true });
    expect(held(60_000, { meter: null }).follow).toMatchObject({ isSeen: false });
    const stale = { samples: [[39_999, 58_000]] as const };
    expect(held(60_000, { meter: null }, stale).follow).toMatchObject({ isSeen: false });
    expect(held(60_000, { meter: null }, { samples: [[40_000, 58_000]] }).follow).toMatchObject({
      isSeen: true,
    });
  });

  it('is forgotten with its order, and where phases, average or heat hold lower', () => {
    const { follow } = held(60_000);
    expect(next({ follow: follow! }, { watts: 60_000 })).not.toHaveProperty('follow');
    const limit = { ...LIMIT, average: { watts: 50_000, overMs: 900_000 } };
    expect(held(60_000, { limit })).toMatchObject({ heldBy: 'average' });
    expect(held(60_000, { limit })).not.toHaveProperty('follow');
    // An average above it is one more ceiling.
    const above = { ...LIMIT, average: { watts: 70_000, overMs: 900_000 } };
    expect(held(60_000, { limit: above }).follow).toMatchObject({ ceilingWatts: 70_000 });
  });

  it('that moves down by less than a fiftieth makes no drop, a step does', () => {
    const before = { inForceWatts: 60_000 };
    expect(held(58_900, {}, before).drop).toBeNull();
    expect(held(58_800, {}, before).drop).toBeNull();
    expect(held(58_700, {}, before).drop).toMatchObject({ startedAt: 50_000 });
    // Without a set point every fall is one.
    expect(next(before, { watts: 59_900 }).drop).not.toBeNull();
  });
});
