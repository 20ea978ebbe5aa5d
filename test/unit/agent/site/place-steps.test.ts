import { describe, expect, test } from 'vitest';
import { PlaceDoubts } from '../../../../agent/site/place-doubts.ts';
import type { LimitState } from '../../../../agent/site/snapshot.ts';
import { minerReading } from '../../../support/readings.ts';
import {
  deviceModel,
  deviceState,
  limitModel,
  limitState,
  siteModel,
  snapshotOf,
} from '../../../support/site-states.ts';

/** Meters on grid, a, b, c and v; u lies between a and v without one, and nothing measures x. */
const LIMITS = [
  limitModel('grid'),
  limitModel('a', { parent: 'grid', gain: 1.5 }),
  limitModel('u', { parent: 'a', gain: 2, meterId: null }),
  limitModel('v', { parent: 'u', gain: 1.5 }),
  limitModel('b', { parent: 'grid' }),
  limitModel('c', { parent: 'grid' }),
  limitModel('x', { meterId: null }),
];

/** What one cycle shows instead of the truth. */
interface Edit {
  readonly limits?: Readonly<Record<string, Partial<LimitState>>>;
  /** Devices that do not answer in this cycle. */
  readonly silent?: readonly string[];
  /** The cycle is looked at once more. */
  readonly twice?: boolean;
  /** Devices that give their last reading once more. */
  readonly asBefore?: readonly string[];
}

/** A site whose readings and meters follow at once and without noise; `hangs`: where devices really are. */
function site(places: Readonly<Record<string, string>>, hangs: Record<string, string> = {}) {
  const doubts = new PlaceDoubts(
    siteModel(
      LIMITS,
      Object.entries(places).map(([id, limit]) => deviceModel(id, { limit })),
    ),
  );
  const watts: Record<string, number> = Object.fromEntries(Object.keys(places).map((id) => [id, 3000]));
  const loads: Record<string, number> = {};
  const readings = new Map<string, { at: number; watts: number }>();
  let now = 100_000;
  const cycle = (edit: Edit = {}) => {
    now += 1000;
    const flows = new Map(LIMITS.map(({ id }) => [id, 1000 + (loads[id] ?? 0)]));
    for (const [id, place] of Object.entries(places)) {
      const at = hangs[id] ?? place;
      if (at !== 'none') flows.set(at, flows.get(at)! + watts[id]!);
    }
    for (const { id, parent, gain } of [...LIMITS].reverse())
      if (parent !== null) flows.set(parent, flows.get(parent)! + flows.get(id)! * gain);
    const snapshot = snapshotOf({
      monotonicMs: now,
      limits: LIMITS.map(({ id, meterId }) =>
        limitState(id, {
          powerWatts: flows.get(id)!,
          basis: meterId === null ? 'estimated' : 'measured',
          ...edit.limits?.[id],
        }),
      ),
      devices: Object.entries(places).map(([id, limit]) => {
        if (edit.silent?.includes(id)) return deviceState(id, { limit, inventory: 'absent' });
        if (!edit.asBefore?.includes(id)) readings.set(id, { at: now, watts: watts[id]! });
        const { at, watts: said } = readings.get(id)!;
        return deviceState(id, { limit, reading: minerReading(at, { powerWatts: said }) });
      }),
    });
    if (edit.twice === true) doubts.conditions(snapshot);
    return doubts.conditions(snapshot);
  };
  /** One step of a device: a quiet time, the step, and the time until it is judged; `edits` by second from the step. */
  const step = (
    id: string,
    {
      by = 2900,
      quiet = 20,
      edits = {} as Record<number, Edit>,
      also = {} as Record<number, () => void>,
    } = {},
  ) => {
    let said = cycle();
    for (let second = -quiet; second <= 17; second += 1) {
      if (second === 0) watts[id] = watts[id]! === 3000 ? 3000 - by : 3000;
      also[second]?.();
      said = cycle(edits[second]);
    }
    return said;
  };
  /** After how many steps it is told; `null`: not within `most`. */
  const toldAfter = (id: string, most = 12, options: Parameters<typeof step>[1] = {}): number | null => {
    for (let count = 1; count <= most; count += 1) if (step(id, options).length > 0) return count;
    return null;
  };
  return { watts, loads, hangs, cycle, step, toldAfter };
}

describe('a device that moves another meter than its own', () => {
  test('is told after three steps, with what to do', () => {
    const one = site({ d: 'b', e: 'c' }, { d: 'c' });
    for (let n = 0; n < 2; n += 1) expect(one.step('d')).toEqual([]);
    expect(one.step('d')).toEqual([
      {
        code: 'wrong-place-suspected',
        severity: 'minor',
        target: 'd',
        message: 'd is configured below b, whose meter does not move when it does; that of c does.',
        nextStep: 'Prove it with `switchyard commission topology b`, then correct its `limit`.',
      },
    ]);
  });

  test('is judged when the meters have settled and were watched for ten seconds, not before', () => {
    const one = site({ d: 'b' }, { d: 'c' });
    one.step('d');
    one.step('d');
    for (let n = 0; n < 20; n += 1) one.cycle();
    one.watts['d'] = 100;
    const said = Array.from({ length: 18 }, () => one.cycle().length);
    expect(said).toEqual([...Array.from({ length: 16 }, () => 0), 1, 1]);
  });

  test('is judged the same where a cycle is looked at twice', () => {
    const edits = { [-5]: { twice: true }, 0: { twice: true }, 10: { twice: true } };
    expect(site({ d: 'b' }, { d: 'c' }).toldAfter('d', 5, { edits })).toBe(3);
  });

  test('was right before: what is wrong must be more than twice as often', () => {
    for (const [right, wrong] of [
      [1, 3],
      [2, 5],
      [3, 7],
    ] as const) {
      const one = site({ d: 'b' });
      for (let n = 0; n < right; n += 1) expect(one.step('d')).toEqual([]);
      one.hangs['d'] = 'none';
      expect(one.toldAfter('d'), `${right} times right`).toBe(wrong);
    }
  });

  test('may have been right for long: old steps count for less and less', () => {
    const one = site({ d: 'b' });
    for (let n = 0; n < 21; n += 1) one.step('d');
    one.hangs['d'] = 'none';
    // 21 became 10.5; at ten wrong ones both are halved again, to 5.25 and 5.
    expect(one.toldAfter('d', 30)).toBe(16);
    const other = site({ d: 'b' });
    for (let n = 0; n < 7; n += 1) other.step('d');
    other.hangs['d'] = 'none';
    // Seven are kept; at fourteen wrong ones both are halved, to 3.5 and 7.
    expect(other.toldAfter('d', 30)).toBe(15);
  });

  test('is said to move the meter that it moved most often', () => {
    const one = site({ d: 'b' }, { d: 'c' });
    const message = () => one.step('d')[0]?.message.split('; ')[1];
    one.step('d');
    one.hangs['d'] = 'none';
    one.step('d');
    expect(message()).toBe('no meter of the site does.');
    one.hangs['d'] = 'c';
    expect(one.step('d')).toHaveLength(1);
    expect(message()).toBe('that of c does.');
  });

  test('is found behind limits without a meter, losses included', () => {
    const honest = site({ d: 'u' });
    honest.step('d');
    honest.step('d');
    honest.hangs['d'] = 'none';
    // Two steps were right: 2,900 W at u are 5,800 W at a.
    expect(honest.toldAfter('d')).toBe(5);
    // What hangs at v moves a as well, by the losses of both: that is v's doing.
    const one = site({ d: 'b' }, { d: 'v' });
    one.step('d');
    one.step('d');
    expect(one.step('d')[0]?.message).toContain('that of v does');
    const up = site({ d: 'v' }, { d: 'grid' });
    expect(up.toldAfter('d')).toBe(3);
  });

  test('is not looked for where nothing measures', () => {
    expect(site({ d: 'x' }, { d: 'b' }).toldAfter('d', 5)).toBeNull();
    expect(site({ d: 'nowhere' }, { d: 'b' }).toldAfter('d', 5)).toBeNull();
  });
});

describe('what is no step', () => {
  const wrong = () => site({ d: 'b', e: 'b', f: 'c' }, { d: 'none' });

  test('a change of less than 400 W', () => {
    expect(wrong().toldAfter('d', 5, { by: 399 })).toBeNull();
    expect(wrong().toldAfter('d', 5, { by: 400 })).toBe(3);
  });

  test('a change between two readings more than twenty seconds apart, or with silence between them', () => {
    const held = (seconds: number) =>
      Object.fromEntries(Array.from({ length: seconds }, (_, n) => [n - seconds, { asBefore: ['d'] }]));
    // Read before, then at the step: so many seconds lie between.
    expect(wrong().toldAfter('d', 5, { quiet: 40, edits: held(19) })).toBe(3);
    expect(wrong().toldAfter('d', 5, { quiet: 40, edits: held(20) })).toBeNull();
    expect(wrong().toldAfter('d', 5, { edits: { [-1]: { silent: ['d'] } } })).toBeNull();
    expect(wrong().toldAfter('d', 5, { quiet: 40, edits: { [-20]: { silent: ['d'] } } })).toBe(3);
  });

  test('a change while another device steps at the same meter, in the time that is looked at', () => {
    const beside = (id: string, second: number) => {
      const one = wrong();
      const also = { [second]: () => (one.watts[id] = one.watts[id] === 3000 ? 100 : 3000) };
      return one.toldAfter('d', 4, { quiet: 40, also });
    };
    expect(beside('e', -17)).toBe(3);
    for (const second of [-16, -8, 0, 8, 16]) expect(beside('e', second), `${second} s`).toBeNull();
    expect(beside('e', 17)).toBe(3);
    // At another meter as well: it may hide that this one moved it.
    for (const second of [-16, 0, 16]) expect(beside('f', second), `${second} s`).toBeNull();
    expect(beside('f', -17)).toBe(3);
  });

  test('a change while a meter is not well seen', () => {
    for (const change of [{ quality: 'stale' }, { basis: 'estimated' }, { powerWatts: null }] as const)
      for (const limit of ['b', 'c']) {
        const unseen = (second: number) =>
          wrong().toldAfter('d', 4, { edits: { [second]: { limits: { [limit]: change } } } });
        const name = `${limit} ${Object.keys(change)}`;
        // Three samples after it are a level, two are none; and what was before a gap is not bridged.
        expect(unseen(-5), name).toBe(3);
        for (const second of [-4, 0, 10]) expect(unseen(second), `${name} ${second} s`).toBeNull();
      }
  });

  test('a change while what nobody reports moves a meter by some of it, or by as much', () => {
    const with_ = (limit: string, watts: number, seconds: readonly number[] = [0]) => {
      const one = wrong();
      const switched = () => {
        one.loads[limit] = (one.loads[limit] ?? 0) === 0 ? watts : 0;
      };
      return one.toldAfter('d', 4, {
        quiet: 40,
        also: Object.fromEntries(seconds.map((second) => [second, switched])),
      });
    };
    // 30 % of 2,900 W is 870 W.
    expect(with_('c', 860)).toBe(3);
    expect(with_('c', 880)).toBeNull();
    expect(with_('b', 860)).toBe(3);
    expect(with_('b', 880)).toBeNull();
    // A level that is none: it moves within the ten seconds before or after.
    for (const limit of ['b', 'c'])
      for (const seconds of [
        [-6, -3],
        [10, 13],
      ] as const) {
        expect(with_(limit, 1500, seconds), `${limit} ${seconds}`).toBeNull();
        expect(with_(limit, 800, seconds), `${limit} ${seconds}`).toBe(3);
      }
    // What lies outside of both times says nothing.
    for (const seconds of [
      [-14, -13],
      [3, 5],
    ] as const)
      expect(with_('b', 5000, seconds)).toBe(3);
  });

  test('a change that two other meters follow', () => {
    const one = wrong();
    const both = () => {
      for (const id of ['c', 'v']) one.loads[id] = one.watts['d']! - 3000;
    };
    expect(one.toldAfter('d', 5, { also: { 0: both } })).toBeNull();
  });
});
