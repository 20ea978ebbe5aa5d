import type { MeterPoint, MeterProfile } from '../config/meters/profile.ts';
import { meterProfile } from '../config/meters/profiles.ts';
import type { Clock } from '../protocols/clock.ts';
import type { BusFailure, BusOptions } from '../protocols/modbus/bus.ts';
import type { BusPool, ModbusTransport } from '../protocols/modbus/bus-pool.ts';
import type { Failure, Result } from '../protocols/result.ts';
import { fail, ok } from '../protocols/result.ts';
import type { Amps, Milliseconds, MonotonicMs, Volts } from '../protocols/units.ts';
import type { Identity, MeterDriver, MeterReading, PhaseValues, Quality } from './load-driver.ts';
import type { MeterParameters } from './meter/decode.ts';
import { readIdentity } from './meter/identity.ts';
import type { ReadBlock } from './meter/plan.ts';
import { contradictions, FreezeWatch, type MeterRatings, worse } from './meter/quality.ts';
import type { PointSample, Samples } from './meter/reader.ts';
import { MeterReader } from './meter/reader.ts';
import { locateSunSpec } from './meter/sunspec.ts';

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
  /** Sees every frame of the path, for support captures; the first meter on a path decides. */
  readonly onBytes?: BusOptions['onBytes'];
}

const RESPONSE_TIMEOUT_MS: Milliseconds = 1000;
const READ_LIMIT_MS: Milliseconds = 5000;
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
  private fast: {
    readonly reader: MeterReader;
    readonly lessons: number;
    readonly points: readonly MeterPoint[];
  } | null = null;
  private profile: MeterProfile;
  private reader: MeterReader;
  private located: boolean;
  private slowTurn = 0;
  private forgottenAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  private hasReadAll = false;
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
  }

  async identify(signal: AbortSignal): Promise<Result<Identity>> {
    const deadline = this.deadline();
    const located = await this.locate(deadline, signal);
    if (!located.ok) return located;
    const result = await readIdentity(this.profile, this.address, (request) =>
      this.reader.exchange(request, deadline, signal),
    );
    if (!result.ok) return result;
    const probe = await this.reader.read(this.fastPoints(), deadline, signal);
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
    await this.lease[Symbol.asyncDispose]();
  }

  private async readOnce(signal: AbortSignal): Promise<Result<MeterReading>> {
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
    await this.readSlow(fast.value, deadline, signal);
    return ok(this.reading(fast.value));
  }

  /**
   * The fast points. Figures that contradict each other may have come from two refreshes of the meter, when
   * they came by more than one request: those are asked once more before they are called wrong.
   */
  private async readFast(deadline: MonotonicMs, signal: AbortSignal): Promise<Result<Samples, BusFailure>> {
    const points = this.fastPoints();
    const first = await this.reader.read(points, deadline, signal);
    if (!first.ok || this.reader.plan(points).length < 2) return first;
    const values = [...first.value].map(([name, sample]) => [name, sample.value] as const);
    const figures = this.figures(Object.fromEntries(values));
    if (contradictions({ ...figures, powerFactor: figures.toldFactor }, NO_RATINGS).length === 0)
      return first;
    const second = await this.reader.read(points, deadline, signal);
    return second.ok ? second : first;
  }

  /** Everything at first, then one request in turn. What fails here stays as it was and grows old. */
  private async readSlow(fast: Samples, deadline: MonotonicMs, signal: AbortSignal): Promise<void> {
    const rest = this.profile.points.filter((point) => !fast.has(point.name));
    const repeated = rest.filter((point) => !point.name.startsWith('meta.'));
    if (!this.hasReadAll) {
      const all = await this.reader.read(rest, deadline, signal);
      if (!all.ok) return;
      this.keep(all.value);
      const who = await readIdentity(this.profile, this.address, (request) =>
        this.reader.exchange(request, deadline, signal),
      );
      if (!who.ok && who.error.kind !== 'wrong-device') return;
      if (who.ok) this.identity = who.value;
      this.hasReadAll = true;
      return;
    }
    const blocks = this.reader.plan(repeated);
    const block = blocks[this.slowTurn % Math.max(1, blocks.length)];
    this.slowTurn += 1;
    if (block === undefined) return;
    const result = await this.reader.read(block.points, deadline, signal);
    if (result.ok) this.keep(result.value);
  }

  private keep(samples: Samples): void {
    for (const [name, sample] of samples) this.slow.set(name, sample);
  }

  /** A meter without its power register is no meter: what it refused is asked again once a minute. */
  private forgetRefusals(): void {
    const now = this.deps.clock.monotonicMs();
    if (!this.role('power').some((name) => this.reader.absent.has(name))) return;
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
    return new MeterReader({
      bus: this.lease.bus,
      unit: transport.unit,
      clock: this.deps.clock,
      profile,
      parameters: parameters ?? {},
      gapMost: GAP_MOST[transport.kind],
    });
  }

  private deadline(): MonotonicMs {
    return this.deps.clock.monotonicMs() + (this.config.readLimitMs ?? READ_LIMIT_MS);
  }

  /** What control needs each time, and whatever comes along without a further request. */
  private fastPoints(): readonly MeterPoint[] {
    if (this.fast?.reader !== this.reader || this.fast.lessons !== this.reader.lessons) {
      this.fast = { reader: this.reader, lessons: this.reader.lessons, points: this.chooseFastPoints() };
    }
    return this.fast.points;
  }

  private chooseFastPoints(): MeterPoint[] {
    const wanted = new Set([...this.role('power'), ...FAST]);
    const fast = this.profile.points.filter((point) => wanted.has(point.name));
    for (const point of fast) {
      if (typeof point.scale !== 'object' || point.scale === null || !('factorOf' in point.scale)) continue;
      const { factorOf } = point.scale;
      const factor = this.profile.points.find((candidate) => candidate.name === factorOf);
      if (factor !== undefined && !fast.includes(factor)) fast.push(factor);
    }
    let plan = this.reader.plan(fast);
    // On a slow line every register costs; on TCP only requests do.
    const mayGrow = this.config.transport.kind === 'modbus-tcp';
    for (const point of this.profile.points) {
      if (fast.includes(point)) continue;
      const longer = this.reader.plan([...fast, point]);
      if (longer.length > plan.length || (!mayGrow && registersIn(longer) > registersIn(plan))) continue;
      fast.push(point);
      plan = longer;
    }
    return fast;
  }

  private role(role: 'power' | 'powerFactor' | 'importEnergy' | 'exportEnergy'): readonly string[] {
    return this.profile.roles[role] ?? ROLES[role];
  }

  private reading(fast: Samples): MeterReading {
    const now = this.deps.clock.monotonicMs();
    const sampleOf = (name: string): PointSample | null => {
      const slow = this.slow.get(name);
      const isFresh = slow !== undefined && now - slow.exchange.repliedAt <= SLOW_AGE_MOST_MS;
      return fast.get(name) ?? (isFresh || name.startsWith('meta.') ? (slow ?? null) : null);
    };
    const points: Record<string, number | string | null> = {};
    for (const point of this.profile.points)
      points[point.name] = this.signed(point.name, sampleOf(point.name));
    const figures = this.figures(points);
    const [first] = fast.values();
    const anchor = this.role('power').map((name) => fast.get(name))[0] ?? first;
    if (first === undefined || anchor === undefined) throw new Error('a reading needs a sample');
    const { requestedAt, repliedAt } = anchor.exchange;
    const quality = this.judge(fast, figures, now);
    return {
      kind: 'meter',
      profile: this.profile.id,
      powerWatts: figures.powerWatts,
      ...quality,
      frequencyHz: figures.frequencyHz,
      voltageVolts: figures.voltageVolts,
      currentAmps: figures.currentAmps,
      powerFactor: figures.powerFactor,
      ...this.energies(points),
      serialNumber: this.identity?.serialNumber ?? null,
      points,
      sampledAt: (requestedAt + repliedAt) / 2,
      requestedAt: first.exchange.requestedAt,
      roundTripMs: repliedAt - requestedAt,
    };
  }

  private figures(points: MeterReading['points']) {
    const number = (name: string) => numberOf(points[name]);
    const phases = (prefix: string): PhaseValues<number> => ({
      l1: number(`${prefix}.l1`),
      l2: number(`${prefix}.l2`),
      l3: number(`${prefix}.l3`),
    });
    const powerWatts = sumOf(this.role('power').map(number));
    const apparentVoltAmperes = number('power.apparent.total');
    const [factorPoint] = this.role('powerFactor');
    const told = factorPoint === undefined ? null : number(factorPoint);
    const unit = this.profile.points.find((point) => point.name === factorPoint)?.unit;
    const toldFactor = told === null ? null : unit === '%' ? told / 100 : told;
    // Every vendor signs its power factor in a way of its own; P over S means the same everywhere.
    const computed =
      powerWatts !== null && apparentVoltAmperes !== null && Math.abs(apparentVoltAmperes) > 1
        ? powerWatts / Math.abs(apparentVoltAmperes)
        : null;
    return {
      powerWatts,
      apparentVoltAmperes,
      phaseWatts: phases('power.active'),
      voltageVolts: phases('voltage.ln'),
      currentAmps: phases('current'),
      frequencyHz: number('frequency'),
      powerFactor: computed ?? toldFactor,
      toldFactor,
      stepWatts: this.stepWatts(),
    };
  }

  private stepWatts(): number {
    const name = this.role('power')[0];
    const point = this.profile.points.find((candidate) => candidate.name === name);
    if (point === undefined || point.type.startsWith('f')) return 0;
    const { scale } = point;
    const { parameters = {} } = this.config;
    if (typeof scale === 'number') return scale;
    if (typeof scale === 'object' && scale !== null && 'parameter' in scale)
      return parameters[scale.parameter] ?? 0;
    if (typeof scale === 'object' && scale !== null && 'lin3' in scale) {
      return ((parameters['fullScaleWatts'] ?? 0) * 2) / 9999;
    }
    return 0;
  }

  private judge(
    fast: Samples,
    figures: ReturnType<ModbusMeter['figures']>,
    now: MonotonicMs,
  ): { readonly quality: Quality; readonly doubts: readonly string[] } {
    const doubts: string[] = [];
    let quality: Quality = 'good';
    const doubt = (verdict: Quality, sentence: string) => {
      doubts.push(sentence);
      quality = worse(quality, verdict);
    };
    for (const name of this.role('power')) {
      const sample = fast.get(name);
      if (sample === undefined) doubt('missing', `the meter has no register for ${name}`);
      else if (sample.gap !== null) doubt(GAP_QUALITY[sample.gap], `${name}: ${GAP_SENTENCES[sample.gap]}`);
      const point = this.profile.points.find((candidate) => candidate.name === name);
      if (point?.confidence === 'C') doubt('estimated', `the register of ${name} has not been confirmed`);
    }
    for (const [name, sample] of fast) {
      if (sample.gap === 'implausible' && FAST.has(name) && !this.role('power').includes(name)) {
        doubt('bad', `${name}: ${GAP_SENTENCES.implausible}`);
      }
    }
    const ratings: MeterRatings = {
      nominalVolts: this.config.nominalVolts ?? null,
      ratedAmps: this.config.ratedAmps ?? null,
    };
    const electrics = { ...figures, powerFactor: figures.toldFactor };
    for (const sentence of contradictions(electrics, ratings)) doubt('bad', sentence);
    const frozenMs = this.frozenMs(fast, figures, now);
    if (frozenMs > 0) doubt('stale', `the same registers for ${(frozenMs / 1000).toFixed(1)} s under load`);
    return { quality, doubts };
  }

  private frozenMs(
    fast: Samples,
    figures: ReturnType<ModbusMeter['figures']>,
    now: MonotonicMs,
  ): Milliseconds {
    const names = [...this.role('power'), 'frequency', 'current.l1', 'current.l2', 'current.l3'];
    const fingerprint = names.map((name) => fast.get(name)?.words.join(',') ?? '').join(';');
    const amps = figures.currentAmps.l1 ?? figures.currentAmps.l2 ?? figures.currentAmps.l3;
    const isLoaded = (figures.powerWatts ?? 0) !== 0 || (amps ?? 0) !== 0;
    return this.freeze.frozenMs(fingerprint, isLoaded, figures.frequencyHz !== null, now);
  }

  private energies(points: MeterReading['points']) {
    const total = (role: 'importEnergy' | 'exportEnergy') =>
      sumOf(this.role(role).map((name) => numberOf(points[name])));
    const [imported, exported] = [total('importEnergy'), total('exportEnergy')];
    return this.config.invert === true
      ? { importWattHours: exported, exportWattHours: imported }
      : { importWattHours: imported, exportWattHours: exported };
  }

  /** Active power turned to import positive; every other point as the meter says it. */
  private signed(name: string, sample: PointSample | null): number | string | null {
    const value = sample?.value ?? null;
    if (this.config.invert !== true || typeof value !== 'number') return value;
    return name.startsWith('power.active.') && !DIRECTED.has(name) && value !== 0 ? -value : value;
  }
}

const FAST: ReadonlySet<string> = new Set([
  ...['l1', 'l2', 'l3'].flatMap((phase) => [
    `power.active.${phase}`,
    `voltage.ln.${phase}`,
    `current.${phase}`,
  ]),
  'frequency',
  'power.apparent.total',
]);

const DIRECTED: ReadonlySet<string> = new Set(['power.active.import', 'power.active.export']);

const ROLES = {
  power: ['power.active.total'],
  powerFactor: ['pf.total'],
  importEnergy: ['energy.active.import'],
  exportEnergy: ['energy.active.export'],
} as const;

const NO_RATINGS: MeterRatings = { nominalVolts: null, ratedAmps: null };

const GAP_QUALITY = { 'not-available': 'missing', unscaled: 'missing', implausible: 'bad' } as const;

const GAP_SENTENCES = {
  'not-available': 'the meter says that it has no value',
  unscaled: 'its scale is unknown: the configuration must give the parameter named in the profile',
  implausible: 'no meter measures such a number: wrong word order, address or profile',
} as const;

function registersIn(blocks: readonly ReadBlock[]): number {
  return blocks.reduce((sum, block) => sum + block.count, 0);
}

function numberOf(value: number | string | null | undefined): number | null {
  return typeof value === 'number' ? value : null;
}

/** The sum, or `null` when any part is unknown. */
function sumOf(values: readonly (number | null)[]): number | null {
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return values.length === 0 ? null : sum;
}
