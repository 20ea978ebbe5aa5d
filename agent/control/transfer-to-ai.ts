import type { DeviceId, EpochMs, Watts } from '../../protocols/units.ts';
import { grantShares } from './transfer-admission.ts';
import {
  abort,
  above,
  answer,
  type Draft,
  drain,
  freedIsProved,
  holdPath,
  letGoPath,
  makeUp,
  move,
  newestEvidence,
  nodesAreDown,
  noticeMs,
  shrink,
  TOLERANCE,
  unproved,
} from './transfer-draft.ts';
import { ceilingOf, pathWatts, unusedShares } from './transfer-permits.ts';
import { type Phase, type Transfer, total } from './transfer-state.ts';

export function toAi(draft: Draft, transfer: Transfer): Phase {
  const late = draft.now >= transfer.deadlineAt;
  switch (transfer.phase) {
    case 'requested':
      return admitGrant(draft, transfer);
    case 'admitted':
      holdPath(draft, transfer, pathWatts(draft.site, transfer.shares));
      return move(draft, transfer, 'reserved', 'taken off what mining may use');
    case 'reserved':
      return move(draft, transfer, 'shedding', 'donors are told');
    case 'shedding':
      if (late) return abort(draft, transfer, 'not shed in time');
      if (obeyedFrees(draft, transfer)) return enterVerifying(draft, transfer);
      return transfer.phase;
    case 'verifying':
      if (freedIsProved(draft, transfer)) return move(draft, transfer, 'freed', 'metered twice');
      if (late) return abort(draft, transfer, 'no meter showed it in time');
      return makeUp(draft, transfer);
    case 'freed':
      return grant(draft, transfer);
    case 'granted':
      return move(draft, transfer, 'ramping', 'caps rise');
    case 'ramping':
      return ramp(draft, transfer, late);
    case 'active':
      return keep(draft, transfer, late);
    case 'draining':
      return drainOn(draft, transfer);
    case 'verifying-release':
    case 'breached':
      return proveRelease(draft, transfer, late);
    default:
      return transfer.phase;
  }
}

function admitGrant(draft: Draft, transfer: Transfer): Phase {
  const shares = grantShares(draft.site, draft, transfer, draft.nodes);
  const watts = total(shares);
  if (watts <= 0) {
    if (draft.now < transfer.deadlineAt && !readable(draft, transfer)) return transfer.phase;
    return abort(
      draft,
      transfer,
      `the nodes of ${transfer.workload} may already draw all that they can or were promised`,
    );
  }
  for (const [id, needed] of Object.entries(pathWatts(draft.site, shares))) {
    const account = draft.accounts[id];
    const has = account === undefined ? 0 : account.freeWatts + (account.holders['mining'] ?? 0);
    const limit = draft.limits.get(id);
    // Mining's part in the book ends at what miners can draw; what is free ends at the capacity.
    if (limit === undefined || has < needed || (account?.debtWatts ?? 0) > 0)
      return abort(
        draft,
        transfer,
        `${id} has ${Math.max(0, Math.round(has))} W beside AI and other loads, ${needed} W are needed`,
      );
  }
  transfer.shares = shares;
  const asked = transfer.askedWatts;
  move(
    draft,
    transfer,
    'admitted',
    asked !== null && watts < asked ? `${watts} W of the ${asked} W asked for` : `${watts} W`,
  );
  return transfer.phase;
}

/** The nodes were read: what they can take is known. */
function readable(draft: Draft, transfer: Transfer): boolean {
  const workload = draft.site.workloads.find((candidate) => candidate.id === transfer.workload)!;
  return workload.nodes.every((id) => draft.nodes.get(id)?.fresh ?? false);
}

/** Obeyed, would the commands that are out free it? */
function obeyedFrees(draft: Draft, transfer: Transfer): boolean {
  return Object.entries(transfer.held).every(([id, watts]) => {
    const limit = draft.limits.get(id);
    return limit !== undefined && limit.roomWatts - limit.expectedWatts >= watts;
  });
}

function enterVerifying(draft: Draft, transfer: Transfer): Phase {
  const { deadlineAt, since } = transfer;
  move(draft, transfer, 'verifying', 'waiting for the meters');
  // One time for shedding and seeing it, and evidence from after the donors were told.
  transfer.deadlineAt = deadlineAt;
  transfer.provedAt = since + draft.rules.meterLagMs;
  transfer.extraAt = draft.now;
  return transfer.phase;
}

function grant(draft: Draft, transfer: Transfer): Phase {
  const { rules } = draft;
  transfer.lease = {
    epoch: draft.epoch,
    watts: total(transfer.shares),
    rampWattsPerMinute: rules.rampWattsPerMinute,
    expiresAt: leaseEnd(draft, transfer),
  };
  transfer.rampedWatts = 0;
  transfer.extra = {};
  // Work may come back as soon as the watts are there for it.
  for (const id in transfer.shares) delete draft.withdrawn[id];
  draft.effects.push({ kind: 'grant', id: transfer.id, lease: transfer.lease, shares: transfer.shares });
  move(draft, transfer, 'granted', `${transfer.lease.watts} W`);
  return transfer.phase;
}

function leaseEnd(draft: Draft, transfer: Transfer): EpochMs {
  return Math.min(transfer.until ?? Number.POSITIVE_INFINITY, draft.epochMs + draft.rules.leaseMs);
}

/** Fresh evidence renews a lease. `false`: it may not go on for now. */
function renewed(draft: Draft, transfer: Transfer): boolean {
  if (newestEvidence(draft, transfer.held) === null) return false;
  for (const id in transfer.shares) if (!draft.nodes.get(id)?.fresh) return false;
  // A new end is published now and then, not every second.
  const expiresAt = leaseEnd(draft, transfer);
  const { lease } = transfer;
  if (lease !== null && (expiresAt - lease.expiresAt > draft.rules.leaseMs / 5 || transfer.until !== null))
    transfer.lease = { ...lease, expiresAt: Math.max(lease.expiresAt, expiresAt) };
  return true;
}

function ramp(draft: Draft, transfer: Transfer, late: boolean): Phase {
  if (breached(draft, transfer)) return transfer.phase;
  if (isOver(draft, transfer)) return drain(draft, transfer, 0, 'its time is over');
  const watts = total(transfer.shares);
  const fresh = renewed(draft, transfer);
  if (fresh)
    transfer.rampedWatts = Math.min(
      watts,
      transfer.rampedWatts + Math.floor((draft.rules.rampWattsPerMinute * draft.elapsedMs) / 60_000),
    );
  if (fresh && transfer.rampedWatts >= watts && takenUp(draft, transfer)) {
    move(draft, transfer, 'active', 'enforced caps show it');
    answer(draft, transfer, 'done', `${watts} W granted and taken up`);
    return transfer.phase;
  }
  if (!late) return transfer.phase;
  trim(draft, transfer);
  if (total(transfer.shares) === 0) return drain(draft, transfer, 0, 'not taken up');
  move(draft, transfer, 'active', `${total(transfer.shares)} W of ${watts} W were taken up`);
  answer(draft, transfer, 'failed', transfer.reason);
  return transfer.phase;
}

/** Every node is at the highest of its points that its ceiling allows. */
function takenUp(draft: Draft, transfer: Transfer): boolean {
  return Object.keys(transfer.shares).every((id) => {
    const node = draft.nodes.get(id);
    const ceiling = ceilingOf(draft, id) ?? 0;
    if (!node?.fresh) return false;
    const level = node.levelsWatts.findLast((watts) => watts <= ceiling * TOLERANCE) ?? ceiling;
    return node.worstWatts >= level * 0.98;
  });
}

/** What nobody took is free again; the lease is for the rest. */
function trim(draft: Draft, transfer: Transfer): void {
  const unused = unusedShares(draft).get(transfer.id) ?? {};
  const shares: Record<DeviceId, Watts> = {};
  for (const id in transfer.shares) {
    const used = transfer.shares[id]! - (unused[id] ?? 0);
    if (used > 0) shares[id] = used;
  }
  shrink(draft, transfer, shares, null);
}

function isOver(draft: Draft, transfer: Transfer): boolean {
  return transfer.until !== null && draft.epochMs >= transfer.until;
}

function keep(draft: Draft, transfer: Transfer, late: boolean): Phase {
  if (breached(draft, transfer)) return transfer.phase;
  if (isOver(draft, transfer)) return drain(draft, transfer, noticeMs(draft, transfer), 'its time is over');
  if (renewed(draft, transfer)) {
    transfer.deadlineAt = draft.now + draft.rules.leaseMs;
    return transfer.phase;
  }
  if (late) drain(draft, transfer, 0, 'no fresh evidence: the lease is not renewed');
  return transfer.phase;
}

/** A node that stays above its ceiling forfeits the grant; the ledger charges what it draws. */
function breached(draft: Draft, transfer: Transfer): boolean {
  const over = Object.keys(transfer.shares).filter((id) => {
    const node = draft.nodes.get(id);
    return node?.present && node.fresh && above(draft, node);
  });
  if (over.length === 0) {
    transfer.overSince = null;
    return false;
  }
  transfer.overSince ??= draft.now;
  if (draft.now - transfer.overSince < draft.rules.breachMs) return false;
  const message = `${over.join(', ')} may draw more than ${transfer.id} grants: its grant is withdrawn.`;
  draft.effects.push({ kind: 'alarm', id: transfer.id, code: 'transfer-breach', message });
  draft.effects.push({ kind: 'revoke', id: transfer.id, epoch: draft.epoch, inMs: 0, reason: message });
  transfer.cut = true;
  transfer.cutAt = draft.now;
  move(draft, transfer, 'breached', message);
  answer(draft, transfer, 'failed', message);
  return true;
}

function drainOn(draft: Draft, transfer: Transfer): Phase {
  if (draft.now < (transfer.cutAt ?? draft.now)) return transfer.phase;
  transfer.cut = true;
  move(draft, transfer, 'verifying-release', 'caps fall');
  return transfer.phase;
}

function proveRelease(draft: Draft, transfer: Transfer, late: boolean): Phase {
  if (nodesAreDown(draft, transfer)) {
    letGoPath(draft, transfer);
    return move(draft, transfer, 'released', 'verified by enforced caps');
  }
  if (!late) return transfer.phase;
  if (transfer.phase === 'breached') {
    // Whatever its nodes draw stays charged to AI by what they show.
    letGoPath(draft, transfer);
    return move(draft, transfer, 'released', 'never proved: its nodes are charged at what they can draw');
  }
  unproved(draft, transfer, 'its nodes were not seen at their ceilings');
  move(draft, transfer, 'breached', 'not given back in time');
  return transfer.phase;
}
