import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const UNIT = 'packaging/switchyard.service';
const text = readFileSync(UNIT, 'utf8');
const hasAnalyze = spawnSync('systemd-analyze', ['--version']).status === 0;

/** Threshold of the project; systemd calls everything below 2 "OK". */
const EXPOSURE_AT_MOST = 1.5;

describe('the unit', () => {
  it.skipIf(!hasAnalyze)(`is exposed at most ${EXPOSURE_AT_MOST} (needs systemd-analyze)`, () => {
    const run = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', UNIT], {
      encoding: 'utf8',
    });
    const level = /Overall exposure level for [^:]+: ([\d.]+)/.exec(run.stdout)?.[1];
    expect(Number(level), run.stdout + run.stderr).toBeLessThanOrEqual(EXPOSURE_AT_MOST);
  });

  it('never gives up, is watched, and kills what hangs', () => {
    for (const line of [
      'StartLimitIntervalSec=0',
      'Type=notify',
      'NotifyAccess=main',
      'WatchdogSec=30',
      'WatchdogSignal=SIGKILL',
      'Restart=always',
      'RestartSec=2',
    ])
      expect(text.split('\n')).toContain(line);
  });

  it('takes nothing from an environment that others may write', () => {
    expect(text).toMatch(/^UnsetEnvironment=NODE_OPTIONS /m);
    expect(text).not.toMatch(/^(EnvironmentFile|PassEnvironment)=/m);
  });

  it('does not forbid what V8 needs', () => {
    expect(text).not.toMatch(/^MemoryDenyWriteExecute=/m);
  });

  it('opens devices only in drop-ins, each class by name', () => {
    expect(text).toMatch(/^PrivateDevices=yes$/m);
    const dropIns = readdirSync('packaging/drop-ins');
    expect(dropIns.sort()).toEqual(['gpu.conf', 'large-site.conf', 'serial.conf']);
    for (const name of dropIns) {
      if (name === 'large-site.conf') continue;
      const dropIn = readFileSync(join('packaging/drop-ins', name), 'utf8');
      expect(dropIn).toMatch(/^DevicePolicy=closed$/m);
      expect(dropIn).toMatch(/^DeviceAllow=char-/m);
    }
  });

  it('is started on a large site as anywhere, but for the room that it has', () => {
    const dropIn = readFileSync('packaging/drop-ins/large-site.conf', 'utf8');
    const start = (of: string) =>
      /^ExecStart=(.+)$/m
        .exec(of)?.[1]
        ?.split(' ')
        .filter((word) => !isRoom(word));
    const isRoom = (word: string) => /^--(max-semi-space-size|heap-growing-percent)=\d+$/.test(word);
    expect(start(dropIn)).toEqual(start(text));
    expect(dropIn).not.toMatch(/^(?!\[Service\]|#|ExecStart=|MemoryHigh=|MemoryMax=|$)/m);
  });
});
