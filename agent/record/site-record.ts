import type { Config } from '../../config/schema.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { DeviceId, EpochMs, LimitId, Watts } from '../../protocols/units.ts';
import type { Command } from '../control/decision.ts';
import type { Lease, OrderAnswer } from '../orders/book.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteModel } from '../site/model.ts';
import type { SiteEvent, Snapshot } from '../site/snapshot.ts';
import { RecordBook } from '../store/record-book.ts';
import type { CounterSample } from './counter.ts';
import { type EnergyInterval, joinIntervals, LENGTHS_MINUTES, type LoadClass } from './interval.ts';
import { intervalStart } from './local-time.ts';
import { EnergyRecorder } from './recorder.ts';

/** One second of one limit's meter: wall time, watts (`null`: no good reading). */
export type TracePoint = readonly [EpochMs, Watts | null];

/** A minute of seconds, kept while somebody's limit is live there, and the minute before. */
export interface TraceBody {
  readonly limit: LimitId;
  readonly meter: DeviceId;
  readonly points: readonly TracePoint[];
}

const MINUTE_MS = 60_000;
/** A trace goes on for this long after the last lease has ended. */
const TRACE_AFTER_MS = 300_000;
const POINTS_AT_ONCE = 60;

/** Part of the store's maximum that the record may use. */
const RECORD_SHARE = 0.1;

/**
 * What can be proved afterwards: energy by the minute, orders with their answers, commands, and the trace of the
 * meter while an order is in force. Everything is chained and signed by the day.
 */
export class SiteRecord {
  private readonly book: RecordBook;
  private readonly energy: EnergyRecorder;
  private readonly model: SiteModel;
  private readonly zone: string;
  private readonly publish: (interval: EnergyInterval) => void;
  private readonly traces = new Map<LimitId, TracePoint[]>();
  private readonly tracedUntil = new Map<LimitId, EpochMs>();

  constructor(config: Config, model: SiteModel, clock: Clock, publish: (interval: EnergyInterval) => void) {
    this.book = new RecordBook({
      folder: config.store.path,
      site: config.site.id,
      maximumBytes: config.store.maximum * RECORD_SHARE,
      clock,
    });
    this.model = model;
    this.zone = config.site.timezone;
    this.publish = publish;
    const meters = this.book.newest<{ minute: EpochMs; samples: Record<DeviceId, CounterSample> }>('meters');
    this.energy = new EnergyRecorder(
      { model, loadClass: loadClasses(config), firmWatts: firmWatts(config) },
      new Map(Object.entries(meters?.samples ?? {})),
      meters?.minute ?? null,
    );
  }

  /** Once per cycle, after the decision. */
  cycle(snapshot: Snapshot, leases: readonly Lease[], commands: readonly Command[]): void {
    if (commands.length > 0) this.book.append('commands', { ts: snapshot.epochMs, commands });
    this.trace(snapshot, leases);
    const minutes = this.energy.cycle(snapshot);
    for (const minute of minutes) this.settle(minute);
    this.book.flush();
  }

  event(event: SiteEvent): void {
    this.book.append('event', { ...event });
  }

  order(id: string, order: unknown, by: 'broker' | 'local', at: EpochMs): void {
    this.book.append('order', { id, by, order, at }, id);
  }

  answer(answer: OrderAnswer): void {
    this.book.append('answer', { ...answer }, answer.id);
  }

  conditions(): readonly Condition[] {
    return this.book.conditions();
  }

  close(): void {
    this.book.close();
  }

  private settle(minute: EnergyInterval): void {
    this.book.append('energy', { ...minute });
    this.book.append('meters', { minute: minute.start, samples: this.energy.lastSamples() });
    this.publish(minute);
    const end = minute.start + MINUTE_MS;
    for (const length of LENGTHS_MINUTES) {
      const lengthMs = length * MINUTE_MS;
      if (length === 1 || intervalStart(this.zone, end, lengthMs) !== end) continue;
      const start = intervalStart(this.zone, end - 1, lengthMs);
      // Entries are stamped when they are written: a minute is settled up to a quarter of an hour after its end.
      const minutes = this.book
        .read<EnergyInterval>('energy', start, end + 16 * MINUTE_MS)
        .filter((one) => one.start >= start && one.start < end);
      this.publish(joinIntervals(minutes, start, end - start, this.energy.roots));
    }
  }

  private trace(snapshot: Snapshot, leases: readonly Lease[]): void {
    const now = snapshot.epochMs;
    for (const lease of leases) this.tracedUntil.set(lease.limit, now + TRACE_AFTER_MS);
    for (const limit of this.model.limits) {
      if (limit.meterId === null) continue;
      const meter = snapshot.meters.find((candidate) => candidate.id === limit.meterId);
      const good = meter?.quality === 'good' ? (meter.reading?.powerWatts ?? null) : null;
      const points = this.traces.get(limit.id) ?? [];
      points.push([Math.round(now), good === null ? null : Math.round(good)]);
      const traced = (this.tracedUntil.get(limit.id) ?? 0) >= now;
      if (traced && points.length >= POINTS_AT_ONCE) {
        this.book.append('trace', { limit: limit.id, meter: limit.meterId, points }, null);
        this.traces.set(limit.id, []);
        continue;
      }
      // The minute before an order is what its baseline rests on.
      while (!traced && points.length > 0 && now - points[0]![0] > MINUTE_MS) points.shift();
      this.traces.set(limit.id, points);
    }
  }
}

function loadClasses(config: Config): Map<string, LoadClass> {
  return new Map(
    config.loads.map((load) => [load.id, load.class ?? (load.id.includes('cool') ? 'cooling' : 'other')]),
  );
}

/** The firm watts of a workload, spread evenly over its nodes. */
function firmWatts(config: Config): Map<DeviceId, Watts> {
  const watts = new Map<DeviceId, Watts>();
  for (const workload of config.workloads)
    for (const node of workload.nodes)
      watts.set(node, (watts.get(node) ?? 0) + workload.firm / workload.nodes.length);
  return watts;
}
