import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Aedes } from 'aedes';
import { demoConfig, freeNetwork, portOrFree } from '../agent/cli/demo-site.ts';
import { startSimulator } from '../agent/cli/simulator-process.ts';
import { askAgent } from '../agent/page/local-socket.ts';
import type { SiteView } from '../agent/site/view.ts';
import { unitRun } from '../packaging/unit.ts';

const ROOT = join(import.meta.dirname, '..');
const { flags: FLAGS, environment: ENVIRONMENT } = unitRun();
const GPU_NODES = 4;
/** The life before: long enough that every device was read several times. */
const FIRST_LIFE_MS = 40_000;
const MEMORY_AFTER_MS = 30_000;

interface Start {
  readonly readySeconds: number;
  readonly cycleSeconds: number;
  /** Processor time of the process when its first cycle was complete. */
  readonly cpuSeconds: number;
  readonly controlSeconds: number | null;
}

/**
 * `npm run bench -- start [DEVICES [RUNS [MAIN]]]`: the agent as the unit runs it, against a simulator in a process of
 * its own; killed with SIGKILL and started again on the journal that it left. Prints exec to the first completed
 * cycle and to the first cycle in normal control, and resident memory. MAIN: another build of the agent.
 */
export async function benchStart([
  devices = '300',
  runs = '7',
  main = join(ROOT, 'agent/main.ts'),
]: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-start-'));
  const config = join(folder, 'switchyard.yaml');
  const pagePort = await portOrFree(0);
  const broker = await openBroker();
  const mqttPort = broker.port;
  writeFileSync(
    config,
    demoConfig(
      { miners: Number(devices) - GPU_NODES, gpuNodes: GPU_NODES },
      {
        network: await freeNetwork(),
        mqttPort,
        pagePort,
        stateFolder: join(folder, 'state'),
        smiCommand: (place) => [process.execPath, join(ROOT, 'simulator/nvidia-smi.ts'), place],
      },
    ),
  );
  const simulator = await startSimulator(config, '1', '1');
  try {
    const first = launch(main, config);
    await cycled(first);
    await sleep(FIRST_LIFE_MS);
    await end(first.child);
    const starts: Start[] = [];
    for (let run = 0; run < Number(runs); run += 1) {
      const agent = launch(main, config);
      const start = await cycled(agent);
      starts.push({ ...start, controlSeconds: await normal(folder, agent.startedAt) });
      await end(agent.child);
    }
    const last = launch(main, config);
    await cycled(last);
    await sleep(MEMORY_AFTER_MS);
    const memory = memoryOf(last.child.pid!);
    await end(last.child);
    print(devices, starts, memory);
  } finally {
    await simulator.stop();
    broker.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A broker that takes everything, in this process. */
async function openBroker(): Promise<{ readonly port: number; close(): void }> {
  const aedes = await Aedes.createBroker();
  const server = createServer(aedes.handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      aedes.close();
      server.close();
    },
  };
}

interface Launched {
  readonly child: ChildProcess;
  readonly startedAt: number;
}

function launch(main: string, config: string): Launched {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [...FLAGS, main, 'run', '--config', config, '-q'], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
    // The descriptor that the launcher of the package connects to systemd, here a pipe.
    env: { ...process.env, ...ENVIRONMENT, NOTIFY_FD: '3', WATCHDOG_USEC: '3000' },
  });
  return { child, startedAt };
}

/** Waits for the watchdog's first food: a completed cycle. */
async function cycled({ child, startedAt }: Launched): Promise<Omit<Start, 'controlSeconds'>> {
  let ready = Number.NaN;
  const pipe = child.stdio[3] as Readable;
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the agent ended: ${code}`)));
    pipe.on('data', (chunk: Buffer) => {
      const seconds = (performance.now() - startedAt) / 1000;
      const text = chunk.toString('utf8');
      if (text.includes('READY=1')) ready = seconds;
      if (!text.includes('WATCHDOG=1')) return;
      pipe.removeAllListeners('data').resume();
      resolve({ readySeconds: ready, cycleSeconds: seconds, cpuSeconds: cpuOf(child.pid!) });
    });
  });
}

/** Seconds from exec until every limit has fresh evidence and control is normal. */
async function normal(folder: string, startedAt: number): Promise<number | null> {
  const socket = join(folder, 'state/agent.sock');
  while (performance.now() - startedAt < 60_000) {
    const answer = await askAgent(socket, 'GET', '/api/v1/site', undefined, 2000);
    if (answer.ok && (answer.value.body as SiteView).mode === 'normal')
      return (performance.now() - startedAt) / 1000;
    await sleep(50);
  }
  return null;
}

async function end(child: ChildProcess): Promise<void> {
  child.removeAllListeners('exit');
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

/** User and system time in seconds. Source: proc(5), fields 14 and 15, in hundredths. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function memoryOf(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const megabytes = (key: string) =>
    Math.round((Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1]) * 1024) / 1e6);
  return `${megabytes('VmRSS')} MB resident (${megabytes('RssAnon')} MB its own, ${megabytes('RssFile')} MB of files), ${megabytes('VmHWM')} MB at most`;
}

function print(devices: string, starts: readonly Start[], memory: string): void {
  const column = (name: string, values: readonly (number | null)[]) => {
    const sorted = values.map((value) => value ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
    console.log(
      `${name.padEnd(44)} ${sorted[Math.floor(sorted.length / 2)]!.toFixed(2)} s (${sorted[0]!.toFixed(2)} to ${sorted.at(-1)!.toFixed(2)})`,
    );
  };
  console.log(`${devices} devices, ${starts.length} starts after SIGKILL, median (range)`);
  column(
    'exec to READY',
    starts.map((start) => start.readySeconds),
  );
  column(
    'exec to the first completed cycle',
    starts.map((start) => start.cycleSeconds),
  );
  column(
    'processor time until then',
    starts.map((start) => start.cpuSeconds),
  );
  column(
    'exec to normal control',
    starts.map((start) => start.controlSeconds),
  );
  console.log(`memory ${MEMORY_AFTER_MS / 1000} s later: ${memory}`);
}
