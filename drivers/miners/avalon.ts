import { avalonModes } from '../../config/miners/avalon-modes.ts';
import { readCgminer } from '../../protocols/cgminer-client.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { applyToAvalon } from './avalon-commands.ts';
import { type AvalonFields, avalonFields, decodeAvalon, isSoftOff } from './avalon-decode.ts';
import { cgminerTarget, isCutOff, isNo, isSilence } from './cgminer.ts';
import { createJustAsked } from './just-asked.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import { isForeign } from './recognise.ts';
import { firstText, type MinerFields, mergedRecords } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';

/** Commands that tell the same; which of them there is depends on the generation. */
const STATS_COMMANDS = ['stats', 'estats', 'litestats'] as const;

/** Statistics with what is written in them. */
interface AvalonStats {
  readonly body: CgminerBody;
  readonly fields: AvalonFields;
}

/** Avalon (Canaan) on port 4028: one command at a time; soft off and soft on. */
export function avalonFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const asked = createJustAsked<CgminerBody>(deps.clock);
  const slow = createSlowPart<{ readonly pools?: CgminerBody }>(deps.clock);
  /** The serial number of the unit whose `version` did not come. */
  const versionLost = createSlowPart<string>(deps.clock);
  let version: CgminerBody | undefined;
  let statsCommand: (typeof STATS_COMMANDS)[number] | null = null;

  const stranger = (): ReturnType<typeof fail> =>
    fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as an Avalon`);

  const askVersion = async (signal: AbortSignal): Promise<Result<CgminerBody>> => {
    const answer = await readCgminer(target, 'version', undefined, signal);
    if (!answer.ok) return answer;
    if (isForeign({ version: answer.value }, 'avalon')) return stranger();
    // Half of what says who it is, once and for all, is none of it.
    if (!isCutOff(answer.value)) version = answer.value.body;
    return ok(answer.value.body);
  };

  /** The first command of the family that tells of the management module, remembered. */
  const askStats = async (signal: AbortSignal): Promise<Result<AvalonStats | null>> => {
    for (const command of statsCommand === null ? STATS_COMMANDS : [statsCommand]) {
      const answer = await readCgminer(target, command, undefined, signal);
      if (!answer.ok && isNo(answer.error)) continue;
      if (!answer.ok) return answer;
      if (isForeign({ stats: answer.value }, 'avalon')) return stranger();
      const fields = avalonFields(answer.value.body);
      if (fields.size === 0) continue;
      statsCommand = command;
      return ok({ body: answer.value.body, fields });
    }
    statsCommand = null;
    return ok(null);
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const stats = await askStats(signal);
    if (!stats.ok) return stats;
    const dna = stats.value?.fields.get('DNA');
    // The serial number in the statistics tells whether what `version` said still holds.
    const holds = dna !== undefined && firstText(mergedRecords(version, 'VERSION'), 'DNA') === dna;
    const patience = createPatience();
    if (!holds) version = undefined;
    // A unit whose statistics name it is read without its version, where that does not come.
    if (!holds && (dna === undefined || versionLost.fresh() !== dna)) {
      const asked = await askVersion(signal);
      if (!asked.ok && (asked.error.kind === 'wrong-device' || asked.error.kind === 'cancelled'))
        return asked;
      if (!asked.ok && stats.value === null && !isNo(asked.error)) return asked;
      if (!asked.ok) patience.endsAt(asked.error);
      if (version === undefined && dna !== undefined) versionLost.keep(dna);
    }
    const kept = slow.fresh();
    const replies: { summary?: CgminerBody; pools?: CgminerBody } = { ...kept };
    for (const command of ['summary', ...(kept === null ? (['pools'] as const) : [])] as const) {
      if (patience.isOver) break;
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok) replies[command] = answer.value.body;
      else if (answer.error.kind === 'cancelled' || (stats.value === null && isSilence(answer.error)))
        return answer;
      else patience.endsAt(answer.error);
    }
    // A list that does not come is not asked for at every reading either.
    if (kept === null && !patience.isGone)
      slow.keep(replies.pools === undefined ? {} : { pools: replies.pools });
    if (stats.value === null && replies.summary === undefined)
      return fail('malformed', `${endpoint.host}:${endpoint.port} answers neither statistics nor a summary`);
    return ok(
      decodeAvalon(
        {
          ...replies,
          ...(version !== undefined && { version }),
          ...(stats.value !== null && { stats: stats.value.body }),
        },
        endpoint.model,
        stats.value?.fields,
      ),
    );
  };

  return {
    firmware: 'avalon',
    poll,
    who: async (signal) => {
      const answer = await askVersion(signal);
      if (answer.ok) asked.keep(answer.value);
      return answer.ok ? ok(decodeAvalon({ version: answer.value }, endpoint.model)) : answer;
    },
    send: async (command, latest, signal) => {
      // Sleep is ordered whatever it says: every moment counts.
      const stats = command.kind === 'run' ? await askStats(signal) : ok(null);
      if (!stats.ok) return stats;
      const fields = stats.value === null ? new Map<string, string>() : stats.value.fields;
      // Where it does not say whether it rests, it is told again: waking twice is harmless.
      const asleep = stats.value === null || isSoftOff(fields);
      const modes = avalonModes(latest.model);
      const now = asked.take();
      return await applyToAvalon({ target, asleep, fields, modes, version: now }, command, signal);
    },
  };
}
