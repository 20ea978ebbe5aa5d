import type { Random } from '../random.ts';
import type { MonotonicMs } from '../units.ts';

const ZOMBIE_MS = 60_000;
const ZOMBIES_MOST = 1024;
const ANSWERED_MOST = 16;

/**
 * Transaction ids of one path: 16 bits, from a random start, never one that is in flight or that was given up
 * less than a minute ago, so that a late reply can match nothing.
 */
export class TransactionIds {
  private last: number;
  private readonly answered: number[] = [];
  private readonly zombies = new Map<number, MonotonicMs>();

  constructor(random: Random) {
    this.last = Math.floor(random() * 0x10000);
  }

  /** The next free id. */
  next(now: MonotonicMs, isTaken: (id: number) => boolean): number {
    this.forget(now);
    do this.last = (this.last + 1) & 0xffff;
    while (isTaken(this.last) || this.zombies.has(this.last));
    return this.last;
  }

  /** Remembers an id whose request was given up. */
  bury(id: number, now: MonotonicMs): void {
    this.forget(now);
    this.zombies.set(id, now + ZOMBIE_MS);
  }

  /** Remembers an id whose reply came: a gateway may repeat it. */
  settle(id: number): void {
    this.answered.push(id);
    if (this.answered.length > ANSWERED_MOST) this.answered.shift();
  }

  /** Whether a reply to a request that was given up may still come; with `orAgain` also one that came already. */
  mayCome(id: number, orAgain: boolean): boolean {
    return this.zombies.has(id) || (orAgain && this.answered.includes(id));
  }

  /** True once when a reply comes to a request that had been given up. */
  takeZombie(id: number): boolean {
    return this.zombies.delete(id);
  }

  private forget(now: MonotonicMs): void {
    for (const [id, until] of this.zombies) {
      if (until > now && this.zombies.size < ZOMBIES_MOST) return;
      this.zombies.delete(id);
    }
  }
}
