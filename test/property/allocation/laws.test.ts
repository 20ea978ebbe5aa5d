import { describe, expect, test } from 'vitest';
import type { Answer, Problem, ProblemDevice } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { FAMILIES, type Family, randomSite } from '../../support/allocation-problems.ts';
import { cases } from '../../support/cases.ts';

/**
 * Laws that need no other solver: a change of the problem whose effect on the answer is known. Seeds 1 to 12 of
 * every family.
 */
const SITES: readonly { readonly name: string; readonly family: Family; readonly problem: Problem }[] =
  FAMILIES.flatMap((family) =>
    Array.from({ length: cases(12) }, (_, n) => ({
      name: `${family} seed ${n + 1}`,
      family,
      problem: randomSite({ family, deviceCount: 12 + n * 7, seed: n + 1 }),
    })),
  );
const FREE = SITES.filter(({ family }) => family !== 'crossing-floor');
const solve = (problem: Problem): Answer => solveProblem(problem, { workUnits: 200_000 });
/** With the relaxed optimum for a bound: breakers that are taken as wholes lower it to where these laws say nothing. */
const relaxed = (problem: Problem): Answer =>
  solveProblem(problem, { workUnits: 200_000, wholeBreakers: false });
const bound = (problem: Problem): number => relaxed(problem).upperBoundDollarsPerHour!;

function close(a: number, b: number, name: string): void {
  expect(Math.abs(a - b) / Math.max(1e-6, Math.abs(b)), name).toBeLessThan(1e-9);
}

describe('laws of the allocation', () => {
  test('the same problem gives the same answer', () => {
    for (const { name, problem } of SITES) expect(solve(problem), name).toEqual(solve(problem));
  });

  test('the value is never over the bound, and no lower with more work; the bound no higher', () => {
    for (const { name, problem } of SITES) {
      const quick = solveProblem(problem, { workUnits: 0 });
      const long = solve(problem);
      if (long.status === 'infeasible') continue;
      expect(long.dollarsPerHour, name).toBeLessThanOrEqual(long.upperBoundDollarsPerHour!);
      if (quick.status === 'infeasible') continue;
      expect(long.dollarsPerHour, name).toBeGreaterThanOrEqual(quick.dollarsPerHour);
      const { upperBoundDollarsPerHour } = long;
      expect(upperBoundDollarsPerHour, name).toBeLessThanOrEqual(quick.upperBoundDollarsPerHour!);
      expect(bound(problem), name).toBe(quick.upperBoundDollarsPerHour);
    }
  });

  test('watts and capacities times 1024: the same bound, prices by as much less', () => {
    for (const { name, problem } of SITES) {
      const k = 1024; // A power of two keeps every double exact.
      const scaled: Problem = {
        limits: problem.limits.map((limit) => ({
          ...limit,
          capacityWatts: limit.capacityWatts * k,
          fixedWatts: limit.fixedWatts * k,
        })),
        devices: problem.devices.map((device) => ({
          ...device,
          modes: device.modes.map((mode) => ({ ...mode, watts: mode.watts * k })),
        })),
        floors: problem.floors.map((floor) => ({ ...floor, watts: floor.watts * k })),
      };
      close(bound(scaled), bound(problem), name);
      const before = solve(problem).limits.map((limit) => limit.dollarsPerKwh);
      for (const [n, limit] of solve(scaled).limits.entries()) {
        expect(limit.dollarsPerKwh, `${name} ${limit.id}`).toBeCloseTo(before[n]! / k, 9);
      }
    }
  });

  test('lowering any limit never raises the bound; raising one never lowers it', () => {
    for (const { name, problem } of SITES) {
      const before = bound(problem);
      for (const picked of [0, problem.limits.length >> 1]) {
        for (const factor of [0.9, 1.1]) {
          const limits = problem.limits.map((limit, n) =>
            n === picked ? { ...limit, capacityWatts: limit.capacityWatts * factor } : limit,
          );
          const after = relaxed({ ...problem, limits });
          if (after.status === 'infeasible') continue;
          const slip = 1e-12 * Math.abs(before);
          if (factor < 1) expect(after.upperBoundDollarsPerHour!, name).toBeLessThanOrEqual(before + slip);
          else expect(after.upperBoundDollarsPerHour!, name).toBeGreaterThanOrEqual(before - slip);
        }
      }
    }
  });

  test('lowering a limit never raises the planned power of the relaxed answer below it beyond one step', () => {
    for (const { name, problem } of FREE) {
      const total = (answer: Answer): number => answer.limits.find((limit) => limit.id === 'site')!.watts;
      const limits = problem.limits.map((limit) =>
        limit.id === 'site' ? { ...limit, capacityWatts: limit.capacityWatts * 0.9 } : limit,
      );
      const after = solve({ ...problem, limits });
      if (after.status === 'infeasible') continue;
      expect(total(after), name).toBeLessThanOrEqual(total(solve(problem)) + 12_000);
    }
  });

  test('a device in two halves never lowers the relaxed optimum', () => {
    for (const { name, problem } of SITES) {
      const victim = problem.devices[problem.devices.length >> 1]!;
      const half = (suffix: string): ProblemDevice => ({
        ...victim,
        id: `${victim.id}${suffix}`,
        modes: victim.modes.map((mode) => ({
          ...mode,
          watts: mode.watts / 2,
          dollarsPerHour: mode.dollarsPerHour / 2,
        })),
        switchDollarsPerHour: Object.fromEntries(
          Object.entries(victim.switchDollarsPerHour).map(([id, dollars]) => [id, dollars / 2]),
        ),
      });
      const halves = [half('-a'), half('-b')];
      const split: Problem = {
        ...problem,
        devices: problem.devices.flatMap((device) => (device === victim ? halves : [device])),
        floors: problem.floors.map((floor) => ({
          ...floor,
          devices: floor.devices.flatMap((id) => (id === victim.id ? halves.map((one) => one.id) : [id])),
        })),
      };
      close(bound(split), bound(problem), name);
    }
  });

  test('a mode that another beats changes nothing', () => {
    for (const { name, problem } of FREE) {
      const devices = problem.devices.map((device) => {
        const top = device.modes.at(-1)!;
        const worse = { id: 'worse', watts: top.watts + 100, dollarsPerHour: top.dollarsPerHour - 1 };
        return { ...device, modes: [...device.modes, worse] };
      });
      const after = solve({ ...problem, devices });
      expect(after.modes, name).toEqual(solve(problem).modes);
    }
  });

  test('the order of the file changes nothing', () => {
    for (const { name, problem } of SITES) {
      const turned: Problem = {
        limits: problem.limits.toReversed(),
        devices: problem.devices.toReversed().map((one) => ({ ...one, modes: one.modes.toReversed() })),
        floors: problem.floors.toReversed().map((one) => ({ ...one, devices: one.devices.toReversed() })),
      };
      const a = solve(problem);
      const b = solve(turned);
      expect(b.modes, name).toEqual(a.modes);
      expect(b.upperBoundDollarsPerHour, name).toBe(a.upperBoundDollarsPerHour);
    }
  });

  test('tightening a limit that does not bind, down to what flows, changes no bound', () => {
    for (const { name, problem } of FREE) {
      const answer = solve(problem);
      const loose = answer.limits.find(
        (limit) => limit.dollarsPerKwh === 0 && limit.watts < limit.capacityWatts * 0.9,
      );
      if (loose === undefined) continue;
      const limits = problem.limits.map((limit) =>
        limit.id === loose.id
          ? { ...limit, capacityWatts: (loose.watts + limit.capacityWatts * 9) / 10 }
          : limit,
      );
      close(bound({ ...problem, limits }), bound(problem), `${name} ${loose.id}`);
    }
  });

  test('a limit with a single child and ample capacity changes nothing', () => {
    for (const { name, problem } of SITES) {
      const root = { id: 'above', parent: null, capacityWatts: 1e12, fixedWatts: 0, gain: 1 };
      const limits = [
        ...problem.limits.map((one) => (one.parent === null ? { ...one, parent: 'above' } : one)),
        root,
      ];
      const after = solve({ ...problem, limits });
      close(bound({ ...problem, limits }), bound(problem), name);
      close(after.dollarsPerHour, solve(problem).dollarsPerHour, name);
    }
  });

  test('one more kilowatt at a binding limit earns its price', () => {
    for (const { name, problem } of SITES) {
      const answer = relaxed(problem);
      for (const limit of answer.limits.filter((one) => one.dollarsPerKwh > 0).slice(0, 4)) {
        const more = (watts: number): number =>
          bound({
            ...problem,
            limits: problem.limits.map((one) =>
              one.id === limit.id ? { ...one, capacityWatts: one.capacityWatts + watts } : one,
            ),
          });
        // A price is what the next watt earns: never more than that, by concavity.
        const perWatt = (more(0.5) - answer.upperBoundDollarsPerHour!) / 0.5;
        expect(perWatt * 1000, `${name} ${limit.id}`).toBeLessThanOrEqual(
          limit.dollarsPerKwh * 1.0001 + 1e-6,
        );
        const lost = (answer.upperBoundDollarsPerHour! - more(-0.5)) / 0.5;
        expect(lost * 1000, `${name} ${limit.id}`).toBeGreaterThanOrEqual(
          limit.dollarsPerKwh * 0.9999 - 1e-6,
        );
      }
    }
  });
});
