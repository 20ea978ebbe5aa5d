import { describe, expect, test } from 'vitest';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import { type Bench, createBench } from '../../../agent/allocation/decide.ts';
import { choiceValue, isFeasible } from '../../../agent/allocation/fill.ts';
import { solveRelaxed, sortAllSegments } from '../../../agent/allocation/floors.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { computeBaseSlack } from '../../../agent/allocation/sweep.ts';
import { searchWindow, type WindowResult } from '../../../agent/allocation/window.ts';
import { computeLosses, computeRooms, type WindowOptions } from '../../../agent/allocation/window-memory.ts';
import { randomSite, tinySite } from '../../support/allocation-problems.ts';
import { bruteForce } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** A bench with the relaxed answer and everything that a search needs; `null` where floors or limits cannot be met. */
function prepare(problem: Problem, price = 0): { bench: Bench; bound: number } | null {
  const bench = createBench(compileProblem(problem));
  const { compiled: c, workspace: w, memory: m } = bench;
  sortAllSegments(c, w);
  if (!computeBaseSlack(c, w)) return null;
  const bound = solveRelaxed(c, w, price);
  if (bound === null) return null;
  computeLosses(c, w, m, price);
  computeRooms(c, m);
  return { bench, bound };
}

const WIDE: WindowOptions = {
  coreDevices: 1e9,
  beam: 1e9,
  lossBelow: Number.POSITIVE_INFINITY,
  workUnits: 1e9,
  mostStates: 1e9,
};

function search(
  bench: Bench,
  options: Partial<WindowOptions> = {},
  price = 0,
): WindowResult & { modes: number[] } {
  bench.trial.mode.fill(-9);
  const { compiled: c, workspace: w, memory: m, trial } = bench;
  const result = searchWindow(c, w, m, price, { ...WIDE, ...options }, trial.mode);
  return { ...result, modes: [...trial.mode] };
}

const run = (problem: Problem, options: Partial<WindowOptions> = {}) =>
  search(prepare(problem)!.bench, options);

/** The best choice loses 12 cents against the relaxed answer of 9.92 $: a is worth that much at the price of the limit. */
const knapsack = siteOf(
  [limitOf('site', null, 100)],
  [
    deviceOf('a', 'site', [
      [0, 0],
      [60, 6],
    ]),
    deviceOf('b', 'site', [
      [0, 0],
      [50, 4.9],
    ]),
    deviceOf('c', 'site', [
      [0, 0],
      [50, 4.9],
    ]),
  ],
);

describe('a search on one limit', () => {
  test('finds the best and says that nothing was left out', () => {
    expect(run(knapsack)).toEqual({ found: true, complete: true, workUnits: 16, modes: [0, 1, 1] });
    expect(run(knapsack, { lossBelow: 3.93 })).toEqual({
      found: true,
      complete: true,
      workUnits: 14,
      modes: [0, 1, 1],
    });
  });

  test('only for what loses less than asked', () => {
    expect(run(knapsack, { lossBelow: 0.121 })).toMatchObject({
      found: true,
      complete: true,
      modes: [0, 1, 1],
    });
    expect(run(knapsack, { lossBelow: 0.119 })).toMatchObject({ found: false, complete: true });
  });

  test('devices without a choice stay at their best: those whose second best loses most', () => {
    expect(run(knapsack, { coreDevices: 3 })).toMatchObject({ complete: true });
    // a loses 12 cents, b and c nothing: a has no choice first, and then c.
    expect(run(knapsack, { coreDevices: 2 })).toMatchObject({
      found: true,
      complete: false,
      modes: [1, 0, 0],
    });
    expect(run(knapsack, { coreDevices: 1 })).toMatchObject({
      found: true,
      complete: false,
      modes: [1, 0, 0],
    });
    expect(run(knapsack, { coreDevices: 0 })).toEqual({
      found: true,
      complete: false,
      // The one state that is left is merged with nothing.
      workUnits: 1,
      modes: [1, 0, 0],
    });
    // One whose other modes lose too much has no choice anyway: nothing is left out.
    expect(run(knapsack, { coreDevices: 2, lossBelow: 0.11 })).toMatchObject({ complete: true });
  });

  test('at their best they can be too much for the limit', () => {
    const both = siteOf(
      [limitOf('site', null, 70)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [40, 8],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [40, 8.4],
        ]),
        deviceOf('c', 'site', [
          [0, 0],
          [1, 0.1],
        ]),
      ],
    );
    const { bench } = prepare(both)!;
    // Made to stay at their best, whatever that is.
    bench.memory.bestMode.set([1, 1, 0]);
    expect(search(bench, { coreDevices: 0 })).toMatchObject({ found: false, complete: false });
  });

  test('gives up where the work or the states would be more than allowed', () => {
    // 2 pairs for a, 4 for b, 6 for c, 4 at the end.
    for (const workUnits of [0, 1, 2, 5, 6, 11, 12, 15])
      expect(run(knapsack, { workUnits }), `${workUnits}`).toMatchObject({ found: false, complete: false });
    expect(run(knapsack, { workUnits: 16 })).toMatchObject({ found: true, complete: true });
    for (const workUnits of [0, 1]) expect(run(knapsack, { workUnits }).workUnits).toBe(0);
    expect(run(knapsack, { workUnits: 2 }).workUnits).toBe(2);
    expect(run(knapsack, { mostStates: 11 })).toMatchObject({ found: false, complete: false });
    expect(run(knapsack, { mostStates: 12 })).toMatchObject({ found: true, complete: true });
  });

  test('again and again on the same bench: the same answer', () => {
    const { bench } = prepare(knapsack)!;
    const first = search(bench);
    search(bench, { coreDevices: 1, beam: 1, lossBelow: 1 });
    expect(search(bench)).toEqual(first);
  });

  test('a beam keeps what loses least and what is spread over the watts, and says that something was left out', () => {
    expect(run(knapsack, { beam: 4 })).toMatchObject({ complete: true });
    expect(run(knapsack, { beam: 3 })).toMatchObject({ found: true, complete: false });
  });
});

describe('a search over the tree', () => {
  const tree = siteOf(
    [limitOf('site', null, 130), limitOf('left', 'site', 60, { gain: 1.1 }), limitOf('right', 'site', 60)],
    [
      deviceOf('l1', 'left', [
        [0, 0],
        [40, 4],
      ]),
      deviceOf('l2', 'left', [
        [0, 0],
        [30, 2.8],
      ]),
      deviceOf('l3', 'left', [
        [0, 0],
        [30, 2.7],
      ]),
      deviceOf('r1', 'right', [
        [0, 0],
        [45, 4.3],
      ]),
      deviceOf('r2', 'right', [
        [0, 0],
        [30, 2.9],
      ]),
      deviceOf('r3', 'right', [
        [0, 0],
        [29, 2.6],
      ]),
      deviceOf('s', 'site', [
        [0, 0],
        [5, 0.1],
      ]),
    ],
  );

  test('takes two small ones on either side, and the one above from what is left', () => {
    // l2 + l3 = 60 W, 66 at the site, for 5.50; r2 + r3 = 59 W for 5.50; 5 W are left.
    expect(run(tree)).toMatchObject({ found: true, complete: true, modes: [0, 1, 1, 0, 1, 1, 1] });
    const tight = { ...tree, limits: [limitOf('site', null, 129), ...tree.limits.slice(1)] };
    expect(run(tight)).toMatchObject({ modes: [0, 1, 1, 0, 1, 1, 0] });
  });

  test('several roots each on their own', () => {
    const roots = { ...tree, limits: tree.limits.map((limit) => ({ ...limit, parent: null })) };
    expect(run(roots)).toMatchObject({ found: true, complete: true, modes: [0, 1, 1, 0, 1, 1, 1] });
  });

  test("a floor on a limit's own devices is settled there, one across the tree at the top", () => {
    const own = { ...tree, floors: [floorOf('firm', ['l1'], 10)] };
    expect(run(own)).toMatchObject({ found: true, complete: true, modes: [1, 0, 0, 0, 1, 1, 1] });
    const across = { ...tree, floors: [floorOf('firm', ['l1', 'r1'], 80)] };
    // 44 W at the site, 45, and of 41 that are left nobody takes more than s.
    expect(run(across)).toMatchObject({ found: true, complete: true, modes: [1, 0, 0, 1, 0, 0, 1] });
    const both = { ...tree, floors: [floorOf('a', ['l1'], 10), floorOf('b', ['s', 'r1'], 46)] };
    expect(run(both)).toMatchObject({ found: true, complete: true, modes: [1, 0, 0, 1, 0, 0, 1] });
  });

  test('two floors on one limit, of which the first or the second leaves nothing within what may be lost', () => {
    const two = siteOf(
      [limitOf('site', null, 100)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [40, 1],
          [60, 1.1],
        ]),
        deviceOf('b', 'site', [
          [0, 0],
          [40, 1],
          [60, 1.1],
        ]),
        deviceOf('c', 'site', [
          [0, 0],
          [20, 9],
        ]),
      ],
      [floorOf('f', ['a'], 40), floorOf('g', ['b'], 40)],
    );
    expect(run(two)).toMatchObject({ found: true, complete: true, modes: [1, 1, 1] });
    for (const floors of [
      [floorOf('f', ['a'], 61), floorOf('g', ['b'], 40)],
      [floorOf('f', ['a'], 40), floorOf('g', ['b'], 61)],
    ]) {
      const { bench } = prepare(two)!;
      bench.compiled.floorWatts.set(floors.map((floor) => floor.watts));
      expect(search(bench)).toMatchObject({ found: false, complete: true });
    }
    const { bench } = prepare(two)!;
    // Too little work for the first floor, for the second, for putting them together.
    for (let workUnits = 0; workUnits < 12; workUnits += 1)
      expect(search(bench, { workUnits }), `${workUnits}`).toMatchObject({ found: false, complete: false });
  });
});

describe('the work that one can count', () => {
  const on = (watts: number, dollars: number): [number, number][] => [
    [0, 0],
    [watts, dollars],
  ];

  test('a mode that loses too much is not looked at', () => {
    const worse: [number, number][] = [
      [0, 0],
      [50, 1],
      [60, 6],
    ];
    const devices = [deviceOf('a', 'site', worse), ...knapsack.devices.slice(1)];
    expect(run({ ...knapsack, devices }, { lossBelow: 3.93 })).toMatchObject({ found: true, workUnits: 14 });
    expect(run({ ...knapsack, devices }).workUnits).toBeGreaterThan(16);
  });

  test('devices without a choice come first: 2 ways with b, 2 with c, 1 at the end', () => {
    expect(run(knapsack, { coreDevices: 2 })).toMatchObject({ modes: [1, 0, 0], workUnits: 5 });
  });

  test('what is still to come counts at its least', () => {
    const from10 = (watts: number, dollars: number): [number, number][] => [
      [10, 0],
      [watts, dollars],
    ];
    const problem = siteOf(
      [limitOf('site', null, 100)],
      [
        deviceOf('a', 'site', from10(60, 6)),
        deviceOf('b', 'site', from10(45, 4)),
        deviceOf('c', 'site', from10(45, 4.1)),
      ],
    );
    // 2 with a, 4 with b, of which 3 leave 10 W for c, 6 with c, of which 5 are left.
    expect(run(problem)).toMatchObject({ found: true, complete: true, workUnits: 17, modes: [0, 1, 1] });
  });

  test('over a tree: 2 on either side, 2 and 4 above, 3 at the end', () => {
    const problem = siteOf(
      [limitOf('site', null, 50), limitOf('left', 'site', 50), limitOf('right', 'site', 50)],
      [deviceOf('l', 'left', on(40, 4)), deviceOf('r', 'right', on(40, 4.4))],
    );
    expect(run(problem)).toMatchObject({ found: true, workUnits: 13, modes: [0, 1] });
    // Neither without both: 5.40 $ lost; l alone: 1.40, of which 1 $ is seen at the end only.
    expect(run(problem, { lossBelow: 1.1 })).toMatchObject({ found: true, modes: [0, 1] });
    expect(run(problem, { lossBelow: 0.9 })).toMatchObject({ found: false, complete: true });
  });

  test('again and again no more states are kept than one search needs', () => {
    const { bench } = prepare(knapsack)!;
    for (let n = 0; n < 50; n += 1)
      expect(search(bench, { mostStates: 12 })).toMatchObject({ found: true, complete: true });
  });
});

describe('floors across the tree that cost money', () => {
  const cost = (id: string, limit: string, dollars: number) =>
    deviceOf(id, limit, [
      [0, 0],
      [40, -dollars],
    ]);
  const devices = [
    cost('a1', 'left', 1),
    cost('a2', 'left', 2),
    cost('b', 'right', 4),
    cost('c1', 'left', 1.5),
    cost('c2', 'right', 1),
    deviceOf('d', 'left', [[15, 0]]),
    deviceOf('e', 'right', [[5, 0]]),
  ];
  const floors = (f: number, g: number) => [
    floorOf('f', ['a1', 'a2', 'b', 'd'], f),
    floorOf('g', ['c1', 'c2', 'e'], g),
  ];
  const shapes = {
    'below one limit each': [
      limitOf('site', null, 900),
      limitOf('left', 'site', 900),
      limitOf('right', 'site', 900),
    ],
    'below a hall': [
      limitOf('site', null, 900),
      limitOf('hall', 'site', 900),
      limitOf('left', 'hall', 900),
      limitOf('right', 'hall', 900),
    ],
    'on two roots': [limitOf('left', null, 900), limitOf('right', null, 900)],
  };

  test.each(Object.entries(shapes))('%s: met at the least cost, and no better', (_name, limits) => {
    // a1, a2, b, c1, c2, d, e
    for (const [f, g, modes] of [
      [15, 5, [0, 0, 0, 0, 0, 0, 0]],
      [16, 5, [1, 0, 0, 0, 0, 0, 0]],
      [55, 6, [1, 0, 0, 0, 1, 0, 0]],
      [56, 45, [1, 1, 0, 0, 1, 0, 0]],
      [95, 46, [1, 1, 0, 1, 1, 0, 0]],
      [96, 85, [1, 1, 1, 1, 1, 0, 0]],
    ] as const)
      expect(run(siteOf(limits, devices, floors(f, g))), `${f} and ${g} W`).toMatchObject({
        found: true,
        complete: true,
        modes,
      });
    const { bench } = prepare(siteOf(limits, devices, floors(135, 85)))!;
    bench.compiled.floorWatts.set([136, 85]);
    expect(search(bench)).toMatchObject({ found: false, complete: true });
  });

  test('on two roots, with too little work for the first, the second, both together', () => {
    const { bench } = prepare(siteOf(shapes['on two roots'], devices, floors(56, 45)))!;
    const { workUnits } = search(bench);
    for (let less = 0; less < workUnits; less += 1)
      expect(search(bench, { workUnits: less })).toMatchObject({ found: false, complete: false });
    expect(search(bench, { workUnits })).toMatchObject({ found: true, complete: true });
  });
});

describe('laws of the search (tiny sites, seeds 1 to 120)', () => {
  const tiny = Array.from({ length: 120 }, (_, n) => {
    const problem = tinySite(n + 1);
    return { name: `seed ${n + 1}`, problem, best: bruteForce(problem)?.dollarsPerHour ?? null };
  });
  /** Those of them that can be prepared, afresh. */
  const sites = () =>
    tiny.flatMap((site) => {
      const prepared = prepare(site.problem);
      return prepared === null ? [] : [{ ...site, ...prepared }];
    });

  test('wide enough it finds the best choice, or that there is none', () => {
    for (const { name, bench, best } of sites()) {
      const { found, complete } = search(bench);
      expect(complete, name).toBe(true);
      expect(found, name).toBe(best !== null);
      if (best === null) continue;
      expect(isFeasible(bench.compiled, bench.trial), name).toBe(true);
      expect(choiceValue(bench.compiled, bench.trial.mode, 0).value, name).toBeCloseTo(best, 11);
    }
  });

  test('a choice loses what it earns less than the bound: found just above that, not below', () => {
    for (const { name, bench, best, bound } of sites()) {
      if (best === null) continue;
      const above = search(bench, { lossBelow: bound - best + 1e-9 });
      expect(above.found, name).toBe(true);
      expect(choiceValue(bench.compiled, bench.trial.mode, 0).value, name).toBeCloseTo(best, 11);
      // A floor across the tree is not charged for what it is exceeded by.
      if (bound - best < 1e-8 || bench.memory.sumOf.some((sum) => sum >= 0)) continue;
      expect(search(bench, { lossBelow: bound - best - 1e-9 }), name).toMatchObject({
        found: false,
        complete: true,
      });
    }
  });

  test('however narrow: what is found holds, and where it says complete it is the best', () => {
    for (const { name, bench, best } of sites()) {
      for (const [coreDevices, beam, workUnits] of [
        [1, 2, 1e9],
        [2, 3, 1e9],
        [1e9, 2, 1e9],
        [1e9, 4, 60],
        [2, 8, 20],
      ] as const) {
        const { found, complete, workUnits: spent } = search(bench, { coreDevices, beam, workUnits });
        expect(spent, name).toBeLessThanOrEqual(workUnits);
        if (found) expect(isFeasible(bench.compiled, bench.trial), name).toBe(true);
        if (!complete) continue;
        expect(found, name).toBe(best !== null);
        if (best !== null)
          expect(choiceValue(bench.compiled, bench.trial.mode, 0).value, name).toBeCloseTo(best, 11);
      }
    }
  });

  test('energy prices change which is best, not how it is found', () => {
    for (const { name, problem } of sites()) {
      if (problem.floors.length > 0) continue;
      const price = 0.004;
      const gainOf = (id: string): number => {
        const limit = problem.limits.find((one) => one.id === id)!;
        return limit.parent === null ? 1 : limit.gain * gainOf(limit.parent);
      };
      const dearer: Problem = {
        ...problem,
        devices: problem.devices.map((device) => ({
          ...device,
          modes: device.modes.map((mode) => ({
            ...mode,
            dollarsPerHour: mode.dollarsPerHour - price * gainOf(device.limit) * mode.watts,
          })),
        })),
      };
      const { bench, bound } = prepare(problem, price)!;
      const best = bruteForce(dearer)!.dollarsPerHour;
      for (const lossBelow of [bound - best + 1e-9, Number.POSITIVE_INFINITY]) {
        search(bench, { lossBelow }, price);
        expect(choiceValue(bench.compiled, bench.trial.mode, price).value, name).toBeCloseTo(best, 11);
      }
    }
  });

  test('a wider one of larger sites is no worse, and none beats the bound (seeds 1 to 3)', () => {
    for (let seed = 1; seed <= 3; seed += 1) {
      const { bench, bound } = prepare(randomSite({ family: 'tight', deviceCount: 24, seed }))!;
      let before = Number.NEGATIVE_INFINITY;
      for (const [coreDevices, beam] of [
        [4, 16],
        [12, 64],
        [24, 256],
      ] as const) {
        const { found } = search(bench, { coreDevices, beam, lossBelow: 1 });
        expect(found, `seed ${seed}`).toBe(true);
        const { value } = choiceValue(bench.compiled, bench.trial.mode, 0);
        expect(value, `seed ${seed}`).toBeGreaterThanOrEqual(before);
        expect(value, `seed ${seed}`).toBeLessThanOrEqual(bound);
        before = value;
      }
    }
  });
});
