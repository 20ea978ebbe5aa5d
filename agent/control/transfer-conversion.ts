import type { Config } from '../../config/schema.ts';
import type { DeviceId, EpochMs, LimitId, Watts } from '../../protocols/units.ts';
import type { TransferSite } from './transfer-state.ts';

/** A feeder that becomes an AI feeder step by step, as configured. */
export type Conversion = Config['conversions'][number];

/** What is seen of a GPU node that a step waits for. */
export interface ConversionNode {
  readonly present: boolean;
  readonly powerWatts: Watts | null;
  readonly worstWatts: Watts;
}

/** `scheduled`: its day has not come; `bridging`: mining works on what waits for nodes; `converted`: all is AI's. */
export type StepState = 'scheduled' | 'bridging' | 'converted';

export interface ConversionView {
  readonly id: string;
  readonly limit: LimitId;
  /** Capacity that belongs to AI now, whether it draws it or not. */
  readonly entitledWatts: Watts;
  /** Kept free of mining at this moment: entitled and not drawn. */
  readonly reservedWatts: Watts;
  /** Due to AI and used by mining until the nodes are there. */
  readonly bridgeWatts: Watts;
  readonly steps: readonly {
    readonly from: string;
    readonly aiWatts: Watts;
    readonly state: StepState;
    readonly nodes: readonly DeviceId[];
    readonly waitingFor: readonly DeviceId[];
  }[];
}

/** A node that draws less than this part of its nameplate is not energised. */
const DRAWING_SHARE = 0.02;

/** Nodes that are present and drawing for the first time. */
export function newlyEnergised(
  conversions: readonly Conversion[],
  known: Readonly<Record<DeviceId, EpochMs>>,
  site: TransferSite,
  nodes: ReadonlyMap<DeviceId, ConversionNode>,
): DeviceId[] {
  const found: DeviceId[] = [];
  for (const id of new Set(
    conversions.flatMap((conversion) => conversion.steps.flatMap((step) => step.nodes)),
  )) {
    const node = nodes.get(id);
    if (known[id] !== undefined || node === undefined || !node.present) continue;
    const nameplate = nameplateOf(site, id);
    if (node.powerWatts === null || node.powerWatts >= nameplate * DRAWING_SHARE) found.push(id);
  }
  return found;
}

/**
 * How far a staged conversion is. From its day a step's capacity is AI's; until its nodes are energised mining
 * is the bridge on it, except for the room of one more node: the next one may be switched on at any moment.
 * `today` is the date at the site (`2026-12-01`). Pure.
 */
export function conversionView(
  conversion: Conversion,
  site: TransferSite,
  today: string,
  energised: Readonly<Record<DeviceId, EpochMs>>,
  nodes: ReadonlyMap<DeviceId, ConversionNode>,
): ConversionView {
  const due = conversion.steps.filter((step) => step.from <= today);
  const target = due.at(-1)?.ai ?? 0;
  const waits = (ids: readonly DeviceId[]) => ids.filter((id) => energised[id] === undefined);
  let converted: Watts = 0;
  const steps = conversion.steps.map((step, index) => {
    const waitingFor = waits(conversion.steps.slice(0, index + 1).flatMap((earlier) => earlier.nodes));
    const state: StepState =
      step.from > today ? 'scheduled' : waitingFor.length === 0 ? 'converted' : 'bridging';
    if (state === 'converted') converted = step.ai;
    return { from: step.from, aiWatts: step.ai, state, nodes: step.nodes, waitingFor: waits(step.nodes) };
  });
  const named = due.flatMap((step) => step.nodes);
  const there = named.filter((id) => energised[id] !== undefined);
  const need = there.reduce((sum, id) => sum + nameplateOf(site, id), 0);
  const next = Math.max(0, ...waits(named).map((id) => nameplateOf(site, id)));
  const entitledWatts = Math.min(target, Math.max(converted, need) + next);
  const drawn = named.reduce((sum, id) => sum + (nodes.get(id)?.worstWatts ?? 0), 0);
  return {
    id: conversion.id,
    limit: conversion.limit,
    entitledWatts: Math.ceil(entitledWatts),
    reservedWatts: Math.ceil(Math.max(0, entitledWatts - drawn)),
    bridgeWatts: Math.floor(target - entitledWatts),
    steps,
  };
}

function nameplateOf(site: TransferSite, id: DeviceId): Watts {
  return site.nodes.find((node) => node.id === id)?.nameplateWatts ?? 0;
}

/** The reservations of all conversions at every limit from theirs up to the grid, losses included. */
export function conversionReserves(
  site: TransferSite,
  views: readonly ConversionView[],
): Record<LimitId, Watts> {
  const reserves: Record<LimitId, Watts> = {};
  for (const view of views) {
    let watts: number = view.reservedWatts;
    let at = site.limits.find((limit) => limit.id === view.limit);
    while (at !== undefined) {
      reserves[at.id] = (reserves[at.id] ?? 0) + Math.ceil(watts - 1e-6);
      watts *= at.gain;
      const { parent } = at;
      at = site.limits.find((limit) => limit.id === parent);
    }
  }
  return reserves;
}

/** The date at a site: `2026-12-01`. */
export function dateAt(epochMs: EpochMs, timezone: string): string {
  return new Intl.DateTimeFormat('en-CA', {
    timeZone: timezone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  }).format(epochMs);
}
