import type { DatabaseSync } from 'node:sqlite';
import type { EpochMs, MonotonicMs } from '../../protocols/units.ts';
import type { StepRecord } from '../control/controller.ts';
import type { Observation } from '../control/observation.ts';
import { type ControlState, INITIAL_STATE } from '../control/step.ts';
import type { StepContext } from '../control/step-context.ts';
import { value } from './database.ts';
import { patchInPlace } from './patch.ts';
import {
  contextHash,
  type Line,
  lineOf,
  type Picture,
  pack,
  type SegmentStart,
  type SentLine,
  startPicture,
  unpack,
} from './records.ts';
import type { LostState } from './recover.ts';

/** A new segment begins after so many cycles or bytes: what is dropped to make room is dropped whole. */
const CYCLES_PER_SEGMENT = 300;
const BYTES_PER_SEGMENT = 8_000_000;
/** Sites as they were configured, one for each change of the configuration. */
const CONTEXTS_KEPT = 50;
/** Sent lines looked back at when a life begins. */
const SENT_KEPT = 20_000;

/** What waits to be written: a cycle, or the news that a command has left. */
export type Waiting = { readonly step: StepRecord } | { readonly sent: SentLine };

/**
 * Writes cycles as segments: a start with the whole state, then differences. Every call is made inside the
 * caller's transaction; `forget` after one that was rolled back.
 */
export class SegmentWriter {
  private readonly epoch: number;
  private readonly recordBytes: number;
  private open: {
    id: number;
    context: StepContext;
    picture: Picture;
    cycles: number;
    bytes: number;
  } | null = null;
  private totalBytes: number | null = null;

  /** `recordBytes`: room for all records together; the oldest segments go when they need more. */
  constructor(epoch: number, recordBytes: number) {
    this.epoch = epoch;
    this.recordBytes = recordBytes;
  }

  /** What was written last may not be there: the next cycle begins a segment. */
  forget(): void {
    this.open = null;
    this.totalBytes = null;
  }

  write(database: DatabaseSync, waiting: readonly Waiting[], nowMs: EpochMs): void {
    let lines: Line[] = [];
    for (const one of waiting) {
      if ('sent' in one) {
        lines.push(one.sent);
        continue;
      }
      if (this.mustBegin(one.step)) {
        this.insert(database, 'lines', lines, nowMs);
        lines = [];
        this.begin(database, one.step);
      }
      const open = this.open!;
      const { line, picture } = lineOf(open.picture, one.step);
      lines.push(line);
      open.picture = picture;
      open.cycles += 1;
    }
    this.insert(database, 'lines', lines, nowMs);
    this.dropOldest(database, this.recordBytes);
  }

  /** Deletes the oldest segments until the records need at most `bytes`; the open one stays. */
  dropOldest(database: DatabaseSync, bytes: number): void {
    this.totalBytes ??= Number(value(database, 'SELECT coalesce(sum(bytes), 0) FROM record'));
    while (this.totalBytes > bytes) {
      const oldest = database
        .prepare('SELECT segment, sum(bytes) AS bytes FROM record GROUP BY segment ORDER BY segment LIMIT 1')
        .get();
      if (oldest === undefined || Number(oldest['segment']) === this.open?.id) return;
      database.prepare('DELETE FROM record WHERE segment = ?').run(Number(oldest['segment']));
      this.totalBytes -= Number(oldest['bytes']);
    }
  }

  private mustBegin(step: StepRecord): boolean {
    return (
      this.open === null ||
      this.open.context !== step.context ||
      this.open.cycles >= CYCLES_PER_SEGMENT ||
      this.open.bytes >= BYTES_PER_SEGMENT
    );
  }

  private begin(database: DatabaseSync, step: StepRecord): void {
    const hash = contextHash(step.context);
    database
      .prepare('INSERT OR REPLACE INTO context(hash, body) VALUES (?, ?)')
      .run(hash, pack(step.context));
    database.exec(
      `DELETE FROM context WHERE rowid NOT IN (SELECT rowid FROM context ORDER BY rowid DESC LIMIT ${CONTEXTS_KEPT})`,
    );
    const id = Number(value(database, 'SELECT coalesce(max(segment), 0) + 1 FROM record'));
    this.open = { id, context: step.context, picture: startPicture(step.before), cycles: 0, bytes: 0 };
    const start: SegmentStart = { contextHash: hash, now: step.observation.now, state: step.before };
    this.insert(database, 'start', start, step.ts);
  }

  private insert(
    database: DatabaseSync,
    kind: 'start' | 'lines',
    content: SegmentStart | Line[],
    ts: EpochMs,
  ): void {
    if (this.open === null || (Array.isArray(content) && content.length === 0)) return;
    const body = pack(content);
    database
      .prepare('INSERT INTO record(segment, epoch, kind, ts, bytes, body) VALUES (?, ?, ?, ?, ?, ?)')
      .run(this.open.id, this.epoch, kind, Math.round(ts), body.length, body);
    this.open.bytes += body.length;
    if (this.totalBytes !== null) this.totalBytes += body.length;
  }
}

/** What a row of the record table holds. */
export interface RecordRow {
  readonly id: number;
  readonly segment: number;
  readonly epoch: number;
  readonly kind: 'start' | 'lines';
  readonly ts: EpochMs;
  readonly body: Uint8Array;
}

/** Rows in the order in which they were written. */
export function* recordRows(database: DatabaseSync, fromId = 0): Generator<RecordRow> {
  const statement = database.prepare(
    'SELECT id, segment, epoch, kind, ts, body FROM record WHERE id >= ? ORDER BY id',
  );
  for (const row of statement.iterate(fromId)) {
    yield {
      id: Number(row['id']),
      segment: Number(row['segment']),
      epoch: Number(row['epoch']),
      kind: row['kind'] === 'start' ? 'start' : 'lines',
      ts: Number(row['ts']),
      body: row['body'] as Uint8Array,
    };
  }
}

/**
 * The last state that the journal knows of, put together from the last segment's start and every line after it;
 * `null` where no cycle was ever written. What cannot be read makes the rest doubtful, not the start fail.
 */
export function readLost(database: DatabaseSync): LostState | null {
  const newest = (before: number) =>
    database
      .prepare("SELECT id FROM record WHERE kind = 'start' AND id < ? ORDER BY id DESC LIMIT 1")
      .get(before)?.['id'];
  const last = newest(Number.MAX_SAFE_INTEGER);
  if (last === undefined) return null;
  const lost = foldRows(recordRows(database, Number(last)));
  if (!lost.damaged || Object.keys(lost.state.entries).length > 0) return lost;
  // Not even the start can be read: the segment before it is the best that is left.
  const before = newest(Number(last));
  return before === undefined ? lost : { ...foldRows(recordRows(database, Number(before))), damaged: true };
}

/** Puts a state together from the rows of one segment. Pure but for the rows it takes. */
export function foldRows(rows: Iterable<Pick<RecordRow, 'kind' | 'ts' | 'body'>>): LostState {
  let state: ControlState = structuredClone(INITIAL_STATE);
  let observation: Observation | null = null;
  let ts = 0;
  let now: MonotonicMs = 0;
  const sent: SentLine[] = [];
  let damaged = false;
  try {
    for (const row of rows) {
      if (row.kind === 'start') {
        ({ state, now } = unpack<SegmentStart>(row.body));
        observation = null;
        ({ ts } = row);
        continue;
      }
      for (const line of unpack<Line[]>(row.body)) {
        if (line.k === 'sent') {
          sent.push(line);
          if (sent.length > SENT_KEPT) sent.shift();
          continue;
        }
        state = patchInPlace(patchInPlace(state, line.before), line.after);
        observation = patchInPlace<Observation | null>(observation, line.observation);
        ({ ts } = line);
        now = observation?.now ?? now;
      }
    }
  } catch {
    damaged = true;
  }
  return { state, observation, ts, now, sent, damaged };
}
