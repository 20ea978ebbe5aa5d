import { describe, expect, test } from 'vitest';
import {
  reducedBest,
  reducedUnknown,
  takeApart,
  wholeBreakerSite,
} from '../../../agent/allocation/breakers.ts';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { createBench, type DecideOptions, type Decision, decide } from '../../../agent/allocation/decide.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import { mendFloors } from '../../../agent/allocation/mend.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { computeBaseSlack } from '../../../agent/allocation/sweep.ts';
import { computeLosses } from '../../../agent/allocation/window-memory.ts';
import { coarseSite, manyFloors, randomSite } from '../../support/allocation-problems.ts';
import { extendOn, prepareBreakers } from '../../support/breaker-bench.ts';
import { bruteForce, judge } from '../../support/brute-force.ts';
import { relax } from '../../support/relaxed.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

function decided(problem: Problem, options: Partial<DecideOptions> = {}): Decision {
  const bench = createBench(compileProblem(problem));
  sortAllSegments(bench.compiled, bench.workspace);
  return decide(bench, { energyDollarsPerWattHour: 0, workUnits: 0, ...options });
}

const on = (watts: number, dollars: number): [number, number][] => [
  [0, 0],
  [watts, dollars],
];

/** 115 W, 100 of them for the floor: rounded it is missed, and the PDU cannot carry the least. It does not cut across. */
const hard = siteOf(
  [limitOf('site', null, 115), limitOf('pdu', 'site', 30)],
  [
    deviceOf('a', 'pdu', on(50, 6)),
    deviceOf('b', 'site', [
      [0, 0],
      [50, 0.45],
      [60, 0.6],
    ]),
    deviceOf('c', 'site', on(60, 0.5)),
  ],
  [floorOf('firm', ['a', 'b', 'c'], 100)],
);

describe('breakers as wholes, put together from their parts', () => {
  /** Rounds of looking for choices, and what a search among them may have of the work that is left. */
  const ROUNDS = 3;

  interface Wholes {
    workUnits: number;
    bound: number;
    best: number;
    proved: boolean;
    rounds: number;
  }

  /** What the decision record says is done: choices, the small site at its prices, thrice; then a search of the small site. */
  function asWholes(problem: Problem, workUnits: number): Wholes {
    const { bench, breakers } = prepareBreakers(problem);
    const { compiled: c, memory: m, trial } = bench;
    const wholes: Wholes = { workUnits: 0, bound: Infinity, best: 0, proved: false, rounds: 0 };
    let site: Problem | null = null;
    const search = (problemAbove: Problem, units: number): void => {
      const above = createBench(compileProblem(problemAbove));
      sortAllSegments(above.compiled, above.workspace);
      const found = decide(above, { energyDollarsPerWattHour: 0, workUnits: units, wholeBreakers: false });
      wholes.workUnits += found.workUnits;
      const known = breakers.filter((breaker) => breaker.lossBelow > 0);
      takeApart(c, m, known, above.compiled, above.choice.mode, trial.mode);
      const modes = c.deviceIds.map((id, i) => [id, c.modeId[i * c.stride + trial.mode[i]!]!]);
      wholes.best = Math.max(wholes.best, judge(problem, Object.fromEntries(modes)).dollarsPerHour);
      let more = 0;
      let worse = Infinity;
      for (const breaker of known) {
        const parent = c.limitIds[c.limitParent[breaker.limit]!]!;
        const perRootWatt = above.workspace.pathPrice[above.compiled.limitIndex.get(parent)!]!;
        breaker.priceAbove = perRootWatt * c.limitRootGain[breaker.limit]!;
        const margin =
          reducedBest(breaker, breaker.priceAbove) - reducedUnknown(c, m, breaker, breaker.priceAbove, 0);
        more += Math.max(0, -margin);
        worse = Math.min(worse, margin);
      }
      const bound = found.boundDollarsPerHour! + more;
      wholes.bound = Math.min(wholes.bound, bound);
      if (found.status === 'optimal' && bound - Math.max(0, worse) <= wholes.best - 1e-12)
        wholes.proved = true;
      if (found.status === 'optimal' && bound <= wholes.best + 1e-9) wholes.proved = true;
    };
    for (; wholes.rounds < ROUNDS && !wholes.proved; wholes.rounds += 1) {
      const found = extendOn(bench, breakers, Math.floor(workUnits * 0.75) - wholes.workUnits);
      wholes.workUnits += found.workUnits;
      if (!found.extended) break;
      site = wholeBreakerSite(
        c,
        breakers.filter((breaker) => breaker.lossBelow > 0),
        0,
      );
      search(site, 0);
    }
    if (site !== null && !wholes.proved) search(site, Math.floor((workUnits - wholes.workUnits) / 2));
    return wholes;
  }

  test('work, bound and what is earned at least; proved without a search of the devices where it can be', () => {
    const counts = { thrice: 0, proved: 0, provedWithGap: 0 };
    const sites = [
      ...[1, 2, 3, 4, 5, 6].map((seed) => coarseSite(seed, 12, 3, 2)),
      ...[1, 2, 3].map((seed) => coarseSite(seed, 20, 5, 2)),
      ...[1, 2, 3].map((seed) => coarseSite(seed, 16, 4, 3)),
      ...[6, 22, 29].map((seed) => randomSite({ family: 'tight', deviceCount: 24, seed })),
      ...[1, 8].map((seed) => randomSite({ family: 'gains', deviceCount: 24, seed })),
      randomSite({ family: 'tight', deviceCount: 60, seed: 12 }),
      ...[8, 18].map((seed) => randomSite({ family: 'tight', deviceCount: 120, seed })),
      coarseSite(9, 40, 10, 4),
    ];
    for (const [k, problem] of sites.entries()) {
      for (const workUnits of [300, 1000, 10_000]) {
        const apart = decided(problem, { wholeBreakers: false });
        if (8 * problem.devices.length > workUnits) continue;
        const wholes = asWholes(problem, workUnits);
        const decision = decided(problem, { workUnits });
        const name = `site ${k}, ${workUnits} units`;
        expect(decision.boundDollarsPerHour, name).toBeCloseTo(
          Math.max(Math.min(wholes.bound, apart.boundDollarsPerHour!), decision.dollarsPerHour),
          9,
        );
        expect(decision.dollarsPerHour, name).toBeGreaterThanOrEqual(wholes.best - 1e-9);
        if (wholes.proved)
          expect(decision, name).toMatchObject({ status: 'optimal', workUnits: wholes.workUnits });
        else expect(decision.workUnits, name).toBeGreaterThanOrEqual(wholes.workUnits);
        // A search of the devices that cannot begin adds nothing.
        const first = Math.min(problem.devices.length, 6 * problem.limits.length) * 8;
        if (!wholes.proved && wholes.workUnits + first > workUnits)
          expect(decision.workUnits, name).toBe(wholes.workUnits);
        if (wholes.rounds === ROUNDS) counts.thrice += 1;
        if (wholes.proved) counts.proved += 1;
        if (wholes.proved && decision.gap! > 1e-9) counts.provedWithGap += 1;
      }
    }
    expect(counts.thrice).toBeGreaterThan(3);
    expect(counts.proved).toBeGreaterThan(12);
    expect(counts.provedWithGap).toBeGreaterThan(6);
  });

  test('what is proved with a gap left is what trying every choice finds (seeds 2, 4, 5, 8)', () => {
    for (const seed of [2, 4, 5, 8]) {
      const problem = coarseSite(seed, 12, 3, 2);
      const answer = solveProblem(problem, { workUnits: 1000 });
      expect(answer).toMatchObject({ status: 'optimal', gap: expect.toSatisfy((gap: number) => gap > 1e-3) });
      expect(answer.dollarsPerHour).toBeCloseTo(bruteForce(problem)!.dollarsPerHour, 9);
    }
  });
});

describe('which breakers are taken as wholes', () => {
  const six = siteOf(
    [limitOf('site', null, 1000), limitOf('b', 'site', 200)],
    [
      ...['a1', 'a2'].map((id) => deviceOf(id, 'b', on(60, 6))),
      ...['c1', 'c2', 'c3', 'c4'].map((id) => deviceOf(id, 'b', on(50, 4.9))),
    ],
  );

  test('all where nothing else is said', () => {
    const answer = decided(six, { workUnits: 1000 });
    expect(answer).toMatchObject({ status: 'optimal', dollarsPerHour: expect.closeTo(19.6, 12) });
    expect(decided(six, { workUnits: 1000, wholeBreakers: true })).toEqual(answer);
  });

  test('proved at once: the work of finding its choices and no more', () => {
    const { bench, breakers } = prepareBreakers(six);
    const { workUnits } = extendOn(bench, breakers, 750);
    expect(workUnits).toBeGreaterThan(0);
    expect(decided(six, { workUnits: 1000 }).workUnits).toBe(workUnits);
  });

  test('none where rounding is all that is left to win', () => {
    const problem = randomSite({ family: 'tight', deviceCount: 24, seed: 1 });
    const loose = {
      ...problem,
      limits: problem.limits.map((limit) => ({ ...limit, capacityWatts: 1e6, fixedWatts: 0.1 })),
    };
    expect(decided(loose, { workUnits: 100_000 })).toMatchObject({ status: 'optimal', workUnits: 0 });
  });

  test('none whose choices are too many', () => {
    const many = siteOf(
      [limitOf('site', null, 1e6), limitOf('b', 'site', 10_000)],
      Array.from({ length: 14 }, (_, n) =>
        deviceOf(`d${n}`, 'b', on(1000 + 2 ** n / 16, 100 + 2 ** n / 160)),
      ),
    );
    const { bench, breakers } = prepareBreakers(many);
    const { workUnits, extended } = extendOn(bench, breakers, 750);
    expect(extended).toBe(false);
    expect(decided(many, { workUnits: 1000 }).workUnits).toBeGreaterThanOrEqual(workUnits);
    expect(decided(many, { workUnits: 1000 }).boundDollarsPerHour).toBe(decided(many).boundDollarsPerHour);
  });

  test('where the small site finds no answer in its work, that says nothing', () => {
    const beside = siteOf(
      [
        limitOf('root', null, 1e6),
        ...hard.limits.map((limit) => ({ ...limit, parent: limit.parent ?? 'root' })),
      ],
      [...hard.devices, ...six.devices],
      hard.floors,
    );
    const breaker = limitOf('b', 'root', 200);
    const problem = { ...beside, limits: [...beside.limits, breaker] };
    const best = 0.95 + 19.6;
    expect(decided(problem, { workUnits: 48, repair: false })).toMatchObject({ status: 'infeasible' });
    for (const [workUnits, status] of [
      [200, 'feasible'],
      [1000, 'optimal'],
    ] as const) {
      const decision = decided(problem, { workUnits, repair: false });
      expect(decision).toMatchObject({ status, dollarsPerHour: expect.closeTo(best, 9) });
      // The relaxed answer of the rest, and 19.60 $ of the breaker.
      expect(decision.boundDollarsPerHour).toBeCloseTo(
        decided(hard, { workUnits: 1000 }).boundDollarsPerHour! + 19.6,
        9,
      );
      expect(decision.gap).toBeGreaterThan(0.1);
    }
  });

  test('none at a small gap, the very gap among them', () => {
    const two = siteOf(
      [limitOf('site', null, 16), limitOf('b', 'site', 3)],
      [deviceOf('a', 'b', on(2, 2)), deviceOf('b', 'b', on(2, 2))],
    );
    const { gap, boundDollarsPerHour } = decided(two);
    expect([gap, boundDollarsPerHour]).toEqual([expect.closeTo(0.5, 12), expect.closeTo(3, 12)]);
    const small = (smallGap: number): Decision =>
      decided(two, { workUnits: 1000, smallGap, smallGapUnits: 0 });
    expect(small(gap!)).toMatchObject({ status: 'feasible', workUnits: 0 });
    expect(small(gap! - 1e-9)).toMatchObject({ status: 'optimal', dollarsPerHour: 2 });
  });
});

describe('the bound', () => {
  test('is put together from sums per limit, or from every mode where it is asked so', () => {
    const problem = { ...randomSite({ family: 'gains', deviceCount: 40, seed: 3 }), floors: [] };
    const [perLimit, everyMode] = [true, false].map((one) => relax(problem, 0, false, one).bound);
    // They differ in the last digits.
    expect(perLimit).not.toBe(everyMode);
    expect(perLimit).toBeCloseTo(everyMode!, 9);
    expect(decided(problem).boundDollarsPerHour).toBe(perLimit);
    expect(decided(problem, { boundPerLimit: true }).boundDollarsPerHour).toBe(perLimit);
    expect(decided(problem, { boundPerLimit: false }).boundDollarsPerHour).toBe(everyMode);
  });

  test('is so for breakers as wholes as well', () => {
    const problem = coarseSite(1, 60, 12, 4);
    const [perLimit, everyMode] = [true, false].map((boundPerLimit) =>
      decided(problem, { boundPerLimit, workUnits: 3000 }),
    );
    // It is that of the wholes, not that of the devices.
    const { boundDollarsPerHour: ofDevices } = decided(problem, { wholeBreakers: false });
    expect(everyMode!.boundDollarsPerHour).toBeLessThan(ofDevices! - 1);
    expect(perLimit!.boundDollarsPerHour).not.toBe(everyMode!.boundDollarsPerHour);
    expect(perLimit!.boundDollarsPerHour).toBeCloseTo(everyMode!.boundDollarsPerHour!, 9);
    expect(perLimit!.dollarsPerHour).toBe(everyMode!.dollarsPerHour);
  });
});

describe('the search of the devices without wholes', () => {
  test('leaves out what would lose more than there is to win', () => {
    const rich = Array.from({ length: 10 }, (_, n) => deviceOf(`rich-${n}`, 'site', on(10, 100)));
    const problem = siteOf(
      [limitOf('site', null, 200)],
      [
        deviceOf('a', 'site', on(60, 6)),
        ...['b', 'c'].map((id) => deviceOf(id, 'site', on(50, 4.9))),
        ...rich,
      ],
    );
    for (const more of [{ wholeBreakers: false }, { smallGap: 1, smallGapUnits: 1000 }])
      expect(decided(problem, { workUnits: 1000, ...more })).toMatchObject({
        status: 'optimal',
        workUnits: 14,
      });
  });
});

describe('what mending floors may take', () => {
  /** Two PDUs of 100 W; the floor wants both of f1 and f2, where g stands in the way. */
  const across = siteOf(
    [limitOf('site', null, 1000), limitOf('left', 'site', 100), limitOf('right', 'site', 100, { gain: 1.2 })],
    [
      deviceOf('f1', 'left', on(60, 3)),
      deviceOf('f2', 'right', on(60, 1)),
      deviceOf('g', 'right', on(60, 5)),
      deviceOf('h', 'left', on(30, 2)),
    ],
    [floorOf('firm', ['f1', 'f2'], 100)],
  );

  /** Mending by itself with so many units. */
  function mended(problem: Problem, mostUnits: number): { mended: boolean; workUnits: number } {
    const { compiled: c, workspace: w, memory: m, trial } = createBench(compileProblem(problem));
    sortAllSegments(c, w);
    computeBaseSlack(c, w);
    solveRelaxed(c, w, 0);
    computeLosses(c, w, m, 0);
    return mendFloors(c, w, m, 0, trial, mostUnits);
  }

  test('half of the work; without any it is not begun', () => {
    expect(decided(across).workUnits).toBe(0);
    expect(decided(across, { workUnits: 1 }).workUnits).toBe(0);
    // A search of the devices begins at 8 units for each of them.
    const done = new Set<boolean>();
    for (let workUnits = 2; workUnits < 32; workUnits += 1) {
      const alone = mended(across, Math.floor(workUnits / 2));
      expect(decided(across, { workUnits, repair: false }).workUnits, `${workUnits} units`).toBe(
        alone.workUnits,
      );
      done.add(alone.mended);
    }
    expect(done).toEqual(new Set([false, true]));
    expect(decided(across, { workUnits: 31, mendFloors: false, repair: false }).workUnits).toBe(0);
  });

  test('nothing where no floor cuts across; where one does, whatever the others do', () => {
    expect(decided(hard, { workUnits: 23, repair: false })).toMatchObject({
      status: 'infeasible',
      workUnits: 0,
    });
    const both = {
      ...across,
      limits: [...across.limits, limitOf('third', 'site', 100)],
      devices: [...across.devices, deviceOf('n', 'third', on(50, 1))],
      floors: [...across.floors, floorOf('nested', ['n'], 40)],
    };
    expect(decided(both, { workUnits: 39, repair: false }).workUnits).toBe(mended(both, 19).workUnits);
    expect(mended(both, 19).workUnits).toBeGreaterThan(0);
  });

  test('with repairs three quarters, where nothing holds yet', () => {
    let repaired = 0;
    for (let workUnits = 2; workUnits < 60; workUnits += 1) {
      const decision = decided(hard, { workUnits });
      // From 24 on, 8 for each of the three devices, a search may follow.
      const most = workUnits < 24 ? workUnits * 0.75 : workUnits;
      expect(decision.workUnits, `${workUnits} units`).toBeLessThanOrEqual(most);
      if (decision.status === 'infeasible') continue;
      repaired += 1;
      expect(judge(hard, solveProblem(hard, { workUnits }).modes).violations).toEqual([]);
    }
    expect(repaired).toBeGreaterThan(0);
    // Where something holds, repairs have what mending left of its half.
    for (let workUnits = 2; workUnits < 32; workUnits += 1)
      expect(decided(across, { workUnits }).workUnits).toBeLessThanOrEqual(workUnits);
  });

  test('with breakers beside it: never more than there is', () => {
    const beside = {
      ...across,
      limits: [...across.limits, limitOf('b', 'site', 200)],
      devices: [
        ...across.devices,
        ...['a1', 'a2'].map((id) => deviceOf(id, 'b', on(60, 6))),
        ...['c1', 'c2', 'c3', 'c4'].map((id) => deviceOf(id, 'b', on(50, 4.9))),
      ],
    };
    const best = bruteForce(beside)!.dollarsPerHour;
    for (let workUnits = 2; workUnits < 200; workUnits += 3) {
      const answer = solveProblem(beside, { workUnits });
      const decision = decided(beside, { workUnits });
      expect(decision.workUnits, `${workUnits} units`).toBeLessThanOrEqual(workUnits);
      expect(decision.boundDollarsPerHour, `${workUnits} units`).toBeGreaterThanOrEqual(best);
      expect(judge(beside, answer.modes).violations, `${workUnits} units`).toEqual([]);
    }
    expect(decided(beside, { workUnits: 1000 })).toMatchObject({
      status: 'optimal',
      dollarsPerHour: expect.closeTo(best, 9),
    });
  });

  test('where both want more than half (seeds 1 to 4): never more than there is', () => {
    for (let seed = 1; seed <= 4; seed += 1) {
      const floors = manyFloors(randomSite({ family: 'tight', deviceCount: 40, seed }), seed);
      const problem = besideEachOther(floors, randomSite({ family: 'tight', deviceCount: 60, seed }));
      for (const workUnits of [700, 1000, 2000, 4000]) {
        const decision = decided(problem, { workUnits });
        expect(decision.workUnits, `seed ${seed}`).toBeGreaterThan(workUnits / 2);
        expect(decision.workUnits, `seed ${seed}`).toBeLessThanOrEqual(workUnits);
      }
    }
  });
});

/** Two sites below one root that limits neither. */
function besideEachOther(...sites: readonly Problem[]): Problem {
  return {
    limits: [
      limitOf('root', null, 1e9),
      ...sites.flatMap(({ limits }, k) =>
        limits.map(({ id, parent, ...limit }) => ({
          ...limit,
          id: `${k}-${id}`,
          parent: parent === null ? 'root' : `${k}-${parent}`,
        })),
      ),
    ],
    devices: sites.flatMap(({ devices }, k) =>
      devices.map(({ id, limit, ...device }) => ({ ...device, id: `${k}-${id}`, limit: `${k}-${limit}` })),
    ),
    floors: sites.flatMap(({ floors }, k) =>
      floors.map(({ id, devices, watts }) =>
        floorOf(
          `${k}-${id}`,
          devices.map((d) => `${k}-${d}`),
          watts,
        ),
      ),
    ),
  };
}
