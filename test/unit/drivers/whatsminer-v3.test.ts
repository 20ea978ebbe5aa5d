import { afterEach, describe, expect, it } from 'vitest';
import type { MinerEndpoint } from '../../../drivers/load-driver.ts';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { seededRandom } from '../../../protocols/random.ts';
import type { MinerWireFaults } from '../../../simulator/miners/api-server.ts';
import { minerTraits } from '../../../simulator/miners/traits.ts';
import { serveWhatsminerV3 } from '../../../simulator/miners/whatsminer-v3.ts';
import { SimulatedMiner } from '../../../simulator/physics.ts';
import { createPatientClock } from '../../support/patient-clock.ts';
import { closedPort } from '../../support/recorded-server.ts';

const never = new AbortController().signal;
const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const thing of open.splice(0)) await thing.close();
});

async function bench(faults: MinerWireFaults = {}) {
  const random = seededRandom(3);
  const miner = new SimulatedMiner('m', minerTraits('Whatsminer M60S'), random);
  const clock = createPatientClock((nowMs) => miner.advance(nowMs));
  await clock.pass(5000);
  const place = {
    host: '127.0.0.1',
    port: 0,
    webPort: 0,
    macAddress: '02:00:00:00:00:07',
    serialNumber: 'SIM7',
    model: 'M60S-VK40',
    clock,
    password: 'secret',
  };
  const server = await serveWhatsminerV3(miner, place, faults);
  open.push(server);
  const endpoint = (port: number, webPort: number): MinerEndpoint => ({
    deviceId: 'm',
    host: '127.0.0.1',
    port,
    webPort,
    user: null,
    password: { reveal: () => 'secret' },
    model: null,
  });
  return { miner, clock, random, server, endpoint, nobody: await closedPort() };
}

describe('Whatsminer API 3', () => {
  it('is recognised by its frames where the older port is shut', async () => {
    const { clock, random, server, endpoint, nobody } = await bench();
    const driver = openMiner(endpoint(nobody, server.webPort!), 'auto', { clock, random });
    expect(await clock.expire(driver.identify(never))).toMatchObject({
      ok: true,
      value: { firmware: 'whatsminer-v3', basis: 'mac', value: '02:00:00:00:00:07' },
    });
  });

  it('is read and commanded by API 2 where its own port is shut', async () => {
    const { miner, clock, random, server, endpoint, nobody } = await bench();
    const driver = openMiner(endpoint(server.port, nobody), 'whatsminer-v3', { clock, random });
    expect(await driver.read(never)).toMatchObject({
      ok: true,
      value: { firmware: 'whatsminer-v3', macAddress: '02:00:00:00:00:07' },
    });
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({ ok: true });
    await clock.pass(10_000);
    expect(miner.state).toBe('sleeping');
  });

  it('holds a percentage within seconds, and raises by the lasting limit', async () => {
    const { miner, clock, random, server, endpoint } = await bench();
    const driver = openMiner(endpoint(server.port, server.webPort!), 'whatsminer-v3', { clock, random });
    await driver.read(never);
    const down = await driver.apply({ kind: 'run', limitWatts: 2000 }, never);
    expect(down).toMatchObject({ ok: true, value: { acknowledged: true } });
    await clock.pass(10_000);
    expect(miner.powerWatts).toBeLessThanOrEqual(2000);
    expect(miner.powerWatts).toBeGreaterThan(1900);
  });

  it('writes as the account that the configuration names', async () => {
    const { miner, clock, random, server, endpoint } = await bench();
    const as = { ...endpoint(server.port, server.webPort!), user: 'user1' };
    const driver = openMiner(as, 'whatsminer-v3', { clock, random });
    expect(await driver.apply({ kind: 'sleep' }, never)).toMatchObject({ error: { kind: 'unauthorised' } });
    expect(miner.state).toBe('hashing');
  });
});
