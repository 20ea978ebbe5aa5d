import type { GpuNodeReading, LoadReading } from '../../drivers/load-driver.ts';
import type { Result } from '../../protocols/result.ts';
import type { SimulatedGpu } from '../../simulator/physics.ts';

/** Idle H100s at their maximum limit of 700 W, one for each UUID. */
export function idleH100s(uuids: readonly string[]): SimulatedGpu[] {
  return uuids.map((uuid) => ({
    uuid,
    name: 'NVIDIA H100 80GB HBM3',
    minLimitWatts: 200,
    maxLimitWatts: 700,
    idleWatts: 70,
    limitWatts: 700,
    utilization: 0,
  }));
}

/** The reading of a GPU node; throws on a failure and on any other kind of reading. */
export function gpuReading(result: Result<LoadReading>): GpuNodeReading {
  if (!result.ok) throw new Error(`${result.error.kind}: ${result.error.message}`);
  if (result.value.kind !== 'gpu-node') throw new Error('no GPU node');
  return result.value;
}
