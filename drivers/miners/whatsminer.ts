import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import { CGMINER_LIMITS, readCgminer } from '../../protocols/cgminer-client.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget, isCutOff, isNo, isSilence } from './cgminer.ts';
import type { MinerDeps, MinerFamily } from './miner-driver.ts';
import { createPatience } from './patience.ts';
import type { MinerFields } from './reply-fields.ts';
import { createSlowPart } from './slow-part.ts';
import {
  createWhatsminerWriter,
  type WhatsminerService,
  type WhatsminerWriter,
} from './whatsminer-commands.ts';
import {
  decodeWhatsminer,
  isOff,
  isSearchOver,
  isWhatsminer,
  type WhatsminerReplies,
} from './whatsminer-decode.ts';

/** Asked at every reading, one by one: joining does not work for the flat ones. */
const LIVE = ['summary', 'status'] as const;
/** Asked now and then. */
const SLOW = ['devs', 'pools', 'get_error_code'] as const;
/** Asked until answered once, be it with a no: a loop over these burdens the unit. */
const STEADY = ['get_version', 'devdetails', 'get_miner_info'] as const;

/** MicroBT Whatsminer on port 4028, API 1.4 to 2.0.x (units of API 3 answer it too). */
export function whatsminerFamily(
  firmware: MinerFirmware,
  endpoint: MinerEndpoint,
  deps: MinerDeps,
): MinerFamily {
  const target = cgminerTarget(endpoint, deps);
  const writer: WhatsminerWriter | null =
    endpoint.password === null
      ? null
      : createWhatsminerWriter(
          { ...target, limits: { ...(deps.limits ?? CGMINER_LIMITS), totalMs: 10_000, idleMs: 10_000 } },
          endpoint.password,
        );
  const context = { firmware, configuredModel: endpoint.model, controllable: writer !== null };
  const steady: { [command in (typeof STEADY)[number]]?: CgminerBody } = {};
  const slow = createSlowPart<WhatsminerReplies>(deps.clock);
  const steadyLost = createSlowPart<true>(deps.clock);
  let latest: WhatsminerService = { off: false, searchOver: false };

  /** Of the replies, only what commands go by is kept. */
  const decoded = (replies: WhatsminerReplies): Result<MinerFields> => {
    latest = { off: isOff(replies) === true, searchOver: isSearchOver(replies) };
    return ok(decodeWhatsminer(replies, context));
  };

  /** Off, the mining program may be gone, and its summary with it; `status` still answers. */
  const readOff = async (
    failure: ExchangeFailure,
    signal: AbortSignal,
  ): Promise<Result<MinerFields> | null> => {
    if (!failure.connected || failure.kind === 'timeout' || failure.kind === 'cancelled') return null;
    const status = await readCgminer(target, 'status', undefined, signal);
    if (!status.ok || isOff({ status: status.value.body }) !== true) return null;
    const info = await readCgminer(target, 'get_miner_info', undefined, signal);
    const told = { ...steady, status: status.value.body };
    return decoded(info.ok ? { ...told, get_miner_info: info.value.body } : told);
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies: { -readonly [command in keyof WhatsminerReplies]: CgminerBody } = {};
    const kept = slow.fresh();
    const patience = createPatience();
    for (const command of [...LIVE, ...(kept === null ? SLOW : [])] as const) {
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok) replies[command] = answer.value.body;
      else if (command === 'summary')
        // The summary carries the power: without it there is no reading, unless the unit says that it is off.
        return (await readOff(answer.error, signal)) ?? answer;
      else if (answer.error.kind === 'cancelled') return answer;
      else if (patience.endsAt(answer.error)) break;
    }
    for (const command of patience.isOver || steadyLost.fresh() === true ? [] : STEADY) {
      if (command in steady) continue;
      const answer = await readCgminer(target, command, undefined, signal);
      if (answer.ok && !isCutOff(answer.value)) steady[command] = answer.value.body;
      else if (!answer.ok && isNo(answer.error)) steady[command] = {};
      else {
        if (!answer.ok && answer.error.kind === 'cancelled') return answer;
        steadyLost.keep(true);
        if (!answer.ok && patience.endsAt(answer.error)) break;
      }
    }
    if (!isWhatsminer(replies.summary))
      return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as a Whatsminer`);
    const { devs, pools, get_error_code } = replies;
    // What does not come is not asked for at every reading either.
    if (kept === null && !patience.isGone)
      slow.keep({
        ...(devs && { devs }),
        ...(pools && { pools }),
        ...(get_error_code && { get_error_code }),
      });
    if (!patience.isOver) await writer?.warm(signal);
    return decoded({ ...kept, ...steady, ...replies });
  };

  return {
    firmware,
    poll,
    who: async (signal) => {
      const replies: { -readonly [command in keyof WhatsminerReplies]: CgminerBody } = { ...steady };
      const summary = await readCgminer(target, 'summary', undefined, signal);
      if (!summary.ok && !isNo(summary.error)) return summary;
      if (summary.ok && !isWhatsminer(summary.value.body))
        return fail('wrong-device', `${endpoint.host}:${endpoint.port} does not answer as a Whatsminer`);
      if (summary.ok) replies.summary = summary.value.body;
      for (const command of STEADY) {
        if (command in steady) continue;
        const answer = await readCgminer(target, command, undefined, signal);
        if (!answer.ok && isSilence(answer.error)) break;
        if (answer.ok && !isCutOff(answer.value)) steady[command] = answer.value.body;
        else if (!answer.ok && isNo(answer.error)) steady[command] = {};
        replies[command] = steady[command] ?? {};
      }
      return ok(decodeWhatsminer(replies, context));
    },
    send: async (command, fields, signal) =>
      writer === null
        ? fail(
            'unauthorised',
            `${endpoint.host} takes commands with its admin password only, and none is given`,
            'set the password of the miner in the configuration',
          )
        : await writer.apply(command, fields, latest, endpoint.model, signal),
  };
}
