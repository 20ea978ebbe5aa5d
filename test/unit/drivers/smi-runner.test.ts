import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SmiRunner } from '../../../drivers/gpu/smi-runner.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-smi-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A program of the given name that writes its arguments to a file, prints `output` and ends with `code`. */
function program(name: string, output: string, code: number): string {
  const path = join(folder, name);
  const script = `#!/bin/sh\nprintf '%s\\n' "$@" >> '${join(folder, 'seen')}'\nprintf '${output}'\nexit ${code}\n`;
  writeFileSync(path, script, { mode: 0o755 });
  return path;
}

const seen = () => readFileSync(join(folder, 'seen'), 'utf8').trim().split('\n');

describe('nvidia-smi through ssh', () => {
  test('asks for no password, notices a dead peer, and bounds the far side', async () => {
    const ssh = program('ssh', 'Permission denied', 255);
    const runner = new SmiRunner([ssh, '-p', '2222', 'gateway@dgx-1'], new VirtualClock());
    await runner.cap('GPU-00000000-0000-4000-8000-000000000000', 312.5, never);
    expect(seen()).toEqual([
      ...[
        '-o',
        'BatchMode=yes',
        '-o',
        'ConnectTimeout=5',
        '-o',
        'ServerAliveInterval=5',
        '-o',
        'ServerAliveCountMax=2',
      ],
      ...['-p', '2222', 'gateway@dgx-1', 'timeout', '-k', '2', '10'],
      ...['nvidia-smi', '-i', 'GPU-00000000-0000-4000-8000-000000000000', '-pl', '312.50'],
    ]);
  });

  test('a transport that fails without a word is unreachable, not a refusal', async () => {
    const runner = new SmiRunner([program('ssh', '', 255), 'dgx-1'], new VirtualClock());
    expect(await runner.read(never)).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
    expect(await runner.cap('GPU-1', 300, never)).toMatchObject({
      ok: false,
      error: { kind: 'unreachable' },
    });
  });

  test('nothing that a remote shell would read can stand in an argument', async () => {
    const runner = new SmiRunner([program('ssh', '', 0), 'dgx-1'], new VirtualClock());
    await expect(runner.cap('GPU-1;reboot', 300, never)).rejects.toThrow('may not stand in a command');
  });

  test('any other prefix is left as it is', async () => {
    const runner = new SmiRunner([program('sudo', '', 0), '-n'], new VirtualClock());
    await runner.cap('GPU-1', 300, never);
    expect(seen()).toEqual(['-n', 'nvidia-smi', '-i', 'GPU-1', '-pl', '300']);
  });
});
