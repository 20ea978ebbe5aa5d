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

/** Every way in which a profile breaks the laws of profiles, in words; empty when it holds. */
export function profileFaults(profile: MeterProfile): string[] {
  const faults: string[] = [];
  for (const layout of profile.sunspec?.layouts ?? []) {
    faults.push(...profileFaults({ ...profile, points: layout.points, sunspec: undefined }));
  }
  const say = (what: string) => faults.push(`${profile.id}: ${what}`);
  if (profile.safeRegisters > profile.maxRegisters) say('safeRegisters is above maxRegisters');
  const names = new Set<string>();
  for (const point of profile.points) {
    if (names.has(point.name)) say(`point ${point.name} is named twice`);
    names.add(point.name);
    const own = wordsOf(point.type);
    if (own === null && point.words === undefined) say(`point ${point.name} needs its length`);
    if (own !== null && point.words !== undefined && point.words !== own) {
      say(`point ${point.name} is ${point.words} registers long, its type needs ${own}`);
    }
    if (typeof point.scale === 'object' && point.scale !== null && 'factorOf' in point.scale) {
      const { factorOf } = point.scale;
      if (!profile.points.some((other) => other.name === factorOf))
        say(`point ${point.name} lacks ${factorOf}`);
    }
    if (registersOf({ type: point.type, words: point.words ?? 1 }) > profile.safeRegisters) {
      say(`point ${point.name} is longer than one request`);
    }
  }
  faults.push(...overlaps(profile), ...strayRoles(profile, names));
  for (const block of profile.blocks) {
    if (block.count > profile.maxRegisters) say(`block ${block.address} is longer than one request`);
    for (const point of profile.points) {
      const end = block.address + block.count;
      const last = point.address + registersOf({ type: point.type, words: point.words ?? 1 });
      const same = (point.functionCode ?? profile.functionCode) === block.functionCode;
      if (same && point.address < end && last > end) say(`block ${block.address} cuts ${point.name} in two`);
    }
  }
  return faults;
}

function overlaps(profile: MeterProfile): string[] {
  const faults: string[] = [];
  const sorted = profile.points
    .map((point) => ({
      name: point.name,
      functionCode: point.functionCode ?? profile.functionCode,
      first: point.address,
      last: point.address + registersOf({ type: point.type, words: point.words ?? 1 }) - 1,
    }))
    .sort((a, b) => a.functionCode - b.functionCode || a.first - b.first);
  sorted.forEach((point, index) => {
    const next = sorted[index + 1];
    if (next !== undefined && next.functionCode === point.functionCode && next.first <= point.last) {
      faults.push(`${profile.id}: ${point.name} and ${next.name} overlap at ${next.first}`);
    }
    for (const [from, to] of profile.holes) {
      if (point.first <= to && point.last >= from) faults.push(`${profile.id}: ${point.name} lies in a hole`);
    }
  });
  return faults;
}

function strayRoles(profile: MeterProfile, names: ReadonlySet<string>): string[] {
  return Object.values(profile.roles)
    .flat()
    .filter((name) => name !== undefined && !names.has(name))
    .map((name) => `${profile.id}: the role of ${name} points nowhere`);
}
