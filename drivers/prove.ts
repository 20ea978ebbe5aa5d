import type { Clock } from '../protocols/clock.ts';
import type { Failure } from '../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../protocols/units.ts';
import type { Applied, LoadCommand, LoadDriver, LoadReading, MinerReading } from './load-driver.ts';

/**
 * What became of a command: `verified` a later reading shows it; `pending` sent, not shown yet, and there was
 * no more time; `refused` the device or a rule said no; `contradicted` later readings show otherwise after
 * the device has had all the time it needs; `unknown` no answer and no reading.
 */
export type ProofOutcome = 'verified' | 'pending' | 'refused' | 'contradicted' | 'unknown';

export interface Proof {
  readonly outcome: ProofOutcome;
  /** What the outcome rests on, one sentence. */
  readonly evidence: string;
  readonly waitedMs: Milliseconds;
  readonly before: LoadReading | null;
  /** The last reading requested after the command was sent. */
  readonly after: LoadReading | null;
  /** What sending it gave; `null` when nothing was sent. */
  readonly applied: Applied | null;
  /** Why it was not sent. */
  readonly failure: Failure | null;
}

/** What one reading says about a command: it is done, not done, or nothing either way. */
export type Judgement = 'shown' | 'not-shown' | 'silent';

/** Watts that count as rest when nothing is known of before. */
const REST_WATTS = 200;
/** Share of nominal hashrate from which a miner counts as at work; the deepest throttle is above it. */
const WORKING_SHARE = 0.25;
/** A reported power may stray this far above its limit. */
const LIMIT_TOLERANCE = 1.03;
/** An estimate from the hashrate is no better than this. */
const ESTIMATE_TOLERANCE = 1.08;

/**
 * Judges a command by one reading that was requested after it was sent. Sleep needs the state and, where
 * power is reported, the watts: hashrate 0 alone proves nothing about power.
 */
export function judge(command: LoadCommand, before: LoadReading | null, reading: LoadReading): Judgement {
  if (reading.kind === 'gpu-node') {
    if (command.kind !== 'cap') return 'silent';
    const enforced = reading.gpus.find(({ uuid }) => uuid === command.uuid)?.enforcedLimitWatts ?? null;
    if (enforced === null) return 'silent';
    return enforced <= command.limitWatts ? 'shown' : 'not-shown';
  }
  if (reading.state === 'unknown') return 'silent';
  switch (command.kind) {
    case 'sleep':
      return judgeSleep(before, reading);
    case 'run':
      return judgeRun(command.limitWatts, reading);
    default:
      return 'silent';
  }
}

function judgeSleep(before: LoadReading | null, reading: MinerReading): Judgement {
  if (reading.state !== 'sleeping') return 'not-shown';
  if (reading.powerSource !== 'reported' || reading.powerWatts === null) return 'shown';
  const restWatts = Math.max(REST_WATTS, (before?.powerWatts ?? 0) * 0.1);
  return reading.powerWatts <= restWatts ? 'shown' : 'not-shown';
}

function judgeRun(limitWatts: number | null, reading: MinerReading): Judgement {
  if (reading.state !== 'hashing' && reading.state !== 'tuning') return 'not-shown';
  // The first hashes of a start say little: it is at work once it is well on its way.
  const leastThs = (reading.nominalHashrateThs ?? 0) * WORKING_SHARE;
  if ((reading.hashrateThs ?? 0) <= leastThs) return 'not-shown';
  if (limitWatts === null) return 'shown';
  if (reading.powerWatts !== null && reading.powerSource === 'reported')
    return reading.powerWatts <= limitWatts * LIMIT_TOLERANCE ? 'shown' : 'not-shown';
  // A set point read back says what was asked for, not what is drawn: the estimate must agree.
  if (reading.powerLimitWatts !== null && reading.powerLimitWatts > limitWatts) return 'not-shown';
  if (reading.powerWatts === null) return 'silent';
  return reading.powerWatts <= limitWatts * ESTIMATE_TOLERANCE ? 'shown' : 'not-shown';
}

/** How long this device may take to show a command, at the slow end. */
export function windowMs(command: LoadCommand, before: LoadReading | null): Milliseconds {
  const control = before?.control;
  if (control === undefined) return DEFAULT_WINDOW_MS;
  if (command.kind === 'sleep') return control.sleepMs ?? DEFAULT_WINDOW_MS;
  const works = before?.kind === 'miner' && (before.state === 'hashing' || before.state === 'tuning');
  return (works || command.kind === 'cap' ? control.changeMs : control.wakeMs) ?? DEFAULT_WINDOW_MS;
}

const DEFAULT_WINDOW_MS: Milliseconds = 60_000;
/** Beyond the slow end, for the answer that is on its way. */
const GRACE_MS: Milliseconds = 10_000;

/**
 * Sends a command and watches readings until they show it, show otherwise, or `signal` ends the wait.
 * Only readings requested after the command was sent count.
 */
export async function prove(
  driver: LoadDriver,
  command: LoadCommand,
  before: LoadReading | null,
  clock: Clock,
  signal: AbortSignal,
): Promise<Proof> {
  const startedAt = clock.monotonicMs();
  const sent = await driver.apply(command, signal);
  const proof = (outcome: ProofOutcome, evidence: string, after: LoadReading | null): Proof => ({
    outcome,
    evidence,
    waitedMs: clock.monotonicMs() - startedAt,
    before,
    after,
    applied: sent.ok ? sent.value : null,
    failure: sent.ok ? null : sent.error,
  });
  if (!sent.ok) return proof(isNo(sent.error) ? 'refused' : 'unknown', sent.error.message, null);
  if (command.kind === 'locate')
    return sent.value.acknowledged === true
      ? proof('pending', 'the device said yes; no reading tells of its light: look at it', null)
      : proof('unknown', 'no answer came, and no reading tells of its light: look at it', null);
  const effective = effectiveCommand(command, sent.value);
  const stepMs = Math.min(5000, Math.max(1000, windowMs(command, before) / 20));
  let after: LoadReading | null = null;
  let silence: Failure | null = null;
  for (;;) {
    if (signal.aborted) break;
    const read = await driver.read(signal);
    if (!read.ok) silence = read.error;
    else if (read.value.requestedAt >= sent.value.sentAt) {
      after = read.value;
      if (judge(effective, before, after) === 'shown')
        return proof('verified', shownBy(after, sent.value.sentAt), after);
    }
    if (clock.monotonicMs() >= sent.value.sentAt + windowMs(command, before ?? after) + GRACE_MS) {
      if (after === null) break;
      return judge(effective, before, after) === 'not-shown'
        ? proof('contradicted', `${answerOf(sent.value)}, but ${shownBy(after, sent.value.sentAt)}`, after)
        : proof('unknown', `readings say nothing about it: ${shownBy(after, sent.value.sentAt)}`, after);
    }
    await clock.sleep(stepMs, signal);
  }
  if (after !== null) return proof('pending', `not shown yet: ${shownBy(after, sent.value.sentAt)}`, after);
  const why = silence === null ? 'no reading came' : silence.message;
  return proof(sent.value.acknowledged === true && signal.aborted ? 'pending' : 'unknown', why, null);
}

/** What must be seen: where the device took less than was asked, that. */
function effectiveCommand(command: LoadCommand, applied: Applied): LoadCommand {
  if (command.kind !== 'run' || command.limitWatts === null || applied.limitWatts === null) return command;
  return { ...command, limitWatts: Math.min(command.limitWatts, Math.max(applied.limitWatts, 1)) };
}

function isNo(failure: Failure): boolean {
  return ['refused', 'unsupported', 'unauthorised', 'wrong-device', 'busy'].includes(failure.kind);
}

function answerOf(applied: Applied): string {
  return applied.acknowledged === true ? 'the device said yes' : 'no answer came';
}

function shownBy(reading: LoadReading, sentAt: MonotonicMs): string {
  const afterMs = Math.round(reading.requestedAt - sentAt);
  const watts = reading.powerWatts === null ? 'power unknown' : `${Math.round(reading.powerWatts)} W`;
  const source = reading.kind === 'miner' && reading.powerSource === 'estimated' ? ' estimated' : '';
  const state = reading.kind === 'miner' ? `${reading.state}, ` : '';
  return `reading ${afterMs} ms after the command: ${state}${watts}${source}`;
}
