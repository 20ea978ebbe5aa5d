import type { ChildProcess } from 'node:child_process';
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askAgent } from '../../agent/page/local-socket.ts';
import type { SiteView } from '../../agent/site/view.ts';
import { type LiveSite, runCli, startAgentProcess, startLiveSite, until } from '../support/live-site.ts';

describe('a start on a configuration that is invalid', () => {
  let live: LiveSite;
  let agent: ChildProcess | null = null;
  let text = '';

  beforeAll(async () => {
    live = await startLiveSite({ miners: 4, gpuNodes: 0 }, 1);
    text = readFileSync(live.config, 'utf8');
  });

  afterAll(async () => {
    agent?.kill('SIGKILL');
    await live.stop();
  });

  const view = async (): Promise<SiteView | null> => {
    const answer = await askAgent(live.socket, 'GET', '/api/v1/site', undefined, 20_000);
    return answer.ok ? (answer.value.body as SiteView) : null;
  };
  const inMode = (mode: string) =>
    until(async () => {
      const now = await view();
      return now?.mode === mode ? now : null;
    }, 300_000);
  const codes = (now: SiteView) => now.alarms.map((alarm) => alarm.code);
  const ended = (child: ChildProcess, signal: NodeJS.Signals) =>
    new Promise<number | null>((resolve) => {
      child.once('exit', (code) => resolve(code));
      child.kill(signal);
    });
  /** A key of an agent to come. */
  const broken = () => `${text}feedForward: { horizon: 5min }\n`;

  it('is refused where nothing was under control before', async () => {
    writeFileSync(live.config, broken());
    const run = await runCli(['run', '--config', live.config, '--json']);
    expect(run.code).toBe(3);
    expect(JSON.parse(run.stdout)).toMatchObject({ exit: 3, problems: [{ code: 'unknown-key' }] });
  });

  it('keeps the configuration that was taken in force, for its owner alone', async () => {
    writeFileSync(live.config, text);
    agent = startAgentProcess(live.config);
    await inMode('normal');
    const kept = join(live.folder, 'state', 'last-config.json');
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(kept, 'utf8'))).toMatchObject({
      v: 1,
      configs: [{ file: live.config, sources: [live.config] }],
    });
    // What stands in the file as a secret is not kept, the rest is.
    const [{ files }] = JSON.parse(readFileSync(kept, 'utf8')).configs;
    expect(text).toContain('password: root');
    expect(files[live.config]).not.toContain('password: root');
    expect(files[live.config]).toContain('id: hall-b');
    await ended(agent, 'SIGKILL');
  });

  it('runs shed-only on the last one, says so everywhere, and ends with 3', async () => {
    writeFileSync(live.config, broken());
    agent = startAgentProcess(live.config);
    const now = await inMode('shed-only');
    expect(now.alarms.find((alarm) => alarm.code === 'configuration-invalid')).toMatchObject({
      severity: 'critical',
      message: expect.stringContaining('unknown key "feedForward"'),
    });
    expect(now.limits.find((limit) => limit.id === 'grid')?.powerWatts).toBeGreaterThan(0);
    const page = await fetch(`http://127.0.0.1:${live.pagePort}/api/v1/site`);
    expect(codes((await page.json()) as SiteView)).toContain('configuration-invalid');
    // The command line finds it although it cannot read the configuration.
    const status = await runCli(['status', '--config', live.config]);
    expect(status.stdout).toContain('The configuration is invalid');
    const log = await runCli(['log', '--config', live.config]);
    expect(log.stdout).toContain('stands in for it and nothing rises');
    // What `check` says of the file is untouched by that.
    expect((await runCli(['check', live.config])).code).toBe(3);
    expect(await ended(agent, 'SIGTERM')).toBe(3);
  });

  it('looks on only: a dry run is refused as ever', async () => {
    expect((await runCli(['run', '--dry-run', '--config', live.config])).code).toBe(3);
  });

  it('goes on as usual once a valid file is reloaded', async () => {
    agent = startAgentProcess(live.config);
    await inMode('shed-only');
    const refused = await runCli(['reload', '--config', live.config]);
    expect(refused.code).not.toBe(0);
    expect(codes((await view())!)).toContain('configuration-invalid');
    writeFileSync(live.config, text);
    const reloaded = await runCli(['reload', '--config', live.config]);
    expect(reloaded.code, reloaded.stderr).toBe(0);
    expect(codes(await inMode('normal'))).not.toContain('configuration-invalid');
    expect(await ended(agent, 'SIGTERM')).toBe(0);
  });

  it('does so for a file that is gone, too', async () => {
    renameSync(live.config, `${live.config}.away`);
    // Where its state lies stands in the file alone: systemd says it as well.
    process.env['STATE_DIRECTORY'] = join(live.folder, 'state');
    agent = startAgentProcess(live.config);
    delete process.env['STATE_DIRECTORY'];
    expect(codes(await inMode('shed-only'))).toContain('configuration-invalid');
    await ended(agent, 'SIGKILL');
    renameSync(`${live.config}.away`, live.config);
  });

  it('keeps control where a stranger has the port of the page, shed-only and with an alarm', async () => {
    const stranger: Server = createServer();
    await new Promise<void>((resolve) => stranger.listen(live.pagePort, '127.0.0.1', resolve));
    try {
      agent = startAgentProcess(live.config);
      expect(codes(await inMode('shed-only'))).toContain('page-port-taken');
    } finally {
      stranger.close();
    }
  });
});
