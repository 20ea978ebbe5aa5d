import { expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 100 kW, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.20], firmware: luxos, model: "Antminer S19k Pro" }
control: { minersShareLimit: false, restoreRampPercentPerMinute: 100, wakesPerTenSeconds: 100 }
`;

it('what was shed for a limit holds rises below it, until it is lifted by an order', async () => {
  const virtual = startVirtualSite({ seed: 5, config: CONFIG });
  const asleep = () => [...virtual.miners.values()].filter((miner) => miner.state === 'sleeping').length;
  await virtual.run(20_000);
  virtual.order('set_limit', { limit: 'grid', watts: 25_000, withinMs: 30_000 });
  await virtual.run(400_000);
  virtual.order('set_limit', { limit: 'grid', watts: 20_000, withinMs: 10_000 });
  await virtual.run(12_000);
  const before = asleep();
  expect(before).toBeGreaterThan(10);
  expect(virtual.explain('grid').join('\n')).toMatch(
    /Power was shed for it \d+ s ago: nothing below it rises for \d+ s more\./,
  );
  virtual.order('set_limit', { limit: 'grid', watts: 60_000, withinMs: 30_000 });
  await virtual.run(4000);
  expect(asleep()).toBeLessThan(before);
  expect(virtual.explain('grid').join('\n')).not.toContain('Power was shed');
  virtual.stop();
});
