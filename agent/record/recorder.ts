import type { DeviceId, EpochMs, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { SiteModel } from '../site/model.ts';
import type { MeterState, Snapshot } from '../site/snapshot.ts';
import { devicePower } from '../site/state.ts';
import { type Allotment, allot, type EnergyNode } from './allot.ts';
import { type CounterSample, CounterTrack, joinMinutes, MINUTE_MS, type Minute } from './counter.ts';
import { type EnergyInterval, type LoadClass, worst } from './interval.ts';

/** What the recorder needs of the site beside its model. */
export interface RecorderFacts {
  readonly model: SiteModel;
  /** Class of each load that nobody reads. */
  readonly loadClass: ReadonlyMap<string, LoadClass>;
  /** Watts promised firmly to each GPU node. */
  readonly firmWatts: ReadonlyMap<DeviceId, Watts>;
}

/** A minute waits this long for a meter that is silent; then it is missing there. */
const WAIT_MS = 900_000;
/** Cycles further apart say nothing of what flowed between them. */
const CYCLE_GAP_MS = 10_000;
const MS_PER_HOUR = 3_600_000;
/** Cycles that cover this part of a minute cover it. */
const WHOLE_SHARE = 0.97;
const NOBODY = '';

interface Bucket {
  readonly classes: Map<LimitId, Map<string, number>>;
  readonly tenants: Map<LimitId, Map<string, number>>;
  firm: number;
  flexible: number;
  /** How much of the minute was looked at. */
  coveredMs: number;
}

/** Gathers cycles into minutes of energy. `cycle` gives the minutes that are settled, oldest first. */
export class EnergyRecorder {
  private readonly facts: RecorderFacts;
  private readonly tracks = new Map<DeviceId, CounterTrack>();
  private readonly seenAt = new Map<DeviceId, MonotonicMs>();
  private readonly minutes = new Map<DeviceId, Map<EpochMs, Minute>>();
  private readonly buckets = new Map<EpochMs, Bucket>();
  private readonly rootMeters: readonly DeviceId[];
  private readonly hasTenants: boolean;
  private lastCycleMs: MonotonicMs | null = null;
  private next: EpochMs | null = null;

  /** `lastSamples`: what an earlier life read last of each meter; `after`: the minute that it settled last. */
  constructor(
    facts: RecorderFacts,
    lastSamples: ReadonlyMap<DeviceId, CounterSample>,
    after: EpochMs | null = null,
  ) {
    this.facts = facts;
    const { limits, meters, devices } = facts.model;
    for (const meter of meters) {
      const limit = limits.find((candidate) => candidate.meterId === meter.id);
      const most = limit?.ratingWatts ?? Number.POSITIVE_INFINITY;
      this.tracks.set(meter.id, new CounterTrack(most * 2, lastSamples.get(meter.id) ?? null));
      this.minutes.set(meter.id, new Map());
    }
    this.rootMeters = limits.flatMap((limit) =>
      limit.parent === null && limit.meterId !== null ? [limit.meterId] : [],
    );
    this.hasTenants = devices.some((device) => device.tenant !== null);
    this.next = after === null ? null : after + MINUTE_MS;
  }

  /** Meters of the grid connection: their quality is the site's. */
  get roots(): readonly DeviceId[] {
    return this.rootMeters;
  }

  /** The last reading of each meter, to go on from after a restart. */
  lastSamples(): Record<DeviceId, CounterSample> {
    return Object.fromEntries(
      [...this.tracks].flatMap(([id, { lastSample }]) => (lastSample === null ? [] : [[id, lastSample]])),
    );
  }

  cycle(snapshot: Snapshot): EnergyInterval[] {
    for (const meter of snapshot.meters) this.readMeter(meter, snapshot);
    this.integrate(snapshot);
    this.next ??= Math.floor(snapshot.epochMs / MINUTE_MS) * MINUTE_MS;
    const settled: EnergyInterval[] = [];
    while (this.next + MINUTE_MS <= snapshot.epochMs && this.isSettled(this.next, snapshot.epochMs)) {
      settled.push(this.settle(this.next));
      this.next += MINUTE_MS;
      // After a long stop: what nobody can say any more is left out, not made up minute by minute.
      if (snapshot.epochMs - this.next > WAIT_MS * 4 && !this.anyAt(this.next))
        this.next = Math.floor((snapshot.epochMs - WAIT_MS) / MINUTE_MS) * MINUTE_MS;
    }
    return settled;
  }

  private anyAt(start: EpochMs): boolean {
    return [...this.minutes.values()].some((minutes) => minutes.has(start));
  }

  private readMeter(meter: MeterState, snapshot: Snapshot): void {
    const { reading } = meter;
    if (reading === null || meter.quality === 'bad' || meter.quality === 'stale') return;
    if (this.seenAt.get(meter.id) === reading.sampledAt) return;
    this.seenAt.set(meter.id, reading.sampledAt);
    const closed = this.tracks.get(meter.id)?.add({
      ts: snapshot.epochMs - (snapshot.monotonicMs - reading.sampledAt),
      importWattHours: reading.importWattHours,
      exportWattHours: reading.exportWattHours,
      powerWatts: reading.powerWatts,
      serialNumber: reading.serialNumber,
    });
    for (const minute of closed ?? [])
      if (this.next === null || minute.start >= this.next)
        this.minutes.get(meter.id)!.set(minute.start, minute);
  }

  /** Adds what each device drew since the last cycle to the minute of now. */
  private integrate(snapshot: Snapshot): void {
    const elapsedMs: Milliseconds = this.lastCycleMs === null ? 0 : snapshot.monotonicMs - this.lastCycleMs;
    this.lastCycleMs = snapshot.monotonicMs;
    if (elapsedMs <= 0 || elapsedMs > CYCLE_GAP_MS) return;
    const bucket = this.bucketAt(Math.floor(snapshot.epochMs / MINUTE_MS) * MINUTE_MS);
    bucket.coveredMs += elapsedMs;
    const models = new Map(this.facts.model.devices.map((device) => [device.id, device]));
    for (const device of snapshot.devices) {
      if (device.inventory === 'removed' || device.inventory === 'expected') continue;
      const model = models.get(device.id);
      const label = device.kind === 'miner' ? 'mining' : 'ai';
      const watts = devicePower(device, model);
      // Unknown is not nothing: below a meter of its own the meter says it, elsewhere it stays in the residual.
      if (watts === null || device.quality === 'stale') continue;
      const wattHours = (watts * elapsedMs) / MS_PER_HOUR;
      book(bucket.classes, device.limit, label, wattHours);
      if (this.hasTenants) book(bucket.tenants, device.limit, model?.tenant ?? NOBODY, wattHours);
      if (label !== 'ai') continue;
      const firm = Math.min(watts, this.facts.firmWatts.get(device.id) ?? 0);
      bucket.firm += (firm * elapsedMs) / MS_PER_HOUR;
      bucket.flexible += ((watts - firm) * elapsedMs) / MS_PER_HOUR;
    }
  }

  private bucketAt(start: EpochMs): Bucket {
    const known = this.buckets.get(start);
    if (known !== undefined) return known;
    const bucket: Bucket = {
      classes: new Map(),
      tenants: new Map(),
      firm: 0,
      flexible: 0,
      coveredMs: 0,
    };
    // What hangs where counts even while it draws nothing: a meter above it is not that of the others alone.
    for (const device of this.facts.model.devices) {
      book(bucket.classes, device.limit, device.kind === 'miner' ? 'mining' : 'ai', 0);
      if (this.hasTenants) book(bucket.tenants, device.limit, device.tenant ?? NOBODY, 0);
    }
    for (const load of this.facts.model.loads) {
      book(bucket.classes, load.limit, this.facts.loadClass.get(load.id) ?? 'other', 0);
      if (this.hasTenants) book(bucket.tenants, load.limit, NOBODY, 0);
    }
    this.buckets.set(start, bucket);
    return bucket;
  }

  private isSettled(start: EpochMs, now: EpochMs): boolean {
    if (now - (start + MINUTE_MS) > WAIT_MS) return true;
    return [...this.minutes].every(
      ([id, minutes]) => minutes.has(start) || this.tracks.get(id)!.lastSample === null,
    );
  }

  private settle(start: EpochMs): EnergyInterval {
    const bucket = this.bucketAt(start);
    const meters: Record<DeviceId, Minute> = {};
    for (const [id, minutes] of this.minutes) {
      const minute = minutes.get(start);
      if (minute !== undefined) meters[id] = minute;
      for (const old of minutes.keys()) if (old <= start) minutes.delete(old);
    }
    for (const old of this.buckets.keys()) if (old <= start) this.buckets.delete(old);
    const divide = (sums: Bucket['classes']) =>
      allot(
        this.facts.model.limits.map(
          (limit): EnergyNode => ({
            id: limit.id,
            parent: limit.parent,
            gain: limit.gain,
            wattHours: limit.meterId === null ? null : (meters[limit.meterId]?.wattHours ?? null),
            own: Object.fromEntries(sums.get(limit.id) ?? []),
          }),
        ),
      );
    const classes = divide(bucket.classes);
    const whole = bucket.coveredMs >= MINUTE_MS * WHOLE_SHARE;
    // What rests on readings is not known where they do not cover the minute, or where nobody reads it at all.
    const figureOf = (from: Allotment, label: string, isRead: boolean): number | null =>
      from.estimated.includes(label) && !(whole && isRead) ? null : (from.byLabel[label] ?? 0);
    const ai = figureOf(classes, 'ai', true);
    const known = bucket.firm + bucket.flexible;
    const aiFirm = ai === null ? null : ai === 0 ? 0 : known === 0 ? null : (ai * bucket.firm) / known;
    const tenants = this.hasTenants ? divide(bucket.tenants) : null;
    return {
      start,
      seconds: MINUTE_MS / 1000,
      totalWattHours: rounded(classes.total),
      quality: worst(this.rootMeters.map((id) => meters[id]?.quality ?? 'MISSING')),
      classes: {
        miningWattHours: rounded(figureOf(classes, 'mining', true)),
        aiFirmWattHours: rounded(aiFirm),
        aiFlexibleWattHours: rounded(aiFirm === null || ai === null ? null : ai - aiFirm),
        coolingWattHours: rounded(figureOf(classes, 'cooling', false)),
        otherWattHours: rounded(figureOf(classes, 'other', false)),
      },
      residualWattHours: whole || classes.estimated.length === 0 ? rounded(classes.residual) : null,
      estimated: classes.estimated,
      tenants: Object.fromEntries(
        Object.keys(tenants?.byLabel ?? {}).flatMap((id) =>
          id === NOBODY ? [] : [[id, rounded(figureOf(tenants!, id, true))]],
        ),
      ),
      meters: Object.fromEntries(Object.entries(meters).map(([id, minute]) => [id, roundedMeter(minute)])),
    };
  }
}

function book(sums: Map<LimitId, Map<string, number>>, limit: LimitId, label: string, value: number): void {
  const own = sums.get(limit) ?? new Map<string, number>();
  own.set(label, (own.get(label) ?? 0) + value);
  sums.set(limit, own);
}

function rounded(value: number | null): number | null {
  return value === null ? null : Math.round(value * 1000) / 1000;
}

function roundedMeter(minute: Minute): ReturnType<typeof joinMinutes> {
  return {
    ...joinMinutes([minute], 1),
    wattHours: rounded(minute.wattHours),
    integralWattHours: rounded(minute.integralWattHours),
    endWattHours: rounded(minute.endWattHours),
    beginUncertaintyMs: Math.round(minute.beginUncertaintyMs),
    endUncertaintyMs: Math.round(minute.endUncertaintyMs),
  };
}
