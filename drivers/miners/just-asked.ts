import type { Clock } from '../../protocols/clock.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

/** An answer this old is what the device says now: the identity check of a write comes right before the write. */
const NOW_MS: Milliseconds = 2000;

/** Keeps one answer for a moment, so that a write does not ask again what its identity check was just told. */
export interface JustAsked<T> {
  keep(value: T): void;
  /** The answer, once, if it is of just now. */
  take(): T | null;
}

/** A place for one answer of one device. */
export function createJustAsked<T>(clock: Clock): JustAsked<T> {
  let kept: { readonly value: T; readonly at: MonotonicMs } | null = null;
  return {
    keep: (value) => {
      kept = { value, at: clock.monotonicMs() };
    },
    take: () => {
      const now = kept !== null && clock.monotonicMs() - kept.at <= NOW_MS ? kept.value : null;
      kept = null;
      return now;
    },
  };
}
