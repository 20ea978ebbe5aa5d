import type { Clock } from '../../protocols/clock.ts';
import { type Failure, fail } from '../../protocols/result.ts';
import type { Milliseconds, MonotonicMs } from '../../protocols/units.ts';

/** After a refusal the same credentials are left alone this long, then twice as long, up to half an hour. */
const FIRST_PAUSE_MS: Milliseconds = 60_000;
const LONGEST_PAUSE_MS: Milliseconds = 30 * 60_000;

/** Keeps credentials that a device refused from being tried again and again: some lock the door after a few. */
export interface CredentialGuard {
  /** The failure to give instead of trying, or `null` when they may be tried. */
  closed(): ReturnType<typeof fail> | null;
  /** Looks at how a try ended. */
  note(failure: Failure | null): void;
}

/** A guard for one device at `place`. */
export function createCredentialGuard(place: string, clock: Clock): CredentialGuard {
  let refusals = 0;
  let last: Failure | null = null;
  let until: MonotonicMs = 0;
  return {
    closed: () => {
      const leftMs = until - clock.monotonicMs();
      if (last === null || leftMs <= 0) return null;
      return fail(
        'unauthorised',
        `${place} refused the credentials (${last.message}); not tried again for another ${Math.ceil(leftMs / 1000)} s`,
        last.hint,
      );
    },
    note: (failure) => {
      // Its own answer is no news.
      if (last !== null && clock.monotonicMs() < until) return;
      if (failure === null) {
        refusals = 0;
        last = null;
      } else if (failure.kind === 'unauthorised') {
        until = clock.monotonicMs() + Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(refusals, 8));
        refusals += 1;
        last = failure;
      }
    },
  };
}
