import { z } from 'zod';
import type { EpochMs, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';

/**
 * `{"target":0|100,"timestamp":<unix s>}` on a topic of the operator's choice: a level, repeated as a heartbeat.
 * 0 lowers at once, 100 gives back after five seconds of nothing else. Silence holds, or lowers where configured;
 * it never raises. Source of the form: MaestroOS over MQTT as proto-fleet's curtailment receiver takes it.
 */

const message = z.object({ target: z.union([z.literal(0), z.literal(100)]), timestamp: z.number().finite() });

/** Bytes of one message, at most. */
const MAXIMUM_BYTES = 1024;
/** A timestamp further off than this is not believed. */
const CLOCK_SKEW_MS: Milliseconds = 86_400_000;
const RAISE_AFTER_MS: Milliseconds = 5000;
/** A level that is repeated is ordered again at most this often. */
const REPEAT_MS: Milliseconds = 30_000;

export interface TargetRules {
  readonly limit: LimitId;
  /** In force at `target: 0`. */
  readonly offWatts: Watts;
  readonly silence: 'hold' | 'off';
  readonly silenceAfterMs: Milliseconds;
  readonly withinMs: Milliseconds;
}

/** What follows from the level: a limit, or giving it back. */
export type TargetOrder =
  | {
      readonly type: 'set_limit';
      readonly args: { readonly limit: LimitId; readonly watts: Watts; readonly withinMs: Milliseconds };
    }
  | { readonly type: 'restore'; readonly args: { readonly limit: LimitId } };

/** One source. Time comes in; nothing is sent from here: `receive` and `cycle` give the order that is due. */
export class TargetSource {
  private readonly rules: TargetRules;
  private readonly startedAt: MonotonicMs;
  private heardAt: MonotonicMs | null = null;
  private newest: { timestamp: number; target: 0 | 100 } | null = null;
  private raiseAt: MonotonicMs | null = null;
  private orderedAt: MonotonicMs | null = null;
  private level: 0 | 100 | null = null;
  private silent = false;

  constructor(rules: TargetRules, now: MonotonicMs) {
    this.rules = rules;
    this.startedAt = now;
  }

  /** The source has said nothing for too long. */
  get isSilent(): boolean {
    return this.silent;
  }

  /** Takes a message in; gives the order that is due at once, or `null`. Anything that is not right is ignored. */
  receive(payload: Uint8Array, retained: boolean, now: MonotonicMs, epochMs: EpochMs): TargetOrder | null {
    // A retained level may be days old: only what is said now counts.
    if (retained || payload.length > MAXIMUM_BYTES) return null;
    const parsed = parse(payload);
    if (parsed === null || Math.abs(parsed.timestamp * 1000 - epochMs) > CLOCK_SKEW_MS) return null;
    if (this.newest !== null) {
      if (parsed.timestamp < this.newest.timestamp) return null;
      if (parsed.timestamp === this.newest.timestamp && parsed.target === this.newest.target) return null;
    }
    this.newest = parsed;
    this.heardAt = now;
    this.silent = false;
    if (parsed.target === 0) {
      this.raiseAt = null;
      return this.lower(now);
    }
    if (this.level !== 100) this.raiseAt ??= now + RAISE_AFTER_MS;
    return null;
  }

  /** Once a cycle: what the passing of time brings. */
  cycle(now: MonotonicMs): TargetOrder | null {
    const { silence, silenceAfterMs, limit } = this.rules;
    if (now - (this.heardAt ?? this.startedAt) > silenceAfterMs) {
      this.silent = true;
      // What was only about to rise does not, when the voice that asked for it is gone.
      this.raiseAt = null;
      return silence === 'off' && this.level !== 0 ? this.lower(now) : null;
    }
    if (this.raiseAt === null || now < this.raiseAt) return null;
    this.raiseAt = null;
    this.level = 100;
    this.orderedAt = now;
    return { type: 'restore', args: { limit } };
  }

  private lower(now: MonotonicMs): TargetOrder | null {
    if (this.level === 0 && this.orderedAt !== null && now - this.orderedAt < REPEAT_MS) return null;
    this.level = 0;
    this.orderedAt = now;
    const { limit, offWatts, withinMs } = this.rules;
    return { type: 'set_limit', args: { limit, watts: offWatts, withinMs } };
  }
}

function parse(payload: Uint8Array): { target: 0 | 100; timestamp: number } | null {
  try {
    const parsed = message.safeParse(JSON.parse(Buffer.from(payload).toString('utf8')));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
