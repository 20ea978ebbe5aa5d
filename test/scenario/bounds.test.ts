import { describe, expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

const SEED = 20261122;

/** 100 A a phase at 400 V: 69 kW, for 24 miners of 2.8 kW. */
const PHASES = `
site: { id: t }
limits:
  - { id: grid, rating: 200 kW, meter: gm, authority: full }
  - { id: feeder, parent: grid, rating: { amps: 100, volts: 400 }, meter: fm }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: fm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
miners:
  - { id: a, limit: feeder, hosts: [10.0.0.1-10.0.0.24], firmware: luxos, model: "Antminer S19k Pro" }
control: { restoreRampPercentPerMinute: 50, dwell: 60s }
`;

describe('a feeder whose machines mostly hang on one phase', () => {
  it.each([SEED, 1, 2])(
    'is brought under the rating of that phase, and kept there (seed %i)',
    async (seed) => {
      const site: { virtual: ReturnType<typeof startVirtualSite> | null } = { virtual: null };
      /** Half of the machines on L1, the others on L2 and L3. */
      const fullest = (limit: string): number => {
        const miners = [...(site.virtual?.miners.values() ?? [])];
        if (limit !== 'feeder' || miners.length === 0) return 1 / 3;
        const on = [0, 0, 0];
        miners.forEach((miner, index) => {
          on[index % 2 === 0 ? 0 : 1 + (((index - 1) / 2) % 2)]! += miner.powerWatts;
        });
        const all = on[0]! + on[1]! + on[2]!;
        return all === 0 ? 1 / 3 : Math.max(...on) / all;
      };
      const virtual = startVirtualSite({ seed, config: PHASES, fullestPhase: fullest });
      site.virtual = virtual;
      const worstAmps = () => (virtual.site.watts('feeder') * fullest('feeder')) / 230;
      await virtual.run(1000);
      const first = worstAmps();
      expect(first).toBeGreaterThan(120);
      expect(virtual.site.watts('feeder')).toBeLessThan(69_000);
      await virtual.run(3 * 60_000);
      let over = 0;
      virtual.watch = () => {
        if (worstAmps() > 100) over += 0.1;
      };
      await virtual.run(20 * 60_000);
      expect(over, 'seconds over the rating of the phase').toBe(0);
      expect(worstAmps(), 'the phase is used').toBeGreaterThan(75);
      expect(virtual.conditions().map(({ code, target }) => `${code} ${target}`)).toContain(
        'phases-unequal feeder',
      );
      expect(virtual.explain('feeder')[0]).toMatch(/kW \(where its fullest phase is at its rating\)\.$/);
      virtual.stop();
    },
  );
});

/** 180 kW at any moment, 120 kW on average over 15 minutes; the cooling swings. */
const AVERAGE = `
site: { id: t }
limits:
  - { id: grid, rating: 180 kW, average: { watts: 120 kW, over: 15min }, meter: gm, authority: full }
loads: [{ id: cooling, limit: grid, worst: 8 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.50], firmware: luxos, model: "Antminer S19k Pro" }
control: { restoreRampPercentPerMinute: 50, dwell: 60s }
`;

describe('a grid contract on the average of 15 minutes', () => {
  it(`is kept in every quarter of an hour, wherever it begins, after a load that nobody announced (seed ${SEED})`, async () => {
    const STRANGE = { from: 10 * 60_000, until: 12 * 60_000 };
    const virtual = startVirtualSite({
      seed: SEED,
      config: AVERAGE,
      // For two minutes the cooling draws five times what it was said to draw at most.
      load: (_, worst, now) => (now > STRANGE.from && now < STRANGE.until ? 5 * worst : 0.6 * worst),
    });
    const seconds: number[] = [];
    let tenths = 0;
    virtual.watch = () => {
      tenths += 1;
      if (tenths % 10 === 0) seconds.push(virtual.site.watts('grid'));
    };
    await virtual.run(60 * 60_000);
    const averages = seconds.slice(900).map((_, index) => {
      const window = seconds.slice(index, index + 900);
      return window.reduce((sum, watts) => sum + watts, 0) / window.length;
    });
    // The first windows hold the start, before anything was controlled.
    const settled = averages.slice(5 * 60);
    expect(Math.max(...settled)).toBeLessThanOrEqual(120_000);
    expect(averages.at(-1)!, 'what is allowed is used').toBeGreaterThan(120_000 * 0.9);
    expect(Math.max(...seconds.slice(30)), 'and the rating still bounds every moment').toBeLessThan(180_000);
    virtual.stop();
  });
});

/** A transformer of 120 kW for ever and 160 kW at any moment; half an hour, so that the run is short. */
const THERMAL = `
site: { id: t }
limits:
  - { id: grid, rating: 160 kW, thermal: { continuous: 120 kW, timeConstant: 30min }, meter: gm, authority: full }
loads: [{ id: cooling, limit: grid, worst: 4 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.60], firmware: luxos, model: "Antminer S19k Pro" }
control: { restoreRampPercentPerMinute: 50, dwell: 60s }
`;

describe('a transformer that may carry more for a while', () => {
  it(`carries more after a rest, and never gets hotter than at its continuous load (seed ${SEED})`, async () => {
    const virtual = startVirtualSite({ seed: SEED, config: THERMAL });
    let heat = 1;
    let hottest = 0;
    let most = 0;
    virtual.watch = () => {
      const watts = virtual.site.watts('grid');
      const end = (watts / 120_000) ** 2;
      heat = end + (heat - end) * Math.exp(-100 / (30 * 60_000));
      most = Math.max(most, watts);
      hottest = Math.max(hottest, heat);
    };
    await virtual.run(5 * 60_000);
    // The machines all run at the start, before anything was controlled.
    hottest = 0;
    const low = virtual.order('set_limit', { limit: 'grid', watts: 40_000, withinMs: 30_000 });
    expect(low.status).toBe('accepted');
    await virtual.run(40 * 60_000);
    most = 0;
    virtual.order('restore', { limit: 'grid' });
    await virtual.run(60 * 60_000);
    expect(most, 'it was used after the rest').toBeGreaterThan(140_000);
    expect(hottest).toBeLessThanOrEqual(1.001);
    expect(heat, 'and in the end it carries what it may').toBeGreaterThan(0.85);
    expect(virtual.explain('grid')[0]).toMatch(/so that it gets no hotter than at its continuous load/);
    virtual.stop();
  });
});
