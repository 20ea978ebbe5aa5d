import { describe, expect, it } from 'vitest';
import {
  decodeWhatsminerV3,
  isWhatsminerV3Off,
  isWhatsminerV3SearchOver,
  type WhatsminerV3Replies,
} from '../../../drivers/miners/whatsminer-v3-decode.ts';

const decoded = (replies: WhatsminerV3Replies, configuredModel: string | null = null, controllable = true) =>
  decodeWhatsminerV3(replies, { configuredModel, controllable });
const summaryOf = (summary: object): WhatsminerV3Replies => ({ status: { summary } });

describe('Whatsminer API 3: a reading', () => {
  const cases: readonly (readonly [string, WhatsminerV3Replies, object])[] = [
    ['the model', { info: { miner: { type: 'M60S_VK40' } } }, { model: 'Whatsminer M60S VK40' }],
    ['the serial number', { info: { miner: { 'miner-sn': 'BTM3' } } }, { serialNumber: 'BTM3' }],
    ['the address', { info: { network: { mac: 'CE:02:01:00:8C:36' } } }, { macAddress: 'ce:02:01:00:8c:36' }],
    [
      'the firmware',
      { info: { system: { fwversion: '20251209.16.Rel2' } } },
      { firmwareVersion: '20251209.16.Rel2' },
    ],
    [
      'the rate of now in TH/s',
      summaryOf({ 'hash-realtime': 171.25, 'hash-1min': 170 }),
      { hashrateThs: 171.25 },
    ],
    ['the rate of the last minute', summaryOf({ 'hash-1min': 170, 'hash-average': 9 }), { hashrateThs: 170 }],
    ['the nominal rate', summaryOf({ 'factory-hash': 181.051 }), { nominalHashrateThs: 181.051 }],
    ['-0.003, which is no nominal rate', summaryOf({ 'factory-hash': -0.003 }), { nominalHashrateThs: null }],
    ['0, which is no nominal rate', summaryOf({ 'factory-hash': 0 }), { nominalHashrateThs: null }],
    ['power', summaryOf({ 'power-realtime': 3156 }), { powerWatts: 3156, powerSource: 'reported' }],
    ['-1 W, which is unknown', summaryOf({ 'power-realtime': -1 }), { powerWatts: null, powerSource: null }],
    [
      '0 W of a supply that measures nothing',
      summaryOf({ 'power-realtime': 0 }),
      { powerWatts: null, powerSource: null },
    ],
    ['the limit in force', summaryOf({ 'power-limit': 3600 }), { powerLimitWatts: 3600 }],
    ['the greatest limit', summaryOf({ 'power-limit': 99_998 }), { powerLimitWatts: 99_998 }],
    ['99999, which is no limit', summaryOf({ 'power-limit': 99_999 }), { powerLimitWatts: null }],
    ['0, which is no limit', summaryOf({ 'power-limit': 0 }), { powerLimitWatts: null }],
    ['J/TH', summaryOf({ 'hash-realtime': 100, 'power-realtime': 1760 }), { efficiencyJoulesPerTh: 17.6 }],
    ['the time', summaryOf({ elapsed: 50_000, 'bootup-time': 9 }), { uptimeSeconds: 50_000 }],
    [
      'temperatures',
      summaryOf({ 'chip-temp-max': 82, 'board-temperature': [41.1, 41.5, 40.1] }),
      { chipTemperatureCelsius: 82, boardTemperatureCelsius: 41.5 },
    ],
    ['fans', summaryOf({ 'fan-speed-in': 5400, 'fan-speed-out': 5280 }), { fanRpm: [5400, 5280] }],
    ['a fan that stands', summaryOf({ 'fan-speed-in': -1, 'fan-speed-out': 0 }), { fanRpm: [0] }],
    [
      'a pool',
      {
        status: { pools: [{ url: 'stratum+tcp://a:1', account: 'u', status: 'alive', 'pool-priority': 1 }] },
      },
      { pools: [{ url: 'stratum+tcp://a:1', user: 'u', status: 'alive', priority: 1 }] },
    ],
    [
      'faults',
      { info: { 'error-code': [{ 264: '2026-05-23 09:19:10', reason: 'x' }] } },
      { errors: [{ code: '264', message: 'Power communication error.' }] },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decoded(replies)).toMatchObject(expected);
  });

  it('says nothing of what was not answered', () => {
    const control = {
      sleep: false,
      wake: false,
      powerLimit: null,
      sleepMs: null,
      wakeMs: null,
      changeMs: null,
    };
    const expected = {
      kind: 'miner',
      firmware: 'whatsminer-v3',
      vendor: 'MicroBT',
      model: null,
      firmwareVersion: null,
      macAddress: null,
      serialNumber: null,
      state: 'unknown',
      hashrateThs: null,
      nominalHashrateThs: null,
      powerWatts: null,
      powerSource: null,
      powerLimitWatts: null,
      efficiencyJoulesPerTh: null,
      chipTemperatureCelsius: null,
      boardTemperatureCelsius: null,
      fanRpm: [],
      uptimeSeconds: null,
      rejectedPercent: null,
      boards: [],
      pools: [],
      errors: [],
      control,
    };
    expect(decoded({}, null, false)).toEqual(expected);
    expect(decoded({ info: 'no', status: [], edevs: null }, null, false)).toEqual(expected);
  });

  it('lists boards with the rate of now', () => {
    const edevs = [
      { id: 1, 'hash-realtime': 57.25, 'hash-average': 57.5, 'effective-chips': 75, 'chip-temp-max': 80 },
      { 'hash-average': 56.5, 'chip-temp-max': 0 },
    ];
    expect(decoded({ edevs: { edevs } }).boards).toEqual([
      { index: 1, hashrateThs: 57.25, chipTemperatureCelsius: 80, chipsAlive: 75, chips: null },
      { index: 1, hashrateThs: 56.5, chipTemperatureCelsius: null, chipsAlive: null, chips: null },
    ]);
    expect(decoded({ edevs: { edevs: Array.from({ length: 20 }, () => ({})) } }).boards).toHaveLength(16);
  });
});

describe('Whatsminer API 3: state', () => {
  const cases: readonly (readonly [string, WhatsminerV3Replies, string])[] = [
    ['hashing, the search over', summaryOf({ 'hash-realtime': 170, 'up-freq-finish': 1 }), 'hashing'],
    ['hashing, the search not over', summaryOf({ 'hash-realtime': 170, 'up-freq-finish': 0 }), 'tuning'],
    [
      'the service stopped',
      { info: { miner: { working: 'false' } }, ...summaryOf({ 'hash-realtime': 9 }) },
      'sleeping',
    ],
    ['the service at work, no rate said', { info: { miner: { working: 'true' } } }, 'unknown'],
    ['a rate of 0 in the first half hour', summaryOf({ 'hash-realtime': 0, elapsed: 1799 }), 'starting'],
    ['a rate of 0 later', summaryOf({ 'hash-realtime': 0, elapsed: 1800 }), 'stopped'],
    ['a rate of 0 since nobody knows when', summaryOf({ 'hash-realtime': 0 }), 'stopped'],
  ];
  it.each(cases)('%s', (_what, replies, state) => {
    expect(decoded(replies).state).toBe(state);
  });

  it('does not take silence for off, nor for a search that is over', () => {
    expect(isWhatsminerV3Off({})).toBe(false);
    expect(isWhatsminerV3Off({ info: { miner: {} } })).toBe(false);
    expect(isWhatsminerV3SearchOver({})).toBe(false);
  });
});

describe('Whatsminer API 3: what it can be told', () => {
  it('is a percentage of the limit, else of the model, of the device or of the configuration', () => {
    const limits = (replies: WhatsminerV3Replies, model: string | null = null) =>
      decoded(replies, model).control.powerLimit;
    expect(limits(summaryOf({ 'power-limit': 3600 }))).toEqual({
      kind: 'watts',
      minWatts: 1440,
      maxWatts: 3600,
      stepWatts: 36,
    });
    const m60 = { info: { miner: { type: 'M60_VK10' } } };
    expect(limits(m60)?.maxWatts).toBe(3422);
    expect(limits(m60, 'M20S')?.maxWatts).toBe(3422);
    expect(limits({}, 'M20S')?.maxWatts).toBe(3360);
    expect(limits({})).toBeNull();
  });

  it('is nothing without a password', () => {
    expect(decoded(summaryOf({ 'power-limit': 3600 }), null, false).control).toMatchObject({
      sleep: false,
      powerLimit: null,
    });
  });
});
