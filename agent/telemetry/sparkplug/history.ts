import { z } from 'zod';
import type { EpochMs, Milliseconds, MonotonicMs } from '../../../protocols/units.ts';
import type { SparkplugStore } from '../../store/sparkplug-store.ts';
import type { KeptData, MetricImage, NodeImage } from './edge-node.ts';

const kept = z.array(
  z.tuple([
    z.string().nullable(),
    z.array(
      z.tuple([z.string(), z.union([z.number(), z.string(), z.boolean(), z.null()]), z.number(), z.number()]),
    ),
  ]),
);

/** Data of one moment as text: `[[device, [[name, value, at, quality], ...]], ...]`. */
export function keptText(data: readonly KeptData[]): string {
  return JSON.stringify(
    data.map(({ device, metrics }) => [
      device,
      metrics.map(({ name, value, at, quality }) => [name, value, at, quality]),
    ]),
  );
}

/** Reads it back, with the types that the metrics have now; what there is no more is left out. */
export function keptData(text: string, image: NodeImage): KeptData[] {
  const parsed = kept.safeParse(JSON.parse(text));
  if (!parsed.success) return [];
  return parsed.data.flatMap(([device, values]) => {
    const present =
      device === null ? image.metrics : image.devices.find((candidate) => candidate.id === device)?.metrics;
    const types = new Map(present?.map(({ name, type }) => [name, type]));
    const metrics = values.flatMap(([name, value, at, quality]): MetricImage[] => {
      const type = types.get(name);
      return type === undefined ? [] : [{ name, type, value, at, quality }];
    });
    return metrics.length === 0 ? [] : [{ device, metrics }];
  });
}

/** Batches read at once. */
const READ_AT_ONCE = 20;

interface Sent {
  readonly id: number;
  readonly at: MonotonicMs;
  /** What of the batch could not go, because its device is not there. */
  readonly rest: readonly KeptData[];
}

/**
 * The history of one edge node on its way: oldest first, deleted when the line has held long enough after it was
 * sent. QoS 0 proves nothing: after a loss what was not yet safe goes again. Duplicates are harmless, gaps are not.
 */
export class HistoryLane {
  private readonly store: SparkplugStore;
  private readonly node: string;
  private readonly safeAfterMs: Milliseconds;
  private cursor = 0;
  private sent: Sent[] = [];
  private exhausted = false;

  constructor(store: SparkplugStore, node: string, safeAfterMs: Milliseconds) {
    this.store = store;
    this.node = node;
    this.safeAfterMs = safeAfterMs;
  }

  /** The line is gone: what was not yet safe goes again. */
  rewind(): void {
    this.sent = [];
    this.lookAgain();
  }

  /** Other devices are there now: what waits for them may go. */
  lookAgain(): void {
    this.cursor = 0;
    this.exhausted = false;
  }

  /** There is something new to send. */
  wake(): void {
    this.exhausted = false;
  }

  /** The next data to send of devices that are alive; empty: nothing for now. */
  next(now: MonotonicMs, image: NodeImage, alive: (device: string | null) => boolean): readonly KeptData[] {
    if (this.exhausted) return [];
    const batches = this.store.read(this.node, this.cursor, READ_AT_ONCE);
    if (batches.length === 0) this.exhausted = true;
    const due = new Map<string | null, MetricImage[]>();
    const underWay = new Set(this.sent.map(({ id }) => id));
    for (const { id, body } of batches) {
      this.cursor = id;
      if (underWay.has(id)) continue;
      const data = keptData(body, image);
      const rest = data.filter(({ device }) => !alive(device));
      for (const { device, metrics } of data)
        if (alive(device)) due.set(device, [...(due.get(device) ?? []), ...metrics]);
      // A batch of which nothing can go waits where it is.
      if (rest.length < data.length || data.length === 0) this.sent.push({ id, at: now, rest });
    }
    return [...due].map(([device, metrics]) => ({ device, metrics }));
  }

  /** Deletes what is safe by now; what could not go is put back. */
  settle(now: MonotonicMs, epochMs: EpochMs): void {
    const safe = this.sent.filter(({ at }) => now - at >= this.safeAfterMs);
    if (safe.length === 0) return;
    this.sent = this.sent.filter((one) => !safe.includes(one));
    this.store.remove(safe.map(({ id }) => id));
    this.store.add(
      safe.flatMap(({ rest }) =>
        rest.length === 0 ? [] : [{ node: this.node, at: epochMs, body: keptText(rest) }],
      ),
    );
  }
}
