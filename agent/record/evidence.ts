import type { EpochMs, LimitId, WattHours, Watts } from '../../protocols/units.ts';
import type { EnergyInterval } from './interval.ts';
import type { TraceBody, TracePoint } from './site-record.ts';

/** What the record holds of one order, as it was written. */
export interface OrderFacts {
  readonly id: string;
  readonly receivedAt: EpochMs;
  readonly by: 'broker' | 'local';
  readonly order: Readonly<Record<string, unknown>>;
  readonly answers: readonly Readonly<Record<string, unknown>>[];
  /** Later orders, for the end of this one. */
  readonly later: readonly { readonly ts: EpochMs; readonly order: Readonly<Record<string, unknown>> }[];
  readonly events: readonly Readonly<Record<string, unknown>>[];
  readonly commands: readonly Readonly<Record<string, unknown>>[];
  readonly traces: readonly TraceBody[];
  readonly minutes: readonly EnergyInterval[];
  /** The newest thing in the record: an order that is still in force ends there. */
  readonly recordEnd: EpochMs;
}

/** The evidence of one order: what was asked, planned, commanded and measured, and what it delivered. */
export interface Evidence {
  readonly v: 1;
  readonly id: string;
  readonly order: Readonly<Record<string, unknown>>;
  readonly receivedAt: EpochMs;
  readonly by: 'broker' | 'local';
  readonly answers: readonly Readonly<Record<string, unknown>>[];
  readonly limit: LimitId | null;
  readonly limitWatts: Watts | null;
  readonly deadline: EpochMs | null;
  readonly endedAt: EpochMs | null;
  readonly plan: readonly Readonly<Record<string, unknown>>[];
  readonly commands: readonly Readonly<Record<string, unknown>>[];
  readonly trace: { readonly meter: string | null; readonly points: readonly TracePoint[] };
  readonly baseline: { readonly method: string; readonly watts: Watts | null };
  readonly compliance: {
    /** First reading at or under the limit. */
    readonly metAt: EpochMs | null;
    readonly secondsOverAfterDeadline: number | null;
    readonly secondsWithoutReading: number;
  };
  readonly delivered: {
    /** Baseline less metered energy over whole minutes from the deadline to the end. */
    readonly wattHours: WattHours | null;
    readonly minutes: number;
    readonly minutesMissing: number;
  };
  readonly exceptions: readonly string[];
}

/** Mean of the minute before the instruction against every minute after: meter-before, meter-after. */
const BASELINE_METHOD = 'meter-before-60s-v1';
const MINUTE_MS = 60_000;

/** Puts the evidence of an order together. Pure. */
export function evidenceOf(facts: OrderFacts): Evidence {
  const { order, receivedAt } = facts;
  const args = (order['args'] ?? {}) as Record<string, unknown>;
  const limit = typeof args['limit'] === 'string' ? args['limit'] : null;
  const accepted = facts.answers.find((answer) => answer['status'] === 'accepted');
  const limitWatts = numberOf(accepted?.['limitWatts']);
  const deadline = numberOf(accepted?.['deadline']);
  const endedAt = accepted === undefined ? null : endOf(facts, limit);
  const until = endedAt ?? facts.recordEnd;
  const traces = facts.traces.filter((trace) => trace.limit === limit);
  const points = traces
    .flatMap((trace) => trace.points)
    .filter(([ts]) => ts >= receivedAt - MINUTE_MS && ts <= until)
    .sort((a, b) => a[0] - b[0]);
  const before = points.flatMap(([ts, watts]) => (ts <= receivedAt && watts !== null ? [watts] : []));
  const baseline =
    before.length === 0 ? null : Math.round(before.reduce((sum, watts) => sum + watts, 0) / before.length);
  const meter = traces[0]?.meter ?? null;
  return {
    v: 1,
    id: facts.id,
    order,
    receivedAt,
    by: facts.by,
    answers: facts.answers,
    limit,
    limitWatts,
    deadline,
    endedAt,
    plan: facts.events.filter((event) => event['kind'] === 'decision'),
    commands: facts.commands,
    trace: { meter, points },
    baseline: { method: BASELINE_METHOD, watts: baseline },
    compliance: complianceOf(points, receivedAt, deadline, limitWatts),
    delivered: deliveredOf(facts.minutes, meter, baseline, deadline ?? receivedAt, until),
    exceptions: facts.events
      .filter((event) => event['kind'] === 'deadline-missed' || event['kind'] === 'alarm')
      .map((event) => String(event['message'])),
  };
}

/** An order ends with its lease, its issuer's `restore`, or the issuer's next order for the same limit. */
function endOf(facts: OrderFacts, limit: LimitId | null): EpochMs | null {
  const issuer = facts.order['issuer'];
  const next = facts.later.find(({ order }) => {
    if (order['issuer'] !== issuer) return false;
    const of = ((order['args'] ?? {}) as Record<string, unknown>)['limit'];
    return order['type'] === 'restore' ? of === undefined || of === limit : of === limit;
  })?.ts;
  const released = facts.events.find(
    (event) => event['kind'] === 'lease-ended' && event['target'] === limit,
  )?.['epochMs'];
  const ends = [next, numberOf(released)].filter((end) => end !== null && end !== undefined);
  return ends.length === 0 ? null : Math.min(...ends);
}

function complianceOf(
  points: readonly TracePoint[],
  receivedAt: EpochMs,
  deadline: EpochMs | null,
  limitWatts: Watts | null,
): Evidence['compliance'] {
  const after = points.filter(([ts]) => ts > receivedAt);
  const silent = after.filter(([, watts]) => watts === null).length;
  if (limitWatts === null)
    return { metAt: null, secondsOverAfterDeadline: null, secondsWithoutReading: silent };
  const met = after.find(([, watts]) => watts !== null && watts <= limitWatts);
  const late = deadline === null ? [] : after.filter(([ts]) => ts > deadline);
  return {
    metAt: met?.[0] ?? null,
    secondsOverAfterDeadline:
      late.length === 0 ? null : late.filter(([, watts]) => watts !== null && watts > limitWatts).length,
    secondsWithoutReading: silent,
  };
}

function deliveredOf(
  minutes: readonly EnergyInterval[],
  meter: string | null,
  baselineWatts: Watts | null,
  fromMs: EpochMs,
  untilMs: EpochMs,
): Evidence['delivered'] {
  const whole = minutes.filter((minute) => minute.start >= fromMs && minute.start + MINUTE_MS <= untilMs);
  const metered = whole.flatMap((minute) => {
    const wattHours = meter === null ? null : (minute.meters[meter]?.wattHours ?? null);
    return wattHours === null ? [] : [wattHours];
  });
  const missing = whole.length - metered.length;
  if (baselineWatts === null || metered.length === 0)
    return { wattHours: null, minutes: metered.length, minutesMissing: missing };
  const delivered = metered.reduce((sum, wattHours) => sum + baselineWatts / 60 - wattHours, 0);
  return { wattHours: Math.round(delivered), minutes: metered.length, minutesMissing: missing };
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
