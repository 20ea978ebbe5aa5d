import { describe, expect, it } from 'vitest';
import { AlarmBook, alarmEvents, type Condition, conditionsOf } from '../../../../agent/site/alarms.ts';
import type { DeviceState, LimitState, MeterState } from '../../../../agent/site/snapshot.ts';
import type { MinerReading } from '../../../../drivers/load-driver.ts';
import { gpuNodeReading, meterReading, minerReading } from '../../../support/readings.ts';
import {
  deviceState,
  limitModel,
  limitState,
  meterState,
  siteModel,
  snapshotOf,
} from '../../../support/site-states.ts';

const model = siteModel([
  limitModel('grid', { ratingText: '145 A at 400 V' }),
  limitModel('a', { parent: 'grid', gain: 1.1 }),
  limitModel('b', { parent: 'grid' }),
]);
const ofMeter = (changes: Partial<MeterState>) =>
  conditionsOf(model, snapshotOf({ meters: [meterState('m', changes)] }));
const ofDevice = (changes: Partial<DeviceState>) =>
  conditionsOf(model, snapshotOf({ devices: [deviceState('d', changes)] }));
const ofLimits = (...limits: LimitState[]) => conditionsOf(model, snapshotOf({ limits }));
const timeout = { kind: 'timeout', message: 'no answer within 2 s' } as const;

describe('a meter', () => {
  it('that is good, or estimated, is no trouble', () => {
    expect(ofMeter({})).toEqual([]);
    expect(ofMeter({ quality: 'estimated' })).toEqual([]);
  });

  it('whose figures cannot be trusted says why and where', () => {
    expect(ofMeter({ quality: 'bad', limit: 'grid', doubts: ['phases swapped', 'frozen'] })).toEqual([
      {
        code: 'meter-bad',
        severity: 'critical',
        target: 'm',
        message:
          'The meter m gives figures that cannot be trusted: phases swapped; frozen. It measures grid.',
        nextStep:
          'Run `switchyard meter m` and compare with its display; check current transformers and wiring.',
      },
    ]);
    expect(ofMeter({ quality: 'bad' })[0]!.message).toBe(
      'The meter m gives figures that cannot be trusted: quality bad.',
    );
  });

  it('that answers with figures that stand still is bad, one that does not answer is silent', () => {
    const reading = meterReading(0, 1000, { quality: 'stale' });
    expect(ofMeter({ quality: 'stale', reading })[0]!.code).toBe('meter-bad');
    expect(ofMeter({ quality: 'stale', reading, failure: timeout })[0]!.code).toBe('meter-silent');
    expect(ofMeter({ quality: 'stale', reading: meterReading(0, 1000) })[0]!.code).toBe('meter-silent');
  });

  it('that is silent says for how long, why, and what to do', () => {
    const reading = meterReading(0, 1000);
    expect(ofMeter({ quality: 'stale', reading, ageMs: 12_400, failure: timeout, limit: 'a' })).toEqual([
      {
        code: 'meter-silent',
        severity: 'critical',
        target: 'm',
        message: 'The meter m has been silent for 12 s: no answer within 2 s. It measures a.',
        nextStep: 'Run `switchyard meter m` on the gateway.',
      },
    ]);
    expect(ofMeter({ quality: 'stale', reading, ageMs: 12_400 })[0]!.message).toBe(
      'The meter m has been silent for 12 s.',
    );
    expect(ofMeter({ quality: 'stale', reading, ageMs: null })[0]!.message).toContain('silent for 0 s');
    expect(ofMeter({ quality: 'missing', ageMs: null })[0]!.message).toBe(
      'The meter m has not answered yet.',
    );
    expect(
      ofMeter({ quality: 'missing', failure: { ...timeout, hint: 'Look at the fuse.' } })[0],
    ).toMatchObject({
      message: 'The meter m has not answered yet: no answer within 2 s.',
      nextStep: 'Look at the fuse.',
    });
  });

  it('that answers without a total power is named as that; one that failed just now is silent', () => {
    const reading = meterReading(0, null);
    expect(ofMeter({ quality: 'missing', reading, limit: 'b' })).toEqual([
      {
        code: 'meter-without-power',
        severity: 'critical',
        target: 'm',
        message: 'The meter m answers but gives no total power. It measures b.',
        nextStep: 'Check that the profile fits the meter.',
      },
    ]);
    expect(ofMeter({ quality: 'missing', reading, failure: timeout })[0]!.code).toBe('meter-silent');
  });
});

describe('a device', () => {
  it('that works is no trouble', () => {
    expect(ofDevice({})).toEqual([]);
    expect(ofDevice({ reading: gpuNodeReading(0, 2, 300, 500), kind: 'gpu-node' })).toEqual([]);
    expect(ofDevice({ inventory: 'expected', reading: null })).toEqual([]);
  });

  it('that does not answer is told, as fresh for its first minute', () => {
    expect(ofDevice({ inventory: 'absent', failure: timeout, ageMs: 60_000, failures: 3 })).toEqual([
      {
        code: 'device-silent',
        severity: 'minor',
        target: 'd',
        message: 'd does not answer: no answer within 2 s',
        nextStep:
          'Check its network and supply; it keeps its power reservation until its meter shows the watts gone.',
      },
    ]);
    expect(ofDevice({ inventory: 'absent', ageMs: 59_999 })[0]).toMatchObject({
      fresh: true,
      message: 'd does not answer: no reply',
    });
    // One that was last seen in an earlier life of the agent has no age: its failures count.
    expect(ofDevice({ inventory: 'absent', ageMs: null, failures: 5 })[0]!.fresh).toBe(true);
    expect(ofDevice({ inventory: 'absent', ageMs: null, failures: 6 })[0]).not.toHaveProperty('fresh');
    expect(
      ofDevice({ inventory: 'absent', failure: { ...timeout, hint: 'Look at the switch.' } })[0]!.nextStep,
    ).toBe('Look at the switch.');
  });

  it('whose place another machine has taken is told with what to do', () => {
    const failure = { kind: 'wrong-device', message: 'bb answers in the place of aa' } as const;
    expect(ofDevice({ failure })).toEqual([
      {
        code: 'wrong-device',
        severity: 'major',
        target: 'd',
        message: 'bb answers in the place of aa',
        nextStep: 'If it was exchanged on purpose, run `switchyard replace d`.',
      },
    ]);
    expect(ofDevice({ failure: { ...failure, hint: 'Ask.' } })[0]!.nextStep).toBe('Ask.');
    expect(ofDevice({ failure: timeout })).toEqual([]);
  });

  it('that reports a fault of its own is told with its first error, as long as it answers', () => {
    const errors = [
      { code: '541', message: 'Hash board 1 has lost 3 chips' },
      { code: '110', message: 'Fan' },
    ];
    const reading = minerReading(0, { state: 'fault', errors } as never);
    expect(ofDevice({ reading })).toEqual([
      {
        code: 'miner-fault',
        severity: 'minor',
        target: 'd',
        message: 'd reports a fault: Hash board 1 has lost 3 chips (541).',
        nextStep: 'Run `switchyard miner d` and look at its boards.',
      },
    ]);
    expect(ofDevice({ reading: minerReading(0, { state: 'fault' }) })[0]!.message).toBe('d reports a fault.');
    expect(ofDevice({ reading, inventory: 'held' })).toEqual([]);
  });

  it('whose pools reject 5 % of its shares or more is told with what to look at', () => {
    const rejecting = (rejectedPercent: number | null) =>
      ofDevice({ reading: minerReading(0, { rejectedPercent }) });
    expect(rejecting(7.96)).toEqual([
      {
        code: 'rejects-shares',
        severity: 'minor',
        target: 'd',
        message: 'Pools rejected 7 % of the shares of d since it began to count: that work is not paid.',
        nextStep: 'Look at its pool and clock, or its overclock.',
      },
    ]);
    expect(rejecting(5)).toHaveLength(1);
    expect(rejecting(4.99)).toEqual([]);
    expect(rejecting(0)).toEqual([]);
    expect(rejecting(null)).toEqual([]);
    const reading = minerReading(0, { rejectedPercent: 50 });
    expect(ofDevice({ reading, inventory: 'absent' }).map(({ code }) => code)).not.toContain(
      'rejects-shares',
    );
  });

  it('that no pool takes work from is told with the first of them, while it should work', () => {
    const pool = (url: string, status: 'alive' | 'dead' | 'disabled' | 'rejecting' | 'unknown') => ({
      url,
      status,
      user: null,
      priority: null,
    });
    const of = (state: MinerReading['state'], ...pools: ReturnType<typeof pool>[]) =>
      ofDevice({ reading: minerReading(0, { state, pools }) });
    expect(of('hashing', pool('stratum+tcp://one:3333', 'dead'), pool('two', 'disabled'))).toEqual([
      {
        code: 'pools-dead',
        severity: 'minor',
        target: 'd',
        message: 'No pool takes work from d: stratum+tcp://one:3333 does not answer it.',
        nextStep:
          "Check the way out of the site (name server, firewall), then the pool's own status page. Its power stays reserved: it may be back in any second.",
      },
    ]);
    expect(of('unknown', pool('', 'dead'), pool('two', 'dead'), pool('', 'dead'))[0]?.message).toBe(
      'No pool takes work from d: two and 2 more do not answer it.',
    );
    expect(of('unknown', pool('', 'dead'))[0]?.message).toBe(
      'No pool takes work from d: its pool does not answer it.',
    );
    for (const state of ['sleeping', 'stopped', 'starting'] as const)
      expect(of(state, pool('one', 'dead'))).toEqual([]);
    for (const other of ['alive', 'unknown'] as const)
      expect(of('hashing', pool('one', 'dead'), pool('two', other))).toEqual([]);
    // Its rejects are told already.
    expect(of('hashing', pool('one', 'dead'), pool('two', 'rejecting')).map(({ code }) => code)).toEqual([
      'pool-rejects',
    ]);
    expect(of('hashing')).toEqual([]);
    expect(of('hashing', pool('one', 'disabled'))).toEqual([]);
  });

  it('that has set a pool aside for its rejects is told with that pool', () => {
    const pool = (url: string, status: 'alive' | 'dead' | 'disabled' | 'rejecting' | 'unknown') => ({
      url,
      status,
      user: null,
      priority: null,
    });
    const of = (...pools: ReturnType<typeof pool>[]) => ofDevice({ reading: minerReading(0, { pools }) });
    expect(of(pool('stratum+tcp://one:3333', 'rejecting'), pool('stratum+tcp://two:3333', 'alive'))).toEqual([
      {
        code: 'pool-rejects',
        severity: 'minor',
        target: 'd',
        message: 'The pool stratum+tcp://one:3333 rejects share after share of d, which has set it aside.',
        nextStep:
          'Check its worker name at that pool; `switchyard miner d` shows which pool it works for now.',
      },
    ]);
    // One condition for a device, however many pools.
    expect(of(pool('', 'rejecting'), pool('two', 'rejecting')).map(({ message }) => message)).toEqual([
      'A pool rejects share after share of d, which has set it aside.',
    ]);
    expect(of(pool('a', 'alive'), pool('b', 'dead'), pool('c', 'disabled'), pool('d', 'unknown'))).toEqual(
      [],
    );
    const reading = minerReading(0, { pools: [pool('a', 'rejecting')] });
    expect(ofDevice({ reading, inventory: 'held' })).toEqual([]);
  });

  it('with GPUs that cannot be read says how many of them', () => {
    const node = gpuNodeReading(0, 3, 300, 500);
    const gpus = node.gpus.map((gpu, n) => (n === 1 ? { ...gpu, state: 'lost' as never } : gpu));
    expect(ofDevice({ kind: 'gpu-node', reading: { ...node, gpus } })).toEqual([
      {
        code: 'gpu-fault',
        severity: 'major',
        target: 'd',
        message: '1 of 3 GPUs of d cannot be read; the node counts at its nameplate.',
        nextStep: 'Drain the node and look at its kernel log for Xid errors.',
      },
    ]);
  });
});

describe('a limit', () => {
  it('over its rating by a good measurement is critical, by anything less it is not', () => {
    expect(ofLimits(limitState('grid', { powerWatts: 100_000.6 }))).toEqual([
      {
        code: 'over-rating',
        severity: 'critical',
        target: 'grid',
        message: 'grid carries 100001 W, above its rating of 100000 W (145 A at 400 V).',
        nextStep: 'Reduce load below it now; the breaker, not the agent, protects the wire.',
      },
    ]);
    expect(ofLimits(limitState('grid', { powerWatts: 100_000 }))).toEqual([]);
    expect(ofLimits(limitState('grid', { powerWatts: 200_000, basis: 'estimated' }))).toEqual([]);
    expect(ofLimits(limitState('grid', { powerWatts: 200_000, quality: 'stale' }))).toEqual([]);
    expect(ofLimits(limitState('grid', { powerWatts: null }))).toEqual([]);
  });

  const below = (grid: Partial<LimitState>, a: Partial<LimitState>, b: Partial<LimitState> = {}) =>
    ofLimits(
      limitState('grid', { powerWatts: 50_000, ...grid }),
      limitState('a', { powerWatts: 20_000, ...a }),
      limitState('b', { powerWatts: 20_000, ...b }),
    ).map(({ code, target, message }) => `${code} ${target}: ${message}`);

  it('whose children draw more than it carries is told, losses included', () => {
    expect(below({}, { powerWatts: 30_000 })).toEqual([
      'meters-disagree grid: The meters below grid add up to 53000 W, its own shows 50000 W: one of them is wrong.',
    ]);
    // 5 % is allowed: 52,500 W.
    expect(below({}, { powerWatts: 29_545 })).toEqual([]);
    expect(below({}, { powerWatts: 29_546 })).toHaveLength(1);
    // And half a kilowatt where 5 % are less.
    expect(below({ powerWatts: 1000 }, { powerWatts: 1000 }, { powerWatts: 400 })).toEqual([]);
    expect(below({ powerWatts: 1000 }, { powerWatts: 1000 }, { powerWatts: 401 })).toHaveLength(1);
    // Export has a size as well.
    expect(below({ powerWatts: -20_000 }, { powerWatts: 0 }, { powerWatts: -19_001 })).toEqual([]);
    expect(below({ powerWatts: -20_000 }, { powerWatts: 0 }, { powerWatts: -18_999 })).toHaveLength(1);
  });

  it('is compared only with what was measured, well, and at the same time', () => {
    const high = { powerWatts: 40_000 };
    expect(below({}, high)).toHaveLength(1);
    expect(below({ basis: 'estimated' }, high)).toEqual([]);
    expect(below({ quality: 'stale' }, high)).toEqual([]);
    expect(below({ powerWatts: null }, high)).toEqual([]);
    expect(below({}, { ...high, basis: 'estimated' })).toEqual([]);
    expect(below({}, { ...high, quality: 'bad' })).toEqual([]);
    expect(below({}, { powerWatts: null }, { powerWatts: 51_000 })).toEqual([]);
    expect(below({}, { ...high, sampledAt: 63_000 })).toHaveLength(1);
    expect(below({}, { ...high, sampledAt: 63_001 })).toEqual([]);
    expect(below({}, { ...high, sampledAt: 57_000 })).toHaveLength(1);
    expect(below({}, { ...high, sampledAt: 56_999 })).toEqual([]);
    // One sample that is not of that time spoils the sum, whatever the others are.
    expect(below({}, { ...high, sampledAt: 50_000 }, high)).toEqual([]);
    expect(below({}, high, { ...high, sampledAt: 50_000 })).toEqual([]);
    expect(below({}, { ...high, sampledAt: null })).toEqual([]);
    expect(below({ sampledAt: null }, high)).toEqual([]);
    // Children whose figures are unknown leave nothing to compare, and a limit without children has none.
    const unknown = { powerWatts: null };
    expect(below({ powerWatts: -50_000 }, unknown, unknown)).toEqual([]);
    expect(ofLimits(limitState('a', { powerWatts: -50_000 }))).toEqual([]);
    expect(ofLimits(limitState('grid', { powerWatts: 10 }), limitState('a'))).toHaveLength(1);
  });
});

describe('the book of alarms', () => {
  const condition = (code: string, severity: Condition['severity'], target = 't'): Condition => ({
    code,
    severity,
    target,
    message: `${target} has ${code}`,
    nextStep: 'look',
  });

  it('has the worst first, then the oldest, then by name', () => {
    const book = new AlarmBook();
    const all = [
      condition('b', 'minor'),
      condition('i', 'info'),
      condition('a', 'minor'),
      condition('m', 'major'),
      condition('c', 'critical'),
    ];
    book.update([condition('z', 'minor')], 10);
    book.update([...all, condition('z', 'minor')], 20);
    expect(book.active().map(({ id }) => id)).toEqual(['c:t', 'm:t', 'z:t', 'a:t', 'b:t', 'i:t']);
    expect(book.get('z:t')).toMatchObject({ since: 10, acknowledgedBy: null, severity: 'minor' });
    expect(book.get('q:t')).toBeNull();
    const reverse = new AlarmBook();
    reverse.update([...all].reverse(), 20);
    expect(reverse.active().map(({ id }) => id)).toEqual(['c:t', 'm:t', 'a:t', 'b:t', 'i:t']);
  });

  it('tells what was raised and cleared, as events', () => {
    const book = new AlarmBook();
    const { raised } = book.update([condition('x', 'minor'), condition('y', 'minor', 'u')], 5);
    const { cleared, raised: more } = book.update([condition('y', 'minor', 'u')], 9);
    expect(more).toEqual([]);
    expect(alarmEvents(raised, cleared, 9)).toEqual([
      { epochMs: 9, kind: 'alarm', target: 't', message: 't has x', detail: { code: 'x' } },
      { epochMs: 9, kind: 'alarm', target: 'u', message: 'u has y', detail: { code: 'y' } },
      { epochMs: 9, kind: 'alarm-cleared', target: 't', message: 't has x', detail: { code: 'x' } },
    ]);
  });
});
