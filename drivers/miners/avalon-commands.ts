import type { AvalonMode } from '../../config/miners/avalon-modes.ts';
import { type CgminerAnswer, type CgminerTarget, readCgminer } from '../../protocols/cgminer-client.ts';
import { type CgminerBody, sectionRecords } from '../../protocols/cgminer-reply.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { Seconds, Watts } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import { type AvalonFields, workModeOf } from './avalon-decode.ts';
import type { Sent } from './miner-driver.ts';
import { firstNumber } from './reply-fields.ts';
import { sentOf, stoodAlready } from './sent.ts';

/** A miner without the time of day counts from its start; this is 2020. */
const EARLIEST_UNIX_SECONDS: Seconds = 1_577_836_800;
/** The order names when to act, on the miner's own clock; it must lie ahead. Source: the vendor's API manual. */
const AHEAD_SECONDS: Seconds = 5;

/** What a command needs: the wire, and what the unit said a moment ago. */
export interface AvalonWrite {
  readonly target: CgminerTarget;
  readonly asleep: boolean;
  readonly fields: AvalonFields;
  readonly modes: readonly AvalonMode[];
  /** What `version` said just now, with the miner's time. */
  readonly version: CgminerBody | null;
}

/**
 * Soft off or soft on by `ascset`: with the time to act where the miner knows the time, without where it does
 * not or declines (A13 and older). A limit becomes the strongest operating mode under it, where the watts of the
 * modes are known; the mode is set before the miner is woken.
 *
 * Source: the vendor's API manual; the answer "success softoff:1753434821" recorded by other clients.
 */
export async function applyToAvalon(
  write: AvalonWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const { target, asleep, modes } = write;
  if (command.kind === 'locate') return await order(target, `0,led,1-${command.on ? 1 : 0}`, null, signal);
  if (command.kind === 'sleep') return await soften(write, 'softoff', null, signal);
  if (command.kind !== 'run') return fail('unsupported', `an Avalon is not commanded to "${command.kind}"`);
  if (command.limitWatts === null)
    return asleep ? await soften(write, 'softon', null, signal) : ok(stoodAlready(target.clock));
  const [least] = modes;
  if (least === undefined)
    return fail('unsupported', 'this Avalon takes no power limit', 'put it to sleep instead');
  const mode = modes.findLast(({ watts }) => watts <= command.limitWatts!);
  if (mode === undefined)
    return fail(
      'refused',
      `the weakest mode of this miner draws about ${least.watts} W, not ${command.limitWatts} W`,
      'put it to sleep instead',
    );
  if (workModeOf(write.fields) !== mode.number) {
    const set = await order(target, `0,workmode,set,${mode.number}`, mode.watts, signal);
    // Without an answer nobody knows that the mode holds: a miner at rest stays at rest.
    if (!set.ok || set.value.acknowledged === null || !asleep) return set;
  } else if (!asleep) return ok(stoodAlready(target.clock, `mode ${mode.number} stands already`, mode.watts));
  return await soften(write, 'softon', mode.watts, signal);
}

async function soften(
  { target, version: known }: AvalonWrite,
  option: 'softoff' | 'softon',
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  let version = known;
  if (version === null) {
    const answer = await readCgminer(target, 'version', undefined, signal);
    if (!answer.ok) return answer;
    version = answer.value.body;
  }
  const now = firstNumber(sectionRecords(version, 'STATUS')[0] ?? {}, 'When');
  if (now !== null && now >= EARLIEST_UNIX_SECONDS) {
    const timed = await order(target, `0,${option},1:${Math.floor(now) + AHEAD_SECONDS}`, limitWatts, signal);
    if (timed.ok || timed.error.kind !== 'refused') return timed;
  }
  return await order(target, `0,${option}`, limitWatts, signal);
}

/** One write; a lost answer may have arrived, so it counts as sent. "failed" may come under any letter. */
async function order(
  target: CgminerTarget,
  parameter: string,
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const before = target.clock.monotonicMs();
  const answer: Result<CgminerAnswer, ExchangeFailure> = await readCgminer(
    target,
    'ascset',
    parameter,
    signal,
  );
  if (!answer.ok) return sentOf(answer, before, limitWatts);
  const note = answer.value.status?.message ?? null;
  if (/fail/i.test(note ?? '')) return fail('refused', `ascset ${parameter}: ${note}`.slice(0, 200));
  return sentOf(ok({ sentAt: answer.value.sentAt, note }), before, limitWatts);
}
