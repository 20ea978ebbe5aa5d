import type { DeviceId, LimitId, Watts } from '../../protocols/units.ts';
import { ceilingOf } from './transfer-permits.ts';
import {
  ended,
  type NodeEvidence,
  type Transfer,
  type TransferRequest,
  type TransferSite,
  type TransferState,
  type TransferWorkload,
  total,
} from './transfer-state.ts';

type View = Pick<TransferState, 'bases' | 'transfers'>;

/** The workload that a request means: named, or the first with nodes below its limit. */
export function workloadOf(
  site: TransferSite,
  request: Pick<TransferRequest, 'workload' | 'limit' | 'onlyNodes'>,
): TransferWorkload | null {
  return (
    site.workloads.find(
      (workload) =>
        (request.workload === null || workload.id === request.workload) &&
        nodesBelow(site, workload, request.limit, request.onlyNodes).length > 0,
    ) ?? null
  );
}

/** Nodes of a workload that hang at or below a limit. */
export function nodesBelow(
  site: TransferSite,
  workload: TransferWorkload,
  limit: LimitId,
  only: readonly DeviceId[] | null,
): DeviceId[] {
  const under = new Set<LimitId>([limit]);
  for (const candidate of site.limits)
    if (candidate.parent !== null && under.has(candidate.parent)) under.add(candidate.id);
  return site.nodes
    .filter(
      (node) =>
        workload.nodes.includes(node.id) &&
        under.has(node.limit) &&
        (only === null || only.includes(node.id)),
    )
    .map((node) => node.id);
}

/** Why a request can never be carried out, or null. */
export function refusal(
  site: TransferSite,
  state: TransferState,
  request: TransferRequest,
  liveAtMost: number,
): string | null {
  if (!site.limits.some((limit) => limit.id === request.limit)) return `unknown limit "${request.limit}"`;
  if (request.workload !== null && !site.workloads.some((workload) => workload.id === request.workload))
    return `unknown workload "${request.workload}"`;
  if (workloadOf(site, request) === null)
    return request.workload === null
      ? `no workload has GPU nodes below ${request.limit}`
      : `${request.workload} has no GPU nodes below ${request.limit}`;
  if (request.watts !== null && !(request.watts >= 1)) return 'watts must be at least 1';
  if (state.transfers.filter((transfer) => !ended(transfer)).length >= liveAtMost)
    return `${liveAtMost} hand-overs are under way: wait for one to end`;
  return null;
}

/** Equal part of a workload's firm watts for each of its nodes, rounded up. */
export function firmShare(site: TransferSite, node: DeviceId): Watts {
  let watts = 0;
  for (const workload of site.workloads)
    if (workload.nodes.includes(node)) watts += Math.ceil(workload.firmWatts / workload.nodes.length);
  return watts;
}

/**
 * How the watts of a grant are spread: the node with the lowest ceiling takes the next step first, so the nodes
 * of a job stay equal. Bounded by what was asked, by the workload's promise and by what the nodes can take.
 */
export function grantShares(
  site: TransferSite,
  state: View,
  transfer: Transfer,
  nodes: ReadonlyMap<DeviceId, NodeEvidence>,
): Record<DeviceId, Watts> {
  const workload = site.workloads.find((candidate) => candidate.id === transfer.workload)!;
  // A node that draws without a ceiling needs no grant.
  const ids = nodesBelow(site, workload, transfer.limit, transfer.onlyNodes).filter(
    (id) => state.bases[id] !== undefined || !nodes.get(id)?.present,
  );
  const entitled = workload.nodes.reduce((sum, id) => sum + (ceilingOf(state, id) ?? 0), 0);
  const promised = workload.firmWatts + workload.flexibleWatts;
  const open = transfersOpening(state, transfer);
  let left = Math.min(
    transfer.askedWatts ?? Number.MAX_SAFE_INTEGER,
    workload.flexibleWatts > 0 ? promised - entitled - open : Number.MAX_SAFE_INTEGER,
  );
  const shares: Record<DeviceId, Watts> = {};
  const at = new Map(ids.map((id) => [id, (ceilingOf(state, id) ?? 0) + openingAt(state, transfer, id)]));
  for (;;) {
    let best: { id: DeviceId; to: Watts } | null = null;
    for (const id of ids) {
      const now = at.get(id)!;
      const to = nextLevel(site, nodes.get(id), id, now, left);
      if (to === null || to - now > left) continue;
      if (best === null || now < at.get(best.id)!) best = { id, to };
    }
    if (best === null) return shares;
    const step = best.to - at.get(best.id)!;
    shares[best.id] = (shares[best.id] ?? 0) + step;
    at.set(best.id, best.to);
    left -= step;
  }
}

function transfersOpening(state: View, transfer: Transfer): Watts {
  return state.transfers
    .filter((other) => other !== transfer && other.workload === transfer.workload && opening(other))
    .reduce((sum, other) => sum + total(other.shares), 0);
}

function openingAt(state: View, transfer: Transfer, node: DeviceId): Watts {
  return state.transfers
    .filter((other) => other !== transfer && opening(other))
    .reduce((sum, other) => sum + (other.shares[node] ?? 0), 0);
}

/** Admitted but not yet in any ceiling. */
function opening(transfer: Transfer): boolean {
  return (
    transfer.direction === 'mining-to-ai' &&
    ['admitted', 'reserved', 'shedding', 'verifying', 'freed'].includes(transfer.phase)
  );
}

/** The next point that the node can be capped to; a node without points takes any watts up to its nameplate. */
function nextLevel(
  site: TransferSite,
  evidence: NodeEvidence | undefined,
  id: DeviceId,
  now: Watts,
  left: Watts,
): Watts | null {
  const node = site.nodes.find((candidate) => candidate.id === id)!;
  if (evidence?.present && !evidence.fresh) return null;
  if (!node.cappable && evidence?.present) return null;
  const levels = evidence?.levelsWatts ?? [];
  if (node.cappable && levels.length > 1) return levels.find((level) => level > now) ?? null;
  const to = Math.min(node.nameplateWatts, now + left);
  return to > now ? to : null;
}

/** What an ai-to-mining hand-over takes: first from live grants, newest first, then from what nodes have anyway. */
export interface Taking {
  /** Per grant that gives some of its watts back. */
  readonly returned: ReadonlyMap<Transfer, Record<DeviceId, Watts>>;
  readonly lent: Record<DeviceId, Watts>;
}

export function takeShares(
  site: TransferSite,
  state: View,
  transfer: Transfer,
  nodes: ReadonlyMap<DeviceId, NodeEvidence>,
): Taking {
  const workload = site.workloads.find((candidate) => candidate.id === transfer.workload)!;
  const ids = nodesBelow(site, workload, transfer.limit, transfer.onlyNodes);
  let left = transfer.askedWatts ?? Number.MAX_SAFE_INTEGER;
  const returned = new Map<Transfer, Record<DeviceId, Watts>>();
  for (const grant of [...state.transfers].reverse()) {
    if (grant.direction !== 'mining-to-ai' || grant.cut || grant.workload !== workload.id) continue;
    if (grant.phase !== 'ramping' && grant.phase !== 'active') continue;
    for (const id of ids) {
      const watts = Math.min(grant.shares[id] ?? 0, left);
      if (watts <= 0) continue;
      const own = returned.get(grant) ?? {};
      own[id] = watts;
      returned.set(grant, own);
      left -= watts;
    }
  }
  const lent: Record<DeviceId, Watts> = {};
  for (const id of ids) {
    const base = state.bases[id];
    const node = site.nodes.find((candidate) => candidate.id === id)!;
    if (base === undefined || !node.cappable) continue;
    const lowest = nodes.get(id)?.levelsWatts[0] ?? node.nameplateWatts;
    // Firm AI keeps its floor, whatever is asked.
    const watts = Math.min(left, base - Math.max(firmShare(site, id), lowest));
    if (watts <= 0) continue;
    lent[id] = watts;
    left -= watts;
  }
  return { returned, lent };
}
