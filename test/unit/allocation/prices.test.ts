import { describe, expect, test } from 'vitest';
import { dualValue, relax } from '../../support/relaxed.ts';
import { deviceOf, floorOf, limitOf, siteOf } from '../../support/small-site.ts';

describe('the bound is rounded up, by what rounding can have taken and no more', () => {
  test.each([true, false])('a limit that binds, from sums per limit or from every mode (%s)', (perLimit) => {
    // 1 + 100 W at a cent, less 0.8 cents of energy for 150 W: 0.80. Of 3.6 that are summed up: best 1, least and most
    // apart 2, energy 0.4, room 0.2.
    const { bound } = relax(
      siteOf(
        [limitOf('site', null, 150)],
        [
          deviceOf('a', 'site', [
            [50, 1],
            [250, 3],
          ]),
        ],
      ),
      0.008,
      false,
      perLimit,
    );
    expect(bound! - 0.8).toBeGreaterThan(1.25e-14);
    expect(bound! - 0.8).toBeLessThan(1.65e-14);
  });

  test('a floor that costs', () => {
    // 100 W for the floor at 5 cents less than nothing: -5, of 5 + 10 + 5 that are summed up.
    const { bound } = relax(
      siteOf(
        [limitOf('site', null, 1000)],
        [
          deviceOf('a', 'site', [
            [50, 0],
            [250, -10],
          ]),
        ],
        [floorOf('firm', ['a'], 150)],
      ),
    );
    expect(bound! + 5).toBeGreaterThan(5e-14);
    expect(bound! + 5).toBeLessThan(7e-14);
  });

  test('small parts beside a great one are not lost', () => {
    const great = deviceOf('0', 'r0', [[0, 1e16]]);
    const count = 400;
    const roots = Array.from({ length: count }, (_, n) => limitOf(`r${n}`, null, 1));
    const ones = (modes: [number, number][]) => roots.map((limit, n) => deviceOf(`d${n}`, limit.id, modes));
    // Each worth a dollar as it stands; each a dollar for the only watt of its limit; each floor a dollar's loss.
    for (const [problem, sum] of [
      [siteOf(roots, [great, ...ones([[0, 1]])]), count],
      [
        siteOf(roots, [
          great,
          ...ones([
            [0, 0],
            [2, 2],
          ]),
        ]),
        count,
      ],
      [
        siteOf(
          roots.map((limit) => ({ ...limit, capacityWatts: 5 })),
          [
            great,
            ...ones([
              [0, 0],
              [2, -2],
            ]),
          ],
          roots.map((_limit, n) => floorOf(`f${n}`, [`d${n}`], 1)),
        ),
        -count,
      ],
    ] as const) {
      for (const perLimit of [true, false]) {
        const over = relax(problem, 0, problem.floors.length > 0, perLimit).bound! - 1e16 - sum;
        expect(over).toBeGreaterThanOrEqual(0);
        expect(over).toBeLessThan(50);
      }
    }
  });
});

describe('the bound from sums per limit', () => {
  test('watts that rounding took from a great sum are paid for as well', () => {
    const tenth = Array.from({ length: 1000 }, (_, n) => deviceOf(`d${n}`, 'site', [[0.4, 0]]));
    const great = deviceOf('a', 'site', [[2 ** 53, 0]]);
    const { bound, w } = relax(siteOf([limitOf('site', null, 2 ** 60)], [great, ...tenth]), 1);
    // Each of the 1,000 alone is lost beside the great one: together 400 W at a dollar.
    expect(bound! + 2 ** 53 + 400).toBeCloseTo(w.boundRounding, -1);
    expect(w.boundRounding).toBeGreaterThan(4e-15 * 2 ** 53);
    expect(w.boundRounding).toBeLessThan(4.1e-15 * 2 ** 53);
  });

  test('is raised by what each part can have lost, energy that is paid for being used among them', () => {
    // The PDU has room for 50 of 100 W more, worth 1 cent each; a watt there is 1.25 W at the site.
    const problem = siteOf(
      [limitOf('site', null, 1000), limitOf('pdu', 'site', 150, { gain: 1.25 })],
      [
        deviceOf('a', 'pdu', [
          [100, -3],
          [200, -2],
        ]),
      ],
    );
    for (const price of [0, 0.004, -0.004]) {
      const { bound, w } = relax(problem, price);
      const energy = 1.25 * price;
      expect(bound).toBeCloseTo(-2.5 - energy * 150, 12);
      // As it stands 3, energy of 100 W, all 100 W more at the price of the path and of energy, the room of 50 W.
      const path = 0.01 - energy;
      const parts = 3 + 100 * Math.abs(energy) + 100 * (path + Math.abs(energy)) + 50 * path;
      expect(w.boundRounding / 4e-15).toBeCloseTo(parts, 9);
    }
  });
});

describe('prices inside a floor', () => {
  test('a limit that fills while its floor is served, in a part of the tree with losses', () => {
    // b has 100 W of the inner PDU for the floor, c 150 W more of the hall, 312.5 W of the site for both; a the rest.
    const problem = siteOf(
      [
        limitOf('site', null, 400),
        limitOf('hall', 'site', 1000, { gain: 1.25 }),
        limitOf('inner', 'hall', 100),
      ],
      [
        deviceOf('a', 'site', [
          [0, 0],
          [400, 40],
        ]),
        deviceOf('b', 'inner', [
          [0, 0],
          [300, 9],
        ]),
        deviceOf('c', 'hall', [
          [0, 0],
          [400, 4],
        ]),
      ],
      [floorOf('firm', ['b', 'c'], 250)],
    );
    const run = relax(problem);
    expect(run.bound).toBeCloseTo(87.5 * 0.1 + 3 + 1.5, 10);
    expect(run.bound).toBeCloseTo(dualValue(problem, run, 0), 10);
    expect(run.limitPrice['site']).toBeCloseTo(0.1, 12);
    expect(run.limitPrice['hall']).toBe(0);
    expect(run.limitPrice['inner']).toBeCloseTo(0.02, 12);
    expect(run.floorPrice['firm']).toBeCloseTo(0.125 - 0.01, 12);
    // b stands where its limit stopped it, c where the floor was met.
    expect([...run.w.partRootWatts]).toEqual([87.5, 125, 187.5]);
    expect([...run.w.corner]).toEqual([0, 0, 0]);
  });
});
