import { describe, expect, it } from 'vitest';
import {
  type AvalonReplies,
  avalonFields,
  decodeAvalon,
  isSoftOff,
  workModeOf,
} from '../../../drivers/miners/avalon-decode.ts';
import { nothingSaid } from '../../../drivers/miners/reply-fields.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

/** `stats` with one management module that says `text`. */
const unit = (text: string): AvalonReplies => ({
  stats: { STATS: [{ STATS: 0, 'MM Count': 1, 'MM ID0': text }] },
});
const version = (fields: CgminerBody): AvalonReplies => ({ version: { VERSION: [fields] } });
const summary = (fields: CgminerBody): AvalonReplies => ({ summary: { SUMMARY: [fields] } });
const control = {
  sleep: true,
  wake: true,
  powerLimit: null,
  sleepMs: 20_000,
  wakeMs: 600_000,
  changeMs: null,
};

describe('Avalon: a reading', () => {
  const cases: readonly (readonly [string, AvalonReplies, object])[] = [
    [
      'who it is, by its string',
      unit('Ver[1246-83-21072802_4ec6bb0_211fc46] DNA[02010000cbd2fd6d]'),
      {
        vendor: 'Canaan',
        model: '1246-83',
        firmwareVersion: '21072802_4ec6bb0_211fc46',
        serialNumber: '02010000cbd2fd6d',
      },
    ],
    [
      'who it is, by its version first',
      {
        ...unit('Ver[1246-83-21072802_4ec6bb0_211fc46] DNA[0201]'),
        ...version({
          MODEL: '15-194',
          PROD: 'AvalonMiner 15-194',
          VERSION: '24102401_25462b2',
          MAC: '123456789012',
          DNA: 'other',
        }),
      },
      {
        model: '15-194',
        firmwareVersion: '24102401_25462b2',
        macAddress: '12:34:56:78:90:12',
        serialNumber: '0201',
      },
    ],
    [
      'the product where no model is named',
      version({ PROD: 'AvalonMiner 15-194', DNA: 'D' }),
      { model: 'AvalonMiner 15-194', serialNumber: 'D' },
    ],
    ['the version of a home unit', version({ CGVERSION: 'cg1', LVERSION: 'l1' }), { firmwareVersion: 'cg1' }],
    ['another version of a home unit', version({ LVERSION: 'l1' }), { firmwareVersion: 'l1' }],
    [
      'no model of a version that has no date',
      unit('Ver[1246-83-2107]'),
      { model: null, firmwareVersion: null },
    ],
    [
      'no model of a version without one',
      unit('Ver[21072802_4ec6bb0]'),
      { model: null, firmwareVersion: null },
    ],
    [
      'the rate of now in GH/s, not the average',
      unit('GHSspd[81072.5] GHSavg[79656.63]'),
      { hashrateThs: 81.0725 },
    ],
    [
      'the rate of its summary in MH/s',
      summary({ 'MHS 5m': 81_500_000, 'MHS av': 1 }),
      { hashrateThs: 81.5 },
    ],
    [
      'its own rate before that of the summary',
      { ...unit('GHSspd[0]'), ...summary({ 'MHS av': 80e6 }) },
      { hashrateThs: 0 },
    ],
    ['the rate in theory as nominal', unit('GHSmm[83923.5]'), { nominalHashrateThs: 83.9235 }],
    [
      'the time of its string first',
      { ...unit('Elapsed[24684]'), ...summary({ Elapsed: 5 }) },
      { uptimeSeconds: 24_684 },
    ],
    ['the time of its summary', summary({ Elapsed: 5 }), { uptimeSeconds: 5 }],
    [
      'temperatures: the hottest chip of the unit or of a board, outlets of boards, not the inlet',
      unit('Temp[30] TMax[77] TAvg[65] MTmax[77 79 76] HBOTemp[51 53]'),
      { chipTemperatureCelsius: 79, boardTemperatureCelsius: 53 },
    ],
    ['the hottest chip of the unit', unit('TMax[80] MTmax[77]'), { chipTemperatureCelsius: 80 }],
    [
      'no temperature of -273',
      unit('TMax[-273.0] HBOTemp[-273]'),
      { chipTemperatureCelsius: null, boardTemperatureCelsius: null },
    ],
    [
      'fans 1 to 8',
      unit('Fan0[1] Fan1[5344] Fan2[0] Fan3[-1] Fan4[x] Fan8[5309] Fan9[1] FanR[72%]'),
      { fanRpm: [5344, 0, 5309] },
    ],
    [
      'pools',
      { pools: { POOLS: [{ URL: 'a', User: 'u', Status: 'Alive', Priority: 0 }] } },
      { pools: [{ url: 'a', user: 'u', status: 'alive', priority: 0 }] },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeAvalon(replies)).toMatchObject(expected);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('lists fan %i', (fan) => {
    expect(decodeAvalon(unit(`Fan${fan}[5000]`)).fanRpm).toEqual([5000]);
  });

  it('says nothing of what was not answered; it takes its commands from anybody', () => {
    expect(decodeAvalon({})).toEqual({ ...nothingSaid('avalon'), vendor: 'Canaan', control });
  });
});

describe('Avalon: the string of its module', () => {
  it('has names with blanks, values with commas, and its first word counts', () => {
    const fields = avalonFields(
      unit('Ver[x] Nonce Mask[25] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] Empty[] Ver[y] cut[1').stats,
    );
    expect([...fields]).toEqual([
      ['Ver', 'x'],
      ['Nonce Mask', '25'],
      ['SYSTEMSTATU', 'Work: In Work, Hash Board: 3'],
      ['Empty', ''],
    ]);
  });

  it('may be inside of a list in quotes, and in parts of one module', () => {
    const fields = avalonFields({
      STATS: [
        { 'MM ID0:Summary': "'STATS':{Ver[x] DNA[y]}", HBinfo: "'HB0':{Freq[1]}" },
        { 'MM ID0:More': 'PS[0 1]' },
      ],
    });
    expect(Object.fromEntries(fields)).toEqual({ Ver: 'x', DNA: 'y', PS: '0 1' });
    expect([...avalonFields({ STATS: [{ 'MM ID0': '[5] ,[6] a[7]]b[8]' }] })]).toEqual([
      ['a', '7'],
      [']b', '8'],
    ]);
  });

  it('is read where there is one module, as figures of several would be parts', () => {
    expect(avalonFields({ STATS: [{ 'MM ID0': 'a[1]', 'MM ID1': 'a[2]' }] }).size).toBe(0);
    expect(avalonFields({ STATS: [{ 'MM ID10': 'a[1]', 'MM ID11': 'a[2]' }] }).size).toBe(0);
    expect(avalonFields({ STATS: [{ 'MM ID12': 'a[1]' }] }).get('a')).toBe('1');
    expect(avalonFields({ STATS: [{ 'MM ID0': 'a[1]', 'MM ID1': 7 }] }).get('a')).toBe('1');
    expect(avalonFields({ STATS: [{ 'x MM ID0': 'a[1]', 'MM Count': 'b[1]' }] }).size).toBe(0);
    expect(avalonFields(undefined).size).toBe(0);
  });

  it('is not searched for names or lists without end', () => {
    const longName = 'n'.repeat(100);
    expect([...avalonFields(unit(`${longName}[1]`).stats).keys()]).toEqual(['n'.repeat(64)]);
    const list = (length: number) => decodeAvalon(unit(`MTmax[${'70 '.repeat(3000).slice(0, length - 1)}5]`));
    expect(list(8192).boards).toHaveLength(16);
    expect(list(8193).boards).toEqual([]);
  });
});

describe('Avalon: state', () => {
  const cases: readonly (readonly [string, AvalonReplies, string])[] = [
    ['hashing', unit('SYSTEMSTATU[Work: In Work, Hash Board: 3 ] SoftOFF[0] GHSspd[81072]'), 'hashing'],
    ['told to rest', unit('SYSTEMSTATU[Work: In Work] SoftOFF[4] GHSspd[81072]'), 'sleeping'],
    ['idle', unit('SYSTEMSTATU[Work: In Idle, Hash Board: 3 ] GHSspd[81072]'), 'stopped'],
    ['no rate said', unit('Elapsed[5]'), 'unknown'],
    ['a rate of 0 in the first 15 minutes', unit('GHSspd[0] Elapsed[899]'), 'starting'],
    ['a rate of 0 later', unit('GHSspd[0] Elapsed[900]'), 'stopped'],
    ['a rate of 0 since nobody knows when', unit('GHSspd[0]'), 'stopped'],
  ];
  it.each(cases)('%s', (_what, replies, state) => {
    expect(decodeAvalon(replies).state).toBe(state);
  });

  it('at rest leaves out the averages of its summary, which go stale', () => {
    const resting = { ...unit('SoftOFF[1]'), ...summary({ 'MHS av': 80e6 }) };
    expect(decodeAvalon(resting)).toMatchObject({ state: 'sleeping', hashrateThs: null });
  });

  it('is at rest by any figure but 0', () => {
    const off = (text: string) => isSoftOff(avalonFields(unit(text).stats));
    expect([off('SoftOFF[0]'), off('SoftOFF[1]'), off('SoftOFF[x]'), off('a[1]')]).toEqual([
      false,
      true,
      false,
      false,
    ]);
  });

  it('is in the mode that it names', () => {
    const mode = (text: string) => workModeOf(avalonFields(unit(text).stats));
    expect([mode('WORKMODE[2]'), mode('WORKMODE[0]'), mode('a[1]')]).toEqual([2, 0, null]);
  });
});

describe('Avalon: power', () => {
  it('is what it draws at the wall, not the DC output', () => {
    const watts = (text: string) => decodeAvalon(unit(text)).powerWatts;
    expect(watts('PS[0 1214 1316 242 3189 1320 3504]')).toBe(3504);
    expect(watts('PS[ 0  1214  1316  242  3189  1320  3504 ]')).toBe(3504);
    expect(watts('PS[0 1187 1200 297 3526 1190 3700] WALLPOWER[3731]')).toBe(3731);
    // A home unit at rest.
    const resting = decodeAvalon(unit('PS[0 1221 4 0 0 2245 146] SoftOFF[4]'));
    expect(resting).toMatchObject({ state: 'sleeping', powerWatts: 146, powerSource: 'reported' });
    expect(decodeAvalon(unit('WALLPOWER[3000] GHSspd[100000]'))).toMatchObject({
      powerSource: 'reported',
      efficiencyJoulesPerTh: 30,
      powerLimitWatts: null,
    });
  });

  it('is estimated while it hashes and its supply measures nothing, by its own model first', () => {
    const hashing = 'GHSspd[45000] PS[0 1214 1316 242 3189 1320 0]';
    const estimate = { powerWatts: 1710, powerSource: 'estimated' };
    expect(decodeAvalon(unit(`Ver[1246-83-21072802_4ec] ${hashing}`))).toMatchObject(estimate);
    expect(decodeAvalon(unit(`Ver[1246-83-21072802_4ec] ${hashing}`), 'Avalon A1566')).toMatchObject(
      estimate,
    );
    expect(decodeAvalon(unit(hashing), 'Avalon A1246')).toMatchObject(estimate);
    expect(decodeAvalon({ ...unit(hashing), ...version({ MODEL: 'new' }) }, 'Avalon A1246')).toMatchObject(
      estimate,
    );
    const none = { powerWatts: null, powerSource: null };
    expect(decodeAvalon(unit(hashing))).toMatchObject(none);
    expect(decodeAvalon(unit('SoftOFF[1] GHSspd[45000]'), 'Avalon A1246')).toMatchObject(none);
    expect(decodeAvalon(unit('Elapsed[5]'), 'Avalon A1246')).toMatchObject(none);
  });
});

describe('Avalon: boards', () => {
  it('have rates, the hottest chip, and one sensor for each chip', () => {
    const text =
      'MGHS[26907.5 26025 26724] MTmax[77 79 0] TA[9] PVT_T0[ 63  70  70 ] PVT_T1[ 64 0 -1 x ] PVT_T2[]';
    expect(decodeAvalon(unit(text)).boards).toEqual([
      { index: 0, hashrateThs: 26.9075, chipTemperatureCelsius: 77, chipsAlive: 3, chips: 3 },
      { index: 1, hashrateThs: 26.025, chipTemperatureCelsius: 79, chipsAlive: 1, chips: 3 },
      { index: 2, hashrateThs: 26.724, chipTemperatureCelsius: null, chipsAlive: null, chips: 3 },
    ]);
  });

  it('are as many as either list has; chips that do not divide are not told', () => {
    const board = { chipTemperatureCelsius: null, chipsAlive: null, chips: null };
    expect(decodeAvalon(unit('MGHS[100 x] MTmax[70] TA[3]')).boards).toEqual([
      { ...board, index: 0, hashrateThs: 0.1, chipTemperatureCelsius: 70 },
      { ...board, index: 1, hashrateThs: null },
    ]);
    expect(decodeAvalon(unit('MTmax[70 71] TA[0]')).boards.map(({ chips }) => chips)).toEqual([null, null]);
    expect(decodeAvalon(unit('TA[300]')).boards).toEqual([]);
  });
});

describe('Avalon: faults', () => {
  it.each([
    ['ECHU[0 512 0]', 'ECHU:512', 'fault bits of the hash board (place 1): 512'],
    ['ECMM[1]', 'ECMM:1', 'fault bits of the control board (place 0): 1'],
    ['HASHS[0 0 2]', 'HASHS:2', 'fault bits of the hashing (place 2): 2'],
    ['POOLS[1]', 'POOLS:1', 'fault bits of the pool (place 0): 1'],
    ['POWS[8]', 'POWS:8', 'fault bits of the power supply (place 0): 8'],
    ['CRC[3]', 'CRC:3', 'fault bits of the link to the chips (place 0): 3'],
    ['FanErr[1]', 'FanErr:1', 'fault bits of the fan (place 0): 1'],
    ['PS[16 1214]', 'PS:16', 'error bits of the power supply: 16'],
  ])('%s', (text, code, message) => {
    expect(decodeAvalon(unit(text)).errors).toEqual([{ code, message }]);
  });

  it('are told all, and none of a 0 or of what is no number', () => {
    const errors = decodeAvalon(unit('ECHU[1 2 x] POWS[0] CRC[] PS[4 1]')).errors;
    expect(errors.map(({ code }) => code)).toEqual(['ECHU:1', 'ECHU:2', 'PS:4']);
    expect(decodeAvalon(unit('ECHU[0 0 0] ECMM[0] PS[0 1214] PING[443]')).errors).toEqual([]);
    expect(decodeAvalon(unit('PS[x]')).errors).toEqual([]);
  });
});

describe('Avalon: what it can be told', () => {
  it('is sleep and wake, and the modes of models whose watts are known', () => {
    expect(decodeAvalon(version({ MODEL: '15-194' })).control).toEqual(control);
    expect(decodeAvalon(version({ MODEL: 'Q' })).control).toEqual({
      ...control,
      powerLimit: { kind: 'mode', minWatts: 800, maxWatts: 1674, presetsWatts: [800, 1300, 1674] },
      changeMs: 600_000,
    });
  });
});
