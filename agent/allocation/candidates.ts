import type {
  DeviceId,
  Dollars,
  DollarsPerHour,
  LimitId,
  Percent,
  TerahashesPerSecond,
  Watts,
} from '../../protocols/units.ts';
import type { ProblemDevice, ProblemMode } from './problem.ts';

/**
 * From what is known of a device to what the allocation may choose from. Pure arithmetic on facts that others
 * have gathered; watts come out whole, needs rounded up.
 */

/** One point at which a device can be run. */
export interface OperatingPoint {
  readonly id: string;
  /** Worst steady draw at the device's own meter point. */
  readonly watts: Watts;
  readonly work:
    | { readonly kind: 'none' }
    | { readonly kind: 'hash'; readonly hashrateThs: TerahashesPerSecond }
    /** What the work at this point earns before energy: GPU jobs at their throughput under this cap. */
    | { readonly kind: 'paid'; readonly dollarsPerHour: DollarsPerHour };
}

export interface ValueInputs {
  readonly hashpriceDollarsPerPhDay: Dollars;
  /** Price of energy at the device; 0 where the tick takes energy off for the whole site. */
  readonly energyDollarsPerMwh: Dollars;
  readonly poolFeePercent: Percent;
}

export interface CandidateFacts {
  readonly deviceId: DeviceId;
  readonly limitId: LimitId;
  /** The point it is at; `null` when not known. */
  readonly currentId: string | null;
  readonly points: readonly OperatingPoint[];
  /** Points that may be chosen now (dwell, quarantine, holds); `null`: all. */
  readonly allowedIds: readonly string[] | null;
  /** Share of shares that the pool rejects, 0 to 100. */
  readonly rejectPercent: Percent;
  readonly switching: SwitchingFacts;
}

/** What a change costs once, and for how long it is likely to be kept. */
export interface SwitchingFacts {
  /** From rest to work: lost production while starting, reconnection, wear. */
  readonly wakeDollars: Dollars;
  /** From one working point to another. */
  readonly changeDollars: Dollars;
  /** From work to rest. */
  readonly sleepDollars: Dollars;
  /** How long the new point is expected to last; greater than 0. */
  readonly expectedHours: number;
}

/** Watts a limit or floor demands, rounded so that a whole-watt answer is safe. */
export function needWatts(watts: number): Watts {
  return Math.ceil(watts - 1e-9);
}

/** Watts that are free, rounded so that a whole-watt answer is safe. */
export function roomWatts(watts: number): Watts {
  return Math.floor(watts + 1e-9);
}

/**
 * What a point earns an hour, net of its energy and pool fee. A petahash a second at 1 $/PH/day earns 1/24 $ an
 * hour.
 */
export function pointDollarsPerHour(
  point: OperatingPoint,
  inputs: ValueInputs,
  rejectPercent: Percent,
): DollarsPerHour {
  const energy = (point.watts / 1e6) * inputs.energyDollarsPerMwh;
  if (point.work.kind === 'none') return -energy;
  if (point.work.kind === 'paid') return point.work.dollarsPerHour - energy;
  const kept = (1 - inputs.poolFeePercent / 100) * (1 - rejectPercent / 100);
  return (point.work.hashrateThs / 1000) * (inputs.hashpriceDollarsPerPhDay / 24) * kept - energy;
}

/** Energy price at which a hashing point earns nothing, in dollars per MWh; `null` for other points. */
export function breakEvenDollarsPerMwh(
  point: OperatingPoint,
  inputs: ValueInputs,
  rejectPercent: Percent,
): number | null {
  if (point.work.kind !== 'hash' || point.watts <= 0) return null;
  const gross = pointDollarsPerHour(point, { ...inputs, energyDollarsPerMwh: 0 }, rejectPercent);
  return (gross / point.watts) * 1e6;
}

/** The device as the allocation sees it. Throws when it has no point or an unusable expected time. */
export function toProblemDevice(facts: CandidateFacts, inputs: ValueInputs): ProblemDevice {
  if (facts.points.length === 0) throw new RangeError(`${facts.deviceId}: no operating point`);
  if (!(facts.switching.expectedHours > 0)) throw new RangeError(`${facts.deviceId}: expectedHours`);
  const modes: ProblemMode[] = facts.points.map((point) => ({
    id: point.id,
    watts: needWatts(point.watts),
    dollarsPerHour: pointDollarsPerHour(point, inputs, facts.rejectPercent),
  }));
  const current = facts.points.find((point) => point.id === facts.currentId);
  const switchDollarsPerHour: Record<string, DollarsPerHour> = {};
  for (const point of facts.points) {
    if (point.id === facts.currentId) continue;
    const rate = switchingDollars(current, point, facts.switching) / facts.switching.expectedHours;
    if (rate !== 0) switchDollarsPerHour[point.id] = rate;
  }
  return {
    id: facts.deviceId,
    limit: facts.limitId,
    current: current?.id ?? null,
    modes,
    switchDollarsPerHour,
    allowed: facts.allowedIds,
  };
}

function switchingDollars(
  from: OperatingPoint | undefined,
  to: OperatingPoint,
  switching: SwitchingFacts,
): Dollars {
  const rests = to.work.kind === 'none';
  // From an unknown point: resting costs as from work, working as from rest.
  if (from === undefined) return rests ? switching.sleepDollars : switching.wakeDollars;
  const rested = from.work.kind === 'none';
  if (rested && rests) return 0;
  if (rested) return switching.wakeDollars;
  return rests ? switching.sleepDollars : switching.changeDollars;
}
