import { describe, expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

const MINUTE = 60_000;
/** 40 machines whose power limits are cheap to lower and take their tuner most of a minute; they sleep in seconds. */
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 130 kW, meter: gm, authority: full }
loads: [{ id: pumps, limit: grid, worst: 10 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: m, limit: grid, hosts: [10.0.0.1-10.0.0.40], firmware: luxos, model: "Antminer S19k Pro" }
`;

describe('a load that nobody announced', () => {
  it.each([1, 2])(
    'takes a limit over, and machines that go down in seconds take it back (seed %i)',
    async (seed) => {
      let announced = true;
      const virtual = startVirtualSite({
        seed,
        config: CONFIG,
        load: (_id, worst) => (announced ? worst * 0.6 : worst * 2.4),
      });
      await virtual.run(3 * MINUTE);
      expect(virtual.site.watts('grid')).toBeGreaterThan(112_000);
      announced = false;
      let overMs = 0;
      virtual.watch = () => {
        if (virtual.site.watts('grid') > 130_000) overMs += 100;
      };
      await virtual.run(3 * MINUTE);
      expect(overMs).toBeGreaterThan(0);
      expect(overMs).toBeLessThan(15_000);
      virtual.stop();
    },
  );
});

/** 120 machines that draw 420 kW together, more than may flow. */
const TOO_MANY = `
site: { id: t }
limits:
  - { id: grid, rating: 400 kW, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: m, limit: grid, hosts: [10.0.0.1-10.0.0.120], firmware: bitmain, model: "Antminer S21" }
`;

describe('a site that is over its rating when the agent first starts', () => {
  it.each([1, 2, 3])('puts no more to sleep than must be (seed %i)', async (seed) => {
    const virtual = startVirtualSite({ seed, config: TOO_MANY });
    await virtual.run(MINUTE);
    expect(virtual.site.watts('grid')).toBeLessThan(400_000);
    const asleep = [...virtual.miners.values()].filter(({ state }) => state === 'sleeping').length;
    // 24 kW with the reserve of 1 %: seven machines, and two for those who may not obey.
    expect(asleep).toBeGreaterThanOrEqual(6);
    expect(asleep).toBeLessThanOrEqual(9);
    virtual.stop();
  });
});
