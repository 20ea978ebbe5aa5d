import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BoundedLimit,
  type Bounds,
  deriveLimit,
  moveBounds,
} from '../../../../agent/control/derived-limits.ts';
import { cases } from '../../../support/cases.ts';

/** 100 A a phase at 230 V: 69 kW. */
const FEEDER: BoundedLimit = { ratingWatts: 69_000, ratingAmps: 100, average: null };

/** Feeds samples a second apart; returns what is allowed after each. */
function feed(
  limit: BoundedLimit,
  samples: readonly (readonly [watts: number, worstAmps: number | null])[],
  from: { at?: number; bounds?: Bounds | null; everyMs?: number } = {},
) {
  let bounds = from.bounds ?? null;
  let at = from.at ?? 0;
  const said: ({ watts: number; by: string } | null)[] = [];
  for (const [watts, worstAmps] of samples) {
    at += from.everyMs ?? 1000;
    const derived = deriveLimit(limit, bounds, { at, watts, worstAmps }, at);
    bounds = derived.bounds;
    said.push(derived.lowest);
  }
  return { said, bounds, at };
}

const repeat = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);

describe('phases of a limit that is rated in amperes', () => {
  it('say nothing while they are equal, and nothing where the rating is in watts', () => {
    expect(feed(FEEDER, repeat(100, [60_000, 87])).said.at(-1)).toBeNull();
    expect(feed({ ...FEEDER, ratingAmps: null }, repeat(100, [60_000, 140])).said.at(-1)).toBeNull();
    expect(feed({ ...FEEDER, ratingAmps: null }, [[60_000, 140]]).bounds).toBeNull();
  });

  it('lower the limit to where the fullest phase is at its rating, once two samples say so', () => {
    // 40 kW with 80 A on one phase: that phase is full at 50 kW.
    const { said } = feed(FEEDER, [...repeat(3, [40_000, 58] as const), ...repeat(3, [40_000, 80] as const)]);
    expect(said.slice(0, 4)).toEqual([null, null, null, null]);
    expect(said[4]!.by).toBe('phases');
    expect(said[4]!.watts).toBeGreaterThan(49_000);
    expect(said[4]!.watts).toBeLessThanOrEqual(50_000);
  });

  it('count at once where a phase is over its rating', () => {
    const { said } = feed(FEEDER, [...repeat(3, [60_000, 87] as const), [60_000, 110]]);
    expect(said.at(-1)).toMatchObject({ by: 'phases' });
    expect(said.at(-1)!.watts).toBeLessThanOrEqual(54_545);
  });

  it('say how far what flows may rise if what comes lands on the fullest: all of it where a third too much is there', () => {
    // 40 kW, 80 A on one phase where 58 A would be a third: 20 A of 230 V are left there.
    const { bounds, at } = feed(FEEDER, repeat(5, [40_000, 80]));
    expect(bounds!.phases!.riseWatts).toBe(40_000 + 4600);
    // A little unequal: what comes may be six times as unequal.
    const little = feed(FEEDER, repeat(5, [40_000, 63.768])).bounds!.phases!;
    expect(little.watts).toBe(62_100);
    expect(little.riseWatts).toBeCloseTo(40_000 + (23_000 * (1 - 0.63768)) / ((1 + 6 * 0.1) / 3), -2);
    // What a sample says alone counts where it is less, that of before where it said less.
    const risen = feed(FEEDER, [[44_000, 92]], { at, bounds });
    expect(risen.bounds!.phases!.riseWatts).toBe(44_000 + 1840 - 1240);
    expect(feed(FEEDER, [[44_000, 92]], risen).bounds!.phases!.riseWatts).toBe(45_840);
    expect(feed(FEEDER, repeat(2, [46_000, 104]), risen).bounds!.phases!.riseWatts).toBe(46_000);
  });

  it('leave the rise alone while they are equal, and are at their most unequal where too little flows to tell', () => {
    const equal = feed(FEEDER, [...repeat(3, [60_000, 87] as const), [10_000, 20]]);
    expect(equal.bounds!.phases!.riseWatts).toBeUndefined();
    const unequal = feed(FEEDER, repeat(3, [40_000, 80]));
    const low = feed(FEEDER, [[10_000, 20]], unequal);
    expect(low.bounds!.phases).toMatchObject({ watts: 49_680, riseWatts: 10_000 + 18_400 });
    const silent = feed(FEEDER, [[10_000, null]], unequal);
    expect(silent.bounds!.phases!.riseWatts).toBe(44_600);
    expect(feed(FEEDER, [[-10_000, 5]], unequal).bounds!.phases!.riseWatts).toBe(21_850);
  });

  it('are not judged by one sample whose current and power come from two refreshes', () => {
    const { said } = feed(FEEDER, [...repeat(5, [60_000, 87] as const), [45_000, 87], [60_000, 87]]);
    expect(said.slice(-2)).toEqual([null, null]);
  });

  it('are remembered for a minute after they are equal again, and longer while the meter is silent', () => {
    const first = feed(FEEDER, repeat(20, [40_000, 80]));
    const equal = feed(FEEDER, repeat(100, [40_000, 58]), first);
    const cleared = equal.said.indexOf(null);
    expect(cleared).toBeGreaterThan(55);
    expect(cleared).toBeLessThan(75);
    const silent = deriveLimit(FEEDER, first.bounds, null, first.at + 600_000);
    expect(silent.lowest).toEqual(first.said.at(-1));
  });

  it('say nothing under a load too small to tell', () => {
    expect(feed(FEEDER, repeat(20, [6000, 25])).said.at(-1)).toBeNull();
    expect(feed(FEEDER, repeat(20, [40_000, null])).said.at(-1)).toBeNull();
  });
});

const MINUTE = 60_000;
/** 60 kW on average over 15 minutes, 69 kW at any moment. */
const TARIFF: BoundedLimit = {
  ratingWatts: 69_000,
  ratingAmps: null,
  average: { watts: 60_000, overMs: 15 * MINUTE },
};

describe('a limit of the average', () => {
  it('holds from the start as if everything before had been at the limit', () => {
    expect(deriveLimit(TARIFF, null, null, 5000).lowest).toEqual({ watts: 60_000, by: 'average' });
    expect(feed(TARIFF, repeat(30, [60_000, null])).said.at(-1)).toEqual({ watts: 60_000, by: 'average' });
  });

  it('goes below the limit after too much has flowed, and comes back as the window passes', () => {
    const over = feed(TARIFF, repeat(300, [66_000, null]));
    // 5 min at 6 kW too much, to be brought back within 5 min.
    expect(over.said.at(-1)!.watts).toBeGreaterThan(53_000);
    expect(over.said.at(-1)!.watts).toBeLessThan(54_700);
    const after = feed(TARIFF, repeat(900, [54_000, null]), over);
    expect(after.said.at(-1)!.watts).toBe(60_000);
  });

  it('never allows more than the limit for what was not used', () => {
    expect(feed(TARIFF, repeat(1200, [10_000, null])).said.at(-1)!.watts).toBe(60_000);
  });

  it('takes silence for the limit, or for more where more flowed', () => {
    const over = feed(TARIFF, repeat(60, [69_000, null]));
    const back = feed(TARIFF, [[69_000, null]], { ...over, at: over.at + 4 * MINUTE });
    expect(back.said[0]!.watts).toBeLessThan(53_000);
  });

  it('keeps what it knows over a restart', () => {
    const over = feed(TARIFF, repeat(300, [66_000, null]));
    const shift = 1e6;
    const moved = moveBounds(JSON.parse(JSON.stringify(over.bounds)) as Bounds, (at) => at + shift);
    expect(deriveLimit(TARIFF, moved, null, over.at + shift).lowest).toEqual(
      deriveLimit(TARIFF, over.bounds, null, over.at).lowest,
    );
  });

  it('is kept in every window by a site that does as it is told, whatever it did before (1,000 cases)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 120 }), fc.integer({ min: 0, max: 69_000 })), {
          minLength: 1,
          maxLength: 12,
        }),
        (past) => {
          const everyMs = 5000;
          const perWindow = (15 * MINUTE) / everyMs;
          let bounds: Bounds | null = null;
          let at = 0;
          const watts: number[] = [];
          const flow = (value: number) => {
            at += everyMs;
            watts.push(value);
            const derived = deriveLimit(TARIFF, bounds, { at, watts: value, worstAmps: null }, at);
            bounds = derived.bounds;
            return derived.lowest!.watts;
          };
          let allowed = 60_000;
          for (const [count, value] of past)
            for (let index = 0; index < count; index += 1) allowed = flow(value);
          // From here on it obeys: it is never told a negative figure, and within one window the average is right.
          for (let index = 0; index < 2 * perWindow; index += 1) {
            expect(allowed).toBeGreaterThanOrEqual(0);
            expect(allowed).toBeLessThanOrEqual(60_000);
            allowed = flow(allowed);
          }
          const window = watts.slice(-perWindow);
          const average = window.reduce((sum, value) => sum + value, 0) / perWindow;
          expect(average).toBeLessThanOrEqual(60_000);
        },
      ),
      { numRuns: cases(1000), seed: 20261122 },
    );
  });
});
