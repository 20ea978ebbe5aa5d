import type { MonotonicMs } from '../../protocols/units.ts';

/** Lets through so many bytes a second on average, and a burst of one second. */
export class TokenBucket {
  private tokens = 0;
  private at: MonotonicMs | null = null;

  /** Takes what came in since the last call into account. */
  refill(now: MonotonicMs, bytesPerSecond: number): void {
    if (this.at !== null) this.tokens += ((now - this.at) / 1000) * bytesPerSecond;
    this.tokens = Math.min(this.tokens, bytesPerSecond);
    this.at = now;
  }

  /** Whether anything may go; what goes may overdraw once, so that a large message is not held for ever. */
  get open(): boolean {
    return this.tokens > 0;
  }

  take(bytes: number): void {
    this.tokens -= bytes;
  }

  empty(): void {
    this.tokens = 0;
    this.at = null;
  }
}
