import type { DeviceId, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Answer } from '../allocation/problem.ts';
import type { DeviceInput } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import type { Plan, PlanFloor, PlanRules } from './plan.ts';
import { pathOf, type StepContext } from './step-context.ts';

/**
 * Firm power gives way to a limit, and to nothing else: only once everything that is not firm is down below that limit, and
 * what flows there with what its nodes may draw is still more. It stays given way until the limit holds the floors again.
 */
export interface FirmMemory {
  /** Since when it is too much though nothing else is left. */
  readonly since: MonotonicMs;
  readonly yields: boolean;
}

/** What is asked of firm power at each limit that floors overrun; others have none. Pure. */
export function firmMemories(
  context: StepContext,
  limits: Readonly<Record<LimitId, LimitMemory>>,
  inputs: readonly DeviceInput[],
  plain: { readonly plan: Plan; readonly answer: Answer },
  now: MonotonicMs,
): ReadonlyMap<LimitId, FirmMemory> {
  const memories = new Map<LimitId, FirmMemory>();
  for (const shortfall of plain.answer.infeasible) {
    if (!('limit' in shortfall)) continue;
    const { limit } = shortfall;
    const before = limits[limit]!.firm;
    const below = inputs.filter((input) => pathOf(context.limits, input.facts.limit).includes(limit));
    if (before?.yields !== true && !isTooMuch(context, limits[limit]!, below, plain.plan, now)) continue;
    const since = before?.since ?? now;
    const { pollMs, meterLagMs } = context.rules;
    memories.set(limit, { since, yields: before?.yields === true || now - since >= pollMs + meterLagMs });
  }
  return memories;
}

/** Nothing else below is left to go down, and the meter, where there is one, does not say that it fits all the same. */
function isTooMuch(
  { rules }: StepContext,
  memory: LimitMemory,
  below: readonly DeviceInput[],
  plan: Plan,
  now: MonotonicMs,
): boolean {
  let mayRise = 0;
  for (const input of below) {
    const candidate = plan.candidates.get(input.facts.id);
    if (candidate === undefined) continue;
    const { current, allowed, entry, device, facts } = candidate;
    if (facts.kind === 'gpu-node') mayRise += Math.max(0, current.watts - (device.powerWatts ?? 0));
    else if (current !== allowed[0] || (entry.pending !== null && !entry.pending.failed)) return false;
  }
  const latest = memory.samples.at(-1);
  if (latest === undefined || now - latest[0] > rules.meterStaleMs) return true;
  const shown = Math.min(...memory.samples.map(([, watts]) => watts));
  return shown + mayRise > memory.inForceWatts;
}

/**
 * Floors without `factor` times what is too much at the limits that they give way to, the least worth per watt first; `null`:
 * nothing firm is left there. Pure.
 */
export function loweredFloors(
  context: StepContext,
  floors: readonly PlanFloor[],
  solved: { readonly plan: Plan; readonly answer: Answer },
  yielding: ReadonlySet<LimitId>,
  factor: number,
): readonly PlanFloor[] | null {
  const { problem } = solved.plan;
  const { modes, infeasible } = solved.answer;
  const deviceOf = new Map(problem.devices.map((device) => [device.id, device]));
  const asked = new Map(problem.floors.map((floor) => [floor.id, floor.watts]));
  /** What one node takes now, and what that earns. */
  const takes = (id: DeviceId): { watts: Watts; dollarsPerHour: number } | undefined =>
    deviceOf.get(id)?.modes.find((mode) => mode.id === modes[id]);
  const lowered = new Map<string, Watts>();
  for (const shortfall of infeasible) {
    if (!('limit' in shortfall) || !yielding.has(shortfall.limit)) continue;
    const under = (id: DeviceId) => {
      const at = deviceOf.get(id)?.limit;
      return at !== undefined && pathOf(context.limits, at).includes(shortfall.limit);
    };
    const worth = (floor: PlanFloor) => {
      const taken = floor.devices.flatMap((id) => takes(id) ?? []);
      return (
        taken.reduce((sum, mode) => sum + mode.dollarsPerHour, 0) /
        Math.max(
          1,
          taken.reduce((sum, mode) => sum + mode.watts, 0),
        )
      );
    };
    let left = shortfall.watts * factor;
    for (const floor of floors
      .filter((one) => (asked.get(one.id) ?? 0) > 0 && one.devices.some(under))
      .sort((a, b) => worth(a) - worth(b) || (a.id < b.id ? -1 : 1))) {
      const firm = lowered.get(floor.id) ?? asked.get(floor.id)!;
      const here = floor.devices.filter(under).reduce((sum, id) => sum + (takes(id)?.watts ?? 0), 0);
      const given = Math.min(left, here, firm);
      lowered.set(floor.id, firm - given);
      left -= given;
    }
  }
  const given = [...lowered].some(([id, watts]) => watts < asked.get(id)!);
  return given ? floors.map((floor) => ({ ...floor, watts: lowered.get(floor.id) ?? floor.watts })) : null;
}

/** The memory of a limit with what is asked of firm power there now. Pure. */
export function withFirm(memory: LimitMemory, firm: FirmMemory | undefined): LimitMemory {
  const { firm: _, ...kept } = memory;
  return firm === undefined ? kept : { ...kept, firm };
}

/**
 * Where firm power goes on giving way though the plan fits: floors are still short there, as nodes may not rise yet. `isShort`
 * says so of the floors below some limits. Pure.
 */
export function firmKept(
  context: StepContext,
  limits: Readonly<Record<LimitId, LimitMemory>>,
  isShort: (limits: ReadonlySet<LimitId>) => boolean,
): ReadonlyMap<LimitId, FirmMemory> {
  const kept = new Map<LimitId, FirmMemory>();
  for (const { id } of context.limits) {
    const { firm } = limits[id]!;
    if (firm?.yields === true && isShort(new Set([id]))) kept.set(id, firm);
  }
  return kept;
}

/** Floors with a node below one of these limits. Pure. */
export function floorsBelow(context: StepContext, limits: ReadonlySet<LimitId>): readonly PlanFloor[] {
  if (limits.size === 0) return [];
  const below = new Set(
    context.devices
      .filter(({ model }) => pathOf(context.limits, model.limit).some((id) => limits.has(id)))
      .map(({ model }) => model.id),
  );
  return context.floors.filter((floor) => floor.devices.some((id) => below.has(id)));
}

/** What floors are short of in an answer, beside what their nodes could draw if they might rise. Pure. */
export function missedFloors(
  floors: readonly PlanFloor[],
  { ceilings }: Pick<PlanRules, 'ceilings'>,
  { candidates }: Plan,
  { modes }: Answer,
): Answer['infeasible'] {
  return floors.flatMap((floor) => {
    let served = 0;
    let most = 0;
    for (const id of floor.devices) {
      const points = candidates.get(id)?.facts.points;
      if (points === undefined) continue;
      const granted = Math.max(ceilings[id] ?? Number.POSITIVE_INFINITY, points[0]!.watts);
      most += points.findLast((point) => point.watts <= granted)!.watts;
      served += points.find((point) => point.id === modes[id])!.watts;
    }
    const watts = Math.ceil(Math.min(floor.watts, most)) - Math.ceil(served);
    return watts > 0 ? [{ floor: floor.id, watts }] : [];
  });
}
