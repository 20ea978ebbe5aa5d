import type { EpochMs, Milliseconds } from '../../protocols/units.ts';

/**
 * Intervals by the clock on the wall: days of 23, 24 and 25 hours, hours that begin when the site's clock says so.
 * Pure but for the time zone data of the runtime.
 */

const formats = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = formats.get(zone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
  formats.set(zone, format);
  return format;
}

/** How far local time is ahead of UTC at a moment. Throws a RangeError for an unknown zone. */
export function zoneOffsetMs(zone: string, at: EpochMs): Milliseconds {
  const parts = Object.fromEntries(
    formatOf(zone)
      .formatToParts(new Date(at))
      .map(({ type, value }) => [type, Number(value)]),
  ) as Record<string, number>;
  const local = Date.UTC(
    parts['year']!,
    parts['month']! - 1,
    parts['day']!,
    parts['hour']!,
    parts['minute']!,
    parts['second']!,
  );
  return local - Math.floor(at / 1000) * 1000;
}

/** The begin of the interval of `lengthMs` that holds a moment, by local time. */
export function intervalStart(zone: string, at: EpochMs, lengthMs: Milliseconds): EpochMs {
  const offset = zoneOffsetMs(zone, at);
  return Math.floor((at + offset) / lengthMs) * lengthMs - offset;
}

/** Midnight that begins a local day, `2026-11-01`. Where it does not exist, the first moment of the day. */
export function localMidnight(zone: string, day: string): EpochMs {
  const wall = Date.parse(`${day}T00:00:00Z`);
  for (const guess of [wall - zoneOffsetMs(zone, wall), wall - zoneOffsetMs(zone, wall - 43_200_000)])
    if (guess + zoneOffsetMs(zone, guess) === wall) return guess;
  // The clock jumped over midnight.
  let at = wall - zoneOffsetMs(zone, wall + 43_200_000) - 7_200_000;
  while (new Date(at + zoneOffsetMs(zone, at)).toISOString().slice(0, 10) < day) at += 900_000;
  return at;
}

/** `2026-11-01T01:30:00-05:00`. */
export function localIso(zone: string, at: EpochMs): string {
  const offset = zoneOffsetMs(zone, at);
  const minutes = Math.abs(offset) / 60_000;
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0');
  return `${new Date(at + offset).toISOString().slice(0, 19)}${offset < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}
