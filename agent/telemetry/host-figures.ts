import type { Celsius, EpochMs, Percent } from '../../protocols/units.ts';

/** What files of /proc and /sys say. Pure: text in, figures out; `null` for what the text does not hold. */

/** Traffic of one network interface since the machine started. */
export interface InterfaceCounters {
  readonly name: string;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Frames that were damaged or lost, both directions. */
  readonly errors: number;
  readonly drops: number;
}

/** How long tasks waited for a resource, as a share of time. Source: Documentation/accounting/psi.rst. */
export interface Pressure {
  /** Some task waited, over the last 10 s and the last minute. */
  readonly some10Percent: Percent;
  readonly some60Percent: Percent;
}

/** Bytes that can be had without swapping. Source: proc_meminfo(5), `MemAvailable`. */
export function availableBytesOf(meminfo: string): number | null {
  const match = /^MemAvailable:\s+(\d+) kB/m.exec(meminfo);
  return match === null ? null : Number(match[1]) * 1024;
}

/** `/proc/pressure/cpu`, `io` or `memory`. */
export function pressureOf(text: string): Pressure | null {
  const match = /^some avg10=([\d.]+) avg60=([\d.]+)/m.exec(text);
  return match === null ? null : { some10Percent: Number(match[1]), some60Percent: Number(match[2]) };
}

/** Interfaces that carry something, from `/proc/net/dev`; the loopback is none of them. */
export function interfacesOf(netDev: string): InterfaceCounters[] {
  const found: InterfaceCounters[] = [];
  for (const line of netDev.split('\n')) {
    const match = /^\s*([^\s:]+):\s*(.*)$/.exec(line);
    if (match === null || match[1] === 'lo') continue;
    const columns = match[2]!.trim().split(/\s+/).map(Number);
    if (columns.length < 16 || columns.some((value) => !Number.isFinite(value))) continue;
    const at = (index: number) => columns[index]!;
    if (at(0) + at(8) === 0) continue;
    found.push({
      name: match[1]!,
      receivedBytes: at(0),
      sentBytes: at(8),
      errors: at(2) + at(10),
      drops: at(3) + at(11),
    });
  }
  return found.slice(0, 16);
}

/** Sectors of /proc/diskstats are 512 bytes on every disk. Source: Documentation/admin-guide/iostats.rst. */
const SECTOR_BYTES = 512;

/** Bytes written to a disk (`vda`, `mmcblk0`) since the machine started, from `/proc/diskstats`. */
export function writtenBytesOf(diskstats: string, disk: string): number | null {
  for (const line of diskstats.split('\n')) {
    const columns = line.trim().split(/\s+/);
    if (columns[2] === disk && columns.length >= 10) return Number(columns[9]) * SECTOR_BYTES;
  }
  return null;
}

/**
 * Share of its life that flash has used, from `life_time` of an eMMC (`0x02 0x01`: types A and B, a step is 10 %; the
 * worse counts; 0x0b: more than it was made for). Source: JEDEC JESD84-B51, DEVICE_LIFE_TIME_EST_TYP.
 */
export function wearPercentOf(lifeTime: string): Percent | null {
  const steps = [...lifeTime.matchAll(/0x([0-9a-f]{2})/gi)].map((match) => Number.parseInt(match[1]!, 16));
  const worst = Math.max(0, ...steps.filter((step) => step <= 0x0b));
  // 0: the card does not say.
  return worst === 0 ? null : worst * 10;
}

/**
 * The same from `smartctl -j -x`: an NVMe disk says it in its health log, a SATA disk in its device statistics; `null` where
 * neither does. May be beyond 100. Sources: NVM Express base specification, SMART / Health log, Percentage Used; ACS-3
 * A.5.8, Percentage Used Endurance Indicator; names as smartmontools 7 prints them.
 */
export function wearOfSmartctl(json: string): Percent | null {
  const said = parsed(json);
  const ofNvme = at(said, 'nvme_smart_health_information_log', 'percentage_used');
  if (isShare(ofNvme)) return ofNvme;
  const pages = at(said, 'ata_device_statistics', 'pages');
  for (const page of Array.isArray(pages) ? pages : []) {
    const table = at(page, 'table');
    for (const row of Array.isArray(table) ? table : []) {
      const value = at(row, 'value');
      if (at(row, 'name') === 'Percentage Used Endurance Indicator' && isShare(value)) return value;
    }
  }
  return null;
}

const isShare = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255;

function at(value: unknown, ...keys: readonly string[]): unknown {
  let here = value;
  for (const key of keys) {
    if (typeof here !== 'object' || here === null) return undefined;
    here = (here as Readonly<Record<string, unknown>>)[key];
  }
  return here;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

/** Before this program was written. */
const EARLIEST_MS: EpochMs = Date.UTC(2026, 10, 1);

/** Whether a wall clock can be right at all: a box without a battery starts in 1970, or where it was switched off. */
export function clockIsPossible(epochMs: EpochMs): boolean {
  return epochMs >= EARLIEST_MS;
}

/** The hottest of sensors that give thousandths of a degree; what no chip can have is a sensor that is not there. */
export function hottestOf(millidegrees: readonly string[]): Celsius | null {
  const believed = millidegrees
    .filter((text) => text.trim() !== '')
    .map((text) => Number(text) / 1000)
    .filter((value) => Number.isFinite(value) && value > -40 && value < 150);
  return believed.length === 0 ? null : Math.max(...believed);
}

/** The whole disk below a partition: `mmcblk0p2` to `mmcblk0`, `sda1` to `sda`, `nvme0n1p3` to `nvme0n1`. */
export function diskOfPartition(partition: string): string {
  return partition.replace(/(?<=\d)p\d+$/, '').replace(/^((?:sd|vd|hd|xvd)[a-z]+)\d+$/, '$1');
}

/** What carries a folder, from `/proc/self/mounts`: the longest mount point above it; `null` for none that is a disk. */
export function partitionOf(mounts: string, folder: string): string | null {
  let best = '';
  let device: string | null = null;
  for (const line of mounts.split('\n')) {
    const [source = '', point = ''] = line.split(' ');
    const above = point === '/' || folder === point || folder.startsWith(`${point}/`);
    if (!above || point.length < best.length || point === '') continue;
    best = point;
    device = source.startsWith('/dev/') ? source.slice('/dev/'.length) : null;
  }
  return device;
}

/** `timedatectl show -p NTPSynchronized --value`: what the kernel itself believes, whoever disciplines the clock. */
export function synchronisedOf(answer: string): boolean | null {
  const said = answer.trim();
  return said === 'yes' ? true : said === 'no' ? false : null;
}
