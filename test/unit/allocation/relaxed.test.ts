import { describe, expect, test } from 'vitest';
import { createChoice, roundDown } from '../../../agent/allocation/fill.ts';
import { ACCEPTED_WATTS, type Problem } from '../../../agent/allocation/problem.ts';
import { computeBaseSlack, countAbove, createWorkspace } from '../../../agent/allocation/sweep.ts';
import { FAMILIES, nestedFloors, randomSite, tinySite } from '../../support/allocation-problems.ts';
import { bruteForce } from '../../support/brute-force.ts';
import { dualValue, type RelaxedRun, relax, sweptValue } from '../../support/relaxed.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/**
 * Two limits, three devices: `a` hangs on the site and earns 1 cent a watt up to 400 W; on the PDU `b` earns 2 cents up
 * to 300 W and `c` half a cent up to 400 W. 100 W at the site are nobody's choice.
 */
function three(siteWatts: number, pduWatts: number, floorWatts: number | null = null, gain = 1): Problem {
  return siteOf(
    [limitOf('site', null, siteWatts, { fixedWatts: 100 }), limitOf('pdu', 'site', pduWatts, { gain })],
    [
      deviceOf('a', 'site', [
        [0, 0],
        [400, 4],
      ]),
      deviceOf('b', 'pdu', [
        [0, 0],
        [300, 6],
      ]),
      deviceOf('c', 'pdu', [
        [0, 0],
        [400, 2],
      ]),
    ],
    floorWatts === null ? [] : [floorOf('firm', ['c'], floorWatts)],
  );
}

const wattsOf = ({ c, w }: RelaxedRun): number[] =>
  c.deviceIds.map((_id, i) => {
    const start = i * c.stride;
    return (
      c.modeWatts[start + c.hullMode[start + w.corner[i]!]!]! +
      w.partRootWatts[i]! / c.limitRootGain[c.deviceLimit[i]!]!
    );
  });

describe.each([
  ['swept', true],
  ['by its cuts', false],
])('two limits and three devices, %s', (_name, swept) => {
  const run = (problem: Problem, price = 0): RelaxedRun => relax(problem, price, swept);

  test('room for all: nothing binds', () => {
    const { bound, limitPrice } = run(three(1200, 700));
    expect(bound).toBeCloseTo(12, 12);
    expect(limitPrice).toEqual({ site: 0, pdu: 0 });
  });

  test('the site binds: c takes what is left, at its half cent', () => {
    const { bound, limitPrice } = run(three(900, 700));
    expect(bound).toBeCloseTo(6 + 4 + 0.5, 12);
    expect(limitPrice['site']).toBeCloseTo(0.005, 15);
    expect(limitPrice['pdu']).toBe(0);
  });

  test('the PDU binds: the site has no price', () => {
    const { bound, limitPrice } = run(three(1200, 350));
    expect(bound).toBeCloseTo(6 + 4 + 0.25, 12);
    expect(limitPrice['site']).toBe(0);
    expect(limitPrice['pdu']).toBeCloseTo(0.005, 15);
  });

  test("both bind, the PDU earlier: its price is on top of the site's", () => {
    // b takes all of the PDU's 200 W, a 350 W of the site's.
    const { bound, limitPrice } = run(three(650, 200));
    expect(bound).toBeCloseTo(4 + 3.5, 12);
    expect(limitPrice['site']).toBeCloseTo(0.01, 15);
    expect(limitPrice['pdu']).toBeCloseTo(0.01, 15);
  });

  test('no room at all: the best is what the next watt would earn', () => {
    const { bound, limitPrice } = run(three(100, 200));
    expect(bound).toBeCloseTo(0, 12);
    expect(limitPrice['site']).toBeCloseTo(0.02, 15);
    expect(limitPrice['pdu']).toBe(0);
  });

  test('losses on the way count: a watt at the PDU is a watt and a quarter at the site', () => {
    // b: 300 W for 375 W at the site; a: 400 W; c is worth 0.4 cents a watt at the site: 50 W of it, 40 W of its own.
    const { bound, limitPrice } = run(three(925, 700, null, 1.25));
    expect(bound).toBeCloseTo(6 + 4 + 0.2, 12);
    expect(limitPrice['site']).toBeCloseTo(0.004, 15);
    expect(limitPrice['pdu']).toBe(0);
    const narrow = run(three(2000, 320, null, 1.25));
    expect(narrow.bound).toBeCloseTo(6 + 4 + 0.1, 12);
    // In watts of its own.
    expect(narrow.limitPrice['pdu']).toBeCloseTo(0.005, 15);
  });

  test('energy is paid at the site: what does not earn it stays out', () => {
    const { bound, limitPrice } = run(three(2000, 700, null, 1.25), 0.006);
    expect(bound).toBeCloseTo(6 - 0.006 * 375 + 4 - 0.006 * 400, 12);
    expect(limitPrice).toEqual({ site: 0, pdu: 0 });
    const tight = run(three(825, 700, null, 1.25), 0.002);
    // 350 W are left for a, at a cent less its energy.
    expect(tight.bound).toBeCloseTo(6 - 0.002 * 375 + 350 * 0.008, 12);
    expect(tight.limitPrice['site']).toBeCloseTo(0.008, 15);
    // A segment that earns its energy and no more stays out.
    expect(run(three(1200, 700), 0.005).bound).toBeCloseTo(6 + 4 - 0.005 * 700, 12);
  });

  test('whole modes of it: what is taken in part is not taken', () => {
    for (const [problem, modes] of [
      [three(1200, 700), [1, 1, 1]],
      [three(900, 700), [1, 1, 0]],
      // Swept, the choice goes through the order anew, and finds room for a.
      [three(650, 200), [swept ? 1 : 0, 0, 0]],
      [three(700, 300), [0, 1, 0]],
      // Full to the watt: what fits is taken.
      [three(1200, 300), [1, 1, 0]],
      [three(800, 700), [1, 1, 0]],
    ] as const) {
      const { c, w } = run(problem);
      const choice = createChoice(c);
      roundDown(c, w, 0, choice);
      expect([...choice.mode]).toEqual(modes);
    }
  });

  test('several roots share nothing', () => {
    const apart = three(500, 350);
    const limits = apart.limits.map((limit) => ({ ...limit, parent: null }));
    const { bound, limitPrice } = run({ ...apart, limits });
    expect(bound).toBeCloseTo(4 + 6 + 0.25, 12);
    expect(limitPrice['site']).toBe(0);
    expect(limitPrice['pdu']).toBeCloseTo(0.005, 15);
    // One is full, and others go on.
    const full = run({
      ...three(200, 350),
      limits: limits.map((limit, n) => ({ ...limit, capacityWatts: [200, 350][n]! })),
    });
    expect(full.bound).toBeCloseTo(1 + 6 + 0.25, 12);
    expect(full.limitPrice['site']).toBeCloseTo(0.01, 15);
    expect(full.limitPrice['pdu']).toBeCloseTo(0.005, 15);
  });
});

describe('the sweep', () => {
  test('leaves the watts, what is left at each limit and who was turned away', () => {
    const { c, w } = relax(three(900, 450), 0, true);
    expect(c.deviceIds).toEqual(['a', 'b', 'c']);
    expect([...w.corner]).toEqual([1, 1, 0]);
    expect([...w.partRootWatts]).toEqual([0, 0, 100]);
    expect([...w.slack]).toEqual([0, 50]);
    expect([...w.limitKey]).toEqual([0.005, Number.NaN]);
    expect([...w.blocked]).toEqual([0, 0, 1]);
  });

  test('a device that was turned away takes nothing more, others do', () => {
    // b stops at 150 W; its second segment is worth more than a, but comes after the first.
    const problem = siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 150)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [100, 1],
        ]),
        deviceOf('b', 'pdu', [
          [0, 0],
          [200, 10],
          [300, 13],
        ]),
      ],
    );
    const run = relax(problem, 0, true);
    expect(wattsOf(run)).toEqual([100, 150]);
    expect(run.bound).toBeCloseTo(1 + 7.5, 12);
    expect(run.limitPrice['pdu']).toBeCloseTo(0.05, 15);
  });

  test('how much of an order is worth more than a price', () => {
    const { c, w } = relax(three(1200, 700), 0, true);
    expect(w.sweepCount).toBe(3);
    expect(c.segmentKey[w.sweepOrder[0]!]).toBe(0.02);
    expect(
      [-1, 0, 0.004, 0.005, 0.006, 0.01, 0.015, 0.02, 0.03].map((price) => countAbove(w, price)),
    ).toEqual([3, 3, 3, 2, 2, 1, 1, 0, 0]);
  });

  test('what is left with everything at its least, and whether that holds', () => {
    for (const swept of [true, false]) {
      const problem = siteOf(
        [
          limitOf('site', null, 1000, { fixedWatts: 100 }),
          limitOf('pdu', 'site', 50, { gain: 1.5, fixedWatts: 4 }),
        ],
        [deviceOf('a', 'site', [[10, 0]]), deviceOf('b', 'pdu', [[6, 0]]), deviceOf('c', 'pdu', [[20, 0]])],
      );
      const slackOf = (change: { site?: number; pdu?: number }): { holds: boolean; slack: number[] } => {
        const { site = 1000, pdu = 50 } = change;
        const limits = problem.limits.map((one) => ({
          ...one,
          capacityWatts: one.id === 'site' ? site : pdu,
        }));
        const { c, w } = relax({ ...problem, limits }, 0, swept);
        return { holds: computeBaseSlack(c, w), slack: [...w.baseSlack] };
      };
      // The PDU carries 30 W, 45 W at the site, which carries 155 W.
      expect(slackOf({})).toEqual({ holds: true, slack: [845, 30] });
      expect(slackOf({ site: 155 })).toEqual({ holds: true, slack: [0, 30] });
      expect(slackOf({ site: 154 })).toEqual({ holds: false, slack: [0, 30] });
      expect(slackOf({ pdu: 30 })).toEqual({ holds: true, slack: [845, 0] });
      expect(slackOf({ pdu: 29 })).toEqual({ holds: false, slack: [845, 0] });
      // Less than a millionth of a watt is rounding.
      expect(slackOf({ pdu: 30 - 8e-7 }).holds).toBe(true);
      expect(slackOf({ pdu: 30 - 1e-6 }).holds).toBe(false);
    }
    const fixedWatts = ACCEPTED_WATTS;
    const over = relax(siteOf([limitOf('site', null, 0, { fixedWatts })], []));
    expect(computeBaseSlack(over.c, over.w)).toBe(true);
  });

  test('sites without floors are not swept', () => {
    const { c } = relax(three(900, 700));
    expect(createWorkspace(c).unswept).not.toBeNull();
    expect(createWorkspace(c).order).toHaveLength(0);
    expect(createWorkspace(c, true).unswept).toBeNull();
    const floored = relax(three(900, 700, 50));
    expect(floored.w.unswept).toBeNull();
    // No floor cuts across: there is one order and one set of keys.
    expect(floored.w.sweepOrder).toBe(floored.w.order);
    expect(floored.w.keys).toBe(floored.c.segmentKey);
    expect(createWorkspace(floored.c).unswept).toBeNull();
    expect(createWorkspace(floored.c).order.length).toBeGreaterThan(0);
  });
});

describe('a floor below one limit', () => {
  test('is served first, at the price that this costs', () => {
    // c must take 250 W at half a cent; b gets 200 W of the PDU, a all.
    const run = relax(three(2000, 450, 250));
    expect(wattsOf(run)).toEqual([400, 200, 250]);
    expect(run.bound).toBeCloseTo(4 + 4 + 1.25, 12);
    expect(run.limitPrice['pdu']).toBeCloseTo(0.02, 15);
    expect(run.floorPrice['firm']).toBeCloseTo(0.015, 15);
    expect([...run.w.floorServedKey]).toEqual([0.005]);
  });

  test('that is exceeded anyway costs nothing', () => {
    const run = relax(three(2000, 700, 250));
    expect(wattsOf(run)).toEqual([400, 300, 400]);
    expect(run.bound).toBeCloseTo(12, 12);
    expect(run.floorPrice['firm']).toBe(0);
    // What had to be served came first; the sweep went on from there.
    const some = relax(three(2000, 620, 250));
    expect(wattsOf(some)).toEqual([400, 300, 320]);
    expect(some.bound).toBeCloseTo(4 + 6 + 1.6, 12);
    expect(some.floorPrice['firm']).toBe(0);
    expect(some.limitPrice['pdu']).toBeCloseTo(0.005, 15);
  });

  test('of nothing, or of what its devices take at least, is served with nothing', () => {
    const run = relax(three(900, 700, 0));
    expect(run.bound).toBeCloseTo(10.5, 12);
    expect([...run.w.floorServedKey]).toEqual([Number.NaN]);
    expect(run.floorPrice['firm']).toBe(0);
  });

  test('that its limit or its devices cannot carry: nothing is feasible', () => {
    expect(relax(three(2000, 200, 250)).bound).toBeNull();
    expect(relax(three(300, 700, 250)).bound).toBeNull();
    expect(relax(three(2000, 700, 401)).bound).toBeNull();
    expect(relax(three(2000, 700, 400)).bound).not.toBeNull();
    expect(relax(three(2000, 400, 400)).bound).not.toBeNull();
    // Less than a millionth of a watt is rounding.
    expect(relax(three(2000, 400, 400 + 8e-7)).bound).not.toBeNull();
    expect(relax(three(2000, 400, 400 + 2e-6)).bound).toBeNull();
    // In watts of the floor's own, whatever a watt of it is at the site.
    expect(relax(three(2000, 400, 400 + 8e-7, 1.25)).bound).not.toBeNull();
    expect(relax(three(2000, 400, 400 + 1e-6, 0.8)).bound).toBeNull();
    expect(relax(three(2000, 700, 400 + 8e-7, 1.25)).bound).not.toBeNull();
  });

  test('counts in watts of its devices where there are losses', () => {
    // c takes 250 W, 312.5 W at the site; b 300 W, 375 W there; a has the 162.5 W that are left.
    const run = relax(three(950, 600, 250, 1.25));
    expect(wattsOf(run)).toEqual([162.5, 300, 250]);
    expect(run.bound).toBeCloseTo(1.625 + 6 + 1.25, 12);
    expect(run.limitPrice['site']).toBeCloseTo(0.01, 15);
    // A watt of c costs the site a watt and a quarter at a cent and earns half a cent.
    expect(run.floorPrice['firm']).toBeCloseTo(0.0125 - 0.005, 15);
  });

  test('over several devices takes the best of them first, within their own limits', () => {
    // 300 W over both: the inner PDU gives b 100 W only, so c has to take 200 W.
    const problem = siteOf(
      [limitOf('site', null, 320), limitOf('inner', 'site', 100)],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [400, 40],
        ]),
        deviceOf('b', 'inner', [
          [0, 0],
          [300, 9],
        ]),
        deviceOf('c', 'site', [
          [0, 0],
          [400, 4],
        ]),
      ],
    );
    const inner = relax({ ...problem, floors: [floorOf('firm', ['b'], 100)] });
    expect(wattsOf(inner)).toEqual([220, 100, 0]);
    expect(inner.bound).toBeCloseTo(22 + 3, 11);
    expect(inner.floorPrice['firm']).toBeCloseTo(0.1 - 0.03, 15);
    const both = relax({ ...problem, floors: [floorOf('firm', ['b', 'c'], 300)] });
    expect(both.bound).toBeCloseTo(2 + 3 + 2, 11);
    expect(both.limitPrice['site']).toBeCloseTo(0.1, 15);
    // Inside it the PDU binds: what b would spare c is two cents a watt.
    expect(both.limitPrice['inner']).toBeCloseTo(0.02, 15);
  });
});

describe('floors that cut across the tree', () => {
  /** `b` on the PDU and `a` on the site are in one floor, `c` on the PDU is in none. */
  const across = (watts: number, siteWatts: number, pduWatts: number, gain = 1): Problem => ({
    ...three(siteWatts, pduWatts, null, gain),
    floors: [floorOf('firm', ['a', 'c'], watts)],
  });

  test('that is met anyway has no price', () => {
    const { bound, floorPrice, w } = relax(across(450, 1200, 700));
    expect(bound).toBeCloseTo(12, 12);
    expect(floorPrice['firm']).toBe(0);
    expect([...w.floorReached]).toEqual([800]);
  });

  test('that is not: its price makes its devices as good as what they displace', () => {
    // Without it: a 400, b 300, c 100. With it c displaces 60 W of b.
    const { bound, floorPrice, limitPrice } = relax(across(560, 900, 700));
    expect(bound).toBeCloseTo(4 + 240 * 0.02 + 160 * 0.005, 10);
    expect(floorPrice['firm']).toBeCloseTo(0.015, 10);
    expect(limitPrice['site']).toBeCloseTo(0.02, 10);
  });

  test('with losses, and an energy price', () => {
    // The site has 800 W: a 400; c 100 for 125; b has 275 of the site, 220 of its own.
    const { bound, floorPrice } = relax(across(500, 900, 700, 1.25), 0.001);
    const net = 4 + 220 * 0.02 + 100 * 0.005 - 0.001 * 800;
    expect(bound).toBeCloseTo(net, 10);
    expect(floorPrice['firm']).toBeCloseTo(0.015, 10);
  });

  test('beyond what its devices or limits can take: nothing is feasible', () => {
    expect(relax(across(801, 5000, 700)).bound).toBeNull();
    expect(relax(across(800, 5000, 700)).bound).not.toBeNull();
    expect(relax(across(700, 750, 700)).bound).toBeNull();
    expect(relax(across(700, 5000, 200)).bound).toBeNull();
  });

  test('over nothing, or over all of two roots', () => {
    const none = { ...three(900, 700), floors: [floorOf('firm', [], 5)] };
    expect(relax(none).bound).toBeNull();
    expect(relax({ ...none, floors: [floorOf('firm', [], 0)] }).bound).toBeCloseTo(10.5, 12);
    const roots = three(500, 350);
    const limits = roots.limits.map((limit) => ({ ...limit, parent: null }));
    // All of both: 400 W of a, 350 W of b and c, of which c has to take 100 W more than it would.
    const two = relax({ limits, devices: roots.devices, floors: [floorOf('firm', ['a', 'b', 'c'], 750)] });
    expect(two.bound).toBeCloseTo(4 + 6 + 0.25, 10);
    expect(
      relax({ limits, devices: roots.devices, floors: [floorOf('firm', ['a', 'b', 'c'], 751)] }).bound,
    ).toBeNull();
  });

  test('several of them, with one below a limit: each its price', () => {
    const problem: Problem = siteOf(
      [limitOf('site', null, 1000), limitOf('left', 'site', 600), limitOf('right', 'site', 600)],
      ['left', 'right'].flatMap((limit) =>
        (['rich', 'one', 'two', 'own'] as const).map((name, n) =>
          deviceOf(`${limit}-${name}`, limit, [
            [0, 0],
            [300, [12, 3, 2, 1][n]!],
          ]),
        ),
      ),
      [
        floorOf('one', ['left-one', 'right-one'], 200),
        floorOf('own', ['left-own'], 100),
        floorOf('two', ['left-two', 'right-two'], 300),
      ],
    );
    const { bound, floorPrice, limitPrice } = relax(problem);
    // 600 W go to the floors, 400 W to the rich.
    expect(bound).toBeCloseTo(400 * 0.04 + 200 * 0.01 + 300 * (2 / 300) + 100 * (1 / 300), 9);
    expect(limitPrice['site']).toBeCloseTo(0.04, 9);
    expect(floorPrice['one']).toBeCloseTo(0.03, 9);
    expect(floorPrice['two']).toBeCloseTo(0.04 - 2 / 300, 9);
    expect(floorPrice['own']).toBeCloseTo(0.04 - 1 / 300, 9);
    // One of several that cannot be met.
    const tooMuch = {
      ...problem,
      floors: [problem.floors[0]!, floorOf('two', ['left-two', 'right-two'], 601)],
    };
    expect(relax(tooMuch).bound).toBeNull();
    // The floor below one limit that cannot be served beside others across the tree.
    const tooOwn = { ...problem, floors: [problem.floors[0]!, floorOf('own', ['left-own'], 301)] };
    expect(relax(tooOwn).bound).toBeNull();
  });
});

/** All sites of a kind that can be feasible when nothing is whole. */
function relaxedSites(): { name: string; problem: Problem }[] {
  const sites: { name: string; problem: Problem }[] = [];
  for (let seed = 1; seed <= 60; seed += 1) sites.push({ name: `tiny ${seed}`, problem: tinySite(seed) });
  for (let seed = 1; seed <= 6; seed += 1) {
    for (const family of FAMILIES) {
      const problem = randomSite({ family, deviceCount: 8 + 3 * seed, seed });
      sites.push({ name: `${family} ${seed}`, problem });
      if (problem.floors.length === 0)
        sites.push({ name: `${family} ${seed}, nested floors`, problem: nestedFloors(problem, seed) });
    }
  }
  return sites;
}

describe('laws of the relaxed answer (seeds 1 to 60 and 1 to 6)', () => {
  const SITES = relaxedSites();

  test('the bound is the dual function at the prices that are told', () => {
    for (const { name, problem } of SITES) {
      for (const price of [0, 0.00004]) {
        const run = relax(problem, price);
        if (run.bound === null) continue;
        const expected = dualValue(problem, run, price);
        expect(Math.abs(run.bound - expected), name).toBeLessThan(1e-9 * Math.max(1, Math.abs(expected)));
        for (const one of Object.values(run.limitPrice)) expect(one, name).toBeGreaterThanOrEqual(0);
        for (const one of Object.values(run.floorPrice)) expect(one, name).toBeGreaterThanOrEqual(0);
      }
    }
  });

  test('what is swept earns the bound, and holds', () => {
    for (const { name, problem } of SITES) {
      const run = relax(problem, 0.00004, true);
      // With a floor across the tree the bound is that of a mixture.
      if (run.bound === null || run.c.floorNested.includes(0)) continue;
      const { value, totals, floors } = sweptValue(run, 0.00004);
      expect(Math.abs(run.bound - value), name).toBeLessThan(1e-9 * Math.max(1, Math.abs(value)));
      for (const [n, total] of totals.entries())
        expect(total, `${name} ${run.c.limitIds[n]}`).toBeLessThan(run.c.limitCapacity[n]! + 1e-6);
      for (const [f, reached] of floors.entries())
        expect(reached, `${name} ${run.c.floorIds[f]}`).toBeGreaterThan(run.c.floorWatts[f]! - 1e-6);
    }
  });

  test('swept or by its cuts: the same bound', () => {
    for (const { name, problem } of SITES) {
      if (problem.floors.length > 0) continue;
      for (const price of [0, 0.00004]) {
        const swept = relax(problem, price, true).bound;
        const cut = relax(problem, price, false).bound;
        if (swept === null || cut === null) expect(cut, name).toBe(swept);
        else expect(Math.abs(cut - swept), name).toBeLessThan(1e-9 * Math.max(1, Math.abs(swept)));
      }
    }
  });

  test("no price is better than the floors' own: more or less of one raises the dual function", () => {
    for (const { name, problem } of SITES) {
      const run = relax(problem);
      if (run.bound === null) continue;
      for (const [floor, price] of Object.entries(run.floorPrice)) {
        for (const other of [0, price * 0.9, price * 1.1, price + 1e-6]) {
          const floorPrice = { ...run.floorPrice, [floor]: other };
          const there = dualValue(problem, { ...run, floorPrice }, 0);
          expect(there, `${name} ${floor}`).toBeGreaterThan(
            run.bound - 1e-9 * Math.max(1, Math.abs(run.bound)),
          );
        }
      }
    }
  });

  test('no choice earns more than the bound, and where nothing is feasible there need not be one', () => {
    for (const { name, problem } of SITES) {
      if (problem.devices.length > 6) continue;
      const best = bruteForce(problem);
      if (best === null) continue;
      const { bound } = relax(problem);
      expect(bound, name).not.toBeNull();
      expect(bound!, name).toBeGreaterThanOrEqual(best.dollarsPerHour);
    }
  });
});
