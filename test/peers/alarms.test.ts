import type { ChildProcess } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Alarm } from '../../agent/site/alarms.ts';
import { type LiveSite, runCli, startAgentProcess, startLiveSite, until } from '../support/live-site.ts';
import { endProcess } from '../support/mosquitto.ts';

/** Devices are asked ever more rarely when they do not answer: falling silent and coming back take their time. */
const LONG = { timeout: 200_000 };

describe('alarms of a running agent', { timeout: 600_000 }, () => {
  let live: LiveSite;
  let agent: ChildProcess;

  const cli = (...args: string[]) => runCli([...args, '--config', live.config]);
  /** Alarms as the command line has them; `null` while no agent answers. */
  const alarms = async (): Promise<readonly Alarm[] | null> => {
    const { stdout } = await cli('alarms', '--json');
    const answer = JSON.parse(stdout) as { data?: readonly Alarm[] };
    return answer.data ?? null;
  };
  const silent = async () => (await alarms())?.filter(({ code }) => code.endsWith('-silent')) ?? [];

  beforeAll(async () => {
    live = await startLiveSite({ miners: 30, gpuNodes: 0 }, 1, '20');
    agent = startAgentProcess(live.config);
    await until(async () => {
      const { stdout } = await cli('status', '--json');
      const view = (JSON.parse(stdout) as { data?: { totals?: { miners: { present: number } } } }).data;
      return view?.totals?.miners.present === 30 ? true : null;
    });
  });

  afterAll(async () => {
    agent?.kill('SIGKILL');
    await live?.stop();
  });

  it('are one for a feeder that went dark, acknowledged by a person and over a kill -9', async () => {
    live.simulator.send({ op: 'breaker', id: 'feeder-a', open: true });
    await expect
      .poll(async () => (await silent()).map(({ id, count }) => `${id} ${count}`), LONG)
      .toEqual(['group-silent:hall-a 10']);
    const [alarm] = await silent();
    expect(alarm).toMatchObject({ firstCause: 'entry hall-a', acknowledgedBy: null });
    const wrong = await cli('alarms', 'acknowledge', 'group-silent:hall-b', '--who', 'jo');
    expect([wrong.code, wrong.stderr]).toEqual([6, expect.stringContaining('no alarm')]);
    const seen = await cli('alarms', 'acknowledge', 'group-silent:hall-a', '--who', 'jo');
    expect([seen.code, seen.stdout]).toEqual([0, expect.stringContaining('1 of 1 acknowledged by jo')]);
    await expect.poll(async () => (await silent())[0]?.acknowledgedBy).toBe('jo');
    expect((await cli('status')).stdout).toContain('(seen by jo)');
    const page = await fetch(`http://127.0.0.1:${live.pagePort}/api/v1/alarms`);
    expect(await page.text()).toContain('"acknowledgedBy":"jo"');
    await endProcess(agent, 'SIGKILL');
    agent = startAgentProcess(live.config);
    await expect
      .poll(async () =>
        (await silent()).map(({ id, acknowledgedBy, since }) => ({ id, acknowledgedBy, since })),
      )
      .toEqual([{ id: 'group-silent:hall-a', acknowledgedBy: 'jo', since: alarm!.since }]);
  });

  it('that come again after they were over have been seen by nobody', async () => {
    live.simulator.send({ op: 'breaker', id: 'feeder-a', open: false });
    await expect.poll(silent, LONG).toEqual([]);
    live.simulator.send({ op: 'breaker', id: 'feeder-a', open: true });
    await expect
      .poll(async () => (await silent()).map(({ id, acknowledgedBy }) => [id, acknowledgedBy]), LONG)
      .toEqual([['group-silent:hall-a', null]]);
    const all = await cli('alarms', 'acknowledge', 'all', '--who', 'jo');
    expect(all.code).toBe(0);
  });
});
