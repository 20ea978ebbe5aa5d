import { describe, expect, it } from 'vitest';
import type { MinerTraits } from '../../simulator/physics.ts';
import { startVirtualSite } from '../support/virtual-site.ts';

/** All a hundred at full power. */
const FULL_WATTS = 50 * 2760 + 50 * 3441;
const config = (ratingWatts: number) => `
site: { id: follow }
limits: [{ id: grid, rating: ${ratingWatts}, meter: gm, authority: full }]
meters: [{ id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }]
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.50], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: c, limit: grid, hosts: [10.0.2.1-10.0.2.50], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 20 }
`;
const UPDATE_MS = 4000;
const UPDATES = 75;
const SEED = 11;

/** Half the miners need minutes to wake; the others take a new power limit within seconds. */
const wakes = (traits: MinerTraits, random: () => number): MinerTraits => ({
  ...traits,
  wakeDelayMs: [20_000, 60_000],
  wakeRampMs: 120_000 + 300_000 * random(),
});

describe(`base points of five minutes, a set point every four seconds (seed ${SEED})`, () => {
  const follow = async (
    disobeying: number,
    ratingShare: number,
    shares: readonly number[],
  ): Promise<{ means: number[]; overRating: number; said: string }> => {
    const ceiling = Math.round(FULL_WATTS * ratingShare);
    const virtual = startVirtualSite({
      seed: SEED,
      config: config(ceiling),
      traits: wakes,
      faults: (_id, random) => (random() < disobeying ? { disobeys: true } : {}),
    });
    await virtual.run(120_000);
    let overRating = 0;
    virtual.watch = () => {
      if (virtual.site.watts('grid') > ceiling) overRating += 1;
    };
    const means: number[] = [];
    let from = FULL_WATTS * shares[0]!;
    for (const share of shares) {
      const to = FULL_WATTS * share;
      let sum = 0;
      for (let update = 1; update <= UPDATES; update += 1) {
        const targetWatts = Math.round(from + ((to - from) * update) / UPDATES);
        const answer = virtual.order('set_point', {
          limit: 'grid',
          targetWatts,
          bandWatts: FULL_WATTS * 0.006,
        });
        expect(answer.status).toBe('accepted');
        await virtual.run(UPDATE_MS);
        sum += (virtual.site.watts('grid') - targetWatts) / FULL_WATTS;
      }
      means.push(sum / UPDATES);
      from = to;
    }
    const said = virtual.explain('grid').join(' ');
    virtual.stop();
    return { means, overRating, said };
  };

  it('are met on average within 1.67 % in every interval, down and up', async () => {
    const { means, overRating, said } = await follow(0, 0.98, [0.9, 0.8, 0.88, 0.94]);
    expect(said).toMatch(/A set point holds it at \d+ kW; miners that take a new power limit within seconds/);
    for (const mean of means) expect(Math.abs(mean)).toBeLessThanOrEqual(1 / 60);
    expect(overRating, 'tenths of a second over the rating').toBe(0);
  });

  it('never take the site over its rating just above, with one in ten disobedient', async () => {
    const { overRating } = await follow(0.1, 0.905, [0.9, 0.84, 0.9]);
    expect(overRating, 'tenths of a second over the rating').toBe(0);
  });
});
