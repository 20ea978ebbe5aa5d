import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server as HttpServer, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { GpuNodeConfig } from '../../drivers/gpu/gpu-node.ts';
import { openGpuNode } from '../../drivers/gpu/gpu-node.ts';
import type { LoadDriver } from '../../drivers/load-driver.ts';
import { seededRandom } from '../../protocols/random.ts';
import type { DcgmServer, NvidiaSmiServer } from '../../simulator/gpu.ts';
import { serveDcgm, serveNvidiaSmi } from '../../simulator/gpu.ts';
import type { GpuToolFaults } from '../../simulator/gpu-text.ts';
import { SimulatedGpuNode } from '../../simulator/physics.ts';
import { gpuReading, idleH100s } from '../support/gpu-node.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
const UUIDS = [0, 1, 2, 3].map((index) => `GPU-00000000-0000-4000-8000-00000000000${index}`);
let clock: VirtualClock;
let node: SimulatedGpuNode;
let cleanUp: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  clock = new VirtualClock();
  node = new SimulatedGpuNode('dgx-1', idleH100s(UUIDS), 1500, seededRandom(1));
  cleanUp = [];
});

afterEach(async () => {
  for (const step of cleanUp.reverse()) await step();
});

async function withSmi(
  faults: GpuToolFaults = {},
  change: Partial<GpuNodeConfig> = {},
): Promise<{ server: NvidiaSmiServer; driver: LoadDriver }> {
  const server = await serveNvidiaSmi(node, { host: '127.0.0.1', port: 0, faults });
  const { command } = server;
  const driver = openGpuNode(
    {
      id: 'dgx-1',
      reader: { kind: 'nvidia-smi', command },
      cap: { kind: 'nvidia-smi' },
      nameplateWatts: 10_200,
      ...change,
    },
    { clock },
  );
  cleanUp.push(() => server.close());
  cleanUp.push(async () => driver[Symbol.asyncDispose]());
  return { server, driver };
}

/** Lets virtual time run until the promise settles, while real processes and sockets do their part. */
async function settle<T>(promise: Promise<T>, stepMs: number): Promise<T> {
  let isSettled = false;
  const done = promise.finally(() => {
    isSettled = true;
  });
  while (!isSettled) await clock.advance(stepMs);
  return done;
}

const cap = (uuid: string, limitWatts: number) => ({ kind: 'cap', uuid, limitWatts }) as const;

describe('a GPU node by nvidia-smi', () => {
  test('reads every GPU; the node is their sum', async () => {
    const { driver } = await withSmi();
    const reading = gpuReading(await driver.read(never));
    expect(reading).toMatchObject({
      source: 'nvidia-smi',
      driverVersion: '590.48.01',
      powerWatts: 280,
      knownPowerWatts: 280,
      errors: [],
      control: { sleep: false, wake: false, powerLimit: { kind: 'watts', minWatts: 800, maxWatts: 2800 } },
    });
    expect(reading.gpus[1]).toEqual({
      uuid: UUIDS[1],
      index: 1,
      name: 'NVIDIA H100 80GB HBM3',
      state: 'ok',
      powerWatts: 70,
      requestedLimitWatts: 700,
      enforcedLimitWatts: 700,
      defaultLimitWatts: 700,
      minLimitWatts: 200,
      maxLimitWatts: 700,
      temperatureCelsius: 30,
      utilizationPercent: 0,
      memoryUsedMebibytes: 0,
      memoryTotalMebibytes: 81_559,
      migEnabled: false,
    });
  });

  test('says who it is by its GPUs', async () => {
    const { driver } = await withSmi();
    expect(await driver.identify(never)).toMatchObject({
      ok: true,
      value: {
        basis: 'serial',
        value: UUIDS.join(','),
        model: '4 x NVIDIA H100 80GB HBM3',
        vendor: 'NVIDIA',
      },
    });
  });

  test('a driver that does not know a field still gives the rest, and is asked once', async () => {
    const { driver } = await withSmi({ unknownFields: ['mig.mode.current', 'gpu_recovery_action'] });
    const first = gpuReading(await driver.read(never));
    expect(first.powerWatts).toBe(280);
    expect(first.gpus[0]?.migEnabled).toBeNull();
    expect(gpuReading(await driver.read(never)).powerWatts).toBe(280);
  });

  test('a driver that does not know a basic field is read as XML', async () => {
    const { driver } = await withSmi({ unknownFields: ['enforced.power.limit'] });
    const reading = gpuReading(await driver.read(never));
    expect(reading.powerWatts).toBe(280);
    expect(reading.gpus[3]).toMatchObject({ uuid: UUIDS[3], enforcedLimitWatts: 700, migEnabled: false });
  });

  test('a lost GPU is faulted; its power and the node’s are unknown, not 0', async () => {
    const { driver, server } = await withSmi();
    await driver.read(never);
    server.faults.lost = [UUIDS[2]!];
    const reading = gpuReading(await driver.read(never));
    expect(reading).toMatchObject({ powerWatts: null, knownPowerWatts: 210 });
    expect(reading.gpus[2]).toMatchObject({ uuid: UUIDS[2], state: 'faulted', powerWatts: null });
    expect(reading.errors).toMatchObject([{ code: 'gpu-fault' }]);
    expect(reading.control.powerLimit).toBeNull();
  });

  test('a GPU that is not listed any more is absent; the node’s power is unknown', async () => {
    const { driver, server } = await withSmi();
    await driver.read(never);
    server.faults.hidden = [UUIDS[0]!];
    const reading = gpuReading(await driver.read(never));
    expect(reading).toMatchObject({
      powerWatts: null,
      knownPowerWatts: 210,
      errors: [{ code: 'gpu-absent' }],
    });
    expect(reading.gpus.find((gpu) => gpu.uuid === UUIDS[0])).toMatchObject({
      state: 'absent',
      powerWatts: null,
    });
    server.faults.hidden = [];
    expect(gpuReading(await driver.read(never)).powerWatts).toBe(280);
  });

  test('a node without any GPU left is no reading', async () => {
    const { driver } = await withSmi({ hidden: UUIDS });
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  });

  test('garbage is malformed', async () => {
    const { driver } = await withSmi({ garbage: 'index, uuid\n0, GPU-1, 3\n' });
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  test('a program that is not there is unsupported', async () => {
    const driver = openGpuNode(
      {
        id: 'x',
        reader: { kind: 'nvidia-smi', command: ['/nonexistent'] },
        cap: { kind: 'none' },
        nameplateWatts: 1,
      },
      { clock },
    );
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'unsupported' } });
  });

  test('a hanging nvidia-smi is killed at its limit, and the node answers again afterwards', async () => {
    const { driver } = await withSmi();
    node.dead = true;
    const reading = driver.read(never);
    await clock.advance(10_000);
    // From here on the kill takes real time: virtual time must not run past the grace that it has.
    expect(await reading).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    node.dead = false;
    expect(gpuReading(await driver.read(never)).powerWatts).toBe(280);
  });

  test('an abort, or the end of the driver, ends a hanging read', async () => {
    const { driver } = await withSmi({ hang: true });
    const controller = new AbortController();
    const reading = driver.read(controller.signal);
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'busy' } });
    controller.abort();
    expect(await reading).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    const second = driver.read(never);
    await driver[Symbol.asyncDispose]();
    expect(await second).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
  });
});

describe('capping a GPU', () => {
  test('caps the one that was named, and reads the limit in force back', async () => {
    const { driver } = await withSmi();
    const applied = await driver.apply(cap(UUIDS[1]!, 350), never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: true, limitWatts: null } });
    expect(node.gpus.map((gpu) => gpu.limitWatts)).toEqual([700, 350, 700, 700]);
    expect(gpuReading(await driver.read(never)).gpus[1]).toMatchObject({ enforcedLimitWatts: 350 });
  });

  test('caps that come together go one after the other', async () => {
    const { driver } = await withSmi();
    const all = await Promise.all(
      UUIDS.map((uuid, index) => driver.apply(cap(uuid, 300 + index * 10.5), never)),
    );
    expect(all.every((result) => result.ok && result.value.acknowledged)).toBe(true);
    expect(node.gpus.map((gpu) => gpu.limitWatts)).toEqual([300, 310.5, 321, 331.5]);
  });

  test.each([199, 701, Number.NaN, Number.POSITIVE_INFINITY])(
    '%d W is outside the range and not sent',
    async (watts) => {
      const { driver } = await withSmi();
      expect(await driver.apply(cap(UUIDS[0]!, watts), never)).toMatchObject({
        ok: false,
        error: { kind: 'refused' },
      });
      expect(node.gpus[0]?.limitWatts).toBe(700);
    },
  );

  test('the site’s own bounds hold too', async () => {
    const { driver } = await withSmi({}, { capMinWatts: 300, capMaxWatts: 600 });
    for (const watts of [250, 650]) {
      expect(await driver.apply(cap(UUIDS[0]!, watts), never)).toMatchObject({
        ok: false,
        error: { kind: 'refused' },
      });
    }
    expect(await driver.apply(cap(UUIDS[0]!, 600), never)).toMatchObject({ ok: true });
    const { control } = gpuReading(await driver.read(never));
    expect(control.powerLimit).toMatchObject({ minWatts: 1200, maxWatts: 2400 });
  });

  test('"All done." without effect is not acknowledged', async () => {
    const { driver } = await withSmi({ ignoresWrites: true });
    const applied = await driver.apply(cap(UUIDS[0]!, 300), never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: false } });
    expect(applied.ok && applied.value.note).toContain('stays at 700 W');
  });

  test('a BMC that holds lower is told', async () => {
    const { driver } = await withSmi({ heldWatts: 250 });
    const applied = await driver.apply(cap(UUIDS[0]!, 500), never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: true } });
    expect(applied.ok && applied.value.note).toContain('holds it at 250 W');
  });

  test('missing rights are said', async () => {
    const { driver } = await withSmi({ noPermission: true });
    expect(await driver.apply(cap(UUIDS[0]!, 300), never)).toMatchObject({
      ok: false,
      error: { kind: 'unauthorised' },
    });
  });

  test('without persistence the cap would be forgotten: it is switched on first', async () => {
    const { driver, server } = await withSmi({ persistence: false });
    expect(await driver.apply(cap(UUIDS[0]!, 300), never)).toMatchObject({
      ok: true,
      value: { acknowledged: true },
    });
    expect(server.faults.persistence).toBe(true);
  });

  test('a GPU of another node, a lost one, and a word that is no identity', async () => {
    const { driver, server } = await withSmi();
    expect(await driver.apply(cap('GPU-elsewhere', 300), never)).toMatchObject({
      ok: false,
      error: { kind: 'wrong-device' },
    });
    expect(await driver.apply(cap('GPU-1; reboot', 300), never)).toMatchObject({
      ok: false,
      error: { kind: 'refused' },
    });
    server.faults.lost = [UUIDS[0]!];
    expect(await driver.apply(cap(UUIDS[0]!, 300), never)).toMatchObject({
      ok: false,
      error: { kind: 'unsupported' },
    });
  });

  test('other commands, and a node without an actuator', async () => {
    const { driver } = await withSmi({}, { cap: { kind: 'none' } });
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({
      ok: false,
      error: { kind: 'unsupported' },
    });
    expect(await driver.apply(cap(UUIDS[0]!, 300), never)).toMatchObject({
      ok: false,
      error: { kind: 'unsupported' },
    });
    expect(gpuReading(await driver.read(never)).control.powerLimit).toBeNull();
  });
});

describe('capping through a program of the site', () => {
  let folder: string;
  /** Caps as a site's own tool would: told on stdin, done by the simulated tool. */
  function hook(body: string): string[] {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-cap-'));
    cleanUp.push(async () => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'hook');
    writeFileSync(path, `#!/bin/sh\ninput=$(cat)\n${body}\n`, { mode: 0o755 });
    return [path];
  }
  const through = (command: readonly string[]) => ({ cap: { kind: 'command', command } as const });

  test('writes what it is told and is believed by the limit in force alone', async () => {
    const server = await serveNvidiaSmi(node, { host: '127.0.0.1', port: 0 });
    cleanUp.push(() => server.close());
    const uuid = `$(printf '%s' "$input" | sed 's/.*"uuid":"\\([^"]*\\)".*/\\1/')`;
    const watts = `$(printf '%s' "$input" | sed 's/.*"limitWatts":\\([0-9.]*\\).*/\\1/')`;
    const tool = server.command.map((word) => `'${word}'`).join(' ');
    const command = hook(`${tool} -i "${uuid}" -pl "${watts}" >&2 && echo '{"ok":true}'`);
    const { driver } = await withSmi({}, through(command));
    expect(await driver.apply(cap(UUIDS[1]!, 350), never)).toMatchObject({
      ok: true,
      value: { acknowledged: true },
    });
    expect(node.gpus.map((gpu) => gpu.limitWatts)).toEqual([700, 350, 700, 700]);
    expect(await driver.apply(cap(UUIDS[1]!, 100), never)).toMatchObject({
      ok: false,
      error: { kind: 'refused', message: expect.stringContaining('outside 200 to 700 W') },
    });
  });

  test('one that says yes and does nothing is not acknowledged; one that says no is refused', async () => {
    const idle = await withSmi({}, through(hook(`echo '{"ok":true}'`)));
    expect(await idle.driver.apply(cap(UUIDS[0]!, 300), never)).toMatchObject({
      ok: true,
      value: { acknowledged: false, note: expect.stringContaining('stays at 700 W') },
    });
    const no = await withSmi({}, through(hook(`echo '{"ok":false,"error":"not today"}'`)));
    expect(await no.driver.apply(cap(UUIDS[0]!, 300), never)).toMatchObject({
      ok: false,
      error: { kind: 'refused', message: expect.stringContaining('not today') },
    });
  });
});

async function withDcgm(
  change: Partial<Parameters<typeof serveDcgm>[1]> = {},
  collectIntervalMs = 1000,
): Promise<{ server: DcgmServer; driver: LoadDriver }> {
  const server = await serveDcgm(node, { host: '127.0.0.1', port: 0, clock, collectIntervalMs, ...change });
  const driver = openGpuNode(
    {
      id: 'dgx-1',
      reader: { kind: 'dcgm', url: server.url, collectIntervalMs: 1000 },
      cap: { kind: 'none' },
      nameplateWatts: 10_200,
    },
    { clock },
  );
  cleanUp.push(() => server.close());
  return { server, driver };
}

describe('a GPU node by dcgm-exporter', () => {
  test('reads power; what the exporter does not show is unknown', async () => {
    const { driver } = await withDcgm();
    const reading = gpuReading(await driver.read(never));
    expect(reading).toMatchObject({
      source: 'dcgm',
      driverVersion: '590.48.01',
      powerWatts: 280,
      errors: [],
    });
    expect(reading.gpus[2]).toMatchObject({
      uuid: UUIDS[2],
      state: 'ok',
      powerWatts: 70,
      enforcedLimitWatts: null,
    });
    expect(reading.control.powerLimit).toBeNull();
  });

  test('limits where the operator added them', async () => {
    const { driver } = await withDcgm({ withLimits: true });
    node.cap(UUIDS[0]!, 400);
    const reading = gpuReading(await driver.read(never));
    expect(reading.gpus[0]).toMatchObject({
      requestedLimitWatts: 400,
      enforcedLimitWatts: 400,
      defaultLimitWatts: 700,
      minLimitWatts: 200,
      maxLimitWatts: 700,
    });
  });

  test('its figures are as old as the exporter’s interval: they prove nothing newer', async () => {
    const { driver } = await withDcgm();
    await clock.advance(10_000);
    const reading = gpuReading(await driver.read(never));
    expect(reading.requestedAt).toBe(9000);
    expect(reading.sampledAt).toBe(9500);
  });

  test('an exporter that repeats itself turns stale: power unknown', async () => {
    const { driver } = await withDcgm({}, 1e9);
    node.setUtilization(1);
    const states: (number | null)[] = [];
    for (let second = 0; second < 5; second += 1) {
      states.push(gpuReading(await driver.read(never)).powerWatts);
      await clock.advance(1000);
    }
    expect(states.map((watts) => watts !== null)).toEqual([true, true, true, false, false]);
  });

  test('a fresh exporter never turns stale', async () => {
    const { driver } = await withDcgm();
    for (let second = 0; second < 10; second += 1) {
      expect(gpuReading(await driver.read(never)).powerWatts).not.toBeNull();
      await clock.advance(1000);
    }
  });

  test('a GPU that vanishes is absent, and the node’s power unknown', async () => {
    const { driver, server } = await withDcgm();
    await driver.read(never);
    server.faults.hidden = [UUIDS[3]!];
    await clock.advance(1000);
    const reading = gpuReading(await driver.read(never));
    expect(reading).toMatchObject({
      powerWatts: null,
      knownPowerWatts: 210,
      errors: [{ code: 'gpu-absent' }],
    });
  });

  type Reply = (response: ServerResponse, socket: Socket) => void;
  const row = (uuid: string, host: string) =>
    `DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="${uuid}",hostname="${host}"} 70\n`;
  test.each<[string, Reply, string]>([
    ['hangs', () => undefined, 'timeout'],
    ['drips', (response) => void response.writeHead(200).write('DCGM'), 'timeout'],
    [
      'cuts the body',
      (response) => void response.writeHead(200, { 'content-length': 500 }).end('DCGM_FI'),
      'unreachable',
    ],
    ['closes', (_, socket) => void socket.end(), 'unreachable'],
    ['resets', (_, socket) => void socket.resetAndDestroy(), 'unreachable'],
    ['sends no HTTP', (_, socket) => void socket.end('garbage without end\r\n\r\n'), 'malformed'],
    ['answers nothing', (response) => void response.end(), 'malformed'],
    ['answers no metrics', (response) => void response.end('<html></html>\n'), 'malformed'],
    ['stops inside a line', (response) => void response.end('DCGM_FI_DEV_POWER_USAGE{gpu="0"'), 'malformed'],
    ['fails', (response) => void response.writeHead(500).end('internal server error'), 'refused'],
    ['wants a password', (response) => void response.writeHead(401).end(), 'unauthorised'],
    ['sends without end', (response) => void response.end(Buffer.alloc(9_000_000, 10)), 'malformed'],
    ['shows no GPU', (response) => void response.end('up 1\n'), 'wrong-device'],
    [
      'shows two hosts',
      (response) => void response.end(row('GPU-1', 'a') + row('GPU-2', 'b')),
      'wrong-device',
    ],
  ])('an exporter that %s', async (_, reply, kind) => {
    const server: HttpServer = createServer((request, response) => reply(response, request.socket));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUp.push(
      () =>
        new Promise((resolve) => {
          server.closeAllConnections();
          server.close(resolve);
        }),
    );
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
    const driver = openGpuNode(
      { id: 'x', reader: { kind: 'dcgm', url }, cap: { kind: 'none' }, nameplateWatts: 1 },
      { clock },
    );
    const result = await settle(driver.read(never), kind === 'timeout' ? 50 : 0);
    expect(result).toMatchObject({ ok: false, error: { kind } });
  });

  test('a port where nobody listens is unreachable', async () => {
    const { server, driver } = await withDcgm();
    await server.close();
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  });
});
