import type { SimulatedMiner } from '../physics.ts';
import {
  chipCelsius,
  combinedWith,
  fanRpm,
  type MinerWireFaults,
  type ReplyBody,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
} from './api-server.ts';
import { invalidCommand, poolRecords, reply } from './cgminer-form.ts';
import {
  openTokenDesk,
  type PageAnswer,
  type PageRequest,
  recordOf,
  servePages,
  type TokenDesk,
} from './web-form.ts';

const REST_VERSION = '2025-08-14-0-ab12cd34-25.07-plus';
const GRAPHQL_VERSION = '2025-05-20-0-1a2b3c4d-25.05.1-plus';
/** Least power target as a share of the default. */
const LEAST_SHARE = 0.45;

interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly tokens: TokenDesk;
  targetWatts: number;
}

/** Braiins OS 25.07: REST behind a token, and the cgminer emulation without any. */
export function serveBraiins(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  return serve(miner, place, faults, rest);
}

/** Braiins OS 25.05: GraphQL to read, the cgminer emulation to pause and resume. */
export function serveBraiinsGraphql(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  return serve(miner, place, faults, graphql);
}

async function serve(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults,
  pages: (unit: Unit, request: PageRequest) => PageAnswer,
): Promise<SimulatedServer> {
  const unit: Unit = {
    miner,
    place,
    faults,
    tokens: openTokenDesk(faults),
    targetWatts: miner.traits.normalWatts,
  };
  const api = await serveApi(miner, place, ({ command }) => {
    const body = port(unit, command);
    if ((command === 'pause' || command === 'resume') && faults.losesAnswers === true) return null;
    return JSON.stringify(body);
  });
  return combinedWith(
    place,
    api,
    servePages(miner, place, (request) => pages(unit, request)),
  );
}

function isPaused(miner: SimulatedMiner): boolean {
  return miner.state === 'sleeping' || miner.state === 'stopping';
}

function port(unit: Unit, command: string): ReplyBody {
  const { miner, place, faults } = unit;
  const style = { place, description: 'BOSer boser-buildroot 0.1.0-1a2b3c4d' };
  const mhs = rounded(miner.hashrateThs * 1e6, 2);
  switch (command) {
    case 'version':
      return reply(style, 22, 'BOSer versions', {
        VERSION: [{ API: '3.7', BOSer: 'boser-buildroot 0.1.0-1a2b3c4d' }],
      });
    case 'summary':
      return reply(style, 11, 'Summary', {
        SUMMARY: [
          { Elapsed: Math.floor(miner.uptimeMs / 1000), 'MHS 5s': mhs, 'MHS 1m': mhs, 'MHS av': mhs },
        ],
      });
    case 'devs':
      return reply(style, 9, '3 ASC(s)', {
        DEVS: [0, 1, 2].map((ASC) => ({ ASC, Enabled: 'Y', Status: 'Alive', 'MHS 5s': rounded(mhs / 3, 2) })),
      });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(mhs > 0) });
    case 'pause':
    case 'resume':
      if (faults.readOnly === true) return reply(style, 45, `Access denied to '${command}' command`, {}, 'E');
      if (command === 'pause') {
        miner.sleep();
        return reply(style, 8, 'Paused', { PAUSE: [{ Paused: true }] });
      }
      miner.run(unit.targetWatts);
      return reply(style, 9, 'Resumed', { RESUME: [{ Resumed: true }] });
    default:
      return invalidCommand(style);
  }
}

function rest(unit: Unit, request: PageRequest): PageAnswer {
  const { place, tokens, faults } = unit;
  if (!request.path.startsWith('api/v1/')) return { status: 404, text: 'not found' };
  const page = request.path.slice('api/v1/'.length);
  if (page === 'auth/login') {
    const { username, password } = recordOf(request.json);
    const token = tokens.give(username === (place.user ?? 'root') && password === (place.password ?? ''));
    return token === null ? { status: 401, text: 'Unauthorized' } : { json: { token, timeout_s: 3600 } };
  }
  if (!tokens.holds(request.headers.authorization)) return { status: 401, text: 'Unauthorized' };
  if (request.method === 'GET') {
    const body = show(unit, page);
    return body === null ? { status: 404, text: 'not found' } : { json: body };
  }
  if (faults.readOnly === true) return { status: 403, text: 'Forbidden' };
  const answer = write(unit, page, request.json);
  return faults.losesAnswers === true ? null : answer;
}

function write(unit: Unit, page: string, body: unknown): PageAnswer {
  const { miner } = unit;
  switch (page) {
    case 'actions/pause': {
      const already = isPaused(miner);
      miner.sleep();
      return { json: already };
    }
    case 'actions/resume': {
      const already = !isPaused(miner);
      miner.run(unit.targetWatts);
      return { json: already };
    }
    case 'actions/locate':
      unit.faults.blinks = body === true;
      return { json: unit.faults.blinks };
    case 'performance/power-target': {
      const watts = Number(recordOf(body)['watt']);
      const { min, max } = range(unit);
      if (!Number.isInteger(watts) || watts < min || watts > max)
        return { status: 422, text: `power target must be between ${min} and ${max} W` };
      unit.targetWatts = watts;
      if (!isPaused(miner)) miner.run(watts);
      return { json: { watt: watts } };
    }
    default:
      return { status: 404, text: 'not found' };
  }
}

function range({ miner }: Unit): { readonly min: number; readonly max: number } {
  const { normalWatts } = miner.traits;
  return { min: Math.round(normalWatts * LEAST_SHARE), max: normalWatts };
}

function show(unit: Unit, page: string): unknown {
  const { miner, place } = unit;
  const ghs = rounded(miner.hashrateThs * 1000, 2);
  const nominal = { gigahash_per_second: miner.traits.normalHashrateThs * 1000 };
  const rate = { gigahash_per_second: ghs };
  const windows = Object.fromEntries(['5s', '15s', '1m', '5m', '15m'].map((name) => [`last_${name}`, rate]));
  switch (page) {
    case 'miner/details':
      return {
        bos_version: { current: REST_VERSION, bos_plus: true },
        hostname: 'miner',
        mac_address: place.macAddress,
        miner_identity: { brand: 1, miner_model: place.model, name: place.model },
        serial_number: place.serialNumber,
        status: isPaused(miner) ? 3 : 2,
        sticker_hashrate: nominal,
        bosminer_uptime_s: Math.floor(miner.uptimeMs / 1000),
      };
    case 'miner/stats':
      return {
        miner_stats: { nominal_hashrate: nominal, real_hashrate: windows },
        pool_stats: { accepted_shares: 10464, rejected_shares: 18, stale_shares: 0 },
        power_stats: { approximated_consumption: { watt: Math.round(miner.claimedWatts) } },
      };
    case 'miner/hw/hashboards':
      return {
        hashboards: [1, 2, 3].map((id) => ({
          id: String(id),
          enabled: true,
          chips_count: 108,
          board_temp: { degree_c: chipCelsius(miner) - 12 },
          highest_chip_temp: { temperature: { degree_c: chipCelsius(miner) } },
          stats: { real_hashrate: { last_5s: { gigahash_per_second: rounded(ghs / 3, 2) } } },
        })),
      };
    case 'miner/errors':
      return { errors: [] };
    case 'cooling/state':
      return { fans: [0, 1, 2, 3].map((position) => ({ position, rpm: fanRpm(miner) })) };
    case 'pools/':
      return [
        {
          uid: '1',
          pools: poolRecords(ghs > 0).map((pool) => ({
            url: pool['URL'],
            user: pool['User'],
            enabled: true,
            alive: true,
          })),
        },
      ];
    case 'performance/tuner-state':
      return {
        overall_tuner_state: 2,
        mode_state: {
          powertargetmodestate: {
            current_target: { watt: unit.targetWatts },
            profile: { target: { watt: unit.targetWatts } },
          },
        },
      };
    case 'configuration/constraints': {
      const { min, max } = range(unit);
      return {
        tuner_constraints: {
          power_target: { default: { watt: max }, min: { watt: min }, max: { watt: max } },
        },
      };
    }
    default:
      return null;
  }
}

/** The parts of the schema that a query names, each answered whole. */
function graphql(unit: Unit, request: PageRequest): PageAnswer {
  if (request.method !== 'POST' || request.path !== 'graphql') return { status: 404, text: 'not found' };
  const query = String(recordOf(request.json)['query'] ?? '');
  const { miner, place } = unit;
  const mhs = rounded(miner.hashrateThs * 1e6, 2);
  const nominalMhs = miner.traits.normalHashrateThs * 1e6;
  const info: Record<string, unknown> = {};
  const workSolver: Record<string, unknown> = { nominalMhs, realHashrate: { mhs5S: mhs } };
  if (query.includes('childSolvers'))
    workSolver['childSolvers'] = [1, 2, 3].map((name) => ({
      name: String(name),
      nominalMhs: nominalMhs / 3,
      realHashrate: { mhs5S: rounded(mhs / 3, 2) },
      temperatures: [
        { name: 'Board', degreesC: chipCelsius(miner) - 12 },
        { name: 'Chip', degreesC: chipCelsius(miner) },
      ],
      hwDetails: { chips: 108 },
    }));
  if (query.includes('poolGroups'))
    info['poolGroups'] = [
      {
        name: 'Default',
        pools: poolRecords(mhs > 0).map((pool) => ({
          active: pool['Stratum Active'],
          shares: { acceptedSolutions: pool['Accepted'], rejectedSolutions: pool['Rejected'] },
          status: 'ALIVE',
          url: pool['URL'],
          user: pool['User'],
        })),
      },
    ];
  if (query.includes('modelName')) info['modelName'] = place.model;
  if (query.includes('workSolver')) info['workSolver'] = workSolver;
  if (query.includes('fans'))
    info['fans'] = [1, 2, 3, 4].map((name) => ({ name, rpm: fanRpm(miner), speed: 60 }));
  if (query.includes('power'))
    info['summary'] = {
      power: { approxConsumptionW: Math.round(miner.claimedWatts), limitW: unit.targetWatts },
    };
  const bos = {
    hostname: 'miner',
    faultLight: false,
    info: { version: { full: GRAPHQL_VERSION } },
    uptime: { durationS: Math.floor(miner.uptimeMs / 1000) },
  };
  return { json: { data: { ...(query.includes('bos{') && { bos }), bosminer: { info } } } };
}
