import type { HttpRequest } from '../../protocols/http-exchange.ts';
import { type Failure, fail, ok, type Result } from '../../protocols/result.ts';
import type { MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import type { MinerDeps } from './miner-driver.ts';
import { firstText } from './reply-fields.ts';
import { exchangeJson, type JsonAnswer, jsonOf, recordAt, webTarget } from './web-json.ts';

/** A failure, and whether a write that failed so may have had its effect. */
export interface WebFailure extends Failure {
  readonly mayHaveArrived: boolean;
}

/** The web interfaces of Braiins OS. */
export interface BraiinsWeb {
  /** GET /api/v1/`path`. */
  read(path: string, signal: AbortSignal): Promise<Result<unknown>>;
  /** PUT /api/v1/`path`. */
  write(
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Result<{ readonly json: unknown; readonly sentAt: MonotonicMs }, WebFailure>>;
  /** A GraphQL query; the whole answer. */
  query(text: string, signal: AbortSignal): Promise<Result<unknown>>;
}

/**
 * Opens the web interfaces. A token is fetched where one is wanted and user and password are given, and
 * fetched again once when it has run out.
 *
 * Source: Braiins public API, POST auth/login; the token stands in `Authorization` without "Bearer".
 */
export function openBraiinsWeb(endpoint: MinerEndpoint, deps: MinerDeps): BraiinsWeb {
  const target = webTarget(endpoint, deps);
  const place = (path: string): string => `${target.host}:${target.port}${path}`;
  let token: string | null = null;

  const login = async (signal: AbortSignal): Promise<Result<string>> => {
    const { user, password } = endpoint;
    const path = '/api/v1/auth/login';
    if (user === null || password === null)
      return fail('unauthorised', `${place(path)} wants a password`, 'set user and password of the miner');
    const body = { username: user, password: password.reveal() };
    const answer = await exchangeJson(target, { method: 'POST', path, body }, signal);
    if (!answer.ok) return answer;
    const json = jsonOf(answer.value, place(path));
    if (!json.ok) return json;
    token = firstText(recordAt(json.value), 'token');
    return token === null ? fail('malformed', `${place(path)} gave no token`) : ok(token);
  };

  /** The same request again with a new token when the first is not enough. */
  const ask = async (
    method: HttpRequest['method'],
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Result<JsonAnswer, WebFailure>> => {
    const once = () =>
      exchangeJson(
        target,
        {
          method,
          path,
          ...(body !== undefined && { body }),
          headers: token === null ? {} : { authorization: token },
        },
        signal,
      );
    let answer = await once();
    if (answer.ok && answer.value.status === 401) {
      token = null;
      const fresh = await login(signal);
      if (!fresh.ok) return { ok: false, error: { ...fresh.error, mayHaveArrived: false } };
      answer = await once();
    }
    if (answer.ok) return answer;
    const { connected, ...error } = answer.error;
    return { ok: false, error: { ...error, mayHaveArrived: connected } };
  };

  return {
    read: async (name, signal) => {
      const path = `/api/v1/${name}`;
      const answer = await ask('GET', path, undefined, signal);
      return answer.ok ? jsonOf(answer.value, place(path)) : answer;
    },
    write: async (name, body, signal) => {
      const path = `/api/v1/${name}`;
      const answer = await ask('PUT', path, body, signal);
      if (!answer.ok) return answer;
      const { sentAt, status, json } = answer.value;
      // A success is a success, even where its body is empty.
      if (status >= 200 && status <= 299) return ok({ sentAt, json });
      const no = jsonOf(answer.value, place(path));
      return no.ok ? ok({ sentAt, json }) : { ok: false, error: { ...no.error, mayHaveArrived: false } };
    },
    query: async (text, signal) => {
      const request = { method: 'POST' as const, path: '/graphql', body: { query: text } };
      const answer = await exchangeJson(target, request, signal);
      return answer.ok ? jsonOf(answer.value, place('/graphql')) : answer;
    },
  };
}
