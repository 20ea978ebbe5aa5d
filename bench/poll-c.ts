import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the client in C took. */
export interface FloorInC {
  readonly exchanges: number;
  readonly processorMs: number;
  readonly residentMiB: number;
}

/**
 * The floor of the poll bench as a client in C with epoll, compiled for this run; `null` where there is no compiler.
 * Rejects when it is built and does not run.
 */
export async function floorInC(
  hosts: readonly string[],
  seconds: number,
  exchanges: number,
): Promise<FloorInC | null> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-bench-'));
  try {
    const program = join(folder, 'floor');
    const source = join(import.meta.dirname, 'floor.c');
    const built = spawnSync('cc', ['-O2', '-Wall', '-Werror', '-o', program, source], { encoding: 'utf8' });
    if (built.error !== undefined) return null;
    if (built.status !== 0) throw new Error(`the client in C does not compile: ${built.stderr}`);
    const child = spawn(program, [String(seconds), String(exchanges)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.stdin.end(`${hosts.join('\n')}\n`);
    const code = await new Promise((resolve) => child.once('close', resolve));
    const [done = Number.NaN, processorMs = Number.NaN, residentKiB = Number.NaN] =
      said.split('\n').at(1)?.split(' ').map(Number) ?? [];
    if (code !== 0 || !Number.isFinite(done)) throw new Error(`the client in C ended with ${code}: ${said}`);
    return { exchanges: done, processorMs, residentMiB: residentKiB / 1024 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
