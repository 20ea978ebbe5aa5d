import { EPIC_TIMING } from '../../config/miners/timing.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import type { TerahashesPerSecond, Watts } from '../../protocols/units.ts';
import type {
  DeviceFault,
  LoadControl,
  MinerBoard,
  MinerPool,
  MinerState,
  PowerLimitControl,
} from '../load-driver.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  hottest,
  type MinerFields,
  macOf,
  nothingSaid,
  numberedNames,
  numberOf,
  rejectedPercent,
} from './reply-fields.ts';
import { recordAt, recordsAt } from './web-json.ts';

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
export function decodeEpic(
  replies: EpicReplies,
  controllable = false,
  control = epicControl(replies.capabilities, controllable),
): MinerFields {
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
    state: stateOf(recordAt(summary, 'Status'), ths),
    hashrateThs: ths,
    nominalHashrateThs: hashrateThs(firstNumber(capabilities, 'Default Hashrate'), 'TH'),
    powerWatts,
    powerSource: powerWatts === null ? null : 'reported',
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: onBoard ? null : hottestBoard,
    boardTemperatureCelsius: onBoard ? hottestBoard : null,
    fanRpm: fansOf(recordAt(summary, 'Fans Rpm')),
    uptimeSeconds: firstNumber(recordAt(summary, 'Session'), 'Uptime'),
    rejectedPercent: rejectedPercent([recordAt(summary, 'Session')]),
    boards,
    pools: poolsOf(summary),
    errors: errorsOf(summary),
    control,
  };
}

function stateOf(status: CgminerBody, ths: number | null): MinerState {
  const said = firstText(status, 'Operating State');
  if (said === null) return 'unknown';
  // Idle without a fault is idle by command.
  if (isEpicIdle(said)) return firstText(status, 'Last Error') === null ? 'sleeping' : 'stopped';
  if (/error|fail|fault/i.test(said)) return 'fault';
  if (/tun/i.test(said)) return 'tuning';
  if (/start|init|warm|ramp/i.test(said)) return 'starting';
  if (!/^mining/i.test(said)) return 'unknown';
  return ths !== null && ths > 0 ? 'hashing' : 'starting';
}

/** The operating state of a unit that does not mine. */
export function isEpicIdle(operatingState: string | null): boolean {
  return /^idl/i.test(operatingState ?? '');
}

/** How a limit is given to a unit: watts to the power tuner, else the hashrate of a preset to another tuner. */
export type EpicTuning =
  | { readonly kind: 'watts'; readonly algorithm: string; readonly minWatts: Watts; readonly maxWatts: Watts }
  | { readonly kind: 'presets'; readonly algorithm: string; readonly presets: readonly EpicPreset[] };

export interface EpicPreset {
  readonly watts: Watts;
  readonly hashrateThs: TerahashesPerSecond;
}

/**
 * What the unit can be tuned to, out of its capabilities; only algorithms that it lists, `inUse` where it is one
 * of them. `null` where it lists none, or no presets that tell what a hashrate draws.
 */
export function epicTuning(capabilities: CgminerBody, inUse: string | null = null): EpicTuning | null {
  const algorithms = recordsAt(capabilities, 'PerpetualTune');
  const named = (name: string) => algorithms.find((entry) => entry['algorithm'] === name);
  const power = named('PowerTune');
  const [minWatts, maxWatts] = [firstNumber(power ?? {}, 'min'), firstNumber(power ?? {}, 'max')];
  if (minWatts !== null && maxWatts !== null && minWatts > 0 && maxWatts >= minWatts)
    return { kind: 'watts', algorithm: 'PowerTune', minWatts, maxWatts };
  const other = (inUse === null ? undefined : named(inUse)) ?? algorithms[0];
  const algorithm = firstText(other ?? {}, 'algorithm');
  const [least, most] = [firstNumber(other ?? {}, 'min'), firstNumber(other ?? {}, 'max')];
  if (algorithm === null || least === null || most === null) return null;
  const presets = recordsAt(capabilities, 'Tune Presets')
    .flatMap((preset) => {
      const [watts, ths] = [firstNumber(preset, 'power'), firstNumber(preset, 'hashrate')];
      const usable = watts !== null && ths !== null && watts > 0 && ths >= least && ths <= most;
      return usable ? [{ watts, hashrateThs: ths }] : [];
    })
    .sort((a, b) => a.watts - b.watts);
  return presets.length === 0 ? null : { kind: 'presets', algorithm, presets };
}

/** What can be commanded, out of what the unit says it can do. */
export function epicControl(capabilities: unknown, controllable: boolean): LoadControl {
  if (!controllable) return nothingSaid('epic').control;
  const { sleepMs, wakeMs, changeMs } = EPIC_TIMING;
  const tuning = epicTuning(recordAt(capabilities));
  return {
    sleep: true,
    wake: true,
    powerLimit: tuning === null ? null : limitOf(tuning),
    sleepMs,
    wakeMs,
    changeMs: tuning === null ? null : changeMs,
  };
}

function limitOf(tuning: EpicTuning): PowerLimitControl {
  if (tuning.kind === 'watts')
    return { kind: 'watts', minWatts: tuning.minWatts, maxWatts: tuning.maxWatts, stepWatts: 1 };
  const presetsWatts = tuning.presets.map(({ watts }) => watts);
  return { kind: 'preset', minWatts: presetsWatts[0]!, maxWatts: presetsWatts.at(-1)!, presetsWatts };
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
  return FANS.flatMap((name) => {
    const rpm = numberOf(fans[name]);
    return rpm === null || rpm < 0 ? [] : [rpm];
  });
}

const FANS = numberedNames('Fans Speed ', 12);

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
