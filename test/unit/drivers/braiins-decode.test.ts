import { describe, expect, it } from 'vitest';
import {
  type BraiinsGraphqlReplies,
  type BraiinsRestReplies,
  decodeBraiinsGraphql,
  decodeBraiinsRest,
  isPaused,
  powerTargetRange,
} from '../../../drivers/miners/braiins-decode.ts';
import { nothingSaid } from '../../../drivers/miners/reply-fields.ts';

const gigahash = (gigahash_per_second: number) => ({ gigahash_per_second });
const watt = (value: number) => ({ watt: value });
const rates = (real_hashrate: object, more: object = {}): BraiinsRestReplies => ({
  stats: { miner_stats: { real_hashrate, ...more } },
});
const working = (ghs: number, more: object = {}) => rates({ last_5s: gigahash(ghs) }, more);
const consumption = (value: number): BraiinsRestReplies => ({
  stats: { power_stats: { approximated_consumption: watt(value) } },
});
const target = (mode: object, overall_tuner_state = 2): BraiinsRestReplies => ({
  tuner: { overall_tuner_state, mode_state: { powertargetmodestate: mode } },
});

describe('Braiins OS over REST: a reading', () => {
  const cases: readonly (readonly [string, BraiinsRestReplies, object])[] = [
    [
      'who it is',
      {
        details: {
          miner_identity: { brand: 1, miner_model: 'Antminer S19 XP', name: 'other' },
          bos_version: { current: '2025-08-06-0-3881c51d-25.07-plus', major: 'x' },
          mac_address: '02:EE:da:a9:b6:4a',
          serial_number: 'SN1',
          bosminer_uptime_s: 69_685,
          system_uptime_s: 1,
        },
      },
      {
        vendor: 'Bitmain',
        model: 'Antminer S19 XP',
        firmwareVersion: '2025-08-06-0-3881c51d-25.07-plus',
        macAddress: '02:ee:da:a9:b6:4a',
        serialNumber: 'SN1',
        uptimeSeconds: 69_685,
      },
    ],
    [
      'the model by its name',
      { details: { miner_identity: { name: 'Antminer S9' } } },
      { model: 'Antminer S9' },
    ],
    ['the last 5 s in GH/s', working(141_500), { hashrateThs: 141.5 }],
    ['the last 15 s', rates({ last_15s: gigahash(141_500), last_1m: gigahash(1) }), { hashrateThs: 141.5 }],
    ['the last minute', rates({ last_1m: gigahash(141_500), last_5m: gigahash(1) }), { hashrateThs: 141.5 }],
    ['the last 5 minutes', rates({ last_5m: gigahash(141_500) }), { hashrateThs: 141.5 }],
    [
      'no rate of an hour',
      rates({ last_1h: gigahash(141_500), since_restart: gigahash(1) }),
      { hashrateThs: null },
    ],
    [
      'the nominal rate that was tuned, before the sticker',
      {
        ...working(1, { nominal_hashrate: gigahash(142_500) }),
        details: { sticker_hashrate: gigahash(141_000) },
      },
      { nominalHashrateThs: 142.5 },
    ],
    [
      'the rate of the sticker',
      { details: { sticker_hashrate: gigahash(141_000) } },
      { nominalHashrateThs: 141 },
    ],
    ['watts', consumption(3137), { powerWatts: 3137, powerSource: 'reported' }],
    ['0 W, which is a real 0', consumption(0), { powerWatts: 0, powerSource: 'reported' }],
    ['-1 W, which is unknown', consumption(-1), { powerWatts: null, powerSource: null }],
    [
      'J/TH',
      {
        stats: {
          miner_stats: { real_hashrate: { last_5s: gigahash(150_000) } },
          power_stats: { approximated_consumption: watt(3000) },
        },
      },
      { efficiencyJoulesPerTh: 20 },
    ],
    [
      'fans',
      { cooling: { fans: [{ position: 0, rpm: 5904 }, { rpm: 0 }, { rpm: -1 }, {}] } },
      { fanRpm: [5904, 0] },
    ],
    [
      'the target in force, which may be below the one set',
      target({ current_target: watt(2431), profile: { target: watt(3031) } }),
      { powerLimitWatts: 2431 },
    ],
    ['the target of its profile', target({ profile: { target: watt(3031) } }), { powerLimitWatts: 3031 }],
    [
      'the target of its profile beside 0 W',
      target({ current_target: watt(0), profile: { target: watt(3031) } }),
      { powerLimitWatts: 3031 },
    ],
    [
      'no target while the tuner is off',
      target({ current_target: watt(3031) }, 1),
      { powerLimitWatts: null },
    ],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeBraiinsRest(replies)).toMatchObject(expected);
  });

  it('says nothing of what was not answered', () => {
    const expected = { ...nothingSaid('braiins'), vendor: 'Bitmain' };
    expect(decodeBraiinsRest({})).toEqual(expected);
    const text = 'no token';
    expect(
      decodeBraiinsRest({
        details: text,
        stats: null,
        hashboards: [],
        errors: text,
        tuner: 1,
        cooling: text,
        pools: text,
      }),
    ).toEqual(expected);
  });

  it('lists boards and the hottest sensors of them', () => {
    const hashboards = [
      {
        id: '1',
        chips_count: 110,
        board_temp: { degree_c: 52 },
        highest_chip_temp: { temperature: { degree_c: 67 } },
        stats: { real_hashrate: { last_5s: gigahash(50_250) } },
      },
      {
        chips_count: 110,
        board_temp: { degree_c: 55.5 },
        highest_chip_temp: { temperature: { degree_c: 70.5 } },
      },
    ];
    const reading = decodeBraiinsRest({ hashboards: { hashboards } });
    expect(reading.boards).toEqual([
      { index: 1, hashrateThs: 50.25, chipTemperatureCelsius: 67, chipsAlive: null, chips: 110 },
      { index: 1, hashrateThs: null, chipTemperatureCelsius: 70.5, chipsAlive: null, chips: 110 },
    ]);
    expect(reading).toMatchObject({ chipTemperatureCelsius: 70.5, boardTemperatureCelsius: 55.5 });
  });

  it('lists the pools of all groups, as a list or below a name', () => {
    const groups = [
      {
        pools: [
          { url: 'a', user: 'u', enabled: true, alive: true },
          { url: 'b', enabled: true, alive: false },
        ],
      },
      { pools: [{ url: 'c', enabled: false, alive: true }, {}] },
    ];
    const expected = [
      { url: 'a', user: 'u', status: 'alive', priority: null },
      { url: 'b', user: null, status: 'dead', priority: null },
      { url: 'c', user: null, status: 'disabled', priority: null },
      { url: '', user: null, status: 'unknown', priority: null },
    ];
    expect(decodeBraiinsRest({ pools: groups }).pools).toEqual(expected);
    expect(decodeBraiinsRest({ pools: { pool_groups: groups } }).pools).toEqual(expected);
  });

  it('tells each message of the log once, with when it came last, and the newest 20', () => {
    const error = (message: unknown, timestamp?: string) => ({ message, timestamp, error_codes: [] });
    const errors = [
      error('one', '1'),
      error('two', '2'),
      error('one', '3'),
      error('three'),
      error(null, '4'),
    ];
    expect(decodeBraiinsRest({ errors: { errors } }).errors).toEqual([
      { code: 'LOG', message: 'two (2)' },
      { code: 'LOG', message: 'one (3)' },
      { code: 'LOG', message: 'three' },
    ]);
    const many = Array.from({ length: 30 }, (_, n) => error(`number ${n}`));
    const shown = decodeBraiinsRest({ errors: { errors: many } }).errors;
    expect(shown).toHaveLength(20);
    expect(shown[0]?.message).toBe('number 10');
  });
});

describe('Braiins OS over REST: state', () => {
  const at = (status: number | undefined, replies: BraiinsRestReplies = {}) =>
    decodeBraiinsRest({ ...replies, details: { status } }).state;
  const nominal = { nominal_hashrate: gigahash(100_000) };

  it.each([
    [1, 90_000, 'stopped'],
    [2, 90_000, 'hashing'],
    [2, 0, 'starting'],
    [2, null, 'unknown'],
    [3, 90_000, 'sleeping'],
    [3, null, 'sleeping'],
    [4, 90_000, 'stopped'],
    [5, 90_000, 'hashing'],
    [5, 0, 'stopped'],
    [5, null, 'stopped'],
    [9, 90_000, 'hashing'],
    [9, 0, 'stopped'],
    [undefined, null, 'unknown'],
  ] as const)('status %s at %s GH/s is %s', (status, ghs, state) => {
    expect(at(status, ghs === null ? {} : working(ghs))).toBe(state);
  });

  it('is tuning while the tuner works far below the nominal rate', () => {
    const tuner = (overall_tuner_state: number) => ({ tuner: { overall_tuner_state } });
    expect(at(2, { ...working(89_999, nominal), ...tuner(3) })).toBe('tuning');
    expect(at(2, { ...working(90_000, nominal), ...tuner(3) })).toBe('hashing');
    expect(at(2, { ...working(1000, nominal), ...tuner(2) })).toBe('hashing');
    expect(at(2, { ...working(1000), ...tuner(3) })).toBe('hashing');
  });

  it('is paused by status 3 alone', () => {
    expect([1, 2, 3, 4, 5].map((status) => isPaused({ status }))).toEqual([false, false, true, false, false]);
    expect(isPaused(undefined)).toBe(false);
  });
});

describe('Braiins OS: what it can be told', () => {
  const constraints = (min: unknown, max: unknown) => ({
    tuner_constraints: { power_target: { default: watt(3031), min, max } },
  });

  it('is a target between the least and the greatest that its tuner takes', () => {
    expect(powerTargetRange(constraints(watt(1200), watt(3600)))).toEqual({ minWatts: 1200, maxWatts: 3600 });
    expect(powerTargetRange(constraints(watt(1200), watt(1200)))).toEqual({ minWatts: 1200, maxWatts: 1200 });
    for (const [min, max] of [
      [watt(3600), watt(1200)],
      [watt(0), watt(3600)],
      [null, watt(3600)],
      [watt(1200), null],
    ])
      expect(powerTargetRange(constraints(min, max))).toBeNull();
    expect(powerTargetRange(undefined)).toBeNull();
  });

  it('is sleep and wake without them, and nothing without a password', () => {
    expect(decodeBraiinsRest({ constraints: constraints(watt(1200), watt(3600)) }, true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: { kind: 'watts', minWatts: 1200, maxWatts: 3600, stepWatts: 1 },
      sleepMs: 30_000,
      wakeMs: 120_000,
      changeMs: 300_000,
    });
    expect(decodeBraiinsRest({}, true).control).toEqual({
      sleep: true,
      wake: true,
      powerLimit: null,
      sleepMs: 30_000,
      wakeMs: 120_000,
      changeMs: null,
    });
    expect(decodeBraiinsRest({ constraints: constraints(watt(1200), watt(3600)) }).control).toEqual(
      nothingSaid('braiins').control,
    );
  });
});

describe('Braiins OS over GraphQL', () => {
  const system = (info: object, bos: object = {}): BraiinsGraphqlReplies => ({
    system: { data: { bos, bosminer: { info } } },
  });
  const solving = (mhs5S: number): BraiinsGraphqlReplies =>
    system({ workSolver: { realHashrate: { mhs5S } } });

  const cases: readonly (readonly [string, BraiinsGraphqlReplies, object])[] = [
    [
      'the model',
      { model: { data: { bosminer: { info: { modelName: 'Antminer S9' } } } } },
      { model: 'Antminer S9' },
    ],
    [
      'release and time',
      system({}, { info: { version: { full: '25.05.1-plus' } }, uptime: { durationS: 693_609 } }),
      { vendor: 'Bitmain', firmwareVersion: '25.05.1-plus', uptimeSeconds: 693_609 },
    ],
    ['the last 5 s in MH/s', solving(205_500_000), { hashrateThs: 205.5, state: 'hashing' }],
    ['a rate of 0', solving(0), { hashrateThs: 0, state: 'stopped' }],
    [
      'the nominal rate in MH/s',
      system({ workSolver: { nominalMhs: 216_500_000 } }),
      { nominalHashrateThs: 216.5 },
    ],
    [
      'watts and their limit',
      system({ summary: { power: { approxConsumptionW: 3698, limitW: 3878 } } }),
      { powerWatts: 3698, powerSource: 'reported', powerLimitWatts: 3878 },
    ],
    [
      '0 W, and no limit of 0 W',
      system({ summary: { power: { approxConsumptionW: 0, limitW: 0 } } }),
      { powerWatts: 0, powerSource: 'reported', powerLimitWatts: null },
    ],
    [
      '-1 W, which is unknown',
      system({ summary: { power: { approxConsumptionW: -1, limitW: -1 } } }),
      { powerWatts: null, powerSource: null, powerLimitWatts: null },
    ],
    [
      'J/TH',
      system({
        workSolver: { realHashrate: { mhs5S: 200e6 } },
        summary: { power: { approxConsumptionW: 4000 } },
      }),
      { efficiencyJoulesPerTh: 20 },
    ],
    ['fans', system({ fans: [{ name: '0', rpm: 6421 }, { rpm: 0 }] }), { fanRpm: [6421, 0] }],
  ];
  it.each(cases)('has %s', (_what, replies, expected) => {
    expect(decodeBraiinsGraphql(replies)).toMatchObject(expected);
  });

  it('says nothing of what was not answered, and takes no command', () => {
    const expected = { ...nothingSaid('braiins'), vendor: 'Bitmain' };
    expect(decodeBraiinsGraphql({})).toEqual(expected);
    expect(decodeBraiinsGraphql({ system: { errors: [{ message: 'no' }] } })).toEqual(expected);
  });

  it('lists boards and the hottest sensors of them', () => {
    const childSolvers = [
      {
        name: '1',
        hwDetails: { chips: 55 },
        realHashrate: { mhs5S: 64_500_000 },
        temperatures: [
          { name: 'INLET', degreesC: 90 },
          { name: 'MAX_BOARD', degreesC: 51.5 },
          { name: 'MAX_CHIP', degreesC: 66.5 },
        ],
      },
      {
        temperatures: [{ degreesC: 80 }, { name: 'Board', degreesC: 54.5 }, { name: 'Chip', degreesC: 69.5 }],
      },
      {},
    ];
    const reading = decodeBraiinsGraphql({
      boards: { data: { bosminer: { info: { workSolver: { childSolvers } } } } },
    });
    expect(reading.boards).toEqual([
      { index: 1, hashrateThs: 64.5, chipTemperatureCelsius: 66.5, chipsAlive: null, chips: 55 },
      { index: 1, hashrateThs: null, chipTemperatureCelsius: 69.5, chipsAlive: null, chips: null },
      { index: 2, hashrateThs: null, chipTemperatureCelsius: null, chipsAlive: null, chips: null },
    ]);
    expect(reading).toMatchObject({ chipTemperatureCelsius: 69.5, boardTemperatureCelsius: 54.5 });
  });

  it('lists pools', () => {
    const said = ['ALIVE', 'DEAD', 'DISABLED', 'REJECTING', 'RUNNING'];
    const poolGroups = [{ pools: said.map((status) => ({ url: 'a', user: 'u', status })) }, { pools: [{}] }];
    const { pools } = decodeBraiinsGraphql({ pools: { data: { bosminer: { info: { poolGroups } } } } });
    expect(pools[0]).toEqual({ url: 'a', user: 'u', status: 'alive', priority: null });
    expect(pools[5]).toEqual({ url: '', user: null, status: 'unknown', priority: null });
    expect(pools.map(({ status }) => status)).toEqual([
      'alive',
      'dead',
      'disabled',
      'rejecting',
      'unknown',
      'unknown',
    ]);
  });
});
