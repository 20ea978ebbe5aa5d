import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Config } from '../../config/schema.ts';
import { ChainChecker } from '../record/chain.ts';
import { evidenceOf } from '../record/evidence.ts';
import { type EnergyInterval, intervalsOf, LENGTHS_MINUTES } from '../record/interval.ts';
import { localIso, localMidnight } from '../record/local-time.ts';
import type { TraceBody } from '../record/site-record.ts';
import {
  chainEntries,
  droppedTo,
  newestEntry,
  openRecordForReading,
  RECORD_PUBLIC_FILE,
  RECORD_TABLES,
  readEntries,
  readRoots,
  readSubject,
} from '../store/record-book.ts';
import { type Context, needConfig } from './context.ts';
import { EXIT, type Outcome } from './outcome.ts';

export interface ReportFlags {
  readonly from?: string;
  readonly to?: string;
  readonly interval: string;
  readonly format?: string;
  readonly verify?: boolean;
  readonly key?: string;
}

const MINUTE_MS = 60_000;
/** A minute is written up to a quarter of an hour after its end. */
const LATE_MS = 16 * MINUTE_MS;
const DAY_MS = 86_400_000;

/** `report`: energy by interval; `report event ID`: the evidence of an order; `report --verify`: is it unchanged? */
export function reportCommand(
  context: Context,
  what: string | undefined,
  id: string | undefined,
  flags: ReportFlags,
): Outcome {
  const need = needConfig(context);
  if ('outcome' in need) return need.outcome;
  const { config } = need.loaded;
  const file = join(config.store.path, RECORD_TABLES.file);
  if (!existsSync(file))
    return failed('no-record', `there is no record at ${file}.`, 'It begins when the agent first runs.');
  const database = openRecordForReading(config.store.path);
  try {
    if (flags.verify === true) return verify(database, config, flags.key);
    if (what === 'event') {
      return id === undefined ? usage('name the order: report event ID.') : eventReport(database, id);
    }
    return what === undefined ? energyReport(database, config, flags) : usage('report [event ID].');
  } finally {
    database.close();
  }
}

function energyReport(database: DatabaseSync, config: Config, flags: ReportFlags): Outcome {
  const zone = config.site.timezone;
  const minutes = Number(/^(\d+)\s*(min|m)?$/.exec(flags.interval)?.[1]);
  if (!LENGTHS_MINUTES.includes(minutes as (typeof LENGTHS_MINUTES)[number]))
    return usage(`--interval is one of ${LENGTHS_MINUTES.join(', ')} minutes.`);
  const last = newestEntry<EnergyInterval>(database, 'energy');
  const toMs = flags.to === undefined ? (last?.start ?? 0) + MINUTE_MS : moment(flags.to, zone);
  const fromMs = flags.from === undefined ? (toMs ?? 0) - DAY_MS : moment(flags.from, zone);
  if (fromMs === null || toMs === null)
    return usage('--from and --to are local days like 2026-11-01 or times like 2026-11-01T14:00:00Z.');
  if (toMs <= fromMs || toMs - fromMs > 400 * DAY_MS) return usage('--to is after --from, at most 400 days.');
  const rows = readEntries<EnergyInterval>(database, 'energy', fromMs, toMs + LATE_MS).filter(
    (minute) => minute.start >= fromMs && minute.start < toMs,
  );
  const roots = config.limits.flatMap((limit) =>
    limit.parent === undefined && limit.meter !== undefined ? [limit.meter] : [],
  );
  const intervals = intervalsOf(rows, { fromMs, toMs, lengthMs: minutes * MINUTE_MS, zone }, roots);
  const { format = 'csv' } = flags;
  if (format !== 'csv' && format !== 'json') return usage('--format is csv or json.');
  const data = intervals.map((interval) => ({
    ...interval,
    begin: new Date(interval.start).toISOString(),
    local: localIso(zone, interval.start),
  }));
  return {
    exit: EXIT.ok,
    data: { site: config.site.id, timezone: zone, intervals: data },
    text:
      format === 'json'
        ? JSON.stringify({ site: config.site.id, timezone: zone, intervals: data })
        : csv(intervals, zone),
  };
}

/** A local day is its first moment; anything else is a time with its own zone. */
function moment(text: string, zone: string): number | null {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? localMidnight(zone, text) : Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

const CLASS_COLUMNS = [
  'miningWattHours',
  'aiFirmWattHours',
  'aiFlexibleWattHours',
  'coolingWattHours',
  'otherWattHours',
] as const;

function csv(intervals: readonly EnergyInterval[], zone: string): string {
  const tenants = [...new Set(intervals.flatMap((interval) => Object.keys(interval.tenants)))].sort();
  const meters = [...new Set(intervals.flatMap((interval) => Object.keys(interval.meters)))].sort();
  const head = [
    'begin',
    'local',
    'seconds',
    'totalWattHours',
    'quality',
    ...CLASS_COLUMNS,
    'residualWattHours',
    ...tenants.map((tenant) => `tenant:${tenant}`),
    ...meters.flatMap((meter) => [`meter:${meter}`, `meter:${meter}:quality`]),
  ];
  const rows = intervals.map((interval) =>
    [
      new Date(interval.start).toISOString(),
      localIso(zone, interval.start),
      interval.seconds,
      interval.totalWattHours,
      interval.quality,
      ...CLASS_COLUMNS.map((name) => interval.classes[name]),
      interval.residualWattHours,
      ...tenants.map((tenant) => interval.tenants[tenant] ?? null),
      ...meters.flatMap((meter) => [
        interval.meters[meter]?.wattHours ?? null,
        interval.meters[meter]?.quality ?? 'MISSING',
      ]),
    ]
      .map((value) => value ?? '')
      .join(','),
  );
  return [head.join(','), ...rows].join('\n');
}

function eventReport(database: DatabaseSync, id: string): Outcome {
  const entries = readSubject(database, id);
  const received = entries.find((entry) => entry.kind === 'order');
  if (received === undefined) return failed('no-event', `the record has no order "${id}".`);
  const newest = Number(database.prepare('SELECT max(ts) AS ts FROM entry').get()?.['ts'] ?? received.ts);
  const spanEnd = Math.min(newest, received.ts + 40 * DAY_MS);
  const later = readEntries<{ order: Record<string, unknown>; at?: number }>(
    database,
    'order',
    received.ts + 1,
    spanEnd,
  ).map((body) => ({ ts: Number(body.at ?? 0), order: body.order }));
  const events = readEntries<Record<string, unknown>>(database, 'event', received.ts - 1000, spanEnd);
  const first = evidenceOf({
    id,
    receivedAt: Number(received.body['at'] ?? received.ts),
    by: received.body['by'] === 'local' ? 'local' : 'broker',
    order: received.body['order'] as Record<string, unknown>,
    answers: entries.filter((entry) => entry.kind === 'answer').map((entry) => entry.body),
    later,
    events,
    commands: readEntries<Record<string, unknown>>(database, 'commands', received.ts - 1000, spanEnd),
    traces: readEntries<TraceBody>(database, 'trace', received.ts - 1000, spanEnd + LATE_MS),
    minutes: readEntries<EnergyInterval>(database, 'energy', received.ts, spanEnd + LATE_MS),
    recordEnd: newest,
  });
  const until = first.endedAt ?? newest;
  const within = (at: unknown) => typeof at !== 'number' || at <= until + 1000;
  const data = {
    ...first,
    plan: first.plan.filter((event) => within(event['epochMs'])),
    commands: first.commands.filter((command) => within(command['ts'])),
  };
  const { baseline, delivered, compliance } = data;
  return {
    exit: EXIT.ok,
    data,
    text: [
      `${String(data.order['type'])} of ${String(data.order['issuer'])}, received ${new Date(data.receivedAt).toISOString()} (${data.by})`,
      `limit ${data.limit ?? '-'} at ${data.limitWatts ?? '-'} W, deadline ${data.deadline === null ? '-' : new Date(data.deadline).toISOString()}, ended ${data.endedAt === null ? 'not yet' : new Date(data.endedAt).toISOString()}`,
      `answers: ${data.answers.map((answer) => String(answer['status'])).join(', ')}`,
      `met ${compliance.metAt === null ? 'never' : `${((compliance.metAt - data.receivedAt) / 1000).toFixed(1)} s after receipt`}; seconds over after the deadline: ${compliance.secondsOverAfterDeadline ?? 'not known'}`,
      `baseline ${baseline.watts ?? 'not known'} W (${baseline.method}); delivered ${delivered.wattHours ?? 'not known'} Wh over ${delivered.minutes} minutes`,
      `${data.commands.length} batches of commands, ${data.trace.points.length} seconds of meter trace; the whole with --json`,
    ].join('\n'),
  };
}

function verify(database: DatabaseSync, config: Config, keyFile: string | undefined): Outcome {
  const path = keyFile ?? join(config.store.path, RECORD_PUBLIC_FILE);
  let key: string;
  try {
    key = readFileSync(path, 'utf8');
  } catch {
    return failed('no-key', `the public key ${path} cannot be read.`);
  }
  const checker = new ChainChecker(readRoots(database), key, droppedTo(database));
  for (const entry of chainEntries(database)) checker.add(entry);
  const { problems, entries, days, unsigned } = checker.end();
  const dropped = droppedTo(database);
  const data = { entries, signedDays: days, entriesNotYetSigned: unsigned, droppedTo: dropped, problems };
  return {
    exit: problems.length === 0 ? EXIT.ok : EXIT.problems,
    data,
    text: `${entries} entries, ${days} signed days, ${unsigned} entries not yet signed${dropped === null ? '' : `, days up to ${dropped} dropped`}: ${problems.length === 0 ? 'unchanged' : `${problems.length} problems`}.`,
    problems: problems.map((problem) => ({
      code: 'record-changed',
      message: `${problem.day}${problem.id === null ? '' : `, entry ${problem.id}`}: ${problem.message}.`,
    })),
  };
}

function usage(message: string): Outcome {
  return { exit: EXIT.usage, problems: [{ code: 'usage', message }] };
}

function failed(code: string, message: string, hint?: string): Outcome {
  return {
    exit: EXIT.problems,
    problems: [{ code, message, ...(hint === undefined ? {} : { hint }) }],
  };
}
