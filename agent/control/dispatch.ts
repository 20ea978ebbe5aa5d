import type { LoadCommand, LoadDriver } from '../../drivers/load-driver.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Failure } from '../../protocols/result.ts';
import type { DeviceId, Milliseconds, Watts } from '../../protocols/units.ts';
import type { Command } from './decision.ts';

/** What became of sending one command. Not evidence of anything. */
export interface Sent {
  readonly device: DeviceId;
  readonly pointId: string;
  readonly acknowledged: boolean | null;
  readonly failure: Failure | null;
  readonly tookMs: Milliseconds;
}

/** GPU caps of one node for a whole-node limit. */
export type CapPlan = (
  device: DeviceId,
  limitWatts: Watts,
) => readonly { readonly uuid: string; readonly limitWatts: Watts }[];

export interface DispatchDeps {
  readonly drivers: ReadonlyMap<DeviceId, LoadDriver>;
  readonly clock: Clock;
  readonly stop: AbortSignal;
  readonly caps: CapPlan;
  readonly onSent: (sent: Sent) => void;
  /** Writes under way at once over all devices; a dead one holds its place until its time is over. */
  readonly writesAtOnce?: number;
}

const WRITES_AT_ONCE = 512;
/** Devices that did not answer last time hold at most this part of the places. */
const DOUBTFUL_SHARE = 0.25;
/** Devices that make one wait between connections hold none most of the time: so many times as many at once. */
const SLOW_FACTOR = 4;

/**
 * Who is sent to first: who takes long by its own rules, as its wait costs the others nothing; then the others; who
 * did not answer last time comes last.
 */
const LANES = ['slow', 'usual', 'doubtful'] as const;
type Lane = (typeof LANES)[number];
type Queue = Readonly<Record<Lane, Map<DeviceId, Command>>>;

const newQueue = (): Queue => ({ slow: new Map(), usual: new Map(), doubtful: new Map() });

/**
 * Sends commands: falls before rises, at most one in flight per device, and for each device only the latest:
 * a command that has not left yet is replaced. Emitting queues in the same turn of the event loop.
 */
export class Dispatcher {
  private readonly deps: DispatchDeps;
  private readonly downs = newQueue();
  private readonly ups = newQueue();
  private readonly inFlight = new Set<DeviceId>();
  private readonly underWay: Record<Lane, number> = { slow: 0, usual: 0, doubtful: 0 };
  /** Their last write got no answer. */
  private readonly doubtful = new Set<DeviceId>();
  sentCount = 0;

  constructor(deps: DispatchDeps) {
    this.deps = deps;
  }

  /** `silent`: who did not answer its last reading. */
  emit(commands: readonly Command[], silent: (device: DeviceId) => boolean = () => false): void {
    for (const command of commands) {
      const { device } = command;
      for (const queue of [this.downs, this.ups]) for (const lane of LANES) queue[lane].delete(device);
      const lane = this.doubtful.has(device) || silent(device) ? 'doubtful' : this.laneOf(device);
      (command.direction === 'down' ? this.downs : this.ups)[lane].set(device, command);
    }
    this.pump();
  }

  private laneOf(device: DeviceId): Lane {
    return (this.deps.drivers.get(device)?.leastCommandMs ?? 0) > 0 ? 'slow' : 'usual';
  }

  private pump(): void {
    for (const queue of [this.downs, this.ups]) for (const lane of LANES) this.start(queue[lane], lane);
  }

  private hasRoom(lane: Lane): boolean {
    const { writesAtOnce = WRITES_AT_ONCE } = this.deps;
    const { slow, usual, doubtful } = this.underWay;
    if (lane === 'slow') return slow < SLOW_FACTOR * writesAtOnce;
    if (usual + doubtful >= writesAtOnce) return false;
    return lane === 'usual' || doubtful < Math.max(1, Math.floor(writesAtOnce * DOUBTFUL_SHARE));
  }

  private start(waiting: Map<DeviceId, Command>, lane: Lane): void {
    for (const [device, command] of waiting) {
      if (this.deps.stop.aborted || !this.hasRoom(lane)) return;
      if (this.inFlight.has(device)) continue;
      waiting.delete(device);
      void this.send(command, lane);
    }
  }

  private async send(command: Command, lane: Lane): Promise<void> {
    const driver = this.deps.drivers.get(command.device);
    if (driver === undefined) return;
    this.inFlight.add(command.device);
    this.underWay[lane] += 1;
    const startedAt = this.deps.clock.monotonicMs();
    let acknowledged: boolean | null = true;
    let failure: Failure | null = null;
    for (const one of this.commandsFor(command)) {
      const result = await driver.apply(one, this.deps.stop);
      this.sentCount += 1;
      if (result.ok) acknowledged = acknowledged === false ? false : result.value.acknowledged;
      else {
        failure = result.error;
        acknowledged = false;
      }
    }
    this.inFlight.delete(command.device);
    this.underWay[lane] -= 1;
    if (failure?.kind === 'timeout' || failure?.kind === 'unreachable') this.doubtful.add(command.device);
    else this.doubtful.delete(command.device);
    this.deps.onSent({
      device: command.device,
      pointId: command.pointId,
      acknowledged,
      failure,
      tookMs: this.deps.clock.monotonicMs() - startedAt,
    });
    this.pump();
  }

  private commandsFor(command: Command): LoadCommand[] {
    if (command.kind === 'sleep') return [{ kind: 'sleep' }];
    const caps = command.limitWatts === null ? [] : this.deps.caps(command.device, command.limitWatts);
    if (caps.length > 0) return caps.map((cap) => ({ kind: 'cap', ...cap }));
    return [{ kind: 'run', limitWatts: command.limitWatts }];
  }
}
