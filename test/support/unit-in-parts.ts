import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { FirmwareFamily } from '../../config/miners/firmwares.ts';
import type { LoadReading } from '../../drivers/load-driver.ts';
import { openMiner } from '../../drivers/miners/registry.ts';
import { seededRandom } from '../../protocols/random.ts';
import { encodeWhatsminerFrame, whatsminerFrameLength } from '../../protocols/whatsminer-v3.ts';
import { createPatientClock, type PatientClock } from './patient-clock.ts';
import { listenOnLoopback } from './recorded-server.ts';

const never = new AbortController().signal;

const golden = (path: string): unknown =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../golden', path), 'utf8'));

/** What one part of a reading does while the others answer; closed: not a byte comes. */
export const BEHAVIOURS = ['late', 'trickles', 'silent', 'missing', 'closed', 'cut'] as const;
export type Behaviour = (typeof BEHAVIOURS)[number];
/** Within the longest silence that a device is given. */
const LATE_MS = 2000;
type Answers = Readonly<Record<string, unknown>>;

/** A unit as its replies, most of them recorded, tell of it. */
export interface Unit {
  readonly firmware: FirmwareFamily;
  /** By command of the port, page or parameter of a frame. */
  readonly port: Answers;
  readonly web: Answers;
  /** Written as frames of API 3 instead of pages. */
  readonly framed?: boolean;
  /** Commands of the port may be joined in one request. */
  readonly joins?: boolean;
}

export const bitmain = (command: string): unknown => golden(`bitmain/s19pro-2022-12/${command}.json`);
export const BITMAIN: Unit = {
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
export const BRAIINS: Unit = {
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

const graphql = (name: string): unknown => golden(`braiins/s21plus-25.05.1-plus/gql_${name}.json`);
/** An older release; its queries go by a word of theirs. */
export const BRAIINS_GRAPHQL: Unit = {
  firmware: 'braiins',
  port: {},
  web: {
    fans: graphql('system'),
    childSolvers: graphql('boards'),
    poolGroups: graphql('pools'),
    modelName: { data: { bosminer: { info: { modelName: 'Antminer S21+' } } } },
  },
};

const whatsminerV3 = (name: string): Readonly<Record<string, unknown>> =>
  golden(`whatsminer/m60s-vk40-20251209/${name}.json`) as Readonly<Record<string, unknown>>;
export const WHATSMINER_V3: Unit = {
  firmware: 'whatsminer-v3',
  framed: true,
  port: {},
  web: {
    'get.device.info': whatsminerV3('get_device_info'),
    'summary+pools': {
      ...whatsminerV3('get_miner_status_summary'),
      msg: {
        ...(whatsminerV3('get_miner_status_summary')['msg'] as object),
        ...(whatsminerV3('get_miner_status_pools')['msg'] as object),
      },
    },
    edevs: whatsminerV3('get_miner_status_edevs'),
  },
};

const whatsminer = (name: string): unknown => golden(`whatsminer/m50s-vh50-20230803/${name}.json`);
export const WHATSMINER: Unit = {
  firmware: 'whatsminer',
  port: {
    summary: whatsminer('summary'),
    status: whatsminer('status'),
    devs: whatsminer('devs'),
    pools: whatsminer('pools'),
    get_error_code: whatsminer('get_error_code_with_errors'),
    get_version: whatsminer('get_version'),
    devdetails: {
      STATUS: [{ STATUS: 'S', Code: 69 }],
      DEVDETAILS: [{ DEVDETAILS: 0, Model: 'M50S-VH50' }],
      id: 1,
    },
    get_miner_info: {
      STATUS: 'S',
      Code: 131,
      Msg: { mac: 'D4:01:02:03:04:05', minersn: 'HTM31X44' },
      Description: '',
    },
  },
  web: {},
};

const fluxos = (name: string): unknown => golden(`fluxos/at1500-2023-12/${name}.json`);
export const FLUXOS: Unit = {
  firmware: 'fluxos',
  port: {
    summary: fluxos('summary'),
    version: fluxos('version'),
    devs: fluxos('devs'),
    pools: fluxos('pools'),
  },
  web: {
    '/token': { STATUS: [{ STATUS: 'S' }], Token: [{ Token: 'entered' }] },
    '/ipreport': fluxos('ipreport'),
    '/psu': fluxos('psu'),
    '/mode': fluxos('mode'),
    '/temperature': fluxos('temperature'),
    '/fan': fluxos('fan'),
  },
};

const vnish = (name: string): unknown => golden(`vnish/s21pro-1.2.7/${name}.json`);
export const VNISH: Unit = {
  firmware: 'vnish',
  port: { stats: vnish('rpc__stats'), summary: vnish('rpc__summary'), pools: vnish('rpc__pools') },
  web: {
    '/api/v1/info': vnish('web__info'),
    '/api/v1/summary': vnish('web__summary'),
    '/api/v1/perf-summary': vnish('web__perf-summary'),
    '/api/v1/autotune/presets': [
      { name: '2550', pretty: '2550 watt ~ 170 TH', status: 'tuned', modded_psu_required: false },
      { name: '2800', pretty: '2800 watt ~ 188 TH', status: 'tuned', modded_psu_required: false },
    ],
  },
};

/** A list as that generation of cgminer writes it; only its statistics were recorded. */
const listed = (code: number, section: string, record: object): unknown => ({
  STATUS: [{ STATUS: 'S', Code: code }],
  [section]: [record],
  id: 1,
});
export const AVALON: Unit = {
  firmware: 'avalon',
  port: {
    version: listed(22, 'VERSION', {
      CGMiner: '4.11.1',
      PROD: 'AvalonMiner 1246-83',
      MODEL: '1246-83',
      DNA: '02010000cbd2fd6d',
      MAC: 'b4a2eb3f1e20',
    }),
    stats: golden('avalon/a1246-21072802/stats.json'),
    summary: listed(11, 'SUMMARY', { Elapsed: 24684, 'MHS 5s': 81072680, Accepted: 5000, Rejected: 20 }),
    pools: listed(7, 'POOLS', {
      POOL: 0,
      URL: 'stratum+tcp://pool.example:3333',
      Status: 'Alive',
      Priority: 0,
      User: 'site.unit',
    }),
  },
  web: {},
};

const luxos = (name: string): unknown => golden(`luxos/s19kpro-2025.4.8/${name}.json`);
const LUXOS_PORT: Answers = {
  version: luxos('version'),
  config: luxos('config'),
  power: luxos('power'),
  summary: luxos('summary'),
  stats: luxos('stats'),
  devs: luxos('devs'),
  pools: luxos('pools'),
  events: luxos('events'),
  profiles: luxos('profiles'),
};
/** Answers one command a connection. */
export const LUXOS: Unit = { firmware: 'luxos', port: LUXOS_PORT, web: {} };
/** Answers commands that are joined, as most builds do. */
export const LUXOS_JOINED: Unit = { ...LUXOS, joins: true };

const cgminer = (name: string): unknown =>
  JSON.parse(
    readFileSync(
      join(import.meta.dirname, `../golden/cgminer/cgminer-4.11.1_W-access/${name}_json.response.bin`),
      'utf8',
    ).replaceAll('\0', ''),
  );
export const CGMINER: Unit = {
  firmware: 'cgminer',
  port: {
    summary: cgminer('summary'),
    version: cgminer('version'),
    devs: listed(9, 'DEVS', { ASC: 0, Name: 'BTM', ID: 0, Status: 'Alive', 'MHS 5s': 4500000 }),
    pools: cgminer('pools'),
    stats: listed(70, 'STATS', { Type: 'Antminer S9', fan_num: 2, fan1: 4320, fan2: 4440 }),
  },
  web: {},
};

const epic = (name: string): unknown => golden(`epic/s19xp-powerplay-bms-1.5.13/${name}.json`);
/** Its pages are on the port where others have the cgminer API. */
export const EPIC: Unit = {
  firmware: 'epic',
  port: { '/summary': epic('summary'), '/network': epic('network'), '/capabilities': epic('capabilities') },
  web: {},
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
  else if (behaviour === 'closed') socket.end();
  else if (behaviour === 'cut') socket.end(bytes.subarray(0, Math.floor(bytes.length / 2)));
  else if (behaviour !== 'silent') socket.end(bytes);
}

function page(status: string, body: string): Uint8Array {
  return Buffer.from(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** What tells one GraphQL query from another. */
const QUERY_WORDS = ['childSolvers', 'poolGroups', 'modelName', 'fans'];

/** Plays `unit`; what stands in `behaves` misbehaves. */
export async function play(unit: Unit) {
  const behaves = new Map<string, Behaviour>();
  const asked: string[] = [];
  const clock = createPatientClock();
  const pageOf = (answers: Answers, piece: Buffer, socket: Socket): void => {
    const text = piece.toString('latin1');
    const query = QUERY_WORDS.find((word) => text.includes(`"query"`) && text.includes(word));
    const path = query ?? text.split(' ')[1] ?? '';
    asked.push(path);
    const behaviour = behaves.get(path);
    const said = behaviour === 'missing' ? undefined : answers[path];
    const bytes = said === undefined ? page('404 Not Found', '') : page('200 OK', JSON.stringify(said));
    answer(socket, bytes, behaviour, clock);
  };
  const port = await listenOnLoopback((socket) => {
    socket.once('data', (piece) => {
      if (!piece.toString().startsWith('{')) {
        pageOf(unit.port, piece, socket);
        return;
      }
      const { command } = JSON.parse(String(piece)) as { readonly command: string };
      asked.push(command);
      const saidTo = (one: string): unknown =>
        (behaves.get(one) === 'missing' ? undefined : unit.port[one]) ?? {
          STATUS: [{ STATUS: 'E', When: 1, Code: 14, Msg: 'Invalid command' }],
          id: 1,
        };
      const said =
        unit.joins === true && command.includes('+')
          ? Object.fromEntries(command.split('+').map((one) => [one, [saidTo(one)]]))
          : saidTo(command);
      answer(socket, Buffer.from(`${JSON.stringify(said)}\0`), behaves.get(command), clock);
    });
  });
  const web = await listenOnLoopback((socket) => {
    socket.once('data', (piece) => {
      if (unit.framed !== true) {
        pageOf(unit.web, piece, socket);
        return;
      }
      const text = piece.subarray(4, whatsminerFrameLength(piece) ?? 4).toString();
      const { cmd, param } = JSON.parse(text) as { readonly cmd: string; readonly param?: string };
      const name = param ?? cmd;
      asked.push(name);
      const behaviour = behaves.get(name);
      const said = behaviour === 'missing' ? { code: -2, when: 1, msg: 'invalid param' } : unit.web[name];
      answer(socket, encodeWhatsminerFrame(JSON.stringify(said)), behaviour, clock);
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
