import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { MinerBoard, MinerPool, MinerReading, SampleTime } from '../load-driver.ts';

/** What a reading says, apart from when. */
export type MinerFields = Omit<MinerReading, keyof SampleTime>;

/** A reading in which the device said nothing and can be told nothing. */
export function nothingSaid(firmware: MinerFirmware): MinerFields {
  return {
    kind: 'miner',
    firmware,
    vendor: null,
    model: null,
    firmwareVersion: null,
    macAddress: null,
    serialNumber: null,
    state: 'unknown',
    hashrateThs: null,
    nominalHashrateThs: null,
    powerWatts: null,
    powerSource: null,
    powerLimitWatts: null,
    efficiencyJoulesPerTh: null,
    chipTemperatureCelsius: null,
    boardTemperatureCelsius: null,
    fanRpm: [],
    uptimeSeconds: null,
    boards: [],
    pools: [],
    errors: [],
    control: {
      sleep: false,
      wake: false,
      powerLimit: null,
      sleepMs: null,
      wakeMs: null,
      changeMs: null,
    },
  };
}

/**
 * A number as miners write it: 12.5, "12.5", "58.94W", "4052.00 RPM". `null` for "", "N/A", "nan", lists and
 * everything else: not knowing is not 0.
 */
export function numberOf(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string' || value.length > LONGEST_NUMBER) return null;
  const match = /^\s*([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*[a-z%°/]*\s*$/i.exec(value);
  if (match === null) return null;
  const number = Number(match[1]);
  return Number.isFinite(number) ? number : null;
}

/** No number of a miner is written longer; what is longer is not looked into. */
const LONGEST_NUMBER = 64;
/** More pools than any miner has. */
const MOST_POOLS = 64;

/** The first of `names` that holds a number. */
export function firstNumber(record: CgminerBody, ...names: readonly string[]): number | null {
  for (const name of names) {
    const number = numberOf(record[name]);
    if (number !== null) return number;
  }
  return null;
}

/** The first of `names` that holds text, trimmed and without the quotes some firmware adds; "" and "N/A" are none. */
export function firstText(record: CgminerBody, ...names: readonly string[]): string | null {
  for (const name of names) {
    const value = record[name];
    if (typeof value !== 'string') continue;
    const text = value.trim().replace(/^'(.*)'$/, '$1');
    if (text !== '' && text !== 'N/A') return text.slice(0, 200);
  }
  return null;
}

/** A flag as miners write it: true, "true", 1, "1", "Y". */
export function flagOf(value: unknown): boolean | null {
  if (typeof value === 'boolean') return value;
  if (typeof value === 'number') return value === 1 ? true : value === 0 ? false : null;
  if (typeof value !== 'string') return null;
  const text = value.toLowerCase();
  if (text === 'true' || text === '1' || text === 'y') return true;
  if (text === 'false' || text === '0' || text === 'n') return false;
  return null;
}

/** `aa:bb:...` in lower case from any spelling, `null` when it is not 12 hex digits (or all zero). */
export function macOf(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > LONGEST_NUMBER) return null;
  const digits = value.replace(/[:.\-\s]/g, '').toLowerCase();
  if (!/^[0-9a-f]{12}$/.test(digits) || /^0+$/.test(digits)) return null;
  return digits.match(/../g)!.join(':');
}

/** The hottest of sensors given as "78-50-69-70" or as a list of numbers; 0 and below are absent sensors. */
export function hottest(...values: readonly unknown[]): number | null {
  let highest: number | null = null;
  for (const value of values) {
    const parts = Array.isArray(value) ? value : typeof value === 'string' ? value.split('-') : [value];
    for (const part of parts) {
      const celsius = numberOf(part);
      if (celsius !== null && celsius > 0 && celsius < 200 && (highest === null || celsius > highest))
        highest = celsius;
    }
  }
  return highest;
}

/** Above any SHA-256 machine since 2016: a wrong unit or a broken sensor, not a hashrate. */
const HIGHEST_HASHRATE_THS = 1500;

/** What a hashrate is given in, per second; `null`: something that is no hash. */
export type RateUnit = 'MH' | 'GH' | 'TH' | null;

/** TH/s from a field in `unit`; `null` when negative or beyond any machine. */
export function hashrateThs(value: number | null, unit: RateUnit): number | null {
  if (value === null || unit === null) return null;
  const perTh = { MH: 1e6, GH: 1e3, TH: 1 }[unit];
  const ths = value / perTh;
  return ths >= 0 && ths <= HIGHEST_HASHRATE_THS ? ths : null;
}

/**
 * The unit of fields whose names carry none (`rate_5s`, `total_rateideal`, `chain_rate1`): the one that Bitmain's
 * firmware names beside them ("GH", "GH/s"), else GH/s.
 */
export function rateUnitOf(record: CgminerBody): RateUnit {
  const said = firstText(record, 'rate_unit')?.toUpperCase().replace('/S', '');
  if (said === undefined) return 'GH';
  return said === 'MH' || said === 'GH' || said === 'TH' ? said : null;
}

/**
 * The hashrate to control by: the shortest window there is, in whichever unit its name carries. Long
 * averages survive a throttle for hours.
 */
export function recentHashrateThs(record: CgminerBody): number | null {
  for (const window of ['5s', '1m', '5m', 'av']) {
    for (const unit of ['GH', 'MH'] as const) {
      const ths = hashrateThs(firstNumber(record, `${unit}S ${window}`), unit);
      if (ths !== null) return ths;
    }
  }
  return null;
}

/** Pools as cgminer lists them, in order of priority where it is given. */
export function poolsOf(body: CgminerBody): readonly MinerPool[] {
  return sectionRecords(body, 'POOLS')
    .slice(0, MOST_POOLS)
    .map((pool) => ({
      url: firstText(pool, 'URL', 'Stratum URL', 'url') ?? '',
      user: firstText(pool, 'User', 'user', 'account'),
      status: poolStatus(firstText(pool, 'Status', 'status')),
      priority: firstNumber(pool, 'Priority', 'priority', 'pool-priority'),
    }));
}

function poolStatus(said: string | null): MinerPool['status'] {
  switch (said?.toLowerCase()) {
    case 'alive':
      return 'alive';
    case 'dead':
      return 'dead';
    case 'disabled':
      return 'disabled';
    case 'rejecting':
      return 'rejecting';
    default:
      return 'unknown';
  }
}

/** Boards of the numbered `chain_*` fields that Bitmain's firmware and its descendants report. */
export function numberedChains(stats: CgminerBody): readonly MinerBoard[] {
  const boards: MinerBoard[] = [];
  const unit = rateUnitOf(stats);
  for (let chain = 1; chain <= 16; chain += 1) {
    const chipsAlive = firstNumber(stats, `chain_acn${chain}`);
    const ths = hashrateThs(firstNumber(stats, `chain_rate${chain}`), unit);
    // An absent chain is listed with 0 chips and no rate.
    if (chipsAlive === null || (chipsAlive === 0 && (ths ?? 0) === 0)) continue;
    boards.push({
      index: chain - 1,
      hashrateThs: ths,
      chipTemperatureCelsius: hottest(stats[`temp_chip${chain}`], stats[`temp2_${chain}`]),
      chipsAlive,
      chips: chipsOnMap(stats[`chain_acs${chain}`]),
    });
  }
  return boards;
}

/** How many chips a map like " ooo oxo" shows, alive or not. */
function chipsOnMap(map: unknown): number | null {
  if (typeof map !== 'string') return null;
  const chips = map.match(/[ox]/g)?.length ?? 0;
  return chips > 0 ? chips : null;
}

/** fan1 to fan8 where they are given. */
export function numberedFans(stats: CgminerBody): readonly number[] {
  const count = firstNumber(stats, 'fan_num') ?? 8;
  const fans: number[] = [];
  for (let fan = 1; fan <= 8 && fans.length < count; fan += 1) {
    const rpm = firstNumber(stats, `fan${fan}`);
    if (rpm !== null && rpm >= 0) fans.push(rpm);
  }
  return fans;
}

/** All records of a section in one: firmware splits or merges them at will. */
export function mergedRecords(body: CgminerBody | undefined, section: string): CgminerBody {
  const merged: Record<string, unknown> = {};
  for (const record of body === undefined ? [] : sectionRecords(body, section)) Object.assign(merged, record);
  return merged;
}

/** J/TH = W per TH/s, while there is work to speak of. */
export function efficiencyJoulesPerTh(powerWatts: number | null, ths: number | null): number | null {
  return powerWatts === null || ths === null || powerWatts <= 0 || ths <= 0 ? null : powerWatts / ths;
}
