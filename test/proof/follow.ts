import type { MinerTraits } from '../../simulator/physics.ts';
import { startVirtualSite } from '../support/virtual-site.ts';

/**
 * Following a dispatched base point: a new one every five minutes, reached by a straight line, sent as a set point
 * every four seconds. Judged by the true power as markets judge it: the mean of |error| over the samples against the
 * site's size, and the mean error of each five-minute interval (energy delivered against energy asked).
 * Source of the scores: ERCOT Nodal Protocols 8.1.1.4.1 (five-minute deployment performance), as percentages.
 */

const CONFIG = `
site: { id: follow }
limits: [{ id: grid, rating: 1450 kW, meter: gm, authority: full }]
meters: [{ id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }]
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.200], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: c, limit: grid, hosts: [10.0.2.1-10.0.2.200], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 20 }
`;
/** Base points as shares of what the site can draw. */
const BASE_POINTS = [0.97, 0.87, 0.82, 0.89, 0.94, 0.78, 0.68, 0.73, 0.82, 0.87, 0.92, 0.87];
const UPDATE_MS = 4000;
const UPDATES = 75;

const wakes = (traits: MinerTraits, random: () => number): MinerTraits => ({
  ...traits,
  wakeDelayMs: [20_000, 60_000],
  wakeRampMs: 120_000 + 300_000 * random(),
});

/** An interval of five minutes may be off by 1 MW of 60. */
const INTERVAL_SHARE = 1 / 60;

/** Prints the scores of `seeds` runs; whether the mean error stays within 1.5 % in each, and every interval within 1.67 %. */
export async function proveFollow(seeds: number): Promise<boolean> {
  let kept = true;
  for (let seed = 1; seed <= seeds; seed += 1) {
    const virtual = startVirtualSite({ seed, config: CONFIG, traits: wakes });
    await virtual.run(60_000);
    const full = virtual.site.watts('grid');
    let from = full * BASE_POINTS[0]!;
    let absolute = 0;
    const intervals: number[] = [];
    for (const share of BASE_POINTS) {
      const to = full * share;
      let signed = 0;
      for (let update = 1; update <= UPDATES; update += 1) {
        const targetWatts = Math.round(from + ((to - from) * update) / UPDATES);
        const answer = virtual.order('set_point', { limit: 'grid', targetWatts, bandWatts: full * 0.006 });
        if (answer.status !== 'accepted') throw new Error(`set_point: ${JSON.stringify(answer)}`);
        await virtual.run(UPDATE_MS);
        const error = virtual.site.watts('grid') - targetWatts;
        absolute += Math.abs(error);
        signed += error;
      }
      intervals.push(signed / UPDATES / full);
      from = to;
    }
    const commands = virtual.applied();
    virtual.stop();
    const mean = absolute / (BASE_POINTS.length * UPDATES) / full;
    const worst = Math.max(...intervals.map(Math.abs));
    const within = intervals.filter((error) => Math.abs(error) <= INTERVAL_SHARE).length;
    console.log(
      `seed ${seed}: mean error ${(mean * 100).toFixed(2)} % of ${(full / 1e6).toFixed(2)} MW; ` +
        `${within} of ${intervals.length} intervals within 1.67 %, worst ${(worst * 100).toFixed(2)} %; ` +
        `${commands} commands`,
    );
    kept &&= mean <= 0.015 && within === intervals.length;
  }
  return kept;
}
