import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Loop } from '../../../agent/control/loop.ts';
import { Poller } from '../../../agent/control/poller.ts';
import { LateReads } from '../../../agent/late-reads.ts';
import { openMeterLessons } from '../../../agent/store/meter-lessons.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { ok } from '../../../protocols/result.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

describe('reads scheduled late', () => {
  /** Runs a loop and a target for `seconds`; returns the age of the sample at each decision from the tenth on. */
  async function ages(intervalMs: number, periodMs: number, readMs: () => number, seconds = 60) {
    const clock = new VirtualClock();
    const stop = new AbortController();
    let sampledAt = Number.NEGATIVE_INFINITY;
    let reads = 0;
    const found: number[] = [];
    const loop = new Loop(
      clock,
      periodMs,
      () => found.push(clock.monotonicMs() - sampledAt),
      (error) => {
        throw error;
      },
    );
    const late = new LateReads({ nextAt: () => loop.dueAt, periodMs });
    const poller = new Poller(
      clock,
      seededRandom(1),
      { concurrency: 4, maximumBackoffMs: 2000 },
      stop.signal,
    );
    let startedAt = 0;
    poller.add(
      [
        {
          id: 'm',
          intervalMs,
          nextStart: () => late.next(startedAt, intervalMs, clock.monotonicMs()),
          read: async (signal) => {
            startedAt = clock.monotonicMs();
            reads += 1;
            await clock.sleep(readMs(), signal);
            late.took(clock.monotonicMs() - startedAt);
            // The midpoint, as the driver stamps it.
            sampledAt = (startedAt + clock.monotonicMs()) / 2;
            return ok(true);
          },
          onResult: () => undefined,
        },
      ],
      0,
    );
    loop.start();
    await clock.advance(seconds * 1000);
    stop.abort();
    loop.stop();
    return { ages: found.slice(10), reads };
  }

  test.each([
    [1000, 1000, 40],
    [1000, 1000, 300],
    [2000, 1000, 60],
    [500, 1000, 30],
    [200, 1000, 25],
    [100, 1000, 10],
    [100, 250, 15],
    [1000, 250, 40],
  ])(
    'every %i ms, decided every %i ms, taking %i ms: fresh at the decision',
    async (interval, period, takes) => {
      const { ages: found, reads } = await ages(interval, period, () => takes);
      const freshest = takes / 2 + 21;
      // Where it is read less often than decided, the sample of a read serves several decisions.
      const spare = Math.max(0, interval - period);
      expect(Math.max(...found)).toBeLessThanOrEqual(freshest + spare);
      // In even steps between two decisions, so that every one of them finds a fresh sample.
      const wanted =
        interval >= period ? 60_000 / interval : (60_000 / period) * Math.floor(period / interval);
      expect(reads).toBeGreaterThan(wanted * 0.9);
      expect(reads).toBeLessThan(wanted * 1.1 + 3);
    },
  );

  test('a jittery meter is allowed for what its last reads took', async () => {
    const random = seededRandom(4);
    const { ages: found } = await ages(1000, 1000, () => 20 + 80 * random());
    const late = found.filter((age) => age > 150).length;
    expect(late / found.length).toBeLessThan(0.2);
    // A read that came too late for one decision leaves the one before it, never nothing.
    expect(Math.max(...found)).toBeLessThan(1200);
  });

  test('the next start is never in the past nor far away', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 10_000 }),
        fc.integer({ min: 100, max: 5000 }),
        fc.array(fc.integer({ min: 0, max: 3000 }), { maxLength: 12 }),
        fc.integer({ min: 0, max: 100_000 }),
        fc.integer({ min: 0, max: 4000 }),
        (interval, period, durations, lastStart, passed) => {
          const now = lastStart + passed;
          const late = new LateReads({ nextAt: () => now + (period * 2) / 3, periodMs: period });
          for (const duration of durations) late.took(duration);
          const start = late.next(lastStart, interval, now);
          expect(start).toBeGreaterThanOrEqual(now - 1e-6);
          expect(start - Math.max(now, lastStart + interval)).toBeLessThanOrEqual(period);
        },
      ),
    );
  });
});

describe('what meters refused', () => {
  const lessons = {
    profile: 'eastron-sdm630',
    serialNumber: '1',
    functionCode: 4,
    registersMost: 40,
    absent: ['current.n'],
    cuts: [52],
  } as const;

  test('is kept over a restart, and a damaged file counts as nothing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'switchyard-lessons-'));
    try {
      openMeterLessons(folder).keep('m', lessons);
      openMeterLessons(folder).keep('n', { ...lessons, serialNumber: null });
      expect(openMeterLessons(folder).of('m')).toEqual(lessons);
      expect(openMeterLessons(folder).of('n')).toEqual({ ...lessons, serialNumber: null });
      expect(openMeterLessons(folder).of('other')).toBeNull();
      writeFileSync(join(folder, 'meter-lessons.json'), '{"m":{"profile":');
      expect(openMeterLessons(folder).of('m')).toBeNull();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
