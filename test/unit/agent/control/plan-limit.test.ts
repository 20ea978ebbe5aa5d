import { describe, expect, it } from 'vitest';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import { planLimit } from '../../../../agent/control/plan-limit.ts';
import { CONTROL_RULES, stepLimit } from '../../../support/control-states.ts';

const NOW = 1_000_000;
/** It fell from 90 to 50 kW: 48 kW are offered when all that was told has fallen. */
const fallen: LimitMemory = {
  ...newLimitMemory(50_000, NOW),
  drop: { fromWatts: 90_000, startedAt: NOW - 20_000, deadlineAt: NOW + 10_000, met: 0 },
};

describe('what a limit that fell offers', () => {
  const offered = (memory: LimitMemory, more: { edition?: number; blindWatts?: number } = {}) => {
    const { edition = 2, blindWatts = null } = more;
    return planLimit({ ...CONTROL_RULES, edition }, stepLimit({ metered: true }), memory, {
      reservedWatts: 0,
      blindWatts,
      overshedShare: 0.1,
      now: NOW,
    }).capacityWatts;
  };
  const seen = (...watts: number[]) => ({
    ...fallen,
    samples: watts.map((value, index) => [NOW - 1000 * (watts.length - index), value] as const),
  });

  it('is less by a share of what has still to fall, for those who will not obey', () => {
    expect(offered({ ...fallen, drop: null })).toBe(49_000);
    expect(offered(seen(90_000))).toBe(45_000);
    expect(offered(seen(60_000))).toBe(48_000);
    // The highest of the last readings: they lag.
    expect(offered(seen(70_000, 60_000))).toBe(47_000);
    expect(offered(seen(50_500))).toBe(48_950);
    expect(offered(seen(40_000))).toBe(49_000);
    // More than before is no larger fall.
    expect(offered(seen(95_000))).toBe(45_000);
  });

  it('is less by a share of the whole fall where no meter shows it', () => {
    expect(offered(fallen)).toBe(45_000);
    expect(offered(seen(60_000), { blindWatts: 0 })).toBe(45_000);
    expect(offered(seen(60_000), { edition: 1 })).toBe(45_000);
  });
});
