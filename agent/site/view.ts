import type { Quality } from '../../drivers/load-driver.ts';
import type { EpochMs, LimitId, Milliseconds, TerahashesPerSecond, Watts } from '../../protocols/units.ts';
import type { Alarm } from './alarms.ts';
import type { SiteModel } from './model.ts';
import type { Snapshot } from './snapshot.ts';
import { devicePower } from './state.ts';

/** How the agent is running, as reported outside. */
export type Mode =
  | 'starting'
  | 'normal'
  | 'curtailed'
  | 'shed-only'
  | 'safe'
  | 'dry-run'
  | 'manual'
  | 'unconfigured';

/** What is in force for one limit, and who says so. */
export interface InForce {
  readonly limit: LimitId;
  readonly watts: Watts;
  /** `rating`, the issuer of the lowest live lease, or what the limit's own meter shows: `phases`, `average`, `thermal`. */
  readonly source: string;
  readonly priority: number | null;
  readonly until: EpochMs | null;
  /** What happens at `until`: `hold`, `release`, or `null` where nothing ends. */
  readonly onExpiry: 'hold' | 'release' | null;
}

/** One limit as every outside form shows it. */
export interface LimitView {
  readonly id: LimitId;
  readonly name: string;
  readonly parent: LimitId | null;
  readonly powerWatts: Watts | null;
  readonly limitWatts: Watts;
  readonly ratingWatts: Watts;
  readonly headroomWatts: Watts | null;
  /** The most that could flow by what is proved. */
  readonly worstWatts: Watts | null;
  readonly quality: Quality;
  readonly ageMs: Milliseconds | null;
  readonly basis: 'measured' | 'estimated' | 'ledger';
  readonly source: string;
  readonly until: EpochMs | null;
  readonly miningWatts: Watts;
  readonly aiWatts: Watts;
  readonly authority: string;
}

export interface Totals {
  readonly powerWatts: Watts | null;
  readonly limitWatts: Watts;
  readonly miningWatts: Watts;
  readonly aiWatts: Watts;
  /** What the root meter shows beyond miners and GPU nodes; `null` without a measurement. */
  readonly otherWatts: Watts | null;
  readonly hashrateThs: TerahashesPerSecond;
  readonly miners: Counts;
  readonly gpuNodes: Counts;
}

export interface Counts {
  readonly configured: number;
  readonly present: number;
  readonly absent: number;
  readonly working: number;
  readonly asleep: number;
  readonly held: number;
}

/** Everything that page, MQTT and command line show of one cycle. */
export interface SiteView {
  readonly v: 1;
  readonly site: string;
  readonly name: string;
  readonly ts: EpochMs;
  readonly cycle: number;
  readonly mode: Mode;
  readonly limits: readonly LimitView[];
  readonly totals: Totals;
  readonly alarms: readonly Alarm[];
  /** How many times faster than life a simulated site runs; `null` on a real one. */
  readonly pace: number | null;
}

export interface ViewInputs {
  readonly mode: Mode;
  readonly inForce: ReadonlyMap<LimitId, InForce>;
  readonly worstWatts: ReadonlyMap<LimitId, Watts>;
  readonly alarms: readonly Alarm[];
  readonly pace?: number | null;
}

/** Puts a snapshot into the form that people and programs see. Pure. */
export function buildView(model: SiteModel, snapshot: Snapshot, inputs: ViewInputs): SiteView {
  const shares = classWatts(model, snapshot);
  const limits = model.limits.map((limit): LimitView => {
    const state = snapshot.limits.find((candidate) => candidate.id === limit.id)!;
    const inForce = inputs.inForce.get(limit.id);
    const limitWatts = inForce?.watts ?? limit.ratingWatts;
    const share = shares.get(limit.id)!;
    return {
      id: limit.id,
      name: limit.name,
      parent: limit.parent,
      powerWatts: round(state.powerWatts),
      limitWatts,
      ratingWatts: limit.ratingWatts,
      headroomWatts: state.powerWatts === null ? null : Math.round(limitWatts - state.powerWatts),
      worstWatts: round(inputs.worstWatts.get(limit.id) ?? null),
      quality: state.quality,
      ageMs: round(state.ageMs),
      basis: state.basis,
      source: inForce?.source ?? 'rating',
      until: inForce?.until ?? null,
      miningWatts: Math.round(share.mining),
      aiWatts: Math.round(share.ai),
      authority: limit.authority,
    };
  });
  return {
    v: 1,
    site: model.siteId,
    name: model.name,
    ts: snapshot.epochMs,
    cycle: snapshot.cycle,
    mode: inputs.mode,
    limits,
    totals: totalsOf(snapshot, limits, shares),
    alarms: inputs.alarms,
    pace: inputs.pace ?? null,
  };
}

function round(value: number | null): number | null {
  return value === null ? null : Math.round(value);
}

/** Known watts of miners and of GPU nodes below each limit (losses of the way up included). */
function classWatts(model: SiteModel, snapshot: Snapshot): Map<string, { mining: number; ai: number }> {
  const shares = new Map(model.limits.map((limit) => [limit.id, { mining: 0, ai: 0 }]));
  const modelOf = new Map(model.devices.map((device) => [device.id, device]));
  for (const device of snapshot.devices) {
    const share = shares.get(device.limit);
    const watts = device.inventory === 'removed' ? null : devicePower(device, modelOf.get(device.id));
    if (share === undefined || watts === null) continue;
    if (device.kind === 'miner') share.mining += watts;
    else share.ai += watts;
  }
  for (const limit of [...model.limits].reverse()) {
    if (limit.parent === null) continue;
    const [own, above] = [shares.get(limit.id)!, shares.get(limit.parent)!];
    above.mining += own.mining * limit.gain;
    above.ai += own.ai * limit.gain;
  }
  return shares;
}

function totalsOf(
  snapshot: Snapshot,
  limits: readonly LimitView[],
  shares: ReadonlyMap<string, { mining: number; ai: number }>,
): Totals {
  const roots = limits.filter((limit) => limit.parent === null);
  const measured = roots.every((root) => root.powerWatts !== null && root.basis === 'measured');
  const power = roots.every((root) => root.powerWatts !== null)
    ? roots.reduce((sum, root) => sum + root.powerWatts!, 0)
    : null;
  let mining = 0;
  let ai = 0;
  for (const root of roots) {
    mining += shares.get(root.id)!.mining;
    ai += shares.get(root.id)!.ai;
  }
  let hashrate = 0;
  for (const device of snapshot.devices) {
    if (device.reading?.kind === 'miner' && device.inventory === 'present')
      hashrate += device.reading.hashrateThs ?? 0;
  }
  const { miners, gpuNodes } = countDevices(snapshot);
  return {
    powerWatts: power,
    limitWatts: roots.reduce((sum, root) => sum + root.limitWatts, 0),
    miningWatts: Math.round(mining),
    aiWatts: Math.round(ai),
    otherWatts: power !== null && measured ? Math.max(0, Math.round(power - mining - ai)) : null,
    hashrateThs: Math.round(hashrate * 10) / 10,
    miners,
    gpuNodes,
  };
}

function countDevices(snapshot: Snapshot): { miners: Counts; gpuNodes: Counts } {
  const empty = () => ({ configured: 0, present: 0, absent: 0, working: 0, asleep: 0, held: 0 });
  const counts = { miners: empty(), gpuNodes: empty() };
  for (const device of snapshot.devices) {
    const count = device.kind === 'miner' ? counts.miners : counts.gpuNodes;
    count.configured += 1;
    if (device.inventory === 'present') count.present += 1;
    if (device.inventory === 'absent') count.absent += 1;
    if (device.inventory === 'held') count.held += 1;
    const { reading } = device;
    if (reading?.kind === 'miner') {
      if (reading.state === 'hashing' || reading.state === 'starting' || reading.state === 'tuning')
        count.working += 1;
      if (reading.state === 'sleeping' || reading.state === 'stopped') count.asleep += 1;
    } else if (
      reading?.kind === 'gpu-node' &&
      reading.gpus.some((gpu) => (gpu.utilizationPercent ?? 0) > 5)
    ) {
      count.working += 1;
    }
  }
  return counts;
}
