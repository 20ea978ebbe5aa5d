import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MeterProfile } from '../../config/meters/profile.ts';
import { meterProfile } from '../../config/meters/profiles.ts';
import type { MeterReading } from '../../drivers/load-driver.ts';
import type { MeterLessons } from '../../drivers/meter/reader.ts';
import { openMeter } from '../../drivers/modbus-meter.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { seededRandom } from '../../protocols/random.ts';
import type { Result } from '../../protocols/result.ts';
import type { MeterServer, SimulatedMeterOptions } from '../../simulator/meter.ts';
import { serveMeter } from '../../simulator/meter.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
let clock: VirtualClock;
let buses: BusPool;
let servers: MeterServer[] = [];

beforeEach(() => {
  clock = new VirtualClock();
  buses = new BusPool({ clock, random: seededRandom(3) });
  servers = [];
});

afterEach(async () => {
  await buses[Symbol.asyncDispose]();
  for (const server of servers) await server.close();
});

async function simulate(
  profile: string | MeterProfile,
  change: Partial<SimulatedMeterOptions> = {},
): Promise<MeterServer> {
  const server = await serveMeter({
    profile,
    host: '127.0.0.1',
    port: 0,
    unit: 1,
    readings: () => ({ powerWatts: 5000, importWattHours: 5_000_000, exportWattHours: 12_000 }),
    clock,
    random: seededRandom(5),
    ...change,
  });
  servers.push(server);
  return server;
}

function value(result: Result<MeterReading>): MeterReading {
  if (!result.ok) throw new Error(`${result.error.kind}: ${result.error.message}`);
  return result.value;
}

describe('what a driver learns of its meter', () => {
  test('what was learnt saves the requests after a restart, and is dropped for another meter', async () => {
    const whole = meterProfile('eastron-sdm630')!;
    const points = whole.points.filter((point) => point.name !== 'current.n');
    const profile = { ...whole, points, blocks: [], holes: [[44, 45]] as [number, number][] };
    const server = await simulate(profile, { serial: '77' });
    const open = (known: MeterLessons | null, keep: (lessons: MeterLessons) => void, onSent: () => void) =>
      openMeter(
        {
          id: 'meter',
          profile: 'eastron-sdm630',
          transport: { kind: 'modbus-tcp', ...server.address, unit: 1 },
          responseTimeoutMs: 150,
        },
        {
          clock,
          buses,
          lessons: { known, keep },
          onBytes: (direction) => direction === 'sent' && onSent(),
        },
      );
    const kept: MeterLessons[] = [];
    let first = 0;
    let meter = open(
      null,
      (lessons) => kept.push(lessons),
      () => {
        first += 1;
      },
    );
    value(await meter.read(never));
    await meter[Symbol.asyncDispose]();
    expect(kept).toHaveLength(1);
    expect(kept[0]).toMatchObject({ serialNumber: '77', absent: ['current.n'] });
    let second = 0;
    meter = open(
      kept[0]!,
      (lessons) => kept.push(lessons),
      () => {
        second += 1;
      },
    );
    expect(value(await meter.read(never))).toMatchObject({ quality: 'good' });
    await meter[Symbol.asyncDispose]();
    expect(second).toBeLessThan(first / 2);
    expect(kept).toHaveLength(1);
    // Another meter at that place: what the old one lacked, this one may have.
    meter = open(
      { ...kept[0]!, serialNumber: '76' },
      (lessons) => kept.push(lessons),
      () => undefined,
    );
    value(await meter.read(never));
    await meter[Symbol.asyncDispose]();
    expect(kept.at(-1)).toMatchObject({ serialNumber: '77', absent: [] });
  });

  test('the slow class waits until the fast reading is out, and takes one request a second', async () => {
    const server = await simulate('eastron-sdm630', { refreshMs: 200 });
    let sent = 0;
    const meter = openMeter(
      {
        id: 'meter',
        profile: 'eastron-sdm630',
        transport: { kind: 'modbus-tcp', ...server.address, unit: 1 },
      },
      {
        clock,
        buses,
        onBytes: (direction) => {
          if (direction === 'sent') sent += 1;
        },
      },
    );
    value(await meter.read(never));
    sent = 0;
    for (let poll = 0; poll < 50; poll += 1) {
      await clock.advance(100);
      expect(value(await meter.read(never)).quality).toBe('good');
    }
    // 50 reads in 5 s at one or two fast requests each, and five slow ones.
    expect(sent).toBeLessThanOrEqual(50 * 2 + 6);
    const last = value(await meter.read(never));
    // Read at 10 Hz, a meter that makes new values five times a second is found out.
    expect(last.refreshMs).toBeGreaterThan(150);
    expect(last.refreshMs).toBeLessThan(250);
    expect(last.uncertaintyMs).toBe(last.roundTripMs / 2 + last.refreshMs!);
  });
});
