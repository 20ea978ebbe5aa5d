import type { Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';

/**
 * A limit that may be exceeded for a while because what it protects is slow to get hot: a thermal replica with one time
 * constant, as in protection relays. Heat is a share of that at the continuous load for ever; it follows the square of
 * the load. Source: IEC 60255-149, thermal electrical relays, equation of the cold and hot curves.
 */

export interface ThermalRule {
  /** What may flow for ever. */
  readonly watts: Watts;
  /** In which 63 % of a change of temperature has happened. */
  readonly constantMs: Milliseconds;
}

/** Plain data, part of what control remembers of a limit. */
export interface ThermalBound {
  /** What may flow now. */
  readonly watts: Watts;
  /** 1: as hot as at the continuous load for ever. */
  readonly heat: number;
  /** Until when `heat` was reckoned, and what flowed last. */
  readonly at: MonotonicMs;
  readonly flowedWatts: Watts;
}

/** What is allowed could go on for this share of the time constant: the way down to the continuous load is gentle. */
const AHEAD_SHARE = 0.05;
/** Steps of heat, upwards: what is remembered stays short. */
const HEAT_STEP = 1e-9;

/**
 * Takes in a new sample, or `null`: then what flowed last, or what was allowed if that was more, is taken to flow on until less
 * is allowed.
 * Before the first sample it counts as hot as it may be. `round` gives the steps of the bound. Pure.
 */
export function thermalBound(
  rule: ThermalRule,
  before: ThermalBound | null,
  sample: { readonly at: MonotonicMs; readonly watts: Watts } | null,
  now: MonotonicMs,
  round: (watts: Watts) => Watts,
): ThermalBound {
  if (before === null) {
    const flowedWatts = sample?.watts ?? rule.watts;
    return { watts: allowed(rule, 1, round), heat: 1, at: sample?.at ?? now, flowedWatts };
  }
  if (sample !== null) {
    // Between two samples the higher is taken to have flowed; in a gap, more may have.
    const gap = sample.at - before.at > rule.constantMs * AHEAD_SHARE;
    const flowed = Math.max(sample.watts, before.flowedWatts, gap ? Math.max(before.watts, rule.watts) : 0);
    const heat = warmed(rule, before.heat, flowed, sample.at - before.at);
    return { watts: allowed(rule, heat, round), heat, at: sample.at, flowedWatts: sample.watts };
  }
  const flowed = Math.max(before.flowedWatts, before.watts);
  const heat = warmed(rule, before.heat, flowed, now - before.at);
  const watts = allowed(rule, heat, round);
  // What is unseen follows what is allowed, or the gap would end in nothing at all: devices that are silent count elsewhere.
  return watts === before.watts ? before : { watts, heat, at: now, flowedWatts: watts };
}

function warmed(rule: ThermalRule, heat: number, watts: Watts, ms: Milliseconds): number {
  const end = (watts / rule.watts) ** 2;
  const next = end + (heat - end) * Math.exp(-Math.max(0, ms) / rule.constantMs);
  return Math.ceil(next / HEAT_STEP) * HEAT_STEP;
}

/** The load that would bring the heat to 1 after the time ahead; 0 where only rest does. */
function allowed(rule: ThermalRule, heat: number, round: (watts: Watts) => Watts): Watts {
  const kept = Math.exp(-AHEAD_SHARE);
  return round(rule.watts * Math.sqrt(Math.max(0, (1 - heat * kept) / (1 - kept))));
}
