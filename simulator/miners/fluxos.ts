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
import { invalidCommand, poolRecords, type ReplyStyle, reply } from './cgminer-form.ts';
import {
  openTokenDesk,
  type PageAnswer,
  type PageRequest,
  recordOf,
  servePages,
  type TokenDesk,
} from './web-form.ts';

const DESCRIPTION = 'GCMiner-2023-12.27-9bf070ee4408';

interface Unit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly tokens: TokenDesk;
  mode: 'normal' | 'custom';
  watts: number;
}

/** FluxOS of Auradine: rates on the API port; identity, power, mode and writes on pages behind a token. */
export async function serveFluxos(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const unit: Unit = {
    miner,
    place,
    faults,
    tokens: openTokenDesk(faults),
    mode: 'normal',
    watts: miner.traits.normalWatts,
  };
  const style = { place, description: DESCRIPTION };
  const api = await serveApi(miner, place, ({ command }) =>
    JSON.stringify(port(unit, command) ?? invalidCommand(style)),
  );
  return combinedWith(
    place,
    api,
    servePages(miner, place, (request) => page(unit, request)),
  );
}

function isAsleep(miner: SimulatedMiner): boolean {
  return miner.state === 'sleeping' || miner.state === 'stopping';
}

function port(unit: Unit, command: string): ReplyBody | null {
  const { miner, place } = unit;
  const style = { place, description: DESCRIPTION };
  const mhs = rounded(miner.hashrateThs * 1e6, 2);
  switch (command) {
    case 'version':
      return reply(style, 22, 'GCMiner versions', { VERSION: [{ API: '1.0', GCMiner: '0.5' }] });
    case 'summary':
      return reply(style, 11, 'Summary', {
        SUMMARY: [
          { Elapsed: Math.floor(miner.uptimeMs / 1000), 'MHS 5s': mhs, 'MHS 1m': mhs, 'MHS av': mhs },
        ],
      });
    case 'devs':
      return reply(style, 9, '3 ASC(s)', {
        DEVS: [1, 2, 3].map((ID) => ({ ID, DEV: ID, Name: 'ASICBoard', Status: 'Alive', 'MHS 5s': mhs / 3 })),
      });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(mhs > 0) });
    default:
      return null;
  }
}

function page(unit: Unit, request: PageRequest): PageAnswer {
  const { place, tokens, faults } = unit;
  const style = { place, description: 'FluxOS-2023-12.27' };
  const body = recordOf(request.json);
  if (request.path === 'token') {
    const right =
      body['command'] === 'token' &&
      body['user'] === (place.user ?? 'admin') &&
      body['password'] === (place.password ?? 'admin');
    const token = tokens.give(right);
    return {
      json:
        token === null
          ? reply(style, 401, 'Invalid user or password', {}, 'E')
          : reply(style, 700, 'Token', { Token: [{ Token: token }] }),
    };
  }
  if (!tokens.holds(String(request.headers['token'] ?? '')))
    return { json: reply(style, 403, 'Token expired', {}, 'E') };
  if (request.method === 'GET') return { json: show(unit, request.path, style) ?? invalidCommand(style) };
  if (faults.readOnly === true) return { json: reply(style, 45, 'Permission denied', {}, 'E') };
  const answer = body['command'] === request.path ? write(unit, body, style) : null;
  return faults.losesAnswers === true ? null : { json: answer ?? invalidCommand(style) };
}

function write(unit: Unit, body: ReplyBody, style: ReplyStyle): ReplyBody | null {
  const { miner } = unit;
  if (body['command'] === 'led') {
    unit.faults.blinks = body['code'] === 3;
    return reply(style, 530, 'LED');
  }
  if (body['command'] !== 'mode') return null;
  if (body['mode'] === 'custom' && body['tune'] === 'power') {
    const watts = Number(body['power']);
    if (!(watts >= miner.traits.minimumWatts && watts <= miner.traits.normalWatts))
      return reply(style, 541, 'Power out of range', {}, 'E');
    unit.mode = 'custom';
    unit.watts = watts;
    if (!isAsleep(miner)) miner.run(watts);
  } else if (body['sleep'] === 'on') miner.sleep();
  else if (body['sleep'] === 'off') miner.run(unit.watts);
  else return reply(style, 541, 'Invalid mode', {}, 'E');
  return reply(style, 540, 'Operating mode');
}

function show(unit: Unit, path: string, style: ReplyStyle): ReplyBody | null {
  const { miner, place } = unit;
  switch (path) {
    case 'ipreport':
      return reply(style, 620, 'IP Report', {
        IPReport: [
          {
            SerialNo: place.serialNumber,
            hostname: 'teraflux',
            ip: place.host,
            mac: place.macAddress,
            model: place.model,
            version: '2023-12.27',
          },
        ],
      });
    case 'psu':
      return reply(style, 570, 'PSU status', {
        PSU: [{ PowerIn: `${miner.claimedWatts.toFixed(2)}W`, PoutMax: '3452.00W', Vin: '245.00V' }],
      });
    case 'mode':
      return reply(style, 540, 'Operating mode', {
        Mode: [
          {
            Mode: unit.mode,
            Sleep: isAsleep(miner) ? 'on' : 'off',
            ...(unit.mode === 'custom' && { Power: unit.watts }),
          },
        ],
      });
    case 'temperature':
      return reply(style, 590, 'System temperature', {
        Temperature: [1, 2, 3].map((ID) => ({
          ID,
          Name: `Hash Board ${ID}`,
          BoardTemp: [{ ID: 0, Temperature: chipCelsius(miner) - 14 }],
          ChipTemp: [{ ID: 0, Temperature: chipCelsius(miner) }],
        })),
      });
    case 'fan':
      return reply(style, 510, 'Fans', {
        Fan: [1, 2, 3, 4].map((ID) => ({ ID, Speed: fanRpm(miner), Max: 7700 })),
      });
    case 'led':
      return reply(style, 530, 'LEDs', { LED: [{ Code: unit.faults.blinks === true ? 3 : 2 }] });
    default:
      return null;
  }
}
