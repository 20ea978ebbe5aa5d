import { findMinerModel } from '../../config/miners/models.ts';
import { BITMAIN_TIMING, LUXOS_TIMING, WHATSMINER_TIMING } from '../../config/miners/timing.ts';
import type { Applied, Identity, LoadCommand, LoadDriver, MinerReading } from '../../drivers/load-driver.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { minerTraits } from '../../simulator/miners/traits.ts';
import type { MinerTraits, SimulatedGpuNode, SimulatedMiner } from '../../simulator/physics.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Stock firmware at its slowest: up to 30 s from the command until the draw is down. */
const STOCK_STOP_MS = [5000, 27_000] as const;

export function traitsOf(model: string, family: Family): MinerTraits {
  const traits = minerTraits(model);
  return family === 'bitmain' ? { ...traits, stopDelayMs: STOCK_STOP_MS } : traits;
}

export const FAMILY_TIMING = {
  luxos: LUXOS_TIMING,
  bitmain: BITMAIN_TIMING,
  whatsminer: WHATSMINER_TIMING,
} as const;
export type Family = keyof typeof FAMILY_TIMING;

function timing(now: number, roundTripMs: number) {
  return { requestedAt: now - roundTripMs, sampledAt: now - roundTripMs / 2, roundTripMs };
}

/** A miner as its firmware family answers: delays, what it tells of itself, what it does with commands. */
export function virtualMiner(
  miner: SimulatedMiner,
  family: Family,
  modelName: string,
  clock: VirtualClock,
  random: () => number,
  is: {
    readonly stranger: () => boolean;
    readonly silent: () => boolean;
    /** The command arrives and its answer does not. */
    readonly losesAnswer: () => boolean;
  },
): LoadDriver {
  const facts = FAMILY_TIMING[family];
  const model = findMinerModel(modelName)!;
  const identity: Identity = {
    basis: 'mac',
    value: miner.id,
    vendor: model.vendor,
    model: model.name,
    firmware: family,
    firmwareVersion: null,
    macAddress: miner.id,
    serialNumber: null,
  };
  const wait = (ms: number, signal: AbortSignal) => clock.sleep(ms, signal);
  const reading = (requestedAt: number): MinerReading => {
    const states = {
      hashing: 'hashing',
      starting: 'starting',
      sleeping: 'sleeping',
      stopping: family === 'bitmain' ? 'sleeping' : 'hashing',
    } as const;
    const now = clock.monotonicMs();
    const estimated = family === 'bitmain';
    const state = states[miner.state];
    const nominal =
      state === 'sleeping' ? 50 : (model.nominalWatts * miner.hashrateThs) / model.nominalHashrateThs;
    return {
      kind: 'miner',
      ...timing(now, now - requestedAt),
      requestedAt,
      firmware: family,
      vendor: model.vendor,
      model: model.name,
      firmwareVersion: null,
      macAddress: miner.id,
      serialNumber: null,
      state,
      hashrateThs: miner.hashrateThs,
      nominalHashrateThs: model.nominalHashrateThs,
      powerWatts: Math.round(estimated ? nominal : miner.claimedWatts),
      powerSource: estimated ? 'estimated' : 'reported',
      powerLimitWatts: estimated ? null : miner.limitWatts,
      efficiencyJoulesPerTh: null,
      chipTemperatureCelsius: 70,
      boardTemperatureCelsius: null,
      fanRpm: [],
      uptimeSeconds: miner.uptimeMs / 1000,
      rejectedPercent: null,
      boards: [],
      pools: [],
      errors: [],
      control: {
        sleep: true,
        wake: true,
        powerLimit:
          family === 'bitmain'
            ? null
            : {
                minWatts: miner.traits.minimumWatts,
                maxWatts: miner.traits.normalWatts,
                kind: 'watts',
                stepWatts: 10,
              },
        sleepMs: facts.sleepMs,
        wakeMs: facts.wakeMs,
        changeMs: facts.changeMs,
      },
    };
  };
  return {
    deviceId: miner.id,
    identify: async () => ok(identity),
    read: async (signal) => {
      const requestedAt = clock.monotonicMs();
      await wait(is.silent() ? 2000 : 30 + random() * 60, signal);
      if (is.silent()) return fail('timeout', `${miner.id} did not answer within 2 s.`);
      return is.stranger()
        ? fail('wrong-device', `${miner.id}: another MAC answers at its address.`)
        : ok(reading(requestedAt));
    },
    apply: async (command: LoadCommand, signal): Promise<Result<Applied>> => {
      await wait(is.silent() ? 3000 : 100 + random() * 400, signal);
      if (is.silent()) return fail('timeout', `${miner.id} did not answer.`);
      if (is.stranger()) return fail('wrong-device', `${miner.id}: another MAC answers at its address.`);
      if (command.kind === 'sleep') miner.sleep();
      else if (command.kind === 'run') miner.run(command.limitWatts);
      if (is.losesAnswer())
        return ok({
          acknowledged: null,
          sentAt: clock.monotonicMs(),
          limitWatts: null,
          note: 'no answer came',
        });
      return ok({ acknowledged: true, sentAt: clock.monotonicMs(), limitWatts: null, note: null });
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** A GPU node behind nvidia-smi: caps that hold from one reading to the next. */
export function virtualNode(node: SimulatedGpuNode, clock: VirtualClock, random: () => number): LoadDriver {
  return {
    deviceId: node.id,
    identify: async () =>
      ok({
        basis: 'serial',
        value: node.id,
        vendor: 'NVIDIA',
        model: 'H100',
        firmware: 'nvidia-smi',
        firmwareVersion: null,
        macAddress: null,
        serialNumber: node.id,
      }),
    read: async (signal) => {
      const requestedAt = clock.monotonicMs();
      await clock.sleep(200 + random() * 100, signal);
      if (node.dead) return fail('timeout', `${node.id} did not answer.`);
      const gpus = node.gpus.map((gpu, index) => ({
        uuid: gpu.uuid,
        index,
        name: gpu.name,
        state: 'ok' as const,
        powerWatts: node.gpuWatts(gpu),
        requestedLimitWatts: gpu.limitWatts,
        enforcedLimitWatts: gpu.limitWatts,
        defaultLimitWatts: gpu.maxLimitWatts,
        minLimitWatts: gpu.minLimitWatts,
        maxLimitWatts: gpu.maxLimitWatts,
        temperatureCelsius: 50,
        utilizationPercent: gpu.utilization * 100,
        memoryUsedMebibytes: null,
        memoryTotalMebibytes: null,
        migEnabled: false,
      }));
      const power = gpus.reduce((sum, gpu) => sum + gpu.powerWatts, 0);
      const now = clock.monotonicMs();
      return ok({
        kind: 'gpu-node' as const,
        ...timing(now, now - requestedAt),
        requestedAt,
        source: 'nvidia-smi' as const,
        driverVersion: null,
        powerWatts: power,
        knownPowerWatts: power,
        gpus,
        errors: [],
        control: { sleep: false, wake: false, powerLimit: null, sleepMs: null, wakeMs: null, changeMs: 5000 },
      });
    },
    apply: async (command, signal) => {
      await clock.sleep(300 + random() * 300, signal);
      if (command.kind !== 'cap') return fail('unsupported', 'caps only');
      return node.cap(command.uuid, command.limitWatts)
        ? ok({ acknowledged: true, sentAt: clock.monotonicMs(), limitWatts: command.limitWatts, note: null })
        : fail('refused', 'outside the range');
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
