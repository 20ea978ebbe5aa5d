import { findMinerModel, type MinerModel } from '../../config/miners/models.ts';
import {
  BITMAIN_HYDRO_TIMING,
  BITMAIN_LOW_POWER_SHARE,
  BITMAIN_TIMING,
  type MinerTiming,
} from '../../config/miners/timing.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { Watts } from '../../protocols/units.ts';
import type { DeviceFault, LoadControl, MinerBoard, MinerState } from '../load-driver.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  hottest,
  hottestBoard,
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

/**
 * Replies of stock firmware: port 4028 (`version`, `stats`, `pools`, in the old form or, on newer builds, in the
 * form of the web pages) and the web pages themselves.
 */
export interface BitmainReplies {
  readonly version?: CgminerBody;
  readonly stats?: CgminerBody;
  readonly pools?: CgminerBody;
  /** summary.cgi: its list of what is well and what is not; it may be older than the rest. */
  readonly summary?: CgminerBody;
  /** get_system_info.cgi */
  readonly systemInfo?: CgminerBody;
  /** get_miner_conf.cgi */
  readonly minerConf?: CgminerBody;
}

export interface BitmainContext {
  /** Model from the configuration, where the device names none. */
  readonly configuredModel: string | null;
  /** Web credentials are at hand, so modes can be set. */
  readonly controllable: boolean;
}

/** `bitmain-work-mode` as read back. Source: get_miner_conf.cgi of S19 and S21 firmware. */
export type BitmainMode = 'normal' | 'sleep' | 'high' | 'low-power';

/**
 * A reading of stock firmware. Most builds report no power: it is then nominal watts times measured over
 * nominal hashrate, or the rest draw while asleep, and marked as an estimate.
 *
 * Source: replies recorded from an S19 Pro and an S21; web pages of 2020 to 2025 firmware.
 */
export function decodeBitmain(replies: BitmainReplies, context: BitmainContext): MinerFields {
  const version = mergedRecords(replies.version, 'VERSION');
  const stats = mergedRecords(replies.stats, 'STATS');
  const info = replies.systemInfo ?? {};
  const webInfo = mergedRecords(replies.stats, 'INFO');
  const model =
    firstText(stats, 'Type') ??
    firstText(version, 'Type') ??
    firstText(webInfo, 'type') ??
    firstText(info, 'minertype');
  const known = findMinerModel(model) ?? findMinerModel(context.configuredModel);
  const ths = recentHashrateThs(stats) ?? hashrateThs(firstNumber(stats, 'rate_5s'), rateUnitOf(stats));
  const mode = modeOf(replies.minerConf);
  const uptimeSeconds = firstNumber(stats, 'Elapsed', 'elapsed');
  const state = stateOf(replies.stats, mode, ths, uptimeSeconds);
  const power = powerOf(stats, known, state, ths);
  const boards = boardsOf(stats);
  return {
    ...nothingSaid('bitmain'),
    vendor: 'Bitmain',
    model,
    firmwareVersion:
      firstText(info, 'system_filesystem_version') ??
      firstText(version, 'CompileTime') ??
      firstText(stats, 'CompileTime'),
    macAddress: macOf(info['macaddr']),
    serialNumber: firstText(info, 'serinum', 'serial_no'),
    state,
    hashrateThs: ths,
    nominalHashrateThs: hashrateThs(firstNumber(stats, 'total_rateideal', 'rate_ideal'), rateUnitOf(stats)),
    ...power,
    powerLimitWatts: mode === 'low-power' && known !== null ? lowPowerWatts(known) : null,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(power.powerWatts, ths),
    chipTemperatureCelsius: boards.reduce<number | null>(
      (highest, { chipTemperatureCelsius }) => hottest(highest, chipTemperatureCelsius),
      null,
    ),
    boardTemperatureCelsius: hottest(
      hottestBoard(stats),
      ...chainRecords(stats).map((chain) => chain['temp_pcb']),
    ),
    fanRpm: fansOf(stats),
    uptimeSeconds,
    rejectedPercent: rejectedPercent(poolRecords(replies.pools ?? {})),
    boards,
    pools: poolsOf(replies.pools ?? {}),
    errors: errorsOf(mergedRecords(replies.summary, 'SUMMARY')),
    control: controlOf(known, context.controllable),
  };
}

/** Watts to count for low-power mode: the upper end of what the vendor's figures give. */
export function lowPowerWatts(model: MinerModel): Watts {
  return Math.round(model.nominalWatts * BITMAIN_LOW_POWER_SHARE);
}

/** The mode in a get_miner_conf.cgi answer. 5 is read back by 2023 builds and hashes as little as 1. */
export function modeOf(minerConf: CgminerBody | undefined): BitmainMode | null {
  if (minerConf === undefined) return null;
  switch (firstNumber(minerConf, 'bitmain-work-mode', 'miner-mode')) {
    case 0:
      return 'normal';
    case 1:
    case 5:
      return 'sleep';
    case 2:
      return 'high';
    case 3:
      return 'low-power';
    default:
      return null;
  }
}

function stateOf(
  stats: CgminerBody | undefined,
  mode: BitmainMode | null,
  ths: number | null,
  uptimeSeconds: number | null,
): MinerState {
  // While it still hashes it is not asleep, whatever its configuration says.
  if (ths !== null && ths > 0) return 'hashing';
  if (mode === 'sleep') return 'sleeping';
  // An empty list is what a sleeping unit answers; one that is to work is still starting.
  if (Array.isArray(stats?.['STATS']) && stats['STATS'].length === 0)
    return mode === null ? 'sleeping' : 'starting';
  if (ths === null) return mode === null ? 'unknown' : 'starting';
  return uptimeSeconds !== null && uptimeSeconds < STARTING_SECONDS ? 'starting' : 'stopped';
}

const STARTING_SECONDS = 900;

function powerOf(
  stats: CgminerBody,
  known: MinerModel | null,
  state: MinerState,
  ths: number | null,
): Pick<MinerFields, 'powerWatts' | 'powerSource'> {
  const reported = firstNumber(stats, 'chain_power', 'power', 'Power', 'watt');
  if (reported !== null && reported >= 0) return { powerWatts: reported, powerSource: 'reported' };
  if (state === 'sleeping') return { powerWatts: BITMAIN_TIMING.sleepWatts, powerSource: 'estimated' };
  if (state !== 'hashing' || known === null || ths === null) return { powerWatts: null, powerSource: null };
  return { powerWatts: (known.nominalWatts * ths) / known.nominalHashrateThs, powerSource: 'estimated' };
}

function chainRecords(stats: CgminerBody): readonly CgminerBody[] {
  return sectionRecords(stats, 'chain');
}

function boardsOf(stats: CgminerBody): readonly MinerBoard[] {
  const chains = chainRecords(stats);
  if (chains.length === 0) return numberedChains(stats);
  const unit = rateUnitOf(stats);
  return chains.map((chain, position) => ({
    index: firstNumber(chain, 'index') ?? position,
    hashrateThs: hashrateThs(firstNumber(chain, 'rate_real'), unit),
    chipTemperatureCelsius: hottest(chain['temp_chip']),
    chipsAlive: firstNumber(chain, 'asic_num'),
    chips: null,
  }));
}

function fansOf(stats: CgminerBody): readonly number[] {
  const fans = stats['fan'];
  if (!Array.isArray(fans)) return numberedFans(stats);
  return fans.flatMap((rpm) => (typeof rpm === 'number' && rpm >= 0 ? [rpm] : []));
}

function errorsOf(summary: CgminerBody): readonly DeviceFault[] {
  return sectionRecords(summary, 'status').flatMap((entry) => {
    const severity = firstText(entry, 'status');
    const message = firstText(entry, 'msg');
    if (severity === 's' || severity === null) return [];
    const code = firstNumber(entry, 'code');
    const type = firstText(entry, 'type') ?? 'status';
    return [{ code: code === null ? type : `${type}:${code}`, message: message ?? type }];
  });
}

function controlOf(known: MinerModel | null, controllable: boolean): LoadControl {
  if (!controllable) return nothingSaid('bitmain').control;
  const timing: MinerTiming = known?.cooling === 'hydro' ? BITMAIN_HYDRO_TIMING : BITMAIN_TIMING;
  const { sleepMs, wakeMs, changeMs } = timing;
  if (known === null || !known.lowPowerMode)
    return { sleep: true, wake: true, powerLimit: null, sleepMs, wakeMs, changeMs: null };
  const minWatts = lowPowerWatts(known);
  const maxWatts = known.nominalWatts;
  return {
    sleep: true,
    wake: true,
    powerLimit: { kind: 'mode', minWatts, maxWatts, presetsWatts: [minWatts, maxWatts] },
    sleepMs,
    wakeMs,
    changeMs,
  };
}
