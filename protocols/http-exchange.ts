import { Buffer } from 'node:buffer';
import type { Clock } from './clock.ts';
import { HTTP_HEAD_MOST_BYTES, HttpAnswerReader, type HttpHeaders, type HttpMessage } from './http-answer.ts';
import { ok, type Result } from './result.ts';
import {
  type ExchangeFailure,
  type ExchangeLimits,
  exchangeFailure,
  exchangeOverTcpAs,
  type TcpAnswer,
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
 * One HTTP/1.1 request on a connection of its own, redirects not followed, answer bounded in size and time. What is only
 * read (`GET`) may go over the connection that the target keeps, and leave it open. Any status is an answer.
 *
 * Fails `unreachable`, `timeout`, `malformed` (no HTTP, or too large; or what should be asked is no request),
 * `cancelled`.
 */
export function exchangeOverHttp(
  target: HttpTarget,
  wanted: HttpRequest,
  signal: AbortSignal,
): Promise<Result<HttpAnswer, ExchangeFailure>> {
  return exchangeOverHttpAs(target, wanted, signal, (answer) => answer);
}

/** The same, and `read` makes of the answer what is wanted of it. */
export function exchangeOverHttpAs<T>(
  target: HttpTarget,
  wanted: HttpRequest,
  signal: AbortSignal,
  read: (answer: Result<HttpAnswer, ExchangeFailure>) => T,
): Promise<T> {
  const { host, port, clock, limits, connect, starts } = target;
  // A server with few places sees one connection at a time.
  if (wanted.method !== 'GET') target.kept?.close();
  const kept = wanted.method === 'GET' && target.kept?.wanted === true ? target.kept : undefined;
  const request = encodeHttpRequest(
    port === 80 ? hostOf(host) : `${hostOf(host)}:${port}`,
    wanted,
    kept !== undefined,
  );
  if (request === null)
    return Promise.resolve(
      read(
        exchangeFailure(
          false,
          'malformed',
          `${host}:${port} cannot be asked for what is no path or no header`,
        ),
      ),
    );
  const reader = new HttpAnswerReader();
  return exchangeOverTcpAs(
    {
      host,
      port,
      request,
      limits: withRoomForHead(limits),
      connect,
      starts,
      kept,
      asked: wanted.path,
      take: (piece) => reader.take(piece),
      staysOpen: () => reader.staysOpen,
      explain: explainCertificate,
    },
    clock,
    signal,
    (answer) => read(answerOf(answer, reader, target, wanted.path)),
  );
}

function explainCertificate(
  place: string,
  error: NodeJS.ErrnoException,
): ReturnType<typeof certificateFailure> {
  return certificateFailure(place, error.code);
}

/** What the connection and the reader say together. */
function answerOf(
  answer: Result<TcpAnswer, ExchangeFailure>,
  reader: HttpAnswerReader,
  { host, port, limits }: HttpTarget,
  path: string,
): Result<HttpAnswer, ExchangeFailure> {
  if (!answer.ok) return answer;
  const { end, sentAt } = answer.value;
  if (end === 'idle')
    return exchangeFailure(
      true,
      'timeout',
      `${host}:${port}${path} fell silent for ${limits.idleMs} ms in the middle of an answer`,
    );
  const said = reader.answer(end === 'reset' ? 'broken' : end === 'complete' ? 'whole' : 'closed');
  if (said === 'no-http') return exchangeFailure(true, 'malformed', `${host}:${port} does not speak HTTP`);
  if (said === 'no-head')
    return exchangeFailure(true, 'unreachable', `${host}:${port} broke the connection off before an answer`);
  if (said.body.length > limits.maximumBytes)
    return exchangeFailure(
      true,
      'malformed',
      `${host}:${port} sent more than ${limits.maximumBytes} bytes for one answer`,
    );
  return ok(new TimedAnswer(said, sentAt));
}

/** What was said, and when it was asked for. */
class TimedAnswer implements HttpAnswer {
  readonly status: number;
  readonly body: Uint8Array;
  readonly sentAt: MonotonicMs;
  readonly cut: boolean;
  private readonly said: HttpMessage;

  constructor(said: HttpMessage, sentAt: MonotonicMs) {
    this.status = said.status;
    this.body = said.body;
    this.sentAt = sentAt;
    this.cut = said.cut;
    this.said = said;
  }

  get headers(): HttpHeaders {
    return this.said.headers;
  }
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

/**
 * The bytes of a request; `null` where its path or a header would break out of its place. Unless it `staysOpen`, the
 * server is told to close the connection behind its answer.
 */
export function encodeHttpRequest(host: string, wanted: HttpRequest, staysOpen = false): Uint8Array | null {
  const { method, path, headers = {}, body } = wanted;
  if (!SAFE_PATH.test(path)) return null;
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\n`;
  if (!staysOpen) head += 'connection: close\r\n';
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
