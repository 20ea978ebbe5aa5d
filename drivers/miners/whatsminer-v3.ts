import { secondPort } from '../../config/miners/firmwares.ts';
import { CGMINER_LIMITS, readCgminer } from '../../protocols/cgminer-client.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { type ExchangeFailure, exchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import {
  askWhatsminerV3,
  type WhatsminerV3Answer,
  type WhatsminerV3Target,
  whatsminerV3Token,
} from '../../protocols/whatsminer-v3.ts';
import type { MinerEndpoint } from '../load-driver.ts';
import { cgminerTarget, isSilence } from './cgminer.ts';
import { createJustAsked } from './just-asked.ts';
import type { MinerDeps, MinerFamily, Sent } from './miner-driver.ts';
import { isForeign } from './recognise.ts';
import { firstText, type MinerFields } from './reply-fields.ts';
import { sentOf } from './sent.ts';
import { createSlowPart } from './slow-part.ts';
import { isRecordWith, recordAt } from './web-json.ts';
import { whatsminerFamily } from './whatsminer.ts';
import type { WhatsminerService } from './whatsminer-commands.ts';
import { giveWhatsminerOrders, type WhatsminerOrder, whatsminerOrders } from './whatsminer-orders.ts';
import {
  decodeWhatsminerV3,
  isWhatsminerV3Off,
  isWhatsminerV3SearchOver,
  type WhatsminerV3Replies,
} from './whatsminer-v3-decode.ts';

/** The account that may write, where the configuration names none. Source: API 3.0.x. */
const ACCOUNT = 'super';
/** Writes restart the mining program on the way; they are waited for longer than reads. */
const WRITE_MS: Milliseconds = 10_000;

type Json = string | number | Readonly<Record<string, string>> | readonly Readonly<Record<string, unknown>>[];

/** How an order is written in API 3; a percentage is text, a limit a number. Source: API 3.0.x. */
function written(order: WhatsminerOrder): readonly [command: string, parameter: Json] {
  switch (order.kind) {
    case 'off':
      return ['set.miner.service', 'stop'];
    case 'on':
      return ['set.miner.service', 'start'];
    case 'percent':
      return ['set.miner.power_percent', { percent: String(order.percent), mode: 'fast' }];
    case 'limit':
      return ['set.miner.power_limit', order.limitWatts];
    case 'locate':
      return ['set.system.led', order.on ? [{ color: 'red', period: 60, duration: 20, start: 0 }] : 'auto'];
  }
}

const textOf = (message: unknown): string | null => (typeof message === 'string' ? message : null);

/**
 * MicroBT Whatsminer by API 3 on port 4433. Where that port is shut, the unit is spoken to by API 2 on 4028,
 * which most of these answer too.
 */
export function whatsminerV3Family(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  const { clock, connect, starts, limits = CGMINER_LIMITS } = deps;
  const { host, password } = endpoint;
  const target: WhatsminerV3Target = {
    host,
    port: secondPort('whatsminer-v3', endpoint.webPort),
    clock,
    limits,
    connect,
    starts,
  };
  const older = whatsminerFamily('whatsminer-v3', endpoint, deps);
  const context = { configuredModel: endpoint.model, controllable: password !== null };
  /** Set by the first frame that came: from then on a shut port is a failure, not another dialect. */
  let framed: boolean | null = null;
  let latest: WhatsminerService = { off: false, searchOver: false };
  const asked = createJustAsked<WhatsminerV3Answer>(clock);
  const slow = createSlowPart<MinerFields['boards']>(clock);

  const ask = (request: Record<string, Json>, signal: AbortSignal) =>
    askWhatsminerV3(target, request, signal);

  const stranger = () =>
    exchangeFailure(true, 'wrong-device', `${host}:${target.port} does not answer as a Whatsminer`);

  const askInfo = async (signal: AbortSignal): Promise<Result<WhatsminerV3Answer, ExchangeFailure>> => {
    const askedAt = clock.monotonicMs();
    const info = await ask({ cmd: 'get.device.info' }, signal);
    // A shut port answers at once: then another machine may have taken the address.
    if (
      !info.ok &&
      framed === true &&
      info.error.kind === 'unreachable' &&
      clock.monotonicMs() - askedAt < limits.connectMs / 2
    ) {
      const version = await readCgminer(cgminerTarget(endpoint, deps), 'version', undefined, signal);
      if (version.ok && isForeign({ version: version.value }, 'whatsminer-v3')) return stranger();
    }
    if (info.ok && !isRecordWith(info.value.message, 'miner', 'network')) return stranger();
    if (info.ok) framed = true;
    return info;
  };

  /** Of the replies, only what commands go by is kept, and what is asked now and then. */
  const decoded = (replies: WhatsminerV3Replies, boards: MinerFields['boards'] | null) => {
    latest = { off: isWhatsminerV3Off(replies), searchOver: isWhatsminerV3SearchOver(replies) };
    const fields = decodeWhatsminerV3(replies, context);
    return ok(boards === null ? fields : { ...fields, boards });
  };

  const readStatus = async (info: unknown, signal: AbortSignal): Promise<Result<MinerFields>> => {
    const replies: { -readonly [name in keyof WhatsminerV3Replies]: unknown } = { info };
    for (const param of ['summary+pools', 'summary'] as const) {
      const status = await ask({ cmd: 'get.miner.status', param }, signal);
      if (status.ok) {
        replies.status = status.value.message;
        break;
      }
      // Off it may answer no status at all; silence is another matter.
      if (isSilence(status.error) || status.error.kind === 'malformed') return status;
    }
    if (isWhatsminerV3Off(replies)) return decoded(replies, null);
    const kept = slow.fresh();
    if (kept !== null) return decoded(replies, kept);
    const edevs = await ask({ cmd: 'get.miner.status', param: 'edevs' }, signal);
    if (!edevs.ok && edevs.error.kind === 'cancelled') return edevs;
    // Boards that do not come are not asked for at every reading either.
    const read = decoded(edevs.ok ? { ...replies, edevs: edevs.value.message } : replies, null);
    slow.keep(read.value.boards);
    return read;
  };

  const poll = async (signal: AbortSignal): Promise<Result<MinerFields>> => {
    const info = await askInfo(signal);
    if (!info.ok) return speaksOlder(info.error) ? await older.poll(signal) : info;
    return await readStatus(info.value.message, signal);
  };

  const speaksOlder = (failure: ExchangeFailure): boolean =>
    framed === null && failure.kind === 'unreachable' && !failure.connected;

  const give = async (
    order: WhatsminerOrder,
    secret: { reveal(): string },
    signal: AbortSignal,
  ): Promise<Result<Sent>> => {
    let info: WhatsminerV3Answer | null = asked.take();
    if (info === null) {
      const answer = await askInfo(signal);
      if (!answer.ok) return answer;
      info = answer.value;
    }
    const salt = firstText(recordAt(info.message), 'salt');
    const ts = info.when;
    if (salt === null || ts === null)
      return fail('malformed', `${host}:${target.port} gives neither a salt nor its time`);
    const [cmd, param] = written(order);
    const token = whatsminerV3Token(cmd, secret.reveal(), salt, ts);
    const before: MonotonicMs = clock.monotonicMs();
    const answer = await askWhatsminerV3(
      { ...target, limits: { ...limits, totalMs: WRITE_MS, idleMs: WRITE_MS } },
      { cmd, param, ts, token, account: endpoint.user ?? ACCOUNT },
      signal,
    );
    // Power may be gone before the answer is: silence may be success.
    return sentOf(
      answer.ok ? ok({ sentAt: answer.value.sentAt, note: textOf(answer.value.message) }) : answer,
      before,
      order.limitWatts,
    );
  };

  return {
    firmware: 'whatsminer-v3',
    poll,
    who: async (signal, forWrite) => {
      const info = await askInfo(signal);
      if (info.ok) {
        asked.keep(info.value);
        return ok(decodeWhatsminerV3({ info: info.value.message }, context));
      }
      return speaksOlder(info.error) ? await older.who(signal, forWrite) : info;
    },
    send: async (command, fields, signal) => {
      if (framed === null && older.send !== undefined) return await older.send(command, fields, signal);
      if (password === null)
        return fail(
          'unauthorised',
          `${host} takes commands with its password only, and none is given`,
          'set the password of the miner in the configuration',
        );
      const orders = whatsminerOrders(command, {
        fields,
        off: latest.off || fields.state === 'sleeping',
        searchOver: latest.searchOver,
        configuredModel: endpoint.model,
      });
      if (!orders.ok) return orders;
      return await giveWhatsminerOrders(orders.value, (order) => give(order, password, signal));
    },
  };
}
