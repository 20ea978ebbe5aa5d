/** One row of telemetry: figures and words of a device or meter. */
export type Row = Record<string, unknown> & { readonly id: string };

/** In every row, changed or not: what a reader wants beside each figure. */
const ALWAYS = ['powerWatts', 'quality'] as const;

/**
 * Report by exception: the fields of a row that have moved out of their dead band, or whose word changed, since they
 * were last sent; with them id, power and quality. `null`: nothing is news. `before`: what was sent so far. Pure.
 */
export function changesOf(before: Row | null, row: Row): Row | null {
  if (before === null) return row;
  const changes: Row = { id: row.id };
  let news = false;
  for (const name in row) {
    if (!isNews(name, before[name], row[name])) continue;
    changes[name] = row[name];
    news = true;
  }
  if (!news) return null;
  for (const name of ALWAYS) if (row[name] !== undefined) Object.assign(changes, { [name]: row[name] });
  return changes;
}

/** Whether a value has left the dead band that its name gives, or is another word. Pure. */
export function isNews(name: string, old: unknown, value: unknown): boolean {
  if (typeof value === 'number' && typeof old === 'number')
    return Math.abs(value - old) > deadBand(name, old);
  if (typeof value === 'object' && value !== null && typeof old === 'object' && old !== null) {
    const parts = value as Record<string, unknown>;
    for (const part in parts)
      if (isNews(name, (old as Record<string, unknown>)[part], parts[part])) return true;
    return false;
  }
  return value !== old;
}

/** How far a figure may move before it is news. */
function deadBand(name: string, old: number): number {
  if (name.endsWith('Watts')) return Math.max(10, Math.abs(old) * 0.01);
  if (name.endsWith('Ths')) return Math.max(0.5, Math.abs(old) * 0.02);
  if (name.endsWith('Celsius')) return 1.5;
  if (name.endsWith('WattHours')) return 1000;
  if (name.endsWith('Volts')) return Math.abs(old) * 0.01;
  if (name.endsWith('Amps')) return Math.max(0.2, Math.abs(old) * 0.02);
  if (name.endsWith('Rpm')) return Math.abs(old) * 0.02;
  if (name === 'frequencyHz') return 0.02;
  if (name.endsWith('Percent')) return 5;
  if (name === 'powerFactor') return 0.02;
  return 0;
}
