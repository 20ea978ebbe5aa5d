import { seededRandom } from '../../protocols/random.ts';
import {
  decryptWhatsminerText,
  encryptWhatsminerText,
  openWhatsminerSession,
  type WhatsminerSession,
} from '../../protocols/whatsminer-crypto.ts';
import type { SimulatedMiner } from '../physics.ts';
import {
  chipCelsius,
  combined,
  fanRpm,
  type MinerWireFaults,
  monotonicMs,
  type OpenServer,
  type ReplyBody,
  rounded,
  type SimulatedMinerPlace,
  type SimulatedServer,
  serveApi,
  takeEndedTokens,
  whenSeconds,
  wrongPassword,
} from './api-server.ts';
import { poolRecords, reply } from './cgminer-form.ts';

const FIRMWARE = '20230803.11.REL';

/** What a Whatsminer remembers beside its physics, in whichever dialect it is spoken to. */
export interface WhatsminerUnit {
  readonly miner: SimulatedMiner;
  readonly place: SimulatedMinerPlace;
  readonly faults: MinerWireFaults;
  readonly firmware: string;
  readonly random: () => number;
  /** What `adjust_power_limit` set: it lasts, percentages do not. */
  limitWatts: number;
  token: { readonly session: WhatsminerSession; readonly endsMs: number } | null;
}

/** A Whatsminer of API 2.0.5: plain reads, writes behind a token and AES. */
export async function serveWhatsminer(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const unit = createWhatsminerUnit(miner, place, faults, FIRMWARE);
  return combined(place, await serveWhatsminerV2(unit), null);
}

/** A unit at its rated limit, without a token. */
export function createWhatsminerUnit(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults,
  firmware: string,
): WhatsminerUnit {
  const seed = [...place.macAddress].reduce((sum, character) => sum * 31 + character.charCodeAt(0), 7);
  return {
    miner,
    place,
    faults,
    firmware,
    random: seededRandom(seed),
    limitWatts: miner.traits.normalWatts,
    token: null,
  };
}

/** API 2 on the API port. */
export function serveWhatsminerV2(unit: WhatsminerUnit): Promise<OpenServer> {
  return serveApi(unit.miner, unit.place, ({ json, command }) => {
    if (json?.['enc'] === 1) return answerSealed(unit, String(json['data'] ?? ''));
    if (command === 'get_token') return JSON.stringify(flat(unit, 131, giveToken(unit)));
    const body = read(unit, command) ?? flat(unit, 14, 'invalid cmd', 'E');
    // btminer ends some of its answers with a newline as well.
    return `${JSON.stringify(body)}\n`;
  });
}

function flat(unit: WhatsminerUnit, code: number, message: unknown, letter: 'S' | 'E' = 'S'): ReplyBody {
  return { STATUS: letter, When: whenSeconds(unit.place), Code: code, Msg: message, Description: '' };
}

/** Told to rest. */
export function isOff(miner: SimulatedMiner): boolean {
  return miner.state === 'sleeping' || miner.state === 'stopping';
}

function read(unit: WhatsminerUnit, command: string): ReplyBody | null {
  const { miner, place } = unit;
  const style = { place, description: 'cgminer 4.9.2' };
  const mhs = rounded(miner.hashrateThs * 1e6, 2);
  const factoryGhs = Math.round(miner.traits.normalHashrateThs * 1000);
  const elapsed = Math.floor(miner.uptimeMs / 1000);
  switch (command) {
    case 'summary':
      return reply(style, 11, 'Summary', { SUMMARY: [summary(unit, mhs, factoryGhs, elapsed)] });
    case 'devs':
    case 'edevs':
      return reply(style, 9, '3 ASC(s)', {
        DEVS: [0, 1, 2].map((slot) => ({
          ASC: slot,
          Name: 'SM',
          Slot: slot,
          Enabled: 'Y',
          Status: 'Alive',
          'MHS av': rounded(mhs / 3, 2),
          'MHS 5s': rounded(mhs / 3, 2),
          Temperature: chipCelsius(miner) - 10,
          'Chip Temp Max': chipCelsius(miner),
          'Effective Chips': 135,
          'Factory GHS': Math.round(factoryGhs / 3),
          'Upfreq Complete': miner.state === 'hashing' ? 1 : 0,
        })),
      });
    case 'pools':
      return reply(style, 7, '2 Pool(s)', { POOLS: poolRecords(mhs > 0) });
    case 'devdetails':
      return reply(style, 69, 'Device Details', {
        DEVDETAILS: [{ DEVDETAILS: 0, Name: 'SM', ID: 0, Driver: 'bitmicro', Model: place.model }],
      });
    case 'status':
      return flat(unit, 131, {
        mineroff: String(isOff(miner)),
        mineroff_reason: '',
        mineroff_time: '',
        FirmwareVersion: unit.firmware,
        power_mode: 'normal',
        power_limit_set: String(unit.limitWatts),
        hash_percent: '0',
      });
    case 'get_version':
      return flat(unit, 131, { api_ver: '2.0.5', fw_ver: unit.firmware, platform: 'H616', chip: 'K34' });
    case 'get_miner_info':
      return flat(unit, 131, {
        hostname: 'WhatsMiner',
        mac: place.macAddress.toUpperCase(),
        ledstat: 'auto',
        minersn: place.serialNumber,
      });
    case 'get_error_code':
      return flat(unit, 131, { error_code: [] });
    case 'get_psu':
      return flat(unit, 131, { name: 'P222B', model: 'P222B', pin: String(Math.round(miner.claimedWatts)) });
    default:
      return null;
  }
}

function summary(unit: WhatsminerUnit, mhs: number, factoryGhs: number, elapsed: number): ReplyBody {
  const { miner, place } = unit;
  return {
    Elapsed: elapsed,
    'MHS av': mhs,
    'MHS 5s': mhs,
    'MHS 1m': mhs,
    'MHS 5m': mhs,
    'MHS 15m': mhs,
    'HS RT': mhs,
    Accepted: 5412,
    Rejected: 0,
    Temperature: chipCelsius(miner) - 10,
    freq_avg: miner.hashrateThs > 0 ? 600 : 0,
    'Fan Speed In': fanRpm(miner),
    'Fan Speed Out': fanRpm(miner),
    Power: Math.round(miner.claimedWatts),
    'Power Rate': miner.hashrateThs > 0 ? rounded(miner.claimedWatts / miner.hashrateThs, 2) : 0,
    'Power Limit': unit.limitWatts,
    'Power Mode': 'Normal',
    'Factory GHS': factoryGhs,
    'Chip Temp Min': chipCelsius(miner) - 15,
    'Chip Temp Max': chipCelsius(miner),
    'Chip Temp Avg': chipCelsius(miner) - 6,
    'Env Temp': 28,
    'Hash Stable': miner.state === 'hashing',
    'Upfreq Complete': miner.state === 'hashing' ? 1 : 0,
    'Liquid Cooling': false,
    MAC: place.macAddress.toUpperCase(),
    'Firmware Version': `'${unit.firmware}'`,
    Uptime: elapsed,
  };
}

/** Tokens live 30 min. */
const TOKEN_MS = 30 * 60_000;

function giveToken(unit: WhatsminerUnit): ReplyBody {
  const letters = (count: number): string =>
    Array.from({ length: count }, () => SALT_LETTERS[Math.floor(unit.random() * SALT_LETTERS.length)]).join(
      '',
    );
  const challenge = {
    time: String(1000 + Math.floor(unit.random() * 9000)),
    salt: letters(8),
    newsalt: letters(8),
  };
  unit.token = {
    session: openWhatsminerSession(unit.place.password ?? 'admin', challenge),
    endsMs: monotonicMs(unit.place) + TOKEN_MS,
  };
  return challenge;
}

const SALT_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

function answerSealed(unit: WhatsminerUnit, data: string): string | null {
  const { token } = unit;
  if (token === null) return JSON.stringify(flat(unit, 135, 'check token error', 'E'));
  if (unit.faults.readOnly === true) return JSON.stringify(flat(unit, 45, "can't access write cmd", 'E'));
  const text = decryptWhatsminerText(token.session.aesKey, data);
  if (text === null) {
    wrongPassword(unit.faults);
    return JSON.stringify(flat(unit, 23, 'enc json load err', 'E'));
  }
  const order = JSON.parse(text) as ReplyBody;
  const expired = monotonicMs(unit.place) >= token.endsMs || takeEndedTokens(unit.faults);
  const body =
    expired || order['token'] !== token.session.sign
      ? flat(unit, 135, 'check token error', 'E')
      : obey(unit, String(order['cmd'] ?? order['command']), order);
  if (unit.faults.losesAnswers === true) return null;
  return JSON.stringify({ enc: encryptWhatsminerText(token.session.aesKey, JSON.stringify(body)) });
}

function obey(unit: WhatsminerUnit, command: string, order: ReplyBody): ReplyBody {
  const { miner } = unit;
  const done = flat(unit, 131, 'API command OK');
  const failed = flat(unit, 132, 'API command ERROR', 'E');
  switch (command) {
    case 'power_off':
      miner.sleep();
      return done;
    case 'power_on':
      miner.run(unit.limitWatts);
      return done;
    case 'set_power_pct':
      return takePercent(unit, Number(order['percent'])) ? done : failed;
    case 'adjust_power_limit':
      return takeLimit(unit, Number(order['power_limit'])) ? done : failed;
    case 'set_led':
      unit.faults.blinks = order['param'] !== 'auto';
      return done;
    default:
      return flat(unit, 14, 'invalid cmd', 'E');
  }
}

/** A share of the limit in force; refused until the frequency search has ended. */
export function takePercent(unit: WhatsminerUnit, percent: number): boolean {
  if (unit.miner.state !== 'hashing' || !(percent > 0 && percent <= 100)) return false;
  unit.miner.run((unit.limitWatts * percent) / 100);
  return true;
}

/** The lasting limit, not above what the model is rated for. */
export function takeLimit(unit: WhatsminerUnit, watts: number): boolean {
  if (!(watts > 0 && watts <= 99_999)) return false;
  unit.limitWatts = Math.min(watts, unit.miner.traits.normalWatts);
  if (!isOff(unit.miner)) unit.miner.run(unit.limitWatts);
  return true;
}
