import { describe, expect, it } from 'vitest';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

/** Stock machines: they tell no watts of their own, need up to half a minute to stop and minutes to start. */
const COUNT = 60;
const RATING_WATTS = 200_000;
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: ${RATING_WATTS}, meter: gm, authority: full }
loads: [{ id: cooling, limit: grid, worst: 4 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: m, limit: grid, hosts: [10.0.0.1-10.0.0.${COUNT}], firmware: bitmain, model: "Antminer S21" }
control: { restoreRampPercentPerMinute: 50, dwell: 60s }
`;

const start = (seed: number): VirtualSite =>
  startVirtualSite({
    seed,
    config: CONFIG,
    traits: (traits, random) => ({
      ...traits,
      wakeDelayMs: [20_000, 60_000],
      wakeRampMs: 120_000 + 180_000 * random(),
      overshoot: 1.08,
    }),
  });

const working = (virtual: VirtualSite) =>
  [...virtual.miners.values()]
    .filter((miner) => miner.state === 'hashing' || miner.state === 'starting')
    .map(({ id }) => id);

describe('machines that tell no watts of their own', () => {
  it.each([51])('sleep on through a restart of the agent, and it sheds nobody (seed %i)', async (seed) => {
    const virtual = start(seed);
    await virtual.run(60_000);
    const dead = working(virtual).slice(0, 3);
    for (const id of dead) virtual.miners.get(id)!.supply(false);
    await virtual.run(6 * 60_000);
    virtual.order('set_limit', { limit: 'grid', watts: 120_000, withinMs: 30_000 });
    await virtual.run(6 * 60_000);
    const before = working(virtual);
    const applied = virtual.applied();
    expect(before.length).toBeLessThan(COUNT * 0.7);
    virtual.restart();
    await virtual.run(60_000);
    expect(virtual.applied() - applied, 'commands after the start').toBe(0);
    expect(working(virtual)).toEqual(before);
    expect(virtual.controller.lastResult!.state.phase).toBe('normal');
    virtual.stop();
  });

  it.each([52])(
    'count whole while a pool is away, and are not put to sleep when it is back amid their start (seed %i)',
    async (seed) => {
      const virtual = start(seed);
      await virtual.run(60_000);
      virtual.order('set_limit', { limit: 'grid', watts: 110_000, withinMs: 30_000 });
      await virtual.run(4 * 60_000);
      virtual.order('restore', {});
      await virtual.run(150_000);
      const before = working(virtual);
      let over = 0;
      let least = Number.POSITIVE_INFINITY;
      virtual.watch = () => {
        if (virtual.site.watts('grid') > RATING_WATTS) over += 0.1;
        least = Math.min(least, working(virtual).length);
      };
      for (const miner of virtual.miners.values()) miner.starve(true);
      await virtual.run(30_000);
      const sums = virtual.controller.lastResult!.decision.sums.find(({ limit }) => limit === 'grid')!;
      const all = [...virtual.miners.values()].filter(({ state }) => state !== 'sleeping').length;
      expect(sums.measuredWatts).toBeLessThan(RATING_WATTS * 0.3);
      expect(sums.worstWatts, 'all of it may be back in any second').toBeGreaterThan(all * 3400);
      await virtual.run(30_000);
      for (const miner of virtual.miners.values()) miner.starve(false);
      await virtual.run(4 * 60_000);
      expect(over, 'seconds over the rating').toBe(0);
      expect(least, 'who worked goes on working').toBeGreaterThanOrEqual(before.length);
      virtual.stop();
    },
  );

  it('count whole asleep where no meter proves them, and that is told', async () => {
    const racks = (first: number) => `
site: { id: t }
limits:
  - { id: grid, rating: 100 kW, meter: gm, authority: full }
  - { id: r1, parent: grid, rating: ${first} kW }
  - { id: r2, parent: grid, rating: 45 kW }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: a, limit: r1, hosts: [10.0.0.1-10.0.0.10], firmware: bitmain, model: "Antminer S21" }
  - { id: b, limit: r2, hosts: [10.0.1.1-10.0.1.10], firmware: bitmain, model: "Antminer S21" }
control: { restoreRampPercentPerMinute: 50, dwell: 60s }
`;
    const run = async (first: number) => {
      const virtual = startVirtualSite({ seed: 53, config: racks(first) });
      await virtual.run(60_000);
      virtual.order('set_limit', { limit: 'grid', watts: 20_000, withinMs: 60_000 });
      await virtual.run(3 * 60_000);
      virtual.order('restore', {});
      await virtual.run(20 * 60_000);
      const told = virtual.conditions().filter(({ code }) => code === 'sleep-unproved');
      const awake = working(virtual);
      virtual.stop();
      return { told, inFirst: awake.filter((id) => id.startsWith('a')).length, awake: awake.length };
    };
    // Ten of them come to 38.5 kW at most.
    expect(await run(40)).toEqual({ told: [], inFirst: 10, awake: 20 });
    const tight = await run(30);
    expect(tight.inFirst).toBeLessThan(8);
    expect(tight.awake - tight.inFirst).toBe(10);
    expect(tight.told).toMatchObject([{ target: 'r1', severity: 'minor' }]);
    expect(tight.told[0]!.message).toMatch(
      /^r1 has no meter and \d+ of its sleeping miners tell no watts: they count as [\d.]+ kW, so nothing below r1 may wake\.$/,
    );
  });
});
