import type { GpuNodeReading, GpuReading, MeterReading, MinerReading } from '../../drivers/load-driver.ts';

/** A plausible reading of a hashing miner, with what a test wants different. */
export function minerReading(sampledAt: number, changes: Partial<MinerReading> = {}): MinerReading {
  return {
    kind: 'miner',
    sampledAt,
    requestedAt: sampledAt - 10,
    roundTripMs: 20,
    firmware: 'luxos',
    vendor: 'Bitmain',
    model: 'Antminer S19k Pro',
    firmwareVersion: '2025.4.8',
    macAddress: null,
    serialNumber: null,
    state: 'hashing',
    hashrateThs: 120,
    nominalHashrateThs: 120,
    powerWatts: 2760,
    powerSource: 'reported',
    powerLimitWatts: null,
    efficiencyJoulesPerTh: 23,
    chipTemperatureCelsius: 70,
    boardTemperatureCelsius: 60,
    fanRpm: [5000],
    uptimeSeconds: 1000,
    rejectedPercent: null,
    boards: [],
    pools: [],
    errors: [],
    control: {
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 10_000,
      wakeMs: 300_000,
      changeMs: null,
    },
    ...changes,
  };
}

/** A plausible reading of a meter at `powerWatts`. */
export function meterReading(
  sampledAt: number,
  powerWatts: number | null,
  changes: Partial<MeterReading> = {},
): MeterReading {
  const amps = powerWatts === null ? null : powerWatts / 3 / 230;
  return {
    kind: 'meter',
    energySegment: 0,
    refreshMs: null,
    uncertaintyMs: 0,
    sampledAt,
    requestedAt: sampledAt - 2,
    roundTripMs: 4,
    profile: 'test',
    powerWatts,
    quality: 'good',
    doubts: [],
    frequencyHz: 50,
    voltageVolts: { l1: 230, l2: 230, l3: 230 },
    currentAmps: { l1: amps, l2: amps, l3: amps },
    powerFactor: 1,
    importWattHours: null,
    exportWattHours: null,
    serialNumber: null,
    points: {},
    ...changes,
  };
}

/** A node of `count` equal GPUs drawing `wattsEach` under `limitEach`. */
export function gpuNodeReading(
  sampledAt: number,
  count: number,
  wattsEach: number,
  limitEach: number,
  changes: Partial<GpuNodeReading> = {},
): GpuNodeReading {
  const gpus: GpuReading[] = Array.from({ length: count }, (_, index) => ({
    uuid: `GPU-${index}`,
    index,
    name: 'NVIDIA H100 80GB HBM3',
    state: 'ok',
    powerWatts: wattsEach,
    requestedLimitWatts: limitEach,
    enforcedLimitWatts: limitEach,
    defaultLimitWatts: 700,
    minLimitWatts: 200,
    maxLimitWatts: 700,
    temperatureCelsius: 40,
    utilizationPercent: 90,
    memoryUsedMebibytes: 1000,
    memoryTotalMebibytes: 81_559,
    migEnabled: false,
  }));
  return {
    kind: 'gpu-node',
    sampledAt,
    requestedAt: sampledAt - 100,
    roundTripMs: 200,
    source: 'nvidia-smi',
    driverVersion: '590.48.01',
    powerWatts: wattsEach * count,
    knownPowerWatts: wattsEach * count,
    gpus,
    errors: [],
    control: {
      sleep: false,
      wake: false,
      powerLimit: { minWatts: 200 * count, maxWatts: 700 * count, kind: 'watts', stepWatts: 1 },
      sleepMs: null,
      wakeMs: null,
      changeMs: 5000,
    },
    ...changes,
  };
}
