import type { DeviceId, LimitId, Milliseconds, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { DeviceInput } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import { currentPoint } from './plan.ts';
import { editionOf, limitsBelow, type StepContext } from './step-context.ts';

/**
 * Who was told to go down and does not show it at the slow end of its firmware is not yet called disobedient (a command may
 * have been late on its way), but where a limit falls its deadline does not wait for that: others go down in its place.
 */

/** From the decision until the command has arrived, a cycle of waiting included. */
const CALL_MS: Milliseconds = 3000;
/** Late beside the others of its class: never before this, */
const BESIDE_OTHERS_MS: Milliseconds = 30_000;
/** after this part of the slow end, */
const BESIDE_OTHERS_SHARE = 0.5;
/** where so many that were told to sleep with it show it, and this share of all. */
const OTHERS_AT_LEAST = 20;
const OTHERS_SHARE = 0.8;

/** When what it was told to fall to should show, at the slow end; `null`: it was told nothing, or it is over. */
function slowEndOf({ entry, facts }: DeviceInput): MonotonicMs | null {
  const { pending } = entry;
  if (pending === null || pending.failed || pending.direction !== 'down') return null;
  const takesMs = pending.kind === 'sleep' ? facts.sleepMs : facts.changeMs;
  return takesMs === null ? null : pending.sentAt + takesMs;
}

/** Devices to be read now: the slow end of a fall passed after `since`, and nothing has shown it. Pure. */
export function dueForProof(
  inputs: readonly DeviceInput[],
  since: MonotonicMs,
  now: MonotonicMs,
): readonly DeviceId[] {
  return inputs.flatMap((input) => {
    const at = slowEndOf(input);
    return at !== null && at > since && at <= now ? [input.facts.id] : [];
  });
}

/**
 * Watts that falling devices are planned with as if they had not been told: what they drew, where a reading asked for
 * after the slow end does not show the fall, a limit above is not met, and others can make up for it. Where there is a
 * deadline they have until the last moment at which the quickest of the others can still go down in time. Pure.
 */
export function doubtedFalls(
  context: StepContext,
  inputs: readonly DeviceInput[],
  limits: Readonly<Record<LimitId, LimitMemory>>,
  now: MonotonicMs,
): ReadonlyMap<DeviceId, Watts> {
  const doubted = new Map<DeviceId, Watts>();
  if (editionOf(context.rules) < 3) return doubted;
  const late = inputs.filter((input) => isLate(input, slowEndOf(input)));
  let behind: readonly DeviceInput[] | null = null;
  for (const { id } of context.limits) {
    const deadlineAt = deadlineOf(limits[id]!, now);
    if (deadlineAt === null) continue;
    const overdue = isOverdue(limits[id]!, now, context.rules.meterLagMs);
    if (overdue) behind ??= lateBesideOthers(inputs);
    const doubtful = overdue ? [...late, ...behind!] : late;
    if (doubtful.length === 0) continue;
    const limitIds = limitsBelow(context, id);
    const ready = inputs.filter((input) => limitIds.has(input.facts.limit) && readyWatts(input) > 0);
    const quickestMs = Math.min(...ready.map(({ facts }) => facts.sleepMs!));
    if (deadlineAt - now - context.rules.meterLagMs > quickestMs + CALL_MS) continue;
    let roomWatts = ready.reduce((sum, input) => sum + readyWatts(input), 0);
    for (const { entry, facts } of doubtful) {
      if (doubted.has(facts.id) || !limitIds.has(facts.limit)) continue;
      const { fromWatts, watts } = entry.pending!;
      if (fromWatts - watts > roomWatts) continue;
      roomWatts -= fromWatts - watts;
      doubted.set(facts.id, fromWatts);
    }
  }
  return doubted;
}

/**
 * By when what is too much must be gone: an order's deadline, at once where nobody named one, `null` where nothing is: the
 * limit did not fall, or is met, and its meter shows no more than it may carry.
 */
function deadlineOf(memory: LimitMemory, now: MonotonicMs): MonotonicMs | null {
  if (memory.drop !== null) return memory.drop.deadlineAt ?? now;
  return isMeasuredOver(memory) ? now : null;
}

/** Its meter shows more than it may carry, and if there was a deadline, also what was there at that. */
function isOverdue(memory: LimitMemory, now: MonotonicMs, meterLagMs: Milliseconds): boolean {
  const deadlineAt = memory.drop?.deadlineAt ?? null;
  return isMeasuredOver(memory) && (deadlineAt === null || now - deadlineAt >= meterLagMs + CALL_MS);
}

function isMeasuredOver({ samples, inForceWatts, follow }: LimitMemory): boolean {
  const latest = samples.at(-1);
  return latest !== undefined && latest[1] > Math.max(inForceWatts, follow?.ceilingWatts ?? 0);
}

/** Asked after the time by which it should show, and at work as before. */
function isLate({ device }: DeviceInput, at: MonotonicMs | null): boolean {
  const { fresh, requestedAt } = device;
  return at !== null && fresh && requestedAt !== null && requestedAt >= at;
}

/**
 * Who still works as before well before the slow end of its firmware, while nearly all of its class that were told to sleep
 * in the same moment show that they do: one that ignores orders much sooner than one that is slow.
 */
function lateBesideOthers(inputs: readonly DeviceInput[]): readonly DeviceInput[] {
  const working = inputs.filter(
    (input) => slowEndOf(input) !== null && input.entry.pending!.kind === 'sleep',
  );
  const asleep = inputs.filter(
    ({ entry, device }) =>
      entry.pointId === 'sleep' && entry.pending === null && device.inventory === 'present' && device.fresh,
  );
  const known = new Map<string, boolean>();
  return working.filter((input) => {
    const { className, sleepMs } = input.facts;
    const { sentAt } = input.entry.pending!;
    if (!isLate(input, sentAt + Math.max(BESIDE_OTHERS_MS, sleepMs! * BESIDE_OTHERS_SHARE))) return false;
    const key = `${className} ${sentAt}`;
    let others = known.get(key);
    if (others === undefined) {
      const toldWithIt = ({ entry, facts }: DeviceInput) =>
        facts.className === className && Math.abs((entry.sleptAt ?? -Infinity) - sentAt) <= CALL_MS;
      const shown = asleep.filter(toldWithIt).length;
      const told = shown + working.filter(toldWithIt).length;
      others = shown >= OTHERS_AT_LEAST && shown >= told * OTHERS_SHARE;
      known.set(key, others);
    }
    return others;
  });
}

/** Watts that a device which was told nothing could be asked for. */
function readyWatts(input: DeviceInput): Watts {
  const { entry, facts, device } = input;
  const [lowest] = facts.points;
  const point = currentPoint(input);
  const isFree = device.inventory === 'present' && device.fresh && entry.quarantine === null;
  if (!isFree || entry.pending !== null || entry.disobeyed > 0 || facts.sleepMs === null) return 0;
  return lowest?.kind !== 'sleep' || point?.kind !== 'run' ? 0 : point.watts - lowest.watts;
}
