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
/** Devices whose last write got no answer hold at most this part of the places. */
const DOUBTFUL_SHARE = 0.25;

/**
 * Sends commands: falls before rises, at most one in flight per device, and for each device only the latest:
 * a command that has not left yet is replaced. Emitting queues in the same turn of the event loop.
 */
export class Dispatcher {
  private readonly deps: DispatchDeps;
  private readonly downs = new Map<DeviceId, Command>();
  private readonly ups = new Map<DeviceId, Command>();
  private readonly inFlight = new Set<DeviceId>();
  /** Their last write got no answer: they come after those that do answer. */
  private readonly doubtful = new Set<DeviceId>();
  private doubtfulInFlight = 0;
  sentCount = 0;

  constructor(deps: DispatchDeps) {
    this.deps = deps;
  }

  emit(commands: readonly Command[]): void {
    for (const command of commands) {
      this.downs.delete(command.device);
      this.ups.delete(command.device);
      (command.direction === 'down' ? this.downs : this.ups).set(command.device, command);
    }
    this.pump();
  }

  private pump(): void {
    const { writesAtOnce = WRITES_AT_ONCE } = this.deps;
    for (const queue of [this.downs, this.ups]) {
      this.start(queue, false, writesAtOnce);
      this.start(queue, true, writesAtOnce);
    }
  }

  private start(queue: Map<DeviceId, Command>, doubtful: boolean, writesAtOnce: number): void {
    const mostDoubtful = Math.max(1, Math.floor(writesAtOnce * DOUBTFUL_SHARE));
    for (const [device, command] of queue) {
      if (this.inFlight.size >= writesAtOnce || this.deps.stop.aborted) return;
      if (doubtful && this.doubtfulInFlight >= mostDoubtful) return;
      if (this.inFlight.has(device) || this.doubtful.has(device) !== doubtful) continue;
      queue.delete(device);
      void this.send(command, doubtful);
    }
  }

  private async send(command: Command, doubtful: boolean): Promise<void> {
    const driver = this.deps.drivers.get(command.device);
    if (driver === undefined) return;
    this.inFlight.add(command.device);
    if (doubtful) this.doubtfulInFlight += 1;
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
    if (doubtful) this.doubtfulInFlight -= 1;
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
