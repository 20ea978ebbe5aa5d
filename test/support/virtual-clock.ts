import type { Clock } from '../../protocols/clock.ts';

interface Timer {
  at: number;
  order: number;
  callback: () => void;
}

/** A clock that moves only when told: a day of one-second cycles takes well under a second. */
export class VirtualClock implements Clock {
  private now = 0;
  private order = 0;
  private timers: Timer[] = [];
  /** Wall time at monotonic 0; change it to step the wall clock. */
  epochAtZeroMs: number;

  private readonly settle: () => Promise<void>;

  /** `hasIo`: false where nothing waits for real sockets, files or threads; time then moves several times as fast. */
  constructor(epochAtZeroMs = 1_790_000_000_000, hasIo = true) {
    this.epochAtZeroMs = epochAtZeroMs;
    this.settle = hasIo ? settle : settlePromises;
  }

  monotonicMs(): number {
    return this.now;
  }

  epochMs(): number {
    return this.epochAtZeroMs + this.now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer: Timer = { at: this.now + Math.max(0, ms), order: this.order++, callback };
    // Insert in order of time, then of request: two runs from one seed fire alike.
    let low = 0;
    let high = this.timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.timers[middle]!.at <= timer.at) low = middle + 1;
      else high = middle;
    }
    this.timers.splice(low, 0, timer);
    return () => {
      const index = this.timers.indexOf(timer);
      if (index >= 0) this.timers.splice(index, 1);
    };
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const onAbort = () => {
        cancel();
        resolve();
      };
      const cancel = this.after(ms, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Runs every timer due within `ms`, letting promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    await this.settle();
    for (;;) {
      const next = this.timers[0];
      if (next === undefined || next.at > end) break;
      this.timers.shift();
      this.now = next.at;
      next.callback();
      await this.settle();
    }
    this.now = end;
  }
}

/** Lets every promise continuation that is ready run, and real input and output that is there. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Lets every promise continuation that is ready run: ticks come when all of them have. */
function settlePromises(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
