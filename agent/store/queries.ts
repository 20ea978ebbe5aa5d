import type { Journal } from './journal.ts';

const EVENTS_AT_ONCE = 1000;
const MINUTES_AT_ONCE = 100_000;

/** `/api/v1/log?after=ID&device=X&from=T&until=T&count=N`: events, oldest first. Times are epoch milliseconds. */
export function logBody(journal: Journal, query: URLSearchParams): unknown {
  const target = query.get('device');
  const after = number(query, 'after');
  const from = number(query, 'from');
  const until = number(query, 'until');
  const events = journal.log({
    ...(target === null ? {} : { target }),
    ...(after === null ? {} : { afterId: after }),
    ...(from === null ? {} : { fromMs: from }),
    ...(until === null ? {} : { untilMs: until }),
    count: Math.min(EVENTS_AT_ONCE, Math.max(1, number(query, 'count') ?? 100)),
  });
  return { v: 1, events: events.map(({ epochMs, ...event }) => ({ ts: epochMs, ...event })) };
}

/** `/api/v1/history?from=T&until=T&limit=L`: minutes of one limit or of all, oldest first. */
export function historyBody(journal: Journal, query: URLSearchParams): unknown {
  const fromMs = number(query, 'from') ?? 0;
  const untilMs = number(query, 'until') ?? Number.MAX_SAFE_INTEGER;
  const rows = journal.history({ fromMs, untilMs, limit: query.get('limit'), count: MINUTES_AT_ONCE });
  return { v: 1, stepMs: 60_000, points: rows, more: rows.length === MINUTES_AT_ONCE };
}

function number(query: URLSearchParams, name: string): number | null {
  const value = query.get(name);
  return value === null || !Number.isFinite(Number(value)) ? null : Math.floor(Number(value));
}
