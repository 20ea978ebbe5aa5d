import type { Random } from '../protocols/random.ts';
import type { Milliseconds, TerahashesPerSecond, Watts } from '../protocols/units.ts';

/**
 * The physics of a simulated site: what devices really draw, whatever they say. Time comes in as milliseconds
 * of any one clock, so the same code runs behind sockets in real time and in tests on virtual time. This is
 * the judge of every scenario: the agent's own books never are.
 */

/** A device model: figures of one kind of miner. Ranges are drawn uniformly for each transition. */
export interface MinerTraits {
  readonly normalWatts: Watts;
  /** Least power while hashing. */
  readonly minimumWatts: Watts;
  readonly sleepWatts: Watts;
  readonly normalHashrateThs: TerahashesPerSecond;
  /** From the command until power begins to fall, and how long the fall takes. */
  readonly stopDelayMs: readonly [Milliseconds, Milliseconds];
  readonly stopRampMs: Milliseconds;
  /** From the command until power begins to rise, and how long the rise takes. */
  readonly wakeDelayMs: readonly [Milliseconds, Milliseconds];
  readonly wakeRampMs: Milliseconds;
  /** How long a change of limit takes while hashing. */
  readonly changeRampMs: Milliseconds;
  /** Power above the target in the last part of a wake, as a factor (1 = none). */
  readonly overshoot: number;
}

/** What is wrong with a simulated device. All default to nothing. */
export interface MinerFaults {
  /** Does not answer at all; draws as before. */
  dead?: boolean;
  /** Answers a byte a second. */
  drips?: boolean;
  /** Acknowledges commands and does nothing. */
  disobeys?: boolean;
  /** The watts it reports are the true ones times this. */
  lies?: number;
  /** Restarts by itself into full power this often. */
  restartsPerHour?: number;
  /** At work it draws up to this share more or less than it should, wandering over some minutes. */
  driftShare?: number;
  /** Share of commands that it obeys without an answer. */
  losesAnswers?: number;
}

/** What a miner without work draws of its operating point: hash boards idle, fans and controller on. */
const STARVED_SHARE = 0.15;
/** A full swing of the drift takes this long. */
const DRIFT_PERIOD_MS = 11 * 60_000;

interface Ramp {
  fromWatts: number;
  toWatts: number;
  startMs: number;
  endMs: number;
}

export class SimulatedMiner {
  readonly id: string;
  readonly traits: MinerTraits;
  readonly faults: MinerFaults;
  private readonly random: Random;
  private ramp: Ramp;
  private asleep = false;
  private supplied = true;
  private starved = false;
  private driftPhase: number | null;
  private limit: number;
  private bootedAtMs = 0;
  private nowMs = 0;

  constructor(id: string, traits: MinerTraits, random: Random, faults: MinerFaults = {}) {
    this.id = id;
    this.traits = traits;
    this.random = random;
    this.faults = faults;
    this.limit = traits.normalWatts;
    this.driftPhase = faults.driftShare === undefined ? null : random();
    this.ramp = { fromWatts: traits.normalWatts, toWatts: traits.normalWatts, startMs: 0, endMs: 0 };
  }

  /** Moves to `nowMs`; a spontaneous restart may happen on the way. */
  advance(nowMs: Milliseconds): void {
    const elapsed = nowMs - this.nowMs;
    const rate = this.faults.restartsPerHour ?? 0;
    this.nowMs = nowMs;
    if (rate > 0 && this.random() < 1 - Math.exp((-rate * elapsed) / 3_600_000)) this.restart();
  }

  /** Reboots: forgets sleep and limit, comes back at full power. */
  restart(): void {
    if (!this.supplied) return;
    this.asleep = false;
    this.limit = this.traits.normalWatts;
    this.bootedAtMs = this.nowMs;
    this.rampTo(
      this.traits.normalWatts,
      between(this.traits.wakeDelayMs, this.random),
      this.traits.wakeRampMs,
    );
  }

  /** Its supply goes away (it draws nothing and answers nothing) or comes back (it starts by itself). */
  supply(on: boolean): void {
    if (on === this.supplied) return;
    this.supplied = on;
    this.faults.dead = !on;
    if (on) this.restart();
    else this.ramp = { fromWatts: 0, toWatts: 0, startMs: this.nowMs, endMs: this.nowMs };
  }

  get isStarved(): boolean {
    return this.starved;
  }

  /** Its pool goes away (it draws next to nothing and stays ready) or is back: at once at its operating point. */
  starve(starved: boolean): void {
    this.starved = starved;
  }

  sleep(): void {
    if (this.faults.disobeys || this.asleep || !this.supplied) return;
    this.asleep = true;
    this.rampTo(
      this.traits.sleepWatts,
      between(this.traits.stopDelayMs, this.random),
      this.traits.stopRampMs,
    );
  }

  /** Works at or under `limitWatts` (`null`: the limit as it stands). */
  run(limitWatts: Watts | null): void {
    if (this.faults.disobeys || !this.supplied) return;
    const next = Math.min(
      this.traits.normalWatts,
      Math.max(this.traits.minimumWatts, limitWatts ?? this.limit),
    );
    const wakes = this.asleep;
    if (!wakes && next === this.limit) return;
    this.asleep = false;
    this.limit = next;
    if (wakes) {
      this.bootedAtMs = this.nowMs;
      this.rampTo(next, between(this.traits.wakeDelayMs, this.random), this.traits.wakeRampMs);
    } else this.rampTo(next, 0, this.traits.changeRampMs);
  }

  /** True watts now. */
  get powerWatts(): Watts {
    const watts = this.rampWatts;
    if (this.asleep) return watts;
    if (this.starved) return Math.min(watts, this.limit * STARVED_SHARE);
    const { driftShare = 0 } = this.faults;
    if (driftShare === 0) return watts;
    // Each drifts for itself, also where it begins to later.
    this.driftPhase ??= this.random();
    return (
      watts * (1 + driftShare * Math.sin(2 * Math.PI * (this.nowMs / DRIFT_PERIOD_MS + this.driftPhase)))
    );
  }

  private get rampWatts(): Watts {
    const { fromWatts, toWatts, startMs, endMs } = this.ramp;
    if (this.nowMs <= startMs) return fromWatts;
    if (this.nowMs >= endMs) return toWatts;
    const part = (this.nowMs - startMs) / (endMs - startMs);
    const rising = toWatts > fromWatts;
    const peak = rising && part > 0.8 ? this.traits.overshoot : 1;
    return (fromWatts + (toWatts - fromWatts) * part) * peak;
  }

  /** What it would say it draws. */
  get claimedWatts(): Watts {
    return this.powerWatts * (this.faults.lies ?? 1);
  }

  get hashrateThs(): TerahashesPerSecond {
    const { sleepWatts, normalWatts, normalHashrateThs } = this.traits;
    const share = Math.min(1, Math.max(0, (this.powerWatts - sleepWatts) / (normalWatts - sleepWatts)));
    // Efficiency improves a little below nominal, as on real machines.
    return normalHashrateThs * share ** 0.9;
  }

  get state(): 'hashing' | 'starting' | 'sleeping' | 'stopping' {
    const moving = this.nowMs < this.ramp.endMs;
    if (this.asleep) return moving ? 'stopping' : 'sleeping';
    return moving && this.ramp.fromWatts <= this.traits.sleepWatts * 2 ? 'starting' : 'hashing';
  }

  get limitWatts(): Watts {
    return this.limit;
  }

  get uptimeMs(): Milliseconds {
    return this.nowMs - this.bootedAtMs;
  }

  private rampTo(toWatts: number, delayMs: number, rampMs: number): void {
    const fromWatts = this.rampWatts;
    this.ramp = { fromWatts, toWatts, startMs: this.nowMs + delayMs, endMs: this.nowMs + delayMs + rampMs };
  }
}

export interface SimulatedGpu {
  readonly uuid: string;
  readonly name: string;
  readonly minLimitWatts: Watts;
  readonly maxLimitWatts: Watts;
  readonly idleWatts: Watts;
  limitWatts: Watts;
  /** 0 idle to 1 flat out. */
  utilization: number;
}

/** A GPU node: draw swings between idle and the caps within a second; the host part comes on top. */
export class SimulatedGpuNode {
  readonly id: string;
  readonly gpus: SimulatedGpu[];
  readonly hostWatts: Watts;
  /** Set to true: nvidia-smi hangs, the exporter goes silent. Draw goes on. */
  dead = false;
  /** Caps are shown and not kept: `openly`, by its own figures as well; `silently`, by a meter alone. */
  ignoresCaps: 'no' | 'openly' | 'silently' = 'no';
  private readonly random: Random;
  private nowMs = 0;

  constructor(id: string, gpus: SimulatedGpu[], hostWatts: Watts, random: Random) {
    this.id = id;
    this.gpus = gpus;
    this.hostWatts = hostWatts;
    this.random = random;
  }

  advance(nowMs: Milliseconds): void {
    this.nowMs = nowMs;
  }

  /** Caps one GPU, clamped by the device as nvidia-smi would refuse outside its range. */
  cap(uuid: string, limitWatts: Watts): boolean {
    const gpu = this.gpus.find((candidate) => candidate.uuid === uuid);
    if (gpu === undefined || limitWatts < gpu.minLimitWatts || limitWatts > gpu.maxLimitWatts) return false;
    gpu.limitWatts = limitWatts;
    return true;
  }

  /** How busy all GPUs are. */
  setUtilization(utilization: number): void {
    for (const gpu of this.gpus) gpu.utilization = utilization;
  }

  /** As nvidia-smi shows it. */
  gpuWatts(gpu: SimulatedGpu): Watts {
    return this.wattsUnder(gpu, this.ignoresCaps === 'openly' ? gpu.maxLimitWatts : gpu.limitWatts);
  }

  private wattsUnder(gpu: SimulatedGpu, limitWatts: Watts): Watts {
    const wanted = gpu.idleWatts + (gpu.maxLimitWatts * 0.97 - gpu.idleWatts) * gpu.utilization;
    // Training steps: a few per cent of ripple below the cap, never above it.
    const ripple = gpu.utilization > 0 ? 1 - 0.04 * this.random() : 1;
    return Math.max(gpu.idleWatts, Math.min(wanted, limitWatts) * ripple);
  }

  get powerWatts(): Watts {
    const isKept = this.ignoresCaps === 'no';
    return (
      this.hostWatts +
      this.gpus.reduce(
        (sum, gpu) => sum + this.wattsUnder(gpu, isKept ? gpu.limitWatts : gpu.maxLimitWatts),
        0,
      )
    );
  }

  get uptimeMs(): Milliseconds {
    return this.nowMs;
  }
}

export interface SimulatedLimit {
  readonly id: string;
  readonly parent: string | null;
  /** Watts at the parent per watt here (losses), 1 = none. */
  readonly gain: number;
  /** Uncontrolled load here. */
  readonly loadWatts: (nowMs: Milliseconds) => Watts;
}

interface Placed {
  /** Index of its limit. */
  readonly at: number;
  readonly draw: { advance(nowMs: Milliseconds): void; readonly powerWatts: Watts };
}

/** The whole site: what flows through every limit, now and (for lagging meters) a moment ago. */
export class SimulatedSite {
  readonly limits: readonly SimulatedLimit[];
  private readonly indexOf: ReadonlyMap<string, number>;
  /** Index of each limit's parent; -1: none. */
  private readonly parents: readonly number[];
  private readonly placed: Placed[] = [];
  /** Watts by index of limit. */
  private history: { readonly atMs: number; readonly watts: Float64Array }[] = [];
  private readonly historyMs: Milliseconds;

  /** `limits`: parents before children. `historyMs`: the longest meter lag that will be asked for. */
  constructor(limits: readonly SimulatedLimit[], historyMs: Milliseconds = 10_000) {
    this.limits = limits;
    this.indexOf = new Map(limits.map(({ id }, index) => [id, index]));
    this.parents = limits.map(({ parent }) => (parent === null ? -1 : this.indexOf.get(parent)!));
    this.historyMs = historyMs;
  }

  place(limit: string, draw: Placed['draw']): void {
    const at = this.indexOf.get(limit);
    if (at === undefined) throw new Error(`no limit ${limit}`);
    this.placed.push({ at, draw });
  }

  /** Moves every device to `nowMs` and records the flow through every limit. */
  advance(nowMs: Milliseconds): void {
    const watts = Float64Array.from(this.limits, (limit) => limit.loadWatts(nowMs));
    for (const { at, draw } of this.placed) {
      draw.advance(nowMs);
      watts[at]! += draw.powerWatts;
    }
    for (let child = this.limits.length - 1; child >= 0; child -= 1) {
      const parent = this.parents[child]!;
      if (parent >= 0) watts[parent]! += watts[child]! * this.limits[child]!.gain;
    }
    this.history.push({ atMs: nowMs, watts });
    while (this.history.length > 2 && this.history[1]!.atMs <= nowMs - this.historyMs) this.history.shift();
  }

  /** True watts through `limit`, `lagMs` ago. */
  watts(limit: string, lagMs: Milliseconds = 0): Watts {
    const latest = this.history.at(-1);
    const at = this.indexOf.get(limit);
    if (latest === undefined || at === undefined) return 0;
    const wantedMs = latest.atMs - lagMs;
    for (let index = this.history.length - 1; index >= 0; index -= 1) {
      const entry = this.history[index]!;
      if (entry.atMs <= wantedMs || index === 0) return entry.watts[at]!;
    }
    return 0;
  }
}

function between(range: readonly [number, number], random: Random): number {
  return range[0] + (range[1] - range[0]) * random();
}
