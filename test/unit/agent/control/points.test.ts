import { describe, expect, it } from 'vitest';
import { minerFacts } from '../../../../agent/control/points.ts';
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
