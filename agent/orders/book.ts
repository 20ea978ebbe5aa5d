import type { IssuerConfig } from '../../config/schema.ts';
import type { EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { TransferState } from '../control/transfer-state.ts';
import type { InForce } from '../site/view.ts';
import { curtailedWatts, leaseOf, onExpiryOf } from './lease.ts';
import type { Order } from './order.ts';

/** One limit that somebody set. Plain data, kept over restarts. */
export interface Lease {
  readonly orderId: string;
  readonly issuer: string;
  readonly priority: number;
  readonly limit: LimitId;
  readonly watts: Watts;
  readonly createdAt: EpochMs;
  /** When it ends, or `null` for never. */
  readonly expiresAt: EpochMs | null;
  readonly onExpiry: 'hold' | 'release';
  /** Past its end and kept in force. */
  readonly overdue: boolean;
  /** Not in force before this. */
  readonly notBefore: EpochMs | null;
  readonly withinMs: number;
  /** A limit that belongs to a set point: what is to be held, and how fast the limit goes there. */
  readonly setPoint?: SetPoint;
}

/** Hold at, not only under: the limit is the upper end of the band, and power may rise up to it. */
export interface SetPoint {
  readonly targetWatts: Watts;
  readonly bandWatts: Watts;
  /** Draw when it was ordered; with a ramp the limit starts there. */
  readonly fromWatts: Watts | null;
  readonly rampWattsPerMinute: number | null;
}

/** One step of a schedule: a limit, a set point, or with `watts: null` nothing of this issuer. */
export interface ScheduleStep {
  readonly from: EpochMs;
  readonly watts?: Watts | null | undefined;
  readonly targetWatts?: Watts | undefined;
  readonly bandWatts?: Watts | undefined;
  readonly rampWattsPerMinute?: number | undefined;
}

/** Steps that follow each other by the clock; the one in force is a lease of its own. */
export interface Schedule {
  readonly orderId: string;
  readonly issuer: string;
  readonly priority: number;
  readonly limit: LimitId;
  /** In the order of time. */
  readonly steps: readonly ScheduleStep[];
  readonly until: EpochMs | null;
  readonly onExpiry: 'hold' | 'release';
  readonly withinMs: number;
  /** Index of the step in force; `null`: none has begun. */
  readonly applied: number | null;
  /** Steps that were not met by their deadline. */
  readonly missed: number;
}

export interface Hold {
  readonly target: string;
  readonly who: string;
  readonly why: string;
  readonly since: EpochMs;
  readonly until: EpochMs | null;
  /** The issuer that ordered it; absent in books of earlier versions: then it counts as the local operator's. */
  readonly issuer?: string;
}

export type AnswerStatus = 'accepted' | 'running' | 'done' | 'failed' | 'rejected' | 'expired' | 'superseded';

export interface OrderAnswer {
  readonly v: 1;
  readonly id: string;
  readonly status: AnswerStatus;
  readonly reason?: string;
  readonly limitWatts?: Watts;
  readonly deadline?: EpochMs;
  readonly expectedWatts?: Watts;
  readonly shortfallWatts?: Watts;
  readonly measuredWatts?: Watts | null;
  readonly lastSeq?: number;
  readonly at: EpochMs;
  readonly [extra: string]: unknown;
}

/** Everything that orders leave behind. Plain data. */
export interface BookState {
  readonly leases: readonly Lease[];
  readonly holds: readonly Hold[];
  readonly lastSeq: Readonly<Record<string, number>>;
  /** The last answer of each order, for repeats; the oldest are forgotten. */
  readonly answers: Readonly<Record<string, OrderAnswer>>;
  readonly prices: Readonly<Record<string, number>>;
  /** Schedules under way; absent in books of earlier versions. */
  readonly schedules?: readonly Schedule[];
  /** Hand-overs between mining and AI; absent before the first cycle. */
  readonly transfers?: TransferState;
  /** Alarms that somebody has seen, by their id; absent in books of earlier versions. */
  readonly acknowledged?: Readonly<Record<string, Acknowledgement>>;
}

/** Somebody has seen an alarm. It ends with the alarm. */
export interface Acknowledgement {
  readonly who: string;
  readonly at: EpochMs;
  /** Since when the alarm was active. */
  readonly since: EpochMs;
}

export const EMPTY_BOOK: BookState = { leases: [], holds: [], lastSeq: {}, answers: {}, prices: {} };

/** Answers kept for repeats. */
const ANSWERS_KEPT = 10_000;
/** Clocks of sender and site may differ by this. */
const CLOCK_SKEW_MS = 60_000;

export interface AdmitContext {
  readonly site: string;
  readonly issuers: readonly IssuerConfig[];
  readonly limits: readonly { readonly id: LimitId; readonly ratingWatts: Watts }[];
  readonly now: EpochMs;
  readonly monotonicMs: MonotonicMs;
  /** Arrived as a retained message. */
  readonly retained: boolean;
  /** The wall clock is known to be right; `null` = not known, taken as right. */
  readonly clockSynchronised: boolean | null;
  /** Orders from afar may only lower. */
  readonly localControl: boolean;
  /** The order came over the local socket: a person at the site. */
  readonly local: boolean;
  /** Whether the signature of the raw message holds for this issuer's key. */
  readonly signatureHolds: (issuer: IssuerConfig) => boolean;
  /** The limits from each device that a target (device, tag, limit) means up to the grid; a limit alone: its own. */
  readonly pathsOf: (target: string) => readonly (readonly LimitId[])[];
  /** An active alarm by its id; `null`: there is none. */
  readonly alarm: (id: string) => { readonly target: string; readonly since: EpochMs } | null;
  /** Draw and baseline of a limit, for `curtail`; `null` where not known. */
  readonly drawWatts: (limit: LimitId) => Watts | null;
  readonly baselineWatts: (limit: LimitId) => Watts | null;
}

export interface Admission {
  readonly book: BookState;
  readonly answer: OrderAnswer;
  /** The order is new and accepted: carry it out. */
  readonly accepted: boolean;
  /** The absolute limit that it sets, where it sets one. */
  readonly lease: Lease | null;
  /** Orders of the same issuer that this one replaces. */
  readonly superseded: readonly string[];
}

/** The local operator: may do everything, from the gateway itself. */
export const LOCAL_ISSUER: IssuerConfig = {
  id: 'local',
  maxPriority: 100,
  orders: 'all',
  limits: 'all',
  onExpiry: 'release',
  unsigned: true,
};

/** Takes one order in, or says why not. A rejected order changes nothing. Pure. */
export function admit(book: BookState, order: Order, context: AdmitContext): Admission {
  const known = book.answers[order.id];
  if (known !== undefined) return { book, answer: known, accepted: false, lease: null, superseded: [] };
  const issuer = context.local
    ? LOCAL_ISSUER
    : context.issuers.find((candidate) => candidate.id === order.issuer);
  const refusal = refuse(book, order, issuer, context);
  if (refusal !== null || issuer === undefined) {
    const lastSeq = issuer === undefined ? undefined : book.lastSeq[issuer.id];
    const answer: OrderAnswer = {
      v: 1,
      id: order.id,
      status: refusal?.status ?? 'rejected',
      reason: refusal?.reason ?? 'unknown issuer',
      at: context.now,
      ...(lastSeq === undefined ? {} : { lastSeq }),
    };
    return { book, answer, accepted: false, lease: null, superseded: [] };
  }
  let next: BookState = {
    ...book,
    lastSeq: context.local ? book.lastSeq : { ...book.lastSeq, [issuer.id]: order.seq },
  };
  let lease: Lease | null = null;
  let superseded: string[] = [];
  if (order.type === 'set_limit' || order.type === 'curtail' || order.type === 'set_point') {
    lease = leaseOf(order, issuer, context);
    superseded = next.leases
      .filter((old) => old.limit === lease!.limit)
      // Two set points cannot both hold: the later one of no lower priority stays.
      .filter(
        (old) =>
          old.issuer === lease!.issuer || (old.setPoint !== undefined && lease!.setPoint !== undefined),
      )
      .map((old) => old.orderId);
    superseded.push(...schedulesOf(next, issuer.id, lease.limit));
    next = {
      ...next,
      leases: [...next.leases.filter((old) => !superseded.includes(old.orderId)), lease],
      ...keptSchedules(next, superseded),
    };
  } else if (order.type === 'schedule') {
    superseded = schedulesOf(next, issuer.id, order.args.limit);
    next = {
      ...next,
      schedules: [
        ...(keptSchedules(next, superseded).schedules ?? []),
        {
          orderId: order.id,
          issuer: issuer.id,
          priority: order.priority,
          limit: order.args.limit,
          steps: order.args.steps,
          until: order.args.until,
          onExpiry: onExpiryOf(order, issuer, context),
          withinMs: order.args.withinMs,
          applied: null,
          missed: 0,
        },
      ],
    };
  } else if (order.type === 'restore') {
    const ends = (old: Lease) =>
      (context.local || old.issuer === issuer.id) &&
      (order.args.limit === undefined || old.limit === order.args.limit);
    const plans = (next.schedules ?? []).filter(
      (old) =>
        (context.local || old.issuer === issuer.id) &&
        (order.args.limit === undefined || old.limit === order.args.limit),
    );
    superseded = [...new Set([...next.leases.filter(ends), ...plans].map((old) => old.orderId))];
    next = { ...next, leases: next.leases.filter((old) => !ends(old)), ...keptSchedules(next, superseded) };
  } else if (order.type === 'prices') {
    const { hashpriceDollarsPerPhDay, energyDollarsPerMwh, poolFeePercent } = order.args;
    next = {
      ...next,
      prices: {
        ...next.prices,
        ...defined({ hashpriceDollarsPerPhDay, energyDollarsPerMwh, poolFeePercent }),
      },
    };
  } else if (order.type === 'hold') {
    const { target, who, why, until } = order.args;
    next = {
      ...next,
      holds: [
        ...next.holds.filter((old) => old.target !== target),
        { target, who, why, since: context.now, until, issuer: issuer.id },
      ],
    };
  } else if (order.type === 'release') {
    const { target } = order.args;
    next = { ...next, holds: next.holds.filter((old) => old.target !== target) };
  } else if (order.type === 'acknowledge') {
    const { alarm, who } = order.args;
    const seen = {
      who: who || issuer.id,
      at: context.now,
      since: context.alarm(alarm)?.since ?? context.now,
    };
    next = { ...next, acknowledged: { ...next.acknowledged, [alarm]: seen } };
  }
  const answer: OrderAnswer = {
    v: 1,
    id: order.id,
    status: 'accepted',
    at: context.now,
    ...(lease === null ? {} : { limitWatts: lease.watts, deadline: context.now + lease.withinMs }),
  };
  return { book: remember(next, answer), answer, accepted: true, lease, superseded };
}

function defined(values: Record<string, number | undefined>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

/** Notes an answer, so that a repeat of the order gets it again. */
export function remember(book: BookState, answer: OrderAnswer): BookState {
  const answers: Record<string, OrderAnswer> = { ...book.answers, [answer.id]: answer };
  const ids = Object.keys(answers);
  if (ids.length > ANSWERS_KEPT) delete answers[ids[0]!];
  return { ...book, answers };
}

/** Schedules of an issuer for a limit, by the ids of their orders. */
function schedulesOf(book: BookState, issuer: string, limit: LimitId): string[] {
  return (book.schedules ?? [])
    .filter((old) => old.issuer === issuer && old.limit === limit)
    .map((old) => old.orderId);
}

function keptSchedules(book: BookState, gone: readonly string[]): Pick<BookState, 'schedules'> {
  const { schedules } = book;
  if (schedules === undefined || gone.length === 0) return schedules === undefined ? {} : { schedules };
  return { schedules: schedules.filter((old) => !gone.includes(old.orderId)) };
}

/** The limit that a lease stands for at a moment: a set point moves there by its ramp. */
export function leaseWatts(lease: Lease, now: EpochMs): Watts {
  const { setPoint, watts } = lease;
  if (setPoint === undefined || setPoint.fromWatts === null || setPoint.rampWattsPerMinute === null)
    return watts;
  const minutes = Math.max(0, now - Math.max(lease.createdAt, lease.notBefore ?? 0)) / 60_000;
  const way = setPoint.rampWattsPerMinute * minutes;
  return Math.floor(
    setPoint.fromWatts > watts
      ? Math.max(watts, setPoint.fromWatts - way)
      : Math.min(watts, setPoint.fromWatts + setPoint.bandWatts + way),
  );
}

interface Refusal {
  readonly status: 'rejected' | 'expired';
  readonly reason: string;
}

function refuse(
  book: BookState,
  order: Order,
  issuer: IssuerConfig | undefined,
  context: AdmitContext,
): Refusal | null {
  const no = (reason: string): Refusal => ({ status: 'rejected', reason });
  if (context.retained) return no('retained: orders are never retained');
  if (order.site !== context.site) return no(`wrong site: this is ${context.site}`);
  if (issuer === undefined) return no(`unknown issuer "${order.issuer}"`);
  if (!context.local) {
    if (!issuer.unsigned && !context.signatureHolds(issuer))
      return no(order.sig == null ? 'unsigned: this issuer must sign' : 'bad signature');
    const last = book.lastSeq[issuer.id];
    if (last !== undefined && order.seq <= last)
      return no(`repeated sequence: ${order.seq} is not above ${last}`);
    if (order.issued > context.now + CLOCK_SKEW_MS) return no('issued in the future');
    if (order.expires !== null && order.expires <= context.now)
      return {
        status: 'expired',
        reason: `late: it expired ${Math.round((context.now - order.expires) / 1000)} s ago`,
      };
  }
  if (issuer.orders !== 'all' && !issuer.orders.includes(order.type))
    return no(`${issuer.id} may not order ${order.type}`);
  if (order.type === 'schedule' && issuer.orders !== 'all')
    for (const step of order.args.steps) {
      const type = step.targetWatts === undefined ? 'set_limit' : 'set_point';
      if (!issuer.orders.includes(type)) return no(`${issuer.id} may not order ${type}`);
    }
  if (order.priority > issuer.maxPriority)
    return no(`priority ${order.priority} is above the ${issuer.maxPriority} of ${issuer.id}`);
  const limit = 'limit' in order.args ? (order.args.limit as string | undefined) : undefined;
  if (limit !== undefined) {
    if (!context.limits.some((candidate) => candidate.id === limit)) return no(`unknown limit "${limit}"`);
    if (issuer.limits !== 'all' && !issuer.limits.includes(limit))
      return no(`${issuer.id} has no authority over ${limit}`);
  }
  if (order.lease?.onExpiry === 'release' && issuer.onExpiry !== 'release')
    return no(`${issuer.id} may not ask for release on expiry`);
  if (order.type === 'set_point') {
    const above = book.leases.find(
      (lease) => lease.setPoint !== undefined && lease.limit === limit && lease.priority > order.priority,
    );
    if (above !== undefined && above.issuer !== issuer.id)
      return no(`a set point of ${above.issuer} with priority ${above.priority} holds on ${above.limit}`);
  }
  if (order.type === 'hold' || order.type === 'release') {
    const refused = refuseHold(book, order, issuer, context);
    if (refused !== null) return no(refused);
  }
  if (order.type === 'acknowledge') {
    const alarm = context.alarm(order.args.alarm);
    if (alarm === null) return no(`no alarm "${order.args.alarm}" is active`);
    if (issuer.limits !== 'all' && !issuer.limits.includes(alarm.target))
      return no(`${issuer.id} has no authority over ${alarm.target}`);
  }
  if (order.type === 'curtail') {
    const rating = context.limits.find((candidate) => candidate.id === order.args.limit)?.ratingWatts ?? 0;
    if (curtailedWatts(order.args, rating, context) === null)
      return no(`the ${order.args.of} of ${order.args.limit} is not known now`);
  }
  return refuseRaising(book, order, issuer, context);
}

/**
 * Why a hold or its end is refused; `null`: it is not. What somebody at the site holds, because people are in the racks,
 * nobody releases or takes over from afar.
 */
function refuseHold(
  book: BookState,
  { type, args: { target } }: Extract<Order, { type: 'hold' | 'release' }>,
  issuer: IssuerConfig,
  context: AdmitContext,
): string | null {
  const held = book.holds.find((hold) => hold.target === target);
  const places = context.pathsOf(target);
  if (places.length === 0 && (type === 'hold' || held === undefined))
    return `unknown target "${target}": no device, tag or limit`;
  const { limits } = issuer;
  const inside = places.length > 0 && places.every((path) => path.some((id) => limits.includes(id)));
  if (limits !== 'all' && !inside) return `${issuer.id} has no authority over ${target}`;
  if (context.local || held === undefined || (held.issuer ?? LOCAL_ISSUER.id) !== LOCAL_ISSUER.id)
    return null;
  return `${held.who} holds ${target} at the site: only somebody there releases it`;
}

/** In local control, and while the clock is not right, orders from afar may only lower. */
function refuseRaising(
  book: BookState,
  order: Order,
  issuer: IssuerConfig,
  context: AdmitContext,
): Refusal | null {
  if (context.local || (!context.localControl && context.clockSynchronised !== false)) return null;
  const why = context.localControl
    ? 'the site is in local control'
    : 'the clock of the site is not synchronised';
  const no: Refusal = { status: 'rejected', reason: `${why}: only lowering is accepted` };
  if (order.type === 'ping' || order.type === 'hold' || order.type === 'acknowledge') return null;
  if (order.type !== 'set_limit' && order.type !== 'curtail') return no;
  const rating = context.limits.find((candidate) => candidate.id === order.args.limit)!.ratingWatts;
  const wanted = order.type === 'set_limit' ? order.args.watts : curtailedWatts(order.args, rating, context)!;
  const own = book.leases.find((lease) => lease.issuer === issuer.id && lease.limit === order.args.limit);
  const now = limitsInForce(book, context.limits, context.now).get(order.args.limit)!.watts;
  return wanted > (own?.watts ?? now) ? no : null;
}

/** Lets leases whose time is over go, or marks them as held over. Pure. */
export function expireLeases(
  book: BookState,
  now: EpochMs,
): { book: BookState; released: Lease[]; overdue: Lease[]; holdsEnded: Hold[] } {
  const released: Lease[] = [];
  const overdue: Lease[] = [];
  const holdsEnded = book.holds.filter((hold) => hold.until !== null && hold.until <= now);
  const leases = book.leases.flatMap((lease): Lease[] => {
    if (lease.overdue || lease.expiresAt === null || lease.expiresAt > now) return [lease];
    if (lease.onExpiry === 'release') {
      released.push(lease);
      return [];
    }
    const kept = { ...lease, overdue: true };
    overdue.push(kept);
    return [kept];
  });
  if (released.length === 0 && overdue.length === 0) return { book, released, overdue, holdsEnded };
  return { book: { ...book, leases }, released, overdue, holdsEnded };
}

/** Whether its time has come; leases that are over are not in the book. Pure. */
export function isInForce(lease: Lease, now: EpochMs): boolean {
  return lease.notBefore === null || lease.notBefore <= now;
}

/** What is in force at each limit: the lowest of its rating and every live lease. Pure. */
export function limitsInForce(
  book: BookState,
  limits: readonly { readonly id: LimitId; readonly ratingWatts: Watts }[],
  now: EpochMs,
): Map<LimitId, InForce> {
  const inForce = new Map<LimitId, InForce>();
  for (const { id, ratingWatts } of limits) {
    inForce.set(id, {
      limit: id,
      watts: ratingWatts,
      source: 'rating',
      priority: null,
      until: null,
      onExpiry: null,
    });
  }
  for (const lease of book.leases) {
    if (!isInForce(lease, now)) continue;
    const present = inForce.get(lease.limit);
    const watts = leaseWatts(lease, now);
    if (present === undefined || watts >= present.watts) continue;
    inForce.set(lease.limit, {
      limit: lease.limit,
      watts,
      source: lease.issuer,
      priority: lease.priority,
      until: lease.overdue ? null : lease.expiresAt,
      onExpiry: lease.expiresAt === null ? null : lease.onExpiry,
    });
  }
  return inForce;
}
