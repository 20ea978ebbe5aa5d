import type { MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Condition } from './alarms.ts';
import type { SiteModel } from './model.ts';
import type { DeviceState, Snapshot } from './snapshot.ts';

/** Devices may overstate their draw by this much before their meter is doubted; less is how miners report. */
const OVERSTATED_SHARE = 0.2;
const OVERSTATED_WATTS: Watts = 2000;
/** Figures farther apart than this are not compared. */
const SAME_TIME_MS = 15_000;

/** Miners tell of a change later than the meter shows it: what holds for less long is that. */
const HOLDS_MS = 60_000;

/** Meters that have shown less than their devices report for a whole minute. */
export class MeterDoubts {
  private readonly since = new Map<string, MonotonicMs>();

  /** The conditions of this cycle. */
  conditions(model: SiteModel, snapshot: Snapshot): Condition[] {
    const now = snapshot.monotonicMs;
    const found = metersAgainstDevices(model, snapshot);
    for (const target of this.since.keys()) {
      if (!found.some((condition) => condition.target === target)) this.since.delete(target);
    }
    return found.filter(({ target }) => {
      const since = this.since.get(target) ?? now;
      this.since.set(target, since);
      return now - since >= HOLDS_MS;
    });
  }
}

/**
 * Meters that show clearly less than the devices below them report for themselves: the current transformer ratio
 * or its direction is wrong, or devices stand on another limit than configured. Losses and unknown loads only add
 * to what a meter must show, so the devices are a lower bound. Pure.
 */
export function metersAgainstDevices(model: SiteModel, snapshot: Snapshot): Condition[] {
  const sums = new Map<string, Watts>();
  const reported = new Map<string, Watts>();
  for (const device of snapshot.devices) {
    const watts = reportedWatts(device);
    if (watts !== null) reported.set(device.limit, (reported.get(device.limit) ?? 0) + watts);
  }
  // Children come after their parents: from the end, every child is summed before its parent.
  for (const limit of [...model.limits].reverse()) {
    const own = (sums.get(limit.id) ?? 0) + (reported.get(limit.id) ?? 0);
    sums.set(limit.id, own);
    if (limit.parent !== null) sums.set(limit.parent, (sums.get(limit.parent) ?? 0) + own * limit.gain);
  }
  return model.limits.flatMap((limit): Condition[] => {
    const state = snapshot.limits.find((candidate) => candidate.id === limit.id);
    if (state?.basis !== 'measured' || state.quality !== 'good' || state.powerWatts === null) return [];
    const sum = sums.get(limit.id)!;
    const excess = sum - state.powerWatts;
    if (excess <= Math.max(OVERSTATED_WATTS, OVERSTATED_SHARE * sum)) return [];
    return [
      {
        code: 'meter-below-devices',
        severity: 'major',
        target: limit.id,
        message: `The devices below ${limit.id} report ${Math.round(sum)} W, its meter shows ${Math.round(state.powerWatts)} W.`,
        nextStep:
          'Check the ratio and direction of its current transformers, and whether all these devices hang on it.',
      },
    ];
  });
}

/** What a device says of itself now; estimates and old figures are nothing to judge a meter by. */
export function reportedWatts(device: DeviceState): Watts | null {
  const { reading } = device;
  if (reading === null || device.inventory !== 'present' || (device.ageMs ?? SAME_TIME_MS) >= SAME_TIME_MS)
    return null;
  if (device.failure !== null) return null;
  if (reading.kind === 'gpu-node') return reading.knownPowerWatts;
  return reading.powerSource === 'reported' ? reading.powerWatts : null;
}
