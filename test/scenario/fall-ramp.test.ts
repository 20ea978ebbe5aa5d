import { describe, expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

const MINUTE = 60_000;
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 150 kW, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: m, limit: grid, hosts: [10.0.0.1-10.0.0.40], firmware: whatsminer, model: "Whatsminer M60S" }
economics: { hashpriceDollarsPerPhDay: 45, energyDollarsPerMwh: 40 }
control: { fallRampPercentPerMinute: 20, dwell: 30s }
`;

describe('a site whose power falls by a ramp for money', () => {
  it('goes down by 20 % a minute when energy is dear, and at once for a limit (seed 9)', async () => {
    const virtual = startVirtualSite({ seed: 9, config: CONFIG });
    await virtual.run(2 * MINUTE);
    const full = virtual.site.watts('grid');
    expect(full).toBeGreaterThan(130_000);
    let steepest = 0;
    const seen: number[] = [];
    virtual.watch = (now) => {
      seen.push(virtual.site.watts('grid'));
      if (now % 1000 === 0) steepest = Math.max(steepest, (seen.at(-601) ?? 0) - seen.at(-1)!);
    };
    virtual.order('prices', { energyDollarsPerMwh: 400 });
    await virtual.run(MINUTE);
    expect(virtual.explain('grid').join(' ')).toMatch(
      /devices \([\d.]+ kW\) earn less than their energy costs and wait to go down/,
    );
    await virtual.run(7 * MINUTE);
    expect(virtual.site.watts('grid')).toBeLessThan(0.05 * full);
    // 30 kW a minute, and what the bucket holds.
    expect(steepest).toBeLessThan(1.2 * 0.2 * 150_000);
    expect(steepest).toBeGreaterThan(0.8 * 0.2 * 150_000);
    expect(virtual.explain('grid').join(' ')).not.toContain('wait to go down');

    virtual.order('prices', { energyDollarsPerMwh: 40 });
    await virtual.run(30 * MINUTE);
    expect(virtual.site.watts('grid')).toBeGreaterThan(0.9 * full);
    virtual.order('set_limit', { limit: 'grid', watts: 60_000, withinMs: 30_000 });
    await virtual.run(30_000);
    expect(virtual.site.watts('grid')).toBeLessThan(60_000);
    virtual.stop();
  });
});
