import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { RedfishNode, type RedfishNodeConfig } from '../../drivers/gpu/redfish-node.ts';
import type { GpuNodeReading } from '../../drivers/load-driver.ts';
import { prove } from '../../drivers/prove.ts';
import { systemClock } from '../../protocols/clock.ts';
import { runCli } from '../support/live-site.ts';
import { type FakeController, startRedfishServer } from '../support/redfish-server.ts';
import { certificate } from '../support/tls-server.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
const { fingerprint256: fingerprint } = new X509Certificate(certificate('own'));
let folder: string;
let passwordFile: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-redfish-'));
  passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, 'secret-password\n');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function start(own: Partial<FakeController> = {}, config: Partial<RedfishNodeConfig> = {}) {
  const server = await startRedfishServer(own);
  const access = { url: server.url, user: 'operator', passwordFile, fingerprint };
  const driver = new RedfishNode({ id: 'g1', ...access, canCap: true, ...config }, systemClock);
  onTestFinished(async () => {
    await driver[Symbol.asyncDispose]();
    await server.stop();
  });
  return { server, driver, node: server.node };
}

async function read(driver: RedfishNode): Promise<GpuNodeReading> {
  const reading = await driver.read(never);
  if (!reading.ok) throw new Error(reading.error.message);
  return reading.value;
}

const cap = (limitWatts: number) => ({ kind: 'cap', uuid: 'node', limitWatts }) as const;
const FORMS = ['environment', 'power'] as const;

describe.each(FORMS)('a node by Redfish, %s form', (form) => {
  // The older form tells no least limit: the configuration does.
  const config = form === 'power' ? { capMinWatts: 3000 } : {};

  test('is read as one part: its watts, its limit, its range', async () => {
    const { driver, node } = await start({ form, setPointWatts: 7000 }, config);
    const reading = await read(driver);
    expect(reading).toMatchObject({
      kind: 'gpu-node',
      source: 'redfish',
      powerWatts: 6000,
      control: { powerLimit: { kind: 'watts', minWatts: 3000, maxWatts: 10_000 }, changeMs: 90_000 },
    });
    expect(reading.gpus).toMatchObject([
      {
        uuid: 'node',
        name: 'GPU server',
        powerWatts: 6000,
        requestedLimitWatts: 7000,
        enforcedLimitWatts: 7000,
      },
    ]);
    node.demandWatts = 0;
    // A real zero is one.
    expect((await read(driver)).powerWatts).toBe(0);
    expect(await driver.identify(never)).toMatchObject({
      ok: true,
      value: { basis: 'serial', value: 'SN-1', vendor: 'Example', firmware: 'redfish' },
    });
  });

  test('is capped, read back, and proved by its draw', async () => {
    const { driver, server, node } = await start({ form }, config);
    const before = await read(driver);
    const proof = await prove(driver, cap(4500), before, systemClock, never);
    expect(proof).toMatchObject({ outcome: 'verified', applied: { acknowledged: true } });
    expect(node.setPointWatts).toBe(4500);
    expect(server.draw()).toBe(4500);
    expect((await read(driver)).gpus[0]?.enforcedLimitWatts).toBe(4500);
  });

  test('a limit that its draw exceeds is not in force, whatever is set', async () => {
    const { driver, node } = await start({ form, disobeys: true }, config);
    expect(await driver.apply(cap(4500), never)).toMatchObject({ ok: true, value: { acknowledged: true } });
    expect((await read(driver)).gpus[0]).toMatchObject({
      requestedLimitWatts: 4500,
      enforcedLimitWatts: null,
    });
    node.demandWatts = 4600;
    expect((await read(driver)).gpus[0]?.enforcedLimitWatts).toBe(4500);
  });

  test('outside of a range nothing is sent, and whose range it is is said', async () => {
    const { driver, server } = await start({ form }, { capMinWatts: 4000, capMaxWatts: 8000 });
    await read(driver);
    server.calls();
    const low = await driver.apply(cap(3500), never);
    expect(low).toMatchObject({ ok: false, error: { kind: 'refused' } });
    expect(!low.ok && low.error.message).toContain('3500 W is outside 4000 to 8000 W');
    expect(!low.ok && low.error.message).toContain('configuration');
    expect(await driver.apply(cap(8001), never)).toMatchObject({ ok: false, error: { kind: 'refused' } });
    expect(server.calls().filter((call) => call.startsWith('PATCH'))).toEqual([]);
  });

  test('what somebody else changes in between is not overwritten unseen: read again, then written', async () => {
    const { driver, server, node } = await start({ form, etags: 'required' }, config);
    await read(driver);
    server.calls();
    let times = 0;
    node.meddle = () => {
      times += 1;
      // After the reading of the range, and after the one before the first write.
      if (times === 2) server.touch();
    };
    expect(await driver.apply(cap(5000), never)).toMatchObject({ ok: true, value: { acknowledged: true } });
    expect(server.calls().filter((call) => call.startsWith('PATCH'))).toHaveLength(2);
    expect(node.setPointWatts).toBe(5000);
  });

  test('a controller without entity tags is written to without', async () => {
    const { driver, node } = await start({ form, etags: 'none' }, config);
    expect(await driver.apply(cap(5000), never)).toMatchObject({ ok: true });
    expect(node.setPointWatts).toBe(5000);
  });
});

describe('the range of a node', () => {
  test('of the device is named as such', async () => {
    const { driver } = await start();
    const said = await driver.apply(cap(2000), never);
    expect(!said.ok && said.error.message).toContain('outside 3000 to 10000 W, the range of the device');
  });

  test('that neither the device nor the configuration tells leaves it without a limit', async () => {
    const { driver } = await start({ minWatts: null, maxWatts: null });
    const reading = await read(driver);
    expect(reading.powerWatts).toBe(6000);
    expect(reading.control.powerLimit).toBeNull();
    expect(await driver.apply(cap(5000), never)).toMatchObject({ ok: false, error: { kind: 'unsupported' } });
  });

  test('that the device does not tell is that of the configuration', async () => {
    const { driver } = await start(
      { minWatts: null, maxWatts: null },
      { capMinWatts: 4000, capMaxWatts: 9000 },
    );
    expect((await read(driver)).control.powerLimit).toEqual({
      kind: 'watts',
      minWatts: 4000,
      maxWatts: 9000,
    });
    expect(await driver.apply(cap(5000), never)).toMatchObject({ ok: true });
  });
});

describe('a control that is switched off', () => {
  test('limits nothing, and is switched on with the first limit', async () => {
    const { driver, node } = await start({ mode: 'Disabled', setPointWatts: 5000 });
    expect((await read(driver)).gpus[0]).toMatchObject({
      requestedLimitWatts: null,
      enforcedLimitWatts: null,
    });
    expect(await driver.apply(cap(4500), never)).toMatchObject({ ok: true });
    expect(node).toMatchObject({ mode: 'Automatic', setPointWatts: 4500 });
  });
});

describe('a change that becomes a task', () => {
  test.each([
    ['done', true, { ok: true, value: { acknowledged: true } }, 4500],
    ['failing', false, { ok: false, error: { kind: 'refused' } }, null],
  ] as const)('is seen through to its end: %s', async (task, isDone, expected, setPointWatts) => {
    const clock = new VirtualClock();
    const server = await startRedfishServer({ task });
    const access = { url: server.url, user: 'operator', passwordFile, fingerprint };
    const driver = new RedfishNode({ id: 'g1', ...access, canCap: true }, clock);
    onTestFinished(async () => {
      await driver[Symbol.asyncDispose]();
      await server.stop();
    });
    let settled = false;
    const applied = driver.apply(cap(4500), never).finally(() => {
      settled = true;
    });
    await expect
      .poll(
        async () => {
          // Only the waits between the looks are on this clock; the exchanges are real.
          if (server.calls().some((call) => call.includes('PATCH') || call.includes('TaskMonitors')))
            await clock.advance(2000);
          return settled;
        },
        { interval: 5 },
      )
      .toBe(true);
    const said = await applied;
    expect(said).toMatchObject(expected);
    expect(said.ok).toBe(isDone);
    if (!said.ok) expect(said.error.message).toContain('The power supply does not answer.');
    expect(server.node.setPointWatts).toBe(setPointWatts);
  });
});

describe('the session', () => {
  test('is one, opened once, and ended with the driver', async () => {
    const { driver, server } = await start();
    await read(driver);
    await read(driver);
    await driver.apply(cap(5000), never);
    expect(server.sessions()).toBe(1);
    await driver[Symbol.asyncDispose]();
    expect(server.sessions()).toBe(0);
  });

  test('that the controller forgot is opened again', async () => {
    const { driver, server } = await start();
    await read(driver);
    server.forgetSessions();
    expect((await read(driver)).powerWatts).toBe(6000);
    expect(server.sessions()).toBe(1);
  });

  test('with a wrong password is not tried again at once: controllers lock the door', async () => {
    const { driver, server } = await start();
    writeFileSync(passwordFile, 'wrong-password');
    const first = await driver.read(never);
    expect(first).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    expect(JSON.stringify(first)).not.toContain('wrong-password');
    await driver.read(never);
    expect(server.calls()).toHaveLength(1);
  });
});

describe('the command', () => {
  test('reads a node; a cap is only said without --apply, and proved with it', async () => {
    const { server, node } = await start();
    const access = ['--redfish', server.url, '--user', 'operator', '--password-file', passwordFile];
    const gpu = async (...args: string[]) => {
      const said = await runCli(['gpu', ...args, ...access, '--fingerprint', fingerprint, '--json']);
      return { code: said.code, data: (JSON.parse(said.stdout) as { data: unknown }).data };
    };
    expect(await gpu()).toMatchObject({ code: 0, data: { source: 'redfish', powerWatts: 6000 } });
    server.calls();
    expect(await gpu('cap', 'node', '4500')).toMatchObject({ data: { outcome: 'not-applied' } });
    expect(server.calls().filter((call) => call.startsWith('PATCH'))).toEqual([]);
    expect(await gpu('cap', 'node', '4500', '--apply')).toMatchObject({
      code: 0,
      data: { outcome: 'verified' },
    });
    expect(node.setPointWatts).toBe(4500);
    expect(server.sessions()).toBe(0);
  });
});

describe('what goes wrong is said with what to do', () => {
  test('a user who may only read', async () => {
    const { driver } = await start({ role: 'ReadOnly' });
    const said = await driver.apply(cap(5000), never);
    expect(said).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    expect(!said.ok && said.error.message).toContain('set a power limit');
    expect(!said.ok && said.error.hint).toContain('Operator');
  });

  test('several chassis that show power', async () => {
    const { driver, server } = await start({ more: ['2'] });
    const said = await driver.read(never);
    expect(said).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    expect(!said.ok && said.error.message).toContain('/redfish/v1/Chassis/1, /redfish/v1/Chassis/2');
    const access = { url: server.url, user: 'operator', passwordFile, fingerprint, canCap: true };
    const named = new RedfishNode({ id: 'g1', ...access, chassis: '/redfish/v1/Chassis/2' }, systemClock);
    onTestFinished(() => named[Symbol.asyncDispose]());
    expect((await read(named)).powerWatts).toBe(6000);
  });

  test('a busy controller, an unknown chassis, another certificate', async () => {
    const { driver, server, node } = await start();
    node.broken = 503;
    expect(await driver.read(never)).toMatchObject({ ok: false, error: { kind: 'busy' } });
    node.broken = null;
    const access = { id: 'g1', url: server.url, user: 'operator', passwordFile, canCap: true };
    const unknown = new RedfishNode(
      { ...access, fingerprint, chassis: '/redfish/v1/Chassis/9' },
      systemClock,
    );
    onTestFinished(() => unknown[Symbol.asyncDispose]());
    expect(await unknown.read(never)).toMatchObject({ ok: false, error: { kind: 'unsupported' } });
    server.calls();
    const other = new RedfishNode({ ...access, fingerprint: 'ab'.repeat(32) }, systemClock);
    expect(await other.read(never)).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    expect(server.calls()).toEqual([]);
  });

  test('a node that is only read takes no cap', async () => {
    const { driver } = await start({}, { canCap: false });
    expect((await read(driver)).control.powerLimit).toBeNull();
    expect(await driver.apply(cap(5000), never)).toMatchObject({ ok: false, error: { kind: 'unsupported' } });
  });
});
