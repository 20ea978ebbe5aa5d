// The live connection. Tells when news comes and, once a second, since when it has not.

/** The agent sends an event a second: after this much silence the figures are old. */
const SILENT_AFTER_MS = 4000;
/** A stream that says nothing for this long is opened anew, whatever the browser thinks of it. */
const REOPEN_AFTER_MS = 15_000;

/**
 * Listens on `/events`. `onEvent(event)` for each; `onTick(lostSince)` each second, with the time (ms since 1970,
 * this machine's clock) of the last news when there has been none for too long, `null` while live.
 */
export function listen({ onEvent, onTick, onOpen }) {
  let source = null;
  let lastNews = null;
  let openedAt = Date.now();
  const open = () => {
    source?.close();
    openedAt = Date.now();
    source = new EventSource('/events');
    source.addEventListener('open', onOpen);
    source.addEventListener('message', (message) => {
      lastNews = Date.now();
      const event = JSON.parse(message.data);
      if (event !== null) onEvent(event);
    });
  };
  open();
  setInterval(() => {
    const since = lastNews ?? openedAt;
    const silent = Date.now() - since;
    if (silent > REOPEN_AFTER_MS && Date.now() - openedAt > REOPEN_AFTER_MS) open();
    else if (source.readyState === EventSource.CLOSED && Date.now() - openedAt > 3000) open();
    onTick(lastNews !== null && silent > SILENT_AFTER_MS ? lastNews : null);
  }, 1000);
}

/** One resource of the API as JSON, or `null` when it cannot be had. */
export async function get(path, query = {}) {
  const url = new URL(`/api/v1/${path}`, location.origin);
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== '') url.searchParams.set(name, value);
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(8000) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
