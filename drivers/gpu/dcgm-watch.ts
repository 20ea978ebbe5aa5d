import type { DcgmGpu } from '../../protocols/prometheus-dcgm.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

interface Trace {
  energyMillijoules: number | null;
  powerWatts: number | null;
  /** When either last moved. */
  movedAt: MonotonicMs;
}

/**
 * Notices an exporter that repeats old figures: its samples carry no time. A GPU that draws power moves its
 * energy counter; without one, power that stands still to the milliwatt while the GPU works is old too.
 */
export class DcgmWatch {
  private readonly traces = new Map<string, Trace>();
  private readonly staleAfterMs: Milliseconds;

  /** `collectIntervalMs`: how often the exporter itself collects. */
  constructor(collectIntervalMs: Milliseconds) {
    this.staleAfterMs = 3 * collectIntervalMs;
  }

  /** Whether the figures of `gpu` are believed to be of now. */
  isStale(gpu: DcgmGpu, now: MonotonicMs): boolean {
    const before = this.traces.get(gpu.uuid);
    const { energyMillijoules, powerWatts } = gpu;
    const hasMoved =
      before === undefined ||
      (energyMillijoules === null
        ? powerWatts !== before.powerWatts || (gpu.utilizationPercent ?? 0) === 0
        : energyMillijoules !== before.energyMillijoules || powerWatts === 0);
    const movedAt = hasMoved ? now : before.movedAt;
    this.traces.set(gpu.uuid, { energyMillijoules, powerWatts, movedAt });
    return now - movedAt >= this.staleAfterMs;
  }
}
