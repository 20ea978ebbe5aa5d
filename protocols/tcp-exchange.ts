import { createConnection, type Socket } from 'node:net';
import type { Clock } from './clock.ts';
import { type Failure, type FailureKind, ok, type Result } from './result.ts';
import type { Milliseconds, MonotonicMs } from './units.ts';

/** Opens a connection; passed in so that a source address, a proxy or a test can stand behind it. */
export type Connect = (target: { readonly host: string; readonly port: number }) => Socket;

export const connectTcp: Connect = ({ host, port }) => createConnection({ host, port });

/** How long and how much a device may answer before it is given up. */
export interface ExchangeLimits {
  readonly connectMs: Milliseconds;
  /** Longest silence after the request, and between two pieces of the answer. */
  readonly idleMs: Milliseconds;
  /** From the first packet to the last byte, whatever trickles in between. */
  readonly totalMs: Milliseconds;
  readonly maximumBytes: number;
}

export interface TcpExchange {
  readonly host: string;
  readonly port: number;
  /** Sent in one write as the connection opens: some servers read once, and an idle connection blocks them. */
  readonly request: Uint8Array;
  readonly limits: ExchangeLimits;
  readonly connect?: Connect;
  /** Makes a watcher that sees every piece and says when the answer is whole, for peers that do not close. */
  readonly watch?: () => (piece: Uint8Array) => boolean;
}

export interface TcpAnswer {
  readonly bytes: Uint8Array;
  /** `complete`: the watcher said so; `idle`: silence after some bytes; `reset`: broken off after some bytes. */
  readonly end: 'closed' | 'complete' | 'idle' | 'reset';
  /** When the last byte of the request was handed to the transport. */
  readonly sentAt: MonotonicMs;
}

/** How long a peer may take to close after a whole answer; some never do. */
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
  const place = `${exchange.host}:${exchange.port}`;
  if (signal.aborted)
    return Promise.resolve(exchangeFailure(false, 'cancelled', `gave up before asking ${place}`));
  return new Promise((resolve) => {
    const { limits } = exchange;
    const pieces: Uint8Array[] = [];
    let length = 0;
    let connected = false;
    let sentAt = clock.monotonicMs();
    let settled = false;
    const isComplete = exchange.watch?.();
    const socket = (exchange.connect ?? connectTcp)({ host: exchange.host, port: exchange.port });

    const settle = (result: Result<TcpAnswer, ExchangeFailure>): void => {
      if (settled) return;
      settled = true;
      cancelTotal();
      cancelStep();
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(result);
    };
    const failed = (kind: FailureKind, message: string): void =>
      settle(exchangeFailure(connected, kind, message));
    const finish = (end: TcpAnswer['end']): void => settle(ok({ bytes: Buffer.concat(pieces), end, sentAt }));
    const onAbort = (): void => failed('cancelled', `gave up while waiting for ${place}`);
    const onSilence = (): void => {
      if (length > 0) finish('idle');
      else failed('timeout', `${place} took the connection but sent nothing for ${limits.idleMs} ms`);
    };

    const cancelTotal = clock.after(limits.totalMs, () => {
      if (connected)
        failed('timeout', `${place} sent no whole answer within ${limits.totalMs} ms (${length} bytes came)`);
      else failed('unreachable', `no connection to ${place} within ${limits.totalMs} ms`);
    });
    let cancelStep = clock.after(limits.connectMs, () =>
      failed('unreachable', `no connection to ${place} within ${limits.connectMs} ms`),
    );
    signal.addEventListener('abort', onAbort, { once: true });

    socket.setNoDelay(true);
    // Queued before the connection is up, so request and connection leave in the same turn.
    socket.write(exchange.request, () => {
      sentAt = clock.monotonicMs();
    });
    socket.on('connect', () => {
      connected = true;
      cancelStep();
      cancelStep = clock.after(limits.idleMs, onSilence);
    });
    socket.on('data', (piece: Buffer) => {
      length += piece.length;
      if (length > limits.maximumBytes) {
        failed('malformed', `${place} sent more than ${limits.maximumBytes} bytes for one answer`);
        return;
      }
      pieces.push(piece);
      cancelStep();
      // A whole answer is followed by the close of the connection; the next request should not overtake it.
      cancelStep =
        isComplete?.(piece) === true
          ? clock.after(LINGER_MS, () => finish('complete'))
          : clock.after(limits.idleMs, onSilence);
    });
    socket.on('end', () => finish('closed'));
    socket.on('close', () => finish('closed'));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (length > 0) finish('reset');
      else failed('unreachable', connectionFailure(place, error));
    });
  });
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
