import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../protocols/clock.ts';
import type { EpochMs, MonotonicMs } from '../../protocols/units.ts';
import { canonicalJson } from '../orders/signature.ts';
import {
  type ChainEntry,
  DAY_MS,
  type DayRoot,
  dayOf,
  entryHash,
  GENESIS,
  type SignedRoot,
  sealDay,
} from '../record/chain.ts';
import type { Condition } from '../site/alarms.ts';
import {
  faultOf,
  type OpenDatabase,
  openSqlite,
  openTables,
  setAside,
  type TableSet,
  value,
} from './database.ts';

export const RECORD_TABLES: TableSet = {
  file: 'record.db',
  name: 'record',
  migrations: [
    `
    CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE entry(
      id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT, body TEXT NOT NULL,
      hash TEXT NOT NULL);
    CREATE INDEX entry_ts ON entry(kind, ts);
    CREATE INDEX entry_subject ON entry(subject, id) WHERE subject IS NOT NULL;
    CREATE TABLE root(day TEXT PRIMARY KEY, body TEXT NOT NULL, signature TEXT NOT NULL) WITHOUT ROWID;
    `,
  ],
};
export const RECORD_KEY_FILE = 'record-key.pem';
export const RECORD_PUBLIC_FILE = 'record-key.pub.pem';

/** Kinds of entries: energy by the minute, orders and answers, events, commands, traces of meters. */
export type EntryKind = 'energy' | 'order' | 'answer' | 'event' | 'commands' | 'trace' | 'meters';

/** Days kept whole; of older ones the signed root stays. */
const DAYS_KEPT = 400;
/** A day that needs more than this part of the room is closed in parts: only what is closed can be dropped. */
const PART_SHARE = 0.2;
/** What an entry takes beside its body: hash, row, two indexes. */
const ENTRY_BYTES = 150;
/** Pages lent to a full file, to close a part and to note what goes. */
const LENT_PAGES = 64;
const WAITING_AT_MOST = 20_000;
const RETRY_MS = 10_000;

interface Waiting {
  readonly ts: EpochMs;
  readonly kind: EntryKind;
  /** What it can be found by: the id of an order. */
  readonly subject: string | null;
  readonly body: string;
}

/** The record on the disk: entries in a chain, days signed. Nothing here throws; `conditions` tell of trouble. */
export class RecordBook {
  private readonly folder: string;
  private readonly site: string;
  private readonly maximumBytes: number;
  private readonly clock: Clock;
  private readonly openFile: OpenDatabase;
  private database: DatabaseSync | null = null;
  private waiting: Waiting[] = [];
  private dropped = 0;
  private fault: string | null = null;
  private asideName: string | null = null;
  private retryAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  private last: { id: number; ts: EpochMs; hash: string } = { id: 0, ts: 0, hash: GENESIS };
  /** Bytes of the entries after the last root, about. */
  private openBytes = 0;

  constructor(
    options: { folder: string; site: string; maximumBytes: number; clock: Clock },
    open: OpenDatabase = openSqlite,
  ) {
    this.folder = options.folder;
    this.site = options.site;
    this.maximumBytes = options.maximumBytes;
    this.clock = options.clock;
    this.openFile = open;
    this.connect();
  }

  append(kind: EntryKind, body: Readonly<Record<string, unknown>>, subject: string | null = null): void {
    this.waiting.push({
      ts: Math.round(this.clock.epochMs()),
      kind,
      subject,
      body: canonicalJson(JSON.parse(JSON.stringify(body))),
    });
    if (this.waiting.length > WAITING_AT_MOST) {
      this.waiting.shift();
      this.dropped += 1;
    }
  }

  /** Writes what waits, in one transaction; closes days that are over. A full file makes room once and tries again. */
  flush(): void {
    if (this.waiting.length === 0) return;
    if (this.database === null && (this.clock.monotonicMs() < this.retryAt || !this.connect())) return;
    const { database } = this;
    if (database === null) return;
    try {
      try {
        this.write(database);
      } catch (error) {
        // A full disk is somebody else's to empty: only a file at its own bound is.
        if (faultOf(error) !== 'full' || !isAtItsBound(database)) throw error;
        this.makeRoom(database);
        this.write(database);
      }
      this.waiting = [];
      this.fault = null;
    } catch (error) {
      this.fail(error);
    }
  }

  private write(database: DatabaseSync): void {
    this.inTransaction(database, () => {
      const insert = database.prepare(
        'INSERT INTO entry(id, ts, kind, subject, body, hash) VALUES (?, ?, ?, ?, ?, ?)',
      );
      for (const { ts, kind, subject, body } of this.waiting) {
        // Entries never go back in time, whatever the wall clock does: a day that is signed stays as it is.
        const entry = { id: this.last.id + 1, ts: Math.max(ts, this.last.ts), kind, body };
        const isOver = this.last.id > 0 && dayOf(entry.ts) > dayOf(this.last.ts);
        if (isOver || this.openBytes > this.maximumBytes * PART_SHARE) this.seal(database);
        const hash = entryHash(this.last.hash, entry);
        insert.run(entry.id, entry.ts, kind, subject, body, hash);
        this.last = { id: entry.id, ts: entry.ts, hash };
        this.openBytes += body.length + ENTRY_BYTES;
      }
    });
  }

  /** A file at its last page: closes what is open and lets the oldest go, what was closed last too if need be. */
  private makeRoom(database: DatabaseSync): void {
    const most = Number(value(database, 'PRAGMA max_page_count'));
    database.exec(`PRAGMA max_page_count = ${most + LENT_PAGES}`);
    try {
      this.inTransaction(database, () => {
        this.seal(database);
        this.dropOld(database);
        const newest = readRoots(database).at(-1);
        if (newest !== undefined && usedBytes(database) >= this.maximumBytes)
          this.drop(database, newest.root);
      });
    } finally {
      if (database.isOpen) database.exec(`PRAGMA max_page_count = ${most}`);
    }
  }

  private inTransaction(database: DatabaseSync, work: () => void): void {
    const before = { last: this.last, openBytes: this.openBytes };
    try {
      database.exec('BEGIN IMMEDIATE');
      work();
      database.exec('COMMIT');
    } catch (error) {
      Object.assign(this, before);
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }

  /** Bodies of a kind in a span of time, oldest first. */
  read<T>(kind: EntryKind, fromMs: EpochMs, untilMs: EpochMs): T[] {
    this.flush();
    if (this.database === null) return [];
    try {
      return readEntries<T>(this.database, kind, fromMs, untilMs);
    } catch (error) {
      this.fail(error);
      return [];
    }
  }

  /** The newest body of a kind, or `null`. */
  newest<T>(kind: EntryKind): T | null {
    try {
      return this.database === null ? null : newestEntry<T>(this.database, kind);
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  conditions(): readonly Condition[] {
    const conditions: Condition[] = [];
    if (this.fault !== null)
      conditions.push({
        code: 'record-unwritable',
        severity: 'major',
        target: 'site',
        message: `The record of energy and orders cannot be written (${this.fault})${this.dropped === 0 ? '' : `; ${this.dropped} entries are lost`}.`,
        nextStep: `Check the disk below ${this.folder}.`,
      });
    if (this.asideName !== null)
      conditions.push({
        code: 'record-set-aside',
        severity: 'major',
        target: 'site',
        message: `The record was damaged; it was set aside as ${this.asideName} and a new one begun.`,
        nextStep: 'Keep that file: it holds what was recorded until then.',
      });
    return conditions;
  }

  close(): void {
    this.flush();
    this.disconnect();
    this.retryAt = Number.POSITIVE_INFINITY;
  }

  private seal(database: DatabaseSync): void {
    const previous = readRoots(database).at(-1)?.root ?? null;
    const entries = [...chainEntries(database, (previous?.lastId ?? 0) + 1)];
    if (entries.length === 0) return;
    const { root, signature } = sealDay(this.site, entries, previous, privateKey(this.folder));
    database.prepare('INSERT INTO root VALUES (?, ?, ?)').run(root.day, canonicalJson(root), signature);
    this.openBytes = 0;
    this.dropOld(database);
  }

  /** Whole signed days (or parts) go, oldest first, for age or for room. */
  private dropOld(database: DatabaseSync): void {
    const roots = readRoots(database);
    const oldest = dayOf(this.last.ts - DAYS_KEPT * DAY_MS);
    for (const { root } of roots.slice(0, -1)) {
      if (root.day >= oldest && usedBytes(database) < this.maximumBytes) return;
      this.drop(database, root);
    }
  }

  private drop(database: DatabaseSync, root: DayRoot): void {
    database.prepare('DELETE FROM entry WHERE id <= ?').run(root.lastId);
    database.prepare("INSERT OR REPLACE INTO meta(key, value) VALUES ('dropped-to', ?)").run(root.day);
  }

  private connect(): boolean {
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        mkdirSync(this.folder, { recursive: true, mode: 0o750 });
        privateKey(this.folder);
        const database = openTables(this.folder, this.maximumBytes * 1.5, this.openFile, RECORD_TABLES);
        this.database = database;
        const row = database.prepare('SELECT id, ts, hash FROM entry ORDER BY id DESC LIMIT 1').get();
        const root = readRoots(database).at(-1)?.root;
        if (row !== undefined)
          this.last = { id: Number(row['id']), ts: Number(row['ts']), hash: String(row['hash']) };
        else
          this.last =
            root === undefined
              ? { id: 0, ts: 0, hash: GENESIS }
              : { id: root.lastId, ts: Date.parse(root.day.slice(0, 10)), hash: root.lastHash };
        this.openBytes = unsignedBytes(database, root?.lastId ?? 0);
        this.fault = null;
        return true;
      } catch (error) {
        this.disconnect();
        if (faultOf(error) === 'corrupt' && attempt === 0) {
          try {
            this.asideName = setAside(this.folder, this.clock.epochMs(), RECORD_TABLES);
            continue;
          } catch {
            // Not even that: it stays as it is.
          }
        }
        this.fail(error);
        return false;
      }
    }
    return false;
  }

  private fail(error: unknown): void {
    this.fault = error instanceof Error ? error.message : String(error);
    this.retryAt = this.clock.monotonicMs() + RETRY_MS;
    this.disconnect();
  }

  private disconnect(): void {
    try {
      this.database?.close();
    } catch {
      // It is given up anyway.
    }
    this.database = null;
  }
}

function isAtItsBound(database: DatabaseSync): boolean {
  return (
    database.isOpen &&
    Number(value(database, 'PRAGMA page_count')) >= Number(value(database, 'PRAGMA max_page_count'))
  );
}

function usedBytes(database: DatabaseSync): number {
  const pages =
    Number(value(database, 'PRAGMA page_count')) - Number(value(database, 'PRAGMA freelist_count'));
  return pages * Number(value(database, 'PRAGMA page_size'));
}

/** Bytes of the entries that no root closes yet, about. */
function unsignedBytes(database: DatabaseSync, lastId: number): number {
  const row = database
    .prepare('SELECT coalesce(sum(octet_length(body) + ?), 0) AS bytes FROM entry WHERE id > ?')
    .get(ENTRY_BYTES, lastId);
  return Number(row?.['bytes'] ?? 0);
}

/** The site's own key; made at the first start, readable for its user only. */
function privateKey(folder: string): string {
  const file = join(folder, RECORD_KEY_FILE);
  if (!existsSync(file)) {
    const pair = generateKeyPairSync('ed25519');
    writeFileSync(file, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), {
      mode: 0o600,
      flag: 'wx',
    });
  }
  const pem = readFileSync(file, 'utf8');
  const publicFile = join(folder, RECORD_PUBLIC_FILE);
  if (!existsSync(publicFile))
    writeFileSync(publicFile, createPublicKey(pem).export({ type: 'spki', format: 'pem' }), { mode: 0o644 });
  return pem;
}

/** Opens a record for reading only. Throws what SQLite says. */
export function openRecordForReading(folder: string): DatabaseSync {
  return new DatabaseSync(join(folder, RECORD_TABLES.file), { readOnly: true, timeout: 2000 });
}

/** Bodies of a kind in a span of time, oldest first. Throws what SQLite says. */
export function readEntries<T>(
  database: DatabaseSync,
  kind: EntryKind,
  fromMs: EpochMs,
  untilMs: EpochMs,
): T[] {
  return database
    .prepare('SELECT body FROM entry WHERE kind = ? AND ts >= ? AND ts <= ? ORDER BY id')
    .all(kind, Math.floor(fromMs), Math.ceil(untilMs))
    .map((row) => JSON.parse(String(row['body'])) as T);
}

/** The newest body of a kind, or `null`. */
export function newestEntry<T>(database: DatabaseSync, kind: EntryKind): T | null {
  const row = database
    .prepare('SELECT body FROM entry WHERE kind = ? ORDER BY ts DESC, id DESC LIMIT 1')
    .get(kind);
  return row === undefined ? null : (JSON.parse(String(row['body'])) as T);
}

/** Entries that carry a subject, such as the id of an order. */
export function readSubject(
  database: DatabaseSync,
  subject: string,
): { kind: EntryKind; ts: EpochMs; body: Record<string, unknown> }[] {
  return database
    .prepare('SELECT kind, ts, body FROM entry WHERE subject = ? ORDER BY id')
    .all(subject)
    .map((row) => ({
      kind: String(row['kind']) as EntryKind,
      ts: Number(row['ts']),
      body: JSON.parse(String(row['body'])) as Record<string, unknown>,
    }));
}

/** Entries as the chain sees them, in order. */
export function* chainEntries(database: DatabaseSync, fromId = 0): Generator<ChainEntry> {
  const rows = database.prepare('SELECT id, ts, kind, body, hash FROM entry WHERE id >= ? ORDER BY id');
  for (const row of rows.iterate(fromId))
    yield {
      id: Number(row['id']),
      ts: Number(row['ts']),
      kind: String(row['kind']),
      body: String(row['body']),
      hash: String(row['hash']),
    };
}

/** The signed days, oldest first. */
export function readRoots(database: DatabaseSync): SignedRoot[] {
  return database
    .prepare('SELECT body, signature FROM root ORDER BY day')
    .all()
    .map((row) => ({
      root: JSON.parse(String(row['body'])) as SignedRoot['root'],
      signature: String(row['signature']),
    }));
}

/** The last day whose entries were dropped, or `null`. */
export function droppedTo(database: DatabaseSync): string | null {
  const day = value(database, "SELECT value FROM meta WHERE key = 'dropped-to'");
  return day === null ? null : String(day);
}
