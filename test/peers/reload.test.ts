import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ReloadReport } from '../../agent/live-config.ts';
import { askAgent } from '../../agent/page/local-socket.ts';
import type { SiteView } from '../../agent/site/view.ts';
import { type LiveSite, runCli, startAgentProcess, startLiveSite, until } from '../support/live-site.ts';

describe('a reload of the running agent', () => {
  let live: LiveSite;
  let agent: ChildProcess;
  let text = '';

  beforeAll(async () => {
    live = await startLiveSite({ miners: 6, gpuNodes: 0 }, 1);
    text = readFileSync(live.config, 'utf8');
    agent = startAgentProcess(live.config);
    await until(async () => ((await site()) === null ? null : true));
  });

  afterAll(async () => {
    agent.kill('SIGKILL');
    await live.stop();
  });

  async function site(): Promise<SiteView | null> {
    const answer = await askAgent(live.socket, 'GET', '/api/v1/site', undefined, 5000);
    const view = answer.ok && answer.value.status === 200 ? (answer.value.body as SiteView) : null;
    return view?.totals == null ? null : view;
  }
  const rating = (view: SiteView) => view.limits.find((limit) => limit.parent === null)!.limitWatts;
  const reload = () => runCli(['reload', '--json', '--config', live.config]);
  const lowered = () => text.replace(/(id: grid, .*?rating: )[^,]+/, '$112 kW');

  it('puts a lower rating in force at once, and names it', async () => {
    writeFileSync(live.config, lowered());
    const before = rating((await site())!);
    const run = await reload();
    const { data } = JSON.parse(run.stdout) as { data: ReloadReport };
    expect(run.code, run.stdout + run.stderr).toBe(0);
    expect(data).toMatchObject({ ok: true, live: ['limits.grid.rating'], reconnect: [], restart: [] });
    expect(before).toBeGreaterThan(12_000);
    expect(rating((await site())!)).toBe(12_000);
  });

  it('changes nothing with an invalid file, and says so on socket, status and page', async () => {
    writeFileSync(live.config, `${lowered()}\nnonsense: 1\n`);
    agent.kill('SIGHUP');
    const view = await until(async () => {
      const now = await site();
      return now?.alarms.some((alarm) => alarm.code === 'reload-refused') ? now : null;
    });
    expect(rating(view)).toBe(12_000);
    const page = await fetch(`http://127.0.0.1:${live.pagePort}/api/v1/site`);
    expect(await page.text()).toContain('reload-refused');
    writeFileSync(live.config, lowered());
    const status = await runCli(['status', '--config', live.config]);
    expect(status.stdout).toContain('invalid and was not taken');
    writeFileSync(live.config, `${lowered()}\nnonsense: 1\n`);
    const run = await runCli(['reload', '--json'], { SWITCHYARD_SOCKET: live.socket });
    expect(run.code).toBe(3);
    expect(JSON.parse(run.stdout)).toMatchObject({ ok: false, problems: [{ code: 'unknown-key' }] });
  });

  it('names what waits for a restart, and the journal replays across all of it', async () => {
    writeFileSync(live.config, text.replace(/listen: \S+/, 'listen: 127.0.0.1:1'));
    const run = await reload();
    expect(run.code).toBe(1);
    expect(JSON.parse(run.stdout)).toMatchObject({
      data: { ok: true, live: ['limits.grid.rating'], restart: ['page.listen'] },
    });
    const cycles = (await site())!.cycle;
    await until(async () => ((await site())!.cycle > cycles + 2 ? true : null));
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill('SIGTERM');
    await ended;
    const replay = await runCli(['replay', join(live.folder, 'state', 'journal.db'), '--json']);
    expect(replay.code, replay.stdout).toBe(0);
    const { data } = JSON.parse(replay.stdout) as { data: { cycles: number; segments: number } };
    expect(data.cycles).toBeGreaterThan(3);
    expect(data.segments).toBeGreaterThanOrEqual(3);
  });
});
