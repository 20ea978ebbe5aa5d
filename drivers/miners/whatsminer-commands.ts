import { askCgminer, askCgminerBytes, type CgminerTarget } from '../../protocols/cgminer-client.ts';
import { type CgminerReply, decodeCgminerReply } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { MonotonicMs } from '../../protocols/units.ts';
import {
  decryptWhatsminerText,
  encryptWhatsminerCommand,
  openWhatsminerSession,
  type WhatsminerSession,
} from '../../protocols/whatsminer-crypto.ts';
import type { Applied, LoadCommand } from '../load-driver.ts';
import { mayHaveArrived } from './cgminer.ts';
import { firstText, type MinerFields } from './reply-fields.ts';
import { messageOf } from './whatsminer-decode.ts';
import { giveWhatsminerOrders, type WhatsminerOrder, whatsminerOrders } from './whatsminer-orders.ts';

/** How the mining service of a unit stood at its latest reading. */
export interface WhatsminerService {
  readonly off: boolean;
  /** The frequency search has ended, so that a percentage is accepted. */
  readonly searchOver: boolean;
}

/** Writes to one Whatsminer; keeps its token. */
export interface WhatsminerWriter {
  /** Gets a token where there is none or it ends soon: making the key of one takes milliseconds that a shed has not. */
  warm(signal: AbortSignal): Promise<void>;
  apply(
    command: LoadCommand,
    fields: MinerFields,
    service: WhatsminerService,
    configuredModel: string | null,
    signal: AbortSignal,
  ): Promise<Result<Applied>>;
}

/** Tokens live 30 min; renewed a little earlier. Source: Whatsminer API 2.0.x. */
const TOKEN_MS = 25 * 60_000;
/** A token that ends sooner is renewed ahead of need, and not more often. */
const WARM_MS = 5 * 60_000;

/** How an order is written in API 2. Source: Whatsminer API 2.0.x; all values are text. */
function written(order: WhatsminerOrder): readonly [command: string, fields: Record<string, string>] {
  switch (order.kind) {
    case 'off':
      // Answered before the power goes, else perhaps not at all.
      return ['power_off', { respbefore: 'true' }];
    case 'on':
      return ['power_on', {}];
    case 'percent':
      return ['set_power_pct', { percent: String(order.percent) }];
    case 'limit':
      return ['adjust_power_limit', { power_limit: String(order.limitWatts) }];
    case 'locate':
      return [
        'set_led',
        order.on ? { color: 'red', period: '60', duration: '20', start: '0' } : { param: 'auto' },
      ];
  }
}

/** A writer for the miner at `target`. The password is revealed only while a token is made. */
export function createWhatsminerWriter(
  target: CgminerTarget,
  password: { reveal(): string },
): WhatsminerWriter {
  let session: WhatsminerSession | null = null;
  let renewAt: MonotonicMs = 0;
  let warmAt: MonotonicMs = 0;

  const openSession = async (signal: AbortSignal): Promise<Result<WhatsminerSession>> => {
    if (session !== null && target.clock.monotonicMs() < renewAt) return ok(session);
    const answer = await askCgminer(target, 'get_token', undefined, signal);
    if (!answer.ok) return answer;
    const message = messageOf(answer.value.body);
    const [time, salt, newsalt] = ['time', 'salt', 'newsalt'].map((name) => firstText(message, name));
    if (time == null || salt == null || newsalt == null)
      return fail('refused', `the miner gives no token: ${answer.value.status?.message ?? ''}`.slice(0, 200));
    session = openWhatsminerSession(password.reveal(), { time, salt, newsalt });
    renewAt = target.clock.monotonicMs() + TOKEN_MS;
    return ok(session);
  };

  /** One order; a token that has ended is renewed once, a refusal is never repeated. */
  const give = async (order: WhatsminerOrder, signal: AbortSignal): Promise<Result<Applied>> => {
    for (let attempt = 0; ; attempt += 1) {
      const opened = await openSession(signal);
      if (!opened.ok) return opened;
      const request = encryptWhatsminerCommand(opened.value, ...written(order));
      const before = target.clock.monotonicMs();
      const answer = await askCgminerBytes(target, request, signal);
      if (!answer.ok) {
        if (!mayHaveArrived(answer.error)) return answer;
        // Power may be gone before the answer is: silence may be success.
        return ok({
          acknowledged: null,
          sentAt: before,
          limitWatts: order.limitWatts,
          note: answer.error.message.slice(0, 200),
        });
      }
      const reply = decrypted(opened.value, answer.value);
      if (reply.status?.code === 135 && attempt === 0) {
        session = null;
        continue;
      }
      const refusal = refusalOf(reply);
      if (refusal === null)
        return ok({
          acknowledged: true,
          sentAt: answer.value.sentAt,
          limitWatts: order.limitWatts,
          note: reply.status?.message.slice(0, 200) ?? null,
        });
      if (refusal.error.kind === 'unauthorised') session = null;
      return refusal;
    }
  };

  return {
    warm: async (signal) => {
      const now = target.clock.monotonicMs();
      if (session !== null && now < renewAt - WARM_MS) return;
      // A unit that gives none now is asked again when it is time to write, or a while later.
      if (now < warmAt) return;
      warmAt = now + WARM_MS;
      session = null;
      await openSession(signal);
    },
    apply: async (command, fields, service, configuredModel, signal) => {
      const orders = whatsminerOrders(command, {
        fields,
        off: service.off || fields.state === 'sleeping',
        searchOver: service.searchOver,
        configuredModel,
      });
      return orders.ok ? await giveWhatsminerOrders(orders.value, (order) => give(order, signal)) : orders;
    },
  };
}

/** A reply may come encrypted, with either padding, or in clear. */
function decrypted(session: WhatsminerSession, reply: CgminerReply): CgminerReply {
  const sealed = reply.body['enc'];
  if (typeof sealed !== 'string') return reply;
  const text = decryptWhatsminerText(session.aesKey, sealed);
  const inner = text === null ? null : decodeCgminerReply(Buffer.from(text, 'utf8'));
  return inner?.ok === true ? inner.value : { ...reply, status: null };
}

function refusalOf(reply: CgminerReply): ReturnType<typeof fail> | null {
  const { status } = reply;
  if (status === null) return fail('malformed', 'the answer of the miner cannot be decrypted');
  const said = `${status.message} (code ${status.code ?? '?'})`;
  if (status.code === 45)
    return fail(
      'unauthorised',
      `the miner allows no commands: ${said}`,
      'enable API write in the vendor tool and change the default admin password',
    );
  // Code 23 is "I could not decrypt that".
  if (status.code === 23)
    return fail('unauthorised', `the miner rejects the password: ${said}`, 'check the password');
  if (status.letter === 'S' || status.letter === 'I') return null;
  return fail('refused', `the miner refused: ${said}`);
}
