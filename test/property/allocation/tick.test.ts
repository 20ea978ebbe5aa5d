import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPlanner } from '../../../agent/allocation/planner.ts';
import type { Problem, ProblemDevice } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import {
  chosenMode,
  createTick,
  runTick,
  type Tick,
  type TickDecision,
  updateDevice,
  updateEnergyPrice,
  updateFloor,
  updateLimit,
} from '../../../agent/allocation/tick.ts';
import { FAMILIES, nestedFloors, randomSite } from '../../support/allocation-problems.ts';
import { cases as casesOf } from '../../support/cases.ts';

const SEED = 20_261;
const WORK = 60_000;

interface Step {
  readonly devices: readonly number[];
  readonly donor: number;
  readonly limit: number;
  readonly factor: number;
  readonly price: number;
  readonly extraModes: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  devices: fc.array(fc.nat(), { maxLength: 6 }),
  donor: fc.nat(),
  limit: fc.nat(),
  factor: fc.double({ min: 0.8, max: 1.2, noNaN: true }),
  price: fc.double({ min: 0, max: 0.12, noNaN: true }),
  extraModes: fc.nat({ max: 4 }),
});

describe(`the warm tick (fast-check seed ${SEED})`, () => {
  test('agrees with a fresh one to the last bit after any changes', () => {
    const cases = fc.record({
      family: fc.constantFrom(...FAMILIES),
      nested: fc.boolean(),
      siteSeed: fc.integer({ min: 1, max: 1000 }),
      deviceCount: fc.integer({ min: 3, max: 60 }),
      steps: fc.array(step, { minLength: 1, maxLength: 5 }),
    });
    fc.assert(
      fc.property(cases, ({ family, nested, siteSeed, deviceCount, steps }) => {
        const site = randomSite({ family, deviceCount, seed: siteSeed });
        let problem = nested ? nestedFloors(site, siteSeed) : site;
        const warm = createTick(problem, { energyDollarsPerKwh: 0 });
        runTick(warm, { workUnits: WORK });
        for (const change of steps) {
          problem = applyBoth(warm, problem, change);
          const fresh = createTick(problem, { energyDollarsPerKwh: change.price });
          const a = runTick(warm, { workUnits: WORK });
          const b = runTick(fresh, { workUnits: WORK });
          expect(withoutChanges(a)).toEqual(withoutChanges(b));
          for (const device of problem.devices) {
            expect(chosenMode(warm, device.id)).toBe(chosenMode(fresh, device.id));
          }
        }
      }),
      { seed: SEED, numRuns: casesOf(150) },
    );
  });

  test('says only what changed', () => {
    const problem = randomSite({ family: 'plain', deviceCount: 80, seed: 4 });
    const tick = createTick(problem, { energyDollarsPerKwh: 0 });
    expect(runTick(tick, { workUnits: WORK }).changes).toHaveLength(80);
    expect(runTick(tick, { workUnits: WORK }).changes).toEqual([]);
    updateLimit(tick, 'site', { capacityWatts: Math.round(problem.limits[0]!.capacityWatts * 0.8) });
    const { changes } = runTick(tick, { workUnits: WORK });
    expect(changes.length).toBeGreaterThan(0);
    expect(changes.length).toBeLessThan(80);
    for (const change of changes) expect(change.from).not.toBe(change.to);
  });

  test('without an energy price it is the problem file solved', () => {
    const problem = randomSite({ family: 'gains', deviceCount: 60, seed: 9 });
    const answer = solveProblem(problem, { workUnits: WORK });
    const decision = runTick(createTick(problem, { energyDollarsPerKwh: 0 }), { workUnits: WORK });
    expect(decision.dollarsPerHour).toBe(answer.dollarsPerHour);
    expect(decision.boundDollarsPerHour).toBe(answer.upperBoundDollarsPerHour);
  });

  test('an energy price is the same as dearer modes', () => {
    const problem = randomSite({ family: 'gains', deviceCount: 40, seed: 3 });
    const gainOf = (id: string | null): number => {
      const limit = problem.limits.find((one) => one.id === id);
      return limit === undefined ? 1 : limit.gain * gainOf(limit.parent);
    };
    const dearer: Problem = {
      ...problem,
      devices: problem.devices.map((device) => ({
        ...device,
        modes: device.modes.map((mode) => ({
          ...mode,
          dollarsPerHour: mode.dollarsPerHour - (0.05 / 1000) * gainOf(device.limit) * mode.watts,
        })),
      })),
    };
    const decision = runTick(createTick(problem, { energyDollarsPerKwh: 0.05 }), { workUnits: 2_000_000 });
    const answer = solveProblem(dearer, { workUnits: 2_000_000 });
    expect(decision.boundDollarsPerHour).toBeCloseTo(answer.upperBoundDollarsPerHour!, 9);
    expect(decision.dollarsPerHour).toBeCloseTo(answer.dollarsPerHour, 9);
  });
});

describe(`the planner (fast-check seed ${SEED})`, () => {
  test('answers problem after problem as if each were the first', () => {
    const cases = fc.record({
      family: fc.constantFrom(...FAMILIES),
      nested: fc.boolean(),
      siteSeed: fc.integer({ min: 1, max: 1000 }),
      deviceCount: fc.integer({ min: 3, max: 60 }),
      steps: fc.array(fc.record({ step, drop: fc.boolean(), restrict: fc.nat() }), {
        minLength: 1,
        maxLength: 6,
      }),
    });
    fc.assert(
      fc.property(cases, ({ family, nested, siteSeed, deviceCount, steps }) => {
        const site = randomSite({ family, deviceCount, seed: siteSeed });
        let problem = nested ? nestedFloors(site, siteSeed) : site;
        const plan = createPlanner();
        expect(plan(problem, { workUnits: WORK })).toEqual(solveProblem(problem, { workUnits: WORK }));
        for (const { step: change, drop, restrict } of steps) {
          problem = applyBoth(createTick(problem, { energyDollarsPerKwh: 0 }), problem, change);
          const pick = restrict % problem.devices.length;
          problem = {
            ...problem,
            devices: problem.devices.map((device, index) =>
              index === pick && device.current !== null ? { ...device, allowed: [device.current] } : device,
            ),
          };
          if (drop && problem.floors.length === 0 && problem.devices.length > 3)
            problem = { ...problem, devices: problem.devices.slice(1) };
          const answer = plan(problem, { workUnits: WORK });
          expect(answer).toEqual(solveProblem(problem, { workUnits: WORK }));
        }
      }),
      { seed: SEED, numRuns: casesOf(120) },
    );
  });
});

function withoutChanges({ changes: _, ...rest }: TickDecision): Omit<TickDecision, 'changes'> {
  return rest;
}

/** Makes the same change to the warm tick and to the problem that a fresh one starts from. */
function applyBoth(tick: Tick, before: Problem, change: Step): Problem {
  let problem = before;
  const donor = problem.devices[change.donor % problem.devices.length]!;
  for (const pick of change.devices) {
    const old = problem.devices[pick % problem.devices.length]!;
    const device: ProblemDevice = { ...donor, id: old.id, limit: old.limit, modes: moreModes(donor, change) };
    updateDevice(tick, device);
    problem = { ...problem, devices: problem.devices.map((one) => (one.id === old.id ? device : one)) };
  }
  const limit = problem.limits[change.limit % problem.limits.length]!;
  const capacityWatts = Math.round(limit.capacityWatts * change.factor);
  updateLimit(tick, limit.id, { capacityWatts, fixedWatts: limit.fixedWatts + 10 });
  problem = {
    ...problem,
    limits: problem.limits.map((one) =>
      one.id === limit.id ? { ...one, capacityWatts, fixedWatts: one.fixedWatts + 10 } : one,
    ),
    floors: problem.floors.map((floor) => ({ ...floor, watts: floor.watts * Math.min(1, change.factor) })),
  };
  for (const floor of problem.floors) updateFloor(tick, floor.id, floor.watts);
  updateEnergyPrice(tick, change.price);
  return problem;
}

function moreModes(device: ProblemDevice, change: Step): ProblemDevice['modes'] {
  const top = device.modes.at(-1)!;
  const extra = Array.from({ length: change.extraModes }, (_, m) => ({
    id: `extra-${device.modes.length}-${m}`,
    watts: top.watts + 50 * (m + 1),
    dollarsPerHour: top.dollarsPerHour + 0.001 * (m + 1),
  }));
  return [...device.modes, ...extra];
}
