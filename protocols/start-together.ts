import type { Clock } from './clock.ts';
import type { Milliseconds } from './units.ts';

/** Decides when an exchange may begin. */
export interface Starts {
  /** Calls `begin` now or in a moment. */
  enter(begin: () => void): void;
}

/** Nothing beside the time that a control board takes to answer. */
const TOGETHER_MS: Milliseconds = 10;

/**
 * Lets exchanges of many devices begin together, every `withinMs` at most: their packets leave in one turn and their
 * answers come in bunches, so that the process wakes once for many. Each waits at most `withinMs`.
 */
export function startTogether(clock: Clock, withinMs: Milliseconds = TOGETHER_MS): Starts {
  let waiting: (() => void)[] = [];
  const go = (): void => {
    const begins = waiting;
    waiting = [];
    for (const begin of begins) begin();
  };
  return {
    enter: (begin) => {
      waiting.push(begin);
      if (waiting.length === 1) clock.after(withinMs, go);
    },
  };
}

/** The same for one device, whose commands wait for nobody. */
export class DeviceStarts implements Starts {
  /** A command is under way. */
  hurried = false;
  private readonly together: Starts;

  constructor(together: Starts) {
    this.together = together;
  }

  enter(begin: () => void): void {
    if (this.hurried) begin();
    else this.together.enter(begin);
  }
}
