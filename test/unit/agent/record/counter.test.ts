import { describe, expect, it } from 'vitest';
import { type CounterSample, CounterTrack, joinMinutes } from '../../../../agent/record/counter.ts';

const START = 1_790_000_000_000 - (1_790_000_000_000 % 60_000);

function at(seconds: number, wattHours: number | null, more: Partial<CounterSample> = {}): CounterSample {
  return {
    ts: START + seconds * 1000,
    importWattHours: wattHours,
    exportWattHours: 0,
    powerWatts: 3600,
    serialNumber: 'a',
    ...more,
  };
}
/** 3,600 W: one watt-hour a second. */
function run(
  from: number,
  to: number,
  step: number,
  change: (seconds: number) => Partial<CounterSample> = () => ({}),
) {
  const track = new CounterTrack(10_000);
  const minutes = [];
  for (let seconds = from; seconds <= to; seconds += step)
    minutes.push(...track.add({ ...at(seconds, 1000 + seconds), ...change(seconds) }));
  return minutes;
}

describe('a minute by the counter', () => {
  it('is OK with readings each second, and its integral agrees', () => {
    const [, second] = run(0.5, 200, 1);
    expect(second).toMatchObject({ quality: 'OK', basis: 'register', flags: [], samples: 60 });
    expect(second?.wattHours).toBeCloseTo(60, 6);
    expect(second?.integralWattHours).toBeCloseTo(60, 6);
  });

  it('is an estimate where a boundary falls into a gap; the span over the gap is not', () => {
    const minutes = run(0, 900, 1).length;
    expect(minutes).toBe(15);
    const track = new CounterTrack(10_000);
    const all = [];
    for (let seconds = 0; seconds <= 1800; seconds += 1)
      if (seconds < 300 || seconds > 420) all.push(...track.add(at(seconds, 1000 + seconds)));
    const hole = all.filter((minute) => minute.quality === 'ESTIMATED');
    expect(hole.map((minute) => (minute.start - START) / 60_000)).toEqual([4, 5, 6, 7]);
    const quarter = joinMinutes(all.slice(0, 15), 15);
    expect(quarter).toMatchObject({ quality: 'OK', basis: 'register' });
    expect(quarter.wattHours).toBeCloseTo(900, 6);
  });

  it('uses the integral, marked, where the counter starts again or another meter hangs there', () => {
    const reset = run(0, 200, 1, (seconds) => (seconds >= 90 ? { importWattHours: seconds } : {}));
    expect(reset[1]).toMatchObject({ quality: 'ESTIMATED', basis: 'integral', flags: ['counter-reset'] });
    expect(reset[1]?.wattHours).toBeCloseTo(60, 6);
    const swap = run(0, 200, 1, (seconds) =>
      seconds >= 90 ? { importWattHours: 9e6 + seconds, serialNumber: 'b' } : {},
    );
    expect(swap[1]).toMatchObject({ quality: 'ESTIMATED', flags: ['meter-swap'] });
    expect(swap[1]?.wattHours).toBeCloseTo(60, 6);
  });

  it('does not believe more energy than can flow', () => {
    const jump = run(0, 200, 1, (seconds) => (seconds >= 90 ? { importWattHours: 1e6 + seconds } : {}));
    expect(jump[1]).toMatchObject({ quality: 'BAD', flags: ['impossible-power'] });
  });

  it('is missing, not zero, without counter and power', () => {
    const silent = run(0, 200, 1, (seconds) =>
      seconds > 60 && seconds < 120 ? { importWattHours: null, powerWatts: null } : {},
    );
    expect(silent[1]).toMatchObject({ quality: 'MISSING', wattHours: null, basis: null });
    expect(joinMinutes(silent, 3)).toMatchObject({ quality: 'MISSING', wattHours: null });
  });

  it('finds a counter that stands still under load', () => {
    const frozen = run(0, 3700, 1, () => ({ importWattHours: 1000, powerWatts: 8000 }));
    expect(joinMinutes(frozen.slice(0, 60), 60)).toMatchObject({
      quality: 'BAD',
      flags: expect.arrayContaining(['counter-frozen']),
    });
  });

  it('goes on from the reading that an earlier life ended with', () => {
    const track = new CounterTrack(10_000, at(30, 1030));
    const minutes = [...track.add(at(95, 1095)), ...track.add(at(125, 1125))];
    expect(minutes[1]?.wattHours).toBeCloseTo(60, 6);
  });
});
