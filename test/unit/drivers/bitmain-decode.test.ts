import { describe, expect, it } from 'vitest';
import { findMinerModel } from '../../../config/miners/models.ts';
import {
  type BitmainReplies,
  decodeBitmain,
  lowPowerWatts,
  modeOf,
} from '../../../drivers/miners/bitmain-decode.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

const decoded = (replies: BitmainReplies, configuredModel: string | null = null, controllable = true) =>
  decodeBitmain(replies, { configuredModel, controllable });

const HEAD = { BMMiner: '1.0.0', Miner: '49.0.1.3', Type: 'Antminer S19 Pro' };
/** `stats` of port 4028: who it is, then what it does. */
const port = (live: CgminerBody): CgminerBody => ({ STATS: [HEAD, live] });
/** `stats.cgi`. */
const web = (live: CgminerBody): CgminerBody => ({
  STATUS: { STATUS: 'S', Msg: 'stats', api_version: '1.0.0' },
  INFO: { miner_version: '49.0.1.3', CompileTime: 'Fri Nov 17 17:57:49 CST 2023', type: 'Antminer S21' },
  STATS: [live],
});
const WORKING = { Elapsed: 5000, 'GHS 5s': 110_000 };

describe('stock Bitmain: who it is', () => {
  const version = { VERSION: [{ Type: 'Antminer S19', CompileTime: 'Tue Dec 6 2022' }] };
  const systemInfo = {
    minertype: 'Antminer T21',
    macaddr: '02:55:97:22:3A:72',
    serinum: 'THQING0BDJAB024NF',
    system_filesystem_version: 'FR-1.12(251009-S21)',
  };

  it('takes the model from statistics, version, the INFO of a page, and the system page, in this order', () => {
    const stats = { STATS: [{ Type: 'Antminer S19 Pro' }], INFO: { type: 'Antminer S21' } };
    const { STATS: _none, ...page } = stats;
    expect(decoded({ stats, version, systemInfo }).model).toBe('Antminer S19 Pro');
    expect(decoded({ stats: page, version, systemInfo }).model).toBe('Antminer S19');
    expect(decoded({ stats: page, systemInfo }).model).toBe('Antminer S21');
    expect(decoded({ systemInfo }).model).toBe('Antminer T21');
    // What the configuration says is no answer of the device.
    expect(decoded({}, 'Antminer S19').model).toBeNull();
  });

  it('takes the version of the file system, else when the program was built', () => {
    const stats = { STATS: [{ CompileTime: 'Wed Jan 1 2020' }] };
    expect(decoded({ stats, version, systemInfo }).firmwareVersion).toBe('FR-1.12(251009-S21)');
    expect(decoded({ stats, version }).firmwareVersion).toBe('Tue Dec 6 2022');
    expect(decoded({ stats }).firmwareVersion).toBe('Wed Jan 1 2020');
  });

  it('reads address and serial number of either name from the system page', () => {
    expect(decoded({ systemInfo })).toMatchObject({
      vendor: 'Bitmain',
      firmware: 'bitmain',
      macAddress: '02:55:97:22:3a:72',
      serialNumber: 'THQING0BDJAB024NF',
    });
    expect(decoded({ systemInfo: { serial_no: 'SMTTX' } }).serialNumber).toBe('SMTTX');
  });

  it('says nothing of what was not answered', () => {
    expect(decoded({}, null, false)).toEqual({
      kind: 'miner',
      firmware: 'bitmain',
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
    });
  });
});

describe('stock Bitmain: rates and times', () => {
  const cases: readonly (readonly [string, BitmainReplies, object])[] = [
    [
      'the last 5 s on the port, in GH/s',
      {
        stats: port({
          'GHS 5s': 110_566.89,
          'GHS av': 111_834.63,
          total_rateideal: 110_000,
          Elapsed: 50_474,
        }),
      },
      { hashrateThs: 110.56689, nominalHashrateThs: 110, uptimeSeconds: 50_474 },
    ],
    [
      'a rate in text',
      { stats: port({ 'GHS 5s': '110566.89', total_rateideal: '110000.0' }) },
      { hashrateThs: 110.56689, nominalHashrateThs: 110 },
    ],
    [
      'a statistics page',
      {
        stats: web({ elapsed: 77, rate_5s: 200_100.5, rate_avg: 1, rate_ideal: 200_000, rate_unit: 'GH/s' }),
      },
      { hashrateThs: 200.1005, nominalHashrateThs: 200, uptimeSeconds: 77, model: 'Antminer S21' },
    ],
    [
      'the unit that a page names',
      {
        stats: web({
          rate_5s: 200.5,
          rate_ideal: 201,
          rate_unit: 'TH/s',
          chain: [{ index: 0, rate_real: 66.5 }],
        }),
      },
      { hashrateThs: 200.5, nominalHashrateThs: 201, boards: [{ hashrateThs: 66.5 }] },
    ],
    [
      'the unit that the port names, of fields whose name carries none',
      {
        stats: port({
          'GHS 5s': 110_000,
          total_rateideal: 110e6,
          rate_unit: 'MH',
          chain_acn1: 114,
          chain_rate1: '37000000.00',
        }),
      },
      { hashrateThs: 110, nominalHashrateThs: 110, boards: [{ hashrateThs: 37 }] },
    ],
    [
      'no rate of a machine that counts something else',
      { stats: web({ rate_5s: 420, rate_ideal: 420, rate_unit: 'KSol/s', chain: [{ rate_real: 140 }] }) },
      { hashrateThs: null, nominalHashrateThs: null, boards: [{ hashrateThs: null }] },
    ],
    [
      'one object instead of a list of two',
      { stats: { STATS: { ...HEAD, ...WORKING } } },
      { hashrateThs: 110, model: 'Antminer S19 Pro', uptimeSeconds: 5000 },
    ],
    [
      'no rate where there is none, a negative one, or one of another unit',
      { stats: port({ 'GHS 5s': '', rate_5s: -1, total_rateideal: 110e9 }) },
      { hashrateThs: null, nominalHashrateThs: null, uptimeSeconds: null },
    ],
  ];
  it.each(cases)('reads %s', (_what, replies, expected) => {
    expect(decoded(replies)).toMatchObject(expected);
  });
});

describe('stock Bitmain: state', () => {
  const idle = port({ Elapsed: 5000, 'GHS 5s': 0 });
  const young = port({ Elapsed: 899, 'GHS 5s': 0 });
  const asleep = { 'bitmain-work-mode': '1' };
  const normal = { 'bitmain-work-mode': '0' };
  const cases: readonly (readonly [string, BitmainReplies, string])[] = [
    ['hashing', { stats: port(WORKING) }, 'hashing'],
    ['still hashing, told to sleep', { stats: port(WORKING), minerConf: asleep }, 'hashing'],
    ['no rate, told to sleep', { stats: idle, minerConf: asleep }, 'sleeping'],
    ['told to sleep, nothing else answers', { minerConf: asleep }, 'sleeping'],
    ['empty statistics', { stats: { STATS: [] } }, 'sleeping'],
    ['empty statistics, told to work', { stats: { STATS: [] }, minerConf: normal }, 'starting'],
    ['statistics that are no list', { stats: { STATS: 'none' } }, 'unknown'],
    ['statistics that say no rate', { stats: port({ Elapsed: 5000 }) }, 'unknown'],
    ['statistics without their section', { stats: { id: 1 } }, 'unknown'],
    ['no rate, told to work', { stats: port({ Elapsed: 5000 }), minerConf: normal }, 'starting'],
    ['a mode that nobody knows', { minerConf: { 'bitmain-work-mode': '7' } }, 'unknown'],
    ['a rate of 0 in the first 15 minutes', { stats: young }, 'starting'],
    ['a rate of 0 later', { stats: port({ Elapsed: 900, 'GHS 5s': 0 }) }, 'stopped'],
    ['a rate of 0 since nobody knows when', { stats: port({ 'GHS 5s': 0 }) }, 'stopped'],
  ];
  it.each(cases)('%s', (_what, replies, state) => {
    expect(decoded(replies).state).toBe(state);
  });

  it('reads the mode by either name; 5 of newer builds is asleep like 1', () => {
    const modes = ['0', '1', '2', '3', '4', '5'].map((mode) => modeOf({ 'bitmain-work-mode': mode }));
    expect(modes).toEqual(['normal', 'sleep', 'high', 'low-power', null, 'sleep']);
    expect(modeOf({ 'miner-mode': 1 })).toBe('sleep');
    expect(modeOf({ pools: [] })).toBeNull();
    expect(modeOf(undefined)).toBeNull();
  });
});

describe('stock Bitmain: power', () => {
  const cases: readonly (readonly [string, CgminerBody, object])[] = [
    ['a text with its unit', { chain_power: '3250 W' }, { powerWatts: 3250, powerSource: 'reported' }],
    ['power', { power: 3251 }, { powerWatts: 3251, powerSource: 'reported' }],
    ['Power', { Power: 3252 }, { powerWatts: 3252, powerSource: 'reported' }],
    ['watt', { watt: 3253 }, { powerWatts: 3253, powerSource: 'reported' }],
    ['0 W', { power: 0 }, { powerWatts: 0, powerSource: 'reported', efficiencyJoulesPerTh: null }],
    ['-1, which is none', { power: -1 }, { powerWatts: 3250, powerSource: 'estimated' }],
    ['NaN, which is none', { power: 'NaN' }, { powerWatts: 3250, powerSource: 'estimated' }],
  ];
  it.each(cases)('is told as %s', (_what, said, expected) => {
    expect(decoded({ stats: port({ ...WORKING, ...said }) })).toMatchObject(expected);
  });

  it('is estimated from the rate and the model, of the device or of the configuration', () => {
    const half = { Elapsed: 5000, 'GHS 5s': 55_000 };
    expect(decoded({ stats: port(half) })).toMatchObject({ powerWatts: 1625, powerSource: 'estimated' });
    const unnamed = { stats: { STATS: [half] } };
    expect(decoded(unnamed, 'Antminer S19 Pro')).toMatchObject({
      powerWatts: 1625,
      powerSource: 'estimated',
    });
    expect(decoded(unnamed)).toMatchObject({ powerWatts: null, powerSource: null });
    // The device is believed before the configuration.
    expect(decoded({ stats: port(half) }, 'Antminer S21').powerWatts).toBe(1625);
  });

  it('is what rest takes while it sleeps, and unknown while it starts or stands still', () => {
    const asleep = { stats: { STATS: [HEAD] }, minerConf: { 'bitmain-work-mode': '1' } };
    expect(decoded(asleep)).toMatchObject({ state: 'sleeping', powerWatts: 50, powerSource: 'estimated' });
    const still = { stats: port({ Elapsed: 5000, 'GHS 5s': 0 }) };
    expect(decoded(still)).toMatchObject({ state: 'stopped', powerWatts: null, powerSource: null });
  });

  it('gives J/TH of what hashes', () => {
    expect(decoded({ stats: port({ ...WORKING, power: 3300 }) }).efficiencyJoulesPerTh).toBe(30);
    expect(decoded({ stats: port({ 'GHS 5s': 0, power: 3300 }) }).efficiencyJoulesPerTh).toBeNull();
  });

  it('is limited in low-power mode alone, to the upper end of what the vendor names', () => {
    const s21 = { STATS: [{ Type: 'Antminer S21', ...WORKING }] };
    const limit = (mode: string, stats: CgminerBody = s21) =>
      decoded({ stats, minerConf: { 'bitmain-work-mode': mode } }).powerLimitWatts;
    expect([limit('3'), limit('0'), limit('2'), limit('3', { STATS: [WORKING] })]).toEqual([
      2975,
      null,
      null,
      null,
    ]);
    expect(lowPowerWatts(findMinerModel('Antminer S19 XP')!)).toBe(2559);
  });
});

describe('stock Bitmain: boards, temperatures and fans', () => {
  it('reads the numbered fields of the port, and leaves out chains that are absent', () => {
    const reading = decoded({
      stats: port({
        chain_acn1: 114,
        chain_acs1: ' ooo oox',
        chain_rate1: '38000.00',
        temp_chip1: '78-50-69-70',
        temp_pcb1: '73-45-64-65',
        temp_pcb2: '47-50-65-66',
        temp_pcb3: '46-44-64-63',
        chain_acn2: 113,
        chain_rate2: '35500.00',
        temp_chip2: '52-55-70-71',
        chain_acn4: 0,
        chain_rate4: '',
        temp_chip4: '0-0-0-0',
        temp_pcb4: '0-0-0-0',
      }),
    });
    expect(reading.boards).toEqual([
      { index: 0, hashrateThs: 38, chipTemperatureCelsius: 78, chipsAlive: 114, chips: 6 },
      { index: 1, hashrateThs: 35.5, chipTemperatureCelsius: 71, chipsAlive: 113, chips: null },
    ]);
    expect(reading).toMatchObject({ chipTemperatureCelsius: 78, boardTemperatureCelsius: 73 });
  });

  it.each([1, 2, 3, 4])('looks at the board sensors of chain %i', (chain) => {
    expect(decoded({ stats: port({ [`temp_pcb${chain}`]: '40-61' }) }).boardTemperatureCelsius).toBe(61);
  });

  it('reads the chains of a page', () => {
    const chain = [
      {
        index: 1,
        rate_real: 66_000.5,
        asic_num: 108,
        temp_pcb: [50, 52, 60, 61],
        temp_chip: [55, 57, 66, 67],
      },
      { rate_real: '', asic_num: 0, temp_pcb: [0, 0], temp_chip: [0, 0] },
      { index: 2, rate_real: 67_000, asic_num: 107, temp_pcb: [51, 71], temp_chip: [56, 76] },
    ];
    const reading = decoded({ stats: web({ chain }) });
    expect(reading.boards).toEqual([
      { index: 1, hashrateThs: 66.0005, chipTemperatureCelsius: 67, chipsAlive: 108, chips: null },
      // The page does not number it: its place in the list.
      { index: 1, hashrateThs: null, chipTemperatureCelsius: null, chipsAlive: 0, chips: null },
      { index: 2, hashrateThs: 67, chipTemperatureCelsius: 76, chipsAlive: 107, chips: null },
    ]);
    expect(reading).toMatchObject({ chipTemperatureCelsius: 76, boardTemperatureCelsius: 71 });
  });

  it('reads fans by number or as a list; a fan that stands is 0, one that says nothing is none', () => {
    const numbered = { fan_num: 4, fan1: 6000, fan2: 5880, fan3: 0, fan4: 5040 };
    expect(decoded({ stats: port(numbered) }).fanRpm).toEqual([6000, 5880, 0, 5040]);
    expect(decoded({ stats: web({ fan: [5400, 0, -1, null, 5390] }) }).fanRpm).toEqual([5400, 0, 5390]);
  });

  it('reads pools as the port and as a page list them', () => {
    const pools = (...list: CgminerBody[]) => decoded({ pools: { POOLS: list } }).pools;
    expect(
      pools({ POOL: 0, URL: 'stratum+tcp://a:1', Status: 'Alive', Priority: 0, User: 'acct.1' }),
    ).toEqual([{ url: 'stratum+tcp://a:1', user: 'acct.1', status: 'alive', priority: 0 }]);
    expect(
      pools({ index: 0, url: 'stratum+tcp://b:1', user: 'acct.2', status: 'Dead', priority: 1, lstime: '0' }),
    ).toEqual([{ url: 'stratum+tcp://b:1', user: 'acct.2', status: 'dead', priority: 1 }]);
  });
});

describe('stock Bitmain: faults', () => {
  const faults = (...status: CgminerBody[]) =>
    decoded({ summary: { SUMMARY: [{ elapsed: 1, status }] } }).errors;

  it('are what its summary page does not call good', () => {
    expect(
      faults(
        { type: 'rate', status: 's', code: 0, msg: '' },
        { type: 'network', status: 's', code: 0, msg: '' },
        { type: 'fans', status: 'e', code: 2, msg: 'fan lost' },
        { type: 'temp', status: 'w', code: 1, msg: 'P:1 high temp protection' },
      ),
    ).toEqual([
      { code: 'fans:2', message: 'fan lost' },
      { code: 'temp:1', message: 'P:1 high temp protection' },
    ]);
  });

  it('are all that it says, as it may be older than the statistics', () => {
    const summary = { SUMMARY: [{ elapsed: 5, rate_5s: 90_000, rate_ideal: 95_000 }] };
    expect(decoded({ summary }, null, false)).toEqual(decoded({}, null, false));
    expect(decoded({ summary: { SUMMARY: [] } }, null, false)).toEqual(decoded({}, null, false));
  });

  it('have a name even where the page leaves things out', () => {
    expect(faults({ type: 'rate', status: 'e' })).toEqual([{ code: 'rate', message: 'rate' }]);
    expect(faults({ status: 'e', code: 7, msg: '' })).toEqual([{ code: 'status:7', message: 'status' }]);
    expect(faults({ type: 'rate', msg: 'without a severity' })).toEqual([]);
    expect(decoded({ summary: { SUMMARY: [{ elapsed: 1 }] } }).errors).toEqual([]);
  });
});

describe('stock Bitmain: what it can be told', () => {
  const controlOf = (model: string | null) => decoded({ stats: { STATS: [{ Type: model }] } }).control;

  it('is sleep and wake; watts only by the low-power mode of models that have one', () => {
    expect(controlOf('Antminer S19 Pro')).toEqual({
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 60_000,
      wakeMs: 480_000,
      changeMs: null,
    });
    expect(controlOf('Antminer S21')).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'mode', minWatts: 2975, maxWatts: 3500, presetsWatts: [2975, 3500] },
      sleepMs: 60_000,
      wakeMs: 480_000,
      changeMs: 480_000,
    });
    expect(controlOf('Antminer Z15')).toMatchObject({ sleep: true, powerLimit: null, wakeMs: 480_000 });
  });

  it('takes longer where water has to be warmed', () => {
    expect(controlOf('Antminer S21 Hyd')).toMatchObject({
      powerLimit: { minWatts: 4556, maxWatts: 5360 },
      sleepMs: 60_000,
      wakeMs: 900_000,
      changeMs: 900_000,
    });
  });
});
