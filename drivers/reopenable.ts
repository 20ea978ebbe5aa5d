import type { LoadDriver } from './load-driver.ts';

/** A driver that can be made anew in place. */
export interface ReopenableDriver extends LoadDriver {
  /** Forgets everything the driver had learnt, its pinned identity above all: another machine stands there now. */
  reopen(): Promise<void>;
}

/** Wraps a factory: calls go to the driver that it made last. */
export function reopenable(open: () => LoadDriver): ReopenableDriver {
  let inner = open();
  return {
    deviceId: inner.deviceId,
    identify: (signal) => inner.identify(signal),
    read: (signal) => inner.read(signal),
    apply: (command, signal) => inner.apply(command, signal),
    get leastCommandMs() {
      return inner.leastCommandMs ?? 0;
    },
    reopen: async () => {
      const old = inner;
      inner = open();
      await old[Symbol.asyncDispose]();
    },
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}
