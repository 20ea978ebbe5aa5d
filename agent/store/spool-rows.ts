import type { DatabaseSync } from 'node:sqlite';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { EpochMs } from '../../protocols/units.ts';
import type { TableSet } from './database.ts';

/** A message that waits for the broker, encoded: one row. */
export interface SpoolRow {
  readonly id: number;
  /** Below the site's prefix. */
  readonly topic: string;
  /** Whose sequence it belongs to. */
  readonly stream: string;
  readonly seq: number;
  readonly ts: EpochMs;
  readonly priority: number;
  /** JSON, deflated (raw). */
  readonly body: Uint8Array;
}

export type NewRow = Omit<SpoolRow, 'id'>;

/** From here on up: events, decisions, energy, answers. Telemetry never evicts them. */
export const RECORD_PRIORITY = 5;

/** Telemetry that was given up before it could be sent. */
export interface Gap {
  readonly stream: string;
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** `null`: not known how many of these numbers were ever used. */
  readonly messages: number | null;
  readonly reason: 'evicted' | 'restart' | 'oversized' | 'no-room';
}

const PAGE_BYTES = 8192;

export const SPOOL_TABLES: TableSet = {
  file: 'spool.db',
  name: 'spool',
  journalMode: 'TRUNCATE',
  pageBytes: PAGE_BYTES,
  migrations: [
    `
    CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE spool(
      id INTEGER PRIMARY KEY, priority INTEGER NOT NULL, stream TEXT NOT NULL, topic TEXT NOT NULL,
      seq INTEGER NOT NULL, ts INTEGER NOT NULL, step INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX spool_order ON spool(priority, id);
    CREATE TABLE sequence(stream TEXT PRIMARY KEY, next INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE gap(
      stream TEXT NOT NULL, reason TEXT NOT NULL, from_ts INTEGER NOT NULL, to_ts INTEGER NOT NULL,
      first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, messages INTEGER,
      PRIMARY KEY (stream, reason)) WITHOUT ROWID;
    `,
  ],
};

/** What a row needs on the disk beside its body. */
const ROW_OVERHEAD_BYTES = 120;
/** A damaged row must not fill the memory. */
const MAXIMUM_BODY_BYTES = 4_000_000;

/** A body as it lies in a row. */
export function encodeBody(body: Readonly<Record<string, unknown>>): Uint8Array {
  return deflateRawSync(JSON.stringify(body), { level: 6 });
}

/** Decodes a row's body. Throws on damaged bytes. */
export function decodeBody(body: Uint8Array): Record<string, unknown> {
  return JSON.parse(inflateRawSync(body, { maxOutputLength: MAXIMUM_BODY_BYTES }).toString('utf8')) as Record<
    string,
    unknown
  >;
}

/** What a row takes in the file: rows are not split over pages unless they are larger than one. */
export function rowBytes(body: Uint8Array): number {
  const bytes = body.length + ROW_OVERHEAD_BYTES;
  const perPage = Math.floor(PAGE_BYTES / bytes);
  return perPage > 0 ? Math.ceil(PAGE_BYTES / perPage) : bytes;
}

/** A row of the table as the agent sees it. */
export function rowOf(row: Record<string, unknown>): SpoolRow {
  return {
    id: Number(row['id']),
    topic: String(row['topic']),
    stream: String(row['stream']),
    seq: Number(row['seq']),
    ts: Number(row['ts']),
    priority: Number(row['priority']),
    body: row['body'] as Uint8Array,
  };
}

/** Inserts rows inside the caller's transaction, numbered from `firstId`; gives their ids. */
export function insertRows(database: DatabaseSync, rows: readonly NewRow[], firstId: number): number[] {
  const insert = database.prepare(
    'INSERT INTO spool(id, priority, stream, topic, seq, ts, step, bytes, body) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)',
  );
  return rows.map((row, index) => {
    const id = firstId + index;
    const { priority, stream, topic, seq, ts, body } = row;
    insert.run(id, priority, stream, topic, seq, Math.round(ts), rowBytes(body), body);
    return id;
  });
}

/** Notes what was given up, joined to what the stream gave up before for the same reason. */
export function writeGap(database: DatabaseSync, gap: Gap): void {
  database
    .prepare(
      `INSERT INTO gap VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT(stream, reason) DO UPDATE SET
       from_ts = min(from_ts, excluded.from_ts), to_ts = max(to_ts, excluded.to_ts),
       first_seq = min(first_seq, excluded.first_seq), last_seq = max(last_seq, excluded.last_seq),
       messages = messages + excluded.messages`,
    )
    .run(
      gap.stream,
      gap.reason,
      Math.round(gap.fromMs),
      Math.round(gap.toMs),
      gap.firstSeq,
      gap.lastSeq,
      gap.messages,
    );
}

/** Gaps that have not been told yet. */
export function readGaps(database: DatabaseSync): Gap[] {
  return database
    .prepare('SELECT * FROM gap ORDER BY from_ts')
    .all()
    .map((row) => ({
      stream: String(row['stream']),
      reason: String(row['reason']) as Gap['reason'],
      fromMs: Number(row['from_ts']),
      toMs: Number(row['to_ts']),
      firstSeq: Number(row['first_seq']),
      lastSeq: Number(row['last_seq']),
      messages: row['messages'] === null ? null : Number(row['messages']),
    }));
}

/** Rows deleted in one step of eviction, at most: a step stays short. */
const EVICT_AT_ONCE = 64;

/** Deletes the least important, oldest rows until at most `bytes` are used; books what went. Returns bytes used. */
export function evict(database: DatabaseSync, usedBytes: number, bytes: number): number {
  let used = usedBytes;
  while (used > bytes) {
    const rows = database
      .prepare(
        `SELECT id, stream, seq, ts, bytes, priority FROM spool ORDER BY priority, id LIMIT ${EVICT_AT_ONCE}`,
      )
      .all();
    if (rows.length === 0) return 0;
    const remove = database.prepare('DELETE FROM spool WHERE id = ?');
    for (const row of rows) {
      if (used <= bytes) break;
      remove.run(Number(row['id']));
      used -= Number(row['bytes']);
      const [ts, seq] = [Number(row['ts']), Number(row['seq'])];
      writeGap(database, {
        stream: String(row['stream']),
        reason: 'evicted',
        fromMs: ts,
        toMs: ts,
        firstSeq: seq,
        lastSeq: seq,
        messages: 1,
      });
    }
  }
  return used;
}
