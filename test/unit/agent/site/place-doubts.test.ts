import { describe, expect, test } from 'vitest';
import type { SiteModel } from '../../../../agent/site/model.ts';
import { PlaceDoubts } from '../../../../agent/site/place-doubts.ts';
import type { Snapshot } from '../../../../agent/site/snapshot.ts';
import { seededRandom } from '../../../../protocols/random.ts';

const SEED = 20261122;
const POLL_MS = 5000;
const METER_LAG_MS = 2000;

/** A grid meter, two feeders with meters, one without; ten miners on each, and a load that wanders. */
const LIMITS = [
  { id: 'grid', parent: null, gain: 1, meterId: 'gm' },
  { id: 'a', parent: 'grid', gain: 1.02, meterId: 'am' },
  { id: 'b', parent: 'grid', gain: 1, meterId: 'bm' },
  { id: 'c', parent: 'grid', gain: 1, meterId: null },
];
const IDS = ['a', 'b', 'c'].flatMap((limit) => Array.from({ length: 10 }, (_, index) => `${limit}-${index}`));

/** `hangs`: where devices really hang, where that is not where they are configured; `none`: on no meter at all. */
function site(hangs: Readonly<Record<string, string>> = {}, meters: readonly string[] = ['grid', 'a', 'b']) {
  const random = seededRandom(SEED);
  const limits = LIMITS.map((limit) => (meters.includes(limit.id) ? limit : { ...limit, meterId: null }));
  const doubts = new PlaceDoubts({
    limits,
    devices: IDS.map((id) => ({ id, limit: id.slice(0, 1) })),
  } as unknown as SiteModel);
  const watts = new Map(IDS.map((id) => [id, 3000]));
  /** What nobody reports, on feeder a. */
  const load = { watts: 1000 };
  const truths: { at: number; flows: Map<string, number> }[] = [];
  const readings = new Map<string, { watts: number; at: number }>();
  let now = 0;
  const flowsNow = (): Map<string, number> => {
    const flows = new Map(limits.map(({ id }) => [id, 0]));
    for (const [id, drawn] of watts) {
      const at = hangs[id] ?? id.slice(0, 1);
      if (at !== 'none') flows.set(at, flows.get(at)! + drawn * (1 + (random() - 0.5) * 0.01));
    }
    flows.set('a', flows.get('a')! + load.watts);
    for (const { id, parent, gain } of [...limits].reverse())
      if (parent !== null) flows.set(parent, flows.get(parent)! + flows.get(id)! * gain);
    flows.set('grid', flows.get('grid')! + 5000 + 100 * random());
    return flows;
  };
  const cycle = (): string[] => {
    now += 1000;
    truths.push({ at: now, flows: flowsNow() });
    const shown = truths.findLast(({ at }) => at <= now - METER_LAG_MS)?.flows;
    IDS.forEach((id, index) => {
      if (now % POLL_MS === (index % 5) * 1000) readings.set(id, { watts: watts.get(id)!, at: now });
    });
    const snapshot = {
      monotonicMs: now,
      limits: limits.map(({ id, meterId }) => ({
        id,
        powerWatts: shown?.get(id) ?? null,
        basis: meterId === null ? 'estimated' : 'measured',
        quality: shown === undefined ? 'missing' : 'good',
      })),
      devices: IDS.flatMap((id) => {
        const reading = readings.get(id);
        if (reading === undefined) return [];
        return [
          {
            id,
            inventory: 'present',
            ageMs: now - reading.at,
            failure: null,
            reading: {
              kind: 'miner',
              powerWatts: reading.watts,
              powerSource: 'reported',
              sampledAt: reading.at,
            },
          },
        ];
      }),
    } as unknown as Snapshot;
    return doubts.conditions(snapshot).map(({ target, message }) => `${target}: ${message}`);
  };
  const run = (seconds: number): string[] => {
    let said: string[] = [];
    for (let second = 0; second < seconds; second += 1) said = cycle();
    return said;
  };
  /** One after the other sleeps for a minute, `rounds` times. */
  const switchEach = (ids: readonly string[], rounds: number): string[] => {
    let said = run(60);
    for (let round = 0; round < rounds; round += 1)
      for (const id of ids) {
        watts.set(id, 40);
        said = run(60);
        watts.set(id, 3000);
        said = run(60);
      }
    return said;
  };
  return { watts, load, run, switchEach };
}

describe(`devices that move another meter than their own (seed ${SEED})`, () => {
  test('nobody is doubted where everybody hangs where the configuration says', () => {
    expect(site().switchEach(['a-0', 'b-3', 'c-5', 'a-7'], 3)).toEqual([]);
  });

  test('one that moves the meter of another feeder is named with it after three steps, not after two', () => {
    const wrong = site({ 'a-3': 'b' });
    expect(wrong.switchEach(['a-3'], 1)).toEqual([]);
    expect(wrong.switchEach(['a-3', 'a-4', 'b-1'], 1)).toEqual([
      'a-3: a-3 is configured below a, whose meter does not move when it does; that of b does.',
    ]);
  });

  test('one that hangs right below the grid, or on no meter at all, is named as that', () => {
    expect(site({ 'b-2': 'c' }).switchEach(['b-2'], 2)).toEqual([
      'b-2: b-2 is configured below b, whose meter does not move when it does; that of grid does.',
    ]);
    expect(site({ 'b-2': 'none' }).switchEach(['b-2'], 2)).toEqual([
      'b-2: b-2 is configured below b, whose meter does not move when it does; no meter of the site does.',
    ]);
  });

  test('with one meter for all there is nothing to tell', () => {
    expect(site({ 'a-3': 'b' }, ['grid']).switchEach(['a-3', 'b-3'], 3)).toEqual([]);
  });

  test('steps of many at once accuse nobody', () => {
    const { watts, run } = site({ 'a-3': 'b' });
    run(60);
    for (let round = 0; round < 4; round += 1) {
      for (const id of IDS) watts.set(id, 40);
      run(60);
      for (const id of IDS) watts.set(id, 3000);
      expect(run(60)).toEqual([]);
    }
  });

  test('a load that switches at the same moment, once, does not make an honest machine suspect', () => {
    const { watts, load, run, switchEach } = site();
    run(60);
    watts.set('a-0', 40);
    load.watts += 2960;
    expect(run(60)).toEqual([]);
    watts.set('a-0', 3000);
    expect(run(60)).toEqual([]);
    expect(switchEach(['a-0'], 3)).toEqual([]);
  });
});
