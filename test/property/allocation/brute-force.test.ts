import { describe, expect, test } from 'vitest';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { tinySite } from '../../support/allocation-problems.ts';
import { bruteForce, judge } from '../../support/brute-force.ts';
import { cases } from '../../support/cases.ts';

const SEEDS = cases(3000);

describe(`tiny sites of every kind against every possible choice (seeds 1 to ${SEEDS})`, () => {
  test('optimal where something is feasible, infeasible exactly where nothing is', () => {
    let infeasible = 0;
    let withFloors = 0;
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const name = `seed ${seed}`;
      const problem = tinySite(seed);
      const answer = solveProblem(problem);
      const best = bruteForce(problem);
      const judged = judge(problem, answer.modes);
      if (problem.floors.length > 0) withFloors += 1;
      expect(answer.dollarsPerHour, name).toBeCloseTo(judged.dollarsPerHour, 12);
      if (best === null) {
        infeasible += 1;
        expect(answer.status, name).toBe('infeasible');
        expect(answer.infeasible.length, name).toBeGreaterThan(0);
        expect(answer.upperBoundDollarsPerHour, name).toBeNull();
        continue;
      }
      expect(answer.status, name).toBe('optimal');
      expect(answer.infeasible, name).toEqual([]);
      expect(judged.violations, name).toEqual([]);
      expect(answer.upperBoundDollarsPerHour!, name).toBeGreaterThanOrEqual(best.dollarsPerHour);
      expect(Math.abs(answer.dollarsPerHour - best.dollarsPerHour), name).toBeLessThan(1e-12);
    }
    // The generator must keep making all kinds.
    expect(infeasible).toBeGreaterThan(SEEDS / 10);
    expect(infeasible).toBeLessThan(SEEDS / 2);
    expect(withFloors).toBeGreaterThan(SEEDS / 3);
  });

  test('where nothing is feasible, only floors keep a device above its least', () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const problem = tinySite(seed);
      const answer = solveProblem(problem);
      if (answer.status !== 'infeasible') continue;
      const inFloor = new Set(problem.floors.flatMap((floor) => floor.devices));
      const wattsOf = new Map<string, number>();
      for (const device of problem.devices) {
        const watts = device.modes.find((mode) => mode.id === answer.modes[device.id])!.watts;
        wattsOf.set(device.id, watts);
        const open = device.modes.filter((mode) => device.allowed?.includes(mode.id) ?? true);
        const least = Math.min(...open.map((mode) => mode.watts));
        if (!inFloor.has(device.id)) expect(watts, `seed ${seed}: ${device.id}`).toBe(least);
      }
      for (const floor of problem.floors) {
        const reached = floor.devices.reduce((sum, id) => sum + wattsOf.get(id)!, 0);
        const named = answer.infeasible.find((short) => 'floor' in short && short.floor === floor.id);
        expect(reached + (named?.watts ?? 0), `seed ${seed}: ${floor.id}`).toBeGreaterThan(
          floor.watts - 1e-6,
        );
      }
      for (const limit of answer.limits) {
        const named = answer.infeasible.find((short) => 'limit' in short && short.limit === limit.id);
        const over = limit.watts - limit.capacityWatts;
        if (over > 1e-6) expect(named?.watts, `seed ${seed}: ${limit.id}`).toBeCloseTo(over, 9);
        else expect(named, `seed ${seed}: ${limit.id}`).toBeUndefined();
      }
    }
  });
});
