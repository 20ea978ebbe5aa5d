import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import { findMinerModel } from '../../config/miners/models.ts';
import { CGMINER_LIMITS, type CgminerTarget, readCgminer } from '../../protocols/cgminer-client.ts';
import { type CgminerBody, type CgminerReply, sectionRecords } from '../../protocols/cgminer-reply.ts';
import { type Failure, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MinerBoard, MinerEndpoint, MinerState } from '../load-driver.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  type MinerFields,
  macOf,
  mergedRecords,
  nothingSaid,
  numberedChains,
  numberedFans,
  poolRecords,
  poolsOf,
  rateUnitOf,
  recentHashrateThs,
  rejectedPercent,
} from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';

/** Replies of the cgminer API by command; what was not asked or not answered is absent. */
export interface CgminerReplies {
  readonly version?: CgminerBody;
  readonly summary?: CgminerBody;
  readonly devs?: CgminerBody;
  readonly stats?: CgminerBody;
  readonly pools?: CgminerBody;
}

/**
 * What plain cgminer and bfgminer say, and what firmware without a driver of its own says on the same port.
 * Such a miner reports no power: where its model is known (`configuredModel`), nominal watts times
 * measured over nominal hashrate is given and marked as an estimate.
 *
 * Source: cgminer 4.11.1 and bfgminer 5.5.0 API documents and recorded replies.
 */
export function decodeCgminer(
  firmware: MinerFirmware,
  replies: CgminerReplies,
  configuredModel: string | null = null,
  slow: CgminerSlowFields = cgminerSlowFields(replies),
): MinerFields {
  const version = mergedRecords(replies.version, 'VERSION');
  const summary = mergedRecords(replies.summary, 'SUMMARY');
  const model = firstText(version, 'Type', 'PROD', 'MODEL') ?? slow.model;
  const ths = recentHashrateThs(summary) ?? slow.hashrateThs;
  const known = findMinerModel(model) ?? findMinerModel(configuredModel);
  const powerWatts =
    known === null || ths === null || ths === 0
      ? null
      : (known.nominalWatts * ths) / known.nominalHashrateThs;
  const { nominalHashrateThs, fanRpm, boards, pools } = slow;
  return {
    ...nothingSaid(firmware),
    vendor: known?.vendor ?? null,
    model,
    firmwareVersion: firstText(version, 'CGMiner', 'Miner', 'VERSION', 'GCMiner', 'BOSer', 'BOSminer', 'API'),
    macAddress: macOf(version['MAC']),
    serialNumber: firstText(version, 'DNA'),
    state: stateOf(slow.broken, ths, firstNumber(summary, 'Elapsed')),
    hashrateThs: ths,
    nominalHashrateThs,
    powerWatts,
    powerSource: powerWatts === null ? null : 'estimated',
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    fanRpm,
    uptimeSeconds: firstNumber(summary, 'Elapsed'),
    rejectedPercent: rejectedPercent([summary]) ?? slow.rejectedPercent,
    boards,
    pools,
  };
}

/** What `devs`, `stats` and `pools` say, which readings ask now and then: far smaller than the replies. */
export interface CgminerSlowFields
  extends Pick<
    MinerFields,
    'model' | 'hashrateThs' | 'nominalHashrateThs' | 'fanRpm' | 'rejectedPercent' | 'boards' | 'pools'
  > {
  /** A device is listed as dead. */
  readonly broken: boolean;
}

function cgminerSlowFields({ devs, stats: statsReply, pools }: CgminerReplies): CgminerSlowFields {
  const stats = mergedRecords(statsReply, 'STATS');
  const chains = numberedChains(stats);
  return {
    model: firstText(stats, 'Type'),
    hashrateThs: recentHashrateThs(stats),
    nominalHashrateThs: hashrateThs(firstNumber(stats, 'total_rateideal'), rateUnitOf(stats)),
    fanRpm: numberedFans(stats),
    rejectedPercent: rejectedPercent(poolRecords(pools ?? {})),
    boards: chains.length > 0 ? chains : devices(devs),
    pools: poolsOf(pools ?? {}),
    broken: sectionRecords(devs ?? {}, 'DEVS').some((device) =>
      ['Dead', 'NoStart'].includes(firstText(device, 'Status') ?? ''),
    ),
  };
}

/** bfgminer lists sticks by the dozen; more than this is no miner. */
const MOST_DEVICES = 256;
/** A rate that was just reset is a start, not a stop. */
const STARTING_SECONDS = 900;

function stateOf(broken: boolean, ths: number | null, uptimeSeconds: number | null): MinerState {
  if (ths === null) return 'unknown';
  if (ths > 0) return 'hashing';
  if (broken) return 'fault';
  return uptimeSeconds !== null && uptimeSeconds < STARTING_SECONDS ? 'starting' : 'stopped';
}

function devices(devs: CgminerBody | undefined): readonly MinerBoard[] {
  return sectionRecords(devs ?? {}, 'DEVS')
    .slice(0, MOST_DEVICES)
    .map((device, position) => ({
      index: firstNumber(device, 'ASC', 'PGA', 'DEV', 'ID') ?? position,
      hashrateThs: recentHashrateThs(device),
      chipTemperatureCelsius: null,
      chipsAlive: null,
      chips: null,
    }));
}

/** Where a miner's cgminer API is. */
export function cgminerTarget(endpoint: MinerEndpoint, deps: MinerDeps): CgminerTarget {
  const { clock, connect, starts, limits = CGMINER_LIMITS } = deps;
  return { host: endpoint.host, port: endpoint.port, clock, limits, connect, starts };
}

/** True when asking on would only wait for the same silence again. */
export function isSilence(failure: Failure): boolean {
  return failure.kind === 'timeout' || failure.kind === 'unreachable' || failure.kind === 'cancelled';
}

/** True for an answer of which the rest did not come. */
export function isCutOff(reply: CgminerReply): boolean {
  return reply.repairs.includes('cut-off');
}

/** True when the miner understood and declined: the rest of a reading can still come. */
export function isNo(failure: Failure): boolean {
  return failure.kind === 'refused' || failure.kind === 'unsupported' || failure.kind === 'unauthorised';
}

/** True when a write that failed so may have had its effect all the same. */
export function mayHaveArrived(failure: ExchangeFailure): boolean {
  return failure.connected && (isSilence(failure) || failure.kind === 'malformed');
}

/** Plain cgminer, bfgminer, and whatever else answers the same API: readings only. */
export function cgminerFamily(
  firmware: MinerFirmware,
  endpoint: MinerEndpoint,
  deps: MinerDeps,
): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const slow = createSlowPart<CgminerSlowFields>(deps.clock);
  let version: CgminerBody | undefined;

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies: { -readonly [key in keyof CgminerReplies]: CgminerBody } = {};
    const summary = await readCgminer(target, 'summary', undefined, signal);
    if (!summary.ok) return summary;
    replies.summary = summary.value.body;
    const kept = slow.fresh();
    const patience = createPatience();
    for (const command of kept === null ? (['version', 'devs', 'pools', 'stats'] as const) : []) {
      if (command === 'version' && version !== undefined) continue;
      const answer = await readCgminer(target, command, undefined, signal);
      // Half of what says who it is, once and for all, is none of it.
      if (answer.ok && command === 'version' && isCutOff(answer.value)) continue;
      if (answer.ok) replies[command] = answer.value.body;
      else if (answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    version ??= replies.version;
    if (version !== undefined) replies.version = version;
    const fields = kept ?? cgminerSlowFields(replies);
    // A list that does not come is not asked for at every reading either.
    if (kept === null && !patience.isGone) slow.keep(fields);
    return ok(decodeCgminer(firmware, replies, endpoint.model, fields));
  };

  return {
    firmware,
    poll,
    who: async (signal) => {
      const answer = await readCgminer(target, 'version', undefined, signal);
      // Some firmware answers "Invalid command" here and still reads well.
      if (!answer.ok && !isNo(answer.error)) return answer;
      if (answer.ok) version = answer.value.body;
      return ok(decodeCgminer(firmware, version === undefined ? {} : { version }, endpoint.model));
    },
  };
}
