import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SmiRunner } from '../../drivers/gpu/smi-runner.ts';
import { systemClock } from '../../protocols/clock.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const never = new AbortController().signal;
const CAPTURES = join(import.meta.dirname, '../golden/nvidia-smi/csv');
const H100 = 'linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01__idle.csv';
const expected = JSON.parse(readFileSync(join(CAPTURES, 'expected.json'), 'utf8')) as Record<string, unknown>;
let folder: string;
let tool: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-fake-'));
  tool = join(folder, 'nvidia-smi');
  copyFileSync(join(import.meta.dirname, '../support/fake-nvidia-smi.mjs'), tool);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The recorded tool, behaving so. */
function behave(more: Record<string, unknown> = {}, capture = H100): void {
  writeFileSync(
    join(folder, 'behaviour.json'),
    JSON.stringify({ capture: join(CAPTURES, capture), ...more }),
  );
}

async function read(clock = systemClock) {
  return new SmiRunner([tool], clock).read(never);
}

async function gpus() {
  const result = await read();
  if (!result.ok) throw new Error(`${result.error.kind}: ${result.error.message}`);
  return result.value.report.gpus;
}

const pids = () => readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n').map(Number);

/** Neither running nor waiting to be: a zombie has ended. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

describe('a recorded nvidia-smi, run as a process', () => {
  test('shows what was recorded', async () => {
    behave();
    expect(Object.keys(expected).length).toBeGreaterThan(0);
    const [head, row] = readFileSync(join(CAPTURES, H100), 'utf8').split('\n');
    const cell = (name: string) => row!.split(', ')[head!.split(', ').indexOf(name)]!;
    expect((await gpus())[0]).toMatchObject({
      uuid: cell('uuid'),
      name: 'NVIDIA H100 80GB HBM3',
      powerWatts: Number.parseFloat(cell('power.draw [W]')),
      enforcedLimitWatts: 700,
      minLimitWatts: 200,
      maxLimitWatts: 700,
      faults: [],
    });
  });

  test('warnings before and after, with the exit code of a corrupt infoROM, leave the readings whole', async () => {
    const warning = 'WARNING: infoROM is corrupted at gpu 0000:0B:00.0\n';
    behave({ before: warning, after: warning, exit: 14 });
    expect((await gpus())[0]?.powerWatts).toBeGreaterThan(50);
  });

  test('a field that this driver lacks costs that field only', async () => {
    behave({ unknown: ['gpu_recovery_action', 'mig.mode.current'] });
    const [gpu] = await gpus();
    expect(gpu).toMatchObject({ migEnabled: null, enforcedLimitWatts: 700 });
  });

  test('a lost GPU is a fault, not 0 W', async () => {
    behave({ lost: 0 });
    const [gpu] = await gpus();
    expect(gpu?.faults.length).toBeGreaterThan(0);
    expect(gpu?.powerWatts).toBeNull();
  });

  test('half a table is no reading', async () => {
    behave({ half: true });
    expect(await read()).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  test('one that hangs half way is killed with what it started; the next call works', async () => {
    behave({ hang: true, half: true });
    const clock = new VirtualClock();
    const runner = new SmiRunner([tool], clock);
    const hanging = runner.read(never);
    await expect.poll(() => pids().length).toBe(2);
    // Whoever waits behind it starts nothing meanwhile.
    const second = runner.read(never);
    expect(pids()).toHaveLength(2);
    behave();
    await clock.advance(10_000);
    expect(await hanging).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    await expect.poll(() => pids().slice(0, 2).some(isRunning)).toBe(false);
    expect(await second).toMatchObject({ ok: true });
  });
});
