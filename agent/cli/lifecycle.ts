import { writeSync } from 'node:fs';
import type { Clock } from '../../protocols/clock.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

/** Resolves when a signal asks the command to end. */
export function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

/** Hands one datagram to systemd; throws when its queue is full or nobody listens. */
export type Notify = (text: string) => void;

/**
 * What systemd is told of this process. Its watchdog is fed by completed control cycles and by nothing else: a
 * timer would go on while control stands still.
 */
export class Supervisor {
  private readonly notify: Notify | null;
  private readonly clock: Clock;
  /** Watchdog time of the unit; `null`: nobody watches. */
  private readonly watchdogMs: Milliseconds | null;
  private fedAt: MonotonicMs = Number.NEGATIVE_INFINITY;

  constructor(notify: Notify | null, watchdogMs: Milliseconds | null, clock: Clock) {
    this.notify = notify;
    this.watchdogMs = watchdogMs;
    this.clock = clock;
  }

  /** The agent runs. `cycleMs`: a cycle longer than a third of the watchdog's time asks for more of it. */
  ready(status: string, cycleMs: Milliseconds): void {
    const slow = this.watchdogMs !== null && cycleMs * 3 > this.watchdogMs;
    this.send(`READY=1\nSTATUS=${status}${slow ? `\nWATCHDOG_USEC=${Math.round(cycleMs * 3000)}` : ''}`);
  }

  /** A control cycle was completed. */
  cycled(): void {
    if (this.watchdogMs === null) return;
    const now = this.clock.monotonicMs();
    if (now - this.fedAt < this.watchdogMs / 3) return;
    // What could not be sent is tried again with the next cycle.
    if (this.send('WATCHDOG=1')) this.fedAt = now;
  }

  /** Nothing is controlled (there is no configuration): a living event loop is all there is to prove. */
  idle(signal: AbortSignal): void {
    if (this.watchdogMs === null || signal.aborted) return;
    this.send('WATCHDOG=1');
    const cancel = this.clock.after(this.watchdogMs / 3, () => {
      signal.removeEventListener('abort', cancel);
      this.idle(signal);
    });
    signal.addEventListener('abort', cancel, { once: true });
  }

  reloading(): void {
    this.send('RELOADING=1');
  }

  reloaded(status: string): void {
    this.send(`READY=1\nSTATUS=${status}`);
  }

  stopping(): void {
    this.send('STOPPING=1');
  }

  private send(text: string): boolean {
    try {
      this.notify?.(text);
      return true;
    } catch {
      // A full queue or a restarted systemd: the next one will do.
      return false;
    }
  }
}

/**
 * The supervisor that the launcher of the package (`packaging/notify-exec`) connected, or one that tells nobody.
 * Takes its variables out of the environment: programs that the agent starts have no business there.
 */
export function openSupervisor(environment: NodeJS.ProcessEnv, clock: Clock): Supervisor {
  const { NOTIFY_FD: descriptor, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = environment;
  delete environment['NOTIFY_FD'];
  delete environment['WATCHDOG_USEC'];
  delete environment['WATCHDOG_PID'];
  const watched = Number(usec) > 0 && (pid === undefined || Number(pid) === process.pid);
  return new Supervisor(
    descriptor === undefined ? null : (text) => writeSync(Number(descriptor), text),
    watched ? Number(usec) / 1000 : null,
    clock,
  );
}
