import type { DeviceId, LimitId } from '../../protocols/units.ts';
import { withoutImpossible } from '../allocation/least-harm.ts';
import type { Solver } from '../allocation/planner.ts';
import type { Answer } from '../allocation/problem.ts';
import {
  type FirmMemory,
  firmKept,
  firmMemories,
  floorsBelow,
  loweredFloors,
  missedFloors,
} from './firm-power.ts';
import { levelJobs } from './job-caps.ts';
import type { DeviceInput } from './ledger.ts';
import type { LimitMemory } from './limit-memory.ts';
import { buildPlan, type Plan, type PlanFloor, type PlanLimit, type PlanRules } from './plan.ts';
import { editionOf, type Permitted, type StepContext } from './step-context.ts';

/**
 * The search of one cycle, where a gap is left: some milliseconds, enough for a few per cent with the coarsest blocks.
 * The gap is certified either way.
 */
export const CYCLE_SEARCH = { workUnits: 60_000, smallGap: 0.0001, smallGapUnits: 20_000 } as const;

/** What hand-overs allow, and what a longer search found a while ago. */
export interface PlanOrders extends Permitted {
  readonly polished?: Readonly<Record<DeviceId, string>>;
}

interface Solved {
  readonly plan: Plan;
  readonly answer: Answer;
  readonly gap: number | null;
  /** What nothing can meet: the answer is the best with that left out. */
  readonly shortfalls: Answer['infeasible'];
}

/** What was decided for one cycle, and what is asked of firm power where it overruns a limit. */
export interface SolvedPlan extends Solved {
  readonly firm: ReadonlyMap<LimitId, FirmMemory>;
}

/** Firm power gives way by ever more of what is too much: steps of devices may be larger than that. */
const GIVE_WAY_ROUNDS = 12;

/**
 * What is granted to AI is planned like a floor, so that mining does not take what was freed for it. It gives
 * way where a limit has just fallen, and where it cannot be met: grants are then withdrawn, not insisted on. Firm power
 * gives way where nothing else is left. What then still cannot be met anywhere puts to sleep what hangs there, and
 * nothing else.
 */
export function solvePlan(
  context: StepContext,
  orders: PlanOrders,
  limits: Readonly<Record<LimitId, LimitMemory>>,
  planLimits: readonly PlanLimit[],
  inputs: readonly DeviceInput[],
  rules: PlanRules,
  solver: Solver,
): SolvedPlan {
  const solve = (floors: readonly PlanFloor[], without: Answer | null = null): Solved => {
    const built = buildPlan(planLimits, inputs, floors, rules);
    const plan = without === null ? built : { ...built, problem: withoutImpossible(built.problem, without) };
    const first = solver(plan.problem, { ...CYCLE_SEARCH, known: orders.polished ?? null });
    const gap = first.status === 'feasible' ? first.gap : null;
    const answer = levelJobs(plan.problem, first, context.jobs ?? [], solver);
    return { plan, answer, gap, shortfalls: (without ?? answer).infeasible };
  };
  const floors = grantedFloors(context, orders, limits, inputs);
  const granted = solve(floors);
  const plain =
    granted.answer.status === 'infeasible' && floors !== context.floors ? solve(context.floors) : granted;
  if (editionOf(context.rules) < 3) return { ...plain, firm: new Map() };
  const missed = (by: ReadonlySet<LimitId>, { plan, answer }: Solved) =>
    missedFloors(floorsBelow(context, by), rules, plan, answer);
  if (plain.answer.status !== 'infeasible') {
    const kept = firmKept(context, limits, (by) => missed(by, plain).length > 0);
    return kept.size === 0
      ? { ...plain, firm: kept }
      : { ...plain, shortfalls: missed(new Set(kept.keys()), plain), firm: kept };
  }
  const firm = firmMemories(context, limits, inputs, plain, rules.now);
  const yielding = new Set([...firm].filter(([, { yields }]) => yields).map(([id]) => id));
  const giveWay = (asked: readonly PlanFloor[]): Lowered => {
    let now: Lowered = { floors: asked, solved: asked === floors ? granted : plain };
    for (let round = 0; round < GIVE_WAY_ROUNDS && now.solved.answer.status === 'infeasible'; round += 1) {
      const lowered = loweredFloors(context, now.floors, now.solved, yielding, 2 ** round);
      if (lowered === null) break;
      now = { floors: lowered, solved: solve(lowered) };
    }
    return now;
  };
  const least = giveWay(context.floors);
  const isMet = least.solved.answer.status !== 'infeasible';
  for (const asked of new Set([floors, context.floors])) {
    const rest = asked === context.floors ? least : giveWay(asked);
    if (isMet && rest.solved.answer.status !== 'infeasible')
      return { ...rest.solved, shortfalls: missed(yielding, rest.solved), firm };
    const without = solve(rest.floors, least.solved.answer);
    if (!isMet && without.answer.status !== 'infeasible') {
      const over = least.solved.answer.infeasible;
      if (yielding.size === 0) return { ...without, shortfalls: over, firm };
      const limitsOver = over.filter((shortfall) => 'limit' in shortfall);
      return { ...without, shortfalls: [...limitsOver, ...missed(yielding, without)], firm };
    }
  }
  return { ...plain, firm };
}

interface Lowered {
  readonly floors: readonly PlanFloor[];
  readonly solved: Solved;
}

function grantedFloors(
  context: StepContext,
  orders: PlanOrders,
  limits: Readonly<Record<string, LimitMemory>>,
  inputs: readonly DeviceInput[],
): readonly PlanFloor[] {
  const falling = context.limits.some((limit) => limits[limit.id]!.drop !== null);
  if (falling || context.floors.every((floor) => floor.devices.every((id) => !(id in orders.ceilings))))
    return context.floors;
  const pointsOf = new Map(inputs.map((input) => [input.facts.id, input.facts.points]));
  return context.floors.map((floor) => {
    let watts = 0;
    for (const id of floor.devices) {
      const ceiling = orders.ceilings[id];
      if (ceiling === undefined) continue;
      const allowed = (pointsOf.get(id) ?? []).filter((point) => point.watts <= ceiling);
      watts += allowed.at(-1)?.watts ?? 0;
    }
    return { ...floor, watts: Math.max(floor.watts, watts) };
  });
}
