import type { MinerPlace } from '../../config/load.ts';
import type { Authority, Config, LimitConfig } from '../../config/schema.ts';
import type { Amps, DeviceId, LimitId, Milliseconds, Watts } from '../../protocols/units.ts';

/** The site as configured: what hangs on what, and what each part may carry. Built once, frozen. */
export interface SiteModel {
  readonly siteId: string;
  readonly name: string;
  /** Parents before children. */
  readonly limits: readonly LimitModel[];
  readonly loads: readonly LoadModel[];
  readonly meters: readonly MeterModel[];
  readonly devices: readonly DeviceModel[];
}

export interface LimitModel {
  readonly id: LimitId;
  readonly name: string;
  readonly parent: LimitId | null;
  /** What it may carry for good: rating, times 0.8 where continuous, less the configured margin. */
  readonly ratingWatts: Watts;
  /** In the words of the configuration: `1200 A at 415 V, three phases, 80 % for continuous load`. */
  readonly ratingText: string;
  /** Watts at the parent per watt here. */
  readonly gain: number;
  readonly meterId: DeviceId | null;
  readonly authority: Authority;
  /** Amperes per phase that `ratingWatts` stands for, where the rating is given in amperes. */
  readonly ratingAmps: Amps | null;
  /** What may flow on average, beside what may flow at all. */
  readonly average: { readonly watts: Watts; readonly overMs: Milliseconds } | null;
  /** What may flow for ever, where more may flow for a while. */
  readonly thermal: { readonly watts: Watts; readonly constantMs: Milliseconds } | null;
}

export interface LoadModel {
  readonly id: string;
  readonly name: string;
  readonly limit: LimitId;
  readonly worstWatts: Watts;
}

export interface MeterModel {
  readonly id: DeviceId;
  readonly name: string;
  readonly profile: string;
  readonly limit: LimitId | null;
  readonly intervalMs: Milliseconds;
}

export interface DeviceModel {
  readonly id: DeviceId;
  readonly kind: 'miner' | 'gpu-node';
  readonly limit: LimitId;
  /** Configuration entry it belongs to. */
  readonly entry: string;
  readonly address: string;
  readonly tenant: string | null;
  readonly tags: readonly string[];
  readonly location: Readonly<Record<string, string>> | null;
  /** The most it may draw, from the configuration; `null`: from the model table once the model is known. */
  readonly nameplateWatts: Watts | null;
  /** What a GPU node draws beside its GPUs, at most. */
  readonly hostWatts: Watts | null;
  /** Model named by the configuration, for estimates. */
  readonly modelName: string | null;
  readonly intervalMs: Milliseconds;
}

/** Share of a rating that loads of three hours and more may use. Source: NEC 210.20(A), 215.3 (125 % rule). */
const CONTINUOUS_SHARE = 0.8;

export function buildSiteModel(config: Config, places: readonly MinerPlace[]): SiteModel {
  const byId = new Map(config.limits.map((limit) => [limit.id, limit]));
  const limits: LimitModel[] = [];
  const added = new Set<string>();
  const add = (limit: LimitConfig): void => {
    if (added.has(limit.id)) return;
    const parent = limit.parent === undefined ? undefined : byId.get(limit.parent);
    if (parent !== undefined) add(parent);
    added.add(limit.id);
    limits.push(limitModel(limit, limits));
  };
  for (const limit of config.limits) add(limit);
  return {
    siteId: config.site.id,
    name: config.site.name ?? config.site.id,
    limits,
    loads: config.loads.map((load) => ({
      id: load.id,
      name: load.name ?? load.id,
      limit: load.limit,
      worstWatts: load.worst,
    })),
    meters: config.meters.map((meter) => ({
      id: meter.id,
      name: meter.name ?? meter.id,
      profile: meter.profile,
      limit: config.limits.find((limit) => limit.meter === meter.id)?.id ?? null,
      intervalMs: meter.interval,
    })),
    devices: [...places.map(minerModel), ...config.gpuNodes.map(gpuNodeModel)],
  };
}

function limitModel(limit: LimitConfig, above: readonly LimitModel[]): LimitModel {
  const parent = above.find((candidate) => candidate.id === limit.parent);
  const { watts, text, amps } = ratingOf(limit);
  const continuous = limit.continuous ? CONTINUOUS_SHARE : 1;
  const ratingWatts = Math.floor(Math.max(0, watts * continuous - limit.margin));
  return {
    id: limit.id,
    name: limit.name ?? limit.id,
    parent: limit.parent ?? null,
    ratingWatts,
    ratingText: limit.continuous ? `${text}, 80 % for continuous load` : text,
    gain: limit.losses,
    meterId: limit.meter ?? null,
    authority: limit.authority ?? parent?.authority ?? 'observe',
    ratingAmps: amps === null ? null : (amps * ratingWatts) / watts,
    average:
      limit.average === undefined
        ? null
        : { watts: Math.floor(limit.average.watts), overMs: limit.average.over },
    thermal:
      limit.thermal === undefined
        ? null
        : { watts: Math.floor(limit.thermal.continuous), constantMs: limit.thermal.timeConstant },
  };
}

function ratingOf(limit: LimitConfig): { watts: Watts; text: string; amps: number | null } {
  const { rating } = limit;
  if (typeof rating === 'number') return { watts: rating, text: `${rating} W`, amps: null };
  if ('kva' in rating) {
    return {
      watts: rating.kva * 1000 * rating.powerFactor,
      text: `${rating.kva} kVA at power factor ${rating.powerFactor}`,
      amps: null,
    };
  }
  // Volts are line to line for three phases: P = sqrt(3) U I cos(phi).
  const factor = rating.phases === 3 ? Math.sqrt(3) : 1;
  return {
    watts: factor * rating.volts * rating.amps * rating.powerFactor,
    text: `${rating.amps} A at ${rating.volts} V, ${rating.phases === 3 ? 'three phases' : 'one phase'}`,
    amps: rating.amps,
  };
}

function minerModel(place: MinerPlace): DeviceModel {
  const { entry } = place;
  return {
    id: place.deviceId,
    kind: 'miner',
    limit: entry.limit,
    entry: entry.id,
    address: `${place.host}:${place.port}`,
    tenant: entry.tenant ?? null,
    tags: entry.tags,
    location: (entry.location as Record<string, string> | undefined) ?? null,
    nameplateWatts: entry.nameplate ?? null,
    hostWatts: null,
    modelName: entry.model === 'auto' ? null : entry.model,
    intervalMs: entry.interval,
  };
}

/** What a node draws beside what its reader shows; `null`: what its nameplate leaves above its caps. */
export function hostWattsIn(node: Config['gpuNodes'][number]): Watts | null {
  return node.reader.kind === 'redfish' ? 0 : (node.hostWatts ?? null);
}

function gpuNodeModel(node: Config['gpuNodes'][number]): DeviceModel {
  return {
    id: node.id,
    kind: 'gpu-node',
    limit: node.limit,
    entry: node.id,
    address:
      node.reader.kind === 'nvidia-smi' ? (node.reader.command ?? ['nvidia-smi']).join(' ') : node.reader.url,
    tenant: node.tenant ?? null,
    tags: node.tags,
    location: (node.location as Record<string, string> | undefined) ?? null,
    nameplateWatts: node.nameplate,
    hostWatts: hostWattsIn(node),
    modelName: null,
    intervalMs: node.interval,
  };
}

/** Ids from a limit up to the grid connection, the limit itself first. */
export function pathUp(model: SiteModel, limit: LimitId): LimitId[] {
  const path: LimitId[] = [];
  for (let at = model.limits.find((candidate) => candidate.id === limit); at !== undefined; ) {
    path.push(at.id);
    const { parent } = at;
    at = parent === null ? undefined : model.limits.find((candidate) => candidate.id === parent);
  }
  return path;
}
