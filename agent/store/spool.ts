import { statfsSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../protocols/clock.ts';
import type { EpochMs, Milliseconds } from '../../protocols/units.ts';
import type { Condition } from '../site/alarms.ts';
import { faultOf, type OpenDatabase, openSqlite, openTables, setAside, value } from './database.ts';
import {
  decodeBody,
  encodeBody,
  evict,
  type Gap,
  insertRows,
  type NewRow,
  RECORD_PRIORITY,
  readGaps,
  rowBytes,
  rowOf,
  SPOOL_TABLES,
  type SpoolRow,
  writeGap,
} from './spool-rows.ts';
import { THIN_STEPS, Thinner } from './thin.ts';

/** What waits on the disk, by kind. */
export interface SpoolCounts {
  readonly records: number;
  readonly history: number;
  readonly bytes: number;
  readonly oldestMs: EpochMs | null;
}

/**
 * Messages that wait for the broker, on the disk. Nothing here throws: a disk that fails is a state, `add` gives
 * `null` then and `conditions` say why.
 */
export interface Spool {
  /** Takes rows in, all or none, and gives their ids in order; `null` when they could not be written. */
  add(rows: readonly NewRow[]): readonly number[] | null;
  /** The oldest rows after an id: records (`record`) or telemetry (`history`). */
  read(kind: 'record' | 'history', afterId: number, count: number): readonly SpoolRow[];
  /** The broker has these. They are deleted with the next write, at the latest by `maintain`. */
  remove(ids: readonly number[]): void;
  /** Next number of a stream; rises over restarts. */
  nextSequence(stream: string): number;
  /** Books telemetry that was given up elsewhere. */
  lose(gap: Gap): void;
  /** Gaps to tell of; they stay until `forgetGaps`. */
  gaps(): readonly Gap[];
  forgetGaps(gaps: readonly Gap[]): void;
  /**
   * Deletes what was acknowledged and keeps off the last of the disk; with `thin` also thins what waits too long:
   * only while nothing of it is on its way.
   */
  maintain(thin: boolean): void;
  counts(): SpoolCounts;
  conditions(): readonly Condition[];
  close(): void;
}

/** Numbers reserved at once: so many may be skipped after a crash, never used twice. */
const SEQUENCE_BLOCK = 600;
/** A disk that failed is tried again after this. */
const RETRY_MS = 10_000;
/** Eviction makes this much room at once, so that not every insert evicts. */
const EVICT_TO = 0.98;
/** Thinning begins when this part of the room is used. */
const THIN_FROM = 0.5;
/** Messages thinned in one call, at most: they are decoded one by one. */
const THIN_AT_ONCE = 2000;
/** The spool keeps off this part of the disk. */
const FREE_SHARE = 0.1;
const LEAST_BYTES = 500_000;

export interface SpoolOptions {
  readonly folder: string;
  /** Room for waiting messages; the file may be a quarter larger. */
  readonly maximumBytes: number;
  readonly clock: Clock;
  readonly open?: OpenDatabase;
  /** Free and whole size of the disk; tests pass one that is full. */
  readonly disk?: (folder: string) => { readonly freeBytes: number; readonly totalBytes: number } | null;
}

/** Opens the spool of a folder; without a disk it starts all the same, and says so. */
export function openSpool(options: SpoolOptions): Spool {
  return new SqliteSpool(options);
}

class SqliteSpool implements Spool {
  private readonly options: SpoolOptions;
  private database: DatabaseSync | null = null;
  private usedBytes = 0;
  private nextId = 1;
  private roomBytes: number;
  private fault: string | null = null;
  private diskLow = false;
  private asideName: string | null = null;
  private retryAt = Number.NEGATIVE_INFINITY;
  private acknowledged: number[] = [];
  private lost: Gap[] = [];
  private readonly sequences = new Map<string, { next: number; reserved: number }>();

  constructor(options: SpoolOptions) {
    this.options = options;
    this.roomBytes = options.maximumBytes;
    this.connect();
  }

  add(rows: readonly NewRow[]): readonly number[] | null {
    let ids: number[] = [];
    const done = this.write((database) => {
      const bytes = rows.reduce((sum, row) => sum + rowBytes(row.body), 0);
      // Room is made first, so that the file never grows beyond it.
      if (this.usedBytes + bytes > this.roomBytes)
        this.usedBytes = evict(database, this.usedBytes, Math.max(0, this.roomBytes * EVICT_TO - bytes));
      ids = insertRows(database, rows, this.nextId);
      this.usedBytes += bytes;
      if (this.usedBytes > this.roomBytes)
        this.usedBytes = evict(database, this.usedBytes, this.roomBytes * EVICT_TO);
    });
    if (!done) return null;
    // An id is never used twice in one life of the agent: what is under way is known by it.
    this.nextId += rows.length;
    return ids;
  }

  read(kind: 'record' | 'history', afterId: number, count: number): readonly SpoolRow[] {
    if (this.database === null) return [];
    const range = kind === 'record' ? '>=' : '<';
    try {
      return this.database
        .prepare(`SELECT * FROM spool WHERE id > ? AND priority ${range} ? ORDER BY id LIMIT ?`)
        .all(afterId, RECORD_PRIORITY, count)
        .map(rowOf);
    } catch (error) {
      this.remedy(error);
      return [];
    }
  }

  remove(ids: readonly number[]): void {
    this.acknowledged.push(...ids);
  }

  nextSequence(stream: string): number {
    let sequence = this.sequences.get(stream);
    if (sequence === undefined) {
      // Without a memory the wall clock is above every number that was ever used: fewer than one a millisecond.
      const next = Math.round(this.options.clock.epochMs());
      sequence = { next, reserved: next };
      this.sequences.set(stream, sequence);
    }
    if (sequence.next >= sequence.reserved) {
      sequence.reserved = sequence.next + SEQUENCE_BLOCK;
      const { reserved } = sequence;
      this.write((database) => writeSequence(database, stream, reserved));
    }
    sequence.next += 1;
    return sequence.next - 1;
  }

  lose(gap: Gap): void {
    if (this.write((database) => writeGap(database, gap))) return;
    const same = this.lost.findIndex((old) => old.stream === gap.stream && old.reason === gap.reason);
    if (same === -1) this.lost.push(gap);
    else this.lost[same] = joined(this.lost[same]!, gap);
  }

  gaps(): readonly Gap[] {
    try {
      return [...(this.database === null ? [] : readGaps(this.database)), ...this.lost];
    } catch (error) {
      this.remedy(error);
      return this.lost;
    }
  }

  forgetGaps(gaps: readonly Gap[]): void {
    this.lost = this.lost.filter((gap) => !gaps.includes(gap));
    this.write((database) => {
      const remove = database.prepare('DELETE FROM gap WHERE stream = ? AND reason = ? AND last_seq = ?');
      for (const gap of gaps) remove.run(gap.stream, gap.reason, gap.lastSeq);
    });
  }

  maintain(thin: boolean): void {
    this.watchDisk();
    this.write((database) => {
      if (thin && this.usedBytes > this.roomBytes * THIN_FROM) this.thin(database);
      if (this.usedBytes > this.roomBytes)
        this.usedBytes = evict(database, this.usedBytes, this.roomBytes * EVICT_TO);
    });
  }

  counts(): SpoolCounts {
    const none = { records: 0, history: 0, bytes: this.usedBytes, oldestMs: null };
    if (this.database === null) return none;
    try {
      const row = this.database
        .prepare(
          `SELECT (SELECT count(*) FROM spool WHERE priority >= ?) AS records,
           (SELECT count(*) FROM spool WHERE priority < ?) AS history, (SELECT min(ts) FROM spool) AS oldest`,
        )
        .get(RECORD_PRIORITY, RECORD_PRIORITY);
      if (row === undefined) return none;
      return {
        records: Number(row['records']),
        history: Number(row['history']),
        bytes: this.usedBytes,
        oldestMs: row['oldest'] === null ? null : Number(row['oldest']),
      };
    } catch (error) {
      this.remedy(error);
      return none;
    }
  }

  conditions(): readonly Condition[] {
    const { folder } = this.options;
    const conditions: Condition[] = [];
    if (this.fault !== null)
      conditions.push({
        code: 'spool-unwritable',
        severity: 'major',
        target: 'site',
        message: `Messages that wait for the broker cannot be written down (${this.fault}): they are kept in memory, and the oldest telemetry is given up first.`,
        nextStep: `Check the disk below ${folder}.`,
      });
    if (this.diskLow)
      conditions.push({
        code: 'disk-low',
        severity: 'major',
        target: 'site',
        message: `The disk of the gateway is nearly full: messages that wait for the broker have ${Math.round(this.roomBytes / 1e6)} MB instead of ${Math.round(this.options.maximumBytes / 1e6)} MB.`,
        nextStep: `Make room on the disk of ${folder}.`,
      });
    if (this.asideName !== null)
      conditions.push({
        code: 'spool-set-aside',
        severity: 'minor',
        target: 'site',
        message: `The file of waiting messages was damaged; it was set aside as ${this.asideName} and a new one begun.`,
        nextStep: 'Check the disk of the gateway; what waited in that file was not sent.',
      });
    return conditions;
  }

  close(): void {
    this.write((database) => {
      for (const [stream, { next }] of this.sequences) writeSequence(database, stream, next);
      database.exec("INSERT OR REPLACE INTO meta(key, value) VALUES ('clean', 1)");
    });
    this.disconnect();
    this.retryAt = Number.POSITIVE_INFINITY;
  }

  /** One transaction, with what waits to be deleted; tried again once where something could be done. */
  private write(work: (database: DatabaseSync) => void): boolean {
    for (let attempt = 0; attempt < 2; attempt += 1) {
      if (this.database === null && !this.reconnect()) return false;
      const { database } = this;
      if (database === null) return false;
      const usedBefore = this.usedBytes;
      try {
        database.exec('BEGIN IMMEDIATE');
        this.deleteAcknowledged(database);
        work(database);
        database.exec('COMMIT');
        this.acknowledged = [];
        this.fault = null;
        return true;
      } catch (error) {
        this.usedBytes = usedBefore;
        if (database.isOpen && database.isTransaction) database.exec('ROLLBACK');
        if (!this.remedy(error)) return false;
      }
    }
    return false;
  }

  private deleteAcknowledged(database: DatabaseSync): void {
    if (this.acknowledged.length === 0) return;
    const remove = database.prepare('DELETE FROM spool WHERE id = ? RETURNING bytes');
    for (const id of this.acknowledged) this.usedBytes -= Number(remove.get(id)?.['bytes'] ?? 0);
  }

  /** True: something was done about it, try again. */
  private remedy(error: unknown): boolean {
    const fault = faultOf(error);
    if (fault === 'corrupt') {
      this.disconnect();
      return this.beginAnew() && this.connect();
    }
    if (fault === 'full' && this.roomBytes > LEAST_BYTES) {
      // No room for what was promised: half of what is used has to do, until the disk is looked at again.
      this.roomBytes = Math.max(LEAST_BYTES, Math.min(this.roomBytes, this.usedBytes) / 2);
      this.diskLow = true;
      return this.shrink();
    }
    this.fail(error);
    return false;
  }

  private shrink(): boolean {
    const { database } = this;
    if (database === null) return false;
    try {
      database.exec('BEGIN IMMEDIATE');
      const used = evict(database, this.usedBytes, this.roomBytes * EVICT_TO);
      database.exec('COMMIT');
      this.usedBytes = used;
      return true;
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      this.fail(error);
      return false;
    }
  }

  private watchDisk(): void {
    const { folder, maximumBytes } = this.options;
    const disk = (this.options.disk ?? diskOf)(folder);
    if (disk === null) return;
    const spare = disk.freeBytes - disk.totalBytes * FREE_SHARE;
    this.roomBytes = Math.min(maximumBytes, Math.max(LEAST_BYTES, this.usedBytes + spare));
    this.diskLow = this.roomBytes < maximumBytes;
  }

  private thin(database: DatabaseSync): void {
    const now = this.options.clock.epochMs();
    for (const { afterMs, stepMs } of [...THIN_STEPS].reverse()) {
      const rows = database
        .prepare(
          `SELECT * FROM spool WHERE priority < ? AND step < ? AND ts < ? ORDER BY id LIMIT ${THIN_AT_ONCE}`,
        )
        .all(RECORD_PRIORITY, stepMs, Math.floor((now - afterMs) / stepMs) * stepMs)
        .map(rowOf);
      this.thinRows(database, rows, stepMs);
    }
  }

  /** Replaces whole steps of each stream by one row each. The last step of a stream may go on: it is left alone. */
  private thinRows(database: DatabaseSync, rows: readonly SpoolRow[], stepMs: Milliseconds): void {
    const steps = new Map<string, SpoolRow[]>();
    const newest = new Map<string, number>();
    for (const row of rows) {
      const step = Math.floor(row.ts / stepMs);
      const key = `${row.stream} ${step}`;
      steps.set(key, [...(steps.get(key) ?? []), row]);
      newest.set(row.stream, Math.max(newest.get(row.stream) ?? 0, step));
    }
    const update = database.prepare(
      'UPDATE spool SET body = ?, bytes = ?, step = ?, seq = ?, ts = ? WHERE id = ?',
    );
    const remove = database.prepare('DELETE FROM spool WHERE id = ?');
    for (const [key, group] of steps) {
      const [stream, step] = key.split(' ');
      if (rows.length === THIN_AT_ONCE && newest.get(stream!) === Number(step)) continue;
      const thinner = new Thinner();
      for (const row of group) thinner.add(decodeBody(row.body));
      const body = encodeBody(thinner.body(stepMs));
      const [first, last] = [group[0]!, group.at(-1)!];
      update.run(body, rowBytes(body), stepMs, last.seq, last.ts, first.id);
      for (const row of group) {
        this.usedBytes -= rowBytes(row.body);
        if (row !== first) remove.run(row.id);
      }
      this.usedBytes += rowBytes(body);
    }
  }

  private fail(error: unknown): void {
    this.fault = error instanceof Error ? error.message : String(error);
    this.retryAt = this.options.clock.monotonicMs() + RETRY_MS;
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

  private reconnect(): boolean {
    return this.options.clock.monotonicMs() >= this.retryAt && this.connect();
  }

  private connect(): boolean {
    const { folder, maximumBytes, open } = this.options;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        this.database = openTables(folder, maximumBytes * 1.25, open ?? openSqlite, SPOOL_TABLES);
        this.database.exec('PRAGMA synchronous = NORMAL');
        this.begin(this.database);
        this.fault = null;
        return true;
      } catch (error) {
        this.disconnect();
        if (faultOf(error) === 'corrupt' && attempt === 0 && this.beginAnew()) continue;
        this.fail(error);
        return false;
      }
    }
    return false;
  }

  private beginAnew(): boolean {
    try {
      this.asideName = setAside(this.options.folder, this.options.clock.epochMs(), SPOOL_TABLES);
      this.usedBytes = 0;
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  /** Takes in what an earlier life left; after a crash, numbers that it may have used are told as a gap. */
  private begin(database: DatabaseSync): void {
    this.usedBytes = Number(value(database, 'SELECT coalesce(sum(bytes), 0) FROM spool'));
    const lastId = Number(value(database, 'SELECT coalesce(max(id), 0) FROM spool'));
    this.nextId = Math.max(this.nextId, lastId + 1);
    const clean = value(database, "SELECT value FROM meta WHERE key = 'clean'") !== null;
    database.exec('BEGIN IMMEDIATE');
    database.exec("DELETE FROM meta WHERE key = 'clean'");
    const now = Math.round(this.options.clock.epochMs());
    for (const row of database.prepare('SELECT stream, next FROM sequence').all()) {
      const stream = String(row['stream']);
      const next = Number(row['next']);
      if (this.sequences.has(stream)) continue;
      this.sequences.set(stream, { next, reserved: next });
      if (clean) continue;
      writeGap(database, {
        stream,
        reason: 'restart',
        fromMs: now,
        toMs: now,
        firstSeq: next - SEQUENCE_BLOCK,
        lastSeq: next - 1,
        messages: null,
      });
    }
    database.exec('COMMIT');
    for (const [stream, { reserved }] of this.sequences) writeSequence(database, stream, reserved);
  }
}

function writeSequence(database: DatabaseSync, stream: string, next: number): void {
  database
    .prepare(
      `INSERT INTO sequence(stream, next) VALUES (?, ?) ON CONFLICT(stream)
       DO UPDATE SET next = excluded.next`,
    )
    .run(stream, next);
}

function joined(old: Gap, gap: Gap): Gap {
  return {
    ...old,
    fromMs: Math.min(old.fromMs, gap.fromMs),
    toMs: Math.max(old.toMs, gap.toMs),
    firstSeq: Math.min(old.firstSeq, gap.firstSeq),
    lastSeq: Math.max(old.lastSeq, gap.lastSeq),
    messages: old.messages === null || gap.messages === null ? null : old.messages + gap.messages,
  };
}

function diskOf(folder: string): { freeBytes: number; totalBytes: number } | null {
  try {
    const { blocks, bavail, bsize } = statfsSync(folder);
    return blocks === 0 ? null : { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    return null;
  }
}
