import type { ServiceState } from '../../drivers/gpu/drain.ts';
import type { DeviceId, EpochMs, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';

/**
 * The words of hand-overs between mining and AI. Everything here is plain data in whole watts: it is written
 * down before it acts, and read again after a restart.
 */

export type Direction = 'mining-to-ai' | 'ai-to-mining';

/** Whole life of a hand-over; `aborted`, `breached` on the side; `released` and `aborted` are the ends. */
export type Phase =
  | 'requested'
  | 'admitted'
  | 'reserved'
  | 'shedding'
  | 'verifying'
  | 'freed'
  | 'granted'
  | 'ramping'
  | 'active'
  | 'draining'
  | 'verifying-release'
  | 'released'
  | 'aborted'
  | 'breached';

export type WattsOf<Id extends string> = Readonly<Record<Id, Watts>>;

/** The right to draw: valid for its epoch and until it expires. */
export interface Lease {
  readonly epoch: number;
  readonly watts: Watts;
  readonly rampWattsPerMinute: Watts;
  readonly expiresAt: EpochMs;
}

export interface Transfer {
  readonly id: string;
  readonly direction: Direction;
  readonly workload: string;
  readonly limit: LimitId;
  readonly asker: string;
  readonly priority: number;
  /** Flexible watts may be withdrawn now; firm ones only when no miner is left on the path. */
  readonly notice: 'flexible' | 'firm';
  /** `null`: all there is. */
  readonly askedWatts: Watts | null;
  readonly until: EpochMs | null;
  /** Only these nodes of the workload; `null`: any. */
  readonly onlyNodes: readonly DeviceId[] | null;
  readonly createdAt: EpochMs;
  phase: Phase;
  /** When it entered its phase, and when the phase ends whatever happens. */
  since: MonotonicMs;
  deadlineAt: MonotonicMs;
  /** What passes to (mining-to-ai) or from (ai-to-mining) each node. */
  shares: WattsOf<DeviceId>;
  /** Part of an ai-to-mining hand-over that goes back to AI when it ends. */
  lent: WattsOf<DeviceId>;
  /** What it holds at each limit of its path at this moment. */
  held: WattsOf<LimitId>;
  lease: Lease | null;
  /** Part of a grant that may be drawn already. */
  rampedWatts: Watts;
  /** The ceilings of its nodes no longer include it. */
  cut: boolean;
  cutAt: MonotonicMs | null;
  /** Proofs in a row, and the age of the evidence of the last one. */
  proofs: number;
  provedAt: MonotonicMs;
  /** Reserved beyond its watts, because donors do not all obey. */
  extra: WattsOf<LimitId>;
  extraAt: MonotonicMs;
  /** Since when a node of it exceeds its ceiling. */
  overSince: MonotonicMs | null;
  /** The order's outcome was said. */
  answered: boolean;
  endedAt: EpochMs | null;
  reason: string;
}

/** The book of one limit: `capacity + debt = sum of holders + free`, exactly, in whole watts. */
export interface Account {
  readonly capacityWatts: Watts;
  /** What holders other than mining have above the capacity: to be recovered by revoking. */
  readonly debtWatts: Watts;
  readonly freeWatts: Watts;
  /** `loads`, `ai`, `mining`, `conversion` and the ids of transfers. */
  readonly holders: Readonly<Record<string, Watts>>;
}

export interface TransferState {
  readonly epoch: number;
  readonly now: MonotonicMs;
  readonly epochMs: EpochMs;
  /** In the order of their requests. */
  readonly transfers: readonly Transfer[];
  /** What a capped node may draw without any grant. A node that is not named here has no ceiling. */
  readonly bases: WattsOf<DeviceId>;
  /** Worst case of each node at the last tick; empty after a restart. */
  readonly worst: WattsOf<DeviceId>;
  readonly accounts: Readonly<Record<LimitId, Account>>;
  /** Nodes of staged conversions, by when they were first present and drawing. */
  readonly energised: Readonly<Record<DeviceId, EpochMs>>;
  /** Nodes that their workload manager shall keep out of service, by the hand-over that took them. */
  readonly withdrawn: Readonly<Record<DeviceId, string>>;
}

export const NO_TRANSFERS: TransferState = {
  epoch: 1,
  now: -1,
  epochMs: 0,
  transfers: [],
  bases: {},
  worst: {},
  accounts: {},
  energised: {},
  withdrawn: {},
};

/** What does not change: the tree, the nodes and what was promised to whom. */
export interface TransferSite {
  /** Parents before children. */
  readonly limits: readonly {
    readonly id: LimitId;
    readonly parent: LimitId | null;
    readonly gain: number;
  }[];
  readonly nodes: readonly TransferNode[];
  readonly workloads: readonly TransferWorkload[];
}

export interface TransferNode {
  readonly id: DeviceId;
  readonly limit: LimitId;
  /** Caps may be set: only such a node gets a ceiling. */
  readonly cappable: boolean;
  /** Its workload manager can be told to drain it, and says what state it is in. */
  readonly managed: boolean;
  readonly nameplateWatts: Watts;
}

export interface TransferWorkload {
  readonly id: string;
  readonly nodes: readonly DeviceId[];
  readonly firmWatts: Watts;
  readonly flexibleWatts: Watts;
  readonly noticeMs: Milliseconds;
  readonly checkpointMs: Milliseconds;
}

export interface TransferRules {
  readonly rampWattsPerMinute: Watts;
  /** A lease that is not renewed by fresh evidence for this long is withdrawn. */
  readonly leaseMs: Milliseconds;
  /** Donors have this long to shed and to be seen shedding. */
  readonly shedMs: Milliseconds;
  /** A node has this long to take up a grant once the ramp allows all of it, and to let go of one. */
  readonly followMs: Milliseconds;
  /** Bookkeeping phases: one cycle in life. */
  readonly stepMs: Milliseconds;
  /** A node above its ceiling for this long is a breach. */
  readonly breachMs: Milliseconds;
  /** What meters show may be this much older than their sample. */
  readonly meterLagMs: Milliseconds;
  /** Ended ones are remembered this long. */
  readonly rememberMs: Milliseconds;
  readonly liveAtMost: number;
}

export const TRANSFER_RULES: TransferRules = {
  rampWattsPerMinute: 100_000,
  leaseMs: 300_000,
  shedMs: 600_000,
  followMs: 300_000,
  stepMs: 30_000,
  breachMs: 20_000,
  meterLagMs: 2500,
  rememberMs: 86_400_000,
  liveAtMost: 64,
};

/** What one cycle shows of a limit. Needs are rounded up, room down. */
export interface LimitEvidence {
  readonly id: LimitId;
  readonly inForceWatts: Watts;
  /** What the worst case may use: in force less half the reserve. */
  readonly roomWatts: Watts;
  /** Worst case of everything below, by the ledger. */
  readonly worstWatts: Watts;
  /** The same if every command is obeyed. */
  readonly expectedWatts: Watts;
  readonly loadsWatts: Watts;
  readonly minersWorstWatts: Watts;
  /** Miners below that are neither verified down nor quarantined. */
  readonly minersUp: number;
  /** When the evidence was acquired; `null`: there is none that is fresh. */
  readonly sampledAt: MonotonicMs | null;
  /** Kept free below it for a staged conversion. */
  readonly conversionWatts: Watts;
  /** An order holds it under its rating. */
  readonly lowered: boolean;
}

export interface NodeEvidence {
  readonly id: DeviceId;
  readonly present: boolean;
  /** Fresh and readable. */
  readonly fresh: boolean;
  /** The most it could draw: its enforced caps and its host part. */
  readonly worstWatts: Watts;
  /** What it may be capped to, ascending. */
  readonly levelsWatts: readonly Watts[];
  readonly sampledAt: MonotonicMs | null;
  /** What its workload manager says, and when it was asked; `null`: nothing fresh. */
  readonly service: { readonly state: ServiceState; readonly requestedAt: MonotonicMs } | null;
}

export interface TransferRequest {
  readonly id: string;
  readonly direction: Direction;
  /** `null`: the first workload with nodes below the limit. */
  readonly workload: string | null;
  readonly limit: LimitId;
  readonly watts: Watts | null;
  readonly until: EpochMs | null;
  readonly asker: string;
  readonly priority: number;
  readonly notice: 'flexible' | 'firm';
  readonly onlyNodes: readonly DeviceId[] | null;
}

export type TransferInput =
  | { readonly kind: 'request'; readonly request: TransferRequest }
  /** The taker gives back, or a technician ends it. A stale epoch is refused. */
  | { readonly kind: 'end'; readonly id: string; readonly epoch: number | null; readonly reason: string }
  /** A workload manager keeps its lease. A stale epoch is refused. */
  | { readonly kind: 'renew'; readonly id: string; readonly epoch: number }
  /**
   * A GPU node starts to draw, has been idle for long, or its workload manager put it back into service by
   * itself (`resumed`: it is not drained again; `wants` says whether it also asks).
   */
  | {
      readonly kind: 'node';
      readonly node: DeviceId;
      readonly event: 'wants' | 'idle' | 'resumed';
      readonly id: string;
    }
  | {
      readonly kind: 'tick';
      readonly now: MonotonicMs;
      readonly epochMs: EpochMs;
      readonly limits: readonly LimitEvidence[];
      readonly nodes: readonly NodeEvidence[];
    };

export type TransferEffect =
  | {
      readonly kind: 'phase';
      readonly id: string;
      readonly from: Phase;
      readonly to: Phase;
      readonly reason: string;
    }
  | { readonly kind: 'grant'; readonly id: string; readonly lease: Lease; readonly shares: WattsOf<DeviceId> }
  | {
      readonly kind: 'revoke';
      readonly id: string;
      readonly epoch: number;
      readonly inMs: Milliseconds;
      readonly reason: string;
    }
  | {
      readonly kind: 'answer';
      readonly id: string;
      readonly status: 'running' | 'done' | 'failed';
      readonly reason: string;
      readonly watts: Watts;
    }
  | { readonly kind: 'refused'; readonly id: string; readonly reason: string }
  | {
      readonly kind: 'alarm';
      readonly id: string;
      readonly code: 'transfer-breach' | 'release-unproved';
      readonly message: string;
    }
  | { readonly kind: 'forgotten'; readonly id: string };

/** Phases in which AI may draw the grant of a mining-to-ai hand-over. */
export const GRANTED_PHASES: readonly Phase[] = ['granted', 'ramping', 'active', 'breached'];
/** Phases before a grant: the watts leave the donor and are not yet anybody's. */
export const OPENING_PHASES: readonly Phase[] = [
  'requested',
  'admitted',
  'reserved',
  'shedding',
  'verifying',
  'freed',
];

/** Whether a hand-over is over. */
export function ended(transfer: Pick<Transfer, 'phase'>): boolean {
  return transfer.phase === 'released' || transfer.phase === 'aborted';
}

/** Sum of a record of watts. */
export function total(watts: Readonly<Record<string, Watts>>): Watts {
  let sum = 0;
  for (const id in watts) sum += watts[id]!;
  return sum;
}
