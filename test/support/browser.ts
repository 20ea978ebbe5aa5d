import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

/** Where Debian puts the browser. */
export const CHROMIUM = '/usr/bin/chromium';

const MAIN = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');

/** A browser that speaks to nobody but the page. Its profile is a new empty folder. */
export function openBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** Everything that went wrong in a page: errors on the console, exceptions, violations of its content policy. */
export async function complaintsOf(page: Page): Promise<string[]> {
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
  await page.exposeFunction('reportViolation', (text: string) => complaints.push(`policy: ${text}`));
  await page.addInitScript(`addEventListener('securitypolicyviolation', (event) =>
    reportViolation(event.violatedDirective + ' ' + event.blockedURI))`);
  return complaints;
}

/** A demo as a process of its own. */
export interface RunningDemo {
  readonly url: string;
  readonly broker: URL;
  /** The simulated site's process. */
  readonly simulatorPid: number;
  /** Runs a command of the product against this demo; resolves with its exit code and what it said. */
  command(...words: string[]): Promise<{ code: number | null; said: string }>;
  stop(): Promise<void>;
}

/** Starts `demo` on free ports and waits until everything was read once. Rejects with what it said. */
export async function startDemo(miners: number, gpuNodes: number): Promise<RunningDemo> {
  const [pagePort, mqttPort] = await Promise.all([freePort(), freePort()]);
  const words = ['--json', 'demo', '--miners', miners, '--gpu-nodes', gpuNodes, '--seed', 7];
  const child = spawn(
    process.execPath,
    [MAIN, ...words.map(String), '--page-port', String(pagePort), '--mqtt-port', String(mqttPort)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const { page, broker, config } = await firstAnswer(child);
  return {
    url: page,
    broker: new URL(broker),
    simulatorPid: childOf(child.pid!),
    command: (...args) => run(args, join(dirname(config), 'state', 'agent.sock')),
    stop: async () => {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function firstAnswer(child: ChildProcess): Promise<{ page: string; broker: string; config: string }> {
  return new Promise((resolve, reject) => {
    let out = '';
    let said = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      out += chunk.toString('utf8');
      const end = out.indexOf('\n');
      if (end >= 0) resolve(JSON.parse(out.slice(0, end)).data);
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-4000);
    });
    child.once('exit', (code) => reject(new Error(`the demo ended (${code}): ${said}`)));
  });
}

/** The one child of a process. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}

function run(args: readonly string[], socket: string): Promise<{ code: number | null; said: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, SWITCHYARD_SOCKET: socket },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString('utf8');
  });
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code, said })));
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
