import { describe, expect, test } from 'vitest';
import { MeterDoubts } from '../../../../agent/site/meter-devices.ts';
import type { SiteModel } from '../../../../agent/site/model.ts';
import type { Snapshot } from '../../../../agent/site/snapshot.ts';

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
});
