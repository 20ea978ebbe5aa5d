import type { DeviceId, EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import { copyAccounts, letGo, settle } from './transfer-accounts.ts';
import { firmShare, refusal, workloadOf } from './transfer-admission.ts';
import { type Draft, drain, move } from './transfer-draft.ts';
import { heldShares, pathWatts, unusedEntitlement } from './transfer-permits.ts';
import {
  ended,
  GRANTED_PHASES,
  OPENING_PHASES,
  type Transfer,
  type TransferEffect,
  type TransferInput,
  type TransferRequest,
  type TransferRules,
  type TransferSite,
  type TransferState,
} from './transfer-state.ts';
import { toAi } from './transfer-to-ai.ts';
import { toMining } from './transfer-to-mining.ts';

/**
 * Hand-overs between mining and AI, make before break: the watts leave the donor, a meter shows it, and only
 * then are they granted. One function from state and input to state and effects; no clock, no I/O. The state is
 * written down before its effects act.
 */
export function applyTransfer(
  site: TransferSite,
  rules: TransferRules,
  before: TransferState,
  input: TransferInput,
): { readonly state: TransferState; readonly effects: readonly TransferEffect[] } {
  if (input.kind === 'tick') {
    // The same tick again changes nothing.
    return input.now <= before.now ? { state: before, effects: [] } : tick(site, rules, before, input);
  }
  if (input.kind === 'request') return request(site, rules, before, input.request);
  if (input.kind === 'node') return nodeEvent(site, rules, before, input);
  const known = before.transfers.find((transfer) => transfer.id === input.id);
  if (known === undefined || ended(known)) return { state: before, effects: [] };
  if (input.epoch !== null && input.epoch !== known.lease?.epoch) {
    const reason = `epoch ${input.epoch} is over, it is ${known.lease?.epoch ?? before.epoch}`;
    return { state: before, effects: [{ kind: 'refused', id: input.id, reason }] };
  }
  const draft = draftOf(site, rules, before);
  const transfer = draft.transfers.find((candidate) => candidate.id === input.id)!;
  if (input.kind === 'renew') renew(draft, transfer);
  else end(draft, transfer, input.reason, input.epoch !== null);
  return finish(before, draft);
}

function request(
  site: TransferSite,
  rules: TransferRules,
  before: TransferState,
  asked: TransferRequest,
): ReturnType<typeof applyTransfer> {
  if (before.transfers.some((transfer) => transfer.id === asked.id)) return { state: before, effects: [] };
  const no = refusal(site, before, asked, rules.liveAtMost);
  if (no !== null) return { state: before, effects: [{ kind: 'refused', id: asked.id, reason: no }] };
  const transfer: Transfer = {
    id: asked.id,
    direction: asked.direction,
    workload: workloadOf(site, asked)!.id,
    limit: asked.limit,
    asker: asked.asker,
    priority: asked.priority,
    notice: asked.notice,
    askedWatts: asked.watts === null ? null : Math.floor(asked.watts),
    until: asked.until,
    onlyNodes: asked.onlyNodes,
    createdAt: before.epochMs,
    phase: 'requested',
    since: before.now,
    deadlineAt: before.now + rules.stepMs,
    shares: {},
    lent: {},
    held: {},
    lease: null,
    rampedWatts: 0,
    cut: false,
    cutAt: null,
    proofs: 0,
    provedAt: before.now,
    extra: {},
    extraAt: before.now,
    overSince: null,
    answered: false,
    endedAt: null,
    reason: '',
  };
  return {
    state: { ...before, transfers: [...before.transfers, transfer] },
    effects: [
      { kind: 'phase', id: asked.id, from: 'requested', to: 'requested', reason: `asked by ${asked.asker}` },
    ],
  };
}

function nodeEvent(
  site: TransferSite,
  rules: TransferRules,
  before: TransferState,
  input: Extract<TransferInput, { kind: 'node' }>,
): ReturnType<typeof applyTransfer> {
  const node = site.nodes.find((candidate) => candidate.id === input.node);
  if (node === undefined) return { state: before, effects: [] };
  if (input.event === 'resumed') {
    if (before.withdrawn[node.id] === undefined) return { state: before, effects: [] };
    const { [node.id]: _, ...withdrawn } = before.withdrawn;
    return { state: { ...before, withdrawn }, effects: [] };
  }
  const own = before.transfers.filter((transfer) => transfer.asker === `node:${node.id}` && !ended(transfer));
  if (input.event === 'wants') {
    if (own.length > 0) return { state: before, effects: [] };
    return request(site, rules, before, {
      id: input.id,
      direction: 'mining-to-ai',
      workload: null,
      limit: node.limit,
      watts: null,
      until: null,
      asker: `node:${node.id}`,
      priority: 0,
      notice: 'flexible',
      onlyNodes: [node.id],
    });
  }
  if (own.length === 0) return { state: before, effects: [] };
  const draft = draftOf(site, rules, before);
  for (const { id } of own)
    end(draft, draft.transfers.find((transfer) => transfer.id === id)!, `${node.id} is idle`, true);
  return finish(before, draft);
}

function tick(
  site: TransferSite,
  rules: TransferRules,
  before: TransferState,
  input: Extract<TransferInput, { kind: 'tick' }>,
): ReturnType<typeof applyTransfer> {
  const draft = draftOf(site, rules, before);
  draft.elapsedMs = before.now < 0 ? 0 : input.now - before.now;
  draft.now = input.now;
  draft.epochMs = input.epochMs;
  draft.limits = new Map(input.limits.map((limit) => [limit.id, limit]));
  draft.nodes = new Map(input.nodes.map((node) => [node.id, node]));
  draft.worst = Object.fromEntries(input.nodes.map((node) => [node.id, node.worstWatts]));
  firstSight(draft);
  settleAll(draft);
  draft.unclaimed = unclaimedRoom(draft);
  for (const transfer of draft.transfers) if (!ended(transfer)) advance(draft, transfer);
  settleAll(draft);
  recoverDebt(draft);
  forget(draft);
  return finish(before, draft);
}

/** Moves one hand-over as far as this cycle's evidence allows. */
function advance(draft: Draft, transfer: Transfer): void {
  // A few bookkeeping phases may pass in one cycle; the bound is the number of phases.
  for (let turn = 0; turn < 14; turn += 1) {
    const { phase } = transfer;
    if (transfer.direction === 'mining-to-ai') toAi(draft, transfer);
    else toMining(draft, transfer);
    if (transfer.phase === phase || ended(transfer)) return;
  }
}

function draftOf(site: TransferSite, rules: TransferRules, before: TransferState): Draft {
  return {
    site,
    rules,
    epoch: before.epoch,
    now: before.now,
    epochMs: before.epochMs,
    elapsedMs: 0,
    transfers: before.transfers.map((transfer) => ({ ...transfer })),
    bases: { ...before.bases },
    withdrawn: { ...before.withdrawn },
    worst: before.worst,
    accounts: copyAccounts(before.accounts),
    limits: new Map(),
    nodes: new Map(),
    unclaimed: {},
    effects: [],
  };
}

function finish(before: TransferState, draft: Draft): ReturnType<typeof applyTransfer> {
  const { epoch, now, epochMs, transfers, bases, worst, accounts, withdrawn } = draft;
  return {
    state: { ...before, epoch, now, epochMs, transfers, bases, worst, accounts, withdrawn },
    effects: draft.effects,
  };
}

/**
 * A capped node whose workload has flexible watts is bounded from the moment it is first seen: by its firm
 * share, and never by less than its caps allowed then. What AI had when the agent came stays its own.
 */
function firstSight(draft: Draft): void {
  const { site, bases } = draft;
  const held = heldShares(draft.transfers);
  for (const node of site.nodes) {
    if (bases[node.id] !== undefined) continue;
    const evidence = draft.nodes.get(node.id);
    if (!evidence?.present || !evidence.fresh || !node.cappable) continue;
    if (!site.workloads.some((workload) => workload.flexibleWatts > 0 && workload.nodes.includes(node.id)))
      continue;
    const curtailed = Object.keys(pathWatts(site, { [node.id]: 1 })).some(
      (id) => draft.limits.get(id)?.lowered,
    );
    const most = evidence.levelsWatts.at(-1) ?? node.nameplateWatts;
    // Found under an order's limit, its caps say nothing of what it needs.
    const found = curtailed ? most : evidence.worstWatts - (held[node.id] ?? 0);
    bases[node.id] = Math.ceil(Math.max(firmShare(site, node.id), found));
  }
}

function settleAll(draft: Draft): void {
  const ai = aiWatts(draft);
  for (const limit of draft.limits.values()) {
    draft.accounts[limit.id] = settle(draft.accounts[limit.id], {
      capacityWatts: limit.inForceWatts,
      loadsWatts: limit.loadsWatts,
      aiWatts: ai[limit.id] ?? 0,
      conversionWatts: limit.conversionWatts,
      minersWatts: limit.minersWorstWatts,
    });
  }
}

/** What AI holds at each limit beside hand-overs: its entitlement, or what it could draw beyond it. */
function aiWatts(draft: Draft): Record<LimitId, Watts> {
  const held = heldShares(draft.transfers);
  const own: Record<DeviceId, Watts> = {};
  for (const node of draft.site.nodes) {
    const worst = draft.worst[node.id] ?? 0;
    own[node.id] = Math.ceil(Math.max(draft.bases[node.id] ?? 0, worst - (held[node.id] ?? 0)));
  }
  return pathWatts(draft.site, own);
}

/** Verified room at each limit that no grant stands on yet; absent where there is no fresh evidence. */
function unclaimedRoom(draft: Draft): Record<LimitId, Watts> {
  const claims = pathWatts(draft.site, unusedEntitlement(draft));
  const room: Record<LimitId, Watts> = {};
  for (const limit of draft.limits.values()) {
    if (limit.sampledAt === null) continue;
    room[limit.id] =
      Math.floor(limit.roomWatts) -
      Math.ceil(limit.worstWatts) -
      (claims[limit.id] ?? 0) -
      limit.conversionWatts;
  }
  return room;
}

/** Where others than mining have more than a limit carries: what is not granted yet is given up, then grants. */
function recoverDebt(draft: Draft): void {
  for (const limit of draft.limits.values()) {
    let debt = draft.accounts[limit.id]?.debtWatts ?? 0;
    if (debt <= 0) continue;
    const reason = `${limit.id} carries ${Math.round(limit.inForceWatts)} W now`;
    const at = (transfer: Transfer) => transfer.held[limit.id] ?? 0;
    const live = [...draft.transfers].reverse().filter((transfer) => at(transfer) > 0);
    for (const transfer of live) if (transfer.cut) debt -= at(transfer);
    const inOrder = (transfers: Transfer[]) => transfers.sort((a, b) => a.priority - b.priority);
    const grants = live.filter((transfer) => transfer.direction === 'mining-to-ai' && !transfer.cut);
    for (const transfer of inOrder(grants.filter(isOpening))) {
      if (debt <= 0) break;
      debt -= at(transfer);
      letGoAll(draft, transfer);
      move(draft, transfer, 'aborted', reason);
    }
    for (const transfer of inOrder(grants.filter((grant) => !isOpening(grant) && !ended(grant)))) {
      if (debt <= 0) break;
      // Firm AI keeps its watts while a miner is left on the path.
      if (transfer.notice === 'firm' && limit.minersUp > 0) continue;
      debt -= at(transfer);
      drain(draft, transfer, 0, reason);
    }
  }
}

function isOpening(transfer: Transfer): boolean {
  return OPENING_PHASES.includes(transfer.phase);
}

function letGoAll(draft: Draft, transfer: Transfer): void {
  for (const id in transfer.held) letGo(draft.accounts[id]!, transfer.id);
  transfer.held = {};
}

function renew(draft: Draft, transfer: Transfer): void {
  if (transfer.lease === null || !GRANTED_PHASES.includes(transfer.phase)) return;
  const expiresAt = Math.max(transfer.lease.expiresAt, draft.epochMs + draft.rules.leaseMs);
  transfer.lease = { ...transfer.lease, expiresAt };
}

/** The taker gives back at once; a technician's end leaves the workload its notice. */
function end(draft: Draft, transfer: Transfer, reason: string, byTaker: boolean): void {
  const workload = draft.site.workloads.find((candidate) => candidate.id === transfer.workload)!;
  const noticeMs = byTaker ? 0 : workload.noticeMs + workload.checkpointMs;
  if (isOpening(transfer)) {
    if (transfer.direction === 'ai-to-mining' && transfer.cut) return;
    if (transfer.direction === 'ai-to-mining') {
      // Nothing was taken yet: the node keeps what it was to give.
      for (const node in transfer.shares)
        draft.bases[node] = (draft.bases[node] ?? 0) + transfer.shares[node]!;
    }
    letGoAll(draft, transfer);
    move(draft, transfer, 'aborted', reason);
    return;
  }
  if (transfer.phase === 'ramping' || transfer.phase === 'active' || transfer.phase === 'granted')
    drain(draft, transfer, noticeMs, reason);
}

function forget(draft: Draft): void {
  const kept = draft.transfers.filter(
    (transfer) => transfer.endedAt === null || draft.epochMs - transfer.endedAt < draft.rules.rememberMs,
  );
  if (kept.length === draft.transfers.length) return;
  for (const transfer of draft.transfers)
    if (!kept.includes(transfer)) draft.effects.push({ kind: 'forgotten', id: transfer.id });
  draft.transfers = kept;
}

/**
 * State of an earlier run, for a new one: a new epoch, evidence forgotten, no power permitted that was not
 * permitted before. What was freed must be seen again; grants go on under a new lease.
 */
export function restoreTransfers(
  stored: TransferState,
  at: { readonly now: MonotonicMs; readonly epochMs: EpochMs },
): { readonly state: TransferState; readonly effects: readonly TransferEffect[] } {
  const downMs = Math.max(0, at.epochMs - stored.epochMs);
  const shift = at.now - stored.now - downMs;
  const epoch = stored.epoch + 1;
  const effects: TransferEffect[] = [];
  const transfers = stored.transfers.map((transfer): Transfer => {
    const lease = transfer.lease === null ? null : { ...transfer.lease, epoch };
    if (lease !== null && GRANTED_PHASES.includes(transfer.phase))
      effects.push({ kind: 'grant', id: transfer.id, lease, shares: transfer.shares });
    return {
      ...transfer,
      phase:
        transfer.phase === 'freed'
          ? 'verifying'
          : transfer.phase === 'admitted'
            ? 'requested'
            : transfer.phase,
      lease,
      since: transfer.since + shift,
      // It gets a little time to be seen again, and no more.
      deadlineAt: Math.max(transfer.deadlineAt + shift, at.now + 60_000),
      cutAt: transfer.cutAt === null ? null : transfer.cutAt + shift,
      provedAt: at.now,
      proofs: 0,
      extraAt: at.now,
      overSince: null,
    };
  });
  // A state written before nodes could be drained names none.
  const withdrawn = stored.withdrawn ?? {};
  const { now, epochMs } = at;
  return { state: { ...stored, epoch, now, epochMs, transfers, worst: {}, withdrawn }, effects };
}
