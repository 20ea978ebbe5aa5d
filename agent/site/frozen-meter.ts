import type { MeterReading } from '../../drivers/load-driver.ts';

/** How long every value of a meter has been the same to the last bit. */
export interface FreezeTrack {
  readonly signature: string;
  readonly sameCount: number;
  readonly sameSince: number;
  readonly frozen: boolean;
}

/** Real power on a live feeder never repeats to the last digit this often and this long. */
const FROZEN_AFTER_SAMPLES = 20;
const FROZEN_AFTER_MS = 20_000;

/**
 * A meter whose figures stop moving while it goes on answering is worse than a silent one. Power of exactly
 * 0 with no current is excluded: a feeder that is off has every right to stand still.
 */
export function meterFreezeCheck(track: FreezeTrack | null, reading: MeterReading): FreezeTrack {
  const { l1, l2, l3 } = reading.currentAmps;
  const signature = JSON.stringify([
    reading.powerWatts,
    reading.voltageVolts,
    l1,
    l2,
    l3,
    reading.frequencyHz,
  ]);
  const idle = reading.powerWatts === 0 && (l1 ?? 0) === 0 && (l2 ?? 0) === 0 && (l3 ?? 0) === 0;
  if (track === null || track.signature !== signature || reading.powerWatts === null || idle) {
    return { signature, sameCount: 1, sameSince: reading.sampledAt, frozen: false };
  }
  const sameCount = track.sameCount + 1;
  const frozen = sameCount >= FROZEN_AFTER_SAMPLES && reading.sampledAt - track.sameSince >= FROZEN_AFTER_MS;
  return { signature, sameCount, sameSince: track.sameSince, frozen };
}
