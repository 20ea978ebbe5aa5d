import { findMinerModel } from '../../config/miners/models.ts';
import type { DeviceId, DollarsPerHour, LimitId, Milliseconds, Watts } from '../../protocols/units.ts';
import type { DeviceModel } from '../site/model.ts';
import type { ObservedDevice } from './observation.ts';

/** One thing that a device can be told to do. */
export interface OperatingPoint {
  readonly id: string;
  readonly kind: 'sleep' | 'run';
  /** The most it draws there in steady state: what is planned and booked. */
  readonly watts: Watts;
  /** Argument of the command: whole-device limit; `null` = its own. */
  readonly limitWatts: Watts | null;
  readonly dollarsPerHour: DollarsPerHour;
}

/** What control knows of a device: facts, not state. */
export interface DeviceFacts {
  readonly id: DeviceId;
  readonly kind: 'miner' | 'gpu-node';
  readonly limit: LimitId;
  /** Devices of one class behave alike: times and obedience are learnt per class. */
  readonly className: string;
  readonly nameplateWatts: Watts;
  /** Ascending in watts; the last one is full power. Never empty. */
  readonly points: readonly OperatingPoint[];
  /** Until a reading may show that it sleeps, works, changed; `null` where it cannot. */
  readonly sleepMs: Milliseconds | null;
  readonly wakeMs: Milliseconds | null;
  readonly changeMs: Milliseconds | null;
  readonly wakeDollars: number;
}

export interface Economics {
  readonly hashpriceDollarsPerPhDay: number;
  readonly energyDollarsPerMwh: number;
  readonly poolFeePercent: number;
}

/** Bounds for the cap of one GPU beside its own; `null` = none. */
export interface CapBounds {
  readonly minWatts: Watts | null;
  readonly maxWatts: Watts | null;
}

/** The range in which one GPU may be capped: its own, inside the site's where that leaves anything. Pure. */
export function capRange(
  gpu: { readonly minWatts: Watts; readonly maxWatts: Watts },
  bounds: CapBounds | undefined,
): { readonly minWatts: Watts; readonly maxWatts: Watts } {
  const minWatts = Math.max(gpu.minWatts, Math.min(bounds?.minWatts ?? 0, gpu.maxWatts));
  return { minWatts, maxWatts: Math.max(minWatts, Math.min(gpu.maxWatts, bounds?.maxWatts ?? gpu.maxWatts)) };
}

/** What the GPUs of a node earn: of the workload that names it. */
export interface NodeValue {
  readonly dollarsPerGpuHour: number;
}

/** A miner of an unknown model is taken for one of these: a large air-cooled machine. */
const UNKNOWN_MINER_WATTS = 3600;
const UNKNOWN_MINER_THS = 100;
/** Nominal figures are typical, not worst: nameplate adds this. */
const NAMEPLATE_FACTOR = 1.1;
/** What a miner asleep is planned with. */
export const ASLEEP_WATTS = 60;
/** Below this part of its maximum a GPU cap is not trusted as a bound. Source: NVIDIA power capping measurements. */
const LEAST_CAP_SHARE = 0.45;
const CAP_SHARES = [0.5, 0.6, 0.7, 0.8, 0.9, 1];
/** Wear of one thermal cycle of an air-cooled miner; a default to be tuned on site. */
const CYCLE_DOLLARS = 0.02;

/**
 * Facts of a miner out of its model, its last reading and what it was seen to draw at full power
 * (`observedWatts`, 0 = never). `normalLimitWatts`: the power limit under which it was first found working.
 */
export function minerFacts(
  model: DeviceModel,
  device: ObservedDevice,
  memory: { readonly observedWatts: Watts; readonly normalLimitWatts: Watts | null },
  economics: Economics,
  shareLimits: boolean,
): DeviceFacts {
  const table = findMinerModel(device.model) ?? findMinerModel(model.modelName);
  const nominalWatts =
    memory.normalLimitWatts ?? table?.nominalWatts ?? model.nameplateWatts ?? UNKNOWN_MINER_WATTS;
  // LuxOS gives the nominal rate of the profile in force: under a lower limit it says nothing of full power.
  const limited = device.limitWatts !== null && device.limitWatts < nominalWatts * 0.97;
  const nominalThs =
    (limited ? null : device.nominalHashrateThs) ??
    table?.nominalHashrateThs ??
    (UNKNOWN_MINER_THS * nominalWatts) / UNKNOWN_MINER_WATTS;
  const nameplateWatts = Math.ceil(
    model.nameplateWatts ?? Math.max(nominalWatts * NAMEPLATE_FACTOR, memory.observedWatts),
  );
  // Its own figure counts upwards at once, downwards never: a liar must not make room.
  const fullWatts = Math.min(nameplateWatts, Math.ceil(Math.max(nominalWatts, memory.observedWatts)));
  // Of what it hashes, pools pay what they accept; the energy is spent all the same.
  const paid = (1 - economics.poolFeePercent / 100) * (1 - (device.rejectedPercent ?? 0) / 100);
  const value = (watts: Watts, ths: number): DollarsPerHour =>
    (ths * economics.hashpriceDollarsPerPhDay * paid) / 24_000 -
    (watts * economics.energyDollarsPerMwh) / 1e6;
  const points: OperatingPoint[] = [];
  const { control } = device;
  if (control?.sleep && control.wake) {
    points.push({
      id: 'sleep',
      kind: 'sleep',
      watts: ASLEEP_WATTS,
      limitWatts: null,
      dollarsPerHour: value(ASLEEP_WATTS, 0),
    });
  }
  const limit = control?.powerLimit ?? null;
  if (limit !== null && shareLimits) {
    for (const [step, limitWatts] of lowerLimits(limit, fullWatts).entries()) {
      // Below nominal, machines hash a little more per watt: rate falls slower than power.
      const ths = nominalThs * (limitWatts / fullWatts) ** 0.9;
      points.push({
        // Named by step, not by watts: full power is learnt, and a point must keep its name.
        id: `low-${step + 1}`,
        kind: 'run',
        watts: limitWatts,
        limitWatts,
        dollarsPerHour: value(limitWatts, ths),
      });
    }
  }
  const ownLimit =
    limit === null || !shareLimits ? null : (memory.normalLimitWatts ?? clampToLimit(limit, fullWatts));
  points.push({
    id: 'normal',
    kind: 'run',
    watts: fullWatts,
    limitWatts: ownLimit,
    dollarsPerHour: value(fullWatts, nominalThs),
  });
  const wakeMs = control?.wakeMs ?? null;
  return {
    id: model.id,
    kind: 'miner',
    limit: model.limit,
    className: device.firmware,
    nameplateWatts,
    points,
    sleepMs: control?.sleepMs ?? null,
    wakeMs,
    changeMs: control?.changeMs ?? null,
    wakeDollars: CYCLE_DOLLARS + Math.max(0, value(fullWatts, nominalThs)) * ((wakeMs ?? 0) / 3_600_000 / 2),
  };
}

/** At most three steps between the least and full: enough for the allocation, few enough to verify. */
function lowerLimits(
  limit: {
    minWatts: Watts;
    maxWatts: Watts;
    kind: string;
    presetsWatts?: readonly Watts[];
    stepWatts?: Watts;
  },
  fullWatts: Watts,
): Watts[] {
  const below = fullWatts * 0.95;
  if (limit.presetsWatts !== undefined) {
    const presets = [...new Set(limit.presetsWatts)]
      .filter((watts) => watts < below && watts >= fullWatts * 0.4)
      .sort((a, b) => a - b);
    if (presets.length <= 3) return presets;
    return [presets[0]!, presets[Math.floor(presets.length / 2)]!, presets.at(-1)!];
  }
  const least = Math.max(limit.minWatts, fullWatts * 0.5);
  if (least >= below) return [];
  const step = limit.stepWatts ?? 1;
  const steps = [0, 1 / 3, 2 / 3].map(
    (share) => Math.ceil((least + (fullWatts - least) * share) / step) * step,
  );
  return [...new Set(steps)].filter((watts) => watts < below);
}

function clampToLimit(limit: { minWatts: Watts; maxWatts: Watts }, watts: Watts): Watts {
  return Math.min(limit.maxWatts, Math.max(limit.minWatts, watts));
}

/**
 * Facts of a GPU node: its points are equal caps on all its GPUs, in steps of a tenth of their maximum. What
 * is booked is caps plus host part, never the draw: training swings from idle to full within seconds.
 */
export function gpuNodeFacts(
  model: DeviceModel,
  device: ObservedDevice,
  configuredHostWatts: Watts | null,
  value: NodeValue,
  economics: Economics,
  cappable: boolean,
  bounds?: CapBounds,
): DeviceFacts {
  const nameplateWatts = Math.ceil(model.nameplateWatts ?? 0);
  const gpus = device.gpus ?? [];
  const most = gpus.reduce((sum, gpu) => sum + (gpu.maxWatts ?? 0), 0);
  const hostWatts = configuredHostWatts ?? Math.max(0, nameplateWatts - most);
  const points: OperatingPoint[] = [];
  const worth = (share: number, watts: Watts): DollarsPerHour =>
    gpus.length * value.dollarsPerGpuHour * throughputAtCap(share) -
    (watts * economics.energyDollarsPerMwh) / 1e6;
  const known = gpus.length > 0 && gpus.every((gpu) => gpu.maxWatts !== null && gpu.minWatts !== null);
  if (cappable && known && device.activity === 'running') {
    for (const share of CAP_SHARES) {
      if (share === 1) continue;
      let watts = hostWatts;
      let allowed = true;
      for (const gpu of gpus) {
        const cap = Math.round(gpu.maxWatts! * share);
        const range = capRange({ minWatts: gpu.minWatts!, maxWatts: gpu.maxWatts! }, bounds);
        if (cap < range.minWatts || cap >= range.maxWatts || share < LEAST_CAP_SHARE) allowed = false;
        watts += cap;
      }
      if (allowed)
        points.push({
          id: `cap-${Math.round(share * 100)}`,
          kind: 'run',
          watts: Math.ceil(watts),
          limitWatts: Math.ceil(watts),
          dollarsPerHour: worth(share, watts),
        });
    }
  }
  const full = known ? Math.ceil(hostWatts + highestCaps(device, most, hostWatts, bounds)) : nameplateWatts;
  const fullWatts = nameplateWatts > 0 ? Math.min(full, nameplateWatts) : full;
  points.push({
    id: 'cap-100',
    kind: 'run',
    watts: fullWatts,
    limitWatts: known && cappable ? full : null,
    dollarsPerHour: worth(known && most > 0 ? (full - hostWatts) / most : 1, fullWatts),
  });
  return {
    id: model.id,
    kind: 'gpu-node',
    limit: model.limit,
    className: 'gpu-node',
    nameplateWatts,
    points: points.filter((point) => point.watts <= fullWatts),
    sleepMs: null,
    wakeMs: null,
    changeMs: device.control?.changeMs ?? 10_000,
    wakeDollars: 0,
  };
}

/** The highest caps that may be set; what is in force above them counts until it was lowered. */
function highestCaps(device: ObservedDevice, most: Watts, hostWatts: Watts, bounds?: CapBounds): Watts {
  const allowed = (device.gpus ?? []).reduce(
    (sum, gpu) => sum + capRange({ minWatts: gpu.minWatts!, maxWatts: gpu.maxWatts! }, bounds).maxWatts,
    0,
  );
  const inForce = device.limitWatts === null ? most : device.limitWatts - hostWatts;
  return Math.min(most, Math.max(allowed, inForce));
}

/**
 * Share of full throughput that is left at a cap, as a fraction of the maximum limit: concave, nearly flat above
 * 80 %. Source: medians of published V100, A40, P100 and RTX 6000 training traces; a default, to be learnt on site.
 */
export function throughputAtCap(share: number): number {
  const curve: readonly (readonly [number, number])[] = [
    [0.4, 0.6],
    [0.5, 0.75],
    [0.6, 0.86],
    [0.7, 0.93],
    [0.8, 0.97],
    [0.9, 0.99],
    [1, 1],
  ];
  for (let index = 1; index < curve.length; index += 1) {
    const [x0, y0] = curve[index - 1]!;
    const [x1, y1] = curve[index]!;
    if (share <= x1) return y0 + ((y1 - y0) * (Math.max(share, x0) - x0)) / (x1 - x0);
  }
  return 1;
}

/** The point that what a device shows corresponds to, or null when it shows nothing usable. */
export function pointShown(facts: DeviceFacts, device: ObservedDevice): OperatingPoint | null {
  if (device.activity === 'asleep') return facts.points.find((point) => point.kind === 'sleep') ?? null;
  if (device.activity !== 'running' && device.activity !== 'starting') return null;
  const running = facts.points.filter((point) => point.kind === 'run');
  const full = running.at(-1) ?? null;
  if (device.limitWatts === null) return full;
  // The lowest point that the limit in force does not exceed.
  return running.find((point) => point.watts >= device.limitWatts! * 0.995) ?? full;
}
