import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { Entry } from './ledger.ts';
import type { ObservedDevice } from './observation.ts';

/** The same figure is written down this often, not at every reading. */
const NOTED_EVERY_MS: Milliseconds = 10 * 60_000;
/** Many hundred shares: who works this long and shows none has none any more. */
const MENDED_MS: Milliseconds = 3_600_000;
/** Whether somebody mended it shows only in its shares: after so long it is tried again. */
const TRIED_AGAIN_MS: Milliseconds = 6 * 3_600_000;

/** The entry with what `device` shows of its rejects; only work tells. Pure. */
export function learnRejects(entry: Entry, device: ObservedDevice, now: MonotonicMs): Entry {
  if (device.activity !== 'running' || !device.fresh) return entry;
  const percent = device.rejectedPercent;
  const { rejects } = entry;
  if (percent === undefined) {
    if (rejects === undefined || now - rejects.at <= MENDED_MS) return entry;
    const { rejects: _mended, ...rest } = entry;
    return rest;
  }
  const isNoted = rejects?.percent === percent && now - rejects.at < NOTED_EVERY_MS;
  return isNoted ? entry : { ...entry, rejects: { percent, at: now } };
}

/**
 * The device as it counts: a miner that sleeps has lost its count of shares, or loses it when it wakes. It would be worth
 * its whole rate again, be woken, and put to sleep as soon as it has found enough shares. Pure.
 */
export function withKnownRejects(
  device: ObservedDevice,
  entry: Entry | undefined,
  now: MonotonicMs,
): ObservedDevice {
  const rejects = entry?.rejects;
  if (rejects === undefined || device.activity !== 'asleep' || device.rejectedPercent !== undefined)
    return device;
  return now - rejects.at > TRIED_AGAIN_MS ? device : { ...device, rejectedPercent: rejects.percent };
}
