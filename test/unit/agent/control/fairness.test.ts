import { describe, expect, test } from 'vitest';
import {
  commonShare,
  curtailedShare,
  favours,
  rememberTenants,
  type TenantMemories,
} from '../../../../agent/control/fairness.ts';
import type { DeviceInput } from '../../../../agent/control/ledger.ts';
import { entryOf, minerFacts, observed } from '../../../support/control-states.ts';

const RULES = {
  acme: { energyDollarsPerMwh: null, fair: true },
  beta: { energyDollarsPerMwh: 61, fair: true },
  other: { energyDollarsPerMwh: null, fair: false },
};
const TENANT_OF = new Map([
  ['a1', 'acme'],
  ['a2', 'acme'],
  ['b1', 'beta'],
  ['o1', 'other'],
]);

/** A machine of 3,000 W that may sleep at 60 W. */
function machine(
  id: string,
  pointId: string,
  device: Parameters<typeof observed>[0] = {},
  entry: Parameters<typeof entryOf>[0] = {},
  sleepDollars = 0,
): DeviceInput {
  const points = [
    { id: 'sleep', kind: 'sleep' as const, watts: 60, limitWatts: null, dollarsPerHour: sleepDollars },
    { id: 'normal', kind: 'run' as const, watts: 3000, limitWatts: null, dollarsPerHour: 0.1 },
  ];
  return {
    entry: entryOf({ id, pointId, ...entry }),
    device: observed({ id, ...device }),
    facts: minerFacts({ id, points }),
  };
}

const later = (inputs: readonly DeviceInput[], elapsedMs: number, before: TenantMemories = {}) =>
  rememberTenants(before, RULES, inputs, TENANT_OF, elapsedMs);

describe('what tenants gave up', () => {
  test('is what their machines could have used and were told not to, of fair tenants alone', () => {
    const inputs = [
      machine('a1', 'sleep'),
      machine('a2', 'normal'),
      machine('b1', 'normal'),
      machine('o1', 'sleep'),
    ];
    const memories = later(inputs, 3600);
    expect(Object.keys(memories)).toEqual(['acme', 'beta']);
    expect(memories['acme']!.wantedWattHours).toBeCloseTo(6, 9);
    expect(memories['acme']!.curtailedWattHours).toBeCloseTo(2.94, 9);
    expect(memories['beta']).toEqual({ wantedWattHours: expect.closeTo(3, 9), curtailedWattHours: 0 });
    expect(curtailedShare(memories['acme']!)).toBeCloseTo(0.49, 9);
    expect(commonShare(memories)).toBeCloseTo(2.94 / 9, 9);
  });

  test.each([
    ['silent', machine('a1', 'sleep', { fresh: false })],
    ['gone', machine('a1', 'sleep', { inventory: 'absent' })],
    ['broken', machine('a1', 'sleep', { activity: 'fault' })],
    ['unknown', machine('a1', 'sleep', { activity: 'unknown' })],
    ['set aside', machine('a1', 'sleep', {}, { quarantine: { since: 0, why: 'x' } })],
    ['not worth its energy', machine('a1', 'sleep', {}, {}, 0.1)],
    ['nowhere that is known', machine('a1', 'elsewhere')],
  ])('leaves out what is not of our doing: a machine that is %s', (_how, input) => {
    expect(later([input], 3600)['acme']).toEqual({ wantedWattHours: 0, curtailedWattHours: 0 });
  });

  test('fades within a week, and a pause of the agent counts for ten seconds at most', () => {
    const full: TenantMemories = { acme: { wantedWattHours: 1000, curtailedWattHours: 500 } };
    const week = 7 * 24 * 3_600_000;
    expect(later([], 10_000, full)['acme']!.wantedWattHours).toBeCloseTo(1000 * (1 - 10_000 / week), 9);
    expect(later([], 3_600_000, full)).toEqual(later([], 10_000, full));
    expect(later([machine('a1', 'sleep')], -5, full)['acme']).toEqual(full['acme']);
    // A share stays as it is while nothing is asked for.
    expect(curtailedShare(later([], 10_000, full)['acme']!)).toBeCloseTo(0.5, 12);
  });
});

describe('what fairness is worth', () => {
  const gaveUp = (acme: number, beta: number): TenantMemories => ({
    acme: { wantedWattHours: 1000, curtailedWattHours: acme },
    beta: { wantedWattHours: 1000, curtailedWattHours: beta },
  });

  test('nothing between equals, and nothing while nobody was seen', () => {
    expect([...favours(gaveUp(100, 100)).values()]).toEqual([0, 0]);
    expect([...favours({ acme: { wantedWattHours: 0, curtailedWattHours: 0 } }).values()]).toEqual([0]);
  });

  test('the machines of who gave up more come after those of who gave up less', () => {
    const worth = favours(gaveUp(120, 100));
    expect(worth.get('acme')).toBeCloseTo(0.0005 / 1000 / 2, 12);
    expect(worth.get('beta')).toBeCloseTo(-0.0005 / 1000 / 2, 12);
  });

  test('never more than what decides among equals', () => {
    expect(Math.max(...favours(gaveUp(1000, 0)).values())).toBe(0.0005 / 1000);
    expect(Math.min(...favours(gaveUp(1000, 0)).values())).toBe(-0.0005 / 1000);
    // A whole machine of 3.5 kW: less than the least cost of any change, 0.002 $/h.
    expect(0.0005 * 3.5).toBeLessThan(0.002);
  });
});
