import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

/** Reads farther apart than this say nothing about how often a meter makes new values. */
const FAST_READS_MS: Milliseconds = 160;
/** How long is watched, and how many changes are counted, before a figure is believed. */
const WATCH_MS: Milliseconds = 3000;
const CHANGES_LEAST = 3;

/**
 * Measures how often a meter makes new values: registers that are read quickly are counted by how often they
 * change. Reading faster than that brings nothing; a value may be that much older than the reply that carries it.
 */
export class RefreshWatch {
  private known: Milliseconds | null;
  private last: { readonly fingerprint: string; readonly at: MonotonicMs } | null = null;
  private watchedMs: Milliseconds = 0;
  private changes = 0;

  /** `known`: what the map says, then nothing is measured. */
  constructor(known: Milliseconds | null) {
    this.known = known;
  }

  /** `null` while it is not known. */
  get refreshMs(): Milliseconds | null {
    return this.known;
  }

  /** Notes one read of the registers that move. */
  note(fingerprint: string, at: MonotonicMs): void {
    const { last } = this;
    this.last = { fingerprint, at };
    if (this.known !== null || last === null) return;
    const gapMs = at - last.at;
    if (gapMs > FAST_READS_MS) {
      this.watchedMs = 0;
      this.changes = 0;
      return;
    }
    this.watchedMs += gapMs;
    if (fingerprint !== last.fingerprint) this.changes += 1;
    if (this.watchedMs >= WATCH_MS && this.changes >= CHANGES_LEAST) {
      this.known = Math.round(this.watchedMs / this.changes);
    }
  }
}
