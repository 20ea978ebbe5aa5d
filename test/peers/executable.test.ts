import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildExecutable } from '../../packaging/executable.ts';
import { ARCHITECTURES, type Architecture } from '../../packaging/sources.ts';
import { until } from '../support/live-site.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const arch = (Object.keys(ARCHITECTURES) as Architecture[]).find(
  (name) => ARCHITECTURES[name] === process.arch,
);

describe.skipIf(process.platform !== 'linux' || arch === undefined)('the single executable', () => {
  let folder = '';
  let program = '';
  let demo: ChildProcess | null = null;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-single-'));
    program = await buildExecutable(arch!, folder, ROOT);
  });
  afterAll(() => {
    demo?.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  /** Away from every other file of the program. */
  const run = (args: readonly string[], environment: Readonly<Record<string, string>> = {}): string =>
    execFileSync(program, args, { cwd: folder, encoding: 'utf8', env: { PATH: '/none', ...environment } });

  it('answers, and runs nothing that the environment names', () => {
    const { version } = JSON.parse(run(['version', '--json'])).data as { version: string };
    expect(version).toMatch(/^\d+\.\d+\.\d+/);
    writeFileSync(join(folder, 'foreign.cjs'), 'process.stdout.write("foreign code ran");process.exit(0)');
    expect(run(['version'], { NODE_OPTIONS: `--require ${join(folder, 'foreign.cjs')}` })).toContain(
      `switchyard ${version}`,
    );
  });

  it('checks a configuration that it wrote itself', () => {
    writeFileSync(join(folder, 'switchyard.yaml'), run(['sample', 'all']));
    const { problems } = JSON.parse(run(['check', '--json'])) as { problems?: unknown[] };
    expect(problems ?? []).toEqual([]);
  });

  it('plays a site, reads it and serves the page, all from itself', async () => {
    let said = '';
    demo = spawn(program, ['demo', '--miners', '4', '--mqtt-port', '0', '--page-port', '0'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [demo.stdout!, demo.stderr!])
      stream.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
      });
    const page = await until(() => /page {4}(http:\S+)/.exec(said)?.[1] ?? null);
    expect(said).toContain('4 of 4 answer');
    expect(said).toContain(`${program} -c `);
    const response = await fetch(page);
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('<html');
    demo.kill('SIGINT');
    await until(() => (demo?.exitCode !== null || demo.signalCode !== null ? true : null));
  });
});
