import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { printOutcome } from '../../../agent/cli/outcome.ts';
import { SmiRunner } from '../../../drivers/gpu/smi-runner.ts';
import { systemClock } from '../../../protocols/clock.ts';

const never = new AbortController().signal;
const folder = mkdtempSync(join(tmpdir(), 'switchyard-remedies-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Reads through a program that says this and ends so; words as the tools print them. */
async function failureOf(stdout: string, stderr: string, exitCode: number, prefix = false) {
  const path = join(folder, 'nvidia-smi');
  writeFileSync(path, `#!/bin/sh\nprintf '%b' "${stdout}"\nprintf '%b' "${stderr}" >&2\nexit ${exitCode}\n`);
  chmodSync(path, 0o755);
  const read = await new SmiRunner(prefix ? [path] : [], systemClock, path).read(never);
  if (read.ok) throw new Error('it was read');
  return read.error;
}

describe('a GPU node that cannot be read says in one sentence why, and what to do', () => {
  test.each([
    [
      'Failed to initialize NVML: Driver/library version mismatch\\nNVML library version: 570.86',
      18,
      /mismatch/,
      /reload the NVIDIA kernel modules, or reboot/,
    ],
    [
      "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.",
      9,
      /couldn't communicate/,
      /lsmod/,
    ],
    ['No devices were found', 6, /No devices/, /lspci/],
    ['Insufficient Permissions', 4, /Insufficient/, /sudo -n/],
    ['Unable to determine the device handle for GPU0000:17:00.0: Unknown Error', 255, /device handle/, /xid/],
  ])('%j', async (said, exitCode, message, hint) => {
    const failure = await failureOf(said, '', exitCode);
    expect(failure.message).toMatch(message);
    expect(failure.message).not.toContain('\n');
    expect(failure.hint).toMatch(hint);
  });

  test.each([
    ['Host key verification failed.', /compare it at the node itself/],
    ['gpu@10.0.0.1: Permission denied (publickey).', /authorized_keys/],
    ['ssh: connect to host 10.0.0.1 port 22: Connection refused', /systemctl status ssh/],
    ['ssh: Could not resolve hostname gpu-1: Name or service not known', /DNS/],
    ['sudo: a password is required', /sudoers/],
  ])('through ssh: %j', async (said, hint) => {
    const failure = await failureOf('', said, said.startsWith('sudo') ? 1 : 255, true);
    expect(failure.message).toContain(said);
    expect(failure.hint).toMatch(hint);
  });

  test('a program that is not there, and one that may not be started', async () => {
    const absent = await new SmiRunner([], systemClock, join(folder, 'absent')).read(never);
    expect(absent).toMatchObject({
      ok: false,
      error: { kind: 'unsupported', hint: expect.stringContaining('whole path') },
    });
    const path = join(folder, 'text');
    writeFileSync(path, 'no program', { mode: 0o644 });
    const forbidden = await new SmiRunner([], systemClock, path).read(never);
    expect(forbidden).toMatchObject({
      ok: false,
      error: { kind: 'unauthorised', hint: expect.stringContaining('owner and mode') },
    });
  });

  test('bytes that are no text do not reach a sentence, nor a terminal', async () => {
    const failure = await failureOf('\\033[2J\\007\\0377\\0001 nothing', '', 0);
    expect(failure.message).toMatch(/^[\P{C}]+$/u);
    const said: string[] = [];
    printOutcome(
      'gpu',
      { exit: 4, text: 'a\u001b[31mb', problems: [{ code: 'x', message: 'c\u0007d', hint: 'Do\u009b it.' }] },
      { json: false, quiet: false } as never,
      { out: (text) => said.push(text), err: (text) => said.push(text) },
    );
    expect(said).toEqual(['a\ufffd[31mb\n', 'c\ufffdd. Do\ufffd it.\n']);
  });
});
