import type { LimitId, Milliseconds, Watts } from '../../protocols/units.ts';
import { type ClassMemories, ignoredShares } from './class-memory.ts';
import type { DeviceInput } from './ledger.ts';
import { type Drop, type LimitMemory, withIgnored } from './limit-memory.ts';
import type { SolvedPlan } from './solve-plan.ts';
import {
  type ControlRules,
  editionOf,
  limitsBelow,
  type StepContext,
  type StepLimit,
} from './step-context.ts';

/** What a limit sheds beyond need when it falls, for those who will not obey. */
export interface Overshed {
  /** Share of a fall that is ignored in the mean. */
  readonly share: number;
  /** What one of its devices comes to, in the mean: few devices stray further from the share than many. */
  readonly deviceWatts: Watts;
  /** How long the quickest of those at work takes to go down, asleep or to a lower point; infinite where none is. */
  readonly quickestMs: Milliseconds;
}

/**
 * What each limit sheds more than it must: the share of a fall that its devices are expected to ignore, weighted by their
 * watts, never less than configured for those that were never asked; and what says how far a fall may stray from that. Who
 * sleeps cannot fall, and who did not obey is not counted on: those are the last to be asked. Pure.
 */
export function overshedShares(
  limits: readonly StepLimit[],
  inputs: readonly DeviceInput[],
  classes: ClassMemories,
  rules: ControlRules,
): ReadonlyMap<LimitId, Overshed> {
  const edition = editionOf(rules);
  const below = new Map(
    limits.map((limit) => [limit.id, { all: 0, ignored: 0, devices: 0, quickestMs: Infinity }]),
  );
  const shareOf = ignoredShares(classes, rules);
  for (const { facts, entry, device } of inputs) {
    if (device.inventory !== 'present' || entry.quarantine !== null || facts.points.length < 2) continue;
    const at = below.get(facts.limit);
    if (at === undefined) continue;
    if (edition >= 3 && (entry.pointId === 'sleep' || entry.disobeyed > 0)) continue;
    const full = facts.points.at(-1)!.watts;
    at.all += full;
    at.ignored += full * shareOf(facts.className, entry.obeyed === true);
    at.devices += 1;
    if (entry.pointId !== 'sleep')
      at.quickestMs = Math.min(at.quickestMs, facts.sleepMs ?? Infinity, facts.changeMs ?? Infinity);
  }
  const oversheds = new Map<LimitId, Overshed>();
  for (const limit of limits.toReversed()) {
    const { all, ignored, devices, quickestMs } = below.get(limit.id)!;
    const share = all === 0 ? rules.overshedShare : ignored / all;
    oversheds.set(limit.id, {
      share: edition >= 3 ? share : Math.max(rules.overshedShare, share),
      deviceWatts: devices === 0 ? 0 : all / devices,
      quickestMs,
    });
    if (limit.parent === null) continue;
    const parent = below.get(limit.parent)!;
    parent.all += all;
    parent.ignored += ignored;
    parent.devices += devices;
    parent.quickestMs = Math.min(parent.quickestMs, quickestMs);
  }
  return oversheds;
}

/**
 * The limits whose fall begins, with what of it is expected to be ignored: by those who would go down if everybody obeyed, and
 * not by all who are at work, as mostly those are asked again who obeyed before. Empty where no fall begins. Pure.
 */
export function expectFalls(
  context: StepContext,
  limits: Readonly<Record<LimitId, LimitMemory>>,
  mean: ReadonlyMap<LimitId, Overshed>,
  classes: ClassMemories,
  solve: (limits: Readonly<Record<LimitId, LimitMemory>>) => Pick<SolvedPlan, 'plan' | 'answer'>,
): Readonly<Record<LimitId, LimitMemory>> {
  if (editionOf(context.rules) < 3) return {};
  const begun = context.limits.filter(({ id }) => {
    const { drop } = limits[id]!;
    return drop !== null && drop.ignored === undefined;
  });
  if (begun.length === 0) return {};
  const withAll = (ignored: (id: LimitId) => NonNullable<Drop['ignored']>) =>
    Object.fromEntries(begun.map(({ id }) => [id, withIgnored(limits[id]!, ignored(id))]));
  const obeyed = solve({ ...limits, ...withAll(() => ({ share: 0, deviceWatts: 0 })) });
  const shareOf = ignoredShares(classes, context.rules);
  return withAll((id) => ignoredBelow(limitsBelow(context, id), obeyed, shareOf) ?? mean.get(id)!);
}

/** What of the falls below these limits is expected to be ignored, weighted by how far each goes; `null`: nobody falls. */
function ignoredBelow(
  below: ReadonlySet<LimitId>,
  { plan, answer }: Pick<SolvedPlan, 'plan' | 'answer'>,
  shareOf: ReturnType<typeof ignoredShares>,
): NonNullable<Drop['ignored']> | null {
  let fallWatts = 0;
  let ignoredWatts = 0;
  let devices = 0;
  for (const { facts, entry, current } of plan.candidates.values()) {
    const chosen = facts.points.find((point) => point.id === answer.modes[facts.id]);
    const watts = current.watts - (chosen?.watts ?? current.watts);
    if (watts <= 0 || !below.has(facts.limit)) continue;
    fallWatts += watts;
    ignoredWatts += watts * shareOf(facts.className, entry.obeyed === true);
    devices += 1;
  }
  return devices === 0 ? null : { share: ignoredWatts / fallWatts, deviceWatts: fallWatts / devices };
}
