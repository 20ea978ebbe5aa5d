import type { Clock } from '../../protocols/clock.ts';
import {
  CHASSIS,
  type Chassis,
  type ChassisPower,
  limitPatch,
  type PowerForm,
  parseChassis,
  parseChassisPower,
  parseMembers,
} from '../../protocols/redfish.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import type { Milliseconds, Watts } from '../../protocols/units.ts';
import type {
  Applied,
  GpuNodeReading,
  GpuReading,
  Identity,
  LoadCommand,
  LoadDriver,
} from '../load-driver.ts';
import { applyCap, type CapBounds, type CapPort, type CapView, NODE_UUID } from './cap.ts';
import { type RedfishAccess, RedfishSession } from './redfish-session.ts';

export interface RedfishNodeConfig extends RedfishAccess, CapBounds {
  readonly id: string;
  /** `/redfish/v1/Chassis/<id>`; without it the only chassis that shows power is taken. */
  readonly chassis?: string | undefined;
  readonly canCap: boolean;
}

/** What a limit may be exceeded by before it counts as not in force: control error, and the sensor's. */
const OVER_SHARE = 1.03;
const OVER_WATTS: Watts = 20;
/** Limits set out of band were seen to take up to 40 s; other controllers are slower. */
const CHANGE_MS: Milliseconds = 90_000;
const SET_LIMIT = 'set a power limit';
const READ = 'read its power';

/** Where the power of the node stands. */
interface Place {
  readonly chassis: Chassis;
  readonly form: PowerForm;
  readonly path: string;
}

/**
 * A whole node by its management controller: one figure and one limit for all that hangs on its supplies. It shows
 * as a node of one part, `node`, with no host part beside it.
 */
export class RedfishNode implements LoadDriver {
  readonly deviceId: string;
  private readonly config: RedfishNodeConfig;
  private readonly clock: Clock;
  private readonly session: RedfishSession;
  private readonly closing = new AbortController();
  private place: Place | null = null;

  constructor(config: RedfishNodeConfig, clock: Clock) {
    this.deviceId = config.id;
    this.config = config;
    this.clock = clock;
    this.session = new RedfishSession(config, clock);
  }

  async identify(signal: AbortSignal): Promise<Result<Identity>> {
    const place = await this.find(AbortSignal.any([signal, this.closing.signal]));
    if (!place.ok) return place;
    const { vendor, model, serialNumber, path } = place.value.chassis;
    return ok({
      basis: serialNumber === null ? 'address' : 'serial',
      value: serialNumber ?? `${this.session.place}${path}`,
      vendor,
      model,
      firmware: 'redfish',
      firmwareVersion: null,
      macAddress: null,
      serialNumber,
    });
  }

  async read(signal: AbortSignal): Promise<Result<GpuNodeReading>> {
    const joined = AbortSignal.any([signal, this.closing.signal]);
    const place = await this.find(joined);
    if (!place.ok) return place;
    const requestedAt = this.clock.monotonicMs();
    const shown = await this.look(place.value, joined);
    if (!shown.ok) return shown;
    const repliedAt = this.clock.monotonicMs();
    const { power } = shown.value;
    const node = this.part(power, place.value.chassis);
    const { minLimitWatts, maxLimitWatts } = node;
    const hasRange = minLimitWatts !== null && maxLimitWatts !== null && minLimitWatts < maxLimitWatts;
    const canCap = this.config.canCap && power.hasLimit && hasRange;
    return ok({
      kind: 'gpu-node',
      source: 'redfish',
      driverVersion: null,
      powerWatts: power.powerWatts,
      knownPowerWatts: power.powerWatts ?? 0,
      gpus: [node],
      errors: [],
      control: {
        sleep: false,
        wake: false,
        sleepMs: null,
        wakeMs: null,
        powerLimit: canCap ? { kind: 'watts', minWatts: minLimitWatts, maxWatts: maxLimitWatts } : null,
        changeMs: canCap ? CHANGE_MS : null,
      },
      sampledAt: (requestedAt + repliedAt) / 2,
      requestedAt,
      roundTripMs: repliedAt - requestedAt,
    });
  }

  async apply(command: LoadCommand, signal: AbortSignal): Promise<Result<Applied>> {
    if (command.kind !== 'cap' || command.uuid !== NODE_UUID)
      return fail('unsupported', `${this.deviceId}: it takes a cap of the whole node ("${NODE_UUID}") only`);
    if (!this.config.canCap) return fail('unsupported', `${this.deviceId}: no way to cap is configured`);
    const joined = AbortSignal.any([signal, this.closing.signal]);
    const place = await this.find(joined);
    if (!place.ok) return place;
    return applyCap(this.port(place.value), command, this.config, joined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closing.abort();
    await this.session[Symbol.asyncDispose]();
  }

  private port(place: Place): CapPort {
    return {
      view: async (signal) => {
        const shown = await this.look(place, signal);
        if (!shown.ok) return shown;
        const { power } = shown.value;
        if (!power.hasLimit)
          return fail('unsupported', `${this.session.place}${place.path} shows no power limit`);
        const part = this.part(power, place.chassis);
        // What is set is what a write is judged by; that it binds is for later readings to show.
        const view: CapView = { ...part, enforcedLimitWatts: power.setPointWatts };
        return ok([view]);
      },
      cap: async (_uuid, limitWatts, signal) => {
        const watts = Math.floor(limitWatts);
        for (let attempt = 1; ; attempt += 1) {
          // The tag of this very moment: a change that somebody else makes in between is not overwritten unseen.
          const shown = await this.look(place, signal);
          if (!shown.ok) return shown;
          const { etag, power } = shown.value;
          const body = limitPatch(place.form, watts, power.isOff);
          const written = await this.session.patch(place.path, etag, body, SET_LIMIT, signal);
          if (!written.ok && written.error.kind === 'busy' && attempt === 1) continue;
          return written.ok ? ok({ ...written.value, kind: null }) : written;
        }
      },
    };
  }

  private async look(
    place: Place,
    signal: AbortSignal,
  ): Promise<Result<{ readonly power: ChassisPower; readonly etag: string | null }>> {
    const got = await this.session.get(place.path, READ, signal);
    if (!got.ok) {
      // Firmware moves things: the way is found anew.
      if (got.error.kind === 'unsupported') this.place = null;
      return got;
    }
    return ok({ power: parseChassisPower(place.form, got.value.json), etag: got.value.etag });
  }

  /** The node as one part. A limit that its own draw exceeds is not in force, whatever is set. */
  private part(power: ChassisPower, chassis: Chassis): GpuReading {
    const { powerWatts, setPointWatts } = power;
    const binds =
      setPointWatts !== null && powerWatts !== null && powerWatts <= setPointWatts * OVER_SHARE + OVER_WATTS;
    return {
      uuid: NODE_UUID,
      index: 0,
      name: chassis.model,
      state: 'ok',
      powerWatts,
      requestedLimitWatts: setPointWatts,
      enforcedLimitWatts: binds ? setPointWatts : null,
      defaultLimitWatts: null,
      minLimitWatts: power.minWatts ?? this.config.capMinWatts ?? null,
      maxLimitWatts: power.maxWatts ?? this.config.capMaxWatts ?? null,
      temperatureCelsius: null,
      utilizationPercent: null,
      memoryUsedMebibytes: null,
      memoryTotalMebibytes: null,
      migEnabled: null,
    };
  }

  private async find(signal: AbortSignal): Promise<Result<Place>> {
    if (this.place !== null) return ok(this.place);
    const found = await this.search(signal);
    if (found.ok) this.place = found.value;
    return found;
  }

  private async search(signal: AbortSignal): Promise<Result<Place>> {
    let paths: readonly string[] = this.config.chassis === undefined ? [] : [this.config.chassis];
    if (this.config.chassis === undefined) {
      const all = await this.session.get(CHASSIS, READ, signal);
      if (!all.ok) return all;
      paths = parseMembers(all.value.json) ?? [];
    }
    const places: Place[] = [];
    for (const path of paths.slice(0, CHASSIS_MOST)) {
      const got = await this.session.get(path, READ, signal);
      if (!got.ok) return got;
      const chassis = parseChassis(got.value.json);
      const place = chassis === null ? ok(null) : await this.formOf(chassis, signal);
      if (!place.ok) return place;
      if (place.value !== null) places.push(place.value);
    }
    const [only, ...more] = places;
    if (only === undefined)
      return fail(
        'unsupported',
        `${this.session.place} shows the power of no chassis`,
        'Update its firmware.',
      );
    if (more.length === 0) return ok(only);
    const names = places.map(({ chassis }) => chassis.path).join(', ');
    return fail(
      'wrong-device',
      `${this.session.place} shows the power of several: ${names}`,
      'Name the one that is the whole node as `reader.chassis`.',
    );
  }

  /** The schema in which a chassis has a limit, else the one with a reading; `null`: neither. */
  private async formOf(chassis: Chassis, signal: AbortSignal): Promise<Result<Place | null>> {
    let readable: Place | null = null;
    for (const form of ['environment', 'power'] as const) {
      const path = chassis[form];
      if (path === null) continue;
      const got = await this.session.get(path, READ, signal);
      // Linked and not there: some firmware does that.
      if (!got.ok && got.error.kind === 'unsupported') continue;
      if (!got.ok) return got;
      const power = parseChassisPower(form, got.value.json);
      if (power.hasLimit) return ok({ chassis, form, path });
      if (power.powerWatts !== null) readable ??= { chassis, form, path };
    }
    return ok(readable);
  }
}

/** A rack of trays may list dozens. */
const CHASSIS_MOST = 64;
