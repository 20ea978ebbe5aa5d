import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDrain, type ServiceReading } from '../../drivers/gpu/drain.ts';
import { systemClock } from '../../protocols/clock.ts';
import { type LiveSite, runCli, startAgentProcess, startLiveSite, until } from '../support/live-site.ts';
import { type RunningSlurm, startSlurm, whyNoSlurm } from '../support/slurm.ts';

const never = new AbortController().signal;
const missing = whyNoSlurm();
const live = { dryRun: false };

describe.skipIf(missing !== null)(`real Slurm (${missing ?? 'slurmctld and slurmd on loopback'})`, () => {
  let slurm: RunningSlurm;
  beforeAll(async () => {
    slurm = await startSlurm();
  });
  afterAll(async () => slurm?.stop());

  const job = () => slurm.tool('sbatch', '--parsable', '-o', '/dev/null', '-n1', '--wrap', 'sleep 600');
  const running = async (id: string) =>
    (await slurm.tool('squeue', '-h', '-j', id, '-o', '%T')) === 'RUNNING';
  const open = (node = 'gpu01') =>
    openDrain('gpu-1', { kind: 'slurm', node, command: slurm.command }, systemClock);
  const state = async () => {
    const reading = await open().read(never);
    return reading.ok ? `${reading.value.state} ${reading.value.mark ?? '-'}` : reading.error.message;
  };
  const reaches = (wanted: string) => until(async () => ((await state()) === wanted ? true : null));

  it('is drained, read and resumed by the driver, and its traps are known', async () => {
    const driver = open();
    expect(await state()).toBe('in-service -');
    expect(await driver.resume(live, never)).toMatchObject({ ok: true, value: { sent: false } });
    expect(await driver.drain('h-1', { dryRun: true }, never)).toMatchObject({
      ok: true,
      value: { sent: false },
    });
    expect(await state()).toBe('in-service -');
    expect(await driver.drain('h-1', live, never)).toMatchObject({ ok: true, value: { sent: true } });
    expect(await state()).toBe('drained h-1');
    // Slurm would overwrite the reason.
    expect(await driver.drain('h-2', live, never)).toMatchObject({ ok: true, value: { sent: false } });
    expect(await state()).toBe('drained h-1');
    expect(await driver.resume(live, never)).toMatchObject({ ok: true, value: { sent: true } });
    await reaches('in-service -');
    await slurm.tool('scontrol', 'update', 'nodename=gpu01', 'state=drain', 'reason=bad fan');
    expect(await driver.resume(live, never)).toMatchObject({ ok: false, error: { kind: 'refused' } });
    expect(await state()).toBe('drained -');
    await slurm.tool('scontrol', 'update', 'nodename=gpu01', 'state=resume');
    expect(await open('gpu99').read(never)).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    await reaches('in-service -');
    // It saves no power: that it is not set up is said with what it needs.
    await driver.drain('h-3', live, never);
    const off = await driver.powerDown?.(live, never);
    expect(off).toMatchObject({ ok: false, error: { kind: 'refused' } });
    expect(off?.ok === false && off.error.hint).toContain('SuspendProgram');
    await driver.resume(live, never);
    await reaches('in-service -');
  });

  describe('under a whole agent', () => {
    let live: LiveSite;
    let agent: ChildProcess;
    beforeAll(async () => {
      live = await startLiveSite({ miners: 4, gpuNodes: 1 }, 1);
      const text = readFileSync(live.config, 'utf8');
      const drain = `drain: { kind: slurm, node: gpu01, command: ${JSON.stringify(slurm.command)} }`;
      const own = text
        .replace('cap: { kind: nvidia-smi,', `${drain}, cap: { kind: nvidia-smi,`)
        .replace('restoreRampPercentPerMinute: 20', 'restoreRampPercentPerMinute: 100')
        .replace('firm: 5 kW, flexible: 3 kW, notice: 30s', 'firm: 0 W, flexible: 8 kW, notice: 10min');
      expect(own).not.toBe(text);
      writeFileSync(live.config, own);
      agent = startAgentProcess(live.config);
    });
    afterAll(async () => {
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      agent.kill('SIGTERM');
      await ended;
      await live.stop();
    });

    interface View {
      readonly direction: string;
      readonly state: string;
      readonly reason: string;
    }
    // Asked of the page: a command for each question would cost more than the agent itself.
    const transfers = async () => {
      const answer = await fetch(`http://127.0.0.1:${live.pagePort}/api/v1/transfers`).catch(() => null);
      if (answer?.status !== 200) return null;
      return ((await answer.json()) as { transfers: View[] }).transfers;
    };
    const transfer = async (direction: string) =>
      (await transfers())?.findLast((one) => one.direction === direction) ?? null;

    const ask = async (to: 'ai' | 'mining') => {
      const watts = to === 'ai' ? ['--watts', '2kW'] : [];
      const args = ['transfer', 'start', '--limit', 'grid', '--to', to, ...watts, '--yes'];
      const said = await runCli(args, { SWITCHYARD_SOCKET: live.socket });
      expect(said.code, said.stderr).toBe(0);
    };

    it('a node with a running job is drained, waited for, handed over and resumed', async () => {
      const first = await job();
      await until(async () => ((await running(first)) ? true : null));
      // The demo's nodes are found at their lowest caps: AI gets something that it can give back.
      await until(transfers);
      await ask('ai');
      await until(async () => ((await transfer('mining-to-ai'))?.state === 'active' ? true : null));
      await ask('mining');
      await until(async () => ((await transfer('ai-to-mining'))?.state === 'shedding' ? true : null));
      await until(async () => ((await state()).startsWith('draining ') ? true : null));
      const second = await job();
      // The job goes on; nothing new starts, and nothing is taken.
      expect(await running(first)).toBe(true);
      expect(await running(second)).toBe(false);
      expect((await transfer('ai-to-mining'))?.state).toBe('shedding');
      await slurm.tool('scancel', first);
      const over = await until(async () => {
        const now = await transfer('ai-to-mining');
        return now?.state === 'released' ? now : null;
      });
      expect(over.reason).toBe('given back to mining');
      expect(await state()).toMatch(/^drained /);
      expect(await running(second)).toBe(false);
      await ask('ai');
      await until(async () => ((await running(second)) ? true : null));
      expect(await state()).toBe('in-service -');
      expect(['granted', 'ramping', 'active']).toContain((await transfer('mining-to-ai'))?.state);
      await slurm.tool('scancel', second);
    });
  });
});

describe.skipIf(missing !== null)(`real Slurm that saves power (${missing ?? 'suspend and resume'})`, () => {
  let slurm: RunningSlurm;
  beforeAll(async () => {
    slurm = await startSlurm({ saves: true });
  });
  afterAll(async () => slurm?.stop());

  it('switches a drained node off, keeps the queue from waking it, and switches it on again', async () => {
    const driver = openDrain('gpu-1', { kind: 'slurm', node: 'gpu01', command: slurm.command }, systemClock);
    const read = async () => {
      const reading = await driver.read(never);
      if (!reading.ok) throw new Error(reading.error.message);
      return reading.value;
    };
    const seen = (wanted: Partial<ServiceReading>) =>
      until(async () => {
        const now = await read();
        return Object.entries(wanted).every(([key, value]) => now[key as keyof ServiceReading] === value)
          ? now
          : null;
      });
    // Nothing that works, and nothing that somebody else drained, is switched off.
    expect(await driver.powerDown?.(live, never)).toMatchObject({ ok: false, error: { kind: 'refused' } });
    await driver.drain('h-1', live, never);
    expect(await driver.powerDown?.({ dryRun: true }, never)).toMatchObject({
      ok: true,
      value: { sent: false },
    });
    expect(await driver.powerDown?.(live, never)).toMatchObject({ ok: true, value: { sent: true } });
    // The drain goes as it goes down, and its mark stays: so it is drained again.
    await seen({ power: 'going-off', closed: false, mark: 'h-1' });
    expect(await driver.powerUp?.(live, never)).toMatchObject({ ok: false, error: { kind: 'busy' } });
    expect(await driver.drain('h-1', live, never)).toMatchObject({ ok: true, value: { sent: true } });
    await seen({ power: 'off', closed: true, mark: 'h-1', state: 'down' });
    const job = await slurm.tool('sbatch', '--parsable', '-o', '/dev/null', '-n1', '--wrap', 'sleep 600');
    await until(async () =>
      (await slurm.tool('squeue', '-h', '-j', job, '-o', '%r')).includes('DRAINED') ? true : null,
    );
    expect((await read()).power).toBe('off');
    await slurm.tool('scancel', job);
    expect(await driver.powerUp?.(live, never)).toMatchObject({ ok: true, value: { sent: true } });
    await seen({ power: 'on', state: 'in-service', mark: null });
    expect(await driver.powerUp?.(live, never)).toMatchObject({ ok: true, value: { sent: false } });
  });
});
