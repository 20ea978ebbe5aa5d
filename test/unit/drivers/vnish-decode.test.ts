import { describe, expect, it } from 'vitest';
import {
  decodeVnish,
  tunedPresets,
  type VnishReplies,
  vnishState,
  withoutChainWatts,
} from '../../../drivers/miners/vnish-decode.ts';
import type { CgminerBody } from '../../../protocols/cgminer-reply.ts';

const HEAD = { Type: 'Antminer S21 Pro (Vnish 1.2.7)', Miner: '0.0.0', Cgminer: '1.2.7' };
const port = (live: CgminerBody): VnishReplies => ({ stats: { STATS: [HEAD, live] } });
const web = (miner: CgminerBody): VnishReplies => ({ webSummary: { miner } });
const stateIs = (miner_state: unknown): VnishReplies => web({ miner_status: { miner_state } });

describe('VNish: a reading', () => {
  const cases: readonly (readonly [string, VnishReplies, object])[] = [
    [
      'the model without the firmware in it, where the page tells it',
      { ...port({}), info: { miner: 'Antminer S21 Pro' } },
      { vendor: 'Bitmain', model: 'Antminer S21 Pro' },
    ],
    ['the model of the port', port({}), { model: 'Antminer S21 Pro (Vnish 1.2.7)' }],
    [
      'its release of the page first',
      { ...port({}), info: { fw_version: '1.3.4' } },
      { firmwareVersion: '1.3.4' },
    ],
    ['its release of the port', port({}), { firmwareVersion: '1.2.7' }],
    [
      'who it is',
      { info: { system: { network_status: { mac: '02:95:23:B3:E0:79' } }, serial: 'VN1' } },
      { macAddress: '02:95:23:b3:e0:79', serialNumber: 'VN1' },
    ],
    ['no serial number that is none', { info: { serial: 'N/A' } }, { serialNumber: null }],
    ['the last 5 s in text, in GH/s', port({ 'GHS 5s': '173870.94' }), { hashrateThs: 173.87094 }],
    ['the rate of the page in GH/s', web({ hr_realtime: 173_500 }), { hashrateThs: 173.5 }],
    [
      'the port before the page',
      { ...port({ 'GHS 5s': 170_000 }), ...web({ hr_realtime: 1 }) },
      { hashrateThs: 170 },
    ],
    ['the nominal rate', port({ total_rateideal: 196_500 }), { nominalHashrateThs: 196.5 }],
    [
      'watts of the page first',
      { ...port({ chain_consumption1: 861 }), ...web({ power_consumption: 2600 }) },
      { powerWatts: 2600, powerSource: 'reported' },
    ],
    ['0 W, which is a real 0', web({ power_consumption: 0 }), { powerWatts: 0, powerSource: 'reported' }],
    [
      'the sum of its chains',
      port({
        chain_consumption1: 861,
        chain_consumption2: 862,
        chain_consumption3: '863',
        chain_consumption16: 1,
      }),
      { powerWatts: 2587, powerSource: 'reported' },
    ],
    [
      'chains that are all off, which is a real 0',
      port({ chain_consumption1: 0, chain_consumption2: 0 }),
      { powerWatts: 0, powerSource: 'reported' },
    ],
    ['a chain that is off', port({ chain_consumption1: 861, chain_consumption2: 0 }), { powerWatts: 861 }],
    ['no chain of -1 W', port({ chain_consumption1: 861, chain_consumption2: -1 }), { powerWatts: 861 }],
    [
      'no chain beyond 16',
      port({ chain_consumption0: 5, chain_consumption17: 5 }),
      { powerWatts: null, powerSource: null },
    ],
    [
      'an estimate where it says no watts, or -1',
      { ...port({ 'GHS 5s': 117_000 }), ...web({ power_consumption: -1 }) },
      { powerWatts: 1755, powerSource: 'estimated' },
    ],
    [
      'J/TH of what it says',
      { ...port({ 'GHS 5s': 170_000 }), ...web({ power_consumption: 2550 }) },
      { efficiencyJoulesPerTh: 15 },
    ],
    [
      'the watts that its preset is named after as limit',
      { performance: { current_preset: { name: '2800', pretty: '2800 watt ~ 188 TH' } } },
      { powerLimitWatts: 2800 },
    ],
    [
      'no limit of a preset without watts',
      { performance: { current_preset: { name: 'disabled' } } },
      { powerLimitWatts: null },
    ],
    ['no limit of 0', { performance: { current_preset: { name: '0' } } }, { powerLimitWatts: null }],
    [
      'the pools of the operator alone',
      {
        pools: {
          POOLS: [
            { URL: 'a:3333', User: 'u', Status: 'Alive' },
            { URL: 'DevFee', Status: 'Alive' },
          ],
        },
      },
      { pools: [{ url: 'a:3333', user: 'u', status: 'alive', priority: null }] },
    ],
    [
      'the faults of its chains',
      port({ chain_fault1: '', chain_fault2: 'no chips', chain_fault4: 'hot', chain_fault3: 'x' }),
      {
        errors: [
          { code: 'CHAIN2', message: 'no chips' },
          { code: 'CHAIN3', message: 'x' },
          { code: 'CHAIN4', message: 'hot' },
        ],
      },
    ],
    [
      'a fault of the first chain',
      port({ chain_fault1: 'low' }),
      { errors: [{ code: 'CHAIN1', message: 'low' }] },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeVnish(replies)).toMatchObject(expected);
  });

  it.each([1, 2, 3, 4])('looks at the sensors of chain %i', (chain) => {
    const sensors = { [`temp_chip${chain}`]: '65-55-65-66', [`temp_pcb${chain}`]: '50-40-m-51' };
    expect(decodeVnish(port(sensors))).toMatchObject({
      chipTemperatureCelsius: 66,
      boardTemperatureCelsius: 51,
    });
  });

  it('says nothing of what was not answered', () => {
    expect(decodeVnish({})).toEqual({
      kind: 'miner',
      firmware: 'vnish',
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

describe('VNish: state', () => {
  it.each([
    ['mining', 'hashing'],
    ['initializing', 'starting'],
    ['starting', 'starting'],
    ['restarting', 'starting'],
    ['auto-tuning', 'tuning'],
    ['shutting-down', 'stopped'],
    ['stopped', 'sleeping'],
    ['paused', 'sleeping'],
    ['failure', 'fault'],
  ])('%s is %s, on the page and on the port', (said, state) => {
    expect(decodeVnish(stateIs(said)).state).toBe(state);
    expect(decodeVnish(port({ state: said })).state).toBe(state);
  });

  it('is what the page says before what the port says, and the rate where neither has a word that is known', () => {
    expect(decodeVnish({ ...stateIs('stopped'), ...port({ state: 'mining' }) }).state).toBe('sleeping');
    expect(decodeVnish({ ...stateIs('dreaming'), ...port({ 'GHS 5s': 170_000 }) }).state).toBe('hashing');
    expect(decodeVnish(port({ 'GHS 5s': 170_000 })).state).toBe('hashing');
    expect(decodeVnish(stateIs('toString')).state).toBe('unknown');
  });

  it('is read from one place of the page', () => {
    expect(vnishState({ miner: { miner_status: { miner_state: 'mining' } } })).toBe('mining');
    expect(vnishState({ miner: { miner_state: 'mining' } })).toBeNull();
    expect(vnishState(null)).toBeNull();
  });
});

describe('VNish: presets', () => {
  const presets = [
    { name: 'disabled', status: 'untuned' },
    { name: '2800', status: 'tuned', modded_psu_required: false },
    { name: '2550', status: 'tuned' },
    { name: '2640', status: 'untuned' },
    { name: '2730', status: 'tuned' },
    { name: '4690', status: 'tuned', modded_psu_required: true },
    { name: 'disabled', status: 'tuned' },
    { name: '0', status: 'tuned' },
    { status: 'tuned' },
  ];

  it('are usable when they were tuned on this unit, for the supply that it has', () => {
    expect(tunedPresets(presets)).toEqual([
      { name: '2550', watts: 2550 },
      { name: '2730', watts: 2730 },
      { name: '2800', watts: 2800 },
    ]);
    expect(tunedPresets(undefined)).toEqual([]);
  });

  it('are what it can be told, with a password', () => {
    expect(decodeVnish({ presets }, null, true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'preset', minWatts: 2550, maxWatts: 2800, presetsWatts: [2550, 2730, 2800] },
      sleepMs: 30_000,
      wakeMs: 300_000,
      changeMs: 300_000,
    });
    expect(decodeVnish({ presets: [] }, null, true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 30_000,
      wakeMs: 300_000,
      changeMs: null,
    });
    expect(decodeVnish({ presets }).control.sleep).toBe(false);
  });
});

describe('VNish: an answer that was cut off', () => {
  it('has no watts of its chains, as the rest is not there', () => {
    const stats = {
      STATUS: [{ STATUS: 'S' }],
      STATS: [HEAD, { 'GHS 5s': 1, chain_consumption1: 861, chain_rate1: 2 }],
    };
    expect(withoutChainWatts(stats)).toEqual({
      STATUS: [{ STATUS: 'S' }],
      STATS: [HEAD, { 'GHS 5s': 1, chain_rate1: 2 }],
    });
    const none = { STATUS: [{ STATUS: 'S' }] };
    expect(withoutChainWatts(none)).toEqual(none);
  });
});
