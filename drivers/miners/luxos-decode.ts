import { LUXOS_TIMING } from '../../config/miners/timing.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { Watts } from '../../protocols/units.ts';
import type { DeviceFault, LoadControl, MinerBoard, MinerState } from '../load-driver.ts';
import {
  cgminerRejectedPercent,
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  flagOf,
  hashrateThs,
  hottestBoard,
  hottestChip,
  type MinerFields,
  macOf,
  mergedRecords,
  nothingSaid,
  numberedChains,
  numberedFans,
  poolsOf,
  rateUnitOf,
  recentHashrateThs,
} from './reply-fields.ts';

/** What a reading rests on; `profiles` changes seldom and is asked seldom. */
export const LUXOS_READS = [
  'version',
  'config',
  'power',
  'summary',
  'stats',
  'devs',
  'pools',
  'events',
] as const;
export type LuxosCommand = (typeof LUXOS_READS)[number] | 'profiles';
export type LuxosReplies = { readonly [command in LuxosCommand]?: CgminerBody };

/** One operating point of the firmware. */
export interface LuxosProfile {
  readonly name: string;
  readonly watts: Watts;
}

/**
 * A reading of LuxOS. Power is what the miner says, measured by the supply or calculated (POWER.PSU tells);
 * the power limit is the watts of the profile in force.
 *
 * Source: docs.luxor.tech and replies recorded from an S19k Pro on 2025.4.8.
 */
export function decodeLuxos(
  replies: LuxosReplies,
  { profiles, control } = luxosPoints(luxosProfiles(replies.profiles)),
): MinerFields {
  const config = mergedRecords(replies.config, 'CONFIG');
  const version = mergedRecords(replies.version, 'VERSION');
  const stats = mergedRecords(replies.stats, 'STATS');
  const summary = mergedRecords(replies.summary, 'SUMMARY');
  const powerWatts = firstNumber(mergedRecords(replies.power, 'POWER'), 'Watts');
  const ths = recentHashrateThs(summary) ?? recentHashrateThs(stats);
  const nominalThs =
    hashrateThs(firstNumber(stats, 'total_rateideal'), rateUnitOf(stats)) ??
    hashrateThs(firstNumber(config, 'NameplateTHS'), 'TH');
  const profile = profiles.find(({ name }) => name === firstText(config, 'Profile'));
  const uptimeSeconds = firstNumber(summary, 'Elapsed') ?? firstNumber(stats, 'Elapsed');
  const reportsPower = powerWatts !== null && powerWatts >= 0;
  return {
    ...nothingSaid('luxos'),
    vendor: 'Bitmain',
    model: firstText(config, 'Model') ?? firstText(version, 'Type') ?? firstText(stats, 'Type'),
    firmwareVersion: firstText(version, 'Miner', 'LUXminer'),
    macAddress: macOf(config['MACAddr']),
    serialNumber: firstText(config, 'SerialNumber'),
    state: stateOf(config, replies.devs, ths, nominalThs, uptimeSeconds),
    hashrateThs: ths,
    nominalHashrateThs: nominalThs,
    powerWatts: reportsPower ? powerWatts : null,
    powerSource: reportsPower ? 'reported' : null,
    powerLimitWatts: profile?.watts ?? null,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(powerWatts, ths),
    chipTemperatureCelsius: hottestChip(stats),
    boardTemperatureCelsius: hottestBoard(stats),
    fanRpm: numberedFans(stats),
    uptimeSeconds,
    rejectedPercent: cgminerRejectedPercent(summary, replies.pools),
    boards: boardsOf(stats, replies.devs),
    pools: poolsOf(replies.pools ?? {}),
    errors: errorsOf(replies.events, config),
    control,
  };
}

/** The profiles of a `profiles` reply, weakest first. */
export function luxosProfiles(reply: CgminerBody | undefined): readonly LuxosProfile[] {
  return sectionRecords(reply ?? {}, 'PROFILES')
    .flatMap((record) => {
      const name = firstText(record, 'Profile Name');
      const watts = firstNumber(record, 'Watts');
      return name === null || watts === null || watts <= 0 ? [] : [{ name, watts }];
    })
    .sort((a, b) => a.watts - b.watts);
}

/** Asleep by order of the curtail command. */
export function isCurtailed(config: CgminerBody): boolean {
  return /sleep/i.test(firstText(config, 'CurtailMode') ?? '');
}

const STARTING_SECONDS = 900;

function stateOf(
  config: CgminerBody,
  devs: CgminerBody | undefined,
  ths: number | null,
  nominalThs: number | null,
  uptimeSeconds: number | null,
): MinerState {
  if (isCurtailed(config)) return 'sleeping';
  if (ths === null) return 'unknown';
  if (ths > 0) {
    const moving =
      flagOf(config['IsTuning']) === true ||
      sectionRecords(devs ?? {}, 'DEVS').some((board) => flagOf(board['IsRamping']) === true);
    // The tuner also runs in the background at full rate: that is hashing.
    return moving && nominalThs !== null && ths < 0.9 * nominalThs ? 'tuning' : 'hashing';
  }
  if (flagOf(config['IsPowerSupplyOn']) === false) return 'stopped';
  return uptimeSeconds !== null && uptimeSeconds < STARTING_SECONDS ? 'starting' : 'stopped';
}

function boardsOf(stats: CgminerBody, devs: CgminerBody | undefined): readonly MinerBoard[] {
  const chains = numberedChains(stats);
  const live = sectionRecords(devs ?? {}, 'DEVS').flatMap((device) => {
    const index = firstNumber(device, 'ID', 'ASC');
    return index === null ? [] : [{ index, ths: recentHashrateThs(device) }];
  });
  if (live.length === 0) return chains;
  return live
    .sort((a, b) => a.index - b.index)
    .map(({ index, ths }) => {
      // Chain rates of `stats` are averages since start; `devs` has the last seconds.
      const chain = chains.find((candidate) => candidate.index === index);
      return {
        index,
        hashrateThs: ths,
        chipTemperatureCelsius: chain?.chipTemperatureCelsius ?? null,
        chipsAlive: chain?.chipsAlive ?? null,
        chips: chain?.chips ?? null,
      };
    });
}

function errorsOf(events: CgminerBody | undefined, config: CgminerBody): readonly DeviceFault[] {
  const faults = sectionRecords(events ?? {}, 'EVENTS').map((event) => {
    const target = firstText(event, 'Target') ?? 'MINER';
    const id = firstNumber(event, 'ID');
    return {
      code: firstText(event, 'Code') ?? 'EVENT',
      message: `[${target}${id === null ? '' : ` ${id}`}] ${firstText(event, 'Description') ?? ''}`,
    };
  });
  const status = firstText(config, 'SystemStatus');
  if (status !== null && status !== 'Normal')
    faults.push({ code: 'SYSTEM_STATUS', message: `System status: ${status}` });
  return faults;
}

/** Operating points of one unit: they change seldom and go into every reading. */
export interface LuxosPoints {
  readonly profiles: readonly LuxosProfile[];
  readonly control: LoadControl;
}

/** The points that `profiles` make possible. */
export function luxosPoints(profiles: readonly LuxosProfile[]): LuxosPoints {
  const presetsWatts = [...new Set(profiles.map(({ watts }) => watts))];
  const minWatts = presetsWatts[0];
  const control = {
    sleep: true,
    wake: true,
    powerLimit:
      minWatts === undefined
        ? null
        : { kind: 'preset' as const, minWatts, maxWatts: presetsWatts.at(-1) ?? minWatts, presetsWatts },
    sleepMs: LUXOS_TIMING.sleepMs,
    wakeMs: LUXOS_TIMING.wakeMs,
    changeMs: minWatts === undefined ? null : LUXOS_TIMING.changeMs,
  };
  return { profiles, control };
}
