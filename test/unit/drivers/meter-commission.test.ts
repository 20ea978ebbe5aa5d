import { describe, expect, test } from 'vitest';
import type { MeterProfile } from '../../../config/meters/profile.ts';
import { meterProfile, meterProfiles } from '../../../config/meters/profiles.ts';
import type { MeterReading } from '../../../drivers/load-driver.ts';
import { judgeKnownLoad, judgeReadings, judgeWordOrder } from '../../../drivers/meter/commission.ts';
import { encodeNumber, WORD_ORDERS } from '../../../protocols/modbus/values.ts';
import { meterReading } from '../../support/readings.ts';

const sdm = meterProfile('eastron-sdm630')!;
const frequencyOf = (profile: MeterProfile) => profile.points.find((point) => point.name === 'frequency');

describe('the word order', () => {
  test.each(WORD_ORDERS)('%s is told from the frequency', (order) => {
    const words = encodeNumber('f32', order, 49.98);
    const finding = judgeWordOrder(sdm, frequencyOf(sdm), words);
    if (order === 'msw') expect(finding.result).toBe('ok');
    else {
      expect(finding).toMatchObject({
        result: 'fail',
        nextStep: expect.stringContaining(`wordOrder: ${order}`),
      });
      expect(judgeWordOrder({ ...sdm, wordOrder: order }, frequencyOf(sdm), words).result).toBe('ok');
    }
  });
  test('of registers that are no frequency at all is another meter', () => {
    expect(judgeWordOrder(sdm, frequencyOf(sdm), [0x43e6, 0x0000])).toMatchObject({
      result: 'fail',
      evidence: expect.stringContaining('in any order'),
    });
  });
  test('of every map that ships is confirmed by its own registers', () => {
    for (const profile of meterProfiles().values()) {
      const frequency = frequencyOf(profile);
      if (frequency === undefined || typeof frequency.scale !== 'number') continue;
      const scale = frequency.encoding === 'hz-by-magnitude' ? 0.01 : frequency.scale;
      const words = encodeNumber(frequency.type, profile.wordOrder, 50 / scale);
      expect(judgeWordOrder(profile, frequency, words).result, profile.id).toBe('ok');
    }
  });
  test('is not asked where there is nothing to tell it by', () => {
    expect(judgeWordOrder(sdm, undefined, null).result).toBe('skipped');
    expect(judgeWordOrder(meterProfile('sunspec-meter')!, undefined, null).result).toBe('skipped');
  });
});

describe('readings against the configuration', () => {
  const reading = (change: Partial<MeterReading>): MeterReading => ({
    ...meterReading(30_000, 0),
    voltageVolts: { l1: 230, l2: 231, l3: 229 },
    currentAmps: { l1: 43, l2: 44, l3: 43 },
    refreshMs: 200,
    ...change,
  });
  const results = (
    change: Partial<MeterReading>,
    nominalVolts: number | null = 230,
    ratedAmps: number | null = 100,
  ) =>
    Object.fromEntries(
      judgeReadings([reading(change)], { nominalVolts, ratedAmps }).map(({ check, result }) => [
        check,
        result,
      ]),
    );

  test('that fit are all well', () => {
    expect(results({})).toEqual({
      figures: 'ok',
      voltage: 'ok',
      current: 'ok',
      direction: 'ok',
      refresh: 'ok',
    });
  });
  test.each([
    ['a doubt', { doubts: ['phases add up to 1 W'] }, { figures: 'fail' }],
    [
      'a voltage without its transformer ratio',
      { voltageVolts: { l1: 23, l2: 23.1, l3: 22.9 } },
      { voltage: 'fail' },
    ],
    ['a current ten times too high', { currentAmps: { l1: 430, l2: 440, l3: 430 } }, { current: 'fail' }],
    ['hardly any current', { currentAmps: { l1: 0.1, l2: 0.1, l3: 0.1 } }, { current: 'warn' }],
    ['export', { powerWatts: -30_000 }, { direction: 'warn' }],
    ['no power', { powerWatts: null }, { direction: 'fail' }],
    ['an unknown refresh', { refreshMs: null }, { refresh: 'skipped' }],
  ] as const)('%s is told', (_, change, expected) => {
    expect(results(change)).toMatchObject(expected);
  });
  test('what the configuration does not give is not judged', () => {
    expect(results({}, null, null)).toMatchObject({ voltage: 'skipped', current: 'skipped' });
  });
});

describe('a known load', () => {
  const steps = (...levels: number[]) =>
    levels.flatMap((level) => [level, level + 30, level - 20, level + 10, level]);
  test.each([
    ['that moves the meter by itself', steps(10_000, 13_200), 'ok', /3200 W/],
    ['that moves it the other way', steps(10_000, 6800), 'fail', /sign is turned/],
    ['that moves it ten times too far', steps(10_000, 42_000), 'fail', /factor of 10/],
    ['that moves it a tenth as far', steps(10_000, 10_400), 'fail', /factor of 0\.13/],
    ['that hangs elsewhere', steps(10_000, 10_000), 'fail', /nothing moved/],
  ] as const)('%s', (_, watts, result, evidence) => {
    const finding = judgeKnownLoad(watts, 3200);
    expect(finding.result).toBe(result);
    expect(finding.evidence).toMatch(evidence);
  });
});
