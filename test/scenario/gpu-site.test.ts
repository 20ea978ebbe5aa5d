import { describe, expect, it } from 'vitest';
import {
  allAllowedWatts,
  allowedWatts,
  GPU_SITE_NODES,
  GPU_SITE_WATTS,
  gpuSiteConfig,
} from '../support/gpu-site.ts';
import { startVirtualSite } from '../support/virtual-site.ts';

const CONFIG = gpuSiteConfig('20 kW', '10 kW');
const SEEDS = [1, 2, 3];
const MINUTE = 60_000;

function start(seed: number) {
  const virtual = startVirtualSite({ seed, config: CONFIG });
  for (const node of virtual.nodes.values()) node.setUtilization(1);
  const seen = { overRating: 0, overLimit: 0, leastAllowed: Number.POSITIVE_INFINITY };
  let limit = GPU_SITE_WATTS;
  let from = 0;
  virtual.watch = (now) => {
    const watts = virtual.site.watts('grid');
    if (watts > GPU_SITE_WATTS) seen.overRating += 1;
    if (watts > limit && now >= from) seen.overLimit += 1;
    seen.leastAllowed = Math.min(seen.leastAllowed, allAllowedWatts(virtual));
  };
  /** Lowers the grid limit; the judge counts from its deadline on. */
  const lower = (watts: number) => {
    limit = watts;
    from = virtual.clock.monotonicMs() + 60_000;
    return virtual.order('set_limit', { limit: 'grid', watts, withinMs: 60_000 });
  };
  return { virtual, seen, lower };
}

describe('a site that mines beside its AI', () => {
  it.each(SEEDS)(
    'gives up mining before flexible AI and keeps the firm floor (seed %i)',
    async (seed) => {
      const { virtual, seen, lower } = start(seed);
      await virtual.run(2 * MINUTE);
      const full = virtual.site.watts('grid');
      expect(full).toBeGreaterThan(105_000);
      expect(allAllowedWatts(virtual)).toBe(4 * 7600);
      // 40 % less: mining alone can give that.
      expect(lower(Math.floor(full * 0.6)).shortfallWatts ?? 0).toBe(0);
      await virtual.run(5 * MINUTE);
      expect(seen.overLimit).toBe(0);
      expect(seen.leastAllowed).toBe(4 * 7600);
      expect(virtual.site.watts('hall')).toBeGreaterThan(20_000);
      // Deeper than mining can give. What it still draws then is sleep and less than the next level of the job needs.
      expect(lower(29_000).shortfallWatts ?? 0).toBe(0);
      await virtual.run(6 * MINUTE);
      expect(seen.overLimit).toBe(0);
      expect(virtual.site.watts('hall')).toBeLessThan(30 * 60 + GPU_SITE_NODES.length * 8 * 70);
      expect(allAllowedWatts(virtual)).toBeLessThan(4 * 7600);
      // The nodes of one job are capped level.
      expect(new Set(GPU_SITE_NODES.map((id) => allowedWatts(virtual, id))).size).toBe(1);
      expect(seen.leastAllowed).toBeGreaterThanOrEqual(20_000);
      virtual.order('restore', {});
      await virtual.run(20 * MINUTE);
      expect(allAllowedWatts(virtual)).toBe(4 * 7600);
      expect(virtual.site.watts('grid')).toBeGreaterThan(full * 0.95);
      expect(seen.overRating).toBe(0);
      virtual.stop();
    },
    120_000,
  );

  it.each(SEEDS)(
    'is never taken over its limit by a job that swings from idle to full (seed %i)',
    async (seed) => {
      const { virtual, seen, lower } = start(seed);
      for (const node of virtual.nodes.values()) node.setUtilization(0);
      await virtual.run(2 * MINUTE);
      // Tight enough that what the job leaves idle would be room for half of the miners.
      lower(80_000);
      for (let swing = 0; swing < 120; swing += 1) {
        await virtual.run(5000 + (swing % 5) * 2500);
        for (const node of virtual.nodes.values()) node.setUtilization(swing % 2 === 0 ? 1 : 0);
      }
      expect(seen).toMatchObject({ overLimit: 0, overRating: 0 });
      // Not by giving up mining: with the job at full the limit is used.
      for (const node of virtual.nodes.values()) node.setUtilization(1);
      await virtual.run(MINUTE);
      expect(virtual.site.watts('grid')).toBeGreaterThan(80_000 * 0.9);
      virtual.stop();
    },
    120_000,
  );

  it.each([
    ['silently', 'its meter shows'],
    ['openly', 'its own reading shows'],
  ] as const)('finds out a node that ignores its caps %s, and sets it aside', async (how, words) => {
    const { virtual, seen, lower } = start(7);
    await virtual.run(2 * MINUTE);
    virtual.nodes.get('g2')!.ignoresCaps = how;
    lower(29_000);
    await virtual.run(6 * MINUTE);
    const quarantined = virtual.conditions().filter((condition) => condition.code === 'quarantined');
    expect(quarantined.map((condition) => condition.target)).toEqual(['g2']);
    expect(quarantined[0]!.message).toContain(words);
    // The others made up for it, down to what they were promised.
    expect(virtual.site.watts('grid')).toBeLessThanOrEqual(29_000);
    expect(seen.overRating).toBe(0);
    // Nobody stands accused who keeps his caps.
    expect(allowedWatts(virtual, 'g1')).toBeLessThan(7600);
    virtual.stop();
  });
});
