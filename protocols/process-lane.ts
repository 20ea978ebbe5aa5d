import type { Clock } from './clock.ts';
import type { Argv, ProcessFailure, ProcessLimits, ProcessOutput, StuckProcess } from './process.ts';
import { runProcess } from './process.ts';
import type { FailureKind, Result } from './result.ts';

/** Two calls per cap, sixteen GPUs, and the reader. */
const WAITING_MOST = 64;

/**
 * One tool's processes for one node: one at a time, ever. A tool can hang inside the kernel, where not even
 * SIGKILL ends it, and every further one would hang too: until that one is gone nothing is started.
 */
export class ProcessLane {
  private readonly name: string;
  private readonly clock: Clock;
  private waiting = 0;
  /** Ends when the process that is running, and all that wait before it, have ended. */
  private tail: Promise<unknown> = Promise.resolve();
  private stuck: StuckProcess | null = null;

  /** `name`: what the tool is called in sentences. */
  constructor(name: string, clock: Clock) {
    this.name = name;
    this.clock = clock;
  }

  /** Fails as `runProcess` does, `busy` when too many wait, `timeout` while an earlier one hangs in the kernel. */
  async run(
    argv: Argv,
    limits: ProcessLimits,
    signal: AbortSignal,
  ): Promise<Result<ProcessOutput, ProcessFailure>> {
    if (this.waiting >= WAITING_MOST) {
      return notStarted('busy', `${this.waiting} calls of ${this.name} wait already`, null);
    }
    this.waiting += 1;
    const turn = this.tail.then(() => this.runAlone(argv, limits, signal));
    this.tail = turn;
    try {
      return await turn;
    } finally {
      this.waiting -= 1;
    }
  }

  private async runAlone(
    argv: Argv,
    limits: ProcessLimits,
    signal: AbortSignal,
  ): Promise<Result<ProcessOutput, ProcessFailure>> {
    if (this.stuck !== null && !this.stuck.isAlive()) this.stuck = null;
    if (this.stuck !== null) {
      const message = `${this.name} (pid ${this.stuck.pid}) hangs in the kernel: nothing is asked until it is gone`;
      return notStarted('timeout', message, this.stuck);
    }
    const result = await runProcess(argv, limits, this.clock, signal);
    if (!result.ok) this.stuck = result.error.stuck;
    return result;
  }
}

function notStarted(
  kind: FailureKind,
  message: string,
  stuck: StuckProcess | null,
): { readonly ok: false; readonly error: ProcessFailure } {
  return { ok: false, error: { kind, message, stuck, started: false } };
}
