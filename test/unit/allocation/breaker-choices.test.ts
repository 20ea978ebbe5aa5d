import { describe, expect, test } from 'vitest';
import {
  reducedBest,
  reducedUnknown,
  takeApart,
  wholeBreakerSite,
} from '../../../agent/allocation/breakers.ts';
import { compileProblem } from '../../../agent/allocation/compile.ts';
import type { Bench } from '../../../agent/allocation/decide.ts';
import type { Problem } from '../../../agent/allocation/problem.ts';
import { randomSite } from '../../support/allocation-problems.ts';
import {
  allChoices,
  extendOn,
  offOrOn,
  prepareBreakers,
  SIX_ON_A_BREAKER,
} from '../../support/breaker-bench.ts';
import { judge } from '../../support/brute-force.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

/** A watt at the breaker is 1.25 at the site; 90 W of its 100 are for a and b, at 10 and 5 cents; the site pays 2 cents. */
const priced = siteOf(
  [limitOf('site', null, 300), limitOf('b', 'site', 100, { gain: 1.25, fixedWatts: 10 })],
  [
    deviceOf('a', 'b', offOrOn(60, 6)),
    deviceOf('b', 'b', offOrOn(60, 3)),
    deviceOf('s', 'site', offOrOn(400, 8)),
  ],
);

describe('what the relaxed answer says of a breaker', () => {
  test('its price, the price above and what it earns, each for its own watts', () => {
    expect(prepareBreakers(priced).breakers).toEqual([
      {
        limit: 1,
        price: expect.closeTo(0.05, 12),
        priceAbove: expect.closeTo(0.025, 12),
        // All of a and half of b.
        relaxedDollars: expect.closeTo(7.5, 12),
        marginDollars: expect.closeTo((0.003 * 7.5) / 2, 12),
        lossBelow: 0,
        columns: [],
      },
    ]);
  });

  test('less what their energy costs at the root', () => {
    const [breaker] = prepareBreakers(priced, 0.01).breakers;
    expect(breaker).toMatchObject({
      price: expect.closeTo(0.05 - 0.0125, 12),
      priceAbove: expect.closeTo(0.0125, 12),
      relaxedDollars: expect.closeTo(7.5 - 0.0125 * 90, 12),
    });
  });

  test('first comes whose own price weighs most, not whose path is dearest', () => {
    const problem = siteOf(
      [
        limitOf('site', null, 1000),
        limitOf('dear', 'site', 150),
        limitOf('at-dear', 'dear', 100),
        limitOf('free', 'site', 500),
        limitOf('z-free', 'free', 100),
      ],
      [
        ...['a1', 'a2'].map((id) => deviceOf(id, 'at-dear', offOrOn(60, 6.6))),
        deviceOf('a3', 'dear', offOrOn(90, 9)),
        ...['z1', 'z2'].map((id) => deviceOf(id, 'z-free', offOrOn(60, 3))),
      ],
    );
    const { bench, breakers } = prepareBreakers(problem);
    // Ten of eleven cents are paid above; five of five are its own.
    expect(breakers.map(({ limit }) => bench.compiled.limitIds[limit])).toEqual(['z-free', 'at-dear']);
    expect(breakers.map(({ price, priceAbove }) => price - priceAbove)).toEqual([
      expect.closeTo(0.05, 12),
      expect.closeTo(0.01, 12),
    ]);
  });
});

/** From everything at its least on, by the best segment after the other. */
const chained = siteOf(
  [limitOf('site', null, 1000), limitOf('b', 'site', 205, { fixedWatts: 5 })],
  [
    deviceOf('a', 'b', [
      [10, 1],
      [50, 5],
      [80, 7.7],
    ]),
    deviceOf('c', 'b', [
      [0, 0],
      [20, 2.4],
      [60, 5.6],
    ]),
    deviceOf('d', 'b', [
      [0, 0],
      [70, 4.9],
    ]),
    deviceOf('e', 'b', [
      [30, 0.5],
      [40, 0.5],
    ]),
  ],
);

describe('choices without a search', () => {
  /** By falling price: c to 20 W at 12 cents, a to 50 W at 10, a to 80 W at 9, c to 60 W at 8; d has no room; e earns nothing. */
  const chain = [
    { watts: 45, value: 1.5, modes: [0, 0, 0, 0] },
    { watts: 65, value: 3.9, modes: [0, 1, 0, 0] },
    { watts: 105, value: 7.9, modes: [1, 1, 0, 0] },
    { watts: 135, value: 10.6, modes: [2, 1, 0, 0] },
    { watts: 175, value: 13.8, modes: [2, 2, 0, 0] },
  ].map(({ watts, value, modes }) => ({
    watts,
    value: expect.closeTo(value, 12),
    modes: Int32Array.from(modes),
  }));

  test('the best segment after the other as far as there is room, a unit of work each', () => {
    const { bench, breakers } = prepareBreakers(chained);
    expect(extendOn(bench, breakers, 4)).toEqual({ workUnits: 0, extended: false });
    expect(breakers[0]).toMatchObject({ columns: [], lossBelow: 0 });
    expect(extendOn(bench, breakers, 5)).toEqual({ workUnits: 5, extended: false });
    expect(breakers[0]).toMatchObject({ columns: chain, lossBelow: 0 });
  });

  test('to the last watt of the room that it has', () => {
    const { bench, breakers } = prepareBreakers(chained);
    bench.memory.roomWatts[breakers[0]!.limit] = 135;
    extendOn(bench, breakers, 5);
    expect(breakers[0]!.columns).toEqual(chain.slice(0, 4));
    bench.memory.roomWatts[breakers[0]!.limit] = 134.9;
    extendOn(bench, breakers, 5);
    expect(breakers[0]!.columns).toEqual(chain.slice(0, 3));
  });

  test('nothing that earns nothing, whatever room there is', () => {
    const { bench, breakers } = prepareBreakers(chained);
    bench.memory.roomWatts[breakers[0]!.limit] = 1000;
    expect(extendOn(bench, breakers, 6)).toEqual({ workUnits: 6, extended: false });
    expect(breakers[0]!.columns.at(-1)).toEqual({
      watts: 245,
      value: expect.closeTo(18.7, 12),
      modes: Int32Array.of(2, 2, 1, 0),
    });
  });

  test('nothing that costs more energy than it earns', () => {
    for (const [energyPrice, count] of [
      [0.085, 4],
      [0.095, 3],
      [0.115, 2],
      [0.13, 1],
    ] as const) {
      const { bench, breakers } = prepareBreakers(chained, energyPrice);
      expect(extendOn(bench, breakers, count, energyPrice).workUnits).toBe(count);
      expect(breakers[0]!.columns).toEqual(
        chain.slice(0, count).map((column, k) => ({
          ...column,
          value: expect.closeTo([1.5, 3.9, 7.9, 10.6][k]! - energyPrice * (column.watts - 5), 12),
        })),
      );
    }
  });
});

describe('choices that a search finds (seeds 1 to 12)', () => {
  const sites = Array.from({ length: 12 }, (_, k) => {
    const seed = k + 1;
    const family = seed % 3 === 0 ? 'gains' : seed % 3 === 1 ? 'tight' : 'non-concave';
    return {
      seed,
      problem: randomSite({ family, deviceCount: 10, seed }),
      energyPrice: k % 4 === 0 ? 1e-5 : 0,
    };
  });

  test('are all of those near the price that no other beats, and none that is none', () => {
    let known = 0;
    for (const { seed, problem, energyPrice } of sites) {
      const { bench, breakers } = prepareBreakers(problem, energyPrice);
      extendOn(bench, breakers, 1e6, energyPrice);
      for (const breaker of breakers) {
        const name = `seed ${seed}, limit ${breaker.limit}`;
        const room = bench.memory.roomWatts[breaker.limit]!;
        const choices = allChoices(bench, breaker.limit, energyPrice).filter(([watts]) => watts <= room);
        const most = breaker.relaxedDollars - breaker.price * bench.compiled.limitCapacity[breaker.limit]!;
        const { columns, lossBelow } = breaker;
        for (const [watts, value] of choices) {
          if (value - breaker.price * watts <= most - lossBelow + 1e-9) continue;
          const beats = columns.some(
            (column) => column.watts <= watts + 1e-9 && column.value >= value - 1e-9,
          );
          expect(beats, name).toBe(true);
        }
        for (const [k, column] of columns.entries()) {
          expect(column.watts, name).toBeLessThanOrEqual(room);
          const [watts, value] = worthOf(bench, breaker.limit, column.modes, energyPrice);
          expect(column.watts, name).toBeCloseTo(watts, 6);
          expect(column.value, name).toBeCloseTo(value, 9);
          if (k === 0) continue;
          expect(column.watts, name).toBeGreaterThan(columns[k - 1]!.watts);
          expect(column.value, name).toBeGreaterThan(columns[k - 1]!.value);
        }
        known += columns.length;
      }
    }
    expect(known).toBeGreaterThan(100);
  });

  test('are within the margin of the best at the price above: what is not known is worse by that', () => {
    for (const { seed, problem, energyPrice } of sites) {
      for (const factor of [1, 0.7, 1.3]) {
        const { bench, breakers } = prepareBreakers(problem, energyPrice);
        for (const breaker of breakers) breaker.priceAbove *= factor;
        extendOn(bench, breakers, 1e6, energyPrice);
        for (const breaker of breakers) {
          const { priceAbove, price, marginDollars } = breaker;
          if (priceAbove > price) continue;
          const unknown = reducedUnknown(bench.compiled, bench.memory, breaker, priceAbove, energyPrice);
          const more = reducedBest(breaker, priceAbove) - unknown;
          expect(more, `seed ${seed}`).toBeGreaterThanOrEqual(marginDollars);
        }
      }
    }
  });

  test('each at its own work: what one takes does not depend on the others', () => {
    let several = 0;
    for (const { seed, problem, energyPrice } of sites) {
      const { bench, breakers } = prepareBreakers(problem, energyPrice);
      const { workUnits } = extendOn(bench, breakers, 1e6, energyPrice);
      let sum = 0;
      for (let k = 0; k < breakers.length; k += 1) {
        const alone = prepareBreakers(problem, energyPrice);
        sum += extendOn(alone.bench, [alone.breakers[k]!], 1e6, energyPrice).workUnits;
        expect(alone.breakers[k], `seed ${seed}`).toEqual(breakers[k]);
      }
      expect(workUnits, `seed ${seed}`).toBe(sum);
      if (breakers.length > 1) several += 1;
    }
    expect(several).toBeGreaterThan(6);
  });
});

/** Watts and value of a choice of the limit's devices, added up. */
function worthOf(
  { compiled: c, memory: m }: Bench,
  n: number,
  modes: Int32Array,
  energyPrice: number,
): readonly [watts: number, value: number] {
  let watts = c.limitFixed[n]!;
  let value = 0;
  for (const [d, i] of m.devicesOf[n]!.entries()) {
    const s = i * c.stride + modes[d]!;
    watts += c.modeWatts[s]!;
    value += c.modeValue[s]! - energyPrice * c.limitRootGain[n]! * c.modeWatts[s]!;
  }
  return [watts, value];
}

describe('how far is looked', () => {
  test('six times at most, four times further each: then the next time goes on from there', () => {
    const sixteen = siteOf(
      [limitOf('site', null, 1000), limitOf('b', 'site', 500)],
      Array.from({ length: 16 }, (_, n) => deviceOf(`d${n}`, 'b', offOrOn(60, 6))),
    );
    const { bench, breakers } = prepareBreakers(sixteen);
    const [breaker] = breakers;
    // As if the limits above had room for none: all that is known is nothing, 50 $ worse than thought.
    bench.memory.roomWatts[breaker!.limit] = 30;
    expect(extendOn(bench, breakers).extended).toBe(true);
    const { marginDollars } = breaker!;
    expect(marginDollars).toBeCloseTo((0.003 * 50) / 16, 12);
    expect(breaker!.lossBelow).toBeCloseTo(2 * 4 ** 5 * marginDollars, 9);
    expect(extendOn(bench, breakers).extended).toBe(true);
    expect(breaker!.lossBelow).toBeCloseTo(50 + marginDollars, 6);
    expect(extendOn(bench, breakers)).toEqual({ workUnits: 0, extended: false });
  });

  test('where the limits above are dearer than its path was: the margin alone, once', () => {
    const { bench, breakers } = prepareBreakers(SIX_ON_A_BREAKER);
    const [breaker] = breakers;
    breaker!.priceAbove = 2 * breaker!.price;
    expect(extendOn(bench, breakers).extended).toBe(true);
    expect(breaker!.lossBelow).toBe(breaker!.marginDollars);
    expect(extendOn(bench, breakers)).toEqual({ workUnits: 0, extended: false });
    breaker!.priceAbove = 0;
    expect(extendOn(bench, breakers).extended).toBe(true);
    const { lossBelow } = breaker!;
    expect(lossBelow).toBeGreaterThan(breaker!.marginDollars);
    // What is known stays known.
    breaker!.priceAbove = 2 * breaker!.price;
    expect(extendOn(bench, breakers)).toEqual({ workUnits: 0, extended: false });
    expect(breaker!.lossBelow).toBe(lossBelow);
  });

  test('a breaker with more than 512 choices near its price is left with those of its segments', () => {
    const many = siteOf(
      [limitOf('site', null, 1e6), limitOf('b', 'site', 10_000)],
      Array.from({ length: 14 }, (_, n) =>
        deviceOf(`d${n}`, 'b', offOrOn(1000 + 2 ** n / 16, 100 + 2 ** n / 160)),
      ),
    );
    const { bench, breakers } = prepareBreakers(many);
    const { workUnits, extended } = extendOn(bench, breakers);
    expect(extended).toBe(false);
    expect(workUnits).toBeGreaterThan(512);
    expect(breakers[0]).toMatchObject({ lossBelow: 0 });
    expect(breakers[0]!.columns.length).toBeLessThanOrEqual(11);
  });
});

describe('what is said of choices that are not known', () => {
  /** 20 W of its 220 are fixed: 200 W as above. */
  const fixed: Problem = {
    ...SIX_ON_A_BREAKER,
    limits: [limitOf('site', null, 1000), limitOf('b', 'site', 220, { fixedWatts: 20 })],
  };

  test('up to its price: what it earns there, less what was looked at', () => {
    const { bench, breakers } = prepareBreakers(fixed);
    extendOn(bench, breakers);
    const [breaker] = breakers;
    const said = (price: number): number =>
      reducedUnknown(bench.compiled, bench.memory, breaker!, price, 0) + breaker!.lossBelow;
    expect(said(0)).toBeCloseTo(19.84, 12);
    expect(said(0.05)).toBeCloseTo(19.84 - 0.05 * 220, 12);
    expect(said(breaker!.price)).toBeCloseTo(19.84 - 0.098 * 220, 12);
  });

  test('above: each device at its best by itself, its fixed load paid for', () => {
    const { bench, breakers } = prepareBreakers(fixed);
    extendOn(bench, breakers);
    const said = (price: number): number =>
      reducedUnknown(bench.compiled, bench.memory, breakers[0]!, price, 0);
    expect(said(0.099)).toBeCloseTo(2 * (6 - 0.099 * 60) - 0.099 * 20, 12);
    expect(said(0.2)).toBeCloseTo(-0.2 * 20, 12);
  });
});

describe('the site of whole breakers', () => {
  /** Two breakers on two feeders, a third with a floor in it, single devices on every level. */
  const tree = siteOf(
    [
      limitOf('site', null, 900, { fixedWatts: 7 }),
      limitOf('feeder-1', 'site', 300, { gain: 1.1 }),
      limitOf('feeder-2', 'site', 400, { gain: 1.05, fixedWatts: 3 }),
      limitOf('b1', 'feeder-1', 100, { gain: 1.25, fixedWatts: 10 }),
      limitOf('b2', 'feeder-2', 110, { gain: 1.5 }),
      limitOf('f', 'feeder-2', 150, { gain: 1.2 }),
    ],
    [
      deviceOf('a1', 'b1', offOrOn(60, 6)),
      deviceOf('a2', 'b1', offOrOn(60, 3)),
      deviceOf('b1', 'b2', offOrOn(70, 5)),
      deviceOf('b2', 'b2', offOrOn(65, 5)),
      deviceOf('f1', 'f', offOrOn(80, 2)),
      deviceOf('f2', 'f', offOrOn(90, 2.5)),
      deviceOf('s', 'site', offOrOn(40, 1)),
      deviceOf('x', 'feeder-1', offOrOn(30, 2)),
    ],
    [floorOf('firm', ['f1', 'x'], 70)],
  );

  test('has all other limits, devices and floors as they are', () => {
    const { bench, breakers } = prepareBreakers(tree);
    const { compiled: c, memory: m } = bench;
    expect(breakers.map(({ limit }) => c.limitIds[limit]).sort()).toEqual(['b1', 'b2']);
    extendOn(bench, breakers);
    const site = wholeBreakerSite(c, breakers, 0);
    expect(site.limits.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      limitOf('f', 'feeder-2', 150, { gain: 1.2 }),
      limitOf('feeder-1', 'site', 300, { gain: 1.1 }),
      limitOf('feeder-2', 'site', 400, { gain: 1.05, fixedWatts: 3 }),
      limitOf('site', null, 900, { fixedWatts: 7 }),
    ]);
    const idOf = (id: string): string => `device ${c.deviceIndex.get(id)}`;
    expect(site.floors).toEqual([floorOf('firm', [idOf('f1'), idOf('x')], 70)]);
    const whole = breakers.map(({ limit: n, columns }) => ({
      id: `breaker ${n}`,
      limit: c.limitIds[n] === 'b1' ? 'feeder-1' : 'feeder-2',
      current: null,
      allowed: null,
      switchDollarsPerHour: {},
      modes: columns.map(({ watts, value }, k) => ({
        id: `${k}`,
        watts: expect.closeTo(watts * (c.limitIds[n] === 'b1' ? 1.25 : 1.5), 9),
        dollarsPerHour: expect.closeTo(value, 12),
      })),
    }));
    const single = ['f1', 'f2', 's', 'x'].map((id) => {
      const device = tree.devices.find((one) => one.id === id)!;
      return {
        ...device,
        id: idOf(id),
        modes: device.modes.map((mode, k) => ({ ...mode, id: `${k}` })),
      };
    });
    expect(site.devices).toEqual([...whole, ...single]);
    // Any choice of it, taken apart, is worth the same and takes the same watts at every limit that is left.
    const above = compileProblem(site);
    for (let pick = 0; pick < 8; pick += 1) {
      const chosen = Int32Array.from(above.deviceIds, (_id, i) => (pick + i) % above.modeCount[i]!);
      const mode = new Int32Array(c.deviceIds.length);
      takeApart(c, m, breakers, above, chosen, mode);
      const apart = judge(tree, namesOf(c.deviceIds, mode));
      const names = above.deviceIds.map((id, i) => [id, above.modeId[i * above.stride + chosen[i]!]!]);
      expect(apart.dollarsPerHour).toBeCloseTo(judge(site, Object.fromEntries(names)).dollarsPerHour, 12);
    }
  });
});

function namesOf(ids: readonly string[], mode: Int32Array): Record<string, string> {
  return Object.fromEntries(ids.map((id, i) => [id, `m${mode[i]}`]));
}
