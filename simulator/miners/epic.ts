import type { SimulatedMiner } from '../physics.ts';
import {
  chipCelsius,
  combined,
  fanRpm,
  type MinerWireFaults,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  wrongPassword,
} from './api-server.ts';
import { type PageAnswer, type PageRequest, recordOf, servePages } from './web-form.ts';

/** Presets of a recorded S19 XP, as shares of its nominal power and hashrate. */
const SHARES: readonly (readonly [watts: number, ths: number])[] = [
  [1700, 80],
  [2200, 100],
  [2700, 120],
  [3010, 140],
];
const [NOMINAL_WATTS, NOMINAL_THS] = [3010, 140];
const LEAST_THS = 60;

interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly presets: readonly { readonly power: number; readonly hashrate: number }[];
  targetThs: number;
  tunes: boolean;
}

/** ePIC PowerPlay: HTTP on the API port; every write carries the password and is answered with yes or no. */
export async function serveEpic(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const { normalWatts, normalHashrateThs } = miner.traits;
  const unit: Unit = {
    miner,
    place,
    faults,
    presets: SHARES.map(([watts, ths]) => ({
      power: Math.round((watts / NOMINAL_WATTS) * normalWatts),
      hashrate: Math.round((ths / NOMINAL_THS) * normalHashrateThs),
    })),
    targetThs: Math.round(normalHashrateThs),
    tunes: true,
  };
  const api = await servePages(miner, place, (request) => answer(unit, request), place.port);
  return combined(place, api, null);
}

function answer(unit: Unit, request: PageRequest): PageAnswer {
  if (request.method === 'GET') {
    const body = show(unit, request.path);
    return body === null ? { status: 404, text: 'Not Found' } : { json: body };
  }
  const { param, password } = recordOf(request.json);
  if (password !== (unit.place.password ?? 'letmein')) {
    wrongPassword(unit.faults);
    return { json: { result: false, error: 'Incorrect password' } };
  }
  if (unit.faults.readOnly === true) return { json: { result: false, error: 'Command not available' } };
  const error = write(unit, request.path, param);
  return unit.faults.losesAnswers === true ? null : { json: { result: error === null, error } };
}

function write(unit: Unit, path: string, param: unknown): string | null {
  const { miner } = unit;
  switch (path) {
    case 'miner':
      if (param === 'Stop') miner.sleep();
      else if (param === 'Autostart') miner.run(wattsOf(unit));
      else return 'Unknown command';
      return null;
    case 'perpetualtune':
      unit.tunes = param === true;
      return null;
    case 'perpetualtune/algo': {
      const { algo, target } = recordOf(param);
      const ths = Number(target);
      if (algo !== 'VoltageOptimizer' && algo !== 'ChipTune') return 'Algorithm not supported';
      if (!(ths >= LEAST_THS && ths <= 300)) return 'Target out of range';
      unit.targetThs = ths;
      if (!isIdle(miner)) miner.run(wattsOf(unit));
      return null;
    }
    default:
      return 'Unknown command';
  }
}

/** What the target draws: between its presets in proportion. */
function wattsOf({ presets, targetThs }: Unit): number {
  const above = presets.findIndex(({ hashrate }) => hashrate >= targetThs);
  if (above < 0) return presets.at(-1)!.power;
  const [high, low] = [presets[above]!, presets[above - 1] ?? { power: 0, hashrate: 0 }];
  const part = (targetThs - low.hashrate) / (high.hashrate - low.hashrate);
  return low.power + part * (high.power - low.power);
}

function isIdle(miner: SimulatedMiner): boolean {
  return miner.state === 'sleeping' || miner.state === 'stopping';
}

function show(unit: Unit, path: string): unknown {
  const { miner, place } = unit;
  switch (path) {
    case '':
      return null;
    case 'summary':
      return summary(unit);
    case 'network':
      return { dhcp: { address: place.host, mac_address: place.macAddress.toUpperCase() } };
    case 'capabilities':
      return {
        Model: place.model,
        'Model Subtype': 'BHB56801',
        'Default Hashrate': Math.round(miner.traits.normalHashrateThs),
        'Max HBs': 3,
        'Performance Estimator': { 'Chip Count': 110 },
        'Temp Sensor Info': { Count: 2, Type: 'Board' },
        PerpetualTune: ['VoltageOptimizer', 'ChipTune'].map((algorithm) => ({
          algorithm,
          min: LEAST_THS,
          max: 300,
        })),
        'Tune Presets': unit.presets,
      };
    default:
      return null;
  }
}

function summary(unit: Unit): unknown {
  const { miner } = unit;
  const state = { hashing: 'Mining', starting: 'Initializing', sleeping: 'Idling', stopping: 'Idling' };
  const mhs = rounded((miner.hashrateThs * 1e6) / 3, 1);
  return {
    Software: 'PowerPlay-BMS v1.5.13',
    Hostname: 'cminer',
    'Fans Rpm': Object.fromEntries([1, 2, 3, 4].map((fan) => [`Fans Speed ${fan}`, fanRpm(miner)])),
    HBStatus: [0, 1, 2].map((Index) => ({ Detected: true, Enabled: true, Index })),
    HBs: isIdle(miner)
      ? []
      : [0, 1, 2].map((Index) => ({ Hashrate: [mhs, 100, 0.8], Index, Temperature: chipCelsius(miner) - 8 })),
    Session: {
      'Average MHs': rounded(miner.hashrateThs * 1e6, 1),
      Uptime: Math.floor(miner.uptimeMs / 1000),
      Accepted: 1862,
      Rejected: 2,
    },
    'Power Supply Stats': { 'Input Power': rounded(miner.claimedWatts, 4), 'Input Voltage': 0 },
    Status: { 'Last Error': null, 'Operating State': state[miner.state] },
    PerpetualTune: {
      Algorithm: {
        VoltageOptimizer: {
          'Min Throttle Target': 50,
          Target: unit.targetThs,
          'Throttle Step': 5,
          Unit: 'TH/s',
        },
      },
      Running: unit.tunes,
    },
    Stratum: { 'Config Id': 0, IsPoolConnected: !isIdle(miner) },
    StratumConfigs: ['pool-a', 'pool-b'].map((name) => ({
      pool: `stratum+tcp://${name}.example:3333`,
      login: 'acct.worker',
    })),
  };
}
