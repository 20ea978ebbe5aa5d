import { describe, expect, it } from 'vitest';
import { allAllowedWatts, gpuSiteConfig } from '../support/gpu-site.ts';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

const CONFIG = gpuSiteConfig('26 kW', '4 kW');
const FIRM_WATTS = 26_000;
const MINUTE = 60_000;
const minersAwake = (virtual: VirtualSite) =>
  [...virtual.miners.values()].filter((miner) => miner.powerWatts > 200).length;
const short = (virtual: VirtualSite) =>
  virtual.conditions().filter((condition) => condition.code === 'cannot-be-met');

function start(seed: number, utilization: number) {
  const virtual = startVirtualSite({ seed, config: CONFIG });
  for (const node of virtual.nodes.values()) node.setUtilization(utilization);
  return virtual;
}

describe('a limit below what AI was promised', () => {
  it.each([1, 2, 3])(
    'is held: firm power gives way once every miner is down, no sooner and no further than it must (seed %i)',
    async (seed) => {
      const virtual = start(seed, 1);
      await virtual.run(2 * MINUTE);
      expect(allAllowedWatts(virtual)).toBe(4 * 7600);
      const deadline = virtual.clock.monotonicMs() + MINUTE;
      let over = 0;
      let tooSoon = 0;
      virtual.watch = (now) => {
        if (now >= deadline && virtual.site.watts('grid') > 24_000) over += 1;
        if (minersAwake(virtual) > 0 && allAllowedWatts(virtual) < FIRM_WATTS) tooSoon += 1;
      };
      const answer = virtual.order('set_limit', { limit: 'grid', watts: 24_000, withinMs: MINUTE });
      expect(answer.status).toBe('accepted');
      expect(answer.shortfallWatts).toBeGreaterThan(2000);
      await virtual.run(1500);
      expect(virtual.conditions().map(({ code }) => code)).toContain('firm-above-limit');
      expect(short(virtual)).toEqual([]);
      expect(virtual.explain('grid').join(' ')).toMatch(
        /comes to [\d.]+ kW too much with all that may be asked of it/,
      );
      await virtual.run(10 * MINUTE);
      expect(virtual.explain('grid').join(' ')).toContain('Firm power gives way to it');
      expect({ over, tooSoon }).toEqual({ over: 0, tooSoon: 0 });
      // Thirty sleepers draw 1.8 kW at most: what is left is used.
      expect(allAllowedWatts(virtual)).toBeGreaterThan(24_000 - 1800 - 2500);
      expect(short(virtual)).toMatchObject([{ target: 'train', severity: 'critical' }]);
      expect(short(virtual)[0]!.message).toMatch(
        /^The firm power of train gives way to grid: \d+ W are missing/,
      );
      virtual.order('restore', {});
      await virtual.run(3 * MINUTE);
      expect(allAllowedWatts(virtual)).toBeGreaterThanOrEqual(FIRM_WATTS);
      expect(short(virtual)).toEqual([]);
      virtual.stop();
    },
  );

  it('takes from a job that is idle too: it may start at any moment', async () => {
    const virtual = start(4, 0);
    await virtual.run(2 * MINUTE);
    // It draws a third of that now, and is told to be short all the same.
    expect(virtual.site.watts('grid')).toBeGreaterThan(24_000);
    const answer = virtual.order('set_limit', { limit: 'grid', watts: 24_000, withinMs: MINUTE });
    expect(answer.shortfallWatts).toBeGreaterThan(2000);
    expect(answer.expectedWatts).toBe(24_000 + answer.shortfallWatts!);
    await virtual.run(5 * MINUTE);
    let over = 0;
    virtual.watch = () => {
      if (virtual.site.watts('grid') > 24_000) over += 1;
    };
    for (const node of virtual.nodes.values()) node.setUtilization(1);
    await virtual.run(2 * MINUTE);
    expect(over).toBe(0);
    expect(virtual.site.watts('grid')).toBeGreaterThan(19_000);
    virtual.stop();
  });

  it('does not take from it for miners that are set aside and, by the meter, draw nothing', async () => {
    const virtual = start(5, 1);
    await virtual.run(2 * MINUTE);
    virtual.order('set_limit', { limit: 'grid', watts: 32_000, withinMs: MINUTE });
    await virtual.run(3 * MINUTE);
    expect(minersAwake(virtual)).toBeLessThanOrEqual(1);
    for (const device of [...virtual.miners.keys()].slice(0, 10))
      virtual.controller.intervene({ kind: 'quarantine', device, why: 'a test' });
    await virtual.run(5 * MINUTE);
    expect(allAllowedWatts(virtual)).toBeGreaterThanOrEqual(FIRM_WATTS);
    virtual.stop();
  });
});
