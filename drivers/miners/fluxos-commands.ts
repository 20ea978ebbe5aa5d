import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import type { Clock } from '../../protocols/clock.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import { fluxosRange, isFluxosAsleep } from './fluxos-decode.ts';
import type { Sent } from './miner-driver.ts';
import { firstNumber, firstText, mergedRecords } from './reply-fields.ts';
import { sentOf, stoodAlready } from './sent.ts';

/** One page by its token: read without a body, else written. A no is a failure that did not act. */
export type FluxosPage = (
  name: string,
  body: CgminerBody | undefined,
  signal: AbortSignal,
) => Promise<
  Result<
    { readonly sentAt: MonotonicMs; readonly note: string | null; readonly body: CgminerBody },
    ExchangeFailure
  >
>;

/** What a command needs. */
export interface FluxosWrite {
  readonly page: FluxosPage;
  readonly clock: Clock;
  readonly greatestWatts: Watts | null;
  /** By its latest reading it works: then it is put to sleep without a further question. */
  readonly works: boolean;
}

/**
 * Sleeps, wakes, or sets a power target. The target is set before the miner is woken.
 *
 * Source: the vendor's API manual, POST /mode and /led; each body names its page in `command`.
 */
export async function applyToFluxos(
  write: FluxosWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const { page, clock } = write;
  if (command.kind === 'locate')
    return await post(write, { command: 'led', code: command.on ? 3 : 2 }, null, signal);
  if (command.kind !== 'sleep' && command.kind !== 'run')
    return fail('unsupported', `FluxOS is not commanded to "${command.kind}"`);
  const sleep = () => post(write, { command: 'mode', sleep: 'on' }, null, signal);
  if (command.kind === 'sleep' && write.works) return await sleep();
  const read = await page('mode', undefined, signal);
  if (!read.ok) return read;
  const mode = mergedRecords(read.value.body, 'Mode');
  const asleep = isFluxosAsleep(mode);
  if (command.kind === 'sleep') return asleep ? ok(stoodAlready(clock, 'already asleep')) : await sleep();
  const wake = (limitWatts: Watts | null) =>
    post(write, { command: 'mode', sleep: 'off' }, limitWatts, signal);
  if (command.limitWatts === null) return asleep ? await wake(null) : ok(stoodAlready(clock));
  const range = fluxosRange(write.greatestWatts);
  if (range === null) return fail('unsupported', 'this miner has not told yet what it draws at work');
  if (command.limitWatts < range.minWatts)
    return fail(
      'refused',
      `${command.limitWatts} W is under the ${range.minWatts} W that this miner is held to`,
      'put it to sleep instead',
    );
  const power = Math.min(range.maxWatts, Math.floor(command.limitWatts));
  const stands = firstText(mode, 'Mode') === 'custom' && firstNumber(mode, 'Power') === power;
  if (stands && !asleep) return ok(stoodAlready(clock, `${power} W stands already`, power));
  if (!stands) {
    const set = await post(write, { command: 'mode', mode: 'custom', tune: 'power', power }, power, signal);
    // Without an answer nobody knows that the target holds: a sleeping miner stays asleep.
    if (!set.ok || set.value.acknowledged === null || !asleep) return set;
  }
  return await wake(power);
}

async function post(
  { page, clock }: FluxosWrite,
  body: CgminerBody & { readonly command: string },
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const before = clock.monotonicMs();
  return sentOf(await page(body.command, body, signal), before, limitWatts);
}
