import type { Authority } from '../../config/schema.ts';
import type { DeviceId, LimitId, Milliseconds, Watts } from '../../protocols/units.ts';
import type { DeviceModel } from '../site/model.ts';
import type { BoundedLimit } from './derived-limits.ts';
import type { TenantRules } from './fairness.ts';
import type { Job } from './job-caps.ts';
import type { PlanFloor } from './plan.ts';
import type { CapBounds } from './points.ts';

/** What does not change from cycle to cycle: site, facts of the configuration, rules. */
export interface StepContext {
  readonly limits: readonly StepLimit[];
  readonly devices: readonly StepDevice[];
  readonly floors: readonly PlanFloor[];
  /** Nodes that are capped level; absent in journals of earlier versions. */
  readonly jobs?: readonly Job[];
  readonly rules: ControlRules;
  /** Tenants with a price or a way of their own; absent in journals of earlier versions and where there are none. */
  readonly tenants?: Readonly<Record<string, TenantRules>>;
}

export interface StepLimit extends BoundedLimit {
  readonly id: LimitId;
  readonly parent: LimitId | null;
  readonly gain: number;
  readonly loadWorstWatts: Watts;
  readonly metered: boolean;
  /** Most devices below it that are woken in ten seconds; absent in journals of earlier versions: what the rules say. */
  readonly wakesPerTenSeconds?: number;
  readonly authority: Authority;
}

export interface StepDevice {
  readonly model: DeviceModel;
  /** What a GPU node draws beside its GPUs; `null`: what its nameplate leaves above its caps. */
  readonly hostWatts: Watts | null;
  readonly dollarsPerGpuHour: number;
  /** Caps may be set. */
  readonly cappable: boolean;
  /** The site's own bounds for the cap of one GPU; absent: those of the device. */
  readonly capBounds?: CapBounds;
}

export interface ControlRules {
  readonly meterStaleMs: Milliseconds;
  /** A device's reading older than this says nothing about now. */
  readonly deviceStaleMs: Milliseconds;
  /** A silent meter is put up with for this long before its limit is shed to what is proved. */
  readonly staleGraceMs: Milliseconds;
  readonly meterLagMs: Milliseconds;
  readonly pollMs: Milliseconds;
  readonly dwellMs: Milliseconds;
  readonly leastSleepMs: Milliseconds;
  readonly wakesPerHour: number;
  readonly wakesPerTenSeconds: number;
  readonly restoreHoldMs: Milliseconds;
  readonly rampPercentPerMinute: number;
  /** How fast power may fall for money alone; absent: at once. */
  readonly fallRampPercentPerMinute?: number;
  readonly overshedShare: number;
  readonly driftShare: number;
  readonly reserveShare: number;
  readonly shareLimits: boolean;
  /** A rise counts whole until it was due; absent in journals of earlier versions, which took what showed for all of it. */
  readonly wholeRises?: true;
  /** Which edition of these laws decides; absent in journals of versions before the second. */
  readonly edition?: number;
}

/** Which edition of the laws a journal's rules ask for. */
export function editionOf({ edition }: Pick<ControlRules, 'edition'>): number {
  return edition ?? 1;
}

/** A limit and those above it, up to its root. Pure. */
export function pathOf(limits: readonly StepLimit[], limit: LimitId): LimitId[] {
  const path: LimitId[] = [];
  const find = (id: LimitId) => limits.find((candidate) => candidate.id === id);
  for (let at = find(limit); at !== undefined; at = at.parent === null ? undefined : find(at.parent))
    path.push(at.id);
  return path;
}

/** A limit and all below it (parents stand before children). Pure. */
export function limitsBelow({ limits }: StepContext, limit: LimitId): ReadonlySet<LimitId> {
  const ids = new Set([limit]);
  for (const { id, parent } of limits) if (parent !== null && ids.has(parent)) ids.add(id);
  return ids;
}

/** What hand-overs allow and withhold at this moment. */
export interface Permitted {
  /** Watts below a limit that are promised to somebody and may not be used by anybody else. */
  readonly reservedWatts: Readonly<Record<LimitId, Watts>>;
  /** Largest point allowed for a device (a grant, a staged hand-over); absent = any. */
  readonly ceilings: Readonly<Record<DeviceId, Watts>>;
  /** Granted to a GPU node and not yet drawn: room for it and for nobody else. */
  readonly grantedWatts?: Readonly<Record<DeviceId, Watts>>;
}

/** The restore ramp never saves up more than this: in no minute does more come back than it says. */
export const RAMP_BUCKET_MS = 6000;
