import { describe, expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 100 kW, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.10], firmware: luxos, model: "Antminer S19k Pro" }
control: { minersShareLimit: false }
`;

/** Times, ages and measured watts differ in the last digits; the words are what is held. */
function words(sentences: readonly string[]): string {
  return sentences
    .join('\n')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:]+Z/g, '<time>')
    .replaceAll(/, seen \d+ s ago/g, '')
    .replaceAll(/\d+(\.\d+)? (kW|MW|W)\b/g, '<watts>')
    .replaceAll(/\d\.\d{3} \$/g, '<price>');
}

describe('explain', () => {
  it('says why a miner sleeps: the limit, its price, the command and the evidence', async () => {
    const virtual = startVirtualSite({ seed: 3, config: CONFIG });
    await virtual.run(20_000);
    virtual.order('set_limit', { limit: 'grid', watts: 14_000, withinMs: 30_000 });
    await virtual.run(60_000);
    const asleep = [...virtual.miners.values()].find((miner) => miner.state === 'sleeping')!;
    expect(words(virtual.explain(asleep.id))).toBe(
      [
        `${asleep.id} (Antminer S19k Pro, luxos) is sleeping and draws <watts>.`,
        'At <time> it was put to sleep. The limit grid bound (now <watts>, set by local). One more kWh there was worth <price>, and other devices earn more with it.',
        'The device acknowledged it at <time>; that alone proves nothing.',
        `Evidence at <time>: ${asleep.id} shows sleep.`,
        'grid: <watts> flow (measured, good) of <watts> (set by local).',
      ].join('\n'),
    );
    const awake = [...virtual.miners.values()].find((miner) => miner.state === 'hashing')!;
    expect(words(virtual.explain(awake.id))).toBe(
      [
        `${awake.id} (Antminer S19k Pro, luxos) is hashing and draws <watts>.`,
        'The agent has given it no command since it started.',
        'grid: <watts> flow (measured, good) of <watts> (set by local).',
      ].join('\n'),
    );
    expect(words(virtual.explain('grid'))).toContain(
      'By what is proved, at most <watts> can flow: that decides whether anything may rise.',
    );
    expect(virtual.explain('nothing')).toEqual(['There is no device or limit "nothing".']);
    virtual.stop();
  });
});
