import { z } from 'zod';
import type { RegisterType } from '../../protocols/modbus/values.ts';
import { REGISTER_TYPES, WORD_ORDERS, wordsOf } from '../../protocols/modbus/values.ts';

/**
 * A meter as data: its register map, what its manufacturer writes for "not available", how much it answers at
 * once. A new meter is one file in this folder; no code knows a model.
 */

const address = z.int().min(0).max(0xffff);
const functionCode = z.union([z.literal(3), z.literal(4)]);
const limit = z.union([
  z.number(),
  z.templateLiteral([z.enum(['', '-']), z.string().regex(/^[a-z][A-Za-z]*$/)]),
]);

/**
 * Unit = raw times scale. `null`: nobody knows; the point is never given a value. `parameter`: a figure that is
 * set in the meter and must be copied into the configuration. `lin3`: 0 to 9999 between two limits, numbers or
 * parameters. `factorOf`: a SunSpec scale factor, the point whose value is the power of ten.
 */
const scaleSchema = z.union([
  z.number().positive(),
  z.null(),
  z.strictObject({ parameter: z.string() }),
  z.strictObject({ lin3: z.tuple([limit, limit]) }),
  z.strictObject({ factorOf: z.string() }),
]);

export const UNITS = ['W', 'VA', 'var', 'Wh', 'VAh', 'varh', 'V', 'A', 'Hz', 'deg', 'degC', '%', ''] as const;

const pointSchema = z.strictObject({
  /** Dotted quantity, for example `power.active.l1`. Unique in the profile. */
  name: z.string().regex(/^[a-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*$/),
  /** Wire address, from 0: manuals often print one more. */
  address,
  type: z.enum(REGISTER_TYPES),
  /** Registers; needed for text only, else it follows from the type. */
  words: z.int().min(1).max(125).optional(),
  functionCode: functionCode.optional(),
  scale: scaleSchema,
  unit: z.enum(UNITS),
  /** A: two independent sources or verified on hardware; B: one source; C: inferred, verify on the device. */
  confidence: z.enum(['A', 'B', 'C']),
  sources: z.array(z.string()).min(1),
  /**
   * `pf-4q`: Schneider's four-quadrant power factor, -2 to 2, folded into -1 to 1. `hz-by-magnitude`: 0.01 Hz on
   * some firmware and mHz on other, told apart by size.
   */
  encoding: z.enum(['pf-4q', 'hz-by-magnitude']).optional(),
  note: z.string().optional(),
});

const identitySchema = z.strictObject({
  what: z.enum(['serial', 'model', 'firmware', 'vendor']),
  functionCode,
  address,
  type: z.enum(REGISTER_TYPES),
  words: z.int().min(1).max(125).optional(),
  /** Where it is not the order of the map. */
  wordOrder: z.enum(WORD_ORDERS).optional(),
  /** The exact text or number that every member of this family answers. */
  expect: z.union([z.string(), z.number()]).optional(),
  confidence: z.enum(['A', 'B', 'C']),
});

export const meterProfileSchema = z.strictObject({
  /** For editors: `../../docs/reference/meter-profile.schema.json`. */
  $schema: z.string().optional(),
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  vendor: z.string(),
  models: z.array(z.string()).min(1),
  transports: z.array(z.string()).min(1),
  functionCode,
  /** Function codes that answer the same map on some firmware. */
  alsoFunctionCodes: z.array(functionCode).default([]),
  wordOrder: z.enum(WORD_ORDERS),
  /** Registers in one request: what the manual allows, and what every known unit really answers. */
  maxRegisters: z.int().min(1).max(125),
  safeRegisters: z.int().min(1).max(125),
  /** How often the meter makes new values, where that is known; otherwise it is measured. */
  refreshMs: z.int().positive().optional(),
  /** Over how long its power is averaged. */
  averagingMs: z.int().positive().optional(),
  /** Shortest reply timeout that this meter needs. */
  minTimeoutMs: z.int().positive().optional(),
  defaults: z.looseObject({ unitId: z.int().min(0).max(255) }),
  /** Bit patterns for "not available", hex, high word first. Floats that are no number need no entry. */
  notAvailable: z.partialRecord(z.enum(REGISTER_TYPES), z.array(z.string().regex(/^([0-9A-F]{4})+$/))),
  /** Address ranges, both ends included, that raise an exception or are missing on some variants. */
  holes: z.array(z.tuple([address, address])).default([]),
  sign: z.string(),
  identify: z.array(identitySchema).default([]),
  /** Blocks proven to be readable in one request. */
  blocks: z.array(z.strictObject({ functionCode, address, count: z.int().min(1).max(125), why: z.string() })),
  /** Which points feed the reading, where their names are not the usual ones. Several names are added up. */
  roles: z
    .strictObject({
      power: z.array(z.string()).min(1).optional(),
      powerFactor: z.array(z.string()).min(1).optional(),
      importEnergy: z.array(z.string()).min(1).optional(),
      exportEnergy: z.array(z.string()).min(1).optional(),
    })
    .default({}),
  points: z.array(pointSchema),
  /**
   * SunSpec devices place their models where they like: the marker is looked for at these addresses, the models
   * are walked, and the points of the first known model count from its id register.
   */
  sunspec: z
    .strictObject({
      markerAddresses: z.array(address).min(1),
      layouts: z
        .array(z.strictObject({ models: z.array(z.int()).min(1), points: z.array(pointSchema) }))
        .min(1),
    })
    .optional(),
  notes: z.array(z.string()).default([]),
  disagreements: z.array(z.string()).default([]),
});

export type MeterProfile = z.infer<typeof meterProfileSchema>;
export type MeterPoint = MeterProfile['points'][number];
export type MeterIdentity = MeterProfile['identify'][number];

/** Registers that a point or an identity fills. Throws where neither the type nor the map says so. */
export function registersOf(point: {
  readonly type: RegisterType;
  readonly words?: number | undefined;
}): number {
  const count = wordsOf(point.type) ?? point.words;
  if (count === undefined) throw new Error(`a ${point.type} needs its length in registers`);
  return count;
}

/** A law of profiles that is broken, and where in the file. */
export interface ProfileFault {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Every way in which a profile breaks the laws of profiles, in words; empty when it holds. */
export function profileFaults(profile: MeterProfile): ProfileFault[] {
  const layouts = (profile.sunspec?.layouts ?? []).flatMap((layout, index) =>
    pointFaults(profile, layout.points).map(({ path, message }) => ({
      path: ['sunspec', 'layouts', index, ...path],
      message,
    })),
  );
  const limits =
    profile.safeRegisters > profile.maxRegisters
      ? [{ path: ['safeRegisters'], message: 'safeRegisters is above maxRegisters' }]
      : [];
  return [
    ...limits,
    ...layouts,
    ...pointFaults(profile, profile.points),
    ...blockFaults(profile),
    ...strayRoles(profile),
  ];
}

/** What a quantity is measured in: `power.active.l1` in watts, whatever the meter writes. */
const QUANTITY_UNITS: readonly (readonly [string, string])[] = [
  ['power.active.', 'W'],
  ['power.apparent.', 'VA'],
  ['power.reactive.', 'var'],
  ['energy.active.', 'Wh'],
  ['voltage.', 'V'],
  ['current.', 'A'],
  ['frequency', 'Hz'],
];

/** Registers of a point whose length may still be missing. */
function sizeOf(point: MeterPoint): number {
  return registersOf({ type: point.type, words: point.words ?? 1 });
}

function pointFaults(profile: MeterProfile, points: readonly MeterPoint[]): ProfileFault[] {
  const faults: ProfileFault[] = [];
  const names = new Set<string>();
  points.forEach((point, index) => {
    const say = (message: string, key?: string) =>
      faults.push({ path: ['points', index, ...(key === undefined ? [] : [key])], message });
    if (names.has(point.name)) say(`point ${point.name} is named twice`, 'name');
    names.add(point.name);
    const own = wordsOf(point.type);
    if (own === null && point.words === undefined) say(`point ${point.name} needs its length`);
    if (own !== null && point.words !== undefined && point.words !== own) {
      say(`point ${point.name} is ${point.words} registers long, its type needs ${own}`, 'words');
    }
    const unit = QUANTITY_UNITS.find(([prefix]) => point.name.startsWith(prefix))?.[1];
    const isNumber = point.type !== 'str' && point.type !== 'str1' && point.type !== 'sunssf';
    if (unit !== undefined && isNumber && point.unit !== unit) {
      say(`point ${point.name} is given in ${point.unit || 'no unit'}, it must be in ${unit}`, 'unit');
    }
    if (typeof point.scale === 'object' && point.scale !== null && 'factorOf' in point.scale) {
      const { factorOf } = point.scale;
      if (!points.some((other) => other.name === factorOf))
        say(`point ${point.name} lacks ${factorOf}`, 'scale');
    }
    if (sizeOf(point) > profile.safeRegisters) say(`point ${point.name} is longer than one request`);
  });
  return [...faults, ...overlaps(profile, points)];
}

function overlaps(profile: MeterProfile, points: readonly MeterPoint[]): ProfileFault[] {
  const faults: ProfileFault[] = [];
  const sorted = points
    .map((point, index) => ({
      name: point.name,
      index,
      functionCode: point.functionCode ?? profile.functionCode,
      first: point.address,
      last: point.address + sizeOf(point) - 1,
    }))
    .sort((a, b) => a.functionCode - b.functionCode || a.first - b.first);
  sorted.forEach((point, order) => {
    const next = sorted[order + 1];
    if (next !== undefined && next.functionCode === point.functionCode && next.first <= point.last) {
      const message = `${point.name} and ${next.name} overlap at ${next.first}`;
      faults.push({ path: ['points', next.index, 'address'], message });
    }
    for (const [from, to] of profile.holes) {
      if (point.first > to || point.last < from) continue;
      faults.push({ path: ['points', point.index, 'address'], message: `${point.name} lies in a hole` });
    }
  });
  return faults;
}

function blockFaults(profile: MeterProfile): ProfileFault[] {
  const faults: ProfileFault[] = [];
  profile.blocks.forEach((block, index) => {
    const say = (message: string, key: string) => faults.push({ path: ['blocks', index, key], message });
    const end = block.address + block.count;
    const points = profile.points.filter(
      (point) => (point.functionCode ?? profile.functionCode) === block.functionCode,
    );
    if (block.count > profile.maxRegisters) say(`block ${block.address} is longer than one request`, 'count');
    for (const point of points) {
      const last = point.address + sizeOf(point);
      if (point.address < end && last > end) say(`block ${block.address} cuts ${point.name} in two`, 'count');
      if (point.address < block.address && last > block.address) {
        say(`block ${block.address} begins inside ${point.name}`, 'address');
      }
    }
    // A map of pairs only: its meters refuse an odd start or an odd number of registers.
    const grid = pairGrid(points);
    if (grid !== null && block.count % 2 !== 0) say(`block ${block.address} has an odd length`, 'count');
    if (grid !== null && block.address % 2 !== grid) {
      say(`block ${block.address} starts between two values`, 'address');
    }
    // A short block inside a long one is another pace of reading; half in and half out is a slip.
    for (const other of profile.blocks.slice(0, index)) {
      const otherEnd = other.address + other.count;
      const meets =
        other.functionCode === block.functionCode && other.address < end && block.address < otherEnd;
      const isInside = block.address >= other.address && end <= otherEnd;
      const isAround = other.address >= block.address && otherEnd <= end;
      if (meets && isInside === isAround) {
        say(`blocks ${other.address} and ${block.address} overlap`, 'address');
      }
    }
  });
  return faults;
}

/** 0 or 1 where every value is two registers long and starts at an even or an odd address; else `null`. */
function pairGrid(points: readonly MeterPoint[]): number | null {
  const [first] = points;
  if (first === undefined || !points.every((point) => sizeOf(point) === 2)) return null;
  const grid = first.address % 2;
  return points.every((point) => point.address % 2 === grid) ? grid : null;
}

function strayRoles(profile: MeterProfile): ProfileFault[] {
  const names = new Set(profile.points.map((point) => point.name));
  return Object.entries(profile.roles).flatMap(([role, members]) =>
    (members ?? [])
      .filter((name) => !names.has(name))
      .map((name) => ({ path: ['roles', role], message: `the role of ${name} points nowhere` })),
  );
}

/** Points whose sum is the power of a meter. */
export function powerPoints(profile: MeterProfile): readonly MeterPoint[] {
  const names = profile.roles.power ?? ['power.active.total'];
  const points = profile.sunspec?.layouts.flatMap((layout) => layout.points) ?? profile.points;
  return points.filter((point) => names.includes(point.name));
}

/** Power points that nobody has confirmed: neither the map nor, in `confirmed`, somebody at the site. */
export function unconfirmedPower(profile: MeterProfile, confirmed: readonly string[]): string[] {
  return powerPoints(profile)
    .filter((point) => point.confidence === 'C' && !confirmed.includes(point.name))
    .map((point) => point.name);
}

/** Figures set in the meter that its power needs and that `parameters` does not give. */
export function missingParameters(
  profile: MeterProfile,
  parameters: Readonly<Record<string, number>>,
): string[] {
  const needed = powerPoints(profile).flatMap(({ scale }) => {
    if (typeof scale !== 'object' || scale === null) return [];
    if ('parameter' in scale) return [scale.parameter];
    if (!('lin3' in scale)) return [];
    return scale.lin3.flatMap((limit) => (typeof limit === 'string' ? [limit.replace(/^-/, '')] : []));
  });
  return [...new Set(needed)].filter((name) => parameters[name] === undefined);
}

/** JSON Schema of a profile, for editors: `docs/reference/meter-profile.schema.json`. */
export function profileJsonSchema(): unknown {
  return z.toJSONSchema(meterProfileSchema, { io: 'input', unrepresentable: 'any' });
}
