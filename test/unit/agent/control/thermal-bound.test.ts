import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BoundedLimit,
  type Bounds,
  deriveLimit,
  moveBounds,
} from '../../../../agent/control/derived-limits.ts';
import { type ThermalBound, thermalBound } from '../../../../agent/control/thermal-bound.ts';

const MINUTE = 60_000;
/** 100 kW for ever, more for a while; 90 min as an oil transformer may have. */
const RULE = { watts: 100_000, constantMs: 90 * MINUTE };
const LIMIT: BoundedLimit = { ratingWatts: 140_000, ratingAmps: null, average: null, thermal: RULE };
const exact = (watts: number) => watts;

/** Feeds one load every 10 s for so long. */
function feed(watts: number, minutes: number, from: ThermalBound | null = null): ThermalBound {
  let bound = from;
  const startAt = from?.at ?? 0;
  for (let at = startAt + 10_000; at <= startAt + minutes * MINUTE; at += 10_000)
    bound = thermalBound(RULE, bound, { at, watts }, at, exact);
  return bound!;
}

describe('a limit of heat', () => {
  it('starts as hot as it may be, and cools by what it is seen to carry', () => {
    expect(thermalBound(RULE, null, null, 5000, exact)).toMatchObject({ heat: 1, watts: 100_000 });
    expect(feed(100_000, 600)).toMatchObject({
      heat: expect.closeTo(1, 5),
      watts: expect.closeTo(100_000, -1),
    });
    const cooler = feed(50_000, 600);
    expect(cooler.heat).toBeCloseTo(0.25, 2);
    expect(cooler.watts).toBeGreaterThan(140_000);
  });

  it('takes as long to get hot as the standard says', () => {
    // IEC 60255-149: t = tau ln((I2 - Ip2) / (I2 - 1)), from half load for ever to 1.3 times the continuous load.
    const minutes = 90 * Math.log((1.3 ** 2 - 0.5 ** 2) / (1.3 ** 2 - 1));
    const cool = { ...feed(50_000, 3000), flowedWatts: 130_000 };
    expect(feed(130_000, Math.floor(minutes) - 1, cool).heat).toBeLessThan(1);
    expect(feed(130_000, Math.ceil(minutes) + 1, cool).heat).toBeGreaterThan(1);
  });

  it('is never told to carry more than its rating, and tells a step only when it matters', () => {
    const cool = feed(10_000, 600);
    const bounds: Bounds = {
      sampledAt: cool.at,
      sampleWatts: 10_000,
      phases: null,
      average: null,
      thermal: cool,
    };
    expect(deriveLimit(LIMIT, bounds, null, cool.at + 1000).lowest).toBeNull();
    const first = deriveLimit(LIMIT, null, { at: 0, watts: 90_000, worstAmps: null }, 0);
    expect(first.lowest).toEqual({ watts: 100_000, by: 'thermal' });
    // A second of silence changes nothing that is remembered.
    expect(deriveLimit(LIMIT, first.bounds, null, 1000).bounds!.thermal).toBe(first.bounds!.thermal);
  });

  it('lets what is allowed sink to the continuous load while its meter is silent', () => {
    const warm = feed(80_000, 600);
    expect(warm.watts).toBeGreaterThan(140_000);
    let bound = warm;
    for (let at = warm.at; at <= warm.at + 900 * MINUTE; at += 10_000)
      bound = thermalBound(RULE, bound, null, at, exact);
    expect(bound.watts).toBeLessThan(101_000);
    expect(bound.heat).toBeLessThanOrEqual(1.000001);
  });

  it('takes a gap for what flowed before or after it, or for what was allowed', () => {
    const warm = { ...feed(80_000, 600), watts: 130_000 };
    const back = thermalBound(
      RULE,
      warm,
      { at: warm.at + 60 * MINUTE, watts: 20_000 },
      warm.at + 60 * MINUTE,
      exact,
    );
    const known = feed(130_000, 60, { ...warm, flowedWatts: 130_000 });
    expect(back.heat).toBeCloseTo(known.heat, 3);
  });

  it('keeps what it knows over a restart, time away counted as in a gap', () => {
    const warm = feed(120_000, 20, feed(50_000, 600));
    const bounds: Bounds = {
      sampledAt: warm.at,
      sampleWatts: 120_000,
      phases: null,
      average: null,
      thermal: warm,
    };
    const moved = moveBounds(JSON.parse(JSON.stringify(bounds)) as Bounds, (at) => at + 1e6);
    expect(moved.thermal).toEqual({ ...warm, at: warm.at + 1e6 });
    const later = deriveLimit(LIMIT, moved, null, warm.at + 1e6 + 60 * MINUTE).bounds!.thermal!;
    expect(later.heat).toBeGreaterThan(warm.heat);
  });

  it('is never hotter than it may be on a site that obeys, whatever it carried before (500 cases)', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 0, max: 140_000 })), {
          minLength: 1,
          maxLength: 8,
        }),
        fc.integer({ min: 1, max: 60 }),
        (past, everySeconds) => {
          const step = everySeconds * 1000;
          let bound: ThermalBound | null = null;
          let at = 0;
          // The true heat, from another hand: the closed form, with what really flowed in each step.
          let heat = 0;
          const flow = (watts: number) => {
            at += step;
            const end = (watts / RULE.watts) ** 2;
            heat = end + (heat - end) * Math.exp(-step / RULE.constantMs);
            bound = thermalBound(RULE, bound, { at, watts }, at, exact);
          };
          for (const [count, watts] of past) for (let index = 0; index < count; index += 1) flow(watts);
          expect(bound!.heat).toBeGreaterThanOrEqual(heat - 1e-9);
          const most = Math.max(1, heat);
          for (let index = 0; index < 2000; index += 1) {
            flow(Math.min(140_000, bound!.watts));
            expect(heat).toBeLessThanOrEqual(most + 1e-9);
          }
          if (2000 * step > 3 * RULE.constantMs) expect(heat).toBeLessThanOrEqual(1 + 1e-6);
        },
      ),
      { numRuns: 500, seed: 20261122 },
    );
  });
});
