import type { PageSource } from '../../agent/page/source.ts';
import type { Alarm } from '../../agent/site/alarms.ts';
import type { SiteModel } from '../../agent/site/model.ts';
import type { DeviceState, Snapshot } from '../../agent/site/snapshot.ts';
import type { LimitView, SiteView } from '../../agent/site/view.ts';
import { minerReading } from './readings.ts';

/** A made-up site for the page: figures chosen, nothing behind them. */
export interface MadeUpSite {
  readonly source: PageSource;
  /** What `/events` sends next; tests may replace parts of it. */
  view: SiteView | null;
}

/** A limit with every field filled. */
export function madeUpLimit(id: string, parent: string | null, more: Partial<LimitView> = {}): LimitView {
  return {
    id,
    name: id,
    parent,
    powerWatts: 200_000,
    limitWatts: 310_000,
    ratingWatts: 310_000,
    headroomWatts: 110_000,
    worstWatts: 250_000,
    quality: 'good',
    ageMs: 80,
    basis: 'measured',
    source: 'rating',
    until: null,
    miningWatts: 190_000,
    aiWatts: 10_000,
    authority: 'full',
    ...more,
  };
}

/** A view around these limits. */
export function madeUpView(limits: readonly LimitView[], more: Partial<SiteView> = {}): SiteView {
  const counts = { configured: 300, present: 299, absent: 1, working: 290, asleep: 9, held: 0 };
  return {
    v: 1,
    site: 'made-up',
    name: 'Made-up site',
    ts: 1_790_000_000_000,
    cycle: 7,
    mode: 'normal',
    limits,
    totals: {
      powerWatts: 965_000,
      limitWatts: 1_130_000,
      miningWatts: 928_000,
      aiWatts: 15_500,
      otherWatts: 21_500,
      hashrateThs: 47_000,
      miners: counts,
      gpuNodes: { configured: 4, present: 4, absent: 0, working: 4, asleep: 0, held: 0 },
    },
    alarms: [],
    pace: null,
    ...more,
  };
}

/** An alarm of this code about `target`. */
export function madeUpAlarm(code: string, target: string): Alarm {
  return {
    id: `${code}:${target}`,
    code,
    severity: 'critical',
    target,
    message: `${target}: ${code}.`,
    nextStep: 'Look.',
    since: 1_790_000_000_000,
    acknowledgedBy: null,
  };
}

function madeUpDevice(id: string, limit: string): DeviceState {
  return {
    id,
    kind: 'miner',
    limit,
    address: '10.0.0.1:4028',
    inventory: 'present',
    reading: minerReading(0),
    quality: 'good',
    ageMs: 900,
    identity: null,
    failure: null,
    failures: 0,
    stateSince: null,
  };
}

/** A source with this view, `deviceCount` miners spread over its limits and these API answers. */
export function madeUpSource(
  view: SiteView | null,
  deviceCount = 0,
  answers: Readonly<Record<string, unknown>> = {},
): MadeUpSite {
  const limits = view?.limits ?? [];
  const devices = Array.from({ length: deviceCount }, (_, index) =>
    madeUpDevice(`m-${String(index + 1).padStart(4, '0')}`, limits[index % limits.length]?.id ?? 'grid'),
  );
  const snapshot: Snapshot = {
    cycle: 7,
    monotonicMs: 0,
    epochMs: view?.ts ?? 0,
    limits: [],
    meters: [],
    devices,
  };
  const model: SiteModel = {
    siteId: 'made-up',
    name: 'Made-up site',
    limits: limits.map((limit) => ({
      id: limit.id,
      name: limit.name,
      parent: limit.parent,
      ratingWatts: limit.ratingWatts,
      ratingText: '',
      gain: 1,
      meterId: null,
      authority: 'full',
      ratingAmps: null,
      average: null,
      thermal: null,
    })),
    loads: [],
    meters: [],
    devices: devices.map((device) => ({
      id: device.id,
      kind: 'miner',
      limit: device.limit,
      entry: 'm',
      address: `10.0.0.1:4028`,
      tenant: null,
      tags: [],
      location: null,
      nameplateWatts: null,
      hostWatts: null,
      modelName: null,
      intervalMs: 5000,
    })),
  };
  const site: MadeUpSite = {
    view,
    source: {
      version: '0.0.0',
      model,
      view: () => site.view,
      snapshot: () => (view === null ? null : snapshot),
      host: () => {
        throw new Error('not asked for here');
      },
      link: () => null,
      healthy: () => ({ ok: true, reason: 'ok' }),
      counters: () => ({
        cycles: 0,
        cyclesSkipped: 0,
        lastCycleMs: 0,
        reads: 0,
        readFailures: 0,
        worstReadLatenessMs: 0,
        commands: 0,
      }),
      api: (name, query) => {
        if (name === 'devices')
          return { v: 1, devices: devices.filter((device) => device.id === query.get('id')), meters: [] };
        return Object.hasOwn(answers, name) ? answers[name] : null;
      },
    },
  };
  return site;
}
