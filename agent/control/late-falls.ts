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
  const late = inputs.filter(isLate);
  if (late.length === 0) return doubted;
  for (const { id } of context.limits) {
    const deadlineAt = deadlineOf(limits[id]!, now);
    if (deadlineAt === null) continue;
    const limitIds = limitsBelow(context, id);
    const ready = inputs.filter((input) => limitIds.has(input.facts.limit) && readyWatts(input) > 0);
    const quickestMs = Math.min(...ready.map(({ facts }) => facts.sleepMs!));
    if (deadlineAt - now - context.rules.meterLagMs > quickestMs + CALL_MS) continue;
    let roomWatts = ready.reduce((sum, input) => sum + readyWatts(input), 0);
    for (const { entry, facts } of late) {
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
function deadlineOf(
  { drop, samples, inForceWatts, follow }: LimitMemory,
  now: MonotonicMs,
): MonotonicMs | null {
  if (drop !== null) return drop.deadlineAt ?? now;
  const latest = samples.at(-1);
  const most = Math.max(inForceWatts, follow?.ceilingWatts ?? 0);
  return latest !== undefined && latest[1] > most ? now : null;
}

/** Asked after the slow end, and at work as before. */
function isLate(input: DeviceInput): boolean {
  const at = slowEndOf(input);
  const { fresh, requestedAt } = input.device;
  return at !== null && fresh && requestedAt !== null && requestedAt >= at;
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
