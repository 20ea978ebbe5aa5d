import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askAgent } from '../../agent/page/local-socket.ts';
import { type LiveSite, runCli, startAgentProcess, startLiveSite, until } from '../support/live-site.ts';

interface Event {
  readonly id: number;
  readonly kind: string;
  readonly target: string;
}

describe('log, history and replay against an agent on loopback', () => {
  let live: LiveSite;
  let agent: ChildProcess;

  const start = async () => {
    agent = startAgentProcess(live.config);
    await until(async () => {
      const answer = await askAgent(live.socket, 'GET', '/api/v1/site', undefined, 2000);
      const mode = answer.ok ? (answer.value.body as { mode: string }).mode : null;
      return mode === 'normal' || mode === 'curtailed' ? mode : null;
    });
  };
  const end = async (signal: 'SIGTERM' | 'SIGKILL') => {
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill(signal);
    await ended;
  };
  const switchyard = (...args: string[]) => runCli(args, { SWITCHYARD_SOCKET: live.socket });
  const events = async (...args: string[]) =>
    (JSON.parse((await switchyard('log', '--json', ...args)).stdout) as { data: Event[] }).data;

  beforeAll(async () => {
    live = await startLiveSite({ miners: 12, gpuNodes: 0 }, 1, '10');
    await start();
  });

  afterAll(async () => {
    await end('SIGKILL');
    await live.stop();
  });

  it('tells what happened, over a restart, of all or of one device', async () => {
    const set = await switchyard('limit', 'set', 'grid', '20kW', '--within', '30s');
    expect(set.code, set.stderr).toBe(0);
    const commanded = await until(
      async () => (await events('--count', '1000')).find((event) => event.kind === 'command') ?? null,
    );
    await end('SIGKILL');
    await start();
    const all = await events('--count', '1000');
    expect(all.some((event) => event.id === commanded.id && event.target === commanded.target)).toBe(true);
    expect(all.map((event) => event.id)).toEqual([...all.map((event) => event.id)].sort((a, b) => a - b));
    expect(all.some((event) => event.kind === 'order')).toBe(true);
    const one = await events('--device', commanded.target);
    expect(new Set(one.map((event) => event.target))).toEqual(new Set([commanded.target]));
    // The order is carried on by the agent that was started after the kill.
    const orders = await askAgent(live.socket, 'GET', '/api/v1/orders', undefined, 2000);
    expect(orders.ok && orders.value.body).toMatchObject({ leases: [{ limit: 'grid', watts: 20_000 }] });
  });

  it('gives power by the minute as CSV, over a restart, and replays its journal', async () => {
    await end('SIGTERM');
    const replay = await switchyard('replay', join(live.folder, 'state'), '--json');
    expect(replay.code, replay.stdout + replay.stderr).toBe(0);
    const { data } = JSON.parse(replay.stdout) as {
      data: { cycles: number; agreed: number; epochs: number };
    };
    expect(data.agreed).toBe(data.cycles);
    expect(data.epochs).toBe(2);
    await start();
    const { stdout, code } = await switchyard('history', '--limit', 'grid', '--csv');
    expect(code).toBe(0);
    const [head, ...rows] = stdout.trim().split('\n');
    expect(head).toBe('time,limit,powerWatts,limitWatts,miningWatts,aiWatts');
    expect(rows.length).toBeGreaterThan(0);
    for (const row of rows) expect(row).toMatch(/^20\d\d-\d\d-\d\dT\d\d:\d\d:00\.000Z,grid,\d*,\d+,\d+,\d+$/);
  });

  it('says what is wrong with a journal that is none', async () => {
    const result = await switchyard('replay', live.config);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('cannot be read as a journal');
  });
});
