import type { LoadedConfig } from '../config/load.ts';
import { type MeterConfig, OWN_PACE } from '../config/schema.ts';
import type { Identity, LoadDriver, MeterDriver } from '../drivers/load-driver.ts';
import { type ReopenableDriver, reopenable } from '../drivers/reopenable.ts';
import type { Clock } from '../protocols/clock.ts';
import type { Result } from '../protocols/result.ts';
import type { DeviceId } from '../protocols/units.ts';
import type { PollTarget } from './control/poller.ts';
import type { DriverFactories } from './drivers.ts';
import { type DecisionTimes, LateReads } from './late-reads.ts';
import type { SiteState } from './site/state.ts';
import { whoIs } from './site/stranger.ts';
import type { IdentityStore } from './store/identities.ts';
import { addressText, Whereabouts } from './whereabouts.ts';

/** A device with its driver and what the poller does with it. */
export interface OpenLoad {
  readonly kind: 'miner' | 'gpu-node';
  readonly driver: ReopenableDriver;
  readonly target: PollTarget<unknown>;
}

/**
 * Opens a driver for every device of the configuration. A driver that is opened again takes its entry from what
 * `current` gives then; which devices there are does not change.
 */
export function openLoads(
  current: () => LoadedConfig,
  drivers: DriverFactories,
  state: SiteState,
  clock: Clock,
  kept: { readonly identities: IdentityStore; readonly stop: AbortSignal } | null = null,
): OpenLoad[] {
  const loaded = current();
  const indexOf = new Map(loaded.config.miners.map((entry, index) => [entry.id, index]));
  const whereabouts = new Whereabouts(loaded.miners);
  const remember = rememberPlaces(loaded, state, clock, whereabouts, kept);
  const loads = new Map<DeviceId, OpenLoad>();
  for (const place of loaded.miners) {
    const index = indexOf.get(place.entry.id)!;
    const entryNow = () => current().config.miners[index] ?? place.entry;
    const open = (known: Identity | null) =>
      drivers.miner(
        { ...place, entry: entryNow(), ...whereabouts.of(place.deviceId) },
        current().secrets.get(`miners[${index}].password`) ?? null,
        known,
      );
    const driver = reopenable(() => open(state.identityOf(place.deviceId)));
    const lookAround = async (signal: AbortSignal): Promise<void> => {
      // A driver that expects nobody asks who stands there.
      await using stranger = open(null);
      const who = await stranger.identify(signal);
      if (!who.ok) return;
      const verdict = whoIs(who.value, place.deviceId, state.known());
      if (verdict.kind !== 'moved') {
        state.recordStranger(place.deviceId, who.value, verdict, clock.epochMs());
        return;
      }
      whereabouts.exchange(place.deviceId, verdict.device);
      const addressOf = (id: DeviceId) => addressText(whereabouts.of(id));
      state.recordMove(verdict.device, place.deviceId, addressOf, clock.epochMs());
      remember();
      await Promise.all([driver.reopen(), loads.get(verdict.device)!.driver.reopen()]);
    };
    const target = loadTarget(driver, () => entryNow().interval, state, clock, { remember, lookAround });
    loads.set(place.deviceId, { kind: 'miner', driver, target });
  }
  for (const node of loaded.config.gpuNodes) {
    const nodeNow = () => current().config.gpuNodes.find((candidate) => candidate.id === node.id) ?? node;
    const driver = reopenable(() => drivers.gpuNode(nodeNow()));
    const target = loadTarget(driver, () => nodeNow().interval, state, clock);
    loads.set(node.id, { kind: 'gpu-node', driver, target });
  }
  return [...loads.values()];
}

/** Identities settle within seconds of a start and change hardly ever after: written together, a while later. */
const WRITE_AFTER_MS = 10_000;

/**
 * Takes over who answered where in an earlier life, and returns what notes that it has changed. Where an entry's
 * addresses are configured otherwise now, nothing is taken over.
 */
function rememberPlaces(
  loaded: LoadedConfig,
  state: SiteState,
  clock: Clock,
  whereabouts: Whereabouts,
  kept: { readonly identities: IdentityStore; readonly stop: AbortSignal } | null,
): () => void {
  if (kept === null) return () => undefined;
  const { identities, stop } = kept;
  const entries = loaded.config.miners.map((entry) => {
    const places = loaded.miners.filter((place) => place.entry === entry);
    return {
      entry: entry.id,
      ids: places.map((place) => place.deviceId),
      addresses: places.map(addressText),
    };
  });
  for (const { entry, addresses } of entries) {
    const known = identities.of(entry, addresses);
    whereabouts.restore(known);
    for (const [id, place] of known) state.restoreIdentity(id, place.identity, addressText(place));
  }
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    // At the end of the agent at once.
    void clock.sleep(WRITE_AFTER_MS, stop).then(() => {
      waiting = false;
      const placeOf = (id: DeviceId) => ({ ...whereabouts.of(id), identity: state.identityOf(id) });
      identities.keep(
        entries.map(({ entry, ids, addresses }) => ({
          entry,
          addresses,
          devices: new Map(ids.map((id) => [id, placeOf(id)])),
        })),
      );
    });
  };
}

/**
 * Reads a device; who it is is asked first, and again after every failure and now and then. When somebody else
 * answers, `on.lookAround` finds out who.
 */
function loadTarget(
  driver: LoadDriver,
  interval: () => number,
  state: SiteState,
  clock: Clock,
  on: {
    /** Who answers there has changed. */
    readonly remember: () => void;
    readonly lookAround: (signal: AbortSignal) => Promise<void>;
  } = { remember: () => undefined, lookAround: async () => undefined },
): PollTarget<unknown> {
  let identified = false;
  let reads = 0;
  const readOnce = async (signal: AbortSignal): Promise<Result<unknown>> => {
    if (!identified || reads % IDENTIFY_EVERY === 0) {
      const identity = await driver.identify(signal);
      if (!identity.ok) {
        identified = false;
        return identity;
      }
      identified = true;
      if (state.identityOf(driver.deviceId)?.value !== identity.value.value) on.remember();
      state.recordIdentity(driver.deviceId, identity.value, clock.epochMs());
    }
    reads += 1;
    const reading = await driver.read(signal);
    if (reading.ok) state.recordReading(driver.deviceId, reading.value, clock.epochMs());
    else identified = false;
    return reading;
  };
  return {
    id: driver.deviceId,
    get intervalMs() {
      return interval();
    },
    read: async (signal) => {
      const result = await readOnce(signal);
      if (!result.ok && result.error.kind === 'wrong-device') await on.lookAround(signal);
      return result;
    },
    onResult: (result) => {
      if (!result.ok) state.recordFailure(driver.deviceId, result.error, clock.epochMs());
    },
  };
}

const IDENTIFY_EVERY = 60;

/**
 * Reads a meter again and again into the site's state, each time as late as it can be for the next decision.
 * `interval: auto` follows the refresh of the meter once that is known; until then it is read as fast as may be.
 */
export function meterTarget(
  meter: MeterConfig,
  driver: MeterDriver,
  state: SiteState,
  clock: Clock,
  decisions: DecisionTimes,
): PollTarget<unknown> {
  const late = new LateReads(decisions);
  let ownPaceMs = FASTEST_MS;
  const interval = () => (meter.interval === OWN_PACE ? ownPaceMs : meter.interval);
  let startedAt = clock.monotonicMs();
  return {
    id: meter.id,
    get intervalMs() {
      return interval();
    },
    nextStart: () => late.next(startedAt, interval(), clock.monotonicMs()),
    read: async (signal) => {
      startedAt = clock.monotonicMs();
      const reading = await driver.read(signal);
      if (!reading.ok) return reading;
      late.took(clock.monotonicMs() - startedAt);
      state.recordMeter(meter.id, reading.value);
      const { refreshMs } = reading.value;
      if (refreshMs !== null) ownPaceMs = Math.min(SLOWEST_MS, Math.max(FASTEST_MS, refreshMs));
      return reading;
    },
    onResult: (result) => {
      if (!result.ok) state.recordMeterFailure(meter.id, result.error, clock.epochMs());
    },
  };
}

/** Bounds of `interval: auto`. */
const FASTEST_MS = 100;
const SLOWEST_MS = 2000;
