import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import type { MinerDeps } from './miner-driver.ts';
import { firstText } from './reply-fields.ts';
import { askingWith, createTokenSession } from './token-session.ts';
import { exchangeJson, jsonOf, recordAt, webTarget, writtenOf } from './web-json.ts';

/** The pages of VNish below /api/v1/. */
export interface VnishWeb {
  read(page: string, signal: AbortSignal): Promise<Result<unknown, ExchangeFailure>>;
  write(
    page: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<
    Result<
      { readonly sentAt: MonotonicMs; readonly note: string | null; readonly json: unknown },
      ExchangeFailure
    >
  >;
}

/**
 * Opens the pages. Reading needs no token unless the unit was set so; writing does.
 *
 * Source: VNish OpenAPI, POST /unlock; 403 is a wrong password, 429 a door locked after several.
 */
export function openVnishWeb(endpoint: MinerEndpoint, deps: MinerDeps): VnishWeb {
  const target = webTarget(endpoint, deps);
  const place = (path: string): string => `${target.host}:${target.port}${path}`;
  const session = createTokenSession({
    place: place(''),
    clock: deps.clock,
    always: false,
    wantsToken: ({ status }) => status === 401,
    login: async (signal) => {
      const { password } = endpoint;
      const path = '/api/v1/unlock';
      if (password === null)
        return fail('unauthorised', `${place(path)} wants a password`, 'set the password of the miner');
      const body = { pw: password.reveal() };
      const answer = await exchangeJson(target, { method: 'POST', path, body }, signal);
      if (!answer.ok) return answer;
      if (answer.value.status === 429)
        return fail('unauthorised', `${place(path)} is locked after several wrong passwords`);
      const json = jsonOf(answer.value, place(path));
      if (!json.ok) return json;
      const token = firstText(recordAt(json.value), 'token');
      return token === null ? fail('malformed', `${place(path)} gave no token`) : ok(token);
    },
  });
  const ask = askingWith(session, target, 'Bearer ');
  return {
    read: async (page, signal) => {
      const path = `/api/v1/${page}`;
      const answer = await ask('GET', path, undefined, signal);
      if (!answer.ok) return answer;
      const json = jsonOf(answer.value, place(path));
      return json.ok ? json : { ok: false, error: { ...json.error, connected: true } };
    },
    write: async (page, body, signal) => {
      const path = `/api/v1/${page}`;
      const answer = await ask('POST', path, body, signal);
      return answer.ok ? writtenOf(answer.value, place(path)) : answer;
    },
  };
}
