import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allot, type EnergyNode } from '../../../agent/record/allot.ts';
import { type CounterSample, CounterTrack, joinMinutes, type Minute } from '../../../agent/record/counter.ts';

const RUNS = { numRuns: 300 };
const START = 1_790_000_000_000 - (1_790_000_000_000 % 3_600_000);

/** Readings at uneven distances, with gaps of up to some minutes, of a load that changes. */
const readings = fc
  .array(
    fc.record({
      gapMs: fc.oneof(fc.integer({ min: 200, max: 5000 }), fc.integer({ min: 5000, max: 400_000 })),
      watts: fc.integer({ min: 0, max: 5_000_000 }),
    }),
    { minLength: 5, maxLength: 120 },
  )
  .map((steps) => {
    let ts = START;
    let wattHours = 10_000_000;
    return steps.map(({ gapMs, watts }): CounterSample => {
      ts += gapMs;
      wattHours += (watts * gapMs) / 3_600_000;
      return { ts, importWattHours: wattHours, exportWattHours: 0, powerWatts: watts, serialNumber: 'a' };
    });
  });

function minutesOf(samples: readonly CounterSample[]): Minute[] {
  const track = new CounterTrack(10_000_000);
  return samples.flatMap((sample) => track.add(sample));
}

describe('minutes of a counter', () => {
  it('follow each other without a hole, and sum up to the difference of the counter', () => {
    fc.assert(
      fc.property(readings, (samples) => {
        const minutes = minutesOf(samples);
        for (let index = 1; index < minutes.length; index += 1)
          expect(minutes[index]!.start).toBe(minutes[index - 1]!.start + 60_000);
        const whole = minutes.slice(1);
        if (whole.length < 1) return;
        const sum = whole.reduce((total, minute) => total + minute.wattHours!, 0);
        const difference = whole.at(-1)!.endWattHours! - minutes[0]!.endWattHours!;
        expect(Math.abs(sum - difference)).toBeLessThan(1e-6 * Math.max(1, Math.abs(difference)));
      }),
      RUNS,
    );
  });

  it('join to the same energy whatever the length of the intervals', () => {
    fc.assert(
      fc.property(readings, fc.constantFrom(2, 5, 15), (samples, length) => {
        const minutes = minutesOf(samples).slice(1);
        const whole = minutes.slice(0, Math.floor(minutes.length / length) * length);
        const once = whole.reduce((total, minute) => total + minute.wattHours!, 0);
        let joined = 0;
        for (let at = 0; at < whole.length; at += length)
          joined += joinMinutes(whole.slice(at, at + length), length).wattHours!;
        expect(Math.abs(once - joined)).toBeLessThan(1e-6 * Math.max(1, once));
      }),
      RUNS,
    );
  });

  it('are OK only with readings close to both ends', () => {
    fc.assert(
      fc.property(readings, (samples) => {
        for (const minute of minutesOf(samples).slice(1)) {
          if (minute.quality !== 'OK') continue;
          for (const edge of [minute.start, minute.start + 60_000])
            expect(Math.min(...samples.map((sample) => Math.abs(sample.ts - edge)))).toBeLessThanOrEqual(600);
        }
      }),
      RUNS,
    );
  });
});

const LABELS = ['mining', 'ai', 'cooling'];
const tree = fc
  .array(
    fc.record({
      up: fc.nat(),
      gain: fc.double({ min: 1, max: 1.3, noNaN: true }),
      wattHours: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: null }),
      own: fc.dictionary(fc.constantFrom(...LABELS), fc.double({ min: 0, max: 1e5, noNaN: true })),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((items) =>
    items.map(
      ({ up, gain, wattHours, own }, index): EnergyNode => ({
        id: `n${index}`,
        parent: index === 0 ? null : `n${up % index}`,
        gain,
        // The grid connection is metered.
        wattHours: index === 0 ? (wattHours ?? 1000) : wattHours,
        own,
      }),
    ),
  );

describe('energy on the tree', () => {
  it('closes: the labels and the residual sum up to the meter of the grid connection', () => {
    fc.assert(
      fc.property(tree, (nodes) => {
        const { total, byLabel, residual } = allot(nodes);
        const sum = Object.values(byLabel).reduce((all, value) => all + value, residual!);
        const scale = nodes.reduce((all, node) => all + Math.abs(node.wattHours ?? 0), 1e6);
        expect(Math.abs(sum - total!)).toBeLessThan(1e-9 * scale * 10);
      }),
      { numRuns: 1000 },
    );
  });

  it('gives a label what its own meter shows, losses of the way up included', () => {
    const { byLabel, residual, estimated } = allot([
      { id: 'grid', parent: null, gain: 1, wattHours: 1000, own: {} },
      { id: 'a', parent: 'grid', gain: 1, wattHours: 600, own: { mining: 550 } },
      { id: 'g', parent: 'grid', gain: 1.1, wattHours: 300, own: { ai: 290 } },
    ]);
    expect(byLabel).toEqual({ ai: 330, mining: 600 });
    expect(residual).toBeCloseTo(70, 9);
    expect(estimated).toEqual([]);
  });

  it('books what several labels below one meter leave over, and says which figures are estimates', () => {
    const result = allot([
      { id: 'grid', parent: null, gain: 1, wattHours: 1000, own: { mining: 600, ai: 300 } },
    ]);
    expect(result).toEqual({
      total: 1000,
      byLabel: { ai: 300, mining: 600 },
      residual: 100,
      estimated: ['ai', 'mining'],
    });
  });

  it('does not know a total without the meter of the grid connection', () => {
    const result = allot([{ id: 'grid', parent: null, gain: 1, wattHours: null, own: { mining: 600 } }]);
    expect(result).toEqual({ total: null, byLabel: { mining: 600 }, residual: null, estimated: ['mining'] });
  });
});
