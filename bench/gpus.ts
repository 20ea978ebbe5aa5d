import { type ChildProcess, fork } from 'node:child_process';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openGpuNode } from '../drivers/gpu/gpu-node.ts';
import { systemClock } from '../protocols/clock.ts';
import { parsePrometheus } from '../protocols/prometheus.ts';

const NODES = 500;
const GPUS = 8;
const INTERVAL_MS = 10_000;
const BODY_BYTES = 150_000;

/** A scrape of one node as dcgm-exporter prints it, filled up to its usual size with the profiling metrics. */
function body(node: number, round: number): string {
  const lines: string[] = [];
  const metric = (name: string, value: (gpu: number) => string) => {
    lines.push(`# HELP ${name} A figure of the data centre GPU manager.`, `# TYPE ${name} gauge`);
    for (let gpu = 0; gpu < GPUS; gpu += 1) {
      const uuid = `GPU-${String(node).padStart(8, '0')}-0000-4000-8000-00000000000${gpu}`;
      lines.push(
        `${name}{gpu="${gpu}",UUID="${uuid}",pci_bus_id="00000000:1${gpu}:00.0",device="nvidia${gpu}",modelName="NVIDIA H100 80GB HBM3",Hostname="dgx-${node}",DCGM_FI_DRIVER_VERSION="590.48.01",container="train",namespace="ai",pod="job-${node}-0"} ${value(gpu)}`,
      );
    }
  };
  metric('DCGM_FI_DEV_POWER_USAGE', (gpu) => (500 + gpu + (round % 7)).toFixed(3));
  metric('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', (gpu) => String(1e9 + round * 5_000_000 + gpu));
  metric('DCGM_FI_DEV_ENFORCED_POWER_LIMIT', () => '700');
  metric('DCGM_FI_DEV_GPU_TEMP', (gpu) => String(50 + gpu));
  metric('DCGM_FI_DEV_GPU_UTIL', () => '98');
  let bytes = lines.reduce((sum, line) => sum + line.length + 1, 0);
  for (let n = 0; bytes < BODY_BYTES; n += 1) {
    const before = lines.length;
    metric(`DCGM_FI_PROF_FIGURE_${n}`, (gpu) => (0.1 * gpu + n).toFixed(6));
    bytes += lines.slice(before).reduce((sum, line) => sum + line.length + 1, 0);
  }
  return `${lines.join('\n')}\n`;
}

/** The exporters, in a process of their own: neither their cost nor their memory is counted. */
function serve(): void {
  let round = 0;
  const bodies = Array.from({ length: 50 }, (_, node) => [body(node, 0), body(node, 1)] as const);
  const server = createServer((request, response) => {
    const node = Number(request.url?.slice(1).split('/')[0]) % bodies.length;
    round += 1;
    response.end(bodies[node]![Math.floor(round / NODES) % 2]);
  });
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
  // Whatever becomes of the bench, they end with it.
  process.once('disconnect', () => process.exit());
}

async function startExporters(): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(fileURLToPath(import.meta.url), [SERVE]);
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve(Number(message)));
    child.once('error', reject);
  });
  return { child, port };
}

const SERVE = 'serve-exporters';

interface Contender {
  readonly name: string;
  /** Reads the body; gives how many samples it found. */
  readonly parse: (text: Buffer) => number | Promise<number>;
}

/** What is still referred to, after everything else was collected: what a leak would make grow. */
function liveMegabytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Twice: what the first one finalises goes with the second.
  collect();
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}

/** Parsers of npm that were installed in `folder`: the project depends on none of them. */
function contendersIn(folder: string): Contender[] {
  const require = createRequire(join(folder, 'package.json'));
  const { getMetricsFromStream } = require('prom2javascript') as {
    getMetricsFromStream(stream: Readable): Promise<Record<string, { data: unknown[] }>>;
  };
  const parseText = require('parse-prometheus-text-format') as ParseText;
  const sum = (lists: readonly (readonly unknown[])[]) =>
    lists.reduce((count, list) => count + list.length, 0);
  return [
    {
      name: 'parse-prometheus-text-format',
      parse: (text) => sum(parseText(text.toString('utf8')).map(({ metrics }) => metrics)),
    },
    {
      name: 'prom2javascript',
      parse: async (text) => {
        const families = await getMetricsFromStream(Readable.from([text]));
        return sum(Object.values(families).map(({ data }) => data));
      },
    },
  ];
}

type ParseText = (text: string) => readonly { readonly metrics: readonly unknown[] }[];

const BATCHES = 9;
/** The processor's time is counted in steps of some milliseconds: many bodies are read for one figure. */
const PER_BATCH = 60;

/** Time of the processor, medians; the contenders turn about in batches, so that a noisy moment meets all of them. */
async function benchParsers(contenders: readonly Contender[]): Promise<void> {
  const text = Buffer.from(body(1, 1));
  const times = contenders.map((): number[] => []);
  const found = contenders.map(() => 0);
  for (let batch = -1; batch < BATCHES; batch += 1) {
    for (const [index, { parse }] of contenders.entries()) {
      const before = process.threadCpuUsage();
      for (let n = 0; n < PER_BATCH; n += 1) found[index] = await parse(text);
      const { user, system } = process.threadCpuUsage(before);
      // The first one warms up.
      if (batch >= 0) times[index]!.push((user + system) / 1000 / PER_BATCH);
    }
  }
  for (const [index, { name }] of contenders.entries()) {
    const sorted = times[index]!.sort((a, b) => a - b);
    const [fast, median, slow] = [sorted[0]!, sorted[Math.floor(BATCHES / 2)]!, sorted.at(-1)!].map(
      (ms) => text.length / 1000 / ms,
    );
    console.log(
      `parser ${name}: ${(text.length / 1000).toFixed(0)} kB, ${found[index]} samples: ${median!.toFixed(0)} MB/s (median of ${BATCHES} times ${PER_BATCH}; ${slow!.toFixed(0)} to ${fast!.toFixed(0)})`,
    );
  }
}

const ours: Contender = {
  name: 'of the agent',
  parse: (text) => {
    const parsed = parsePrometheus(text);
    if (!parsed.ok) throw new Error('the made-up scrape is malformed');
    return parsed.value.samples.length;
  },
};

/**
 * Parser throughput, then 500 exporters read every 10 s: the agent's share of one core and its memory. `folder`: where
 * parse-prometheus-text-format and prom2javascript were installed, to be timed beside ours.
 */
export async function benchGpus(rounds = 4, folder?: string): Promise<void> {
  await benchParsers([ours, ...(folder === undefined ? [] : contendersIn(folder))]);
  const bytes = body(1, 1).length;
  const { child, port } = await startExporters();
  const nodes = Array.from({ length: NODES }, (_, index) =>
    openGpuNode(
      {
        id: `g${index}`,
        reader: { kind: 'dcgm', url: `http://127.0.0.1:${port}/${index}/metrics`, collectIntervalMs: 30_000 },
        cap: { kind: 'none' },
        nameplateWatts: 10_200,
      },
      { clock: systemClock },
    ),
  );
  const stop = new AbortController();
  let failures = 0;
  let known = 0;
  const memory: number[] = [];
  const live: number[] = [];
  const shares: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const from = performance.now();
    const before = process.threadCpuUsage();
    await Promise.all(
      nodes.map(async (node, index) => {
        // Spread over the interval, as the poller does.
        await new Promise((resolve) => setTimeout(resolve, (index * INTERVAL_MS * 0.95) / NODES));
        const reading = await node.read(stop.signal);
        if (!reading.ok) failures += 1;
        else if (reading.value.powerWatts !== null) known += 1;
      }),
    );
    const left = INTERVAL_MS - (performance.now() - from);
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
    const { user, system } = process.threadCpuUsage(before);
    shares.push((user + system) / 10 / (performance.now() - from));
    memory.push(process.memoryUsage().rss / 1e6);
    live.push(liveMegabytes());
  }
  child.disconnect();
  const [low, median, high] = [0, Math.floor(rounds / 2), rounds - 1].map(
    (at) => [...shares].sort((a, b) => a - b)[at]!,
  );
  console.log(
    `${NODES} nodes of ${GPUS} GPUs, ${(bytes / 1000).toFixed(0)} kB a scrape, every ${INTERVAL_MS / 1000} s, ${rounds} rounds: ${median!.toFixed(1)} % of one core (median; ${low!.toFixed(1)} to ${high!.toFixed(1)}; the reading thread)`,
  );
  console.log(
    `readings with power: ${known} of ${NODES * rounds}, failures: ${failures}; resident ${memory.map((megabytes) => megabytes.toFixed(0)).join(', ')} MB after each round; referred to ${live.map((megabytes) => megabytes.toFixed(1)).join(', ')} MB`,
  );
  if (failures > 0 || known < NODES * rounds) process.exitCode = 1;
}

if (process.argv[2] === SERVE) serve();
