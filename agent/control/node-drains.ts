import type { DrainDriver, ServiceReading } from '../../drivers/gpu/drain.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Result } from '../../protocols/result.ts';
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
/** Failures in a row before somebody is told. */
const ALARM_AFTER = 3;

interface Watched {
  readonly id: DeviceId;
  readonly driver: DrainDriver;
  reading: ServiceReading | null;
  /** The write under way or last tried, and when. */
  tried: 'drain' | 'resume' | null;
  triedAt: MonotonicMs | null;
  resumedAt: MonotonicMs | null;
  inFlight: boolean;
  failures: number;
  failure: string;
  lastNote: string;
}

/** What to do about a node: pure. `wanted`: the hand-over that keeps it out of service, or `null`. */
export function serviceAction(
  wanted: string | null,
  reading: Pick<ServiceReading, 'state' | 'mark'>,
): 'drain' | 'resume' | null {
  // What runs on a node that is down nobody knows: it is left to who looks after it.
  if (reading.state === 'down') return null;
  const inService = reading.state === 'in-service';
  if (wanted !== null) return inService ? 'drain' : null;
  // Only what bears this agent's mark is its own to resume.
  return !inService && reading.mark !== null ? 'resume' : null;
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
      inFlight: false,
      failures: 0,
      failure: '',
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

  /** `withdrawn`: the nodes to keep out of service, by hand-over; every other one that bears our mark goes back. */
  want(withdrawn: Readonly<Record<DeviceId, string>>, now: MonotonicMs): void {
    for (const node of this.nodes) {
      const { reading, triedAt } = node;
      if (node.inFlight || reading === null || now - reading.requestedAt > STALE_MS) continue;
      // What was sent is judged by a reading from after it.
      if (triedAt !== null && reading.requestedAt <= triedAt) continue;
      const mark = withdrawn[node.id] ?? null;
      const action = serviceAction(mark, reading);
      if (action === node.tried && triedAt !== null && now - triedAt < RETRY_MS) continue;
      if (action !== null) void this.act(node, action, mark, now);
    }
  }

  conditions(): readonly Condition[] {
    return this.nodes
      .filter((node) => node.failures >= ALARM_AFTER)
      .map((node) => ({
        code: 'workload-manager',
        severity: 'minor',
        target: node.id,
        message: `The workload manager of ${node.id} does not do what it is asked: ${node.failure}.`,
        nextStep: 'Hand-overs go on by caps alone. Try its command by hand, as the user of the agent.',
      }));
  }

  drainEvents(epochMs: EpochMs): readonly SiteEvent[] {
    const { events } = this;
    this.events = [];
    return events.map((event) => ({ epochMs, ...event }));
  }

  private onReading(node: Watched, result: Result<ServiceReading>): void {
    if (!result.ok) {
      this.failed(node, result.error.message);
      return;
    }
    const before = node.reading;
    const after = result.value;
    node.reading = after;
    if (!node.inFlight) node.failures = 0;
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
    action: 'drain' | 'resume',
    mark: string | null,
    now: MonotonicMs,
  ): Promise<void> {
    const { stop, dryRun } = this.deps;
    node.inFlight = true;
    node.tried = action;
    node.triedAt = now;
    if (action === 'resume') node.resumedAt = now;
    const result =
      action === 'drain'
        ? await node.driver.drain(mark ?? '', { dryRun }, stop)
        : await node.driver.resume({ dryRun }, stop);
    node.inFlight = false;
    if (stop.aborted) return;
    if (!result.ok) {
      this.failed(node, result.error.message);
      return;
    }
    if (result.value.note !== node.lastNote || result.value.sent)
      this.event(action, node.id, `${node.id}: ${result.value.note}`, { sent: result.value.sent });
    node.lastNote = result.value.note;
    this.deps.hurry(targetOf(node.id));
  }

  private failed(node: Watched, message: string): void {
    node.failures += 1;
    if (node.failure !== message || node.failures === ALARM_AFTER)
      this.event('workload-manager', node.id, message, { failures: node.failures });
    node.failure = message;
  }

  private event(kind: string, target: DeviceId, message: string, detail: Record<string, unknown>): void {
    if (this.events.length < 1000) this.events.push({ kind, target, message, detail });
  }
}

function targetOf(id: DeviceId): string {
  return `${id}/service`;
}
