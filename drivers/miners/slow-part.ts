import type { Clock } from '../../protocols/clock.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

/** Boards, pools, fans and logs change slowly and cost a connection each. */
const SLOW_MS: Milliseconds = 30_000;

/**
 * The part of a reading that is not asked anew each time: what control decides by (state, hashrate, power, limit,
 * identity) never belongs to it.
 */
export interface SlowPart<T> {
  /** What was kept, while it is young enough; else `null`: ask. */
  fresh(): T | null;
  keep(value: T): void;
}

/** The slow part of one device's readings. */
export function createSlowPart<T>(clock: Clock): SlowPart<T> {
  let kept: { readonly value: T; readonly until: MonotonicMs } | null = null;
  return {
    fresh: () => (kept !== null && clock.monotonicMs() < kept.until ? kept.value : null),
    keep: (value) => {
      kept = { value, until: clock.monotonicMs() + SLOW_MS };
    },
  };
}
