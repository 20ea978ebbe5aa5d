import type { IssuerConfig, OrderType } from '../../config/schema.ts';
import type { EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { TransferState } from '../control/transfer-state.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteEvent } from '../site/snapshot.ts';
import {
  type AdmitContext,
  admit,
  type BookState,
  expireLeases,
  type Lease,
  type OrderAnswer,
  remember,
  type Schedule,
} from './book.ts';
import { orderConditions } from './conditions.ts';
import { type Order, parseOrder, parseOrderValue } from './order.ts';
import { advanceSchedules } from './schedule.ts';
import { verifyOrderSignature } from './signature.ts';

/** What the service needs to know of the site at the moment of an order. */
export interface SiteFacts {
  readonly site: string;
  readonly limits: readonly { readonly id: LimitId; readonly ratingWatts: Watts }[];
  readonly issuers: readonly IssuerConfig[];
  readonly localControl: boolean;
  readonly now: () => EpochMs;
  readonly monotonic: () => MonotonicMs;
  readonly clockSynchronised: () => boolean | null;
  readonly drawWatts: (limit: LimitId) => Watts | null;
  readonly baselineWatts: (limit: LimitId) => Watts | null;
  /** As in `AdmitContext`. */
  readonly pathsOf: (target: string) => readonly (readonly LimitId[])[];
  /** An active alarm by its id. */
  readonly alarm: (id: string) => { readonly target: string; readonly since: EpochMs } | null;
  /** PEM of an issuer's public key, or null. */
  readonly keyOf: (issuer: IssuerConfig) => string | null;
}

export interface OrderEffects {
  /** An order has arrived, whatever becomes of it; `raw` as it came. */
  received?(id: string, raw: unknown, local: boolean): void;
  /** Sends an answer to the topic of its order. */
  answer(answer: OrderAnswer): void;
  /** Makes the book durable before an order takes effect; `false` when it could not. */
  persist(book: BookState): boolean;
  /** A new limit is in force: decide in this very turn, and say what to expect. */
  decideNow(lease: Lease): { expectedWatts: Watts; shortfallWatts: Watts } | null;
  /** `ping` with `snapshot`. */
  snapshot(): void;
  /** The hold of a target ended: its quarantine ends with it. */
  released(target: string): void;
  /** Orders that others carry out (`transfer`): their answer, or null for not known. */
  delegate(order: Extract<Order, { type: 'transfer' }>, answer: OrderAnswer): OrderAnswer | null;
}

/** An accepted limit whose outcome is still open. */
interface Open {
  readonly lease: Lease;
  readonly acceptedAt: MonotonicMs;
  readonly deadlineAt: MonotonicMs;
  metSamples: number;
  /** Said that it is under way: set points are, for as long as their ramp takes. */
  running: boolean;
  lastSampleAt: MonotonicMs;
}

/** Good samples in a row at or under the limit that make an order done. */
const DONE_SAMPLES = 2;
/** The cycle that an order sets off itself comes before its acceptance is said. */
const RUNNING_AFTER_MS = 100;

/**
 * Takes orders in, keeps the book, follows every accepted limit to its measured end: `done` means that a meter
 * showed it, and at the deadline there is an answer whatever happened.
 */
export class OrderService {
  private readonly facts: SiteFacts;
  private readonly effects: OrderEffects;
  private state: BookState;
  private readonly open = new Map<string, Open>();
  private events: SiteEvent[] = [];

  constructor(facts: SiteFacts, effects: OrderEffects, restored: BookState) {
    this.facts = facts;
    this.effects = effects;
    this.state = restored;
    // Orders that were running when the agent ended are carried on; their deadline stands.
    for (const lease of restored.leases) {
      const answer = restored.answers[lease.orderId];
      if (answer?.status !== 'accepted' && answer?.status !== 'running') continue;
      const left = lease.createdAt + lease.withinMs - facts.now();
      this.follow(lease, facts.monotonic() + Math.max(0, left));
    }
  }

  get book(): BookState {
    return this.state;
  }

  /** When an order that is still followed must be met, on the monotonic clock. */
  deadlineAt(orderId: string): MonotonicMs | null {
    return this.open.get(orderId)?.deadlineAt ?? null;
  }

  /** An order from the broker. */
  receive(id: string, payload: Uint8Array, retained: boolean): OrderAnswer {
    const parsed = parseOrder(payload);
    if (!parsed.ok)
      return this.reply({
        v: 1,
        id: parsed.id ?? id,
        status: 'rejected',
        reason: parsed.reason,
        at: this.facts.now(),
      });
    let raw: unknown = null;
    try {
      raw = JSON.parse(Buffer.from(payload).toString('utf8'));
    } catch {
      raw = null;
    }
    if (parsed.order.id !== id) {
      return this.reply({
        v: 1,
        id: parsed.order.id,
        status: 'rejected',
        reason: `malformed: the topic says ${id}`,
        at: this.facts.now(),
      });
    }
    return this.take(parsed.order, raw, retained, false);
  }

  /**
   * An order that follows from what an issuer said in another form: a level on a topic of its own, an ask. With
   * the authority of that issuer, no more.
   */
  receiveFor(
    issuer: string,
    type: OrderType,
    args: Readonly<Record<string, unknown>>,
    /** Of its own, where it has them. */
    head: { readonly id?: string; readonly issued?: EpochMs; readonly expires?: EpochMs } = {},
    retained = false,
  ): OrderAnswer {
    const now = this.facts.now();
    const seq = (this.state.lastSeq[issuer] ?? 0) + 1;
    const priority = this.facts.issuers.find((candidate) => candidate.id === issuer)?.maxPriority ?? 0;
    const value = {
      v: 1,
      id: `${issuer}-level-${seq}`,
      site: this.facts.site,
      type,
      issuer,
      priority,
      issued: now,
      ...head,
      seq,
      args,
    };
    const parsed = parseOrderValue(value);
    if (!parsed.ok)
      return this.reply({ v: 1, id: value.id, status: 'rejected', reason: parsed.reason, at: now });
    return this.take(parsed.order, value, retained, false);
  }

  /** An order from the command line on the gateway. */
  receiveLocal(value: unknown): OrderAnswer {
    const parsed = parseOrderValue(value);
    if (!parsed.ok)
      return {
        v: 1,
        id: parsed.id ?? 'local',
        status: 'rejected',
        reason: parsed.reason,
        at: this.facts.now(),
      };
    return this.take(parsed.order, value, false, true);
  }

  /** Once per cycle: ends leases, follows open orders by what was measured. */
  cycle(
    measured: (limit: LimitId) => { watts: Watts; sampledAt: MonotonicMs } | null,
    worst: (limit: LimitId) => Watts | null,
  ): void {
    const now = this.facts.now();
    const ended = expireLeases(this.state, now);
    if (ended.book !== this.state) {
      this.state = ended.book;
      this.effects.persist(this.state);
      for (const lease of ended.released)
        this.event(
          now,
          'lease-ended',
          lease.limit,
          `the limit of ${lease.issuer} at ${lease.watts} W ended and is released by ramp`,
        );
      for (const lease of ended.overdue)
        this.event(
          now,
          'lease-overdue',
          lease.limit,
          `the limit of ${lease.issuer} at ${lease.watts} W is past its end and held`,
        );
    }
    this.advance();
    for (const [id, open] of this.open)
      this.followUp(id, open, measured(open.lease.limit), worst(open.lease.limit));
  }

  /** Begins what schedules have due. A step that begins is durable before anything follows from it. */
  private advance(): Lease | null {
    const now = this.facts.now();
    const { book, started, ended, superseded } = advanceSchedules(this.state, now, {
      limits: this.facts.limits,
      drawWatts: this.facts.drawWatts,
      mayRaise: !this.facts.localControl && this.facts.clockSynchronised() !== false,
    });
    if (book === this.state) return null;
    this.state = book;
    this.effects.persist(book);
    for (const id of superseded) this.supersede(id);
    for (const { schedule, step, lease } of started) {
      this.open.delete(schedule.orderId);
      this.event(
        now,
        'schedule-step',
        schedule.limit,
        `step ${schedule.applied! + 1} of ${schedule.steps.length} of ${schedule.issuer}: ${lease === null ? 'no limit' : `${lease.watts} W`}`,
        { id: schedule.orderId },
      );
      if (lease !== null)
        this.follow(lease, this.facts.monotonic() + Math.max(0, step.from + schedule.withinMs - now));
    }
    for (const schedule of ended) this.endSchedule(schedule);
    return started.at(-1)?.lease ?? null;
  }

  private endSchedule(schedule: Schedule): void {
    this.open.delete(schedule.orderId);
    const { missed, steps } = schedule;
    this.reply(
      this.note({
        v: 1,
        id: schedule.orderId,
        status: missed === 0 ? 'done' : 'failed',
        ...(missed === 0 ? {} : { reason: `${missed} of ${steps.length} steps were not met in time` }),
        at: this.facts.now(),
      }),
    );
  }

  /** What became of a step: its schedule goes on, so it is said as `running`. */
  private reportStep(schedule: Schedule, answer: OrderAnswer): OrderAnswer {
    if (answer.status === 'failed')
      this.state = {
        ...this.state,
        schedules: (this.state.schedules ?? []).map((old) =>
          old.orderId === schedule.orderId ? { ...old, missed: old.missed + 1 } : old,
        ),
      };
    return { ...answer, status: 'running', step: schedule.applied, met: answer.status === 'done' };
  }

  /** Alarms that are over take their acknowledgement with them. */
  forgetAlarms(over: (id: string) => boolean): void {
    const { acknowledged } = this.state;
    if (acknowledged === undefined || !Object.keys(acknowledged).some(over)) return;
    const kept = Object.fromEntries(Object.entries(acknowledged).filter(([id]) => !over(id)));
    this.state = { ...this.state, acknowledged: kept };
    this.effects.persist(this.state);
  }

  /** What became of an order that others carry out. */
  conclude(answer: OrderAnswer): void {
    this.reply(this.note(answer));
  }

  /** Hand-overs are kept with the book: durable before they act. */
  keepTransfers(transfers: TransferState): void {
    this.state = { ...this.state, transfers };
    this.effects.persist(this.state);
  }

  /** Alarms of orders. */
  conditions(): Condition[] {
    return orderConditions(this.state, this.facts.now());
  }

  drainEvents(): readonly SiteEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** Takes the limit of a local operator off, or releases by hand. */
  private take(order: Order, raw: unknown, retained: boolean, local: boolean): OrderAnswer {
    this.effects.received?.(order.id, raw, local);
    const context: AdmitContext = {
      site: this.facts.site,
      issuers: this.facts.issuers,
      limits: this.facts.limits,
      now: this.facts.now(),
      monotonicMs: this.facts.monotonic(),
      retained,
      clockSynchronised: this.facts.clockSynchronised(),
      localControl: this.facts.localControl,
      local,
      signatureHolds: (issuer) => {
        const key = this.facts.keyOf(issuer);
        return key !== null && verifyOrderSignature(raw, key);
      },
      drawWatts: this.facts.drawWatts,
      baselineWatts: this.facts.baselineWatts,
      pathsOf: this.facts.pathsOf,
      alarm: this.facts.alarm,
    };
    const admission = admit(this.state, order, context);
    if (!admission.accepted) return this.reply(admission.answer);
    const before = this.state;
    this.state = admission.book;
    const durable = this.effects.persist(this.state);
    if (!durable && !lowersOnly(order)) {
      this.state = before;
      return this.reply({
        v: 1,
        id: order.id,
        status: 'rejected',
        reason: 'the order could not be written down: only lowering is accepted',
        at: this.facts.now(),
      });
    }
    this.event(
      context.now,
      'order',
      'limit' in order.args && order.args.limit !== undefined ? String(order.args.limit) : 'site',
      `${order.type} of ${local ? 'local operator' : order.issuer} accepted`,
      { id: order.id },
    );
    const planned = new Set((before.schedules ?? []).map((schedule) => schedule.orderId));
    for (const old of admission.superseded) this.supersede(old, planned.has(old));
    let { answer } = admission;
    if (order.type === 'transfer') {
      answer = this.effects.delegate(order, answer) ?? {
        ...answer,
        status: 'rejected',
        reason: `${order.type} is not available here`,
      };
    } else if (order.type === 'schedule') {
      const lease = this.advance();
      const expected = lease === null ? null : this.effects.decideNow(lease);
      if (lease !== null) answer = { ...answer, limitWatts: lease.watts };
      if (expected !== null) answer = { ...answer, ...expected };
    } else if (admission.lease !== null) {
      this.follow(admission.lease, this.facts.monotonic() + admission.lease.withinMs);
      const expected = this.effects.decideNow(admission.lease);
      if (expected !== null) answer = { ...answer, ...expected };
    } else {
      if (order.type === 'ping' && order.args.snapshot) this.effects.snapshot();
      if (order.type === 'release') this.effects.released(order.args.target);
      // Nothing to wait for: what was asked is in force.
      this.reply(this.note(answer));
      answer = { ...answer, status: 'done', at: this.facts.now() };
    }
    return this.reply(this.note(answer));
  }

  private follow(lease: Lease, deadlineAt: MonotonicMs): void {
    this.open.set(lease.orderId, {
      lease,
      acceptedAt: this.facts.monotonic(),
      deadlineAt,
      metSamples: 0,
      running: false,
      lastSampleAt: Number.NEGATIVE_INFINITY,
    });
  }

  private followUp(
    id: string,
    open: Open,
    sample: { watts: Watts; sampledAt: MonotonicMs } | null,
    worst: Watts | null,
  ): void {
    const { lease } = open;
    const now = this.facts.monotonic();
    if (sample !== null && sample.sampledAt > open.acceptedAt && sample.sampledAt > open.lastSampleAt) {
      open.lastSampleAt = sample.sampledAt;
      open.metSamples = met(lease, sample.watts) ? open.metSamples + 1 : 0;
    }
    if (lease.setPoint !== undefined && !open.running && now > open.acceptedAt + RUNNING_AFTER_MS) {
      open.running = true;
      this.reply(this.note({ v: 1, id, status: 'running', limitWatts: lease.watts, at: this.facts.now() }));
    }
    const provedWithoutMeter =
      sample === null && worst !== null && worst <= lease.watts && lease.setPoint === undefined;
    if (open.metSamples >= DONE_SAMPLES || provedWithoutMeter) {
      this.open.delete(id);
      this.reply(
        this.note({
          v: 1,
          id,
          status: 'done',
          limitWatts: lease.watts,
          measuredWatts: sample?.watts ?? null,
          at: this.facts.now(),
        }),
      );
      return;
    }
    if (now < open.deadlineAt) return;
    this.open.delete(id);
    const short = sample === null ? null : Math.max(0, Math.round(sample.watts - lease.watts));
    this.event(
      this.facts.now(),
      'deadline-missed',
      lease.limit,
      `${lease.limit} was not seen under ${lease.watts} W by the deadline of ${lease.issuer}`,
      { id },
    );
    this.reply(
      this.note({
        v: 1,
        id,
        status: 'failed',
        reason:
          sample === null
            ? 'no fresh measurement at the deadline'
            : sample.watts <= lease.watts
              ? 'below the band at the deadline: no more load may rise, or there is none'
              : 'not met by the deadline; shedding goes on',
        limitWatts: lease.watts,
        measuredWatts: sample?.watts ?? null,
        ...(short === null ? {} : { shortfallWatts: short }),
        at: this.facts.now(),
      }),
    );
  }

  /** `planned`: a schedule, which is open also between its steps. */
  private supersede(id: string, planned = false): void {
    if (!this.open.delete(id) && !planned) return;
    this.reply(this.note({ v: 1, id, status: 'superseded', at: this.facts.now() }));
  }

  private note(said: OrderAnswer): OrderAnswer {
    const schedule = (this.state.schedules ?? []).find((one) => one.orderId === said.id);
    const outcome = said.status === 'done' || said.status === 'failed';
    const answer = schedule !== undefined && outcome ? this.reportStep(schedule, said) : said;
    this.state = remember(this.state, answer);
    this.effects.persist(this.state);
    return answer;
  }

  private reply(answer: OrderAnswer): OrderAnswer {
    this.effects.answer(answer);
    return answer;
  }

  private event(
    epochMs: EpochMs,
    kind: string,
    target: string,
    message: string,
    detail?: Record<string, unknown>,
  ): void {
    if (this.events.length < 1000)
      this.events.push({ epochMs, kind, target, message, ...(detail === undefined ? {} : { detail }) });
  }
}

function lowersOnly(order: Order): boolean {
  return (
    order.type === 'set_limit' || order.type === 'curtail' || order.type === 'hold' || order.type === 'ping'
  );
}

/** Under the limit; for a set point, within its band. */
function met(lease: Lease, watts: Watts): boolean {
  if (lease.setPoint === undefined) return watts <= lease.watts;
  const { targetWatts, bandWatts } = lease.setPoint;
  return Math.abs(watts - targetWatts) <= bandWatts;
}
