import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { FirmwareFamily } from '../../../config/miners/firmwares.ts';
import type { LoadReading } from '../../../drivers/load-driver.ts';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { encodeWhatsminerFrame, whatsminerFrameLength } from '../../../protocols/whatsminer-v3.ts';
import { createPatientClock, type PatientClock } from '../../support/patient-clock.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';

const never = new AbortController().signal;
const golden = (path: string): unknown =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../../golden', path), 'utf8'));

/** What one part of a reading does while the others answer. */
const BEHAVIOURS = ['late', 'trickles', 'silent', 'missing', 'cut'] as const;
type Behaviour = (typeof BEHAVIOURS)[number];
/** What of it is no answer: the rest of the reading stands without it. */
const LOSSES = BEHAVIOURS.filter((behaviour) => behaviour !== 'late');

/** Within the longest silence that a device is given. */
const LATE_MS = 2000;
/** From the first packet to the last byte; a step of the clock more. */
const TOTAL_MS = 8000 + 1000;

type Answers = Readonly<Record<string, unknown>>;

interface Unit {
  readonly firmware: FirmwareFamily;
  /** By command of the port, page or parameter of a frame. */
  readonly port: Answers;
  readonly web: Answers;
  /** Written as frames of API 3 instead of pages. */
  readonly framed?: boolean;
}

const bitmain = (command: string): unknown => golden(`bitmain/s19pro-2022-12/${command}.json`);
const BITMAIN: Unit = {
  firmware: 'bitmain',
  port: { stats: bitmain('stats'), pools: bitmain('pools'), version: bitmain('version') },
  web: {
    '/cgi-bin/get_system_info.cgi': bitmain('system_info'),
    '/cgi-bin/get_miner_conf.cgi': { pools: [], 'bitmain-work-mode': '0' },
    '/cgi-bin/summary.cgi': {
      STATUS: { STATUS: 'S' },
      SUMMARY: [{ status: [{ type: 'fans', status: 'e', code: 2, msg: 'fan lost' }] }],
    },
  },
};

const braiins = (name: string): unknown => golden(`braiins/s19xp-25.07-plus/${name}.json`);
const BRAIINS: Unit = {
  firmware: 'braiins',
  port: {},
  web: {
    '/api/v1/miner/details': braiins('miner_details'),
    '/api/v1/miner/stats': braiins('miner_stats'),
    '/api/v1/performance/tuner-state': braiins('performance_tuner_state'),
    '/api/v1/cooling/state': braiins('cooling_state'),
    '/api/v1/miner/hw/hashboards': braiins('miner_hw_hashboards'),
    '/api/v1/pools/': braiins('pools'),
    '/api/v1/miner/errors': braiins('miner_errors'),
    '/api/v1/configuration/constraints': {
      tuner_constraints: { power_target: { min: { watt: 1200 }, max: { watt: 3500 } } },
    },
  },
};

const whatsminer = (name: string): Readonly<Record<string, unknown>> =>
  golden(`whatsminer/m60s-vk40-20251209/${name}.json`) as Readonly<Record<string, unknown>>;
const WHATSMINER: Unit = {
  firmware: 'whatsminer-v3',
  framed: true,
  port: {},
  web: {
    'get.device.info': whatsminer('get_device_info'),
    'summary+pools': {
      ...whatsminer('get_miner_status_summary'),
      msg: {
        ...(whatsminer('get_miner_status_summary')['msg'] as object),
        ...(whatsminer('get_miner_status_pools')['msg'] as object),
      },
    },
    edevs: whatsminer('get_miner_status_edevs'),
  },
};

/** Sends `bytes` as the behaviour has it. */
function answer(
  socket: Socket,
  bytes: Uint8Array,
  behaviour: Behaviour | undefined,
  clock: PatientClock,
): void {
  const drip = (at: number): void => {
    if (socket.destroyed || at >= bytes.length) return;
    socket.write(bytes.subarray(at, at + 1));
    clock.after(1000, () => drip(at + 1));
  };
  if (behaviour === 'late') clock.after(LATE_MS, () => socket.end(bytes));
  else if (behaviour === 'trickles') drip(0);
  else if (behaviour === 'cut') socket.end(bytes.subarray(0, Math.floor(bytes.length / 2)));
  else if (behaviour !== 'silent') socket.end(bytes);
}

function page(status: string, body: string): Uint8Array {
  return Buffer.from(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** Plays `unit`; what stands in `behaves` misbehaves. */
async function play(unit: Unit) {
  const behaves = new Map<string, Behaviour>();
  const asked: string[] = [];
  const clock = createPatientClock();
  const port = await listenOnLoopback((socket) => {
    socket.once('data', (piece) => {
      const { command } = JSON.parse(String(piece)) as { readonly command: string };
      asked.push(command);
      const behaviour = behaves.get(command);
      const said = behaviour === 'missing' ? undefined : unit.port[command];
      const no = { STATUS: [{ STATUS: 'E', When: 1, Code: 14, Msg: 'Invalid command' }], id: 1 };
      answer(socket, Buffer.from(`${JSON.stringify(said ?? no)}\0`), behaviour, clock);
    });
  });
  const web = await listenOnLoopback((socket) => {
    socket.once('data', (piece) => {
      if (unit.framed === true) {
        const text = piece.subarray(4, whatsminerFrameLength(piece) ?? 4).toString();
        const { cmd, param } = JSON.parse(text) as { readonly cmd: string; readonly param?: string };
        const name = param ?? cmd;
        asked.push(name);
        const behaviour = behaves.get(name);
        const said = behaviour === 'missing' ? { code: -2, when: 1, msg: 'invalid param' } : unit.web[name];
        answer(socket, encodeWhatsminerFrame(JSON.stringify(said)), behaviour, clock);
        return;
      }
      const path = piece.toString('latin1').split(' ')[1] ?? '';
      asked.push(path);
      const behaviour = behaves.get(path);
      const said = behaviour === 'missing' ? undefined : unit.web[path];
      const bytes = said === undefined ? page('404 Not Found', '') : page('200 OK', JSON.stringify(said));
      answer(socket, bytes, behaviour, clock);
    });
  });
  const endpoint = {
    deviceId: 'unit',
    host: '127.0.0.1',
    port: port.port,
    webPort: web.port,
    user: 'root',
    password: { reveal: () => 'secret' },
    model: null,
  };
  const driver = openMiner(endpoint, unit.firmware, { clock, random: seededRandom(1) });
  const read = async (): Promise<LoadReading> => {
    const reading = await clock.expire(driver.read(never));
    if (!reading.ok) throw new Error(reading.error.message);
    return reading.value;
  };
  return {
    behaves,
    asked,
    clock,
    driver,
    read,
    /** The reading without when it was taken. */
    fields: async (): Promise<object> => {
      const { requestedAt, sampledAt, roundTripMs, ...fields } = await read();
      expect(requestedAt).toBeLessThanOrEqual(sampledAt);
      expect(roundTripMs).toBeGreaterThanOrEqual(0);
      return fields;
    },
    [Symbol.asyncDispose]: async () => {
      await port[Symbol.asyncDispose]();
      await web[Symbol.asyncDispose]();
    },
  };
}

/** A part of a unit's readings, and what they do not say without it. */
type Part = readonly [firmware: string, part: string, unit: Unit, without: object];

/** Asked now and then. */
const SLOW: readonly Part[] = [
  ['bitmain', 'pools', BITMAIN, { pools: [], rejectedPercent: null }],
  ['bitmain', '/cgi-bin/summary.cgi', BITMAIN, { errors: [] }],
  ['braiins', '/api/v1/cooling/state', BRAIINS, { fanRpm: [] }],
  [
    'braiins',
    '/api/v1/miner/hw/hashboards',
    BRAIINS,
    { boards: [], chipTemperatureCelsius: null, boardTemperatureCelsius: null },
  ],
  ['braiins', '/api/v1/pools/', BRAIINS, { pools: [] }],
  ['braiins', '/api/v1/miner/errors', BRAIINS, { errors: [] }],
  ['whatsminer-v3', 'edevs', WHATSMINER, { boards: [] }],
];

/** Asked at every reading. */
const LIVE: readonly Part[] = [
  [
    'bitmain',
    '/cgi-bin/get_system_info.cgi',
    BITMAIN,
    { macAddress: null, serialNumber: null, firmwareVersion: 'Tue Dec  6 16:12:30 CST 2022' },
  ],
  ['bitmain', '/cgi-bin/get_miner_conf.cgi', BITMAIN, {}],
  ['braiins', '/api/v1/performance/tuner-state', BRAIINS, { powerLimitWatts: null }],
];

describe.each(SLOW)('%s, of whose readings %s is asked now and then,', (_firmware, part, unit, without) => {
  it('is read whole where that part answers late', async () => {
    await using good = await play(unit);
    await using late = await play(unit);
    late.behaves.set(part, 'late');
    const whole = await good.fields();
    expect(whole).not.toMatchObject(without);
    expect(await late.fields()).toEqual(whole);
  });

  // Of a list on port 4028 that was cut, what came counts.
  it.each(LOSSES.filter((loss) => loss !== 'cut' || part !== 'pools'))(
    'is read without it where it is lost (%s), and whole again later',
    async (loss) => {
      await using played = await play(unit);
      const { behaves, asked, clock, fields } = played;
      const whole = await fields();
      behaves.set(part, loss);
      await clock.pass(31_000);
      const before = clock.monotonicMs();
      expect(await fields()).toEqual({ ...whole, ...without });
      expect(clock.monotonicMs() - before).toBeLessThanOrEqual(TOTAL_MS);
      // It costs its time-out now and then, not at every reading.
      const times = asked.filter((name) => name === part).length;
      expect(await fields()).toEqual({ ...whole, ...without });
      expect(asked.filter((name) => name === part)).toHaveLength(times);
      behaves.clear();
      await clock.pass(31_000);
      expect(await fields()).toEqual(whole);
    },
  );

  it('gives up at once while that part is awaited', async () => {
    await using played = await play(unit);
    const { behaves, asked, clock, driver } = played;
    behaves.set(part, 'silent');
    const controller = new AbortController();
    const reading = driver.read(controller.signal);
    while (!asked.includes(part)) await new Promise((resolve) => setImmediate(resolve));
    const before = clock.monotonicMs();
    controller.abort();
    expect(await reading).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    expect(clock.monotonicMs()).toBe(before);
  });
});

describe.each(LIVE)('%s, of whose readings %s is asked each time,', (_firmware, part, unit, without) => {
  it.each(BEHAVIOURS)(
    'says all the rest where it is %s, and all of it once it answers',
    async (behaviour) => {
      await using played = await play(unit);
      const { behaves, clock, fields } = played;
      const whole = await fields();
      behaves.set(part, behaviour);
      const before = clock.monotonicMs();
      expect(await fields()).toEqual(behaviour === 'late' ? whole : { ...whole, ...without });
      expect(clock.monotonicMs() - before).toBeLessThanOrEqual(TOTAL_MS);
      behaves.clear();
      expect(await fields()).toEqual(whole);
    },
  );
});

describe.each([
  ['braiins', '/api/v1/miner/stats', BRAIINS],
  ['whatsminer-v3', 'summary+pools', WHATSMINER],
  ['whatsminer-v3', 'get.device.info', WHATSMINER],
] as const)('%s, whose readings rest on %s,', (_firmware, part, unit) => {
  it('is read late where that comes late', async () => {
    await using played = await play(unit);
    const { behaves, fields } = played;
    const whole = await fields();
    behaves.set(part, 'late');
    expect(await fields()).toEqual(whole);
  });

  it.each(['trickles', 'silent', 'cut'] as const)(
    'is not read where it %s, and says so in time',
    async (loss) => {
      await using played = await play(unit);
      const { behaves, clock, driver, fields } = played;
      const whole = await fields();
      behaves.set(part, loss);
      const before = clock.monotonicMs();
      const reading = await clock.expire(driver.read(never));
      expect(reading.ok).toBe(false);
      expect(clock.monotonicMs() - before).toBeLessThanOrEqual(TOTAL_MS);
      behaves.clear();
      expect(await fields()).toEqual(whole);
    },
  );
});

describe('a unit of which parts are lost', () => {
  it('is read without them where both are silent, and is not asked for more on the way', async () => {
    await using played = await play(BRAIINS);
    const { behaves, asked, clock, fields } = played;
    const whole = await fields();
    await clock.pass(31_000);
    behaves.set('/api/v1/performance/tuner-state', 'silent');
    behaves.set('/api/v1/cooling/state', 'silent');
    asked.length = 0;
    const slow = SLOW.filter(([firmware]) => firmware === 'braiins').map((lost) => lost[3]);
    expect(await fields()).toEqual(Object.assign({ ...whole, powerLimitWatts: null }, ...slow));
    expect(asked).toHaveLength(4);
    behaves.clear();
    await clock.pass(31_000);
    expect(await fields()).toEqual(whole);
  });

  it('is asked what it can do now and then where that does not come', async () => {
    await using played = await play(BRAIINS);
    const { behaves, asked, clock, fields, driver } = played;
    const page = '/api/v1/configuration/constraints';
    behaves.set(page, 'trickles');
    expect(await fields()).toMatchObject({ control: { sleep: true, powerLimit: null } });
    expect(await fields()).toMatchObject({ control: { sleep: true, powerLimit: null } });
    expect(asked.filter((name) => name === page)).toHaveLength(1);
    behaves.clear();
    await clock.pass(31_000);
    expect(await fields()).toMatchObject({ control: { powerLimit: { minWatts: 1200, maxWatts: 3500 } } });
    await driver[Symbol.asyncDispose]();
  });

  it('has its figures from its pages where its port is silent', async () => {
    const pages = { '/cgi-bin/stats.cgi': bitmain('stats'), '/cgi-bin/pools.cgi': bitmain('pools') };
    await using played = await play({ ...BITMAIN, web: { ...BITMAIN.web, ...pages } });
    const { behaves, clock, fields } = played;
    const whole = await fields();
    await clock.pass(31_000);
    behaves.set('stats', 'silent');
    expect(await fields()).toEqual(whole);
  });

  it('is not read where its port and one page are silent', async () => {
    await using played = await play(BITMAIN);
    const { behaves, asked, clock, driver } = played;
    behaves.set('stats', 'silent');
    behaves.set('/cgi-bin/get_system_info.cgi', 'silent');
    expect(await clock.expire(driver.read(never))).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    expect(asked).toEqual(['stats', '/cgi-bin/get_system_info.cgi']);
  });
});
