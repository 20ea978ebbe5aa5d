import { describe, expect, it } from 'vitest';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

/**
 * Two feeders of 25 miners. By their operating points feeder B draws about 91 kW; by their nameplates, which count
 * when nothing is seen any more, it could draw more than its 92 kW.
 */
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 200 kW, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 100 kW, meter: ma }
  - { id: fb, parent: grid, rating: 92 kW, meter: mb }
loads: [{ id: cooling, limit: grid, worst: 10 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: ma, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
  - { id: mb, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 3 } }
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.25], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: b, limit: fb, hosts: [10.0.2.1-10.0.2.25], firmware: whatsminer, model: "Whatsminer M60S", nameplate: 3900 }
control: { restoreRampPercentPerMinute: 5, dwell: 60s, staleAfter: 5s, deviceStaleAfter: 15s }
`;

const asleep = (virtual: VirtualSite, prefix: string) =>
  [...virtual.miners.values()].filter((miner) => miner.id.startsWith(prefix) && miner.state !== 'hashing')
    .length;

describe('what cannot be seen any more', () => {
  it('a silent feeder meter: nothing at first, then the feeder counts by nameplates', async () => {
    const virtual = startVirtualSite({ seed: 31, config: CONFIG });
    await virtual.run(60_000);
    const before = virtual.site.watts('fb');
    expect(before).toBeGreaterThan(80_000);
    virtual.meterFaults.set('mb', { silent: true });
    await virtual.run(25_000);
    // Within the grace no more than the reserve goes.
    expect(virtual.site.watts('fb')).toBeGreaterThan(before * 0.97);
    await virtual.run(60_000);
    // Fewer machines work, or they work at lower limits: with the share that nameplates are above points it fits.
    const points = virtual.controller.lastResult!.facts.get('b-001')!.points.at(-1)!.watts;
    expect(virtual.site.watts('fb') * (3900 / points)).toBeLessThanOrEqual(92_000);
    expect(virtual.site.watts('fb')).toBeGreaterThan(70_000);
    // The meter is back: so is the feeder.
    virtual.meterFaults.delete('mb');
    await virtual.run(15 * 60_000);
    expect(virtual.site.watts('fb')).toBeGreaterThan(before * 0.97);
    virtual.stop();
  });

  it('all meters silent together have one cause: the site holds for the grace and then falls by ramp', async () => {
    const virtual = startVirtualSite({ seed: 32, config: CONFIG.replace('200 kW', '165 kW') });
    await virtual.run(60_000);
    const before = virtual.site.watts('grid');
    for (const meter of ['gm', 'ma', 'mb']) virtual.meterFaults.set(meter, { silent: true });
    await virtual.run(30_000);
    expect(virtual.site.watts('grid')).toBeGreaterThan(before * 0.97);
    let fastest = 0;
    let last = virtual.site.watts('grid');
    for (let minute = 0; minute < 6; minute += 1) {
      await virtual.run(60_000);
      fastest = Math.max(fastest, last - virtual.site.watts('grid'));
      last = virtual.site.watts('grid');
    }
    // 5 % a minute, and one machine more than that at most.
    expect(fastest).toBeLessThan(165_000 * 0.05 + 2 * 3500);
    expect(last).toBeLessThan(before);
    virtual.stop();
  });

  it('a start soon after some machines died sheds nobody for those that it has not asked yet', async () => {
    const config = CONFIG.replace('10.0.0.25', '10.0.0.90')
      .replace('10.0.2.25', '10.0.2.90')
      .replace('200 kW', '520 kW')
      .replace('rating: 100 kW', 'rating: 260 kW')
      .replace('rating: 92 kW', 'rating: 350 kW')
      .replace('PercentPerMinute: 5', 'PercentPerMinute: 100');
    const virtual = startVirtualSite({ seed: 37, config });
    await virtual.run(60_000);
    virtual.order('set_limit', { limit: 'grid', watts: 330_000, withinMs: 30_000 });
    await virtual.run(120_000);
    expect(asleep(virtual, 'a')).toBeGreaterThan(60);
    // A rack of six whose supply went, and are not taken for gone yet.
    for (const miner of [...virtual.miners.values()].filter(({ id }) => id.startsWith('b')).slice(0, 6))
      miner.supply(false);
    await virtual.run(50_000);
    const before = virtual.applied();
    // Nobody of hall A is heard in the first seconds of the new life.
    for (const id of virtual.miners.keys()) if (id.startsWith('a')) virtual.unreachable.add(id);
    virtual.restart();
    await virtual.run(6000);
    for (const id of virtual.miners.keys()) virtual.unreachable.delete(id);
    await virtual.run(30_000);
    expect(virtual.applied()).toBe(before);
    virtual.stop();
  });

  it('a dead switch takes no healthy miner with it, and what sleeps behind it is not taken for awake at once', async () => {
    const virtual = startVirtualSite({ seed: 33, config: CONFIG });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'grid', watts: 100_000, withinMs: 30_000 });
    await virtual.run(180_000);
    const awakeB = 25 - asleep(virtual, 'b-');
    const before = virtual.site.watts('grid');
    const commands = virtual.applied();
    // Whoever sleeps now goes silent: at nameplate they would be the whole limit again.
    const sleepers = [...virtual.miners.values()].filter((miner) => miner.state === 'sleeping');
    expect(sleepers.length).toBeGreaterThan(15);
    for (const miner of sleepers) virtual.unreachable.add(miner.id);
    let over = 0;
    virtual.watch = () => {
      if (virtual.site.watts('grid') > 100_000) over += 0.1;
    };
    await virtual.run(45_000);
    expect(virtual.applied() - commands).toBeLessThanOrEqual(2);
    expect(virtual.site.watts('grid')).toBeGreaterThan(before * 0.95);
    await virtual.run(60_000);
    // From then on by ramp: 5 % of the limit a minute.
    expect(virtual.site.watts('grid')).toBeGreaterThan(before - 2 * 0.05 * 100_000 - 7000);
    for (const miner of sleepers) virtual.unreachable.delete(miner.id);
    await virtual.run(10 * 60_000);
    expect(virtual.site.watts('grid')).toBeGreaterThan(before * 0.9);
    expect(over).toBe(0);
    expect(awakeB).toBeGreaterThanOrEqual(0);
    virtual.stop();
  });

  it('miners that died one by one do not keep their watts for ever: after three minutes the meter has the word', async () => {
    const virtual = startVirtualSite({ seed: 34, config: CONFIG });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'grid', watts: 100_000, withinMs: 30_000 });
    await virtual.run(240_000);
    const working = [...virtual.miners.values()].filter((miner) => miner.state === 'hashing');
    let over = 0;
    virtual.watch = () => {
      if (virtual.site.watts('grid') > 100_000) over += 0.1;
    };
    // They lose their supply, more than a minute apart: no answer, no draw.
    for (const miner of working.slice(0, 4)) {
      virtual.unreachable.add(miner.id);
      miner.sleep();
      await virtual.run(61_000);
    }
    const held = virtual.site.watts('grid');
    await virtual.run(15 * 60_000);
    expect(virtual.site.watts('grid')).toBeGreaterThan(held + 6000);
    expect(over).toBe(0);
    virtual.stop();
  });

  it('a start at full load sheds nothing, with machines on their way up and one long dead', async () => {
    const virtual = startVirtualSite({ seed: 35, config: CONFIG.replace('200 kW', '165 kW') });
    await virtual.run(30_000);
    const dead = virtual.miners.get('a-007')!;
    dead.supply(false);
    await virtual.run(12 * 60_000);
    virtual.order('set_limit', { limit: 'grid', watts: 130_000, withinMs: 30_000 });
    await virtual.run(180_000);
    virtual.order('restore', {});
    await virtual.run(150_000);
    const starting = [...virtual.miners.values()].filter((miner) => miner.state === 'starting').length;
    expect(starting).toBeGreaterThan(0);
    const working = [...virtual.miners.values()].filter((miner) => miner.state !== 'sleeping');
    virtual.restart();
    await virtual.run(90_000);
    expect(working.filter((miner) => miner.state === 'sleeping' || miner.state === 'stopping')).toEqual([]);
    expect(virtual.controller.lastResult!.state.phase).toBe('normal');
    virtual.stop();
  });
});
