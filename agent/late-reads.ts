import type { Milliseconds, MonotonicMs } from '../protocols/units.ts';

/** When the loop decides. */
export interface DecisionTimes {
  /** The next decision. */
  nextAt(): MonotonicMs;
  readonly periodMs: Milliseconds;
}

/** Kept free between the expected end of a read and the decision. Source: OpenEMS keeps 20 ms. */
const RESERVE_MS: Milliseconds = 20;
const REMEMBERED = 8;
/** Reads that begin in one turn are sent in one turn: the process wakes once for all meters, not once for each. */
const TOGETHER_MS: Milliseconds = 5;

/**
 * When a read should begin so that its sample is fresh when the loop decides: as late as the last reads allow, on
 * a grid that ends at the decision. Learns how long reads take; a read that is slow once is allowed for a while.
 */
export class LateReads {
  private readonly decisions: DecisionTimes;
  private readonly durations: Milliseconds[] = [];

  constructor(decisions: DecisionTimes) {
    this.decisions = decisions;
  }

  /** Notes how long a read took. */
  took(durationMs: Milliseconds): void {
    this.durations.push(durationMs);
    if (this.durations.length > REMEMBERED) this.durations.shift();
  }

  /** The start of the read after the one that began at `lastStartAt`, for reads every `intervalMs`. */
  next(lastStartAt: MonotonicMs, intervalMs: Milliseconds, now: MonotonicMs): MonotonicMs {
    const { periodMs } = this.decisions;
    // Even steps that end at the decision, never more of them than asked for.
    const grid = intervalMs >= periodMs ? periodMs : periodMs / Math.floor(periodMs / intervalMs);
    const pace = Math.max(intervalMs, grid);
    const neededMs = Math.max(0, ...this.durations) + RESERVE_MS;
    const leadMs = Math.min(Math.ceil(neededMs / TOGETHER_MS) * TOGETHER_MS, periodMs);
    const last = this.decisions.nextAt() - leadMs;
    const earliest = Math.max(now, lastStartAt + pace - grid / 2);
    // The latest point of the grid before the decision is `last`; the others lie whole steps away from it.
    return last + Math.ceil((earliest - last) / grid) * grid;
  }
}
