import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { MeterProfile } from '../../config/meters/profile.ts';
import { meterProfile, meterProfiles } from '../../config/meters/profiles.ts';
import type { MeterDriver, MeterReading } from '../../drivers/load-driver.ts';
import type { MeterConfig } from '../../drivers/modbus-meter.ts';
import { openMeter } from '../../drivers/modbus-meter.ts';
import type { ModbusTransport } from '../../protocols/modbus/bus-pool.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { seededRandom } from '../../protocols/random.ts';
import type { Result } from '../../protocols/result.ts';
import type { MeterServer, SimulatedMeterOptions } from '../../simulator/meter.ts';
import { serveMeter, serveMeters } from '../../simulator/meter.ts';
import type { ModbusPeer, PeerRequest } from '../support/modbus-peer.ts';
import { honestReply, mbap, modbusPeer, readPdu } from '../support/modbus-peer.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
/** Figures that some meters keep in their settings, as the site would copy them. */
const PARAMETERS = {
  fullScaleVolts: 828,
  fullScaleAmps: 4000,
  fullScaleWatts: 828 * 4000 * 3,
  ampsPerCount: 0.01,
  wattsPerCount: 10,
  wattHoursPerCount: 1000,
  energyScale: 1000,
};

let clock: VirtualClock;
let buses: BusPool;
let cleanUp: (() => Promise<void>)[] = [];

beforeEach(() => {
  clock = new VirtualClock();
  buses = new BusPool({ clock, random: seededRandom(3) });
  cleanUp = [];
});

afterEach(async () => {
  await buses[Symbol.asyncDispose]();
  for (const step of cleanUp) await step();
});

async function simulate(
  profile: string | MeterProfile,
  watts: () => number,
  change: Partial<SimulatedMeterOptions> = {},
  framing: 'mbap' | 'rtu' = 'mbap',
): Promise<MeterServer> {
  const server = await serveMeter({
    profile,
    host: '127.0.0.1',
    port: 0,
    unit: 1,
    readings: () => ({ powerWatts: watts(), importWattHours: 5_000_000, exportWattHours: 12_000 }),
    parameters: PARAMETERS,
    clock,
    random: seededRandom(5),
    framing,
    ...change,
  });
  cleanUp.push(() => server.close());
  return server;
}

function driver(
  address: { readonly host: string; readonly port: number },
  profile: string | MeterProfile,
  change: Partial<MeterConfig> = {},
  kind: 'modbus-tcp' | 'rtu-over-tcp' = 'modbus-tcp',
  onSent?: () => void,
): MeterDriver {
  const transport: ModbusTransport = { kind, host: address.host, port: address.port, unit: 1 };
  return openMeter(
    { id: 'meter', profile, transport, parameters: PARAMETERS, responseTimeoutMs: 150, ...change },
    { clock, buses, onBytes: (direction) => direction === 'sent' && onSent?.() },
  );
}

function value(result: Result<MeterReading>): MeterReading {
  if (!result.ok) throw new Error(`${result.error.kind}: ${result.error.message}`);
  return result.value;
}

/** Half a step of the power register of a profile in watts. */
function resolution(profile: MeterProfile): number {
  const points = profile.sunspec?.layouts[0]?.points ?? profile.points;
  const { scale, type } = points.find((point) => point.name === 'power.active.total')!;
  if (typeof scale === 'number') return type.startsWith('f') ? 0.05 : scale;
  if (scale === null || 'factorOf' in scale) return 10;
  return 'lin3' in scale ? (PARAMETERS.fullScaleWatts * 2) / 9999 : PARAMETERS.wattsPerCount;
}

const all = [...meterProfiles().values()];

describe.each(all.map((profile) => [profile.id, profile] as const))('%s', (id, profile) => {
  test.each([123_456.7, -98_765.4, 0])('reads %d W within its resolution', async (watts) => {
    const server = await simulate(id, () => watts);
    const meter = driver(server.address, id);
    const reading = value(await meter.read(never));
    expect(reading.powerWatts).not.toBeNull();
    // Half a step of the register; LIN3 has no zero of its own.
    expect(Math.abs(reading.powerWatts! - watts)).toBeLessThanOrEqual(resolution(profile));
    expect(reading).toMatchObject({ kind: 'meter', profile: id, doubts: [] });
    expect(reading.quality).toBe('good');
  });

  test('the second read costs at most one request more than the fast ones need', async () => {
    const server = await simulate(id, () => 100_000);
    let sent = 0;
    const meter = driver(server.address, id, {}, 'modbus-tcp', () => {
      sent += 1;
    });
    value(await meter.read(never));
    await clock.advance(1000);
    sent = 0;
    value(await meter.read(never));
    expect(sent).toBeLessThanOrEqual(id === 'carlogavazzi-em24-rtu' ? 6 : 4);
    expect(sent).toBeGreaterThan(0);
  });

  test('says who it is', async () => {
    const server = await simulate(id, () => 1000, { serial: '20231234' });
    const identity = await driver(server.address, id).identify(never);
    expect(identity).toMatchObject({ ok: true, value: { vendor: expect.any(String), firmware: id } });
    const hasSerial =
      profile.identify.some((entry) => entry.what === 'serial') || profile.sunspec !== undefined;
    if (identity.ok) expect(identity.value.serialNumber).toBe(hasSerial ? '20231234' : null);
  });
});

describe('reading', () => {
  test('RTU over TCP reads as well, and several meters of a gateway share its one connection', async () => {
    const unit = (number: number, watts: number): SimulatedMeterOptions => ({
      profile: 'eastron-sdm630',
      unit: number,
      readings: () => ({ powerWatts: watts }),
    });
    const gateway = await serveMeters(
      { host: '127.0.0.1', port: 0, framing: 'rtu', clock, random: seededRandom(1) },
      [unit(1, 1000), unit(2, 2000), unit(3, 3000)],
    );
    cleanUp.push(() => gateway.close());
    const { host, port } = gateway.address;
    const meters = [1, 2, 3].map((number) =>
      openMeter(
        {
          id: `m${number}`,
          profile: 'eastron-sdm630',
          transport: { kind: 'rtu-over-tcp', host, port, unit: number },
        },
        { clock, buses },
      ),
    );
    const readings = await Promise.all(meters.map((meter) => meter.read(never)));
    expect(readings.map((reading) => Math.round(value(reading).powerWatts!))).toEqual([1000, 2000, 3000]);
    const lease = buses.lease({ kind: 'rtu-over-tcp', host, port, unit: 1 }, { responseTimeoutMs: 1 });
    expect(lease.bus.counters.connects).toBe(1);
  });

  test('a block with a missing register is cut once and remembered', async () => {
    // Registers 44 and 45 (spare in the list) and the demand registers are missing on this unit.
    const whole = meterProfile('eastron-sdm630')!;
    const missing = ['demand.active.max', 'current.n'];
    const points = whole.points.filter((point) => !missing.includes(point.name));
    const server = await simulate({ ...whole, points, blocks: [], holes: [[44, 45]] }, () => 5000);
    let sent = 0;
    const meter = driver(server.address, 'eastron-sdm630', {}, 'modbus-tcp', () => {
      sent += 1;
    });
    const first = value(await meter.read(never));
    expect(first.powerWatts).toBeCloseTo(5000, 1);
    expect(first.points['current.n']).toBeNull();
    expect(first.points['demand.active.import']).not.toBeNull();
    const learning = sent;
    const costs: number[] = [];
    for (let read = 0; read < 6; read += 1) {
      sent = 0;
      await clock.advance(1000);
      expect(value(await meter.read(never)).quality).toBe('good');
      costs.push(sent);
    }
    expect(learning).toBeGreaterThan(6);
    expect(Math.max(...costs)).toBeLessThanOrEqual(4);
    expect(await meter.identify(never)).toMatchObject({ ok: true });
  });

  test('a meter that only knows the other function code is found out', async () => {
    const profile = {
      ...meterProfile('carlogavazzi-em340')!,
      functionCode: 3 as const,
      alsoFunctionCodes: [],
      blocks: [],
      identify: [],
    };
    const server = await simulate(profile, () => 7000);
    expect(value(await driver(server.address, 'carlogavazzi-em340').read(never)).powerWatts).toBeCloseTo(
      7000,
      0,
    );
  });

  test('a meter that answers fewer registers at once is asked for fewer', async () => {
    const profile = {
      ...meterProfile('siemens-pac3200-pac4200')!,
      maxRegisters: 20,
      safeRegisters: 20,
      blocks: [],
    };
    const server = await simulate(profile, () => 7000);
    const reading = value(await driver(server.address, 'siemens-pac3200-pac4200').read(never));
    expect(reading).toMatchObject({ quality: 'good', frequencyHz: expect.any(Number) });
    expect(reading.powerWatts).toBeCloseTo(7000, 0);
  });

  test('an inverted meter turns power, phases and energies', async () => {
    const server = await simulate('eastron-sdm630', () => 9000);
    const reading = value(await driver(server.address, 'eastron-sdm630', { invert: true }).read(never));
    expect(reading.powerWatts).toBeCloseTo(-9000, 1);
    expect(reading.points['power.active.l1']).toBeLessThan(0);
    expect(reading).toMatchObject({ importWattHours: 12_000, exportWattHours: 5_000_000, quality: 'good' });
  });

  test('a missing parameter is a missing reading, never a number', async () => {
    const server = await simulate('satec-pm180', () => 9000);
    const reading = value(await driver(server.address, 'satec-pm180', { parameters: {} }).read(never));
    expect(reading).toMatchObject({ powerWatts: null, quality: 'missing' });
    expect(reading.doubts.join()).toContain('scale is unknown');
  });

  test('a wrong word order is bad, not a tiny figure', async () => {
    const wrong: MeterProfile = { ...meterProfile('eastron-sdm630')!, wordOrder: 'lsw' };
    const server = await simulate('eastron-sdm630', () => 1);
    const reading = value(await driver(server.address, wrong).read(never));
    expect(['bad', 'missing']).toContain(reading.quality);
    expect(reading.doubts.length).toBeGreaterThan(0);
  });

  test('a B23 map on an M4M does not pass as good', async () => {
    const server = await simulate('abb-m4m', () => 50_000);
    const reading = value(await driver(server.address, 'abb-b23-b24').read(never));
    expect(reading.quality).not.toBe('good');
  });

  test('frozen registers turn stale, and good again when they move', async () => {
    const server = await simulate('schneider-pm5560', () => 50_000);
    const meter = driver(server.address, 'schneider-pm5560');
    const qualities: string[] = [];
    const faults = server.faults.get(1)!;
    for (let second = 0; second < 20; second += 1) {
      faults.freeze = second >= 3 && second < 15;
      qualities.push(value(await meter.read(never)).quality);
      await clock.advance(1000);
    }
    expect(qualities.slice(0, 7)).toEqual(new Array(7).fill('good'));
    expect(qualities.slice(9, 15)).toEqual(new Array(6).fill('stale'));
    expect(qualities.slice(15)).toEqual(new Array(5).fill('good'));
  });

  test('a Socomec that is something else is the wrong device', async () => {
    const profile = meterProfile('socomec-countis')!;
    const identify = profile.identify.map((entry) => ({
      ...entry,
      expect: entry.what === 'vendor' ? 'ABCD' : undefined,
    }));
    const server = await simulate({ ...profile, identify } as MeterProfile, () => 1000);
    expect(await driver(server.address, 'socomec-countis').identify(never)).toMatchObject({
      ok: false,
      error: { kind: 'wrong-device' },
    });
  });

  test('a device without a SunSpec marker is the wrong device', async () => {
    const server = await simulate('eastron-sdm630', () => 1000);
    expect(await driver(server.address, 'sunspec-meter').read(never)).toMatchObject({
      ok: false,
      error: { kind: 'wrong-device' },
    });
  });

  test('a gateway that refuses every address while it boots is asked again', async () => {
    const server = await simulate('eastron-sdm630', () => 1000);
    const faults = server.faults.get(1)!;
    const meter = driver(server.address, 'eastron-sdm630');
    faults.exception = 2;
    expect(await meter.read(never)).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    delete faults.exception;
    await clock.advance(1000);
    expect(value(await meter.read(never))).toMatchObject({ quality: 'good' });
  });

  test('two reads at once: the second is refused, the first is whole', async () => {
    const server = await simulate('eastron-sdm630', () => 1000);
    const meter = driver(server.address, 'eastron-sdm630');
    const [first, second] = await Promise.all([meter.read(never), meter.read(never)]);
    expect(second).toMatchObject({ ok: false, error: { kind: 'busy' } });
    expect(value(first).quality).toBe('good');
  });
});

type Misbehaviour = (request: PeerRequest) => void;
const send = (request: PeerRequest, pdu: Buffer, unit = request.unit, id = request.transactionId) =>
  request.socket.write(mbap(id, unit, pdu));

/** What a peer may do instead of answering, and how the read must end. */
const MISBEHAVIOURS: [string, Misbehaviour, string[]][] = [
  ['hang', () => undefined, ['timeout', 'unreachable']],
  [
    'drip and stop',
    (request) => request.socket.write(honestReply(request).subarray(0, 10)),
    ['timeout', 'unreachable'],
  ],
  [
    'cut the reply and close',
    (request) => request.socket.end(honestReply(request).subarray(0, 12)),
    ['unreachable'],
  ],
  ['close', (request) => request.socket.end(), ['unreachable']],
  ['reset', (request) => request.socket.resetAndDestroy(), ['unreachable']],
  [
    'send garbage',
    (request) => request.socket.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
    ['malformed'],
  ],
  [
    'send without end',
    (request) => {
      const stray = mbap(request.transactionId ^ 1, 1, readPdu(4, [1]));
      request.socket.write(Buffer.concat(new Array<Buffer>(2000).fill(stray)));
    },
    ['malformed'],
  ],
  [
    'answer for another unit',
    (request) => send(request, readPdu(request.functionCode, [1]), 9),
    ['malformed'],
  ],
  ['answer another function', (request) => send(request, readPdu(1, [1])), ['malformed']],
  ['answer too few registers', (request) => send(request, readPdu(request.functionCode, [1])), ['malformed']],
  [
    'answer another transaction',
    (request) =>
      request.socket.write(honestReply({ ...request, transactionId: request.transactionId ^ 0x8000 })),
    ['timeout', 'unreachable'],
  ],
  [
    'answer exception 4',
    (request) => send(request, Buffer.from([request.functionCode | 0x80, 4])),
    ['refused'],
  ],
  ['answer busy', (request) => send(request, Buffer.from([request.functionCode | 0x80, 6])), ['busy']],
  [
    'answer gateway target silent',
    (request) => send(request, Buffer.from([request.functionCode | 0x80, 11])),
    ['timeout'],
  ],
];

describe('a peer that does not play by the rules', () => {
  test.each(MISBEHAVIOURS)(
    '%s: the read fails with its kind and the next one is whole',
    async (_, act, kinds) => {
      let misbehaves = true;
      const server = await simulate('eastron-sdm630', () => 4321);
      let peer: ModbusPeer | null = null;
      peer = await modbusPeer('mbap', (request) => {
        if (misbehaves) act(request);
        else send(request, readPdu(request.functionCode, realistic(request)));
      });
      cleanUp.push(() => peer!.close());
      const meter = driver(peer, 'eastron-sdm630');
      const failed = await settle(meter.read(never));
      expect(failed.ok).toBe(false);
      if (!failed.ok) expect(kinds).toContain(failed.error.kind);
      misbehaves = false;
      await clock.advance(5000);
      const after = await settle(meter.read(never));
      expect(value(after).powerWatts).toBe(4321);
      await server.close();
    },
  );

  test('refuse: the read fails at once as unreachable', async () => {
    const closed = createServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    await new Promise((resolve) => closed.close(resolve));
    const result = await driver({ host: '127.0.0.1', port }, 'eastron-sdm630').read(never);
    expect(result).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  });

  test('an abort ends a hanging read', async () => {
    const peer = await modbusPeer('mbap');
    cleanUp.push(() => peer.close());
    const controller = new AbortController();
    const reading = driver(peer, 'eastron-sdm630').read(controller.signal);
    await peer.next();
    controller.abort();
    expect(await reading).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
  });

  test('closing the driver ends a hanging read', async () => {
    const peer = await modbusPeer('mbap');
    cleanUp.push(() => peer.close());
    const meter = driver(peer, 'eastron-sdm630');
    const reading = meter.read(never);
    await peer.next();
    await meter[Symbol.asyncDispose]();
    expect(await reading).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
  });

  test('the simulator can be silent, late, wrong and refusing', async () => {
    const server = await simulate('eastron-sdm630', () => 1000);
    const faults = server.faults.get(1)!;
    const meter = driver(server.address, 'eastron-sdm630');
    faults.silent = true;
    expect(await settle(meter.read(never))).toMatchObject({ ok: false });
    Object.assign(faults, { silent: false, wrongUnit: true });
    await clock.advance(5000);
    expect(await settle(meter.read(never))).toMatchObject({ ok: false, error: { kind: 'malformed' } });
    Object.assign(faults, { wrongUnit: false, exception: 4 });
    await clock.advance(5000);
    expect(await settle(meter.read(never))).toMatchObject({ ok: false, error: { kind: 'refused' } });
    delete faults.exception;
    expect(value(await meter.read(never)).quality).toBe('good');
  });
});

/** Float registers of an SDM630 with 4321 W: every figure the same in all three phases. */
function realistic(request: PeerRequest): number[] {
  const figures: Record<number, number> = { 12: 1440, 14: 1440, 16: 1441, 52: 4321, 56: 4400, 70: 50 };
  for (const address of [0, 2, 4]) figures[address] = 230;
  for (const address of [6, 8, 10]) figures[address] = 6.4;
  const bytes = Buffer.alloc((request.count + 2) * 2);
  for (let index = 0; index < request.count; index += 1) {
    const figure = figures[request.address + index];
    if (figure !== undefined) bytes.writeFloatBE(figure, index * 2);
  }
  return Array.from({ length: request.count }, (_, index) => bytes.readUInt16BE(index * 2));
}

/** Lets virtual time run while real sockets deliver, until the promise settles. */
async function settle<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const done = promise.finally(() => {
    isSettled = true;
  });
  while (!isSettled) await clock.advance(isSettled ? 0 : 1);
  return done;
}
