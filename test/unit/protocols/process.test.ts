import { mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Argv } from '../../../protocols/process.ts';
import { runProcess } from '../../../protocols/process.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;
const limits = { timeoutMs: 5000, outputMost: 10_000 };
const node = (script: string, ...args: string[]): Argv => [process.execPath, '-e', script, ...args];
let folder: string;
let clock: VirtualClock;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-process-'));
  clock = new VirtualClock();
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Whether a process still runs; one that ended and waits to be collected does not. */
function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** The process ids that a script writes into the folder once it runs. */
function reportedPids(): Promise<number[]> {
  return new Promise((resolve) => {
    const watcher = watch(folder, () => {
      const words = readFileSync(join(folder, 'pids'), 'utf8').split(' ').map(Number);
      if (words.length < 2 || !words.every((pid) => pid > 0)) return;
      watcher.close();
      resolve(words);
    });
  });
}

/** Starts a child that inherits the pipes and never ends, reports both, then does `next`. */
const withChild = (next: string) => `
  const { spawn } = require('node:child_process');
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'inherit' });
  require('node:fs').writeFileSync(process.argv[1], process.pid + ' ' + child.pid);
  ${next}`;

describe('a bounded process', () => {
  test('gives output and exit code, whatever the code', async () => {
    const script = 'process.stdout.write("out"); process.stderr.write("err"); process.exitCode = 14';
    const result = await runProcess(node(script), limits, clock, never);
    expect(result).toMatchObject({ ok: true, value: { stdout: 'out', stderr: 'err', exitCode: 14 } });
  });

  test('passes arguments as they are, no shell reads them', async () => {
    const script = 'process.stdout.write(JSON.stringify(process.argv.slice(1)))';
    const words = ['$(id)', '; rm -rf x', '*', '"quoted"'];
    const result = await runProcess(node(script, ...words), limits, clock, never);
    expect(result.ok && JSON.parse(result.value.stdout)).toEqual(words);
  });

  test('hands on no secret of the environment', async () => {
    process.env['SWITCHYARD_TEST_SECRET'] = 'x';
    const script = 'process.stdout.write(Object.keys(process.env).sort().join())';
    const result = await runProcess(node(script), limits, clock, never);
    delete process.env['SWITCHYARD_TEST_SECRET'];
    expect(result.ok && result.value.stdout).not.toContain('SECRET');
    expect(result.ok && result.value.stdout).toContain('LC_ALL');
  });

  test('a program that does not exist, or may not be run, was not started', async () => {
    const missing = await runProcess(['/nonexistent/nvidia-smi'], limits, clock, never);
    expect(missing).toMatchObject({ ok: false, error: { kind: 'unsupported', started: false, stuck: null } });
    const file = join(folder, 'data');
    writeFileSync(file, 'no program', { mode: 0o644 });
    const data = await runProcess([file], limits, clock, never);
    expect(data).toMatchObject({ ok: false, error: { kind: 'unauthorised', started: false } });
  });

  test('a program that hangs is killed with everything it started', async () => {
    const pids = reportedPids();
    const script = withChild('setInterval(() => {}, 1000);');
    const running = runProcess(node(script, join(folder, 'pids')), limits, clock, never);
    const [parent, child] = await pids;
    expect([runs(parent!), runs(child!)]).toEqual([true, true]);
    await clock.advance(5000);
    const result = await running;
    expect(result).toMatchObject({ ok: false, error: { kind: 'timeout', started: true, stuck: null } });
    await expect.poll(() => [runs(parent!), runs(child!)]).toEqual([false, false]);
  });

  test('an end is an end although a grandchild keeps the pipes: after the grace it is killed', async () => {
    const pids = reportedPids();
    const script = withChild('process.stdout.write("done", () => process.exit(0));');
    const running = runProcess(node(script, join(folder, 'pids')), limits, clock, never);
    const [parent, child] = await pids;
    await expect.poll(() => runs(parent!)).toBe(false);
    // The grace begins with the event of the end, which may come a moment later.
    let isSettled = false;
    const done = running.finally(() => {
      isSettled = true;
    });
    while (!isSettled) await clock.advance(100);
    expect(await done).toMatchObject({ ok: true, value: { stdout: 'done', exitCode: 0 } });
    await expect.poll(() => runs(child!)).toBe(false);
  });

  test('too much output kills it', async () => {
    const result = await runProcess(
      node('setInterval(() => process.stdout.write("x".repeat(4000)), 1)'),
      limits,
      clock,
      never,
    );
    expect(result).toMatchObject({ ok: false, error: { kind: 'malformed', started: true } });
  });

  test('an abort kills it', async () => {
    const pids = reportedPids();
    const controller = new AbortController();
    const script = withChild('setInterval(() => {}, 1000);');
    const running = runProcess(node(script, join(folder, 'pids')), limits, clock, controller.signal);
    const [parent] = await pids;
    controller.abort();
    expect(await running).toMatchObject({ ok: false, error: { kind: 'cancelled', started: true } });
    await expect.poll(() => runs(parent!)).toBe(false);
    const late = await runProcess(node(''), limits, clock, controller.signal);
    expect(late).toMatchObject({ ok: false, error: { kind: 'cancelled', started: false } });
  });
});
