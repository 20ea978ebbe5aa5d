import type { MeterIdentity, MeterPoint, MeterProfile } from '../config/meters/profile.ts';
import { registersOf } from '../config/meters/profile.ts';
import { encodeNumber, encodeText } from '../protocols/modbus/values.ts';
import type { Hertz, Volts, WattHours, Watts } from '../protocols/units.ts';

/** What a simulated meter sees at one refresh: every figure follows from these. */
export interface MeterState {
  /** Import positive. */
  readonly phaseWatts: readonly [Watts, Watts, Watts];
  readonly phaseVolts: readonly [Volts, Volts, Volts];
  /** 0 to 1. */
  readonly powerFactor: number;
  readonly frequencyHz: Hertz;
  readonly importWattHours: WattHours;
  readonly exportWattHours: WattHours;
}

export interface MeterLabels {
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly vendor: string;
}

/** Where a simulated SunSpec device keeps its models. */
const SUNSPEC_START = 40_000;
const COMMON_LENGTH = 66;

/**
 * The profile with every address fixed: a SunSpec device has its meter model (`model`, else the first that is
 * known) after the common one.
 */
export function placedProfile(profile: MeterProfile, model?: number): MeterProfile {
  const layouts = profile.sunspec?.layouts ?? [];
  const layout = layouts.find(({ models }) => model !== undefined && models.includes(model)) ?? layouts[0];
  if (layout === undefined || profile.sunspec === undefined) return profile;
  const start = SUNSPEC_START + 2 + 2 + COMMON_LENGTH;
  const points = layout.points.map((point) => ({ ...point, address: point.address + start }));
  // What is served is one model: the one asked for, or three phases in a star (203, 213) as most are.
  const served = model ?? layout.models[2] ?? layout.models[0]!;
  return { ...profile, points, sunspec: { ...profile.sunspec, layouts: [{ ...layout, models: [served] }] } };
}

/**
 * The registers that function `functionCode` serves, by address; `null` when the meter does not know it. Gaps
 * inside a proven block and narrow ones between points read 0, as on most meters.
 */
export function registerImage(
  profile: MeterProfile,
  functionCode: number,
  state: MeterState,
  labels: MeterLabels,
  parameters: Readonly<Record<string, number>>,
): ReadonlyMap<number, number> | null {
  const image = new Map<number, number>();
  const put = (address: number, words: readonly number[]) =>
    words.forEach((word, index) => {
      image.set(address + index, word);
    });
  const served = (code: number) =>
    code === functionCode || profile.alsoFunctionCodes.some((other) => other === functionCode);
  for (const entry of profile.identify) {
    if (entry.functionCode === functionCode) put(entry.address, identityWords(profile, entry, labels));
  }
  if (profile.sunspec !== undefined && served(profile.functionCode)) putSunSpec(profile, labels, put);
  const points = profile.points.filter((point) => served(point.functionCode ?? profile.functionCode));
  for (const block of profile.blocks) {
    if (!served(block.functionCode)) continue;
    put(block.address, new Array<number>(block.count).fill(0));
  }
  const sorted = [...points].sort((a, b) => a.address - b.address);
  sorted.forEach((point, index) => {
    const end = point.address + registersOf(point);
    const next = sorted[index + 1];
    if (next !== undefined && next.address - end <= 8) {
      put(end, new Array<number>(Math.max(0, next.address - end)).fill(0));
    }
  });
  for (const [from, to] of profile.holes) {
    for (let address = from; address <= to; address += 1) image.delete(address);
  }
  const factors = scaleFactors(points, state);
  for (const point of points)
    put(point.address, pointWords(profile, point, state, labels, parameters, factors));
  return image.size === 0 ? null : image;
}

function pointWords(
  profile: MeterProfile,
  point: MeterPoint,
  state: MeterState,
  labels: MeterLabels,
  parameters: Readonly<Record<string, number>>,
  factors: ReadonlyMap<string, number>,
): number[] {
  const { type, scale } = point;
  if (type === 'str' || type === 'str1') {
    const text = point.name === 'meta.manufacturer' ? labels.vendor : labels.model;
    return encodeText(type, profile.wordOrder, text, registersOf(point));
  }
  const own = factors.get(point.name);
  if (own !== undefined) return encodeNumber(type, profile.wordOrder, own);
  let value = quantity(point.name, state, labels);
  if (value === null || scale === null) return encodeNumber(type, profile.wordOrder, 0);
  if (point.unit === '%') value *= 100;
  const encode = (raw: number) => encodeNumber(type, profile.wordOrder, raw);
  if (typeof scale === 'number') return encode(value / scale);
  if ('parameter' in scale) return encode(value / (parameters[scale.parameter] ?? 1));
  if ('factorOf' in scale) return encode(value / 10 ** (factors.get(scale.factorOf) ?? 0));
  const [low, high] = scale.lin3.map((limit) => {
    if (typeof limit === 'number') return limit;
    return limit.startsWith('-') ? -(parameters[limit.slice(1)] ?? 1) : (parameters[limit] ?? 1);
  }) as [number, number];
  return encode(Math.min(9999, Math.max(0, ((value - low) * 9999) / (high - low))));
}

/** SunSpec scale factors as a device would choose them: the finest in which the largest figure fits 16 bits. */
function scaleFactors(points: readonly MeterPoint[], state: MeterState): ReadonlyMap<string, number> {
  const largest = new Map<string, { value: number; most: number }>();
  for (const point of points) {
    if (typeof point.scale !== 'object' || point.scale === null || !('factorOf' in point.scale)) continue;
    const value = Math.abs(quantity(point.name, state, null) ?? 0) * (point.unit === '%' ? 100 : 1);
    const before = largest.get(point.scale.factorOf)?.value ?? 0;
    largest.set(point.scale.factorOf, {
      value: Math.max(before, value),
      most: point.type === 'u32' ? 4e9 : 32_000,
    });
  }
  const factors = new Map<string, number>();
  for (const [name, { value, most }] of largest) {
    let factor = -3;
    while (value / 10 ** factor > most) factor += 1;
    factors.set(name, factor);
  }
  return factors;
}

const PHASES = ['l1', 'l2', 'l3'];

/** The true figure of a quantity by its name in the maps, in the unit of the maps; `null` for what is not simulated. */
export function quantity(name: string, state: MeterState, labels: MeterLabels | null): number | null {
  const parts = name.split('.');
  const phase = parts.findIndex((part) => PHASES.includes(part));
  const index = phase < 0 ? null : PHASES.indexOf(parts[phase]!);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const of = (values: readonly number[]) => (index === null ? sum(values) : values[index]!);
  const { phaseWatts, phaseVolts, powerFactor } = state;
  const apparent = phaseWatts.map((watts) => Math.abs(watts) / powerFactor);
  const amps = apparent.map((value, phaseIndex) => value / phaseVolts[phaseIndex]!);
  switch (parts[0]) {
    case 'voltage': {
      const volts = index === null ? sum(phaseVolts) / 3 : phaseVolts[index]!;
      return parts[1] === 'll' ? volts * Math.sqrt(3) : volts;
    }
    case 'current':
      if (parts[1] === 'n') return 0;
      return parts[1] === 'avg' ? sum(amps) / 3 : of(amps);
    case 'power':
      return powerOf(parts, of(phaseWatts), of(apparent), powerFactor);
    case 'pf':
      return powerFactor;
    case 'frequency':
      return state.frequencyHz;
    case 'energy':
      return energyOf(name, parts, state, index === null ? 1 : 1 / 3);
    case 'demand':
      return parts[1] === 'active' ? sum(phaseWatts) : null;
    case 'rotation':
      return 1;
    case 'meta':
      return parts[1] === 'serial' ? Number(labels?.serial ?? 0) : 1;
    default:
      return null;
  }
}

function powerOf(parts: readonly string[], watts: number, voltAmperes: number, powerFactor: number): number {
  if (parts[1] === 'apparent') return voltAmperes;
  if (parts[1] === 'reactive') return voltAmperes * Math.sqrt(1 - powerFactor ** 2);
  if (parts[2] === 'import') return Math.max(0, watts);
  if (parts[2] === 'export') return Math.max(0, -watts);
  return watts;
}

function energyOf(name: string, parts: readonly string[], state: MeterState, share: number): number | null {
  const { importWattHours, exportWattHours } = state;
  if (parts[1] !== 'active') return 0;
  // The second tariff never runs here; a modulo pair shows its low half only.
  if (parts.includes('t2')) return 0;
  if (parts.includes('low')) return (Math.floor(importWattHours / 1000) % 10_000) * 1000;
  if (name.includes('.export')) return exportWattHours * share;
  if (name.includes('.import')) return importWattHours * share;
  if (name.includes('.net')) return importWattHours - exportWattHours;
  return parts[2] === 'total' ? importWattHours + exportWattHours : 0;
}

function identityWords(profile: MeterProfile, entry: MeterIdentity, labels: MeterLabels): number[] {
  const order = entry.wordOrder ?? profile.wordOrder;
  const value = String(entry.expect ?? labels[entry.what]);
  if (entry.type === 'str' || entry.type === 'str1') {
    return encodeText(entry.type, order, value, registersOf(entry));
  }
  const number = Number(value);
  return encodeNumber(entry.type, order, Number.isFinite(number) ? number : 1);
}

function putSunSpec(
  profile: MeterProfile,
  labels: MeterLabels,
  put: (address: number, words: readonly number[]) => void,
): void {
  const model = profile.sunspec?.layouts[0]?.models[0] ?? 203;
  // Source: SunSpec models 201 to 204 (integers with scale factors) and 211 to 214 (floats).
  const meterLength = model > 210 ? 124 : 105;
  const common = SUNSPEC_START + 2;
  const meter = common + 2 + COMMON_LENGTH;
  put(SUNSPEC_START, [0x5375, 0x6e53]);
  put(common, [1, COMMON_LENGTH, ...new Array<number>(COMMON_LENGTH).fill(0)]);
  put(common + 2, encodeText('str', 'msw', labels.vendor, 16));
  put(common + 18, encodeText('str', 'msw', labels.model, 16));
  put(common + 42, encodeText('str', 'msw', labels.firmware, 8));
  put(common + 50, encodeText('str', 'msw', labels.serial, 16));
  put(meter, [model, meterLength, ...new Array<number>(meterLength).fill(0x8000)]);
  put(meter + 2 + meterLength, [0xffff, 0]);
}
