import type { LimitId } from '../protocols/units.ts';
import { pathUp, type SiteModel } from './site/model.ts';
import type { Snapshot } from './site/snapshot.ts';
import type { SiteState } from './site/state.ts';
import type { SiteView } from './site/view.ts';

/** A hold names a device, a tag or a limit; everything below a held limit is held. */
export function applyHolds(
  state: SiteState,
  model: SiteModel,
  holds: readonly { readonly target: string }[],
): void {
  const targets = new Set(holds.map((hold) => hold.target));
  for (const device of model.devices) {
    const held =
      targets.size > 0 &&
      (targets.has(device.id) ||
        device.tags.some((tag) => targets.has(tag)) ||
        pathUp(model, device.limit).some((limit) => targets.has(limit)));
    state.setHeld(device.id, held);
  }
}

/** Limits from each device that a hold on `target` means up to the grid; of a limit without devices its own path. */
export function pathsOf(model: SiteModel, target: string): (readonly LimitId[])[] {
  const paths = model.devices
    .map((device) => ({ device, path: pathUp(model, device.limit) }))
    .filter(
      ({ device, path }) => device.id === target || device.tags.includes(target) || path.includes(target),
    )
    .map(({ path }) => path);
  const own = pathUp(model, target);
  return own.length === 0 ? paths : [...paths, own];
}

/** The last good sample of a limit's own meter. */
export function measuredOf(
  snapshot: Snapshot | null,
  limit: string,
): { watts: number; sampledAt: number } | null {
  const meter = snapshot?.meters.find((candidate) => candidate.limit === limit);
  if (meter?.quality !== 'good' || meter.reading?.powerWatts == null) return null;
  return { watts: meter.reading.powerWatts, sampledAt: meter.reading.sampledAt };
}

/** The GPUs of a node as last read, where both bounds are known. */
export function gpusOf(
  snapshot: Snapshot | null,
  device: string,
): { uuid: string; minWatts: number; maxWatts: number }[] {
  const reading = snapshot?.devices.find((candidate) => candidate.id === device)?.reading;
  if (reading?.kind !== 'gpu-node') return [];
  return reading.gpus.flatMap((gpu) =>
    gpu.minLimitWatts === null || gpu.maxLimitWatts === null
      ? []
      : [{ uuid: gpu.uuid, minWatts: gpu.minLimitWatts, maxWatts: gpu.maxLimitWatts }],
  );
}

/** Fresh means: a cycle ran lately and the root limit is known, measured or estimated. */
export function healthOf(view: SiteView | null, snapshot: Snapshot | null, now: number, cycleMs: number) {
  if (view === null || snapshot === null) return { ok: false, reason: 'starting: no control cycle yet' };
  const age = now - snapshot.monotonicMs;
  if (age > Math.max(5000, cycleMs * 5))
    return { ok: false, reason: `no control cycle for ${Math.round(age / 1000)} s` };
  const root = view.limits.find((limit) => limit.parent === null);
  const fresh = root !== undefined && root.powerWatts !== null && root.quality !== 'stale';
  if (!fresh && view.mode !== 'safe' && view.mode !== 'shed-only')
    return { ok: false, reason: 'no fresh reading of the grid connection' };
  return { ok: true, reason: 'ok' };
}
