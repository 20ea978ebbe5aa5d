import { type AvalonMode, avalonModes } from '../../config/miners/avalon-modes.ts';
import { findMinerModel } from '../../config/miners/models.ts';
import { AVALON_TIMING } from '../../config/miners/timing.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { DeviceFault, LoadControl, MinerBoard, MinerState } from '../load-driver.ts';
import {
  cgminerRejectedPercent,
  efficiencyJoulesPerTh,
  firstNumber,
  firstText,
  hashrateThs,
  hottest,
  type MinerFields,
  macOf,
  mergedRecords,
  nothingSaid,
  numberedNames,
  numberOf,
  poolsOf,
  recentHashrateThs,
} from './reply-fields.ts';

/** Replies of port 4028 by command; `stats` is whichever of stats, estats and litestats the unit answers. */
export interface AvalonReplies {
  readonly version?: CgminerBody;
  readonly stats?: CgminerBody;
  readonly summary?: CgminerBody;
  readonly pools?: CgminerBody;
}

/** The NAME[VALUE] pairs of a management module. */
export type AvalonFields = ReadonlyMap<string, string>;

/** The state of a unit that was started lately may still be a start. */
const STARTING_SECONDS = 900;
/** No name in the string is longer; what stands between pairs is not searched further back. */
const LONGEST_NAME = 64;

/**
 * A reading of an Avalon. Power is what it draws at the wall (WALLPOWER, else the last figure of PS), not
 * the 6 to 9 % lower DC output; MPO is a goal for the DC side, so it is no limit.
 *
 * Source: `stats` recorded from an A1246; the vendor's API manual for A10 to A15.
 */
export function decodeAvalon(
  replies: AvalonReplies,
  configuredModel: string | null = null,
  fields: AvalonFields = avalonFields(replies.stats),
): MinerFields {
  const version = mergedRecords(replies.version, 'VERSION');
  const summary = mergedRecords(replies.summary, 'SUMMARY');
  const [ownModel, ownVersion] = splitVersion(fields.get('Ver'));
  const model = firstText(version, 'MODEL', 'PROD') ?? ownModel;
  const asleep = isSoftOff(fields);
  const ths =
    hashrateThs(listOf(fields, 'GHSspd')[0] ?? null, 'GH') ?? (asleep ? null : recentHashrateThs(summary));
  const uptimeSeconds = listOf(fields, 'Elapsed')[0] ?? firstNumber(summary, 'Elapsed');
  const state = stateOf(fields, asleep, ths, uptimeSeconds);
  const power = powerOf(fields, model ?? configuredModel, configuredModel, state, ths);
  return {
    ...nothingSaid('avalon'),
    vendor: 'Canaan',
    model,
    firmwareVersion: firstText(version, 'VERSION', 'CGVERSION', 'LVERSION') ?? ownVersion,
    macAddress: macOf(version['MAC']),
    serialNumber: textOf(fields, 'DNA') ?? firstText(version, 'DNA'),
    state,
    hashrateThs: ths,
    nominalHashrateThs: hashrateThs(listOf(fields, 'GHSmm')[0] ?? null, 'GH'),
    ...power,
    efficiencyJoulesPerTh: efficiencyJoulesPerTh(power.powerWatts, ths),
    chipTemperatureCelsius: hottest(listOf(fields, 'TMax'), listOf(fields, 'MTmax')),
    boardTemperatureCelsius: hottest(listOf(fields, 'HBOTemp')),
    fanRpm: FANS.flatMap((name) => {
      const rpm = listOf(fields, name)[0];
      return typeof rpm === 'number' && rpm >= 0 ? [rpm] : [];
    }),
    uptimeSeconds,
    rejectedPercent: cgminerRejectedPercent(summary, replies.pools),
    boards: boardsOf(fields),
    pools: poolsOf(replies.pools ?? {}),
    errors: errorsOf(fields),
    control: controlOf(avalonModes(model)),
  };
}

const FANS = numberedNames('Fan', 8);

function controlOf(modes: readonly AvalonMode[]): LoadControl {
  const { sleepMs, wakeMs, changeMs } = AVALON_TIMING;
  const presetsWatts = modes.map(({ watts }) => watts);
  const [minWatts] = presetsWatts;
  return {
    sleep: true,
    wake: true,
    powerLimit:
      minWatts === undefined
        ? null
        : { kind: 'mode', minWatts, maxWatts: presetsWatts.at(-1) ?? minWatts, presetsWatts },
    sleepMs,
    wakeMs,
    changeMs: minWatts === undefined ? null : changeMs,
  };
}

/** The operating mode in force, `null` where the unit does not say. */
export function workModeOf(fields: AvalonFields): number | null {
  return listOf(fields, 'WORKMODE')[0] ?? null;
}

/** The fields of the one management module; none when there are several, as their figures would be parts. */
export function avalonFields(stats: CgminerBody | undefined): AvalonFields {
  const fields = new Map<string, string>();
  const modules = new Set<string>();
  for (const record of sectionRecords(stats ?? {}, 'STATS'))
    for (const [key, value] of Object.entries(record)) {
      const module = key.startsWith('MM ID') ? /^MM ID(\d+)/.exec(key)?.[1] : undefined;
      if (module === undefined || typeof value !== 'string') continue;
      modules.add(module);
      readPairs(value, fields);
    }
  return modules.size === 1 ? fields : new Map();
}

/** Told to rest. */
export function isSoftOff(fields: AvalonFields): boolean {
  const said = listOf(fields, 'SoftOFF')[0];
  return typeof said === 'number' && said !== 0;
}

function readPairs(text: string, into: Map<string, string>): void {
  let at = 0;
  for (;;) {
    const open = text.indexOf('[', at);
    const close = open < 0 ? -1 : text.indexOf(']', open);
    if (close < 0) return;
    // Newer builds put the pairs inside 'STATS':{...}.
    const name = text
      .slice(Math.max(at, open - LONGEST_NAME), open)
      .replace(/^.*[{}:',]/s, '')
      .trim();
    if (name !== '' && !into.has(name)) into.set(name, text.slice(open + 1, close).trim());
    at = close + 1;
  }
}

/** Characters; the longest list there is has one figure for each of a few hundred chips. */
const LONGEST_LIST = 8192;

function listOf(fields: AvalonFields, name: string): readonly (number | null)[] {
  const value = fields.get(name);
  if (value === undefined || value === '' || value.length > LONGEST_LIST) return [];
  // Most lists are one figure.
  return /\s/.test(value) ? value.split(/\s+/).map(numberOf) : [numberOf(value)];
}

function textOf(fields: AvalonFields, name: string): string | null {
  return firstText({ text: fields.get(name) }, 'text');
}

/** "1246-83-21072802_4ec6bb0_211fc46": the model, then the build that begins with its date. */
function splitVersion(version: string | undefined): readonly [string | null, string | null] {
  const parts = /^(.{1,40}?)-(\d{8}.{0,60})$/.exec(version ?? '');
  return parts === null ? [null, null] : [parts[1] ?? null, parts[2] ?? null];
}

function stateOf(
  fields: AvalonFields,
  asleep: boolean,
  ths: number | null,
  uptimeSeconds: number | null,
): MinerState {
  if (asleep) return 'sleeping';
  if (/In Idle/i.test(fields.get('SYSTEMSTATU') ?? '')) return 'stopped';
  if (ths === null) return 'unknown';
  if (ths > 0) return 'hashing';
  return uptimeSeconds !== null && uptimeSeconds < STARTING_SECONDS ? 'starting' : 'stopped';
}

function powerOf(
  fields: AvalonFields,
  model: string | null,
  configuredModel: string | null,
  state: MinerState,
  ths: number | null,
): Pick<MinerFields, 'powerWatts' | 'powerSource'> {
  const wall = listOf(fields, 'WALLPOWER')[0] ?? listOf(fields, 'PS')[6] ?? null;
  // 0 W at the wall of a machine that answers is a supply that measures nothing.
  if (wall !== null && wall > 0) return { powerWatts: wall, powerSource: 'reported' };
  const known = findMinerModel(model) ?? findMinerModel(configuredModel);
  if (known === null || state !== 'hashing' || ths === null) return { powerWatts: null, powerSource: null };
  return { powerWatts: (known.nominalWatts * ths) / known.nominalHashrateThs, powerSource: 'estimated' };
}

function boardsOf(fields: AvalonFields): readonly MinerBoard[] {
  const rates = listOf(fields, 'MGHS');
  const hottestChips = listOf(fields, 'MTmax');
  const count = Math.min(16, Math.max(rates.length, hottestChips.length));
  const chips = (listOf(fields, 'TA')[0] ?? Number.NaN) / count;
  return Array.from({ length: count }, (_, index) => {
    // One sensor a chip: those that answer count as alive.
    const sensors = listOf(fields, `PVT_T${index}`);
    return {
      index,
      hashrateThs: hashrateThs(rates[index] ?? null, 'GH'),
      chipTemperatureCelsius: hottest(hottestChips[index]),
      chipsAlive: sensors.length === 0 ? null : sensors.filter((celsius) => (celsius ?? 0) > 0).length,
      chips: Number.isInteger(chips) && chips > 0 ? chips : null,
    };
  });
}

/** Fault words and what they speak of; every number in them but 0 is a fault. Source: the vendor's API manual. */
const FAULT_WORDS: readonly (readonly [string, string])[] = [
  ['ECHU', 'hash board'],
  ['ECMM', 'control board'],
  ['HASHS', 'hashing'],
  ['POOLS', 'pool'],
  ['POWS', 'power supply'],
  ['CRC', 'link to the chips'],
  ['FanErr', 'fan'],
];

function errorsOf(fields: AvalonFields): readonly DeviceFault[] {
  const faults = FAULT_WORDS.flatMap(([word, subject]) =>
    listOf(fields, word).flatMap((bits, position) =>
      bits === null || bits === 0
        ? []
        : [{ code: `${word}:${bits}`, message: `fault bits of the ${subject} (place ${position}): ${bits}` }],
    ),
  );
  const supply = listOf(fields, 'PS')[0];
  if (typeof supply === 'number' && supply !== 0)
    faults.push({ code: `PS:${supply}`, message: `error bits of the power supply: ${supply}` });
  return faults;
}
