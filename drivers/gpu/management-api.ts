import { readFileSync } from 'node:fs';
import type { Clock } from '../../protocols/clock.ts';
import type { HttpHeaders } from '../../protocols/http-answer.ts';
import { exchangeOverHttp, type HttpRequest } from '../../protocols/http-exchange.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { type ExchangeFailure, type ExchangeLimits, exchangeFailure } from '../../protocols/tcp-exchange.ts';
import { connectTls } from '../../protocols/tls-connect.ts';
import type { MonotonicMs } from '../../protocols/units.ts';
import { jsonOfText } from '../miners/web-json.ts';

/** Where a management server is, and whom to believe there. Files are read at every request: they may be renewed. */
export interface ApiPlace {
  /** `https://host[:port]`, without a path. */
  readonly url: string;
  /** PEM file of the authority that signed its certificate. */
  readonly ca?: string | undefined;
  /** SHA-256 of its certificate. */
  readonly fingerprint?: string | undefined;
}

export interface ApiRequest {
  readonly method: HttpRequest['method'];
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: HttpHeaders;
  /** `undefined` where the body is no whole JSON. */
  readonly json: unknown;
  readonly text: string;
  readonly sentAt: MonotonicMs;
}

/** Talks JSON with the management server of a node or of a cluster; any status is an answer. */
export class ManagementApi {
  /** For messages. */
  readonly place: string;
  private readonly api: ApiPlace;
  private readonly clock: Clock;
  private readonly limits: ExchangeLimits;
  private readonly target: { readonly host: string; readonly port: number; readonly secure: boolean };

  constructor(api: ApiPlace, clock: Clock, limits: ExchangeLimits) {
    const url = new URL(api.url);
    const secure = url.protocol === 'https:';
    const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
    this.api = api;
    this.clock = clock;
    this.limits = limits;
    this.target = { host: url.hostname.replace(/^\[|\]$/g, ''), port, secure };
    this.place = url.host;
  }

  /** Fails as `exchangeOverHttp` does, `unauthorised` where the authority's file cannot be read. */
  async ask(request: ApiRequest, signal: AbortSignal): Promise<Result<ApiAnswer, ExchangeFailure>> {
    const { host, port, secure } = this.target;
    const { ca, fingerprint } = this.api;
    const authority = ca === undefined ? null : textOf(ca, 'authority');
    if (authority?.ok === false) {
      const { kind, message, hint } = authority.error;
      return exchangeFailure(false, kind, message, hint);
    }
    const trust = {
      ...(authority !== null && { ca: authority.value }),
      ...(fingerprint !== undefined && { fingerprint }),
    };
    const { body, headers, ...rest } = request;
    const answer = await exchangeOverHttp(
      { host, port, clock: this.clock, limits: this.limits, ...(secure && { connect: connectTls(trust) }) },
      {
        ...rest,
        headers: {
          accept: 'application/json',
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      },
      signal,
    );
    if (!answer.ok) return answer;
    const { status, sentAt, cut, headers: said } = answer.value;
    const text = new TextDecoder().decode(answer.value.body);
    return ok({ status, sentAt, text, headers: said, json: cut ? undefined : jsonOfText(text) });
  }
}

/** A small file, trimmed. Fails `unauthorised`: without it nothing can be asked. `what`: for the sentence. */
export function textOf(path: string, what: string): Result<string> {
  try {
    const text = readFileSync(path, 'utf8').trim();
    if (text !== '') return ok(text);
    return fail('unauthorised', `the ${what} file ${path} is empty`, 'Write it again.');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return fail(
      'unauthorised',
      `the ${what} file ${path} cannot be read (${code})`,
      "Give its path, readable by the agent's user.",
    );
  }
}
