import { describe, expect, it } from 'vitest';
import { AlarmBook, conditionsOf } from '../../../../agent/site/alarms.ts';
import { groupByCause, placesOf } from '../../../../agent/site/first-cause.ts';
import { buildSiteModel } from '../../../../agent/site/model.ts';
import { SiteState } from '../../../../agent/site/state.ts';
import { loadConfigText } from '../../../../config/load.ts';
import type { Identity } from '../../../../drivers/load-driver.ts';
import { meterReading, minerReading } from '../../../support/readings.ts';

const text = `
site: { id: t }
limits:
  - { id: grid, rating: 100 kW, meter: gm, authority: full }
  - { id: feeder, parent: grid, rating: { amps: 100, volts: 400, phases: 3 }, continuous: true, losses: 1.1 }
loads: [{ id: fans, limit: grid, worst: 5 kW }]
meters: [{ id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1 } }]
miners: [{ id: m, limit: feeder, hosts: [10.0.0.1-10.0.0.10] }]
`;

function site() {
  const loaded = loadConfigText(text);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const model = buildSiteModel(loaded.value.config, loaded.value.miners);
  return { model, state: new SiteState(model, { meterStaleMs: 5000, deviceStaleMs: 30_000 }) };
}

const silent = { kind: 'timeout', message: '10.0.0.1:4028 did not answer within 2 s.' } as const;
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

describe('buildSiteModel', () => {
  it('turns amperes into watts, takes 80 % for continuous load and inherits authority', () => {
    const { model } = site();
    expect(model.limits[1]).toMatchObject({
      ratingWatts: Math.floor(Math.sqrt(3) * 400 * 100 * 0.8),
      gain: 1.1,
      authority: 'full',
    });
  });
});

describe('SiteState', () => {
  it('never shows an unread device as 0 W, and estimates a limit from what is known', () => {
    const { state } = site();
    let snapshot = state.freeze(1000, 0);
    expect(snapshot.devices[0]).toMatchObject({ inventory: 'expected', reading: null, quality: 'missing' });
    expect(snapshot.limits[1]).toMatchObject({ powerWatts: null, quality: 'missing' });
    state.recordReading('m-001', minerReading(1500), 0);
    snapshot = state.freeze(2000, 0);
    expect(snapshot.limits[1]).toMatchObject({
      powerWatts: 2760,
      basis: 'estimated',
      quality: 'estimated',
      ageMs: 500,
    });
    expect(snapshot.limits[0]!.powerWatts).toBeCloseTo(5000 + 2760 * 1.1, 6);
    state.recordReading('m-002', minerReading(1500, { powerWatts: null, powerSource: null }), 0);
    expect(state.freeze(2000, 0).limits[1]).toMatchObject({ quality: 'bad' });
  });

  it('prefers the meter, and calls it stale or bad as it deserves', () => {
    const { state } = site();
    state.recordMeter('gm', meterReading(1000, 42_000));
    expect(state.freeze(1200, 0).limits[0]).toMatchObject({
      powerWatts: 42_000,
      basis: 'measured',
      quality: 'good',
    });
    expect(state.freeze(6500, 0).limits[0]).toMatchObject({ basis: 'measured', quality: 'stale' });
    for (let second = 0; second < 30; second += 1)
      state.recordMeter('gm', meterReading(10_000 + second * 1000, 42_000));
    expect(state.freeze(39_100, 0).limits[0]).toMatchObject({ basis: 'estimated' });
    expect(state.freeze(39_100, 0).meters[0]).toMatchObject({ quality: 'bad' });
  });

  it('lets a device that was once there keep its place, and tells what happened', () => {
    const { state } = site();
    state.recordReading('m-001', minerReading(0), 1);
    for (let index = 0; index < 3; index += 1) state.recordFailure('m-001', silent, 2);
    for (let index = 0; index < 9; index += 1) state.recordFailure('m-002', silent, 2);
    const snapshot = state.freeze(5000, 3);
    expect(snapshot.devices.map((device) => device.inventory).slice(0, 2)).toEqual(['absent', 'expected']);
    expect(state.drainEvents().map((event) => event.kind)).toEqual(['present', 'absent']);
    state.setHeld('m-001', true);
    expect(state.freeze(5000, 3).devices[0]?.inventory).toBe('held');
  });

  it('notices that another machine was put in the place of one', () => {
    const { state } = site();
    state.recordIdentity('m-002', identity('bb'), 0);
    state.recordIdentity('m-002', identity('bb'), 0);
    state.recordIdentity('m-002', identity('cc'), 0);
    expect(state.drainEvents().map((event) => `${event.kind} ${event.target}`)).toEqual(['swapped m-002']);
  });
});

describe('alarms', () => {
  it('is one alarm when a switch dies, and one each when single devices do', () => {
    const { model, state } = site();
    const fail = (count: number) => {
      for (let index = 1; index <= count; index += 1) {
        const id = `m-${String(index).padStart(3, '0')}`;
        state.recordReading(id, minerReading(0), 0);
        for (let times = 0; times < 3; times += 1) state.recordFailure(id, silent, 0);
      }
    };
    fail(2);
    state.recordMeter('gm', meterReading(61_000, 1));
    const conditions = () => {
      const snapshot = state.freeze(61_000, 0);
      return groupByCause(conditionsOf(model, snapshot), () => placesOf(model, snapshot));
    };
    expect(conditions().map((condition) => condition.code)).toEqual(['device-silent', 'device-silent']);
    fail(7);
    expect(conditions().map((condition) => `${condition.code} ${condition.count}`)).toEqual([
      'group-silent 7',
    ]);
  });

  it('keeps its beginning and acknowledgement, and clears', () => {
    const book = new AlarmBook();
    const condition = { code: 'x', severity: 'minor', target: 't', message: 'm', nextStep: 'n' } as const;
    expect(book.update([condition], 10).raised).toHaveLength(1);
    const seen = { 'x:t': { who: 'jo', since: 10 } };
    expect(book.update([condition], 20, seen).raised).toHaveLength(0);
    expect(book.active()[0]).toMatchObject({ since: 10, acknowledgedBy: 'jo' });
    expect(book.update([], 30).cleared).toHaveLength(1);
    expect(book.active()).toEqual([]);
    // After a restart it is the same alarm still.
    const again = new AlarmBook();
    again.update([condition], 500, seen);
    expect(again.get('x:t')).toMatchObject({ since: 10, acknowledgedBy: 'jo' });
  });
});
