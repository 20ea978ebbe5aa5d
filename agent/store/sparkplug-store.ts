import type { DatabaseSync } from 'node:sqlite';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { EpochMs, Milliseconds } from '../../protocols/units.ts';
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

/** Data of one edge node that waits to be sent as history: one batch. `body` is JSON. */
export interface KeptBatch {
  readonly id: number;
  readonly body: string;
}

/**
 * What Sparkplug edge nodes keep on the disk: the number of the last CONNECT, and data that could not be sent in time.
 * Nothing here throws: a disk that fails is a condition, and data is given up then.
 */
export interface SparkplugStore {
  /** bdSeq of the last CONNECT of a node; `null` before the first. */
  lastNumber(node: string): number | null;
  keepNumber(node: string, bdSeq: number): void;
  /** On the disk within ten seconds; the oldest of any node go first where room is short. */
  add(batches: readonly NewBatch[]): void;
  /** The oldest batches of a node after an id. */
  read(node: string, afterId: number, count: number): readonly KeptBatch[];
  remove(ids: readonly number[]): void;
  counts(): { readonly batches: number; readonly bytes: number };
  conditions(): readonly Condition[];
  close(): void;
}

export const SPARKPLUG_TABLES: TableSet = {
  file: 'sparkplug.db',
  name: 'sparkplug',
  migrations: [
    `
    CREATE TABLE node(node TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE kept(
      id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, ts INTEGER NOT NULL, bytes INTEGER NOT NULL,
      body BLOB NOT NULL);
    CREATE INDEX kept_order ON kept(node, id);
    `,
  ],
};

/** Data of one moment of a node. */
export interface NewBatch {
  readonly node: string;
  readonly at: EpochMs;
  readonly body: string;
}

const FLUSH_MS: Milliseconds = 10_000;
const PENDING_MOST = 1000;
/** What a row costs beside its body. */
const ROW_BYTES = 64;
/** Eviction makes this much room at once. */
const EVICT_TO = 0.95;

/** Opens the store of a state folder. */
export function openSparkplugStore(options: {
  readonly folder: string;
  readonly maximumBytes: number;
  readonly now: () => EpochMs;
  readonly open?: OpenDatabase;
}): SparkplugStore {
  return new SqliteStore(options);
}

class SqliteStore implements SparkplugStore {
  private database: DatabaseSync | null = null;
  private usedBytes = 0;
  private readonly pending: NewBatch[] = [];
  private flushedAt = 0;
  private fault: string | null = null;
  /** Also while the disk fails: a number is not used twice in one life of the agent. */
  private readonly numbers = new Map<string, number>();
  private readonly options: Parameters<typeof openSparkplugStore>[0];

  constructor(options: Parameters<typeof openSparkplugStore>[0]) {
    this.options = options;
    this.connect();
  }

  lastNumber(node: string): number | null {
    const known = this.numbers.get(node);
    if (known !== undefined) return known;
    let number: number | null = null;
    this.work((database) => {
      const row = database.prepare('SELECT number FROM node WHERE node = ?').get(node);
      number = row === undefined ? null : Number(row['number']);
    });
    return number;
  }

  keepNumber(node: string, bdSeq: number): void {
    this.numbers.set(node, bdSeq);
    this.work((database) =>
      database
        .prepare('INSERT INTO node VALUES (?, ?) ON CONFLICT(node) DO UPDATE SET number = excluded.number')
        .run(node, bdSeq),
    );
  }

  add(batches: readonly NewBatch[]): void {
    if (batches.length === 0) return;
    this.pending.push(...batches);
    const now = this.options.now();
    if (Math.abs(now - this.flushedAt) >= FLUSH_MS || this.pending.length >= PENDING_MOST) this.flush();
  }

  /** Many small batches are one write: while a broker is away they come every second. */
  private flush(): void {
    const batches = this.pending.splice(0);
    this.flushedAt = this.options.now();
    if (batches.length === 0) return;
    this.work((database) => {
      const insert = database.prepare('INSERT INTO kept(node, ts, bytes, body) VALUES (?, ?, ?, ?)');
      for (const { node, at, body } of batches) {
        const bytes = deflateRawSync(body, { level: 1 });
        insert.run(node, Math.round(at), bytes.length + ROW_BYTES, bytes);
        this.usedBytes += bytes.length + ROW_BYTES;
      }
      if (this.usedBytes > this.options.maximumBytes) this.evict(database);
    });
  }

  read(node: string, afterId: number, count: number): readonly KeptBatch[] {
    this.flush();
    let rows: KeptBatch[] = [];
    this.work((database) => {
      rows = database
        .prepare('SELECT id, body FROM kept WHERE node = ? AND id > ? ORDER BY id LIMIT ?')
        .all(node, afterId, count)
        .map((row) => ({
          id: Number(row['id']),
          body: inflateRawSync(row['body'] as Uint8Array).toString('utf8'),
        }));
    });
    return rows;
  }

  remove(ids: readonly number[]): void {
    if (ids.length === 0) return;
    this.work((database) => {
      const remove = database.prepare('DELETE FROM kept WHERE id = ? RETURNING bytes');
      for (const id of ids) this.usedBytes -= Number(remove.get(id)?.['bytes'] ?? 0);
    });
  }

  counts(): { batches: number; bytes: number } {
    this.flush();
    let batches = 0;
    this.work((database) => {
      batches = Number(value(database, 'SELECT count(*) FROM kept'));
    });
    return { batches, bytes: this.usedBytes };
  }

  conditions(): readonly Condition[] {
    const conditions: Condition[] = [];
    if (this.fault !== null)
      conditions.push({
        code: 'sparkplug-unwritable',
        severity: 'minor',
        target: 'site',
        message: `Sparkplug data that waits cannot be written down (${this.fault}): what passes while the broker or the host is away is lost to it.`,
        nextStep: `Check the disk below ${this.options.folder}.`,
      });
    return conditions;
  }

  close(): void {
    this.flush();
    this.database?.close();
    this.database = null;
  }

  private evict(database: DatabaseSync): void {
    const remove = database.prepare('DELETE FROM kept WHERE id = (SELECT min(id) FROM kept) RETURNING bytes');
    while (this.usedBytes > this.options.maximumBytes * EVICT_TO) {
      const row = remove.get();
      if (row === undefined) break;
      this.usedBytes -= Number(row['bytes']);
    }
  }

  /** One transaction. */
  private work(work: (database: DatabaseSync) => void): void {
    const { database } = this;
    if (database === null) return;
    const used = this.usedBytes;
    try {
      database.exec('BEGIN IMMEDIATE');
      work(database);
      database.exec('COMMIT');
      this.fault = null;
    } catch (error) {
      this.usedBytes = used;
      if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
      this.fault = (error as Error).message;
      if (faultOf(error) === 'corrupt') this.beginAnew();
    }
  }

  private connect(): void {
    const { folder, maximumBytes, open = openSqlite } = this.options;
    try {
      // The file may be a quarter larger than what waits in it.
      this.database = openTables(folder, maximumBytes * 1.25, open, SPARKPLUG_TABLES);
      this.usedBytes = Number(value(this.database, 'SELECT coalesce(sum(bytes), 0) FROM kept'));
    } catch (error) {
      this.database = null;
      this.fault = (error as Error).message;
      if (faultOf(error) === 'corrupt') this.beginAnew();
    }
  }

  /** A damaged file is set aside once; what waited in it is lost. */
  private beginAnew(): void {
    const before = this.fault;
    try {
      this.database?.close();
      this.database = null;
      setAside(this.options.folder, this.options.now(), SPARKPLUG_TABLES);
      this.database = openTables(
        this.options.folder,
        this.options.maximumBytes * 1.25,
        this.options.open ?? openSqlite,
        SPARKPLUG_TABLES,
      );
      this.usedBytes = 0;
    } catch {
      this.database = null;
      this.fault = before;
    }
  }
}
