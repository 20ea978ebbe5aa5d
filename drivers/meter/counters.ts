import type { MonotonicMs, WattHours } from '../../protocols/units.ts';

/** How a counter stopped being the continuation of itself. */
export type CounterBreak = 'reset' | 'rollover' | 'backwards' | 'leap';

/** The most that any one meter of a site carries; a counter that runs faster has leapt. */
const WATTS_MOST = 2e9;
/** What is left after a reset or a rollover is small beside what was there. */
const SMALL_SHARE = 0.01;

/**
 * Watches an energy counter. A difference over a break means nothing: whoever counts energy begins a new segment.
 * Pure but for its memory; times are monotonic.
 */
export class CounterWatch {
  private last: { readonly wattHours: WattHours; readonly at: MonotonicMs } | null = null;

  /** The break between the last sample and this one, or `null`. A sample older than the last is ignored. */
  note(wattHours: WattHours, at: MonotonicMs): CounterBreak | null {
    const { last } = this;
    if (last !== null && at <= last.at) return null;
    this.last = { wattHours, at };
    if (last === null) return null;
    const delta = wattHours - last.wattHours;
    if (delta >= 0) {
      const mostWattHours = (WATTS_MOST * (at - last.at)) / 3_600_000;
      return delta > mostWattHours + 1 ? 'leap' : null;
    }
    // The figures of float counters waver in their last digits.
    if (-delta <= Math.abs(last.wattHours) * 2 ** -22) return null;
    if (wattHours > last.wattHours * SMALL_SHARE) return 'backwards';
    return isNearRollover(last.wattHours) ? 'rollover' : 'reset';
  }
}

/** Whether a counter stood just below a power of ten or of two, where displays and registers begin again. */
function isNearRollover(wattHours: WattHours): boolean {
  const nearestTen = 10 ** Math.ceil(Math.log10(wattHours));
  if (wattHours > nearestTen * (1 - SMALL_SHARE)) return true;
  return [1, 10, 100, 1000, 10_000, 100_000].some((step) =>
    [2 ** 31, 2 ** 32].some(
      (range) => wattHours > range * step * (1 - SMALL_SHARE) && wattHours <= range * step,
    ),
  );
}
