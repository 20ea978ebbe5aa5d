import { writeSync } from 'node:fs';

/** Resolves when a signal asks the command to end. */
export function aborted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

/** Tells systemd, where it listens, through the descriptor that the launcher left open. */
export function notify(text: string): void {
  // The launcher of the package passes the connected socket; without it there is nobody to tell.
  const descriptor = process.env['NOTIFY_FD'];
  if (descriptor === undefined) return;
  try {
    writeSync(Number(descriptor), text);
  } catch {
    // A full queue or a restarted systemd: the next one will do.
  }
}
