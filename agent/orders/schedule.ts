import type { EpochMs, LimitId, Watts } from '../../protocols/units.ts';
import {
  type BookState,
  type Lease,
  LOCAL_ISSUER,
  limitsInForce,
  type Schedule,
  type ScheduleStep,
} from './book.ts';

/**
 * Schedules: limits and set points that follow each other by the clock of the site, without the WAN. Each step
 * that begins becomes a plain lease of its issuer; what decides never sees a schedule. Pure.
 */

export interface StepFacts {
  readonly limits: readonly { readonly id: LimitId; readonly ratingWatts: Watts }[];
  readonly drawWatts: (limit: LimitId) => Watts | null;
  /** Nothing may rise by order from afar: local control, or a clock that is not right. */
  readonly mayRaise: boolean;
}

export interface StartedStep {
  readonly schedule: Schedule;
  readonly step: ScheduleStep;
  /** `null`: the step lets go. */
  readonly lease: Lease | null;
}

/** Begins the steps whose time has come, and ends schedules that are over. After a pause only the latest counts. */
export function advanceSchedules(
  book: BookState,
  now: EpochMs,
  facts: StepFacts,
): { book: BookState; started: StartedStep[]; ended: Schedule[]; superseded: string[] } {
  const started: StartedStep[] = [];
  const ended: Schedule[] = [];
  const superseded: string[] = [];
  let next = book;
  for (const schedule of book.schedules ?? []) {
    if (schedule.until !== null && schedule.until <= now) {
      ended.push(schedule);
      next = withoutSchedule(next, schedule);
      continue;
    }
    const index = schedule.steps.findLastIndex((step) => step.from <= now);
    const step = schedule.steps[index];
    if (step === undefined || index === schedule.applied) continue;
    const lease = leaseOfStep(schedule, step, facts);
    const bound = !facts.mayRaise && schedule.issuer !== LOCAL_ISSUER.id;
    if (bound && raises(next, schedule, lease, now, facts)) continue;
    if (lease?.setPoint !== undefined && outranked(next, lease)) continue;
    const others = next.leases.filter(
      (old) =>
        old.orderId !== schedule.orderId &&
        !(old.limit === schedule.limit && old.issuer === schedule.issuer) &&
        !(lease?.setPoint !== undefined && old.setPoint !== undefined && old.limit === schedule.limit),
    );
    for (const old of next.leases)
      if (old.orderId !== schedule.orderId && !others.includes(old)) superseded.push(old.orderId);
    const applied = { ...schedule, applied: index };
    next = {
      ...next,
      leases: lease === null ? others : [...others, lease],
      schedules: (next.schedules ?? []).map((old) => (old.orderId === schedule.orderId ? applied : old)),
    };
    started.push({ schedule: applied, step, lease });
  }
  return { book: next, started, ended, superseded };
}

function withoutSchedule(book: BookState, schedule: Schedule): BookState {
  return {
    ...book,
    schedules: (book.schedules ?? []).filter((old) => old.orderId !== schedule.orderId),
  };
}

function leaseOfStep(schedule: Schedule, step: ScheduleStep, facts: StepFacts): Lease | null {
  const rating = facts.limits.find((limit) => limit.id === schedule.limit)?.ratingWatts ?? 0;
  const head = {
    orderId: schedule.orderId,
    issuer: schedule.issuer,
    priority: schedule.priority,
    limit: schedule.limit,
    createdAt: step.from,
    expiresAt: schedule.until,
    onExpiry: schedule.onExpiry,
    overdue: false,
    notBefore: null,
    withinMs: schedule.withinMs,
  };
  if (step.targetWatts !== undefined) {
    const bandWatts = step.bandWatts ?? 0;
    return {
      ...head,
      watts: Math.floor(Math.min(step.targetWatts + bandWatts, rating)),
      setPoint: {
        targetWatts: step.targetWatts,
        bandWatts,
        fromWatts: facts.drawWatts(schedule.limit),
        rampWattsPerMinute: step.rampWattsPerMinute ?? null,
      },
    };
  }
  return step.watts == null ? null : { ...head, watts: Math.floor(Math.min(step.watts, rating)) };
}

function raises(
  book: BookState,
  schedule: Schedule,
  lease: Lease | null,
  now: EpochMs,
  facts: StepFacts,
): boolean {
  const before = limitsInForce(book, facts.limits, now).get(schedule.limit)?.watts ?? 0;
  const own = book.leases.find(
    (old) => old.issuer === schedule.issuer && old.limit === schedule.limit,
  )?.watts;
  // A set point lets power rise up to it, so it counts as raising.
  return lease === null || lease.setPoint !== undefined || lease.watts > (own ?? before);
}

/** A set point of somebody else with more priority holds there. */
function outranked(book: BookState, lease: Lease): boolean {
  return book.leases.some(
    (old) =>
      old.setPoint !== undefined &&
      old.limit === lease.limit &&
      old.issuer !== lease.issuer &&
      old.priority > lease.priority,
  );
}
