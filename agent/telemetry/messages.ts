import type { LoadReading, MeterReading } from '../../drivers/load-driver.ts';
import type { EpochMs } from '../../protocols/units.ts';
import type { SiteModel } from '../site/model.ts';
import type { DeviceState, MeterState, SiteEvent, Snapshot } from '../site/snapshot.ts';
import type { InForce, Mode, SiteView } from '../site/view.ts';

/** A message to the broker: topic below `<root>/v1/<site>/`, JSON body. */
export interface Outgoing {
  readonly topic: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly retain: boolean;
  /** Which queue policy it falls under: telemetry may be dropped when the broker is away, records may not. */
  readonly kind: 'retained' | 'telemetry' | 'record';
}

/** A body that clears a retained topic: sent as an empty payload. */
export const CLEAR: Readonly<Record<string, unknown>> = Object.freeze({});

/** No part of `info/devices` and no batch of rows is larger than this many bytes of JSON. */
export const PART_BYTES = 100_000;
/** Rows in one telemetry message, at most. */
export const ROWS_PER_MESSAGE = 100;

/** `state`: whether the agent is there, and how it runs. */
export function stateBody(online: boolean, session: string, agent: string, mode: Mode, infoHash: string) {
  return { online, session, agent, mode, infoHash };
}

/** `info/site`: the limit tree and what every metric means. */
export function infoSiteBody(model: SiteModel, agent: string) {
  return {
    schema: 1,
    agent,
    name: model.name,
    limits: model.limits.map((limit) => ({
      id: limit.id,
      name: limit.name,
      parent: limit.parent,
      ratingWatts: limit.ratingWatts,
      rating: limit.ratingText,
      gain: limit.gain,
      meter: limit.meterId,
      authority: limit.authority,
    })),
    loads: model.loads.map((load) => ({ id: load.id, limit: load.limit, worstWatts: load.worstWatts })),
    meters: model.meters.map((meter) => ({ id: meter.id, profile: meter.profile, limit: meter.limit })),
    metrics: METRICS,
  };
}

/** What each field of a telemetry row means and its unit. */
export const METRICS: Readonly<Record<string, string>> = {
  powerWatts: 'W, electric power, consumed or imported positive; null = not known',
  limitWatts: 'W, limit in force',
  headroomWatts: 'W, limit less power',
  worstWatts: 'W, the most that could flow by what is proved',
  hashrateThs: 'TH/s',
  state: 'miner: hashing, starting, tuning, sleeping, stopped, fault, unknown; GPU node: ok, faulted, absent',
  quality: 'good, estimated, stale, bad, missing',
  ageMs: 'ms since the figure was sampled',
  chipTemperatureCelsius: 'degrees Celsius, hottest chip',
  capWatts: 'W, sum of the enforced limits of the GPUs of a node',
  temperatureCelsius: 'degrees Celsius, hottest GPU',
  utilizationPercent: '%, mean over the GPUs of a node',
  frequencyHz: 'Hz',
  importWattHours: 'Wh, counter of the meter',
};

type DeviceInfoSource = Pick<Snapshot['devices'][number], 'id' | 'address' | 'inventory' | 'identity'>;

/** Whether two snapshots lead to the same `info/devices`: dear to make, and they seldom change. Pure. */
export function sameDeviceInfo(a: readonly DeviceInfoSource[], b: readonly DeviceInfoSource[]): boolean {
  return a.length === b.length && a.every((device, index) => sameDevice(device, b[index]!));
}

function sameDevice(a: DeviceInfoSource, b: DeviceInfoSource): boolean {
  if (a === b) return true;
  if (a.id !== b.id || a.address !== b.address || a.inventory !== b.inventory) return false;
  const [one, other] = [a.identity, b.identity];
  if (one === null || other === null || one === other) return one === other;
  return (
    one.vendor === other.vendor &&
    one.model === other.model &&
    one.firmware === other.firmware &&
    one.firmwareVersion === other.firmwareVersion &&
    one.macAddress === other.macAddress &&
    one.serialNumber === other.serialNumber
  );
}

/** `info/devices/<n>`: every device with its attributes, in parts below the size limit. */
export function infoDevicesParts(model: SiteModel, snapshot: Snapshot): Record<string, unknown>[][] {
  const stateOf = new Map(snapshot.devices.map((device) => [device.id, device]));
  const parts: Record<string, unknown>[][] = [];
  let part: Record<string, unknown>[] = [];
  let bytes = 0;
  for (const device of model.devices) {
    const state = stateOf.get(device.id);
    const row = {
      id: device.id,
      kind: device.kind,
      limit: device.limit,
      entry: device.entry,
      address: state?.address ?? device.address,
      tenant: device.tenant,
      tags: device.tags,
      location: device.location,
      inventory: state?.inventory ?? 'expected',
      vendor: state?.identity?.vendor ?? null,
      model: state?.identity?.model ?? device.modelName,
      firmware: state?.identity?.firmware ?? null,
      firmwareVersion: state?.identity?.firmwareVersion ?? null,
      macAddress: state?.identity?.macAddress ?? null,
      serialNumber: state?.identity?.serialNumber ?? null,
    };
    const size = JSON.stringify(row).length + 1;
    if (bytes + size > PART_BYTES && part.length > 0) {
      parts.push(part);
      part = [];
      bytes = 0;
    }
    part.push(row);
    bytes += size;
  }
  parts.push(part);
  return parts;
}

/** `limits`: what is in force for each. */
export function limitsBody(inForce: readonly InForce[]) {
  return { limits: inForce.map(({ limit, ...rest }) => ({ id: limit, ...rest })) };
}

/** `tele/site`: what flows where. */
export function siteBody(view: SiteView) {
  return {
    mode: view.mode,
    limits: view.limits.map((limit) => ({
      id: limit.id,
      powerWatts: limit.powerWatts,
      limitWatts: limit.limitWatts,
      headroomWatts: limit.headroomWatts,
      worstWatts: limit.worstWatts,
      quality: limit.quality,
      ageMs: limit.ageMs,
      basis: limit.basis,
    })),
    totals: {
      powerWatts: view.totals.powerWatts,
      miningWatts: view.totals.miningWatts,
      aiWatts: view.totals.aiWatts,
      otherWatts: view.totals.otherWatts,
      hashrateThs: view.totals.hashrateThs,
    },
  };
}

/** One telemetry row of a device: the figures that change. */
export function deviceRow(device: DeviceState): Record<string, unknown> & { id: string } {
  const { reading } = device;
  const base = { id: device.id, inventory: device.inventory, quality: device.quality };
  if (reading === null) return { ...base, powerWatts: null };
  return { ...base, ...readingColumns(reading) };
}

function readingColumns(reading: LoadReading): Record<string, unknown> {
  if (reading.kind === 'miner') {
    return {
      state: reading.state,
      powerWatts: rounded(reading.powerWatts),
      powerSource: reading.powerSource,
      hashrateThs: rounded(reading.hashrateThs, 10),
      chipTemperatureCelsius: rounded(reading.chipTemperatureCelsius, 10),
      powerLimitWatts: rounded(reading.powerLimitWatts),
    };
  }
  const temperatures = reading.gpus.map((gpu) => gpu.temperatureCelsius).filter((value) => value !== null);
  const busy = reading.gpus.map((gpu) => gpu.utilizationPercent).filter((value) => value !== null);
  const caps = reading.gpus.map((gpu) => gpu.enforcedLimitWatts);
  return {
    state: reading.gpus.every((gpu) => gpu.state === 'ok') ? 'ok' : 'faulted',
    powerWatts: rounded(reading.powerWatts),
    knownPowerWatts: rounded(reading.knownPowerWatts),
    capWatts: caps.some((cap) => cap === null)
      ? null
      : caps.reduce<number>((sum, cap) => sum + (cap ?? 0), 0),
    temperatureCelsius: temperatures.length === 0 ? null : Math.max(...temperatures),
    utilizationPercent:
      busy.length === 0 ? null : Math.round(busy.reduce((sum, value) => sum + value, 0) / busy.length),
    gpus: reading.gpus.length,
  };
}

/** One telemetry row of a meter. */
export function meterRow(meter: MeterState): Record<string, unknown> & { id: string } {
  const reading: MeterReading | null = meter.reading;
  return {
    id: meter.id,
    quality: meter.quality,
    powerWatts: rounded(reading?.powerWatts ?? null),
    frequencyHz: rounded(reading?.frequencyHz ?? null, 1000),
    voltageVolts: reading?.voltageVolts ?? null,
    currentAmps: reading?.currentAmps ?? null,
    powerFactor: rounded(reading?.powerFactor ?? null, 1000),
    importWattHours: reading?.importWattHours ?? null,
    exportWattHours: reading?.exportWattHours ?? null,
  };
}

/** `event`: what happened; its own time is the message's. */
export function eventBody(event: SiteEvent) {
  return {
    ts: event.epochMs,
    kind: event.kind,
    target: event.target,
    message: event.message,
    ...(event.detail === undefined ? {} : { detail: event.detail }),
  };
}

/** The common head of every message. */
export function envelope(site: string, ts: EpochMs, body: Readonly<Record<string, unknown>>) {
  return { v: 1, site, ts, ...body };
}

function rounded(value: number | null, factor = 1): number | null {
  return value === null ? null : Math.round(value * factor) / factor;
}
