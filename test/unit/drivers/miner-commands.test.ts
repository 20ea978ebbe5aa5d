import { afterEach, describe, expect, it } from 'vitest';
import type { LoadDriver, MinerEndpoint, MinerReading } from '../../../drivers/load-driver.ts';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { decodeCgminerReply } from '../../../protocols/cgminer-reply.ts';
import { encodeCgminerRequest, encodeCgminerTextRequest } from '../../../protocols/cgminer-request.ts';
import { systemClock } from '../../../protocols/clock.ts';
import { createDigestSession, exchangeWithDigest } from '../../../protocols/http-digest.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { exchangeOverTcp } from '../../../protocols/tcp-exchange.ts';
import type { MinerWireFaults, SimulatedServer } from '../../../simulator/miners/api-server.ts';
import { serveBitmain } from '../../../simulator/miners/bitmain.ts';
import { serveCgminer } from '../../../simulator/miners/cgminer.ts';
import { serveLuxos } from '../../../simulator/miners/luxos.ts';
import { minerTraits } from '../../../simulator/miners/traits.ts';
import { serveWhatsminer } from '../../../simulator/miners/whatsminer.ts';
import { SimulatedMiner } from '../../../simulator/physics.ts';
import { createFaultProxy } from '../../support/fault-proxy.ts';
import { createPatientClock } from '../../support/patient-clock.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';

const never = new AbortController().signal;
const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const thing of open.splice(0)) await thing[Symbol.asyncDispose]();
});

type Serve = typeof serveLuxos;

async function bench(serve: Serve, model: string, options: { user?: string | null; name?: string } = {}) {
  const random = seededRandom(7);
  const miner = new SimulatedMiner('m', minerTraits(model), random);
  const clock = createPatientClock((nowMs) => miner.advance(nowMs));
  await clock.pass(5000);
  const faults: MinerWireFaults = {};
  const server: SimulatedServer = await serve(
    miner,
    {
      host: '127.0.0.1',
      port: 0,
      webPort: 0,
      macAddress: '02:00:00:00:00:07',
      serialNumber: 'SIM7',
      model: options.name ?? model,
      clock,
      password: 'secret',
    },
    faults,
  );
  open.push({ [Symbol.asyncDispose]: () => server.close() });
  const proxy = await createFaultProxy(server.port, clock);
  open.push(proxy);
  const endpoint: MinerEndpoint = {
    deviceId: 'm',
    host: '127.0.0.1',
    port: proxy.port,
    webPort: server.webPort ?? 1,
    user: options.user === undefined ? 'root' : options.user,
    password: options.user === null ? null : { reveal: () => 'secret' },
    model: null,
  };
  const deps = { clock, random };
  return { miner, clock, faults, server, proxy, endpoint, deps };
}

async function read(driver: LoadDriver): Promise<MinerReading> {
  const result = await driver.read(never);
  if (!result.ok || result.value.kind !== 'miner') throw new Error(JSON.stringify(result));
  return result.value;
}

describe('LuxOS', () => {
  it('keeps connections a second apart, gives its session back, and sets the next profile below', async () => {
    const { miner, clock, proxy, endpoint, deps, server } = await bench(serveLuxos, 'Antminer S19k Pro');
    const driver = openMiner(endpoint, 'luxos', deps);
    const { control } = await read(driver);
    const presets = control.powerLimit?.presetsWatts ?? [];
    expect(presets).toHaveLength(17);
    const below = presets.findLast((watts) => watts <= 2000)!;
    const applied = await driver.apply({ kind: 'run', limitWatts: 2000 }, never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: true, limitWatts: below } });
    expect(miner.limitWatts).toBe(below);
    const gaps = proxy.openedAt.slice(1).map((at, index) => at - proxy.openedAt[index]!);
    expect(gaps.length).toBeGreaterThan(5);
    for (const gap of gaps) expect(gap).toBeGreaterThanOrEqual(1000);
    const session = await exchangeOverTcp(
      {
        host: server.host,
        port: server.port,
        request: encodeCgminerRequest('session'),
        limits: { connectMs: 1000, idleMs: 1000, totalMs: 2000, maximumBytes: 10_000 },
      },
      clock,
      never,
    );
    const reply = session.ok ? decodeCgminerReply(session.value.bytes) : null;
    expect(reply).toMatchObject({ ok: true, value: { body: { SESSION: [{ SessionID: '' }] } } });
  });

  it('stays away from a port that refuses, for half a minute', async () => {
    const { clock, proxy, endpoint, deps } = await bench(serveLuxos, 'Antminer S19k Pro');
    const driver = openMiner(endpoint, 'luxos', deps);
    await read(driver);
    await proxy[Symbol.asyncDispose]();
    expect((await driver.read(never)).ok).toBe(false);
    const before = clock.monotonicMs();
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
    expect(clock.monotonicMs()).toBe(before);
  });

  it('is asked one command at a time where joining is not understood', async () => {
    const { server, endpoint, deps } = await bench(serveLuxos, 'Antminer S19k Pro');
    const plain = await listenOnLoopback((socket) => {
      socket.once('data', async (bytes) => {
        const joined = bytes.toString().includes('+');
        const limits = { connectMs: 1000, idleMs: 1000, totalMs: 2000, maximumBytes: 100_000 };
        const request = joined ? encodeCgminerRequest('nonsense') : bytes;
        const answer = await exchangeOverTcp({ ...server, request, limits }, systemClock, never);
        socket.end(answer.ok ? answer.value.bytes : '');
      });
    });
    open.push(plain);
    const driver = openMiner({ ...endpoint, port: plain.port }, 'luxos', deps);
    const reading = await read(driver);
    expect(reading).toMatchObject({ state: 'hashing', macAddress: '02:00:00:00:00:07' });
    expect(reading.control.powerLimit?.presetsWatts).toHaveLength(17);
  });
});

describe('stock Bitmain', () => {
  const conf = async (server: SimulatedServer) => {
    const target = {
      host: server.host,
      port: server.webPort!,
      clock: systemClock,
      limits: { connectMs: 1000, idleMs: 1000, totalMs: 2000, maximumBytes: 10_000 },
    };
    const session = createDigestSession({ user: 'root', password: 'secret' }, seededRandom(1));
    const request = { method: 'GET', path: '/cgi-bin/get_miner_conf.cgi' } as const;
    const answer = await exchangeWithDigest(target, request, session, never);
    if (!answer.ok) throw new Error(answer.error.message);
    return JSON.parse(Buffer.from(answer.value.body).toString()) as Record<string, unknown>;
  };

  it('never loses pools or any other setting through a change of mode', async () => {
    const { clock, server, endpoint, deps, miner } = await bench(serveBitmain, 'Antminer S21');
    const driver = openMiner(endpoint, 'bitmain', deps);
    await read(driver);
    const before = await conf(server);
    expect(before['pools']).toHaveLength(3);
    for (const command of [
      { kind: 'sleep' },
      { kind: 'run', limitWatts: null },
      { kind: 'run', limitWatts: 3000 },
    ] as const) {
      expect(await driver.apply(command, never)).toMatchObject({ ok: true, value: { acknowledged: true } });
      const { 'bitmain-work-mode': mode, ...after } = await conf(server);
      const { 'bitmain-work-mode': _before, ...kept } = before;
      expect(after).toEqual(kept);
      expect(mode).toBe(
        { sleep: '1', run: command.kind === 'run' && command.limitWatts !== null ? '3' : '0' }[command.kind],
      );
      await clock.pass(900_000);
      await read(driver);
    }
    expect(miner.powerWatts).toBeLessThanOrEqual(3000);
  });

  it('does not write a mode that already stands: a write restarts the mining program', async () => {
    const { endpoint, deps, miner } = await bench(serveBitmain, 'Antminer S21');
    const driver = openMiner(endpoint, 'bitmain', deps);
    const applied = await driver.apply({ kind: 'run', limitWatts: null }, never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: true, note: /already/ } });
    expect(miner.state).toBe('hashing');
  });

  it('is read without a password, estimated from its model, and not commanded', async () => {
    const { endpoint, deps, miner } = await bench(serveBitmain, 'Antminer S21', { user: null });
    const driver = openMiner(endpoint, 'auto', deps);
    const reading = await read(driver);
    expect(reading).toMatchObject({
      firmware: 'bitmain',
      state: 'hashing',
      powerSource: 'estimated',
      macAddress: null,
    });
    expect(reading.powerWatts).toBeCloseTo(3500, 0);
    expect(reading.control).toMatchObject({ sleep: false, wake: false });
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({
      ok: false,
      error: { kind: 'unauthorised' },
    });
    expect(miner.state).toBe('hashing');
  });

  it('is recognised and read asleep, when its API port answers nothing', async () => {
    const { clock, endpoint, deps } = await bench(serveBitmain, 'Antminer S21');
    expect((await openMiner(endpoint, 'bitmain', deps).apply({ kind: 'sleep' }, never)).ok).toBe(true);
    await clock.pass(30_000);
    const reading = await read(openMiner(endpoint, 'auto', deps));
    expect(reading).toMatchObject({
      firmware: 'bitmain',
      state: 'sleeping',
      powerWatts: 50,
      powerSource: 'estimated',
    });
    expect(reading.pools.length).toBeGreaterThan(0);
  });

  it('has no limit on a model without a low-power mode', async () => {
    const { endpoint, deps } = await bench(serveBitmain, 'Antminer S19j Pro');
    const driver = openMiner(endpoint, 'bitmain', deps);
    expect((await read(driver)).control.powerLimit).toBeNull();
    expect(await driver.apply({ kind: 'run', limitWatts: 2500 }, never)).toMatchObject({
      ok: false,
      error: { kind: 'refused' },
    });
  });
});

describe('Whatsminer', () => {
  it('acts by percentage within seconds under its limit, renews a token that ended', async () => {
    const { clock, miner, endpoint, deps } = await bench(serveWhatsminer, 'Whatsminer M30S++', {
      name: 'M30S++VH100',
    });
    const driver = openMiner(endpoint, 'whatsminer', deps);
    expect(await read(driver)).toMatchObject({ model: 'Whatsminer M30S++VH100', state: 'hashing' });
    expect(await driver.apply({ kind: 'run', limitWatts: 2500 }, never)).toMatchObject({
      ok: true,
      value: { acknowledged: true, limitWatts: 2499.84 },
    });
    await clock.pass(5000);
    expect(miner.powerWatts).toBeLessThanOrEqual(2500);
    await clock.pass(40 * 60_000);
    await read(driver);
    expect((await driver.apply({ kind: 'sleep' }, never)).ok).toBe(true);
    await clock.pass(5000);
    expect(miner.state).toBe('sleeping');
  });

  it('is asleep, not lost, when only its status still answers', async () => {
    const { endpoint, deps } = await bench(serveWhatsminer, 'Whatsminer M60S');
    const status = '{"STATUS":"S","When":1,"Code":131,"Msg":{"mineroff":"true"},"Description":""}';
    const info = '{"STATUS":"S","When":1,"Code":131,"Msg":{"mac":"D4:01:02:03:04:05"},"Description":""}';
    let says = status;
    const half = await listenOnLoopback((socket) =>
      socket.once('data', (bytes) => {
        const text = bytes.toString();
        if (text.includes('"status"')) socket.end(says);
        else if (text.includes('get_miner_info')) socket.end(info);
        else socket.end('Socket connect failed: Connection refused\n');
      }),
    );
    open.push(half);
    const driver = openMiner({ ...endpoint, port: half.port }, 'whatsminer', deps);
    expect(await read(driver)).toMatchObject({
      state: 'sleeping',
      macAddress: 'd4:01:02:03:04:05',
      powerWatts: null,
      hashrateThs: null,
    });
    says = status.replace('true', 'false');
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  });

  it('sets the lasting limit before a wake can exceed it', async () => {
    const { clock, miner, endpoint, deps } = await bench(serveWhatsminer, 'Whatsminer M60S', {
      name: 'M60S-VK40',
    });
    const driver = openMiner(endpoint, 'whatsminer', deps);
    miner.sleep();
    await clock.pass(10_000);
    expect((await read(driver)).state).toBe('sleeping');
    expect((await driver.apply({ kind: 'run', limitWatts: 2400 }, never)).ok).toBe(true);
    let most = 0;
    for (let minute = 0; minute < 60; minute += 1) {
      await clock.pass(60_000);
      most = Math.max(most, miner.powerWatts);
    }
    expect(most).toBeLessThanOrEqual(2400 * miner.traits.overshoot);
    expect(most).toBeGreaterThan(2000);
    const reading = await read(driver);
    expect(reading).toMatchObject({ powerLimitWatts: 2400, state: 'hashing' });
    // To go higher again it must restart, and says so.
    expect(reading.control.changeMs).toBe(900_000);
  });
});

describe('the simulator', () => {
  it('carries 300 units in one process', async () => {
    const random = seededRandom(3);
    const clock = createPatientClock();
    const serves: readonly Serve[] = [serveLuxos, serveBitmain, serveWhatsminer, serveCgminer];
    const models = ['Antminer S19k Pro', 'Antminer S21', 'M60S-VK40', 'Antminer S19j Pro'];
    const servers = await Promise.all(
      Array.from({ length: 300 }, (_, index) => {
        const model = models[index % 4]!;
        const miner = new SimulatedMiner(`m${index}`, minerTraits(model), random);
        const macAddress = `02:00:00:00:${(index >> 8).toString(16).padStart(2, '0')}:${(index & 255).toString(16).padStart(2, '0')}`;
        const place = {
          host: '127.0.0.1',
          port: 0,
          webPort: 0,
          macAddress,
          serialNumber: `S${index}`,
          model,
          clock,
        };
        return serves[index % 4]!(miner, place, {});
      }),
    );
    open.push({
      [Symbol.asyncDispose]: async () => {
        await Promise.all(servers.map((server) => server.close()));
      },
    });
    // Pacing between requests is not what is tried here.
    const hurried = { ...systemClock, sleep: () => Promise.resolve() };
    const readings = await Promise.all(
      servers.map((server, index) =>
        openMiner(
          {
            deviceId: `m${index}`,
            host: server.host,
            port: server.port,
            webPort: server.webPort ?? 1,
            user: 'root',
            password: { reveal: () => 'root' },
            model: null,
          },
          'auto',
          { clock: hurried, random },
        ).read(never),
      ),
    );
    const firmwares = readings.map((result) =>
      result.ok && result.value.kind === 'miner' ? result.value.firmware : result,
    );
    expect(firmwares.filter((firmware) => firmware === 'luxos')).toHaveLength(75);
    expect(firmwares.filter((firmware) => firmware === 'bitmain')).toHaveLength(75);
    expect(firmwares.filter((firmware) => firmware === 'whatsminer')).toHaveLength(75);
    expect(firmwares.filter((firmware) => firmware === 'cgminer')).toHaveLength(75);
  });

  it('answers text with text', async () => {
    const { server, clock } = await bench(serveCgminer, 'Antminer S9');
    const limits = { connectMs: 1000, idleMs: 1000, totalMs: 2000, maximumBytes: 10_000 };
    const answer = await exchangeOverTcp(
      { ...server, request: encodeCgminerTextRequest('summary+pools'), limits },
      clock,
      never,
    );
    const reply = answer.ok ? decodeCgminerReply(answer.value.bytes) : null;
    expect(reply).toMatchObject({ ok: true, value: { form: 'text', body: { summary: [{}], pools: [{}] } } });
  });
});
