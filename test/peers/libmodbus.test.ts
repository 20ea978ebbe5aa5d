import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openMeter } from '../../drivers/modbus-meter.ts';
import { systemClock } from '../../protocols/clock.ts';
import { BusPool } from '../../protocols/modbus/bus-pool.ts';
import { seededRandom } from '../../protocols/random.ts';
import { serveMeter } from '../../simulator/meter.ts';

const never = new AbortController().signal;

function succeeds(command: string, args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const hasLibmodbus = succeeds('gcc', ['--version']) && succeeds('pkg-config', ['--exists', 'libmodbus']);
const hasMbpoll = succeeds('mbpoll', ['-V']);

describe.skipIf(!hasLibmodbus)('a libmodbus server (needs gcc and libmodbus-dev)', () => {
  let folder: string;
  let server: ChildProcess;
  let port: number;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-libmodbus-'));
    const program = join(folder, 'sdm630');
    const source = new URL('sdm630-server.c', import.meta.url).pathname;
    const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'libmodbus'], {
      encoding: 'utf8',
    }).trim();
    execFileSync('gcc', ['-O1', '-Wall', '-o', program, source, ...flags.split(/\s+/)]);
    server = spawn(program, { stdio: ['ignore', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: server.stdout! })) {
      port = Number(line);
      break;
    }
  });

  afterAll(() => {
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  test('serves an SDM630 that the driver reads and identifies', async () => {
    const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
    const transport = { kind: 'modbus-tcp', host: '127.0.0.1', port, unit: 1 } as const;
    const meter = openMeter(
      { id: 'sdm', profile: 'eastron-sdm630', transport },
      { clock: systemClock, buses },
    );
    const result = await meter.read(never);
    if (!result.ok) throw new Error(result.error.message);
    expect(result.value).toMatchObject({
      powerWatts: 30_000,
      quality: 'good',
      doubts: [],
      voltageVolts: { l1: 230.5, l2: 230.5, l3: 230.5 },
      currentAmps: { l1: 43.5, l2: 43.5, l3: 43.5 },
      importWattHours: 1_234_500,
      exportWattHours: 6_750,
      serialNumber: '20231970',
    });
    expect(result.value.frequencyHz).toBeCloseTo(49.98, 4);
    for (let read = 0; read < 50; read += 1) {
      const again = await meter.read(never);
      expect(again.ok && again.value.powerWatts).toBe(30_000);
    }
    const identity = await meter.identify(never);
    expect(identity).toMatchObject({ ok: true, value: { basis: 'serial', value: '20231970' } });
    await buses[Symbol.asyncDispose]();
  });

  test('a read beyond its map is exception 2 and leaves the connection alone', async () => {
    const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
    const lease = buses.lease(
      { kind: 'modbus-tcp', host: '127.0.0.1', port, unit: 1 },
      { responseTimeoutMs: 2000 },
    );
    const ask = (address: number) =>
      lease.bus.exchange(
        1,
        { kind: 'read', functionCode: 4, address, count: 2 },
        systemClock.monotonicMs() + 5000,
        never,
      );
    expect(await ask(399)).toMatchObject({ ok: false, error: { kind: 'refused', exceptionCode: 2 } });
    expect(await ask(52)).toMatchObject({ ok: true, value: { words: [0x46ea, 0x6000] } });
    expect(lease.bus.counters.connects).toBe(1);
    await buses[Symbol.asyncDispose]();
  });
});

describe.skipIf(!hasMbpoll)('mbpoll, an independent client (needs mbpoll)', () => {
  test('reads the simulated SDM630 with the figures that were put in', async () => {
    const server = await serveMeter({
      profile: 'eastron-sdm630',
      host: '127.0.0.1',
      port: 0,
      unit: 7,
      readings: () => ({ powerWatts: 123_456 }),
    });
    const args = [
      '-m',
      'tcp',
      '-p',
      String(server.address.port),
      '-a',
      '7',
      '-t',
      '3:float',
      '-B',
      '-r',
      '53',
    ];
    const output = await new Promise<string>((resolve, reject) => {
      const client = spawn('mbpoll', [...args, '-c', '1', '-1', '-q', '127.0.0.1']);
      let text = '';
      client.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      client.on('error', reject);
      client.on('close', () => resolve(text));
    });
    expect(output).toMatch(/\[53\]:\s+123456/);
    await server.close();
  });
});
