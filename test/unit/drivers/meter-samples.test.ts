import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { meterProfile } from '../../../config/meters/profiles.ts';
import { CounterWatch } from '../../../drivers/meter/counters.ts';
import { contradictions } from '../../../drivers/meter/quality.ts';
import { RefreshWatch } from '../../../drivers/meter/refresh.ts';
import { mayBeTorn } from '../../../drivers/meter/torn.ts';
import { openMeter } from '../../../drivers/modbus-meter.ts';
import { BusPool } from '../../../protocols/modbus/bus-pool.ts';
import { encodeNumber, WORD_ORDERS } from '../../../protocols/modbus/values.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { serveMeter } from '../../../simulator/meter.ts';
import { mbap, modbusPeer, readPdu } from '../../support/modbus-peer.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;

describe('a pair of registers caught between two refreshes', () => {
  test.each(WORD_ORDERS)('is suspected in either half, in %s order', (order) => {
    const words = (value: number) => encodeNumber('i32', order, value);
    const low = order === 'lsw' || order === 'dcba' ? 0 : 1;
    const [before, now] = [words(65_530), words(65_560)];
    // New high word with the old low one, and the other way round: 65,536 off, one way or the other.
    const newHigh = [...now];
    newHigh[low] = before[low]!;
    const newLow = [...before];
    newLow[low] = now[low]!;
    expect(mayBeTorn('i32', order, before, newHigh)).toBe(true);
    expect(mayBeTorn('i32', order, before, newLow)).toBe(true);
    expect(mayBeTorn('i32', order, before, now)).toBe(false);
    const float = (value: number) => encodeNumber('f32', order, value);
    const torn = [...float(4097.3)];
    torn[low] = float(12_345.67)[low]!;
    expect(mayBeTorn('f32', order, float(12_345.67), torn)).toBe(true);
  });

  test('is never suspected in the small steps of a steady load', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -2_000_000_000, max: 2_000_000_000 }),
        fc.integer({ min: -60_000, max: 60_000 }),
        (value, step) => {
          const [before, after] = [
            encodeNumber('i32', 'msw', value),
            encodeNumber('i32', 'msw', value + step),
          ];
          if (before[1] === after[1]) return;
          expect(mayBeTorn('i32', 'msw', before, after)).toBe(false);
        },
      ),
    );
  });

  test('is read again before it is believed', async () => {
    const clock = new VirtualClock();
    const buses = new BusPool({ clock, random: seededRandom(1) });
    // 0.01 W steps: 655.30 W, then a torn 1,310.66 W, then the truth, 655.60 W.
    let answers = [65_530];
    let asked = 0;
    const peer = await modbusPeer('mbap', (request) => {
      const words = new Array<number>(request.count).fill(0);
      const at = 23_316 - request.address;
      if (at >= 0 && at + 1 < request.count) {
        words.splice(at, 2, ...encodeNumber('i32', 'msw', answers[0]!));
        if (answers.length > 1) answers = answers.slice(1);
        asked += 1;
      }
      request.socket.write(mbap(request.transactionId, request.unit, readPdu(request.functionCode, words)));
    });
    const meter = openMeter(
      {
        id: 'm',
        profile: 'abb-b23-b24',
        transport: { kind: 'modbus-tcp', host: peer.host, port: peer.port, unit: 1 },
      },
      { clock, buses },
    );
    const read = async () => {
      const result = await meter.read(never);
      return result.ok ? result.value.powerWatts : null;
    };
    expect(await read()).toBe(655.3);
    await clock.advance(1000);
    asked = 0;
    expect(await read()).toBe(655.3);
    const usual = asked;
    await clock.advance(1000);
    asked = 0;
    answers = [131_066, 65_560];
    expect(await read()).toBe(655.6);
    expect(asked).toBeGreaterThan(1);
    expect(asked).toBeLessThanOrEqual(usual + 1);
    await buses[Symbol.asyncDispose]();
    await peer.close();
  });
});

describe('an energy counter', () => {
  const run = (...values: number[]) => {
    const watch = new CounterWatch();
    return values.map((value, index) => watch.note(value, index * 1000)).at(-1);
  };
  test.each([
    ['that runs on', [1000, 1001, 1001], null],
    ['that was reset', [5_432_100, 5_432_200, 0], 'reset'],
    ['that was reset and ran on', [5_432_100, 1200], 'reset'],
    ['of eight digits that begins again', [99_999_990_000, 12_000], 'rollover'],
    ['of 32 bits in 10 Wh that begins again', [42_949_672_900, 1000], 'rollover'],
    ['that runs backwards', [5_432_100, 5_431_100], 'backwards'],
    ['that leaps', [5_432_100, 9_432_100_000], 'leap'],
    ['of floats that wavers in the last digit', [1_000_000_000, 999_999_936], null],
  ] as const)('%s', (_, values, expected) => {
    expect(run(...values)).toBe(expected);
  });

  test('that was reset begins a new segment of energy, and the power stays good', async () => {
    const clock = new VirtualClock();
    const buses = new BusPool({ clock, random: seededRandom(1) });
    let importWattHours = 5_000_000;
    const server = await serveMeter({
      profile: 'schneider-pm5560',
      host: '127.0.0.1',
      port: 0,
      unit: 1,
      readings: () => ({ powerWatts: 5000, importWattHours }),
      clock,
      random: seededRandom(2),
    });
    const transport = { kind: 'modbus-tcp', ...server.address, unit: 1 } as const;
    const meter = openMeter({ id: 'm', profile: 'schneider-pm5560', transport }, { clock, buses });
    const segments: number[] = [];
    for (let second = 0; second < 30; second += 1) {
      if (second === 10) importWattHours = 0;
      const result = await meter.read(never);
      if (!result.ok) throw new Error(result.error.message);
      expect(result.value.quality).toBe('good');
      segments.push(result.value.energySegment);
      // In steps, so that the slow request in between finds its answer before its time is over.
      for (let step = 0; step < 20; step += 1) await clock.advance(50);
      importWattHours += 1;
    }
    expect(segments.slice(0, 10)).toEqual(new Array(10).fill(0));
    expect(segments.at(-1)).toBe(1);
    await buses[Symbol.asyncDispose]();
    await server.close();
  });
});

describe('current transformers', () => {
  const phases = (l1: number, l2: number, l3: number) =>
    contradictions(
      {
        powerWatts: l1 + l2 + l3,
        phaseWatts: { l1, l2, l3 },
        apparentVoltAmperes: null,
        voltageVolts: { l1: 230, l2: 230, l3: 230 },
        currentAmps: { l1: Math.abs(l1 / 225), l2: Math.abs(l2 / 225), l3: Math.abs(l3 / 225) },
        frequencyHz: 50,
        powerFactor: null,
        stepWatts: 1,
      },
      { nominalVolts: null, ratedAmps: null },
    ).join();

  test('mounted backwards on one phase are noticed although the sum agrees with itself', () => {
    expect(phases(11_500, -11_400, 11_600)).toContain('phase l2 runs against');
    expect(phases(-11_500, 11_400, -11_600)).toContain('phase l2 runs against');
  });
  test('are not doubted for an idle phase or for export', () => {
    expect(phases(11_500, -5, 11_600)).toBe('');
    expect(phases(-11_500, -11_400, -11_600)).toBe('');
    expect(phases(11_500, 200, 300)).toBe('');
  });
});

describe('the refresh of a meter', () => {
  test.each([100, 200, 500, 1000])('of %i ms is measured by reading at 10 Hz', (refresh) => {
    const watch = new RefreshWatch(null);
    for (let now = 0; now <= 6000; now += 100) watch.note(String(Math.floor(now / refresh)), now);
    expect(watch.refreshMs).toBeGreaterThanOrEqual(refresh * 0.9);
    expect(watch.refreshMs).toBeLessThanOrEqual(refresh * 1.25);
  });
  test('stays unknown when it is read slowly, or when nothing moves', () => {
    const slow = new RefreshWatch(null);
    const frozen = new RefreshWatch(null);
    for (let now = 0; now <= 60_000; now += 1000) slow.note(String(now), now);
    for (let now = 0; now <= 60_000; now += 100) frozen.note('same', now);
    expect([slow.refreshMs, frozen.refreshMs]).toEqual([null, null]);
  });
  test('that the map tells is taken from it', () => {
    expect(new RefreshWatch(meterProfile('eig-shark200')!.refreshMs ?? 100).refreshMs).toBe(100);
  });
});
