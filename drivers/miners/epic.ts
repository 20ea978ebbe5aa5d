import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { applyToEpic } from './epic-commands.ts';
import { decodeEpic, type EpicReplies, epicControl } from './epic-decode.ts';
import { createJustAsked } from './just-asked.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import type { MinerFields } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';
import { exchangeJson, jsonOf, recordAt, webTarget } from './web-json.ts';

/** ePIC PowerPlay: HTTP on the port where others have the cgminer API. Commands carry the password. */
export function epicFamily(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const target = webTarget(endpoint, deps, endpoint.port);
  const { password } = endpoint;
  const asked = createJustAsked<CgminerBody>(deps.clock);
  /** Where they do not come, readings do not ask for them each time. */
  const capabilitiesLost = createSlowPart<true>(deps.clock);
  let capabilities: unknown;
  let control = epicControl(capabilities, password !== null);

  const ask = async (page: string, signal: AbortSignal): Promise<Result<unknown, ExchangeFailure>> => {
    const answer = await exchangeJson(target, { method: 'GET', path: `/${page}` }, signal);
    if (!answer.ok) return answer;
    const json = jsonOf(answer.value, `${target.host}:${target.port}/${page}`);
    return json.ok ? json : { ok: false, error: { ...json.error, connected: true } };
  };

  /** Who stands there is asked anew; what it can do is asked once for each unit. */
  const askWho = async (signal: AbortSignal): Promise<Result<EpicReplies>> => {
    const summary = await ask('summary', signal);
    if (!summary.ok) return summary;
    if (!('HBStatus' in recordAt(summary.value)) && !('Session' in recordAt(summary.value)))
      return fail('wrong-device', `${target.host}:${target.port} does not answer as ePIC PowerPlay`);
    const network = await ask('network', signal);
    if (!network.ok && network.error.kind === 'cancelled') return network;
    if (capabilities === undefined && capabilitiesLost.fresh() === null) {
      const answer = await ask('capabilities', signal);
      if (!answer.ok && answer.error.kind === 'cancelled') return answer;
      if (!answer.ok) capabilitiesLost.keep(true);
      else {
        capabilities = answer.value;
        control = epicControl(capabilities, password !== null);
      }
    }
    return ok({ summary: summary.value, capabilities, ...(network.ok && { network: network.value }) });
  };

  const read = async (signal: AbortSignal): Promise<Result<EpicReplies>> => {
    const replies = await askWho(signal);
    if (!replies.ok) {
      capabilities = undefined;
      control = epicControl(capabilities, password !== null);
      return foreign(replies.error, target) ?? replies;
    }
    return ok(replies.value);
  };

  const decoded = (replies: EpicReplies): Result<MinerFields> =>
    ok(decodeEpic(replies, password !== null, control));

  return {
    firmware: 'epic',
    who: async (signal) => {
      const replies = await read(signal);
      if (!replies.ok) return replies;
      asked.keep(recordAt(replies.value.summary));
      return decoded(replies.value);
    },
    poll: async (signal) => {
      const replies = await read(signal);
      return replies.ok ? decoded(replies.value) : replies;
    },
    send: async (command, _latest, signal) => {
      if (password === null)
        return fail(
          'unauthorised',
          `${endpoint.host} takes commands with its password only, and none is given`,
          'set the password of the miner in the configuration',
        );
      let summary = asked.take();
      if (summary === null) {
        const answer = await ask('summary', signal);
        if (!answer.ok) return answer;
        summary = recordAt(answer.value);
      }
      return await applyToEpic(
        {
          target,
          password,
          summary,
          capabilities: recordAt(capabilities),
        },
        command,
        signal,
      );
    },
  };
}

/** What answers without speaking HTTP at all is another firmware's API. */
function foreign(
  failure: { readonly kind: string; readonly message: string },
  target: { readonly host: string; readonly port: number },
): ReturnType<typeof fail> | null {
  if (failure.kind !== 'malformed' || !failure.message.includes('does not speak HTTP')) return null;
  return fail('wrong-device', `${target.host}:${target.port} does not answer as ePIC PowerPlay`);
}
