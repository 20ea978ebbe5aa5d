import { type CgminerTarget, readCgminer } from '../../protocols/cgminer-client.ts';
import { accepted, type CgminerBody, joinedSections } from '../../protocols/cgminer-reply.ts';
import { joinCgminerCommands } from '../../protocols/cgminer-request.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { exchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget, isCutOff, isSilence } from './cgminer.ts';
import { createJustAsked } from './just-asked.ts';
import { applyToLuxos, type LuxosAsk } from './luxos-commands.ts';
import {
  decodeLuxos,
  LUXOS_READS,
  type LuxosCommand,
  type LuxosPoints,
  type LuxosReplies,
  luxosPoints,
  luxosProfiles,
} from './luxos-decode.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import { type MinerFields, mergedRecords } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';

/** Least time between two connections; 2026.4.3 shuts its port on bursts. Source: field notes. */
const SPACING_MS: Milliseconds = 1000;
/** After a refused connection the port stays shut for a while. */
const REFUSED_MS: Milliseconds = 30_000;
const PROFILES_MAXIMUM_AGE_MS: Milliseconds = 600_000;

/** Asked now and then of a unit that answers one command a connection. */
function isSlow(command: LuxosCommand): boolean {
  return command === 'pools' || command === 'events';
}

/** In its own section most often, so that the rest need not be looked through. */
function namesLuxos(version: CgminerBody): boolean {
  return 'LUXminer' in mergedRecords(version, 'VERSION') || JSON.stringify(version).includes('LUXminer');
}

/** Spaces connections and stays away for a while from a port that refuses. */
export function createLuxosAsk(target: CgminerTarget): LuxosAsk {
  const { clock } = target;
  // Whoever found out what this is has just been connected.
  let nextAt: MonotonicMs = clock.monotonicMs() + SPACING_MS;
  let refusedUntil: MonotonicMs | null = null;
  return async (command, parameter, signal) => {
    const now = clock.monotonicMs();
    if (refusedUntil !== null && now < refusedUntil)
      return exchangeFailure(
        false,
        'unreachable',
        `${target.host}:${target.port} refused a connection; asked again later`,
      );
    if (nextAt > now) await clock.sleep(nextAt - now, signal);
    const answer = await readCgminer(target, command, parameter, signal);
    nextAt = clock.monotonicMs() + SPACING_MS;
    const refused = !answer.ok && answer.error.kind === 'unreachable' && !answer.error.connected;
    refusedUntil = refused ? clock.monotonicMs() + REFUSED_MS : null;
    return answer;
  };
}

/** LuxOS by Luxor on port 4028. */
export function luxosFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const ask = createLuxosAsk(target);
  const asked = createJustAsked<CgminerBody>(deps.clock);
  let points: LuxosPoints | null = null;
  let profilesAt: MonotonicMs = 0;
  /** Of a unit that is asked one by one. */
  const slow = createSlowPart<LuxosReplies>(deps.clock);
  /** Where they do not come, it is not asked for them at every reading. */
  const profilesLost = createSlowPart<true>(deps.clock);
  /** Parameterless reads can be joined; a unit that cannot is asked one by one from then on. */
  let joins = true;

  const ask1by1 = async (
    commands: readonly LuxosCommand[],
    signal: AbortSignal,
  ): Promise<Result<LuxosReplies>> => {
    const patience = createPatience();
    const kept = slow.fresh();
    const replies: { [command in LuxosCommand]?: CgminerBody } = {};
    for (const command of commands) {
      if (isSlow(command) && kept !== null) continue;
      if (command === 'profiles' && profilesLost.fresh() === true) continue;
      const answer = await ask(command, undefined, signal);
      const came = answer.ok && (command !== 'profiles' || !isCutOff(answer.value));
      if (command === 'profiles' && !came) profilesLost.keep(true);
      if (answer.ok) {
        if (came) replies[command] = answer.value.body;
      }
      // A reading rests on what it is set to and what it does.
      else if (isSilence(answer.error) && (command === 'config' || command === 'summary')) return answer;
      else if (answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    const { pools, events } = replies;
    // What does not come is not asked for at every reading either.
    if (kept === null && !patience.isGone && commands.some(isSlow))
      slow.keep({ ...(pools && { pools }), ...(events && { events }) });
    return ok({ ...kept, ...replies });
  };

  const askJoined = async (
    commands: readonly LuxosCommand[],
    signal: AbortSignal,
  ): Promise<Result<LuxosReplies>> => {
    const answer = await ask(joinCgminerCommands(commands), undefined, signal);
    if (!answer.ok && isSilence(answer.error)) return answer;
    if (!answer.ok && answer.error.kind === 'malformed') return answer;
    const sections = answer.ok ? joinedSections(answer.value) : new Map();
    const replies: { [command in LuxosCommand]?: CgminerBody } = {};
    for (const command of commands) {
      const section = sections.get(command);
      if (section !== undefined && command === 'profiles' && isCutOff(section)) continue;
      if (section !== undefined && accepted(section, command).ok) replies[command] = section.body;
    }
    if (replies.config !== undefined || replies.summary !== undefined) return ok(replies);
    joins = false;
    return await ask1by1(commands, signal);
  };

  /** Another firmware at the address also has a summary. */
  const strange = (replies: LuxosReplies): ReturnType<typeof fail> | null => {
    const { version } = replies;
    if (version === undefined || namesLuxos(version)) return null;
    return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as LuxOS`);
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const wantsProfiles = points === null || deps.clock.monotonicMs() - profilesAt > PROFILES_MAXIMUM_AGE_MS;
    const commands: readonly LuxosCommand[] = wantsProfiles ? [...LUXOS_READS, 'profiles'] : LUXOS_READS;
    const replies = await (joins ? askJoined : ask1by1)(commands, signal);
    if (!replies.ok) return replies;
    if (replies.value.summary === undefined && replies.value.config === undefined)
      return fail('malformed', `${endpoint.host}:${endpoint.port} answers neither summary nor config`);
    if (replies.value.profiles !== undefined) {
      points = luxosPoints(luxosProfiles(replies.value.profiles));
      profilesAt = deps.clock.monotonicMs();
    }
    const stranger = strange(replies.value);
    if (stranger !== null) return stranger;
    return ok(decodeLuxos(replies.value, points ?? undefined));
  };

  return {
    firmware: 'luxos',
    // Who it is, log on, the command itself.
    leastCommandMs: 2 * SPACING_MS,
    poll,
    who: async (signal) => {
      const replies = await (joins ? askJoined : ask1by1)(['version', 'config'], signal);
      if (!replies.ok) return replies;
      if (replies.value.config === undefined)
        return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as LuxOS`);
      asked.keep(replies.value.config);
      return strange(replies.value) ?? ok(decodeLuxos(replies.value));
    },
    send: async (command, _latest, signal) => {
      let config = asked.take();
      if (config === null) {
        const answer = await ask('config', undefined, signal);
        if (!answer.ok) return answer;
        config = answer.value.body;
      }
      return await applyToLuxos(
        {
          ask,
          clock: deps.clock,
          config: mergedRecords(config, 'CONFIG'),
          profiles: points?.profiles ?? [],
        },
        command,
        signal,
      );
    },
  };
}
