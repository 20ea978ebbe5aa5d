import { describe, expect, it } from 'vitest';
import type { DeviceState, LimitState } from '../../../../agent/site/snapshot.ts';
import { buildView, type ViewInputs } from '../../../../agent/site/view.ts';
import { gpuNodeReading, minerReading } from '../../../support/readings.ts';
import {
  deviceModel,
  deviceState,
  limitModel,
  limitState,
  siteModel,
  snapshotOf,
} from '../../../support/site-states.ts';

const model = siteModel(
  [
    limitModel('grid', { name: 'Grid connection' }),
    limitModel('hall', { parent: 'grid', gain: 1.1, ratingWatts: 60_000, authority: 'shed-only' }),
    limitModel('other', { meterId: null }),
  ],
  [deviceModel('m'), deviceModel('n', { kind: 'gpu-node', hostWatts: 500 })],
);
const inputs: ViewInputs = {
  mode: 'curtailed',
  inForce: new Map([
    [
      'hall',
      { limit: 'hall', watts: 40_000, source: 'grid-operator', priority: 1, until: 2e12, onExpiry: 'hold' },
    ],
  ]),
  worstWatts: new Map([['hall', 41_000.4]]),
  alarms: [],
};
const LIMITS = [
  limitState('grid', { powerWatts: 50_000.4, ageMs: 999.6 }),
  limitState('hall', { powerWatts: 30_000.6, basis: 'estimated', quality: 'estimated', ageMs: null }),
  limitState('other', { powerWatts: 1000 }),
];
const view = (
  devices: readonly DeviceState[] = [],
  limits: readonly LimitState[] = LIMITS,
  more: Partial<ViewInputs> = {},
) => buildView(model, snapshotOf({ limits, devices }), { ...inputs, ...more });
const miner = (id: string, changes: Partial<DeviceState> = {}) =>
  deviceState(id, { limit: 'hall', ...changes });
const NODE = gpuNodeReading(0, 2, 300, 500);
const node = (changes: Partial<DeviceState> = {}) =>
  deviceState('n', { kind: 'gpu-node', limit: 'grid', reading: NODE, ...changes });

describe('what people and programs see of a cycle', () => {
  it('is each limit with what is in force and who says so, and the rating where nobody does', () => {
    expect(view([miner('m')])).toEqual({
      v: 1,
      site: 's',
      name: 'A site',
      ts: 1e12,
      cycle: 7,
      mode: 'curtailed',
      limits: [
        {
          id: 'grid',
          name: 'Grid connection',
          parent: null,
          powerWatts: 50_000,
          limitWatts: 100_000,
          ratingWatts: 100_000,
          headroomWatts: 50_000,
          worstWatts: null,
          quality: 'good',
          ageMs: 1000,
          basis: 'measured',
          source: 'rating',
          until: null,
          miningWatts: 3036,
          aiWatts: 0,
          authority: 'full',
        },
        {
          id: 'hall',
          name: 'hall',
          parent: 'grid',
          powerWatts: 30_001,
          limitWatts: 40_000,
          ratingWatts: 60_000,
          headroomWatts: 9999,
          worstWatts: 41_000,
          quality: 'estimated',
          ageMs: null,
          basis: 'estimated',
          source: 'grid-operator',
          until: 2e12,
          miningWatts: 2760,
          aiWatts: 0,
          authority: 'shed-only',
        },
        expect.objectContaining({ id: 'other', powerWatts: 1000, miningWatts: 0, aiWatts: 0 }),
      ],
      totals: {
        powerWatts: 51_000,
        limitWatts: 200_000,
        miningWatts: 3036,
        aiWatts: 0,
        otherWatts: 47_964,
        hashrateThs: 120,
        miners: { configured: 1, present: 1, absent: 0, working: 1, asleep: 0, held: 0 },
        gpuNodes: { configured: 0, present: 0, absent: 0, working: 0, asleep: 0, held: 0 },
      },
      alarms: [],
      pace: null,
    });
    expect(view([], LIMITS, { pace: 10 }).pace).toBe(10);
  });

  it('has no headroom and no total where a root is unknown, and no rest where one is estimated', () => {
    const unknown = [limitState('grid', { powerWatts: null }), ...LIMITS.slice(1)];
    expect(view([], unknown).limits[0]).toMatchObject({ powerWatts: null, headroomWatts: null });
    expect(view([], unknown).totals).toMatchObject({ powerWatts: null, otherWatts: null });
    const estimated = [LIMITS[0]!, LIMITS[1]!, limitState('other', { basis: 'estimated', powerWatts: 1000 })];
    expect(view([], estimated).totals).toMatchObject({ powerWatts: 51_000, otherWatts: null });
    // Devices that say more than the meter leave no rest, and none below zero.
    const small = LIMITS.map((state) => ({ ...state, powerWatts: 100 }));
    expect(view([miner('m')], small).totals.otherWatts).toBe(0);
  });

  it('adds miners and GPU nodes up apart, with losses, in every limit and in the roots once', () => {
    const devices = [
      miner('m'),
      miner('m2', { limit: 'other', reading: minerReading(0, { powerWatts: 1000 }) }),
      miner('gone', { inventory: 'removed' }),
      miner('lost', { limit: 'nowhere' }),
      miner('unread', { reading: null }),
      node(),
    ];
    const { limits, totals } = view(devices);
    expect(limits.map(({ miningWatts, aiWatts }) => [miningWatts, aiWatts])).toEqual([
      [3036, 1100],
      [2760, 0],
      [1000, 0],
    ]);
    expect(totals).toMatchObject({ miningWatts: 4036, aiWatts: 1100, otherWatts: 45_864 });
    expect(view([node({ limit: 'hall' })]).limits.map(({ aiWatts }) => aiWatts)).toEqual([1210, 1100, 0]);
  });

  it('adds up the hashrate of those that answer, to a tenth', () => {
    const rate = (hashrateThs: number | null, changes: Partial<DeviceState> = {}) =>
      miner('m', { reading: minerReading(0, { hashrateThs }), ...changes });
    const devices = [rate(100.04), rate(20.02), rate(null), rate(500, { inventory: 'absent' }), node()];
    expect(view(devices).totals.hashrateThs).toBe(120.1);
  });

  it('counts who is there and what they do', () => {
    const state = (name: string, inventory: DeviceState['inventory'] = 'present') =>
      miner(name, { inventory, reading: minerReading(0, { state: name as never }) });
    const busy = (utilizationPercent: number | null) =>
      node({
        reading: {
          ...NODE,
          gpus: NODE.gpus.map((gpu, n) => ({ ...gpu, utilizationPercent: n === 0 ? 0 : utilizationPercent })),
        },
      });
    const { miners, gpuNodes } = view([
      state('hashing'),
      state('starting'),
      state('tuning'),
      state('sleeping', 'held'),
      state('stopped', 'absent'),
      state('fault', 'absent'),
      miner('new', { inventory: 'expected', reading: null }),
      busy(6),
      busy(5),
      busy(null),
      node({ inventory: 'held', reading: null }),
    ]).totals;
    expect(miners).toEqual({ configured: 7, present: 3, absent: 2, working: 3, asleep: 2, held: 1 });
    expect(gpuNodes).toEqual({ configured: 4, present: 3, absent: 0, working: 1, asleep: 0, held: 1 });
  });
});
