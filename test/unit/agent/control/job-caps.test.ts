import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Problem, ProblemDevice } from '../../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../../agent/allocation/solve.ts';
import { levelJobs } from '../../../../agent/control/job-caps.ts';

const SHARES = [50, 60, 70, 80, 90, 100];
const JOBS = [{ id: 'train', devices: ['g1', 'g2', 'g3'] }];

function node(id: string, limit: string, dollars: number, allowed = SHARES): ProblemDevice {
  return {
    id,
    limit,
    current: 'cap-100',
    modes: SHARES.map((share) => ({
      id: `cap-${share}`,
      watts: 2000 + 56 * share,
      dollarsPerHour: dollars * (share / 100) ** 0.5,
    })),
    switchDollarsPerHour: {},
    allowed: allowed.map((share) => `cap-${share}`),
  };
}

function miner(id: string, limit: string): ProblemDevice {
  return {
    id,
    limit,
    current: 'normal',
    modes: [
      { id: 'sleep', watts: 50, dollarsPerHour: 0 },
      { id: 'normal', watts: 3000, dollarsPerHour: 0.2 },
    ],
    switchDollarsPerHour: {},
    allowed: ['sleep', 'normal'],
  };
}

function problem(own: { a: number; b: number; floor?: number; devices?: readonly ProblemDevice[] }): Problem {
  const limit = (id: string, capacityWatts: number, parent: string | null) => ({
    id,
    parent,
    capacityWatts,
    fixedWatts: 0,
    gain: 1,
  });
  return {
    limits: [limit('grid', own.a + own.b, null), limit('a', own.a, 'grid'), limit('b', own.b, 'grid')],
    devices: own.devices ?? [node('g1', 'a', 20), node('g2', 'a', 20), node('g3', 'b', 20), miner('m1', 'b')],
    floors: own.floor === undefined ? [] : [{ id: 'train', devices: ['g1', 'g2', 'g3'], watts: own.floor }],
  };
}

const level = (asked: Problem, jobs = JOBS) => levelJobs(asked, solveProblem(asked), jobs, solveProblem);
const sharesOf = (modes: Readonly<Record<string, string>>) => ['g1', 'g2', 'g3'].map((id) => modes[id]);

describe('the nodes of one job', () => {
  it('are capped level: the tight limit of one sets the pace, and mining has the rest', () => {
    const tight = problem({ a: 12_500, b: 10_000 });
    // Each for itself, the one with room would run at full, and a miner would sleep for it.
    const apart = solveProblem(tight);
    expect(sharesOf(apart.modes)).not.toEqual(Array(3).fill(apart.modes['g1']));
    expect(apart.modes['m1']).toBe('sleep');
    const together = level(tight);
    expect(sharesOf(together.modes)).toEqual(Array(3).fill(together.modes['g1']));
    expect(together.modes['m1']).toBe('normal');
    expect(together.upperBoundDollarsPerHour).toBe(apart.upperBoundDollarsPerHour);
    expect(together.gap!).toBeGreaterThan(0);
  });

  it('are left each to itself where that is configured', () => {
    const tight = problem({ a: 12_500, b: 10_000 });
    expect(level(tight, [])).toEqual(solveProblem(tight));
  });

  it('stay uneven where only so what was promised is kept', () => {
    // 50 % of all three is 14,400 W.
    const promised = problem({ a: 9700, b: 8000, floor: 16_500 });
    const answer = level(promised);
    expect(answer.status).not.toBe('infeasible');
    expect(answer.modes).toMatchObject({ g1: 'cap-50', g2: 'cap-50' });
    expect(answer.modes['g3']).not.toBe('cap-50');
  });

  it('stay uneven where a grant holds one of them lower than any level of the others', () => {
    const devices = [node('g1', 'a', 20, [50]), node('g2', 'a', 20, [70, 80]), node('g3', 'b', 20, [70, 80])];
    const granted = problem({ a: 50_000, b: 50_000, devices });
    expect(sharesOf(level(granted).modes)).toEqual(['cap-50', 'cap-80', 'cap-80']);
  });

  it('keep every limit and every floor that could be kept, level or not (property)', () => {
    const watts = fc.integer({ min: 5000, max: 20_000 });
    fc.assert(
      fc.property(
        watts,
        watts,
        fc.option(fc.integer({ min: 10_000, max: 22_000 }), { nil: undefined }),
        (a, b, floor) => {
          const asked = problem({ a, b, ...(floor === undefined ? {} : { floor }) });
          const plain = solveProblem(asked);
          const answer = level(asked);
          expect(answer.status === 'infeasible').toBe(plain.status === 'infeasible');
          if (answer.status === 'infeasible') return;
          const drawn = (id: string) =>
            asked.devices
              .find((device) => device.id === id)!
              .modes.find((mode) => mode.id === answer.modes[id])!.watts;
          const [g1, g2, g3, m1] = ['g1', 'g2', 'g3', 'm1'].map(drawn) as [number, number, number, number];
          expect(g1 + g2).toBeLessThanOrEqual(a);
          expect(g3 + m1).toBeLessThanOrEqual(b);
          expect(g1 + g2 + g3).toBeGreaterThanOrEqual(floor ?? 0);
          expect(answer.dollarsPerHour).toBeLessThanOrEqual(answer.upperBoundDollarsPerHour! + 1e-9);
        },
      ),
    );
  });
});
