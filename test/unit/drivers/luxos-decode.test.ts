import { describe, expect, it } from 'vitest';
import {
  decodeLuxos,
  isCurtailed,
  LUXOS_READS,
  type LuxosReplies,
  luxosProfiles,
} from '../../../drivers/miners/luxos-decode.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

const config = (fields: CgminerBody): LuxosReplies => ({ config: { CONFIG: [fields] } });
const summary = (fields: CgminerBody): LuxosReplies => ({ summary: { SUMMARY: [fields] } });
const stats = (fields: CgminerBody): LuxosReplies => ({ stats: { STATS: [{ Miner: '2025.4.8' }, fields] } });
const power = (fields: CgminerBody): LuxosReplies => ({ power: { POWER: [fields] } });
const devs = (...list: CgminerBody[]): LuxosReplies => ({ devs: { DEVS: list } });

describe('LuxOS: a reading', () => {
  const cases: readonly (readonly [string, LuxosReplies, object])[] = [
    [
      'the model of its configuration first',
      { ...config({ Model: 'Antminer S19k Pro' }), version: { VERSION: [{ Type: 'Antminer S19' }] } },
      { model: 'Antminer S19k Pro' },
    ],
    [
      'the model of its version',
      { version: { VERSION: [{ Type: 'Antminer S19' }] }, ...stats({ Type: 'Antminer S21' }) },
      { model: 'Antminer S19' },
    ],
    ['the model of its statistics', stats({ Type: 'Antminer S21' }), { model: 'Antminer S21' }],
    [
      'its release',
      { version: { VERSION: [{ Miner: '2025.4.8.220305', LUXminer: '2025.4.8.220305-57b389c7' }] } },
      { firmwareVersion: '2025.4.8.220305' },
    ],
    [
      'its release under the newer name alone',
      { version: { VERSION: [{ API: '3.7', LUXminer: '2026.4.3' }] } },
      { firmwareVersion: '2026.4.3' },
    ],
    [
      'who it is',
      config({ MACAddr: '62:F7:5E:B7:10:46', SerialNumber: 'JYZZB0UBDJABF06RB' }),
      { macAddress: '62:f7:5e:b7:10:46', serialNumber: 'JYZZB0UBDJABF06RB' },
    ],
    ['the last 5 s in GH/s', summary({ 'GHS 5s': 59_750, 'GHS av': 56_917 }), { hashrateThs: 59.75 }],
    [
      'the summary before the statistics',
      { ...summary({ 'GHS 5s': 59_750 }), ...stats({ 'GHS 5s': 1 }) },
      { hashrateThs: 59.75 },
    ],
    ['the statistics alone', stats({ 'GHS 5s': 59_750 }), { hashrateThs: 59.75 }],
    [
      'the rate that its profile gives, before the name plate',
      { ...stats({ total_rateideal: 61_950 }), ...config({ NameplateTHS: 121.75 }) },
      { nominalHashrateThs: 61.95 },
    ],
    [
      'the rate that its profile gives, in the unit beside it',
      stats({ total_rateideal: 61.75, rate_unit: 'TH' }),
      { nominalHashrateThs: 61.75 },
    ],
    ['the rate of the name plate in TH/s', config({ NameplateTHS: 121.75 }), { nominalHashrateThs: 121.75 }],
    ['no rate that is none', config({ NameplateTHS: -1 }), { nominalHashrateThs: null }],
    ['no rate in another unit', config({ NameplateTHS: 121_750 }), { nominalHashrateThs: null }],
    ['watts', power({ Watts: 1051, PSU: false }), { powerWatts: 1051, powerSource: 'reported' }],
    ['0 W, which is a real 0', power({ Watts: 0 }), { powerWatts: 0, powerSource: 'reported' }],
    ['-1 W, which is unknown', power({ Watts: -1 }), { powerWatts: null, powerSource: null }],
    ['no watts', power({ PSU: true }), { powerWatts: null, powerSource: null }],
    ['J/TH', { ...power({ Watts: 1800 }), ...summary({ 'GHS 5s': 60_000 }) }, { efficiencyJoulesPerTh: 30 }],
    [
      'the time of the summary first',
      { ...summary({ Elapsed: 3453 }), ...stats({ Elapsed: 1 }) },
      { uptimeSeconds: 3453 },
    ],
    ['the time of the statistics', stats({ Elapsed: 3453 }), { uptimeSeconds: 3453 }],
    ['fans', stats({ fan_num: 2, fan1: 1920, fan2: 2340 }), { fanRpm: [1920, 2340] }],
    [
      'pools',
      { pools: { POOLS: [{ URL: 'stratum+tcp://a:1', User: 'u', Status: 'Dead', Priority: 1 }] } },
      { pools: [{ url: 'stratum+tcp://a:1', user: 'u', status: 'dead', priority: 1 }] },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeLuxos(replies)).toMatchObject(expected);
  });

  it.each([1, 2, 3, 4])('looks at the sensors of chain %i', (chain) => {
    const sensors = { [`temp_chip${chain}`]: '47-34-34-51', [`temp_pcb${chain}`]: '40-34-34-47' };
    expect(decodeLuxos(stats(sensors))).toMatchObject({
      chipTemperatureCelsius: 51,
      boardTemperatureCelsius: 47,
    });
  });

  it('says nothing of what was not answered; sleep and wake it always takes', () => {
    expect(decodeLuxos({})).toEqual({
      kind: 'miner',
      firmware: 'luxos',
      vendor: 'Bitmain',
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
      control: {
        sleep: true,
        wake: true,
        powerLimit: null,
        sleepMs: 15_000,
        wakeMs: 300_000,
        changeMs: null,
      },
    });
  });

  it('rests on these reads, one at a time', () => {
    expect(LUXOS_READS).toEqual([
      'version',
      'config',
      'power',
      'summary',
      'stats',
      'devs',
      'pools',
      'events',
    ]);
  });
});

describe('LuxOS: boards', () => {
  const chains = stats({
    chain_acn1: 77,
    chain_acs1: ' oooo ooxo',
    chain_rate1: '18910.28',
    temp_chip1: '47-34',
    chain_acn2: 76,
    chain_rate2: '19000',
  });

  it('have the rate of now where they are listed, and the rest from their chain', () => {
    const list = devs(
      { ID: 1, ASC: 0, 'MHS 5s': 19_250_000, 'MHS av': 1 },
      { ASC: 0, 'MHS 5s': 19_750_000 },
      { ID: 2, 'MHS 5s': 0 },
      { Name: 'without a number', 'MHS 5s': 5e6 },
    );
    expect(decodeLuxos({ ...chains, ...list }).boards).toEqual([
      { index: 0, hashrateThs: 19.75, chipTemperatureCelsius: 47, chipsAlive: 77, chips: 8 },
      { index: 1, hashrateThs: 19.25, chipTemperatureCelsius: null, chipsAlive: 76, chips: null },
      { index: 2, hashrateThs: 0, chipTemperatureCelsius: null, chipsAlive: null, chips: null },
    ]);
  });

  it('are the chains where no board is listed', () => {
    const { boards } = decodeLuxos(chains);
    expect(boards.map(({ index, chipsAlive }) => [index, chipsAlive])).toEqual([
      [0, 77],
      [1, 76],
    ]);
    expect(boards[0]?.hashrateThs).toBeCloseTo(18.91028, 9);
  });
});

describe('LuxOS: state', () => {
  const tuning = config({ IsTuning: true, NameplateTHS: 100 });
  const cases: readonly (readonly [string, LuxosReplies, string])[] = [
    ['hashing', summary({ 'GHS 5s': 60_000 }), 'hashing'],
    ['asleep by order', { ...config({ CurtailMode: 'Sleep' }), ...summary({ 'GHS 5s': 0 }) }, 'sleeping'],
    ['not asleep', { ...config({ CurtailMode: 'None' }), ...summary({ 'GHS 5s': 60_000 }) }, 'hashing'],
    ['no rate said', config({ CurtailMode: 'None' }), 'unknown'],
    [
      'the tuner at work far below the nominal rate',
      { ...tuning, ...summary({ 'GHS 5s': 89_999 }) },
      'tuning',
    ],
    ['the tuner at work at the nominal rate', { ...tuning, ...summary({ 'GHS 5s': 90_000 }) }, 'hashing'],
    [
      'the tuner at work, the nominal rate unknown',
      { ...config({ IsTuning: true }), ...summary({ 'GHS 5s': 1000 }) },
      'hashing',
    ],
    [
      'a low rate, no tuner at work',
      { ...config({ NameplateTHS: 100 }), ...summary({ 'GHS 5s': 1000 }) },
      'hashing',
    ],
    [
      'a low rate, no board ramping',
      { ...config({ NameplateTHS: 100 }), ...summary({ 'GHS 5s': 1000 }), ...devs({ IsRamping: false }) },
      'hashing',
    ],
    [
      'one board ramping',
      {
        ...config({ NameplateTHS: 100, IsTuning: false }),
        ...summary({ 'GHS 5s': 1000 }),
        ...devs({ IsRamping: false }, { IsRamping: true }),
      },
      'tuning',
    ],
    [
      'the supply off',
      { ...config({ IsPowerSupplyOn: false }), ...summary({ 'GHS 5s': 0, Elapsed: 10 }) },
      'stopped',
    ],
    ['a rate of 0 in the first 15 minutes', summary({ 'GHS 5s': 0, Elapsed: 899 }), 'starting'],
    ['a rate of 0 later', summary({ 'GHS 5s': 0, Elapsed: 900 }), 'stopped'],
    ['a rate of 0 since nobody knows when', summary({ 'GHS 5s': 0 }), 'stopped'],
  ];
  it.each(cases)('%s', (_what, replies, state) => {
    expect(decodeLuxos(replies).state).toBe(state);
  });

  it('is asleep by the word of its configuration alone', () => {
    expect(['Sleep', 'sleep mode', 'None', ''].map((CurtailMode) => isCurtailed({ CurtailMode }))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(isCurtailed({})).toBe(false);
  });
});

describe('LuxOS: faults', () => {
  it('are its events, and a system that is not normal', () => {
    const events = {
      EVENTS: [
        { Code: 'NOPIC_PROTECTION', Description: 'Miner shutdown.', Target: 'MINER' },
        { Code: 'REBOOT_NOT_HASHING', Description: 'Board reboot.', Target: 'BOARD', ID: 0 },
        {},
      ],
    };
    expect(decodeLuxos({ events, ...config({ SystemStatus: 'Overheated' }) }).errors).toEqual([
      { code: 'NOPIC_PROTECTION', message: '[MINER] Miner shutdown.' },
      { code: 'REBOOT_NOT_HASHING', message: '[BOARD 0] Board reboot.' },
      { code: 'EVENT', message: '[MINER] ' },
      { code: 'SYSTEM_STATUS', message: 'System status: Overheated' },
    ]);
    expect(decodeLuxos(config({ SystemStatus: 'Normal' })).errors).toEqual([]);
  });
});

describe('LuxOS: profiles', () => {
  const profiles = {
    PROFILES: [
      { 'Profile Name': 'default', Step: '0', Hashrate: 121.8, Watts: 2794 },
      { 'Profile Name': '190MHz', Step: '-16', Hashrate: 39.2, Watts: 784 },
      { 'Profile Name': '290MHz', Step: '-12', Hashrate: 59.8, Watts: 1188 },
      { 'Profile Name': '290MHz again', Watts: 1188 },
      { Watts: 1 },
      { 'Profile Name': 'without watts' },
      { 'Profile Name': 'nothing', Watts: 0 },
    ],
  };

  it('are told weakest first, where they have a name and watts', () => {
    expect(luxosProfiles(profiles)).toEqual([
      { name: '190MHz', watts: 784 },
      { name: '290MHz', watts: 1188 },
      { name: '290MHz again', watts: 1188 },
      { name: 'default', watts: 2794 },
    ]);
    expect(luxosProfiles(undefined)).toEqual([]);
  });

  it('are what it can be told, each watt once; the one in force is the limit', () => {
    expect(decodeLuxos({ profiles, ...config({ Profile: '290MHz' }) })).toMatchObject({
      powerLimitWatts: 1188,
      control: {
        sleep: true,
        wake: true,
        powerLimit: { kind: 'preset', minWatts: 784, maxWatts: 2794, presetsWatts: [784, 1188, 2794] },
        changeMs: 300_000,
      },
    });
    expect(decodeLuxos({ profiles, ...config({ Profile: '300MHz' }) }).powerLimitWatts).toBeNull();
    expect(decodeLuxos({ profiles }).powerLimitWatts).toBeNull();
  });
});
