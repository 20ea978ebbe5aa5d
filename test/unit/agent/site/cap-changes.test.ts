import { describe, expect, test } from 'vitest';
import { capChanges } from '../../../../agent/site/cap-changes.ts';
import type { GpuNodeReading } from '../../../../drivers/load-driver.ts';

type Limits = readonly [uuid: string, requested: number | null, enforced: number | null];

const reading = (...gpus: Limits[]) =>
  ({
    gpus: gpus.map(([uuid, requestedLimitWatts, enforcedLimitWatts]) => ({
      uuid,
      requestedLimitWatts,
      enforcedLimitWatts,
    })),
  }) as unknown as GpuNodeReading;

describe('who changed a cap, as far as readings tell', () => {
  test.each<[string, Limits, Limits, unknown[]]>([
    ['nothing', ['a', 700, 500], ['a', 700, 500], []],
    ['rounding', ['a', 700, 500], ['a', 700, 500.4], []],
    [
      'software',
      ['a', 400, 400],
      ['a', 700, 700],
      [{ uuid: 'a', fromWatts: 400, toWatts: 700, by: 'software' }],
    ],
    [
      'a BMC that lowers',
      ['a', 700, 700],
      ['a', 700, 500],
      [{ uuid: 'a', fromWatts: 700, toWatts: 500, by: 'hardware' }],
    ],
    ['an unknown limit says nothing', ['a', 700, null], ['a', 700, 700], []],
    ['a limit that became unknown says nothing', ['a', 700, 700], ['a', 700, null], []],
    ['half a watt is rounding', ['a', 700, 500], ['a', 700, 500.5], []],
    [
      'half a watt asked for is rounding as well',
      ['a', 700, 700],
      ['a', 700.5, 500],
      [{ uuid: 'a', fromWatts: 700, toWatts: 500, by: 'hardware' }],
    ],
    [
      'software, where nobody says what was asked for',
      ['a', null, 400],
      ['a', null, 700],
      [{ uuid: 'a', fromWatts: 400, toWatts: 700, by: 'software' }],
    ],
    [
      'hardware, where what was asked before is not known and is now what was in force',
      ['a', null, 700],
      ['a', 700, 500],
      [{ uuid: 'a', fromWatts: 700, toWatts: 500, by: 'hardware' }],
    ],
    ['another GPU is no change', ['a', 700, 700], ['b', 300, 300], []],
  ])('%s', (_name, before, after, expected) => {
    expect(capChanges(reading(before), reading(after))).toEqual(expected);
  });
});
