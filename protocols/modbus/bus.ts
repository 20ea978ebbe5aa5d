import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.ts';
import type { Random } from '../random.ts';
import type { Failure, FailureKind, Result } from '../result.ts';
import { ok } from '../result.ts';
import type { Milliseconds, MonotonicMs } from '../units.ts';
import { type BusCounters, newCounters } from './bus-counters.ts';
import type { BusFailure } from './bus-failure.ts';
import { exceptionFailure, failure, refusal } from './bus-failure.ts';
import type { ConnectPath } from './connect.ts';
import { encodeMbap, encodeRtu, type HeadInside, isHeadOf, MbapReader, readRtu } from './framing.ts';
import { Ghosts } from './ghosts.ts';
import { JobWatch } from './job-watch.ts';
import type { ModbusRequest } from './pdu.ts';
import { decodeReply, encodeRequest, plainRequest } from './pdu.ts';
import { TransactionIds } from './transaction-ids.ts';
import { UnitSilence } from './unit-silence.ts';

/**
 * One physical path (TCP connection, transparent gateway, serial line) and everything that decides whether a
 * wrong word can reach a caller: queue, deadlines, matching, and the rule that a path which once answered
 * wrongly or late is thrown away before it is believed again.
 */
export interface Bus extends AsyncDisposable {
  /**
   * Asks `unit` once. Settles by `deadline` whatever the peer does. Fails `busy` when nothing could be sent in
   * time, `malformed` when the reply is not the one asked for, `refused`, `unsupported`, `busy`, `timeout` or
   * `unreachable` with `exceptionCode` when the unit (or its gateway) said no.
   */
  exchange(
    unit: number,
    request: BusRequest,
    deadline: MonotonicMs,
    signal: AbortSignal,
  ): Promise<Result<BusExchange, BusFailure>>;
  readonly counters: Readonly<BusCounters>;
}

export type BusRequest = ModbusRequest & {
  /** Registers after the block that may be read too. Used on RTU to give consecutive replies different lengths. */
  readonly spareCount?: number;
};

export interface BusExchange {
  /** The registers asked for; empty after a write. */
  readonly words: readonly number[];
  readonly requestedAt: MonotonicMs;
  readonly repliedAt: MonotonicMs;
}

export interface BusOptions {
  /** For messages: `host:port` or the serial device. */
  readonly name: string;
  readonly framing: 'mbap' | 'rtu';
  readonly connect: ConnectPath;
  /** From the last byte sent to the last byte received. */
  readonly responseTimeoutMs: Milliseconds;
  /** Outstanding requests on MBAP, 1 to 8; RTU has always one. More than one never to a gateway. */
  readonly inFlightMost?: number;
  /** Pause after a reply and after connecting. */
  readonly pauseMs?: Milliseconds;
  /** Sees every frame: for support captures. */
  readonly onBytes?: ((direction: 'sent' | 'received', bytes: Buffer) => void) | undefined;
}

export interface BusDeps {
  readonly clock: Clock;
  readonly random: Random;
}

interface Job {
  readonly unit: number;
  readonly request: BusRequest;
  readonly deadline: MonotonicMs;
  readonly signal: AbortSignal;
  readonly settle: (result: Result<BusExchange, BusFailure>) => void;
  /** What was really asked (the spare registers included). */
  asked: ModbusRequest;
  readonly pdu: Buffer;
  sentAt: MonotonicMs | null;
  /** Its deadline; once it is sent, the end of the time for its reply if that is earlier. */
  dueAt: MonotonicMs;
}

interface Link {
  readonly stream: Duplex;
  readonly mbap: MbapReader;
  rtuBytes: Buffer;
  strayFrames: number;
}

const QUEUE_MOST = 64;
const STRAYS_MOST = 16;
const TIMEOUTS_BEFORE_RECONNECT = 3;
const BACKOFF_MS = [100, 200, 500, 1000, 2000] as const;

/** Opens a bus; the path itself is connected when the first request needs it. */
export function openBus(options: BusOptions, deps: BusDeps): Bus {
  return new PathBus(options, deps);
}

class PathBus implements Bus {
  readonly counters = newCounters();
  private readonly options: BusOptions;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly ids: TransactionIds;
  private readonly silence: UnitSilence;
  private readonly closing = new AbortController();
  private readonly queue: Job[] = [];
  private readonly flying = new Map<number, Job>();
  private link: Link | null = null;
  private connecting = false;
  private failuresInARow = 0;
  private timeoutsInARow = 0;
  private lastFailure: Failure | null = null;
  private notBefore: MonotonicMs = 0;
  /** Until when an RTU path only listens, so that replies to what was asked before it die unheard. */
  private listenUntil: MonotonicMs = 0;
  private listening = false;
  /** Only RTU needs them: on MBAP the transaction id tells replies apart. */
  private readonly ghosts: Ghosts | null;
  private cancelWake: (() => void) | null = null;
  private readonly watch: JobWatch<Job>;

  constructor(options: BusOptions, deps: BusDeps) {
    this.options = options;
    this.clock = deps.clock;
    this.random = deps.random;
    this.ids = new TransactionIds(deps.random);
    this.silence = new UnitSilence();
    this.ghosts = options.framing === 'rtu' ? new Ghosts(options.responseTimeoutMs) : null;
    this.watch = new JobWatch(deps.clock, () => [...this.flying.values(), ...this.queue], {
      due: (job) => (job.sentAt === null ? this.onQueueTimeout(job) : this.onTimeout(job, job.sentAt)),
      abort: (job) => this.onAbort(job),
    });
  }

  exchange(
    unit: number,
    request: BusRequest,
    deadline: MonotonicMs,
    signal: AbortSignal,
  ): Promise<Result<BusExchange, BusFailure>> {
    const pdu = encodeRequest(request);
    const now = this.clock.monotonicMs();
    const { name, framing } = this.options;
    if (this.closing.signal.aborted || signal.aborted) return refusal('cancelled', `${name}: given up`);
    if (framing === 'rtu' && (unit < 1 || unit > 247)) {
      return refusal('unsupported', `${name}: unit ${unit} cannot answer on a serial line (1 to 247)`);
    }
    if (now >= deadline)
      return refusal('busy', `${name}: the time for unit ${unit} was over before it began`);
    const silentUntil = this.silence.silentUntil(unit, now);
    if (silentUntil > now) {
      const waitMs = Math.ceil(silentUntil - now);
      return refusal('unreachable', `${name}: unit ${unit} does not answer; next try in ${waitMs} ms`);
    }
    if (this.queue.length >= QUEUE_MOST)
      return refusal('busy', `${name}: ${QUEUE_MOST} requests are waiting`);
    return new Promise((settle) => {
      const job: Job = {
        unit,
        request,
        deadline,
        signal,
        asked: request,
        pdu,
        sentAt: null,
        dueAt: deadline,
        settle,
      };
      this.queue.push(job);
      this.pump();
      this.watch.watch(job);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closing.signal.aborted) return;
    this.closing.abort();
    this.watch.close();
    this.cancelWake?.();
    this.dropLink();
    for (const job of [...this.flying.values(), ...this.queue]) {
      job.settle(failure('cancelled', `${this.options.name}: the connection was closed by this side`));
    }
    this.flying.clear();
    this.queue.length = 0;
  }

  /** Sends what may be sent now, or arranges to be called again. */
  private pump(): void {
    if (this.closing.signal.aborted || this.queue.length === 0 || this.connecting) return;
    const now = this.clock.monotonicMs();
    if (this.notBefore > now) {
      this.failHopeless();
      this.cancelWake?.();
      if (this.queue.length > 0) this.cancelWake = this.clock.after(this.notBefore - now, () => this.pump());
      return;
    }
    if (this.link === null) {
      this.connect().catch((error: unknown) => {
        throw error;
      });
      return;
    }
    const most = this.options.framing === 'rtu' ? 1 : (this.options.inFlightMost ?? 1);
    while (this.link !== null && this.flying.size < most && this.notBefore <= now) {
      const job = this.ghosts === null ? this.queue.shift() : this.nextRtu(this.ghosts, now);
      if (job === undefined) return;
      // Sending it would only ask for a reply that nobody wants.
      if (job.signal.aborted) this.onAbort(job);
      else this.send(this.link, job, now);
    }
  }

  /** The first job whose reply could be taken for no other; while there is none, the next moment is arranged. */
  private nextRtu(ghosts: Ghosts, now: MonotonicMs): Job | undefined {
    let freeAt = Number.POSITIVE_INFINITY;
    for (const [index, job] of this.queue.entries()) {
      const { request, unit } = job;
      const told = ghosts.tell(unit, plainRequest(request), request.spareCount ?? 0, now);
      if ('asked' in told) {
        job.asked = told.asked;
        this.queue.splice(index, 1);
        return job;
      }
      freeAt = Math.min(freeAt, told.freeAt);
    }
    this.cancelWake?.();
    if (Number.isFinite(freeAt)) this.cancelWake = this.clock.after(freeAt - now, () => this.pump());
    return undefined;
  }

  /** While the path must rest, requests whose time ends before the rest does are told so at once. */
  private failHopeless(): void {
    const last = this.lastFailure;
    if (this.link !== null || last === null) return;
    for (const job of this.queue.filter((candidate) => candidate.deadline <= this.notBefore)) {
      this.unqueue(job);
      job.settle(failure(last.kind, last.message, last.hint));
    }
  }

  private async connect(): Promise<void> {
    this.connecting = true;
    const result = await this.options.connect(this.closing.signal);
    this.connecting = false;
    if (!result.ok) {
      const { kind, message, hint } = result.error;
      this.rest(result.error, 0);
      for (const job of this.queue.splice(0)) job.settle(failure(kind, message, hint));
      return;
    }
    if (this.closing.signal.aborted) {
      result.value.on('error', () => undefined);
      result.value.destroy();
      return;
    }
    this.counters.connects += 1;
    this.attach(result.value);
    const now = this.clock.monotonicMs();
    this.notBefore = now + (this.options.pauseMs ?? 0);
    if (this.listenUntil > 0) {
      this.listening = true;
      // What the line held back while it was closed comes right after it is open.
      this.notBefore = Math.max(this.notBefore, this.listenUntil, now + (this.ghosts?.quietMs ?? 0));
      this.listenUntil = 0;
    }
    this.pump();
  }

  private attach(stream: Duplex): void {
    const link: Link = { stream, mbap: new MbapReader(), rtuBytes: Buffer.alloc(0), strayFrames: 0 };
    this.link = link;
    this.timeoutsInARow = 0;
    const lost = (reason: string) => {
      if (this.link === link) this.lose('unreachable', `${this.options.name}: ${reason}`, 0);
    };
    stream.on('data', (chunk: Buffer) => {
      if (this.link !== link) return;
      this.options.onBytes?.('received', chunk);
      if (this.options.framing === 'mbap') this.onMbap(link, chunk);
      else this.onRtu(link, chunk);
    });
    stream.on('error', (error: NodeJS.ErrnoException) =>
      lost(`the connection broke: ${error.code ?? error.message}`),
    );
    stream.on('end', () => lost('the device closed the connection'));
    stream.on('close', () => lost('the connection was closed'));
  }

  private send(link: Link, job: Job, now: MonotonicMs): void {
    const { framing } = this.options;
    this.listening = false;
    const id = this.ids.next(now, (candidate) => this.flying.has(candidate));
    const pdu = framing === 'mbap' ? job.pdu : encodeRequest(job.asked);
    const bytes = framing === 'mbap' ? encodeMbap(id, job.unit, pdu) : encodeRtu(job.unit, pdu);
    this.flying.set(id, job);
    job.sentAt = now;
    job.dueAt = Math.min(now + this.patienceMs(job.unit), job.deadline);
    this.watch.watch(job);
    this.options.onBytes?.('sent', bytes);
    link.stream.write(bytes);
  }

  /**
   * How long a reply is waited for. On RTU a time-out is followed by as long a silence: a unit known to be dead
   * gets half of each, so that a try costs its neighbours one time-out and not two.
   */
  private patienceMs(unit: number): Milliseconds {
    const { framing, responseTimeoutMs } = this.options;
    return framing === 'rtu' && this.silence.isProbe(unit) ? responseTimeoutMs / 2 : responseTimeoutMs;
  }

  private readonly mayCome = (head: HeadInside, isSpread: boolean): boolean => {
    const job = this.flying.get(head.transactionId);
    if (job === undefined) return this.ids.mayCome(head.transactionId, isSpread);
    return isHeadOf(head, job.unit, job.asked);
  };

  private onMbap(link: Link, chunk: Buffer): void {
    const { frames, fault } = link.mbap.push(chunk, this.mayCome);
    for (const frame of frames) {
      const job = this.flying.get(frame.transactionId);
      if (job === undefined) this.onStray(link, frame.transactionId);
      else if (frame.unit !== job.unit) {
        this.condemn(frame.transactionId, job, `a reply of unit ${frame.unit} instead of ${job.unit}`);
      } else this.onPdu(frame.transactionId, job, frame.pdu);
      if (this.link !== link) return;
    }
    if (fault !== null) this.poison(`junk on the connection: ${fault.message}`, 0);
  }

  private onRtu(link: Link, chunk: Buffer): void {
    const [entry] = this.flying;
    if (entry === undefined) {
      if (this.listening) {
        const now = this.clock.monotonicMs();
        this.counters.lateReplies += 1;
        const late = this.ghosts?.heardLate(now) ?? null;
        if (late !== null) this.silence.heard(late);
        this.notBefore = Math.max(this.notBefore, now + (this.ghosts?.quietMs ?? 0));
        return;
      }
      this.counters.strayFrames += 1;
      this.poison('bytes that nobody asked for', this.options.responseTimeoutMs);
      return;
    }
    const [id, job] = entry;
    link.rtuBytes = Buffer.concat([link.rtuBytes, chunk]);
    const progress = readRtu(job.asked, job.unit, link.rtuBytes);
    if (progress.kind === 'partial') return;
    link.rtuBytes = Buffer.alloc(0);
    if (progress.kind === 'fault') this.condemn(id, job, progress.message);
    else this.onPdu(id, job, progress.pdu);
  }

  private onStray(link: Link, id: number): void {
    if (this.ids.takeZombie(id)) this.counters.lateReplies += 1;
    else {
      this.counters.strayFrames += 1;
      link.strayFrames += 1;
      if (link.strayFrames > STRAYS_MOST) this.poison('too many frames that nobody asked for', 0);
    }
  }

  private onPdu(id: number, job: Job, pdu: Buffer): void {
    const reply = decodeReply(job.asked, pdu);
    if (reply.kind === 'fault') {
      this.condemn(id, job, reply.message);
      return;
    }
    const now = this.clock.monotonicMs();
    this.flying.delete(id);
    this.ids.settle(id);
    this.ghosts?.answered(job.unit, job.asked, job.sentAt ?? now, now);
    this.failuresInARow = 0;
    this.timeoutsInARow = 0;
    this.lastFailure = null;
    this.pause();
    if (reply.kind === 'exception') {
      this.counters.exceptions += 1;
      if (reply.code === 11) this.silence.missed(job.unit, now);
      else this.silence.heard(job.unit);
      job.settle(exceptionFailure(this.options.name, job.unit, reply.code));
    } else {
      this.counters.replies += 1;
      this.silence.heard(job.unit);
      const words = reply.kind === 'words' ? reply.words : [];
      const wantedCount = job.request.kind === 'read' ? job.request.count : 0;
      const wanted = words.length === wantedCount ? words : words.slice(0, wantedCount);
      job.settle(ok({ words: wanted, requestedAt: job.sentAt ?? now, repliedAt: now }));
    }
    this.pump();
  }

  /** A reply that is wrong: fails its request, and the path with it. */
  private condemn(id: number, job: Job, what: string): void {
    this.flying.delete(id);
    this.ghosts?.unanswered(job.unit, job.asked, job.sentAt ?? 0);
    job.settle(failure('malformed', `${this.options.name}: ${what}`));
    this.poison(what, this.options.framing === 'rtu' ? this.options.responseTimeoutMs : 0);
  }

  private poison(reason: string, listenMs: Milliseconds): void {
    this.counters.poisoned += 1;
    this.lose('malformed', `${this.options.name}: ${reason}`, listenMs);
  }

  private onTimeout(job: Job, sentAt: MonotonicMs): void {
    const now = this.clock.monotonicMs();
    this.giveUp(job, now);
    this.ghosts?.unanswered(job.unit, job.asked, sentAt);
    this.counters.timeouts += 1;
    this.timeoutsInARow += 1;
    const patienceMs = this.patienceMs(job.unit);
    this.silence.missed(job.unit, now);
    const message = `${this.options.name}: unit ${job.unit} did not answer within ${Math.round(job.dueAt - sentAt)} ms`;
    job.settle(failure('timeout', message));
    if (this.options.framing === 'rtu') this.lose('timeout', message, patienceMs);
    else if (this.timeoutsInARow >= TIMEOUTS_BEFORE_RECONNECT || this.link?.mbap.hasPart === true) {
      // Half a frame stands in the stream: whatever comes next would be read as its rest.
      this.lose('timeout', message, 0);
    } else this.pump();
  }

  /** Its reply may still come, and must match nothing. */
  private giveUp(job: Job, now: MonotonicMs): void {
    for (const [id, flying] of this.flying) {
      if (flying !== job) continue;
      this.flying.delete(id);
      this.ids.bury(id, now);
    }
  }

  private onQueueTimeout(job: Job): void {
    this.unqueue(job);
    const last = this.link === null ? this.lastFailure : null;
    const waited = `${this.options.name}: unit ${job.unit} had no turn before its deadline`;
    job.settle(last === null ? failure('busy', waited) : failure(last.kind, last.message, last.hint));
  }

  private onAbort(job: Job): void {
    job.settle(failure('cancelled', `${this.options.name}: the request to unit ${job.unit} was given up`));
    if (job.sentAt === null) {
      this.unqueue(job);
      return;
    }
    this.giveUp(job, this.clock.monotonicMs());
    this.ghosts?.unanswered(job.unit, job.asked, job.sentAt);
    // Its reply will still come, and on RTU nothing but silence tells it from the next one.
    if (this.options.framing === 'rtu') {
      this.lose('cancelled', `${this.options.name}: a request was given up`, this.options.responseTimeoutMs);
    } else this.pump();
  }

  /** The path is gone: every request on it fails, and the next attempt waits. */
  private lose(kind: FailureKind, message: string, listenMs: Milliseconds): void {
    this.dropLink();
    const orphans = [...this.flying.values()];
    this.flying.clear();
    this.rest({ kind, message }, listenMs);
    for (const job of orphans) {
      this.ghosts?.unanswered(job.unit, job.asked, job.sentAt ?? 0);
      job.settle(failure(kind === 'malformed' ? kind : 'unreachable', message));
    }
    this.pump();
  }

  private dropLink(): void {
    const link = this.link;
    this.link = null;
    link?.stream.destroy();
  }

  private rest(cause: Failure, listenMs: Milliseconds): void {
    this.lastFailure = cause;
    const now = this.clock.monotonicMs();
    // A line that was closed may have kept old replies for whoever opens it next.
    if (this.options.framing === 'rtu') this.listenUntil = Math.max(this.listenUntil, now + listenMs);
    const step = BACKOFF_MS[Math.min(this.failuresInARow, BACKOFF_MS.length - 1)]!;
    this.failuresInARow += 1;
    // Jitter after the cap: a hundred meters behind one dead switch must not retry in step.
    const backoffMs = step * (0.75 + 0.5 * this.random());
    this.notBefore = now + backoffMs;
  }

  private pause(): void {
    this.notBefore = this.clock.monotonicMs() + (this.options.pauseMs ?? 0);
  }

  private unqueue(job: Job): void {
    const index = this.queue.indexOf(job);
    if (index >= 0) this.queue.splice(index, 1);
  }
}
