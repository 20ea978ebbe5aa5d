import type { Milliseconds, MonotonicMs } from '../units.ts';

const STEPS_MS: readonly Milliseconds[] = [250, 500, 1000, 2000, 5000];

/**
 * Which units of a shared path do not answer, and until when they are left alone: a silent unit may cost its
 * neighbours one timeout per step, not one per poll. A unit alone on its path is never held back.
 */
export class UnitSilence {
  private readonly missesInARow = new Map<number, number>();
  private readonly until = new Map<number, MonotonicMs>();

  /** The moment before which `unit` is not asked; `now` or earlier means ask. */
  silentUntil(unit: number, now: MonotonicMs): MonotonicMs {
    if (!this.missesInARow.has(unit)) this.missesInARow.set(unit, 0);
    return this.missesInARow.size < 2 ? now : (this.until.get(unit) ?? now);
  }

  /** Whether `unit` shares its path and gave no answer when it was asked last. */
  isProbe(unit: number): boolean {
    return this.missesInARow.size > 1 && (this.missesInARow.get(unit) ?? 0) > 0;
  }

  heard(unit: number): void {
    this.missesInARow.set(unit, 0);
    this.until.delete(unit);
  }

  missed(unit: number, now: MonotonicMs): void {
    const misses = this.missesInARow.get(unit) ?? 0;
    this.missesInARow.set(unit, misses + 1);
    this.until.set(unit, now + STEPS_MS[Math.min(misses, STEPS_MS.length - 1)]!);
  }
}
