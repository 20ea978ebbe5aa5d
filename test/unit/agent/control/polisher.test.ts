import { describe, expect, test } from 'vitest';
import type { Problem } from '../../../../agent/allocation/problem.ts';
import { type LongSearch, type Modes, Polisher, searchInThread } from '../../../../agent/control/polisher.ts';
import { coarseSite } from '../../../support/allocation-problems.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const PROBLEM = coarseSite(1, 20, 5, 2);

/** A search that the test answers. */
function askedSearch() {
  const asked: { problem: Problem; found: (modes: Modes) => void; end: () => void; stop: AbortSignal }[] = [];
  const search: LongSearch = (problem, found, stop) =>
    new Promise((resolve) => asked.push({ problem, found, end: resolve, stop }));
  return { asked, search };
}

function made(search: LongSearch) {
  const clock = new VirtualClock();
  const stop = new AbortController();
  return { clock, stop, polisher: new Polisher({ clock, search, stop: stop.signal }) };
}

/** Lets what has settled go on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the polisher', () => {
  test('searches only where a gap is worth it', () => {
    const { asked, search } = askedSearch();
    const { polisher } = made(search);
    polisher.offer(PROBLEM, null);
    polisher.offer(PROBLEM, 0);
    polisher.offer(PROBLEM, 0.0001);
    const [device] = PROBLEM.devices;
    polisher.offer({ ...PROBLEM, devices: new Array(2001).fill(device) }, 0.01);
    expect(asked).toHaveLength(0);
    polisher.offer(PROBLEM, 0.00011);
    expect(asked).toHaveLength(1);
    expect(asked[0]!.problem).toBe(PROBLEM);
    expect(polisher.found).toBeNull();
  });

  test('keeps the latest find; one search at a time, and one in half a minute', async () => {
    const { asked, search } = askedSearch();
    const { clock, polisher } = made(search);
    polisher.offer(PROBLEM, 0.01);
    asked[0]!.found({ a: 'on' });
    asked[0]!.found({ a: 'off' });
    expect(polisher.found).toEqual({ a: 'off' });
    await clock.advance(40_000);
    polisher.offer(PROBLEM, 0.01);
    expect(asked).toHaveLength(1);
    asked[0]!.end();
    await settled();
    polisher.offer(PROBLEM, 0.01);
    expect(asked).toHaveLength(2);
    asked[1]!.end();
    await settled();
    polisher.offer(PROBLEM, 0.01);
    await clock.advance(29_000);
    polisher.offer(PROBLEM, 0.01);
    expect(asked).toHaveLength(2);
    await clock.advance(1000);
    polisher.offer(PROBLEM, 0.01);
    expect(asked).toHaveLength(3);
  });

  test('waits twice as long after each search that brings nothing new, ten minutes at most', async () => {
    const { asked, search } = askedSearch();
    const { clock, polisher } = made(search);
    /** Seconds until the next search begins, and what it finds. */
    const next = async (modes: Modes | null): Promise<number> => {
      const from = asked.length;
      for (let seconds = 0; ; seconds += 1) {
        polisher.offer(PROBLEM, 0.01);
        if (asked.length > from) {
          if (modes !== null) asked.at(-1)!.found(modes);
          asked.at(-1)!.end();
          await settled();
          return seconds;
        }
        await clock.advance(1000);
      }
    };
    const waits: number[] = [];
    for (const modes of [
      { a: 'on' },
      { a: 'on' },
      null,
      { a: 'on' },
      null,
      null,
      null,
      null,
      { a: 'off' },
      null,
      null,
    ])
      waits.push(await next(modes));
    expect(waits).toEqual([0, 30, 30, 60, 120, 240, 480, 600, 600, 30, 30]);
    await clock.advance(30_000);
    expect(asked).toHaveLength(11);
    polisher.offer(PROBLEM, 0.02);
    expect(asked, 'a gap no greater than twice waits').toHaveLength(11);
    polisher.offer(PROBLEM, 0.021);
    expect(asked, 'a greater one does not').toHaveLength(12);
  });

  test('ends a search after five seconds: what it had found stays, what comes later does not count', async () => {
    const { asked, search } = askedSearch();
    const { clock, polisher } = made(search);
    polisher.offer(PROBLEM, 0.01);
    await clock.advance(4999);
    expect(asked[0]!.stop.aborted).toBe(false);
    asked[0]!.found({ a: 'on' });
    await clock.advance(1);
    expect(asked[0]!.stop.aborted).toBe(true);
    asked[0]!.found({ a: 'late' });
    expect(polisher.found).toEqual({ a: 'on' });
  });

  test('ends with the agent, and begins nothing after it', () => {
    const { asked, search } = askedSearch();
    const { polisher, stop } = made(search);
    polisher.offer(PROBLEM, 0.01);
    stop.abort();
    expect(asked[0]!.stop.aborted).toBe(true);
    const other = made(search);
    other.stop.abort();
    other.polisher.offer(PROBLEM, 0.01);
    expect(asked).toHaveLength(1);
  });

  test('a search that fails finds nothing, and the next one begins in its time', async () => {
    let begun = 0;
    const { clock, polisher } = made(() => {
      begun += 1;
      return Promise.reject(new Error('no memory'));
    });
    polisher.offer(PROBLEM, 0.01);
    await settled();
    expect(polisher.found).toBeNull();
    await clock.advance(30_000);
    polisher.offer(PROBLEM, 0.01);
    expect(begun).toBe(2);
  });
});

describe('the search in a thread', () => {
  test('tells a mode for every device, and ends', async () => {
    const found: Modes[] = [];
    await searchInThread(PROBLEM, (modes) => found.push(modes), new AbortController().signal);
    expect(found.length).toBeGreaterThan(0);
    expect(Object.keys(found.at(-1)!).sort()).toEqual(PROBLEM.devices.map(({ id }) => id).sort());
  });

  test('ends when it is told to, whatever it was at', async () => {
    const stop = new AbortController();
    const ended = searchInThread(coarseSite(3, 400, 80, 4), () => {}, stop.signal);
    stop.abort();
    await ended;
  });

  test('that breaks finds nothing and ends', async () => {
    const found: Modes[] = [];
    const broken = { limits: [], devices: PROBLEM.devices, floors: [] };
    await searchInThread(broken, (modes) => found.push(modes), new AbortController().signal);
    expect(found).toEqual([]);
  });
});
