import type { EpochMs, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import { moveBounds } from '../control/derived-limits.ts';
import { type Entry, OVERSHOOT, type Pending } from '../control/ledger.ts';
import type { LimitMemory } from '../control/limit-memory.ts';
import type { Observation } from '../control/observation.ts';
import type { ControlState } from '../control/step.ts';
import type { SentLine } from './records.ts';

/** What the journal last knew of an earlier life of the agent. */
export interface LostState {
  readonly state: ControlState;
  /** The last observation: readings may have shown more than the ledger had booked. */
  readonly observation: Observation | null;
  /** Wall time and monotonic time of the last record: its life's clock ended with it. */
  readonly ts: EpochMs;
  readonly now: MonotonicMs;
  /** Commands known to have been handed to their devices. */
  readonly sent: readonly SentLine[];
  /** Records after this state could not be read: anything may have been commanded since. */
  readonly damaged: boolean;
}

export interface RecoverRules {
  readonly meterStaleMs: Milliseconds;
  /** Clocks of the life that begins. */
  readonly epochMs: EpochMs;
  readonly monotonicMs: MonotonicMs;
}

/** Time that a device has for its first reading after a start before its command counts as not obeyed. */
const GRACE_MS = 20_000;

/**
 * The state that a new life starts from: nothing rises before fresh evidence, no bound is lower than it was, what
 * was under way is still under way. A rise that was booked is kept as booked, sent or not, so that it is never
 * sent twice. A fall that is not known to have left counts as nothing until evidence shows it, so that it is
 * sent again. Pure.
 */
export function recoverState(lost: LostState, rules: RecoverRules): ControlState {
  // A wall clock that was set back, or starts in 1970, makes the pause look shorter than it was: never negative.
  const pauseMs = Math.max(0, rules.epochMs - lost.ts);
  const moved = (at: MonotonicMs): MonotonicMs =>
    Math.round(rules.monotonicMs - pauseMs - Math.max(0, lost.now - at));
  const movedAhead = (at: MonotonicMs): MonotonicMs =>
    Math.round(rules.monotonicMs - pauseMs + (at - lost.now));
  // The pause was the agent's silence, not the device's.
  const stillSilent = (since: MonotonicMs): MonotonicMs =>
    Math.round(rules.monotonicMs - Math.max(0, lost.now - since));
  const shown = new Map<string, Watts>();
  for (const device of lost.observation?.devices ?? [])
    if (device.reported && device.powerWatts !== null) shown.set(device.id, device.powerWatts);
  const entries: Record<string, Entry> = {};
  for (const entry of Object.values(lost.state.entries)) {
    const timed = {
      ...moveEntry(entry, moved, movedAhead),
      silentSince: entry.silentSince === null ? null : stillSilent(entry.silentSince),
    };
    const bounded = {
      ...timed,
      provenWatts: Math.max(entry.provenWatts, Math.ceil(shown.get(entry.id) ?? 0)),
    };
    entries[entry.id] = lost.damaged
      ? doubt(bounded)
      : { ...bounded, pending: recoverPending(entry, lost, rules, moved, movedAhead) };
  }
  const limits: Record<string, LimitMemory> = {};
  for (const [id, memory] of Object.entries(lost.state.limits))
    limits[id] = moveLimit(memory, rules, moved, movedAhead);
  const { classes, tenants } = lost.state;
  const kept = tenants === undefined ? {} : { tenants };
  return { entries, limits, phase: 'starting', rampTokensWatts: 0, rampAt: 0, classes, ...kept };
}

function moveEntry(
  entry: Entry,
  moved: (at: MonotonicMs) => MonotonicMs,
  movedAhead: (at: MonotonicMs) => MonotonicMs,
): Entry {
  const at = (value: MonotonicMs | null) => (value === null ? null : moved(value));
  return {
    ...entry,
    quarantine:
      entry.quarantine === null ? null : { ...entry.quarantine, since: moved(entry.quarantine.since) },
    sleptAt: at(entry.sleptAt),
    wokeAt: at(entry.wokeAt),
    wakes: entry.wakes.map(moved),
    roseAt: at(entry.roseAt),
    ...(entry.capRises === undefined ? {} : { capRises: entry.capRises.map((rise) => at(rise)!) }),
    ...(entry.rising === undefined
      ? {}
      : { rising: { ...entry.rising, until: movedAhead(entry.rising.until) } }),
    ...(entry.rejects === undefined ? {} : { rejects: { ...entry.rejects, at: moved(entry.rejects.at) } }),
    lastDrop: entry.lastDrop === null ? null : { ...entry.lastDrop, at: moved(entry.lastDrop.at) },
  };
}

function recoverPending(
  entry: Entry,
  lost: LostState,
  rules: RecoverRules,
  moved: (at: MonotonicMs) => MonotonicMs,
  movedAhead: (at: MonotonicMs) => MonotonicMs,
): Pending | null {
  const { pending } = entry;
  if (pending === null) return null;
  const left =
    pending.direction === 'up' ||
    lost.sent.some(
      (line) => line.device === entry.id && line.pointId === pending.pointId && line.at >= pending.sentAt,
    );
  return {
    ...pending,
    sentAt: moved(pending.sentAt),
    dueAt: Math.max(movedAhead(pending.dueAt), Math.round(rules.monotonicMs) + GRACE_MS),
    failed: pending.failed || !left,
  };
}

/** Commands may be missing from the record: only evidence says where it is, and it may rise at any moment. */
function doubt(entry: Entry): Entry {
  const full = Math.max(entry.observedWatts, entry.normalLimitWatts ?? 0, entry.pending?.watts ?? 0);
  return {
    ...entry,
    pending: null,
    pointId: null,
    sleptAt: null,
    provenWatts: Math.max(entry.provenWatts, Math.ceil(full * OVERSHOOT)),
  };
}

function moveLimit(
  memory: LimitMemory,
  rules: RecoverRules,
  moved: (at: MonotonicMs) => MonotonicMs,
  movedAhead: (at: MonotonicMs) => MonotonicMs,
): LimitMemory {
  // A set point is taken up afresh: what was made up for belongs to another moment.
  const { drop, firm, follow: _, overSince: __, ...kept } = memory;
  return {
    ...kept,
    ...(firm === undefined ? {} : { firm: { ...firm, since: moved(firm.since) } }),
    drop:
      drop === null
        ? null
        : {
            ...drop,
            startedAt: moved(drop.startedAt),
            deadlineAt: drop.deadlineAt === null ? null : movedAhead(drop.deadlineAt),
            met: 0,
          },
    biasRaisedAt: moved(memory.biasRaisedAt),
    lastShedAt: moved(memory.lastShedAt),
    // What a meter showed to an earlier life is no evidence for this one, however short the pause. Nor is the
    // pause a silence of the meter: its grace begins with this life.
    samples: [],
    goodAt: Math.round(rules.monotonicMs) - rules.meterStaleMs - 1,
    wakesAt: memory.wakesAt.map(moved),
    ...(memory.bounds === undefined ? {} : { bounds: moveBounds(memory.bounds, moved) }),
  };
}
