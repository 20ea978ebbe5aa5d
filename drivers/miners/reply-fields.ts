import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { MinerBoard, MinerPool, MinerReading, SampleTime } from '../load-driver.ts';

/** What a reading says, apart from when. */
export type MinerFields = Omit<MinerReading, keyof SampleTime>;

/** A reading in which the device said nothing and can be told nothing; never written to. */
export function nothingSaid(firmware: MinerFirmware): MinerFields {
  let nothing = NOTHING_SAID.get(firmware);
  if (nothing === undefined) {
    nothing = Object.freeze(emptyReading(firmware));
    NOTHING_SAID.set(firmware, nothing);
  }
  return nothing;
}

const NOTHING_SAID = new Map<MinerFirmware, MinerFields>();

function emptyReading(firmware: MinerFirmware): MinerFields {
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
    fanRpm: Object.freeze([]),
    uptimeSeconds: null,
    rejectedPercent: null,
    boards: Object.freeze([]),
    pools: Object.freeze([]),
    errors: Object.freeze([]),
    control: Object.freeze({
      sleep: false,
      wake: false,
      powerLimit: null,
      sleepMs: null,
      wakeMs: null,
      changeMs: null,
    }),
  };
}

/**
 * A number as miners write it: 12.5, "12.5", "58.94W", "4052.00 RPM", "262K" (a difficulty). `null` for "", "N/A", "nan", lists and
 * everything else: not knowing is not 0.
 */
export function numberOf(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string' || value.length > LONGEST_NUMBER) return null;
  if (isPlainNumber(value)) return Number(value);
  const match = /^\s*([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*([a-z%°/]*)\s*$/i.exec(value);
  if (match === null) return null;
  const number = Number(match[1]) * (MULTIPLES.get(match[2]!) ?? 1);
  return Number.isFinite(number) ? number : null;
}

/** Letters behind a number that stand alone: a multiple, no unit. */
const MULTIPLES: ReadonlyMap<string, number> = new Map([
  ['K', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['T', 1e12],
]);

/** Nothing but digits, with a point between two of them at most: most numbers that are text, told without a pattern. */
function isPlainNumber(text: string): boolean {
  let point = -1;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === POINT && point < 0) point = at;
    else if (code < DIGIT_0 || code > DIGIT_9) return false;
  }
  return text.length > 0 && point !== 0 && point !== text.length - 1;
}

const POINT = 0x2e;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

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
    const trimmed = value.trim();
    const text = trimmed.startsWith("'") ? trimmed.replace(/^'(.*)'$/, '$1') : trimmed;
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
  if (/^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/.test(value)) return value === ZERO_MAC ? null : value;
  if (COLON_MAC.test(value)) return macOf(value.toLowerCase());
  const digits = value.replace(/[:.\-\s]/g, '').toLowerCase();
  if (!/^[0-9a-f]{12}$/.test(digits) || /^0+$/.test(digits)) return null;
  return digits.match(/../g)!.join(':');
}

const COLON_MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;
const ZERO_MAC = '00:00:00:00:00:00';

/** The hottest of sensors given as "78-50-69-70" or as a list of numbers; 0 and below are absent sensors. */
export function hottest(...values: readonly unknown[]): number | null {
  let highest: number | null = null;
  for (const value of values) {
    if (Array.isArray(value)) for (const part of value) highest = hotter(highest, part);
    else if (typeof value === 'string') for (const part of value.split('-')) highest = hotter(highest, part);
    else highest = hotter(highest, value);
  }
  return highest;
}

function hotter(highest: number | null, sensor: unknown): number | null {
  const celsius = numberOf(sensor);
  return celsius !== null && celsius > 0 && celsius < 200 && (highest === null || celsius > highest)
    ? celsius
    : highest;
}

/** The names of numbered fields, `fan1` and on: put together once, as a name that is new is slow to look up. */
export function numberedNames(name: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${name}${index + 1}`);
}

const CHIP_SENSORS = numberedNames('temp_chip', 4);
const BOARD_SENSORS = numberedNames('temp_pcb', 4);

/** The hottest of the chip sensors that Bitmain's firmware and its descendants number. */
export function hottestChip(stats: CgminerBody): number | null {
  return hottest(...CHIP_SENSORS.map((name) => stats[name]));
}

/** The same of the board sensors. */
export function hottestBoard(stats: CgminerBody): number | null {
  return hottest(...BOARD_SENSORS.map((name) => stats[name]));
}

/** Above any SHA-256 machine since 2016: a wrong unit or a broken sensor, not a hashrate. */
const HIGHEST_HASHRATE_THS = 1500;

/** What a hashrate is given in, per second; `null`: something that is no hash. */
export type RateUnit = 'MH' | 'GH' | 'TH' | null;

const PER_TH = { MH: 1e6, GH: 1e3, TH: 1 } as const;

/** TH/s from a field in `unit`; `null` when negative or beyond any machine. */
export function hashrateThs(value: number | null, unit: RateUnit): number | null {
  if (value === null || unit === null) return null;
  const ths = value / PER_TH[unit];
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
  for (const [name, unit] of RATES) {
    const ths = hashrateThs(numberOf(record[name]), unit);
    if (ths !== null) return ths;
  }
  return null;
}

const RATES = ['5s', '1m', '5m', 'av'].flatMap((window) => [
  [`GHS ${window}`, 'GH'] as const,
  [`MHS ${window}`, 'MH'] as const,
]);

/** Pools as cgminer lists them, in order of priority where it is given. */
export function poolsOf(body: CgminerBody): readonly MinerPool[] {
  return poolRecords(body).map((pool) => ({
    url: poolUrl(pool),
    user: firstText(pool, 'User', 'user', 'account'),
    status: poolStatus(firstText(pool, 'Status', 'status')),
    priority: firstNumber(pool, 'Priority', 'priority', 'pool-priority'),
  }));
}

/** What is said of each pool. */
export function poolRecords(body: CgminerBody): readonly CgminerBody[] {
  return sectionRecords(body, 'POOLS').slice(0, MOST_POOLS);
}

/** Where a pool is, "" where it is not said. */
export function poolUrl(pool: CgminerBody): string {
  return firstText(pool, 'URL', 'Stratum URL', 'url') ?? '';
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

/** With fewer shares than this, one more or less is half a per cent and more: it tells nothing of the miner. */
const FEWEST_SHARES = 200;

const ACCEPTED = ['Accepted', 'accepted', 'accepted_shares', 'acceptedSolutions'];
const REJECTED = ['Rejected', 'rejected', 'rejected_shares', 'rejectedSolutions'];

/**
 * Per cent of the shares in `records` (a summary, or each pool) that pools rejected. A share is worth its difficulty:
 * where every record tells that, shares are weighed by it. A record that does not count both kinds is left out;
 * `null` where too few shares remain.
 */
export function rejectedPercent(records: readonly CgminerBody[]): number | null {
  const counts = { accepted: 0, rejected: 0 };
  const weighed = { accepted: 0, rejected: 0 };
  let weighs = true;
  for (const record of records) {
    const [accepted, rejected] = [firstNumber(record, ...ACCEPTED), firstNumber(record, ...REJECTED)];
    if (accepted === null || rejected === null || accepted < 0 || rejected < 0) continue;
    const difficulty = {
      accepted: Math.max(0, firstNumber(record, 'Difficulty Accepted') ?? 0),
      rejected: Math.max(0, firstNumber(record, 'Difficulty Rejected') ?? 0),
    };
    // A difficulty that is missing, or not kept, where there are shares.
    if (accepted > 0 !== difficulty.accepted > 0 || rejected > 0 !== difficulty.rejected > 0) weighs = false;
    counts.accepted += accepted;
    counts.rejected += rejected;
    weighed.accepted += difficulty.accepted;
    weighed.rejected += difficulty.rejected;
  }
  if (counts.accepted + counts.rejected < FEWEST_SHARES) return null;
  const { accepted, rejected } = weighs ? weighed : counts;
  const total = accepted + rejected;
  return Number.isFinite(total) ? (rejected / total) * 100 : null;
}

/** The same from cgminer's replies: of the summary, else of its pools together. */
export function cgminerRejectedPercent(summary: CgminerBody, pools: CgminerBody | undefined): number | null {
  return rejectedPercent([summary]) ?? rejectedPercent(poolRecords(pools ?? {}));
}

/** Boards of the numbered `chain_*` fields that Bitmain's firmware and its descendants report. */
export function numberedChains(stats: CgminerBody): readonly MinerBoard[] {
  const boards: MinerBoard[] = [];
  const unit = rateUnitOf(stats);
  for (const [index, names] of CHAINS.entries()) {
    const chipsAlive = numberOf(stats[names.alive]);
    if (chipsAlive === null) continue;
    const ths = hashrateThs(numberOf(stats[names.rate]), unit);
    // An absent chain is listed with 0 chips and no rate.
    if (chipsAlive === 0 && (ths ?? 0) === 0) continue;
    boards.push({
      index,
      hashrateThs: ths,
      chipTemperatureCelsius: hottest(stats[names.chip], stats[names.otherChip]),
      chipsAlive,
      chips: chipsOnMap(stats[names.map]),
    });
  }
  return boards;
}

const CHAINS = Array.from({ length: 16 }, (_, index) => ({
  alive: `chain_acn${index + 1}`,
  rate: `chain_rate${index + 1}`,
  chip: `temp_chip${index + 1}`,
  otherChip: `temp2_${index + 1}`,
  map: `chain_acs${index + 1}`,
}));

/** How many chips a map like " ooo oxo" shows, alive or not. */
function chipsOnMap(map: unknown): number | null {
  if (typeof map !== 'string') return null;
  let chips = 0;
  for (let at = 0; at < map.length; at += 1) {
    const code = map.charCodeAt(at);
    if (code === ALIVE || code === DEAD) chips += 1;
  }
  return chips > 0 ? chips : null;
}

/** `o` and `x`. */
const ALIVE = 0x6f;
const DEAD = 0x78;

/** fan1 to fan8 where they are given. */
export function numberedFans(stats: CgminerBody): readonly number[] {
  const count = firstNumber(stats, 'fan_num') ?? 8;
  const fans: number[] = [];
  for (const name of FANS) {
    if (fans.length >= count) break;
    const rpm = numberOf(stats[name]);
    if (rpm !== null && rpm >= 0) fans.push(rpm);
  }
  return fans;
}

const FANS = numberedNames('fan', 8);

/** All records of a section in one: firmware splits or merges them at will. */
export function mergedRecords(body: CgminerBody | undefined, section: string): CgminerBody {
  const records = body === undefined ? [] : sectionRecords(body, section);
  const [first = NO_FIELDS] = records;
  if (records.length < 2) return first;
  // The last is most often the largest: it is copied, and what only those before it have is put to it.
  const merged: Record<string, unknown> = { ...withoutProto(records.at(-1)!) };
  for (let at = records.length - 2; at >= 0; at -= 1) {
    const record = withoutProto(records[at]!);
    for (const name of Object.keys(record)) if (!Object.hasOwn(merged, name)) merged[name] = record[name];
  }
  return merged;
}

const NO_FIELDS: CgminerBody = Object.freeze({});

/** A field that JSON may name and assignment takes for something else, which the running agent forbids by throwing. */
function withoutProto(record: CgminerBody): CgminerBody {
  if (!Object.hasOwn(record, '__proto__')) return record;
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== '__proto__'));
}

/** J/TH = W per TH/s, while there is work to speak of. */
export function efficiencyJoulesPerTh(powerWatts: number | null, ths: number | null): number | null {
  return powerWatts === null || ths === null || powerWatts <= 0 || ths <= 0 ? null : powerWatts / ths;
}
