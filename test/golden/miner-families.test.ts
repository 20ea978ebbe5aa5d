import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { avalonFields, decodeAvalon } from '../../drivers/miners/avalon-decode.ts';
import { decodeBraiinsGraphql, decodeBraiinsRest } from '../../drivers/miners/braiins-decode.ts';
import { decodeEpic, epicTuning } from '../../drivers/miners/epic-decode.ts';
import { decodeFluxos } from '../../drivers/miners/fluxos-decode.ts';
import { decodeVnish, tunedPresets } from '../../drivers/miners/vnish-decode.ts';
import { recogniseMiner } from '../../drivers/miners/recognise.ts';
import { type CgminerBody, decodeCgminerReply } from '../../protocols/cgminer-reply.ts';

/** One recorded reply; see provenance.txt beside it. */
function replyOf(folder: string, file: string) {
  const reply = decodeCgminerReply(readFileSync(join(import.meta.dirname, folder, `${file}.json`)));
  if (!reply.ok) throw new Error(`${folder}/${file}: ${reply.error.message}`);
  return reply.value;
}

type Expected = Record<string, unknown>;

function jsonOf(folder: string, file: string): Expected {
  return JSON.parse(readFileSync(join(import.meta.dirname, folder, `${file}.json`), 'utf8')) as Expected;
}

function expectedOf(folder: string): { readonly expected: Expected; readonly derived: Expected } {
  const { expected, derived } = jsonOf(folder, 'expected');
  return { expected: expected as Expected, derived: (derived ?? {}) as Expected };
}

const valueOf = (field: unknown): number => (field as { readonly value: number }).value;

describe('Avalon, A1246', () => {
  const folder = 'avalon/a1246-21072802';
  const { expected, derived } = expectedOf(folder);
  const reply = replyOf(folder, 'stats');
  const reading = decodeAvalon({ stats: reply.body });

  it('agrees with the expected values', () => {
    expect(reading.model).toBe(derived['model']);
    expect(reading.firmwareVersion).toBe('21072802_4ec6bb0_211fc46');
    expect(reading.serialNumber).toBe(expected['serial_number']);
    expect(reading.uptimeSeconds).toBe(valueOf(expected['uptime']));
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(expected['expected_hashrate']), 9);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(derived['hashrate_theoretical']), 9);
    expect(reading.fanRpm).toEqual(derived['fans_rpm']);
    expect(reading.fanRpm).toHaveLength(expected['fans.length'] as number);
    expect(reading.chipTemperatureCelsius).toBe(derived['temp_max']);
    expect(reading.boards[0]?.chipsAlive).toBe(expected['hashboards_without_chips[0].working_chips']);
    expect(reading.boards[0]?.chipTemperatureCelsius).toBe(
      valueOf(expected['hashboards[0].outlet_chip_temperature']),
    );
  });

  it('takes the draw at the wall, not the DC output that others take', () => {
    expect(avalonFields(reply.body).get('PS')?.split(' ')[4]).toBe(String(valueOf(expected['wattage'])));
    expect(reading).toMatchObject({ powerWatts: 3504, powerSource: 'reported', powerLimitWatts: null });
    expect(reading.efficiencyJoulesPerTh).toBeCloseTo(3504 / 81.07268, 9);
  });

  it('controls by the rate of now, not by the average', () => {
    expect(reading.hashrateThs).toBeCloseTo(81.07268, 9);
    expect(valueOf(derived['hashrate_avg'])).toBe(79.65663);
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({ vendor: 'Canaan', firmware: 'avalon', state: 'hashing', errors: [] });
    // Its statistics count no shares.
    expect(reading.rejectedPercent).toBeNull();
    expect(reading.boards.map(({ hashrateThs, chips }) => [hashrateThs, chips])).toEqual([
      [26907.01 / 1e3, 120],
      [26025.06 / 1e3, 120],
      [26724.56 / 1e3, 120],
    ]);
    expect(reading.control).toMatchObject({ sleep: true, wake: true, powerLimit: null, changeMs: null });
  });

  it('is told from its statistics alone', () => {
    expect(recogniseMiner({ stats: reply })).toBe('avalon');
  });

  const changed = (from: string, to: string): CgminerBody =>
    JSON.parse(JSON.stringify(reply.body).replace(from, to)) as CgminerBody;

  it('is asleep after a soft off, and shows its faults', () => {
    expect(decodeAvalon({ stats: changed('SoftOFF[0]', 'SoftOFF[4]') }).state).toBe('sleeping');
    expect(decodeAvalon({ stats: changed('Work: In Work', 'Work: In Idle') }).state).toBe('stopped');
    expect(decodeAvalon({ stats: changed('ECHU[0 0 0]', 'ECHU[0 512 0]') }).errors).toEqual([
      { code: 'ECHU:512', message: 'fault bits of the hash board (place 1): 512' },
    ]);
  });

  it('prefers the wall figure that newer units give, and estimates without any', () => {
    expect(decodeAvalon({ stats: changed('MPO[', 'WALLPOWER[3731] MPO[') }).powerWatts).toBe(3731);
    const without = decodeAvalon({ stats: changed('PS[0 1214 1316 242 3189 1320 3504]', 'PS[0 1214]') });
    expect(without.powerSource).toBe('estimated');
    expect(without.powerWatts).toBeCloseTo((3420 * 81.07268) / 90, 6);
  });

  it('reads the form with the pairs inside STATS, and adds up no several modules', () => {
    const text = "'STATS':{Ver[15-194-24102401_25462b2_9ddf522] DNA[0201] GHSspd[184000.0] WALLPOWER[3731]}";
    const reading15 = decodeAvalon({ stats: { STATS: [{ 'MM ID0:Summary': text }] } });
    expect(reading15).toMatchObject({ model: '15-194', serialNumber: '0201', hashrateThs: 184, powerWatts: 3731 });
    const two = decodeAvalon({ stats: { STATS: [{ 'MM ID0': text, 'MM ID1': text }] } });
    expect(two).toMatchObject({ hashrateThs: null, powerWatts: null, state: 'unknown' });
  });
});

describe('Braiins OS over REST, S19 XP, 25.07', () => {
  const folder = 'braiins/s19xp-25.07-plus';
  const { expected, derived } = expectedOf(folder);
  const replies = {
    details: jsonOf(folder, 'miner_details'),
    stats: jsonOf(folder, 'miner_stats'),
    hashboards: jsonOf(folder, 'miner_hw_hashboards'),
    errors: jsonOf(folder, 'miner_errors'),
    tuner: jsonOf(folder, 'performance_tuner_state'),
    cooling: jsonOf(folder, 'cooling_state'),
    pools: jsonOf(folder, 'pools'),
  };
  const reading = decodeBraiinsRest(replies);

  it('agrees with the expected values', () => {
    expect(reading.model).toBe(derived['model']);
    expect(reading.macAddress).toBe(expected['mac']);
    expect(reading.firmwareVersion).toBe(expected['firmware_version']);
    expect(reading.serialNumber).toBe(expected['serial_number']);
    expect(reading.boards).toHaveLength(expected['hashboards.length'] as number);
    expect(reading.fanRpm).toHaveLength(expected['fans.length'] as number);
    expect(reading.fanRpm).toEqual(derived['fans_rpm']);
    expect(reading.state).toBe(expected['is_mining'] === true ? 'hashing' : 'sleeping');
    expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
    expect(reading.powerLimitWatts).toBe(valueOf((expected['tuning_target'] as Expected)['power_target']));
    expect(reading.powerLimitWatts).toBe(valueOf((expected['scaled_tuning_target'] as Expected)['power_target']));
    expect(reading.pools).toHaveLength(expected['pools[0].length'] as number);
    expect(reading.hashrateThs).toBeCloseTo(valueOf(derived['hashrate_5s']), 3);
    expect(decodeBraiinsRest({ details: replies.details }).nominalHashrateThs).toBe(
      valueOf(derived['sticker_hashrate']),
    );
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({
      firmware: 'braiins',
      powerSource: 'reported',
      chipTemperatureCelsius: 70.5,
      boardTemperatureCelsius: 55.5,
      uptimeSeconds: 69685,
    });
    expect(reading.nominalHashrateThs).toBeCloseTo(142.876598290866, 9);
    expect(reading.rejectedPercent).toBeCloseTo((100 * 18) / (10464 + 18), 9);
    expect(reading.boards[0]).toEqual({
      index: 1,
      hashrateThs: 50137.72942148807 / 1e3,
      chipTemperatureCelsius: 70.5,
      chipsAlive: null,
      chips: 110,
    });
    expect(reading.errors.map(({ message }) => message)).toEqual([
      'Failed to resolve ("mine.ocean.xyz", 3334) (2015-01-01T00:01:10.020560Z)',
      'Failed to resolve ("a830bcc3.bos.braiins.com", 3336) (2026-04-08T08:03:18.155033Z)',
    ]);
    expect(reading.pools.map(({ status }) => status)).toEqual(['alive', 'alive']);
    expect(reading.control).toMatchObject({ sleep: false, powerLimit: null });
  });

  it('tells paused from stopped, and takes the limits of the tuner', () => {
    const paused = decodeBraiinsRest({ ...replies, details: { ...replies.details, status: 3 } });
    expect(paused.state).toBe('sleeping');
    expect(decodeBraiinsRest({ ...replies, details: { ...replies.details, status: 1 } }).state).toBe('stopped');
    const constraints = {
      tuner_constraints: { power_target: { default: { watt: 3031 }, min: { watt: 1200 }, max: { watt: 3600 } } },
    };
    expect(decodeBraiinsRest({ ...replies, constraints }, true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'watts', minWatts: 1200, maxWatts: 3600, stepWatts: 1 },
      sleepMs: 30_000,
      wakeMs: 120_000,
      changeMs: 300_000,
    });
  });

  it('takes the lower target that holds while it is hot', () => {
    const tuner = {
      overall_tuner_state: 2,
      mode_state: {
        powertargetmodestate: { current_target: { watt: 2431 }, profile: { target: { watt: 3031 } } },
      },
    };
    expect(decodeBraiinsRest({ ...replies, tuner }).powerLimitWatts).toBe(2431);
    expect(
      decodeBraiinsRest({ ...replies, tuner: { ...tuner, overall_tuner_state: 1 } }).powerLimitWatts,
    ).toBeNull();
  });
});

describe.each([
  ['braiins/s21plus-25.05.1-plus', 69.5, 54.5, (100 * 164) / (92875 + 164 + 18 + 6)],
  // 49 shares are too few.
  ['braiins/s9-22.08-plus', 89.25, 75.375, null],
])('Braiins OS over GraphQL, %s', (folder, chipCelsius, boardCelsius, rejectedPercent) => {
  const { expected, derived } = expectedOf(folder);
  const reading = decodeBraiinsGraphql({
    system: jsonOf(folder, 'gql_system'),
    boards: jsonOf(folder, 'gql_boards'),
    pools: jsonOf(folder, 'gql_pools'),
  });

  it('agrees with the expected values', () => {
    expect(reading.firmwareVersion).toBe(expected['firmware_version']);
    expect(reading.boards).toHaveLength(expected['hashboards.length'] as number);
    expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
    expect(reading.powerLimitWatts).toBe(valueOf((expected['tuning_target'] as Expected)['power_target']));
    expect(reading.hashrateThs).toBeCloseTo(valueOf(derived['hashrate_5s']), 2);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(derived['nominal_hashrate']), 3);
    expect(reading.fanRpm).toEqual(derived['fans_rpm']);
    expect(reading.uptimeSeconds).toBe(derived['uptime_s']);
    const lengths = ['pools[0].length', 'pools[1].length'].map((key) => Number(expected[key] ?? 0));
    expect(reading.pools).toHaveLength(lengths[0]! + lengths[1]!);
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({
      state: 'hashing',
      powerSource: 'reported',
      macAddress: null,
      chipTemperatureCelsius: chipCelsius,
      boardTemperatureCelsius: boardCelsius,
    });
    if (rejectedPercent === null) expect(reading.rejectedPercent).toBeNull();
    else expect(reading.rejectedPercent).toBeCloseTo(rejectedPercent, 9);
    expect(reading.pools.every(({ status }) => status === 'alive')).toBe(true);
    expect(recogniseMiner({ version: replyOf(folder, 'version') })).toBe('braiins');
  });
});

describe('ePIC PowerPlay, S19 XP, BMS 1.5.13', () => {
  const folder = 'epic/s19xp-powerplay-bms-1.5.13';
  const { expected, derived } = expectedOf(folder);
  const summary = jsonOf(folder, 'summary');
  const capabilities = jsonOf(folder, 'capabilities');
  const network = jsonOf(folder, 'network');
  const reading = decodeEpic({ summary, capabilities, network });

  it('agrees with the expected values', () => {
    expect(reading.model).toBe(derived['model']);
    expect(reading.uptimeSeconds).toBe(valueOf(expected['uptime']));
    expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
    expect(reading.boards).toHaveLength(expected['hashboards.length'] as number);
    expect(reading.boards.filter(({ hashrateThs }) => hashrateThs !== null)).toHaveLength(
      derived['active_boards'] as number,
    );
    expect(reading.boards[0]?.hashrateThs).toBeNull();
    expect(reading.boards[1]?.chips).toBe(expected['hashboards_without_chips[1].working_chips']);
    expect(reading.nominalHashrateThs).toBe(valueOf(derived['tune_target']));
    expect(derived['operating_state']).toBe('Mining');
    expect(reading.state).toBe('hashing');
    const average = decodeEpic({ summary: { ...summary, HBs: [], HBStatus: [] } }).hashrateThs;
    expect(average).toBeCloseTo(valueOf(derived['hashrate_avg']), 9);
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({
      firmware: 'epic',
      firmwareVersion: 'PowerPlay-BMS v1.5.13',
      macAddress: 'e6:d4:41:51:64:28',
      powerSource: 'reported',
      powerLimitWatts: null,
      boardTemperatureCelsius: 67,
      chipTemperatureCelsius: null,
      fanRpm: [5971, 0, 5942, 5745],
      pools: [
        {
          url: 'stratum+tcp://mine.ocean.xyz:3334',
          user: 'randomuser.randomworker',
          status: 'alive',
          priority: 0,
        },
      ],
      errors: [{ code: 'BOARD_OFF', message: 'Hash board 0 is switched off' }],
    });
    expect(reading.hashrateThs).toBeCloseTo(49.440724 + 49.925124, 9);
    expect(reading.rejectedPercent).toBeCloseTo((100 * 2) / 1864, 9);
    const status = { 'Operating State': 'Idling', 'Last Error': 'Overheat' };
    const idle = decodeEpic({ summary: { ...summary, Status: status } });
    expect(idle.state).toBe('stopped');
    expect(idle.errors[0]).toEqual({ code: 'LAST_ERROR', message: 'Overheat' });
  });
});

describe("FluxOS, AT1500, the vendor's examples", () => {
  const folder = 'fluxos/at1500-2023-12';
  const { expected } = expectedOf(folder);
  const names = ['version', 'summary', 'devs', 'pools', 'ipreport', 'psu', 'mode', 'temperature', 'fan'];
  const replies = Object.fromEntries(names.map((name) => [name, replyOf(folder, name).body]));
  const reading = decodeFluxos(replies);

  it('agrees with the expected values', () => {
    expect(reading.model).toBe('AT1500');
    expect(reading.macAddress).toBe(expected['miner_data.mac.map(|mac|mac.to_ascii_lowercase())']);
    expect(reading.serialNumber).toBe(expected['serial_number']);
    expect(reading.firmwareVersion).toBe(expected['firmware_version']);
    expect(reading.uptimeSeconds).toBe(valueOf(expected['uptime']));
    expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
    expect(reading.powerLimitWatts).toBe(valueOf((expected['tuning_target'] as Expected)['power_target']));
    expect(reading.nominalHashrateThs).toBe(valueOf(expected['expected_hashrate']));
    expect(reading.fanRpm).toHaveLength(expected['fans.length'] as number);
    expect(reading.boards).toHaveLength(expected['hashboards.length'] as number);
    expect(reading.pools).toHaveLength(expected['pools[0].pools.length'] as number);
    expect(reading.state).toBe(expected['is_mining'] === true ? 'hashing' : 'sleeping');
  });

  it('says the rest as written', () => {
    expect(reading).toMatchObject({ vendor: 'Auradine', powerSource: 'reported', boardTemperatureCelsius: 47.5 });
    expect(reading.chipTemperatureCelsius).toBeCloseTo(51.41230102539066, 9);
    expect(reading.fanRpm).toEqual([7080, 7020, 7100, 7020]);
    expect(reading.rejectedPercent).toBeCloseTo((100 * 32768) / (829210624 + 32768), 9);
    expect(decodeFluxos({ ...replies, mode: { Mode: [{ Mode: 'eco', Sleep: 'on' }] } })).toMatchObject({
      state: 'sleeping',
      powerLimitWatts: null,
    });
  });
});

describe('VNish, S21 Pro, 1.2.7', () => {
  const folder = 'vnish/s21pro-1.2.7';
  const { derived } = expectedOf(folder);
  const port = Object.fromEntries(
    ['stats', 'summary', 'pools'].map((name) => [name, replyOf(folder, `rpc__${name}`).body]),
  );
  const reading = decodeVnish({
    ...port,
    info: jsonOf(folder, 'web__info'),
    webSummary: jsonOf(folder, 'web__summary'),
    performance: jsonOf(folder, 'web__perf-summary'),
  });

  it('agrees with the expected values', () => {
    expect(reading.model).toBe(derived['model']);
    expect(reading.firmwareVersion).toBe(derived['firmware_version']);
    expect(reading.macAddress).toBe(String(derived['mac']).toLowerCase());
    expect(derived['miner_state']).toBe('auto-tuning');
    expect(reading.state).toBe('tuning');
    expect(reading.hashrateThs).toBeCloseTo(valueOf(derived['hashrate_instant']), 5);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(derived['hashrate_nominal']), 5);
    expect(reading.powerWatts).toBe(valueOf(derived['wattage']));
    expect(reading.powerLimitWatts).toBe(Number(derived['current_preset']));
    expect(reading.chipTemperatureCelsius).toBe((derived['chip_temp'] as { max: number }).max);
    expect(reading.boardTemperatureCelsius).toBe((derived['pcb_temp'] as { max: number }).max);
    const pools = derived['pools'] as string[];
    expect(reading.pools.map(({ url }) => url)).toEqual(pools.filter((url) => url !== 'DevFee'));
    // What the maker's own pool rejected costs the operator nothing.
    expect(reading.rejectedPercent).toBeCloseTo((100 * 1179648) / (159888384 + 1179648), 9);
  });

  it('reports the sum of its chains where the web says nothing', () => {
    const alone = decodeVnish(port);
    expect(alone).toMatchObject({
      powerWatts: 861 * 3,
      powerSource: 'reported',
      powerLimitWatts: null,
      state: 'tuning',
      firmwareVersion: '1.2.7',
      macAddress: null,
      errors: [],
      fanRpm: [5850, 5850, 5940, 5940],
    });
    expect(alone.efficiencyJoulesPerTh).toBeCloseTo(2583 / 173.87094, 6);
  });

  it('offers no preset that was not tuned: of the recorded 25 none was', () => {
    const presets = JSON.parse(
      readFileSync(join(import.meta.dirname, 'vnish/s21pro-1.2.7-presets/presets.json'), 'utf8'),
    ) as { name: string; status: string }[];
    expect(presets.filter(({ status }) => status === 'untuned')).toHaveLength(presets.length);
    expect(tunedPresets(presets)).toEqual([]);
    const { control } = decodeVnish({ presets }, null, true);
    expect(control).toMatchObject({ sleep: true, wake: true, powerLimit: null, changeMs: null });
    const tuned = presets.map((preset) => (preset.name === '2800' ? { ...preset, status: 'tuned' } : preset));
    expect(tunedPresets(tuned)).toEqual([{ name: '2800', watts: 2800 }]);
  });
});

describe('ePIC PowerPlay, what it can be tuned to', () => {
  const capabilities = jsonOf('epic/s19xp-powerplay-bms-1.5.13', 'capabilities');

  it('is a hashrate, so a limit becomes one of its own presets', () => {
    expect(epicTuning(capabilities, 'VoltageOptimizer')).toMatchObject({ algorithm: 'VoltageOptimizer' });
    expect(epicTuning(capabilities, 'ChipTune')).toMatchObject({ algorithm: 'ChipTune' });
    // Not listed: not used.
    expect(epicTuning(capabilities, 'Something')).toMatchObject({ algorithm: 'VoltageOptimizer' });
    const { control } = decodeEpic({ capabilities }, true);
    expect(control.powerLimit).toEqual({
      kind: 'preset',
      minWatts: 1700,
      maxWatts: 4400,
      presetsWatts: [1700, 2200, 2700, 3350, 3850, 4400],
    });
  });

  it('is watts where it lists the power tuner', () => {
    const withPower = { ...capabilities, PerpetualTune: [{ algorithm: 'PowerTune', min: 1500, max: 4000 }] };
    expect(decodeEpic({ capabilities: withPower }, true).control.powerLimit).toEqual({
      kind: 'watts',
      minWatts: 1500,
      maxWatts: 4000,
      stepWatts: 1,
    });
    expect(epicTuning({ 'Tune Presets': capabilities['Tune Presets'] })).toBeNull();
  });
});
