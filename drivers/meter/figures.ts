import type { MeterProfile } from '../../config/meters/profile.ts';
import { unconfirmedPower } from '../../config/meters/profile.ts';
import type { WattHours } from '../../protocols/units.ts';
import type { MeterReading, PhaseValues, Quality } from '../load-driver.ts';
import type { MeterParameters } from './decode.ts';
import type { Electrics, MeterRatings } from './quality.ts';
import { contradictions, worse } from './quality.ts';
import type { Samples } from './reader.ts';

/** The points of a profile that feed a reading, and what they say together. Pure. */

export type MeterRole = 'power' | 'powerFactor' | 'importEnergy' | 'exportEnergy';

const ROLES: Readonly<Record<MeterRole, readonly string[]>> = {
  power: ['power.active.total'],
  powerFactor: ['pf.total'],
  importEnergy: ['energy.active.import'],
  exportEnergy: ['energy.active.export'],
};

/** Points that control needs with every reading, beside power itself. */
export const FAST_POINTS: ReadonlySet<string> = new Set([
  ...['l1', 'l2', 'l3'].flatMap((phase) => [
    `power.active.${phase}`,
    `voltage.ln.${phase}`,
    `current.${phase}`,
  ]),
  'frequency',
  'power.apparent.total',
]);

/** Names of the points that play `role`; several are added up. */
export function roleOf(profile: MeterProfile, role: MeterRole): readonly string[] {
  return profile.roles[role] ?? ROLES[role];
}

export interface Figures extends Electrics {
  /** As the meter says it, in whatever sign its maker likes; -1 to 1. `powerFactor` is P over S where both are known. */
  readonly toldPowerFactor: number | null;
}

/** The figures of a reading, from its points. */
export function figuresOf(
  profile: MeterProfile,
  parameters: MeterParameters,
  points: MeterReading['points'],
): Figures {
  const number = (name: string) => numberOf(points[name]);
  const phases = (prefix: string): PhaseValues<number> => ({
    l1: number(`${prefix}.l1`),
    l2: number(`${prefix}.l2`),
    l3: number(`${prefix}.l3`),
  });
  const powerWatts = sumOf(roleOf(profile, 'power').map(number));
  const apparentVoltAmperes = number('power.apparent.total');
  const [factorPoint = ''] = roleOf(profile, 'powerFactor');
  const told = number(factorPoint);
  const unit = profile.points.find((point) => point.name === factorPoint)?.unit;
  const toldPowerFactor = told === null ? null : unit === '%' ? told / 100 : told;
  // Every vendor signs its power factor in a way of its own; P over S means the same everywhere.
  const computed =
    powerWatts !== null && apparentVoltAmperes !== null && Math.abs(apparentVoltAmperes) > 1
      ? powerWatts / Math.abs(apparentVoltAmperes)
      : null;
  return {
    powerWatts,
    apparentVoltAmperes,
    phaseWatts: phases('power.active'),
    voltageVolts: phases('voltage.ln'),
    currentAmps: phases('current'),
    frequencyHz: number('frequency'),
    powerFactor: computed ?? toldPowerFactor,
    toldPowerFactor,
    stepWatts: stepWatts(profile, parameters),
  };
}

function stepWatts(profile: MeterProfile, parameters: MeterParameters): number {
  const [name] = roleOf(profile, 'power');
  const point = profile.points.find((candidate) => candidate.name === name);
  if (point === undefined || point.type.startsWith('f')) return 0;
  const { scale } = point;
  if (typeof scale === 'number') return scale;
  if (scale === null) return 0;
  if ('parameter' in scale) return parameters[scale.parameter] ?? 0;
  return 'lin3' in scale ? ((parameters['fullScaleWatts'] ?? 0) * 2) / 9999 : 0;
}

/** Both counters; on an inverted meter import is what it calls export. */
export function energiesOf(
  profile: MeterProfile,
  points: MeterReading['points'],
  isInverted: boolean,
): { readonly importWattHours: WattHours | null; readonly exportWattHours: WattHours | null } {
  const total = (role: MeterRole) => sumOf(roleOf(profile, role).map((name) => numberOf(points[name])));
  const [imported, exported] = [total('importEnergy'), total('exportEnergy')];
  return isInverted
    ? { importWattHours: exported, exportWattHours: imported }
    : { importWattHours: imported, exportWattHours: exported };
}

const GAP_QUALITY = { 'not-available': 'missing', unscaled: 'missing', implausible: 'bad' } as const;

const GAP_SENTENCES = {
  'not-available': 'the meter says that it has no value',
  unscaled: 'its scale is unknown: the configuration must give the parameter named in the profile',
  implausible: 'no meter measures such a number: wrong word order, address or profile',
} as const;

/** How far the samples of one reading can be believed, and why not further. */
export function judge(
  profile: MeterProfile,
  samples: Samples,
  figures: Figures,
  ratings: MeterRatings,
  confirmed: readonly string[] = [],
): { readonly quality: Quality; readonly doubts: readonly string[] } {
  const doubts: string[] = [];
  let quality: Quality = 'good';
  const doubt = (verdict: Quality, sentence: string) => {
    doubts.push(sentence);
    quality = worse(quality, verdict);
  };
  const power = roleOf(profile, 'power');
  for (const name of power) {
    const sample = samples.get(name);
    if (sample === undefined) doubt('missing', `the meter has no register for ${name}`);
    else if (sample.gap !== null) doubt(GAP_QUALITY[sample.gap], `${name}: ${GAP_SENTENCES[sample.gap]}`);
  }
  // An estimate is shown and published; control goes by good figures only.
  for (const name of unconfirmedPower(profile, confirmed)) {
    doubt('estimated', `the register of ${name} has not been confirmed: it is not used for control`);
  }
  for (const [name, sample] of samples) {
    if (sample.gap === 'implausible' && FAST_POINTS.has(name) && !power.includes(name)) {
      doubt('bad', `${name}: ${GAP_SENTENCES.implausible}`);
    }
  }
  // The meter's own power factor is checked, not the one that follows from its power.
  const electrics = { ...figures, powerFactor: figures.toldPowerFactor };
  for (const sentence of contradictions(electrics, ratings)) doubt('bad', sentence);
  return { quality, doubts };
}

function numberOf(value: number | string | null | undefined): number | null {
  return typeof value === 'number' ? value : null;
}

/** The sum, or `null` when any part is unknown. */
function sumOf(values: readonly (number | null)[]): number | null {
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return values.length === 0 ? null : sum;
}
