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
