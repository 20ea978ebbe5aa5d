import type { DeviceModel, LimitModel, SiteModel } from '../../agent/site/model.ts';
import type { DeviceState, LimitState, MeterState, Snapshot } from '../../agent/site/snapshot.ts';
import { minerReading } from './readings.ts';

/** A limit of 100 kW with its meter `<id>-meter`, with what a test wants different. */
export function limitModel(id: string, changes: Partial<LimitModel> = {}): LimitModel {
  return {
    id,
    name: id,
    parent: null,
    ratingWatts: 100_000,
    ratingText: '100000 W',
    gain: 1,
    meterId: `${id}-meter`,
    authority: 'full',
    ratingAmps: null,
    average: null,
    thermal: null,
    ...changes,
  };
}

/** A miner of the entry `hall` below `grid`. */
export function deviceModel(id: string, changes: Partial<DeviceModel> = {}): DeviceModel {
  return {
    id,
    kind: 'miner',
    limit: 'grid',
    entry: 'hall',
    address: '10.1.0.1:4028',
    tenant: null,
    tags: [],
    location: null,
    nameplateWatts: 3300,
    hostWatts: null,
    modelName: null,
    intervalMs: 5000,
    ...changes,
  };
}

export function siteModel(limits: readonly LimitModel[], devices: readonly DeviceModel[] = []): SiteModel {
  return { siteId: 's', name: 'A site', limits, devices, loads: [], meters: [] };
}

/** A good figure of its own meter, sampled at 60 s. */
export function limitState(id: string, changes: Partial<LimitState> = {}): LimitState {
  return {
    id,
    powerWatts: 50_000,
    basis: 'measured',
    quality: 'good',
    ageMs: 1000,
    sampledAt: 60_000,
    ...changes,
  };
}

/** A meter that answers well and has nothing to show. */
export function meterState(id: string, changes: Partial<MeterState> = {}): MeterState {
  return {
    id,
    limit: null,
    reading: null,
    quality: 'good',
    doubts: [],
    ageMs: 1000,
    failure: null,
    failures: 0,
    ...changes,
  };
}

/** A miner that hashes, read a second ago. */
export function deviceState(id: string, changes: Partial<DeviceState> = {}): DeviceState {
  return {
    id,
    kind: 'miner',
    limit: 'grid',
    address: '10.1.0.1:4028',
    inventory: 'present',
    reading: minerReading(60_000),
    quality: 'good',
    ageMs: 1000,
    identity: null,
    failure: null,
    failures: 0,
    stateSince: null,
    ...changes,
  };
}

/** A snapshot a minute after the start. */
export function snapshotOf(parts: Partial<Snapshot>): Snapshot {
  return { cycle: 7, monotonicMs: 61_000, epochMs: 1e12, limits: [], meters: [], devices: [], ...parts };
}
