import { describe, expect, test } from 'vitest';
import {
  breakEvenDollarsPerMwh,
  type CandidateFacts,
  needWatts,
  type OperatingPoint,
  pointDollarsPerHour,
  roomWatts,
  toProblemDevice,
} from '../../../agent/allocation/candidates.ts';

const inputs = { hashpriceDollarsPerPhDay: 45, energyDollarsPerMwh: 38, poolFeePercent: 1 };
const asleep: OperatingPoint = { id: 'sleep', watts: 30.2, work: { kind: 'none' } };
const normal: OperatingPoint = { id: 'normal', watts: 3500, work: { kind: 'hash', hashrateThs: 200 } };
const low: OperatingPoint = { id: 'low', watts: 2800, work: { kind: 'hash', hashrateThs: 170 } };
const facts: CandidateFacts = {
  deviceId: 'm1',
  limitId: 'pdu-1',
  currentId: 'sleep',
  points: [asleep, low, normal],
  allowedIds: null,
  rejectPercent: 2,
  switching: { wakeDollars: 0.03, changeDollars: 0.004, sleepDollars: 0.01, expectedHours: 2 },
};

describe('value of an operating point', () => {
  test('hashing: hashprice less fee, rejects and energy', () => {
    // 0.2 PH/s x 45 $/day / 24 h = 0.375 $/h; x 0.99 x 0.98; less 3.5 kW x 0.038 $/kWh.
    const expected = 0.375 * 0.99 * 0.98 - 0.133;
    expect(pointDollarsPerHour(normal, inputs, 2)).toBeCloseTo(expected, 12);
  });

  test('rest costs its energy; paid work is paid as given', () => {
    expect(pointDollarsPerHour(asleep, inputs, 2)).toBeCloseTo(-0.0011476, 12);
    const node: OperatingPoint = { id: 'full', watts: 10_000, work: { kind: 'paid', dollarsPerHour: 18.8 } };
    expect(pointDollarsPerHour(node, inputs, 0)).toBeCloseTo(18.8 - 0.38, 12);
  });

  test('break-even: hashprice 45 at 15 J/TH is 125 $/MWh before fees', () => {
    const point: OperatingPoint = { id: 'x', watts: 3000, work: { kind: 'hash', hashrateThs: 200 } };
    const free = { ...inputs, poolFeePercent: 0 };
    expect(breakEvenDollarsPerMwh(point, free, 0)).toBeCloseTo(125, 9);
    expect(breakEvenDollarsPerMwh(asleep, free, 0)).toBeNull();
  });
});

describe('a device for the allocation', () => {
  test('whole watts, needs up and room down', () => {
    expect(toProblemDevice(facts, inputs).modes.map((mode) => mode.watts)).toEqual([31, 2800, 3500]);
    expect([needWatts(10.0001), needWatts(10), needWatts(9.2 + 0.8)]).toEqual([11, 10, 10]);
    expect([roomWatts(9.9999), roomWatts(10), roomWatts(0.1 + 9.9)]).toEqual([9, 10, 10]);
  });

  test('a change is charged over the time it is expected to last', () => {
    expect(toProblemDevice(facts, inputs).switchDollarsPerHour).toEqual({ low: 0.015, normal: 0.015 });
    const working = toProblemDevice({ ...facts, currentId: 'low' }, inputs);
    expect(working.switchDollarsPerHour).toEqual({ sleep: 0.005, normal: 0.002 });
    const unknown = toProblemDevice({ ...facts, currentId: null }, inputs);
    expect(unknown.current).toBeNull();
    expect(unknown.switchDollarsPerHour).toEqual({ sleep: 0.005, low: 0.015, normal: 0.015 });
  });

  test('refuses what would be a mistake of the caller', () => {
    expect(() => toProblemDevice({ ...facts, points: [] }, inputs)).toThrow('no operating point');
    const never = { ...facts.switching, expectedHours: 0 };
    expect(() => toProblemDevice({ ...facts, switching: never }, inputs)).toThrow('expectedHours');
  });
});
