import { describe, expect, it } from 'vitest';
import { decodeEpic, type EpicReplies, epicTuning, isEpicIdle } from '../../../drivers/miners/epic-decode.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

const summary = (fields: CgminerBody): EpicReplies => ({ summary: fields });
const capabilities = (fields: CgminerBody): EpicReplies => ({ capabilities: fields });
const board = (Index: number, mhs: number, Temperature = 60): CgminerBody => ({
  Index,
  Hashrate: [mhs, 103.1, 0.8],
  Temperature,
});

describe('ePIC: a reading', () => {
  const cases: readonly (readonly [string, EpicReplies, object])[] = [
    [
      'the model',
      capabilities({ Model: 'AntMiner S19 XP' }),
      { vendor: 'Bitmain', model: 'AntMiner S19 XP' },
    ],
    [
      'its release',
      summary({ Software: 'PowerPlay-BMS v1.5.13' }),
      { firmwareVersion: 'PowerPlay-BMS v1.5.13' },
    ],
    [
      'the address by DHCP',
      { network: { dhcp: { mac_address: 'E6:D4:41:51:64:28' } } },
      { macAddress: 'e6:d4:41:51:64:28' },
    ],
    [
      'the address as set',
      { network: { static: { mac_address: 'E6:D4:41:51:64:28' } } },
      { macAddress: 'e6:d4:41:51:64:28' },
    ],
    [
      'the sum of its boards in MH/s',
      summary({ HBs: [board(1, 49_500_000), board(2, 50_000_000)], Session: { 'Average MHs': 1e6 } }),
      { hashrateThs: 99.5 },
    ],
    [
      'the average where no board tells its rate',
      summary({ HBs: [], Session: { 'Average MHs': 90e6 } }),
      { hashrateThs: 90 },
    ],
    [
      '0 of boards that stand',
      summary({ HBs: [board(1, 0)], Session: { 'Average MHs': 90e6 } }),
      { hashrateThs: 0 },
    ],
    ['the nominal rate in TH/s', capabilities({ 'Default Hashrate': 143 }), { nominalHashrateThs: 143 }],
    [
      'watts',
      summary({ 'Power Supply Stats': { 'Input Power': 2166.5, 'Output Power': 0 } }),
      { powerWatts: 2166.5, powerSource: 'reported', powerLimitWatts: null },
    ],
    [
      '0 W, which is a real 0',
      summary({ 'Power Supply Stats': { 'Input Power': 0 } }),
      { powerWatts: 0, powerSource: 'reported' },
    ],
    [
      '-1 W, which is unknown',
      summary({ 'Power Supply Stats': { 'Input Power': -1 } }),
      { powerWatts: null, powerSource: null },
    ],
    [
      'J/TH',
      summary({ HBs: [board(1, 100e6)], 'Power Supply Stats': { 'Input Power': 2000 } }),
      { efficiencyJoulesPerTh: 20 },
    ],
    [
      'temperatures of the boards',
      {
        ...summary({ HBs: [board(1, 0, 64.5), board(2, 0, 67)] }),
        ...capabilities({ 'Temp Sensor Info': { Count: 2, Type: 'Board' } }),
      },
      { boardTemperatureCelsius: 67, chipTemperatureCelsius: null },
    ],
    [
      'temperatures of the chips, where the sensors sit there',
      { ...summary({ HBs: [board(1, 0, 67)] }), ...capabilities({ 'Temp Sensor Info': { Type: 'Chip' } }) },
      { boardTemperatureCelsius: null, chipTemperatureCelsius: 67 },
    ],
    [
      'temperatures of the boards where it does not say',
      summary({ HBs: [board(1, 0, 67)] }),
      { boardTemperatureCelsius: 67 },
    ],
    [
      'fans: one that stands, none that is null',
      summary({
        'Fans Rpm': {
          'Fans Speed 1': 5971,
          'Fans Speed 2': 0,
          'Fans Speed 3': null,
          'Fans Speed 12': 5000,
          'Fans Speed 13': 1,
          'Fans Speed 0': 1,
        },
      }),
      { fanRpm: [5971, 0, 5000] },
    ],
    ['no fan of -1 rpm', summary({ 'Fans Rpm': { 'Fans Speed 1': -1 } }), { fanRpm: [] }],
    ['the time', summary({ Session: { Uptime: 23_170 } }), { uptimeSeconds: 23_170 }],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeEpic(replies)).toMatchObject(expected);
  });

  it('says nothing of what was not answered', () => {
    const expected = {
      kind: 'miner',
      firmware: 'epic',
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
      control: { sleep: false, wake: false, powerLimit: null, sleepMs: null, wakeMs: null, changeMs: null },
    };
    expect(decodeEpic({})).toEqual(expected);
    expect(decodeEpic({ summary: null, capabilities: [], network: 'no' })).toEqual(expected);
  });
});

describe('ePIC: boards', () => {
  const chips = capabilities({ 'Performance Estimator': { 'Chip Count': 110 } });
  const rest = { chipTemperatureCelsius: null, chipsAlive: null, chips: 110 };

  it('are all that are there, also those that are switched off', () => {
    const HBStatus = [
      { Index: 0, Enabled: false },
      { Index: 1, Enabled: true },
      { Index: 2, Enabled: true },
    ];
    const HBs = [board(2, 50_000_000), board(1, 49_500_000)];
    expect(decodeEpic({ ...summary({ HBStatus, HBs }), ...chips }).boards).toEqual([
      { index: 0, hashrateThs: null, ...rest },
      { index: 1, hashrateThs: 49.5, ...rest },
      { index: 2, hashrateThs: 50, ...rest },
    ]);
  });

  it('are those that work where no others are listed', () => {
    expect(decodeEpic({ ...summary({ HBs: [board(1, 50_000_000)] }), ...chips }).boards).toEqual([
      { index: 1, hashrateThs: 50, ...rest },
    ]);
    // Their place where they have no number; a rate is the first of a list.
    expect(decodeEpic(summary({ HBStatus: [{}, {}], HBs: [{ Index: 1, Hashrate: 5e6 }] })).boards).toEqual([
      { ...rest, index: 0, hashrateThs: null, chips: null },
      { ...rest, index: 1, hashrateThs: null, chips: null },
    ]);
    expect(decodeEpic(summary({ HBs: Array.from({ length: 20 }, () => ({})) })).boards).toHaveLength(16);
  });
});

describe('ePIC: state', () => {
  const stateOf = (said: unknown, mhs: number | null = null, error: string | null = null) =>
    decodeEpic(
      summary({
        Status: { 'Operating State': said, 'Last Error': error },
        ...(mhs !== null && { Session: { 'Average MHs': mhs } }),
      }),
    ).state;

  it.each([
    ['Mining', 90e6, 'hashing'],
    ['mining', 90e6, 'hashing'],
    ['Mining', 0, 'starting'],
    ['Mining', null, 'starting'],
    ['Idling', null, 'sleeping'],
    ['idle', 0, 'sleeping'],
    ['Error', 90e6, 'fault'],
    ['Init Failed', null, 'fault'],
    ['Fault', null, 'fault'],
    ['Tuning', 90e6, 'tuning'],
    ['Autotune', 90e6, 'tuning'],
    ['Starting', null, 'starting'],
    ['Initializing', null, 'starting'],
    ['Warming up', null, 'starting'],
    ['Ramping', null, 'starting'],
    ['Not Mining', 90e6, 'unknown'],
    ['Disconnected', null, 'unknown'],
    [null, 90e6, 'unknown'],
  ] as const)('%s at %s MH/s is %s', (said, mhs, state) => {
    expect(stateOf(said, mhs)).toBe(state);
  });

  it('is a stop, and no sleep by command, where an error is told', () => {
    expect(stateOf('Idling', 0, 'Overheat')).toBe('stopped');
    expect(stateOf('Mining', 90e6, 'Overheat')).toBe('hashing');
  });

  it('is idle by the word alone', () => {
    expect(['Idling', 'idle', 'Not idle', null].map(isEpicIdle)).toEqual([true, true, false, false]);
  });
});

describe('ePIC: pools and faults', () => {
  const configs = [{ pool: 'stratum+tcp://a:1', login: 'u.w' }, { pool: 'stratum+tcp://b:1' }, {}];
  const pools = (Stratum: CgminerBody) => decodeEpic(summary({ StratumConfigs: configs, Stratum })).pools;

  it('know of the pool in use whether it is connected', () => {
    expect(pools({ 'Config Id': 0, IsPoolConnected: true })).toEqual([
      { url: 'stratum+tcp://a:1', user: 'u.w', status: 'alive', priority: 0 },
      { url: 'stratum+tcp://b:1', user: null, status: 'unknown', priority: 1 },
      { url: '', user: null, status: 'unknown', priority: 2 },
    ]);
    const statusOf = (Stratum: CgminerBody) => pools(Stratum).map(({ status }) => status);
    expect(statusOf({ 'Config Id': 1, IsPoolConnected: false })).toEqual(['unknown', 'dead', 'unknown']);
    expect(statusOf({ 'Config Id': 1 })).toEqual(['unknown', 'unknown', 'unknown']);
  });

  it('are the last error and the boards that are switched off', () => {
    const HBStatus = [
      { Index: 0, Enabled: false },
      { Index: 1, Enabled: true },
      { Enabled: false },
      { Index: 3 },
    ];
    expect(decodeEpic(summary({ Status: { 'Last Error': 'Overheat' }, HBStatus })).errors).toEqual([
      { code: 'LAST_ERROR', message: 'Overheat' },
      { code: 'BOARD_OFF', message: 'Hash board 0 is switched off' },
      { code: 'BOARD_OFF', message: 'Hash board ? is switched off' },
    ]);
  });
});

describe('ePIC: what it can be tuned to', () => {
  const optimizer = { algorithm: 'VoltageOptimizer', min: 90, max: 150 };
  const chipTune = { algorithm: 'ChipTune', min: 60, max: 100 };
  const presets = [
    { power: 3350, hashrate: 142 },
    { power: 2200, hashrate: 100 },
    { power: 1700, hashrate: 80 },
    { power: 2000, hashrate: 90 },
    { power: 3500, hashrate: 150 },
    { power: 3850, hashrate: 154 },
    { power: 0, hashrate: 100 },
    { hashrate: 100 },
    { power: 2500 },
  ];
  const both = { PerpetualTune: [optimizer, chipTune], 'Tune Presets': presets };

  it('is a preset within the bounds of its algorithm, weakest first', () => {
    expect(epicTuning(both)).toEqual({
      kind: 'presets',
      algorithm: 'VoltageOptimizer',
      presets: [
        { watts: 2000, hashrateThs: 90 },
        { watts: 2200, hashrateThs: 100 },
        { watts: 3350, hashrateThs: 142 },
        { watts: 3500, hashrateThs: 150 },
      ],
    });
    expect(epicTuning(both, 'ChipTune')).toEqual({
      kind: 'presets',
      algorithm: 'ChipTune',
      presets: [
        { watts: 1700, hashrateThs: 80 },
        { watts: 2000, hashrateThs: 90 },
        { watts: 2200, hashrateThs: 100 },
      ],
    });
    // What it does not list is not used.
    expect(epicTuning(both, 'BoardTune')?.algorithm).toBe('VoltageOptimizer');
  });

  it('is watts where the power tuner says from where to where', () => {
    const power = (min: unknown, max: unknown) =>
      epicTuning({ ...both, PerpetualTune: [optimizer, { algorithm: 'PowerTune', min, max }] });
    const watts = { kind: 'watts', algorithm: 'PowerTune', minWatts: 1500, maxWatts: 4000 };
    expect(power(1500, 4000)).toEqual(watts);
    expect(power(1500, 1500)).toEqual({ ...watts, maxWatts: 1500 });
    expect(power(4000, 1500)?.kind).toBe('presets');
    expect(power(0, 4000)?.kind).toBe('presets');
    expect(power(null, 4000)?.kind).toBe('presets');
    expect(power(1500, null)?.kind).toBe('presets');
  });

  it('is nothing without an algorithm, its bounds, or a preset within them', () => {
    const none = (PerpetualTune: unknown, list: unknown = presets) =>
      epicTuning({ PerpetualTune, 'Tune Presets': list });
    expect(none(undefined)).toBeNull();
    expect(none([])).toBeNull();
    expect(none([{ min: 60, max: 300 }])).toBeNull();
    expect(none([{ algorithm: 'ChipTune', max: 300 }])).toBeNull();
    expect(none([{ algorithm: 'ChipTune', min: 60 }])).toBeNull();
    expect(none([chipTune], [])).toBeNull();
    expect(none([{ ...chipTune, max: 70 }])).toBeNull();
  });

  it('is told with a password, as watts or as the watts of presets', () => {
    expect(decodeEpic(capabilities(both), true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'preset', minWatts: 2000, maxWatts: 3500, presetsWatts: [2000, 2200, 3350, 3500] },
      sleepMs: 30_000,
      wakeMs: 300_000,
      changeMs: 300_000,
    });
    const tuner = { PerpetualTune: [{ algorithm: 'PowerTune', min: 1500, max: 4000 }] };
    expect(decodeEpic(capabilities(tuner), true).control.powerLimit).toEqual({
      kind: 'watts',
      minWatts: 1500,
      maxWatts: 4000,
      stepWatts: 1,
    });
    expect(decodeEpic({}, true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 30_000,
      wakeMs: 300_000,
      changeMs: null,
    });
  });
});
