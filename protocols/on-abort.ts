const registered = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `callback` when `signal` aborts; the returned function takes it back. Of one signal that many wait for, adding
 * and taking back cost the same however many there are: an event target walks through all its listeners.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = registered.get(signal);
  if (callbacks === undefined) {
    const all = new Set<() => void>();
    callbacks = all;
    registered.set(signal, all);
    signal.addEventListener('abort', () => {
      for (const each of [...all]) each();
    });
  }
  const own = callbacks;
  // The same callback twice waits twice.
  const entry = own.has(callback) ? (): void => callback() : callback;
  own.add(entry);
  return () => own.delete(entry);
}

/** True while somebody waits for `signal` by `onAbort`. */
export function isAwaited(signal: AbortSignal): boolean {
  return (registered.get(signal)?.size ?? 0) > 0;
}
