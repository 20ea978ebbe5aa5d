import { contribution, type Permits, pathWatts, permitsOf } from '../../agent/control/transfer-permits.ts';
import type {
  LimitEvidence,
  NodeEvidence,
  TransferRules,
  TransferSite,
  TransferState,
} from '../../agent/control/transfer-state.ts';
import { TRANSFER_RULES } from '../../agent/control/transfer-state.ts';

/**
 * A small adversarial world for hand-overs: what flows is kept here, apart from the books under test. Mining
 * takes all that it is allowed, nodes go up to their ceilings the moment a grant allows it, some donors and
 * nodes do not follow.
 */
export interface World {
  readonly site: TransferSite;
  readonly ratings: Record<string, number>;
  inForce: Record<string, number>;
  readonly loads: Record<string, number>;
  readonly mining: Record<string, number>;
  readonly miningMost: Record<string, number>;
  /** Part of mining that never obeys. */
  readonly stuck: Record<string, number>;
  readonly nodes: Record<string, number>;
  readonly levels: Record<string, readonly number[]>;
  /** Nodes that never follow a lower ceiling. */
  readonly deaf: ReadonlySet<string>;
  now: number;
  permits: Permits;
  /** What leases let a node without caps draw, as published. */
  leased: Record<string, number>;
  droppedAt: Record<string, number>;
}

/** Times short enough that a few dozen ticks see every one of them. */
export const QUICK_RULES: TransferRules = {
  ...TRANSFER_RULES,
  rampWattsPerMinute: 60_000,
  leaseMs: 30_000,
  shedMs: 60_000,
  followMs: 40_000,
  stepMs: 10_000,
  breachMs: 15_000,
  meterLagMs: 2000,
};

export type Draw = () => number;

export function makeWorld(draw: Draw): World {
  const pick = (low: number, high: number) => low + Math.floor(draw() * (high - low + 1));
  const limits = [
    { id: 'grid', parent: null, gain: 1 },
    { id: 'f0', parent: 'grid', gain: draw() < 0.5 ? 1 : 1.04 },
    { id: 'f1', parent: 'grid', gain: 1 },
    { id: 'p0', parent: 'f0', gain: 1 },
  ];
  const ids = ['f0', 'f1', 'p0'];
  const nodes = Array.from({ length: pick(2, 5) }, (_, n) => ({
    id: `n${n}`,
    limit: ids[pick(0, 2)]!,
    cappable: draw() < 0.9,
    managed: n % 2 === 0,
    nameplateWatts: 10_000,
  }));
  const half = Math.ceil(nodes.length / 2);
  const groups = [nodes.slice(0, half), nodes.slice(half)].filter((group) => group.length > 0);
  const workloads = groups.map((group, n) => ({
    id: `w${n}`,
    nodes: group.map((node) => node.id),
    firmWatts: pick(0, 5000) * group.length,
    flexibleWatts: pick(2000, 8000) * group.length,
    noticeMs: pick(0, 2) * 5000,
    checkpointMs: 0,
  }));
  const mining: Record<string, number> = {};
  const miningMost: Record<string, number> = {};
  const stuck: Record<string, number> = {};
  const loads: Record<string, number> = { grid: pick(0, 2000), f0: 0, f1: 0, p0: 0 };
  for (const id of ids) {
    miningMost[id] = pick(0, 40_000);
    mining[id] = miningMost[id]!;
    stuck[id] = draw() < 0.3 ? Math.floor(miningMost[id]! * draw() * 0.3) : 0;
  }
  const levels: Record<string, number[]> = {};
  const at: Record<string, number> = {};
  for (const node of nodes) {
    levels[node.id] = node.cappable ? [5000, 6000, 7000, 8000, 9000, 10_000] : [10_000];
    at[node.id] = node.cappable
      ? levels[node.id]![draw() < 0.6 ? pick(0, 2) : pick(3, 5)]!
      : draw() < 0.5
        ? 10_000
        : 0;
  }
  const world: World = {
    site: { limits, nodes, workloads },
    ratings: {},
    inForce: {},
    loads,
    mining,
    miningMost,
    stuck,
    nodes: at,
    levels,
    deaf: new Set(nodes.filter(() => draw() < 0.1).map((node) => node.id)),
    now: 1000,
    permits: { reservedWatts: {}, ceilings: {}, grantedWatts: {} },
    leased: {},
    droppedAt: {},
  };
  // Ratings from exactly what flows to twice as much: saturated limits and empty ones.
  for (const limit of limits) world.ratings[limit.id] = Math.ceil(flows(world)[limit.id]! * (1 + draw()));
  world.inForce = { ...world.ratings };
  return world;
}

/** True watts through every limit. */
export function flows(world: World): Record<string, number> {
  const watts: Record<string, number> = {};
  for (const limit of world.site.limits)
    watts[limit.id] = (world.loads[limit.id] ?? 0) + (world.mining[limit.id] ?? 0);
  for (const node of world.site.nodes) watts[node.limit]! += world.nodes[node.id]!;
  for (const limit of [...world.site.limits].reverse())
    if (limit.parent !== null) watts[limit.parent]! += watts[limit.id]! * limit.gain;
  return watts;
}

/** The least room on the way from a limit to the grid, in watts at that limit. */
function roomAt(world: World, limit: string, keep: Readonly<Record<string, number>>): number {
  const watts = flows(world);
  let room = Number.POSITIVE_INFINITY;
  let gain = 1;
  let at = world.site.limits.find((candidate) => candidate.id === limit);
  while (at !== undefined) {
    const left = world.inForce[at.id]! - watts[at.id]! - (keep[at.id] ?? 0);
    room = Math.min(room, left / gain);
    gain *= at.gain;
    const { parent } = at;
    at = world.site.limits.find((candidate) => candidate.id === parent);
  }
  return Math.floor(room - 1e-6);
}

function plus(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>) {
  const sum: Record<string, number> = { ...a };
  for (const id in b) sum[id] = (sum[id] ?? 0) + b[id]!;
  return sum;
}

/** Everybody moves as the permits in force allow; donors that must shed do, in part. */
export function live(world: World, draw: Draw): void {
  const { site, permits } = world;
  for (const limit of [...site.limits].reverse()) shedBelow(world, limit.id, draw);
  for (const node of site.nodes) {
    const ceiling = permits.ceilings[node.id];
    if (ceiling === undefined || world.deaf.has(node.id) || draw() < 0.3) continue;
    const floor = world.levels[node.id]![0]!;
    if (world.nodes[node.id]! > Math.max(ceiling, floor)) world.nodes[node.id] = Math.max(ceiling, floor);
  }
  // A grant is drawn at any moment, without asking anybody; after a drop the gate looks at the room first.
  for (const node of site.nodes) {
    const granted = permits.grantedWatts[node.id] ?? 0;
    if (granted <= 0 || draw() < 0.4) continue;
    const dropped = Object.keys(pathWatts(site, { [node.id]: 1 })).some((id) => id in world.droppedAt);
    const room = dropped ? roomAt(world, node.limit, {}) : Number.POSITIVE_INFINITY;
    const most = permits.ceilings[node.id] ?? world.leased[node.id] ?? 0;
    // What it may draw without the grant it takes by the ordinary way.
    if (world.nodes[node.id]! < most - granted) continue;
    world.nodes[node.id]! += Math.max(0, Math.min(granted, room, most - world.nodes[node.id]!));
  }
  for (const node of site.nodes) {
    if (draw() < 0.6) continue;
    const promised = pathWatts(site, permits.grantedWatts);
    const ceiling = permits.ceilings[node.id] ?? world.levels[node.id]!.at(-1)!;
    const most = ceiling - (permits.grantedWatts[node.id] ?? 0);
    const wanted = Math.max(0, most - world.nodes[node.id]!);
    const room = roomAt(world, node.limit, plus(permits.reservedWatts, promised));
    if (world.nodes[node.id]! > 0) world.nodes[node.id]! += Math.max(0, Math.min(wanted, room));
  }
  for (const id in world.mining) {
    const keep = plus(permits.reservedWatts, pathWatts(site, permits.grantedWatts));
    const room = Math.min(world.miningMost[id]! - world.mining[id]!, roomAt(world, id, keep));
    if (room > 0) world.mining[id]! += Math.floor(room * (draw() < 0.5 ? 1 : draw()));
  }
}

function shedBelow(world: World, limit: string, draw: Draw): void {
  const { site, permits } = world;
  let excess = flows(world)[limit]! - (world.inForce[limit]! - (permits.reservedWatts[limit] ?? 0));
  if (excess <= 0) return;
  for (const id in world.mining) {
    if (!isBelow(site, id, limit)) continue;
    const shed = Math.min(Math.ceil(excess), Math.max(0, world.mining[id]! - world.stuck[id]!));
    const done = draw() < 0.7 ? shed : Math.floor(shed * draw());
    world.mining[id]! -= done;
    excess -= shed;
  }
  if (flows(world)[limit]! <= world.inForce[limit]! || excess <= 0) return;
  // A limit fell below what AI draws: nodes are capped, in an emergency to the lowest.
  for (const node of site.nodes) {
    if (!isBelow(site, node.limit, limit) || !node.cappable || world.deaf.has(node.id) || excess <= 0)
      continue;
    const down = Math.min(excess, Math.max(0, world.nodes[node.id]! - world.levels[node.id]![0]!));
    world.nodes[node.id] = Math.floor(world.nodes[node.id]! - down);
    excess -= down;
  }
}

function isBelow(site: TransferSite, id: string, limit: string): boolean {
  for (let at = site.limits.find((candidate) => candidate.id === id); at !== undefined; ) {
    if (at.id === limit) return true;
    const { parent } = at;
    at = site.limits.find((candidate) => candidate.id === parent);
  }
  return false;
}

/** What meters and devices show now; some limits may be without fresh evidence. */
export function evidenceOf(world: World, draw: Draw): { limits: LimitEvidence[]; nodes: NodeEvidence[] } {
  const watts = flows(world);
  return {
    limits: world.site.limits.map((limit) => ({
      id: limit.id,
      inForceWatts: world.inForce[limit.id]!,
      roomWatts: world.inForce[limit.id]!,
      worstWatts: Math.ceil(watts[limit.id]! - 1e-6),
      expectedWatts: Math.ceil(watts[limit.id]! - 1e-6),
      loadsWatts: world.loads[limit.id] ?? 0,
      minersWorstWatts: minersBelow(world, limit.id),
      minersUp: minersBelow(world, limit.id) > 0 ? 1 : 0,
      sampledAt: draw() < 0.05 ? null : world.now,
      conversionWatts: 0,
      lowered: world.inForce[limit.id]! < world.ratings[limit.id]!,
    })),
    nodes: world.site.nodes.map((node) => ({
      id: node.id,
      present: world.nodes[node.id]! > 0,
      fresh: draw() > 0.03,
      worstWatts: world.nodes[node.id]!,
      levelsWatts: world.levels[node.id]!,
      sampledAt: world.now,
      service: node.managed ? serviceAt(world.now, node.id) : null,
    })),
  };
}

const SERVICES = ['in-service', 'draining', 'drained', 'down'] as const;

/** A workload manager that says now this, now that, whatever it is asked. */
function serviceAt(now: number, id: string): NodeEvidence['service'] {
  return { state: SERVICES[(Math.floor(now / 7000) + id.charCodeAt(1)) % 4]!, requestedAt: now };
}

function minersBelow(world: World, limit: string): number {
  let sum = 0;
  for (const id in world.mining) {
    if (!isBelow(world.site, id, limit)) continue;
    let gain = 1;
    for (
      let at = world.site.limits.find((candidate) => candidate.id === id);
      at !== undefined && at.id !== limit;
    ) {
      gain *= at.gain;
      const { parent } = at;
      at = world.site.limits.find((candidate) => candidate.id === parent);
    }
    sum += world.mining[id]! * gain;
  }
  return Math.ceil(sum - 1e-6);
}

export function act(world: World, state: TransferState): void {
  world.permits = permitsOf(world.site, state);
  world.leased = {};
  for (const { id } of world.site.nodes)
    for (const transfer of state.transfers)
      world.leased[id] = (world.leased[id] ?? 0) + contribution(transfer, id);
}
