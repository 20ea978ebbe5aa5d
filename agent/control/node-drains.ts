import type { DrainDriver, ServiceReading, ServiceWrite } from '../../drivers/gpu/drain.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Failure, Result } from '../../protocols/result.ts';
import type { DeviceId, EpochMs, Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { Condition } from '../site/alarms.ts';
import type { SiteEvent } from '../site/snapshot.ts';
import type { PollTarget } from './poller.ts';

export interface NodeDrainsDeps {
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly dryRun: boolean;
  /** Asks for an early reading of a target that was commanded. */
  readonly hurry: (target: string) => void;
}

/** A reading older than this says nothing. */
const STALE_MS: Milliseconds = 60_000;
const INTERVAL_MS: Milliseconds = 5000;
/** What showed no effect is tried again after this. */
const RETRY_MS: Milliseconds = 30_000;
/** Work is told to end so long before its time to end must begin: a budget may say "not now" once or twice. */
const EVICT_AHEAD_MS: Milliseconds = 15_000;
/** Failures in a row before somebody is told. */
const ALARM_AFTER = 3;

type ServiceAction = 'drain' | 'evict' | 'resume' | 'power-down' | 'power-up';

/** What a hand-over says of its nodes. */
export interface HandOverTimes {
  /** When it takes their watts; `null` = it has. */
  readonly noticeEnds: MonotonicMs | null;
  /** Their watts are elsewhere, proved: the nodes need not be seen any more. */
  readonly isSettled: boolean;
}

/** What it is time for, and what there is a way for. */
export interface ServiceMay {
  readonly evict: boolean;
  readonly powerDown: boolean;
  /** It was this agent that last put the node back: a switching-on that got lost is repeated. */
  readonly powerUpAgain: boolean;
}

interface Watched {
  readonly id: DeviceId;
  readonly driver: DrainDriver;
  reading: ServiceReading | null;
  /** The write under way or last tried, and when. */
  tried: ServiceAction | null;
  triedAt: MonotonicMs | null;
  resumedAt: MonotonicMs | null;
  drainedSince: MonotonicMs | null;
  inFlight: boolean;
  /** In a row, of readings and of writes: that one goes well says nothing of the other. */
  readonly failures: { read: number; write: number };
  failure: string;
  hint: string | null;
  lastNote: string;
}

/**
 * What to do about a node: pure. `wanted`: the hand-over that keeps it out of service, or `null`.
 */
export function serviceAction(
  wanted: string | null,
  reading: Pick<ServiceReading, 'state' | 'mark' | 'power' | 'closed'>,
  may: ServiceMay,
): ServiceAction | null {
  if (reading.power !== undefined && reading.power !== 'on') return offAction(wanted, reading, may);
  // What runs on a node that is down nobody knows: it is left to who looks after it.
  if (reading.state === 'down') return null;
  const inService = reading.state === 'in-service';
  if (wanted !== null && inService) return 'drain';
  // What somebody else drained is left to end as they see fit.
  if (wanted !== null) {
    if (reading.mark === null) return null;
    if (reading.state === 'draining') return may.evict ? 'evict' : null;
    return may.powerDown ? 'power-down' : null;
  }
  // Only what bears this agent's mark is its own to resume.
  return !inService && reading.mark !== null ? 'resume' : null;
}

/** The same for a node that is off, or on its way there or back. */
function offAction(
  wanted: string | null,
  { power, closed, mark }: Pick<ServiceReading, 'mark' | 'power' | 'closed'>,
  may: ServiceMay,
): ServiceAction | null {
  if (wanted !== null) {
    // Work that waits would wake it: its watts are elsewhere. What somebody else switched off bears no mark.
    return closed === false && mark !== null && power !== 'coming-on' ? 'drain' : null;
  }
  // On its way down it would not hear.
  if (power !== 'off') return null;
  return mark !== null || may.powerUpAgain ? 'power-up' : null;
}

/** Reads what workload managers say of their nodes and brings it to what hand-overs want, level by level. */
export class NodeDrains {
  private readonly deps: NodeDrainsDeps;
  private readonly nodes: readonly Watched[];
  private resumed: DeviceId[] = [];
  private events: Omit<SiteEvent, 'epochMs'>[] = [];

  constructor(drivers: ReadonlyMap<DeviceId, DrainDriver>, deps: NodeDrainsDeps) {
    this.deps = deps;
    this.nodes = [...drivers].map(([id, driver]) => ({
      id,
      driver,
      reading: null,
      tried: null,
      triedAt: null,
      resumedAt: null,
      drainedSince: null,
      inFlight: false,
      failures: { read: 0, write: 0 },
      failure: '',
      hint: null,
      lastNote: '',
    }));
  }

  /** What the poller reads. */
  targets(): PollTarget<ServiceReading>[] {
    return this.nodes.map((node) => ({
      id: targetOf(node.id),
      intervalMs: INTERVAL_MS,
      read: (signal) => node.driver.read(signal),
      onResult: (result) => this.onReading(node, result),
    }));
  }

  /** Fresh readings. */
  readings(now: MonotonicMs): ReadonlyMap<DeviceId, ServiceReading> {
    const fresh = new Map<DeviceId, ServiceReading>();
    for (const { id, reading } of this.nodes)
      if (reading !== null && now - reading.requestedAt <= STALE_MS) fresh.set(id, reading);
    return fresh;
  }

  /** Nodes that somebody else put back into service since this was last asked. */
  takeResumed(): readonly DeviceId[] {
    const { resumed } = this;
    this.resumed = [];
    return resumed;
  }

  /**
   * `withdrawn`: the nodes to keep out of service, by hand-over; every other one that bears our mark goes back.
   * Before the notice of a hand-over is used up no work is told to end, where the workload manager can do that; before
   * it is settled no node is switched off.
   */
  want(
    withdrawn: Readonly<Record<DeviceId, string>>,
    times: (handOver: string) => HandOverTimes,
    now: MonotonicMs,
  ): void {
    for (const node of this.nodes) {
      const { reading, triedAt } = node;
      if (node.inFlight || reading === null || now - reading.requestedAt > STALE_MS) continue;
      // What was sent is judged by a reading from after it.
      if (triedAt !== null && reading.requestedAt <= triedAt) continue;
      const mark = withdrawn[node.id] ?? null;
      const action = serviceAction(mark, reading, mayNow(node, mark === null ? null : times(mark), now));
      // To tell work to end is asked again at every reading: a budget may say "not now".
      const againMs = action === 'evict' ? 0 : RETRY_MS;
      if (action === node.tried && triedAt !== null && now - triedAt < againMs) continue;
      if (action !== null) void this.act(node, action, mark, now);
    }
  }

  conditions(): readonly Condition[] {
    return this.nodes
      .filter(({ failures }) => Math.max(failures.read, failures.write) >= ALARM_AFTER)
      .map((node) => ({
        code: 'workload-manager',
        severity: 'minor',
        target: node.id,
        message: `The workload manager of ${node.id} does not do what it is asked: ${node.failure}.`,
        nextStep: `Hand-overs go on by caps alone. ${node.hint ?? 'Try its command by hand, as the user of the agent.'}`,
      }));
  }

  drainEvents(epochMs: EpochMs): readonly SiteEvent[] {
    const { events } = this;
    this.events = [];
    return events.map((event) => ({ epochMs, ...event }));
  }

  private onReading(node: Watched, result: Result<ServiceReading>): void {
    if (!result.ok) {
      this.failed(node, 'read', result.error);
      return;
    }
    const before = node.reading;
    const after = result.value;
    node.reading = after;
    node.failures.read = 0;
    if (after.state !== 'drained') node.drainedSince = null;
    else node.drainedSince ??= after.requestedAt;
    if (before === null || before.state === after.state) return;
    const reason = after.reason === null ? '' : ` (${after.reason})`;
    this.event('service', node.id, `${node.id} is ${after.state}${reason}`, {
      from: before.state,
      to: after.state,
    });
    const wasOut = before.state === 'draining' || before.state === 'drained';
    const ours = node.resumedAt !== null && node.resumedAt >= before.requestedAt;
    if (wasOut && after.state === 'in-service' && !ours) this.resumed.push(node.id);
  }

  private async act(
    node: Watched,
    action: ServiceAction,
    mark: string | null,
    now: MonotonicMs,
  ): Promise<void> {
    const { stop, dryRun } = this.deps;
    const { driver } = node;
    node.inFlight = true;
    node.tried = action;
    node.triedAt = now;
    if (action === 'resume' || action === 'power-up') node.resumedAt = now;
    let result: Result<ServiceWrite>;
    if (action === 'resume') result = await driver.resume({ dryRun }, stop);
    else if (action === 'evict' && driver.evict !== undefined) result = await driver.evict({ dryRun }, stop);
    else if (action === 'power-down' && driver.powerDown !== undefined)
      result = await driver.powerDown({ dryRun }, stop);
    else if (action === 'power-up' && driver.powerUp !== undefined)
      result = await driver.powerUp({ dryRun }, stop);
    else result = await driver.drain(mark ?? '', { dryRun }, stop);
    node.inFlight = false;
    if (stop.aborted) return;
    if (!result.ok) {
      this.failed(node, 'write', result.error);
      return;
    }
    node.failures.write = 0;
    if (result.value.note !== node.lastNote || result.value.sent)
      this.event(action, node.id, `${node.id}: ${result.value.note}`, { sent: result.value.sent });
    node.lastNote = result.value.note;
    this.deps.hurry(targetOf(node.id));
  }

  private failed(node: Watched, what: 'read' | 'write', error: Failure): void {
    const { message, hint } = error;
    node.failures[what] += 1;
    const failures = node.failures[what];
    if (node.failure !== message || failures === ALARM_AFTER)
      this.event('workload-manager', node.id, message, { failures });
    node.failure = message;
    node.hint = hint ?? null;
  }

  private event(kind: string, target: DeviceId, message: string, detail: Record<string, unknown>): void {
    if (this.events.length < 1000) this.events.push({ kind, target, message, detail });
  }
}

/** `times`: of the hand-over that the node is out of service for. */
function mayNow(node: Watched, times: HandOverTimes | null, now: MonotonicMs): ServiceMay {
  const { graceMs = 0, evict, powerDown, powerDownAfterMs } = node.driver;
  const endsAt = times?.noticeEnds ?? null;
  return {
    evict: evict !== undefined && (endsAt === null || now >= endsAt - graceMs - EVICT_AHEAD_MS),
    powerDown:
      powerDown !== undefined &&
      powerDownAfterMs !== undefined &&
      times?.isSettled === true &&
      node.drainedSince !== null &&
      now - node.drainedSince >= powerDownAfterMs,
    powerUpAgain: node.tried === 'power-up',
  };
}

function targetOf(id: DeviceId): string {
  return `${id}/service`;
}
