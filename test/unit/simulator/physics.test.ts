import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../protocols/random.ts';
import { type MinerTraits, SimulatedMiner, SimulatedSite } from '../../../simulator/physics.ts';

const traits: MinerTraits = {
  normalWatts: 3000,
  minimumWatts: 1500,
  sleepWatts: 20,
  normalHashrateThs: 150,
  stopDelayMs: [1000, 1000],
  stopRampMs: 2000,
  wakeDelayMs: [10_000, 10_000],
  wakeRampMs: 60_000,
  changeRampMs: 5000,
  overshoot: 1.05,
};

describe('SimulatedMiner', () => {
  it('falls after its delay and ramp, and rises with an overshoot that ends at the target', () => {
    const miner = new SimulatedMiner('m', traits, seededRandom(1));
    miner.sleep();
    miner.advance(1000);
    expect(miner.powerWatts).toBe(3000);
    miner.advance(2000);
    expect(miner.powerWatts).toBe(1510);
    miner.advance(3000);
    expect(miner.powerWatts).toBe(20);
    expect(miner.state).toBe('sleeping');
    miner.run(null);
    miner.advance(13_000 + 59_999);
    expect(miner.powerWatts).toBeGreaterThan(3000);
    miner.advance(13_000 + 60_000);
    expect(miner.powerWatts).toBe(3000);
  });

  it('does nothing when it disobeys, and claims what it likes when it lies', () => {
    const miner = new SimulatedMiner('m', traits, seededRandom(1), { disobeys: true, lies: 0.5 });
    miner.sleep();
    miner.advance(60_000);
    expect(miner.powerWatts).toBe(3000);
    expect(miner.claimedWatts).toBe(1500);
  });
});

describe('SimulatedSite', () => {
  it('sums devices, loads and losses up the tree, and remembers for lagging meters', () => {
    const site = new SimulatedSite([
      { id: 'grid', parent: null, gain: 1, loadWatts: () => 500 },
      { id: 'feeder', parent: 'grid', gain: 1.1, loadWatts: () => 100 },
    ]);
    const miner = new SimulatedMiner('m', traits, seededRandom(1));
    site.place('feeder', miner);
    site.advance(0);
    expect(site.watts('feeder')).toBe(3100);
    expect(site.watts('grid')).toBeCloseTo(500 + 3100 * 1.1, 9);
    miner.sleep();
    site.advance(3000);
    expect(site.watts('feeder')).toBe(120);
    expect(site.watts('feeder', 3000)).toBe(3100);
  });
});
