import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Clock } from './clock.ts';
import { type FailureKind, ok, type Result } from './result.ts';
import {
  type Connect,
  connectionFailure,
  connectTcp,
  type ExchangeFailure,
  type ExchangeLimits,
  exchangeFailure,
} from './tcp-exchange.ts';
import { certificateFailure } from './tls-connect.ts';
import type { MonotonicMs } from './units.ts';

/** Where a web server is, and how patient one exchange with it is. */
export interface HttpTarget {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly limits: ExchangeLimits;
  readonly connect?: Connect;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Uint8Array;
  /** When the last byte of the request was handed to the transport. */
  readonly sentAt: MonotonicMs;
  /** The connection ended before the announced length. */
  readonly cut: boolean;
}

/**
 * One HTTP/1.1 request on a connection of its own, redirects not followed, answer bounded in size and time.
 * Any status is an answer.
 *
 * Fails `unreachable`, `timeout`, `malformed` (no HTTP, or too large), `cancelled`.
 */
export function exchangeOverHttp(
  target: HttpTarget,
  wanted: HttpRequest,
  signal: AbortSignal,
): Promise<Result<HttpAnswer, ExchangeFailure>> {
  const { host, port, clock, limits } = target;
  const place = `${host}:${port}`;
  if (signal.aborted)
    return Promise.resolve(exchangeFailure(false, 'cancelled', `gave up before asking ${place}`));
  return new Promise((resolve) => {
    let settled = false;
    let connected = false;
    let sentAt = clock.monotonicMs();
    const body = wanted.body === undefined ? undefined : Buffer.from(wanted.body, 'utf8');
    const request = httpRequest({
      method: wanted.method,
      path: wanted.path,
      // Boards send headers that the strict parser refuses.
      insecureHTTPParser: true,
      headers: {
        host: port === 80 ? host : place,
        connection: 'close',
        accept: '*/*',
        ...(body && { 'content-length': String(body.length) }),
        ...wanted.headers,
      },
      createConnection: () => {
        const socket = (target.connect ?? connectTcp)({ host, port });
        // Nothing can have arrived before the other side is known to be the right one.
        socket.on(socket instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
          connected = true;
          cancelConnect();
          cancelSilence = clock.after(limits.idleMs, onSilence);
        });
        return socket;
      },
    });
    const settle = (result: Result<HttpAnswer, ExchangeFailure>): void => {
      if (settled) return;
      settled = true;
      cancelTotal();
      cancelConnect();
      cancelSilence();
      signal.removeEventListener('abort', onAbort);
      request.destroy();
      resolve(result);
    };
    const failed = (kind: FailureKind, message: string, hint?: string): void =>
      settle(exchangeFailure(connected, kind, message, hint));
    const onAbort = (): void => failed('cancelled', `gave up while waiting for ${place}`);
    let cancelSilence = (): void => undefined;
    const onSilence = (): void =>
      failed('timeout', `${place}${wanted.path} was silent for ${limits.idleMs} ms`);
    const cancelTotal = clock.after(limits.totalMs, () =>
      connected
        ? failed('timeout', `${place}${wanted.path} gave no whole answer within ${limits.totalMs} ms`)
        : failed('unreachable', `no connection to ${place} within ${limits.totalMs} ms`),
    );
    const cancelConnect = clock.after(limits.connectMs, () =>
      failed('unreachable', `no connection to ${place} within ${limits.connectMs} ms`),
    );
    signal.addEventListener('abort', onAbort, { once: true });
    request.on('finish', () => {
      sentAt = clock.monotonicMs();
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      const untrusted = certificateFailure(place, error.code);
      if (untrusted !== null) failed(untrusted.kind, untrusted.message, untrusted.hint);
      else if (error.code?.startsWith('HPE_') === true)
        failed('malformed', `${place} does not speak HTTP: ${error.message.slice(0, 100)}`);
      else failed('unreachable', connectionFailure(place, error));
    });
    request.on('response', (response) => {
      const pieces: Buffer[] = [];
      let length = 0;
      const done = (cut: boolean): void =>
        settle(
          ok({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(pieces),
            sentAt,
            cut,
          }),
        );
      response.on('data', (piece: Buffer) => {
        cancelSilence();
        cancelSilence = clock.after(limits.idleMs, onSilence);
        length += piece.length;
        if (length > limits.maximumBytes)
          failed('malformed', `${place} sent more than ${limits.maximumBytes} bytes for one answer`);
        else pieces.push(piece);
      });
      response.on('end', () => done(!response.complete));
      response.on('error', () => done(true));
      response.on('close', () => done(!response.complete));
    });
    request.end(body);
  });
}
