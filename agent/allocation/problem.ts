import type { DeviceId, DollarsPerHour, LimitId, Watts } from '../../protocols/units.ts';

/**
 * The allocation problem in plain values: a tree of limits, devices with modes, floors. Choose exactly one
 * allowed mode per device so that every limit and floor holds and the value is greatest.
 */
export interface Problem {
  readonly limits: readonly ProblemLimit[];
  readonly devices: readonly ProblemDevice[];
  readonly floors: readonly ProblemFloor[];
}

/** A node of the limit tree: `total = fixedWatts + devices hanging on it + sum of gain(child) * total(child)`. */
export interface ProblemLimit {
  readonly id: LimitId;
  /** `null` for a root. */
  readonly parent: LimitId | null;
  readonly capacityWatts: Watts;
  /** Load below this limit that nobody controls. */
  readonly fixedWatts: Watts;
  /** Watts at the parent per watt here (losses); greater than 0. */
  readonly gain: number;
}

export interface ProblemMode {
  readonly id: string;
  readonly watts: Watts;
  readonly dollarsPerHour: DollarsPerHour;
}

export interface ProblemDevice {
  readonly id: DeviceId;
  readonly limit: LimitId;
  /** The mode it is in; staying costs nothing. `null`: not known, every mode costs what the table says. */
  readonly current: string | null;
  readonly modes: readonly ProblemMode[];
  /** Cost of changing to a mode, as a rate; 0 where not given. */
  readonly switchDollarsPerHour: Readonly<Record<string, DollarsPerHour>>;
  /** Modes that may be chosen now; `null`: all of them. Never empty. */
  readonly allowed: readonly string[] | null;
}

/** At least `watts` over `devices` together. A device is in at most one floor; floors may cut across the tree. */
export interface ProblemFloor {
  readonly id: string;
  readonly devices: readonly DeviceId[];
  readonly watts: Watts;
}

export interface LimitAnswer {
  readonly id: LimitId;
  readonly watts: Watts;
  readonly capacityWatts: Watts;
  /** What one more kilowatt for an hour would earn here; 0 where the limit does not bind. */
  readonly dollarsPerKwh: number;
}

/** Something that no choice can meet, and by how many watts the answer misses it. */
export type Shortfall =
  | { readonly limit: LimitId; readonly watts: Watts }
  | { readonly floor: string; readonly watts: Watts };

export interface Answer {
  /** `optimal` only when proved: no gap left, or an exact search ended. */
  readonly status: 'optimal' | 'feasible' | 'infeasible';
  readonly dollarsPerHour: DollarsPerHour;
  /** No choice earns more. `null` when no choice is feasible. */
  readonly upperBoundDollarsPerHour: DollarsPerHour | null;
  /** (bound - value) over the sum of absolute values of the chosen modes; `null` when infeasible. */
  readonly gap: number | null;
  /** Device id to mode id. */
  readonly modes: Readonly<Record<DeviceId, string>>;
  /** Every limit, in the problem's order. */
  readonly limits: readonly LimitAnswer[];
  /** Empty unless `status` is `infeasible`. */
  readonly infeasible: readonly Shortfall[];
  /** Filled by the caller, who has a clock: this folder is pure. */
  readonly milliseconds: number | null;
}

/** A limit or floor is held when it is missed by no more than this (the outside form says "to 1e-6 W"). */
export const FEASIBILITY_WATTS: Watts = 1e-6;

/**
 * What the core itself allows: a little less than `FEASIBILITY_WATTS`, so that whoever adds the same numbers
 * in another order still finds the answer feasible.
 */
export const ACCEPTED_WATTS: Watts = 9e-7;
