import type { DeviceId, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Solver } from '../allocation/planner.ts';
import type { Problem } from '../allocation/problem.ts';
import { solveProblem } from '../allocation/solve.ts';
import type { SetPointInForce } from '../orders/set-points.ts';
import { correctBias } from './bias.ts';
import { judgeCaps } from './cap-proof.ts';
import {
  type ClassMemories,
  learnClasses,
  learnObedience,
  learntTimes,
  withLearntTimes,
} from './class-memory.ts';
import type { Decision } from './decision.ts';
import { favours, rememberTenants, type TenantMemories } from './fairness.ts';
import { withFirm } from './firm-power.ts';
import { followSetPoints } from './follow.ts';
import { commandsOf } from './gate.ts';
import { doubtedFalls } from './late-falls.ts';
import {
  type DeviceInput,
  type Entry,
  endedRise,
  type Finding,
  learn,
  NEW_ENTRY,
  withoutRise,
} from './ledger.ts';
import { type LimitMemory, newLimitMemory, updateLimit } from './limit-memory.ts';
import { type NodeInput, sumNodes } from './node-sums.ts';
import type { Observation, ObservedDevice } from './observation.ts';
import { expectFalls, overshedShares } from './overshed.ts';
import type { PlanLimit, PlanRules } from './plan.ts';
import { planLimit } from './plan-limit.ts';
import { type DeviceFacts, type Economics, gpuNodeFacts, minerFacts } from './points.ts';
import { learnRejects, withKnownRejects } from './rejects.ts';
import { solvePlan } from './solve-plan.ts';
import {
  type ControlRules,
  editionOf,
  type Permitted,
  RAMP_BUCKET_MS,
  type StepContext,
  type StepDevice,
} from './step-context.ts';
import { blindWatts, plannedUnseen } from './unseen.ts';

/**
 * One control cycle as a pure function: what was known, what is seen, what is asked -> what is known now and
 * what to command. The journal keeps its inputs, and `replay` runs it again.
 */

/** What is asked at this moment. */
export interface StepOrders extends Permitted {
  readonly economics: Economics;
  /** Limit in force per node (at most its rating), and by when a fallen one must be met. */
  readonly inForce: Readonly<
    Record<
      LimitId,
      { readonly watts: Watts; readonly deadlineAt: MonotonicMs | null; readonly setPoint?: SetPointInForce }
    >
  >;
  /** Nothing may rise: no journal, or an operator said so. */
  readonly shedOnly: boolean;
  /** What people said since the last cycle. */
  readonly interventions: readonly Intervention[];
  /** What a longer search found for this site a while ago, mode by device: taken where it holds now and earns more. */
  readonly polished?: Readonly<Record<DeviceId, string>>;
}

/** Something that a person says about one device. */
export interface Intervention {
  /** `release` ends a quarantine, `quarantine` begins one, `forget` takes it for a new device at its worst. */
  readonly kind: 'release' | 'quarantine' | 'forget';
  readonly device: DeviceId;
  readonly why: string;
}

/** Everything that control remembers. Plain data. */
export interface ControlState {
  readonly entries: Readonly<Record<DeviceId, Entry>>;
  readonly limits: Readonly<Record<LimitId, LimitMemory>>;
  /** `starting` until every controlled limit has been seen by fresh evidence: nothing rises before. */
  readonly phase: 'starting' | 'normal';
  readonly rampTokensWatts: Watts;
  /** What may fall for money alone; absent where that has no ramp. */
  readonly fallTokensWatts?: Watts;
  readonly rampAt: MonotonicMs;
  /** What was learnt of each class of devices. */
  readonly classes: ClassMemories;
  /** What tenants gave up who share it fairly; absent where there are none. */
  readonly tenants?: TenantMemories;
}

export interface StepResult {
  readonly state: ControlState;
  readonly decision: Decision;
  readonly findings: readonly Finding[];
  readonly facts: ReadonlyMap<DeviceId, DeviceFacts>;
  /** Every device as this cycle saw it, before anything was commanded: what the sums were made of. */
  readonly inputs: readonly DeviceInput[];
  /** What was to be chosen from, and the first answer's certified gap: for a longer search elsewhere. */
  readonly search: { readonly problem: Problem; readonly gap: number | null };
}

export const INITIAL_STATE: ControlState = {
  entries: {},
  limits: {},
  phase: 'starting',
  rampTokensWatts: 0,
  rampAt: 0,
  classes: {},
};

/**
 * Decides one cycle. Pure: the same arguments always give the same result. `solve` may remember the problem before
 * (a planner does, to be fast); whatever it remembers, its answers are those of `solveProblem`. `solveMoment` is asked about
 * the moment where set points are followed: a planner of its own, as its problems are not those of the plan.
 */
export function step(
  context: StepContext,
  before: ControlState,
  observation: Observation,
  orders: StepOrders,
  solve: Solver = solveProblem,
  solveMoment: Solver = solve,
): StepResult {
  const { now } = observation;
  const findings: Finding[] = [];
  const learnt = learnAll(context, before, observation, orders, findings);
  const classes = learnClasses(before.classes, before.entries, learnt);
  const overshed = overshedShares(context.limits, learnt, classes, context.rules);
  const meterOf = new Map(observation.meters.map((meter) => [meter.limit, meter]));
  const limits: Record<string, LimitMemory> = {};
  for (const limit of context.limits) {
    limits[limit.id] = updateLimit(
      before.limits[limit.id] ?? newLimitMemory(limit.ratingWatts, now - context.rules.meterStaleMs - 1),
      {
        limit,
        inForce: orders.inForce[limit.id] ?? { watts: limit.ratingWatts, deadlineAt: null },
        meter: meterOf.get(limit.id) ?? null,
        metered: limit.metered,
        now,
        rules: context.rules,
      },
    );
  }
  const inputs = judgeCaps(context, limits, learnt, now, findings);
  const unseen = plannedUnseen(context, inputs, limits, now);
  const sums = sumNodes(nodeInputs(context, limits, now), inputs, {
    driftShare: context.rules.driftShare,
    sleepersAtLeast: 2,
    ...(editionOf(context.rules) >= 3 ? { fewSleepers: FEW_SLEEPERS } : {}),
    meterLagMs: context.rules.meterLagMs,
    now,
    gone: (id) => unseen.get(id) === 0,
    seesIdle: editionOf(context.rules) >= 2,
  });
  const unasked = correctBias(context, limits, sums, inputs, unseen, now);
  const phase =
    before.phase === 'normal' || evidenceComplete(context, limits, observation, now) ? 'normal' : 'starting';
  const tenants = tenantsNow(context, before, inputs, now);
  const blind = blindWatts(context, inputs, limits, now);
  const planLimits = (memories: Readonly<Record<string, LimitMemory>>): PlanLimit[] =>
    context.limits.map((limit) =>
      planLimit(context.rules, limit, memories[limit.id]!, {
        reservedWatts: orders.reservedWatts[limit.id] ?? 0,
        blindWatts: blind.get(limit.id) ?? null,
        overshed: overshed.get(limit.id)!,
        unaskedWatts: unasked.get(limit.id),
        now,
      }),
    );
  const planRules: PlanRules = {
    now,
    ceilings: orders.ceilings,
    shedOnly: orders.shedOnly || phase === 'starting',
    dwellMs: context.rules.dwellMs,
    leastSleepMs: context.rules.leastSleepMs,
    wakesPerHour: context.rules.wakesPerHour,
    meterLagMs: context.rules.meterLagMs,
    unseen,
    doubted: doubtedFalls(context, inputs, limits, now),
    favours: tenants.favours,
  };
  const solved = (memories: Readonly<Record<string, LimitMemory>>) =>
    solvePlan(
      context,
      orders,
      memories,
      planLimits(memories),
      inputs,
      planRules,
      searchAsRuled(context, solve),
    );
  Object.assign(limits, expectFalls(context, limits, overshed, classes, solved));
  const { plan, answer, gap, shortfalls, firm } = solved(limits);
  for (const { id } of context.limits) limits[id] = withFirm(limits[id]!, firm.get(id));
  const following = followSetPoints(context, limits, plan, answer, searchAsRuled(context, solveMoment));
  for (const [id, unusedWatts] of following?.unused ?? [])
    limits[id] = { ...limits[id]!, follow: { ...limits[id]!.follow!, unusedWatts } };
  const size = siteWatts(context, orders);
  const elapsedMs = before.rampAt === 0 ? 0 : now - before.rampAt;
  const { rampPercentPerMinute, fallRampPercentPerMinute } = context.rules;
  const fallTokensWatts =
    fallRampPercentPerMinute === undefined
      ? 0
      : refill(before.fallTokensWatts ?? 0, size, fallRampPercentPerMinute, elapsedMs);
  const gated = commandsOf({
    context,
    plan,
    answer: following === null ? answer : { ...answer, modes: following.modes },
    following,
    limits,
    sums,
    inputs,
    orders,
    now,
    rampTokensWatts: refill(before.rampTokensWatts, size, rampPercentPerMinute, elapsedMs),
    fallTokensWatts,
  });
  const entries: Record<string, Entry> = {};
  for (const input of inputs) entries[input.facts.id] = gated.entries.get(input.facts.id) ?? input.entry;
  for (const id of gated.shedLimits) limits[id] = { ...limits[id]!, lastShedAt: now };
  for (const [id, at] of gated.wakesAt) limits[id] = { ...limits[id]!, wakesAt: at };
  return {
    state: {
      entries,
      limits,
      phase,
      rampTokensWatts: gated.rampTokensWatts,
      ...(gated.fallTokensWatts === null ? {} : { fallTokensWatts: gated.fallTokensWatts }),
      rampAt: now,
      classes,
      ...tenants.kept,
    },
    decision: {
      at: now,
      status: shortfalls.length > 0 ? 'infeasible' : answer.status,
      dollarsPerHour: answer.dollarsPerHour,
      // Where something cannot be met there is nothing to compare with.
      upperBoundDollarsPerHour: shortfalls.length > 0 ? null : answer.upperBoundDollarsPerHour,
      gap: shortfalls.length > 0 ? null : answer.gap,
      binding: answer.limits
        .filter((limit) => limit.dollarsPerKwh > 0)
        .map((limit) => ({ limit: limit.id, dollarsPerKwh: limit.dollarsPerKwh })),
      commands: gated.commands,
      heldBack: gated.heldBack,
      ...(gated.heldFalls === null ? {} : { heldFalls: gated.heldFalls }),
      shortfalls: shortfalls.map((shortfall) => ({
        target: 'limit' in shortfall ? shortfall.limit : shortfall.floor,
        watts: Math.ceil(shortfall.watts),
      })),
      sums: [...sums.values()],
    },
    findings,
    facts: new Map(inputs.map((input) => [input.facts.id, input.facts])),
    inputs,
    search: { problem: plan.problem, gap },
  };
}

/** What tenants who share fairly gave up until now, and what that is worth to each of their devices. */
function tenantsNow(
  { tenants, devices }: StepContext,
  before: ControlState,
  inputs: readonly DeviceInput[],
  now: MonotonicMs,
): { kept: { tenants?: TenantMemories }; favours: ReadonlyMap<DeviceId, number> } {
  const tenantOf = new Map<DeviceId, string>();
  for (const { model } of devices)
    if (model.tenant !== null && tenants?.[model.tenant]?.fair === true) tenantOf.set(model.id, model.tenant);
  if (tenants === undefined || tenantOf.size === 0) return { kept: {}, favours: new Map() };
  const elapsedMs = before.rampAt === 0 ? 0 : now - before.rampAt;
  const kept = rememberTenants(before.tenants ?? {}, tenants, inputs, tenantOf, elapsedMs);
  const worth = favours(kept);
  return {
    kept: { tenants: kept },
    favours: new Map([...tenantOf].map(([id, tenant]) => [id, worth.get(tenant)!])),
  };
}

/** The search as the edition of the journal that asks for it has it. */
function searchAsRuled({ limits, rules }: StepContext, solve: Solver): Solver {
  const edition = editionOf(rules);
  // Without a meter at the breaker nobody sees one device go down, so another could wait for its room for ever.
  const metered = limits.filter((limit) => limit.metered).map((limit) => limit.id);
  const wholeBreakers = edition >= 2 && new Set(metered);
  return (problem, options) =>
    solve(problem, {
      ...options,
      wholeBreakers,
      mendFloors: edition >= 2,
      repair: edition >= 3,
      boundPerLimit: edition >= 3,
    });
}

function learnAll(
  context: StepContext,
  before: ControlState,
  observation: Observation,
  orders: StepOrders,
  findings: Finding[],
): DeviceInput[] {
  const observed = new Map(observation.devices.map((device) => [device.id, device]));
  const times = learntTimes(before.classes);
  return context.devices.flatMap((stepDevice): DeviceInput[] => {
    const device = observed.get(stepDevice.model.id);
    if (device === undefined) return [];
    const known = before.entries[device.id];
    const remembers = editionOf(context.rules) >= 3;
    const counted = remembers ? withKnownRejects(device, known, observation.now) : device;
    const facts = withLearntTimes(factsOf(context, stepDevice, counted, known, orders), times);
    const entry: Entry = known ?? { ...NEW_ENTRY, id: device.id, provenWatts: facts.nameplateWatts };
    const told = intervene(entry, facts, orders.interventions, observation.now);
    const learnt = learn(told, facts, device, observation.now, findings);
    const risen = knownRise(context.rules, learnt, device);
    const next = remembers ? learnRejects(learnObedience(risen, known), device, observation.now) : risen;
    return [{ entry: next, facts, device }];
  });
}

function knownRise(rules: ControlRules, entry: Entry, device: ObservedDevice): Entry {
  if (!rules.wholeRises) return withoutRise(entry);
  const edition = editionOf(rules);
  return edition >= 2 ? endedRise(entry, device, edition >= 3) : entry;
}

function intervene(
  entry: Entry,
  facts: DeviceFacts,
  interventions: readonly Intervention[],
  now: MonotonicMs,
): Entry {
  let next = entry;
  for (const { kind, device, why } of interventions) {
    if (device !== entry.id) continue;
    if (kind === 'release') next = { ...next, quarantine: null, disobeyed: 0, roseAt: null };
    else if (kind === 'quarantine') next = { ...next, quarantine: { since: now, why } };
    else
      next = { ...NEW_ENTRY, id: entry.id, provenWatts: Math.max(facts.nameplateWatts, entry.provenWatts) };
  }
  return next;
}

function factsOf(
  context: StepContext,
  stepDevice: StepDevice,
  device: ObservedDevice,
  entry: Entry | undefined,
  orders: StepOrders,
): DeviceFacts {
  const { model } = stepDevice;
  const tenantPrice = context.tenants?.[model.tenant ?? '']?.energyDollarsPerMwh ?? null;
  const economics =
    tenantPrice === null ? orders.economics : { ...orders.economics, energyDollarsPerMwh: tenantPrice };
  if (model.kind === 'gpu-node') {
    return gpuNodeFacts(
      model,
      device,
      stepDevice.hostWatts,
      { dollarsPerGpuHour: stepDevice.dollarsPerGpuHour },
      economics,
      stepDevice.cappable,
      stepDevice.capBounds,
    );
  }
  const memory = {
    observedWatts: entry?.observedWatts ?? 0,
    normalLimitWatts: entry?.normalLimitWatts ?? null,
  };
  return minerFacts(model, device, memory, economics, context.rules.shareLimits);
}

function nodeInputs(
  context: StepContext,
  limits: Readonly<Record<string, LimitMemory>>,
  now: MonotonicMs,
): NodeInput[] {
  return context.limits.map((limit) => {
    const memory = limits[limit.id]!;
    const latest = memory.samples.at(-1);
    const fresh = latest !== undefined && now - latest[0] <= context.rules.meterStaleMs;
    return {
      limit: limit.id,
      parent: limit.parent,
      gain: limit.gain,
      loadWorstWatts: limit.loadWorstWatts,
      // The highest of the last poll interval: device readings may be that much older than the meter's.
      measured: fresh
        ? {
            watts: latest[1],
            highestWatts: Math.max(...memory.samples.map(([, watts]) => watts)),
            sampledAt: latest[0],
          }
        : null,
    };
  });
}

/** Every controlled limit with a meter was read, and every device answered or is known to be silent. */
function evidenceComplete(
  context: StepContext,
  limits: Readonly<Record<string, LimitMemory>>,
  observation: Observation,
  now: MonotonicMs,
): boolean {
  for (const limit of context.limits) {
    if (
      limit.metered &&
      limit.authority !== 'observe' &&
      now - limits[limit.id]!.goodAt > context.rules.meterStaleMs
    )
      return false;
  }
  return observation.devices.every((device) => device.requestedAt !== null || device.failure !== null);
}

/** Of so many sleepers, at one restart in a hundred hours each, two come back within one minute about once a year. */
const FEW_SLEEPERS = 10;

/** What the site may draw by its limits in force: ramps are shares of it. */
function siteWatts(context: StepContext, orders: StepOrders): Watts {
  return context.limits
    .filter((limit) => limit.parent === null)
    .reduce(
      (sum, root) => sum + Math.min(root.ratingWatts, orders.inForce[root.id]?.watts ?? root.ratingWatts),
      0,
    );
}

/** A short bucket: in no minute does more than the ramp and a few seconds of it go through. */
function refill(tokensWatts: Watts, size: Watts, percentPerMinute: number, elapsedMs: number): Watts {
  const perMs = (size * percentPerMinute) / 100 / 60_000;
  const largest = perMs * RAMP_BUCKET_MS;
  return Math.min(Math.max(largest, 0), tokensWatts + perMs * elapsedMs);
}
