import type {
  GpuNodeReading,
  Identity,
  LoadReading,
  MeterReading,
  Quality,
} from '../../drivers/load-driver.ts';
import { FreezeWatch } from '../../drivers/meter/quality.ts';
import type { Failure } from '../../protocols/result.ts';
import type { DeviceId, EpochMs, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import { capChanges } from './cap-changes.ts';
import type { DeviceModel, LimitModel, SiteModel } from './model.ts';
import type { DeviceState, InventoryState, LimitState, MeterState, SiteEvent, Snapshot } from './snapshot.ts';
import type { KnownDevice, Stranger } from './stranger.ts';

export interface StaleRules {
  /** A meter reading older than this is stale. */
  readonly meterStaleMs: Milliseconds;
  /** A device reading older than this is stale. */
  readonly deviceStaleMs: Milliseconds;
}

interface DeviceRecord {
  readonly model: DeviceModel;
  address: string;
  /** Identity of a machine that was found in its place. */
  stranger: string | null;
  reading: LoadReading | null;
  identity: Identity | null;
  failure: Failure | null;
  failures: number;
  held: boolean;
  removed: boolean;
  seen: boolean;
  stateSince: MonotonicMs | null;
}

interface MeterRecord {
  reading: MeterReading | null;
  failure: Failure | null;
  failures: number;
  readonly freeze: FreezeWatch;
  frozenMs: Milliseconds;
}

/** A silent device counts as absent after this many failed reads in a row. */
const ABSENT_AFTER_FAILURES = 3;

/**
 * The latest known state of everything, fed by the pollers and frozen once per cycle. No I/O and no clock:
 * every call brings its time along.
 */
export class SiteState {
  readonly model: SiteModel;
  private readonly rules: StaleRules;
  private readonly devices = new Map<DeviceId, DeviceRecord>();
  private readonly meters = new Map<DeviceId, MeterRecord>();
  private events: SiteEvent[] = [];
  private cycle = 0;

  constructor(model: SiteModel, rules: StaleRules) {
    this.model = model;
    this.rules = rules;
    for (const device of model.devices) {
      this.devices.set(device.id, {
        model: device,
        address: device.address,
        stranger: null,
        reading: null,
        identity: null,
        failure: null,
        failures: 0,
        held: false,
        removed: false,
        seen: false,
        stateSince: null,
      });
    }
    for (const meter of model.meters) {
      this.meters.set(meter.id, {
        reading: null,
        failure: null,
        failures: 0,
        freeze: new FreezeWatch(),
        frozenMs: 0,
      });
    }
  }

  /** Notes who answered as itself. Another identity than before is an event. */
  recordIdentity(id: DeviceId, identity: Identity, epochMs: EpochMs): void {
    const record = this.devices.get(id);
    if (record === undefined) return;
    const before = record.identity;
    record.identity = identity;
    record.stranger = null;
    if (before !== null && before.value !== identity.value)
      this.event(epochMs, 'swapped', id, `${before.value} was replaced by ${identity.value}`);
  }

  /** Who a device was in an earlier life of the agent, and where. */
  restoreIdentity(id: DeviceId, identity: Identity | null, address: string): void {
    const record = this.devices.get(id);
    if (record === undefined) return;
    record.identity = identity;
    record.address = address;
  }

  /** Who is expected at a device's address. */
  identityOf(id: DeviceId): Identity | null {
    return this.devices.get(id)?.identity ?? null;
  }

  /** All devices, for finding out who a stranger is. */
  known(): KnownDevice[] {
    return [...this.devices.values()].map(({ model, identity, failures, reading }) => ({
      id: model.id,
      entry: model.entry,
      identity,
      lost: failures > 0 || reading === null,
    }));
  }

  /** Two devices of one entry have changed addresses: ids, and all that is known of them, follow the machines. */
  recordMove(id: DeviceId, other: DeviceId, addressOf: (id: DeviceId) => string, epochMs: EpochMs): void {
    for (const moved of [id, other]) {
      const record = this.devices.get(moved);
      if (record === undefined) continue;
      record.address = addressOf(moved);
      record.stranger = null;
      // What failed at the old address says nothing of the new one.
      record.failure = null;
      record.failures = 0;
    }
    const { identity } = this.devices.get(id) ?? {};
    this.event(
      epochMs,
      'moved',
      id,
      `${id} (${identity?.value ?? 'unknown'}) answers at ${addressOf(id)} now, which was ${other}'s`,
    );
  }

  /** Another machine stands at a device's place. It is told once; a person says whether it may stay. */
  recordStranger(id: DeviceId, identity: Identity, who: Stranger, epochMs: EpochMs): void {
    const record = this.devices.get(id);
    if (record === undefined || record.stranger === identity.value || who.kind === 'twin') return;
    record.stranger = identity.value;
    const known = who.kind === 'unknown' ? '' : `, known as ${who.device},`;
    this.event(
      epochMs,
      'swapped',
      id,
      `${identity.value}${known} answers in the place of ${record.identity?.value ?? id}`,
    );
  }

  recordReading(id: DeviceId, reading: LoadReading, epochMs: EpochMs): void {
    const record = this.devices.get(id);
    if (record === undefined) return;
    const before = record.reading;
    if (!record.seen) this.event(epochMs, 'present', id, 'answers for the first time');
    else if (record.failures >= ABSENT_AFTER_FAILURES) this.event(epochMs, 'present', id, 'answers again');
    const changed =
      before === null ||
      (before.kind === 'miner' && reading.kind === 'miner' && before.state !== reading.state);
    if (changed) record.stateSince = reading.sampledAt;
    if (before?.kind === 'miner' && reading.kind === 'miner' && before.state !== reading.state) {
      this.event(epochMs, 'state', id, `${before.state} -> ${reading.state}`);
    }
    if (before?.kind === 'gpu-node' && reading.kind === 'gpu-node')
      this.noteCaps(id, before, reading, epochMs);
    record.reading = reading;
    record.seen = true;
    record.failure = null;
    record.failures = 0;
  }

  private noteCaps(id: DeviceId, before: GpuNodeReading, after: GpuNodeReading, epochMs: EpochMs): void {
    const gpus = capChanges(before, after);
    const [first] = gpus;
    if (first === undefined) return;
    const more = gpus.length === 1 ? '' : ` and ${gpus.length - 1} more`;
    const what = `${first.fromWatts} W to ${first.toWatts} W by ${first.by}`;
    this.event(epochMs, 'cap-changed', id, `caps changed: ${first.uuid} from ${what}${more}`, { gpus });
  }

  recordFailure(id: DeviceId, failure: Failure, epochMs: EpochMs): void {
    const record = this.devices.get(id);
    if (record === undefined) return;
    record.failure = failure;
    record.failures += 1;
    if (record.seen && record.failures === ABSENT_AFTER_FAILURES) {
      this.event(epochMs, 'absent', id, failure.message, { failure: failure.kind });
    }
  }

  recordMeter(id: DeviceId, reading: MeterReading): void {
    const record = this.meters.get(id);
    if (record === undefined) return;
    record.frozenMs = frozenMs(record.freeze, reading);
    record.reading = reading;
    record.failure = null;
    record.failures = 0;
  }

  recordMeterFailure(id: DeviceId, failure: Failure, epochMs: EpochMs): void {
    const record = this.meters.get(id);
    if (record === undefined) return;
    record.failure = failure;
    record.failures += 1;
    if (record.failures === 2)
      this.event(epochMs, 'meter-silent', id, failure.message, { failure: failure.kind });
  }

  /** People work on it: commanded by nobody until released. */
  setHeld(id: DeviceId, held: boolean): void {
    const record = this.devices.get(id);
    if (record !== undefined) record.held = held;
  }

  /** Another machine stands at this place now: the next identity is taken without an event. */
  forgetIdentity(id: DeviceId): void {
    const record = this.devices.get(id);
    if (record !== undefined) record.identity = null;
  }

  /** An operator says that it is gone; it counts again as soon as it answers. */
  setRemoved(id: DeviceId, removed: boolean): void {
    const record = this.devices.get(id);
    if (record !== undefined) record.removed = removed;
  }

  /** Marks devices as seen in an earlier life of the agent, so that silence keeps their reservation. */
  restoreSeen(ids: Iterable<DeviceId>): void {
    for (const id of ids) {
      const record = this.devices.get(id);
      if (record !== undefined) record.seen = true;
    }
  }

  /** Takes the events since the last call. */
  drainEvents(): readonly SiteEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  /** Everything as it stands, as plain frozen data. */
  freeze(monotonicMs: MonotonicMs, epochMs: EpochMs): Snapshot {
    const meters = this.model.meters.map((meter) => this.meterState(meter.id, meter.limit, monotonicMs));
    const devices = [...this.devices.values()].map((record) => this.deviceState(record, monotonicMs));
    this.cycle += 1;
    return {
      cycle: this.cycle,
      monotonicMs,
      epochMs,
      limits: limitStates(this.model, meters, devices),
      meters,
      devices,
    };
  }

  private deviceState(record: DeviceRecord, now: MonotonicMs): DeviceState {
    const { reading } = record;
    const ageMs = reading === null ? null : now - reading.sampledAt;
    let quality: Quality = 'missing';
    if (reading !== null && ageMs !== null) {
      if (ageMs > this.rules.deviceStaleMs) quality = 'stale';
      else if (reading.powerWatts === null) quality = 'missing';
      else quality = reading.kind === 'miner' && reading.powerSource === 'estimated' ? 'estimated' : 'good';
    }
    return {
      id: record.model.id,
      kind: record.model.kind,
      limit: record.model.limit,
      address: record.address,
      inventory: inventoryOf(record),
      reading,
      quality,
      ageMs,
      identity: record.identity,
      failure: record.failure,
      failures: record.failures,
      stateSince: record.stateSince,
    };
  }

  private meterState(id: DeviceId, limit: string | null, now: MonotonicMs): MeterState {
    const record = this.meters.get(id)!;
    const { reading } = record;
    const ageMs = reading === null ? null : now - reading.sampledAt;
    const doubts = [...(reading?.doubts ?? [])];
    let quality: Quality = reading?.quality ?? 'missing';
    if (record.frozenMs > 0) {
      quality = 'bad';
      doubts.push(
        `every value has been the same to the last bit for ${Math.round(record.frozenMs / 1000)} s`,
      );
    }
    if (reading !== null && reading.powerWatts === null && quality === 'good') quality = 'missing';
    if (ageMs !== null && ageMs > this.rules.meterStaleMs && quality !== 'bad') quality = 'stale';
    return { id, limit, reading, quality, doubts, ageMs, failure: record.failure, failures: record.failures };
  }

  private event(
    epochMs: EpochMs,
    kind: string,
    target: string,
    message: string,
    detail?: Record<string, unknown>,
  ): void {
    // Bounded: nobody drains while the agent starts, and a flapping rack must not fill the memory.
    if (this.events.length >= 5000) this.events.shift();
    this.events.push({ epochMs, kind, target, message, ...(detail === undefined ? {} : { detail }) });
  }
}

function inventoryOf(record: DeviceRecord): InventoryState {
  if (record.held) return 'held';
  if (record.removed && record.failures > 0) return 'removed';
  if (!record.seen) return 'expected';
  return record.failures >= ABSENT_AFTER_FAILURES ? 'absent' : 'present';
}

/** Whatever its driver checks itself: a meter under load whose figures stand still is worse than a silent one. */
function frozenMs(watch: FreezeWatch, reading: MeterReading): Milliseconds {
  const { powerWatts, voltageVolts, currentAmps, frequencyHz } = reading;
  const { l1, l2, l3 } = currentAmps;
  const volts = `${voltageVolts.l1} ${voltageVolts.l2} ${voltageVolts.l3}`;
  const fingerprint = `${powerWatts} ${frequencyHz} ${volts} ${l1} ${l2} ${l3}`;
  const isLoaded =
    powerWatts !== null && (powerWatts !== 0 || (l1 ?? 0) !== 0 || (l2 ?? 0) !== 0 || (l3 ?? 0) !== 0);
  return watch.frozenMs(fingerprint, isLoaded, frequencyHz !== null, reading.sampledAt);
}

/** Power through each limit: its own meter where that is good, else the sum of what hangs below. */
export function limitStates(
  model: SiteModel,
  meters: readonly MeterState[],
  devices: readonly DeviceState[],
): LimitState[] {
  const byLimit = new Map<string, LimitState>();
  const childrenFirst = [...model.limits].reverse();
  const meterOf = new Map(meters.map((meter) => [meter.id, meter]));
  const modelOf = new Map(model.devices.map((device) => [device.id, device]));
  const devicesOf = new Map<string, DeviceState[]>();
  for (const device of devices) {
    const list = devicesOf.get(device.limit);
    if (list === undefined) devicesOf.set(device.limit, [device]);
    else list.push(device);
  }
  for (const limit of childrenFirst) {
    const meter = limit.meterId === null ? undefined : meterOf.get(limit.meterId);
    byLimit.set(
      limit.id,
      measuredState(limit, meter) ??
        estimatedState(model, limit, devicesOf.get(limit.id) ?? [], byLimit, modelOf),
    );
  }
  return model.limits.map((limit) => byLimit.get(limit.id)!);
}

function measuredState(limit: LimitModel, meter: MeterState | undefined): LimitState | null {
  const reading = meter?.reading;
  if (meter === undefined || reading == null || reading.powerWatts === null) return null;
  if (meter.quality === 'bad' || meter.quality === 'missing') return null;
  return {
    id: limit.id,
    powerWatts: reading.powerWatts,
    basis: 'measured',
    quality: meter.quality,
    ageMs: meter.ageMs,
    sampledAt: reading.sampledAt,
  };
}

function estimatedState(
  model: SiteModel,
  limit: LimitModel,
  devices: readonly DeviceState[],
  states: ReadonlyMap<string, LimitState>,
  modelOf: ReadonlyMap<string, DeviceModel>,
): LimitState {
  let watts = 0;
  let known = false;
  let whole = true;
  let ageMs = 0;
  let sampledAt = Number.POSITIVE_INFINITY;
  for (const load of model.loads) if (load.limit === limit.id) watts += load.worstWatts;
  for (const device of devices) {
    if (device.inventory === 'expected' || device.inventory === 'removed') continue;
    const power = devicePower(device, modelOf.get(device.id));
    if (power === null) whole = false;
    else {
      watts += power;
      known = true;
      // What has watts has a reading, with its moment.
      ageMs = Math.max(ageMs, device.ageMs!);
      sampledAt = Math.min(sampledAt, device.reading!.sampledAt);
    }
  }
  for (const child of model.limits) {
    if (child.parent !== limit.id) continue;
    const state = states.get(child.id)!;
    if (state.powerWatts === null) {
      if (devicesBelow(model, child.id)) whole = false;
      continue;
    }
    watts += state.powerWatts * child.gain;
    known = true;
    ageMs = Math.max(ageMs, state.ageMs!);
    sampledAt = Math.min(sampledAt, state.sampledAt!);
  }
  return {
    id: limit.id,
    powerWatts: known ? watts : null,
    basis: 'estimated',
    quality: known ? (whole ? 'estimated' : 'bad') : 'missing',
    ageMs: known ? ageMs : null,
    sampledAt: Number.isFinite(sampledAt) ? sampledAt : null,
  };
}

function devicesBelow(model: SiteModel, limit: string): boolean {
  return (
    model.devices.some((device) => device.limit === limit) ||
    model.limits.some((child) => child.parent === limit && devicesBelow(model, child.id))
  );
}

/** What a device is known to draw, for sums: for a GPU node its board power and its host part. */
export function devicePower(device: DeviceState, model: DeviceModel | undefined): Watts | null {
  const { reading } = device;
  if (reading === null || reading.powerWatts === null) return null;
  return reading.kind === 'miner' ? reading.powerWatts : reading.powerWatts + hostWattsOf(reading, model);
}

/** The part of a GPU node beside its GPUs: as configured, else what its nameplate leaves above its caps. */
export function hostWattsOf(reading: GpuNodeReading, model: DeviceModel | undefined): Watts {
  if (model?.hostWatts != null) return model.hostWatts;
  const most = reading.gpus.reduce((sum, gpu) => sum + (gpu.maxLimitWatts ?? gpu.defaultLimitWatts ?? 0), 0);
  return Math.max(0, (model?.nameplateWatts ?? 0) - most);
}
