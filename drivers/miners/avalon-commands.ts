import { type CgminerAnswer, type CgminerTarget, readCgminer } from '../../protocols/cgminer-client.ts';
import { sectionRecords } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Seconds } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import { mayHaveArrived } from './cgminer.ts';
import type { Sent } from './miner-driver.ts';
import { firstNumber } from './reply-fields.ts';

/** A miner without the time of day counts from its start; this is 2020. */
const EARLIEST_UNIX_SECONDS: Seconds = 1_577_836_800;
/** The order names when to act, on the miner's own clock; it must lie ahead. Source: the vendor's API manual. */
const AHEAD_SECONDS: Seconds = 5;

/**
 * Soft off or soft on by `ascset`: with the time to act where the miner knows the time, without where it does
 * not or declines (A13 and older). Operating modes have no watts that are known, so no limit is taken.
 *
 * Source: the vendor's API manual; the answer "success softoff:1753434821" recorded by other clients.
 */
export async function applyToAvalon(
  target: CgminerTarget,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  if (command.kind !== 'sleep' && command.kind !== 'run')
    return fail('unsupported', `an Avalon is not commanded to "${command.kind}"`);
  if (command.kind === 'run' && command.limitWatts !== null)
    return fail('unsupported', 'an Avalon takes no power limit', 'put it to sleep instead');
  const option = command.kind === 'sleep' ? 'softoff' : 'softon';
  const version = await readCgminer(target, 'version', undefined, signal);
  if (!version.ok) return version;
  const now = firstNumber(sectionRecords(version.value.body, 'STATUS')[0] ?? {}, 'When');
  if (now !== null && now >= EARLIEST_UNIX_SECONDS) {
    const timed = await order(target, `0,${option},1:${Math.floor(now) + AHEAD_SECONDS}`, signal);
    if (timed.ok || timed.error.kind !== 'refused') return timed;
  }
  return await order(target, `0,${option}`, signal);
}

/** One write; a lost answer may have arrived, so it counts as sent. "failed" may come under any letter. */
async function order(target: CgminerTarget, parameter: string, signal: AbortSignal): Promise<Result<Sent>> {
  const before = target.clock.monotonicMs();
  const answer: Result<CgminerAnswer, ExchangeFailure> = await readCgminer(
    target,
    'ascset',
    parameter,
    signal,
  );
  if (!answer.ok)
    return mayHaveArrived(answer.error)
      ? ok({ acknowledged: null, sentAt: before, limitWatts: null, note: answer.error.message.slice(0, 200) })
      : answer;
  const note = answer.value.status?.message.slice(0, 200) ?? null;
  if (/fail/i.test(note ?? '')) return fail('refused', `ascset ${parameter}: ${note}`);
  return ok({ acknowledged: true, sentAt: answer.value.sentAt, limitWatts: null, note });
}
