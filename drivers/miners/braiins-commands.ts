import { type CgminerTarget, readCgminer } from '../../protocols/cgminer-client.ts';
import type { Clock } from '../../protocols/clock.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Watts } from '../../protocols/units.ts';
import type { LoadCommand } from '../load-driver.ts';
import { powerTargetRange } from './braiins-decode.ts';
import type { BraiinsWeb } from './braiins-web.ts';
import type { Sent } from './miner-driver.ts';
import { sentOf, stoodAlready } from './sent.ts';

/** What a command needs: the wire, and what the miner said a moment ago. */
export interface BraiinsWrite {
  readonly web: BraiinsWeb;
  readonly clock: Clock;
  readonly paused: boolean;
  readonly constraints: unknown;
}

/**
 * Pauses, resumes, or sets a power target. A target above the greatest becomes the greatest; one below the
 * least is refused. The target is set before the miner is resumed, so that it never works above it.
 *
 * Source: Braiins public API, PUT actions/pause, actions/resume, actions/locate, performance/power-target.
 */
export async function applyToBraiins(
  write: BraiinsWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  if (command.kind === 'locate') return await put(write, 'actions/locate', command.on, null, signal);
  if (command.kind === 'sleep')
    return write.paused
      ? ok(stoodAlready(write.clock, 'already paused'))
      : await put(write, 'actions/pause', undefined, null, signal);
  if (command.kind !== 'run') return fail('unsupported', `Braiins OS is not commanded to "${command.kind}"`);
  let limitWatts: Watts | null = null;
  if (command.limitWatts !== null) {
    const range = powerTargetRange(write.constraints);
    if (range === null) return fail('unsupported', 'this miner tells no range for its power target');
    if (command.limitWatts < range.minWatts)
      return fail(
        'refused',
        `the least power target of this miner is ${range.minWatts} W, not ${command.limitWatts} W`,
        'put it to sleep instead',
      );
    limitWatts = Math.min(range.maxWatts, Math.floor(command.limitWatts));
    const set = await put(write, 'performance/power-target', { watt: limitWatts }, limitWatts, signal);
    // Without an answer nobody knows that the target holds: a paused miner stays paused.
    if (!set.ok || set.value.acknowledged === null || !write.paused) return set;
  }
  if (!write.paused) return ok(stoodAlready(write.clock));
  return await put(write, 'actions/resume', undefined, limitWatts, signal);
}

/** One write; a lost answer may have arrived, so it counts as sent. */
async function put(
  { web, clock }: BraiinsWrite,
  path: string,
  body: unknown,
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const before = clock.monotonicMs();
  return sentOf(await web.write(path, body, signal), before, limitWatts);
}

/**
 * Pauses or resumes on port 4028, which every release takes and which asks for no password. There is no power
 * target there.
 *
 * Source: Braiins OS, cgminer-compatible API, commands pause and resume.
 */
export async function applyToBraiinsPort(
  target: CgminerTarget,
  asleep: boolean,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  if (command.kind !== 'sleep' && command.kind !== 'run')
    return fail('unsupported', `Braiins OS is not commanded to "${command.kind}" on this port`);
  if (command.kind === 'run' && command.limitWatts !== null)
    return fail('unsupported', 'this release takes its power target on its web page only');
  if (command.kind === 'run' && !asleep) return ok(stoodAlready(target.clock));
  const before = target.clock.monotonicMs();
  const verb = command.kind === 'sleep' ? 'pause' : 'resume';
  const answer = await readCgminer(target, verb, undefined, signal);
  return sentOf(
    answer.ok ? ok({ sentAt: answer.value.sentAt, note: answer.value.status?.message ?? null }) : answer,
    before,
    null,
  );
}
