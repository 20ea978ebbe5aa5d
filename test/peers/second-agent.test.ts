import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { askAgent } from '../../agent/page/local-socket.ts';
import { openForReading, value } from '../../agent/store/database.ts';
import {
  freePort,
  type LiveSite,
  runCli,
  startAgentProcess,
  startLiveSite,
  until,
} from '../support/live-site.ts';

describe('a second agent', () => {
  let live: LiveSite;
  let agent: ChildProcess;
  let text = '';

  beforeAll(async () => {
    live = await startLiveSite({ miners: 2, gpuNodes: 0 }, 1);
    text = readFileSync(live.config, 'utf8');
    agent = startAgentProcess(live.config);
    await until(async () => {
      const answer = await askAgent(live.socket, 'GET', '/api/v1/site', undefined, 5000);
      return answer.ok ? true : null;
    });
  });

  afterAll(async () => {
    agent.kill('SIGKILL');
    await live.stop();
  });

  const epoch = () => {
    const database = openForReading(join(live.folder, 'state', 'journal.db'));
    const lives = value(database, "SELECT value FROM meta WHERE key = 'epoch'");
    database.close();
    return lives;
  };

  it('on the same state is refused with its reason, wherever its socket is, and leaves the journal alone', async () => {
    const other = join(live.folder, 'other.yaml');
    writeFileSync(other, text.replace(/listen: "[^"]+"/, `listen: "127.0.0.1:${await freePort()}"`));
    const before = epoch();
    const run = await runCli(['run', '--once', '--json', '--config', other], {
      RUNTIME_DIRECTORY: join(live.folder, 'runtime'),
    });
    expect(run.code).toBe(1);
    expect(JSON.parse(run.stdout)).toMatchObject({
      problems: [
        {
          code: 'cannot-start',
          message: expect.stringContaining('another agent is running on the state in'),
        },
      ],
    });
    expect(epoch()).toBe(before);
  });

  it('on the same page port is refused with its reason, before it makes a state of its own', async () => {
    const other = join(live.folder, 'third.yaml');
    const state = join(live.folder, 'third');
    writeFileSync(other, text.replace(/(store: \{ path: )"?[^",}]+"?/, `$1"${state}"`));
    expect(readFileSync(other, 'utf8')).toContain(state);
    const run = await runCli(['run', '--once', '--json', '--config', other]);
    expect(run.code).toBe(1);
    expect(run.stdout).toContain('EADDRINUSE');
    expect(run.stdout).toContain('Set `page: { listen: ... }` to a free port.');
    expect(existsSync(state)).toBe(false);
  });

  it('starts at once after the first was killed: the lock goes with its process', async () => {
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill('SIGKILL');
    await ended;
    const run = await runCli(['run', '--once', '--json', '--config', live.config]);
    expect(run.stdout).not.toContain('cannot-start');
    expect(JSON.parse(run.stdout)).toMatchObject({ command: 'run', data: { site: 'demo' } });
  });
});
