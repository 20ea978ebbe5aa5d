import { expect, test } from 'vitest';
import { withoutImpossible } from '../../../agent/allocation/least-harm.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { nestedFloors, randomSite, tinySite } from '../../support/allocation-problems.ts';
import { judge } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

const on = (watts: number, dollars: number): [number, number][] => [
  [5, 0],
  [watts, dollars],
];

test('a limit below its fixed load carries what it must, and what hangs elsewhere works on', () => {
  const site = siteOf(
    [
      limitOf('site', null, 1000),
      limitOf('a', 'site', 100, { fixedWatts: 120 }),
      limitOf('b', 'site', 100),
      limitOf('c', 'a', 1000),
    ],
    [deviceOf('a1', 'a', on(50, 1)), deviceOf('b1', 'b', on(50, 1)), deviceOf('c1', 'c', on(50, 1))],
  );
  const least = solveProblem(site);
  expect(least).toMatchObject({
    status: 'infeasible',
    modes: { a1: 'm0', b1: 'm0', c1: 'm0' },
    infeasible: [{ limit: 'a', watts: 30 }],
  });
  const rest = withoutImpossible(site, least);
  expect(rest.limits.map((limit) => limit.capacityWatts)).toEqual([1000, 130, 100, 1000]);
  expect(solveProblem(rest)).toMatchObject({ status: 'optimal', modes: { a1: 'm0', b1: 'm1', c1: 'm0' } });
});

test('a floor that cannot be met is served as far as it goes; others keep theirs', () => {
  const site = siteOf(
    [limitOf('site', null, 1000)],
    [deviceOf('f', 'site', on(50, 1)), deviceOf('g', 'site', on(50, -1)), deviceOf('h', 'site', on(50, 1))],
    [floorOf('much', ['f'], 60), floorOf('little', ['g'], 40)],
  );
  const least = solveProblem(site);
  expect(least.infeasible).toEqual([{ floor: 'much', watts: 10 }]);
  const rest = withoutImpossible(site, least);
  expect(rest.floors.map((floor) => floor.watts)).toEqual([50, 40]);
  expect(solveProblem(rest)).toMatchObject({ status: 'optimal', modes: { f: 'm1', g: 'm1', h: 'm1' } });
});

test('what is left of any site that cannot be has an answer, which earns no less', () => {
  let impossible = 0;
  for (let seed = 1; seed <= 400; seed += 1) {
    const site =
      seed % 8 === 0
        ? nestedFloors(randomSite({ family: 'tight', deviceCount: 40, seed }), seed)
        : tinySite(seed);
    const least = solveProblem(site, { workUnits: 60_000 });
    if (least.status !== 'infeasible') continue;
    impossible += 1;
    const rest = withoutImpossible(site, least);
    const answer = solveProblem(rest, { workUnits: 60_000 });
    expect(answer.status, `seed ${seed}`).not.toBe('infeasible');
    expect(judge(rest, answer.modes).violations).toEqual([]);
    expect(answer.dollarsPerHour).toBeGreaterThanOrEqual(least.dollarsPerHour - 1e-9);
  }
  expect(impossible).toBeGreaterThan(40);
});
