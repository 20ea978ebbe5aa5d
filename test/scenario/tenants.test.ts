import { describe, expect, it } from 'vitest';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

const MINUTE = 60_000;

/** The same twenty machines of two customers. */
const config = (tenants: string) => `
site: { id: t }
limits:
  - { id: grid, rating: 160 kW, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.20], firmware: bitmain, model: "Antminer S21", tenant: acme }
  - { id: b, limit: grid, hosts: [10.0.1.1-10.0.1.20], firmware: bitmain, model: "Antminer S21", tenant: beta }
tenants:
${tenants}
economics: { hashpriceDollarsPerPhDay: 45, energyDollarsPerMwh: 40 }
control: { restoreRampPercentPerMinute: 100, dwell: 60s, driftPercent: 0 }
`;

const asleep = (virtual: VirtualSite) => {
  const count = { a: 0, b: 0 };
  for (const miner of virtual.miners.values())
    if (miner.state === 'sleeping') count[miner.id[0] as 'a' | 'b'] += 1;
  return count;
};

/** Some hours in which a limit lies so low that about half sleep, and comes back, again and again. */
async function curtailed(virtual: VirtualSite): Promise<{ a: number; b: number }[]> {
  const seen: { a: number; b: number }[] = [];
  await virtual.run(2 * MINUTE);
  for (let round = 0; round < 4; round += 1) {
    virtual.order('set_limit', { limit: 'grid', watts: 80_000, withinMs: 60_000 });
    await virtual.run(15 * MINUTE);
    seen.push(asleep(virtual));
    virtual.order('restore', {});
    await virtual.run(15 * MINUTE);
    expect(asleep(virtual)).toEqual({ a: 0, b: 0 });
  }
  return seen;
}

const shares = (virtual: VirtualSite) => {
  const memories = virtual.controller.lastResult!.state.tenants!;
  return Object.values(memories).map((one) => one.curtailedWattHours / one.wantedWattHours);
};

describe('customers on one site', () => {
  it('who share fairly are curtailed in turn until they gave up the same (seed 5)', async () => {
    const virtual = startVirtualSite({
      seed: 5,
      config: config('  - { id: acme, curtailmentShare: fair }\n  - { id: beta, curtailmentShare: fair }'),
    });
    const rounds = await curtailed(virtual);
    // Nobody is woken and another put to sleep for it: turns change from one fall to the next.
    expect(new Set(rounds.map(({ a, b }) => a > b)).size).toBe(2);
    const [acme, beta] = shares(virtual);
    expect(acme).toBeGreaterThan(0.1);
    expect(Math.abs(acme! - beta!)).toBeLessThan(0.08);
    expect(virtual.explain('a-001').join(' ')).toMatch(
      /Limits kept \d+\.\d\d % of their energy from acme's machines in the last days, \d+\.\d\d % from all/,
    );
    const before = shares(virtual);
    virtual.restart();
    await virtual.run(MINUTE);
    // What was given up is not forgotten by a start.
    expect(shares(virtual)[0]).toBeCloseTo(before[0]!, 2);
    virtual.stop();
  });

  it('who do not are curtailed by what earns least, the same ones each time (seed 5)', async () => {
    const virtual = startVirtualSite({ seed: 5, config: config('  - { id: acme }\n  - { id: beta }') });
    const rounds = await curtailed(virtual);
    expect(new Set(rounds.map(({ a, b }) => a > b)).size).toBe(1);
    expect(virtual.controller.lastResult!.state.tenants).toBeUndefined();
    virtual.stop();
  });

  it('are judged by their own price of energy: whose is dearer goes first (seed 6)', async () => {
    for (const [acme, beta] of [
      [61, 42],
      [42, 61],
    ] as const) {
      const virtual = startVirtualSite({
        seed: 6,
        config: config(
          `  - { id: acme, energyDollarsPerMwh: ${acme} }\n  - { id: beta, energyDollarsPerMwh: ${beta} }`,
        ),
      });
      await virtual.run(2 * MINUTE);
      virtual.order('set_limit', { limit: 'grid', watts: 100_000, withinMs: 60_000 });
      await virtual.run(10 * MINUTE);
      const { a, b } = asleep(virtual);
      expect(a + b).toBeGreaterThan(8);
      expect(acme > beta ? b : a).toBe(0);
      virtual.stop();
    }
  });
});
