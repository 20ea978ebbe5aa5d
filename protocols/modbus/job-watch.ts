import type { Clock } from '../clock.ts';
import type { Milliseconds, MonotonicMs } from '../units.ts';

/** Something that ends by itself when its time is over, or when its caller gives up. */
export interface Watched {
  /** When its time is over. */
  dueAt: MonotonicMs;
  readonly signal: AbortSignal;
}

/** A timer that fires this early has fired: clocks are read in fractions that timers do not have. */
const EARLY_MS: Milliseconds = 0.5;

/**
 * One timer for all jobs, and one listener for each signal: nearly every job ends long before its time, and a timer
 * and a listener of its own would be most of what it costs.
 */
export class JobWatch<Job extends Watched> {
  private readonly clock: Clock;
  private readonly jobs: () => readonly Job[];
  private readonly on: { readonly due: (job: Job) => void; readonly abort: (job: Job) => void };
  private readonly heard = new WeakSet<AbortSignal>();
  private readonly closing = new AbortController();
  private timerAt: MonotonicMs = Number.POSITIVE_INFINITY;
  private cancelTimer: () => void = () => undefined;

  /** `jobs`: those that are not settled. */
  constructor(
    clock: Clock,
    jobs: () => readonly Job[],
    on: { readonly due: (job: Job) => void; readonly abort: (job: Job) => void },
  ) {
    this.clock = clock;
    this.jobs = jobs;
    this.on = on;
  }

  /** Looks after a job until it is no longer among the jobs; again after its `dueAt` was changed. */
  watch(job: Job): void {
    this.arm(job.dueAt);
    const { signal } = job;
    if (this.heard.has(signal)) return;
    this.heard.add(signal);
    const onAbort = () => this.each((candidate) => candidate.signal === signal, this.on.abort);
    signal.addEventListener('abort', onAbort, { once: true, signal: this.closing.signal });
  }

  close(): void {
    this.closing.abort();
    this.cancelTimer();
    this.timerAt = Number.POSITIVE_INFINITY;
  }

  /** A timer that stands for an earlier moment finds nothing then, and is set anew. */
  private arm(at: MonotonicMs): void {
    if (at >= this.timerAt || at === Number.POSITIVE_INFINITY) return;
    this.cancelTimer();
    this.timerAt = at;
    this.cancelTimer = this.clock.after(at - this.clock.monotonicMs(), () => this.onTimer());
  }

  private onTimer(): void {
    this.timerAt = Number.POSITIVE_INFINITY;
    const now = this.clock.monotonicMs();
    this.each((job) => job.dueAt - now < EARLY_MS, this.on.due);
    for (const job of this.jobs()) this.arm(job.dueAt);
  }

  /** Ends those that `ends` picks, one by one: the end of one may settle others. */
  private each(ends: (job: Job) => boolean, end: (job: Job) => void): void {
    for (let job = this.jobs().find(ends); job !== undefined; job = this.jobs().find(ends)) end(job);
  }
}
