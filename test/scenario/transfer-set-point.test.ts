import { describe, expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

const CONFIG = `
site: { id: t }
limits: [{ id: grid, rating: 700 kW, meter: gm, authority: full }]
meters: [{ id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }]
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.100], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: c, limit: grid, hosts: [10.0.2.1-10.0.2.100], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 10 }
`;
const SEED = 7;

describe('a set point', () => {
  it(`is reached by its ramp from above and from below, and held within its band (seed ${SEED})`, async () => {
    const virtual = startVirtualSite({ seed: SEED, config: CONFIG });
    await virtual.run(60_000);
    const statuses = (id: string) =>
      virtual.answers.filter((answer) => answer.id === id).map(({ status }) => status);
    const down = virtual.order('set_point', {
      limit: 'grid',
      targetWatts: 450_000,
      bandWatts: 15_000,
      rampWattsPerMinute: 50_000,
    });
    expect(down).toMatchObject({ status: 'accepted', limitWatts: 465_000 });
    await virtual.run(60_000);
    // By ramp: not all at once.
    expect(virtual.site.watts('grid')).toBeGreaterThan(520_000);
    await virtual.run(6 * 60_000);
    expect(statuses(down.id)).toEqual(['accepted', 'running', 'done']);
    let outside = 0;
    virtual.watch = () => {
      if (Math.abs(virtual.site.watts('grid') - 450_000) > 15_000) outside += 1;
    };
    await virtual.run(10 * 60_000);
    expect(outside, 'tenths of a second outside the band').toBe(0);
    virtual.watch = () => undefined;
    const up = virtual.order('set_point', {
      limit: 'grid',
      targetWatts: 550_000,
      bandWatts: 15_000,
      rampWattsPerMinute: 20_000,
    });
    expect(statuses(down.id).at(-1)).toBe('done');
    await virtual.run(15 * 60_000);
    expect(statuses(up.id)).toEqual(['accepted', 'running', 'done']);
    expect(Math.abs(virtual.site.watts('grid') - 550_000)).toBeLessThanOrEqual(15_000);
    virtual.stop();
  });

  it('fails, and says so, where there is not so much load', async () => {
    const virtual = startVirtualSite({ seed: SEED, config: CONFIG });
    await virtual.run(30_000);
    const order = virtual.order('set_point', { limit: 'grid', targetWatts: 690_000, bandWatts: 5000 });
    await virtual.run(18 * 60_000);
    const last = virtual.answers.findLast((answer) => answer.id === order.id);
    expect(last).toMatchObject({ status: 'failed', reason: expect.stringContaining('below the band') });
    virtual.stop();
  });
});
