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
import type { MeterServer } from '../../simulator/meter.ts';
import { serveMeter } from '../../simulator/meter.ts';

const never = new AbortController().signal;

function hasSocat(): boolean {
  try {
    execFileSync('socat', ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const hasSerialport = await import('serialport').then(
  () => true,
  () => false,
);

describe.skipIf(!hasSocat() || !hasSerialport)(
  'a serial line (needs socat and the package serialport)',
  () => {
    let folder: string;
    let line: ChildProcess;
    let server: MeterServer;
    let device: string;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-serial-'));
      device = join(folder, 'tty');
      server = await serveMeter({
        profile: 'abb-b23-b24',
        host: '127.0.0.1',
        port: 0,
        unit: 3,
        framing: 'rtu',
        readings: () => ({ powerWatts: 20_000, importWattHours: 5000 }),
      });
      const far = `TCP:127.0.0.1:${server.address.port},nodelay`;
      line = spawn('socat', ['-d', '-d', `PTY,link=${device},raw,echo=0`, far], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      for await (const words of createInterface({ input: line.stderr! })) {
        if (words.includes('starting data transfer loop')) break;
      }
    });

    afterAll(async () => {
      line.kill('SIGKILL');
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    });

    test('carries RTU to a meter and back', async () => {
      const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
      const transport = { kind: 'rtu', device, baud: 9600, parity: 'none', stopBits: 1, unit: 3 } as const;
      const meter = openMeter({ id: 'm', profile: 'abb-b23-b24', transport }, { clock: systemClock, buses });
      for (let read = 0; read < 10; read += 1) {
        const result = await meter.read(never);
        if (!result.ok) throw new Error(result.error.message);
        expect(result.value).toMatchObject({ powerWatts: 20_000, quality: 'good', importWattHours: 5000 });
      }
      await buses[Symbol.asyncDispose]();
    });

    test('a device that does not exist is unreachable', async () => {
      const buses = new BusPool({ clock: systemClock, random: seededRandom(1) });
      const missing = join(folder, 'missing');
      const transport = {
        kind: 'rtu',
        device: missing,
        baud: 9600,
        parity: 'none',
        stopBits: 1,
        unit: 3,
      } as const;
      const meter = openMeter({ id: 'm', profile: 'abb-b23-b24', transport }, { clock: systemClock, buses });
      expect(await meter.read(never)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
      await buses[Symbol.asyncDispose]();
    });
  },
);
