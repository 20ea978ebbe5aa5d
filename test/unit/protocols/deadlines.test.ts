import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Clock } from '../../../protocols/clock.ts';
import { Deadline } from '../../../protocols/deadlines.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const seed = 20_261_122;

/** A virtual clock that counts the timers that are set on it. */
function countingClock() {
  const clock = new VirtualClock();
  const counted = { timers: 0, most: 0 };
  const counting: Clock = {
    monotonicMs: () => clock.monotonicMs(),
    epochMs: () => clock.epochMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    after: (ms, callback) => {
      counted.timers += 1;
      counted.most = Math.max(counted.most, counted.timers);
      let isSet = true;
      const end = (): void => {
        if (isSet) counted.timers -= 1;
        isSet = false;
      };
      const cancel = clock.after(ms, () => {
        end();
        callback();
      });
      return () => {
        end();
        cancel();
      };
    },
  };
  return { clock, counting, counted };
}

describe('deadlines', () => {
  it('share a timer where they are equally long, and leave none', async () => {
    const { clock, counting, counted } = countingClock();
    const rung: number[] = [];
    const all = Array.from({ length: 100 }, (_, index) => new Deadline(() => rung.push(index)));
    for (const deadline of all) deadline.set(counting, 3000, counting.monotonicMs());
    expect(counted.most).toBe(1);
    for (const deadline of all.slice(1)) deadline.cancel();
    await clock.advance(2999);
    expect(rung).toEqual([]);
    await clock.advance(1);
    expect(rung).toEqual([0]);
    expect(counted.timers).toBe(0);
    all[5]!.set(counting, 100, counting.monotonicMs());
    all[5]!.cancel();
    all[5]!.cancel();
    expect(counted.timers).toBe(0);
  });

  it(`come when timers of their own would (300 cases, seed ${seed})`, async () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), who: fc.nat(5), ms: fc.constantFrom(0, 10, 25, 30.5) }),
      fc.record({ kind: fc.constant('cancel' as const), who: fc.nat(5) }),
      fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { clock, counting, counted } = countingClock();
        const came: string[] = [];
        const expected: string[] = [];
        const cancels = new Map<number, () => void>();
        const deadlines = Array.from(
          { length: 6 },
          (_, who) => new Deadline(() => came.push(`${who} at ${clock.monotonicMs()}`)),
        );
        for (const each of steps) {
          if (each.kind === 'pass') await clock.advance(each.ms);
          else cancels.get(each.who)?.();
          if (each.kind === 'cancel') deadlines[each.who]!.cancel();
          if (each.kind !== 'set') continue;
          deadlines[each.who]!.set(counting, each.ms, clock.monotonicMs());
          cancels.set(
            each.who,
            clock.after(each.ms, () => expected.push(`${each.who} at ${clock.monotonicMs()}`)),
          );
        }
        await clock.advance(100);
        expect([...came].sort()).toEqual([...expected].sort());
        expect(counted.timers).toBe(0);
      }),
      { seed, numRuns: 300 },
    );
  });

  it('set again while they ring, they ring again in their time', async () => {
    const { clock, counting, counted } = countingClock();
    const at: number[] = [];
    const again: Deadline = new Deadline(() => {
      at.push(clock.monotonicMs());
      if (at.length < 4) again.set(counting, 50, clock.monotonicMs());
    });
    const beside = new Deadline(() => at.push(-clock.monotonicMs()));
    again.set(counting, 50, 0);
    beside.set(counting, 50, 0);
    await clock.advance(500);
    expect(at).toEqual([50, -50, 100, 150]);
    expect(counted.timers).toBe(0);
  });
});
