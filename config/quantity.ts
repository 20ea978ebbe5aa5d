/**
 * Powers, energies and durations as people write them: `20 MW`, `3.2 kW`, `500ms`, `15min`.
 * A plain number is in the base unit that the reference names for the key.
 */

const POWER_FACTORS: Readonly<Record<string, number>> = {
  w: 1,
  kw: 1e3,
  mw: 1e6,
  gw: 1e9,
  va: 1,
  kva: 1e3,
  mva: 1e6,
};

const DURATION_FACTORS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1e3,
  sec: 1e3,
  min: 60e3,
  m: 60e3,
  h: 3600e3,
  d: 86400e3,
};

const SIZE_FACTORS: Readonly<Record<string, number>> = { b: 1, kb: 1e3, mb: 1e6, gb: 1e9 };

const QUANTITY = /^([0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([a-z]+)$/i;

/** A value with its unit, or a sentence saying what to write instead. */
export type Quantity =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly message: string };

function parse(text: string, factors: Readonly<Record<string, number>>, examples: string): Quantity {
  const match = QUANTITY.exec(text.trim());
  const factor = match === null ? undefined : factors[match[2]!.toLowerCase()];
  if (match === null || factor === undefined) {
    return { ok: false, message: `"${text}" is not understood: write for example ${examples}` };
  }
  // Rounded to a millionth of the base unit, so that 3.2 kW is 3200 and not 3200.0000000000005.
  return { ok: true, value: Math.round(Number(match[1]) * factor * 1e6) / 1e6 };
}

/** Watts from `20 MW`; also volt-amperes from `2 MVA`. A lower-case `mw` is megawatt: nobody feeds a site milliwatts. */
export function parsePower(text: string): Quantity {
  return parse(text, POWER_FACTORS, '20 MW, 3.2 kW or 2900 W');
}

/** Milliseconds from `500ms`, `30s`, `15min`, `2h`. */
export function parseDuration(text: string): Quantity {
  return parse(text, DURATION_FACTORS, '500ms, 30s, 15min or 2h');
}

/** Bytes from `2 GB` (decimal). */
export function parseSize(text: string): Quantity {
  return parse(text, SIZE_FACTORS, '500 MB or 2 GB');
}

/** Watts for people: `12.4 MW`, `873 kW`, `2.9 kW`, `31 W`; `-` for unknown. */
export function formatWatts(watts: number | null): string {
  if (watts === null) return '-';
  const size = Math.abs(watts);
  if (size >= 1e6) return `${(watts / 1e6).toFixed(size >= 1e7 ? 1 : 2)} MW`;
  if (size >= 1e3) return `${(watts / 1e3).toFixed(size >= 1e5 ? 0 : 1)} kW`;
  return `${Math.round(watts)} W`;
}
