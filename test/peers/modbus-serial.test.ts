import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import ModbusSerial from 'modbus-serial';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMeter } from '../../drivers/modbus-meter.ts';
import { systemClock } from '../../protocols/clock.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { seededRandom } from '../../protocols/random.ts';

const never = new AbortController().signal;

/** An Eastron SDM630 under load, as far as this test reads it: floats by their address, the serial number. */
const FLOATS: Readonly<Record<number, number>> = {
  ...Object.fromEntries(
    [0, 2, 4].flatMap((phase): [number, number][] => [
      [phase, 230.5],
      [6 + phase, 43.5],
      [12 + phase, 10_000],
    ]),
  ),
  52: 30_000,
  56: 30_080.25,
  70: 49.98,
  72: 1234.5,
  74: 6.75,
};

function inputRegister(address: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatBE(FLOATS[address & ~1] ?? 0);
  return bytes.readUInt16BE((address & 1) * 2);
}

describe('the server of modbus-serial, framing by other hands', () => {
  let server: InstanceType<typeof ModbusSerial.ServerTCP>;
  let port: number;

  beforeAll(async () => {
    server = new ModbusSerial.ServerTCP(
      {
        getInputRegister: (address: number) => inputRegister(address),
        getHoldingRegister: (address: number) => {
          if (address >= 64_512 && address < 64_514) return [0x0134, 0xb722][address - 64_512]!;
          // Its way to answer with exception 2.
          throw Object.assign(new Error('no such register'), { modbusErrorCode: 2 });
        },
      },
      { host: '127.0.0.1', port: 0, unitID: 1 },
    );
    await once(server, 'initialized');
    // It keeps its listener to itself.
    port = ((server as unknown as { _server: Server })._server.address() as AddressInfo).port;
  });

  afterAll(async () => {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  test('is read and identified, a thousand times without a bad frame', async () => {
    const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
    const transport = { kind: 'modbus-tcp', host: '127.0.0.1', port, unit: 1 } as const;
    const meter = openMeter(
      { id: 'sdm', profile: 'eastron-sdm630', transport },
      { clock: systemClock, buses },
    );
    for (let read = 0; read < 1000; read += 1) {
      const result = await meter.read(never);
      if (!result.ok) throw new Error(result.error.message);
      expect(result.value).toMatchObject({ powerWatts: 30_000, quality: 'good', doubts: [] });
      expect(result.value.voltageVolts).toEqual({ l1: 230.5, l2: 230.5, l3: 230.5 });
    }
    expect(await meter.identify(never)).toMatchObject({ ok: true, value: { value: '20231970' } });
    const { bus } = buses.lease(transport, { responseTimeoutMs: 1000 });
    expect(bus.counters).toMatchObject({ poisoned: 0, connects: 1, strayFrames: 0 });
    await buses[Symbol.asyncDispose]();
  });

  test('says exception 2 for what it does not have, and goes on', async () => {
    const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
    const { bus } = buses.lease(
      { kind: 'modbus-tcp', host: '127.0.0.1', port, unit: 1 },
      { responseTimeoutMs: 30_000 },
    );
    const ask = (functionCode: 3 | 4, address: number) =>
      bus.exchange(
        1,
        { kind: 'read', functionCode, address, count: 2 },
        systemClock.monotonicMs() + 60_000,
        never,
      );
    expect(await ask(3, 100)).toMatchObject({ ok: false, error: { exceptionCode: 2 } });
    expect(await ask(4, 52)).toMatchObject({ ok: true, value: { words: [0x46ea, 0x6000] } });
    await buses[Symbol.asyncDispose]();
  });
});
