import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Context } from '../../../../agent/cli/context.ts';
import { type InitFlags, initCommand } from '../../../../agent/cli/init-command.ts';
import { redact } from '../../../../agent/telemetry/redact.ts';
import { loadConfig } from '../../../../config/load.ts';
import { Secret } from '../../../../config/secret.ts';

const context = { environment: {}, flags: {}, version: '0' } as unknown as Context;
let folder: string;
let output: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-init-'));
  output = join(folder, 'switchyard.yaml');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const init = (flags: Partial<InitFlags>) =>
  initCommand(context, { site: 's', rating: '1.2 MW', meterProfile: 'eastron-sdm630', output, ...flags });

describe('init', () => {
  it('writes what it is told, commented and valid, and gives the agent no authority', () => {
    const outcome = init({ meter: '10.0.0.5:1502', miners: ['10.1.0.0/30'], broker: 'mqtt://10.0.0.9:1883' });
    expect(outcome).toMatchObject({ exit: 0, data: { miners: 2, meters: 1 } });
    const loaded = loadConfig(output, {});
    if (!loaded.ok) throw new Error('invalid');
    expect(loaded.value.config).toMatchObject({
      limits: [{ id: 'grid', rating: 1_200_000, authority: 'observe' }],
      meters: [{ profile: 'eastron-sdm630', transport: { host: '10.0.0.5', port: 1502 } }],
    });
    expect(readFileSync(output, 'utf8')).toMatch(/^# Written by/);
  });

  it('takes the miners of a saved scan', () => {
    const scan = join(folder, 'scan.json');
    const found = [
      { kind: 'miner', address: '10.1.0.7:4028' },
      { kind: 'gpu-node', address: '10.1.0.9:9400' },
    ];
    writeFileSync(scan, JSON.stringify({ found }));
    expect(init({ fromScan: scan })).toMatchObject({ exit: 0, data: { miners: 1 } });
  });

  it('overwrites nothing and leaves nothing behind when it is told nonsense', () => {
    for (const flags of [
      { site: 'No Id' },
      { rating: 'much' },
      { miners: ['10.1.0.0/99'] },
      { fromScan: output },
    ])
      expect(init(flags).exit).toBe(2);
    expect(existsSync(output)).toBe(false);
    writeFileSync(output, 'mine');
    expect(init({}).exit).toBe(6);
    expect(readFileSync(output, 'utf8')).toBe('mine');
  });
});

describe('a redacted text', () => {
  it('has no form of a secret, and no user information in a URL', () => {
    const secret = new Secret('pa"ss/word');
    const text = JSON.stringify({
      a: 'pa"ss/word',
      b: encodeURIComponent('pa"ss/word'),
      c: 'mqtt://u:p@h:1',
    });
    expect(JSON.parse(redact(text, [secret]))).toEqual({
      a: '[secret]',
      b: '[secret]',
      c: 'mqtt://[secret]@h:1',
    });
  });
});
