import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMeter } from '../../drivers/modbus-meter.ts';
import { systemClock } from '../../protocols/clock.ts';
import type { ModbusTransport } from '../../protocols/modbus/bus-pool.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { serialPath } from '../../protocols/modbus/connect.ts';
import { seededRandom } from '../../protocols/random.ts';

const never = new AbortController().signal;

function succeeds(command: string, args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The first line of a stream that holds `words`. */
async function lineWith(stream: Readable, words: string): Promise<string> {
  for await (const line of createInterface({ input: stream })) if (line.includes(words)) return line;
  throw new Error(`it ended without "${words}"`);
}

const hasLibmodbus = succeeds('gcc', ['--version']) && succeeds('pkg-config', ['--exists', 'libmodbus']);
const hasSocat = succeeds('socat', ['-V']);
const hasPymodbus = succeeds('/usr/bin/python3', ['-c', 'import pymodbus.server.async_io']);
const hasSerialport = await import('serialport').then(
  () => true,
  () => false,
);

describe.skipIf(!hasLibmodbus || !hasSocat)(
  'a libmodbus slave on a line (needs gcc, libmodbus-dev and socat)',
  () => {
    const started: ChildProcess[] = [];
    let folder: string;
    let near: string;
    let port: number;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-line-'));
      const [far, program] = [join(folder, 'far'), join(folder, 'sdm630')];
      near = join(folder, 'near');
      const source = new URL('sdm630-server.c', import.meta.url).pathname;
      const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'libmodbus'], { encoding: 'utf8' });
      execFileSync('gcc', ['-O1', '-Wall', '-o', program, source, ...flags.trim().split(/\s+/)]);
      const line = spawn('socat', ['-d', '-d', `PTY,raw,echo=0,link=${far}`, `PTY,raw,echo=0,link=${near}`]);
      started.push(line);
      await lineWith(line.stderr, 'starting data transfer loop');
      const slave = spawn(program, [far], { stdio: ['ignore', 'pipe', 'inherit'] });
      started.push(slave);
      await lineWith(slave.stdout, '0');
      // socat takes no port 0: a free one is asked for first.
      const free = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => free.once('listening', resolve));
      port = (free.address() as AddressInfo).port;
      await new Promise((resolve) => free.close(resolve));
    });

    afterAll(() => {
      for (const child of started) child.kill('SIGKILL');
      rmSync(folder, { recursive: true, force: true });
    });

    async function readsAll(transport: ModbusTransport): Promise<void> {
      const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
      const meter = openMeter(
        { id: 'sdm', profile: 'eastron-sdm630', transport },
        { clock: systemClock, buses },
      );
      const first = await meter.read(never);
      if (!first.ok) throw new Error(first.error.message);
      expect(first.value).toMatchObject({
        powerWatts: 30_000,
        quality: 'good',
        importWattHours: 1_234_500,
        serialNumber: '20231970',
      });
      for (let read = 0; read < 100; read += 1) {
        const again = await meter.read(never);
        expect(again).toMatchObject({ ok: true, value: { powerWatts: 30_000, quality: 'good' } });
      }
      const lease = buses.lease(transport, { responseTimeoutMs: 1 });
      expect(lease.bus.counters).toMatchObject({ timeouts: 0, poisoned: 0, connects: 1 });
      await buses[Symbol.asyncDispose]();
    }

    test.skipIf(!hasSerialport)('is read over the serial line, with not one bad frame', async () => {
      await readsAll({ kind: 'rtu', device: near, baud: 19_200, parity: 'none', stopBits: 1, unit: 1 });
    });

    test.skipIf(!hasSerialport)(
      'a line that another program holds is busy, and says what to do',
      async () => {
        const settings = { device: near, baud: 19_200, parity: 'none', stopBits: 1 } as const;
        // Whoever held the line before lets go of it a moment after it is closed.
        const opened = { first: await serialPath(settings)(never) };
        await expect
          .poll(async () => {
            if (!opened.first.ok) opened.first = await serialPath(settings)(never);
            return opened.first.ok;
          })
          .toBe(true);
        const { first } = opened;
        const second = await serialPath(settings)(never);
        expect(second).toMatchObject({
          ok: false,
          error: { kind: 'busy', hint: expect.stringContaining('fuser') },
        });
        if (first.ok) await new Promise((resolve) => first.value.destroy().once('close', resolve));
      },
    );

    test('is read through socat as a transparent gateway', async () => {
      const gateway = spawn('socat', [
        '-d',
        '-d',
        `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`,
        `FILE:${near},raw,echo=0`,
      ]);
      started.push(gateway);
      await lineWith(gateway.stderr, 'listening on');
      await readsAll({ kind: 'rtu-over-tcp', host: '127.0.0.1', port, unit: 1 });
    });

    test('a unit that is not on the line is silent, and its neighbour goes on', async () => {
      const transport = { kind: 'rtu-over-tcp', host: '127.0.0.1', port } as const;
      const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
      const lease = buses.lease({ ...transport, unit: 1 }, { responseTimeoutMs: 150 });
      const ask = (unit: number) =>
        lease.bus.exchange(
          unit,
          { kind: 'read', functionCode: 4, address: 52, count: 2 },
          systemClock.monotonicMs() + 3000,
          never,
        );
      // The gateway's child of the client before holds the line for another half second and takes replies with it.
      await expect.poll(async () => (await ask(1)).ok, { interval: 700 }).toBe(true);
      expect(await ask(9)).toMatchObject({ ok: false, error: { kind: 'timeout' } });
      expect(await ask(9)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
      // libmodbus takes the next frame for the reply of the other unit; if it cuts it wrongly, half a second without a byte
      // (its byte time-out) is what brings it back into step.
      await expect.poll(async () => (await ask(1)).ok, { interval: 700 }).toBe(true);
      await buses[Symbol.asyncDispose]();
    });

    test.skipIf(!hasSerialport)('a serial line is open again after a unit was silent', async () => {
      const line = { kind: 'rtu', device: near, baud: 19_200, parity: 'none', stopBits: 1 } as const;
      const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
      const lease = buses.lease({ ...line, unit: 1 }, { responseTimeoutMs: 150 });
      const ask = (unit: number, address: number) =>
        lease.bus.exchange(
          unit,
          { kind: 'read', functionCode: 4, address, count: 2 },
          systemClock.monotonicMs() + 3000,
          never,
        );
      await expect.poll(async () => (await ask(1, 52)).ok, { interval: 700 }).toBe(true);
      expect(await ask(9, 52)).toMatchObject({ ok: false, error: { kind: 'timeout' } });
      await expect.poll(async () => (await ask(1, 70)).ok, { interval: 700 }).toBe(true);
      expect(lease.bus.counters.connects).toBeGreaterThan(1);
      await buses[Symbol.asyncDispose]();
    });
  },
);

describe.skipIf(!hasPymodbus)('a pymodbus server (needs python3-pymodbus)', () => {
  let server: ChildProcess;
  let port: number;

  beforeAll(async () => {
    const script = new URL('pymodbus-server.py', import.meta.url).pathname;
    server = spawn('/usr/bin/python3', [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    port = Number(await lineWith(server.stdout!, ''));
  });
  afterAll(() => {
    server.kill('SIGKILL');
  });

  test('answers its units, and is silent for one that it does not have', async () => {
    const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
    const lease = buses.lease(
      { kind: 'modbus-tcp', host: '127.0.0.1', port, unit: 1 },
      { responseTimeoutMs: 200 },
    );
    const ask = (unit: number, address: number, count = 3) =>
      lease.bus.exchange(
        unit,
        { kind: 'read', functionCode: 3, address, count },
        systemClock.monotonicMs() + 2000,
        never,
      );
    for (let read = 0; read < 100; read += 1) {
      expect(await ask(1, read)).toMatchObject({ ok: true, value: { words: [read, read + 1, read + 2] } });
      expect(await ask(2, read)).toMatchObject({
        ok: true,
        value: { words: [1000 + read, 1001 + read, 1002 + read] },
      });
    }
    expect(await ask(7, 0)).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    expect(await ask(7, 0)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
    expect(await ask(1, 1999)).toMatchObject({ ok: false, error: { exceptionCode: 2 } });
    expect(await ask(1, 5)).toMatchObject({ ok: true, value: { words: [5, 6, 7] } });
    expect(lease.bus.counters).toMatchObject({ timeouts: 1, poisoned: 0, connects: 1 });
    await buses[Symbol.asyncDispose]();
  });
});
