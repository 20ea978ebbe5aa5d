import { describe, expect, it } from 'vitest';
import {
  decodeFluxos,
  type FluxosReplies,
  fluxosRange,
  fluxosWorkingWatts,
  isFluxosAsleep,
} from '../../../drivers/miners/fluxos-decode.ts';
import { nothingSaid } from '../../../drivers/miners/reply-fields.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

const version = {
  VERSION: [{ API: '1.0', GCMiner: '0.5', MAC: '1C:00:00:00:00:01', DNA: 'D1', Type: 'AT1500' }],
};
const summary = (fields: CgminerBody): FluxosReplies => ({ summary: { SUMMARY: [fields] } });
const mode = (fields: CgminerBody): FluxosReplies => ({ mode: { Mode: [fields] } });
const psu = (PowerIn: unknown): FluxosReplies => ({ psu: { PSU: [{ Vin: '245.00V', PowerIn }] } });
const report = (fields: CgminerBody): FluxosReplies => ({ ipreport: { IPReport: [fields] } });

describe('FluxOS: a reading', () => {
  const cases: readonly (readonly [string, FluxosReplies, object])[] = [
    [
      'who it is by its report',
      {
        version,
        ...report({
          model: 'AT2880',
          version: '2023-12.27',
          mac: '1c:00:00:0e:3b:2b',
          SerialNo: 'AU23200006',
        }),
      },
      {
        vendor: 'Auradine',
        model: 'AT2880',
        firmwareVersion: '2023-12.27',
        macAddress: '1c:00:00:0e:3b:2b',
        serialNumber: 'AU23200006',
      },
    ],
    [
      'who it is by the port alone',
      { version },
      {
        vendor: 'Auradine',
        model: 'AT1500',
        firmwareVersion: '0.5',
        macAddress: '1c:00:00:00:00:01',
        serialNumber: 'D1',
      },
    ],
    [
      'the last 5 s in MH/s',
      summary({ 'MHS 5s': 20_500_000, Elapsed: 56_696 }),
      { hashrateThs: 20.5, uptimeSeconds: 56_696 },
    ],
    ['watts with their unit', psu('58.94W'), { powerWatts: 58.94, powerSource: 'reported' }],
    ['0 W, which is a real 0', psu('0.00W'), { powerWatts: 0, powerSource: 'reported' }],
    ['-1 W, which is unknown', psu('-1W'), { powerWatts: null, powerSource: null }],
    ['J/TH', { ...summary({ 'MHS 5s': 150e6 }), ...psu('3000W') }, { efficiencyJoulesPerTh: 20 }],
    [
      'the target of a custom mode, in watts and TH/s',
      mode({ Mode: 'custom', Power: 2000, Ths: 160 }),
      { powerLimitWatts: 2000, nominalHashrateThs: 160 },
    ],
    [
      'no target of another mode',
      mode({ Mode: 'eco', Power: 2000, Ths: 160 }),
      { powerLimitWatts: null, nominalHashrateThs: null },
    ],
    [
      'no target of 0 W',
      mode({ Mode: 'custom', Power: 0 }),
      { powerLimitWatts: null, nominalHashrateThs: null },
    ],
    [
      'the nominal rate of the port where its mode says none',
      { ...mode({ Mode: 'custom', Power: 2000 }), stats: { STATS: [{ total_rateideal: 150_000 }] } },
      { nominalHashrateThs: 150 },
    ],
    [
      'fans',
      { fan: { Fan: [{ ID: 1, Speed: 7080 }, { ID: 2, Speed: 0 }, { ID: 3, Speed: -1 }, { ID: 4 }] } },
      { fanRpm: [7080, 0] },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeFluxos(replies)).toMatchObject(expected);
  });

  it('has an estimate of a model that is known, where the supply says nothing', () => {
    const estimated = decodeFluxos(summary({ 'MHS 5s': 100e6 }), 'Antminer S21');
    expect(estimated).toMatchObject({
      powerWatts: 1750,
      powerSource: 'estimated',
      efficiencyJoulesPerTh: 17.5,
    });
    const told = decodeFluxos({ ...summary({ 'MHS 5s': 100e6 }), ...psu('1800W') }, 'Antminer S21');
    expect(told).toMatchObject({ powerWatts: 1800, powerSource: 'reported' });
  });

  it('looks at the sensors of hash boards, not at the control board', () => {
    const Temperature = [
      {
        Name: 'Control Board',
        BoardTemp: [{ ID: 0, Temperature: 90 }],
        ChipTemp: [{ ID: 0, Temperature: 99 }],
      },
      {
        Name: 'Hash Board 1',
        BoardTemp: [{ Temperature: 21.5 }, { Temperature: 41.5 }],
        ChipTemp: [{ Temperature: 45.5 }],
      },
      {
        Name: 'Hash Board 2',
        BoardTemp: [{ Temperature: 47.5 }],
        ChipTemp: [{ Temperature: 44 }, { Temperature: 51.5 }],
      },
      { BoardTemp: [{ Temperature: 95 }] },
    ];
    expect(decodeFluxos({ temperature: { Temperature } })).toMatchObject({
      chipTemperatureCelsius: 51.5,
      boardTemperatureCelsius: 47.5,
    });
    const none = [{ Name: 'Hash Board 1', BoardTemp: null, ChipTemp: null }];
    expect(decodeFluxos({ temperature: { Temperature: none } })).toMatchObject({
      chipTemperatureCelsius: null,
      boardTemperatureCelsius: null,
    });
  });

  it('says nothing of what was not answered', () => {
    expect(decodeFluxos({})).toEqual({ ...nothingSaid('fluxos'), vendor: 'Auradine' });
  });
});

describe('FluxOS: asleep', () => {
  it('as its mode says, whatever else it says', () => {
    const said = ['on', 'true', true, 1, 'off', 'false', 0, 'once', undefined];
    expect(said.map((Sleep) => isFluxosAsleep({ Sleep }))).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    const working = summary({ 'MHS 5s': 150e6 });
    expect(decodeFluxos({ ...working, ...mode({ Sleep: 'on' }) }).state).toBe('sleeping');
    expect(decodeFluxos({ ...working, ...mode({ Sleep: 'off' }) }).state).toBe('hashing');
  });
});

describe('FluxOS: what it can be told', () => {
  it('is bounded by the greatest power that is known to be good', () => {
    const fields = { ...nothingSaid('fluxos'), state: 'hashing', powerSource: 'reported' } as const;
    expect(fluxosWorkingWatts({ ...fields, powerWatts: 2900.7 })).toBe(2900);
    expect(fluxosWorkingWatts({ ...fields, powerWatts: 2900.7, powerLimitWatts: 3100 })).toBe(3100);
    expect(fluxosWorkingWatts({ ...fields, powerWatts: 3200, powerLimitWatts: 3100 })).toBe(3200);
    expect(fluxosWorkingWatts({ ...fields, powerWatts: 2900, powerSource: 'estimated' })).toBeNull();
    expect(fluxosWorkingWatts({ ...fields, powerWatts: 60, state: 'sleeping' })).toBeNull();
    expect(fluxosWorkingWatts(fields)).toBeNull();
  });

  it('is watts from 60 % of that', () => {
    expect(fluxosRange(3001)).toEqual({ minWatts: 1801, maxWatts: 3001 });
    expect(fluxosRange(null)).toBeNull();
    expect(decodeFluxos({}, null, { greatestWatts: 3000 }).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'watts', minWatts: 1800, maxWatts: 3000, stepWatts: 1 },
      sleepMs: 30_000,
      wakeMs: 240_000,
      changeMs: 300_000,
    });
    expect(decodeFluxos({}, null, { greatestWatts: null }).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 30_000,
      wakeMs: 240_000,
      changeMs: null,
    });
  });
});
