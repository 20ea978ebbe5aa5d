import { describe, expect, test } from 'vitest';
import type { Electrics } from '../../../drivers/meter/quality.ts';
import { contradictions, FreezeWatch, worse } from '../../../drivers/meter/quality.ts';

const sound: Electrics = {
  powerWatts: 34_500,
  phaseWatts: { l1: 11_500, l2: 11_400, l3: 11_600 },
  apparentVoltAmperes: 35_000,
  voltageVolts: { l1: 230, l2: 230, l3: 230 },
  currentAmps: { l1: 50.7, l2: 50.7, l3: 50.7 },
  frequencyHz: 50,
  powerFactor: 0.985,
  stepWatts: 1,
};
const unrated = { nominalVolts: null, ratedAmps: null };
const doubts = (
  change: Partial<Electrics>,
  ratings = unrated as { nominalVolts: number | null; ratedAmps: number | null },
) => contradictions({ ...sound, ...change }, ratings).join('; ');

describe('figures of a meter held against each other', () => {
  test('sound figures raise no doubt, export neither', () => {
    expect(doubts({})).toBe('');
    const phaseWatts = { l1: -11_500, l2: -11_400, l3: -11_600 };
    expect(doubts({ powerWatts: -34_500, phaseWatts, powerFactor: -0.985 })).toBe('');
  });
  test.each([
    ['frequency 44 Hz', { frequencyHz: 44 }, 'frequency 44 Hz'],
    ['frequency 500 Hz', { frequencyHz: 500 }, 'frequency 500 Hz'],
    ['a voltage without end', { voltageVolts: { l1: 1e9, l2: 230, l3: 230 } }, 'voltage 1000000000 V'],
    ['a power factor of 1.8', { powerFactor: 1.8 }, 'power factor 1.8'],
    ['phases against the total', { phaseWatts: { l1: 11_500, l2: 0, l3: 11_600 } }, 'phases add up to 23100'],
    ['a phase mounted backwards', { phaseWatts: { l1: 11_500, l2: -11_400, l3: 11_600 } }, 'phases add up'],
    ['more power than volts times amperes', { currentAmps: { l1: 5, l2: 5, l3: 5 } }, 'volts times amperes'],
    ['more power than apparent power', { apparentVoltAmperes: 20_000 }, 'apparent power 20000'],
    ['no power while current flows', { powerWatts: 0, phaseWatts: { l1: 0, l2: 0, l3: 0 } }, 'VA flow'],
  ] as const)('%s', (_, change, message) => {
    expect(doubts(change)).toContain(message);
  });
  test('ratings narrow the ranges', () => {
    expect(doubts({}, { nominalVolts: 230, ratedAmps: 40 })).toContain('1.2 times the rating');
    expect(doubts({}, { nominalVolts: 120, ratedAmps: 1000 })).toContain('voltage 230 V');
    expect(doubts({}, { nominalVolts: 230, ratedAmps: 63 })).toBe('');
  });
  test('a feeder that is switched off is not in doubt', () => {
    const nothing = { l1: 0, l2: 0, l3: 0 };
    const off = { powerWatts: 0, phaseWatts: nothing, voltageVolts: nothing, currentAmps: nothing };
    expect(doubts({ ...off, apparentVoltAmperes: 0, frequencyHz: 0, powerFactor: 0 })).toBe('');
  });
  test('what the meter does not say is held against nothing', () => {
    const unknown = { l1: null, l2: null, l3: null };
    const silent = { phaseWatts: unknown, voltageVolts: unknown, currentAmps: unknown };
    expect(doubts({ ...silent, apparentVoltAmperes: null, frequencyHz: null, powerFactor: null })).toBe('');
    expect(doubts({ powerWatts: null })).toBe('');
  });
  test('the worse of two qualities', () => {
    expect(worse('good', 'stale')).toBe('stale');
    expect(worse('missing', 'bad')).toBe('missing');
  });
});

describe('a meter that repeats itself', () => {
  test('is frozen after five seconds of identical registers under load', () => {
    const watch = new FreezeWatch();
    const frozen = [0, 1000, 2000, 3000, 4000, 5000, 6000].map((now) => watch.frozenMs('a', true, true, now));
    expect(frozen).toEqual([0, 0, 0, 0, 0, 0, 6000]);
    expect(watch.frozenMs('b', true, true, 7000)).toBe(0);
  });
  test('is believed longer without a frequency, and always without load', () => {
    const slow = new FreezeWatch();
    const idle = new FreezeWatch();
    for (let now = 0; now <= 60_000; now += 1000) {
      expect(slow.frozenMs('a', true, false, now)).toBe(0);
      expect(idle.frozenMs('a', false, true, now)).toBe(0);
    }
    expect(slow.frozenMs('a', true, false, 61_000)).toBe(61_000);
  });
  test('two readings far apart are not enough', () => {
    const watch = new FreezeWatch();
    watch.frozenMs('a', true, true, 0);
    expect(watch.frozenMs('a', true, true, 60_000)).toBe(0);
  });
});
