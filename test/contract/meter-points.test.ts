import { afterEach, describe, expect, test } from 'vitest';
import type { MeterPoint, MeterProfile } from '../../config/meters/profile.ts';
import { meterProfiles } from '../../config/meters/profiles.ts';
import type { MeterReading } from '../../drivers/load-driver.ts';
import { openMeter } from '../../drivers/modbus-meter.ts';
import type { ModbusTransport } from '../../protocols/modbus/bus-pool.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { tcpPath } from '../../protocols/modbus/connect.ts';
import { seededRandom } from '../../protocols/random.ts';
import { serveMeter } from '../../simulator/meter.ts';
import type { MeterState } from '../../simulator/meter-map.ts';
import { placedProfile, quantity } from '../../simulator/meter-map.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/**
 * Every point of every register map, served by the simulator and read back by the driver over each transport that
 * the meter is made for: what comes out is what was put in, to one step of the register.
 */
const PARAMETERS: Readonly<Record<string, number>> = {
  fullScaleVolts: 828,
  fullScaleAmps: 4000,
  fullScaleWatts: 828 * 4000 * 3,
  ampsPerCount: 0.01,
  wattsPerCount: 10,
  wattHoursPerCount: 1000,
  energyScale: 1000,
};
const LABELS = { serial: '20231234', model: 'M', firmware: '1', vendor: 'V' };
const never = new AbortController().signal;
const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step();
});

/** The transports of a map in the words of the configuration. */
function transportsOf(profile: MeterProfile): ModbusTransport['kind'][] {
  const kinds = new Set<ModbusTransport['kind']>();
  for (const text of profile.transports) {
    if (text.startsWith('tcp')) kinds.add('modbus-tcp');
    // A serial meter stands behind a transparent gateway as well as on the gateway's own line.
    else kinds.add('rtu').add('rtu-over-tcp');
  }
  return [...kinds];
}

/** How far a figure may stray from what was put in: half a step of its register, and what a float cannot hold. */
function tolerance(point: MeterPoint, truth: number, factors: MeterReading['points']): number {
  const { scale, type } = point;
  const float = type === 'f32' ? Math.abs(truth) * 2 ** -23 : Math.abs(truth) * 1e-12;
  const whole = type.startsWith('f') ? 0 : 0.5;
  if (typeof scale === 'number') {
    return whole * scale + float;
  }
  if (scale === null) return Number.POSITIVE_INFINITY;
  if ('parameter' in scale) return whole * PARAMETERS[scale.parameter]! + float;
  if ('factorOf' in scale) return whole * 10 ** Number(factors[scale.factorOf]) + float;
  const [low, high] = scale.lin3.map((limit) =>
    typeof limit === 'number'
      ? limit
      : PARAMETERS[limit.replace('-', '')]! * (limit.startsWith('-') ? -1 : 1),
  ) as [number, number];
  return (0.51 * (high - low)) / 9999;
}

function expectedOf(point: MeterPoint, state: MeterState): number | null {
  const truth = quantity(point.name, state, LABELS);
  if (truth === null) return null;
  return point.unit === '%' ? truth * 100 : truth;
}

const cases = [...meterProfiles().values()].flatMap((profile) =>
  transportsOf(profile).flatMap((kind) => {
    const models = profile.sunspec?.layouts.flatMap((layout) => layout.models) ?? [0];
    return models.map((model) => [profile.id, kind, model, profile] as const);
  }),
);

describe('every point of every map', () => {
  test('is covered on every transport that a map names', () => {
    expect(new Set(cases.map(([id]) => id)).size).toBe(26);
    expect(new Set(cases.map(([, , model]) => model))).toEqual(
      new Set([0, 201, 202, 203, 204, 211, 212, 213, 214]),
    );
    expect(new Set(cases.map(([, kind]) => kind)).size).toBe(3);
  });

  test.each(cases)('%s over %s (SunSpec model %i)', async (id, kind, model, profile) => {
    const clock = new VirtualClock();
    const server = await serveMeter({
      profile: id,
      ...(model === 0 ? {} : { sunspecModel: model }),
      host: '127.0.0.1',
      port: 0,
      unit: 1,
      serial: LABELS.serial,
      readings: () => ({
        powerWatts: 123_456.7,
        powerFactor: 0.96,
        frequencyHz: 50.02,
        importWattHours: 5_432_000,
        exportWattHours: 12_000,
      }),
      parameters: PARAMETERS,
      framing: kind === 'modbus-tcp' ? 'mbap' : 'rtu',
      refreshMs: 3_600_000,
      clock,
      random: seededRandom(5),
    });
    cleanUp.push(() => server.close());
    const { host, port } = server.address;
    // The bytes of a serial line, without a line: what a UART and its driver do to them is tested with a real one.
    const pathTo = () => tcpPath(host, port, 1000, clock);
    const buses = new BusPool({ clock, random: seededRandom(3), pathTo });
    cleanUp.push(() => buses[Symbol.asyncDispose]());
    const transport: ModbusTransport =
      kind === 'rtu'
        ? { kind, device: '/dev/line', baud: 9600, parity: 'none', stopBits: 1, unit: 1 }
        : { kind, host, port, unit: 1 };
    const meter = openMeter({ id: 'm', profile: id, transport, parameters: PARAMETERS }, { clock, buses });
    let isDone = false;
    const reading = meter.read(never).finally(() => {
      isDone = true;
    });
    while (!isDone) await clock.advance(1);
    const result = await reading;
    if (!result.ok) throw new Error(result.error.message);
    const { points } = result.value;
    const state = server.shown(1)!;
    let compared = 0;
    for (const point of placedProfile(profile, model === 0 ? undefined : model).points) {
      if (point.type === 'str' || point.type === 'str1' || point.type === 'sunssf') continue;
      const truth = expectedOf(point, state);
      if (truth === null || point.scale === null) continue;
      const value = points[point.name];
      expect(value, point.name).toEqual(expect.any(Number));
      const step = tolerance(point, truth, points);
      expect(
        Math.abs(Number(value) - truth),
        `${point.name}: ${value} for ${truth}, step ${step}`,
      ).toBeLessThanOrEqual(step);
      compared += 1;
    }
    const numbers = placedProfile(profile, model === 0 ? undefined : model).points.filter(
      ({ type }) => !['str', 'str1', 'sunssf'].includes(type),
    );
    expect(compared).toBeGreaterThan(numbers.length * 0.8);
    expect(result.value.doubts).toEqual([]);
  });
});
