import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LiveSite, startLiveSite, until } from '../support/live-site.ts';
import { receiveNotifications } from '../support/notify-receiver.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
const LAUNCHER = join(import.meta.dirname, '..', '..', 'packaging', 'notify-exec');
const hasPerl = spawnSync('perl', ['-e', '1']).status === 0;
/** Lets the test hang the event loop from outside. */
const HANG = `data:text/javascript,process.on('SIGUSR2',()=>{for(;;);})`;

describe.skipIf(!hasPerl)('under a supervisor that listens (needs perl)', () => {
  let live: LiveSite;
  let folder: string;
  const started: ChildProcess[] = [];

  beforeAll(async () => {
    live = await startLiveSite({ miners: 2, gpuNodes: 0 }, 1);
    folder = mkdtempSync(join(tmpdir(), 'switchyard-notify-'));
  });

  afterAll(async () => {
    for (const child of started) child.kill('SIGKILL');
    await live.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it('says ready as the process that was started, feeds the watchdog, and stops feeding it when the loop hangs', async () => {
    const path = join(folder, 'notify');
    const systemd = await receiveNotifications(path);
    started.push(systemd.process);
    const agent = spawn(
      LAUNCHER,
      [process.execPath, '--import', HANG, MAIN, 'run', '--config', live.config, '-q'],
      { stdio: 'ignore', env: { ...process.env, NOTIFY_SOCKET: path, WATCHDOG_USEC: '300000' } },
    );
    started.push(agent);
    const pings = () => systemd.said.filter((line) => line === 'WATCHDOG=1').length;
    await until(() =>
      systemd.said.some((line) => line.startsWith('READY=1 STATUS=page http')) ? true : null,
    );
    await until(() => (pings() >= 3 ? true : null));
    process.kill(agent.pid!, 'SIGUSR2');
    // The signal is taken at once or after the cycle that runs; then three cycles' time brings nothing.
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = pings();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(pings()).toBe(before);
    expect(agent.exitCode).toBeNull();
  });

  it('starts without a supervisor as well, and with one that is gone', () => {
    for (const environment of [{}, { NOTIFY_SOCKET: join(folder, 'nobody') }]) {
      const run = spawnSync(LAUNCHER, [process.execPath, MAIN, 'version', '--json'], {
        encoding: 'utf8',
        env: { ...process.env, ...environment },
      });
      expect(run.status, run.stderr).toBe(0);
      expect(JSON.parse(run.stdout)).toMatchObject({ ok: true, command: 'version' });
    }
  });
});
