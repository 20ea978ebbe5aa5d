import type { DeviceId, LimitId, Watts } from '../../protocols/units.ts';
import type { Transfer, TransferSite, TransferState, WattsOf } from './transfer-state.ts';
import { GRANTED_PHASES } from './transfer-state.ts';

/** What hand-overs allow and withhold at this moment: input of the next control cycle. */
export interface Permits {
  /** Below a limit, usable by nobody: watts on their way from one holder to the other. */
  readonly reservedWatts: Readonly<Record<LimitId, Watts>>;
  /** The most a GPU node may be told to draw. A node that is not named has no ceiling. */
  readonly ceilings: Readonly<Record<DeviceId, Watts>>;
  /** Granted to a node and not yet taken up: free for it, and for nobody else. */
  readonly grantedWatts: Readonly<Record<DeviceId, Watts>>;
}

type Mutable = Record<string, Watts>;

/** Whole watts at every limit between the nodes of `shares` and the grid, losses included, rounded up. */
export function pathWatts(site: TransferSite, shares: WattsOf<DeviceId>): Mutable {
  const exact: Record<string, number> = {};
  for (const node of site.nodes) {
    const watts = shares[node.id];
    if (watts === undefined || watts === 0) continue;
    let gain = 1;
    for (let at = limitOf(site, node.limit); at !== undefined; at = limitOf(site, at.parent)) {
      exact[at.id] = (exact[at.id] ?? 0) + watts * gain;
      gain *= at.gain;
    }
  }
  for (const id in exact) exact[id] = Math.ceil(exact[id]! - 1e-6);
  return exact;
}

function limitOf(site: TransferSite, id: LimitId | null): TransferSite['limits'][number] | undefined {
  return id === null ? undefined : site.limits.find((limit) => limit.id === id);
}

/** What a hand-over adds to the ceiling of one of its nodes. */
export function contribution(transfer: Transfer, node: DeviceId): Watts {
  const share = transfer.shares[node] ?? 0;
  if (share === 0 || transfer.cut) return 0;
  if (transfer.direction === 'ai-to-mining') {
    // Until its notice is over the node keeps what it gives away.
    return transfer.phase === 'reserved' || transfer.phase === 'shedding' ? share : 0;
  }
  if (!GRANTED_PHASES.includes(transfer.phase) && transfer.phase !== 'draining') return 0;
  return rampedShare(transfer, share);
}

function rampedShare(transfer: Transfer, share: Watts): Watts {
  const watts = transfer.lease?.watts ?? 0;
  if (transfer.rampedWatts >= watts) return share;
  return Math.floor((share * transfer.rampedWatts) / watts);
}

/** The most a node may be told to draw; `null`: hand-overs say nothing about it. */
export function ceilingOf(state: Pick<TransferState, 'bases' | 'transfers'>, node: DeviceId): Watts | null {
  const base = state.bases[node];
  if (base === undefined) return null;
  let sum: Watts = base;
  for (const transfer of state.transfers) sum += contribution(transfer, node);
  return sum;
}

/** Whether AI holds the shares of a hand-over: granted and not yet proved given back. */
export function heldByAi(transfer: Transfer): boolean {
  switch (transfer.phase) {
    case 'reserved':
    case 'shedding':
    case 'verifying':
      return transfer.direction === 'ai-to-mining';
    case 'freed':
    case 'granted':
    case 'ramping':
    case 'active':
    case 'draining':
    case 'verifying-release':
      return transfer.direction === 'mining-to-ai';
    case 'breached':
      return true;
    default:
      return false;
  }
}

/** Shares of all hand-overs that AI holds, per node. */
export function heldShares(transfers: readonly Transfer[]): Mutable {
  const held: Mutable = {};
  for (const transfer of transfers) {
    if (!heldByAi(transfer)) continue;
    for (const node in transfer.shares) held[node] = (held[node] ?? 0) + transfer.shares[node]!;
  }
  return held;
}

/** Entitled to and not drawn, at most: what verified room must be left for, per node. */
export function unusedEntitlement(state: Pick<TransferState, 'bases' | 'worst' | 'transfers'>): Mutable {
  const held = heldShares(state.transfers);
  const unused: Mutable = {};
  for (const node in state.bases)
    unused[node] = Math.max(0, state.bases[node]! + (held[node] ?? 0) - (state.worst[node] ?? 0));
  for (const node in held) unused[node] ??= Math.max(0, held[node]! - (state.worst[node] ?? 0));
  return unused;
}

/** The part of each hand-over's shares that its nodes do not draw: the earliest counts as drawn first. */
export function unusedShares(
  state: Pick<TransferState, 'bases' | 'worst' | 'transfers'>,
): Map<string, Mutable> {
  const above: Mutable = {};
  const unused = new Map<string, Mutable>();
  for (const transfer of state.transfers) {
    if (!heldByAi(transfer)) continue;
    const own: Mutable = {};
    for (const node in transfer.shares) {
      const share = transfer.shares[node]!;
      above[node] ??= Math.max(0, (state.worst[node] ?? 0) - (state.bases[node] ?? 0));
      const used = Math.min(share, above[node]);
      above[node] -= used;
      own[node] = share - used;
    }
    unused.set(transfer.id, own);
  }
  return unused;
}

/** What of the undrawn part of a share may be drawn now, because verified watts stand behind it. */
function grantedNow(transfer: Transfer, node: DeviceId, unused: Watts): Watts {
  const drawn = transfer.shares[node]! - unused;
  // What a node had without a grant was never verified: it rises by the ordinary way.
  return Math.max(0, contribution(transfer, node) - (transfer.lent[node] ?? 0) - drawn);
}

/** What the next control cycle must respect. Pure. */
export function permitsOf(site: TransferSite, state: TransferState): Permits {
  const reservedWatts: Mutable = {};
  const reserve = (watts: WattsOf<LimitId>) => {
    for (const id in watts) reservedWatts[id] = (reservedWatts[id] ?? 0) + watts[id]!;
  };
  const grantedWatts: Mutable = {};
  const unused = unusedShares(state);
  for (const transfer of state.transfers) {
    const own = unused.get(transfer.id);
    if (own === undefined || transfer.phase === 'freed') {
      // Nobody's at this moment: freed, being freed, or on its way back to AI.
      reserve(transfer.held);
      reserve(transfer.extra);
      continue;
    }
    const later: Mutable = {};
    for (const node in own) {
      const now = Math.min(own[node]!, grantedNow(transfer, node, own[node]!));
      if (now > 0) grantedWatts[node] = (grantedWatts[node] ?? 0) + now;
      later[node] = own[node]! - now;
    }
    reserve(pathWatts(site, later));
  }
  const ceilings: Mutable = {};
  for (const node of site.nodes) {
    const ceiling = node.cappable ? ceilingOf(state, node.id) : null;
    if (ceiling !== null) ceilings[node.id] = ceiling;
  }
  return { reservedWatts, ceilings, grantedWatts };
}
