import type { LoadDriver } from '../../drivers/load-driver.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Failure } from '../../protocols/result.ts';
import type { DeviceId, EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import { createPlanner } from '../allocation/planner.ts';
import type { BookState, Lease, OrderAnswer } from '../orders/book.ts';
import { limitsInForce } from '../orders/book.ts';
import { setPointsInForce } from '../orders/set-points.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteModel } from '../site/model.ts';
import type { SiteEvent, Snapshot } from '../site/snapshot.ts';
import type { InForce, Mode } from '../site/view.ts';
import { controlConditions } from './conditions.ts';
import { type DecisionRecord, recordOf } from './decision.ts';
import { Dispatcher, type Sent } from './dispatch.ts';
import { dueForProof } from './late-falls.ts';
import { observe } from './observation.ts';
import { capRange, type Economics } from './points.ts';
import type { Polisher } from './polisher.ts';
import {
  type ControlState,
  INITIAL_STATE,
  type Intervention,
  type StepOrders,
  type StepResult,
  step,
} from './step.ts';
import { limitsBelow, type Permitted, type StepContext } from './step-context.ts';

/** Where the controller writes down what it is about to do. `false`: it could not be made durable. */
export interface ControlJournal {
  /** Why nothing can be made durable, or `null`. */
  readonly failure: string | null;
  /** Called before any command of this cycle leaves. Ups need `true`. */
  recordStep(input: StepRecord): boolean;
  recordSent(sent: Sent, at: MonotonicMs): void;
}

/** One cycle as the journal keeps it. */
export interface StepRecord {
  readonly cycle: number;
  readonly ts: EpochMs;
  readonly observation: ReturnType<typeof observe>;
  readonly orders: StepOrders;
  readonly result: StepResult;
  readonly before: ControlState;
  readonly context: StepContext;
}

export interface ControllerDeps {
  readonly model: SiteModel;
  readonly context: StepContext;
  readonly clock: Clock;
  readonly drivers: ReadonlyMap<DeviceId, LoadDriver>;
  readonly stop: AbortSignal;
  readonly dryRun: boolean;
  readonly deviceStaleMs: number;
  readonly journal: ControlJournal | null;
  /** Asks for an early reading of a device that was commanded. */
  readonly hurry: (device: DeviceId) => void;
  /** Searches on between cycles; without it every cycle has its own answer alone. */
  readonly polisher?: Pick<Polisher, 'found' | 'offer'>;
}

/** What a cycle of control gives to the rest of the agent. */
export interface ControlCycle {
  readonly inForce: ReadonlyMap<LimitId, InForce>;
  readonly worstWatts: ReadonlyMap<LimitId, Watts>;
  readonly mode: Mode;
  readonly decision: DecisionRecord | null;
  readonly conditions: readonly Condition[];
  readonly events: readonly SiteEvent[];
  readonly result: StepResult;
}

/** Decisions kept for `explain` and the page. */
const DECISIONS_KEPT = 500;
const COMMANDS_KEPT_PER_DEVICE = 20;

/** One command in the memory of `explain`. */
export interface CommandMemory {
  readonly ts: EpochMs;
  readonly cycle: number;
  readonly pointId: string;
  readonly fromPointId: string;
  readonly watts: Watts;
  readonly direction: 'up' | 'down';
  readonly why: string;
  readonly bindingLimit: LimitId | null;
  readonly dollarsPerKwh: number | null;
  sent: {
    readonly ts: EpochMs;
    readonly acknowledged: boolean | null;
    readonly failure: string | null;
  } | null;
  evidence: { readonly ts: EpochMs; readonly text: string } | null;
}

/**
 * The shell around `step`: holds what control remembers, runs a cycle, writes it down, sends what it
 * commands. No decision is made here.
 */
export class Controller {
  private readonly deps: ControllerDeps;
  private readonly dispatcher: Dispatcher;
  private readonly planner = createPlanner();
  private readonly momentPlanner = createPlanner();
  private state: ControlState;
  private last: StepResult | null = null;
  private readonly decisions: DecisionRecord[] = [];
  private readonly commands = new Map<DeviceId, CommandMemory[]>();
  private events: SiteEvent[] = [];
  private journalHealthy = true;
  private readonly interventions: Intervention[] = [];

  constructor(deps: ControllerDeps, restored: ControlState | null) {
    this.deps = deps;
    this.state = restored ?? INITIAL_STATE;
    this.dispatcher = new Dispatcher({
      drivers: deps.drivers,
      clock: deps.clock,
      stop: deps.stop,
      caps: (device, limitWatts) => this.capsFor(device, limitWatts),
      onSent: (sent) => this.onSent(sent),
    });
  }

  /** Runs one cycle on a frozen snapshot: decides, writes down, sends. */
  cycle(
    snapshot: Snapshot,
    book: BookState,
    economics: Economics,
    extra: Permitted & {
      shedOnly: boolean;
      /** When a followed order must be met. */
      deadlineAt?: (orderId: string) => MonotonicMs | null;
    },
  ): ControlCycle {
    const { model, context, dryRun } = this.deps;
    const ordered = limitsInForce(book, model.limits, snapshot.epochMs);
    const setPoints = setPointsInForce(book, model.limits, snapshot.epochMs);
    const orders: StepOrders = {
      economics,
      inForce: Object.fromEntries(
        [...ordered.values()].map((limit) => {
          const deadlineAt = deadlineOf(book, limit, snapshot, extra.deadlineAt);
          const setPoint = setPoints.get(limit.limit);
          return [
            limit.limit,
            { watts: limit.watts, deadlineAt, ...(setPoint === undefined ? {} : { setPoint }) },
          ];
        }),
      ),
      shedOnly: extra.shedOnly || !this.journalHealthy,
      reservedWatts: extra.reservedWatts,
      ceilings: extra.ceilings,
      grantedWatts: extra.grantedWatts ?? {},
      interventions: this.interventions.splice(0),
      ...(this.deps.polisher?.found == null ? {} : { polished: this.deps.polisher.found }),
    };
    const observation = observe(model, snapshot, { deviceStaleMs: this.deps.deviceStaleMs });
    const before = this.state;
    const since = this.last?.decision.at ?? Number.NEGATIVE_INFINITY;
    const result = step(context, before, observation, orders, this.planner, this.momentPlanner);
    const durable =
      this.deps.journal?.recordStep({
        cycle: snapshot.cycle,
        ts: snapshot.epochMs,
        observation,
        orders,
        result,
        before,
        context,
      }) ?? true;
    this.journalHealthy = durable;
    // Without a durable booking nothing may rise; falls go out all the same.
    const commands = dryRun
      ? []
      : result.decision.commands.filter((command) => durable || command.direction === 'down');
    this.state = dryRun
      ? { ...result.state, entries: keepUncommanded(before, result) }
      : durable
        ? result.state
        : withoutUps(before, result);
    this.last = result;
    this.deps.polisher?.offer(result.search.problem, result.search.gap);
    const mode = modeOf(context, dryRun, orders, result, ordered, model);
    const inForce = withBounds(ordered, result.state);
    const record = this.remember(result, snapshot, mode, dryRun);
    this.dispatcher.emit(commands, silentOf(snapshot));
    for (const id of dueForProof(result.inputs, since, result.decision.at)) this.deps.hurry(id);
    const { events } = this;
    this.events = [];
    return {
      inForce,
      worstWatts: new Map(result.decision.sums.map((sum) => [sum.limit, sum.worstWatts])),
      mode,
      decision: record,
      conditions: controlConditions(
        context,
        result,
        observation,
        inForce,
        this.journalHealthy ? null : (this.deps.journal?.failure ?? 'unknown'),
      ),
      events: [...events, ...findingEvents(result, snapshot.epochMs)],
      result,
    };
  }

  /** Notes what a person said about a device; the next cycle takes it in. */
  intervene(intervention: Intervention): void {
    this.interventions.push(intervention);
  }

  get commandCount(): number {
    return this.dispatcher.sentCount;
  }

  get memory(): ControlState {
    return this.state;
  }

  get lastResult(): StepResult | null {
    return this.last;
  }

  recentDecisions(): readonly DecisionRecord[] {
    return this.decisions;
  }

  commandsOf(device: DeviceId): readonly CommandMemory[] {
    return this.commands.get(device) ?? [];
  }

  private remember(
    result: StepResult,
    snapshot: Snapshot,
    mode: Mode,
    dryRun: boolean,
  ): DecisionRecord | null {
    const { decision, findings } = result;
    for (const finding of findings) {
      const list = this.commands.get(finding.device);
      const latest = list?.at(-1);
      if (
        latest !== undefined &&
        latest.evidence === null &&
        (finding.kind === 'obeyed' || finding.kind === 'disobeyed')
      ) {
        latest.evidence = { ts: snapshot.epochMs, text: finding.message };
      }
    }
    if (decision.commands.length === 0) return null;
    for (const command of decision.commands) {
      const list = this.commands.get(command.device) ?? [];
      list.push({
        ts: snapshot.epochMs,
        cycle: snapshot.cycle,
        pointId: command.pointId,
        fromPointId: command.fromPointId,
        watts: command.watts,
        direction: command.direction,
        why: dryRun ? `dry run, not sent: ${command.why}` : command.why,
        bindingLimit: command.bindingLimit,
        dollarsPerKwh: command.dollarsPerKwh,
        sent: null,
        evidence: null,
      });
      if (list.length > COMMANDS_KEPT_PER_DEVICE) list.shift();
      this.commands.set(command.device, list);
    }
    const record = recordOf(decision, { ts: snapshot.epochMs, cycle: snapshot.cycle, mode });
    this.decisions.push(record);
    if (this.decisions.length > DECISIONS_KEPT) this.decisions.shift();
    return record;
  }

  private onSent(sent: Sent): void {
    const now = this.deps.clock.epochMs();
    this.deps.journal?.recordSent(sent, this.deps.clock.monotonicMs());
    const latest = this.commands.get(sent.device)?.findLast((command) => command.pointId === sent.pointId);
    if (latest !== undefined && latest.sent === null) {
      latest.sent = { ts: now, acknowledged: sent.acknowledged, failure: sent.failure?.message ?? null };
    }
    if (sent.failure !== null && this.events.length < 1000) {
      this.events.push({
        epochMs: now,
        kind: 'command-failed',
        target: sent.device,
        message: `${sent.pointId}: ${sent.failure.message}`,
        detail: { failure: sent.failure.kind },
      });
    }
    this.deps.hurry(sent.device);
  }

  /** Equal share of the range to every GPU: caps within their own bounds, host part taken off. */
  private capsFor(device: DeviceId, limitWatts: Watts): { uuid: string; limitWatts: Watts }[] {
    const facts = this.last?.facts.get(device);
    const stepDevice = this.deps.context.devices.find((candidate) => candidate.model.id === device);
    if (facts?.kind !== 'gpu-node' || stepDevice === undefined || this.gpusOf === null) return [];
    const gpus = this.gpusOf(device);
    const most = gpus.reduce((sum, gpu) => sum + gpu.maxWatts, 0);
    const host = stepDevice.hostWatts ?? Math.max(0, facts.nameplateWatts - most);
    const share = most === 0 ? 0 : (limitWatts - host) / most;
    return gpus.map((gpu) => ({
      uuid: gpu.uuid,
      limitWatts: within(capRange(gpu, stepDevice.capBounds), Math.round(gpu.maxWatts * share)),
    }));
  }

  /** Set by the assembly: the GPUs of a node as last read. */
  gpusOf: ((device: DeviceId) => readonly { uuid: string; minWatts: Watts; maxWatts: Watts }[]) | null = null;
}

function within({ minWatts, maxWatts }: { minWatts: Watts; maxWatts: Watts }, watts: Watts): Watts {
  return Math.max(minWatts, Math.min(maxWatts, watts));
}

/**
 * When a limit that fell must be met: from the receipt of its order on the monotonic clock, where the order is
 * still followed; else by the wall clock of its acceptance.
 */
function deadlineOf(
  book: BookState,
  limit: InForce,
  snapshot: Snapshot,
  followed: ((orderId: string) => MonotonicMs | null) | undefined,
): MonotonicMs | null {
  const lease = book.leases.find(
    (candidate) =>
      candidate.issuer === limit.source && candidate.limit === limit.limit && candidate.watts === limit.watts,
  );
  if (lease === undefined) return null;
  const known = followed?.(lease.orderId) ?? null;
  return Math.round(known ?? snapshot.monotonicMs + (lease.createdAt + lease.withinMs - snapshot.epochMs));
}

/** What is in force once phases, averages and heat are looked at. */
function withBounds(ordered: ReadonlyMap<LimitId, InForce>, state: ControlState): Map<LimitId, InForce> {
  const inForce = new Map(ordered);
  for (const [limit, { heldBy, inForceWatts }] of Object.entries(state.limits)) {
    if (heldBy === undefined) continue;
    inForce.set(limit, {
      limit,
      watts: inForceWatts,
      source: heldBy,
      priority: null,
      until: null,
      onExpiry: null,
    });
  }
  return inForce;
}

/** Dry run: what is seen is learnt, what was decided is not booked. */
function keepUncommanded(before: ControlState, result: StepResult): ControlState['entries'] {
  const commanded = new Set(result.decision.commands.map((command) => command.device));
  const entries: Record<string, ControlState['entries'][string]> = {};
  for (const [id, entry] of Object.entries(result.state.entries)) {
    entries[id] = commanded.has(id)
      ? { ...entry, pending: before.entries[id]?.pending ?? null, wakes: before.entries[id]?.wakes ?? [] }
      : entry;
  }
  return entries;
}

function withoutUps(before: ControlState, result: StepResult): ControlState {
  const entries = { ...result.state.entries };
  for (const command of result.decision.commands) {
    const known = before.entries[command.device];
    if (command.direction === 'up' && known !== undefined) entries[command.device] = known;
  }
  return { ...result.state, entries };
}

function modeOf(
  context: StepContext,
  dryRun: boolean,
  orders: StepOrders,
  result: StepResult,
  inForce: ReadonlyMap<LimitId, InForce>,
  model: SiteModel,
): Mode {
  if (dryRun) return 'dry-run';
  if (result.state.phase === 'starting') return 'starting';
  if (orders.shedOnly) return 'shed-only';
  // The grid connection is not seen: nothing rises until it is.
  const blind = context.limits.some(
    (limit) =>
      limit.parent === null &&
      limit.metered &&
      result.decision.at - (result.state.limits[limit.id]?.goodAt ?? 0) > context.rules.meterStaleMs,
  );
  if (blind) return 'shed-only';
  const lowered = model.limits.some(
    (limit) => (inForce.get(limit.id)?.watts ?? limit.ratingWatts) < limit.ratingWatts,
  );
  return lowered ? 'curtailed' : 'normal';
}

function findingEvents(result: StepResult, epochMs: EpochMs): SiteEvent[] {
  return result.findings
    .filter((finding) => finding.kind !== 'obeyed')
    .map((finding) => ({ epochMs, kind: finding.kind, target: finding.device, message: finding.message }));
}

/** What an order's answer can promise at once: what is expected by its deadline, and what will be short. */
export function promise(
  result: StepResult,
  lease: Lease,
  context: StepContext,
  now: MonotonicMs,
): { expectedWatts: Watts; shortfallWatts: Watts } {
  const sum = result.decision.sums.find((candidate) => candidate.limit === lease.limit);
  const deadlineAt = now + lease.withinMs;
  const under = limitsBelow(context, lease.limit);
  let later = 0;
  let falls = 0;
  for (const entry of Object.values(result.state.entries)) {
    const facts = result.facts.get(entry.id);
    const { pending } = entry;
    if (facts === undefined || !under.has(facts.limit) || pending === null || pending.direction !== 'down')
      continue;
    const drop = Math.max(0, pending.fromWatts - pending.watts);
    // Booked in this very cycle: the sums were made before it.
    if (pending.sentAt === result.decision.at) falls += drop;
    const takesMs = pending.kind === 'sleep' ? facts.sleepMs : facts.changeMs;
    if (takesMs === null || pending.sentAt + takesMs > deadlineAt) later += drop;
  }
  const flows = Math.max(0, Math.round((sum?.expectedWatts ?? 0) - falls + later));
  // What nothing commanded can meet, whatever flows now: an idle job may start in the next second.
  const short = result.decision.shortfalls.find(({ target }) => target === lease.limit)?.watts ?? 0;
  const over = Math.floor(short - lease.watts * context.rules.reserveShare);
  const expectedWatts = over > 0 ? Math.max(flows, lease.watts + over) : flows;
  return { expectedWatts, shortfallWatts: Math.max(0, expectedWatts - lease.watts) };
}

/** An answer with what a promise adds to it. */
export function promised(
  answer: OrderAnswer,
  values: { expectedWatts: Watts; shortfallWatts: Watts },
): OrderAnswer {
  return { ...answer, ...values };
}

/** Who did not answer its last reading: a command to it comes after those to the others. */
function silentOf({ devices }: Snapshot): (device: DeviceId) => boolean {
  let silent: ReadonlySet<DeviceId> | null = null;
  return (device) => {
    silent ??= new Set(devices.flatMap(({ id, failure }) => (isSilence(failure) ? [id] : [])));
    return silent.has(device);
  };
}

function isSilence(failure: Failure | null): boolean {
  return failure?.kind === 'timeout' || failure?.kind === 'unreachable';
}
