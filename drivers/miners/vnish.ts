import { readCgminer } from '../../protocols/cgminer-client.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget, isCutOff } from './cgminer.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import { recogniseMiner } from './recognise.ts';
import type { MinerFields } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';
import { applyToVnish } from './vnish-commands.ts';
import {
  decodeVnish,
  type VnishReplies,
  vnishControl,
  vnishState,
  withoutChainWatts,
} from './vnish-decode.ts';
import { openVnishWeb } from './vnish-web.ts';

/** Presets change when somebody tunes: rarely, and the list is long. */
const PRESETS_MAXIMUM_AGE_MS: Milliseconds = 600_000;

/** VNish (AnthillOS): figures on port 4028, identity, state and preset on the web port; commands with its password. */
export function vnishFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const web = openVnishWeb(endpoint, deps);
  const controllable = endpoint.password !== null;
  const slow = createSlowPart<Pick<VnishReplies, 'pools'>>(deps.clock);
  /** Where they do not come, readings do not ask for them each time. */
  const presetsLost = createSlowPart<true>(deps.clock);
  let presets: unknown;
  let control = vnishControl(presets, controllable);
  let presetsAt: MonotonicMs | null = null;

  const askPresets = async (signal: AbortSignal): Promise<Result<null>> => {
    const now = deps.clock.monotonicMs();
    if (presetsAt !== null && now - presetsAt < PRESETS_MAXIMUM_AGE_MS) return ok(null);
    const answer = await web.read('autotune/presets', signal);
    if (!answer.ok) {
      presetsLost.keep(true);
      return answer;
    }
    presets = answer.value;
    control = vnishControl(presets, controllable);
    presetsAt = now;
    return ok(null);
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const kept = slow.fresh();
    const replies: { -readonly [name in keyof VnishReplies]: VnishReplies[name] } = { ...kept };
    const [patience, webPatience] = [createPatience(), createPatience()];
    let down: Result<never> | null = null;
    for (const command of ['stats', 'summary', ...(kept === null ? (['pools'] as const) : [])] as const) {
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok && command === 'stats' && recogniseMiner({ stats: answer.value }) !== 'vnish')
        return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as VNish`);
      if (answer.ok) {
        const { body } = answer.value;
        replies[command] = isCutOff(answer.value) ? withoutChainWatts(body) : body;
      } else if (command === 'stats') {
        // Stopped, the mining program may be gone from its port; the pages still tell.
        if (answer.error.kind !== 'unreachable') return answer;
        down = answer;
        break;
      } else if (answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    for (const [name, page] of [
      ['info', 'info'],
      ['webSummary', 'summary'],
      ['performance', 'perf-summary'],
    ] as const) {
      const answer = await web.read(page, signal);
      if (answer.ok) replies[name] = answer.value;
      else if (answer.error.kind === 'cancelled') return answer;
      // Closed or behind a password: what port 4028 said is a reading all the same.
      else if (webPatience.endsAt(answer.error)) break;
    }
    if (down !== null && vnishState(replies.webSummary) === null) return down;
    // A list that does not come from a unit that answers is not asked for at every reading either.
    if (kept === null && down === null && !patience.isGone)
      slow.keep(replies.pools === undefined ? {} : { pools: replies.pools });
    if (controllable && !webPatience.isOver && presetsLost.fresh() === null) {
      const asked = await askPresets(signal);
      if (!asked.ok && asked.error.kind === 'cancelled') return asked;
    }
    return ok(decodeVnish(replies, endpoint.model, controllable, control));
  };

  return {
    firmware: 'vnish',
    poll,
    who: async (signal, forWrite) => {
      const info = await web.read('info', signal);
      if (info.ok) return ok(decodeVnish({ info: info.value }, endpoint.model));
      if (forWrite || info.error.kind === 'cancelled') return info;
      const stats = await readCgminer(target, 'stats', undefined, signal);
      if (!stats.ok) return stats;
      return recogniseMiner({ stats: stats.value }) !== 'vnish'
        ? fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as VNish`)
        : ok(decodeVnish({ stats: stats.value.body }, endpoint.model));
    },
    send: async (command, latest, signal) => {
      if (!controllable)
        return fail(
          'unauthorised',
          `${endpoint.host} takes commands with its password only, and none is given`,
          'set the password of the miner in the configuration',
        );
      if (command.kind === 'run') await askPresets(signal);
      const works = latest.state === 'hashing' || latest.state === 'tuning';
      return await applyToVnish({ web, clock: deps.clock, presets, works }, command, signal);
    },
  };
}
