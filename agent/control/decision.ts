import type { EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { NodeSums } from './node-sums.ts';

/** One command that a decision gives, with its reason. */
export interface Command {
  readonly device: string;
  readonly pointId: string;
  readonly kind: 'sleep' | 'run';
  readonly watts: Watts;
  readonly limitWatts: Watts | null;
  readonly direction: 'up' | 'down';
  readonly fromPointId: string;
  readonly fromWatts: Watts;
  /** Why, in words: the limit that binds and its price, or what ended. */
  readonly why: string;
  /** The limit that bound, where one did. */
  readonly bindingLimit: LimitId | null;
  readonly dollarsPerKwh: number | null;
}

/** What one cycle decided. */
export interface Decision {
  readonly at: MonotonicMs;
  readonly status: 'optimal' | 'feasible' | 'infeasible';
  readonly dollarsPerHour: number;
  readonly upperBoundDollarsPerHour: number | null;
  readonly gap: number | null;
  readonly binding: readonly { readonly limit: LimitId; readonly dollarsPerKwh: number }[];
  readonly commands: readonly Command[];
  /** Wanted, but not yet safe: why rises were held back, with their number and watts. */
  readonly heldBack: { readonly count: number; readonly watts: Watts; readonly why: string } | null;
  /** What would go down for money and waits for the ramp; absent where nothing does. */
  readonly heldFalls?: { readonly count: number; readonly watts: Watts };
  /** What cannot be met, and by how many watts. */
  readonly shortfalls: readonly { readonly target: string; readonly watts: Watts }[];
  readonly sums: readonly NodeSums[];
}

/** A decision as the outside sees it: stamped, and only what changed. */
export interface DecisionRecord {
  readonly ts: EpochMs;
  readonly cycle: number;
  readonly mode: string;
  readonly movedDownWatts: Watts;
  readonly movedUpWatts: Watts;
  readonly devicesDown: number;
  readonly devicesUp: number;
  readonly dollarsPerHour: number;
  readonly upperBoundDollarsPerHour: number | null;
  readonly gap: number | null;
  readonly binding: Decision['binding'];
  readonly heldBack: Decision['heldBack'];
  readonly shortfalls: Decision['shortfalls'];
  readonly why: readonly string[];
}

/** Sums up a decision for `decision` and the log. Pure. */
export function recordOf(
  decision: Decision,
  stamp: { ts: EpochMs; cycle: number; mode: string },
): DecisionRecord {
  const down = decision.commands.filter((command) => command.direction === 'down');
  const up = decision.commands.filter((command) => command.direction === 'up');
  const watts = (commands: readonly Command[]) =>
    commands.reduce((sum, command) => sum + Math.abs(command.watts - command.fromWatts), 0);
  return {
    ...stamp,
    movedDownWatts: Math.round(watts(down)),
    movedUpWatts: Math.round(watts(up)),
    devicesDown: down.length,
    devicesUp: up.length,
    dollarsPerHour: Math.round(decision.dollarsPerHour * 1e4) / 1e4,
    upperBoundDollarsPerHour:
      decision.upperBoundDollarsPerHour === null
        ? null
        : Math.round(decision.upperBoundDollarsPerHour * 1e4) / 1e4,
    gap: decision.gap,
    binding: decision.binding,
    heldBack: decision.heldBack,
    shortfalls: decision.shortfalls,
    why: [...new Set(decision.commands.map((command) => command.why))].slice(0, 5),
  };
}
