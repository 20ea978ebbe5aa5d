import type { GpuNodeReading } from '../../drivers/load-driver.ts';
import type { Watts } from '../../protocols/units.ts';

/** One GPU whose limit in force is another than in the reading before. */
export interface CapChange {
  readonly uuid: string;
  readonly fromWatts: Watts;
  readonly toWatts: Watts;
  /**
   * Who, as far as a reading can tell: `software` wrote a limit through the driver (this agent or another tool),
   * `hardware` (a BMC, the board) holds it under what software asks, or let go of it.
   */
  readonly by: 'software' | 'hardware';
}

/** Printed with two decimals; less than this is rounding. */
const ROUNDING_WATTS: Watts = 0.5;

/** What changed between two readings of a node: in force first, asked for as the clue to who did it. Pure. */
export function capChanges(before: GpuNodeReading, after: GpuNodeReading): readonly CapChange[] {
  const known = new Map(before.gpus.map((gpu) => [gpu.uuid, gpu]));
  return after.gpus.flatMap((gpu): CapChange[] => {
    const last = known.get(gpu.uuid);
    const fromWatts = last?.enforcedLimitWatts ?? null;
    const toWatts = gpu.enforcedLimitWatts;
    if (last === undefined || fromWatts === null || toWatts === null) return [];
    if (Math.abs(toWatts - fromWatts) <= ROUNDING_WATTS) return [];
    const asked = Math.abs((gpu.requestedLimitWatts ?? toWatts) - (last.requestedLimitWatts ?? fromWatts));
    return [{ uuid: gpu.uuid, fromWatts, toWatts, by: asked > ROUNDING_WATTS ? 'software' : 'hardware' }];
  });
}
