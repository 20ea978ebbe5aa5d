// Figures and times in the words of operators. Pure. What is not known is an en dash, never 0.

export const UNKNOWN = '–';
const SPACE = '\u00a0';

function known(value) {
  return typeof value === 'number' && Number.isFinite(value);
}

/** `873 kW`, `1.13 MW`, `31 W`: the unit fits the size; a real minus sign. */
export function formatWatts(watts) {
  if (!known(watts)) return UNKNOWN;
  const size = Math.abs(watts);
  const [value, digits, unit] =
    size >= 999_500
      ? [watts / 1e6, size >= 9_995_000 ? 1 : 2, 'MW']
      : size >= 999.5
        ? [watts / 1e3, size >= 99_950 ? 0 : 1, 'kW']
        : [watts, 0, 'W'];
  return formatNumber(value, digits, unit);
}

/** A number with thin groups and its unit: `47,150 TH/s`. */
export function formatNumber(value, digits = 0, unit = '') {
  if (!known(value)) return UNKNOWN;
  const text = Math.abs(value).toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  const negative = value < 0 && /[1-9]/.test(text);
  return `${negative ? '−' : ''}${text}${unit === '' ? '' : SPACE + unit}`;
}

/** A span of time in its two largest units at most: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function formatAge(ms) {
  if (!known(ms)) return UNKNOWN;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 9.95) return `${seconds.toFixed(1)}${SPACE}s`;
  const whole = Math.round(seconds);
  const steps = [
    [86_400, 'd', 3600, 'h'],
    [3600, 'h', 60, 'min'],
    [60, 'min', 1, 's'],
  ];
  for (const [large, largeUnit, small, smallUnit] of steps) {
    if (whole < large) continue;
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)}${SPACE}${largeUnit}${rest === 0 ? '' : ` ${rest}${SPACE}${smallUnit}`}`;
  }
  return `${whole}${SPACE}s`;
}

function two(value) {
  return String(value).padStart(2, '0');
}

/** Time of day, 24 hours, in the reader's time zone; with the date when it is not the day of `now`. */
export function formatTime(epochMs, now = epochMs) {
  if (!known(epochMs)) return UNKNOWN;
  const at = new Date(epochMs);
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date(now).toDateString()) return clock;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${clock}`;
}

/** `1 alarm`, `3 alarms`. */
export function plural(count, word, words = `${word}s`) {
  return `${formatNumber(count)} ${count === 1 ? word : words}`;
}

/** A code or state for people: `miner-fault` -> `miner fault`. */
export function words(code) {
  return String(code ?? UNKNOWN).replace(/[-_]/g, ' ');
}

/** Words of `text` shortened to about `count` characters. */
export function shorten(text, count) {
  const value = String(text);
  return value.length <= count ? value : `${value.slice(0, Math.max(1, count - 1)).trimEnd()}…`;
}

/** Whether a figure must not be read as live. */
export function isOld(quality) {
  return quality === 'stale' || quality === 'bad' || quality === 'missing';
}

/** How good the figure of a limit is, in words. */
export function qualityText(limit) {
  if (limit.powerWatts === null || limit.quality === 'missing') return 'no reading';
  if (limit.quality === 'stale') return `stale, ${formatAge(limit.ageMs)} old`;
  if (limit.quality === 'bad') return 'not to be trusted';
  return limit.basis === 'measured' ? 'measured' : 'estimated';
}
