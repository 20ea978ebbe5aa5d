import { createServer as createHttpServer } from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { programCommand } from '../config/program-files.ts';
import type { Clock } from '../protocols/clock.ts';
import { systemClock } from '../protocols/clock.ts';
import type { Milliseconds, MonotonicMs } from '../protocols/units.ts';
import type { GpuToolFaults } from './gpu-text.ts';
import { dcgmMetrics, nvidiaSmi } from './gpu-text.ts';
import type { SimulatedGpuNode } from './physics.ts';

export interface GpuServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly clock?: Clock;
  readonly faults?: GpuToolFaults;
}

export interface GpuServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Live. */
  readonly faults: GpuToolFaults;
  close(): Promise<void>;
}

export interface DcgmServer extends GpuServer {
  readonly url: string;
}

export interface NvidiaSmiServer extends GpuServer {
  /** What to configure as `command` of a GPU node: it stands before `nvidia-smi` and its arguments. */
  readonly command: readonly string[];
}

/**
 * Serves `node` as dcgm-exporter does. Figures are those of the last collection, `collectIntervalMs` apart
 * (default 1 s); a dead node accepts and never answers. `withLimits`: the operator added the limit counters.
 */
export function serveDcgm(
  node: SimulatedGpuNode,
  options: GpuServerOptions & { readonly collectIntervalMs?: Milliseconds; readonly withLimits?: boolean },
): Promise<DcgmServer> {
  const clock = options.clock ?? systemClock;
  const faults = options.faults ?? {};
  const energyMillijoules = new Map<string, number>();
  let collectedAt: MonotonicMs | null = null;
  let body = '';
  const collect = () => {
    const now = clock.monotonicMs();
    if (collectedAt !== null && now - collectedAt < (options.collectIntervalMs ?? 1000)) return;
    const elapsed = collectedAt === null ? 0 : now - collectedAt;
    for (const gpu of node.gpus) {
      const before = energyMillijoules.get(gpu.uuid) ?? 1_000_000;
      energyMillijoules.set(gpu.uuid, before + node.gpuWatts(gpu) * elapsed);
    }
    collectedAt = now;
    body = dcgmMetrics(node, faults, { withLimits: options.withLimits ?? false, energyMillijoules });
  };
  const server = createHttpServer((request, response) => {
    if (faults.hang === true || node.dead) return;
    if (request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    collect();
    response.setHeader('content-type', 'text/plain; charset=utf-8');
    response.end(faults.garbage ?? body);
  });
  return listen(server, options, faults).then((base) => ({
    ...base,
    url: `http://${base.address.host}:${base.address.port}/metrics`,
  }));
}

/**
 * Answers the fake `nvidia-smi` program of this folder for `node`: one line of JSON with the arguments in, one
 * line with output and exit code back. A dead node, or `hang`, never answers: then the program hangs.
 */
export function serveNvidiaSmi(node: SimulatedGpuNode, options: GpuServerOptions): Promise<NvidiaSmiServer> {
  const faults = options.faults ?? {};
  const server = createServer((socket) => {
    let text = '';
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (text.length > 65_536) socket.destroy();
      if (!text.includes('\n') || faults.hang === true || node.dead) return;
      const args = argumentsIn(text);
      if (args === null) socket.destroy();
      else socket.end(`${JSON.stringify(nvidiaSmi(node, faults, args))}\n`);
    });
  });
  return listen(server, options, faults).then((base) => ({
    ...base,
    command: [...programCommand('simulator/nvidia-smi'), `${base.address.host}:${base.address.port}`],
  }));
}

/** The list of words in a line of JSON; `null` for anything else. */
function argumentsIn(line: string): string[] | null {
  try {
    const value: unknown = JSON.parse(line);
    const isList = Array.isArray(value) && value.every((word) => typeof word === 'string');
    return isList ? value : null;
  } catch {
    return null;
  }
}

function listen(server: Server, options: GpuServerOptions, faults: GpuToolFaults): Promise<GpuServer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      resolve({
        address: { host: options.host, port: (server.address() as AddressInfo).port },
        faults,
        close: () =>
          new Promise((done) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => done());
          }),
      });
    });
  });
}
