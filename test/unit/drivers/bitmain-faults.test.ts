import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { LoadReading, MinerEndpoint } from '../../../drivers/load-driver.ts';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { createPatientClock } from '../../support/patient-clock.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';

const never = new AbortController().signal;
const recorded = (command: string): string =>
  readFileSync(join(import.meta.dirname, `../../golden/bitmain/s19pro-2022-12/${command}.json`), 'utf8');

it('the faults of a stock Antminer come from its summary page, which is asked now and then', async () => {
  await using port = await listenOnLoopback((socket) => {
    socket.once('data', (bytes) => {
      const { command } = JSON.parse(String(bytes)) as { command: string };
      socket.end(`${recorded(command)}\0`);
    });
  });
  let status = [
    { type: 'rate', status: 's', code: 0, msg: '' },
    { type: 'fans', status: 'e', code: 2, msg: 'fan lost' },
  ];
  const asked: string[] = [];
  const web = createServer((request, response) => {
    const page = (request.url ?? '').replace('/cgi-bin/', '');
    asked.push(page);
    const answers: Readonly<Record<string, unknown>> = {
      'get_system_info.cgi': JSON.parse(recorded('system_info')),
      'get_miner_conf.cgi': { pools: [], 'bitmain-work-mode': '0' },
      'summary.cgi': { STATUS: { STATUS: 'S' }, SUMMARY: [{ elapsed: 5, rate_5s: 1, status }] },
    };
    response.end(JSON.stringify(answers[page] ?? null));
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  try {
    const address = web.address();
    if (address === null || typeof address === 'string') throw new Error('not listening on a port');
    const endpoint: MinerEndpoint = {
      deviceId: 'm1',
      host: '127.0.0.1',
      port: port.port,
      webPort: address.port,
      user: 'root',
      password: { reveal: () => 'secret' },
      model: null,
    };
    const clock = createPatientClock();
    const driver = openMiner(endpoint, 'bitmain', { clock, random: seededRandom(1) });
    const read = async (): Promise<LoadReading> => {
      const reading = await clock.expire(driver.read(never));
      if (!reading.ok) throw new Error(reading.error.message);
      return reading.value;
    };
    const lost = { errors: [{ code: 'fans:2', message: 'fan lost' }] };
    expect(await read()).toMatchObject({ ...lost, hashrateThs: 110.56689 });
    status = [];
    // The recorded statistics count, never the older figures beside the faults.
    expect(await read()).toMatchObject({ ...lost, hashrateThs: 110.56689 });
    expect(asked.filter((page) => page === 'summary.cgi')).toHaveLength(1);
    await clock.pass(60_000);
    expect(await read()).toMatchObject({ errors: [] });
    expect(asked.filter((page) => page === 'summary.cgi')).toHaveLength(2);
  } finally {
    web.closeAllConnections();
    web.close();
  }
});
