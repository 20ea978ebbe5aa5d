import type {
  Amps,
  Hertz,
  Milliseconds,
  MonotonicMs,
  VoltAmperes,
  Volts,
  Watts,
} from '../../protocols/units.ts';
import type { PhaseValues, Quality } from '../load-driver.ts';

/** What a meter should be able to show, from the configuration; `null` where it does not say. */
export interface MeterRatings {
  /** Line to neutral. */
  readonly nominalVolts: Volts | null;
  /** Rated current of one phase, primary side. */
  readonly ratedAmps: Amps | null;
}

/** The figures that are held against each other. */
export interface Electrics {
  readonly powerWatts: Watts | null;
  readonly phaseWatts: PhaseValues<Watts>;
  readonly apparentVoltAmperes: VoltAmperes | null;
  readonly voltageVolts: PhaseValues<Volts>;
  readonly currentAmps: PhaseValues<Amps>;
  readonly frequencyHz: Hertz | null;
  readonly powerFactor: number | null;
  /** One step of the power register. */
  readonly stepWatts: Watts;
}

const WORST_FIRST: readonly Quality[] = ['missing', 'bad', 'stale', 'estimated', 'good'];

/** The worse of two qualities. */
export function worse(a: Quality, b: Quality): Quality {
  return WORST_FIRST.indexOf(a) <= WORST_FIRST.indexOf(b) ? a : b;
}

/**
 * Everything about the figures that cannot be true at once, one sentence each; empty when they agree. A figure
 * that the meter did not give is held against nothing.
 */
export function contradictions(electrics: Electrics, ratings: MeterRatings): string[] {
  return [...outOfRange(electrics, ratings), ...disagreements(electrics, ratings)];
}

function outOfRange(electrics: Electrics, ratings: MeterRatings): string[] {
  const doubts: string[] = [];
  const { frequencyHz, powerFactor, powerWatts } = electrics;
  const volts = known(electrics.voltageVolts);
  const alive = volts.length === 0 || volts.some((value) => value > 10);
  // A feeder that is switched off has neither voltage nor frequency.
  if (frequencyHz !== null && alive && (frequencyHz < 45 || frequencyHz > 65)) {
    doubts.push(`frequency ${frequencyHz} Hz is outside 45 to 65 Hz`);
  }
  const highestVolts = ratings.nominalVolts === null ? 500_000 : 1.5 * ratings.nominalVolts;
  for (const value of volts) {
    if (value < 0 || value > highestVolts)
      doubts.push(`voltage ${value} V is outside 0 to ${highestVolts} V`);
  }
  for (const value of known(electrics.currentAmps)) {
    if (Math.abs(value) > 100_000) doubts.push(`current ${value} A cannot be`);
  }
  if (powerFactor !== null && Math.abs(powerFactor) > 1.005) {
    doubts.push(`power factor ${powerFactor} is outside -1 to 1`);
  }
  if (powerWatts !== null && Math.abs(powerWatts) > 2e9) doubts.push(`power ${powerWatts} W cannot be`);
  if (powerWatts !== null && ratings.ratedAmps !== null && ratings.nominalVolts !== null) {
    const mostWatts = 1.2 * ratings.ratedAmps * ratings.nominalVolts * 3;
    if (Math.abs(powerWatts) > mostWatts) {
      doubts.push(`power ${powerWatts} W is above 1.2 times the rating (${mostWatts} W)`);
    }
  }
  return doubts;
}

function disagreements(electrics: Electrics, ratings: MeterRatings): string[] {
  const { powerWatts, apparentVoltAmperes, stepWatts } = electrics;
  if (powerWatts === null) return [];
  const doubts: string[] = [];
  const size = Math.abs(powerWatts);
  const slack = Math.max(20, 4 * stepWatts);
  if (apparentVoltAmperes !== null && size > Math.abs(apparentVoltAmperes) * 1.03 + slack) {
    doubts.push(`power ${powerWatts} W is above apparent power ${apparentVoltAmperes} VA`);
  }
  const phases = known(electrics.phaseWatts);
  if (phases.length === 3) {
    const sum = phases.reduce((total, value) => total + value, 0);
    const scale = Math.max(
      size,
      phases.reduce((total, value) => total + Math.abs(value), 0),
    );
    if (Math.abs(sum - powerWatts) > 0.03 * scale + slack) {
      doubts.push(`phases add up to ${sum.toFixed(0)} W, the total says ${powerWatts} W`);
    }
    const odd = phaseAgainstOthers(electrics.phaseWatts, slack);
    if (odd !== null) {
      doubts.push(
        `phase ${odd} runs against the two others: its current transformer may be mounted backwards`,
      );
    }
  }
  const product = productVoltAmperes(electrics);
  if (product === null) return doubts;
  if (size > product * 1.1 + slack) {
    doubts.push(`power ${powerWatts} W is above volts times amperes (${product.toFixed(0)} VA)`);
  }
  const rated = ratings.ratedAmps === null ? null : ratings.ratedAmps * (ratings.nominalVolts ?? 230) * 3;
  const flowing = product > Math.max(500, 25 * stepWatts, rated === null ? 0 : 0.02 * rated);
  if (flowing && size < 0.01 * product) {
    doubts.push(`power ${powerWatts} W while ${product.toFixed(0)} VA flow`);
  }
  return doubts;
}

/** A phase of like size and other sign than both others: no load of three phases does that. */
function phaseAgainstOthers(phases: PhaseValues<Watts>, slack: Watts): 'l1' | 'l2' | 'l3' | null {
  const names = ['l1', 'l2', 'l3'] as const;
  for (const name of names) {
    const own = phases[name] ?? 0;
    const others = names.filter((other) => other !== name).map((other) => phases[other] ?? 0);
    const isAlone = others.every((other) => Math.sign(other) === -Math.sign(own) && Math.abs(other) > slack);
    if (isAlone && Math.abs(own) > slack && Math.abs(own) > 0.5 * Math.min(...others.map(Math.abs)))
      return name;
  }
  return null;
}

/** Sum of volts times amperes over the phases; `null` unless every phase with a current has its voltage. */
function productVoltAmperes(electrics: Electrics): VoltAmperes | null {
  let sum = 0;
  for (const phase of ['l1', 'l2', 'l3'] as const) {
    const volts = electrics.voltageVolts[phase];
    const amps = electrics.currentAmps[phase];
    if (volts === null || amps === null) return null;
    sum += volts * Math.abs(amps);
  }
  return sum;
}

function known<T>(values: PhaseValues<T>): T[] {
  return [values.l1, values.l2, values.l3].filter(
    (value): value is Exclude<typeof value, null> => value !== null,
  );
}

/** How long identical registers are believed. With frequency, whose last digit always moves, not long. */
const FROZEN_AFTER_MS: Milliseconds = 5000;
const FROZEN_WITHOUT_FREQUENCY_MS: Milliseconds = 60_000;
const FROZEN_AFTER_READS = 4;

/** Notices a gateway or meter that repeats its last answer for ever. */
export class FreezeWatch {
  private last: string | null = null;
  private since: MonotonicMs = 0;
  private reads = 0;

  /** How long the registers in `fingerprint` have been bit-identical under load; 0 while they may be. */
  frozenMs(fingerprint: string, isLoaded: boolean, hasFrequency: boolean, now: MonotonicMs): Milliseconds {
    if (fingerprint !== this.last || !isLoaded) {
      this.last = fingerprint;
      this.since = now;
      this.reads = 0;
      return 0;
    }
    this.reads += 1;
    const elapsed = now - this.since;
    const limit = hasFrequency ? FROZEN_AFTER_MS : FROZEN_WITHOUT_FREQUENCY_MS;
    return elapsed > limit && this.reads >= FROZEN_AFTER_READS ? elapsed : 0;
  }
}
