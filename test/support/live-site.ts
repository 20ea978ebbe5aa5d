import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { demoConfig, freeNetwork } from '../../agent/cli/demo-site.ts';
import { type SimulatorProcess, startSimulator } from '../../agent/cli/simulator-process.ts';

/** A simulated site on real loopback sockets with a configuration file of its own. */
export interface LiveSite {
  readonly folder: string;
  readonly config: string;
  readonly socket: string;
  readonly pagePort: number;
  readonly simulator: SimulatorProcess;
  stop(): Promise<void>;
}

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** As `openLiveSite`, again on another loopback network when somebody else took the first one meanwhile. */
export async function startLiveSite(
  size: { miners: number; gpuNodes: number },
  mqttPort: number,
  pace = '1',
): Promise<LiveSite> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await openLiveSite(size, mqttPort, pace);
    } catch (error) {
      if (tries >= 5 || !String(error).includes('EADDRINUSE')) throw error;
    }
  }
}

async function openLiveSite(
  size: { miners: number; gpuNodes: number },
  mqttPort: number,
  pace = '1',
): Promise<LiveSite> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-test-'));
  const config = join(folder, 'switchyard.yaml');
  const pagePort = await freePort();
  const state = join(folder, 'state');
  const smi = join(import.meta.dirname, '..', '..', 'simulator', 'nvidia-smi.ts');
  const network = await freeNetwork();
  writeFileSync(
    config,
    demoConfig(size, {
      network,
      mqttPort,
      pagePort,
      stateFolder: state,
      smiCommand: (place) => [process.execPath, smi, place],
    }),
  );
  const simulator = await startSimulator(config, '1', pace);
  return {
    folder,
    config,
    socket: join(state, 'agent.sock'),
    pagePort,
    simulator,
    stop: async () => {
      await simulator.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const MAIN = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');

/** Runs one command to its end. */
export function runCli(
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, NO_COLOR: '1', ...environment },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString('utf8');
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString('utf8');
    });
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Starts `run` on a configuration; the caller ends it. */
export function startAgentProcess(config: string): ChildProcess {
  return spawn(process.execPath, [MAIN, 'run', '--config', config, '-q'], { stdio: 'ignore' });
}

/** Polls until `probe` gives something, or fails after `limitMs` of real time. */
export async function until<T>(probe: () => Promise<T | null> | T | null, limitMs = 90_000): Promise<T> {
  const startedAt = performance.now();
  for (;;) {
    const found = await probe();
    if (found !== null) return found;
    if (performance.now() - startedAt > limitMs) throw new Error(`nothing came within ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
