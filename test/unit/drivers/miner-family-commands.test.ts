import { afterEach, describe, expect, it } from 'vitest';
import type { MinerFirmware } from '../../../config/miners/firmwares.ts';
import type { MinerEndpoint, MinerReading } from '../../../drivers/load-driver.ts';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { askCgminer } from '../../../protocols/cgminer-client.ts';
import { seededRandom } from '../../../protocols/random.ts';
import type { MinerWireFaults } from '../../../simulator/miners/api-server.ts';
import { serveAvalon } from '../../../simulator/miners/avalon.ts';
import { serveBraiins, serveBraiinsGraphql } from '../../../simulator/miners/braiins.ts';
import { serveEpic } from '../../../simulator/miners/epic.ts';
import { serveFluxos } from '../../../simulator/miners/fluxos.ts';
import { serveLuxos } from '../../../simulator/miners/luxos.ts';
import type { ServeMiner } from '../../../simulator/miners/registry.ts';
import { minerTraits } from '../../../simulator/miners/traits.ts';
import { serveVnish } from '../../../simulator/miners/vnish.ts';
import { SimulatedMiner } from '../../../simulator/physics.ts';
import { createPatientClock } from '../../support/patient-clock.ts';

const never = new AbortController().signal;
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

interface Wanted {
  readonly firmware: MinerFirmware;
  readonly serve: ServeMiner;
  readonly model: string;
  readonly reportedModel?: string;
  readonly password?: string | null;
}

async function bench({ firmware, serve, model, reportedModel = model, password = 'secret' }: Wanted) {
  const random = seededRandom(11);
  const miner = new SimulatedMiner('m', minerTraits(model), random);
  const clock = createPatientClock((nowMs) => miner.advance(nowMs));
  await clock.pass(5000);
  const faults: MinerWireFaults = {};
  const server = await serve(
    miner,
    {
      host: '127.0.0.1',
      port: 0,
      webPort: 0,
      macAddress: '02:00:00:00:00:07',
      serialNumber: 'SIM7',
      model: reportedModel,
      clock,
      user: 'root',
      password: 'secret',
    },
    faults,
  );
  open.push(server);
  const endpoint: MinerEndpoint = {
    deviceId: 'm',
    host: '127.0.0.1',
    port: server.port,
    webPort: server.webPort ?? 1,
    user: password === null ? null : 'root',
    password: password === null ? null : { reveal: () => password },
    model: null,
  };
  const driver = openMiner(endpoint, firmware, { clock, random });
  const read = async (): Promise<MinerReading> => {
    const result = await driver.read(never);
    if (!result.ok || result.value.kind !== 'miner') throw new Error('no reading');
    return result.value;
  };
  return { miner, clock, faults, server, driver, read };
}

describe('VNish', () => {
  const vnish = { firmware: 'vnish', serve: serveVnish, model: 'Antminer S21 Pro' } as const;

  it('offers tuned presets only, and takes the next tuned one under a limit', async () => {
    const { driver, clock, miner, read } = await bench(vnish);
    const { powerLimit } = (await read()).control;
    const tuned = powerLimit?.presetsWatts ?? [];
    expect(powerLimit).toMatchObject({ kind: 'preset', maxWatts: 3510 });
    // 2110, 2630 and 3160 W are listed, and were never tuned.
    expect(tuned).not.toContain(2630);
    expect(tuned).toContain(2460);
    const applied = await driver.apply({ kind: 'run', limitWatts: 2700 }, never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: true, limitWatts: 2460 } });
    await clock.pass(120_000);
    expect(miner.powerWatts).toBe(2460);
    expect((await read()).powerLimitWatts).toBe(2460);
  });

  it('is told nothing twice: a preset that stands, a stop that stands', async () => {
    const { driver, clock } = await bench(vnish);
    await driver.apply({ kind: 'run', limitWatts: 2500 }, never);
    await clock.pass(400_000);
    const again = await driver.apply({ kind: 'run', limitWatts: 2500 }, never);
    expect(again).toMatchObject({ ok: true, value: { note: 'preset 2460 stands already' } });
    await driver.apply({ kind: 'sleep' }, never);
    await clock.pass(60_000);
    await driver.read(never);
    const slept = await driver.apply({ kind: 'sleep' }, never);
    expect(slept).toMatchObject({ ok: true, value: { note: 'already stopped' } });
  });

  it('takes no command without its password', async () => {
    const { driver, miner, read } = await bench({ ...vnish, password: null });
    expect((await read()).control).toMatchObject({ sleep: false, powerLimit: null });
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({ error: { kind: 'unauthorised' } });
    expect(miner.state).toBe('hashing');
  });
});

describe('LuxOS', () => {
  it('waits for a session that somebody else has taken, and says so', async () => {
    const { driver, clock, miner, server } = await bench({
      firmware: 'luxos',
      serve: serveLuxos,
      model: 'Antminer S19k Pro',
    });
    const target = { host: '127.0.0.1', port: server.port, clock };
    expect((await askCgminer(target, 'logon', '', never)).ok).toBe(true);
    const taken = await driver.apply({ kind: 'sleep' }, never);
    expect(taken).toMatchObject({ ok: false, error: { kind: 'refused' } });
    if (!taken.ok) expect(taken.error.hint).toMatch(/60 s/);
    expect(miner.state).toBe('hashing');
    await clock.pass(61_000);
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({ ok: true });
    await clock.pass(20_000);
    expect(miner.state).toBe('sleeping');
  });
});

describe('Braiins OS', () => {
  it('is paused over port 4028 where REST does not let in, without a password', async () => {
    const { driver, clock, miner, read } = await bench({
      firmware: 'braiins',
      serve: serveBraiins,
      model: 'Antminer S19 XP',
      password: null,
    });
    expect((await read()).control).toMatchObject({ sleep: true, powerLimit: null });
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({ ok: true });
    await clock.pass(30_000);
    expect(miner.state).toBe('sleeping');
    expect((await read()).state).toBe('sleeping');
  });

  it('takes no power target on port 4028', async () => {
    const { driver, miner } = await bench({
      firmware: 'braiins',
      serve: serveBraiinsGraphql,
      model: 'Antminer S19 XP',
    });
    await driver.read(never);
    expect(await driver.apply({ kind: 'run', limitWatts: 2000 }, never)).toMatchObject({
      error: { kind: 'unsupported' },
    });
    expect(miner.limitWatts).toBe(miner.traits.normalWatts);
  });
});

describe('Avalon', () => {
  it('takes the strongest mode under a limit where the watts of its modes are known', async () => {
    const { driver, clock, miner, read } = await bench({
      firmware: 'avalon',
      serve: serveAvalon,
      model: 'Avalon Home Q',
      reportedModel: 'Q',
    });
    expect((await read()).control.powerLimit).toEqual({
      kind: 'mode',
      minWatts: 800,
      maxWatts: 1674,
      presetsWatts: [800, 1300, 1674],
    });
    const applied = await driver.apply({ kind: 'run', limitWatts: 1299 }, never);
    expect(applied).toMatchObject({ ok: true, value: { limitWatts: 800 } });
    await clock.pass(120_000);
    expect(miner.powerWatts).toBe(800);
    await clock.pass(600_000);
    const again = await driver.apply({ kind: 'run', limitWatts: 900 }, never);
    expect(again).toMatchObject({ ok: true, value: { note: 'mode 0 stands already' } });
  });

  it('refuses a limit where the watts of its modes are not known', async () => {
    const { driver } = await bench({
      firmware: 'avalon',
      serve: serveAvalon,
      model: 'Avalon A1246',
      reportedModel: '1246-83',
    });
    await driver.read(never);
    expect(await driver.apply({ kind: 'run', limitWatts: 3000 }, never)).toMatchObject({
      error: { kind: 'unsupported' },
    });
  });
});

describe('ePIC PowerPlay', () => {
  it('gives a limit as the hashrate of a preset of its own', async () => {
    const { driver, clock, miner, read } = await bench({
      firmware: 'epic',
      serve: serveEpic,
      model: 'Antminer S19 XP',
    });
    expect((await read()).control.powerLimit).toMatchObject({
      kind: 'preset',
      presetsWatts: [1700, 2200, 2700, 3010],
    });
    const applied = await driver.apply({ kind: 'run', limitWatts: 2699 }, never);
    expect(applied).toMatchObject({ ok: true, value: { limitWatts: 2200 } });
    await clock.pass(120_000);
    expect(miner.powerWatts).toBe(2200);
  });

  it('stays idle when a target is lost on the way', async () => {
    const { driver, clock, miner, faults } = await bench({
      firmware: 'epic',
      serve: serveEpic,
      model: 'Antminer S19 XP',
    });
    await driver.apply({ kind: 'sleep' }, never);
    await clock.pass(60_000);
    faults.losesAnswers = true;
    const woken = await driver.apply({ kind: 'run', limitWatts: 2000 }, never);
    expect(woken).toMatchObject({ ok: true, value: { acknowledged: null } });
    expect(miner.state).toBe('sleeping');
  });
});

describe('FluxOS', () => {
  it('offers no limit before it has told what it draws, then none above that', async () => {
    const { driver, clock, miner, read } = await bench({
      firmware: 'fluxos',
      serve: serveFluxos,
      model: 'Antminer S21',
    });
    const unknown = await bench({ firmware: 'fluxos', serve: serveFluxos, model: 'Antminer S21' });
    unknown.miner.sleep();
    await unknown.clock.pass(60_000);
    expect((await unknown.read()).control.powerLimit).toBeNull();
    expect((await read()).control.powerLimit).toEqual({
      kind: 'watts',
      minWatts: 2100,
      maxWatts: 3500,
      stepWatts: 1,
    });
    const applied = await driver.apply({ kind: 'run', limitWatts: 2500.7 }, never);
    expect(applied).toMatchObject({ ok: true, value: { limitWatts: 2500 } });
    await clock.pass(120_000);
    expect(miner.powerWatts).toBe(2500);
    expect((await read()).powerLimitWatts).toBe(2500);
  });
});
