/** One who waits, between those who came before and after. */
interface Waiter {
  readonly callback: () => void;
  before: Waiter | null;
  after: Waiter | null;
}

/** All who wait for one signal, in the order in which they came. */
interface Waiters {
  first: Waiter | null;
  last: Waiter | null;
}

const registered = new WeakMap<AbortSignal, Waiters>();

/**
 * Calls `callback` when `signal` aborts; the returned function takes it back. Of one signal that many wait for, adding
 * and taking back cost the same however many there are: an event target walks through all its listeners, and a `Set`
 * leaves tables behind that hold on to each other, and to who waited, until all memory is collected.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let waiters = registered.get(signal);
  if (waiters === undefined) {
    waiters = waitersOf(signal);
    registered.set(signal, waiters);
  }
  const all = waiters;
  const waiter: Waiter = { callback, before: all.last, after: null };
  if (all.last === null) all.first = waiter;
  else all.last.after = waiter;
  all.last = waiter;
  return () => remove(waiter, all);
}

/** True while somebody waits for `signal` by `onAbort`. */
export function isAwaited(signal: AbortSignal): boolean {
  return (registered.get(signal)?.first ?? null) !== null;
}

function waitersOf(signal: AbortSignal): Waiters {
  const all: Waiters = { first: null, last: null };
  signal.addEventListener('abort', () => {
    const callbacks: (() => void)[] = [];
    for (let each = all.first; each !== null; each = each.after) callbacks.push(each.callback);
    for (const callback of callbacks) callback();
  });
  return all;
}

function remove(waiter: Waiter, all: Waiters): void {
  const { before, after } = waiter;
  // Taken back already.
  if (before === null && after === null && all.first !== waiter) return;
  if (before === null) all.first = after;
  else before.after = after;
  if (after === null) all.last = before;
  else after.before = before;
  waiter.before = null;
  waiter.after = null;
}
