import type { CgminerAnswer } from '../../protocols/cgminer-client.ts';
import type { CgminerBody } from '../../protocols/cgminer-reply.ts';
import { sectionRecords } from '../../protocols/cgminer-reply.ts';
import type { Clock } from '../../protocols/clock.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { ExchangeFailure } from '../../protocols/tcp-exchange.ts';
import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Applied, LoadCommand } from '../load-driver.ts';
import { mayHaveArrived } from './cgminer.ts';
import { isCurtailed, type LuxosProfile } from './luxos-decode.ts';
import type { Sent } from './miner-driver.ts';
import { firstText, flagOf } from './reply-fields.ts';

/** One command to a LuxOS miner, kept a second apart from the one before. */
export type LuxosAsk = (
  command: string,
  parameter: string | undefined,
  signal: AbortSignal,
) => Promise<Result<CgminerAnswer, ExchangeFailure>>;

/** What a command needs: the wire, and what the miner said a moment ago. */
export interface LuxosWrite {
  readonly ask: LuxosAsk;
  readonly clock: Clock;
  readonly config: CgminerBody;
  readonly profiles: readonly LuxosProfile[];
}

/** The strongest profile at or under `limitWatts`, or `null`. */
export function profileUnder(profiles: readonly LuxosProfile[], limitWatts: Watts): LuxosProfile | null {
  return profiles.findLast(({ watts }) => watts <= limitWatts) ?? null;
}

/**
 * Sleeps, wakes or sets a profile, inside a session that is always given back. A limit becomes the next
 * profile below; automatic thermal management is kept from moving above it.
 *
 * Source: docs.luxor.tech, commands logon, logoff, curtail, profileset, atmset. `ledset` as open clients send it; no
 * recording of its reply is at hand.
 */
export async function applyToLuxos(
  write: LuxosWrite,
  command: LoadCommand,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  if (command.kind === 'locate')
    return await inSession(write, signal, (sessionId) =>
      order(write, 'ledset', `${sessionId},red,${command.on ? 'blink' : 'auto'}`, null, signal),
    );
  if (command.kind !== 'sleep' && command.kind !== 'run')
    return fail('unsupported', `LuxOS is not commanded to "${command.kind}"`);
  let profile: LuxosProfile | null = null;
  if (command.kind === 'run' && command.limitWatts !== null) {
    profile = profileUnder(write.profiles, command.limitWatts);
    if (profile === null)
      return fail(
        'refused',
        `no profile of this miner draws ${command.limitWatts} W or less`,
        'put it to sleep instead',
      );
  }
  return await inSession(write, signal, async (sessionId) => {
    if (command.kind === 'sleep') return await curtail(write, sessionId, 'sleep', signal);
    return await run(write, sessionId, profile, signal);
  });
}

async function run(
  write: LuxosWrite,
  sessionId: string,
  profile: LuxosProfile | null,
  signal: AbortSignal,
): Promise<Result<Sent>> {
  const asleep = isCurtailed(write.config);
  if (!asleep)
    return profile === null
      ? ok({ ...applied(write.clock.monotonicMs(), null, 'already awake; nothing to change'), stood: true })
      : await setProfile(write, sessionId, profile, signal);
  if (profile === null) return await curtail(write, sessionId, 'wakeup', signal);
  // A profile set while asleep holds from the first hash on; some versions refuse that.
  const early = await setProfile(write, sessionId, profile, signal);
  if (!early.ok && early.error.kind !== 'refused') return early;
  const woken = await curtail(write, sessionId, 'wakeup', signal);
  if (!woken.ok || early.ok) return woken.ok ? ok({ ...woken.value, limitWatts: profile.watts }) : woken;
  const late = await setProfile(write, sessionId, profile, signal);
  if (late.ok) return late;
  // Awake without the limit that was asked for would draw more than allowed: back to sleep.
  await curtail(write, sessionId, 'sleep', signal);
  return fail('refused', `the miner took no profile (${late.error.message}) and was put back to sleep`);
}

async function setProfile(
  write: LuxosWrite,
  sessionId: string,
  profile: LuxosProfile,
  signal: AbortSignal,
): Promise<Result<Applied>> {
  const managed = flagOf(write.config['IsAtmEnabled']) === true;
  if (managed) {
    const off = await write.ask('atmset', `${sessionId},enabled=false`, signal);
    if (!off.ok) return off;
  }
  const set = await order(write, 'profileset', `${sessionId},${profile.name}`, profile.watts, signal);
  if (!managed) return set;
  // Thermal management goes on, but never above the profile that was ordered.
  if (set.ok) await write.ask('atmset', `${sessionId},max_profile=${profile.name}`, signal);
  await write.ask('atmset', `${sessionId},enabled=true`, signal);
  return set;
}

function curtail(
  write: LuxosWrite,
  sessionId: string,
  action: 'sleep' | 'wakeup',
  signal: AbortSignal,
): Promise<Result<Applied>> {
  return order(write, 'curtail', `${sessionId},${action}`, null, signal);
}

/** One write; a lost answer may have arrived, so it counts as sent. */
async function order(
  write: LuxosWrite,
  command: string,
  parameter: string,
  limitWatts: Watts | null,
  signal: AbortSignal,
): Promise<Result<Applied>> {
  const before = write.clock.monotonicMs();
  const answer = await write.ask(command, parameter, signal);
  if (answer.ok)
    return ok(applied(answer.value.sentAt, limitWatts, answer.value.status?.message ?? null, true));
  return mayHaveArrived(answer.error) ? ok(applied(before, limitWatts, answer.error.message, null)) : answer;
}

function applied(
  sentAt: MonotonicMs,
  limitWatts: Watts | null,
  note: string | null,
  acknowledged: boolean | null = true,
): Applied {
  return { acknowledged, sentAt, limitWatts, note: note?.slice(0, 200) ?? null };
}

/** Logs on, works, logs off whatever happened. The session is a turn, not a password: 60 s after its last use it ends. */
async function inSession(
  write: LuxosWrite,
  signal: AbortSignal,
  work: (sessionId: string) => Promise<Result<Sent>>,
): Promise<Result<Sent>> {
  const logon = await write.ask('logon', '', signal);
  if (!logon.ok)
    return logon.error.kind === 'refused'
      ? fail(
          'refused',
          `the miner opens no session: ${logon.error.message}`,
          'another program may hold its only session; it ends 60 s after its last use',
        )
      : logon;
  const session = sectionRecords(logon.value.body, 'SESSION')[0];
  const sessionId = session === undefined ? null : firstText(session, 'SessionID');
  if (sessionId === null) return fail('malformed', 'the miner opened a session without an id');
  const result = await work(sessionId);
  // Even when the caller gave up: a session left open blocks the next write for a minute.
  await write.ask('logoff', sessionId, new AbortController().signal);
  return result;
}
