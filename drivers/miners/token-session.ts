import type { Clock } from '../../protocols/clock.ts';
import type { HttpRequest, HttpTarget } from '../../protocols/http-exchange.ts';
import { ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import { createCredentialGuard } from './credential-guard.ts';
import { exchangeJson, type JsonAnswer } from './web-json.ts';

export interface TokenSessionOptions {
  /** For messages: host and port. */
  readonly place: string;
  readonly clock: Clock;
  /** Fetches a token for user and password; fails `unauthorised` where they are wrong or missing. */
  login(signal: AbortSignal): Promise<Result<string>>;
  /** True for an answer that asks for a token, or for a newer one. `isWrite`: asked again only where it is sure. */
  wantsToken(answer: JsonAnswer, isWrite: boolean): boolean;
  /** Nothing is answered without a token: fetch one before the first request. */
  readonly always: boolean;
}

/** Requests with a token that is fetched when it is wanted and once more when it has ended. */
export interface TokenSession {
  ask(
    request: (token: string | null) => Promise<Result<JsonAnswer, ExchangeFailure>>,
    isWrite: boolean,
    signal: AbortSignal,
  ): Promise<Result<JsonAnswer, ExchangeFailure>>;
}

/** Keeps one device's token; credentials that were refused are not shown to it again for a while. */
export function createTokenSession(options: TokenSessionOptions): TokenSession {
  const guard = createCredentialGuard(options.place, options.clock);
  let token: string | null = null;

  const enter = async (signal: AbortSignal): Promise<Result<null, ExchangeFailure>> => {
    const entered = guard.closed() ?? (await options.login(signal));
    if (!entered.ok) {
      guard.note(entered.error);
      // Nothing but the login was sent.
      return { ok: false, error: { ...entered.error, connected: false } };
    }
    token = entered.value;
    return ok(null);
  };

  return {
    ask: async (request, isWrite, signal) => {
      if (token === null && options.always) {
        const entered = await enter(signal);
        if (!entered.ok) return entered;
      }
      const answer = await request(token);
      if (!answer.ok || !options.wantsToken(answer.value, isWrite)) return answer;
      token = null;
      const entered = await enter(signal);
      return entered.ok ? await request(token) : entered;
    },
  };
}

/** One JSON request of a session: `GET` reads, everything else counts as a write. */
export type JsonAsk = (
  method: HttpRequest['method'],
  path: string,
  body: unknown,
  signal: AbortSignal,
) => Promise<Result<JsonAnswer, ExchangeFailure>>;

/** Requests to `target` with the session's token in `Authorization`, `scheme` before it (`"Bearer "`, or nothing). */
export function askingWith(session: TokenSession, target: HttpTarget, scheme: string): JsonAsk {
  return (method, path, body, signal) =>
    session.ask(
      (token) =>
        exchangeJson(
          target,
          {
            method,
            path,
            ...(body !== undefined && { body }),
            headers: token === null ? {} : { authorization: `${scheme}${token}` },
          },
          signal,
        ),
      method !== 'GET',
      signal,
    );
}
