import type { Clock } from '../../protocols/clock.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

export interface LoopCounters {
  cycles: number;
  skipped: number;
  lastMs: Milliseconds;
}

/**
 * Runs the control cycle at its own pace. A slow cycle makes the next one late or skipped, never overlapping;
 * `poke` runs one at once (a falling limit does not wait for the pace). An exception in the cycle is a bug:
 * it goes to `onBug`, which puts the agent into its safe state and ends the process.
 */
export class Loop {
  readonly counters: LoopCounters = { cycles: 0, skipped: 0, lastMs: 0 };
  private readonly clock: Clock;
  private readonly periodMs: Milliseconds;
  private readonly cycle: () => void;
  private readonly onBug: (error: unknown) => void;
  private nextAt = 0;
  private cancel: (() => void) | null = null;
  private running = false;
  private stopped = false;

  constructor(clock: Clock, periodMs: Milliseconds, cycle: () => void, onBug: (error: unknown) => void) {
    this.clock = clock;
    this.periodMs = periodMs;
    this.cycle = cycle;
    this.onBug = onBug;
  }

  /** When the next cycle is due. */
  get dueAt(): MonotonicMs {
    return this.nextAt;
  }

  /** The first cycle follows at once: a start after a crash owes the site its control, not a period of patience. */
  start(): void {
    this.nextAt = this.clock.monotonicMs();
    this.arm();
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }

  /** Runs one cycle now, in this turn of the event loop. */
  poke(): void {
    if (this.stopped || this.running) return;
    this.run();
  }

  private arm(): void {
    this.cancel = this.clock.after(Math.max(0, this.nextAt - this.clock.monotonicMs()), () => {
      this.run();
      const now = this.clock.monotonicMs();
      this.nextAt += this.periodMs;
      if (this.nextAt <= now) {
        const missed = Math.floor((now - this.nextAt) / this.periodMs) + 1;
        this.counters.skipped += missed;
        this.nextAt += missed * this.periodMs;
      }
      if (!this.stopped) this.arm();
    });
  }

  private run(): void {
    this.running = true;
    const startedAt = this.clock.monotonicMs();
    try {
      this.cycle();
    } catch (error) {
      this.stop();
      this.onBug(error);
    } finally {
      this.running = false;
    }
    this.counters.cycles += 1;
    this.counters.lastMs = this.clock.monotonicMs() - startedAt;
  }
}
