import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import type { MinerDeps } from './miner-driver.ts';
import { firstText } from './reply-fields.ts';
import { askingWith, createTokenSession } from './token-session.ts';
import { exchangeJson, jsonOf, recordAt, webTarget, writtenOf } from './web-json.ts';

/** The web interfaces of Braiins OS. */
export interface BraiinsWeb {
  /** GET /api/v1/`path`. */
  read(path: string, signal: AbortSignal): Promise<Result<unknown>>;
  /** PUT /api/v1/`path`. */
  write(
    path: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Result<{ readonly note: string | null; readonly sentAt: MonotonicMs }, ExchangeFailure>>;
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
  const session = createTokenSession({
    place: place(''),
    clock: deps.clock,
    always: false,
    wantsToken: ({ status }) => status === 401,
    login: async (signal) => {
      const { user, password } = endpoint;
      const path = '/api/v1/auth/login';
      if (user === null || password === null)
        return fail('unauthorised', `${place(path)} wants a password`, 'set user and password of the miner');
      const body = { username: user, password: password.reveal() };
      const answer = await exchangeJson(target, { method: 'POST', path, body }, signal);
      if (!answer.ok) return answer;
      const json = jsonOf(answer.value, place(path));
      if (!json.ok) return json;
      const token = firstText(recordAt(json.value), 'token');
      return token === null ? fail('malformed', `${place(path)} gave no token`) : ok(token);
    },
  });
  const ask = askingWith(session, target, '');

  return {
    read: async (name, signal) => {
      const path = `/api/v1/${name}`;
      const answer = await ask('GET', path, undefined, signal);
      return answer.ok ? jsonOf(answer.value, place(path)) : answer;
    },
    write: async (name, body, signal) => {
      const path = `/api/v1/${name}`;
      const answer = await ask('PUT', path, body, signal);
      return answer.ok ? writtenOf(answer.value, place(path)) : answer;
    },
    query: async (text, signal) => {
      const request = { method: 'POST' as const, path: '/graphql', body: { query: text } };
      const answer = await exchangeJson(target, request, signal);
      return answer.ok ? jsonOf(answer.value, place('/graphql')) : answer;
    },
  };
}
