import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../protocols/clock.ts';
import type { DeviceId, EpochMs, LimitId, Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { ControlJournal, StepRecord } from '../control/controller.ts';
import type { DecisionRecord } from '../control/decision.ts';
import type { Sent } from '../control/dispatch.ts';
import type { ControlState } from '../control/step.ts';
import { type BookState, EMPTY_BOOK } from '../orders/book.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteEvent } from '../site/snapshot.ts';
import type { SiteView } from '../site/view.ts';
import {
  type HistoryRow,
  type LoggedEvent,
  type LogQuery,
  MinuteMeans,
  readEvents,
  readHistory,
  writeEvents,
  writeHistory,
} from './archive.ts';
import { changesEffect, readBook, writeBook } from './book-table.ts';
import {
  dropBallast,
  faultOf,
  JOURNAL_FILE,
  keepBallast,
  type OpenDatabase,
  openForReading,
  openSqlite,
  openTables,
  setAside,
  value,
} from './database.ts';
import { EventLog } from './event-log.ts';
import { commandEvents, decisionEvent, diskConditions } from './journal-events.ts';
import { type LostState, recoverState } from './recover.ts';
import { readLost, SegmentWriter, type Waiting } from './segments.ts';

/** What an earlier life of the agent left behind. */
export interface Restored {
  /** Number of this life; commands and leases of lower ones are older. */
  readonly epoch: number;
  readonly book: BookState;
  /** `null`: nothing is known; every device starts unknown. */
  readonly controlState: ControlState | null;
  /** Devices that have answered at least once: their silence keeps their reservation. */
  readonly seenDevices: readonly DeviceId[];
}

/** The agent's memory on disk. Nothing here throws: a disk that fails is a state, `failure` names it. */
export interface Journal extends ControlJournal {
  /** Rises by one with each start; 0 while no journal can be opened. */
  readonly epoch: number;
  /** Why nothing may rise: the disk cannot be written, or orders may be missing; `null` = all is well. */
  readonly failure: string | null;
  /** Reads what earlier lives left. Call once, before the first cycle. */
  restore(rules: { readonly meterStaleMs: Milliseconds }): Restored;
  /** Makes the order book durable; `false` when it could not. */
  persist(book: BookState): boolean;
  recordEvents(events: readonly SiteEvent[]): void;
  recordDecision(record: DecisionRecord): void;
  recordView(view: SiteView): void;
  /** Troubles with the disk beside `failure`. */
  conditions(): readonly Condition[];
  /** Events for `log`, newest last; from memory alone while the disk fails. */
  log(query: LogQuery): readonly LoggedEvent[];
  history(span: {
    fromMs: EpochMs;
    untilMs: EpochMs;
    limit: LimitId | null;
    count: number;
  }): readonly HistoryRow[];
  /** Writes what waits. */
  flush(): void;
  close(): void;
}

/** Cycles without commands wait for each other: at most so many are lost with the process. */
const CYCLES_AT_ONCE = 5;
/** A cycle of a site larger than this takes tens of milliseconds to write: each in a turn of its own. */
const LARGE_SITE_DEVICES = 1000;
/** Waiting records while nothing can be written: then the oldest are given up. */
const WAITING_AT_MOST = 600;
/** A disk that failed is tried again after this. */
const RETRY_MS = 10_000;
/** Share of the maximum that decision inputs may use; the rest is for events, history and free pages. */
const RECORD_SHARE = 0.7;

/**
 * Opens the journal of a folder, or starts without one: then `failure` says why, every booking is refused (so the
 * agent only lowers) and the disk is tried again every ten seconds. `maximumBytes` bounds the file.
 */
export function openJournal(
  folder: string,
  maximumBytes: number,
  clock: Clock,
  open: OpenDatabase = openSqlite,
): Journal {
  return new SqliteJournal({ folder, maximumBytes, clock, open });
}

interface JournalDeps {
  readonly folder: string;
  readonly maximumBytes: number;
  readonly clock: Clock;
  readonly open: OpenDatabase;
}

class SqliteJournal implements Journal {
  epoch = 0;
  /** Why the disk cannot be written. */
  private fault: string | null = null;
  /** Why what was restored may not be everything: orders that kept limits low may be missing. */
  private doubt: string | null = null;
  private readonly deps: JournalDeps;
  private database: DatabaseSync | null = null;
  private segments: SegmentWriter;
  private retryAt = Number.NEGATIVE_INFINITY;
  private cancelFlush: (() => void) | null = null;
  private closed = false;
  private restored = false;
  private lost: LostState | null = null;

  private waiting: Waiting[] = [];
  private readonly events = new EventLog();
  private minutes: HistoryRow[] = [];
  private readonly means = new MinuteMeans();
  private readonly seen = new Set<DeviceId>();
  private readonly seenUnwritten = new Set<DeviceId>();
  private book: BookState = EMPTY_BOOK;
  /** The book as it lies on the disk; `null`: not known. */
  private bookWritten: BookState | null = null;
  private ballast = false;
  private asideName: string | null = null;
  private recordBytes: number;

  constructor(deps: JournalDeps) {
    this.deps = deps;
    this.recordBytes = deps.maximumBytes * RECORD_SHARE;
    this.segments = new SegmentWriter(0, this.recordBytes);
    this.connect();
  }

  get failure(): string | null {
    return this.fault ?? this.doubt;
  }

  restore(rules: { readonly meterStaleMs: Milliseconds }): Restored {
    const { clock } = this.deps;
    const { lost } = this;
    this.lost = null;
    this.restored = true;
    return {
      epoch: this.epoch,
      book: this.book,
      controlState:
        lost === null
          ? null
          : recoverState(lost, { ...rules, epochMs: clock.epochMs(), monotonicMs: clock.monotonicMs() }),
      seenDevices: [...this.seen],
    };
  }

  recordStep(record: StepRecord): boolean {
    this.note({ step: record });
    for (const device of record.observation.devices) {
      if (device.requestedAt === null || this.seen.has(device.id)) continue;
      this.seen.add(device.id);
      this.seenUnwritten.add(device.id);
    }
    const { commands } = record.result.decision;
    for (const event of commandEvents(record)) this.events.add(event);
    if (commands.some((command) => command.direction === 'up'))
      return this.write(true) && this.doubt === null;
    if (this.fault !== null) return this.write(false) && this.doubt === null;
    // Falls leave first and are written in the next turn; a fall may be repeated, a rise must not.
    const atOnce = record.observation.devices.length > LARGE_SITE_DEVICES ? 1 : CYCLES_AT_ONCE;
    if (commands.length > 0 || this.waiting.length >= atOnce) this.writeSoon();
    return this.doubt === null;
  }

  recordSent(sent: Sent, at: MonotonicMs): void {
    // A command that failed on the way is not known to have left: after a crash it is given again.
    if (sent.failure !== null) return;
    this.note({
      sent: {
        k: 'sent',
        device: sent.device,
        pointId: sent.pointId,
        at: Math.round(at),
        acknowledged: sent.acknowledged,
      },
    });
    this.writeSoon();
  }

  persist(book: BookState): boolean {
    const effect = changesEffect(book, this.bookWritten);
    this.book = book;
    return this.write(effect);
  }

  recordEvents(events: readonly SiteEvent[]): void {
    for (const event of events) this.events.add(event);
  }

  recordDecision(record: DecisionRecord): void {
    this.events.add(decisionEvent(record));
  }

  recordView(view: SiteView): void {
    const ended = this.means.add(view);
    this.minutes.push(...ended);
    // Once a minute: room that somebody made on the disk is taken for the ballast again.
    if (ended.length === 0 || this.ballast || this.database === null) return;
    this.ballast = keepBallast(this.deps.folder);
    if (this.ballast) this.plan();
  }

  conditions(): readonly Condition[] {
    return diskConditions({
      folder: this.deps.folder,
      noBallast: this.fault === null && !this.ballast,
      asideName: this.asideName,
    });
  }

  log(query: LogQuery): readonly LoggedEvent[] {
    if (this.database !== null && this.write(false)) {
      try {
        return readEvents(this.database, query);
      } catch (error) {
        this.fail(error);
      }
    }
    return this.events.find(query);
  }

  history(span: {
    fromMs: EpochMs;
    untilMs: EpochMs;
    limit: LimitId | null;
    count: number;
  }): readonly HistoryRow[] {
    if (this.database === null || !this.write(false)) return [];
    try {
      return readHistory(this.database, span);
    } catch (error) {
      this.fail(error);
      return [];
    }
  }

  flush(): void {
    this.write(false);
  }

  close(): void {
    if (this.closed) return;
    this.minutes.push(...this.means.take());
    this.write(true);
    this.closed = true;
    this.cancelFlush?.();
    this.disconnect();
  }

  private note(one: Waiting): void {
    this.waiting.push(one);
    if (this.waiting.length > WAITING_AT_MOST) {
      // Differences cannot be cut in the middle: what follows begins a segment.
      this.waiting = this.waiting.slice(-1);
      this.segments.forget();
    }
  }

  private writeSoon(): void {
    this.cancelFlush ??= this.deps.clock.after(0, () => {
      this.cancelFlush = null;
      this.write(false);
    });
  }

  /** Writes everything that waits; `durable`: it is on the disk, not only in its cache, when this returns true. */
  private write(durable: boolean): boolean {
    if (this.closed) return false;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      if (this.database === null && !this.reconnect()) return false;
      try {
        this.transaction(this.database!, durable);
        this.fault = null;
        return true;
      } catch (error) {
        // A full or damaged disk may have a remedy: then it is tried once more.
        if (!this.remedy(error)) return false;
      }
    }
    return false;
  }

  private transaction(database: DatabaseSync, durable: boolean): void {
    const { waiting, minutes } = this;
    const events = this.events.unwritten;
    const bookChanged = this.book !== this.bookWritten;
    if (
      waiting.length + events.length + minutes.length + this.seenUnwritten.size === 0 &&
      !bookChanged &&
      this.fault === null
    )
      return;
    database.exec(`PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`);
    database.exec('BEGIN IMMEDIATE');
    try {
      this.segments.write(database, waiting, this.deps.clock.epochMs());
      if (bookChanged) writeBook(database, this.book, this.bookWritten);
      const seen = database.prepare('INSERT OR IGNORE INTO seen(device, ts) VALUES (?, ?)');
      for (const device of this.seenUnwritten) seen.run(device, Math.round(this.deps.clock.epochMs()));
      writeEvents(database, events);
      writeHistory(database, minutes);
      database.exec('COMMIT');
    } catch (error) {
      this.segments.forget();
      try {
        database.exec('ROLLBACK');
      } catch {
        // SQLite has rolled back by itself after some errors.
      }
      throw error;
    }
    this.waiting = [];
    this.events.written();
    this.minutes = [];
    this.seenUnwritten.clear();
    this.bookWritten = this.book;
  }

  /** Answers a failed write. True: something was done about it, try again. */
  private remedy(error: unknown): boolean {
    const fault = faultOf(error);
    if (fault === 'full' && this.makeRoom()) return true;
    if (fault === 'corrupt') {
      this.disconnect();
      return this.beginAnew();
    }
    this.fail(error);
    return false;
  }

  /** The disk is full: the ballast goes, the records shrink to half of what they have, and stay there. */
  private makeRoom(): boolean {
    if (!dropBallast(this.deps.folder)) return false;
    this.ballast = false;
    const { database } = this;
    if (database === null) return true;
    try {
      const used = Number(value(database, 'SELECT coalesce(sum(bytes), 0) FROM record'));
      this.recordBytes = Math.max(100_000, used / 2);
      this.segments = new SegmentWriter(this.epoch, this.recordBytes);
      database.exec('BEGIN IMMEDIATE');
      this.segments.dropOldest(database, this.recordBytes);
      database.exec('COMMIT');
      database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // The room that the ballast leaves has to do.
      if (database.isTransaction) database.exec('ROLLBACK');
    }
    return true;
  }

  private fail(error: unknown): void {
    this.fault = error instanceof Error ? error.message : String(error);
    this.retryAt = this.deps.clock.monotonicMs() + RETRY_MS;
    // What could not be written is not lost on the way to the next segment: that one starts with the whole state.
    this.waiting = [];
    this.disconnect();
  }

  private disconnect(): void {
    const { database } = this;
    this.database = null;
    this.segments.forget();
    this.bookWritten = null;
    try {
      database?.close();
    } catch {
      // It is given up anyway.
    }
  }

  private reconnect(): boolean {
    if (this.deps.clock.monotonicMs() < this.retryAt) {
      this.waiting = [];
      return false;
    }
    return this.connect();
  }

  /** Opens the file and, the first time that works, takes in what it holds. */
  private connect(): boolean {
    const { folder, maximumBytes, open } = this.deps;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      try {
        this.database = openTables(folder, maximumBytes, open);
        this.begin(this.database);
        this.ballast = keepBallast(folder);
        this.plan();
        this.fault = null;
        return true;
      } catch (error) {
        const fault = faultOf(error);
        this.disconnect();
        if (fault === 'corrupt') {
          if (this.epoch === 0) this.salvage();
          if (this.putAside(error)) continue;
        }
        if (fault === 'full' && dropBallast(folder)) continue;
        this.fail(error);
        return false;
      }
    }
    return false;
  }

  /** Takes what can still be read out of a damaged file before it is set aside. */
  private salvage(): void {
    try {
      const database = openForReading(join(this.deps.folder, JOURNAL_FILE));
      try {
        this.book = readBook(database);
        for (const row of database.prepare('SELECT device FROM seen').all())
          this.seen.add(String(row['device']));
        const lost = readLost(database);
        this.lost = lost === null ? null : { ...lost, damaged: true };
      } finally {
        database.close();
      }
    } catch {
      this.doubt = 'the journal was damaged when the agent started: orders given before may be missing';
    }
  }

  /** Room for records: all of it, or what was left when the disk was full. */
  private plan(): void {
    if (this.ballast) this.recordBytes = this.deps.maximumBytes * RECORD_SHARE;
    this.segments = new SegmentWriter(this.epoch, this.recordBytes);
  }

  private beginAnew(): boolean {
    return this.putAside(new Error('the journal is damaged')) && this.connect();
  }

  private putAside(error: unknown): boolean {
    const { folder, clock } = this.deps;
    try {
      this.asideName = setAside(folder, clock.epochMs());
    } catch (renaming) {
      this.fail(renaming);
      return false;
    }
    this.events.add({
      epochMs: clock.epochMs(),
      kind: 'journal-set-aside',
      target: 'site',
      message: `the journal was damaged (${(error as Error).message}) and set aside as ${this.asideName}`,
    });
    return true;
  }

  /** The first opening of this life begins an epoch and reads what is there; later ones only go on writing. */
  private begin(database: DatabaseSync): void {
    const first = this.epoch === 0;
    if (first && this.restored && holdsOrders(database))
      throw new Error(
        'the journal could be opened only after the start: restart the agent to take its orders in',
      );
    const stored = Number(value(database, "SELECT coalesce(max(value), 0) FROM meta WHERE key = 'epoch'"));
    const epoch = first ? stored + 1 : Math.max(stored, this.epoch);
    database.exec('PRAGMA synchronous = FULL');
    database
      .prepare(
        "INSERT INTO meta(key, value) VALUES ('epoch', ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
      )
      .run(epoch);
    this.events.continueAfter(Number(value(database, 'SELECT coalesce(max(id), 0) FROM event')));
    for (const row of database.prepare('SELECT device FROM seen').all()) this.seen.add(String(row['device']));
    if (first && !this.restored && this.asideName === null) {
      this.book = readBook(database);
      this.bookWritten = this.book;
      this.lost = readLost(database);
    }
    for (const device of this.seen) this.seenUnwritten.add(device);
    this.epoch = epoch;
  }
}

function holdsOrders(database: DatabaseSync): boolean {
  return database.prepare('SELECT 1 FROM book').get() !== undefined;
}
