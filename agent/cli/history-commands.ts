import { formatWatts } from '../../config/quantity.ts';
import { systemClock } from '../../protocols/clock.ts';
import type { HistoryRow } from '../store/archive.ts';
import { ask, type Context } from './context.ts';
import { EXIT, failureOutcome, type Outcome } from './outcome.ts';
import { renderTable } from './table.ts';

interface Event {
  readonly id: number;
  readonly ts: number;
  readonly kind: string;
  readonly target: string;
  readonly message: string;
  readonly detail?: unknown;
}

const FOLLOW_MS = 1000;

/** `log [-f] [--device X]`: what happened, what was decided and what was commanded, oldest first. */
export async function logCommand(
  context: Context,
  options: { follow?: boolean; device?: string; from?: string; count: string },
): Promise<Outcome> {
  const query = new URLSearchParams({ count: options.count });
  if (options.device !== undefined) query.set('device', options.device);
  if (options.from !== undefined) {
    const from = Date.parse(options.from);
    if (Number.isNaN(from)) return usage('--from is a time like 2026-12-01T14:00:00Z.');
    query.set('from', String(from));
  }
  if (!(Number(options.count) >= 1)) return usage('--count is a number from 1 to 1000.');
  const first = await readLog(context, query);
  if ('exit' in first) return first;
  if (options.follow !== true)
    return { exit: EXIT.ok, data: first.events, text: first.events.map(line).join('\n') };
  let last = 0;
  let { events } = first;
  while (!context.signal.aborted) {
    for (const event of events) {
      last = Math.max(last, event.id);
      context.streams.out(`${context.flags.json ? JSON.stringify(event) : line(event)}\n`);
    }
    await systemClock.sleep(FOLLOW_MS, context.signal);
    if (context.signal.aborted) break;
    query.set('after', String(last));
    query.set('count', '1000');
    const next = await readLog(context, query);
    if ('exit' in next) return next;
    ({ events } = next);
  }
  return { exit: EXIT.interrupted };
}

async function readLog(
  context: Context,
  query: URLSearchParams,
): Promise<{ readonly events: readonly Event[] } | Outcome> {
  const answer = await ask(context, 'GET', `/api/v1/log?${query}`);
  return answer.ok ? (answer.value.body as { events: readonly Event[] }) : failureOutcome(answer.error);
}

function line(event: Event): string {
  return `${new Date(event.ts).toISOString()} ${event.kind.padEnd(14)} ${event.target.padEnd(16)} ${event.message}`;
}

/** `history --from T --to T [--limit L] [--csv]`: power of every limit by the minute. */
export async function historyCommand(
  context: Context,
  options: { from?: string; to?: string; limit?: string; csv?: boolean },
): Promise<Outcome> {
  const until = options.to === undefined ? Date.now() : Date.parse(options.to);
  const from = options.from === undefined ? until - 24 * 3_600_000 : Date.parse(options.from);
  if (Number.isNaN(until) || Number.isNaN(from))
    return usage('--from and --to are times like 2026-12-01T14:00:00Z.');
  const query = new URLSearchParams({ from: String(from), until: String(until) });
  if (options.limit !== undefined) query.set('limit', options.limit);
  const answer = await ask(context, 'GET', `/api/v1/history?${query}`);
  if (!answer.ok) return failureOutcome(answer.error);
  const { points } = answer.value.body as { points: readonly HistoryRow[] };
  return { exit: EXIT.ok, data: points, text: options.csv === true ? csv(points) : table(points) };
}

const COLUMNS = ['powerWatts', 'limitWatts', 'miningWatts', 'aiWatts'] as const;

function csv(points: readonly HistoryRow[]): string {
  const rows = points.map((point) =>
    [new Date(point.ts).toISOString(), point.limit, ...COLUMNS.map((name) => point[name] ?? '')].join(','),
  );
  return [`time,limit,${COLUMNS.join(',')}`, ...rows].join('\n');
}

function table(points: readonly HistoryRow[]): string {
  return renderTable(
    ['minute', 'limit', 'power', 'limit in force', 'mining', 'ai'],
    points.map((point) => [
      new Date(point.ts).toISOString().slice(0, 16),
      point.limit,
      ...COLUMNS.map((name) => formatWatts(point[name])),
    ]),
  );
}

function usage(message: string): Outcome {
  return { exit: EXIT.usage, problems: [{ code: 'usage', message }] };
}
