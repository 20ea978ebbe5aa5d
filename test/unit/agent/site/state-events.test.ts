import { describe, expect, it } from 'vitest';
import { SiteState } from '../../../../agent/site/state.ts';
import type { Identity } from '../../../../drivers/load-driver.ts';
import { gpuNodeReading, meterReading, minerReading } from '../../../support/readings.ts';
import { deviceModel, limitModel, siteModel } from '../../../support/site-states.ts';

const model = {
  ...siteModel(
    [limitModel('grid', { meterId: 'gm' })],
    [
      deviceModel('a', { address: '10.1.0.1:4028' }),
      deviceModel('b', { address: '10.1.0.2:4028' }),
      deviceModel('n', { kind: 'gpu-node' }),
    ],
  ),
  meters: [{ id: 'gm', name: 'gm', profile: 'x', limit: 'grid', intervalMs: 1000 }],
};
const open = () => new SiteState(model, { meterStaleMs: 5000, deviceStaleMs: 30_000 });
const identity = (value: string): Identity => ({
  basis: 'mac',
  value,
  vendor: null,
  model: null,
  firmware: 'luxos',
  firmwareVersion: null,
  macAddress: value,
  serialNumber: null,
});
const timeout = { kind: 'timeout', message: 'no answer' } as const;
const device = (state: SiteState, n = 0, now = 2000) => state.freeze(now, 0).devices[n]!;

describe('what happens to devices is told once, with who and what', () => {
  it('when one answers for the first time, falls silent at the third failure, and answers again', () => {
    const state = open();
    state.recordReading('a', minerReading(1000), 1);
    state.recordReading('a', minerReading(1500), 2);
    state.recordFailure('a', timeout, 3);
    state.recordReading('a', minerReading(1600), 4);
    for (let n = 0; n < 4; n += 1) state.recordFailure('a', timeout, 5 + n);
    expect(device(state)).toMatchObject({ inventory: 'absent', failures: 4, failure: timeout });
    state.recordReading('a', minerReading(2000), 9);
    expect(device(state)).toMatchObject({ inventory: 'present', failures: 0, failure: null });
    expect(state.drainEvents()).toEqual([
      { epochMs: 1, kind: 'present', target: 'a', message: 'answers for the first time' },
      { epochMs: 7, kind: 'absent', target: 'a', message: 'no answer', detail: { failure: 'timeout' } },
      { epochMs: 9, kind: 'present', target: 'a', message: 'answers again' },
    ]);
    expect(state.drainEvents()).toEqual([]);
  });

  it('when a miner does something else than before, with since when', () => {
    const state = open();
    state.recordReading('a', minerReading(1000), 1);
    state.drainEvents();
    state.recordReading('a', minerReading(1500), 2);
    expect(device(state).stateSince).toBe(1000);
    state.recordReading('a', minerReading(1700, { state: 'sleeping' }), 3);
    expect(device(state).stateSince).toBe(1700);
    expect(state.drainEvents()).toEqual([
      { epochMs: 3, kind: 'state', target: 'a', message: 'hashing -> sleeping' },
    ]);
  });

  it('when caps of a node change, by whom, and how many', () => {
    const state = open();
    const capped = (sampledAt: number, ...watts: number[]) => {
      const node = gpuNodeReading(sampledAt, watts.length, 300, 700);
      return {
        ...node,
        gpus: node.gpus.map((gpu, n) => ({
          ...gpu,
          requestedLimitWatts: watts[n]!,
          enforcedLimitWatts: watts[n]!,
        })),
      };
    };
    state.recordReading('n', capped(1000, 700, 700, 700), 1);
    state.drainEvents();
    state.recordReading('n', capped(2000, 500, 700, 700), 2);
    state.recordReading('n', capped(3000, 400, 400, 400), 3);
    state.recordReading('n', capped(4000, 400, 400, 400), 4);
    // A node has no state of its own that would begin anew.
    expect(device(state, 2, 4000).stateSince).toBe(1000);
    const [first, second, ...more] = state.drainEvents();
    expect(more).toEqual([]);
    expect(first).toEqual({
      epochMs: 2,
      kind: 'cap-changed',
      target: 'n',
      message: 'caps changed: GPU-0 from 700 W to 500 W by software',
      detail: { gpus: [{ uuid: 'GPU-0', fromWatts: 700, toWatts: 500, by: 'software' }] },
    });
    expect(second!.message).toBe('caps changed: GPU-0 from 500 W to 400 W by software and 2 more');
  });

  it('when a meter fails twice in a row', () => {
    const state = open();
    for (let n = 0; n < 3; n += 1) state.recordMeterFailure('gm', timeout, n);
    expect(state.freeze(0, 0).meters[0]).toMatchObject({ failures: 3, failure: timeout, quality: 'missing' });
    expect(state.drainEvents()).toEqual([
      {
        epochMs: 1,
        kind: 'meter-silent',
        target: 'gm',
        message: 'no answer',
        detail: { failure: 'timeout' },
      },
    ]);
    state.recordMeter('gm', meterReading(0, 100));
    expect(state.freeze(0, 0).meters[0]).toMatchObject({ failures: 0, failure: null, quality: 'good' });
  });

  it('and no more than five thousand are kept, the newest', () => {
    const state = open();
    for (let n = 0; n < 5003; n += 1)
      state.recordReading('a', minerReading(n, { state: n % 2 === 0 ? 'hashing' : 'sleeping' }), n);
    const events = state.drainEvents();
    expect(events).toHaveLength(5000);
    expect(events[0]!.epochMs).toBe(3);
    expect(events.at(-1)!.epochMs).toBe(5002);
  });
});

describe('who stands where', () => {
  it('another identity than before is told; the first one, and one after forgetting, is not', () => {
    const state = open();
    expect(state.identityOf('a')).toBeNull();
    state.recordIdentity('a', identity('aa'), 1);
    state.recordIdentity('a', identity('bb'), 2);
    state.forgetIdentity('a');
    expect(state.identityOf('a')).toBeNull();
    state.recordIdentity('a', identity('cc'), 3);
    expect(device(state).identity).toEqual(identity('cc'));
    expect(state.drainEvents()).toEqual([
      { epochMs: 2, kind: 'swapped', target: 'a', message: 'aa was replaced by bb' },
    ]);
  });

  it('who it was before the agent started is taken without a word', () => {
    const state = open();
    state.restoreIdentity('a', identity('aa'), '10.9.9.9:4028');
    expect(device(state)).toMatchObject({ identity: { value: 'aa' }, address: '10.9.9.9:4028' });
    expect(state.drainEvents()).toEqual([]);
    state.recordIdentity('a', identity('bb'), 2);
    expect(state.drainEvents()).toHaveLength(1);
  });

  it('a stranger is told once, and again when the place was its own in between', () => {
    const state = open();
    const stranger = (value: string, who: Parameters<SiteState['recordStranger']>[2]) =>
      state.recordStranger('a', identity(value), who, 5);
    stranger('xx', { kind: 'unknown' });
    stranger('xx', { kind: 'unknown' });
    state.recordIdentity('a', identity('aa'), 6);
    stranger('xx', { kind: 'elsewhere', device: 'b' });
    stranger('yy', { kind: 'twin', device: 'b' });
    expect(state.drainEvents().map(({ kind, target, message }) => `${kind} ${target}: ${message}`)).toEqual([
      'swapped a: xx answers in the place of a',
      'swapped a: xx, known as b, answers in the place of aa',
    ]);
  });

  it('machines that changed places take their ids along, and what failed at the old place is forgotten', () => {
    const state = open();
    state.recordIdentity('a', identity('aa'), 1);
    state.recordStranger('a', identity('bb'), { kind: 'unknown' }, 1);
    for (const id of ['a', 'b']) for (let n = 0; n < 2; n += 1) state.recordFailure(id, timeout, 1);
    state.drainEvents();
    state.recordMove('a', 'b', (id) => (id === 'a' ? '10.1.0.2:4028' : '10.1.0.1:4028'), 7);
    expect(device(state, 0)).toMatchObject({ address: '10.1.0.2:4028', failures: 0, failure: null });
    expect(device(state, 1)).toMatchObject({ address: '10.1.0.1:4028', failures: 0, failure: null });
    expect(state.drainEvents()).toEqual([
      {
        epochMs: 7,
        kind: 'moved',
        target: 'a',
        message: "a (aa) answers at 10.1.0.2:4028 now, which was b's",
      },
    ]);
    // The stranger of before would be one again.
    state.recordStranger('a', identity('bb'), { kind: 'unknown' }, 8);
    expect(state.drainEvents()).toHaveLength(1);
    state.recordMove('b', 'a', () => 'z', 9);
    expect(state.drainEvents()[0]!.message).toBe("b (unknown) answers at z now, which was a's");
  });

  it('those that were never read, or fail now, are lost at their own place', () => {
    const state = open();
    state.recordReading('a', minerReading(0), 0);
    state.recordReading('b', minerReading(0), 0);
    state.recordFailure('b', timeout, 0);
    state.recordIdentity('a', identity('aa'), 0);
    expect(state.known()).toEqual([
      { id: 'a', entry: 'hall', identity: identity('aa'), lost: false },
      { id: 'b', entry: 'hall', identity: null, lost: true },
      { id: 'n', entry: 'hall', identity: null, lost: true },
    ]);
  });

  it('what people say of a device holds: held, released, removed until it answers, seen before', () => {
    const state = open();
    state.restoreSeen(['a', 'nobody']);
    expect(device(state).inventory).toBe('present');
    state.setRemoved('a', true);
    expect(device(state).inventory).toBe('present');
    state.recordFailure('a', timeout, 0);
    expect(device(state).inventory).toBe('removed');
    state.setHeld('a', true);
    expect(device(state).inventory).toBe('held');
    state.setHeld('a', false);
    state.setRemoved('a', false);
    for (let n = 0; n < 2; n += 1) state.recordFailure('a', timeout, 0);
    expect(device(state).inventory).toBe('absent');
  });

  it('of a device or meter that is not configured nothing is kept', () => {
    const state = open();
    const before = state.freeze(0, 0);
    state.recordIdentity('x', identity('aa'), 0);
    state.restoreIdentity('x', identity('aa'), 'y');
    state.recordStranger('x', identity('aa'), { kind: 'unknown' }, 0);
    state.recordReading('x', minerReading(0), 0);
    state.recordFailure('x', timeout, 0);
    state.recordMeter('x', meterReading(0, 1));
    state.recordMeterFailure('x', timeout, 0);
    state.recordMeterFailure('x', timeout, 0);
    state.setHeld('x', true);
    state.setRemoved('x', true);
    state.forgetIdentity('x');
    expect(state.identityOf('x')).toBeNull();
    expect(state.drainEvents()).toEqual([]);
    expect(state.freeze(0, 0)).toEqual({ ...before, cycle: 2 });
    state.recordMove('x', 'a', () => '10.3.0.1', 0);
    expect(device(state).address).toBe('10.3.0.1');
  });
});
