import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { createBench, decide } from '../../../agent/allocation/decide.ts';
import { choiceValue, createChoice, isFeasible, roundDown } from '../../../agent/allocation/fill.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import { dualBound } from '../../../agent/allocation/prices.ts';
import type { Problem, ProblemDevice } from '../../../agent/allocation/problem.ts';
import { computeBaseSlack, createWorkspace } from '../../../agent/allocation/sweep.ts';
import {
  createTick,
  decideTick,
  updateDevice,
  updateEnergyPrice,
  updateLimit,
} from '../../../agent/allocation/tick.ts';
import { type Random, seededRandom } from '../../../protocols/random.ts';
import { cases as casesOf } from '../../support/cases.ts';

const SEED = 41_077;

/**
 * Fleets in which much is equal: few models, whole watts, values on a coarse grid, so that keys tie all over the site
 * and limits fill to the watt. Several roots, limits with devices and limits below them, limits with neither.
 */
function equalFleet(random: Random, deviceCount: number, limitCount: number, withGains: boolean): Problem {
  const whole = (low: number, high: number): number => Math.floor(low + (high - low + 1) * random());
  const rootCount = random() < 0.3 ? Math.min(3, limitCount) : 1;
  const parents = Array.from({ length: limitCount }, (_, n) =>
    n < rootCount ? null : whole(random() < 0.5 ? 0 : Math.max(0, n - 3), n - 1),
  );
  const models = Array.from({ length: whole(1, 3) }, () => modesOf(random, whole));
  const devices = Array.from({ length: deviceCount }, (_, d): ProblemDevice => {
    const modes = models[whole(0, models.length - 1)]!;
    const id = `d${String(d).padStart(4, '0')}`;
    return {
      id,
      limit: `l${whole(0, limitCount - 1)}`,
      current: null,
      modes,
      switchDollarsPerHour: {},
      allowed: null,
    };
  });
  const most = deviceCount * 600;
  const limits = parents.map((parent, n) => ({
    id: `l${n}`,
    parent: parent === null ? null : `l${parent}`,
    capacityWatts: 20 * deviceCount + (random() < 0.2 ? 0 : whole(0, most >> whole(0, 5))),
    fixedWatts: random() < 0.2 ? whole(0, 50) : 0,
    gain: withGains && parent !== null ? 1 + whole(0, 80) / 1000 : 1,
  }));
  return { limits, devices, floors: [] };
}

function modesOf(random: Random, whole: (low: number, high: number) => number): ProblemDevice['modes'] {
  const modes = [{ id: 'm0', watts: whole(0, 20), dollarsPerHour: 0 }];
  for (let m = 1; m < whole(2, 5); m += 1) {
    const before = modes.at(-1)!;
    const watts = before.watts + (random() < 0.1 ? 0 : 100 * whole(1, 3));
    modes.push({ id: `m${m}`, watts, dollarsPerHour: before.dollarsPerHour + whole(-1, 6) });
  }
  return modes;
}

const fleet = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  devices: fc.integer({ min: 0, max: 150 }),
  limits: fc.integer({ min: 1, max: 24 }),
  price: fc.constantFrom(0, 0, 0.01, 0.02, -0.01),
});

describe(`cuts against the sweep (fast-check seed ${SEED})`, () => {
  test('the same whole modes where watts are whole, and no greater price', () => {
    let binding = 0;
    fc.assert(
      fc.property(fleet, ({ seed, devices, limits, price }) => {
        const c = compileProblem(equalFleet(seededRandom(seed), devices, limits, false));
        const swept = createWorkspace(c, true);
        const found = createWorkspace(c);
        for (const w of [swept, found]) sortAllSegments(c, w);
        const holds = computeBaseSlack(c, swept);
        expect(computeBaseSlack(c, found)).toBe(holds);
        expect(found.baseSlack).toEqual(swept.baseSlack);
        if (!holds) return;
        const a = solveRelaxed(c, swept, price);
        const b = solveRelaxed(c, found, price);
        // Where two limits on a path fill with the same watt the sweep charges the upper one, which has turned away
        // nothing yet: the price there is what the next watt earns, hence no greater. The bound is the same.
        for (const [n, one] of found.pathPrice.entries())
          expect(one).toBeLessThanOrEqual(swept.pathPrice[n]!);
        if (a === null || b === null) throw new Error('without floors the least is feasible');
        expect(b).toBeCloseTo(a, 9);
        const choice = createChoice(c);
        roundDown(c, found, price, choice);
        const corners = Int32Array.from(swept.corner, (k, i) => c.hullMode[i * c.stride + k]!);
        expect(choice.mode).toEqual(corners);
        if (found.pathPrice.some((one) => one > 0)) binding += 1;
      }),
      { seed: SEED, numRuns: casesOf(1500) },
    );
    // The generator must keep making limits that bind.
    expect(binding).toBeGreaterThan(casesOf(1500) / 3);
  });

  test('the same bound but for rounding, and nothing over a limit, where watts have losses', () => {
    fc.assert(
      fc.property(fleet, ({ seed, devices, limits, price }) => {
        const c = compileProblem(equalFleet(seededRandom(seed), devices, limits, true));
        const swept = createWorkspace(c, true);
        const found = createWorkspace(c);
        for (const w of [swept, found]) sortAllSegments(c, w);
        if (!computeBaseSlack(c, swept)) return;
        computeBaseSlack(c, found);
        const a = solveRelaxed(c, swept, price);
        const b = solveRelaxed(c, found, price);
        if (a === null || b === null) throw new Error('without floors the least is feasible');
        const scale = Math.max(1e-6, Math.abs(a));
        expect(Math.abs(b - a) / scale).toBeLessThan(1e-12);
        const choice = createChoice(c);
        roundDown(c, found, price, choice);
        expect(isFeasible(c, choice)).toBe(true);
        expect(choiceValue(c, choice.mode, price).value).toBeLessThanOrEqual(b);
        // From every mode of every device: each is raised by what rounding can have taken from it, and no more.
        const raised = found.boundRounding;
        const everyMode = dualBound(c, found, price);
        expect(Math.abs(b - everyMode)).toBeLessThanOrEqual(raised + found.boundRounding);
      }),
      { seed: SEED + 1, numRuns: casesOf(600) },
    );
  });
});

describe(`a tick kept warm over many changes (fast-check seed ${SEED})`, () => {
  test('equals a cold one after each, in every mode, price and bit', () => {
    const cases = fc.record({ fleet, gains: fc.boolean(), steps: fc.integer({ min: 5, max: 40 }) });
    fc.assert(
      fc.property(cases, ({ fleet: { seed, devices, limits }, gains, steps }) => {
        const random = seededRandom(seed + 1);
        let problem = equalFleet(seededRandom(seed), devices, limits, gains);
        const warm = createTick(problem, { energyDollarsPerKwh: 0 });
        for (let step = 0; step < steps; step += 1) {
          problem = changeSome(random, problem, (device) => updateDevice(warm, device));
          problem = changeLimit(random, problem, (id, capacityWatts, fixedWatts) =>
            updateLimit(warm, id, { capacityWatts, fixedWatts }),
          );
          const price = [0, 0, 5, 20, -5][Math.floor(random() * 5)]!;
          updateEnergyPrice(warm, price);
          const workUnits = random() < 0.3 ? 20_000 : 0;
          const options = { workUnits, boundPerLimit: random() < 0.8 };
          const decision = decideTick(warm, options);
          const cold = createBench(compileProblem(problem));
          sortAllSegments(cold.compiled, cold.workspace);
          expect(decision).toEqual(decide(cold, { energyDollarsPerWattHour: price / 1000, ...options }));
          expect(warm.bench.choice.mode).toEqual(cold.choice.mode);
          expect(warm.bench.workspace.pathPrice).toEqual(cold.workspace.pathPrice);
        }
      }),
      { seed: SEED + 2, numRuns: casesOf(150) },
    );
  });
});

/** Some devices, now and then all, take the modes of others or go in and out of service. */
function changeSome(random: Random, problem: Problem, update: (device: ProblemDevice) => void): Problem {
  const share = random() < 0.1 ? 1 : random() * 0.1;
  const devices = problem.devices.map((device) => {
    if (random() >= share) return device;
    const { modes } = problem.devices[Math.floor(random() * problem.devices.length)]!;
    const allowed = random() < 0.2 ? [modes[0]!.id] : null;
    const current = random() < 0.5 ? modes.at(-1)!.id : null;
    const changed = { ...device, modes, allowed, current, switchDollarsPerHour: { m0: 0.5, m1: 0.25 } };
    update(changed);
    return changed;
  });
  return { ...problem, devices };
}

function changeLimit(
  random: Random,
  problem: Problem,
  update: (id: string, capacityWatts: number, fixedWatts: number) => void,
): Problem {
  if (random() < 0.4) return problem;
  const picked = Math.floor(random() * problem.limits.length);
  const limits = problem.limits.map((limit, n) => {
    if (n !== picked) return limit;
    const capacityWatts = Math.round(limit.capacityWatts * (0.7 + 0.7 * random()));
    const fixedWatts = limit.fixedWatts + (random() < 0.3 ? 10 : 0);
    update(limit.id, capacityWatts, fixedWatts);
    return { ...limit, capacityWatts, fixedWatts };
  });
  return { ...problem, limits };
}
