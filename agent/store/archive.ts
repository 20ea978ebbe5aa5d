import type { DatabaseSync } from 'node:sqlite';
import type { EpochMs, LimitId, Watts } from '../../protocols/units.ts';
import type { SiteEvent } from '../site/snapshot.ts';
import type { SiteView } from '../site/view.ts';

/** An event as `log` shows it. */
export interface LoggedEvent extends SiteEvent {
  /** Rises by one with each event, over restarts. */
  readonly id: number;
}

/** Which events `log` asks for. Everything is optional; the newest `count` of what fits come, oldest first. */
export interface LogQuery {
  readonly afterId?: number;
  readonly target?: string;
  readonly fromMs?: EpochMs;
  readonly untilMs?: EpochMs;
  readonly count: number;
}

/** One minute of one limit: mean power (`null` = not known), lowest limit, mining and AI parts. */
export interface HistoryRow {
  readonly ts: EpochMs;
  readonly limit: LimitId;
  readonly powerWatts: Watts | null;
  readonly limitWatts: Watts;
  readonly miningWatts: Watts;
  readonly aiWatts: Watts;
}

/** The horizon of the archive: events kept, and how long minutes are kept. */
export const EVENTS_KEPT = 200_000;
export const HISTORY_KEPT_MS = 35 * 86_400_000;
export const HISTORY_STEP_MS = 60_000;

/** Writes events, inside the caller's transaction. */
export function writeEvents(database: DatabaseSync, events: readonly LoggedEvent[]): void {
  if (events.length === 0) return;
  const insert = database.prepare(
    'INSERT OR REPLACE INTO event(id, ts, kind, target, message, detail) VALUES (?, ?, ?, ?, ?, ?)',
  );
  for (const { id, epochMs, kind, target, message, detail } of events)
    insert.run(
      id,
      Math.round(epochMs),
      kind,
      target,
      message,
      detail === undefined ? null : JSON.stringify(detail),
    );
  database.prepare('DELETE FROM event WHERE id <= ?').run(events.at(-1)!.id - EVENTS_KEPT);
}

/** The newest events that fit a query, oldest first. */
export function readEvents(database: DatabaseSync, query: LogQuery): LoggedEvent[] {
  const rows = database
    .prepare(
      `SELECT id, ts, kind, target, message, detail FROM event
       WHERE id > ? AND (? IS NULL OR target = ?) AND ts >= ? AND ts <= ? ORDER BY id DESC LIMIT ?`,
    )
    .all(
      query.afterId ?? 0,
      query.target ?? null,
      query.target ?? null,
      query.fromMs ?? 0,
      query.untilMs ?? Number.MAX_SAFE_INTEGER,
      query.count,
    );
  return rows.reverse().map((row) => ({
    id: Number(row['id']),
    epochMs: Number(row['ts']),
    kind: String(row['kind']),
    target: String(row['target']),
    message: String(row['message']),
    ...(row['detail'] === null
      ? {}
      : { detail: JSON.parse(String(row['detail'])) as Record<string, unknown> }),
  }));
}

/** Writes minutes, inside the caller's transaction, and forgets the oldest. */
export function writeHistory(database: DatabaseSync, rows: readonly HistoryRow[]): void {
  if (rows.length === 0) return;
  const insert = database.prepare('INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?)');
  for (const row of rows)
    insert.run(row.ts, row.limit, row.powerWatts, row.limitWatts, row.miningWatts, row.aiWatts);
  database.prepare('DELETE FROM history WHERE ts < ?').run(rows[0]!.ts - HISTORY_KEPT_MS);
}

/** Minutes of a span, oldest first; `limit` null = every limit. */
export function readHistory(
  database: DatabaseSync,
  span: { fromMs: EpochMs; untilMs: EpochMs; limit: LimitId | null; count: number },
): HistoryRow[] {
  return database
    .prepare(
      `SELECT ts, limit_id, power_watts, limit_watts, mining_watts, ai_watts FROM history
       WHERE ts >= ? AND ts <= ? AND (? IS NULL OR limit_id = ?) ORDER BY ts, limit_id LIMIT ?`,
    )
    .all(span.fromMs, span.untilMs, span.limit, span.limit, span.count)
    .map((row) => ({
      ts: Number(row['ts']),
      limit: String(row['limit_id']),
      powerWatts: row['power_watts'] === null ? null : Number(row['power_watts']),
      limitWatts: Number(row['limit_watts']),
      miningWatts: Number(row['mining_watts']),
      aiWatts: Number(row['ai_watts']),
    }));
}

interface MinuteSum {
  power: number;
  known: number;
  limit: number;
  mining: number;
  ai: number;
  count: number;
}

/** Sums views up to whole minutes. Holds at most one minute. */
export class MinuteMeans {
  private minute: number | null = null;
  private readonly sums = new Map<LimitId, MinuteSum>();

  /** Takes a view in; gives the rows of the minute that it ended, else nothing. */
  add(view: SiteView): readonly HistoryRow[] {
    const minute = Math.floor(view.ts / HISTORY_STEP_MS);
    const ended = this.minute !== null && minute !== this.minute ? this.take() : [];
    this.minute = minute;
    for (const limit of view.limits) {
      const sum = this.sums.get(limit.id) ?? {
        power: 0,
        known: 0,
        limit: Number.POSITIVE_INFINITY,
        mining: 0,
        ai: 0,
        count: 0,
      };
      if (limit.powerWatts !== null && limit.quality !== 'stale' && limit.quality !== 'bad') {
        sum.power += limit.powerWatts;
        sum.known += 1;
      }
      sum.limit = Math.min(sum.limit, limit.limitWatts);
      sum.mining += limit.miningWatts;
      sum.ai += limit.aiWatts;
      sum.count += 1;
      this.sums.set(limit.id, sum);
    }
    return ended;
  }

  /** The rows of the minute so far; it begins anew. */
  take(): readonly HistoryRow[] {
    const ts = (this.minute ?? 0) * HISTORY_STEP_MS;
    const rows = [...this.sums].map(
      ([limit, sum]): HistoryRow => ({
        ts,
        limit,
        powerWatts: sum.known === 0 ? null : Math.round(sum.power / sum.known),
        limitWatts: Math.round(sum.limit),
        miningWatts: Math.round(sum.mining / sum.count),
        aiWatts: Math.round(sum.ai / sum.count),
      }),
    );
    this.sums.clear();
    return rows;
  }
}
