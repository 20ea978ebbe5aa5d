import { describe, expect, it } from 'vitest';
import type { EnergyInterval } from '../../../../agent/record/interval.ts';
import { intervalsOf } from '../../../../agent/record/interval.ts';
import { intervalStart, localIso, localMidnight } from '../../../../agent/record/local-time.ts';

const HOUR = 3_600_000;

describe('the clock on the wall', () => {
  it.each([
    ['America/Chicago', '2026-03-08', 23],
    ['America/Chicago', '2026-11-01', 25],
    ['America/Chicago', '2026-07-04', 24],
    ['Europe/Berlin', '2026-03-29', 23],
    ['Europe/Berlin', '2026-10-25', 25],
    ['Asia/Kathmandu', '2026-06-01', 24],
    ['Australia/Lord_Howe', '2026-04-05', 24.5],
    ['UTC', '2026-11-01', 24],
  ])('%s, %s has %d hours', (zone, day, hours) => {
    const next = new Date(Date.parse(`${day}T00:00:00Z`) + 24 * HOUR).toISOString().slice(0, 10);
    expect((localMidnight(zone, next) - localMidnight(zone, day)) / HOUR).toBe(hours);
    expect(localIso(zone, localMidnight(zone, day)).slice(0, 19)).toBe(`${day}T00:00:00`);
  });

  it('begins the day where midnight does not exist', () => {
    // Source: tz database, Beirut 2026: the clock goes from 0:00 to 1:00 on the last Sunday of March.
    expect(localIso('Asia/Beirut', localMidnight('Asia/Beirut', '2026-03-29'))).toBe(
      '2026-03-29T01:00:00+03:00',
    );
  });

  it('aligns hours to local hours', () => {
    const at = Date.parse('2026-06-01T10:50:00Z');
    expect(localIso('Asia/Kathmandu', intervalStart('Asia/Kathmandu', at, HOUR))).toBe(
      '2026-06-01T16:00:00+05:45',
    );
  });
});

function minute(start: number): EnergyInterval {
  return {
    start,
    seconds: 60,
    totalWattHours: 10,
    quality: 'OK',
    classes: {
      miningWattHours: 8,
      aiFirmWattHours: 0,
      aiFlexibleWattHours: 0,
      coolingWattHours: 1,
      otherWattHours: 0,
    },
    residualWattHours: 1,
    estimated: [],
    tenants: { acme: 8 },
    meters: {},
  };
}

describe('intervals of a day on which the clock is changed', () => {
  it.each([
    ['2026-03-08', '2026-03-09', 60, 23],
    ['2026-11-01', '2026-11-02', 60, 25],
    ['2026-03-08', '2026-03-09', 15, 92],
    ['2026-11-01', '2026-11-02', 15, 100],
  ])('%s: intervals of the right number, each complete, nothing counted twice', (from, to, length, count) => {
    const zone = 'America/Chicago';
    const fromMs = localMidnight(zone, from);
    const toMs = localMidnight(zone, to);
    const minutes = [];
    for (let at = fromMs; at < toMs; at += 60_000) minutes.push(minute(at));
    const intervals = intervalsOf(minutes, { fromMs, toMs, lengthMs: length * 60_000, zone }, []);
    expect(intervals).toHaveLength(count);
    expect(new Set(intervals.map((interval) => interval.start)).size).toBe(count);
    expect(intervals.every((interval) => interval.totalWattHours === 10 * length)).toBe(true);
    expect(intervals.at(-1)!.start + length * 60_000).toBe(toMs);
  });

  it('has an interval without minutes as missing, never as zero', () => {
    const fromMs = localMidnight('UTC', '2026-05-01');
    const [first, second] = intervalsOf(
      [minute(fromMs)],
      { fromMs, toMs: fromMs + 2 * HOUR, lengthMs: HOUR, zone: 'UTC' },
      ['gm'],
    );
    expect(first).toMatchObject({ totalWattHours: null, quality: 'MISSING' });
    expect(second).toMatchObject({ totalWattHours: null, quality: 'MISSING', residualWattHours: null });
  });
});
