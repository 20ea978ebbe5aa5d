import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { DeviceFault, MinerBoard, MinerEndpoint, MinerPool, MinerState } from '../load-driver.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  hottest,
  type MinerFields,
  macOf,
  nothingSaid,
  numberOf,
} from './reply-fields.ts';
import { exchangeJson, jsonOf, recordAt, recordsAt, webTarget } from './web-json.ts';

/** Answers of the HTTP interface, by page. */
export interface EpicReplies {
  readonly summary?: unknown;
  readonly capabilities?: unknown;
  readonly network?: unknown;
}

/**
 * A reading of ePIC PowerPlay. The hashrate is the sum of the boards now; a target in TH/s is no limit in
 * watts, so no power limit is told.
 *
 * Source: replies recorded from an S19 XP on PowerPlay-BMS 1.5.13.
 */
export function decodeEpic(replies: EpicReplies): MinerFields {
  const summary = recordAt(replies.summary);
  const capabilities = recordAt(replies.capabilities);
  const network = recordAt(replies.network);
  const boards = boardsOf(summary, capabilities);
  const rates = boards.flatMap(({ hashrateThs: ths }) => ths ?? []);
  const average = hashrateThs(firstNumber(recordAt(summary, 'Session'), 'Average MHs'), 'MH');
  const ths = rates.length === 0 ? average : hashrateThs(sum(rates), 'TH');
  const said = firstNumber(recordAt(summary, 'Power Supply Stats'), 'Input Power');
  const powerWatts = said !== null && said >= 0 ? said : null;
  const hottestBoard = hottest(recordsAt(summary, 'HBs').map((board) => board['Temperature']));
  // What the one figure per board measures depends on the model.
  const onBoard = firstText(recordAt(capabilities, 'Temp Sensor Info'), 'Type') !== 'Chip';
  return {
    ...nothingSaid('epic'),
    vendor: 'Bitmain',
    model: firstText(capabilities, 'Model'),
    firmwareVersion: firstText(summary, 'Software'),
    macAddress:
      macOf(recordAt(network, 'dhcp')['mac_address']) ?? macOf(recordAt(network, 'static')['mac_address']),
    state: stateOf(firstText(recordAt(summary, 'Status'), 'Operating State'), ths),
    hashrateThs: ths,
    nominalHashrateThs: hashrateThs(firstNumber(capabilities, 'Default Hashrate'), 'TH'),
    powerWatts,
    powerSource: powerWatts === null ? null : 'reported',
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: onBoard ? null : hottestBoard,
    boardTemperatureCelsius: onBoard ? hottestBoard : null,
    fanRpm: fansOf(recordAt(summary, 'Fans Rpm')),
    uptimeSeconds: firstNumber(recordAt(summary, 'Session'), 'Uptime'),
    boards,
    pools: poolsOf(summary),
    errors: errorsOf(summary),
  };
}

function stateOf(said: string | null, ths: number | null): MinerState {
  if (said === null) return 'unknown';
  if (/^idl/i.test(said)) return 'stopped';
  if (/error|fail|fault/i.test(said)) return 'fault';
  if (/tun/i.test(said)) return 'tuning';
  if (/start|init|warm|ramp/i.test(said)) return 'starting';
  if (!/^mining/i.test(said)) return 'unknown';
  return ths !== null && ths > 0 ? 'hashing' : 'starting';
}

/** Every board that is there; one that is switched off says no rate. */
function boardsOf(summary: CgminerBody, capabilities: CgminerBody): readonly MinerBoard[] {
  const chips = firstNumber(recordAt(capabilities, 'Performance Estimator'), 'Chip Count');
  const working = recordsAt(summary, 'HBs');
  const listed = recordsAt(summary, 'HBStatus');
  return (listed.length > 0 ? listed : working).slice(0, 16).map((entry, position) => {
    const index = firstNumber(entry, 'Index') ?? position;
    const board = working.find((candidate) => firstNumber(candidate, 'Index') === index);
    const rate = board?.['Hashrate'];
    return {
      index,
      hashrateThs: hashrateThs(Array.isArray(rate) ? numberOf(rate[0]) : null, 'MH'),
      chipTemperatureCelsius: null,
      chipsAlive: null,
      chips,
    };
  });
}

function fansOf(fans: CgminerBody): readonly number[] {
  return Array.from({ length: 12 }, (_, fan) => firstNumber(fans, `Fans Speed ${fan + 1}`)).flatMap((rpm) =>
    rpm === null || rpm < 0 ? [] : [rpm],
  );
}

function poolsOf(summary: CgminerBody): readonly MinerPool[] {
  const stratum = recordAt(summary, 'Stratum');
  const used = firstNumber(stratum, 'Config Id');
  const connected = stratum['IsPoolConnected'];
  return recordsAt(summary, 'StratumConfigs').map((pool, index) => ({
    url: firstText(pool, 'pool') ?? '',
    user: firstText(pool, 'login'),
    status:
      index !== used ? 'unknown' : connected === true ? 'alive' : connected === false ? 'dead' : 'unknown',
    priority: index,
  }));
}

function errorsOf(summary: CgminerBody): readonly DeviceFault[] {
  const last = firstText(recordAt(summary, 'Status'), 'Last Error');
  const off = recordsAt(summary, 'HBStatus').filter((board) => board['Enabled'] === false);
  return [
    ...(last === null ? [] : [{ code: 'LAST_ERROR', message: last }]),
    ...off.map((board) => ({
      code: 'BOARD_OFF',
      message: `Hash board ${firstNumber(board, 'Index') ?? '?'} is switched off`,
    })),
  ];
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** ePIC PowerPlay: HTTP on the port where others have the cgminer API. Readings only. */
export function epicFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = webTarget(endpoint, deps, endpoint.port);
  let capabilities: unknown;

  const ask = async (page: string, signal: AbortSignal): Promise<Result<unknown>> => {
    const answer = await exchangeJson(target, { method: 'GET', path: `/${page}` }, signal);
    return answer.ok ? jsonOf(answer.value, `${target.host}:${target.port}/${page}`) : answer;
  };

  /** Who stands there is asked anew; what it can do is asked once for each unit. */
  const askWho = async (signal: AbortSignal): Promise<Result<EpicReplies>> => {
    const summary = await ask('summary', signal);
    if (!summary.ok) return summary;
    if (!('HBStatus' in recordAt(summary.value)) && !('Session' in recordAt(summary.value)))
      return fail('wrong-device', `${target.host}:${target.port} does not answer as ePIC PowerPlay`);
    const network = await ask('network', signal);
    if (!network.ok && network.error.kind === 'cancelled') return network;
    if (capabilities === undefined) {
      const answer = await ask('capabilities', signal);
      if (answer.ok) capabilities = answer.value;
    }
    return ok({ summary: summary.value, capabilities, ...(network.ok && { network: network.value }) });
  };

  const read = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies = await askWho(signal);
    if (!replies.ok) {
      capabilities = undefined;
      return replies;
    }
    return ok(decodeEpic(replies.value));
  };

  return { firmware: 'epic', who: read, poll: read };
}
