import { type CgminerTarget, readCgminer } from '../../protocols/cgminer-client.ts';
import { accepted, type CgminerBody, joinedSections } from '../../protocols/cgminer-reply.ts';
import { joinCgminerCommands } from '../../protocols/cgminer-request.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { exchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget, isSilence } from './cgminer.ts';
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
import { type MinerFields, mergedRecords } from './reply-fields.ts';

/** Least time between two connections; 2026.4.3 shuts its port on bursts. Source: field notes. */
const SPACING_MS: Milliseconds = 1000;
/** After a refused connection the port stays shut for a while. */
const REFUSED_MS: Milliseconds = 30_000;
const PROFILES_MAXIMUM_AGE_MS: Milliseconds = 600_000;

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
  /** Parameterless reads can be joined; a unit that cannot is asked one by one from then on. */
  let joins = true;

  const ask1by1 = async (
    commands: readonly LuxosCommand[],
    signal: AbortSignal,
  ): Promise<Result<LuxosReplies>> => {
    const replies: { [command in LuxosCommand]?: CgminerBody } = {};
    for (const command of commands) {
      const answer = await ask(command, undefined, signal);
      if (answer.ok) replies[command] = answer.value.body;
      else if (isSilence(answer.error)) {
        if (replies.summary === undefined) return answer;
        break;
      }
    }
    return ok(replies);
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
