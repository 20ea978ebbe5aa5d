import { describe, expect, test } from 'vitest';
import {
  findBreakers,
  reducedBest,
  reducedUnknown,
  takeApart,
  wholeBreakerSite,
} from '../../../agent/allocation/breakers.ts';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { solveProblem } from '../../../agent/allocation/solve.ts';
import { coarseSite, randomSite, tinySite } from '../../support/allocation-problems.ts';
import {
  allChoices,
  extendOn,
  offOrOn,
  prepareBreakers,
  SIX_ON_A_BREAKER,
} from '../../support/breaker-bench.ts';
import { bruteForce, judge } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

describe('a breaker of six that single moves leave short', () => {
  test('apart and without a search: two of the best and one more', () => {
    expect(solveProblem(SIX_ON_A_BREAKER, { workUnits: 0 })).toMatchObject({
      dollarsPerHour: 16.9,
      status: 'feasible',
    });
  });

  test('as a whole: four of the others, proved, and no bound above that', () => {
    const answer = solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000 });
    expect(answer).toMatchObject({ status: 'optimal', dollarsPerHour: expect.closeTo(19.6, 12) });
    expect(answer.modes).toEqual({ a1: 'm0', a2: 'm0', c1: 'm1', c2: 'm1', c3: 'm1', c4: 'm1' });
    expect(answer.upperBoundDollarsPerHour).toBeCloseTo(19.6, 9);
    expect(answer.upperBoundDollarsPerHour).toBeGreaterThanOrEqual(answer.dollarsPerHour);
    // In parts of steps two of the best and 80 W of the others.
    const apart = solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000, wholeBreakers: false });
    expect(apart.upperBoundDollarsPerHour).toBeCloseTo(12 + 1.6 * 4.9, 9);
  });

  test('its choices by rising watts and value, those that others beat left out', () => {
    const { bench, breakers } = prepareBreakers(SIX_ON_A_BREAKER);
    expect(breakers).toHaveLength(1);
    expect(extendOn(bench, breakers).extended).toBe(true);
    const { columns, limit } = breakers[0]!;
    expect(bench.compiled.limitIds[limit]).toBe('b');
    for (const [k, { watts, value, modes }] of columns.entries()) {
      expect(watts).toBeLessThanOrEqual(200);
      if (k > 0) expect(watts).toBeGreaterThan(columns[k - 1]!.watts);
      if (k > 0) expect(value).toBeGreaterThan(columns[k - 1]!.value);
      const on = SIX_ON_A_BREAKER.devices.filter((_device, d) => modes[d] === 1);
      expect(on.reduce((sum, device) => sum + device.modes[1]!.watts, 0)).toBe(watts);
      expect(on.reduce((sum, device) => sum + device.modes[1]!.dollarsPerHour, 0)).toBeCloseTo(value, 12);
    }
    expect(columns.at(-1)).toMatchObject({ watts: 200, value: expect.closeTo(19.6, 12) });
    // Nothing more is wanted at the same prices.
    expect(extendOn(bench, breakers)).toEqual({ workUnits: 0, extended: false });
  });

  test('where nothing is near, it looks further', () => {
    const { bench, breakers } = prepareBreakers(SIX_ON_A_BREAKER);
    // As if the limits above left room for none of them: all off loses 24 cents, twelve times what is looked at first.
    bench.memory.roomWatts[breakers[0]!.limit] = 30;
    expect(extendOn(bench, breakers).extended).toBe(true);
    expect(breakers[0]!.columns).toMatchObject([{ watts: 0, value: 0 }]);
    expect(breakers[0]!.lossBelow).toBeGreaterThan(0.24);
  });

  test('the order of the file says nothing about which of equals is on', () => {
    const turned = {
      ...SIX_ON_A_BREAKER,
      devices: SIX_ON_A_BREAKER.devices.toReversed(),
      limits: SIX_ON_A_BREAKER.limits.toReversed(),
    };
    expect(solveProblem(turned, { workUnits: 1000 }).modes).toEqual(
      solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000 }).modes,
    );
    const equal = siteOf(
      [limitOf('site', null, 1000), limitOf('b', 'site', 205)],
      Array.from({ length: 6 }, (_, n) =>
        deviceOf(`d${n}`, 'b', [
          [30, 0],
          [50, 1],
          [60, 1.2],
        ]),
      ),
    );
    const answer = solveProblem(equal, { workUnits: 10_000 });
    expect(answer.status).toBe('optimal');
    expect(answer.dollarsPerHour).toBe(bruteForce(equal)!.dollarsPerHour);
  });
});

describe('which limits are breakers', () => {
  const many = (count: number): Problem =>
    siteOf(
      [limitOf('site', null, 1e6), limitOf('b', 'site', 100)],
      Array.from({ length: count }, (_, n) => deviceOf(`d${n}`, 'b', offOrOn(60 + n, 6))),
    );

  test('two to sixteen devices right below, and a limit above', () => {
    for (const [count, found] of [
      [1, 0],
      [2, 1],
      [16, 1],
      [17, 0],
    ] as const)
      expect(prepareBreakers(many(count)).breakers, `${count} devices`).toHaveLength(found);
    const root = { ...many(3), limits: [limitOf('b', null, 100)] };
    expect(prepareBreakers(root).breakers).toHaveLength(0);
    const above = { ...many(3), limits: [...many(3).limits, limitOf('below', 'b', 10)] };
    expect(prepareBreakers(above).breakers).toHaveLength(0);
  });

  test('one that earns nothing is none', () => {
    const idle = { ...many(3), limits: [limitOf('site', null, 1e6), limitOf('b', 'site', 0)] };
    expect(prepareBreakers(idle).breakers).toHaveLength(0);
  });

  test('none with a device in a floor: those stay apart, and every floor holds', () => {
    const two = siteOf(
      [limitOf('site', null, 330), limitOf('b', 'site', 200), limitOf('f', 'site', 200)],
      [
        ...SIX_ON_A_BREAKER.devices,
        ...SIX_ON_A_BREAKER.devices.map((device) => ({ ...device, id: `f-${device.id}`, limit: 'f' })),
      ],
      [floorOf('firm', ['f-c1', 'f-a1'], 55)],
    );
    const { bench, breakers } = prepareBreakers(two);
    expect(breakers.map(({ limit }) => bench.compiled.limitIds[limit])).toEqual(['b']);
    const answer = solveProblem(two, { workUnits: 100_000 });
    expect(answer).toMatchObject({ status: 'optimal' });
    expect(judge(two, answer.modes).violations).toEqual([]);
    expect(answer.dollarsPerHour).toBeCloseTo(bruteForce(two)!.dollarsPerHour, 10);
  });

  test('of those named alone', () => {
    const { bench } = prepareBreakers(SIX_ON_A_BREAKER);
    const { compiled: c, workspace: w, memory: m } = bench;
    expect(findBreakers(c, w, m, 0, new Set(['b']))).toHaveLength(1);
    expect(findBreakers(c, w, m, 0, new Set(['site', 'x']))).toHaveLength(0);
    expect(solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000, wholeBreakers: new Set(['x']) })).toEqual(
      solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000, wholeBreakers: false }),
    );
    expect(solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000, wholeBreakers: new Set(['b']) })).toEqual(
      solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000 }),
    );
  });

  test('those whose own price weighs most come first', () => {
    const problem = siteOf(
      [
        limitOf('site', null, 1000),
        limitOf('loose', 'site', 500),
        limitOf('small', 'site', 100),
        limitOf('x-large', 'site', 300),
      ],
      ['loose', 'small', 'x-large'].flatMap((limit) =>
        Array.from({ length: 6 }, (_, n) => deviceOf(`${limit}-${n}`, limit, offOrOn(70, 7))),
      ),
    );
    const { bench, breakers } = prepareBreakers(problem);
    const names = breakers.map(({ limit }) => bench.compiled.limitIds[limit]);
    expect(names).toEqual(['x-large', 'small', 'loose']);
  });
});

describe('the site of whole breakers', () => {
  /** A watt at the breaker is 1.1 at the site, 20 W are always on; the site has 231 W. */
  const lossy = siteOf(
    [limitOf('site', null, 231), limitOf('b', 'site', 215, { gain: 1.1, fixedWatts: 20 })],
    [...SIX_ON_A_BREAKER.devices, deviceOf('s', 'site', offOrOn(15, 0.3))],
  );

  test('counts losses and fixed load at the limit above', () => {
    const { bench, breakers } = prepareBreakers(lossy);
    const { compiled: c, memory: m } = bench;
    extendOn(bench, breakers);
    const site = wholeBreakerSite(c, breakers, 0);
    expect(site.limits.map(({ id }) => id)).toEqual(['site']);
    expect(site.devices.map(({ id, limit }) => [id, limit])).toEqual([
      [`breaker ${breakers[0]!.limit}`, 'site'],
      [`device ${c.deviceIndex.get('s')}`, 'site'],
    ]);
    const watts = site.devices[0]!.modes.map((mode) => mode.watts);
    expect(watts).toEqual(breakers[0]!.columns.map((column) => column.watts * 1.1));
    expect(watts[0]).toBeCloseTo(22, 12);
    const above = compileProblem(site);
    const mode = new Int32Array(c.deviceIds.length).fill(-1);
    takeApart(c, m, breakers, above, Int32Array.of(0, 1), mode);
    expect([...mode]).toEqual([0, 0, 0, 0, 0, 0, 1]);
    const answer = solveProblem(lossy, { workUnits: 10_000 });
    expect(answer.status).toBe('optimal');
    expect(answer.dollarsPerHour).toBeCloseTo(bruteForce(lossy)!.dollarsPerHour, 10);
    expect(judge(lossy, answer.modes).violations).toEqual([]);
  });

  test('its prices are for a watt at the breaker, whichever limit binds', () => {
    const [breaker] = prepareBreakers(lossy).breakers;
    // The site binds: 4.90 $ for 50 W at the breaker, and the two of 6 $ for 60 W earn 0.12 $ more each than that.
    expect(breaker).toMatchObject({
      price: expect.closeTo(0.098, 12),
      priceAbove: expect.closeTo(0.098, 12),
      relaxedDollars: expect.closeTo(0.098 * (215 - 20) + 0.24, 12),
    });
    const [own] = prepareBreakers({
      ...lossy,
      limits: [{ ...lossy.limits[0]!, capacityWatts: 1000 }, lossy.limits[1]!],
    }).breakers;
    expect(own).toMatchObject({ price: expect.closeTo(0.098, 12), priceAbove: 0 });
    expect(own!.relaxedDollars).toBeCloseTo(breaker!.relaxedDollars, 12);
  });

  test('is worth what is left after energy, by losses and all', () => {
    const { bench, breakers } = prepareBreakers(lossy, 0.01);
    const { compiled: c } = bench;
    extendOn(bench, breakers, 1e6, 0.01);
    const [whole, single] = wholeBreakerSite(c, breakers, 0.01).devices;
    for (const [k, { watts, modes }] of breakers[0]!.columns.entries()) {
      const gross = SIX_ON_A_BREAKER.devices.reduce(
        (sum, device, d) => sum + device.modes[modes[d]!]!.dollarsPerHour,
        0,
      );
      expect(whole!.modes[k]!.dollarsPerHour).toBeCloseTo(gross - 0.011 * (watts - 20), 12);
    }
    expect(single!.modes[1]!.dollarsPerHour).toBeCloseTo(0.3 - 0.15, 12);
  });
});

describe('what is not known of a breaker is bounded (seeds 1 to 8)', () => {
  test('no choice earns more, at any price above, than the best known or what is said of the rest', () => {
    let short = 0;
    for (let seed = 1; seed <= 8; seed += 1) {
      const problem = randomSite({ family: seed % 2 === 0 ? 'tight' : 'non-concave', deviceCount: 12, seed });
      const energyPrice = seed % 3 === 0 ? 0.00002 : 0;
      for (const workUnits of [0, 100, 1e6]) {
        const { bench, breakers } = prepareBreakers(problem, energyPrice);
        const { compiled: c, memory: m } = bench;
        extendOn(bench, breakers, workUnits, energyPrice);
        for (const breaker of breakers) {
          const choices = allChoices(bench, breaker.limit, energyPrice);
          for (const factor of [0, 0.3, 0.9, 1, 1.2, 3]) {
            const price = factor * (breaker.priceAbove + breaker.price / 2);
            const best = Math.max(...choices.map(([watts, value]) => value - price * watts));
            const known = reducedBest(breaker, price);
            const said = Math.max(known, reducedUnknown(c, m, breaker, price, energyPrice));
            expect(best, `seed ${seed}`).toBeLessThanOrEqual(said + 1e-12);
            if (breaker.lossBelow > 0) expect(known, `seed ${seed}`).toBeLessThanOrEqual(best + 1e-12);
            if (factor === 0.9 && workUnits === 1e6 && said > best + 1e-12) short += 1;
          }
        }
      }
    }
    // Near the prices that it was asked for, mostly nothing better is thought possible than there is.
    expect(short).toBeLessThan(8);
  });
});

describe('within its budget', () => {
  test('where it runs out in the middle: never over it, never worse, a bound between (seeds 1 to 6)', () => {
    let lowered = 0;
    for (let seed = 1; seed <= 6; seed += 1) {
      const problem = coarseSite(seed, 12, 3, 2);
      const best = bruteForce(problem)!.dollarsPerHour;
      const relaxed = solveProblem(problem, { workUnits: 0 });
      for (let workUnits = 90; workUnits < 900; workUnits += 45) {
        const name = `seed ${seed}, ${workUnits} units`;
        const answer = solveProblem(problem, { workUnits });
        expect(judge(problem, answer.modes).violations, name).toEqual([]);
        expect(answer.dollarsPerHour, name).toBeGreaterThanOrEqual(relaxed.dollarsPerHour);
        const bound = answer.upperBoundDollarsPerHour!;
        expect(bound, name).toBeGreaterThanOrEqual(best);
        expect(bound, name).toBeLessThanOrEqual(relaxed.upperBoundDollarsPerHour!);
        if (answer.status === 'optimal') expect(answer.dollarsPerHour, name).toBeCloseTo(best, 9);
        if (bound < relaxed.upperBoundDollarsPerHour!) lowered += 1;
        expect(solveProblem(problem, { workUnits }), name).toEqual(answer);
      }
    }
    expect(lowered).toBeGreaterThan(20);
  });

  test('no breaker is begun that the work does not reach for; those before it are kept', () => {
    const problem = randomSite({ family: 'tight', deviceCount: 60, seed: 3 });
    let before = 0;
    for (const workUnits of [0, 50, 400, 1500, 5000, 1e6]) {
      const { bench, breakers } = prepareBreakers(problem);
      expect(breakers).toHaveLength(10);
      const { workUnits: spent } = extendOn(bench, breakers, workUnits);
      expect(spent).toBeLessThanOrEqual(workUnits);
      const known = breakers.filter((breaker) => breaker.lossBelow > 0).length;
      expect(known).toBeGreaterThanOrEqual(before);
      before = known;
    }
    expect(before).toBe(10);
  });

  test('tiny sites of every kind: the bound holds at any budget (seeds 1 to 200)', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const problem = tinySite(seed);
      const best = bruteForce(problem);
      if (best === null) continue;
      for (const workUnits of [20, 60, 200, 2000]) {
        const answer = solveProblem(problem, { workUnits });
        const { violations } = judge(problem, answer.modes);
        if (answer.status === 'infeasible') continue;
        expect(violations, `seed ${seed}`).toEqual([]);
        expect(answer.upperBoundDollarsPerHour, `seed ${seed}`).toBeGreaterThanOrEqual(best.dollarsPerHour);
        if (answer.status === 'optimal')
          expect(answer.dollarsPerHour, `seed ${seed}`).toBeCloseTo(best.dollarsPerHour, 10);
      }
    }
  });

  test('a site that the work cannot reach for is left as it is: 8 units for each device of its breakers', () => {
    expect(solveProblem(SIX_ON_A_BREAKER, { workUnits: 47 }).upperBoundDollarsPerHour).toBeCloseTo(19.84, 9);
    expect(solveProblem(SIX_ON_A_BREAKER, { workUnits: 48 }).upperBoundDollarsPerHour).toBeLessThan(
      19.84 - 1e-6,
    );
  });

  test('a small gap is left to the search of its own budget', () => {
    const answer = solveProblem(SIX_ON_A_BREAKER, { workUnits: 1000, smallGap: 1, smallGapUnits: 1000 });
    expect(answer).toMatchObject({ dollarsPerHour: expect.closeTo(19.6, 12) });
    expect(answer.upperBoundDollarsPerHour).toBeCloseTo(19.84, 9);
  });
});
