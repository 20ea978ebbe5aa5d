import { Buffer } from 'node:buffer';
import type { Clock } from './clock.ts';
import { Deadline } from './deadlines.ts';
import type { KeptWire } from './kept-wire.ts';
import { onAbort } from './on-abort.ts';
import { type Failure, type FailureKind, ok, type Result } from './result.ts';
import type { Starts } from './start-together.ts';
import type { Milliseconds, MonotonicMs } from './units.ts';
import { type Connect, Wire, type WireUser } from './wire.ts';

/** How exchanges with a device begin; both absent: a plain connection, at once. */
export interface Way {
  readonly connect?: Connect | undefined;
  readonly starts?: Starts | undefined;
  /** A device's connection that stays open from one reading request to the next, where it speaks HTTP. */
  readonly kept?: KeptWire | undefined;
}

/** How long and how much a device may answer before it is given up. */
export interface ExchangeLimits {
  readonly connectMs: Milliseconds;
  /** Longest silence after the request, and between two pieces of the answer. */
  readonly idleMs: Milliseconds;
  /** From the first packet to the last byte, whatever trickles in between. */
  readonly totalMs: Milliseconds;
  readonly maximumBytes: number;
}

export interface TcpExchange extends Way {
  readonly host: string;
  readonly port: number;
  /** Sent in one write as the connection opens: some servers read once, and an idle connection blocks them. */
  readonly request: Uint8Array;
  readonly limits: ExchangeLimits;
  /** For messages: what was asked at `host:port`, a path for example. */
  readonly asked?: string;
  /**
   * Makes a watcher that sees every piece and says when the answer is whole, for peers that do not close. It is asked
   * only when the connection is still open a moment after a piece.
   */
  readonly watch?: () => (piece: Uint8Array) => boolean;
  /**
   * Takes the pieces instead of the answer, and says when they are whole: then the connection is closed at once. A
   * piece is valid only during the call.
   */
  readonly take?: (piece: Uint8Array) => boolean;
  /**
   * With `kept`: whether the other side of a whole answer will take another request on the connection. `kept` is only for
   * requests that may be sent twice: where the connection kept there turns out to be gone, a new one is opened.
   */
  readonly staysOpen?: () => boolean;
  /** What an error of the connection means, where it means more than that there is none. */
  readonly explain?: (place: string, error: NodeJS.ErrnoException) => Failure | null;
}

export interface TcpAnswer {
  /** Empty where the exchange took the pieces itself. */
  readonly bytes: Uint8Array;
  /** `complete`: the watcher said so; `idle`: silence after some bytes; `reset`: broken off after some bytes. */
  readonly end: 'closed' | 'complete' | 'idle' | 'reset';
  /** When the last byte of the request was handed to the transport. */
  readonly sentAt: MonotonicMs;
}

/** How long a peer may take to close after a whole answer; some never do. The next request should not overtake it. */
const LINGER_MS: Milliseconds = 100;

/** A failed exchange. Where it was `connected`, the request may have arrived and had its effect. */
export interface ExchangeFailure extends Failure {
  readonly connected: boolean;
}

/** An `ExchangeFailure` as a result. */
export function exchangeFailure(
  connected: boolean,
  kind: FailureKind,
  message: string,
  hint?: string,
): { readonly ok: false; readonly error: ExchangeFailure } {
  return { ok: false, error: { kind, message, connected, ...(hint !== undefined && { hint }) } };
}

const NOTHING = new Uint8Array(0);

/**
 * Connects, sends one request, reads one bounded answer, closes. Never leaves a socket or a timer behind, besides a
 * connection in `kept`.
 *
 * Fails `unreachable` (no connection, or broken off before a byte came), `timeout` (no whole answer by a
 * deadline), `malformed` (answer over `maximumBytes`), `cancelled`.
 */
export function exchangeOverTcp(
  exchange: TcpExchange,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result<TcpAnswer, ExchangeFailure>> {
  return exchangeOverTcpAs(exchange, clock, signal, (answer) => answer);
}

/** The same, and `read` makes of what came what is wanted of it. */
export function exchangeOverTcpAs<T>(
  exchange: TcpExchange,
  clock: Clock,
  signal: AbortSignal,
  read: (answer: Result<TcpAnswer, ExchangeFailure>) => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      const { host, port } = exchange;
      resolve(read(exchangeFailure(false, 'cancelled', `gave up before asking ${host}:${port}`)));
      return;
    }
    const under = new Exchange(exchange, clock, signal, read, resolve, reject);
    if (exchange.starts === undefined) under.begin();
    else exchange.starts.enter(() => under.begin());
  });
}

/** One exchange under way. One deadline at a time: where it moves on, that is looked at when it ends. */
class Exchange<T> implements WireUser {
  private readonly exchange: TcpExchange;
  private readonly clock: Clock;
  private readonly read: (result: Result<TcpAnswer, ExchangeFailure>) => T;
  private readonly resolve: (value: T) => void;
  private readonly reject: (error: unknown) => void;
  private readonly deadline: Deadline;
  private readonly forgetAbort: () => void;
  private startedAt: MonotonicMs = 0;
  private sentAt: MonotonicMs = 0;
  /** Start of the phase, or the last piece. */
  private since: MonotonicMs = 0;
  private wire: Wire | null = null;
  /** The connection was there before. */
  private reuses = false;
  private connected = false;
  private settled = false;
  private phase: 'connecting' | 'waiting' | 'lingering' = 'connecting';
  private length = 0;
  /** The first piece, most often the only one, and those after it. */
  private piece: Uint8Array | null = null;
  private more: Uint8Array[] | null = null;
  /** Pieces that the watcher has seen. */
  private watched = 0;
  private watcher: ((piece: Uint8Array) => boolean) | undefined;

  constructor(
    exchange: TcpExchange,
    clock: Clock,
    signal: AbortSignal,
    read: (result: Result<TcpAnswer, ExchangeFailure>) => T,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.exchange = exchange;
    this.clock = clock;
    this.read = read;
    this.resolve = resolve;
    this.reject = reject;
    this.deadline = new Deadline(() => this.onDue());
    this.forgetAbort = onAbort(signal, () =>
      this.failed('cancelled', `gave up while waiting for ${this.place}`),
    );
  }

  begin(): void {
    if (this.settled) return;
    const { host, port, kept } = this.exchange;
    const now = this.clock.monotonicMs();
    this.startedAt = now;
    this.sentAt = now;
    const wire = kept?.take(host, port, now) ?? null;
    if (wire === null) {
      this.connect(now);
      return;
    }
    this.wire = wire;
    this.reuses = true;
    wire.giveTo(this);
    this.ask(wire, now);
    if (!this.settled) this.arm(this.exchange.limits.idleMs, now);
  }

  /** Request and connection leave in the same turn. */
  onOpen(): void {
    if (this.settled || this.wire === null) return;
    this.ask(this.wire, this.clock.monotonicMs());
  }

  onSent(): void {
    this.sentAt = this.clock.monotonicMs();
  }

  onPiece(piece: Uint8Array): void {
    if (this.settled) return;
    const { limits, take, watch } = this.exchange;
    this.length += piece.length;
    if (this.length > limits.maximumBytes) {
      this.failed('malformed', `${this.place} sent more than ${limits.maximumBytes} bytes for one answer`);
      return;
    }
    const now = this.clock.monotonicMs();
    this.since = now;
    if (take !== undefined) {
      if (take(piece)) this.finish('complete');
      return;
    }
    this.keep(Buffer.from(piece));
    if (watch === undefined) return;
    this.phase = 'lingering';
    // Pieces that keep coming must not push the end away.
    if (now < this.startedAt + limits.totalMs) this.arm(LINGER_MS, now);
    else this.onDue();
  }

  onEnd(): void {
    if (this.settled) return;
    if (this.reuses && this.length === 0) this.connectAnew();
    else this.finish('closed');
  }

  onError(error: NodeJS.ErrnoException): void {
    if (this.settled) return;
    if (this.reuses && this.length === 0) {
      this.connectAnew();
      return;
    }
    const explained = this.exchange.explain?.(this.place, error) ?? null;
    if (explained !== null) this.failed(explained.kind, explained.message, explained.hint);
    else if (this.length > 0) this.finish('reset');
    else this.failed('unreachable', connectionFailure(this.place, error));
  }

  private get place(): string {
    return `${this.exchange.host}:${this.exchange.port}`;
  }

  private connect(now: MonotonicMs): void {
    const { host, port, limits, connect } = this.exchange;
    this.since = now;
    this.arm(limits.connectMs, now);
    this.wire = new Wire(host, port, connect, this);
  }

  /** The kept connection was closed by the other side, without a word. */
  private connectAnew(): void {
    this.exchange.kept?.note(false);
    this.wire?.close();
    this.reuses = false;
    this.connected = false;
    this.phase = 'connecting';
    this.connect(this.clock.monotonicMs());
  }

  private ask(wire: Wire, now: MonotonicMs): void {
    this.connected = true;
    this.phase = 'waiting';
    this.since = now;
    wire.send(this.exchange.request);
  }

  private keep(piece: Uint8Array): void {
    if (this.piece === null) this.piece = piece;
    else if (this.more === null) this.more = [this.piece, piece];
    else this.more.push(piece);
  }

  /** To be looked at again in `ms`, or at the end of the whole time where that is earlier. */
  private arm(ms: Milliseconds, now: MonotonicMs): void {
    const totalLeftMs = this.startedAt + this.exchange.limits.totalMs - now;
    this.deadline.set(this.clock, Math.min(ms, totalLeftMs), now);
  }

  private onDue(): void {
    const { limits, asked = '' } = this.exchange;
    const now = this.clock.monotonicMs();
    const totalLeftMs = this.startedAt + limits.totalMs - now;
    const what = `${this.place}${asked}`;
    if (this.phase === 'connecting') {
      const waitedMs = Math.min(limits.connectMs, this.startedAt + limits.totalMs - this.since);
      if (this.since + waitedMs <= now)
        this.failed('unreachable', `no connection to ${this.place} within ${waitedMs} ms`);
      else this.arm(this.since + waitedMs - now, now);
    } else if (this.phase === 'lingering' && this.isWhole()) this.finish('complete');
    else if (totalLeftMs <= 0)
      this.failed(
        'timeout',
        `${what} sent no whole answer within ${limits.totalMs} ms (${this.length} bytes came)`,
      );
    else {
      this.phase = 'waiting';
      const silenceLeftMs = this.since + limits.idleMs - now;
      if (silenceLeftMs > 0) this.arm(silenceLeftMs, now);
      else if (this.length > 0) this.finish('idle');
      else this.failed('timeout', `${what} took the connection but sent nothing for ${limits.idleMs} ms`);
    }
  }

  /** A whole answer is followed by the close of the connection; where it is not, somebody has to look. */
  private isWhole(): boolean {
    this.watcher ??= this.exchange.watch?.();
    const pieces = this.more ?? (this.piece === null ? [] : [this.piece]);
    let whole = false;
    for (; this.watched < pieces.length && !whole; this.watched += 1)
      whole = this.watcher?.(pieces[this.watched]!) === true;
    return whole;
  }

  private failed(kind: FailureKind, message: string, hint?: string): void {
    if (this.settled) return;
    if (this.reuses && kind === 'timeout' && this.length === 0) this.exchange.kept?.note(false);
    this.settle(exchangeFailure(this.connected, kind, message, hint), false);
  }

  private finish(end: TcpAnswer['end']): void {
    if (this.settled) return;
    const { piece, more, exchange } = this;
    if (this.reuses && this.length > 0) exchange.kept?.note(true);
    const bytes = more !== null ? Buffer.concat(more) : (piece ?? NOTHING);
    this.settle(
      ok({ bytes, end, sentAt: this.sentAt }),
      end === 'complete' && exchange.kept !== undefined && exchange.staysOpen?.() === true,
    );
  }

  private settle(result: Result<TcpAnswer, ExchangeFailure>, staysOpen: boolean): void {
    const { wire, exchange } = this;
    this.settled = true;
    this.piece = null;
    this.more = null;
    this.wire = null;
    this.deadline.cancel();
    this.forgetAbort();
    if (wire !== null && staysOpen) exchange.kept?.put(wire, exchange.host, exchange.port, this.since);
    else wire?.close();
    try {
      this.resolve(this.read(result));
    } catch (error) {
      this.reject(error);
    }
  }
}

/** One sentence for a failed connection. */
export function connectionFailure(place: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return `${place} refuses connections`;
    case 'ECONNRESET':
      return `${place} broke the connection off before an answer`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the name of ${place} cannot be resolved`;
    default:
      return `no connection to ${place}: ${error.code ?? error.message}`;
  }
}
