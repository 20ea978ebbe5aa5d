import { BRAIINS_TIMING } from '../../config/miners/timing.ts';
import type { Watts } from '../../protocols/units.ts';
import type { DeviceFault, LoadControl, MinerBoard, MinerPool, MinerState } from '../load-driver.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  hottest,
  type MinerFields,
  macOf,
  nothingSaid,
  rejectedPercent,
} from './reply-fields.ts';
import { recordAt, recordsAt } from './web-json.ts';

/** Answers of the REST interface below /api/v1/, by what they tell. */
export interface BraiinsRestReplies {
  /** miner/details */
  readonly details?: unknown;
  /** miner/stats */
  readonly stats?: unknown;
  /** miner/hw/hashboards */
  readonly hashboards?: unknown;
  /** miner/errors */
  readonly errors?: unknown;
  /** performance/tuner-state */
  readonly tuner?: unknown;
  /** cooling/state */
  readonly cooling?: unknown;
  /** pools/ */
  readonly pools?: unknown;
  /** configuration/constraints */
  readonly constraints?: unknown;
}

/** Answers of GraphQL, whole, by what was asked. */
export interface BraiinsGraphqlReplies {
  readonly system?: unknown;
  readonly boards?: unknown;
  readonly pools?: unknown;
  readonly model?: unknown;
}

/** `status` of miner/details. Source: Braiins public API. */
const STATUS = { notStarted: 1, normal: 2, paused: 3, suspended: 4, restricted: 5 } as const;
/** `overall_tuner_state`. Source: Braiins public API. */
const TUNER = { disabled: 1, tuning: 3 } as const;
/** The error list is a log that keeps years; what is shown of it is bounded. */
const MOST_ERRORS = 20;

/**
 * A reading over REST. Watts are what the firmware reports: a model of the hash boards unless the supply
 * has a meter. The limit is the power target in force, which may be below the one set while it is hot.
 *
 * Source: Braiins public API of 25.07; replies recorded from an S19 XP on 25.07-plus.
 */
export function decodeBraiinsRest(replies: BraiinsRestReplies, controllable = false): MinerFields {
  const details = recordAt(replies.details);
  const stats = recordAt(replies.stats, 'miner_stats');
  const ths = rateOf(recordAt(stats, 'real_hashrate'));
  const nominalThs = gigahash(recordAt(stats, 'nominal_hashrate'));
  const powerWatts = notNegative(
    firstNumber(recordAt(replies.stats, 'power_stats', 'approximated_consumption'), 'watt'),
  );
  const boards = recordsAt(replies.hashboards, 'hashboards');
  const { current: firmwareVersion } = recordAt(details, 'bos_version');
  return {
    ...nothingSaid('braiins'),
    vendor: 'Bitmain',
    model: firstText(recordAt(details, 'miner_identity'), 'miner_model', 'name'),
    firmwareVersion: firstText({ firmwareVersion }, 'firmwareVersion'),
    macAddress: macOf(details['mac_address']),
    serialNumber: firstText(details, 'serial_number'),
    state: restState(replies, ths, nominalThs),
    hashrateThs: ths,
    nominalHashrateThs: nominalThs ?? gigahash(recordAt(details, 'sticker_hashrate')),
    powerWatts,
    powerSource: powerWatts === null ? null : 'reported',
    powerLimitWatts: restLimit(replies.tuner),
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: hottest(boards.map(chipOf)),
    boardTemperatureCelsius: hottest(
      boards.map((board) => firstNumber(recordAt(board, 'board_temp'), 'degree_c')),
    ),
    fanRpm: fansOf(recordsAt(replies.cooling, 'fans')),
    uptimeSeconds: firstNumber(details, 'bosminer_uptime_s'),
    rejectedPercent: rejectedPercent([recordAt(replies.stats, 'pool_stats')]),
    boards: boards.map(restBoard),
    pools: groupsOf(replies.pools).flatMap((group) => recordsAt(group, 'pools').map(restPool)),
    errors: errorsOf(recordsAt(replies.errors, 'errors')),
    control: controlOf(replies.constraints, controllable),
  };
}

/**
 * A reading over GraphQL, as releases up to 25.05 answer it. They tell neither MAC nor serial number there.
 *
 * Source: replies recorded from an S9 on 22.08-plus and an S21+ on 25.05.1-plus.
 */
export function decodeBraiinsGraphql(replies: BraiinsGraphqlReplies): MinerFields {
  const bos = recordAt(replies.system, 'data', 'bos');
  const info = recordAt(replies.system, 'data', 'bosminer', 'info');
  const solver = recordAt(info, 'workSolver');
  const power = recordAt(info, 'summary', 'power');
  const ths = hashrateThs(firstNumber(recordAt(solver, 'realHashrate'), 'mhs5S'), 'MH');
  const powerWatts = notNegative(firstNumber(power, 'approxConsumptionW'));
  const boards = recordsAt(replies.boards, 'data', 'bosminer', 'info', 'workSolver', 'childSolvers');
  const groups = recordsAt(replies.pools, 'data', 'bosminer', 'info', 'poolGroups');
  const pools = groups.flatMap((group) => recordsAt(group, 'pools'));
  return {
    ...nothingSaid('braiins'),
    vendor: 'Bitmain',
    model: firstText(recordAt(replies.model, 'data', 'bosminer', 'info'), 'modelName'),
    firmwareVersion: firstText(recordAt(bos, 'info', 'version'), 'full'),
    state: ths === null ? 'unknown' : ths > 0 ? 'hashing' : 'stopped',
    hashrateThs: ths,
    nominalHashrateThs: hashrateThs(firstNumber(solver, 'nominalMhs'), 'MH'),
    powerWatts,
    powerSource: powerWatts === null ? null : 'reported',
    powerLimitWatts: positive(firstNumber(power, 'limitW')),
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: hottest(boards.map((board) => sensorOf(board, /chip/i))),
    boardTemperatureCelsius: hottest(boards.map((board) => sensorOf(board, /board/i))),
    fanRpm: fansOf(recordsAt(info, 'fans')),
    uptimeSeconds: firstNumber(recordAt(bos, 'uptime'), 'durationS'),
    rejectedPercent: rejectedPercent(pools.map((pool) => recordAt(pool, 'shares'))),
    boards: boards.map((board, position) => ({
      index: firstNumber(board, 'name') ?? position,
      hashrateThs: hashrateThs(firstNumber(recordAt(board, 'realHashrate'), 'mhs5S'), 'MH'),
      chipTemperatureCelsius: hottest(sensorOf(board, /chip/i)),
      chipsAlive: null,
      chips: firstNumber(recordAt(board, 'hwDetails'), 'chips'),
    })),
    pools: pools.map((pool) => ({
      url: firstText(pool, 'url') ?? '',
      user: firstText(pool, 'user'),
      status: poolStatus(firstText(pool, 'status')),
      priority: null,
    })),
  };
}

/** Told to pause. */
export function isPaused(details: unknown): boolean {
  return firstNumber(recordAt(details), 'status') === STATUS.paused;
}

function restState(replies: BraiinsRestReplies, ths: number | null, nominalThs: number | null): MinerState {
  const tuner = firstNumber(recordAt(replies.tuner), 'overall_tuner_state');
  switch (firstNumber(recordAt(replies.details), 'status')) {
    case STATUS.notStarted:
    case STATUS.suspended:
      return 'stopped';
    case STATUS.paused:
      return 'sleeping';
    case STATUS.restricted:
      return ths !== null && ths > 0 ? 'hashing' : 'stopped';
    case STATUS.normal:
      if (ths === null) return 'unknown';
      if (ths === 0) return 'starting';
      return tuner === TUNER.tuning && nominalThs !== null && ths < 0.9 * nominalThs ? 'tuning' : 'hashing';
    default:
      return ths === null ? 'unknown' : ths > 0 ? 'hashing' : 'stopped';
  }
}

function restLimit(tuner: unknown): Watts | null {
  if (firstNumber(recordAt(tuner), 'overall_tuner_state') === TUNER.disabled) return null;
  const mode = recordAt(tuner, 'mode_state', 'powertargetmodestate');
  return (
    positive(firstNumber(recordAt(mode, 'current_target'), 'watt')) ??
    positive(firstNumber(recordAt(mode, 'profile', 'target'), 'watt'))
  );
}

function restBoard(board: Readonly<Record<string, unknown>>, position: number): MinerBoard {
  const id = firstNumber(board, 'id');
  return {
    index: id ?? position,
    hashrateThs: rateOf(recordAt(board, 'stats', 'real_hashrate')),
    chipTemperatureCelsius: hottest(chipOf(board)),
    // It counts the chips that the board has, not those that answer.
    chipsAlive: null,
    chips: firstNumber(board, 'chips_count'),
  };
}

function chipOf(board: unknown): number | null {
  return firstNumber(recordAt(board, 'highest_chip_temp', 'temperature'), 'degree_c');
}

function sensorOf(board: unknown, name: RegExp): number | null {
  const sensor = recordsAt(board, 'temperatures').find((entry) => name.test(firstText(entry, 'name') ?? ''));
  return sensor === undefined ? null : firstNumber(sensor, 'degreesC');
}

function rateOf(rates: unknown): number | null {
  for (const window of ['last_5s', 'last_15s', 'last_1m', 'last_5m']) {
    const ths = gigahash(recordAt(rates, window));
    if (ths !== null) return ths;
  }
  return null;
}

function gigahash(rate: Readonly<Record<string, unknown>>): number | null {
  return hashrateThs(firstNumber(rate, 'gigahash_per_second'), 'GH');
}

function fansOf(fans: readonly Readonly<Record<string, unknown>>[]): readonly number[] {
  return fans.flatMap((fan) => {
    const rpm = firstNumber(fan, 'rpm');
    return rpm === null || rpm < 0 ? [] : [rpm];
  });
}

function groupsOf(pools: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(pools) ? recordsAt({ pools }, 'pools') : recordsAt(pools, 'pool_groups');
}

function restPool(pool: Readonly<Record<string, unknown>>): MinerPool {
  const { enabled, alive } = pool;
  return {
    url: firstText(pool, 'url') ?? '',
    user: firstText(pool, 'user'),
    status: enabled === false ? 'disabled' : alive === true ? 'alive' : alive === false ? 'dead' : 'unknown',
    priority: null,
  };
}

function poolStatus(said: string | null): MinerPool['status'] {
  const status = said?.toLowerCase();
  return status === 'alive' || status === 'dead' || status === 'disabled' || status === 'rejecting'
    ? status
    : 'unknown';
}

/** One line per message with when it came last; the log repeats itself at every attempt. */
function errorsOf(errors: readonly Readonly<Record<string, unknown>>[]): readonly DeviceFault[] {
  const lastAt = new Map<string, string | null>();
  for (const error of errors) {
    const message = firstText(error, 'message');
    if (message === null) continue;
    lastAt.delete(message);
    lastAt.set(message, firstText(error, 'timestamp'));
  }
  return [...lastAt]
    .slice(-MOST_ERRORS)
    .map(([message, at]) => ({ code: 'LOG', message: at === null ? message : `${message} (${at})` }));
}

/** Least and greatest power target, or `null` when the constraints tell none. */
export function powerTargetRange(
  constraints: unknown,
): { readonly minWatts: Watts; readonly maxWatts: Watts } | null {
  const target = recordAt(constraints, 'tuner_constraints', 'power_target');
  const minWatts = positive(firstNumber(recordAt(target, 'min'), 'watt'));
  const maxWatts = positive(firstNumber(recordAt(target, 'max'), 'watt'));
  return minWatts === null || maxWatts === null || maxWatts < minWatts ? null : { minWatts, maxWatts };
}

function controlOf(constraints: unknown, controllable: boolean): LoadControl {
  if (!controllable) return nothingSaid('braiins').control;
  const range = powerTargetRange(constraints);
  const { sleepMs, wakeMs, changeMs } = BRAIINS_TIMING;
  return {
    sleep: true,
    wake: true,
    powerLimit: range === null ? null : { kind: 'watts', ...range, stepWatts: 1 },
    sleepMs,
    wakeMs,
    changeMs: range === null ? null : changeMs,
  };
}

function positive(value: number | null): number | null {
  return value !== null && value > 0 ? value : null;
}

function notNegative(value: number | null): number | null {
  return value !== null && value >= 0 ? value : null;
}
