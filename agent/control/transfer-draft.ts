import type { DeviceId, EpochMs, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import { type Accounts, hold, letGo, pass } from './transfer-accounts.ts';
import { ceilingOf, pathWatts } from './transfer-permits.ts';
import {
  ended,
  type LimitEvidence,
  type NodeEvidence,
  type Phase,
  type Transfer,
  type TransferEffect,
  type TransferRules,
  type TransferSite,
  total,
} from './transfer-state.ts';

/** A state being changed by one input: its own copy, given out when done. */
export interface Draft {
  readonly site: TransferSite;
  readonly rules: TransferRules;
  readonly epoch: number;
  now: MonotonicMs;
  epochMs: EpochMs;
  elapsedMs: Milliseconds;
  transfers: Transfer[];
  bases: Record<DeviceId, Watts>;
  withdrawn: Record<DeviceId, string>;
  worst: Record<DeviceId, Watts>;
  accounts: Accounts;
  limits: ReadonlyMap<LimitId, LimitEvidence>;
  nodes: ReadonlyMap<DeviceId, NodeEvidence>;
  /** Verified room that nothing stands on. */
  unclaimed: Record<LimitId, Watts>;
  readonly effects: TransferEffect[];
}

/** Samples in a row that prove something. */
const PROOFS = 2;

/** Donors that do not follow are made up for after this, again and again. */
const MAKE_UP_MS = 20_000;

/** Caps are read back in whole watts per GPU. */
export const TOLERANCE = 1.005;

const TOLERANCE_WATTS = 20;

/** Enters a phase; ends answer the order that is still open. */
export function move(draft: Draft, transfer: Transfer, to: Phase, reason: string): Phase {
  draft.effects.push({ kind: 'phase', id: transfer.id, from: transfer.phase, to, reason });
  transfer.phase = to;
  transfer.since = draft.now;
  transfer.reason = reason;
  transfer.proofs = 0;
  transfer.provedAt = draft.now;
  transfer.deadlineAt = draft.now + patience(draft, transfer);
  if (!ended(transfer)) return transfer.phase;
  if (to === 'aborted') putBack(draft, transfer);
  transfer.endedAt = draft.epochMs;
  transfer.extra = {};
  answer(draft, transfer, to === 'aborted' ? 'failed' : 'done', reason);
  return transfer.phase;
}

/** Nodes that a hand-over took out of service go back to work; `keep` may leave some out. */
export function putBack(
  draft: Draft,
  transfer: Transfer,
  keep: (node: DeviceId) => boolean = () => false,
): void {
  for (const id in draft.withdrawn)
    if (draft.withdrawn[id] === transfer.id && !keep(id)) delete draft.withdrawn[id];
}

export function answer(draft: Draft, transfer: Transfer, status: 'done' | 'failed', reason: string): void {
  if (transfer.answered) return;
  transfer.answered = true;
  draft.effects.push({ kind: 'answer', id: transfer.id, status, reason, watts: total(transfer.shares) });
}

/** How long a phase may last. Every phase that is not an end has an end. */
function patience(draft: Draft, transfer: Transfer): Milliseconds {
  const { rules } = draft;
  switch (transfer.phase) {
    case 'shedding':
    case 'verifying':
      return rules.shedMs;
    case 'ramping':
      return (total(transfer.shares) / rules.rampWattsPerMinute) * 60_000 + rules.followMs;
    case 'active':
      return transfer.direction === 'mining-to-ai' ? rules.leaseMs : Number.MAX_SAFE_INTEGER;
    case 'draining':
    case 'verifying-release':
    case 'breached':
      return rules.followMs;
    default:
      return rules.stepMs;
  }
}

export function holdPath(draft: Draft, transfer: Transfer, path: Record<LimitId, Watts>): void {
  for (const id in path) hold(draft.accounts[id]!, transfer.id, path[id]!);
  transfer.held = path;
}

export function letGoPath(draft: Draft, transfer: Transfer): void {
  for (const id in transfer.held) {
    const account = draft.accounts[id];
    if (account !== undefined) letGo(account, transfer.id);
  }
  transfer.held = {};
}

/** Two samples of every limit on the path, from after the reservation, with room that nothing stands on. */
export function freedIsProved(draft: Draft, transfer: Transfer): boolean {
  const newest = newestEvidence(draft, transfer.held);
  if (newest === null || newest <= transfer.provedAt) return false;
  for (const id in transfer.shares) {
    const node = draft.nodes.get(id);
    // A node that is above its ceiling gets nothing on top of it.
    if (node?.present && (!node.fresh || above(draft, node))) return false;
  }
  for (const id in transfer.held) {
    if ((draft.unclaimed[id] ?? Number.NEGATIVE_INFINITY) < transfer.held[id]!) {
      transfer.proofs = 0;
      return false;
    }
  }
  transfer.provedAt = newest;
  transfer.proofs += 1;
  if (transfer.proofs < PROOFS) return false;
  claim(draft, transfer.held);
  return true;
}

/** Verified watts back one grant only. */
function claim(draft: Draft, path: Readonly<Record<LimitId, Watts>>): void {
  for (const id in path) draft.unclaimed[id] = (draft.unclaimed[id] ?? 0) - path[id]!;
}

/** Age of the oldest of the newest samples on a path; `null` where one is missing. */
export function newestEvidence(draft: Draft, path: Readonly<Record<LimitId, Watts>>): MonotonicMs | null {
  let oldest = Number.POSITIVE_INFINITY;
  for (const id in path) {
    const at = draft.limits.get(id)?.sampledAt ?? null;
    if (at === null) return null;
    oldest = Math.min(oldest, at);
  }
  return Number.isFinite(oldest) ? oldest : null;
}

/** Some donors do not follow: others are asked for as much again, within bounds. */
export function makeUp(draft: Draft, transfer: Transfer): Phase {
  if (draft.now - transfer.extraAt < MAKE_UP_MS || newestEvidence(draft, transfer.held) === null)
    return transfer.phase;
  transfer.extraAt = draft.now;
  const extra: Record<LimitId, Watts> = { ...transfer.extra };
  for (const id in transfer.held) {
    const short = transfer.held[id]! - (draft.unclaimed[id] ?? 0);
    if (short <= 0) continue;
    extra[id] = Math.min(
      (extra[id] ?? 0) + Math.ceil(short),
      Math.max(10_000, Math.ceil(transfer.held[id]! / 4)),
    );
  }
  transfer.extra = extra;
  return transfer.phase;
}

export function abort(draft: Draft, transfer: Transfer, reason: string): Phase {
  letGoPath(draft, transfer);
  move(draft, transfer, 'aborted', reason);
  return transfer.phase;
}

/** A hand-over keeps only `shares`; what it held for the rest goes to `heir`, or is free. Exact at every limit. */
export function shrink(
  draft: Draft,
  transfer: Transfer,
  shares: Record<DeviceId, Watts>,
  heir: Transfer | null,
): void {
  const path = pathWatts(draft.site, shares);
  const passed: Record<LimitId, Watts> = heir === null ? {} : { ...heir.held };
  for (const id in transfer.held) {
    const account = draft.accounts[id]!;
    const gone = transfer.held[id]! - (path[id] ?? 0);
    if (heir !== null) {
      pass(account, transfer.id, heir.id, gone);
      passed[id] = (passed[id] ?? 0) + gone;
      continue;
    }
    const kept = transfer.held[id]! - gone;
    letGo(account, transfer.id);
    if (kept > 0) hold(account, transfer.id, kept);
  }
  if (heir !== null) heir.held = passed;
  transfer.held = path;
  transfer.shares = shares;
  const watts = total(shares);
  transfer.rampedWatts = Math.min(transfer.rampedWatts, watts);
  if (transfer.lease !== null) transfer.lease = { ...transfer.lease, watts };
}

export function above(draft: Draft, node: NodeEvidence): boolean {
  const ceiling = ceilingOf(draft, node.id);
  if (ceiling === null) return false;
  return node.worstWatts > Math.max(ceiling, node.levelsWatts[0] ?? 0) * TOLERANCE + TOLERANCE_WATTS;
}

export function noticeMs(draft: Draft, transfer: Transfer): Milliseconds {
  const workload = draft.site.workloads.find((candidate) => candidate.id === transfer.workload)!;
  return workload.noticeMs + workload.checkpointMs;
}

/** The way back begins: after `inMs` the ceilings of its nodes fall, or mining gives up what was lent. */
export function drain(draft: Draft, transfer: Transfer, inMs: Milliseconds, reason: string): Phase {
  if (transfer.direction === 'ai-to-mining') {
    holdPath(draft, transfer, pathWatts(draft.site, transfer.lent));
    return move(draft, transfer, 'draining', reason);
  }
  draft.effects.push({
    kind: 'revoke',
    id: transfer.id,
    epoch: transfer.lease?.epoch ?? draft.epoch,
    inMs,
    reason,
  });
  transfer.cutAt = draft.now + inMs;
  transfer.cut = inMs <= 0;
  move(draft, transfer, 'draining', reason);
  transfer.deadlineAt = transfer.cutAt + draft.rules.followMs;
  answer(draft, transfer, 'failed', reason);
  return transfer.phase;
}

/** Nodes are at or below their ceilings, twice, by readings from after the caps fell. */
export function nodesAreDown(draft: Draft, transfer: Transfer): boolean {
  let oldest = Number.POSITIVE_INFINITY;
  for (const id in transfer.shares) {
    const node = draft.nodes.get(id);
    if (node === undefined) return false;
    if (!node.present && node.worstWatts === 0) continue;
    if (!node.fresh || node.sampledAt === null || node.sampledAt <= transfer.provedAt) return false;
    if (above(draft, node)) {
      transfer.proofs = 0;
      return false;
    }
    oldest = Math.min(oldest, node.sampledAt);
  }
  transfer.provedAt = Number.isFinite(oldest) ? oldest : draft.now;
  transfer.proofs += 1;
  return transfer.proofs >= PROOFS;
}

export function unproved(draft: Draft, transfer: Transfer, message: string): void {
  draft.effects.push({
    kind: 'alarm',
    id: transfer.id,
    code: 'release-unproved',
    message: `${transfer.id}: ${message}.`,
  });
}
