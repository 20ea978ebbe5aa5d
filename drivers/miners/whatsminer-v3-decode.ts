import { findMinerModel } from '../../config/miners/models.ts';
import type { MinerState } from '../load-driver.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  flagOf,
  hashrateThs,
  hottest,
  type MinerFields,
  macOf,
  nothingSaid,
  poolsOf,
} from './reply-fields.ts';
import { recordAt, recordsAt } from './web-json.ts';
import {
  whatsminerControl,
  whatsminerFaults,
  whatsminerLimitWatts,
  whatsminerModel,
} from './whatsminer-decode.ts';

/** `msg` of each read of API 3. */
export interface WhatsminerV3Replies {
  /** get.device.info */
  readonly info?: unknown;
  /** get.miner.status: summary, pools and edevs, as far as they came. */
  readonly status?: unknown;
  readonly edevs?: unknown;
}

export interface WhatsminerV3Context {
  readonly configuredModel: string | null;
  /** A password is at hand. */
  readonly controllable: boolean;
}

/** Without fast boot a start may take half an hour. */
const STARTING_SECONDS = 1800;

/**
 * A reading of API 3. Off, the status answers little or nothing; what the device information says is a reading
 * all the same.
 *
 * Source: MicroBT Whatsminer API 3.0.x; get.device.info recorded from an M60S on 20251209.16.Rel2.
 */
export function decodeWhatsminerV3(replies: WhatsminerV3Replies, context: WhatsminerV3Context): MinerFields {
  const info = recordAt(replies.info);
  const miner = recordAt(info, 'miner');
  const summary = recordAt(replies.status, 'summary');
  const model = whatsminerModel(firstText(miner, 'type'));
  const known = findMinerModel(model) ?? findMinerModel(context.configuredModel);
  const off = isWhatsminerV3Off(replies);
  const ths = hashrateThs(firstNumber(summary, 'hash-realtime', 'hash-1min'), 'TH');
  const watts = firstNumber(summary, 'power-realtime');
  const powerWatts = watts !== null && watts > 0 ? watts : null;
  const powerLimitWatts = whatsminerLimitWatts(firstNumber(summary, 'power-limit'));
  const uptimeSeconds = firstNumber(summary, 'elapsed');
  const factoryThs = firstNumber(summary, 'factory-hash');
  return {
    ...nothingSaid('whatsminer-v3'),
    vendor: 'MicroBT',
    model,
    firmwareVersion: firstText(recordAt(info, 'system'), 'fwversion'),
    macAddress: macOf(recordAt(info, 'network')['mac']),
    serialNumber: firstText(miner, 'miner-sn'),
    state: stateOf(off, ths, isWhatsminerV3SearchOver(replies), uptimeSeconds),
    hashrateThs: ths,
    // -0.001 a board stands for "not known".
    nominalHashrateThs: factoryThs !== null && factoryThs > 0 ? hashrateThs(factoryThs, 'TH') : null,
    powerWatts,
    powerSource: powerWatts === null ? null : 'reported',
    powerLimitWatts,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: hottest(summary['chip-temp-max']),
    boardTemperatureCelsius: hottest(summary['board-temperature']),
    fanRpm: ['fan-speed-in', 'fan-speed-out'].flatMap((name) => {
      const rpm = firstNumber(summary, name);
      return rpm === null || rpm < 0 ? [] : [rpm];
    }),
    uptimeSeconds,
    boards: recordsAt(replies.edevs, 'edevs')
      .slice(0, 16)
      .map((board, position) => ({
        index: firstNumber(board, 'id') ?? position,
        hashrateThs: hashrateThs(firstNumber(board, 'hash-realtime', 'hash-average'), 'TH'),
        chipTemperatureCelsius: hottest(board['chip-temp-max']),
        chipsAlive: firstNumber(board, 'effective-chips'),
        chips: null,
      })),
    pools: poolsOf({ POOLS: recordsAt(replies.status, 'pools') }),
    errors: whatsminerFaults([], info['error-code']),
    control: whatsminerControl(powerLimitWatts, known, context.controllable),
  };
}

/** The mining service was stopped. */
export function isWhatsminerV3Off(replies: WhatsminerV3Replies): boolean {
  return flagOf(recordAt(replies.info, 'miner')['working']) === false;
}

/** The frequency search has ended, so that a percentage is accepted. */
export function isWhatsminerV3SearchOver(replies: WhatsminerV3Replies): boolean {
  return flagOf(recordAt(replies.status, 'summary')['up-freq-finish']) === true;
}

function stateOf(
  off: boolean,
  ths: number | null,
  searchOver: boolean,
  uptimeSeconds: number | null,
): MinerState {
  if (off) return 'sleeping';
  if (ths === null) return 'unknown';
  if (ths > 0) return searchOver ? 'hashing' : 'tuning';
  return uptimeSeconds !== null && uptimeSeconds < STARTING_SECONDS ? 'starting' : 'stopped';
}
