import { setTimeout as delay } from 'node:timers/promises';
import type { EpochMs, Milliseconds, MonotonicMs } from './units.ts';

/** Time as a parameter: the process passes `systemClock`, tests a virtual one. */
export interface Clock {
  /** Never stepped. For ages, deadlines, durations. */
  monotonicMs(): MonotonicMs;
  /** May be stepped. For stamps and expiry of what people wrote. */
  epochMs(): EpochMs;
  /** Resolves after `ms`, or as soon as `signal` aborts; never rejects. Look at `signal.aborted` afterwards. */
  sleep(ms: Milliseconds, signal: AbortSignal): Promise<void>;
  /** Calls `callback` once after `ms`; the returned function takes it back. */
  after(ms: Milliseconds, callback: () => void): () => void;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  epochMs: () => Date.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(Math.max(0, ms), undefined, { signal });
    } catch {
      // Aborted: the caller looks at the signal.
    }
  },
  after: (ms, callback) => {
    const timer = setTimeout(callback, Math.max(0, ms));
    return () => clearTimeout(timer);
  },
};
