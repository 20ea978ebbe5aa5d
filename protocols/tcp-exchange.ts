import { Buffer } from 'node:buffer';
import { createConnection, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Clock } from './clock.ts';
import { onAbort } from './on-abort.ts';
import { type Failure, type FailureKind, ok, type Result } from './result.ts';
import type { Starts } from './start-together.ts';
import type { Milliseconds, MonotonicMs } from './units.ts';

/** Opens a connection; passed in so that a source address, a proxy or a test can stand behind it. */
export type Connect = (target: { readonly host: string; readonly port: number }) => Socket;

export const connectTcp: Connect = ({ host, port }) => createConnection({ host, port });

/** How exchanges with a device begin; both absent: a plain connection, at once. */
export interface Way {
  readonly connect?: Connect | undefined;
  readonly starts?: Starts | undefined;
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

/** What surely fits one packet, on any network. */
const ONE_PACKET_BYTES = 1200;

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

/** One buffer for what arrives on all plain connections: a piece is copied out before anything else may read. */
const ARRIVING = Buffer.allocUnsafeSlow(64 * 1024);

/** Elsewhere reading into it would begin before there is anything to read. */
const SHARES_BUFFER = process.platform !== 'win32';

const NOTHING = new Uint8Array(0);

/**
 * Connects, sends one request, reads one bounded answer, closes. Never leaves a socket or a timer behind.
 *
 * Fails `unreachable` (no connection, or broken off before a byte came), `timeout` (no whole answer by a
 * deadline), `malformed` (answer over `maximumBytes`), `cancelled`.
 */
export function exchangeOverTcp(
  exchange: TcpExchange,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result<TcpAnswer, ExchangeFailure>> {
  if (signal.aborted)
    return Promise.resolve(
      exchangeFailure(false, 'cancelled', `gave up before asking ${exchange.host}:${exchange.port}`),
    );
  return new Promise((resolve) => {
    const under = new Exchange(exchange, clock, signal, resolve);
    if (exchange.starts === undefined) under.begin();
    else exchange.starts.enter(() => under.begin());
  });
}

/** One exchange under way. One timer at a time: a deadline that moves on is looked at when the timer ends. */
class Exchange {
  private readonly exchange: TcpExchange;
  private readonly clock: Clock;
  private readonly resolve: (result: Result<TcpAnswer, ExchangeFailure>) => void;
  private startedAt: MonotonicMs;
  private socket: Socket | undefined;
  private pieces: Uint8Array[] = [];
  private length = 0;
  /** Pieces that the watcher has seen. */
  private watched = 0;
  private watcher: ((piece: Uint8Array) => boolean) | undefined;
  private connected = false;
  private settled = false;
  private sentAt: MonotonicMs;
  private phase: 'connecting' | 'waiting' | 'lingering' = 'connecting';
  /** Start of the phase, or the last piece. */
  private since: MonotonicMs;
  private cancelTimer: (() => void) | null = null;
  private readonly look = (): void => this.onTimer();
  private readonly forgetAbort: () => void;

  constructor(
    exchange: TcpExchange,
    clock: Clock,
    signal: AbortSignal,
    resolve: (result: Result<TcpAnswer, ExchangeFailure>) => void,
  ) {
    this.exchange = exchange;
    this.clock = clock;
    this.resolve = resolve;
    this.startedAt = clock.monotonicMs();
    this.sentAt = this.startedAt;
    this.since = this.startedAt;
    this.forgetAbort = onAbort(signal, () =>
      this.failed('cancelled', `gave up while waiting for ${this.place}`),
    );
  }

  begin(): void {
    if (this.settled) return;
    const { host, port, limits, connect } = this.exchange;
    this.startedAt = this.clock.monotonicMs();
    this.arm(Math.min(limits.connectMs, limits.totalMs));
    const socket =
      connect === undefined && SHARES_BUFFER
        ? createConnection({
            host,
            port,
            onread: {
              buffer: ARRIVING,
              callback: (length) => {
                this.onPiece(ARRIVING.subarray(0, length));
                return true;
              },
            },
          })
        : (connect ?? connectTcp)({ host, port }).on('data', (piece: Buffer) => this.onPiece(piece));
    this.socket = socket;
    // Nothing is sent before the other side is known to be the right one.
    socket.on(socket instanceof TLSSocket ? 'secureConnect' : 'connect', () => this.onConnect(socket));
    socket.on('end', () => this.finish('closed'));
    socket.on('close', () => this.finish('closed'));
    socket.on('error', (error: NodeJS.ErrnoException) => this.onError(error));
  }

  private get place(): string {
    return `${this.exchange.host}:${this.exchange.port}`;
  }

  /** Request and connection leave in the same turn. */
  private onConnect(socket: Socket): void {
    if (this.settled || socket.destroyed) return;
    const { request } = this.exchange;
    this.connected = true;
    this.phase = 'waiting';
    this.since = this.clock.monotonicMs();
    // What does not fit one packet must not wait for the first to be confirmed.
    if (request.length > ONE_PACKET_BYTES) socket.setNoDelay(true);
    socket.write(request, () => {
      this.sentAt = this.clock.monotonicMs();
    });
  }

  private onPiece(piece: Uint8Array): void {
    if (this.settled) return;
    const { limits, take, watch } = this.exchange;
    this.length += piece.length;
    if (this.length > limits.maximumBytes) {
      this.failed('malformed', `${this.place} sent more than ${limits.maximumBytes} bytes for one answer`);
      return;
    }
    this.since = this.clock.monotonicMs();
    if (take !== undefined) {
      if (take(piece)) this.finish('complete');
      return;
    }
    this.pieces.push(Buffer.from(piece));
    if (watch === undefined) return;
    this.phase = 'lingering';
    const totalLeftMs = this.startedAt + limits.totalMs - this.since;
    // Pieces that keep coming must not push the end away.
    if (totalLeftMs > 0) this.arm(Math.min(LINGER_MS, totalLeftMs));
    else this.onTimer();
  }

  private onError(error: NodeJS.ErrnoException): void {
    const explained = this.exchange.explain?.(this.place, error) ?? null;
    if (explained !== null) this.failed(explained.kind, explained.message, explained.hint);
    else if (this.length > 0) this.finish('reset');
    else this.failed('unreachable', connectionFailure(this.place, error));
  }

  private arm(ms: Milliseconds): void {
    this.cancelTimer?.();
    this.cancelTimer = this.clock.after(ms, this.look);
  }

  private onTimer(): void {
    const { limits, asked = '' } = this.exchange;
    const now = this.clock.monotonicMs();
    const totalLeftMs = this.startedAt + limits.totalMs - now;
    const what = `${this.place}${asked}`;
    if (this.phase === 'connecting') {
      const waitedMs = Math.min(limits.connectMs, limits.totalMs);
      if (this.startedAt + waitedMs <= now)
        this.failed('unreachable', `no connection to ${this.place} within ${waitedMs} ms`);
      else this.arm(this.startedAt + waitedMs - now);
    } else if (this.phase === 'lingering' && this.isWhole()) this.finish('complete');
    else if (totalLeftMs <= 0)
      this.failed(
        'timeout',
        `${what} sent no whole answer within ${limits.totalMs} ms (${this.length} bytes came)`,
      );
    else {
      this.phase = 'waiting';
      const silenceLeftMs = this.since + limits.idleMs - now;
      if (silenceLeftMs > 0) this.arm(Math.min(silenceLeftMs, totalLeftMs));
      else if (this.length > 0) this.finish('idle');
      else this.failed('timeout', `${what} took the connection but sent nothing for ${limits.idleMs} ms`);
    }
  }

  /** A whole answer is followed by the close of the connection; where it is not, somebody has to look. */
  private isWhole(): boolean {
    this.watcher ??= this.exchange.watch?.();
    let whole = false;
    for (; this.watched < this.pieces.length && !whole; this.watched += 1)
      whole = this.watcher?.(this.pieces[this.watched]!) === true;
    return whole;
  }

  private failed(kind: FailureKind, message: string, hint?: string): void {
    this.settle(exchangeFailure(this.connected, kind, message, hint));
  }

  private finish(end: TcpAnswer['end']): void {
    if (this.settled) return;
    const { pieces } = this;
    const bytes = pieces.length === 1 ? pieces[0]! : pieces.length === 0 ? NOTHING : Buffer.concat(pieces);
    this.settle(ok({ bytes, end, sentAt: this.sentAt }));
  }

  private settle(result: Result<TcpAnswer, ExchangeFailure>): void {
    if (this.settled) return;
    this.settled = true;
    this.pieces = [];
    this.cancelTimer?.();
    this.forgetAbort();
    this.socket?.destroy();
    this.resolve(result);
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
