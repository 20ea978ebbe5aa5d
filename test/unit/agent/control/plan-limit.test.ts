import { describe, expect, it } from 'vitest';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import { planLimit } from '../../../../agent/control/plan-limit.ts';
import { CONTROL_RULES, overshed, stepLimit } from '../../../support/control-states.ts';

const NOW = 1_000_000;
/** It fell from 90 to 50 kW: 48 kW are offered when all that was told has fallen. */
const fallen: LimitMemory = {
  ...newLimitMemory(50_000, NOW),
  drop: { fromWatts: 90_000, startedAt: NOW - 20_000, deadlineAt: NOW + 10_000, met: 0 },
};

describe('what a limit that fell offers', () => {
  const offered = (memory: LimitMemory, more: { edition?: number; blindWatts?: number } = {}) => {
    const { edition = 2, blindWatts = null } = more;
    return planLimit({ ...CONTROL_RULES, edition }, stepLimit({ metered: true }), memory, {
      reservedWatts: 0,
      blindWatts,
      overshed: overshed(0.1),
      now: NOW,
    }).capacityWatts;
  };
  const seen = (...watts: number[]) => ({
    ...fallen,
    samples: watts.map((value, index) => [NOW - 1000 * (watts.length - index), value] as const),
  });

  it('is less by a share of what has still to fall, for those who will not obey', () => {
    expect(offered({ ...fallen, drop: null })).toBe(49_000);
    expect(offered(seen(90_000))).toBe(45_000);
    expect(offered(seen(60_000))).toBe(48_000);
    // The highest of the last readings: they lag.
    expect(offered(seen(70_000, 60_000))).toBe(47_000);
    expect(offered(seen(50_500))).toBe(48_950);
    expect(offered(seen(40_000))).toBe(49_000);
    // More than before is no larger fall.
    expect(offered(seen(95_000))).toBe(45_000);
  });

  it('is less by a share of the whole fall where no meter shows it', () => {
    expect(offered(fallen)).toBe(45_000);
    expect(offered(seen(60_000), { blindWatts: 0 })).toBe(45_000);
    expect(offered(seen(60_000), { edition: 1 })).toBe(45_000);
  });
});

describe('where nobody who does not obey can be replaced in time', () => {
  const SLOW = { share: 0.1, deviceWatts: 4000, quickestMs: 15_000 };
  const shed = (
    memory: LimitMemory,
    { edition = 3, quickestMs = 15_001 }: { edition?: number; quickestMs?: number } = {},
  ) => {
    const at = { reservedWatts: 0, blindWatts: null, overshed: { ...SLOW, quickestMs }, now: NOW };
    const rules = { ...CONTROL_RULES, edition };
    return 49_000 - planLimit(rules, stepLimit({ metered: true }), memory, at).capacityWatts;
  };
  const showing = (watts: number, ageMs = 1000) => [[NOW - ageMs, watts]] as const;
  const strays = (watts: number) => 1.645 * Math.sqrt(0.1 * 0.9 * watts * 4000);

  it('nineteen falls of twenty are made up for, of few devices by a larger share', () => {
    const at90 = { ...fallen, samples: showing(90_000) };
    // Half a minute was given.
    expect(shed(at90)).toBeCloseTo(4000 + strays(40_000), 6);
    expect(shed({ ...fallen, samples: showing(60_000) })).toBeCloseTo(1000 + strays(10_000), 6);
    expect(shed({ ...fallen, samples: showing(50_000) })).toBe(0);
    expect(shed(at90, { quickestMs: 15_000 })).toBeCloseTo(4000, 6);
    expect(shed(at90, { edition: 2 })).toBeCloseTo(4000, 6);
    expect(shed({ ...at90, drop: { ...fallen.drop!, deadlineAt: null } })).toBeCloseTo(4000, 6);
    // What was expected when it began, whatever is at work by now.
    const ignored = { share: 0.05, deviceWatts: 1000 };
    const begun = { ...at90, drop: { ...fallen.drop!, ignored } };
    expect(shed(begun)).toBeCloseTo(2000 + 1.645 * Math.sqrt(0.05 * 0.95 * 40_000 * 1000), 6);
    expect(shed(begun, { quickestMs: 15_000 })).toBeCloseTo(2000, 6);
    // Who takes for ever replaces nobody, however long the time.
    const long = { ...fallen.drop!, deadlineAt: NOW + 1e9 };
    expect(shed({ ...at90, drop: long })).toBeCloseTo(4000, 6);
    expect(shed({ ...at90, drop: long }, { quickestMs: Infinity })).toBeCloseTo(4000 + strays(40_000), 6);
  });

  it('also of what its meter shows beyond the limit, though nobody ordered a fall', () => {
    const over = { ...newLimitMemory(50_000, NOW), samples: showing(60_000) };
    expect(shed(over)).toBeCloseTo(1000 + strays(10_000), 6);
    expect(shed(over, { quickestMs: 15_000 })).toBe(0);
    expect(shed(over, { edition: 2 })).toBe(0);
    expect(shed({ ...over, samples: showing(50_000) })).toBe(0);
    expect(shed({ ...over, samples: showing(60_000, CONTROL_RULES.meterStaleMs + 1) })).toBe(0);
    expect(shed(newLimitMemory(50_000, NOW))).toBe(0);
  });
});

describe('by when what lies over a limit is to be gone', () => {
  const until = (memory: LimitMemory, edition = 3) =>
    planLimit({ ...CONTROL_RULES, edition }, stepLimit({ metered: true }), memory, {
      reservedWatts: 0,
      blindWatts: null,
      overshed: overshed(0),
      now: NOW,
    }).deadlineAt;
  const shows = (watts: number, ageMs = 1000): LimitMemory => ({
    ...newLimitMemory(50_000, NOW),
    samples: [[NOW - ageMs, watts]],
  });
  const SOON = NOW + 30_000 + CONTROL_RULES.meterLagMs;

  it('half a minute, where its meter shows it and nobody named a time', () => {
    expect(until(shows(50_001))).toBe(SOON);
    expect(until(shows(50_000))).toBeNull();
    expect(until({ ...fallen, samples: [[NOW - 1000, 60_000]] })).toBe(NOW + 10_000);
    expect(until({ ...newLimitMemory(50_000, NOW) })).toBeNull();
  });

  it('a sample that is too old shows nothing; journals of earlier editions had no such time', () => {
    expect(until(shows(60_000, CONTROL_RULES.meterStaleMs))).toBe(SOON);
    expect(until(shows(60_000, CONTROL_RULES.meterStaleMs + 1))).toBeNull();
    expect(until(shows(60_000), 2)).toBeNull();
  });

  it('at a set point only what is beyond its band', () => {
    const follow = { targetWatts: 45_000, ceilingWatts: 52_000 } as NonNullable<LimitMemory['follow']>;
    expect(until({ ...shows(52_000), follow })).toBeNull();
    expect(until({ ...shows(52_001), follow })).toBe(SOON);
  });
});

describe('what a limit offers otherwise', () => {
  const plan = (memory: Partial<LimitMemory>, more: { blindWatts?: number; reservedWatts?: number } = {}) =>
    planLimit(
      { ...CONTROL_RULES, edition: 3 },
      stepLimit({ metered: true, ratingWatts: 60_000, loadWorstWatts: 2000 }),
      { ...newLimitMemory(50_000, NOW), ...memory },
      { reservedWatts: 0, blindWatts: null, overshed: overshed(0.1), now: NOW, ...more },
    );

  it('says how far it may rise where phases are unequal, by what is promised less', () => {
    const phases = { watts: 45_000, before: 0, lowest: [], riseWatts: 30_000 };
    const memory = { bounds: { sampledAt: 0, sampleWatts: 0, average: null, phases } };
    expect(plan(memory, { reservedWatts: 1000 }).riseWatts).toBe(30_000 * 0.98 - 1000);
    expect(plan({ bounds: { ...memory.bounds, phases: null } })).not.toHaveProperty('riseWatts');
    const rules = { ...CONTROL_RULES, edition: 2 };
    const at = { reservedWatts: 0, blindWatts: null, overshed: overshed(0), now: NOW };
    const before = planLimit(rules, stepLimit(), { ...newLimitMemory(50_000, NOW), ...memory }, at);
    expect(before).not.toHaveProperty('riseWatts');
  });

  it('is less by what is not seen and by what is promised', () => {
    expect(plan({}).capacityWatts).toBe(49_000);
    expect(plan({}, { blindWatts: 3000, reservedWatts: 200 }).capacityWatts).toBe(45_800);
  });

  it('is taken first by what nobody controls, and by what the meter shows beyond, to a thousandth', () => {
    expect(plan({ biasWatts: 61 }).fixedWatts).toBe(2120);
    expect(plan({ biasWatts: 60 }).fixedWatts).toBe(2060);
    expect(plan({}).fixedWatts).toBe(2000);
  });

  it('is aimed at a set point, up to its band less the reserve', () => {
    const at = (targetWatts: number) =>
      plan({
        follow: { targetWatts, aheadWatts: 500, ceilingWatts: 52_000, isSeen: true } as NonNullable<
          LimitMemory['follow']
        >,
      }).capacityWatts;
    expect([at(50_000), at(52_000), at(40_000)]).toEqual([50_500, 51_000, 49_000]);
  });

  it('lets nothing rise for a while after something was shed', () => {
    const held = CONTROL_RULES.restoreHoldMs;
    expect(plan({ lastShedAt: NOW - held + 1 }).noRise).toBe(true);
    expect(plan({ lastShedAt: NOW - held }).noRise).toBe(false);
  });
});
