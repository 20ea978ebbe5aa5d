import { secondPort } from '../../config/miners/firmwares.ts';
import { readCgminer } from '../../protocols/cgminer-client.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { type ExchangeFailure, exchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { TerahashesPerSecond, Watts } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget } from './cgminer.ts';
import { applyToFluxos, type FluxosPage } from './fluxos-commands.ts';
import { decodeFluxos, type FluxosReplies, fluxosControl, fluxosWorkingWatts } from './fluxos-decode.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import { isForeign } from './recognise.ts';
import { firstText, type MinerFields, mergedRecords } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';
import { createTokenSession } from './token-session.ts';
import { exchangeJson, type JsonAnswer, jsonOf, recordAt, webTarget } from './web-json.ts';

const WEB_READS = ['ipreport', 'psu', 'mode'] as const;
/** Asked now and then. */
const SLOW_COMMANDS = ['version', 'devs', 'pools'] as const;
const SLOW_WEB_READS = ['temperature', 'fan'] as const;

/** Below this part of its best hashrate it is on its way up; the deepest throttle is above it. */
const STARTING_SHARE = 0.25;

/** A page says yes by its status letter, under HTTP 200 as well. */
function isYes({ json }: JsonAnswer): boolean {
  const letter = firstText(mergedRecords(recordAt(json), 'STATUS'), 'STATUS');
  return letter === 'S' || letter === 'I';
}

/** A token that ended shows as a no of the page, whatever its words, or as HTTP 401. */
function wantsToken(answer: JsonAnswer, isWrite: boolean): boolean {
  if (answer.status === 401 || answer.status === 403) return true;
  const message = firstText(mergedRecords(recordAt(answer.json), 'STATUS'), 'Msg') ?? '';
  return !isYes(answer) && (!isWrite || /token|auth|login|permission/i.test(message));
}

/** FluxOS: rates and pools on port 4028; identity, power, mode and commands on the web port, with user and password. */
export function fluxosFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const web = webTarget(endpoint, deps, secondPort('fluxos', endpoint.webPort));
  const { user, password } = endpoint;
  const enters = user !== null && password !== null;
  const slow = createSlowPart<FluxosReplies>(deps.clock);
  let greatestWatts: Watts | null = null;
  let greatestThs: TerahashesPerSecond = 0;

  const session = createTokenSession({
    place: `${web.host}:${web.port}`,
    clock: deps.clock,
    always: true,
    wantsToken,
    login: async (signal) => {
      if (user === null || password === null)
        return fail('unauthorised', `${web.host} wants user and password`);
      const body = { command: 'token', user, password: password.reveal() };
      const answer = await exchangeJson(web, { method: 'POST', path: '/token', body }, signal);
      if (!answer.ok) return answer;
      const json = jsonOf(answer.value, `${web.host}:${web.port}/token`);
      if (!json.ok) return json;
      const token = firstText(mergedRecords(recordAt(json.value), 'Token'), 'Token');
      return token === null
        ? fail('unauthorised', `${web.host} gives no token for this password`, 'check user and password')
        : ok(token);
    },
  });

  /** One page, read (`body` absent) or written. */
  const page: FluxosPage = async (name, body, signal) => {
    const path = `/${name}`;
    const answer = await session.ask(
      (token) =>
        exchangeJson(
          web,
          {
            method: body === undefined ? 'GET' : 'POST',
            path,
            headers: { token: token ?? '' },
            ...(body !== undefined && { body }),
          },
          signal,
        ),
      body !== undefined,
      signal,
    );
    if (!answer.ok) return answer;
    const place = `${web.host}:${web.port}${path}`;
    const json = jsonOf(answer.value, place);
    // What came was an answer: it did not act.
    if (!json.ok) return exchangeFailure(false, json.error.kind, json.error.message, json.error.hint);
    const status = mergedRecords(recordAt(json.value), 'STATUS');
    const note = firstText(status, 'Msg');
    if (isYes(answer.value)) return ok({ sentAt: answer.value.sentAt, note, body: recordAt(json.value) });
    return exchangeFailure(
      false,
      wantsToken(answer.value, true) ? 'unauthorised' : 'refused',
      `${place} declines: ${note ?? 'no reason given'}`,
    );
  };

  const readPage = async (
    name: string,
    signal: AbortSignal,
  ): Promise<Result<CgminerBody, ExchangeFailure>> => {
    const answer = await page(name, undefined, signal);
    return answer.ok ? ok(answer.value.body) : answer;
  };

  const stranger = (): ReturnType<typeof fail> =>
    fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as FluxOS`);

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const kept = slow.fresh();
    const replies: { -readonly [name in keyof FluxosReplies]: CgminerBody } = { ...kept };
    const [patience, webPatience] = [createPatience(), createPatience()];
    for (const command of ['summary', ...(kept === null ? SLOW_COMMANDS : [])] as const) {
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok && command === 'version' && isForeign({ version: answer.value }, 'fluxos'))
        return stranger();
      if (answer.ok) replies[command] = answer.value.body;
      else if (command === 'summary' || answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    const pages = kept === null ? [...WEB_READS, ...SLOW_WEB_READS] : WEB_READS;
    for (const name of user === null ? [] : pages) {
      const answer = await readPage(name, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (answer.error.kind === 'cancelled') return answer;
      // What the open port said is a reading all the same.
      else if (answer.error.kind === 'unauthorised' || webPatience.endsAt(answer.error)) break;
    }
    // Who it is stands in the report; where that did not come, the open port is asked.
    if (kept !== null && replies.ipreport === undefined) {
      const answer = await readCgminer(target, 'version', undefined, signal);
      if (answer.ok && isForeign({ version: answer.value }, 'fluxos')) return stranger();
      if (!answer.ok && answer.error.kind === 'cancelled') return answer;
    }
    const { version, devs, pools, temperature, fan } = replies;
    // What does not come is not asked for at every reading either.
    if (kept === null && !patience.isGone)
      slow.keep({
        ...(version && { version }),
        ...(devs && { devs }),
        ...(pools && { pools }),
        ...(temperature && { temperature }),
        ...(fan && { fan }),
      });
    const said = decodeFluxos(replies, endpoint.model);
    const known = fluxosWorkingWatts(said);
    if (known !== null && known > (greatestWatts ?? 0)) greatestWatts = known;
    greatestThs = Math.max(greatestThs, said.hashrateThs ?? 0);
    const fields = { ...said, control: fluxosControl(enters ? { greatestWatts } : null) };
    // Out of custom mode it names no nominal rate: a small part of what it was seen to do is a start.
    const starts = fields.state === 'hashing' && (fields.hashrateThs ?? 0) < greatestThs * STARTING_SHARE;
    return ok(starts ? { ...fields, state: 'starting' } : fields);
  };

  return {
    firmware: 'fluxos',
    poll,
    who: async (signal, forWrite) => {
      const report = user === null ? null : await readPage('ipreport', signal);
      if (report?.ok === true) return ok(decodeFluxos({ ipreport: report.value }, endpoint.model));
      if (report !== null && (forWrite || report.error.kind === 'cancelled')) return report;
      const version = await readCgminer(target, 'version', undefined, signal);
      if (!version.ok) return version;
      if (isForeign({ version: version.value }, 'fluxos')) return stranger();
      return ok(decodeFluxos({ version: version.value.body }, endpoint.model));
    },
    send: async (command, latest, signal) =>
      enters
        ? await applyToFluxos(
            { page, clock: deps.clock, greatestWatts, works: latest.state === 'hashing' },
            command,
            signal,
          )
        : fail(
            'unauthorised',
            `${endpoint.host} takes commands only with user and password`,
            'set user and password of the miner in the configuration',
          ),
  };
}
