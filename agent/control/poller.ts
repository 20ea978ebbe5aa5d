import type { Clock } from '../../protocols/clock.ts';
import type { Random } from '../../protocols/random.ts';
import type { Failure, Result } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

/** One thing to read again and again. `read` must settle by its own deadline. */
export interface PollTarget<T> {
  readonly id: string;
  readonly intervalMs: Milliseconds;
  read(signal: AbortSignal): Promise<Result<T>>;
  onResult(result: Result<T>): void;
  /** When the read after a good one should begin; not given: on the grid of the interval. */
  nextStart?(): MonotonicMs;
}

export interface PollRules {
  /** Reads under way at once over all targets of this poller. */
  readonly concurrency: number;
  /** Longest pause between tries of a target that does not answer. */
  readonly maximumBackoffMs: Milliseconds;
}

/** What a poller is doing, for health figures. */
export interface PollCounters {
  reads: number;
  failures: number;
  inFlight: number;
  /** Largest delay between when a healthy read was due and when it began, since last taken. */
  worstLatenessMs: Milliseconds;
}

/**
 * Reads every target at its own pace: first reads are spread over the interval, one read per target at a time,
 * healthy ones before those that keep failing. A dead device is asked less and less often, in slots that no healthy one
 * needs; a sixteenth of all is kept for such devices.
 */
export class Poller {
  readonly counters: PollCounters = { reads: 0, failures: 0, inFlight: 0, worstLatenessMs: 0 };
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly rules: PollRules;
  private readonly stop: AbortSignal;
  private readonly healthy = new Line();
  private readonly failing = new Line();
  /** Who is due when: reads that begin in one turn leave in one turn, and both ends wake once for all of them. */
  private readonly due = new Map<MonotonicMs, Slot[]>();
  private readonly slots = new Map<string, Slot>();
  private failingInFlight = 0;

  constructor(clock: Clock, random: Random, rules: PollRules, stop: AbortSignal) {
    this.clock = clock;
    this.random = random;
    this.rules = rules;
    this.stop = stop;
  }

  /** Adds targets; their first reads are spread evenly over `spreadMs`. */
  add<T>(targets: readonly PollTarget<T>[], spreadMs: Milliseconds): void {
    targets.forEach((target, index) => {
      const slot: Slot = {
        target: target as PollTarget<unknown>,
        failures: 0,
        dueAt: 0,
        queued: false,
        reading: false,
        again: false,
      };
      this.slots.set(target.id, slot);
      this.schedule(slot, (spreadMs * index) / Math.max(1, targets.length));
    });
  }

  /** Reads one target as soon as a slot is free, ahead of its schedule (after a command, say). */
  hurry(id: string): void {
    const slot = this.slots.get(id);
    if (slot === undefined) return;
    if (slot.reading) {
      slot.again = true;
      return;
    }
    if (slot.queued) return;
    slot.dueAt = this.clock.monotonicMs();
    this.enqueue(slot);
    this.pump();
  }

  private schedule(slot: Slot, inMs: Milliseconds): void {
    if (this.stop.aborted) return;
    const now = this.clock.monotonicMs();
    const stepMs = slot.target.nextStart === undefined ? togetherMs(slot.target.intervalMs) : 0;
    const dueAt = stepMs === 0 ? now + inMs : Math.ceil((now + inMs) / stepMs - 1e-6) * stepMs;
    slot.dueAt = dueAt;
    const slots = this.due.get(dueAt);
    if (slots !== undefined) {
      slots.push(slot);
      return;
    }
    this.due.set(dueAt, [slot]);
    this.clock.after(dueAt - now, () => this.begin(dueAt));
  }

  private begin(dueAt: MonotonicMs): void {
    const slots = this.due.get(dueAt) ?? [];
    this.due.delete(dueAt);
    // Who was hurried since is no longer due now.
    for (const slot of slots) if (slot.dueAt === dueAt) this.enqueue(slot);
    this.pump();
  }

  private enqueue(slot: Slot): void {
    if (slot.queued || slot.reading || this.stop.aborted) return;
    slot.queued = true;
    (slot.failures > 0 ? this.failing : this.healthy).push(slot);
  }

  private pump(): void {
    // Failing targets hold their slot until a time-out: they may use at most a quarter of the slots.
    const failingShare = Math.max(1, Math.floor(this.rules.concurrency / 4));
    // Where healthy ones need every slot, who is gone must still be seen to come back, and a start to end.
    const failingLeast = Math.max(1, Math.floor(this.rules.concurrency / 16));
    while (this.counters.inFlight < this.rules.concurrency) {
      const slot =
        (this.failingInFlight < failingLeast ? this.failing.shift() : undefined) ??
        this.healthy.shift() ??
        (this.failingInFlight < failingShare ? this.failing.shift() : undefined);
      if (slot === undefined) return;
      void this.run(slot);
    }
  }

  private async run(slot: Slot): Promise<void> {
    const wasFailing = slot.failures > 0;
    const startedAt = this.clock.monotonicMs();
    slot.queued = false;
    slot.reading = true;
    this.counters.inFlight += 1;
    if (wasFailing) this.failingInFlight += 1;
    else this.counters.worstLatenessMs = Math.max(this.counters.worstLatenessMs, startedAt - slot.dueAt);
    const result = await slot.target.read(this.stop);
    slot.reading = false;
    this.counters.inFlight -= 1;
    if (wasFailing) this.failingInFlight -= 1;
    this.counters.reads += 1;
    if (this.stop.aborted) return;
    if (result.ok) slot.failures = 0;
    else {
      slot.failures += 1;
      this.counters.failures += 1;
    }
    slot.target.onResult(result);
    if (slot.again) {
      slot.again = false;
      this.schedule(slot, 0);
    } else this.schedule(slot, this.pause(slot, startedAt, result.ok ? null : result.error));
    this.pump();
  }

  private pause(slot: Slot, startedAt: number, failure: Failure | null): Milliseconds {
    const { intervalMs } = slot.target;
    if (failure === null) {
      const { nextStart } = slot.target;
      if (nextStart !== undefined) return Math.max(0, nextStart() - this.clock.monotonicMs());
      // Keep to the grid of the interval, whatever a read took; skip what was missed.
      const elapsed = this.clock.monotonicMs() - startedAt;
      const lateBy = Math.min(startedAt - slot.dueAt, intervalMs / 2);
      return Math.max(intervalMs * 0.1, intervalMs - elapsed - lateBy);
    }
    // Wrong credentials or another machine do not mend themselves within seconds.
    const slow = failure.kind === 'unauthorised' || failure.kind === 'wrong-device' ? 4 : 1;
    // The first tries come at the usual pace: a feeder that tripped is to be told within seconds, not minutes.
    const grown = intervalMs * slow * 2 ** Math.min(Math.max(0, slot.failures - TRIES_AT_PACE), 6);
    const capped = Math.min(this.rules.maximumBackoffMs, grown);
    // Jitter after the cap, so that a rack that died together is not asked together.
    return capped * (0.75 + 0.5 * this.random());
  }
}

/** A target counts as lost after this many failures in a row; only then is it asked less often. */
const TRIES_AT_PACE = 3;

/** A two-hundredth of the interval is no delay; more than this together would be a crowd. */
const TOGETHER_MOST_MS: Milliseconds = 50;

function togetherMs(intervalMs: Milliseconds): Milliseconds {
  return Math.min(TOGETHER_MOST_MS, Math.floor(intervalMs / 200));
}

/** First in, first out. */
class Line {
  private slots: Slot[] = [];
  private first = 0;

  push(slot: Slot): void {
    this.slots.push(slot);
  }

  shift(): Slot | undefined {
    const slot = this.slots[this.first];
    if (slot === undefined) return undefined;
    this.first += 1;
    // Each is moved up at most once for every one that left.
    if (this.first * 2 >= this.slots.length) {
      this.slots = this.slots.slice(this.first);
      this.first = 0;
    }
    return slot;
  }
}

interface Slot {
  readonly target: PollTarget<unknown>;
  failures: number;
  dueAt: number;
  queued: boolean;
  reading: boolean;
  again: boolean;
}
