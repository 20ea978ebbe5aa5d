import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { openGpuNode } from '../drivers/gpu/gpu-node.ts';
import { systemClock } from '../protocols/clock.ts';
import { parsePrometheus } from '../protocols/prometheus.ts';

const NODES = 500;
const GPUS = 8;
const INTERVAL_MS = 10_000;
const ROUNDS = 4;
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

/** The exporters, in a thread of their own: their cost is not counted. */
function serve(): void {
  let round = 0;
  const bodies = Array.from({ length: 50 }, (_, node) => [body(node, 0), body(node, 1)] as const);
  const server = createServer((request, response) => {
    const node = Number(request.url?.slice(1).split('/')[0]) % bodies.length;
    round += 1;
    response.end(bodies[node]![Math.floor(round / NODES) % 2]);
  });
  server.listen(0, '127.0.0.1', () => parentPort?.postMessage((server.address() as AddressInfo).port));
}

/** Reads 500 exporters every 10 s, and gives the agent's share of one core, its memory, and the parser's speed. */
export async function benchGpus(): Promise<void> {
  const text = Buffer.from(body(1, 1));
  const times: number[] = [];
  for (let n = 0; n < 60; n += 1) {
    // Time of the processor: other work on the machine is not the parser's.
    const before = process.threadCpuUsage();
    if (!parsePrometheus(text).ok) throw new Error('the made-up scrape is malformed');
    const { user, system } = process.threadCpuUsage(before);
    times.push((user + system) / 1000);
  }
  const medianMs = times.sort((a, b) => a - b)[times.length / 2]!;
  console.log(
    `parser: ${(text.length / 1000).toFixed(0)} kB in ${medianMs.toFixed(2)} ms (median of ${times.length}) = ${(text.length / 1000 / medianMs).toFixed(0)} MB/s`,
  );
  const worker = new Worker(fileURLToPath(import.meta.url));
  const port = await new Promise<number>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
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
  const shares: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
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
  }
  await worker.terminate();
  const [low, median, high] = [0, Math.floor(ROUNDS / 2), ROUNDS - 1].map(
    (at) => [...shares].sort((a, b) => a - b)[at]!,
  );
  console.log(
    `${NODES} nodes of ${GPUS} GPUs, ${(text.length / 1000).toFixed(0)} kB a scrape, every ${INTERVAL_MS / 1000} s, ${ROUNDS} rounds: ${median!.toFixed(1)} % of one core (median; ${low!.toFixed(1)} to ${high!.toFixed(1)}; the reading thread)`,
  );
  console.log(
    `readings with power: ${known} of ${NODES * ROUNDS}, failures: ${failures}; resident (with the exporters' thread) ${memory.map((megabytes) => megabytes.toFixed(0)).join(', ')} MB after each round`,
  );
  if (failures > 0 || known < NODES * ROUNDS) process.exitCode = 1;
}

if (!isMainThread) serve();
