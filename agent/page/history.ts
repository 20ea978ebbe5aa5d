import type { EpochMs, LimitId, Milliseconds } from '../../protocols/units.ts';
import type { SiteView } from '../site/view.ts';

/** One point of a limit's history: mean power of its step, lowest limit, mining and AI parts. `null` = not known. */
export interface HistoryPoint {
  readonly ts: EpochMs;
  readonly powerWatts: number | null;
  readonly limitWatts: number;
  readonly miningWatts: number;
  readonly aiWatts: number;
}

interface Span {
  readonly stepMs: Milliseconds;
  readonly points: number;
}

/** What the page plots: 5 minutes by second, 1 hour by 10 seconds, 24 hours by 2 minutes. */
export const SPANS = {
  '5m': { stepMs: 1000, points: 300 },
  '1h': { stepMs: 10_000, points: 360 },
  '24h': { stepMs: 120_000, points: 720 },
} as const satisfies Record<string, Span>;
export type SpanName = keyof typeof SPANS;

interface Sum {
  power: number;
  known: number;
  limit: number;
  mining: number;
  ai: number;
  count: number;
}

/** Recent history of every limit, in memory and bounded: 1,380 points a limit. */
export class History {
  private readonly rings = new Map<string, HistoryPoint[]>();
  private readonly sums = new Map<string, Sum>();
  private readonly steps = new Map<SpanName, number>();

  record(view: SiteView): void {
    for (const name of Object.keys(SPANS) as SpanName[]) {
      const { stepMs } = SPANS[name];
      const step = Math.floor(view.ts / stepMs);
      const before = this.steps.get(name);
      if (before !== undefined && step !== before) this.flush(name, before * stepMs);
      this.steps.set(name, step);
      for (const limit of view.limits) {
        const key = `${name} ${limit.id}`;
        const sum = this.sums.get(key) ?? {
          power: 0,
          known: 0,
          limit: Number.POSITIVE_INFINITY,
          mining: 0,
          ai: 0,
          count: 0,
        };
        const trusted = limit.powerWatts !== null && limit.quality !== 'stale' && limit.quality !== 'bad';
        if (trusted) {
          sum.power += limit.powerWatts ?? 0;
          sum.known += 1;
        }
        sum.limit = Math.min(sum.limit, limit.limitWatts);
        sum.mining += limit.miningWatts;
        sum.ai += limit.aiWatts;
        sum.count += 1;
        this.sums.set(key, sum);
      }
    }
  }

  /** Points of one limit, oldest first. */
  points(limit: LimitId, span: SpanName): readonly HistoryPoint[] {
    return this.rings.get(`${span} ${limit}`) ?? [];
  }

  private flush(name: SpanName, ts: number): void {
    for (const [key, sum] of this.sums) {
      if (!key.startsWith(`${name} `) || sum.count === 0) continue;
      const ring = this.rings.get(key) ?? [];
      ring.push({
        ts,
        powerWatts: sum.known === 0 ? null : Math.round(sum.power / sum.known),
        limitWatts: sum.limit,
        miningWatts: Math.round(sum.mining / sum.count),
        aiWatts: Math.round(sum.ai / sum.count),
      });
      if (ring.length > SPANS[name].points) ring.shift();
      this.rings.set(key, ring);
      this.sums.delete(key);
    }
  }
}

/** The baseline of a limit: mean of what was measured over the last hour, `null` with less than a minute of it. */
export function baselineOf(points: readonly HistoryPoint[]): number | null {
  const known = points.flatMap((point) => (point.powerWatts === null ? [] : [point.powerWatts]));
  return known.length < 6 ? null : known.reduce((sum, watts) => sum + watts, 0) / known.length;
}
