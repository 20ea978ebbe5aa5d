import type { DeviceId, EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { OrderAnswer } from '../orders/book.ts';
import type { Order } from '../orders/order.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteEvent } from '../site/snapshot.ts';
import type { HandOverTimes, NodeDrains } from './node-drains.ts';
import type { StepResult } from './step.ts';
import type { Permitted, StepContext } from './step-context.ts';
import { applyTransfer, restoreTransfers } from './transfer.ts';
import {
  type ConversionNode,
  type ConversionView,
  conversionReserves,
  conversionView,
  dateAt,
  newlyEnergised,
} from './transfer-conversion.ts';
import { evidenceOf, type TransferFacts } from './transfer-evidence.ts';
import { permitsOf } from './transfer-permits.ts';
import {
  ended,
  type Lease,
  NO_TRANSFERS,
  type Phase,
  type Transfer,
  type TransferEffect,
  type TransferInput,
  type TransferState,
  total,
} from './transfer-state.ts';

export interface TransferOutlets {
  /** Makes the state durable before it acts; a failed disk makes control shed-only by itself. */
  persist(state: TransferState): void;
  /** The outcome of a `transfer` order. */
  answer(answer: OrderAnswer): void;
  /** `transfer/<id>`, retained. */
  publish(id: string, epochMs: EpochMs, body: Readonly<Record<string, unknown>>): void;
  clear(id: string, epochMs: EpochMs): void;
  /** The workload managers of the nodes, where any is configured. */
  readonly drains: NodeDrains | null;
}

/** A hand-over as the outside sees it: topic `transfer/<id>`, `/api/v1/transfers`, `switchyard transfer`. */
export interface TransferView {
  readonly id: string;
  readonly direction: Transfer['direction'];
  readonly state: Phase;
  readonly workload: string;
  readonly limit: LimitId;
  readonly askedWatts: Watts | null;
  readonly watts: Watts;
  /** Watts per node. */
  readonly nodes: Readonly<Record<DeviceId, Watts>>;
  /** `expiresAt` is `null` where the watts are mining's for good. */
  readonly lease: (Omit<Lease, 'expiresAt'> & { readonly expiresAt: EpochMs | null }) | null;
  readonly asker: string;
  readonly priority: number;
  readonly until: EpochMs | null;
  /** When its notice is over and the caps of its nodes fall; `null`: no such moment is set. */
  readonly revokesAt: EpochMs | null;
  readonly createdAt: EpochMs;
  readonly endedAt: EpochMs | null;
  readonly reason: string;
}

/** How long a node works at its ceiling before it asks, is idle before it gives back, waits after a refusal. */
const WANTS_MS = 10_000;
const IDLE_MS = 600_000;
const ASK_AGAIN_MS = 600_000;
/** Part of its ceiling above which a node works, and below which it idles. */
const WORKING_SHARE = 0.75;
const IDLE_SHARE = 0.5;

/** The shell around the state machine of hand-overs: feeds it every cycle, carries its effects out. */
export class TransferService {
  private readonly facts: TransferFacts;
  private readonly outlets: TransferOutlets;
  private state: TransferState;
  private views: readonly ConversionView[] = [];
  private events: SiteEvent[] = [];
  private alarms = new Map<string, Condition>();
  private readonly demand = new Map<DeviceId, { since: MonotonicMs; kind: 'wants' | 'idle' }>();
  private readonly askedAt = new Map<DeviceId, MonotonicMs>();

  constructor(
    facts: TransferFacts,
    outlets: TransferOutlets,
    restored: TransferState | null,
    at: { readonly now: MonotonicMs; readonly epochMs: EpochMs },
  ) {
    this.facts = facts;
    this.outlets = outlets;
    if (restored === null) this.state = NO_TRANSFERS;
    else {
      const { state } = restoreTransfers(restored, at);
      this.state = state;
      outlets.persist(state);
    }
  }

  get memory(): TransferState {
    return this.state;
  }

  /** What the next control cycle must respect. */
  permits(): Permitted {
    const { reservedWatts, ceilings, grantedWatts } = permitsOf(this.facts.site, this.state);
    const all: Record<LimitId, Watts> = { ...reservedWatts };
    const conversions = conversionReserves(this.facts.site, this.views);
    for (const id in conversions) all[id] = (all[id] ?? 0) + conversions[id]!;
    return { reservedWatts: all, ceilings, grantedWatts };
  }

  /** A `transfer` order that was admitted to the book: taken up, or refused with its reason. */
  order(order: Extract<Order, { type: 'transfer' }>, answer: OrderAnswer): OrderAnswer {
    const { limit, watts, direction, workload, until } = order.args;
    const effects = this.feed({
      kind: 'request',
      request: {
        id: order.id,
        direction,
        workload: workload ?? null,
        limit,
        watts: watts ?? null,
        until: until ?? null,
        asker: `order:${order.issuer}`,
        priority: order.priority,
        notice: 'flexible',
        onlyNodes: null,
      },
    });
    const refused = effects.find((effect) => effect.kind === 'refused');
    return refused === undefined ? answer : { ...answer, status: 'rejected', reason: refused.reason };
  }

  /** Ends a hand-over by hand. `null`: done; otherwise why not. */
  end(id: string, who: string): string | null {
    const known = this.state.transfers.find((transfer) => transfer.id === id);
    if (known === undefined) return `no hand-over is called "${id}"`;
    if (ended(known)) return `${id} is over (${known.phase})`;
    this.feed({ kind: 'end', id, epoch: null, reason: `ended by ${who}` });
    return null;
  }

  /** Once per control cycle, after it: what was seen moves hand-overs on. */
  cycle(
    context: StepContext,
    result: StepResult,
    inForce: (limit: LimitId) => Watts,
    epochMs: EpochMs,
  ): void {
    const now = result.decision.at;
    this.convert(result, epochMs);
    const reserves = conversionReserves(this.facts.site, this.views);
    const { drains } = this.outlets;
    for (const node of drains?.takeResumed() ?? []) this.onResumed(node, now, epochMs);
    const services = drains?.readings(now) ?? new Map();
    this.feed({ kind: 'tick', now, epochMs, ...evidenceOf(context, result, inForce, reserves, services) });
    if (this.facts.askedByNodes) this.listenToNodes(result, now, epochMs);
    drains?.want(this.state.withdrawn, (id) => this.timesOf(id), now);
    for (const view of this.list()) this.outlets.publish(view.id, epochMs, { ...view });
  }

  list(): readonly TransferView[] {
    return this.state.transfers.map((transfer) => viewOf(transfer, this.state));
  }

  conversions(): readonly ConversionView[] {
    return this.views;
  }

  conditions(): readonly Condition[] {
    return [...this.alarms.values(), ...(this.outlets.drains?.conditions() ?? [])];
  }

  drainEvents(): readonly SiteEvent[] {
    const events = [...this.events, ...(this.outlets.drains?.drainEvents(this.state.epochMs) ?? [])];
    this.events = [];
    return events;
  }

  private timesOf(id: string): HandOverTimes {
    const transfer = this.state.transfers.find((candidate) => candidate.id === id);
    if (transfer === undefined) return { noticeEnds: null, isSettled: true };
    return {
      noticeEnds: transfer.cut ? null : transfer.cutAt,
      isSettled: transfer.phase === 'active' || transfer.phase === 'released',
    };
  }

  private feed(input: TransferInput): readonly TransferEffect[] {
    const { site, rules } = this.facts;
    const before = this.state;
    const { state, effects } = applyTransfer(site, rules, before, input);
    this.state = state;
    // Every cycle settles the books; what must survive is what hand-overs and nodes may do.
    if (
      effects.length > 0 ||
      Object.keys(state.bases).length !== Object.keys(before.bases).length ||
      Object.keys(state.withdrawn).length !== Object.keys(before.withdrawn).length
    )
      this.outlets.persist(state);
    for (const effect of effects) this.carryOut(effect);
    return effects;
  }

  private carryOut(effect: TransferEffect): void {
    const { epochMs } = this.state;
    const transfer = this.state.transfers.find((candidate) => candidate.id === effect.id);
    switch (effect.kind) {
      case 'phase': {
        const watts = transfer === undefined ? 0 : total(transfer.shares);
        this.event('transfer', effect.id, `${effect.to}: ${effect.reason}`, {
          from: effect.from,
          to: effect.to,
          watts,
        });
        if (effect.to === 'shedding' && isOrder(transfer))
          this.outlets.answer({ v: 1, id: effect.id, status: 'running', expectedWatts: watts, at: epochMs });
        if (effect.to === 'released' || effect.to === 'aborted') this.alarms.delete(effect.id);
        return;
      }
      case 'answer':
        if (isOrder(transfer))
          this.outlets.answer({
            v: 1,
            id: effect.id,
            status: effect.status,
            reason: effect.reason,
            measuredWatts: effect.watts,
            at: epochMs,
          });
        return;
      case 'alarm':
        this.alarms.set(effect.id, {
          code: effect.code,
          severity: 'major',
          target: effect.id,
          message: effect.message,
          nextStep:
            'Look at the caps of its nodes: another tool may set them. `switchyard transfer` shows its state.',
        });
        return;
      case 'grant':
        this.event('transfer-grant', effect.id, `${effect.lease.watts} W granted`, {
          epoch: effect.lease.epoch,
          nodes: effect.shares,
        });
        return;
      case 'revoke':
        this.event('transfer-revoke', effect.id, effect.reason, {
          epoch: effect.epoch,
          inMs: effect.inMs,
        });
        return;
      case 'refused':
        this.event('transfer-refused', effect.id, effect.reason, {});
        return;
      case 'forgotten':
        this.outlets.clear(effect.id, epochMs);
        return;
    }
  }

  private convert(result: StepResult, epochMs: EpochMs): void {
    const { conversions, site, timezone } = this.facts;
    if (conversions.length === 0) return;
    const nodes = new Map<DeviceId, ConversionNode>();
    for (const evidence of result.inputs) {
      if (evidence.facts.kind !== 'gpu-node') continue;
      const { device, facts } = evidence;
      const there = device.inventory !== 'expected' && device.inventory !== 'removed';
      nodes.set(facts.id, {
        present: device.inventory === 'present' && device.fresh,
        powerWatts: device.powerWatts,
        worstWatts: there ? Math.max(device.limitWatts ?? facts.nameplateWatts, 0) : 0,
      });
    }
    const found = newlyEnergised(conversions, this.state.energised, site, nodes);
    if (found.length > 0) {
      const energised = { ...this.state.energised, ...Object.fromEntries(found.map((id) => [id, epochMs])) };
      this.state = { ...this.state, energised };
      this.outlets.persist(this.state);
      for (const id of found)
        this.event('energised', id, `${id} is energised: its capacity passes to AI`, {});
    }
    const today = dateAt(epochMs, timezone);
    this.views = conversions.map((conversion) =>
      conversionView(conversion, site, today, this.state.energised, nodes),
    );
  }

  /** Somebody else put a node back into service: it is not drained again, and asks where nodes may. */
  private onResumed(node: DeviceId, now: MonotonicMs, epochMs: EpochMs): void {
    this.event('left-drain', node, `${node} left its drain by itself`, {});
    const id = `node-${node}-${epochMs}`;
    this.feed({ kind: 'node', node, event: 'resumed', id });
    if (this.facts.askedByNodes) this.ask(node, now, id);
  }

  private ask(node: DeviceId, now: MonotonicMs, id: string): void {
    if (now - (this.askedAt.get(node) ?? -ASK_AGAIN_MS) < ASK_AGAIN_MS) return;
    this.askedAt.set(node, now);
    this.feed({ kind: 'node', node, event: 'wants', id });
  }

  /** A node that works at its ceiling asks for more; one that idles for long gives back what it asked for. */
  private listenToNodes(result: StepResult, now: MonotonicMs, epochMs: EpochMs): void {
    const { ceilings } = permitsOf(this.facts.site, this.state);
    for (const { facts, device } of result.inputs) {
      const ceiling = ceilings[facts.id];
      if (ceiling === undefined || !device.fresh || device.powerWatts === null) continue;
      // What draws there though it was taken out of service is on its way out, not asking.
      if (this.state.withdrawn[facts.id] !== undefined) continue;
      const kind =
        device.powerWatts > ceiling * WORKING_SHARE && ceiling < facts.points.at(-1)!.watts
          ? 'wants'
          : device.powerWatts < ceiling * IDLE_SHARE
            ? 'idle'
            : null;
      const seen = this.demand.get(facts.id);
      if (kind === null) this.demand.delete(facts.id);
      else if (seen?.kind !== kind) this.demand.set(facts.id, { since: now, kind });
      else if (now - seen.since >= (kind === 'wants' ? WANTS_MS : IDLE_MS)) {
        this.demand.delete(facts.id);
        const id = `node-${facts.id}-${epochMs}`;
        if (kind === 'wants') this.ask(facts.id, now, id);
        else this.feed({ kind: 'node', node: facts.id, event: kind, id });
      }
    }
  }

  private event(kind: string, target: string, message: string, detail: Record<string, unknown>): void {
    if (this.events.length < 1000)
      this.events.push({ epochMs: this.state.epochMs, kind, target, message, detail });
  }
}

function isOrder(transfer: Transfer | undefined): boolean {
  return transfer?.asker.startsWith('order:') ?? false;
}

/** To the second: clocks that differ by a millisecond from cycle to cycle are no news. */
function revokesAt({ phase, cut, cutAt }: Transfer, { now, epochMs }: TransferState): EpochMs | null {
  if (cut || cutAt === null || (phase !== 'draining' && phase !== 'shedding')) return null;
  return Math.round((epochMs + cutAt - now) / 1000) * 1000;
}

function viewOf(transfer: Transfer, state: TransferState): TransferView {
  return {
    id: transfer.id,
    direction: transfer.direction,
    state: transfer.phase,
    workload: transfer.workload,
    limit: transfer.limit,
    askedWatts: transfer.askedWatts,
    watts: total(transfer.shares),
    nodes: transfer.shares,
    lease:
      transfer.lease === null
        ? null
        : {
            ...transfer.lease,
            expiresAt: transfer.lease.expiresAt === Number.MAX_SAFE_INTEGER ? null : transfer.lease.expiresAt,
          },
    asker: transfer.asker,
    priority: transfer.priority,
    until: transfer.until,
    revokesAt: revokesAt(transfer, state),
    createdAt: transfer.createdAt,
    endedAt: transfer.endedAt,
    reason: transfer.reason,
  };
}
