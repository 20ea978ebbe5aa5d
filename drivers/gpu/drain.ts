import type { Clock } from '../../protocols/clock.ts';
import type { Result } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import { CommandDrain } from './command-drain.ts';
import { type KubernetesConfig, KubernetesDrain } from './kubernetes-drain.ts';
import { type SlurmConfig, SlurmDrain } from './slurm-drain.ts';

/**
 * What a workload manager says of a node: `in-service` takes new work, `draining` takes none and still works,
 * `drained` has none left, `down` is not answering or off: what runs there is not known.
 */
export type ServiceState = 'in-service' | 'draining' | 'drained' | 'down';

/** Whether the workload manager has the node switched on. */
export type NodePower = 'on' | 'going-off' | 'off' | 'coming-on';

export interface ServiceReading {
  readonly state: ServiceState;
  /** The hand-over for which this agent drained it; `null`: nobody did, or somebody else. */
  readonly mark: string | null;
  /** Why it is out of service, in the words of who did it. */
  readonly reason: string | null;
  /** Only where the workload manager switches nodes off and on. */
  readonly power?: NodePower;
  /** Of a node that is not on: no work may wake it. */
  readonly closed?: boolean;
  /** When it was asked for: evidence of what was commanded before. */
  readonly requestedAt: MonotonicMs;
}

/** What became of a write. Not evidence: a later reading is. */
export interface ServiceWrite {
  /** `false`: there was nothing to do, or it was a dry run. */
  readonly sent: boolean;
  readonly note: string;
}

export interface DrainOptions {
  /** Says what would be run and runs nothing that writes. */
  readonly dryRun: boolean;
}

/**
 * Takes one node out of service and puts it back, in the way of its workload manager. Each write reads the state
 * first: to drain what is drained already, by whomever, or to resume what is in service, is done and sends
 * nothing. What somebody else drained is never resumed (`refused`).
 */
export interface DrainDriver {
  readonly kind: 'slurm' | 'kubernetes' | 'command';
  /** How long work has to end once it is told to; absent where it is never told and ends by itself. */
  readonly graceMs?: Milliseconds;
  read(signal: AbortSignal): Promise<Result<ServiceReading>>;
  /** `mark`: the hand-over, written down with the node. */
  drain(mark: string, options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>>;
  resume(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>>;
  /** Tells what still runs on a node that drains to end. May be repeated. */
  evict?(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>>;
  /** How long a node is drained, and its watts handed over, before it is switched off; absent: never. */
  readonly powerDownAfterMs?: Milliseconds | undefined;
  /** Switches off a node that this agent drained. */
  powerDown?(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>>;
  /** Puts it back into service and switches it on. May be repeated while it is off. */
  powerUp?(options: DrainOptions, signal: AbortSignal): Promise<Result<ServiceWrite>>;
}

/** How a node is drained, as configured. */
export type DrainConfig =
  | SlurmConfig
  | KubernetesConfig
  | { readonly kind: 'command'; readonly command: readonly string[] };

/** `nodeId`: the agent's name of the node. */
export function openDrain(nodeId: string, config: DrainConfig, clock: Clock): DrainDriver {
  switch (config.kind) {
    case 'slurm':
      return new SlurmDrain(config, clock);
    case 'kubernetes':
      return new KubernetesDrain(config, clock);
    case 'command':
      return new CommandDrain(nodeId, config.command, clock);
  }
}
