import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Opens the database file; tests pass one that fails. Throws what SQLite says. */
export type OpenDatabase = (path: string) => DatabaseSync;

/** What is wrong with a database. `full`: no room; `corrupt`: the file is no good; `other`: read-only, gone, busy. */
export type StoreFault = 'full' | 'corrupt' | 'newer' | 'other';

/** The file was written by a newer version of the agent. */
export class NewerSchemaError extends Error {}

export const JOURNAL_FILE = 'journal.db';
const BALLAST_FILE = 'ballast';
/** Kept on the disk to be deleted when it is full, so that what matters can still be written. */
export const BALLAST_BYTES = 4_000_000;

/** Result codes of SQLite. Source: https://www.sqlite.org/rescode.html */
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

/** The tables of one file. */
export interface TableSet {
  readonly file: string;
  /** What people call the file. */
  readonly name: string;
  /** One step per version: `migrations[n]` turns tables of version n into version n + 1 (`PRAGMA user_version`). */
  readonly migrations: readonly string[];
  /** Default WAL. `TRUNCATE` writes what is only appended once, where WAL writes it twice. */
  readonly journalMode?: 'WAL' | 'TRUNCATE';
  /** Default what SQLite takes; only a new file takes it. */
  readonly pageBytes?: number;
}

const JOURNAL_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
  CREATE TABLE book(id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL);
  CREATE TABLE answer(id TEXT PRIMARY KEY, position INTEGER NOT NULL, body TEXT NOT NULL);
  CREATE INDEX answer_position ON answer(position);
  CREATE TABLE context(hash TEXT PRIMARY KEY, body BLOB NOT NULL);
  CREATE TABLE record(
    id INTEGER PRIMARY KEY AUTOINCREMENT, segment INTEGER NOT NULL, epoch INTEGER NOT NULL, kind TEXT NOT NULL,
    ts INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
  CREATE INDEX record_segment ON record(segment, bytes, ts);
  CREATE TABLE seen(device TEXT PRIMARY KEY, ts INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE event(
    id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL, message TEXT NOT NULL,
    detail TEXT);
  CREATE INDEX event_target ON event(target, id);
  CREATE INDEX event_ts ON event(ts);
  CREATE TABLE history(
    ts INTEGER NOT NULL, limit_id TEXT NOT NULL, power_watts INTEGER, limit_watts INTEGER NOT NULL,
    mining_watts INTEGER NOT NULL, ai_watts INTEGER NOT NULL, PRIMARY KEY (ts, limit_id)) WITHOUT ROWID;
  `,
];

export const JOURNAL_TABLES: TableSet = {
  file: JOURNAL_FILE,
  name: 'journal',
  migrations: JOURNAL_MIGRATIONS,
};

export const openSqlite: OpenDatabase = (path) => new DatabaseSync(path, { timeout: 2000 });

/**
 * Opens a file of tables for writing: settings, then whatever migrations are missing. Throws what SQLite
 * or the file system says, `NewerSchemaError` for a file of a newer agent.
 */
export function openTables(
  folder: string,
  maximumBytes: number,
  open: OpenDatabase,
  tables: TableSet = JOURNAL_TABLES,
): DatabaseSync {
  mkdirSync(folder, { recursive: true, mode: 0o750 });
  const database = open(join(folder, tables.file));
  try {
    // Before anything: a setting would already change the file of a newer agent.
    refuseNewer(Number(value(database, 'PRAGMA user_version')), tables);
    if (tables.pageBytes !== undefined) database.exec(`PRAGMA page_size = ${tables.pageBytes}`);
    database.exec(`PRAGMA journal_mode = ${tables.journalMode ?? 'WAL'}`);
    database.exec('PRAGMA journal_size_limit = 4194304');
    database.exec('PRAGMA wal_autocheckpoint = 500');
    migrate(database, tables);
    const pageBytes = Number(value(database, 'PRAGMA page_size'));
    database.exec(`PRAGMA max_page_count = ${Math.max(256, Math.floor(maximumBytes / pageBytes))}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Opens a journal file for reading only. Throws what SQLite says, `NewerSchemaError`. */
export function openForReading(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 2000 });
  try {
    refuseNewer(Number(value(database, 'PRAGMA user_version')), JOURNAL_TABLES);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function migrate(database: DatabaseSync, tables: TableSet): void {
  const version = Number(value(database, 'PRAGMA user_version'));
  refuseNewer(version, tables);
  for (let from = version; from < tables.migrations.length; from += 1) {
    database.exec('BEGIN IMMEDIATE');
    try {
      database.exec(tables.migrations[from]!);
      database.exec(`PRAGMA user_version = ${from + 1}`);
      database.exec('COMMIT');
    } catch (error) {
      database.exec('ROLLBACK');
      throw error;
    }
  }
}

function refuseNewer(version: number, { name, migrations }: TableSet): void {
  if (version > migrations.length) {
    throw new NewerSchemaError(
      `the ${name} was written by a newer version of the agent (tables ${version}, this one knows ${migrations.length}): install that version again, or move the file away`,
    );
  }
}

/** First column of the first row. */
export function value(database: DatabaseSync, sql: string): unknown {
  const row = database.prepare(sql).get();
  return row === undefined ? null : (Object.values(row)[0] ?? null);
}

/** What kind of fault an error of SQLite or of the file system is. */
export function faultOf(error: unknown): StoreFault {
  if (error instanceof NewerSchemaError) return 'newer';
  const { errcode, code } = error as { errcode?: number; code?: string };
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'full';
  const primary = (errcode ?? 0) & 0xff;
  if (primary === SQLITE_FULL) return 'full';
  if (primary === SQLITE_CORRUPT || primary === SQLITE_NOTADB) return 'corrupt';
  return 'other';
}

/** Renames a file that is no good, with its date, so that a new one can begin. Returns its new name. */
export function setAside(folder: string, epochMs: number, tables: TableSet = JOURNAL_TABLES): string {
  const stamp = new Date(epochMs).toISOString().replaceAll(/[:.]/g, '-');
  const name = `${tables.name}.damaged-${stamp}.db`;
  for (const suffix of ['', '-wal', '-shm']) {
    const from = join(folder, `${tables.file}${suffix}`);
    if (existsSync(from)) renameSync(from, join(folder, `${name}${suffix}`));
  }
  return name;
}

/** Puts the ballast on the disk where there is room for it several times over. Returns whether it lies there. */
export function keepBallast(folder: string): boolean {
  const path = join(folder, BALLAST_FILE);
  if (existsSync(path)) return true;
  let descriptor: number | null = null;
  try {
    const { bavail, bsize } = statfsSync(folder);
    if (bavail * bsize < BALLAST_BYTES * 3) return false;
    descriptor = openSync(path, 'wx', 0o600);
    // Not zeros: a compressing file system would keep nothing for them.
    const block = Buffer.from(Array.from({ length: 50_000 }, (_, index) => (index * 2654435761) >>> 24));
    for (let written = 0; written < BALLAST_BYTES; written += block.length) writeSync(descriptor, block);
    closeSync(descriptor);
    return true;
  } catch {
    if (descriptor !== null) {
      closeSync(descriptor);
      rmSync(path, { force: true });
    }
    return false;
  }
}

/** Deletes the ballast. Returns whether there was one. */
export function dropBallast(folder: string): boolean {
  const path = join(folder, BALLAST_FILE);
  if (!existsSync(path)) return false;
  try {
    rmSync(path);
    return true;
  } catch {
    return false;
  }
}
