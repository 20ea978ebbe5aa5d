import { findMinerModel } from '../../config/miners/models.ts';

/** A site drawn at random: halls with racks, with meters or without, miners of three families, perhaps GPU nodes. */
export interface RandomSite {
  /** The configuration, as a deployer would write it. */
  readonly config: string;
  /** Parents stand before children; the first is the grid connection. */
  readonly limits: readonly RandomLimit[];
  readonly miners: number;
}

export interface RandomLimit {
  readonly id: string;
  readonly parent: string | null;
  readonly ratingWatts: number;
  /** Everything below it at its most. */
  readonly fullWatts: number;
  readonly metered: boolean;
}

const MODELS = {
  whatsminer: ['Whatsminer M60S', 'Whatsminer M50S'],
  luxos: ['Antminer S19k Pro', 'Antminer S21'],
  bitmain: ['Antminer S21', 'Antminer S19 XP'],
} as const;
/** Stock firmware tells no watts: below a limit without a meter its sleep proves nothing, and it is left out there. */
const TELLING = ['whatsminer', 'luxos'] as const;
const NODE_WATTS = 7600;

interface Parts {
  readonly limits: RandomLimit[];
  readonly limitLines: string[];
  readonly loads: string[];
  readonly meters: string[];
  readonly miners: string[];
  readonly nodes: string[];
  readonly workloads: string[];
  /** Subnets of miners so far. */
  groups: number;
  machines: number;
}

/** Draws a site; the same `random` gives the same site. */
export function randomSite(random: () => number, withGpus: boolean): RandomSite {
  const parts: Parts = {
    limits: [],
    limitLines: [],
    loads: [],
    meters: [],
    miners: [],
    nodes: [],
    workloads: [],
    groups: 0,
    machines: 0,
  };
  const halls = 1 + Math.floor(random() * 4);
  let full = 0;
  for (let hall = 0; hall < halls; hall += 1) full += addHall(parts, `h${hall}`, random, withGpus);
  const rating = full * (0.7 + 0.4 * random());
  const grid = `  - { id: grid, rating: ${Math.round(rating)}, meter: m-grid, authority: full }`;
  addMeter(parts, 'grid');
  const listed = (name: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : [`${name}:`, ...lines];
  return {
    config: [
      'site: { id: random }',
      'limits:',
      grid,
      ...parts.limitLines,
      ...listed('loads', parts.loads),
      ...listed('meters', parts.meters),
      ...listed('miners', parts.miners),
      ...listed('gpuNodes', parts.nodes),
      ...listed('workloads', parts.workloads),
      `control: { restoreRampPercentPerMinute: 30, dwell: ${random() < 0.3 ? '60s' : '10min'} }`,
    ].join('\n'),
    limits: [
      { id: 'grid', parent: null, ratingWatts: Math.round(rating), fullWatts: full, metered: true },
      ...parts.limits,
    ],
    miners: parts.machines,
  };
}

function addHall(parts: Parts, hall: string, random: () => number, withGpus: boolean): number {
  const metered = random() < 0.7;
  const racks = Math.floor(random() * 4);
  const at = parts.limits.length;
  const lineAt = parts.limitLines.length;
  let full = 0;
  if (racks === 0) full += fill(parts, hall, metered, random, withGpus);
  for (let rack = 0; rack < racks; rack += 1)
    full += addRack(parts, hall, `${hall}r${rack}`, random, withGpus);
  if (random() < 0.5) {
    const worst = Math.round(full * 0.1 * random());
    parts.loads.push(`  - { id: cooling-${hall}, limit: ${hall}, worst: ${worst} }`);
    full += worst;
  }
  const rating = Math.round(full * (0.75 + 0.35 * random()));
  parts.limits.splice(at, 0, { id: hall, parent: 'grid', ratingWatts: rating, fullWatts: full, metered });
  parts.limitLines.splice(
    lineAt,
    0,
    `  - { id: ${hall}, parent: grid, rating: ${rating}${meterOf(hall, metered)}${inTime(rating, metered, random)} }`,
  );
  if (metered) addMeter(parts, hall);
  return full;
}

function addRack(parts: Parts, hall: string, rack: string, random: () => number, withGpus: boolean): number {
  const metered = random() < 0.6;
  const full = fill(parts, rack, metered, random, withGpus);
  const amps = Math.round((full * (0.75 + 0.4 * random())) / 3 / 230);
  const inAmps = metered && random() < 0.3;
  const ratingWatts = inAmps ? Math.floor(amps * 400 * Math.sqrt(3)) : amps * 690;
  const rating = inAmps ? `{ amps: ${amps}, volts: 400 }` : String(ratingWatts);
  parts.limits.push({ id: rack, parent: hall, ratingWatts, fullWatts: full, metered });
  parts.limitLines.push(`  - { id: ${rack}, parent: ${hall}, rating: ${rating}${meterOf(rack, metered)} }`);
  if (metered) addMeter(parts, rack);
  return full;
}

/** Miners of one or two kinds, and perhaps nodes, below a lowest limit; what they come to. */
function fill(
  parts: Parts,
  limit: string,
  metered: boolean,
  random: () => number,
  withGpus: boolean,
): number {
  let watts = 0;
  for (let kind = 0; kind < 1 + Math.floor(random() * 2); kind += 1) {
    const firmware = pick(metered ? [...TELLING, 'bitmain' as const] : TELLING, random);
    const model = pick(MODELS[firmware], random);
    const count = 2 + Math.floor(random() * 12);
    watts += count * findMinerModel(model)!.nominalWatts;
    parts.machines += count;
    parts.groups += 1;
    const net = `10.${parts.groups}.0`;
    parts.miners.push(
      `  - { id: x${parts.groups}, limit: ${limit}, hosts: [${net}.1-${net}.${count}], firmware: ${firmware}, model: "${model}" }`,
    );
  }
  if (withGpus && random() < 0.5) {
    const first = parts.nodes.length;
    const ids = Array.from({ length: 1 + Math.floor(random() * 3) }, (_, index) => `g${first + index}`);
    for (const id of ids)
      parts.nodes.push(
        `  - { id: ${id}, limit: ${limit}, nameplate: 10.2 kW, hostWatts: 2 kW, reader: { kind: nvidia-smi }, cap: { kind: nvidia-smi } }`,
      );
    const firm = Math.round(ids.length * (5000 + 2600 * random()));
    const worth = random() < 0.2 ? 0 : 1 + 2 * random();
    parts.workloads.push(
      `  - { id: w${parts.workloads.length}, nodes: [${ids.join(', ')}], firm: ${firm}, flexible: ${ids.length * NODE_WATTS - firm}, dollarsPerGpuHour: ${worth.toFixed(2)} }`,
    );
    watts += ids.length * NODE_WATTS;
  }
  return watts;
}

function addMeter({ meters }: Parts, limit: string): void {
  meters.push(
    `  - { id: m-${limit}, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: ${meters.length + 1} } }`,
  );
}

function meterOf(limit: string, metered: boolean): string {
  return metered ? `, meter: m-${limit}` : '';
}

/** A fifth of the halls with a meter have an average, a fifth of the others a curve of heat. */
function inTime(rating: number, metered: boolean, random: () => number): string {
  if (!metered) return '';
  const watts = Math.round(rating * 0.85);
  if (random() < 0.2) return `, average: { watts: ${watts}, over: 15min }`;
  return random() < 0.2 ? `, thermal: { continuous: ${watts}, timeConstant: 20min }` : '';
}

export function pick<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)]!;
}
