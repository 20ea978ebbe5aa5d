import { describe, expect, it } from 'vitest';
import { Poller, type PollRules } from '../../../../agent/control/poller.ts';
import { seededRandom } from '../../../../protocols/random.ts';
import { fail, ok } from '../../../../protocols/result.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function start(seed: number, rules: PollRules) {
  const clock = new VirtualClock();
  const stop = new AbortController();
  return { clock, stop, poller: new Poller(clock, seededRandom(seed), rules, stop.signal) };
}

/** 300 devices every 5 s, 30 of them dead with a 2 s time-out each. */
async function runSite(concurrency: number) {
  const { clock, stop, poller } = start(7, { concurrency, maximumBackoffMs: 120_000 });
  const last = new Map<number, number>();
  const gaps: number[] = [];
  const deadReads = new Map<number, number>();
  const targets = Array.from({ length: 300 }, (_, index) => {
    const dead = index % 10 === 3;
    return {
      id: `d${index}`,
      intervalMs: 5000,
      read: async (signal: AbortSignal) => {
        await clock.sleep(dead ? 2000 : 40, signal);
        return dead ? fail('timeout', 'silent') : ok(index);
      },
      onResult: () => {
        if (dead) deadReads.set(index, (deadReads.get(index) ?? 0) + 1);
        else {
          const now = clock.monotonicMs();
          const before = last.get(index);
          if (before !== undefined) gaps.push(now - before);
          last.set(index, now);
        }
      },
    };
  });
  poller.add(targets, 5000);
  await clock.advance(10 * 60_000);
  stop.abort();
  return { gaps, last, deadReads, poller };
}

describe('Poller', () => {
  it('reads 270 healthy devices in time while 30 dead ones wait for their time-outs', async () => {
    const { gaps, last, deadReads, poller } = await runSite(32);
    expect(last.size).toBe(270);
    expect(Math.max(...gaps)).toBeLessThan(5500);
    expect(poller.counters.worstLatenessMs).toBeLessThan(500);
    // Backed off: at 5 s a device would have been asked 120 times.
    expect(Math.max(...deadReads.values())).toBeLessThan(20);
    expect(Math.min(...deadReads.values())).toBeGreaterThan(3);
  });

  it('asks those that fail now and then also where healthy ones need every slot', async () => {
    const { clock, stop, poller } = start(7, { concurrency: 32, maximumBackoffMs: 120_000 });
    const reads = new Map<string, number>();
    poller.add(
      Array.from({ length: 900 }, (_, index) => ({
        id: `d${index}`,
        intervalMs: 5000,
        read: async (signal: AbortSignal) => {
          await clock.sleep(index < 20 ? 3000 : 200, signal);
          return index < 20 ? fail('timeout', 'silent') : ok(index);
        },
        onResult: () => reads.set(`d${index}`, (reads.get(`d${index}`) ?? 0) + 1),
      })),
      5000,
    );
    await clock.advance(10 * 60_000);
    stop.abort();
    const dead = Array.from({ length: 20 }, (_, index) => reads.get(`d${index}`)!);
    expect(Math.min(...dead)).toBeGreaterThan(3);
    // A sixteenth of the slots is all that they take from the others.
    const healthy = [...reads.values()].reduce((sum, count) => sum + count, 0) - dead.reduce((a, b) => a + b);
    expect(healthy).toBeGreaterThan((600 * 30) / 0.2 - 1000);
  });

  it('spreads first reads and reads at once when hurried', async () => {
    const { clock, stop, poller } = start(1, { concurrency: 4, maximumBackoffMs: 60_000 });
    const times: number[] = [];
    const targets = ['a', 'b', 'c', 'd'].map((id) => ({
      id,
      intervalMs: 4000,
      read: async () => ok(id),
      onResult: () => times.push(clock.monotonicMs()),
    }));
    poller.add(targets, 4000);
    await clock.advance(3999);
    expect(times).toEqual([0, 1000, 2000, 3000]);
    poller.hurry('b');
    await clock.advance(0);
    expect(times.at(-1)).toBe(3999);
    stop.abort();
  });
});

describe('a third of the site that dies in one moment', () => {
  it('is found within forty seconds and delays nobody else', async () => {
    const { clock, stop, poller } = start(5, { concurrency: 192, maximumBackoffMs: 120_000 });
    let tripped = false;
    const failures = new Map<number, number>();
    const foundAt: number[] = [];
    const last = new Map<number, number>();
    const gaps: number[] = [];
    poller.add(
      Array.from({ length: 300 }, (_, index) => ({
        id: `d${index}`,
        intervalMs: 5000,
        read: async (signal: AbortSignal) => {
          const dead = tripped && index < 100;
          await clock.sleep(dead ? 4000 : 40, signal);
          return dead ? fail('timeout', 'silent') : ok(index);
        },
        onResult: (result) => {
          const now = clock.monotonicMs();
          if (result.ok) {
            const before = last.get(index);
            if (before !== undefined) gaps.push(now - before);
            last.set(index, now);
            return;
          }
          failures.set(index, (failures.get(index) ?? 0) + 1);
          if (failures.get(index) === 3) foundAt.push(now);
        },
      })),
      3000,
    );
    await clock.advance(60_000);
    tripped = true;
    await clock.advance(60_000);
    stop.abort();
    expect(foundAt).toHaveLength(100);
    expect(Math.max(...foundAt) - 60_000).toBeLessThan(40_000);
    expect(Math.max(...gaps)).toBeLessThan(5500);
  });

  it('reads that are due within a moment begin in one turn, at their own pace', async () => {
    const { clock, stop, poller } = start(1, { concurrency: 99, maximumBackoffMs: 1e6 });
    const begun: { readonly id: string; readonly at: number }[] = [];
    const target = (id: string, nextStart?: () => number) => ({
      id,
      intervalMs: 10_000,
      read: async () => {
        begun.push({ id, at: clock.monotonicMs() });
        await clock.sleep(30, stop.signal);
        return ok(0);
      },
      onResult: () => undefined,
      ...(nextStart && { nextStart }),
    });
    poller.add(
      Array.from({ length: 1000 }, (_, index) => target(`d${index}`)),
      10_000,
    );
    let next = 3;
    poller.add([target('meter', () => (next += 777))], 0);
    await clock.advance(30_049);
    stop.abort();
    const devices = begun.filter(({ id }) => id !== 'meter');
    // The first is due at once.
    expect(devices.length).toBe(3001);
    expect(new Set(devices.map(({ at }) => at)).size).toBe(601);
    const first = devices.filter(({ id }) => id === 'd500').map(({ at }) => at);
    expect(first).toEqual([5000, 15_000, 25_000]);
    // What is read in time for a decision keeps its own time.
    expect(
      begun
        .filter(({ id }) => id === 'meter')
        .slice(0, 3)
        .map(({ at }) => at),
    ).toEqual([0, 780, 1557]);
  });
});
