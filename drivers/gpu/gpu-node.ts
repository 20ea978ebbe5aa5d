import type { Clock } from '../../protocols/clock.ts';
import type { SmiGpu } from '../../protocols/nvidia-smi.ts';
import type { DcgmGpu } from '../../protocols/prometheus-dcgm.ts';
import { decodeDcgm } from '../../protocols/prometheus-dcgm.ts';
import { scrapePrometheus } from '../../protocols/prometheus-scrape.ts';
import type { Result } from '../../protocols/result.ts';
import { fail, ok } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type {
  Applied,
  DeviceFault,
  GpuNodeReading,
  GpuReading,
  Identity,
  LoadCommand,
  LoadControl,
  LoadDriver,
} from '../load-driver.ts';
import { applyCap, type CapPort } from './cap.ts';
import { DcgmWatch } from './dcgm-watch.ts';
import { Hook } from './hook.ts';
import { SmiRunner } from './smi-runner.ts';

/** A GPU node as configured. `command` stands before `nvidia-smi`: nothing for this machine, `[ssh, user@host]`. */
export interface GpuNodeConfig {
  readonly id: string;
  readonly reader:
    | { readonly kind: 'nvidia-smi'; readonly command?: readonly string[]; readonly program?: string }
    | { readonly kind: 'dcgm'; readonly url: string; readonly collectIntervalMs?: Milliseconds };
  /** Without a command of its own, nvidia-smi is reached as the reader reaches it. */
  readonly cap:
    | { readonly kind: 'nvidia-smi'; readonly command?: readonly string[] }
    | { readonly kind: 'command'; readonly command: readonly string[] }
    | { readonly kind: 'none' };
  readonly nameplateWatts: Watts;
  /** The site's own bounds for a cap, inside those of the GPU. */
  readonly capMinWatts?: Watts;
  readonly capMaxWatts?: Watts;
}

export interface GpuNodeDeps {
  readonly clock: Clock;
}

/** How long after a cap the enforced limit shows it. Source: NVIDIA, synchronous in-band; averages run a second. */
const CHANGE_MS: Milliseconds = 5000;
/** Default of dcgm-exporter's own collection. Source: dcgm-exporter README, `--collect-interval`. */
const COLLECT_INTERVAL_MS: Milliseconds = 30_000;
const SCRAPE_TIMEOUT_MS: Milliseconds = 5000;
/** Xids after which a GPU is not to be trusted with work. Source: NVIDIA Xid catalogue. */
const UNUSABLE_XIDS: ReadonlySet<number> = new Set([48, 64, 74, 79, 92, 94, 95, 119, 120, 154]);
const FELL_OFF_THE_BUS = 79;

/** A node of NVIDIA GPUs. Its power is the sum of its boards; the host around them is not in it. */
export function openGpuNode(config: GpuNodeConfig, deps: GpuNodeDeps): LoadDriver {
  return new GpuNode(config, deps);
}

/** What one read of either source brings. */
interface NodeSample {
  readonly source: 'nvidia-smi' | 'dcgm';
  readonly driverVersion: string | null;
  readonly gpus: readonly GpuReading[];
  readonly errors: readonly DeviceFault[];
  readonly requestedAt: MonotonicMs;
  readonly repliedAt: MonotonicMs;
  /** How old the figures may have been when they were asked for. */
  readonly ageMs: Milliseconds;
}

class GpuNode implements LoadDriver {
  readonly deviceId: string;
  private readonly config: GpuNodeConfig;
  private readonly clock: Clock;
  private readonly reader: SmiRunner | null;
  private readonly capper: CapPort | null;
  private readonly watch: DcgmWatch;
  /** Every GPU seen since the start, by identity. */
  private readonly inventory = new Map<string, GpuReading>();
  private readonly closing = new AbortController();
  private isReading = false;

  constructor(config: GpuNodeConfig, deps: GpuNodeDeps) {
    const { reader, cap } = config;
    this.deviceId = config.id;
    this.config = config;
    this.clock = deps.clock;
    this.reader =
      reader.kind === 'nvidia-smi' ? new SmiRunner(reader.command ?? [], deps.clock, reader.program) : null;
    // One way to the node is one runner: its one-at-a-time rule then covers reads and writes together.
    const own = cap.kind === 'nvidia-smi' && cap.command !== undefined ? cap.command : null;
    if (cap.kind === 'none') this.capper = null;
    else if (cap.kind === 'command')
      this.capper = this.hookPort(new Hook(config.id, cap.command, deps.clock));
    else
      this.capper = own === null && this.reader !== null ? this.reader : new SmiRunner(own ?? [], deps.clock);
    const interval = reader.kind === 'dcgm' ? reader.collectIntervalMs : undefined;
    this.watch = new DcgmWatch(interval ?? COLLECT_INTERVAL_MS);
  }

  async identify(signal: AbortSignal): Promise<Result<Identity>> {
    const reading = await this.read(signal);
    if (!reading.ok) return reading;
    const { gpus, driverVersion, source } = reading.value;
    if (gpus.length === 0) return fail('wrong-device', `${this.deviceId}: ${source} shows no GPU`);
    const [first] = gpus;
    const uuids = gpus.map((gpu) => gpu.uuid).sort();
    return ok({
      basis: 'serial',
      value: uuids.join(','),
      vendor: 'NVIDIA',
      model: `${gpus.length} x ${first?.name ?? 'GPU'}`,
      firmware: source,
      firmwareVersion: driverVersion,
      macAddress: null,
      serialNumber: uuids[0] ?? null,
    });
  }

  async read(signal: AbortSignal): Promise<Result<GpuNodeReading>> {
    if (this.isReading) return fail('busy', `${this.deviceId} is being read already`);
    this.isReading = true;
    try {
      const joined = AbortSignal.any([signal, this.closing.signal]);
      const sample = await this.sample(joined);
      return sample.ok ? ok(this.reading(sample.value)) : sample;
    } finally {
      this.isReading = false;
    }
  }

  async apply(command: LoadCommand, signal: AbortSignal): Promise<Result<Applied>> {
    if (command.kind !== 'cap') {
      return fail('unsupported', `${this.deviceId}: a GPU node takes caps per GPU, not ${command.kind}`);
    }
    if (this.capper === null) return fail('unsupported', `${this.deviceId}: no way to cap is configured`);
    const joined = AbortSignal.any([signal, this.closing.signal]);
    return applyCap(this.capper, command, this.config, joined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closing.abort();
  }

  /** The site's own program writes; the node's reader shows what came of it. */
  private hookPort(hook: Hook): CapPort {
    return {
      view: async (signal) => {
        const sample = await this.sample(signal);
        if (!sample.ok) return sample;
        // Figures from before the write would say nothing of it.
        const isOld = sample.value.ageMs > 0;
        return ok(
          sample.value.gpus.map((gpu) => ({
            ...gpu,
            enforcedLimitWatts: isOld ? null : gpu.enforcedLimitWatts,
          })),
        );
      },
      cap: async (uuid, limitWatts, signal) => {
        const asked = await hook.ask({ verb: 'cap', uuid, limitWatts }, signal);
        const sentAt = this.clock.monotonicMs();
        if (asked.ok) return ok({ accepted: true, kind: null, note: asked.value.reason ?? 'done', sentAt });
        const { kind, message } = asked.error;
        // Killed on the way it may have written already.
        if (kind === 'timeout' || kind === 'cancelled')
          return ok({ accepted: null, kind, note: message, sentAt });
        return asked;
      },
    };
  }

  private sample(signal: AbortSignal): Promise<Result<NodeSample>> {
    return this.reader === null ? this.scrape(signal) : this.query(this.reader, signal);
  }

  private async query(runner: SmiRunner, signal: AbortSignal): Promise<Result<NodeSample>> {
    const read = await runner.read(signal);
    if (!read.ok) return read;
    const { report, requestedAt, repliedAt } = read.value;
    const errors = report.remarks.map((message) => ({ code: 'nvidia-smi', message }));
    const gpus: GpuReading[] = [];
    for (const gpu of report.gpus) {
      gpus.push(this.smiReading(gpu));
      const who = gpu.uuid ?? `GPU ${gpu.index ?? '?'}`;
      for (const fault of gpu.faults) errors.push({ code: 'gpu-fault', message: `${who}: ${fault}` });
      if (gpu.recoveryAction !== null) {
        errors.push({ code: 'gpu-recovery', message: `${who} asks for: ${gpu.recoveryAction}` });
      }
    }
    const { driverVersion } = report;
    return ok({ source: 'nvidia-smi', driverVersion, gpus, errors, requestedAt, repliedAt, ageMs: 0 });
  }

  private smiReading(gpu: SmiGpu): GpuReading {
    const known = [...this.inventory.values()].find((seen) => gpu.uuid === null && seen.index === gpu.index);
    const isFaulted = gpu.faults.length > 0 || gpu.uuid === null;
    return {
      uuid: gpu.uuid ?? known?.uuid ?? `index-${gpu.index ?? 'unknown'}`,
      index: gpu.index,
      name: gpu.name ?? known?.name ?? null,
      state: isFaulted ? 'faulted' : 'ok',
      powerWatts: isFaulted ? null : gpu.powerWatts,
      ...shownFigures(gpu),
    };
  }

  private async scrape(signal: AbortSignal): Promise<Result<NodeSample>> {
    const { reader } = this.config;
    if (reader.kind !== 'dcgm') throw new Error('no exporter is configured');
    const scrape = await scrapePrometheus(reader.url, SCRAPE_TIMEOUT_MS, this.clock, signal);
    if (!scrape.ok) return scrape;
    const { text, requestedAt, repliedAt } = scrape.value;
    const report = decodeDcgm(text.samples);
    if (report.gpus.length === 0) return fail('wrong-device', `${reader.url} shows no GPU`);
    if (report.hosts.length > 1) {
      return fail(
        'wrong-device',
        `${reader.url} shows several hosts: ${report.hosts.slice(0, 5).join(', ')}`,
      );
    }
    const errors: DeviceFault[] = [];
    const gpus = report.gpus.map((gpu) => {
      const isStale = this.watch.isStale(gpu, repliedAt);
      if (isStale)
        errors.push({ code: 'stale-telemetry', message: `${gpu.uuid}: the exporter repeats old figures` });
      if (gpu.xid !== null && UNUSABLE_XIDS.has(gpu.xid)) {
        errors.push({ code: `xid-${gpu.xid}`, message: `${gpu.uuid}: Xid ${gpu.xid}` });
      }
      return dcgmReading(gpu, isStale);
    });
    const { driverVersion } = report;
    const ageMs = reader.collectIntervalMs ?? COLLECT_INTERVAL_MS;
    return ok({ source: 'dcgm', driverVersion, gpus, errors, requestedAt, repliedAt, ageMs });
  }

  private reading(sample: NodeSample): GpuNodeReading {
    const shown = new Set(sample.gpus.map((gpu) => gpu.uuid));
    const errors = [...sample.errors];
    const gpus = [...sample.gpus];
    for (const seen of this.inventory.values()) {
      if (shown.has(seen.uuid)) continue;
      errors.push({ code: 'gpu-absent', message: `${seen.uuid} was here and is not shown any more` });
      gpus.push(absent(seen));
    }
    for (const gpu of sample.gpus) if (gpu.state === 'ok') this.inventory.set(gpu.uuid, gpu);
    const powers = gpus.map((gpu) => gpu.powerWatts);
    const knownPowerWatts = powers.reduce<number>((sum, watts) => sum + (watts ?? 0), 0);
    const isWhole = gpus.length > 0 && powers.every((watts) => watts !== null);
    // Figures that the exporter had collected before it was asked prove nothing about what was commanded since.
    const requestedAt = sample.requestedAt - sample.ageMs;
    return {
      kind: 'gpu-node',
      source: sample.source,
      driverVersion: sample.driverVersion,
      powerWatts: isWhole ? knownPowerWatts : null,
      knownPowerWatts,
      gpus,
      errors,
      control: this.control(gpus),
      sampledAt: (requestedAt + sample.repliedAt) / 2,
      requestedAt,
      roundTripMs: sample.repliedAt - sample.requestedAt,
    };
  }

  private control(gpus: readonly GpuReading[]): LoadControl {
    const none = { sleep: false, wake: false, sleepMs: null, wakeMs: null };
    const { capMinWatts = 0, capMaxWatts = Number.POSITIVE_INFINITY } = this.config;
    let minWatts = 0;
    let maxWatts = 0;
    for (const gpu of gpus) {
      if (this.capper === null || gpu.minLimitWatts === null || gpu.maxLimitWatts === null) {
        return { ...none, powerLimit: null, changeMs: null };
      }
      minWatts += Math.max(gpu.minLimitWatts, Math.min(capMinWatts, gpu.maxLimitWatts));
      maxWatts += Math.min(gpu.maxLimitWatts, Math.max(capMaxWatts, gpu.minLimitWatts));
    }
    if (maxWatts <= minWatts) return { ...none, powerLimit: null, changeMs: null };
    return { ...none, powerLimit: { kind: 'watts', minWatts, maxWatts }, changeMs: CHANGE_MS };
  }
}

/** What both sources show in the same words. */
function shownFigures(gpu: SmiGpu | DcgmGpu) {
  return {
    requestedLimitWatts: gpu.requestedLimitWatts,
    enforcedLimitWatts: gpu.enforcedLimitWatts,
    defaultLimitWatts: gpu.defaultLimitWatts,
    minLimitWatts: gpu.minLimitWatts,
    maxLimitWatts: gpu.maxLimitWatts,
    temperatureCelsius: gpu.temperatureCelsius,
    utilizationPercent: gpu.utilizationPercent,
    memoryUsedMebibytes: gpu.memoryUsedMebibytes,
    memoryTotalMebibytes: gpu.memoryTotalMebibytes,
    migEnabled: gpu.migEnabled,
  };
}

function dcgmReading(gpu: DcgmGpu, isStale: boolean): GpuReading {
  const isLost = gpu.xid === FELL_OFF_THE_BUS;
  return {
    uuid: gpu.uuid,
    index: gpu.index,
    name: gpu.name,
    state: isLost ? 'faulted' : 'ok',
    powerWatts: isLost || isStale ? null : gpu.powerWatts,
    ...shownFigures(gpu),
  };
}

/** A GPU that fell out of the listing still hangs on the supply: what it draws is unknown. */
function absent(gpu: GpuReading): GpuReading {
  return {
    ...gpu,
    state: 'absent',
    powerWatts: null,
    requestedLimitWatts: null,
    enforcedLimitWatts: null,
    temperatureCelsius: null,
    utilizationPercent: null,
    memoryUsedMebibytes: null,
  };
}
