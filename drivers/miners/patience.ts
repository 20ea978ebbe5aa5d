import type { Failure } from '../../protocols/result.ts';

/** Time-outs after which asking on would only wait for the same silence again. */
const MOST_TIMEOUTS = 2;

/** How much silence one reading bears from one server: one part may be slow by itself, two are the unit. */
export interface Patience {
  /** Takes note of a part that did not come. True where nothing more is asked of the server in this reading. */
  endsAt(failure: Failure & { readonly connected?: boolean }): boolean;
  /** Nothing more is asked. */
  readonly isOver: boolean;
  /** Nobody takes connections there: what did not come is asked in the next reading again. */
  readonly isGone: boolean;
}

/** The patience of one reading with one server of a device. */
export function createPatience(): Patience {
  let timeouts = 0;
  let isGone = false;
  return {
    endsAt: ({ kind, connected }) => {
      if (kind === 'timeout') timeouts += 1;
      // A connection that was taken and closed without a word is one part that is not there.
      if ((kind === 'unreachable' && connected !== true) || kind === 'cancelled') isGone = true;
      return isGone || timeouts >= MOST_TIMEOUTS;
    },
    get isOver() {
      return isGone || timeouts >= MOST_TIMEOUTS;
    },
    get isGone() {
      return isGone;
    },
  };
}
