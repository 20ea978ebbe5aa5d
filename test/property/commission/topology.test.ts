import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RoundResult, TopologyMiner } from '../../../agent/commission/topology.ts';
import { judgeTopology, locate, planMs, planTopology } from '../../../agent/commission/topology.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { SimulatedMiner } from '../../../simulator/physics.ts';

const LIMITS = Array.from({ length: 10 }, (_, index) => `pdu-${index}`);
const GROUP_WATTS_MOST = 40_000;
/** Down and settled, measured, up and settled, measured: what a stock miner needs. */
const ROUND_MS = 120_000;
const RUN_MS_MOST = 4 * 3_600_000;
const TRAITS = {
  normalWatts: 3400,
  minimumWatts: 2400,
  sleepWatts: 30,
  normalHashrateThs: 120,
  stopDelayMs: [2000, 8000],
  stopRampMs: 4000,
  wakeDelayMs: [10_000, 20_000],
  wakeRampMs: 15_000,
  changeRampMs: 5000,
  overshoot: 1.05,
} as const;

/** A site whose wires are not what the configuration says, and whose meters waver. */
class WiredSite {
  readonly miners: TopologyMiner[] = [];
  readonly truth = new Map<string, string>();
  mostDownWatts = 0;
  readonly random: () => number;
  private readonly machines = new Map<string, SimulatedMiner>();
  private nowMs = 0;
  private readonly drift = new Map<string, number>();

  constructor(seed: number, count: number, miswire: (site: WiredSite, ids: string[]) => void) {
    this.random = seededRandom(seed);
    for (let index = 0; index < count; index += 1) {
      const id = `m${String(index).padStart(3, '0')}`;
      const normalWatts = 3000 + 600 * this.random();
      this.machines.set(id, new SimulatedMiner(id, { ...TRAITS, normalWatts }, this.random));
      const limit = LIMITS[index % LIMITS.length]!;
      // What the agent knows of its draw is what the miner says: a few per cent off.
      const watts = (normalWatts - TRAITS.sleepWatts) * (0.96 + 0.08 * this.random());
      this.miners.push({ id, limit, watts });
      this.truth.set(id, limit);
    }
    miswire(this, shuffle([...this.truth.keys()], this.random));
  }

  get wrong(): string[] {
    return this.miners.filter(({ id, limit }) => this.truth.get(id) !== limit).map(({ id }) => id);
  }

  get elapsedMs(): number {
    return this.nowMs;
  }

  /** Plays one round: every meter before, with the group down, and after it is up again. */
  play(round: readonly string[]): RoundResult {
    const before = this.measure();
    for (const id of round) this.machines.get(id)!.sleep();
    this.pass(ROUND_MS * 0.3);
    const down = this.measure();
    const gone = round.reduce((sum, id) => {
      const machine = this.machines.get(id)!;
      return sum + machine.traits.normalWatts - machine.powerWatts;
    }, 0);
    this.mostDownWatts = Math.max(this.mostDownWatts, gone);
    for (const id of round) this.machines.get(id)!.run(null);
    this.pass(ROUND_MS * 0.7);
    const after = this.measure();
    const dropWatts = new Map(
      LIMITS.map((limit) => [limit, (before.get(limit)! + after.get(limit)!) / 2 - down.get(limit)!]),
    );
    return { round, dropWatts };
  }

  private pass(milliseconds: number): void {
    this.nowMs += milliseconds;
    for (const machine of this.machines.values()) machine.advance(this.nowMs);
    // Fans and pumps come and go beside the miners.
    for (const limit of LIMITS) {
      this.drift.set(limit, (this.drift.get(limit) ?? 5000) + 200 * (this.random() - 0.5));
    }
  }

  private measure(): Map<string, number> {
    const sums = new Map(LIMITS.map((limit) => [limit, this.drift.get(limit) ?? 5000]));
    for (const [id, machine] of this.machines) {
      const limit = this.truth.get(id)!;
      if (sums.has(limit)) sums.set(limit, sums.get(limit)! + machine.powerWatts);
    }
    // A meter of class 0.5 over a hundred kilowatts, read several times.
    return new Map([...sums].map(([limit, watts]) => [limit, watts * (1 + 0.001 * (this.random() - 0.5))]));
  }
}

const NOISE_WATTS = 900;

function commission(site: WiredSite) {
  const rounds = planTopology(site.miners, { groupWattsMost: GROUP_WATTS_MOST }, site.random);
  const suspicion = judgeTopology(
    site.miners,
    rounds.map((round) => site.play(round)),
    NOISE_WATTS,
  );
  const byId = new Map(site.miners.map((miner) => [miner.id, miner]));
  const found = suspicion.alone.map((id) => locate(byId.get(id)!, site.play([id]), NOISE_WATTS));
  const wrong = found.flatMap((one) => (one !== 'undetermined' && one.found !== one.configured ? [one] : []));
  return { rounds, suspicion, wrong, undetermined: found.filter((one) => one === 'undetermined').length };
}

/** Every wrong one found, on the limit where it hangs, nobody else accused, within watts and time. */
function expectFound(site: WiredSite, seed: number): void {
  const { rounds, suspicion, wrong, undetermined } = commission(site);
  const told = wrong.map(({ id, found }) => `${id} on ${found}`).sort();
  const truth = site.wrong.map((id) => {
    const limit = site.truth.get(id)!;
    return `${id} on ${LIMITS.includes(limit) ? limit : null}`;
  });
  expect(told, `seed ${seed}`).toEqual(truth.sort());
  expect(undetermined).toBe(0);
  expect(site.mostDownWatts).toBeLessThanOrEqual(GROUP_WATTS_MOST);
  expect(site.elapsedMs).toBeLessThanOrEqual(RUN_MS_MOST);
  expect(site.elapsedMs).toBe(planMs(rounds.length, suspicion.alone.length, ROUND_MS));
}

describe('a site of 300 miners, 5 % of them wired to another limit than configured', () => {
  test.each(Array.from({ length: 20 }, (_, index) => index + 1))('at random (seed %i)', (seed) => {
    const site = new WiredSite(seed, 300, (wired, ids) => {
      for (const id of ids.slice(0, 15)) {
        const others = LIMITS.filter((limit) => limit !== wired.truth.get(id));
        wired.truth.set(id, others[Math.floor(wired.random() * others.length)]!);
      }
    });
    expect(site.wrong).toHaveLength(15);
    expectFound(site, seed);
  });

  test.each(Array.from({ length: 20 }, (_, index) => index + 101))('in swapped pairs (seed %i)', (seed) => {
    const site = new WiredSite(seed, 300, (wired, ids) => {
      for (let pair = 0; pair < 8; pair += 1) {
        const [a, b] = [ids[2 * pair]!, ids[2 * pair + 1]!];
        const limit = wired.truth.get(a)!;
        wired.truth.set(a, wired.truth.get(b)!);
        wired.truth.set(b, limit);
      }
    });
    expectFound(site, seed);
  });

  test('all from one rack, on one wrong limit', () => {
    const site = new WiredSite(7, 300, (wired) => {
      for (let index = 3; index < 153; index += 10)
        wired.truth.set(`m${String(index).padStart(3, '0')}`, 'pdu-9');
    });
    expect(site.wrong).toHaveLength(15);
    expectFound(site, 7);
  });

  test('on no metered limit at all', () => {
    const site = new WiredSite(8, 300, (wired, ids) => {
      for (const id of ids.slice(0, 15)) wired.truth.set(id, 'elsewhere');
    });
    expectFound(site, 8);
  });

  test('nobody is accused where every wire is right', () => {
    const site = new WiredSite(9, 300, () => undefined);
    expectFound(site, 9);
    expect(site.elapsedMs).toBeLessThanOrEqual(3 * 3_600_000);
  });
});

describe('a plan', () => {
  test('keeps to its watts, toggles each miner once in every pass and no two together twice', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 120 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 6000, max: 60_000 }),
        fc.nat(),
        (count, limits, groupWattsMost, seed) => {
          const random = seededRandom(seed);
          const miners = Array.from({ length: count }, (_, index) => ({
            id: `m${index}`,
            limit: `l${index % limits}`,
            watts: 1000 + 5000 * random(),
          }));
          const rounds = planTopology(miners, { groupWattsMost }, random);
          const watts = new Map(miners.map((miner) => [miner.id, miner.watts]));
          const pairs = new Set<string>();
          const times = new Map<string, number>();
          for (const round of rounds) {
            expect(round.reduce((sum, id) => sum + watts.get(id)!, 0)).toBeLessThanOrEqual(groupWattsMost);
            for (const id of round) times.set(id, (times.get(id) ?? 0) + 1);
            for (const a of round) {
              for (const b of round) {
                if (a >= b) continue;
                expect(pairs.has(`${a} ${b}`)).toBe(false);
                pairs.add(`${a} ${b}`);
              }
            }
          }
          expect([...times.values()].every((value) => value === 2)).toBe(true);
          expect(times.size).toBe(count);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('with a bound below one miner is refused', () => {
    const miners = [{ id: 'a', limit: 'l', watts: 3000 }];
    expect(() => planTopology(miners, { groupWattsMost: 2000 }, () => 0.5)).toThrow('above the bound');
  });
});

describe('a miner that was toggled alone', () => {
  const miner = { id: 'a', limit: 'l1', watts: 3000 };
  const drop = (...pairs: [string, number][]) => ({ round: ['a'], dropWatts: new Map(pairs) });
  test.each([
    ['its own meter', drop(['l1', 2950], ['l2', 40]), 'l1'],
    ['another meter', drop(['l1', -30], ['l2', 3050]), 'l2'],
    ['no meter', drop(['l1', 20], ['l2', 10]), null],
  ])('hangs where %s lost its watts', (_, result, found) => {
    expect(locate(miner, result, 500)).toEqual({ id: 'a', configured: 'l1', found });
  });
  test.each([
    ['two meters moved', drop(['l1', 3000], ['l2', 3000])],
    ['one moved by another amount', drop(['l1', 9000])],
    ['one rose', drop(['l2', -3000])],
  ])('proves nothing when %s', (_, result) => {
    expect(locate(miner, result, 500)).toBe('undetermined');
  });
});

function shuffle<T>(values: T[], random: () => number): T[] {
  for (let index = values.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [values[index], values[other]] = [values[other]!, values[index]!];
  }
  return values;
}
