import type { EpochMs } from '../../protocols/units.ts';
import type { Condition } from '../site/alarms.ts';
import type { BookState } from './book.ts';

/** Alarms of orders: leases held past their end, holds past theirs. Pure. */
export function orderConditions(book: BookState, now: EpochMs): Condition[] {
  const overdue = book.leases
    .filter((lease) => lease.overdue)
    .map((lease) => ({
      code: 'lease-overdue',
      severity: 'major' as const,
      target: lease.limit,
      message: `The limit of ${lease.watts} W that ${lease.issuer} set on ${lease.limit} is past its end and still held.`,
      nextStep: `Ask ${lease.issuer} to restore it, or run \`switchyard limit clear ${lease.limit}\`.`,
    }));
  const held = book.holds
    .filter((hold) => hold.until !== null && hold.until <= now)
    .map((hold) => ({
      code: 'hold-overdue',
      severity: 'major' as const,
      target: hold.target,
      message: `${hold.who} holds ${hold.target} past the time named (${hold.why}). Nothing is woken until it is released.`,
      nextStep: `Make sure nobody is at work there, then run \`switchyard release ${hold.target}\`.`,
    }));
  return [...overdue, ...held];
}
