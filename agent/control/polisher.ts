import { Worker } from 'node:worker_threads';
import { programEntry } from '../../config/program-files.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { DeviceId, Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { Problem } from '../allocation/problem.ts';
import { CYCLE_SEARCH } from './step.ts';

/** Mode by device. */
export type Modes = Readonly<Record<DeviceId, string>>;

/** Looks for a better choice; calls `found` with each, better ones later. Settles when it ends or `stop` aborts. */
export type LongSearch = (
  problem: Problem,
  found: (modes: Modes) => void,
  stop: AbortSignal,
) => Promise<void>;

export interface PolisherDeps {
  readonly clock: Clock;
  readonly search: LongSearch;
  readonly stop: AbortSignal;
}

/** What a search may take; what it has found by then counts. */
const SEARCH_MS: Milliseconds = 5000;
/** Sites with more devices than this leave no gap that is worth the memory of a search. */
const MOST_DEVICES = 2000;
/** From one search to the next: a gateway has other work. */
const EVERY_MS: Milliseconds = 30_000;

/**
 * Searches on between the cycles where a cycle's own answer leaves a gap, as with large blocks on small breakers. What
 * it finds is a hint: each cycle judges it afresh on its own problem, by its own totals, and takes it only where it
 * earns more. So it may be late, or wrong, or missing.
 */
export class Polisher {
  private readonly deps: PolisherDeps;
  private modes: Modes | null = null;
  private running = false;
  private nextAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(deps: PolisherDeps) {
    this.deps = deps;
  }

  /** The latest find, or `null`. */
  get found(): Modes | null {
    return this.modes;
  }

  /** Begins a search if `gap` (certified, relative) is worth one and none runs or has just run. */
  offer(problem: Problem, gap: number | null): void {
    const { clock, stop } = this.deps;
    if (problem.devices.length > MOST_DEVICES) return;
    const now = clock.monotonicMs();
    if (gap === null || gap <= CYCLE_SEARCH.smallGap || this.running || now < this.nextAt || stop.aborted)
      return;
    this.running = true;
    this.nextAt = now + EVERY_MS;
    void this.run(problem);
  }

  private async run(problem: Problem): Promise<void> {
    const { clock, search, stop } = this.deps;
    const late = new AbortController();
    const keep = clock.after(SEARCH_MS, () => late.abort());
    try {
      const ended = AbortSignal.any([late.signal, stop]);
      await search(
        problem,
        (modes) => {
          if (!ended.aborted) this.modes = modes;
        },
        ended,
      );
    } catch {
      // A search that fails finds nothing: the cycles go on with their own answers.
    } finally {
      keep();
      this.running = false;
    }
  }
}

/** Searches in a thread of its own, which ends with the search. */
export const searchInThread: LongSearch = (problem, found, stop) =>
  new Promise((resolve) => {
    const thread = new Worker(programEntry('agent/control/polish-thread'), {
      workerData: problem,
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    });
    const end = (): void => {
      void thread.terminate();
    };
    stop.addEventListener('abort', end, { once: true });
    thread.unref();
    thread.on('message', (modes: Modes) => found(modes));
    // What goes wrong there stays there: its end is all that counts.
    thread.on('error', () => {});
    thread.on('exit', () => {
      stop.removeEventListener('abort', end);
      resolve();
    });
  });
