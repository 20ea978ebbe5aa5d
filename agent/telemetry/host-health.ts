import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, statfsSync } from 'node:fs';
import { cpus, freemem, loadavg, totalmem, uptime } from 'node:os';
import { resolve } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { environment } from '../../protocols/process.ts';
import type { Celsius, EpochMs, Milliseconds, Percent, Seconds } from '../../protocols/units.ts';
import {
  availableBytesOf,
  clockIsPossible,
  diskOfPartition,
  hottestOf,
  type InterfaceCounters,
  interfacesOf,
  type Pressure,
  partitionOf,
  pressureOf,
  synchronisedOf,
  wearOfSmartctl,
  wearPercentOf,
  writtenBytesOf,
} from './host-figures.ts';

/** The gateway's own health. Every figure may be `null`: small boxes and sandboxes hide some. */
export interface HostHealth {
  readonly uptimeSeconds: Seconds;
  readonly load1: number;
  readonly cpuCount: number;
  readonly memoryTotalBytes: number;
  readonly memoryAvailableBytes: number;
  readonly temperatureCelsius: Celsius | null;
  readonly diskFreeBytes: number | null;
  readonly diskUsedPercent: Percent | null;
  /** Share of the last 10 s in which some task waited for CPU, memory or disk. Source: Linux PSI. */
  readonly pressurePercent: {
    readonly cpu: Percent | null;
    readonly io: Percent | null;
    readonly memory: Percent | null;
  };
  /** The same over the last minute. */
  readonly pressure60Percent: { readonly io: Percent | null; readonly memory: Percent | null };
  /** Written to the disk of the state since the machine started. */
  readonly diskWrittenBytes: number | null;
  /** Share of its life that the flash of the state has used. */
  readonly diskWearPercent: Percent | null;
  readonly interfaces: readonly InterfaceCounters[];
  readonly clockSynchronised: boolean | null;
  readonly process: {
    readonly residentBytes: number | null;
    readonly heapUsedBytes: number;
    readonly loopDelayP99Ms: Milliseconds;
    readonly openFiles: number | null;
  };
}

/** Within this time the same figures are given again: who asks often does not shorten what the delay is taken over. */
const FRESH_MS = 5000;
/** Longest wait for an answer about the clock or the disk, and how often the clock is asked for. */
const ANSWER_LIMIT_MS = 5000;
const CLOCK_EVERY_MS = 60_000;

/**
 * Reads the gateway from /proc and /sys: about 0.3 ms in all, where an inventory library starts processes.
 * The event-loop histogram starts with the first call.
 */
export class HostHealthReader {
  private readonly stateFolder: string;
  private readonly delay = monitorEventLoopDelay({ resolution: 20 });
  private readonly disk: string | null;
  private last: HostHealth | null = null;
  private readAt = Number.NEGATIVE_INFINITY;
  private clockAskedAt = Number.NEGATIVE_INFINITY;
  private clockSaid: boolean | null = null;
  private wearSaid: Percent | null = null;
  private readonly epochMs: () => EpochMs;

  constructor(stateFolder: string, epochMs: () => EpochMs = Date.now) {
    this.stateFolder = stateFolder;
    this.epochMs = epochMs;
    const partition = partitionOf(read('/proc/self/mounts') ?? '', resolve(stateFolder));
    this.disk = partition === null ? null : diskOfPartition(partition);
    this.delay.enable();
  }

  /** The figures of now, or of a few seconds ago. */
  read(): HostHealth {
    const now = performance.now();
    if (this.last === null || now - this.readAt > FRESH_MS) {
      this.readAt = now;
      this.last = this.figures();
    }
    return this.last;
  }

  private figures(): HostHealth {
    const disk = diskOf(this.stateFolder);
    const p99 = this.delay.percentile(99) / 1e6;
    this.delay.reset();
    return {
      uptimeSeconds: Math.round(uptime()),
      load1: loadavg()[0] ?? 0,
      cpuCount: cpus().length,
      memoryTotalBytes: totalmem(),
      memoryAvailableBytes: availableBytesOf(read('/proc/meminfo') ?? '') ?? freemem(),
      temperatureCelsius: hottestOf(sensors()),
      ...disk,
      pressurePercent: {
        cpu: pressure('cpu')?.some10Percent ?? null,
        io: pressure('io')?.some10Percent ?? null,
        memory: pressure('memory')?.some10Percent ?? null,
      },
      pressure60Percent: {
        io: pressure('io')?.some60Percent ?? null,
        memory: pressure('memory')?.some60Percent ?? null,
      },
      diskWrittenBytes: this.disk === null ? null : writtenBytesOf(read('/proc/diskstats') ?? '', this.disk),
      diskWearPercent:
        this.disk === null
          ? null
          : (wearPercentOf(read(`/sys/block/${this.disk}/device/life_time`) ?? '') ?? this.wearSaid),
      interfaces: interfacesOf(read('/proc/net/dev') ?? ''),
      clockSynchronised: this.clockSynchronised(),
      process: {
        residentBytes: residentBytes(),
        heapUsedBytes: process.memoryUsage().heapUsed,
        // Resolution of the histogram is 20 ms: what is below it is noise.
        loopDelayP99Ms: Number.isFinite(p99) ? Math.max(0, Math.round(p99 - 20)) : 0,
        openFiles: countOf('/proc/self/fd'),
      },
    };
  }

  /**
   * The figures of now, with what only other programs know: about the clock, and about the wear of an NVMe or SATA disk,
   * which smartmontools tell root. The agent itself may not ask the disk.
   */
  async readAll(): Promise<HostHealth> {
    await Promise.all([this.askClock(), this.askDisk()]);
    this.last = null;
    return this.read();
  }

  /**
   * systemd-timesyncd touches a file; of chrony and ntpd only the kernel knows, which `timedatectl` asks. Its answer
   * comes later: the one before counts until then.
   */
  private clockSynchronised(): boolean | null {
    if (!clockIsPossible(this.epochMs())) return false;
    if (countOf('/run/systemd/timesync') !== null) return read('/run/systemd/timesync/synchronized') !== null;
    if (this.readAt - this.clockAskedAt > CLOCK_EVERY_MS) void this.askClock();
    return this.clockSaid;
  }

  private askClock(): Promise<void> {
    this.clockAskedAt = performance.now();
    return new Promise((done) => {
      execFile(
        'timedatectl',
        ['show', '-p', 'NTPSynchronized', '--value'],
        { timeout: ANSWER_LIMIT_MS, env: environment() },
        (error, stdout) => {
          this.clockSaid = error === null ? synchronisedOf(stdout) : null;
          done();
        },
      );
    });
  }

  private askDisk(): Promise<void> {
    const { disk } = this;
    if (disk === null) return Promise.resolve();
    return new Promise((done) => {
      // Its exit code tells of the health of the disk: what it prints counts.
      execFile(
        'smartctl',
        ['-j', '-x', `/dev/${disk}`],
        { timeout: ANSWER_LIMIT_MS, maxBuffer: 4e6, env: environment() },
        (_error, stdout) => {
          this.wearSaid = wearOfSmartctl(stdout);
          done();
        },
      );
    });
  }

  close(): void {
    this.delay.disable();
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function countOf(folder: string): number | null {
  try {
    return readdirSync(folder).length;
  } catch {
    return null;
  }
}

function residentBytes(): number | null {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(read('/proc/self/status') ?? '');
  return match === null ? null : Number(match[1]) * 1024;
}

/** What every sensor says. Source: kernel sysfs-thermal and hwmon, thousandths of a degree. */
function sensors(): string[] {
  const zones = names('/sys/class/thermal')
    .filter((name) => name.startsWith('thermal_zone'))
    .map((zone) => `/sys/class/thermal/${zone}/temp`);
  const chips = names('/sys/class/hwmon').flatMap((chip) =>
    names(`/sys/class/hwmon/${chip}`)
      .filter((name) => /^temp\d+_input$/.test(name))
      .map((name) => `/sys/class/hwmon/${chip}/${name}`),
  );
  return [...zones, ...chips].map((path) => read(path) ?? '');
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function diskOf(folder: string): { diskFreeBytes: number | null; diskUsedPercent: number | null } {
  try {
    const { blocks, bavail, bsize } = statfsSync(folder);
    if (blocks === 0) return { diskFreeBytes: null, diskUsedPercent: null };
    return { diskFreeBytes: bavail * bsize, diskUsedPercent: Math.round((1 - bavail / blocks) * 1000) / 10 };
  } catch {
    return { diskFreeBytes: null, diskUsedPercent: null };
  }
}

function pressure(resource: 'cpu' | 'io' | 'memory'): Pressure | null {
  return pressureOf(read(`/proc/pressure/${resource}`) ?? '');
}
