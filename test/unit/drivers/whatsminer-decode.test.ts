import { describe, expect, it } from 'vitest';
import { findMinerModel } from '../../../config/miners/models.ts';
import {
  decodeWhatsminer,
  isOff,
  isSearchOver,
  isWhatsminer,
  messageOf,
  percentBaseWatts,
  type WhatsminerReplies,
  whatsminerControl,
  whatsminerFaults,
  whatsminerModel,
} from '../../../drivers/miners/whatsminer-decode.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

const decoded = (replies: WhatsminerReplies, configuredModel: string | null = null, controllable = true) =>
  decodeWhatsminer(replies, { firmware: 'whatsminer', configuredModel, controllable });
const summaryOf = (fields: CgminerBody): WhatsminerReplies => ({ summary: { SUMMARY: [fields] } });
/** A flat answer of `get_*` and `status`. */
const flat = (Msg: unknown): CgminerBody => ({ STATUS: 'S', When: 1, Code: 131, Msg, Description: '' });

const NOTHING = {
  kind: 'miner',
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
};
const NO_COMMAND = {
  sleep: false,
  wake: false,
  powerLimit: null,
  sleepMs: null,
  wakeMs: null,
  changeMs: null,
};

describe('Whatsminer API 2: a reading', () => {
  const cases: readonly (readonly [string, WhatsminerReplies, object])[] = [
    ['HS RT in MH/s', summaryOf({ 'HS RT': 67_394_800, 'MHS 5s': 1e6 }), { hashrateThs: 67.3948 }],
    ['the last 5 s without HS RT', summaryOf({ 'MHS 5s': 70_000_000, 'MHS av': 1 }), { hashrateThs: 70 }],
    ['a rate of 0', summaryOf({ 'HS RT': 0, 'MHS av': 67e6 }), { hashrateThs: 0 }],
    ['Factory GHS in GH/s', summaryOf({ 'Factory GHS': 68_800 }), { nominalHashrateThs: 68.8 }],
    ['no nominal rate', summaryOf({ 'Factory GHS': -3 }), { nominalHashrateThs: null }],
    ['a nominal rate of 0', summaryOf({ 'Factory GHS': 0 }), { nominalHashrateThs: null }],
    ['power', summaryOf({ Power: 3417, Power_RT: 3427 }), { powerWatts: 3417, powerSource: 'reported' }],
    ['only Power_RT', summaryOf({ Power_RT: 3427 }), { powerWatts: 3427, powerSource: 'reported' }],
    ['-1 W, which is unknown', summaryOf({ Power: -1 }), { powerWatts: null, powerSource: null }],
    ['-1 W beside Power_RT', summaryOf({ Power: -1, Power_RT: 3427 }), { powerWatts: 3427 }],
    [
      '0 W of a supply that measures nothing',
      summaryOf({ Power: 0 }),
      { powerWatts: null, powerSource: null },
    ],
    ['the limit in force', summaryOf({ 'Power Limit': 3500 }), { powerLimitWatts: 3500 }],
    ['no limit', summaryOf({ 'Power Limit': 0 }), { powerLimitWatts: null }],
    [
      'the limit of the status in text',
      { status: flat({ power_limit_set: '3600' }), ...summaryOf({ 'Power Limit': 0 }) },
      { powerLimitWatts: 3600 },
    ],
    ['an empty limit', { status: flat({ power_limit_set: '' }) }, { powerLimitWatts: null }],
    ['99999, which is no limit', { status: flat({ power_limit_set: '99999' }) }, { powerLimitWatts: null }],
    ['99999 in the summary', summaryOf({ 'Power Limit': 99_999 }), { powerLimitWatts: null }],
    [
      'the time since mining began',
      summaryOf({ Elapsed: 10_154, Uptime: 10_792 }),
      { uptimeSeconds: 10_154 },
    ],
    ['the time since the start', summaryOf({ Uptime: 10_792 }), { uptimeSeconds: 10_792 }],
    [
      'temperatures',
      summaryOf({ 'Chip Temp Max': 92.5, Temperature: 71.5, 'Env Temp': 30 }),
      { chipTemperatureCelsius: 92.5, boardTemperatureCelsius: 71.5 },
    ],
    [
      'sensors that are absent',
      summaryOf({ 'Chip Temp Max': 0, Temperature: -273 }),
      { chipTemperatureCelsius: null, boardTemperatureCelsius: null },
    ],
    ['fans', summaryOf({ 'Fan Speed In': 6450, 'Fan Speed Out': 6480 }), { fanRpm: [6450, 6480] }],
    ['a fan that stands', summaryOf({ 'Fan Speed In': 0, 'Fan Speed Out': -1 }), { fanRpm: [0] }],
    ['one fan', summaryOf({ 'Fan Speed Out': '6480' }), { fanRpm: [6480] }],
    ['J/TH', summaryOf({ 'HS RT': 100e6, Power: 3000 }), { efficiencyJoulesPerTh: 30 }],
    [
      'the summary of newer builds, in Msg',
      { summary: flat({ 'HS RT': 100e6, Power: 3000, MAC: 'C4:08:28:00:A4:19' }) },
      { hashrateThs: 100, powerWatts: 3000, macAddress: 'c4:08:28:00:a4:19' },
    ],
    [
      'an address from the information',
      { get_miner_info: flat({ mac: 'D4:01:02:03:04:05' }) },
      { macAddress: 'd4:01:02:03:04:05' },
    ],
    [
      'an address of the summary first',
      { ...summaryOf({ MAC: 'C4:08:28:00:A4:19' }), get_miner_info: flat({ mac: 'D4:01:02:03:04:05' }) },
      { macAddress: 'c4:08:28:00:a4:19' },
    ],
    ['a serial number', { get_miner_info: flat({ minersn: 'HTM3' }) }, { serialNumber: 'HTM3' }],
    [
      'the firmware of get_version first',
      { get_version: flat({ fw_ver: '20210322.22.REL' }), ...summaryOf({ 'Firmware Version': 'x' }) },
      { firmwareVersion: '20210322.22.REL' },
    ],
    [
      'the firmware of the summary, in quotes of its own',
      { ...summaryOf({ 'Firmware Version': "'20210322.22.REL'" }), status: flat({ FirmwareVersion: 'x' }) },
      { firmwareVersion: '20210322.22.REL' },
    ],
    [
      'the firmware of the status',
      { status: flat({ FirmwareVersion: '20240624.18.REL' }) },
      { firmwareVersion: '20240624.18.REL' },
    ],
    [
      'the firmware of an old status',
      { status: flat({ 'Firmware Version': "'20220919.15.REL'" }) },
      { firmwareVersion: '20220919.15.REL' },
    ],
    [
      'the first model that is named',
      { devdetails: { DEVDETAILS: [{ Name: 'SM' }, { Model: 'M60S-VK40' }, { Model: 'M20S' }] } },
      { model: 'Whatsminer M60S VK40' },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decoded(replies)).toMatchObject(expected);
  });

  it('says nothing of what was not answered', () => {
    const expected = { ...NOTHING, firmware: 'whatsminer', control: NO_COMMAND };
    expect(decoded({}, null, false)).toEqual(expected);
    // A refusal has text where the others have their fields.
    const refused = flat('over max connect');
    expect(decoded({ summary: refused, status: refused, get_error_code: refused }, null, false)).toEqual(
      expected,
    );
  });

  it('lists boards with the rate of now', () => {
    const devs = {
      DEVS: [
        {
          Slot: 2,
          ASC: 0,
          ID: 0,
          'MHS 5s': 20_000_000,
          'MHS av': 22e6,
          'Chip Temp Max': 90,
          'Effective Chips': 105,
        },
        { ASC: 1, ID: 0, 'MHS 5s': 25_500_000, 'Chip Temp Max': 0 },
        { ID: 5 },
        {},
      ],
    };
    expect(decoded({ devs }).boards).toEqual([
      { index: 2, hashrateThs: 20, chipTemperatureCelsius: 90, chipsAlive: 105, chips: null },
      { index: 1, hashrateThs: 25.5, chipTemperatureCelsius: null, chipsAlive: null, chips: null },
      { index: 5, hashrateThs: null, chipTemperatureCelsius: null, chipsAlive: null, chips: null },
      { index: 3, hashrateThs: null, chipTemperatureCelsius: null, chipsAlive: null, chips: null },
    ]);
    expect(decoded({ devs: { DEVS: Array.from({ length: 20 }, () => ({})) } }).boards).toHaveLength(16);
  });

  it('lists pools', () => {
    const pools = { POOLS: [{ URL: 'stratum+tcp://a:1', User: 'u', Status: 'Alive', Priority: 0 }] };
    expect(decoded({ pools }).pools).toEqual([
      { url: 'stratum+tcp://a:1', user: 'u', status: 'alive', priority: 0 },
    ]);
  });
});

describe('Whatsminer API 2: state', () => {
  const cases: readonly (readonly [string, WhatsminerReplies, string])[] = [
    ['hashing', summaryOf({ 'HS RT': 60e6 }), 'hashing'],
    ['hashing, and stable', summaryOf({ 'HS RT': 60e6, 'Hash Stable': true }), 'hashing'],
    ['hashing, the search at work', summaryOf({ 'HS RT': 60e6, 'Hash Stable': false }), 'tuning'],
    ['hashing, the search not complete', summaryOf({ 'HS RT': 60e6, 'Upfreq Complete': 0 }), 'tuning'],
    [
      'hashing, complete though not stable',
      summaryOf({ 'HS RT': 60e6, 'Hash Stable': false, 'Upfreq Complete': 1 }),
      'hashing',
    ],
    [
      'every board complete',
      {
        ...summaryOf({ 'HS RT': 60e6, 'Hash Stable': false }),
        devs: { DEVS: [{ 'Upfreq Complete': 1 }, { 'Upfreq Complete': 1 }] },
      },
      'hashing',
    ],
    [
      'one board not complete',
      {
        ...summaryOf({ 'HS RT': 60e6, 'Hash Stable': false }),
        devs: { DEVS: [{ 'Upfreq Complete': 1 }, { 'Upfreq Complete': 0 }] },
      },
      'tuning',
    ],
    ['switched off', { ...summaryOf({ 'HS RT': 60e6 }), status: flat({ mineroff: 'true' }) }, 'sleeping'],
    ['switched off, older', { status: flat({ btmineroff: 'true' }) }, 'sleeping'],
    [
      'not off, no rate said',
      { status: flat({ mineroff: 'false' }), ...summaryOf({ Elapsed: 5 }) },
      'unknown',
    ],
    ['a rate of 0 in the first half hour', summaryOf({ 'HS RT': 0, Elapsed: 1799 }), 'starting'],
    ['a rate of 0 later', summaryOf({ 'HS RT': 0, Elapsed: 1800 }), 'stopped'],
    ['a rate of 0 since nobody knows when', summaryOf({ 'HS RT': 0 }), 'stopped'],
  ];
  it.each(cases)('%s', (_what, replies, state) => {
    expect(decoded(replies).state).toBe(state);
  });

  it('is off as `status` says, by the newer name first', () => {
    const off = (message: unknown) => isOff({ status: flat(message) });
    expect(off({ mineroff: 'false', btmineroff: 'true' })).toBe(false);
    expect(off({ btmineroff: 'false' })).toBe(false);
    expect(off({})).toBeNull();
    expect(off('permission denied')).toBeNull();
    expect(isOff({})).toBeNull();
  });

  it('takes a percentage when the search is over', () => {
    expect(isSearchOver(summaryOf({ 'Hash Stable': true }))).toBe(true);
    expect(isSearchOver({ summary: flat({ 'Hash Stable': true }) })).toBe(true);
    expect(isSearchOver(summaryOf({ 'Upfreq Complete': 1, 'Hash Stable': false }))).toBe(true);
    expect(isSearchOver(summaryOf({ 'Upfreq Complete': 0, 'Hash Stable': false }))).toBe(false);
    expect(isSearchOver({ devs: { DEVS: [{ 'Upfreq Complete': '1' }] } })).toBe(true);
    expect(isSearchOver({ devs: { DEVS: [] } })).toBe(false);
    expect(isSearchOver({ devs: { DEVS: [{}] } })).toBe(false);
    expect(isSearchOver({})).toBe(false);
  });
});

describe('Whatsminer API 2: what an answer is', () => {
  it('tells a summary of btminer by its own fields', () => {
    for (const field of ['HS RT', 'Power', 'Power Limit', 'Factory GHS', 'Power Mode', 'MAC']) {
      expect(isWhatsminer({ SUMMARY: [{ Elapsed: 1, [field]: 0 }] }), field).toBe(true);
      expect(isWhatsminer(flat({ Elapsed: 1, [field]: 0 })), field).toBe(true);
    }
    expect(isWhatsminer({ SUMMARY: [{ Elapsed: 1, 'GHS 5s': 1 }] })).toBe(false);
    // Too little to tell.
    expect(isWhatsminer({ SUMMARY: [] })).toBe(true);
    expect(isWhatsminer(undefined)).toBe(true);
  });

  it('has its fields in Msg, or none', () => {
    expect(messageOf(flat({ a: 1 }))).toEqual({ a: 1 });
    expect(messageOf(flat('text'))).toEqual({});
    expect(messageOf(flat(['a']))).toEqual({});
    expect(messageOf(undefined)).toEqual({});
  });

  it('names models in one way', () => {
    expect(whatsminerModel('M60S-VK40')).toBe('Whatsminer M60S VK40');
    expect(whatsminerModel('M60S_VK40')).toBe('Whatsminer M60S VK40');
    expect(whatsminerModel('M30S++_V-10')).toBe('Whatsminer M30S++ V 10');
    expect(whatsminerModel(null)).toBeNull();
  });
});

describe('Whatsminer: faults', () => {
  const INTAKE = { code: '110', message: 'Intake fan speed error.' };
  const NO_SUPPLY = { code: '200', message: 'No power supply found.' };

  it('are counted in the summary of API 1', () => {
    const summary = {
      'Error Code Count': 2,
      'Error Code 0': 110,
      'Error Code 1': '200',
      'Error Code 2': 2000,
    };
    expect(decoded(summaryOf(summary)).errors).toEqual([INTAKE, NO_SUPPLY]);
    expect(decoded(summaryOf({ 'Error Code Count': 2, 'Error Code 1': 110 })).errors).toEqual([INTAKE]);
    expect(decoded(summaryOf({ 'Error Code 0': 110 })).errors).toEqual([]);
    const many = Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`Error Code ${n}`, 5000 + n]));
    expect(decoded(summaryOf({ 'Error Code Count': 1e9, ...many })).errors).toHaveLength(64);
  });

  it('are a list of pairs in API 2, or one object, told once each', () => {
    const get_error_code = flat({
      error_code: [{ 200: '2024-06-15 10:30:00' }, { 110: '2024-06-15 09:15:00' }],
    });
    const summary = { SUMMARY: [{ 'Error Code Count': 1, 'Error Code 0': 110 }] };
    expect(decoded({ get_error_code, summary }).errors).toEqual([INTAKE, NO_SUPPLY]);
    expect(whatsminerFaults([], { 110: '2024', 200: '600' })).toEqual([INTAKE, NO_SUPPLY]);
  });

  it('are numbers, texts of numbers, pairs with a reason, and what btminer says in words', () => {
    const down = 'btminer process is down err';
    expect(
      whatsminerFaults([], [110, '200', { 264: '2026-05-23 09:19:10', reason: 'x1' }, null, '', down]),
    ).toEqual([
      INTAKE,
      NO_SUPPLY,
      { code: '264', message: 'Power communication error.' },
      { code: 'text', message: down },
    ]);
    expect(whatsminerFaults([], down)).toEqual([{ code: 'text', message: down }]);
    expect(whatsminerFaults(['110'], [])).toEqual([INTAKE]);
    expect(whatsminerFaults([], undefined)).toEqual([]);
    expect(whatsminerFaults([], null)).toEqual([]);
    expect(whatsminerFaults([], {})).toEqual([]);
    expect(whatsminerFaults([], ['no 110', '110 rpm'])).toEqual([
      { code: 'text', message: 'no 110' },
      { code: 'text', message: '110 rpm' },
    ]);
    expect(whatsminerFaults([], [{ a1: '', '1a': '' }])).toEqual([]);
  });

  it.each([
    ['110', 'Intake fan speed error.'],
    ['143', 'Fan error.'],
    ['206', 'Power supply input voltage is low.'],
    ['299', 'Power supply error.'],
    ['301', 'Board temperature sensor error.'],
    ['329', 'Control board temperature sensor error.'],
    ['350', 'Board temperature protection.'],
    ['363', 'Board temperature protection.'],
    ['370', 'Environment temperature fluctuates.'],
    ['382', 'Humidity sensor error.'],
    ['412', 'Hash board EEPROM error.'],
    ['540', 'Hash board error.'],
    ['800', 'Checksum error.'],
    ['2021', 'Connection to a pool failed.'],
    ['5012', 'Hash board chip error.'],
    ['5070', 'Cooling water flow error.'],
    ['52123', 'Hash board chip error.'],
    ['100001', 'File or security error.'],
    ['9999', 'Whatsminer error code 9999.'],
  ])('%s says: %s', (code, message) => {
    expect(whatsminerFaults([code], [])).toEqual([{ code, message }]);
  });

  it('are bounded', () => {
    const many = Array.from({ length: 100 }, (_, n) => 5000 + n);
    expect(whatsminerFaults([], many)).toHaveLength(64);
    expect(whatsminerFaults([], ['x'.repeat(300)])[0]?.message).toBe('x'.repeat(200));
  });
});

describe('Whatsminer: what it can be told', () => {
  const M20S = findMinerModel('Whatsminer M20S');

  it('is a percentage of the limit in force, else of what the model takes', () => {
    expect(percentBaseWatts(3500, M20S)).toBe(3500);
    expect(percentBaseWatts(null, M20S)).toBe(3360);
    expect(percentBaseWatts(null, null)).toBeNull();
  });

  it('is within seconds under the limit in force, from 40 % by steps of 1 %', () => {
    expect(whatsminerControl(3333, null, true)).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'watts', minWatts: 1334, maxWatts: 3333, stepWatts: 34 },
      sleepMs: 5000,
      wakeMs: 1_800_000,
      changeMs: 5000,
    });
    expect(whatsminerControl(null, M20S, true)).toMatchObject({
      powerLimit: { minWatts: 1344, maxWatts: 3360, stepWatts: 34 },
      changeMs: 5000,
    });
  });

  it('takes a restart to get above a lowered limit', () => {
    expect(whatsminerControl(2000, M20S, true)).toMatchObject({
      powerLimit: { kind: 'watts', minWatts: 800, maxWatts: 3360, stepWatts: 20 },
      changeMs: 900_000,
    });
    // A limit within 1 % of nominal is no lowered one.
    expect(whatsminerControl(3327, M20S, true).changeMs).toBe(5000);
    expect(whatsminerControl(3326, M20S, true).changeMs).toBe(900_000);
    expect(whatsminerControl(3600, M20S, true)).toMatchObject({
      powerLimit: { maxWatts: 3600 },
      changeMs: 5000,
    });
  });

  it('is sleep and wake alone where nobody knows what it takes, and nothing without a password', () => {
    expect(whatsminerControl(null, null, true)).toEqual({
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 5000,
      wakeMs: 1_800_000,
      changeMs: null,
    });
    expect(whatsminerControl(3500, M20S, false)).toEqual(NO_COMMAND);
    expect(
      decoded({ devdetails: { DEVDETAILS: [{ Model: 'M20S' }] } }, 'M60S').control.powerLimit?.maxWatts,
    ).toBe(3360);
    expect(decoded({}, 'M20S').control.powerLimit?.maxWatts).toBe(3360);
  });
});
