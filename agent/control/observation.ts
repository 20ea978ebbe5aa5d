import { findMinerModel } from '../../config/miners/models.ts';
import type {
  LoadControl,
  LoadReading,
  MeterReading,
  MinerReading,
  Quality,
} from '../../drivers/load-driver.ts';
import type {
  Amps,
  DeviceId,
  LimitId,
  Milliseconds,
  MonotonicMs,
  Percent,
  TerahashesPerSecond,
  Watts,
} from '../../protocols/units.ts';
import type { DeviceModel, LimitModel, SiteModel } from '../site/model.ts';
import type { DeviceState, InventoryState, Snapshot } from '../site/snapshot.ts';
import { hostWattsOf } from '../site/state.ts';

/**
 * What a decision looks at of a snapshot: compact, plain, JSON-able. The journal keeps these, so a replay
 * decides from exactly what was seen.
 */
export interface Observation {
  readonly now: MonotonicMs;
  readonly meters: readonly ObservedMeter[];
  readonly devices: readonly ObservedDevice[];
}

/** A limit as its own meter shows it. */
export interface ObservedMeter {
  readonly limit: LimitId;
  readonly powerWatts: Watts | null;
  readonly quality: Quality;
  readonly sampledAt: MonotonicMs | null;
  /** Current of the phase that carries most; absent where the meter does not say. */
  readonly worstAmps?: Amps;
}

/** What a device does, in the words of control. */
export type Activity = 'running' | 'starting' | 'asleep' | 'fault' | 'unknown';

export interface ObservedDevice {
  readonly id: DeviceId;
  readonly inventory: InventoryState;
  readonly activity: Activity;
  /** Whole draw (for a GPU node its host part included); `null` where not known. */
  readonly powerWatts: Watts | null;
  /** The watts are the device's own figure, not an estimate. */
  readonly reported: boolean;
  /** The limit in force on the device: power limit of a miner, sum of enforced caps and host part of a GPU node. */
  readonly limitWatts: Watts | null;
  readonly requestedAt: MonotonicMs | null;
  readonly sampledAt: MonotonicMs | null;
  readonly fresh: boolean;
  /** The failure kind of the last read, while it fails. */
  readonly failure: string | null;
  readonly firmware: string;
  readonly model: string | null;
  readonly nominalHashrateThs: TerahashesPerSecond | null;
  readonly hashrateThs: TerahashesPerSecond | null;
  readonly control: LoadControl | null;
  readonly gpus: readonly ObservedGpu[] | null;
  /** It claims far fewer watts than its hash rate can be had for: its figure is not used. */
  readonly implausible: boolean;
  /** Shares that pools reject, whole per cent rounded down; absent below 1 and where it is not known. */
  readonly rejectedPercent?: Percent;
}

export interface ObservedGpu {
  readonly uuid: string;
  readonly enforcedWatts: Watts | null;
  readonly minWatts: Watts | null;
  readonly maxWatts: Watts | null;
}

export interface ObserveRules {
  readonly deviceStaleMs: Milliseconds;
}

/** Reduces a snapshot to what control looks at. Pure. */
export function observe(model: SiteModel, snapshot: Snapshot, rules: ObserveRules): Observation {
  const modelOf = new Map(model.devices.map((device) => [device.id, device]));
  return {
    now: round(snapshot.monotonicMs),
    meters: model.limits.flatMap((limit): ObservedMeter[] => {
      if (limit.meterId === null) return [];
      const meter = snapshot.meters.find((candidate) => candidate.id === limit.meterId);
      return [
        {
          limit: limit.id,
          powerWatts: meter?.reading?.powerWatts == null ? null : round(meter.reading.powerWatts),
          quality: meter?.quality ?? 'missing',
          sampledAt: meter?.reading == null ? null : round(meter.reading.sampledAt),
          ...worstPhase(limit, meter?.reading ?? null),
        },
      ];
    }),
    devices: snapshot.devices.map((device) => observeDevice(device, modelOf.get(device.id), rules)),
  };
}

/** Only where the rating is given in amperes: nothing else looks at it. */
function worstPhase(limit: LimitModel, reading: MeterReading | null): { worstAmps?: Amps } {
  if (limit.ratingAmps === null || reading === null) return {};
  const { l1, l2, l3 } = reading.currentAmps;
  const known = [l1, l2, l3].flatMap((amps) => (amps === null ? [] : [Math.abs(amps)]));
  return known.length === 0 ? {} : { worstAmps: Math.round(Math.max(...known) * 10) / 10 };
}

function observeDevice(
  device: DeviceState,
  model: DeviceModel | undefined,
  rules: ObserveRules,
): ObservedDevice {
  const { reading } = device;
  const host = reading?.kind === 'gpu-node' ? hostWattsOf(reading, model) : 0;
  const implausible = reading?.kind === 'miner' && claimsTooLittle(reading, model?.modelName ?? null);
  const seen: ObservedDevice = {
    id: device.id,
    inventory: device.inventory,
    activity: activityOf(reading),
    powerWatts: reading?.powerWatts == null || implausible ? null : round(reading.powerWatts + host),
    reported:
      reading !== null && !implausible && (reading.kind === 'gpu-node' || reading.powerSource === 'reported'),
    limitWatts: limitOf(reading, host),
    requestedAt: reading === null ? null : round(reading.requestedAt),
    sampledAt: reading === null ? null : round(reading.sampledAt),
    fresh: device.ageMs !== null && device.ageMs <= rules.deviceStaleMs && device.inventory !== 'absent',
    failure: device.failure?.kind ?? null,
    firmware: reading?.kind === 'miner' ? reading.firmware : (reading?.source ?? 'unknown'),
    model: (reading?.kind === 'miner' ? reading.model : null) ?? model?.modelName ?? null,
    nominalHashrateThs: reading?.kind === 'miner' ? reading.nominalHashrateThs : null,
    hashrateThs:
      reading?.kind === 'miner' && reading.hashrateThs !== null
        ? Math.round(reading.hashrateThs * 10) / 10
        : null,
    control: reading?.control ?? null,
    gpus:
      reading?.kind === 'gpu-node'
        ? reading.gpus.map((gpu) => ({
            uuid: gpu.uuid,
            // A faulted GPU may draw whatever its board allows: its enforced limit is no bound that we can see.
            enforcedWatts: gpu.state === 'ok' ? gpu.enforcedLimitWatts : null,
            minWatts: gpu.minLimitWatts,
            maxWatts: gpu.maxLimitWatts,
          }))
        : null,
    implausible,
  };
  // Whole, and nothing below 1: what it is worth does not change with every share, and the journal stays small.
  const rejectedPercent = reading?.kind === 'miner' ? Math.floor(reading.rejectedPercent ?? 0) : 0;
  return rejectedPercent < 1 ? seen : { ...seen, rejectedPercent };
}

/** No firmware tunes a model to less than this share of its nominal joules per terahash. */
const LEAST_EFFICIENCY_SHARE = 0.6;

function claimsTooLittle(reading: MinerReading, configuredModel: string | null): boolean {
  const table = findMinerModel(reading.model) ?? findMinerModel(configuredModel);
  if (table === null || reading.powerSource !== 'reported' || reading.state !== 'hashing') return false;
  const { powerWatts, hashrateThs } = reading;
  // A machine that has just begun reports a rate that lags behind its watts, never ahead of them.
  if (powerWatts === null || hashrateThs === null || hashrateThs < table.nominalHashrateThs * 0.3)
    return false;
  return powerWatts / hashrateThs < (table.nominalWatts / table.nominalHashrateThs) * LEAST_EFFICIENCY_SHARE;
}

function activityOf(reading: LoadReading | null): Activity {
  if (reading === null) return 'unknown';
  if (reading.kind === 'gpu-node')
    return reading.gpus.every((gpu) => gpu.state === 'ok') ? 'running' : 'fault';
  switch (reading.state) {
    case 'hashing':
      return 'running';
    case 'starting':
    case 'tuning':
      return 'starting';
    case 'sleeping':
    case 'stopped':
      return 'asleep';
    case 'fault':
      return 'fault';
    case 'unknown':
      return 'unknown';
  }
}

function limitOf(reading: LoadReading | null, host: Watts): Watts | null {
  if (reading === null) return null;
  if (reading.kind === 'miner') return reading.powerLimitWatts;
  let sum = host;
  for (const gpu of reading.gpus) {
    if (gpu.state !== 'ok' || gpu.enforcedLimitWatts === null) return null;
    sum += gpu.enforcedLimitWatts;
  }
  return round(sum);
}

/** Whole milliseconds and watts: what is journalled is what was decided on. */
function round(value: number): number {
  return Math.round(value);
}
