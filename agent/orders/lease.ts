import type { IssuerConfig } from '../../config/schema.ts';
import type { Watts } from '../../protocols/units.ts';
import type { AdmitContext, Lease, SetPoint } from './book.ts';
import type { Order } from './order.ts';

/** The lease that an order stands for. Its limit must exist, and the base of a `curtail` be known. Pure. */
export function leaseOf(
  order: Extract<Order, { type: 'set_limit' | 'curtail' | 'set_point' }>,
  issuer: IssuerConfig,
  context: AdmitContext,
): Lease {
  const rating = context.limits.find((limit) => limit.id === order.args.limit)!.ratingWatts;
  const setPoint = order.type === 'set_point' ? setPointOf(order.args, context) : null;
  const watts = limitWattsOf(order, rating, context);
  return {
    orderId: order.id,
    issuer: issuer.id,
    priority: order.priority,
    limit: order.args.limit,
    watts: Math.floor(Math.min(watts, rating)),
    createdAt: context.now,
    expiresAt:
      order.lease === null
        ? null
        : Math.round(Math.max(context.now, order.notBefore ?? 0) + order.lease.seconds * 1000),
    onExpiry: onExpiryOf(order, issuer, context),
    overdue: false,
    notBefore: order.notBefore,
    withinMs: order.type === 'set_point' ? setPointMs(setPoint!) : order.args.withinMs,
    ...(setPoint === null ? {} : { setPoint }),
  };
}

/** What happens at the end: as the order says, else as its issuer is configured; a local operator's is let go. */
export function onExpiryOf(order: Order, issuer: IssuerConfig, context: AdmitContext): 'hold' | 'release' {
  return order.lease?.onExpiry ?? (context.local || issuer.onExpiry === 'release' ? 'release' : 'hold');
}

function limitWattsOf(
  order: Extract<Order, { type: 'set_limit' | 'curtail' | 'set_point' }>,
  rating: Watts,
  context: AdmitContext,
): Watts {
  if (order.type === 'set_limit') return order.args.watts;
  if (order.type === 'set_point') return order.args.targetWatts + order.args.bandWatts;
  return curtailedWatts(order.args, rating, context)!;
}

function setPointOf(args: Extract<Order, { type: 'set_point' }>['args'], context: AdmitContext): SetPoint {
  return {
    targetWatts: args.targetWatts,
    bandWatts: args.bandWatts,
    fromWatts: context.drawWatts(args.limit),
    rampWattsPerMinute: args.rampWattsPerMinute ?? null,
  };
}

/** Without a ramp of its own a rise follows the restore ramp of the site, a fall takes a minute. */
const SETTLE_MS = 60_000;
const RISE_MS = 900_000;

/** How long until a set point can be held: the ramp, and a minute to settle. */
function setPointMs(setPoint: SetPoint): number {
  const { targetWatts, fromWatts, rampWattsPerMinute } = setPoint;
  const way = fromWatts === null ? 0 : Math.abs(fromWatts - targetWatts);
  const rises = fromWatts !== null && fromWatts < targetWatts;
  const rampMs = rampWattsPerMinute === null ? 0 : (way / rampWattsPerMinute) * 60_000;
  return Math.round(Math.min(86_400_000, Math.max(rampMs, rises ? RISE_MS : 0) + SETTLE_MS));
}

/** The absolute limit of a `curtail`, or `null` where its base is not known now. */
export function curtailedWatts(
  args: Extract<Order, { type: 'curtail' }>['args'],
  rating: Watts,
  context: AdmitContext,
): Watts | null {
  const base =
    args.of === 'rating'
      ? rating
      : args.of === 'draw'
        ? context.drawWatts(args.limit)
        : context.baselineWatts(args.limit);
  if (base === null) return null;
  return Math.max(0, args.watts !== undefined ? base - args.watts : base * (1 - args.fraction!));
}
