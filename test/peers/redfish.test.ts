import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RedfishNode } from '../../drivers/gpu/redfish-node.ts';
import { systemClock } from '../../protocols/clock.ts';
import { freePort, runCli, startAgentProcess, until } from '../support/live-site.ts';
import { startRedfishServer } from '../support/redfish-server.ts';
import { AUTHORITY } from '../support/tls-server.ts';

const run = promisify(execFile);
const never = new AbortController().signal;

function why(program: string, args: readonly string[], name: string): string | null {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return null;
  } catch {
    return `needs ${name}: Debian package ${name}`;
  }
}
const noTool = why('redfishtool', ['-V'], 'redfishtool');
const noSushy = why('/usr/bin/python3', ['-c', 'import sushy'], 'python3-sushy');

/** What sushy reads of the first chassis, in a session of its own, and what it sets there. */
const SUSHY = `
import json, sys, sushy
from sushy import auth
session = auth.SessionAuth('operator', 'secret-password')
root = sushy.Sushy(sys.argv[1], auth=session)
chassis = root.get_chassis_collection().get_members()[0]
path = chassis.json['EnvironmentMetrics']['@odata.id']
answer = root._conn.get(path)
if len(sys.argv) > 2:
    root._conn.patch(path, data={'PowerLimitWatts': {'SetPoint': int(sys.argv[2])}}, etag=answer.headers['ETag'])
    answer = root._conn.get(path)
metrics = answer.json()
print(json.dumps({'serial': chassis.serial_number, 'watts': metrics['PowerWatts']['Reading'], 'limit': metrics['PowerLimitWatts']['SetPoint']}))
session.close()
`;

/** The server that judges the driver is judged by programs that somebody else wrote. */
describe('Redfish', () => {
  let server: Awaited<ReturnType<typeof startRedfishServer>>;
  let driver: RedfishNode;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-redfish-'));
    const passwordFile = join(folder, 'password');
    writeFileSync(passwordFile, 'secret-password');
    server = await startRedfishServer({ form: 'both', etags: 'required' }, 'server');
    const access = { url: server.url, ca: AUTHORITY, user: 'operator', passwordFile };
    driver = new RedfishNode({ id: 'g1', ...access, canCap: true }, systemClock);
  });
  afterAll(async () => {
    await driver[Symbol.asyncDispose]();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const limit = async () => {
    const reading = await driver.read(never);
    return reading.ok ? (reading.value.gpus[0]?.enforcedLimitWatts ?? null) : reading.error.message;
  };
  const cap = (limitWatts: number) => driver.apply({ kind: 'cap', uuid: 'node', limitWatts }, never);

  it.skipIf(noTool !== null)(`as redfishtool speaks it (${noTool ?? 'both forms'})`, async () => {
    const access = ['-r', new URL(server.url).host, '-u', 'operator', '-p', 'secret-password', '-n'];
    const tool = async (...args: string[]) => {
      const said = await run('redfishtool', [...access, '-S', 'Always', '-A', 'Session', ...args]);
      return JSON.parse(said.stdout) as Record<string, Record<string, unknown>>;
    };
    server.node.etags = 'optional';
    expect(await tool('Chassis', '-I', '1', 'getPowerReading')).toMatchObject({ PowerConsumedWatts: 6000 });
    await tool('Chassis', '-I', '1', 'setPowerLimit', '5000');
    expect(await limit()).toBe(5000);
    expect(await cap(4200)).toMatchObject({ ok: true, value: { acknowledged: true } });
    const metrics = await tool('raw', 'GET', '/redfish/v1/Chassis/1/EnvironmentMetrics');
    expect(metrics['PowerLimitWatts']?.['SetPoint']).toBe(4200);
    expect(await tool('Chassis', '-I', '1', 'getPowerReading')).toMatchObject({
      PowerLimit: { LimitInWatts: 4200 },
    });
    // Its sessions are ended; the driver's own goes on.
    expect(server.sessions()).toBe(1);
  });

  it.skipIf(noSushy !== null)(`as sushy speaks it (${noSushy ?? 'sessions, entity tags'})`, async () => {
    const sushy = async (...args: string[]) => {
      const env = { ...process.env, REQUESTS_CA_BUNDLE: AUTHORITY };
      const said = await run('/usr/bin/python3', ['-c', SUSHY, server.url, ...args], { env });
      return JSON.parse(said.stdout) as unknown;
    };
    server.node.etags = 'required';
    server.node.setPointWatts = null;
    expect(await sushy('5500')).toEqual({ serial: 'SN-1', watts: 5500, limit: 5500 });
    expect(await limit()).toBe(5500);
    expect(await cap(4100)).toMatchObject({ ok: true, value: { acknowledged: true } });
    expect(await sushy()).toEqual({ serial: 'SN-1', watts: 4100, limit: 4100 });
    expect(server.sessions()).toBe(1);
  });
});

describe('a whole agent that caps a node by Redfish', () => {
  it('does so when its limit falls, proves it by the draw, and ends its session with itself', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'switchyard-redfish-'));
    const server = await startRedfishServer({ demandWatts: 9500 }, 'server');
    const passwordFile = join(folder, 'password');
    const socket = join(folder, 'state', 'agent.sock');
    writeFileSync(passwordFile, 'secret-password');
    const reader = `{ kind: redfish, url: "${server.url}", user: operator, passwordFile: "${passwordFile}", ca: "${AUTHORITY}" }`;
    writeFileSync(
      join(folder, 'switchyard.yaml'),
      `site: { id: t }
limits: [{ id: grid, rating: 20 kW, authority: full }]
gpuNodes:
  - { id: g1, limit: grid, nameplate: 10.2 kW, reader: ${reader}, cap: { kind: redfish } }
page: { listen: "127.0.0.1:${await freePort()}" }
store: { path: "${join(folder, 'state')}" }
`,
    );
    const agent = startAgentProcess(join(folder, 'switchyard.yaml'));
    const switchyard = async (...args: string[]) => {
      const said = await runCli([...args, '--json'], { SWITCHYARD_SOCKET: socket });
      return JSON.parse(said.stdout || '{}') as {
        ok?: boolean;
        data?: { limits?: { powerWatts: number }[] };
      };
    };
    const watts = async () => (await switchyard('status')).data?.limits?.[0]?.powerWatts ?? null;
    await until(async () => ((await watts()) === 9500 ? true : null));
    expect(server.node.setPointWatts).toBeNull();
    expect(await switchyard('limit', 'set', 'grid', '6 kW', '--yes')).toMatchObject({ ok: true });
    await until(() => server.node.setPointWatts);
    expect(server.node.setPointWatts).toBeLessThanOrEqual(6000);
    await until(async () => ((await watts()) === server.draw() ? true : null));
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill('SIGTERM');
    await ended;
    expect(server.sessions()).toBe(0);
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
});
