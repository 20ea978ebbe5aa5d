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
  const entry = (): void => callback();
  own.add(entry);
  return () => own.delete(entry);
}
