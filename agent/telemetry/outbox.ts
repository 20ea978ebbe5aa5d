import { deflateRawSync } from 'node:zlib';
import type { Clock } from '../../protocols/clock.ts';
import type { Random } from '../../protocols/random.ts';
import type { EpochMs, Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { Condition } from '../site/alarms.ts';
import type { Spool } from '../store/spool.ts';
import { decodeBody, type NewRow } from '../store/spool-rows.ts';
import { CLEAR, type Outgoing } from './messages.ts';
import { gapRow, historyRow, isRecord, rowOf } from './outbox-rows.ts';
import { TokenBucket } from './token-bucket.ts';

/** What the outbox sends through: the broker link in life, a list in tests. */
export interface Transport {
  readonly connected: boolean;
  /** Resolves when the broker has the message; rejects when it refused it or the line was lost. */
  send(topic: string, payload: string | Uint8Array, retain: boolean): Promise<void>;
}

export interface OutboxRules {
  readonly site: string;
  /** Telemetry goes deflated to `<topic>/z`. */
  readonly compress: boolean;
  /** Most bytes a second for what could not be sent in time. */
  readonly replayBytesPerSecond: number;
  /** After a long outage the replay begins within this time, at random: many sites come back at once. */
  readonly replayDelayMs: Milliseconds;
}

export interface OutboxHealth {
  /** Messages that wait in memory. */
  readonly queued: number;
  readonly dropped: number;
  readonly sent: number;
  readonly refused: number;
  readonly waitingRecords: number;
  readonly waitingHistory: number;
  readonly spoolBytes: number;
  readonly oldestMs: EpochMs | null;
  readonly ackMs: Milliseconds | null;
}

/** Unacknowledged messages at once: what mosquitto accepts by default. */
const WINDOW = 20;
/** Telemetry that the broker has not taken after this goes to the disk. */
const LIVE_KEPT_MS = 5000;
const LIVE_AT_MOST = 400;
/** Without a disk: telemetry and records kept in memory. */
const MEMORY_TELEMETRY = 2000;
const MEMORY_RECORDS = 20_000;
const READ_AT_ONCE = 100;
/** Records that wait in memory beside the disk. */
const RECORDS_AT_HAND = 500;
/** A refusal is an alarm for this long. */
const REFUSAL_TOLD_MS = 300_000;
/** What the broker refused is tried again after this: somebody may have mended its access list. */
const REFUSED_AGAIN_MS = 600_000;
const TICK_MS = 1000;
const MAINTAIN_MS = 10_000;
/** Without a line telemetry is written in groups: so much may be lost with the process. */
const AWAY_FLUSH_MS = 15_000;
/** Rows waiting for the next write, at most: more are written at once. */
const FRESH_AT_MOST = 200;
/** Replay pauses while the broker takes longer than this for a message. */
const SLOW_ACK_MS = 2000;
/** A shorter outage is made good at once. */
const LONG_OUTAGE_MS = 300_000;
const LEAST_REPLAY_BYTES_PER_SECOND = 100_000;
const MAXIMUM_MESSAGE_BYTES = 128_000;
/** Below this a deflated message is no smaller. */
const COMPRESS_FROM_BYTES = 150;

interface Live {
  readonly message: Outgoing;
  readonly at: MonotonicMs;
}

/** A row on its way or waiting in memory; `id` null: it is not on the disk. */
interface Item {
  readonly id: number | null;
  readonly row: NewRow;
}

/**
 * Everything that goes to the broker. What is retained: latest wins. Records (events, decisions, energy, answers)
 * are on the disk before they are sent and leave it when the broker has them. Telemetry is sent live from memory;
 * what is not taken in time goes to the disk and follows on `hist/...`, oldest first, after everything live.
 */
export class Outbox {
  private readonly transport: Transport;
  private readonly spool: Spool;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly rules: OutboxRules;

  private readonly retained = new Map<string, Outgoing>();
  private live: Live[] = [];
  private readonly liveInFlight = new Set<Live>();
  private fresh: NewRow[] = [];
  private unwritten: NewRow[] = [];
  private records: Item[] = [];
  private history: Item[] = [];
  /** More records, more history lie on the disk behind the last row read. */
  private readonly behind = { record: { more: true, lastId: 0 }, history: { more: true, lastId: 0 } };

  private inFlight = 0;
  private generation = 0;
  private sent = 0;
  private dropped = 0;
  private refused = 0;
  /** Rows that the broker refused lately. */
  private readonly setAside = new Set<number>();
  private setAsideAt: MonotonicMs = 0;
  private lastRefusal: { readonly words: string; readonly at: MonotonicMs } | null = null;
  private ackMs: Milliseconds | null = null;
  private readonly bucket = new TokenBucket();
  private liveBytes = 0;
  private liveBytesPerSecond = 0;
  private replayFrom: MonotonicMs = 0;
  private lostAt: MonotonicMs | null = null;
  private flushPending = false;
  private maintainedAt: MonotonicMs = 0;
  private flushedAt: MonotonicMs = 0;
  private stopped = false;
  private cancelTick: (() => void) | null = null;

  constructor(transport: Transport, spool: Spool, clock: Clock, random: Random, rules: OutboxRules) {
    this.transport = transport;
    this.spool = spool;
    this.clock = clock;
    this.random = random;
    this.rules = rules;
    this.tickLater();
  }

  publish(message: Outgoing): void {
    if (this.stopped) return;
    if (message.kind === 'retained') {
      this.retained.delete(message.topic);
      this.retained.set(message.topic, message);
      this.pump();
    } else if (message.kind === 'record') {
      this.fresh.push(rowOf(message, message.topic, message.body));
      this.flushSoon();
    } else {
      this.live.push({ message, at: this.clock.monotonicMs() });
      this.pump();
      if (this.live.length > LIVE_AT_MOST) this.spoolLive(this.live.length - LIVE_AT_MOST);
      if (this.fresh.length > FRESH_AT_MOST) this.flush();
    }
  }

  /** The line is up: what waits on the disk is read again from its beginning. */
  connected(): void {
    const now = this.clock.monotonicMs();
    const longOutage = this.lostAt === null || now - this.lostAt > LONG_OUTAGE_MS;
    this.replayFrom = now + (longOutage ? this.random() * this.rules.replayDelayMs : 0);
    this.lostAt = null;
    this.bucket.empty();
    // In this order: what is written may make room, and that is to be told.
    this.flush();
    this.tellGaps();
    this.rewind();
    this.pump();
  }

  /** The line is down: nothing that was on its way counts as sent. */
  lost(): void {
    this.generation += 1;
    this.inFlight = 0;
    this.lostAt ??= this.clock.monotonicMs();
    this.ackMs = null;
    const open = [...this.liveInFlight, ...this.live];
    this.liveInFlight.clear();
    this.live = [];
    for (const { message } of open) this.fresh.push(historyRow(message));
    this.flush();
  }

  health(): OutboxHealth {
    const counts = this.spool.counts();
    const memory = this.records.filter((item) => item.id === null).length + this.unwritten.length;
    return {
      queued: this.retained.size + this.live.length + memory + counts.records + counts.history,
      dropped: this.dropped,
      sent: this.sent,
      refused: this.refused,
      waitingRecords: counts.records,
      waitingHistory: counts.history,
      spoolBytes: counts.bytes,
      oldestMs: counts.oldestMs,
      ackMs: this.ackMs === null ? null : Math.round(this.ackMs),
    };
  }

  conditions(): readonly Condition[] {
    const conditions = [...this.spool.conditions()];
    if (this.lastRefusal !== null && this.clock.monotonicMs() - this.lastRefusal.at < REFUSAL_TOLD_MS)
      conditions.push({
        code: 'broker-refuses',
        severity: 'major',
        target: 'site',
        message: `The broker refuses messages of this site (${this.lastRefusal.words}).`,
        nextStep: 'Run `switchyard mqtt test` and look at the access list of the broker.',
      });
    return conditions;
  }

  /** Writes down what was not sent. Call before the transport ends. */
  stop(): void {
    this.stopped = true;
    this.cancelTick?.();
    this.lost();
    this.spool.close();
  }

  private tickLater(): void {
    this.cancelTick = this.clock.after(TICK_MS, () => {
      this.tick();
      if (!this.stopped) this.tickLater();
    });
  }

  private tick(): void {
    const now = this.clock.monotonicMs();
    this.liveBytesPerSecond += (this.liveBytes - this.liveBytesPerSecond) * 0.1;
    this.liveBytes = 0;
    const late = this.live.findIndex((one) => now - one.at < LIVE_KEPT_MS);
    if (!this.transport.connected) this.spoolLive(this.live.length);
    else if (late !== 0) this.spoolLive(late === -1 ? this.live.length : late);
    if (this.transport.connected || now - this.flushedAt >= AWAY_FLUSH_MS) this.flush();
    if (now - this.setAsideAt >= REFUSED_AGAIN_MS) {
      this.setAsideAt = now;
      if (this.setAside.size > 0 && this.transport.connected) {
        this.setAside.clear();
        this.rewind();
      }
    }
    if (now - this.maintainedAt >= MAINTAIN_MS) {
      this.maintainedAt = now;
      if (this.transport.connected) this.tellGaps();
      this.spool.maintain(!this.transport.connected);
    }
    this.bucket.refill(
      now,
      Math.min(
        this.rules.replayBytesPerSecond,
        Math.max(LEAST_REPLAY_BYTES_PER_SECOND, 10 * this.liveBytesPerSecond),
      ),
    );
    this.pump();
  }

  /** Telemetry that was not sent in time becomes history; the oldest `count` of it. */
  private spoolLive(count: number): void {
    for (const { message } of this.live.splice(0, count)) this.fresh.push(historyRow(message));
  }

  private flushSoon(): void {
    if (this.flushPending) return;
    this.flushPending = true;
    this.clock.after(0, () => {
      this.flushPending = false;
      this.flush();
      this.pump();
    });
  }

  /** Writes what is new, in one transaction; without a disk it stays in memory, bounded. */
  private flush(): void {
    this.flushedAt = this.clock.monotonicMs();
    const rows = [...this.unwritten, ...this.fresh];
    this.fresh = [];
    if (rows.length === 0) return;
    const ids = this.spool.add(rows);
    if (ids === null) {
      this.keepInMemory(rows);
      return;
    }
    this.unwritten = [];
    for (const [index, row] of rows.entries()) {
      const behind = isRecord(row) ? this.behind.record : this.behind.history;
      // Rows in memory must not overtake older ones that lie on the disk.
      const direct =
        isRecord(row) && !behind.more && this.transport.connected && this.records.length < RECORDS_AT_HAND;
      if (!direct) behind.more = true;
      else {
        this.records.push({ id: ids[index]!, row });
        behind.lastId = ids[index]!;
      }
    }
  }

  private keepInMemory(rows: readonly NewRow[]): void {
    const records = rows.filter(isRecord);
    const telemetry = rows.filter((row) => !isRecord(row));
    const lost = [
      ...records.splice(0, Math.max(0, records.length - MEMORY_RECORDS)),
      ...telemetry.splice(0, Math.max(0, telemetry.length - MEMORY_TELEMETRY)),
    ];
    for (const row of lost) this.lose(row, 'no-room');
    this.unwritten = [...records, ...telemetry];
  }

  private lose(row: NewRow, reason: 'no-room' | 'oversized'): void {
    this.dropped += 1;
    const { stream, seq, ts } = row;
    this.spool.lose({ stream, reason, fromMs: ts, toMs: ts, firstSeq: seq, lastSeq: seq, messages: 1 });
  }

  /** Gaps are told as records of their own, so that the centre knows what will not come. */
  private tellGaps(): void {
    const gaps = this.spool.gaps();
    if (gaps.length === 0) return;
    const now = this.clock.epochMs();
    this.fresh.push(...gaps.map((gap) => gapRow(gap, this.rules.site, now, this.spool.nextSequence('gap'))));
    this.flush();
    this.spool.forgetGaps(gaps);
  }

  private rewind(): void {
    // What the broker had acknowledged is deleted first, so that it is not read again.
    this.spool.add([]);
    this.records = [];
    this.history = [];
    for (const behind of [this.behind.record, this.behind.history]) {
      behind.more = true;
      behind.lastId = 0;
    }
  }

  private pump(): void {
    while (this.transport.connected && this.inFlight < WINDOW) {
      const [retained] = this.retained.values();
      if (retained !== undefined) {
        this.retained.delete(retained.topic);
        this.sendRetained(retained);
        continue;
      }
      const record = this.nextStored('record', this.records);
      if (record !== undefined) {
        this.sendItem(record);
        continue;
      }
      const live = this.live.shift();
      if (live !== undefined) {
        this.sendLive(live);
        continue;
      }
      if (!this.mayReplay()) return;
      const old = this.nextStored('history', this.history) ?? this.nextUnwritten();
      if (old === undefined) return;
      this.bucket.take(old.row.body.length);
      this.sendItem(old);
    }
  }

  private mayReplay(): boolean {
    return (
      this.bucket.open &&
      this.clock.monotonicMs() >= this.replayFrom &&
      (this.ackMs === null || this.ackMs < SLOW_ACK_MS)
    );
  }

  private nextStored(kind: 'record' | 'history', queue: Item[]): Item | undefined {
    const behind = this.behind[kind];
    if (queue.length === 0 && behind.more) {
      const rows = this.spool.read(kind, behind.lastId, READ_AT_ONCE);
      behind.more = rows.length === READ_AT_ONCE;
      for (const { id, ...row } of rows) {
        if (!this.setAside.has(id)) queue.push({ id, row });
        behind.lastId = id;
      }
    }
    return queue.shift();
  }

  /** Without a disk, history goes out of memory. */
  private nextUnwritten(): Item | undefined {
    const row = this.unwritten.shift();
    return row === undefined ? undefined : { id: null, row };
  }

  private sendRetained(message: Outgoing): void {
    const payload = message.body === CLEAR ? '' : JSON.stringify(message.body);
    if (payload.length > MAXIMUM_MESSAGE_BYTES) {
      this.dropped += 1;
      return;
    }
    this.send(message.topic, payload, true, {
      taken: () => undefined,
      lost: () => {
        if (!this.retained.has(message.topic)) this.retained.set(message.topic, message);
      },
      refused: () => undefined,
    });
  }

  private sendLive(live: Live): void {
    const { message } = live;
    const text = JSON.stringify(message.body);
    if (text.length > MAXIMUM_MESSAGE_BYTES) {
      this.lose(rowOf(message, message.topic, message.body), 'oversized');
      return;
    }
    const small = this.rules.compress && text.length >= COMPRESS_FROM_BYTES;
    const payload = small ? deflateRawSync(text, { level: 6 }) : text;
    this.liveBytes += payload.length;
    this.liveInFlight.add(live);
    this.send(small ? `${message.topic}/z` : message.topic, payload, false, {
      taken: () => this.liveInFlight.delete(live),
      // `lost()` has already written it down.
      lost: () => undefined,
      refused: () => {
        this.liveInFlight.delete(live);
        this.fresh.push(historyRow(message));
      },
    });
  }

  private sendItem(item: Item): void {
    const { row } = item;
    const packed =
      this.rules.compress && row.topic.startsWith('hist/') && row.body.length >= COMPRESS_FROM_BYTES;
    let payload: string | Uint8Array = row.body;
    try {
      if (!packed) payload = JSON.stringify(decodeBody(row.body));
    } catch {
      // A row that cannot be read is of no use to anybody.
      this.lose(row, 'no-room');
      if (item.id !== null) this.spool.remove([item.id]);
      return;
    }
    this.send(packed ? `${row.topic}/z` : row.topic, payload, false, {
      taken: () => {
        if (item.id !== null) this.spool.remove([item.id]);
      },
      // On the disk it waits for the next connection; only what is not there must be kept here.
      lost: () => {
        if (item.id === null) this.unwritten.unshift(row);
      },
      // It stays where it is and is tried again later: some brokers close the line on what they forbid, and tried at
      // once it would keep everything behind it from ever being sent.
      refused: () => {
        if (item.id === null) this.lose(row, 'no-room');
        else this.setAside.add(item.id);
      },
    });
  }

  private send(
    topic: string,
    payload: string | Uint8Array,
    retain: boolean,
    outcome: { taken(): void; lost(): void; refused(): void },
  ): void {
    const { generation } = this;
    const startedAt = this.clock.monotonicMs();
    this.inFlight += 1;
    this.transport.send(topic, payload, retain).then(
      () => {
        this.sent += 1;
        outcome.taken();
        if (generation !== this.generation) return;
        this.ackMs = (this.ackMs ?? 0) * 0.8 + (this.clock.monotonicMs() - startedAt) * 0.2;
        this.settle();
      },
      (error: Error & { code?: unknown }) => {
        if (typeof error.code === 'number' && generation === this.generation) {
          this.refused += 1;
          this.lastRefusal = { words: `${topic}: ${error.message}`, at: this.clock.monotonicMs() };
          outcome.refused();
        } else outcome.lost();
        if (generation === this.generation) this.settle();
      },
    );
  }

  private settle(): void {
    this.inFlight -= 1;
    if (!this.stopped) this.pump();
  }
}
