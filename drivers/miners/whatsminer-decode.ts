import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import { findMinerModel, type MinerModel } from '../../config/miners/models.ts';
import {
  WHATSMINER_LEAST_PERCENT,
  WHATSMINER_RESTART_MS,
  WHATSMINER_TIMING,
} from '../../config/miners/timing.ts';
import { whatsminerErrorMessage } from '../../config/miners/whatsminer-errors.ts';
import { type CgminerBody, isRecord, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { Watts } from '../../protocols/units.ts';
import type { DeviceFault, LoadControl, MinerBoard, MinerState } from '../load-driver.ts';
import {
  cgminerRejectedPercent,
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  flagOf,
  hashrateThs,
  type MinerFields,
  macOf,
  mergedRecords,
  nothingSaid,
  poolsOf,
  recentHashrateThs,
} from './reply-fields.ts';

/** Plain replies of btminer by command. `get_*` and `status` answer flat, with everything in `Msg`. */
export interface WhatsminerReplies {
  readonly summary?: CgminerBody;
  readonly status?: CgminerBody;
  readonly devs?: CgminerBody;
  readonly pools?: CgminerBody;
  readonly devdetails?: CgminerBody;
  readonly get_version?: CgminerBody;
  readonly get_miner_info?: CgminerBody;
  readonly get_error_code?: CgminerBody;
}

export interface WhatsminerContext {
  readonly firmware: MinerFirmware;
  readonly configuredModel: string | null;
  /** An admin password is at hand. */
  readonly controllable: boolean;
}

/**
 * A reading of btminer API 1.4 to 2.0.x.
 *
 * Source: Whatsminer API 2.0.x; replies recorded from an M20S and modelled on an M50S.
 */
export function decodeWhatsminer(replies: WhatsminerReplies, context: WhatsminerContext): MinerFields {
  const summary = summaryOf(replies.summary);
  const status = messageOf(replies.status);
  const version = messageOf(replies.get_version);
  const info = messageOf(replies.get_miner_info);
  const model = modelOf(replies.devdetails);
  const known = findMinerModel(model) ?? findMinerModel(context.configuredModel);
  const ths = hashrateThs(firstNumber(summary, 'HS RT'), 'MH') ?? recentHashrateThs(summary);
  const powerWatts = positive(firstNumber(summary, 'Power')) ?? positive(firstNumber(summary, 'Power_RT'));
  const powerLimitWatts =
    whatsminerLimitWatts(firstNumber(summary, 'Power Limit')) ??
    whatsminerLimitWatts(firstNumber(status, 'power_limit_set'));
  const uptimeSeconds = firstNumber(summary, 'Elapsed', 'Uptime');
  return {
    ...nothingSaid(context.firmware),
    vendor: 'MicroBT',
    model,
    firmwareVersion:
      firstText(version, 'fw_ver') ??
      firstText(summary, 'Firmware Version') ??
      firstText(status, 'FirmwareVersion', 'Firmware Version'),
    macAddress: macOf(summary['MAC']) ?? macOf(info['mac']),
    serialNumber: firstText(info, 'minersn'),
    state: stateOf(summary, replies, ths, uptimeSeconds),
    hashrateThs: ths,
    nominalHashrateThs: hashrateThs(positive(firstNumber(summary, 'Factory GHS')), 'GH'),
    powerWatts,
    powerSource: powerWatts === null ? null : 'reported',
    powerLimitWatts,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: positive(firstNumber(summary, 'Chip Temp Max')),
    boardTemperatureCelsius: positive(firstNumber(summary, 'Temperature')),
    fanRpm: ['Fan Speed In', 'Fan Speed Out'].flatMap((name) => {
      const rpm = firstNumber(summary, name);
      return rpm === null || rpm < 0 ? [] : [rpm];
    }),
    uptimeSeconds,
    rejectedPercent: cgminerRejectedPercent(summary, replies.pools),
    boards: boardsOf(replies.devs),
    pools: poolsOf(replies.pools ?? {}),
    errors: errorsOf(summary, replies.get_error_code),
    control: whatsminerControl(powerLimitWatts, known, context.controllable),
  };
}

/** Switched off by command (`status`); `null` when the miner does not say. */
export function isOff(replies: WhatsminerReplies): boolean | null {
  const status = messageOf(replies.status);
  return flagOf(status['mineroff']) ?? flagOf(status['btmineroff']);
}

/** True for a summary as btminer writes it, or for one that says too little to tell. */
export function isWhatsminer(summary: CgminerBody | undefined): boolean {
  const fields = summaryOf(summary);
  const own = ['HS RT', 'Power', 'Power Limit', 'Factory GHS', 'Power Mode', 'MAC'];
  return Object.keys(fields).length === 0 || own.some((name) => name in fields);
}

/** The frequency search has ended, so that a percentage is accepted. */
export function isSearchOver(replies: WhatsminerReplies): boolean {
  const summary = summaryOf(replies.summary);
  const stable = flagOf(summary['Hash Stable']);
  const complete = flagOf(summary['Upfreq Complete']);
  const boards = devicesOf(replies.devs).map((board) => flagOf(board['Upfreq Complete']));
  return stable === true || complete === true || (boards.length > 0 && boards.every((done) => done === true));
}

/** Some newer builds put the summary object in Msg. */
function summaryOf(reply: CgminerBody | undefined): CgminerBody {
  const summary = mergedRecords(reply, 'SUMMARY');
  return isRecord(reply?.['Msg']) ? { ...messageOf(reply), ...summary } : summary;
}

/** `Msg` of a flat reply, `{}` when it is text or missing. */
export function messageOf(body: CgminerBody | undefined): CgminerBody {
  const message = body?.['Msg'];
  return isRecord(message) ? message : {};
}

/** "Whatsminer M60S VK40" from "M60S-VK40" or "M60S_VK40". */
export function whatsminerModel(type: string | null): string | null {
  return type === null ? null : `Whatsminer ${type.replace(/[-_]/g, ' ')}`;
}

function modelOf(devdetails: CgminerBody | undefined): string | null {
  for (const record of sectionRecords(devdetails ?? {}, 'DEVDETAILS')) {
    const model = firstText(record, 'Model');
    if (model !== null) return whatsminerModel(model);
  }
  return null;
}

/** Without fast boot a start may take half an hour. */
const STARTING_SECONDS = 1800;

function stateOf(
  summary: CgminerBody,
  replies: WhatsminerReplies,
  ths: number | null,
  uptimeSeconds: number | null,
): MinerState {
  if (isOff(replies) === true) return 'sleeping';
  if (ths === null) return 'unknown';
  if (ths > 0) {
    const searching =
      flagOf(summary['Hash Stable']) === false || flagOf(summary['Upfreq Complete']) === false;
    return searching && !isSearchOver(replies) ? 'tuning' : 'hashing';
  }
  return uptimeSeconds !== null && uptimeSeconds < STARTING_SECONDS ? 'starting' : 'stopped';
}

/** More boards than any machine has are not looked at. */
function devicesOf(devs: CgminerBody | undefined): readonly CgminerBody[] {
  return sectionRecords(devs ?? {}, 'DEVS').slice(0, 16);
}

function boardsOf(devs: CgminerBody | undefined): readonly MinerBoard[] {
  return devicesOf(devs).map((board, position) => ({
    index: firstNumber(board, 'Slot', 'ASC', 'ID') ?? position,
    hashrateThs: recentHashrateThs(board),
    chipTemperatureCelsius: positive(firstNumber(board, 'Chip Temp Max')),
    chipsAlive: firstNumber(board, 'Effective Chips'),
    chips: null,
  }));
}

/** A power limit as either API says it: 0 and 99999 stand for "no limit". */
export function whatsminerLimitWatts(watts: number | null): Watts | null {
  return watts !== null && watts > 0 && watts < 99_999 ? watts : null;
}

/** Codes from the summary (v1) and from get_error_code (v2: numbers, pairs or objects, mixed). */
function errorsOf(summary: CgminerBody, reply: CgminerBody | undefined): readonly DeviceFault[] {
  const codes = new Set<string>();
  const count = Math.min(firstNumber(summary, 'Error Code Count') ?? 0, 64);
  for (let index = 0; index < count; index += 1) {
    const code = firstNumber(summary, `Error Code ${index}`);
    if (code !== null) codes.add(String(code));
  }
  return whatsminerFaults(codes, messageOf(reply)['error_code']);
}

/** Codes with what they mean: `known` ones and those of a list of numbers, texts or {code: time}, mixed. */
export function whatsminerFaults(known: Iterable<string>, listed: unknown): readonly DeviceFault[] {
  const codes = new Set(known);
  const texts: DeviceFault[] = [];
  const entries: readonly unknown[] = Array.isArray(listed) ? listed : [listed];
  for (const entry of entries.slice(0, 64)) {
    if (isRecord(entry)) for (const key of Object.keys(entry)) if (/^\d+$/.test(key)) codes.add(key);
    if (typeof entry === 'number' || (typeof entry === 'string' && /^\d+$/.test(entry)))
      codes.add(String(entry));
    else if (typeof entry === 'string' && entry !== '')
      texts.push({ code: 'text', message: entry.slice(0, 200) });
  }
  return [...[...codes].map((code) => ({ code, message: whatsminerErrorMessage(code) })), ...texts];
}

/** The watts that a percentage is a percentage of: the limit in force, else the model's nominal. */
export function percentBaseWatts(powerLimitWatts: Watts | null, known: MinerModel | null): Watts | null {
  return powerLimitWatts ?? known?.nominalWatts ?? null;
}

/**
 * Under the limit in force a percentage acts within seconds; above it the limit itself must be raised, which
 * restarts the miner. So a miner that holds a lowered limit says that a change may take as long as a restart.
 */
export function whatsminerControl(
  powerLimitWatts: Watts | null,
  known: MinerModel | null,
  controllable: boolean,
): LoadControl {
  if (!controllable) return nothingSaid('whatsminer').control;
  const base = percentBaseWatts(powerLimitWatts, known);
  const { sleepMs, wakeMs, changeMs } = WHATSMINER_TIMING;
  if (base === null) return { sleep: true, wake: true, powerLimit: null, sleepMs, wakeMs, changeMs: null };
  const maxWatts = Math.max(base, known?.nominalWatts ?? 0);
  const minWatts = Math.ceil((base * WHATSMINER_LEAST_PERCENT) / 100);
  return {
    sleep: true,
    wake: true,
    powerLimit: { kind: 'watts', minWatts, maxWatts, stepWatts: Math.ceil(base / 100) },
    sleepMs,
    wakeMs,
    changeMs: maxWatts > base * 1.01 ? WHATSMINER_RESTART_MS : changeMs,
  };
}

function positive(value: number | null): number | null {
  return value !== null && value > 0 ? value : null;
}
