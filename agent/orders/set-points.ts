import type { EpochMs, LimitId, Watts } from '../../protocols/units.ts';
import { type BookState, isInForce, type Lease, leaseWatts } from './book.ts';

/** What is to be held at a limit at this moment: at, not only under. */
export interface SetPointInForce {
  /** On its way there, if it has a ramp. */
  readonly targetWatts: Watts;
  /** What counts as held: so far above and below. */
  readonly bandWatts: Watts;
  /** Where a ramp ends; `null`: without one nobody has said where it goes. */
  readonly headingWatts: Watts | null;
  /** The limit without the set point: its rating and other leases. Whatever is followed, it is never passed. */
  readonly ceilingWatts: Watts;
}

/** The set points that decide: where a set point's limit is the lowest of all in force. Pure. */
export function setPointsInForce(
  book: BookState,
  limits: readonly { readonly id: LimitId; readonly ratingWatts: Watts }[],
  now: EpochMs,
): Map<LimitId, SetPointInForce> {
  const found = new Map<LimitId, SetPointInForce>();
  if (book.leases.every((lease) => lease.setPoint === undefined)) return found;
  for (const { id, ratingWatts } of limits) {
    const here = book.leases.filter((lease) => lease.limit === id && isInForce(lease, now));
    let lowest: Lease | null = null;
    let ceilingWatts = ratingWatts;
    let watts = ratingWatts;
    for (const lease of here) {
      const its = leaseWatts(lease, now);
      if (its < watts) {
        ceilingWatts = watts;
        watts = its;
        lowest = lease;
      } else ceilingWatts = Math.min(ceilingWatts, its);
    }
    if (lowest?.setPoint === undefined) continue;
    const { targetWatts, bandWatts, rampWattsPerMinute } = lowest.setPoint;
    // Falling by its ramp the limit is the line itself, rising and arrived it is the band above it.
    const falls = watts > lowest.watts;
    found.set(id, {
      targetWatts: falls ? watts : Math.min(targetWatts, watts - Math.min(bandWatts, watts)),
      bandWatts,
      headingWatts: rampWattsPerMinute === null ? null : targetWatts,
      ceilingWatts,
    });
  }
  return found;
}
