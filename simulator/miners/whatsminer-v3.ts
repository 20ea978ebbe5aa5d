import { createHash } from 'node:crypto';
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
  serveFrames,
  takeEndedTokens,
  whenSeconds,
  wrongPassword,
} from './api-server.ts';
import { poolRecords } from './cgminer-form.ts';
import {
  createWhatsminerUnit,
  isOff,
  serveWhatsminerV2,
  takeLimit,
  takePercent,
  type WhatsminerUnit,
} from './whatsminer.ts';

const FIRMWARE = '20251209.16.Rel2';
/** A token that names a time further away than this is not taken. */
const TOKEN_SECONDS = 1800;

interface Unit {
  readonly whatsminer: WhatsminerUnit;
  salt: string;
}

/** A Whatsminer of API 3.0.2: frames on the second port, API 2 on the first as most of these have it. */
export async function serveWhatsminerV3(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults = {},
): Promise<SimulatedServer> {
  const whatsminer = createWhatsminerUnit(miner, place, faults, FIRMWARE);
  const unit: Unit = { whatsminer, salt: saltOf(whatsminer) };
  const api = await serveWhatsminerV2(whatsminer);
  return combinedWith(
    place,
    api,
    serveFrames(miner, place, (request) => answer(unit, request)),
  );
}

function saltOf(unit: WhatsminerUnit): string {
  return Array.from(
    { length: 8 },
    () => 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789'[Math.floor(unit.random() * 55)],
  ).join('');
}

function answer(unit: Unit, request: ReplyBody): ReplyBody | null {
  const { whatsminer } = unit;
  const command = String(request['cmd'] ?? '');
  const said = (code: number, msg: unknown): ReplyBody => ({
    code,
    when: whenSeconds(whatsminer.place),
    msg,
    desc: command,
  });
  if (command === 'get.device.info') return said(0, deviceInfo(unit));
  if (command === 'get.miner.status') {
    const status = minerStatus(whatsminer, String(request['param'] ?? ''));
    return status === null ? said(-1, 'btminer is not running') : said(0, status);
  }
  if (!command.startsWith('set.')) return said(-2, 'invalid command');
  if (whatsminer.faults.readOnly === true) return said(-4, 'api switch is off');
  if (!mayWrite(unit, command, request)) return said(-4, 'invalid token');
  const done = obey(whatsminer, command, request['param']);
  if (whatsminer.faults.losesAnswers === true) return null;
  return done === null ? said(-2, 'invalid command') : done ? said(0, 'ok') : said(-1, 'failed');
}

function mayWrite(unit: Unit, command: string, request: ReplyBody): boolean {
  const { place, faults } = unit.whatsminer;
  const ts = Number(request['ts']);
  const token = createHash('sha256')
    .update(`${command}${place.password ?? 'super'}${unit.salt}${ts}`)
    .digest('base64')
    .slice(0, 8);
  const right = token === request['token'] && request['account'] === (place.user ?? 'super');
  if (takeEndedTokens(faults)) unit.salt = saltOf(unit.whatsminer);
  else if (right) return Math.abs(whenSeconds(place) - ts) <= TOKEN_SECONDS;
  else wrongPassword(faults);
  return false;
}

function obey(unit: WhatsminerUnit, command: string, parameter: unknown): boolean | null {
  const { miner } = unit;
  switch (command) {
    case 'set.miner.service':
      if (parameter === 'stop' || parameter === 'disable') miner.sleep();
      else if (parameter === 'start' || parameter === 'enable') miner.run(unit.limitWatts);
      else return false;
      return true;
    case 'set.miner.power_percent': {
      const { percent } = parameter as { readonly percent?: unknown };
      return typeof percent === 'string' && takePercent(unit, Number(percent));
    }
    case 'set.miner.power_limit':
      return Number.isInteger(parameter) && takeLimit(unit, Number(parameter));
    case 'set.system.led':
      unit.faults.blinks = Array.isArray(parameter);
      return true;
    default:
      return null;
  }
}

function deviceInfo({ whatsminer, salt }: Unit): ReplyBody {
  const { miner, place, firmware } = whatsminer;
  return {
    miner: {
      'board-num': '3',
      'fast-boot': 'disable',
      'hash-percent': '0',
      'miner-sn': place.serialNumber,
      'pool-strategy': 'FAILOVER',
      type: place.model.replaceAll('-', '_'),
      working: String(!isOff(miner)),
    },
    network: { hostname: 'WhatsMiner', ip: place.host, mac: place.macAddress.toUpperCase(), proto: 'dhcp' },
    power: { fanspeed: fanRpm(miner), mode: '1', model: 'P221B' },
    salt,
    system: { api: '3.0.2', apiswitch: '1', fwversion: firmware, ledstatus: 'auto', platform: 'H616' },
    'error-code': [],
  };
}

/** Off, the mining program is down and with it the status. */
function minerStatus(unit: WhatsminerUnit, parameter: string): ReplyBody | null {
  if (unit.miner.state === 'sleeping') return null;
  const parts: Readonly<Record<string, () => unknown>> = {
    summary: () => summary(unit),
    pools: () =>
      poolRecords(unit.miner.hashrateThs > 0).map((pool) => ({
        account: pool['User'],
        'pool-priority': pool['Priority'],
        status: 'alive',
        'stratum-active': pool['Stratum Active'],
        url: pool['URL'],
      })),
    edevs: () => [0, 1, 2].map((id) => board(unit, id)),
  };
  const names = parameter.split('+').filter((name) => name in parts);
  return names.length === 0 ? null : Object.fromEntries(names.map((name) => [name, parts[name]!()]));
}

function summary({ miner, limitWatts }: WhatsminerUnit): ReplyBody {
  const ths = rounded(miner.hashrateThs, 3);
  const watts = rounded(miner.claimedWatts, 0);
  return {
    elapsed: Math.floor(miner.uptimeMs / 1000),
    'bootup-time': 1323,
    'up-freq-finish': miner.state === 'hashing' ? 1 : 0,
    'hash-realtime': ths,
    'hash-1min': ths,
    'hash-15min': ths,
    'hash-average': ths,
    'factory-hash': miner.traits.normalHashrateThs,
    'power-realtime': watts,
    'power-5min': watts,
    'power-limit': limitWatts,
    'power-rate': ths > 0 ? rounded(watts / ths, 1) : 0,
    'freq-avg': ths > 0 ? 625 : 0,
    'fan-speed-in': fanRpm(miner),
    'fan-speed-out': fanRpm(miner),
    'chip-temp-min': chipCelsius(miner) - 14,
    'chip-temp-max': chipCelsius(miner),
    'chip-temp-avg': chipCelsius(miner) - 6,
    'board-temperature': [0, 1, 2].map((index) => chipCelsius(miner) - 30 - index),
    'environment-temperature': 28.5,
  };
}

function board({ miner }: WhatsminerUnit, id: number): ReplyBody {
  const ths = rounded(miner.hashrateThs / 3, 2);
  return {
    id,
    status: 'alive',
    'hash-realtime': ths,
    'hash-average': ths,
    'factory-hash': rounded(miner.traits.normalHashrateThs / 3, 2),
    freq: 625,
    'effective-chips': 75,
    'chip-temp-min': chipCelsius(miner) - 14,
    'chip-temp-max': chipCelsius(miner),
    'chip-temp-avg': chipCelsius(miner) - 6,
  };
}
