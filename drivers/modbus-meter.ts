import type { MeterPoint, MeterProfile } from '../config/meters/profile.ts';
import { meterProfile } from '../config/meters/profiles.ts';
import type { Clock } from '../protocols/clock.ts';
import type { BusOptions } from '../protocols/modbus/bus.ts';
import type { BusFailure } from '../protocols/modbus/bus-failure.ts';
import type { BusPool, ModbusTransport } from '../protocols/modbus/bus-pool.ts';
import type { Failure, Result } from '../protocols/result.ts';
import { fail, ok } from '../protocols/result.ts';
import type { Amps, Milliseconds, MonotonicMs, Volts } from '../protocols/units.ts';
import type { Identity, MeterDriver, MeterReading, Quality } from './load-driver.ts';
import { CounterWatch } from './meter/counters.ts';
import type { MeterParameters } from './meter/decode.ts';
import type { Figures } from './meter/figures.ts';
import { energiesOf, FAST_POINTS, figuresOf, judge, roleOf } from './meter/figures.ts';
import { readIdentity } from './meter/identity.ts';
import type { ReadBlock } from './meter/plan.ts';
import { contradictions, FreezeWatch, type MeterRatings, worse } from './meter/quality.ts';
import type { MeterLessons, PointSample, Samples } from './meter/reader.ts';
import { MeterReader, withFactors } from './meter/reader.ts';
import { RefreshWatch } from './meter/refresh.ts';
import { locateSunSpec } from './meter/sunspec.ts';
import { mayBeTorn } from './meter/torn.ts';

/** A meter as configured. */
export interface MeterConfig {
  readonly id: string;
  /** Id of a register map, or one that was loaded from elsewhere. */
  readonly profile: string | MeterProfile;
  readonly transport: ModbusTransport;
  /** The current transformers are mounted backwards, or the map counts export positive. */
  readonly invert?: boolean;
  /** Figures set in the meter that its registers need, such as `fullScaleWatts`. */
  readonly parameters?: MeterParameters;
  /** Power points of an unconfirmed register that somebody compared with the display. */
  readonly confirmed?: readonly string[];
  /** Line to neutral, for the range checks. */
  readonly nominalVolts?: Volts;
  /** Rated current of one phase, primary side, for the range checks. */
  readonly ratedAmps?: Amps;
  readonly responseTimeoutMs?: Milliseconds;
  /** Longest that one `read` may take. */
  readonly readLimitMs?: Milliseconds;
  /** Pause after each reply on this path. */
  readonly pauseMs?: Milliseconds;
}

export interface MeterDeps {
  readonly clock: Clock;
  readonly buses: BusPool;
  /** What this meter refused before the last restart, and where to keep what it refuses from now on. */
  readonly lessons?: {
    readonly known: MeterLessons | null;
    keep(lessons: MeterLessons): void;
  };
  /** Sees every frame of the path, for support captures; the first meter on a path decides. */
  readonly onBytes?: BusOptions['onBytes'];
}

const RESPONSE_TIMEOUT_MS: Milliseconds = 1000;
const READ_LIMIT_MS: Milliseconds = 5000;
/** The slow class gets one request in this time, however fast the fast one is read. */
const SLOW_PACE_MS: Milliseconds = 900;
/** A figure of the slow rotation older than this is unknown again. */
const SLOW_AGE_MOST_MS: Milliseconds = 300_000;
const FORGET_MS: Milliseconds = 60_000;
/** What another request costs in registers: 61 bytes of TCP, 13 of RTU. Source: Victron dbus-modbus-client. */
const GAP_MOST = { 'modbus-tcp': 31, 'rtu-over-tcp': 7, rtu: 7 } as const;

/**
 * A Modbus power meter of any profile. The first `read` brings every point; later ones bring power, voltages,
 * currents and frequency afresh and one further request in turn, so that a point off the fast path may be as
 * many reads old as there are slow requests. Throws on an unknown profile: the configuration is checked before.
 */
export function openMeter(config: MeterConfig, deps: MeterDeps): MeterDriver {
  return new ModbusMeter(config, deps);
}

class ModbusMeter implements MeterDriver {
  readonly meterId: string;
  private readonly config: MeterConfig;
  private readonly deps: MeterDeps;
  private readonly lease: ReturnType<BusPool['lease']>;
  private readonly address: string;
  private readonly freeze = new FreezeWatch();
  private readonly slow = new Map<string, PointSample>();
  private readonly lastPower = new Map<string, readonly number[]>();
  private readonly counters = new Map<string, CounterWatch>();
  private energySegment = 0;
  private fast: {
    readonly reader: MeterReader;
    readonly lessons: number;
    /** All that a fast reading asks for, and the rest of what is repeated. */
    readonly points: readonly MeterPoint[];
    readonly rest: readonly MeterPoint[];
    /** What control needs; the others only come along, and are decoded at the pace of the slow class. */
    readonly needed: ReadonlySet<string>;
  } | null = null;
  /** Figures of the slow class as a reading shows them, until one of them is too old. */
  private shown: { readonly points: MeterReading['points']; readonly untilAt: MonotonicMs } | null = null;
  private profile: MeterProfile;
  private reader: MeterReader;
  private located: boolean;
  private readonly refresh: RefreshWatch;
  private readonly closing = new AbortController();
  private slowTurn = 0;
  private slowAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  private decodedAllAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  private slowWork: Promise<void> | null = null;
  private forgottenAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  private hasReadAll = false;
  private keptLessons = 0;
  private hasCompared = false;
  private isReading = false;
  private identity: Identity | null = null;

  constructor(config: MeterConfig, deps: MeterDeps) {
    const profile = typeof config.profile === 'string' ? meterProfile(config.profile) : config.profile;
    if (profile === null) throw new Error(`no meter profile is named ${config.profile}`);
    this.meterId = config.id;
    this.config = config;
    this.deps = deps;
    this.profile = profile;
    this.located = profile.sunspec === undefined;
    const { transport } = config;
    const where = transport.kind === 'rtu' ? transport.device : `${transport.host}:${transport.port}`;
    this.address = `${where} unit ${transport.unit}`;
    this.lease = deps.buses.lease(transport, {
      responseTimeoutMs: Math.max(config.responseTimeoutMs ?? RESPONSE_TIMEOUT_MS, profile.minTimeoutMs ?? 0),
      pauseMs: config.pauseMs ?? 0,
      onBytes: deps.onBytes,
    });
    this.reader = this.makeReader(profile);
    this.refresh = new RefreshWatch(profile.refreshMs ?? null);
  }

  async identify(signal: AbortSignal): Promise<Result<Identity>> {
    const deadline = this.deadline();
    const located = await this.locate(deadline, signal);
    if (!located.ok) return located;
    const result = await readIdentity(this.profile, this.address, (request) =>
      this.reader.exchange(request, deadline, signal),
    );
    if (!result.ok) return result;
    const probe = await this.reader.read(this.fastPoints().points, deadline, signal);
    if (!probe.ok) return probe;
    this.identity = result.value;
    return result;
  }

  async read(signal: AbortSignal): Promise<Result<MeterReading>> {
    if (this.isReading) return fail('busy', `${this.address} is being read already`);
    this.isReading = true;
    try {
      return await this.readOnce(signal);
    } finally {
      this.isReading = false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closing.abort();
    await this.lease[Symbol.asyncDispose]();
  }

  private async readOnce(signal: AbortSignal): Promise<Result<MeterReading>> {
    // The slow request of the last turn is over long since, unless the meter is in trouble.
    await this.slowWork;
    const deadline = this.deadline();
    const located = await this.locate(deadline, signal);
    if (!located.ok) return located;
    const fast = await this.readFast(deadline, signal);
    if (!fast.ok) return fast;
    const [sample] = fast.value.values();
    this.forgetRefusals();
    if (sample === undefined) {
      return fail('wrong-device', `${this.address} has none of the registers of a ${this.profile.id}`);
    }
    if (!this.hasReadAll) await this.readAll(fast.value, deadline, signal);
    else this.readSlowMeanwhile();
    this.keepLessons();
    return ok(this.reading(fast.value));
  }

  /** Whether the power registers may show halves of two refreshes. */
  private isTorn(samples: Samples): boolean {
    const { lastPower, profile } = this;
    return roleOf(profile, 'power').some((name) => {
      const point = profile.points.find((candidate) => candidate.name === name);
      const [before, after] = [lastPower.get(name), samples.get(name)?.words];
      if (point === undefined || before === undefined || after === undefined) return false;
      return mayBeTorn(point.type, profile.wordOrder, before, after);
    });
  }

  /** Notes the counters as far as this reading brought them anew. */
  private watchCounters(fast: Samples): void {
    for (const role of ['importEnergy', 'exportEnergy'] as const) {
      for (const name of roleOf(this.profile, role)) {
        const sample = fast.get(name) ?? this.slow.get(name);
        if (typeof sample?.value !== 'number') continue;
        const watch = this.counters.get(name) ?? new CounterWatch();
        this.counters.set(name, watch);
        if (watch.note(sample.value, sample.exchange.repliedAt) !== null) this.energySegment += 1;
      }
    }
  }

  /** One slow request after a reading is out: the fast figures do not wait for it, nor grow old with it. */
  private readSlowMeanwhile(): void {
    const now = this.deps.clock.monotonicMs();
    if (now - this.slowAt < SLOW_PACE_MS) return;
    this.slowAt = now;
    this.slowWork = this.readSlow(this.deadline(), this.closing.signal).then(() => {
      this.slowWork = null;
    });
  }

  /**
   * The fast points. Figures that contradict each other may have come from two refreshes of the meter, when
   * they came by more than one request: those are asked once more before they are called wrong.
   */
  private async readFast(deadline: MonotonicMs, signal: AbortSignal): Promise<Result<Samples, BusFailure>> {
    const { points, needed } = this.fastPoints();
    const now = this.deps.clock.monotonicMs();
    const isDue = !this.hasReadAll || now - this.decodedAllAt >= SLOW_PACE_MS;
    if (isDue) this.decodedAllAt = now;
    const first = await this.reader.read(points, deadline, signal, isDue ? null : needed);
    if (!first.ok) return first;
    if (isDue) this.keep(first.value);
    if (this.isTorn(first.value)) {
      const again = await this.reader.read(points, deadline, signal);
      return again.ok ? again : first;
    }
    if (this.reader.plan(points).length < 2) return first;
    const values = [...first.value].map(([name, sample]) => [name, sample.value] as const);
    const figures = this.figures(Object.fromEntries(values));
    if (contradictions({ ...figures, powerFactor: figures.toldPowerFactor }, NO_RATINGS).length === 0)
      return first;
    const second = await this.reader.read(points, deadline, signal);
    return second.ok ? second : first;
  }

  /** Every point once, and who it is. What fails here is tried again with the next reading. */
  private async readAll(fast: Samples, deadline: MonotonicMs, signal: AbortSignal): Promise<void> {
    const rest = this.profile.points.filter((point) => !fast.has(point.name));
    const all = await this.reader.read(rest, deadline, signal);
    if (!all.ok) return;
    this.keep(all.value);
    const who = await readIdentity(this.profile, this.address, (request) =>
      this.reader.exchange(request, deadline, signal),
    );
    if (!who.ok && who.error.kind !== 'wrong-device') return;
    if (who.ok) this.identity = who.value;
    this.hasReadAll = true;
  }

  /** One request in turn. What fails here stays as it was and grows old. */
  private async readSlow(deadline: MonotonicMs, signal: AbortSignal): Promise<void> {
    const blocks = this.reader.plan(this.fastPoints().rest);
    const block = blocks[this.slowTurn % Math.max(1, blocks.length)];
    this.slowTurn += 1;
    if (block === undefined) return;
    const result = await this.reader.read(block.points, deadline, signal);
    if (result.ok) this.keep(result.value);
  }

  private keep(samples: Samples): void {
    for (const [name, sample] of samples) this.slow.set(name, sample);
    this.shown = null;
  }

  /** A meter without its power register is no meter: what it refused is asked again once a minute. */
  private forgetRefusals(): void {
    const now = this.deps.clock.monotonicMs();
    if (!roleOf(this.profile, 'power').some((name) => this.reader.absent.has(name))) return;
    if (now - this.forgottenAt < FORGET_MS) return;
    this.forgottenAt = now;
    this.reader.forget();
  }

  /** Finds a SunSpec device's models once. */
  private async locate(deadline: MonotonicMs, signal: AbortSignal): Promise<Result<true, Failure>> {
    if (this.located) return ok(true);
    const result = await locateSunSpec(this.profile, (request) =>
      this.reader.exchange(request, deadline, signal),
    );
    if (!result.ok) return result;
    this.profile = result.value;
    this.reader = this.makeReader(result.value);
    this.located = true;
    return ok(true);
  }

  private makeReader(profile: MeterProfile): MeterReader {
    const { transport, parameters } = this.config;
    const reader = new MeterReader({
      bus: this.lease.bus,
      unit: transport.unit,
      clock: this.deps.clock,
      profile,
      parameters: parameters ?? {},
      gapMost: GAP_MOST[transport.kind],
    });
    const known = this.deps.lessons?.known ?? null;
    if (known?.profile === profile.id) {
      reader.recall(known);
      this.keptLessons = reader.lessons;
    }
    return reader;
  }

  /** Another meter at the old one's place has lessons of its own. */
  private keepLessons(): void {
    const { lessons } = this.deps;
    if (lessons === undefined || !this.hasReadAll) return;
    const serialNumber = this.identity?.serialNumber ?? null;
    const { known } = lessons;
    if (known !== null && !this.hasCompared && known.serialNumber !== serialNumber) this.reader.forget();
    this.hasCompared = true;
    if (this.keptLessons === this.reader.lessons) return;
    this.keptLessons = this.reader.lessons;
    lessons.keep(this.reader.learnt(serialNumber));
  }

  private deadline(): MonotonicMs {
    return this.deps.clock.monotonicMs() + (this.config.readLimitMs ?? READ_LIMIT_MS);
  }

  /** What control needs each time, and whatever comes along without a further request. */
  private fastPoints(): NonNullable<ModbusMeter['fast']> {
    const { fast, reader } = this;
    if (fast !== null && fast.reader === reader && fast.lessons === reader.lessons) return fast;
    const { points, needed } = this.chooseFastPoints();
    const rest = this.profile.points.filter(
      (point) => !points.includes(point) && !point.name.startsWith('meta.'),
    );
    this.fast = { reader, lessons: reader.lessons, points, rest, needed };
    return this.fast;
  }

  private chooseFastPoints(): { readonly points: MeterPoint[]; readonly needed: ReadonlySet<string> } {
    const wanted = new Set([...roleOf(this.profile, 'power'), ...FAST_POINTS]);
    const fast = withFactors(
      this.profile.points.filter((point) => wanted.has(point.name)),
      this.profile,
    );
    const needed = new Set(fast.map((point) => point.name));
    let plan = this.reader.plan([...fast]);
    // On a slow line every register costs; on TCP only requests do.
    const mayGrow = this.config.transport.kind === 'modbus-tcp';
    for (const point of this.profile.points) {
      if (fast.includes(point)) continue;
      const longer = this.reader.plan([...fast, point]);
      if (longer.length > plan.length || (!mayGrow && registersIn(longer) > registersIn(plan))) continue;
      fast.push(point);
      plan = longer;
    }
    return { points: fast, needed };
  }

  /** What the slow class brought last, as far as it is not too old; identities do not age. */
  private slowFigures(now: MonotonicMs): MeterReading['points'] {
    if (this.shown !== null && now <= this.shown.untilAt) return this.shown.points;
    let untilAt = Number.POSITIVE_INFINITY;
    const points: Record<string, number | string | null> = {};
    for (const { name } of this.profile.points) {
      const sample = this.slow.get(name) ?? null;
      const ageless = sample === null || name.startsWith('meta.');
      const endsAt = ageless ? Number.POSITIVE_INFINITY : sample.exchange.repliedAt + SLOW_AGE_MOST_MS;
      points[name] = now <= endsAt ? this.signed(name, sample) : null;
      if (now <= endsAt) untilAt = Math.min(untilAt, endsAt);
    }
    this.shown = { points, untilAt };
    return points;
  }

  private reading(fast: Samples): MeterReading {
    const now = this.deps.clock.monotonicMs();
    const points: Record<string, number | string | null> = { ...this.slowFigures(now) };
    for (const [name, sample] of fast) points[name] = this.signed(name, sample);
    const figures = this.figures(points);
    const [first] = fast.values();
    const anchor = roleOf(this.profile, 'power').map((name) => fast.get(name))[0] ?? first;
    if (first === undefined || anchor === undefined) throw new Error('a reading needs a sample');
    const { requestedAt, repliedAt } = anchor.exchange;
    this.watchCounters(fast);
    for (const name of roleOf(this.profile, 'power')) this.lastPower.set(name, fast.get(name)?.words ?? []);
    const fingerprint = this.fingerprint(fast);
    this.refresh.note(fingerprint, repliedAt);
    const { refreshMs } = this.refresh;
    const quality = this.judge(fast, figures, fingerprint, now);
    return {
      kind: 'meter',
      profile: this.profile.id,
      powerWatts: figures.powerWatts,
      ...quality,
      frequencyHz: figures.frequencyHz,
      voltageVolts: figures.voltageVolts,
      currentAmps: figures.currentAmps,
      powerFactor: figures.powerFactor,
      ...energiesOf(this.profile, points, this.config.invert === true),
      energySegment: this.energySegment,
      serialNumber: this.identity?.serialNumber ?? null,
      points,
      sampledAt: (requestedAt + repliedAt) / 2,
      requestedAt: first.exchange.requestedAt,
      roundTripMs: repliedAt - requestedAt,
      refreshMs,
      uncertaintyMs: (repliedAt - requestedAt) / 2 + (refreshMs ?? 0) + (this.profile.averagingMs ?? 0),
    };
  }

  private figures(points: MeterReading['points']): Figures {
    return figuresOf(this.profile, this.config.parameters ?? {}, points);
  }

  private judge(
    fast: Samples,
    figures: Figures,
    fingerprint: string,
    now: MonotonicMs,
  ): { readonly quality: Quality; readonly doubts: readonly string[] } {
    const { nominalVolts = null, ratedAmps = null, confirmed = [] } = this.config;
    const { quality, doubts } = judge(this.profile, fast, figures, { nominalVolts, ratedAmps }, confirmed);
    const frozenMs = this.frozenMs(fingerprint, figures, now);
    if (frozenMs === 0) return { quality, doubts };
    const frozen = `the same registers for ${(frozenMs / 1000).toFixed(1)} s under load`;
    return { quality: worse(quality, 'stale'), doubts: [...doubts, frozen] };
  }

  /** The registers that move while anything runs, as they came. */
  private fingerprint(fast: Samples): string {
    const names = [...roleOf(this.profile, 'power'), 'frequency', 'current.l1', 'current.l2', 'current.l3'];
    return names.map((name) => fast.get(name)?.words.join(',') ?? '').join(';');
  }

  private frozenMs(fingerprint: string, figures: Figures, now: MonotonicMs): Milliseconds {
    const amps = figures.currentAmps.l1 ?? figures.currentAmps.l2 ?? figures.currentAmps.l3;
    const isLoaded = (figures.powerWatts ?? 0) !== 0 || (amps ?? 0) !== 0;
    return this.freeze.frozenMs(fingerprint, isLoaded, figures.frequencyHz !== null, now);
  }

  /** Active power turned to import positive; every other point as the meter says it. */
  private signed(name: string, sample: PointSample | null): number | string | null {
    const value = sample?.value ?? null;
    if (this.config.invert !== true || typeof value !== 'number') return value;
    return name.startsWith('power.active.') && !DIRECTED.has(name) && value !== 0 ? -value : value;
  }
}

const DIRECTED: ReadonlySet<string> = new Set(['power.active.import', 'power.active.export']);

const NO_RATINGS: MeterRatings = { nominalVolts: null, ratedAmps: null };

function registersIn(blocks: readonly ReadBlock[]): number {
  return blocks.reduce((sum, block) => sum + block.count, 0);
}
