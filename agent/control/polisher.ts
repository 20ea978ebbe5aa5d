import { Worker } from 'node:worker_threads';
import { programThread } from '../../config/program-files.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { DeviceId, Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import type { Problem } from '../allocation/problem.ts';
import { CYCLE_SEARCH } from './solve-plan.ts';

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
/** From one search to the next: a gateway has other work. Twice as long after each that brought nothing new, up to the most. */
const EVERY_MS: Milliseconds = 30_000;
const AT_MOST_MS: Milliseconds = 600_000;

/**
 * Searches on between the cycles where a cycle's own answer leaves a gap, as with large blocks on small breakers. What
 * it finds is a hint: each cycle judges it afresh on its own problem, by its own totals, and takes it only where it
 * earns more. So it may be late, or wrong, or missing.
 */
export class Polisher {
  private readonly deps: PolisherDeps;
  private modes: Modes | null = null;
  private running = false;
  private startedAt: MonotonicMs = Number.NEGATIVE_INFINITY;
  /** The gap that the last search was for. */
  private searchedGap = 0;
  /** Searches in a row that brought nothing new. */
  private fruitless = 0;

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
    if (gap === null || gap <= CYCLE_SEARCH.smallGap || this.running || stop.aborted) return;
    // A gap that has doubled is another problem: what was in vain before says nothing about it.
    const inVain = gap > 2 * this.searchedGap ? 0 : Math.max(0, this.fruitless - 1);
    if (now < this.startedAt + Math.min(AT_MOST_MS, EVERY_MS * 2 ** inVain)) return;
    this.searchedGap = gap;
    this.startedAt = now;
    this.running = true;
    void this.run(problem);
  }

  private async run(problem: Problem): Promise<void> {
    const { clock, search, stop } = this.deps;
    const before = this.modes;
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
      this.fruitless = sameModes(before, this.modes) ? this.fruitless + 1 : 0;
    }
  }
}

function sameModes(before: Modes | null, after: Modes | null): boolean {
  if (before === after || before === null || after === null) return before === after;
  const ids = Object.keys(after);
  return ids.length === Object.keys(before).length && ids.every((id) => before[id] === after[id]);
}

/** Searches in a thread of its own, which ends with the search. */
export const searchInThread: LongSearch = (problem, found, stop) =>
  new Promise((resolve) => {
    const { source, eval: isCode } = programThread('agent/control/polish-thread');
    const thread = new Worker(source, {
      eval: isCode,
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
