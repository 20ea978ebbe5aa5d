import type { Identity, LoadReading, MeterReading, Quality } from '../../drivers/load-driver.ts';
import type { Failure } from '../../protocols/result.ts';
import type { DeviceId, EpochMs, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';

/** What is true now, frozen once per cycle: everything that a decision may look at. Plain data. */
export interface Snapshot {
  readonly cycle: number;
  readonly monotonicMs: MonotonicMs;
  readonly epochMs: EpochMs;
  readonly limits: readonly LimitState[];
  readonly meters: readonly MeterState[];
  readonly devices: readonly DeviceState[];
}

/**
 * - `expected`: configured, never seen: reserves no power
 * - `present`: answers
 * - `absent`: seen before, silent now: keeps its reservation
 * - `held`: people are at work on it: commanded by nobody
 * - `removed`: an operator said so
 */
export type InventoryState = 'expected' | 'present' | 'absent' | 'held' | 'removed';

export interface LimitState {
  readonly id: LimitId;
  /** What flows through it as far as known; `null` when nothing below or at it is known. */
  readonly powerWatts: Watts | null;
  /** Measured by its own meter, or estimated from what hangs below. */
  readonly basis: 'measured' | 'estimated';
  readonly quality: Quality;
  /** Age of the figure; of the oldest part of an estimate. */
  readonly ageMs: Milliseconds | null;
  readonly sampledAt: MonotonicMs | null;
}

export interface MeterState {
  readonly id: DeviceId;
  readonly limit: LimitId | null;
  /** Last reading; `quality` below says whether it still counts. */
  readonly reading: MeterReading | null;
  readonly quality: Quality;
  readonly doubts: readonly string[];
  readonly ageMs: Milliseconds | null;
  readonly failure: Failure | null;
  readonly failures: number;
}

export interface DeviceState {
  readonly id: DeviceId;
  readonly kind: 'miner' | 'gpu-node';
  readonly limit: LimitId;
  /** Where it answers now. */
  readonly address: string;
  readonly inventory: InventoryState;
  /** Last good reading, however old. */
  readonly reading: LoadReading | null;
  readonly quality: Quality;
  readonly ageMs: Milliseconds | null;
  readonly identity: Identity | null;
  readonly failure: Failure | null;
  /** Failed reads in a row. */
  readonly failures: number;
  /** When it first answered with what it is now doing (its miner state), for dwell and alarms. */
  readonly stateSince: MonotonicMs | null;
}

/** Something that happened, for `event` and the log. */
export interface SiteEvent {
  readonly epochMs: EpochMs;
  readonly kind: string;
  readonly target: string;
  readonly message: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}
