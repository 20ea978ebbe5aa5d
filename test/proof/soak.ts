import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { startAgent } from '../../agent/assemble.ts';
import { demoConfig, freeNetwork } from '../../agent/cli/demo-site.ts';
import { startSimulator } from '../../agent/cli/simulator-process.ts';
import type { DriverFactories } from '../../agent/drivers.ts';
import { askAgent } from '../../agent/page/local-socket.ts';
import { type LoadedConfig, loadConfigText } from '../../config/load.ts';
import type { MeterDriver } from '../../drivers/load-driver.ts';
import { unitRun } from '../../packaging/unit.ts';
import { seededRandom } from '../../protocols/random.ts';
import { ok } from '../../protocols/result.ts';
import { SimulatedGpuNode, SimulatedMiner, SimulatedSite } from '../../simulator/physics.ts';
import { freePort } from '../support/live-site.ts';
import { meterReading } from '../support/readings.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { traitsOf, virtualMiner, virtualNode } from '../support/virtual-drivers.ts';

const HOUR_MS = 3_600_000;
/** Small, so that the journal reaches its bound within the run and stays there. */
const STORE_MEGABYTES = 60;
/** Growth from the first fifth of the run to its end that counts as flat. */
const HEAP_GROWS_AT_MOST = 1.1;

/**
 * `npm run proof -- soak [DAYS [DEVICES]]`: the whole agent (journal on the disk, page, socket) in virtual time with
 * devices at the driver seam, a limit that falls and rises every two hours. Heap after collection, handles and disk must
 * be flat. `npm run proof -- soak real [MINUTES [DEVICES]]`: the agent as a process of its own against the simulator,
 * every device asked ten times as often as by default; descriptors and memory must be flat.
 */
export async function proveSoak([first = '7', ...more]: readonly string[]): Promise<boolean> {
  if (first === 'real') return soakReal(Number(more[0] ?? '30'), Number(more[1] ?? '300'));
  return soakVirtual(Number(first), Number(more[0] ?? '300'));
}

interface Sample {
  readonly hour: number;
  readonly heapMegabytes: number;
  readonly handles: number;
  readonly descriptors: number;
  readonly diskMegabytes: number;
}

async function soakVirtual(days: number, devices: number): Promise<boolean> {
  const { gc } = globalThis;
  if (gc === undefined) return again();
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-soak-'));
  const state = join(folder, 'state');
  const startedAt = performance.now();
  const clock = new VirtualClock();
  const loaded = configOf(devices, state);
  const random = seededRandom(1);
  const agent = await startAgent({
    loaded,
    version: '0.0.0',
    dryRun: false,
    clock,
    random,
    log: pino({ level: 'silent' }),
    drivers: virtualSite(loaded, clock, random),
    files: new Map(),
    anyPort: true,
  });
  const samples: Sample[] = [];
  const everyHours = (days * 24) / 20;
  try {
    for (let part = 0; part <= 20; part += 1) {
      await swing(agent.socketPath, part, clock, everyHours);
      gc();
      gc();
      samples.push({
        hour: Math.round(part * everyHours * 10) / 10,
        heapMegabytes: process.memoryUsage().heapUsed / 1e6,
        handles: process.getActiveResourcesInfo().length,
        descriptors: readdirSync('/proc/self/fd').length,
        diskMegabytes: diskOf(state),
      });
      const { hour, heapMegabytes, handles, descriptors, diskMegabytes } = samples.at(-1)!;
      console.log(
        `  ${String(hour).padStart(6)} h: heap ${heapMegabytes.toFixed(1)} MB, ${handles} handles, ${descriptors} descriptors, disk ${diskMegabytes.toFixed(1)} MB, ${agent.source.counters().cycles} cycles`,
      );
    }
  } finally {
    await agent.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(
    `${days} virtual days of ${devices} devices in ${Math.round((performance.now() - startedAt) / 1000)} s`,
  );
  return flat(samples);
}

/** The collector is wanted by name: the same again with it. */
async function again(): Promise<boolean> {
  const child = spawn(process.execPath, ['--expose-gc', ...process.argv.slice(1)], { stdio: 'inherit' });
  return (await ended(child)) === 0;
}

/** A part of the run; the grid's limit falls at its middle for a quarter of it. */
async function swing(socket: string, part: number, clock: VirtualClock, hours: number): Promise<void> {
  if (part === 0) return clock.advance(120_000);
  await clock.advance((hours / 2) * HOUR_MS);
  // The socket answers in real time.
  const answer = askAgent(
    socket,
    'POST',
    '/local/order',
    {
      v: 1,
      id: `soak-${part}`,
      site: 'demo',
      type: 'set_limit',
      issuer: 'local',
      issued: clock.epochMs(),
      seq: 0,
      args: { limit: 'grid', watts: 500_000, deadlineSeconds: 60 },
      lease: { seconds: Math.round((hours / 4) * 3600), onExpiry: 'release' },
    },
    60_000,
  );
  const taken = await answer;
  if (!taken.ok) throw new Error(taken.error.message);
  await clock.advance((hours / 2) * HOUR_MS);
}

function flat(samples: readonly Sample[]): boolean {
  const fifth = samples.slice(1, 1 + Math.ceil(samples.length / 5));
  const last = samples.at(-1)!;
  const most = (key: keyof Sample) => Math.max(...fifth.map((sample) => sample[key]));
  const verdicts: [string, boolean][] = [
    ['heap', last.heapMegabytes <= most('heapMegabytes') * HEAP_GROWS_AT_MOST],
    ['handles', last.handles <= most('handles') + 2],
    ['descriptors', last.descriptors <= most('descriptors') + 2],
    ['disk within its bound', Math.max(...samples.map((sample) => sample.diskMegabytes)) <= STORE_MEGABYTES],
  ];
  for (const [what, holds] of verdicts) console.log(`  ${holds ? 'ok    ' : 'NOT OK'} ${what}`);
  return verdicts.every(([, holds]) => holds);
}

function configOf(devices: number, state: string): LoadedConfig {
  const text = demoConfig(
    { miners: devices - 4, gpuNodes: 4 },
    { network: '127.64', mqttPort: 1, pagePort: 0, stateFolder: state, smiCommand: () => ['none'] },
  )
    .replace(/^mqtt: .*\n/m, '')
    .replace(/^store: \{ /m, `store: { maximum: ${STORE_MEGABYTES} MB, `)
    .replace(/control: \{ /, 'control: { local: true, ');
  const result = loadConfigText(text);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.value;
}

/** The devices of a configuration as the agent's drivers see them, with physics behind them. */
function virtualSite(loaded: LoadedConfig, clock: VirtualClock, random: () => number): DriverFactories {
  const site = new SimulatedSite(
    loaded.config.limits.map((limit) => ({
      id: limit.id,
      parent: limit.parent ?? null,
      gain: limit.losses,
      loadWatts: () =>
        loaded.config.loads
          .filter((load) => load.limit === limit.id)
          .reduce((sum, load) => sum + load.worst * 0.6, 0),
    })),
  );
  const energy = new Map<string, number>();
  let at = 0;
  const advance = () => {
    const now = clock.monotonicMs();
    if (now === at) return;
    site.advance(now);
    for (const limit of loaded.config.limits)
      energy.set(limit.id, (energy.get(limit.id) ?? 1e6) + (site.watts(limit.id) * (now - at)) / HOUR_MS);
    at = now;
  };
  const tick = () => {
    advance();
    clock.after(1000, tick);
  };
  tick();
  return {
    miner: (place) => {
      const miner = new SimulatedMiner(place.deviceId, traitsOf(place.entry.model, 'luxos'), random, {});
      site.place(place.entry.limit, miner);
      return virtualMiner(miner, 'luxos', place.entry.model, clock, random, {
        stranger: () => false,
        silent: () => false,
        losesAnswer: () => random() < 0.01,
      });
    },
    meter: (config): MeterDriver => ({
      meterId: config.id,
      identify: async () =>
        ok({
          basis: 'serial',
          value: config.id,
          vendor: 'Schneider',
          model: 'PM5560',
          firmware: 'modbus',
          firmwareVersion: null,
          macAddress: null,
          serialNumber: config.id,
        }),
      read: async (signal) => {
        await clock.sleep(10 + random() * 10, signal);
        const limit = loaded.config.limits.find((candidate) => candidate.meter === config.id)!;
        return ok(
          meterReading(clock.monotonicMs(), Math.round(site.watts(limit.id)), {
            importWattHours: Math.round(energy.get(limit.id) ?? 1e6),
          }),
        );
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
    gpuNode: (config) => {
      const gpus = Array.from({ length: 8 }, (_, index) => ({
        uuid: `GPU-${config.id}-${index}`,
        name: 'NVIDIA H100 80GB HBM3',
        minLimitWatts: 200,
        maxLimitWatts: 700,
        idleWatts: 70,
        limitWatts: 700,
        utilization: 1,
      }));
      const node = new SimulatedGpuNode(config.id, gpus, config.hostWatts ?? 2000, random);
      site.place(config.limit, node);
      return virtualNode(node, clock, random);
    },
    drain: () => null,
  };
}

/** Bytes of all files of the state folder, in megabytes. */
function diskOf(folder: string): number {
  return (
    readdirSync(folder).reduce((sum, name) => {
      const found = statSync(join(folder, name), { throwIfNoEntry: false });
      return sum + (found?.isFile() === true ? found.size : 0);
    }, 0) / 1e6
  );
}

async function soakReal(minutes: number, devices: number): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-soak-'));
  const file = join(folder, 'switchyard.yaml');
  const smi = join(import.meta.dirname, '../../simulator/nvidia-smi.ts');
  const places = {
    network: await freeNetwork(),
    mqttPort: 1,
    pagePort: await freePort(),
    stateFolder: join(folder, 'state'),
    smiCommand: (place: string) => [process.execPath, smi, place],
  };
  // Miners 5 s, meters 1 s by default; GPU nodes are programs that are started, and keep their pace.
  const text = demoConfig({ miners: devices - 4, gpuNodes: 4 }, places)
    .replaceAll(/interval: \d+m?s/g, 'interval: 100ms')
    .replaceAll(/(, firmware: )/g, ', interval: 500ms$1');
  writeFileSync(file, text);
  const simulator = await startSimulator(file, '1', '1');
  const { flags, environment } = unitRun();
  const agent = spawn(
    process.execPath,
    [...flags, join(import.meta.dirname, '../../agent/main.ts'), 'run', '-q', '--config', file],
    { stdio: 'inherit', env: { ...process.env, ...environment } },
  );
  const samples: { descriptors: number; residentMegabytes: number; p99Ms: number; reads: number }[] = [];
  try {
    const endAt = performance.now() + minutes * 60_000;
    await sleep(20_000);
    while (performance.now() < endAt) {
      samples.push(await sampleOf(agent, places.pagePort));
      const { descriptors, residentMegabytes, p99Ms, reads } = samples.at(-1)!;
      console.log(
        `  ${descriptors} descriptors, ${residentMegabytes.toFixed(0)} MB resident, loop delay p99 ${p99Ms} ms, ${reads} reads`,
      );
      await sleep(Math.min(15_000, (minutes * 60_000) / 8));
    }
  } finally {
    const over = ended(agent);
    agent.kill('SIGTERM');
    await over;
    await simulator.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  return flatReal(samples, minutes);
}

function flatReal(
  samples: readonly { descriptors: number; residentMegabytes: number; p99Ms: number; reads: number }[],
  minutes: number,
): boolean {
  const half = Math.ceil(samples.length / 2);
  const most = (part: typeof samples, key: 'descriptors' | 'residentMegabytes') =>
    Math.max(...part.map((sample) => sample[key]));
  const [early, late] = [samples.slice(0, half), samples.slice(half)];
  const delays = samples.map((sample) => sample.p99Ms).sort((a, b) => a - b);
  console.log(
    `${minutes} real minutes: ${samples.at(-1)?.reads} reads; loop delay p99 by 15 s: median ${delays[delays.length >> 1]} ms, worst ${delays.at(-1)} ms`,
  );
  // Connections come and go: one read of every device at a time is what may be open more.
  const descriptors = most(late, 'descriptors') <= most(early, 'descriptors') * 1.2 + 10;
  const memory = most(late, 'residentMegabytes') <= most(early, 'residentMegabytes') * 1.15;
  console.log(
    `  ${descriptors ? 'ok    ' : 'NOT OK'} descriptors: at most ${most(early, 'descriptors')}, then ${most(late, 'descriptors')}`,
  );
  console.log(
    `  ${memory ? 'ok    ' : 'NOT OK'} resident: at most ${most(early, 'residentMegabytes').toFixed(0)} MB, then ${most(late, 'residentMegabytes').toFixed(0)} MB`,
  );
  return descriptors && memory;
}

async function sampleOf(agent: ChildProcess, pagePort: number) {
  const text = await (await fetch(`http://127.0.0.1:${pagePort}/metrics`)).text();
  const figure = (name: string) =>
    Number(new RegExp(`^${name}(?:\\{[^}]*\\})? ([\\d.e+-]+)`, 'm').exec(text)?.[1]);
  const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
  return {
    descriptors: readdirSync(`/proc/${agent.pid}/fd`).length,
    residentMegabytes: (Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024) / 1e6,
    p99Ms: Math.round(figure('switchyard_process_loop_delay_seconds') * 1000),
    reads: figure('switchyard_reads_total'),
  };
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)));
}
