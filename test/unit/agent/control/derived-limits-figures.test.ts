import { describe, expect, it } from 'vitest';
import {
  type BoundedLimit,
  type Bounds,
  deriveLimit,
  moveBounds,
} from '../../../../agent/control/derived-limits.ts';

/** 100 A a phase, 100 kW; steps of 1 kW. */
const FEEDER: BoundedLimit = { ratingWatts: 100_000, ratingAmps: 100, average: null };
/** 60 kW on average over five minutes: parts of ten seconds, two hundred seconds counted, a hundred ahead. */
const TARIFF: BoundedLimit = {
  ratingWatts: 100_000,
  ratingAmps: null,
  average: { watts: 60_000, overMs: 300_000 },
};
type Sample = readonly [at: number, watts: number, worstAmps?: number | null];

/** What is allowed after each sample. */
function play(limit: BoundedLimit, samples: readonly Sample[], start: Bounds | null = null) {
  let bounds = start;
  const said = samples.map(([at, watts, worstAmps = null]) => {
    const derived = deriveLimit(limit, bounds, { at, watts, worstAmps }, at);
    bounds = derived.bounds;
    return derived.lowest?.watts ?? null;
  });
  return { said, bounds: bounds as Bounds | null };
}

describe('the watts at which the fullest phase is at its rating', () => {
  it('follow from the present proportions, in steps of one per cent below', () => {
    expect(play(FEEDER, [[1000, 40_000, 80]]).said).toEqual([50_000]);
    expect(play(FEEDER, [[1000, 40_400, 80]]).said).toEqual([50_000]);
    expect(play(FEEDER, [[1000, 40_000, 30]]).said).toEqual([null]);
    expect(play(FEEDER, [[1000, 15_000, 30]]).said).toEqual([50_000]);
    expect(play(FEEDER, [[1000, 15_000, 29.9]]).said).toEqual([null]);
    expect(play(FEEDER, [[1000, 0, 80]]).bounds!.phases).toBeNull();
    expect(play(FEEDER, [[1000, -5000, 80]]).said).toEqual([null]);
    expect(play(FEEDER, [[1000, 40_000, null]]).bounds!.phases).toBeNull();
    // Within one per cent of the rating they are as equal as phases are.
    expect(play(FEEDER, [[1000, 49_500, 50]]).said).toEqual([null]);
    expect(play(FEEDER, [[1000, 49_400, 50]]).said).toEqual([98_000]);
  });

  it('count when two samples in a row say so, or at once beyond the rating', () => {
    const equal: Sample = [1000, 80_000, 80];
    expect(play(FEEDER, [equal, [2000, 40_000, 80]]).said).toEqual([null, null]);
    expect(play(FEEDER, [equal, [2000, 40_000, 80], [3000, 48_000, 80]]).said.at(-1)).toBe(60_000);
    expect(play(FEEDER, [equal, [2000, 50_000, 100]]).said.at(-1)).toBeNull();
    expect(play(FEEDER, [equal, [2000, 50_500, 101]]).said.at(-1)).toBe(50_000);
  });

  it('are the lowest of a minute, in stretches of ten seconds', () => {
    const low: Sample[] = [
      [11_000, 40_000, 80],
      [12_000, 40_000, 80],
    ];
    const high = (at: number): Sample => [at, 80_000, 80];
    const first = play(FEEDER, low).bounds;
    expect(first!.phases!.lowest).toEqual([[10_000, 50_000]]);
    const same = play(FEEDER, [high(18_000), high(19_000)], first);
    expect(same.bounds!.phases!.lowest).toEqual([[10_000, 50_000]]);
    const more = play(FEEDER, [high(21_000), high(31_000)], first);
    expect(more.bounds!.phases!.lowest).toEqual([
      [10_000, 50_000],
      [20_000, 100_000],
      [30_000, 100_000],
    ]);
    expect(more.said).toEqual([50_000, 50_000]);
    expect(play(FEEDER, [high(21_000), high(79_000)], first).said.at(-1)).toBe(50_000);
    expect(play(FEEDER, [high(21_000), high(80_000)], first).said.at(-1)).toBeNull();
  });

  it('are not changed by the same sample again, nor by an older one', () => {
    const { bounds } = play(FEEDER, [[11_000, 80_000, 80]]);
    for (const at of [11_000, 10_000]) {
      const again = deriveLimit(FEEDER, bounds, { at, watts: 10_000, worstAmps: 90 }, 12_000);
      expect(again.bounds).toEqual(bounds);
      expect(again.lowest).toBeNull();
    }
  });

  it('a limit of which nothing was seen yet keeps nothing', () => {
    expect(deriveLimit(FEEDER, null, null, 5)).toEqual({ bounds: null, lowest: null });
    const { bounds } = play(FEEDER, [[11_000, 80_000, 80]]);
    expect(deriveLimit(FEEDER, bounds, null, 5).bounds).toEqual(bounds);
    expect(bounds).toMatchObject({ sampledAt: 11_000, sampleWatts: 80_000, average: null });
    expect(deriveLimit({ ...FEEDER, ratingAmps: null }, bounds, null, 5)).toEqual({
      bounds: null,
      lowest: null,
    });
  });

  it('a step is a watt at least, and a share just at a step is that step', () => {
    const small: BoundedLimit = { ratingWatts: 50, ratingAmps: 1, average: null };
    expect(play(small, [[1, 20.5, 0.5]]).said).toEqual([41]);
    expect(play({ ...FEEDER, ratingWatts: 70_000 }, [[1, 20_300, 50]]).said).toEqual([40_600]);
  });
});

describe('what may flow so that an average is kept', () => {
  /** Samples every five seconds from 1,000 s on. */
  const every = (count: number, watts: number, from = 1_000_000): Sample[] =>
    Array.from({ length: count }, (_, n) => [from + n * 5000, watts] as const);

  it('is the limit as long as it was kept, and while nothing was seen', () => {
    expect(deriveLimit(TARIFF, null, null, 5)).toEqual({
      bounds: { sampledAt: -1e12, sampleWatts: 0, phases: null, average: { watts: 60_000, energy: [] } },
      lowest: { watts: 60_000, by: 'average' },
    });
    expect(play(TARIFF, every(100, 60_000)).said.every((watts) => watts === 60_000)).toBe(true);
    expect(play(TARIFF, every(100, 20_000)).said.every((watts) => watts === 60_000)).toBe(true);
  });

  it('is less by what flowed too much within two thirds of the time, to be brought back in the third', () => {
    // 6 kW too much for 50 s is 3 kW too much for the 100 s ahead.
    expect(play(TARIFF, every(11, 66_000)).said.at(-1)).toBe(57_000);
    expect(play(TARIFF, every(21, 66_000)).said.at(-1)).toBe(54_000);
    // All that counts was at 66 kW: 200 s of 6 kW.
    expect(play(TARIFF, every(61, 66_000)).said.at(-1)).toBe(48_000);
    // 99.5 % and more of the limit is the limit.
    expect(play(TARIFF, every(2, 66_000)).said.at(-1)).toBe(60_000);
    expect(play(TARIFF, every(2, 66_001)).said.at(-1)).toBe(59_400);
    // Never below nothing.
    expect(play(TARIFF, every(61, 500_000)).said.at(-1)).toBe(0);
  });

  it('forgets what is older than two thirds of the time, part by part', () => {
    const before = play(TARIFF, every(11, 66_000));
    const later = (seconds: number) =>
      play(TARIFF, every(seconds / 5, 60_000, 1_055_000), before.bounds).said.at(-1);
    expect(later(100)).toBe(57_000);
    expect(later(150)).toBe(57_000);
    expect(later(165)).toBe(57_600);
    expect(later(205)).toBe(60_000);
    const { bounds } = play(TARIFF, every(99, 60_000));
    // Thirty-one parts: three hundred seconds, and the one that has begun.
    expect(bounds!.average!.energy).toHaveLength(32);
    expect(bounds!.average!.energy.at(-2)).toEqual([1_480_000, 600_000_000, 10_000]);
  });

  it('forgets as well while the meter is silent: what is not seen counts at the limit', () => {
    const { bounds } = play(TARIFF, every(11, 66_000));
    const silent = (seconds: number) =>
      deriveLimit(TARIFF, bounds, null, 1_050_000 + seconds * 1000).lowest!.watts;
    expect(silent(0)).toBe(57_000);
    expect(silent(169)).toBe(57_000);
    expect(silent(171)).toBe(57_600);
    expect(silent(250)).toBe(60_000);
  });

  it('counts a gap at the limit, or at what flowed before or after it if that was more', () => {
    const gap = (before: number, after: number, seconds = 100) =>
      play(TARIFF, [
        [1_000_000, before],
        [1_000_000 + seconds * 1000, after],
      ]).bounds!.average!.energy.at(-1)!;
    expect(gap(10_000, 20_000)).toEqual([1_100_000, 6_000_000_000, 100_000]);
    expect(gap(70_000, 20_000)[1]).toBe(7_000_000_000);
    expect(gap(10_000, 80_000)[1]).toBe(8_000_000_000);
    // Ten seconds are no gap, and no more than the whole time counts.
    expect(gap(70_000, 20_000, 10)[1]).toBe(200_000_000);
    expect(gap(70_000, 20_000, 10.001)[1]).toBeCloseTo(700_070_000, 0);
    expect(gap(70_000, 20_000, 1000)[2]).toBe(300_000);
  });

  it('begins with the first sample: what was before it counts at the limit', () => {
    expect(play(TARIFF, [[1_000_000, 90_000]]).bounds!.average!.energy).toEqual([[1_000_000, 0, 0]]);
    const silent = deriveLimit(TARIFF, null, null, 5).bounds;
    expect(play(TARIFF, [[1_000_000, 90_000]], silent).bounds!.average!.energy).toEqual([[1_000_000, 0, 0]]);
  });

  it('is told as what holds where it is the lower of both', () => {
    const both = { ...TARIFF, ratingAmps: 100 };
    const at = (worstAmps: number) =>
      deriveLimit(both, null, { at: 1000, watts: 40_000, worstAmps }, 1000).lowest;
    expect(at(80)).toEqual({ watts: 50_000, by: 'phases' });
    expect(at(60)).toEqual({ watts: 60_000, by: 'average' });
    expect(at(66.666)).toMatchObject({ by: 'phases', watts: 60_000 });
    const high = { ...TARIFF, average: { watts: 100_000, overMs: 300_000 } };
    expect(deriveLimit(high, null, null, 5).lowest).toBeNull();
  });
});

describe('bounds in the time of another life', () => {
  it('move with all their moments, but for a moment that never was', () => {
    const both = { ...TARIFF, ratingAmps: 100 };
    const { bounds } = play(both, [
      [11_000, 40_000, 80],
      [12_000, 40_000, 80],
    ]);
    const moved = moveBounds(bounds!, (at) => at + 7);
    expect(moved).toEqual({
      sampledAt: 12_007,
      sampleWatts: 40_000,
      phases: { ...bounds!.phases, lowest: [[10_007, 50_000]] },
      average: { ...bounds!.average, energy: [[10_007, 40_000_000, 1000]] },
    });
    const silent = deriveLimit(TARIFF, null, null, 5).bounds!;
    expect(moveBounds(silent, (at) => at + 7)).toEqual(silent);
    const phases = play(FEEDER, [[11_000, 40_000, 80]]).bounds!;
    expect(moveBounds(phases, (at) => at + 7).average).toBeNull();
  });
});
