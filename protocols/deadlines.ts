import type { Clock } from './clock.ts';
import type { Milliseconds, MonotonicMs } from './units.ts';

/**
 * One of thousands of time-outs that hardly ever come: setting and taking back cost a few links, as all that wait equally
 * long stand in one line with one timer of the clock. No timer is left where nobody waits.
 */
export class Deadline {
  readonly onDue: () => void;
  /** In which line it stands, between whom. */
  line: DeadlineLine | null = null;
  before: Deadline | null = null;
  after: Deadline | null = null;
  dueAt: MonotonicMs = 0;

  constructor(onDue: () => void) {
    this.onDue = onDue;
  }

  /** Calls `onDue` once in `ms`, and no longer at the time set before. */
  set(clock: Clock, ms: Milliseconds, now: MonotonicMs): void {
    this.line?.remove(this);
    lineOf(clock, ms).add(this, now);
  }

  cancel(): void {
    this.line?.remove(this);
  }
}

/** All who wait `ms`, who is due first before the others. */
class DeadlineLine {
  private readonly clock: Clock;
  private readonly ms: Milliseconds;
  private readonly forget: () => void;
  private first: Deadline | null = null;
  private last: Deadline | null = null;
  private cancelTimer: (() => void) | null = null;

  constructor(clock: Clock, ms: Milliseconds, forget: () => void) {
    this.clock = clock;
    this.ms = ms;
    this.forget = forget;
  }

  add(deadline: Deadline, now: MonotonicMs): void {
    const { last } = this;
    deadline.line = this;
    deadline.dueAt = now + this.ms;
    deadline.before = last;
    this.last = deadline;
    if (last === null) {
      this.first = deadline;
      this.cancelTimer ??= this.clock.after(this.ms, () => this.ring());
    } else last.after = deadline;
  }

  remove(deadline: Deadline): void {
    const { before, after } = deadline;
    if (before === null) this.first = after;
    else before.after = after;
    if (after === null) this.last = before;
    else after.before = before;
    deadline.line = null;
    deadline.before = null;
    deadline.after = null;
    if (this.first === null) {
      this.cancelTimer?.();
      this.cancelTimer = null;
      this.forget();
    }
  }

  private ring(): void {
    this.cancelTimer = null;
    const now = this.clock.monotonicMs();
    for (let due = this.first; due !== null && due.dueAt <= now; due = this.first) {
      this.remove(due);
      due.onDue();
    }
    // A timer may end a little before its time.
    if (this.first !== null) this.cancelTimer ??= this.clock.after(this.first.dueAt - now, () => this.ring());
  }
}

/** Lines in use, of every clock. */
const lines = new WeakMap<Clock, Map<Milliseconds, DeadlineLine>>();

function lineOf(clock: Clock, ms: Milliseconds): DeadlineLine {
  let ofClock = lines.get(clock);
  if (ofClock === undefined) {
    ofClock = new Map();
    lines.set(clock, ofClock);
  }
  let line = ofClock.get(ms);
  if (line === undefined) {
    const all = ofClock;
    line = new DeadlineLine(clock, ms, () => all.delete(ms));
    ofClock.set(ms, line);
  }
  return line;
}
