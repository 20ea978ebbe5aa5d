import { findMinerModel } from '../../config/miners/models.ts';
import { WHATSMINER_LEAST_PERCENT } from '../../config/miners/timing.ts';
import { askCgminer, askCgminerBytes, type CgminerTarget } from '../../protocols/cgminer-client.ts';
import { type CgminerReply, decodeCgminerReply } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import {
  decryptWhatsminerText,
  encryptWhatsminerCommand,
  openWhatsminerSession,
  type WhatsminerSession,
} from '../../protocols/whatsminer-crypto.ts';
import type { Applied, LoadCommand } from '../load-driver.ts';
import { mayHaveArrived } from './cgminer.ts';
import { firstText, type MinerFields } from './reply-fields.ts';
import {
  isOff,
  isSearchOver,
  messageOf,
  percentBaseWatts,
  type WhatsminerReplies,
} from './whatsminer-decode.ts';

/** Writes to one Whatsminer; keeps its token. */
export interface WhatsminerWriter {
  apply(
    command: LoadCommand,
    fields: MinerFields,
    replies: WhatsminerReplies,
    configuredModel: string | null,
    signal: AbortSignal,
  ): Promise<Result<Applied>>;
}

/** Tokens live 30 min; renewed a little earlier. Source: Whatsminer API 2.0.x. */
const TOKEN_MS = 25 * 60_000;

/** One encrypted order. */
interface Order {
  readonly command: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly limitWatts: Watts | null;
}

/** Answered before the power goes, else perhaps not at all. */
const POWER_OFF: Order = { command: 'power_off', fields: { respbefore: 'true' }, limitWatts: null };

/** A writer for the miner at `target`. The password is revealed only while a token is made. */
export function createWhatsminerWriter(
  target: CgminerTarget,
  password: { reveal(): string },
): WhatsminerWriter {
  let session: WhatsminerSession | null = null;
  let renewAt: MonotonicMs = 0;

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
  const give = async (order: Order, signal: AbortSignal): Promise<Result<Applied>> => {
    for (let attempt = 0; ; attempt += 1) {
      const opened = await openSession(signal);
      if (!opened.ok) return opened;
      const request = encryptWhatsminerCommand(opened.value, order.command, order.fields);
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
    apply: async (command, fields, replies, configuredModel, signal) => {
      const orders = ordersFor(command, fields, replies, configuredModel);
      if (!orders.ok) return orders;
      let last: Result<Applied> = fail('unsupported', 'nothing to send');
      for (const order of orders.value) {
        last = await give(order, signal);
        if (last.ok) continue;
        // Awake without the limit that was asked for would draw more than allowed: off again.
        if (order !== orders.value[0] && orders.value[0]?.command === 'power_on')
          await give(POWER_OFF, signal);
        return last;
      }
      return last;
    },
  };
}

/**
 * The orders that a command amounts to. Under the limit in force a percentage acts within seconds and is
 * forgotten at the next restart; above it, while the frequency search runs, or asleep, the lasting limit is
 * set, which restarts the miner.
 */
export function ordersFor(
  command: LoadCommand,
  fields: MinerFields,
  replies: WhatsminerReplies,
  configuredModel: string | null,
): Result<readonly Order[]> {
  const order = (name: string, values: Record<string, string>, limitWatts: Watts | null = null): Order => ({
    command: name,
    fields: values,
    limitWatts,
  });
  if (command.kind === 'sleep') return ok([POWER_OFF]);
  if (command.kind === 'locate')
    return ok([
      command.on
        ? order('set_led', { color: 'red', period: '60', duration: '20', start: '0' })
        : order('set_led', { param: 'auto' }),
    ]);
  if (command.kind !== 'run')
    return fail('unsupported', `a Whatsminer is not commanded to "${command.kind}"`);
  const known = findMinerModel(fields.model) ?? findMinerModel(configuredModel);
  const base = percentBaseWatts(fields.powerLimitWatts, known);
  const off = isOff(replies) === true || fields.state === 'sleeping';
  const wake = off ? [order('power_on', {}, command.limitWatts)] : [];
  const { limitWatts } = command;
  if (limitWatts === null) return ok(off ? wake : [order('set_power_pct', { percent: '100' })]);
  if (base === null)
    return fail('unsupported', 'neither a power limit nor the model of this Whatsminer is known');
  const percent = Math.min(100, Math.floor((limitWatts / base) * 100));
  if (percent < WHATSMINER_LEAST_PERCENT)
    return fail(
      'refused',
      `${limitWatts} W is under ${WHATSMINER_LEAST_PERCENT} % of ${base} W`,
      'put it to sleep instead',
    );
  if (off) {
    // A percentage does not survive the start, so only a lasting limit can hold from the first watt on.
    return limitWatts >= base ? ok(wake) : ok([...wake, lastingLimit(limitWatts)]);
  }
  if (limitWatts > base * 1.01 && known !== null && base < known.nominalWatts)
    return ok([lastingLimit(Math.min(limitWatts, known.nominalWatts))]);
  return isSearchOver(replies)
    ? ok([order('set_power_pct', { percent: String(percent) }, (base * percent) / 100)])
    : ok([lastingLimit(limitWatts)]);

  function lastingLimit(watts: Watts): Order {
    const whole = Math.floor(watts);
    return order('adjust_power_limit', { power_limit: String(whole) }, whole);
  }
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
