import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeBitmain } from '../../drivers/miners/bitmain-decode.ts';
import { decodeCgminer } from '../../drivers/miners/cgminer.ts';
import { decodeLuxos, luxosProfiles } from '../../drivers/miners/luxos-decode.ts';
import { recogniseMiner } from '../../drivers/miners/recognise.ts';
import type { MinerFields } from '../../drivers/miners/reply-fields.ts';
import { decodeWhatsminer } from '../../drivers/miners/whatsminer-decode.ts';
import { decodeWhatsminerV3 } from '../../drivers/miners/whatsminer-v3-decode.ts';
import { type CgminerReply, decodeCgminerReply } from '../../protocols/cgminer-reply.ts';

/** Recorded replies of one unit, by command; see provenance.txt beside them. */
function recorded(folder: string): Record<string, CgminerReply> {
  const path = join(import.meta.dirname, folder);
  const replies: Record<string, CgminerReply> = {};
  for (const file of readdirSync(path)) {
    const name = /^(?:rpc__)?(.*)(?:\.json|_json\.response\.bin)$/.exec(file)?.[1];
    if (name === undefined || ['expected', 'manifest', 'index'].includes(name)) continue;
    const bytes = readFileSync(join(path, file));
    if (bytes.length === 0) continue;
    const reply = decodeCgminerReply(bytes);
    if (!reply.ok) throw new Error(`${file}: ${reply.error.message}`);
    replies[name] = reply.value;
  }
  return replies;
}

function bodies(folder: string): Record<string, CgminerReply['body']> {
  return Object.fromEntries(Object.entries(recorded(folder)).map(([name, reply]) => [name, reply.body]));
}

interface Quantity {
  readonly value: number;
}
type Expected = Record<string, unknown>;

function expectedOf(folder: string): { readonly expected: Expected; readonly derived: Expected } {
  return JSON.parse(readFileSync(join(import.meta.dirname, folder, 'expected.json'), 'utf8')) as {
    expected: Expected;
    derived: Expected;
  };
}

const valueOf = (field: unknown): number => (field as Quantity).value;

describe('LuxOS, S19k Pro, 2025.4.8', () => {
  const folder = 'luxos/s19kpro-2025.4.8';
  const { expected, derived } = expectedOf(folder);
  const reading = decodeLuxos(bodies(folder));

  it('agrees with the expected values', () => {
    expect(reading.model).toBe(derived['model']);
    expect(reading.macAddress).toBe(expected['mac']);
    expect(reading.serialNumber).toBe(expected['serial_number']);
    expect(reading.firmwareVersion).toBe(expected['firmware_version']);
    expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
    expect(reading.powerLimitWatts).toBe(valueOf((expected['tuning_target'] as Expected)['power_target']));
    expect(reading.powerLimitWatts).toBe(valueOf(derived['profile_watts']));
    expect(reading.hashrateThs).toBeCloseTo(valueOf(derived['hashrate_5s']), 9);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(derived['nominal']), 9);
    expect(reading.fanRpm).toEqual(derived['fans_rpm']);
    expect(reading.uptimeSeconds).toBe(derived['uptime_s']);
    expect(reading.errors.map(({ message }) => message)).toEqual([
      expected['messages[0].message'],
      expected['messages[1].message'],
    ]);
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({
      firmware: 'luxos',
      vendor: 'Bitmain',
      state: 'hashing',
      powerSource: 'reported',
      chipTemperatureCelsius: 47,
      boardTemperatureCelsius: 47,
    });
    expect(reading.boards).toEqual(
      [19773825.71692016, 19230588.7466751, 20751652.263361264].map((mhs, index) => ({
        index,
        hashrateThs: mhs / 1e6,
        chipTemperatureCelsius: 47,
        chipsAlive: 77,
        chips: 77,
      })),
    );
    expect(reading.pools.map(({ status, user, priority }) => [status, user, priority])).toEqual([
      ['alive', 'asic-rs.user1', 0],
      ['dead', 'asic-rs.user1', 1],
      ['alive', 'asic-rs.user2', 2],
      ['dead', 'asic-rs.user2', 3],
    ]);
    expect(reading.efficiencyJoulesPerTh).toBeCloseTo(1051 / 59.75606, 9);
    // It says so itself, cut off: "Pool Rejected%" 0.0773.
    expect(reading.rejectedPercent).toBeCloseTo((100 * 32768) / (42323968 + 32768), 9);
  });

  it('offers its profiles as power limits', () => {
    const { powerLimit, ...rest } = reading.control;
    expect(rest).toEqual({ sleep: true, wake: true, sleepMs: 15_000, wakeMs: 300_000, changeMs: 300_000 });
    expect(powerLimit).toMatchObject({ kind: 'preset', minWatts: 784, maxWatts: 4195 });
    expect(powerLimit?.presetsWatts).toHaveLength(25);
    expect(luxosProfiles(bodies(folder)['profiles'])[4]).toEqual({ name: '290MHz', watts: 1188 });
  });
});

describe('stock Bitmain, S19 Pro, 2022-12', () => {
  const folder = 'bitmain/s19pro-2022-12';
  const { expected, derived } = expectedOf(folder);
  const replies = bodies(folder);
  const context = { configuredModel: null, controllable: true };
  const { system_info: systemInfo, ...port } = replies;
  const reading = decodeBitmain({ ...port, systemInfo: systemInfo! }, context);

  it('agrees with the expected values', () => {
    expect(reading.model).toBe(derived['model']);
    expect(reading.firmwareVersion).toBe(expected['firmware_version']);
    expect(reading.boards).toHaveLength(expected['hashboards.length'] as number);
    expect(reading.fanRpm).toHaveLength(expected['fans.length'] as number);
    expect(reading.fanRpm).toEqual(derived['fans_rpm']);
    expect(reading.hashrateThs).toBeCloseTo(valueOf(expected['hashrate.unwrap()']), 9);
    expect(reading.hashrateThs).toBeCloseTo(valueOf(derived['hashrate_5s']), 9);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(expected['expected_hashrate.unwrap()']), 9);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(derived['ideal']), 9);
    expect(reading.uptimeSeconds).toBe(derived['uptime_s']);
    expect(reading.chipTemperatureCelsius).toBe(derived['chip_temp_max']);
    expect(derived['wattage']).toBeNull();
  });

  it('marks its power as an estimate from the model', () => {
    expect(reading.powerSource).toBe('estimated');
    expect(reading.powerWatts).toBeCloseTo((3250 * 110.56689) / 110, 6);
  });

  it('rejects a MAC address that is none and keeps the serial number', () => {
    expect(reading.macAddress).toBeNull();
    expect(reading.serialNumber).toBe('THQING0BDJAB024NF');
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({ state: 'hashing', boardTemperatureCelsius: 73, errors: [] });
    expect(reading.boards).toEqual([
      { index: 0, hashrateThs: 37603.3 / 1e3, chipTemperatureCelsius: 78, chipsAlive: 114, chips: 114 },
      { index: 1, hashrateThs: 35536.22 / 1e3, chipTemperatureCelsius: 71, chipsAlive: 114, chips: 114 },
      { index: 2, hashrateThs: 37427.38 / 1e3, chipTemperatureCelsius: 69, chipsAlive: 114, chips: 114 },
    ]);
    // 11 of 4068 shares by count would be 0.27; its own "Pool Rejected%" says 0.0.
    expect(reading.rejectedPercent).toBeCloseTo((100 * 2490368) / (1305083904 + 2490368), 9);
    expect(reading.pools).toHaveLength(3);
    expect(reading.pools[0]).toEqual({
      url: 'stratum+tcp://btc.global.luxor.tech:700',
      user: 'satokierepair.H04YK',
      status: 'alive',
      priority: 0,
    });
    expect(reading.control).toMatchObject({ sleep: true, wake: true, powerLimit: null, changeMs: null });
  });

  it('offers no command without a password', () => {
    const { control } = decodeBitmain(port, { ...context, controllable: false });
    expect(control).toMatchObject({ sleep: false, wake: false, sleepMs: null });
  });
});

/** What recorded Whatsminer units of either API have in common. */
function whatsminerAgrees(reading: MinerFields, expected: Expected): void {
  expect(reading.macAddress).toBe(String(expected['mac']).toLowerCase());
  expect(reading.firmwareVersion).toBe(expected['firmware_version']);
  expect(reading.hashrateThs).toBeCloseTo(valueOf(expected['hashrate']), 9);
  expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(expected['expected_hashrate']), 9);
  expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
  expect(reading.powerLimitWatts).toBe(valueOf((expected['tuning_target'] as Expected)['power_target']));
  expect(reading.uptimeSeconds).toBe(valueOf(expected['uptime']));
  expect(reading.state).toBe(expected['is_mining'] === true ? 'hashing' : 'sleeping');
}

describe('Whatsminer, M20S, API 1.4', () => {
  const folder = 'whatsminer/m20s-20210322';
  const { expected, derived } = expectedOf(folder);
  const replies = bodies(folder);
  const context = { firmware: 'whatsminer', configuredModel: null, controllable: true } as const;
  const reading = decodeWhatsminer(replies, context);

  it('agrees with the expected values', () => {
    whatsminerAgrees(reading, expected);
    expect(reading.fanRpm).toEqual(derived['fans_rpm']);
    expect(reading.pools).toHaveLength(expected['pools[0].length'] as number);
    expect(reading.errors).toEqual([]);
  });

  it('names its errors', () => {
    const { errors } = decodeWhatsminer({ ...replies, summary: replies['summary_with_errors']! }, context);
    expect(errors).toEqual(
      [0, 1].map((index) => ({
        code: String(expected[`messages[${index}].code`]),
        message: expected[`messages[${index}].message`],
      })),
    );
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({
      vendor: 'MicroBT',
      powerSource: 'reported',
      chipTemperatureCelsius: 92.5,
      boardTemperatureCelsius: 71.5,
      rejectedPercent: 0,
    });
    expect(reading.boards.map(({ hashrateThs, chipsAlive }) => [hashrateThs, chipsAlive])).toEqual([
      [20053438.74 / 1e6, 105],
      [25567317.81 / 1e6, 105],
      [24351292.28 / 1e6, 105],
    ]);
    expect(reading.control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'watts', minWatts: 1400, maxWatts: 3500, stepWatts: 35 },
      sleepMs: 5000,
      wakeMs: 1_800_000,
      changeMs: 5000,
    });
  });
});

describe('Whatsminer, M50S VH50, API 2.0.5', () => {
  const folder = 'whatsminer/m50s-vh50-20230803';
  const { expected } = expectedOf(folder);
  const replies = bodies(folder);
  const context = { firmware: 'whatsminer', configuredModel: 'M50S-VH50', controllable: false } as const;
  const reading = decodeWhatsminer(replies, context);

  it('agrees with the expected values', () => {
    expect(reading.macAddress).toBe(String(expected['mac']).toLowerCase());
    expect(reading.firmwareVersion).toBe(expected['firmware_version']);
    expect(reading.hashrateThs).toBeCloseTo(valueOf(expected['hashrate']), 9);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(expected['expected_hashrate']), 9);
    expect(reading.powerWatts).toBe(valueOf(expected['wattage']));
    expect(reading.powerLimitWatts).toBe(valueOf((expected['tuning_target'] as Expected)['power_target']));
    expect(reading.uptimeSeconds).toBe(valueOf(expected['uptime']));
    expect(reading.state).toBe('hashing');
    expect(reading.fanRpm).toEqual([5400, 5280]);
    // Its summary counts accepted shares only; its pools count both.
    expect(reading.rejectedPercent).toBe(0);
    expect(reading.pools).toHaveLength(expected['pools[0].length'] as number);
    expect(reading.errors).toEqual([]);
  });

  it('names its errors', () => {
    const { errors } = decodeWhatsminer(
      { ...replies, get_error_code: replies['get_error_code_with_errors']! },
      context,
    );
    const byCode = [0, 1].map((index) => ({
      code: String(expected[`messages[${index}].code`]),
      message: expected[`messages[${index}].message`],
    }));
    expect(errors).toEqual(expect.arrayContaining(byCode));
    expect(errors).toHaveLength(2);
  });
});

describe('Whatsminer, M60S VK40, API 3.0.2', () => {
  const folder = 'whatsminer/m60s-vk40-20251209';
  const { expected } = expectedOf(folder);
  const message = (file: string): unknown =>
    (JSON.parse(readFileSync(join(import.meta.dirname, folder, `${file}.json`), 'utf8')) as Expected)['msg'];
  const context = { configuredModel: null, controllable: true };
  const replies = {
    info: message('get_device_info'),
    status: { ...(message('get_miner_status_summary') as object), ...(message('get_miner_status_pools') as object) },
    edevs: message('get_miner_status_edevs'),
  };
  const reading = decodeWhatsminerV3(replies, context);

  it('agrees with the expected values', () => {
    whatsminerAgrees(reading, expected);
    expect(reading.fanRpm).toHaveLength(expected['fans.length'] as number);
    expect(reading.pools).toHaveLength(expected['pools[0].length'] as number);
  });

  it('names its errors', () => {
    const { errors } = decodeWhatsminerV3({ info: message('get_device_info_with_errors') }, context);
    expect(errors).toHaveLength(expected['messages.length'] as number);
    for (const index of [0, 1])
      expect(errors[index]).toMatchObject({ code: String(expected[`messages[${index}].code`]) });
    expect(errors.map(({ code }) => code)).toEqual(['264', '265', '266', '267', '270']);
  });

  it('says the rest as recorded', () => {
    expect(reading).toMatchObject({
      firmware: 'whatsminer-v3',
      vendor: 'MicroBT',
      model: 'Whatsminer M60S VK40',
      serialNumber: 'BTM3CS40HD24083100000000000000000',
      powerSource: 'reported',
      chipTemperatureCelsius: 82,
      boardTemperatureCelsius: 41.5,
      fanRpm: [5400, 5280],
      rejectedPercent: null,
      control: { sleep: true, powerLimit: { kind: 'watts', minWatts: 1440, maxWatts: 3600, stepWatts: 36 } },
    });
    expect(reading.boards.map(({ index, hashrateThs, chipsAlive }) => [index, hashrateThs, chipsAlive])).toEqual([
      [0, 57.2, 75],
      [1, 57, 75],
      [2, 57.1, 75],
    ]);
    expect(reading.pools[1]).toEqual({
      url: 'stratum+tcp://btc2.example.pool:3333',
      user: 'asic-rs.test',
      status: 'alive',
      priority: 1,
    });
  });

  it('is off by its service alone, and takes no odd figure for a value', () => {
    const info = replies.info as { miner: object };
    const off = decodeWhatsminerV3({ info: { ...info, miner: { ...info.miner, working: 'false' } } }, context);
    expect(off).toMatchObject({ state: 'sleeping', powerWatts: null, powerSource: null });
    const odd = { summary: { 'power-limit': 99999, 'factory-hash': -0.003, 'hash-realtime': 0, elapsed: 30 } };
    expect(decodeWhatsminerV3({ info, status: odd }, context)).toMatchObject({
      powerLimitWatts: null,
      nominalHashrateThs: null,
      state: 'starting',
    });
  });
});

describe('miners without a driver of their own, over the cgminer API', () => {
  it('reads a VNish S21 Pro', () => {
    const replies = bodies('vnish/s21pro-1.2.7');
    const { derived } = expectedOf('vnish/s21pro-1.2.7');
    const { version: _refused, ...usable } = replies;
    const reading = decodeCgminer('vnish', usable);
    expect(reading.hashrateThs).toBeCloseTo(valueOf(derived['hashrate_instant']), 5);
    expect(reading.nominalHashrateThs).toBeCloseTo(valueOf(derived['hashrate_nominal']), 5);
    expect(reading).toMatchObject({
      model: 'Antminer S21 Pro (Vnish 1.2.7)',
      state: 'hashing',
      uptimeSeconds: 4423,
      fanRpm: [5850, 5850, 5940, 5940],
      powerSource: 'estimated',
    });
    expect(reading.boards.map(({ chipsAlive }) => chipsAlive)).toEqual([65, 65, 65]);
    expect(reading.pools.map(({ url }) => url)).toEqual(derived['pools']);
  });

  it('reads a FluxOS AT1500', () => {
    const reading = decodeCgminer('fluxos', bodies('fluxos/at1500-2023-12'));
    expect(reading).toMatchObject({ uptimeSeconds: 56696, state: 'hashing', powerWatts: null, powerSource: null });
    expect(reading.hashrateThs).toBeCloseTo(20.5997671774699, 9);
    expect(reading.rejectedPercent).toBeCloseTo((100 * 32768) / (829210624 + 32768), 9);
    expect(reading.boards.map(({ hashrateThs }) => hashrateThs)).toEqual([6.8, 6.9, 7]);
    expect(reading.pools.map(({ status }) => status)).toEqual(['alive', 'dead', 'dead']);
  });

  it('invents nothing for an Avalon of which only stats are known', () => {
    const reading = decodeCgminer('avalon', bodies('avalon/a1246-21072802'));
    expect(reading).toMatchObject({ hashrateThs: null, powerWatts: null, state: 'unknown', boards: [] });
  });

  it('reads an idle cgminer and a bfgminer on a CPU', () => {
    const idle = decodeCgminer('cgminer', bodies('cgminer/cgminer-4.11.1_W-access'));
    expect(idle).toMatchObject({
      firmwareVersion: '4.11.1',
      hashrateThs: 0,
      state: 'starting',
      uptimeSeconds: 80,
      powerWatts: null,
      rejectedPercent: null,
    });
    expect(idle.pools).toEqual([
      { url: 'stratum+tcp://127.0.0.1:3399', user: 'acct.worker=1|a', status: 'alive', priority: 0 },
      { url: 'stratum+tcp://127.0.0.1:3398', user: 'user2', status: 'dead', priority: 1 },
    ]);
    const cpu = decodeCgminer('bfgminer', bodies('cgminer/bfgminer-5.5.0_cpu-driver'), 'Antminer S9');
    expect(cpu).toMatchObject({ firmwareVersion: '5.5.0-34-g866fd36f', state: 'hashing', uptimeSeconds: 14 });
    // 18 shares are too few.
    expect(cpu.rejectedPercent).toBeNull();
    expect(cpu.hashrateThs).toBeCloseTo(0.448e-6, 12);
    expect(cpu.boards.map(({ hashrateThs }) => hashrateThs)).toEqual([0.247 / 1e6, 0.193 / 1e6]);
    expect(cpu.powerSource).toBe('estimated');
  });
});

describe('what is this miner', () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ['luxos/s19kpro-2025.4.8', 'version', 'luxos'],
    ['bitmain/s19pro-2022-12', 'version', 'bitmain'],
    ['bitmain/s19pro-2022-12', 'stats', 'bitmain'],
    ['vnish/s21pro-1.2.7', 'stats', 'vnish'],
    ['fluxos/at1500-2023-12', 'version', 'fluxos'],
    ['cgminer/cgminer-4.11.1_W-access', 'version', 'cgminer'],
    ['cgminer/cgminer-4.11.1_R-access', 'version', 'cgminer'],
    ['cgminer/bfgminer-5.5.0_cpu-driver', 'version', 'bfgminer'],
    ['whatsminer/m20s-20210322', 'get_version', 'whatsminer'],
    ['whatsminer/m50s-vh50-20230803', 'get_version', 'whatsminer'],
  ];
  it.each(cases)('%s %s is %s', (folder, command, firmware) => {
    const reply = recorded(folder)[command]!;
    const name = command === 'get_version' ? 'getVersion' : command;
    expect(recogniseMiner({ [name]: reply })).toBe(firmware);
  });

  it('is honest about what it does not know', () => {
    const reply = (text: string) => {
      const decoded = decodeCgminerReply(Buffer.from(text));
      if (!decoded.ok) throw new Error('bad test');
      return decoded.value;
    };
    const invalid = reply('{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}],"id":1}');
    expect(recogniseMiner({ version: invalid })).toBe('unknown');
    expect(recogniseMiner({})).toBeNull();
    const described = reply(
      '{"STATUS":[{"STATUS":"S","Code":22,"Msg":"CGMiner versions","Description":"my LUXminer rack"}],"VERSION":[{"CGMiner":"4.11.1","API":"3.7"}],"id":1}',
    );
    expect(recogniseMiner({ version: described })).toBe('cgminer');
    const digest = { 'www-authenticate': 'Digest realm="antMiner Configuration", nonce="x"' };
    expect(recogniseMiner({ web: { status: 401, headers: digest, text: '' } })).toBe('bitmain');
  });
});
