import { VNISH_TIMING } from '../../config/miners/timing.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { Watts } from '../../protocols/units.ts';
import type { LoadControl, MinerState } from '../load-driver.ts';
import { type CgminerReplies, decodeCgminer } from './cgminer.ts';
import {
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  hottestBoard,
  hottestChip,
  type MinerFields,
  macOf,
  mergedRecords,
  nothingSaid,
  numberedNames,
  poolRecords,
  poolUrl,
  rejectedPercent,
} from './reply-fields.ts';
import { recordAt, recordsAt } from './web-json.ts';

/** Replies of port 4028 and the pages below /api/v1/. */
export interface VnishReplies extends CgminerReplies {
  /** info */
  readonly info?: unknown;
  /** summary */
  readonly webSummary?: unknown;
  /** perf-summary */
  readonly performance?: unknown;
  /** autotune/presets */
  readonly presets?: unknown;
}

/** A preset that was tuned on this unit: its name is its watts. */
export interface VnishPreset {
  readonly name: string;
  readonly watts: Watts;
}

/** A map: what a device says is looked up in it, and an object has words of its own ("constructor"). */
const STATES: ReadonlyMap<string, MinerState> = new Map([
  ['mining', 'hashing'],
  ['initializing', 'starting'],
  ['starting', 'starting'],
  ['restarting', 'starting'],
  ['auto-tuning', 'tuning'],
  ['shutting-down', 'stopped'],
  // Stopped is told by command; what fails by itself is a failure.
  ['stopped', 'sleeping'],
  ['paused', 'sleeping'],
  ['failure', 'fault'],
]);

/**
 * A reading of VNish. Power is what the firmware reports, as a whole or as the sum of its chains; the limit
 * is the watts that the preset in force is named after.
 *
 * Source: replies recorded from an S21 Pro on 1.2.7.
 */
export function decodeVnish(
  replies: VnishReplies,
  configuredModel: string | null = null,
  controllable = false,
  control = vnishControl(replies.presets, controllable),
): MinerFields {
  const base = decodeCgminer('vnish', replies, configuredModel);
  const stats = mergedRecords(replies.stats, 'STATS');
  const info = recordAt(replies.info);
  const miner = recordAt(replies.webSummary, 'miner');
  const said = firstNumber(miner, 'power_consumption') ?? chainsWatts(stats);
  const reports = said !== null && said >= 0;
  const powerWatts = reports ? said : base.powerWatts;
  const state = vnishState(replies.webSummary) ?? firstText(stats, 'state');
  const ths = base.hashrateThs ?? hashrateThs(firstNumber(miner, 'hr_realtime'), 'GH');
  const preset = firstNumber(recordAt(replies.performance, 'current_preset'), 'name');
  return {
    ...base,
    vendor: 'Bitmain',
    model: firstText(info, 'miner') ?? base.model,
    firmwareVersion: firstText(info, 'fw_version') ?? firstText(stats, 'Cgminer'),
    macAddress: macOf(recordAt(info, 'system', 'network_status')['mac']),
    serialNumber: firstText(info, 'serial'),
    state: STATES.get(state ?? '') ?? base.state,
    powerWatts,
    powerSource: reports ? 'reported' : base.powerSource,
    powerLimitWatts: preset !== null && preset > 0 ? preset : null,
    hashrateThs: ths,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: hottestChip(stats),
    boardTemperatureCelsius: hottestBoard(stats),
    // The maker's own share is no pool of the operator.
    rejectedPercent:
      rejectedPercent(poolRecords(replies.pools ?? {}).filter((pool) => poolUrl(pool) !== DEV_FEE)) ??
      base.rejectedPercent,
    pools: base.pools.filter(({ url }) => url !== DEV_FEE),
    errors: FAULTS.flatMap((name, index) => {
      const fault = firstText(stats, name);
      return fault === null ? [] : [{ code: `CHAIN${index + 1}`, message: fault }];
    }),
    control,
  };
}

const DEV_FEE = 'DevFee';
const FAULTS = numberedNames('chain_fault', 4);
const CONSUMPTIONS = numberedNames('chain_consumption', 16);

/** `miner_state` of the summary, `null` when it does not say. */
export function vnishState(webSummary: unknown): string | null {
  return firstText(recordAt(webSummary, 'miner', 'miner_status'), 'miner_state');
}

/** Presets that hold at once, weakest first: tuned on this unit, and for the supply it has. */
export function tunedPresets(presets: unknown): readonly VnishPreset[] {
  return recordsAt({ presets }, 'presets')
    .flatMap((preset) => {
      const name = firstText(preset, 'name');
      const watts = firstNumber(preset, 'name');
      const usable = preset['status'] === 'tuned' && preset['modded_psu_required'] !== true;
      return usable && name !== null && watts !== null && watts > 0 ? [{ name, watts }] : [];
    })
    .sort((a, b) => a.watts - b.watts);
}

/** What can be commanded, out of the presets that the unit lists. */
export function vnishControl(presets: unknown, controllable: boolean): LoadControl {
  if (!controllable) return nothingSaid('vnish').control;
  const presetsWatts = tunedPresets(presets).map(({ watts }) => watts);
  const [minWatts] = presetsWatts;
  const { sleepMs, wakeMs, changeMs } = VNISH_TIMING;
  return {
    sleep: true,
    wake: true,
    powerLimit:
      minWatts === undefined
        ? null
        : { kind: 'preset', minWatts, maxWatts: presetsWatts.at(-1) ?? minWatts, presetsWatts },
    sleepMs,
    wakeMs,
    changeMs: minWatts === undefined ? null : changeMs,
  };
}

/** The statistics of an answer that was cut off: a sum over the chains that arrived would pass for the whole. */
export function withoutChainWatts(stats: CgminerBody): CgminerBody {
  const records = sectionRecords(stats, 'STATS').map((record) =>
    Object.fromEntries(Object.entries(record).filter(([name]) => !name.startsWith('chain_consumption'))),
  );
  return records.length === 0 ? stats : { ...stats, STATS: records };
}

function chainsWatts(stats: CgminerBody): number | null {
  const chains = CONSUMPTIONS.flatMap((name) => {
    const watts = firstNumber(stats, name);
    return watts === null || watts < 0 ? [] : [watts];
  });
  return chains.length === 0 ? null : chains.reduce((total, watts) => total + watts, 0);
}
