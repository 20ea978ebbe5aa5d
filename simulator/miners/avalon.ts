import { systemClock } from '../../protocols/clock.ts';
import type { SimulatedMiner } from '../physics.ts';
import {
  chipCelsius,
  combined,
  fanRpm,
  type MinerWireFaults,
  type ReplyBody,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
  whenSeconds,
} from './api-server.ts';
import { invalidCommand, poolRecords, reply } from './cgminer-form.ts';

/** Watts of the modes that a home unit has. */
const HOME_MODES = [800, 1300, 1674] as const;

interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly isHome: boolean;
  softOff: boolean;
  workMode: number;
}

/** An Avalon: one long string of figures, and `ascset` for everything that can be changed; no password. */
export async function serveAvalon(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const isHome = place.model === 'Q';
  const unit: Unit = { miner, place, faults, isHome, softOff: false, workMode: isHome ? 2 : 0 };
  const style = { place, description: 'cgminer 4.11.1' };
  const api = await serveApi(miner, place, ({ command, parameter }) => {
    if (command !== 'ascset') return JSON.stringify(read(unit, command) ?? invalidCommand(style));
    const answer = faults.readOnly === true ? failed(unit, 'not permitted') : set(unit, parameter);
    return faults.losesAnswers === true ? null : JSON.stringify(answer);
  });
  return combined(place, api, null);
}

function failed(unit: Unit, why: string): ReplyBody {
  const style = { place: unit.place, description: 'cgminer 4.11.1' };
  return reply(style, 120, `ASC 0 set failed: ${why}`, {}, 'E');
}

function set(unit: Unit, parameter: string): ReplyBody {
  const { miner, place } = unit;
  const style = { place, description: 'cgminer 4.11.1' };
  const [asc, option = '', ...values] = parameter.split(',');
  if (asc !== '0') return reply(style, 107, 'Invalid ASC id', {}, 'E');
  switch (option) {
    case 'softoff':
    case 'softon': {
      const atSeconds = Number(values[0]?.replace(/^1:/, ''));
      const now = whenSeconds(place);
      if (!Number.isInteger(atSeconds) || atSeconds < now) return failed(unit, 'invalid time');
      (place.clock ?? systemClock).after((atSeconds - now) * 1000, () => {
        unit.softOff = option === 'softoff';
        if (unit.softOff) miner.sleep();
        else miner.run(unit.isHome ? HOME_MODES[unit.workMode]! : null);
      });
      return reply(style, 118, `ASC 0 set info: success ${option}:${atSeconds}`, {}, 'I');
    }
    case 'workmode': {
      const mode = Number(values.at(-1));
      if (!unit.isHome || HOME_MODES[mode] === undefined) return failed(unit, 'invalid workmode');
      unit.workMode = mode;
      if (!unit.softOff) miner.run(HOME_MODES[mode]!);
      return reply(style, 119, 'ASC 0 set OK');
    }
    case 'led':
      unit.faults.blinks = values[0] === '1-1';
      return reply(style, 119, 'ASC 0 set OK');
    default:
      return failed(unit, 'unknown option');
  }
}

function read(unit: Unit, command: string): ReplyBody | null {
  const { miner, place } = unit;
  const style = { place, description: 'cgminer 4.11.1' };
  const mhs = Math.round(miner.hashrateThs * 1e6);
  switch (command) {
    case 'version':
      return reply(style, 22, 'CGMiner versions', {
        VERSION: [
          {
            CGMiner: '4.11.1',
            API: '3.7',
            PROD: `AvalonMiner ${place.model}`,
            MODEL: place.model,
            VERSION: '24102401_25462b2_9ddf522',
            DNA: place.serialNumber,
            MAC: place.macAddress.replaceAll(':', ''),
          },
        ],
      });
    case 'summary':
      return reply(style, 11, 'Summary', {
        SUMMARY: [
          { Elapsed: Math.floor(miner.uptimeMs / 1000), 'MHS av': mhs, 'MHS 5s': mhs, 'MHS 1m': mhs },
        ],
      });
    case 'stats':
    case 'estats':
    case 'litestats':
      return reply(style, 70, 'CGMiner stats', {
        STATS: [{ STATS: 0, ID: 'AVA100', 'MM ID0': figures(unit) }],
      });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(mhs > 0) });
    case 'devs':
      return reply(style, 9, '1 ASC(s)', {
        DEVS: [{ ASC: 0, Enabled: 'Y', Status: 'Alive', 'MHS 5s': mhs }],
      });
    default:
      return null;
  }
}

function figures(unit: Unit): string {
  const { miner, place } = unit;
  const ghs = (miner.hashrateThs * 1000).toFixed(2);
  const celsius = chipCelsius(miner);
  const wall = Math.round(miner.claimedWatts);
  const works = miner.hashrateThs > 0;
  return [
    `Ver[${place.model}-24102401_25462b2_9ddf522]`,
    `DNA[${place.serialNumber}]`,
    `SYSTEMSTATU[Work: In ${works ? 'Work' : 'Idle'}, Hash Board: 3 ]`,
    `Elapsed[${Math.floor(miner.uptimeMs / 1000)}]`,
    `Temp[28] TMax[${celsius}] TAvg[${celsius - 6}]`,
    ...[1, 2, 3, 4].map((fan) => `Fan${fan}[${fanRpm(miner)}]`),
    // DC output, 7 % below what the wall gives.
    `PS[0 1214 1316 242 ${Math.round(wall * 0.93)} 1320 ${wall}]`,
    `GHSspd[${ghs}] GHSmm[${(miner.traits.normalHashrateThs * 1000).toFixed(2)}] GHSavg[${ghs}]`,
    `MGHS[${[0, 1, 2].map(() => ((miner.hashrateThs * 1000) / 3).toFixed(2)).join(' ')}]`,
    `MTmax[${celsius} ${celsius - 1} ${celsius - 1}] TA[360]`,
    `SoftOFF[${unit.softOff ? 4 : 0}] WORKMODE[${unit.workMode}]`,
    'ECHU[0 0 0] ECMM[0] POOLS[0] POWS[0] CRC[0 0 0]',
  ].join(' ');
}
