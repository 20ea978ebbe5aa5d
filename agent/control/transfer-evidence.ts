import type { Config } from '../../config/schema.ts';
import type { ServiceReading } from '../../drivers/gpu/drain.ts';
import type { DeviceId, LimitId, Watts } from '../../protocols/units.ts';
import type { SiteModel } from '../site/model.ts';
import { type DeviceInput, worstOf } from './ledger.ts';
import type { StepResult } from './step.ts';
import type { StepContext, StepLimit } from './step-context.ts';
import type { Conversion } from './transfer-conversion.ts';
import {
  type LimitEvidence,
  type NodeEvidence,
  TRANSFER_RULES,
  type TransferRules,
  type TransferSite,
} from './transfer-state.ts';

/** The unchanging part of hand-overs, out of the configuration. */
export function transferSite(config: Config, model: SiteModel): TransferSite {
  return {
    limits: model.limits.map(({ id, parent, gain }) => ({ id, parent, gain })),
    nodes: config.gpuNodes.map((node) => ({
      id: node.id,
      limit: node.limit,
      cappable: node.cap.kind !== 'none',
      managed: node.drain.kind !== 'none',
      nameplateWatts: Math.ceil(node.nameplate),
    })),
    workloads: config.workloads.map((workload) => ({
      id: workload.id,
      nodes: workload.nodes,
      firmWatts: Math.ceil(workload.firm),
      flexibleWatts: Math.floor(workload.flexible),
      noticeMs: workload.notice,
      checkpointMs: workload.checkpoint,
    })),
  };
}

/** Everything that does not change of hand-overs at a site. */
export function transferFacts(config: Config, model: SiteModel, context: StepContext): TransferFacts {
  return {
    site: transferSite(config, model),
    rules: transferRules(config, model, context.rules.meterLagMs),
    conversions: config.conversions,
    timezone: config.site.timezone,
    askedByNodes: config.transfers.askedByNodes,
  };
}

/** What does not change, as the service takes it. */
export interface TransferFacts {
  readonly site: TransferSite;
  readonly rules: TransferRules;
  readonly conversions: readonly Conversion[];
  readonly timezone: string;
  /** A GPU node that works at its ceiling may ask for itself. */
  readonly askedByNodes: boolean;
}

export function transferRules(config: Config, model: SiteModel, meterLagMs: number): TransferRules {
  const root = model.limits.find((limit) => limit.parent === null);
  const ramp = ((root?.ratingWatts ?? 0) * config.control.restoreRampPercentPerMinute) / 100;
  return {
    ...TRANSFER_RULES,
    rampWattsPerMinute: Math.max(1000, Math.floor(ramp)),
    leaseMs: config.transfers.lease,
    shedMs: config.transfers.shedWithin,
    followMs: config.transfers.followWithin,
    meterLagMs,
  };
}

/** What one control cycle shows, in the words of hand-overs: its sums, before anything was commanded. */
export function evidenceOf(
  context: StepContext,
  result: StepResult,
  inForce: (limit: LimitId) => Watts,
  conversionWatts: Readonly<Record<LimitId, Watts>>,
  services: ReadonlyMap<DeviceId, ServiceReading>,
): { limits: LimitEvidence[]; nodes: NodeEvidence[] } {
  const sums = new Map(result.decision.sums.map((sum) => [sum.limit, sum]));
  const below = belowEach(context, result);
  const { rules } = context;
  const limits = context.limits.map((limit): LimitEvidence => {
    const sum = sums.get(limit.id)!;
    const own = below.get(limit.id)!;
    const watts = Math.min(limit.ratingWatts, inForce(limit.id));
    return {
      id: limit.id,
      inForceWatts: Math.floor(watts),
      roomWatts: Math.floor(watts * (1 - rules.reserveShare / 2)),
      worstWatts: Math.ceil(sum.worstWatts),
      expectedWatts: Math.ceil(sum.expectedWatts),
      loadsWatts: Math.ceil(own.loads),
      minersWorstWatts: Math.ceil(own.miners),
      minersUp: own.minersUp,
      sampledAt: sampledAt(limit, result, rules.meterStaleMs),
      conversionWatts: conversionWatts[limit.id] ?? 0,
      lowered: watts < limit.ratingWatts,
    };
  });
  const nodes = result.inputs
    .filter(({ facts }) => facts.kind === 'gpu-node')
    .map((input) => nodeEvidence(input, services.get(input.facts.id) ?? null));
  return { limits, nodes };
}

function nodeEvidence({ entry, facts, device }: DeviceInput, service: ServiceReading | null): NodeEvidence {
  return {
    id: facts.id,
    present: device.inventory === 'present',
    fresh: device.fresh && device.activity === 'running' && entry.quarantine === null,
    worstWatts: Math.ceil(worstOf(entry, facts, device)),
    levelsWatts: facts.points.map((point) => Math.ceil(point.watts)),
    sampledAt: device.sampledAt,
    service: service === null ? null : { state: service.state, requestedAt: service.requestedAt },
  };
}

/** A limit without a meter is known by its parts, which are always bounded. */
function sampledAt(limit: StepLimit, result: StepResult, staleMs: number): number | null {
  if (result.state.phase === 'starting') return null;
  const { at } = result.decision;
  if (!limit.metered) return at;
  const latest = result.state.limits[limit.id]?.samples.at(-1)?.[0];
  return latest === undefined || at - latest > staleMs ? null : latest;
}

interface Below {
  loads: number;
  miners: number;
  minersUp: number;
}

function belowEach(context: StepContext, result: StepResult): Map<LimitId, Below> {
  const below = new Map<LimitId, Below>();
  for (const limit of context.limits) {
    const bias = result.state.limits[limit.id]?.biasWatts ?? 0;
    below.set(limit.id, { loads: limit.loadWorstWatts + bias, miners: 0, minersUp: 0 });
  }
  for (const { entry, facts, device } of result.inputs) {
    if (facts.kind !== 'miner') continue;
    const own = below.get(facts.limit)!;
    own.miners += worstOf(entry, facts, device);
    const gone = device.inventory === 'expected' || device.inventory === 'removed';
    const down = device.fresh && device.activity === 'asleep' && entry.pointId === 'sleep';
    if (!gone && !down && entry.quarantine === null) own.minersUp += 1;
  }
  for (const limit of [...context.limits].reverse()) {
    const parent = limit.parent === null ? undefined : below.get(limit.parent);
    if (parent === undefined) continue;
    const own = below.get(limit.id)!;
    parent.loads += own.loads * limit.gain;
    parent.miners += own.miners * limit.gain;
    parent.minersUp += own.minersUp;
  }
  return below;
}
