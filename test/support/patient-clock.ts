import type { Clock } from '../../protocols/clock.ts';
import { VirtualClock } from './virtual-clock.ts';

/**
 * Virtual time beside real loopback I/O: a sleep passes at once, a deadline passes only when `while` or a
 * sleep moves the clock. `onMove` sees every new time, to move simulated physics along.
 */
export interface PatientClock extends Clock {
  /** Moves time on, in small steps with room for I/O between, until `work` settles. */
  expire<T>(work: Promise<T>): Promise<T>;
  /** Passes `ms`. */
  pass(ms: number): Promise<void>;
  /** Every sleep asked for, in order. */
  readonly sleeps: readonly number[];
}

export function createPatientClock(onMove: (nowMs: number) => void = () => undefined): PatientClock {
  const virtual = new VirtualClock();
  const sleeps: number[] = [];
  const pass = async (ms: number): Promise<void> => {
    // In steps, so that physics pass through every state on the way.
    for (let left = ms; left > 0; left -= 1000) {
      await virtual.advance(Math.min(1000, left));
      onMove(virtual.monotonicMs());
    }
  };
  return {
    monotonicMs: () => virtual.monotonicMs(),
    epochMs: () => virtual.epochMs(),
    after: (ms, callback) => virtual.after(ms, callback),
    sleep: async (ms, signal) => {
      sleeps.push(ms);
      if (!signal.aborted) await pass(ms);
    },
    pass,
    sleeps,
    expire: async (work) => {
      let settled = false;
      const done = (): void => {
        settled = true;
      };
      work.then(done, done);
      for (let step = 0; !settled && step < 600; step += 1) {
        for (let turn = 0; turn < 12 && !settled; turn += 1)
          await new Promise((resolve) => setImmediate(resolve));
        if (!settled) await pass(250);
      }
      return await work;
    },
  };
}
