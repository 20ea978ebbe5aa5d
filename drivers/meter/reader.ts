import type { MeterPoint, MeterProfile } from '../../config/meters/profile.ts';
import { registersOf } from '../../config/meters/profile.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Bus, BusExchange, BusRequest } from '../../protocols/modbus/bus.ts';
import type { BusFailure } from '../../protocols/modbus/bus-failure.ts';
import type { Result } from '../../protocols/result.ts';
import { ok } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { MeterParameters, PointValue } from './decode.ts';
import { decodePoint } from './decode.ts';
import type { ReadBlock, ReadLimits } from './plan.ts';
import { blockOf, cutOf, planReads, withSpares } from './plan.ts';

/** One point as it came, with the request it came by. */
export interface PointSample extends PointValue {
  readonly words: readonly number[];
  readonly exchange: BusExchange;
}

export type Samples = Map<string, PointSample>;

/** What a meter refused, to be remembered over a restart. It belongs to one profile and one serial number. */
export interface MeterLessons {
  readonly profile: string;
  readonly serialNumber: string | null;
  readonly functionCode: 3 | 4;
  /** Registers that it answers at once. */
  readonly registersMost: number;
  /** Names of points that it does not have. */
  readonly absent: readonly string[];
  /** Addresses before which a request must end. */
  readonly cuts: readonly number[];
}

/** How long a busy meter is left alone before the one retry. Source: Modbus exception 6, common practice. */
const BUSY_RETRY_MS: Milliseconds = 75;

export interface ReaderOptions {
  readonly bus: Bus;
  readonly unit: number;
  readonly clock: Clock;
  readonly profile: MeterProfile;
  readonly parameters: MeterParameters;
  /** Widest run of unasked registers that is cheaper to read over than a request of its own. */
  readonly gapMost: number;
}

/**
 * Reads points of one meter with the fewest requests and learns what this meter refuses: a block with a missing
 * register is cut in two once, a block that is too long is halved, a function code that is not served is
 * replaced by the other one of the map. What was learnt stays.
 */
export class MeterReader {
  /** Points that this meter refuses even when read alone. */
  readonly absent = new Set<string>();
  /** Rises whenever something was learnt: plans made before are out of date. */
  lessons = 0;
  private readonly options: ReaderOptions;
  private readonly cuts = new Set<number>();
  private readonly plans = new WeakMap<
    readonly MeterPoint[],
    { readonly lessons: number; readonly blocks: readonly ReadBlock[] }
  >();
  private functionCode: 3 | 4;
  private codesLeft: (3 | 4)[];
  private registersMost: number;

  constructor(options: ReaderOptions) {
    const { profile } = options;
    this.options = options;
    this.functionCode = profile.functionCode;
    this.codesLeft = profile.alsoFunctionCodes.filter((code) => code !== profile.functionCode);
    this.registersMost = Math.min(profile.maxRegisters, profile.safeRegisters);
  }

  /** The requests that bring `points` now, with what has been learnt. */
  plan(points: readonly MeterPoint[]): readonly ReadBlock[] {
    const before = this.plans.get(points);
    if (before !== undefined && before.lessons === this.lessons) return before.blocks;
    const blocks = this.planned(points);
    this.plans.set(points, { lessons: this.lessons, blocks });
    return blocks;
  }

  private planned(points: readonly MeterPoint[]): ReadBlock[] {
    const limits: ReadLimits = {
      functionCode: this.functionCode,
      registersMost: this.registersMost,
      gapMost: this.options.gapMost,
      holes: [...this.options.profile.holes, ...this.absentRanges()],
      cuts: this.cuts,
    };
    const { profile } = this.options;
    const wanted = withFactors(points, profile).filter((point) => !this.absent.has(point.name));
    const present = profile.points.filter((point) => !this.absent.has(point.name));
    return withSpares(planReads(wanted, limits), present, limits);
  }

  /**
   * Reads `points` into samples, or only those of them that are `named`; points that the meter refuses are left
   * out. Fails with the first failure that is not about an address.
   */
  async read(
    points: readonly MeterPoint[],
    deadline: MonotonicMs,
    signal: AbortSignal,
    named: ReadonlySet<string> | null = null,
  ): Promise<Result<Samples, BusFailure>> {
    const samples: Samples = new Map();
    const work = [...this.plan(points)];
    for (let block = work.shift(); block !== undefined; block = work.shift()) {
      const result = await this.ask(block, deadline, signal);
      if (result.ok) {
        this.decode(block, result.value, samples, named);
        continue;
      }
      this.lessons += 1;
      const { exceptionCode } = result.error;
      if (exceptionCode === 2 || (exceptionCode === 3 && !this.canShrink(block))) {
        const parted = await this.part(block, samples, deadline, signal);
        if (!parted.ok) return parted;
        continue;
      }
      if (!this.learn(block, exceptionCode)) return result;
      const left = [block, ...work].flatMap((pending) => pending.points);
      work.length = 0;
      work.push(...this.plan(left));
    }
    return ok(samples);
  }

  /** What was learnt so far. */
  learnt(serialNumber: string | null): MeterLessons {
    const { functionCode, registersMost } = this;
    const profile = this.options.profile.id;
    return {
      profile,
      serialNumber,
      functionCode,
      registersMost,
      absent: [...this.absent],
      cuts: [...this.cuts],
    };
  }

  /** Takes up what was learnt before; a longer request than the map allows is never taken up. */
  recall(lessons: MeterLessons): void {
    this.functionCode = lessons.functionCode;
    this.codesLeft = this.codesLeft.filter((code) => code !== lessons.functionCode);
    this.registersMost = Math.min(this.registersMost, lessons.registersMost);
    for (const name of lessons.absent) this.absent.add(name);
    for (const cut of lessons.cuts) this.cuts.add(cut);
    this.lessons += 1;
  }

  /** Unlearns everything: a gateway that boots refuses addresses that it knows a minute later. */
  forget(): void {
    const { profile } = this.options;
    this.absent.clear();
    this.cuts.clear();
    this.functionCode = profile.functionCode;
    this.codesLeft = profile.alsoFunctionCodes.filter((code) => code !== profile.functionCode);
    this.registersMost = Math.min(profile.maxRegisters, profile.safeRegisters);
    this.lessons += 1;
  }

  private absentRanges(): [number, number][] {
    const { points } = this.options.profile;
    return points
      .filter((point) => this.absent.has(point.name))
      .map((point) => [point.address, point.address + registersOf(point) - 1]);
  }

  /** One read outside the map, for identities and discovery. */
  exchange(
    request: BusRequest,
    deadline: MonotonicMs,
    signal: AbortSignal,
  ): Promise<Result<BusExchange, BusFailure>> {
    return this.options.bus.exchange(this.options.unit, request, deadline, signal);
  }

  private async ask(
    block: ReadBlock,
    deadline: MonotonicMs,
    signal: AbortSignal,
  ): Promise<Result<BusExchange, BusFailure>> {
    const { address, count, spareCount, functionCode } = block;
    const request = { kind: 'read', functionCode, address, count, spareCount } as const;
    const first = await this.exchange(request, deadline, signal);
    if (first.ok || first.error.exceptionCode !== 6) return first;
    const { clock } = this.options;
    if (clock.monotonicMs() + BUSY_RETRY_MS >= deadline) return first;
    await clock.sleep(BUSY_RETRY_MS, signal);
    return this.exchange(request, deadline, signal);
  }

  /** Draws the lesson of a refusal that concerns every request; false when there is none. */
  private learn(block: ReadBlock, exceptionCode: number | null): boolean {
    if (exceptionCode === 1) {
      const next = this.codesLeft.shift();
      if (next === undefined) return false;
      this.functionCode = next;
      return true;
    }
    if (exceptionCode !== 3) return false;
    this.registersMost = this.shrunk(block);
    return true;
  }

  private shrunk(block: ReadBlock): number {
    const longest = Math.max(...block.points.map((candidate) => registersOf(candidate)));
    return Math.max(longest, Math.floor(block.count / 2));
  }

  private canShrink(block: ReadBlock): boolean {
    return block.points.length > 1 && this.shrunk(block) < block.count;
  }

  /**
   * Reads a refused block in two halves, and so on down to the register at fault. A cut is kept only where both
   * halves could be read: then the gap between them was at fault and nothing else.
   */
  private async part(
    block: ReadBlock,
    samples: Samples,
    deadline: MonotonicMs,
    signal: AbortSignal,
  ): Promise<Result<true, BusFailure>> {
    const cut = cutOf(block);
    if (cut === null) {
      for (const point of block.points) this.absent.add(point.name);
      return ok(true);
    }
    let areWhole = true;
    for (const isLow of [true, false]) {
      const points = block.points.filter((point) => point.address < cut === isLow);
      const half = blockOf(points, block.functionCode);
      const result = await this.ask(half, deadline, signal);
      if (result.ok) {
        this.decode(half, result.value, samples);
        continue;
      }
      areWhole = false;
      if (result.error.exceptionCode !== 2 && result.error.exceptionCode !== 3) return result;
      const parted = await this.part(half, samples, deadline, signal);
      if (!parted.ok) return parted;
    }
    if (areWhole) this.cuts.add(cut);
    return ok(true);
  }

  private decode(
    block: ReadBlock,
    exchange: BusExchange,
    samples: Samples,
    named: ReadonlySet<string> | null = null,
  ): void {
    const { profile, parameters } = this.options;
    const wordsOf = (point: MeterPoint) => {
      const start = point.address - block.address;
      return exchange.words.slice(start, start + registersOf(point));
    };
    const raw = (point: MeterPoint) => decodePoint(profile, point, wordsOf(point), parameters, null);
    for (const point of block.points) {
      if (named !== null && !named.has(point.name)) continue;
      const words = wordsOf(point);
      const { value, gap } = decodePoint(profile, point, words, parameters, this.factorOf(block, point, raw));
      samples.set(point.name, { value, gap, words, exchange });
    }
  }

  /** A SunSpec scale factor counts only from the same request: it may change between two. */
  private factorOf(
    block: ReadBlock,
    point: MeterPoint,
    raw: (point: MeterPoint) => PointValue,
  ): number | null {
    const { scale } = point;
    if (typeof scale !== 'object' || scale === null || !('factorOf' in scale)) return null;
    const factor = block.points.find((candidate) => candidate.name === scale.factorOf);
    if (factor === undefined) return null;
    const { value } = raw(factor);
    return typeof value === 'number' ? value : null;
  }
}

/** `points` with the SunSpec scale factors that they need: these count only from the same request. */
export function withFactors(points: readonly MeterPoint[], profile: MeterProfile): MeterPoint[] {
  const all = [...points];
  for (const { scale } of points) {
    if (typeof scale !== 'object' || scale === null || !('factorOf' in scale)) continue;
    const { factorOf } = scale;
    const factor = profile.points.find((candidate) => candidate.name === factorOf);
    if (factor !== undefined && !all.includes(factor)) all.push(factor);
  }
  return all;
}
