import { CGMINER_LIMITS, readCgminer } from '../../protocols/cgminer-client.ts';
import { parseRepaired } from '../../protocols/cgminer-repair.ts';
import { type CgminerBody, isRecord, sectionRecords } from '../../protocols/cgminer-reply.ts';
import { createDigestSession, exchangeWithDigest } from '../../protocols/http-digest.ts';
import type { HttpTarget } from '../../protocols/http-exchange.ts';
import { type Failure, fail, ok, type Result } from '../../protocols/result.ts';
import { type ExchangeFailure, exchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds } from '../../protocols/units.ts';
import { utf8Text } from '../../protocols/utf8-text.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { applyToBitmain, type BitmainWeb, type BitmainWebAnswer } from './bitmain-commands.ts';
import { type BitmainReplies, decodeBitmain } from './bitmain-decode.ts';
import { cgminerTarget, isCutOff, isSilence } from './cgminer.ts';
import { createCredentialGuard } from './credential-guard.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import { isForeign } from './recognise.ts';
import type { MinerFields } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';

/** A write is answered only when the mining program has been told to reload. */
const WRITE_TIMEOUT_MS: Milliseconds = 30_000;

/** The web pages of a stock miner, `null` without a user name and password. */
export function openBitmainWeb(endpoint: MinerEndpoint, deps: MinerDeps): BitmainWeb | null {
  const { clock, connect, starts, kept, limits = CGMINER_LIMITS, random } = deps;
  if (endpoint.user === null || endpoint.password === null) return null;
  const session = createDigestSession({ user: endpoint.user, password: endpoint.password.reveal() }, random);
  const target: HttpTarget = {
    host: endpoint.host,
    port: endpoint.webPort,
    clock,
    limits,
    connect,
    starts,
    kept,
  };
  const patient = {
    ...target,
    limits: { ...limits, totalMs: Math.max(limits.totalMs, WRITE_TIMEOUT_MS), idleMs: WRITE_TIMEOUT_MS },
  };
  const guard = createCredentialGuard(`${endpoint.host}:${endpoint.webPort}`, deps.clock);
  const ask = async (
    page: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<Result<BitmainWebAnswer, ExchangeFailure>> => {
    const path = `/cgi-bin/${page}`;
    const request =
      body === undefined
        ? { method: 'GET' as const, path }
        : {
            method: 'POST' as const,
            path,
            body: JSON.stringify(body),
            headers: { 'content-type': 'application/json' },
          };
    const closed = guard.closed();
    if (closed !== null) return { ok: false, error: { ...closed.error, connected: false } };
    const answer = await exchangeWithDigest(body === undefined ? target : patient, request, session, signal);
    guard.note(answer.ok ? null : answer.error);
    if (!answer.ok) return answer;
    const { status, body: bytes, sentAt, cut } = answer.value;
    if (status === 404) return exchangeFailure(true, 'unsupported', `${endpoint.host} has no page ${page}`);
    if (status >= 400)
      return exchangeFailure(true, 'refused', `${endpoint.host} answers ${page} with status ${status}`);
    const text = utf8Text(bytes).trim();
    const parsed = text === '' || cut ? null : parseRepaired(text);
    // What is read here is written back whole: half a page must never pass for a page.
    if (parsed?.repairs.includes('cut-off') === true) return ok({ sentAt, body: null });
    return ok({ sentAt, body: parsed !== null && isRecord(parsed.value) ? parsed.value : null });
  };
  return {
    read: async (page, signal) => {
      const answer = await ask(page, undefined, signal);
      if (!answer.ok) return answer;
      return answer.value.body === null
        ? exchangeFailure(
            true,
            'malformed',
            `${endpoint.host} answers ${page} with something that is no JSON object`,
          )
        : ok(answer.value.body);
    },
    write: ask,
  };
}

/** Stock Bitmain firmware: readings on port 4028, identity and modes on the web pages. */
export function bitmainFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const web = openBitmainWeb(endpoint, deps);
  const context = { configuredModel: endpoint.model, controllable: web !== null };
  const slow = createSlowPart<Pick<BitmainReplies, 'pools'>>(deps.clock);
  const slowFaults = createSlowPart<Pick<BitmainReplies, 'summary'>>(deps.clock);
  const versionLost = createSlowPart<true>(deps.clock);
  let version: CgminerBody | undefined;

  /** `stats` and `pools` of port 4028; one command a connection, never joined. */
  const askPort = async (
    replies: Writable<BitmainReplies>,
    wantsPools: boolean,
    signal: AbortSignal,
  ): Promise<Failure | null> => {
    const patience = createPatience();
    const knows = () => version !== undefined || hasType(replies.stats) || versionLost.fresh() === true;
    for (const command of ['stats', 'pools', 'version'] as const) {
      if (command === 'version' && knows()) continue;
      if (command === 'pools' && !wantsPools) continue;
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok && command !== 'pools' && isForeign({ [command]: answer.value }, 'bitmain'))
        return {
          kind: 'wrong-device',
          message: `${endpoint.host} does not answer as stock Bitmain firmware`,
        };
      // Half of what says who it is, once and for all, is none of it.
      const came = answer.ok && (command !== 'version' || !isCutOff(answer.value));
      if (command === 'version' && !came) versionLost.keep(true);
      if (answer.ok && came) replies[command] = answer.value.body;
      else if (!answer.ok && (command === 'stats' || patience.endsAt(answer.error))) return answer.error;
    }
    version = replies.version ?? version;
    return null;
  };

  /** Who it is, which mode it is in and what is wrong with it; asleep, also what port 4028 no longer says. */
  const askWeb = async (
    pages: BitmainWeb,
    replies: Writable<BitmainReplies>,
    portIsDown: boolean,
    signal: AbortSignal,
  ): Promise<Failure | null> => {
    const wanted = [
      ['systemInfo', 'get_system_info.cgi'],
      ['minerConf', 'get_miner_conf.cgi'],
      ...(portIsDown
        ? ([
            ['stats', 'stats.cgi'],
            ['pools', 'pools.cgi'],
          ] as const)
        : []),
    ] as const;
    let faults = slowFaults.fresh();
    Object.assign(replies, faults);
    const patience = createPatience();
    for (const [name, page] of wanted) {
      const answer = await pages.read(page, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (answer.error.kind === 'unauthorised' || patience.endsAt(answer.error)) return answer.error;
      // Only of a unit that answers otherwise one page may be slow by itself.
      else if (portIsDown && isSilence(answer.error)) return answer.error;
    }
    if (faults === null) {
      const answer = await pages.read('summary.cgi', signal);
      if (!answer.ok && answer.error.kind === 'cancelled') return answer.error;
      // A page that is not there, or does not come, is not asked for at every reading either.
      faults = answer.ok ? { summary: answer.value } : {};
      slowFaults.keep(faults);
      Object.assign(replies, faults);
    }
    return null;
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const kept = slow.fresh();
    const replies: Writable<BitmainReplies> = { ...kept };
    const portFailure = await askPort(replies, kept === null, signal);
    if (portFailure?.kind === 'cancelled' || portFailure?.kind === 'wrong-device')
      return { ok: false, error: portFailure };
    const portIsDown = replies.stats === undefined;
    if (web !== null) {
      const webFailure = await askWeb(web, replies, portIsDown, signal);
      if (webFailure?.kind === 'cancelled') return { ok: false, error: webFailure };
      // A wrong password leaves a good reading good; without any other answer it is the news.
      if (portIsDown && webFailure !== null && replies.minerConf === undefined)
        return {
          ok: false,
          error: webFailure.kind === 'unauthorised' ? webFailure : (portFailure ?? webFailure),
        };
    }
    if (portIsDown && replies.minerConf === undefined && replies.stats === undefined)
      return { ok: false, error: portFailure ?? silent(endpoint) };
    // A list that does not come from a unit that answers is not asked for at every reading either.
    if (kept === null && (!portIsDown || replies.pools !== undefined))
      slow.keep(replies.pools === undefined ? {} : { pools: replies.pools });
    return ok(decodeBitmain(version === undefined ? replies : { ...replies, version }, context));
  };

  return {
    firmware: 'bitmain',
    poll,
    who: async (signal, forWrite) => {
      if (web !== null) {
        const systemInfo = await web.read('get_system_info.cgi', signal);
        if (systemInfo.ok) return ok(decodeBitmain({ systemInfo: systemInfo.value }, context));
        if (forWrite || systemInfo.error.kind === 'cancelled') return systemInfo;
      }
      // Reading needs no password; what it is can be told from the open port, though not which one it is.
      const answer = await readCgminer(target, 'version', undefined, signal);
      if (!answer.ok) return answer;
      if (isForeign({ version: answer.value }, 'bitmain'))
        return fail('wrong-device', `${endpoint.host} does not answer as stock Bitmain firmware`);
      version = answer.value.body;
      return ok(decodeBitmain({ version }, context));
    },
    send: async (command, latest, signal) =>
      web === null
        ? fail(
            'unauthorised',
            `${endpoint.host} takes commands on its web page only, and no user and password are given`,
            'set user and password of the miner in the configuration',
          )
        : await applyToBitmain(
            { web, clock: deps.clock, configuredModel: endpoint.model },
            command,
            latest,
            signal,
          ),
  };
}

type Writable<T> = { -readonly [key in keyof T]: T[key] };

/** The name of the model stands in the statistics as well, most often; `version` then says nothing more. */
function hasType(stats: CgminerBody | undefined): boolean {
  return sectionRecords(stats ?? {}, 'STATS').some((record) => 'Type' in record);
}

function silent(endpoint: MinerEndpoint): Failure {
  return { kind: 'malformed', message: `${endpoint.host}:${endpoint.port} answers no statistics` };
}
