import { describe, expect, it } from 'vitest';
import { worstOf } from '../../agent/control/ledger.ts';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 200 kW, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 100 kW, meter: ma }
  - { id: fb, parent: grid, rating: 100 kW, meter: mb }
loads: [{ id: cooling, limit: grid, worst: 10 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: ma, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
  - { id: mb, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 3 } }
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.25], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: b, limit: fb, hosts: [10.0.2.1-10.0.2.25], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 20, dwell: 60s }
`;

const codes = (virtual: VirtualSite) =>
  virtual.conditions().map((condition) => `${condition.code} ${condition.target}`);

/** Seconds that the true power at `limit` spends above `watts`, from now on. */
function overSeconds(virtual: VirtualSite, limit: string, watts: number): () => number {
  let seconds = 0;
  virtual.watch = () => {
    if (virtual.site.watts(limit) > watts) seconds += 0.1;
  };
  return () => seconds;
}

describe('devices and meters that deceive are found, shown and survived', () => {
  it('a miner that acknowledges and does nothing is set aside, and others make up for it', async () => {
    const virtual = startVirtualSite({
      seed: 11,
      config: CONFIG,
      faults: (id) => (id === 'a-003' ? { disobeys: true } : {}),
    });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'grid', watts: 30_000, withinMs: 60_000 });
    await virtual.run(60_000);
    const over = overSeconds(virtual, 'grid', 30_000);
    await virtual.run(10 * 60_000);
    expect(over()).toBe(0);
    expect(virtual.miners.get('a-003')!.powerWatts).toBeGreaterThan(2000);
    expect(codes(virtual).filter((code) => /^(does-not-obey|quarantined)/.test(code))).toEqual([
      expect.stringMatching(/ a-003$/),
    ]);
    virtual.stop();
  });

  it('a miner that claims a third of its watts makes no room', async () => {
    const virtual = startVirtualSite({
      seed: 12,
      config: CONFIG,
      faults: (id) => (id.startsWith('b-00') ? { lies: 0.33 } : {}),
    });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'fb', watts: 50_000, withinMs: 30_000 });
    await virtual.run(30_000);
    const over = overSeconds(virtual, 'fb', 50_000);
    await virtual.run(10 * 60_000);
    expect(over()).toBe(0);
    expect(codes(virtual)).toContain('implausible-power b-001');
    virtual.stop();
  });

  it('a stranger at the address of a sleeping miner is told, commanded by nobody and counted at its nameplate', async () => {
    const virtual = startVirtualSite({ seed: 17, config: CONFIG });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'grid', watts: 60_000, withinMs: 30_000 });
    await virtual.run(120_000);
    const place = [...virtual.miners.values()].find((miner) => miner.state === 'sleeping')!;
    virtual.strangers.add(place.id);
    // The machine that was put there starts by itself.
    place.restart();
    const over = overSeconds(virtual, 'grid', 60_000);
    await virtual.run(5 * 60_000);
    expect(over()).toBe(0);
    expect(codes(virtual)).toContain(`wrong-device ${place.id}`);
    const commands = virtual.controller.commandsOf(place.id);
    const seen = virtual.controller.lastResult!;
    expect(commands.at(-1)!.pointId).toBe('sleep');
    expect(place.powerWatts).toBeGreaterThan(2000);
    const facts = seen.facts.get(place.id)!;
    const input = seen.inputs.find((candidate) => candidate.facts.id === place.id)!;
    expect(worstOf(input.entry, facts, input.device)).toBeGreaterThanOrEqual(facts.nameplateWatts);
    virtual.stop();
  });

  it('a frozen meter is called bad and nothing rises on its word', async () => {
    const virtual = startVirtualSite({ seed: 13, config: CONFIG });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'grid', watts: 80_000, withinMs: 30_000 });
    await virtual.run(120_000);
    const asleep = [...virtual.miners.values()].filter((miner) => miner.state === 'sleeping').length;
    expect(asleep).toBeGreaterThan(10);
    virtual.meterFaults.set('gm', { frozen: true });
    await virtual.run(25_000);
    expect(codes(virtual)).toContain('meter-bad gm');
    virtual.order('restore', {});
    const over = overSeconds(virtual, 'grid', 200_000);
    await virtual.run(5 * 60_000);
    // The sum of all nameplates and loads fits the rating, so rises may be granted on that alone; never beyond.
    expect(over()).toBe(0);
    virtual.stop();
  });

  it('a meter that shows a third less than its children is doubted, and its limit is held by the higher figure', async () => {
    const virtual = startVirtualSite({ seed: 14, config: CONFIG });
    await virtual.run(30_000);
    virtual.meterFaults.set('gm', { factor: 0.67 });
    await virtual.run(10_000);
    expect(codes(virtual)).toContain('meters-disagree grid');
    virtual.order('set_limit', { limit: 'grid', watts: 90_000, withinMs: 30_000 });
    await virtual.run(40_000);
    const over = overSeconds(virtual, 'grid', 90_000);
    await virtual.run(8 * 60_000);
    expect(over()).toBe(0);
    virtual.stop();
  });

  it('a silent meter freezes rises and sheds nothing by itself', async () => {
    const virtual = startVirtualSite({ seed: 15, config: CONFIG });
    await virtual.run(30_000);
    const before = virtual.site.watts('grid');
    virtual.meterFaults.set('ma', { silent: true });
    await virtual.run(60_000);
    expect(codes(virtual)).toContain('meter-silent ma');
    expect(virtual.site.watts('grid')).toBeGreaterThan(before * 0.95);
    virtual.stop();
  });

  it('a miner that restarts by itself is seen, and what it takes is shed elsewhere or there', async () => {
    const virtual = startVirtualSite({ seed: 16, config: CONFIG });
    await virtual.run(30_000);
    virtual.order('set_limit', { limit: 'grid', watts: 60_000, withinMs: 30_000 });
    await virtual.run(120_000);
    const sleeper = [...virtual.miners.values()].find((miner) => miner.state === 'sleeping')!;
    const over = overSeconds(virtual, 'grid', 60_000);
    sleeper.restart();
    await virtual.run(120_000);
    expect(over()).toBe(0);
    expect(codes(virtual)).toContain(`rose-by-itself ${sleeper.id}`);
    virtual.stop();
  });
});
