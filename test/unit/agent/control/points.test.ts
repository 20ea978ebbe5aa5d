import { describe, expect, it } from 'vitest';
import { capRange, gpuNodeFacts, minerFacts } from '../../../../agent/control/points.ts';
import { controlSite } from '../../../support/control-site.ts';

const ECONOMICS = { hashpriceDollarsPerPhDay: 45, energyDollarsPerMwh: 42, poolFeePercent: 1 };

describe('minerFacts', () => {
  it('does not take the nominal rate of a lower profile for that of full power', () => {
    const site = controlSite(1, 1, false);
    for (let index = 0; index < 6; index += 1) site.cycle();
    const { observation } = site.cycle();
    const device = observation.devices[0]!;
    const { model } = site.context.devices[0]!;
    const memory = { observedWatts: 2760, normalLimitWatts: 2760 };
    const full = minerFacts(model, { ...device, limitWatts: 2760 }, memory, ECONOMICS, true);
    // As LuxOS says it of a miner that sleeps under a profile of 1174 W.
    const low = minerFacts(
      model,
      { ...device, activity: 'asleep', limitWatts: 1174, nominalHashrateThs: 58.9 },
      memory,
      ECONOMICS,
      true,
    );
    expect(low.points.at(-1)?.dollarsPerHour).toBeCloseTo(full.points.at(-1)!.dollarsPerHour, 6);
    expect(low.points.at(-1)?.dollarsPerHour).toBeGreaterThan(0);
  });

  describe('of a miner whose pools reject shares', () => {
    const site = controlSite(1, 1, false);
    const device = site.cycle().observation.devices[0]!;
    const { model } = site.context.devices[0]!;
    const memory = { observedWatts: 2760, normalLimitWatts: 2760 };
    const range = { minWatts: 1400, maxWatts: 2760, kind: 'watts', stepWatts: 10 } as const;
    const control = { ...device.control!, sleep: true, wake: true, powerLimit: range, wakeMs: 300_000 };
    const factsAt = (rejects: { rejectedPercent?: number }) =>
      minerFacts(model, { ...device, control, limitWatts: 2760, ...rejects }, memory, ECONOMICS, true);
    const none = factsAt({});
    const energyOf = ({ watts }: { watts: number }) => (watts * ECONOMICS.energyDollarsPerMwh) / 1e6;

    it('takes its part off what every point earns, and nothing off what its energy costs', () => {
      expect(none.points.map(({ id }) => id)).toEqual(['sleep', 'low-1', 'low-2', 'low-3', 'normal']);
      expect(none.points.at(-1)!.dollarsPerHour).toBeGreaterThan(0);
      const some = factsAt({ rejectedPercent: 8 });
      for (const [index, point] of none.points.entries()) {
        const earned = point.dollarsPerHour + energyOf(point);
        const left = some.points[index]!;
        expect(left.dollarsPerHour).toBeCloseTo(earned * 0.92 - energyOf(point), 12);
        expect({ ...left, dollarsPerHour: 0 }).toEqual({ ...point, dollarsPerHour: 0 });
      }
      expect(some.wakeDollars).toBeLessThan(none.wakeDollars);
    });

    it('earns nothing where all are rejected, and sleeping is worth more', () => {
      const { points } = factsAt({ rejectedPercent: 100 });
      for (const point of points) expect(point.dollarsPerHour).toBeCloseTo(-energyOf(point), 12);
      expect(points[0]!.dollarsPerHour).toBeGreaterThan(points.at(-1)!.dollarsPerHour);
    });

    it('is to the last digit what it was where nothing is said', () => {
      expect(factsAt({ rejectedPercent: 0 })).toEqual(none);
    });
  });
});

describe('gpuNodeFacts', () => {
  const site = controlSite(1, 1, false);
  const { observation } = site.cycle();
  const gpu = { uuid: 'GPU-1', enforcedWatts: 700, minWatts: 200, maxWatts: 700 };
  const model = { ...site.context.devices[0]!.model, kind: 'gpu-node' as const, nameplateWatts: 10_200 };
  const facts = (limitWatts: number, bounds?: { minWatts: number | null; maxWatts: number | null }) => {
    const device = { ...observation.devices[0]!, activity: 'running' as const, limitWatts };
    const gpus = Array.from({ length: 8 }, () => gpu);
    const { points } = gpuNodeFacts(
      model,
      { ...device, gpus },
      2000,
      { dollarsPerGpuHour: 2 },
      ECONOMICS,
      true,
      bounds,
    );
    return points.map((point) => `${point.id} ${point.watts}`);
  };

  it('offers caps from half of the maximum up', () => {
    expect(facts(7600)).toEqual([
      'cap-50 4800',
      'cap-60 5360',
      'cap-70 5920',
      'cap-80 6480',
      'cap-90 7040',
      'cap-100 7600',
    ]);
  });

  it('offers none outside of the range that the site configured', () => {
    expect(facts(6800, { minWatts: 400, maxWatts: 600 })).toEqual([
      'cap-60 5360',
      'cap-70 5920',
      'cap-80 6480',
      'cap-100 6800',
    ]);
  });

  it('counts what is in force above that range until it was lowered', () => {
    expect(facts(7600, { minWatts: null, maxWatts: 600 }).at(-1)).toBe('cap-100 7600');
  });

  it('never offers more than the device itself allows', () => {
    expect(capRange(gpu, { minWatts: 900, maxWatts: 800 })).toEqual({ minWatts: 700, maxWatts: 700 });
    expect(capRange(gpu, { minWatts: null, maxWatts: 100 })).toEqual({ minWatts: 200, maxWatts: 200 });
    expect(capRange(gpu, undefined)).toEqual({ minWatts: 200, maxWatts: 700 });
  });
});
