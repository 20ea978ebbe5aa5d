import { describe, expect, test } from 'vitest';
import { MeterDoubts, metersAgainstDevices, reportedWatts } from '../../../../agent/site/meter-devices.ts';
import type { SiteModel } from '../../../../agent/site/model.ts';
import type { DeviceState, LimitState, Snapshot } from '../../../../agent/site/snapshot.ts';
import { gpuNodeReading, minerReading } from '../../../support/readings.ts';
import { deviceState, limitModel, limitState, siteModel, snapshotOf } from '../../../support/site-states.ts';

const model = {
  limits: [
    { id: 'grid', parent: null, gain: 1 },
    { id: 'a', parent: 'grid', gain: 1.1 },
  ],
} as unknown as SiteModel;

function snapshot(seconds: number, gridWatts: number, minerWatts: number, change: object = {}): Snapshot {
  const limit = (id: string, powerWatts: number, basis: string) => ({
    id,
    powerWatts,
    basis,
    quality: 'good',
  });
  const miner = {
    id: 'm1',
    kind: 'miner',
    limit: 'a',
    inventory: 'present',
    ageMs: 1000,
    failure: null,
    reading: { kind: 'miner', powerWatts: minerWatts, powerSource: 'reported' },
    ...change,
  };
  return {
    monotonicMs: seconds * 1000,
    limits: [limit('grid', gridWatts, 'measured'), limit('a', minerWatts, 'estimated')],
    devices: [miner],
  } as unknown as Snapshot;
}

describe('a meter against the devices below it', () => {
  const codesAfter = (seconds: number, ...figures: [number, number, object?]) => {
    const doubts = new MeterDoubts();
    let last = doubts.conditions(model, snapshot(0, ...figures));
    for (let second = 1; second <= seconds; second += 1)
      last = doubts.conditions(model, snapshot(second, ...figures));
    return last.map(({ code, target }) => `${code} ${target}`);
  };

  test('that shows a tenth of what they report is doubted after a minute, not before', () => {
    expect(codesAfter(59, 10_000, 100_000)).toEqual([]);
    expect(codesAfter(60, 10_000, 100_000)).toEqual(['meter-below-devices grid']);
  });
  test('that shows about as much, or more, is not', () => {
    expect(codesAfter(120, 100_000, 100_000)).toEqual([]);
    expect(codesAfter(120, 95_000, 100_000)).toEqual([]);
    expect(codesAfter(120, 200_000, 100_000)).toEqual([]);
  });
  test('is not judged by estimates, old figures or devices that are silent', () => {
    const estimated = { reading: { kind: 'miner', powerWatts: 100_000, powerSource: 'estimated' } };
    expect(codesAfter(120, 10_000, 100_000, estimated)).toEqual([]);
    expect(codesAfter(120, 10_000, 100_000, { ageMs: 60_000 })).toEqual([]);
    expect(codesAfter(120, 10_000, 100_000, { inventory: 'absent' })).toEqual([]);
  });

  test('is doubted anew, with a minute of its own, once it was right in between', () => {
    const doubts = new MeterDoubts();
    const at = (second: number, watts: number) => doubts.conditions(model, snapshot(second, watts, 100_000));
    expect(at(0, 10_000)).toEqual([]);
    expect(at(50, 110_000)).toEqual([]);
    expect(at(70, 10_000)).toEqual([]);
    expect(at(129, 10_000)).toEqual([]);
    expect(at(130, 10_000)).toHaveLength(1);
  });
});

describe('what a device says of itself now', () => {
  const miner = (changes: Partial<DeviceState> = {}) => reportedWatts(deviceState('m', changes));

  test('is its own figure while it answers', () => {
    expect(miner()).toBe(2760);
    expect(miner({ reading: minerReading(0, { powerSource: 'estimated' }) })).toBeNull();
    expect(miner({ reading: minerReading(0, { powerWatts: null }) })).toBeNull();
    expect(miner({ reading: null })).toBeNull();
    expect(miner({ inventory: 'absent' })).toBeNull();
    expect(miner({ failure: { kind: 'timeout', message: '' } })).toBeNull();
    expect(miner({ ageMs: 14_999 })).toBe(2760);
    expect(miner({ ageMs: 15_000 })).toBeNull();
    expect(miner({ ageMs: null })).toBeNull();
  });

  test('is, of a GPU node, what is known of its GPUs', () => {
    const reading = gpuNodeReading(0, 2, 300, 500, { knownPowerWatts: 299 });
    expect(miner({ kind: 'gpu-node', reading })).toBe(299);
  });
});

describe('a meter of a tree of limits', () => {
  const tree = siteModel([
    limitModel('grid'),
    limitModel('a', { parent: 'grid', gain: 1.5 }),
    limitModel('b', { parent: 'a' }),
  ]);
  const said = (grid: Partial<LimitState>, draws: Readonly<Record<string, readonly number[]>>) =>
    metersAgainstDevices(
      tree,
      snapshotOf({
        limits: [limitState('grid', grid)],
        devices: Object.entries(draws).flatMap(([limit, watts]) =>
          watts.map((powerWatts, n) =>
            deviceState(`${limit}${n}`, { limit, reading: minerReading(0, { powerWatts }) }),
          ),
        ),
      }),
    );

  test('is held against all devices below it, losses included', () => {
    const draws = { grid: [1000, 2000], a: [4000], b: [2000, 4000] };
    // 3,000 + 1.5 * (4,000 + 6,000) W; a fifth of them may be too much.
    expect(said({ powerWatts: 14_400 }, draws)).toEqual([]);
    expect(said({ powerWatts: 14_399 }, draws)).toEqual([
      {
        code: 'meter-below-devices',
        severity: 'major',
        target: 'grid',
        message: 'The devices below grid report 18000 W, its meter shows 14399 W.',
        nextStep:
          'Check the ratio and direction of its current transformers, and whether all these devices hang on it.',
      },
    ]);
    expect(said({ powerWatts: 14_399, quality: 'stale' }, draws)).toEqual([]);
    expect(said({ powerWatts: 14_399, basis: 'estimated' }, draws)).toEqual([]);
    expect(said({ powerWatts: null }, draws)).toEqual([]);
  });

  test('may be two kilowatts short in any case, and needs no devices', () => {
    expect(said({ powerWatts: 1000 }, { grid: [3000] })).toEqual([]);
    expect(said({ powerWatts: 999 }, { grid: [3000] })).toHaveLength(1);
    expect(said({ powerWatts: -2000 }, {})).toEqual([]);
    expect(said({ powerWatts: -2001 }, {})).toHaveLength(1);
  });
});
