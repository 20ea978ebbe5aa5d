import type { DeviceId, LimitId, Watts } from '../../protocols/units.ts';
import { hold, pass } from './transfer-accounts.ts';
import { firmShare, takeShares } from './transfer-admission.ts';
import {
  abort,
  answer,
  type Draft,
  drain,
  freedIsProved,
  letGoPath,
  makeUp,
  move,
  nodesAreDown,
  noticeMs,
  putBack,
  shrink,
  unproved,
} from './transfer-draft.ts';
import { ceilingOf, pathWatts } from './transfer-permits.ts';
import { type Phase, type Transfer, total } from './transfer-state.ts';

export function toMining(draft: Draft, transfer: Transfer): Phase {
  const late = draft.now >= transfer.deadlineAt;
  switch (transfer.phase) {
    case 'requested':
      return admitTaking(draft, transfer);
    case 'reserved':
      return giveNotice(draft, transfer);
    case 'shedding':
      return awaitWork(draft, transfer);
    case 'verifying':
    case 'breached':
      return proveTaken(draft, transfer, late);
    case 'freed':
      letGoPath(draft, transfer);
      // A node that is left something to work with goes on working, at lower caps.
      putBack(draft, transfer, (node) => isEmptied(draft, node));
      transfer.lease = {
        epoch: draft.epoch,
        watts: total(transfer.shares),
        rampWattsPerMinute: draft.rules.rampWattsPerMinute,
        expiresAt: transfer.until ?? Number.MAX_SAFE_INTEGER,
      };
      return move(draft, transfer, 'granted', 'mining may use it');
    case 'granted':
      answer(draft, transfer, 'done', `${total(transfer.shares)} W left AI, verified by its enforced caps`);
      if (transfer.until === null || total(transfer.lent) === 0)
        return move(draft, transfer, 'released', 'given back to mining');
      return move(draft, transfer, 'active', 'lent to mining');
    case 'active':
      if (transfer.until !== null && draft.epochMs >= transfer.until)
        drain(draft, transfer, 0, 'its time is over');
      return transfer.phase;
    case 'draining':
      move(draft, transfer, 'verifying-release', 'mining is told');
      transfer.provedAt = draft.now + draft.rules.meterLagMs;
      return transfer.phase;
    case 'verifying-release':
      return proveReturned(draft, transfer, late);
    default:
      return transfer.phase;
  }
}

function admitTaking(draft: Draft, transfer: Transfer): Phase {
  const { returned, lent } = takeShares(draft.site, draft, transfer, draft.nodes);
  const shares: Record<DeviceId, Watts> = { ...lent };
  for (const taken of returned.values()) for (const id in taken) shares[id] = (shares[id] ?? 0) + taken[id]!;
  const watts = total(shares);
  if (watts <= 0)
    return move(
      draft,
      transfer,
      'aborted',
      `${transfer.workload} has nothing above its firm watts and its lowest caps to give`,
    );
  transfer.shares = shares;
  transfer.lent = lent;
  move(draft, transfer, 'admitted', `${watts} W`);
  for (const [grant, taken] of returned) {
    const kept: Record<DeviceId, Watts> = { ...grant.shares };
    for (const id in taken) {
      kept[id] = kept[id]! - taken[id]!;
      if (kept[id] === 0) delete kept[id];
    }
    shrink(draft, grant, kept, transfer);
    if (total(kept) === 0) move(draft, grant, 'released', `handed back by ${transfer.id}`);
  }
  const path = pathWatts(draft.site, lent);
  for (const id in lent) draft.bases[id] = draft.bases[id]! - lent[id]!;
  const held: Record<LimitId, Watts> = { ...transfer.held };
  for (const id in path) {
    const account = draft.accounts[id]!;
    // AI's part of the book passes over; it is at least its base.
    pass(account, 'ai', transfer.id, Math.min(path[id]!, account.holders['ai'] ?? 0));
    const missing = path[id]! - Math.min(path[id]!, account.holders[transfer.id] ?? 0);
    if (missing > 0) hold(account, transfer.id, missing);
    held[id] = account.holders[transfer.id] ?? 0;
  }
  transfer.held = held;
  move(draft, transfer, 'reserved', 'taken off what AI may have');
  return transfer.phase;
}

/** Nothing was promised to the node, and it may draw no more than its lowest caps. */
function isEmptied(draft: Draft, node: DeviceId): boolean {
  const lowest = draft.nodes.get(node)?.levelsWatts[0] ?? 0;
  return firmShare(draft.site, node) === 0 && (ceilingOf(draft, node) ?? 0) <= lowest;
}

/** Caps fall when all work has left, or when notice and checkpoint are over. */
function awaitWork(draft: Draft, transfer: Transfer): Phase {
  const late = transfer.cutAt !== null && draft.now >= transfer.cutAt;
  const working = Object.keys(transfer.shares).filter((id) => !hasDrained(draft, transfer, id));
  if (!late && working.length > 0) return transfer.phase;
  transfer.cut = true;
  const managed = working.filter((id) => draft.withdrawn[id] === transfer.id);
  const reason =
    working.length === 0
      ? 'all work has left: caps fall'
      : managed.length === 0
        ? 'caps fall'
        : `notice is over, caps fall with work still on ${managed.join(', ')}`;
  return move(draft, transfer, 'verifying', reason);
}

/** Its workload manager, asked after the notice, says that nothing runs on it any more. */
function hasDrained(draft: Draft, transfer: Transfer, node: DeviceId): boolean {
  const service = draft.nodes.get(node)?.service ?? null;
  return service !== null && service.state === 'drained' && service.requestedAt > transfer.since;
}

function giveNotice(draft: Draft, transfer: Transfer): Phase {
  const inMs = noticeMs(draft, transfer);
  transfer.cutAt = draft.now + inMs;
  const reason = `${total(transfer.shares)} W go back to mining`;
  draft.effects.push({ kind: 'revoke', id: transfer.id, epoch: draft.epoch, inMs, reason });
  for (const node of draft.site.nodes)
    if (node.managed && transfer.shares[node.id] !== undefined) draft.withdrawn[node.id] = transfer.id;
  move(draft, transfer, 'shedding', reason);
  transfer.deadlineAt = transfer.cutAt + draft.rules.stepMs;
  return transfer.phase;
}

function proveTaken(draft: Draft, transfer: Transfer, late: boolean): Phase {
  if (nodesAreDown(draft, transfer)) {
    if (transfer.phase === 'verifying') return move(draft, transfer, 'freed', 'verified by enforced caps');
    return giveUpTaking(draft, transfer, 'given back too late');
  }
  if (!late) return transfer.phase;
  if (transfer.phase === 'breached') return giveUpTaking(draft, transfer, 'never proved');
  unproved(draft, transfer, 'AI was told to give watts back and was not seen doing it');
  move(draft, transfer, 'breached', 'not given back in time');
  return transfer.phase;
}

function giveUpTaking(draft: Draft, transfer: Transfer, reason: string): Phase {
  for (const id in transfer.lent) draft.bases[id] = (draft.bases[id] ?? 0) + transfer.lent[id]!;
  abort(draft, transfer, reason);
  return transfer.phase;
}

/**
 * Mining gave up what was lent, by the meters: AI has it back. Where that was never seen, AI does not: watts that
 * nobody proved free would back its rise. It may ask for them as for any others, and is granted what is verified.
 */
function proveReturned(draft: Draft, transfer: Transfer, late: boolean): Phase {
  const proved = freedIsProved(draft, transfer);
  if (!proved && !late) return makeUp(draft, transfer);
  letGoPath(draft, transfer);
  if (!proved) {
    const watts = total(transfer.lent);
    unproved(
      draft,
      transfer,
      `mining was not seen giving up the ${watts} W that were lent to it, so AI stays without them until a new hand-over proves them free`,
    );
    putBack(draft, transfer, (node) => isEmptied(draft, node));
    return move(draft, transfer, 'released', 'not seen given up by mining: AI stays without it');
  }
  for (const id in transfer.lent) draft.bases[id] = (draft.bases[id] ?? 0) + transfer.lent[id]!;
  putBack(draft, transfer);
  return move(draft, transfer, 'released', 'AI has it back');
}
