import { CGMINER_LIMITS } from '../../protocols/cgminer-client.ts';
import { type CgminerBody, isRecord } from '../../protocols/cgminer-reply.ts';
import {
  exchangeOverHttpAs,
  type HttpAnswer,
  type HttpRequest,
  type HttpTarget,
} from '../../protocols/http-exchange.ts';
import { isTooDeep } from '../../protocols/json-depth.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs } from '../../protocols/units.ts';
import { utf8Text } from '../../protocols/utf8-text.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import type { MinerDeps } from './miner-driver.ts';

/** An answer of a miner's web server with what its body says; `json` is `undefined` when it is no JSON. */
export interface JsonAnswer extends Pick<HttpAnswer, 'status' | 'sentAt'> {
  readonly json: unknown;
  readonly text: string;
}

/** Where a miner's web server is: on its web port, or on `port` for firmware that serves the web elsewhere. */
export function webTarget(endpoint: MinerEndpoint, deps: MinerDeps, port = endpoint.webPort): HttpTarget {
  const { clock, connect, starts, kept, limits = CGMINER_LIMITS } = deps;
  return { host: endpoint.host, port, clock, limits, connect, starts, kept };
}

/** One request with its answer read as JSON. Any status is an answer; half an answer is `malformed`. */
export function exchangeJson(
  target: HttpTarget,
  request: Omit<HttpRequest, 'body'> & { readonly body?: unknown },
  signal: AbortSignal,
): Promise<Result<JsonAnswer, ExchangeFailure>> {
  const { method, path, body, headers = NO_HEADERS } = request;
  return exchangeOverHttpAs(
    target,
    body === undefined
      ? { method, path, headers }
      : {
          method,
          path,
          headers: { 'content-type': 'application/json', ...headers },
          body: JSON.stringify(body),
        },
    signal,
    readJson,
  );
}

function readJson(answer: Result<HttpAnswer, ExchangeFailure>): Result<JsonAnswer, ExchangeFailure> {
  if (!answer.ok) return answer;
  const { status, sentAt, cut } = answer.value;
  const text = utf8Text(answer.value.body);
  return ok({ status, sentAt, text, json: cut ? undefined : jsonOfText(text) });
}

const NO_HEADERS = {};

/** The JSON value of a plain success, else the failure that the status means. */
export function jsonOf(answer: JsonAnswer, place: string): Result<unknown> {
  const { status, json, text } = answer;
  if (status === 401 || status === 403)
    return fail(
      'unauthorised',
      `${place} wants a password or another one`,
      'set user and password of the miner',
    );
  if (status === 404 || status === 405) return fail('unsupported', `${place} is not there (HTTP ${status})`);
  if (status < 200 || status > 299)
    return fail('refused', `${place} answers HTTP ${status}: ${text.slice(0, 200)}`);
  return json === undefined ? fail('malformed', `${place} answers with something that is no JSON`) : ok(json);
}

/** What a write gave: a success is a success, even where its body is empty. A no was answered, so it did not act. */
export function writtenOf(
  answer: JsonAnswer,
  place: string,
): Result<
  { readonly sentAt: MonotonicMs; readonly note: string | null; readonly json: unknown },
  ExchangeFailure
> {
  const { status, sentAt, json, text } = answer;
  if (status >= 200 && status <= 299)
    return ok({ sentAt, json, note: text === '' ? null : text.slice(0, 200) });
  const no = jsonOf(answer, place);
  return no.ok ? ok({ sentAt, json, note: null }) : { ok: false, error: { ...no.error, connected: false } };
}

/** The record inside `value` at a path of names, `{}` where there is none. */
export function recordAt(value: unknown, ...path: readonly string[]): CgminerBody {
  let at: unknown = value;
  for (const name of path) at = isRecord(at) ? at[name] : undefined;
  return isRecord(at) ? at : {};
}

/** The records of the list inside `value` at a path of names, `[]` where there is none. */
export function recordsAt(value: unknown, ...path: readonly string[]): readonly CgminerBody[] {
  let at: unknown = value;
  for (const name of path) at = isRecord(at) ? at[name] : undefined;
  return Array.isArray(at) ? at.filter(isRecord) : [];
}

/** True for a record that has every one of `names`. */
export function isRecordWith(value: unknown, ...names: readonly string[]): boolean {
  return isRecord(value) && names.every((name) => name in value);
}

/** The JSON value of a text, `undefined` where it is none, or nests deeper than any answer. */
export function jsonOfText(text: string): unknown {
  if (isTooDeep(text)) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
