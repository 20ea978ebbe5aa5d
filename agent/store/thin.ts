import type { Milliseconds } from '../../protocols/units.ts';

/**
 * Thinning of telemetry that waits too long: many messages of one stream become one per step. Power keeps its
 * mean, least and most; everything else keeps its last value. Pure.
 */

type Json = Readonly<Record<string, unknown>>;

/** Lists of a body whose items have an `id`: rows of devices and meters, limits of `tele/site`. */
const LISTS = ['rows', 'limits'] as const;

interface Figures {
  last: Record<string, unknown>;
  readonly sums: Map<string, { sum: number; count: number; least: number; most: number }>;
}

/** Gathers the messages of one stream and one step. */
export class Thinner {
  private readonly lists = new Map<string, Map<string, Figures>>();
  private last: Json = {};
  private messages = 0;

  /** Takes one message body in, in the order of time. */
  add(body: Json): void {
    // A message that was thinned before stands for several.
    const weight = typeof body['messages'] === 'number' ? body['messages'] : 1;
    this.messages += weight;
    this.last = body;
    for (const name of LISTS) {
      const items = body[name];
      if (!Array.isArray(items)) continue;
      const known = this.lists.get(name) ?? new Map<string, Figures>();
      this.lists.set(name, known);
      for (const item of items as (Json & { id: string })[]) addItem(known, item, weight);
    }
  }

  /** The one message that stands for all: `thinnedMs` says for how long, `seq` and `ts` are those of the last. */
  body(stepMs: Milliseconds): Json {
    const lists = Object.fromEntries(
      [...this.lists].map(([name, items]) => [name, [...items.values()].map(itemOf)]),
    );
    return { ...this.last, ...lists, thinnedMs: stepMs, messages: this.messages };
  }
}

function addItem(known: Map<string, Figures>, item: Json & { id: string }, weight: number): void {
  const figures: Figures = known.get(item.id) ?? { last: {}, sums: new Map() };
  figures.last = { ...figures.last, ...item };
  known.set(item.id, figures);
  const { powerWatts } = item;
  if (typeof powerWatts !== 'number') return;
  const sum = figures.sums.get('powerWatts');
  const least = typeof item['powerWattsMin'] === 'number' ? item['powerWattsMin'] : powerWatts;
  const most = typeof item['powerWattsMax'] === 'number' ? item['powerWattsMax'] : powerWatts;
  if (sum === undefined)
    figures.sums.set('powerWatts', { sum: powerWatts * weight, count: weight, least, most });
  else {
    sum.sum += powerWatts * weight;
    sum.count += weight;
    sum.least = Math.min(sum.least, least);
    sum.most = Math.max(sum.most, most);
  }
}

function itemOf(figures: Figures): Json {
  const item = { ...figures.last };
  for (const [name, { sum, count, least, most }] of figures.sums) {
    item[name] = Math.round(sum / count);
    item[`${name}Min`] = least;
    item[`${name}Max`] = most;
  }
  return item;
}

/** Steps of thinning by what waits: minutes once it is older than a day, five minutes after three days. */
export const THIN_STEPS: readonly { readonly afterMs: Milliseconds; readonly stepMs: Milliseconds }[] = [
  { afterMs: 86_400_000, stepMs: 60_000 },
  { afterMs: 3 * 86_400_000, stepMs: 300_000 },
];
