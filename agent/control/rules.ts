import type { Config } from '../../config/schema.ts';
import type { LimitId, Milliseconds } from '../../protocols/units.ts';
import { hostWattsIn, pathUp, type SiteModel } from '../site/model.ts';
import type { Economics } from './points.ts';
import type { ControlRules, StepContext } from './step-context.ts';

/** A meter's content is at most this much older than its sample: its own refresh and averaging. */
const METER_LAG_MS = 2500;

/**
 * Most wakes in ten seconds below a limit where nobody says: few enough for the inrush of a breaker, and below a limit
 * of many devices 3 % of them (5 to 10 % of the load in 30 s is what miners' makers advise).
 */
const LEAST_STAGGER = 20;
const STAGGER_SHARE = 0.03;

/** The unchanging part of every step, out of the configuration. */
export function stepContext(config: Config, model: SiteModel): StepContext {
  const loadsAt = new Map<string, number>();
  for (const load of model.loads) loadsAt.set(load.limit, (loadsAt.get(load.limit) ?? 0) + load.worstWatts);
  const devicesBelow = countBelow(model);
  const nodes = new Map(config.gpuNodes.map((node) => [node.id, node]));
  return {
    limits: model.limits.map((limit) => ({
      id: limit.id,
      parent: limit.parent,
      gain: limit.gain,
      ratingWatts: limit.ratingWatts,
      ratingAmps: limit.ratingAmps,
      average: limit.average,
      thermal: limit.thermal,
      loadWorstWatts: loadsAt.get(limit.id) ?? 0,
      metered: limit.meterId !== null,
      wakesPerTenSeconds:
        config.control.wakesPerTenSeconds ??
        Math.max(LEAST_STAGGER, Math.ceil(STAGGER_SHARE * (devicesBelow.get(limit.id) ?? 0))),
      authority: limit.authority,
    })),
    devices: model.devices.map((device) => {
      const node = nodes.get(device.id);
      const workloads = config.workloads.filter((workload) => workload.nodes.includes(device.id));
      return {
        model: device,
        hostWatts: node === undefined ? null : hostWattsIn(node),
        // A node that nobody prices is not worthless: it is not to be capped for the price of its energy.
        dollarsPerGpuHour:
          (Math.max(0, ...workloads.map((workload) => workload.dollarsPerGpuHour)) ||
            config.economics.dollarsPerGpuHour) *
          // Such a node shows as one part.
          (node?.reader.kind === 'redfish' ? node.reader.gpus : 1),
        cappable: node !== undefined && node.cap.kind !== 'none',
        ...(node === undefined || node.cap.kind === 'none'
          ? {}
          : { capBounds: { minWatts: node.cap.min ?? null, maxWatts: node.cap.max ?? null } }),
      };
    }),
    floors: config.workloads.map((workload) => ({
      id: workload.id,
      devices: workload.nodes,
      watts: workload.firm,
    })),
    jobs: config.workloads
      .filter((workload) => workload.caps === 'together' && workload.nodes.length > 1)
      .map((workload) => ({ id: workload.id, devices: workload.nodes })),
    rules: controlRules(config),
    ...tenantRules(config),
  };
}

/** Tenants by id, where there are any. */
function tenantRules({ tenants }: Config): Pick<StepContext, 'tenants'> {
  if (tenants.length === 0) return {};
  return {
    tenants: Object.fromEntries(
      tenants.map(({ id, energyDollarsPerMwh, curtailmentShare }) => [
        id,
        { energyDollarsPerMwh: energyDollarsPerMwh ?? null, fair: curtailmentShare === 'fair' },
      ]),
    ),
  };
}

/** Devices below each limit, at whatever depth. */
function countBelow(model: SiteModel): Map<LimitId, number> {
  const at = new Map<LimitId, number>();
  for (const device of model.devices) at.set(device.limit, (at.get(device.limit) ?? 0) + 1);
  const below = new Map<LimitId, number>();
  for (const [limit, count] of at)
    for (const id of pathUp(model, limit)) below.set(id, (below.get(id) ?? 0) + count);
  return below;
}

/** So long nothing rises below a limit that something was shed for. */
export const RESTORE_HOLD_MS: Milliseconds = 30_000;

/** The rules of control as the configuration gives them. */
export function controlRules(config: Config): ControlRules {
  const { control } = config;
  const polls = [...config.miners, ...config.gpuNodes].map((entry) => entry.interval);
  return {
    meterStaleMs: control.staleAfter,
    deviceStaleMs: control.deviceStaleAfter,
    staleGraceMs: Math.max(30_000, control.staleAfter * 2),
    meterLagMs: METER_LAG_MS,
    pollMs: Math.max(1000, ...polls),
    dwellMs: control.dwell,
    leastSleepMs: Math.min(control.dwell, 60_000),
    wakesPerHour: control.switchesPerHour,
    wakesPerTenSeconds: control.wakesPerTenSeconds ?? LEAST_STAGGER,
    restoreHoldMs: RESTORE_HOLD_MS,
    rampPercentPerMinute: control.restoreRampPercentPerMinute,
    ...(control.fallRampPercentPerMinute === undefined
      ? {}
      : { fallRampPercentPerMinute: control.fallRampPercentPerMinute }),
    overshedShare: control.overshedPercent / 100,
    driftShare: control.driftPercent / 100,
    reserveShare: control.reserve / 100,
    shareLimits: control.minersShareLimit,
    wholeRises: true,
    edition: 3,
  };
}

/** Prices in force: what orders say, else the configuration. */
export function economicsOf(config: Config, prices: Readonly<Record<string, number>>): Economics {
  return {
    hashpriceDollarsPerPhDay: prices['hashpriceDollarsPerPhDay'] ?? config.economics.hashpriceDollarsPerPhDay,
    energyDollarsPerMwh: prices['energyDollarsPerMwh'] ?? config.economics.energyDollarsPerMwh,
    poolFeePercent: prices['poolFeePercent'] ?? config.economics.poolFeePercent,
  };
}
