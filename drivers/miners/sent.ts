import type { Clock } from '../../protocols/clock.ts';
import { ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import { mayHaveArrived } from './cgminer.ts';
import type { Sent } from './miner-driver.ts';

/** What was asked for stands already: nothing was sent. */
export function stoodAlready(
  clock: Clock,
  note = 'already awake; nothing to change',
  limitWatts: Watts | null = null,
): Sent {
  return { acknowledged: true, sentAt: clock.monotonicMs(), limitWatts, note, stood: true };
}

/** How a write ended: a yes, a no, or an answer that never came although the write may have arrived. */
export function sentOf(
  answer: Result<{ readonly sentAt: MonotonicMs; readonly note: string | null }, ExchangeFailure>,
  beforeAt: MonotonicMs,
  limitWatts: Watts | null,
): Result<Sent> {
  if (answer.ok) {
    const { sentAt, note } = answer.value;
    return ok({ acknowledged: true, sentAt, limitWatts, note: note?.slice(0, 200) ?? null });
  }
  return mayHaveArrived(answer.error)
    ? ok({ acknowledged: null, sentAt: beforeAt, limitWatts, note: answer.error.message.slice(0, 200) })
    : answer;
}
