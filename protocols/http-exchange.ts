import { Buffer } from 'node:buffer';
import type { Clock } from './clock.ts';
import { HTTP_HEAD_MOST_BYTES, HttpAnswerReader, type HttpHeaders } from './http-answer.ts';
import { ok, type Result } from './result.ts';
import {
  type ExchangeFailure,
  type ExchangeLimits,
  exchangeFailure,
  exchangeOverTcp,
  type Way,
} from './tcp-exchange.ts';
import { certificateFailure } from './tls-connect.ts';
import type { MonotonicMs } from './units.ts';

/** Where a web server is, and how patient one exchange with it is. */
export interface HttpTarget extends Way {
  readonly host: string;
  readonly port: number;
  readonly clock: Clock;
  readonly limits: ExchangeLimits;
}

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: HttpHeaders;
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
 * Fails `unreachable`, `timeout`, `malformed` (no HTTP, or too large; or what should be asked is no request),
 * `cancelled`.
 */
export async function exchangeOverHttp(
  target: HttpTarget,
  wanted: HttpRequest,
  signal: AbortSignal,
): Promise<Result<HttpAnswer, ExchangeFailure>> {
  const { host, port, clock, limits } = target;
  const place = `${host}:${port}`;
  const request = encodeHttpRequest(port === 80 ? hostOf(host) : `${hostOf(host)}:${port}`, wanted);
  if (request === null)
    return exchangeFailure(false, 'malformed', `${place} cannot be asked for what is no path or no header`);
  const reader = new HttpAnswerReader();
  const answer = await exchangeOverTcp(
    {
      host,
      port,
      request,
      limits: withRoomForHead(limits),
      connect: target.connect,
      starts: target.starts,
      asked: wanted.path,
      take: (piece) => reader.take(piece),
      explain: (where, error) => certificateFailure(where, error.code),
    },
    clock,
    signal,
  );
  if (!answer.ok) return answer;
  const { end, sentAt } = answer.value;
  if (end === 'idle')
    return exchangeFailure(
      true,
      'timeout',
      `${place}${wanted.path} fell silent for ${limits.idleMs} ms in the middle of an answer`,
    );
  const said = reader.answer(end === 'reset' ? 'broken' : end === 'complete' ? 'whole' : 'closed');
  if (said === 'no-http') return exchangeFailure(true, 'malformed', `${place} does not speak HTTP`);
  if (said === 'no-head')
    return exchangeFailure(true, 'unreachable', `${place} broke the connection off before an answer`);
  if (said.body.length > limits.maximumBytes)
    return exchangeFailure(
      true,
      'malformed',
      `${place} sent more than ${limits.maximumBytes} bytes for one answer`,
    );
  const { status, body, cut } = said;
  return ok({
    status,
    get headers() {
      return said.headers;
    },
    body,
    sentAt,
    cut,
  });
}

/** The limits of devices are shared by their exchanges, so that these are made once. */
const roomy = new WeakMap<ExchangeLimits, ExchangeLimits>();

function withRoomForHead(limits: ExchangeLimits): ExchangeLimits {
  let known = roomy.get(limits);
  if (known === undefined) {
    known = { ...limits, maximumBytes: limits.maximumBytes + HTTP_HEAD_MOST_BYTES };
    roomy.set(limits, known);
  }
  return known;
}

/** Nothing that would end a line, or the path. */
const SAFE_PATH = /^[!-~]+$/;
const SAFE_FIELD = /^[\t -~\u0080-\u00ff]*$/;

/** The bytes of a request; `null` where its path or a header would break out of its place. */
export function encodeHttpRequest(host: string, wanted: HttpRequest): Uint8Array | null {
  const { method, path, headers = {}, body } = wanted;
  if (!SAFE_PATH.test(path)) return null;
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n`;
  if (headers['accept'] === undefined) head += 'accept: */*\r\n';
  for (const name of Object.keys(headers)) {
    const value = headers[name]!;
    if (!SAFE_FIELD.test(value)) return null;
    head += `${name}: ${value}\r\n`;
  }
  if (body === undefined) return Buffer.from(`${head}\r\n`, 'latin1');
  const length = Buffer.byteLength(body, 'utf8');
  head += `content-length: ${length}\r\n\r\n`;
  const request = Buffer.allocUnsafe(head.length + length);
  request.write(head, 'latin1');
  request.write(body, head.length, 'utf8');
  return request;
}

/** An address of version 6 stands in brackets. */
function hostOf(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
