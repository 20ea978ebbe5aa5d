import type { LoadedConfig } from '../config/load.ts';
import { type MeterConfig, OWN_PACE } from '../config/schema.ts';
import type { LoadDriver, MeterDriver } from '../drivers/load-driver.ts';
import { type ReopenableDriver, reopenable } from '../drivers/reopenable.ts';
import type { Clock } from '../protocols/clock.ts';
import type { PollTarget } from './control/poller.ts';
import type { DriverFactories } from './drivers.ts';
import { type DecisionTimes, LateReads } from './late-reads.ts';
import type { SiteState } from './site/state.ts';

/** A device with its driver and what the poller does with it. */
export interface OpenLoad {
  readonly kind: 'miner' | 'gpu-node';
  readonly driver: ReopenableDriver;
  readonly target: PollTarget<unknown>;
}

/** Opens a driver for every device of the configuration. */
export function openLoads(
  loaded: LoadedConfig,
  drivers: DriverFactories,
  state: SiteState,
  clock: Clock,
): OpenLoad[] {
  const indexOf = new Map(loaded.config.miners.map((entry, index) => [entry.id, index]));
  const miners = loaded.miners.map((place): OpenLoad => {
    const password = loaded.secrets.get(`miners[${indexOf.get(place.entry.id)}].password`) ?? null;
    const driver = reopenable(() => drivers.miner(place, password));
    return { kind: 'miner', driver, target: loadTarget(driver, place.entry.interval, state, clock) };
  });
  const nodes = loaded.config.gpuNodes.map((node): OpenLoad => {
    const driver = reopenable(() => drivers.gpuNode(node));
    return { kind: 'gpu-node', driver, target: loadTarget(driver, node.interval, state, clock) };
  });
  return [...miners, ...nodes];
}

/** Reads a device; who it is is asked first, and again after every failure and now and then. */
function loadTarget(
  driver: LoadDriver,
  intervalMs: number,
  state: SiteState,
  clock: Clock,
): PollTarget<unknown> {
  let identified = false;
  let reads = 0;
  return {
    id: driver.deviceId,
    intervalMs,
    read: async (signal) => {
      if (!identified || reads % IDENTIFY_EVERY === 0) {
        const identity = await driver.identify(signal);
        if (!identity.ok) {
          identified = false;
          return identity;
        }
        identified = true;
        state.recordIdentity(driver.deviceId, identity.value, clock.epochMs());
      }
      reads += 1;
      const reading = await driver.read(signal);
      if (reading.ok) state.recordReading(driver.deviceId, reading.value, clock.epochMs());
      else identified = false;
      return reading;
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
  let intervalMs = meter.interval === OWN_PACE ? FASTEST_MS : meter.interval;
  let startedAt = clock.monotonicMs();
  return {
    id: meter.id,
    get intervalMs() {
      return intervalMs;
    },
    nextStart: () => late.next(startedAt, intervalMs, clock.monotonicMs()),
    read: async (signal) => {
      startedAt = clock.monotonicMs();
      const reading = await driver.read(signal);
      if (!reading.ok) return reading;
      late.took(clock.monotonicMs() - startedAt);
      state.recordMeter(meter.id, reading.value);
      const { refreshMs } = reading.value;
      if (meter.interval === OWN_PACE && refreshMs !== null) {
        intervalMs = Math.min(SLOWEST_MS, Math.max(FASTEST_MS, refreshMs));
      }
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
