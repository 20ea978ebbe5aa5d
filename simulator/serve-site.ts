import type { LoadedConfig, MinerPlace } from '../config/load.ts';
import type { FirmwareFamily } from '../config/miners/firmwares.ts';
import type { GpuNodeConfig } from '../config/schema.ts';
import type { Clock } from '../protocols/clock.ts';
import { type Random, seededRandom } from '../protocols/random.ts';
import { serveDcgm, serveNvidiaSmi } from './gpu.ts';
import type { MeterFaults, MeterServer } from './meter.ts';
import { serveMeters } from './meter.ts';
import type { MinerWireFaults, SimulatedServer } from './miners/api-server.ts';
import { MINER_TWINS } from './miners/registry.ts';
import { minerTraits } from './miners/traits.ts';
import { type MinerFaults, SimulatedGpuNode, SimulatedMiner, SimulatedSite } from './physics.ts';

/** A simulated site behind real sockets: every device that a configuration names, on the address it names. */
export interface ServedSite {
  readonly site: SimulatedSite;
  readonly miners: ReadonlyMap<string, SimulatedMiner>;
  readonly meters: readonly MeterServer[];
  readonly gpuNodes: ReadonlyMap<string, SimulatedGpuNode>;
  /** Changes what is wrong with a meter of the configuration. */
  meterFault(meterId: string, faults: MeterFaults): boolean;
  /** Changes what is wrong with a miner. */
  minerFault(deviceId: string, faults: MinerFaults): boolean;
  /** Changes what is wrong with a miner's answers. */
  wireFault(deviceId: string, faults: MinerWireFaults): boolean;
  /** Opens or closes the breaker of a limit: what hangs below is off, and starts by itself when it closes. */
  breaker(limit: string, open: boolean): boolean;
  /** Moves the physics to now. */
  advance(): void;
  close(): Promise<void>;
}

export interface ServeOptions {
  readonly clock: Clock;
  readonly seed: number;
  /** Physics run this much faster than the clock. */
  readonly pace: number;
}

/** How far uncontrolled loads draw of their configured worst, and how they swing. */
const LOAD_SHARE = 0.55;
const LOAD_SWING = 0.1;

/** Starts every miner and meter of a configuration. Rejects when an address cannot be taken. */
export async function serveSite(loaded: LoadedConfig, options: ServeOptions): Promise<ServedSite> {
  const { config } = loaded;
  const random = seededRandom(options.seed);
  const site = new SimulatedSite(
    parentsFirst(config.limits).map((limit, index) => ({
      id: limit.id,
      parent: limit.parent ?? null,
      gain: limit.losses,
      loadWatts: (nowMs) =>
        config.loads
          .filter((load) => load.limit === limit.id)
          .reduce(
            (sum, load) => sum + load.worst * (LOAD_SHARE + LOAD_SWING * Math.sin(nowMs / 90_000 + index)),
            0,
          ),
    })),
  );
  const miners = new Map<string, SimulatedMiner>();
  const wireFaults = new Map<string, MinerWireFaults>();
  const gpuNodes = new Map<string, SimulatedGpuNode>();
  const servers: { close(): Promise<void> }[] = [];
  const meters: MeterServer[] = [];
  const closeAll = async () => {
    await Promise.all([...servers, ...meters].map((server) => server.close()));
  };
  try {
    for (const [index, place] of loaded.miners.entries()) {
      const miner = new SimulatedMiner(
        place.deviceId,
        minerTraits(modelOf(place)),
        seededRandom(options.seed + index * 7919),
      );
      miners.set(place.deviceId, miner);
      site.place(place.entry.limit, miner);
      const onWire: MinerWireFaults = {};
      wireFaults.set(place.deviceId, onWire);
      servers.push(await serveMiner(miner, place, index, options.clock, onWire));
    }
    for (const [index, node] of config.gpuNodes.entries()) {
      const simulated = simulatedNode(
        node,
        firmWatts(config, node),
        seededRandom(options.seed + index * 104_729),
      );
      gpuNodes.set(node.id, simulated);
      site.place(node.limit, simulated);
      servers.push(...(await serveGpuNode(simulated, node, options.clock)));
    }
    meters.push(...(await serveAllMeters(loaded, site, options.clock, random)));
  } catch (error) {
    await closeAll();
    throw error;
  }
  const startedAt = options.clock.monotonicMs();
  const advance = () => site.advance((options.clock.monotonicMs() - startedAt) * options.pace);
  advance();
  return {
    site,
    miners,
    meters,
    gpuNodes,
    meterFault: (meterId, faults) => {
      const meter = config.meters.find((candidate) => candidate.id === meterId);
      if (meter === undefined || meter.transport.kind === 'rtu') return false;
      const { host, port, unit } = meter.transport;
      const server = meters.find(({ address }) => address.host === host && address.port === port);
      const present = server?.faults.get(unit);
      if (present === undefined) return false;
      replace(present, faults);
      return true;
    },
    minerFault: (deviceId, faults) => {
      const miner = miners.get(deviceId);
      if (miner === undefined) return false;
      replace(miner.faults, faults);
      return true;
    },
    wireFault: (deviceId, faults) => {
      const present = wireFaults.get(deviceId);
      if (present === undefined) return false;
      replace(present, faults);
      return true;
    },
    breaker: (limit, open) => {
      const below = limitsBelow(config.limits, limit);
      for (const place of loaded.miners)
        if (below.has(place.entry.limit)) miners.get(place.deviceId)?.supply(!open);
      return below.size > 0;
    },
    advance,
    close: closeAll,
  };
}

function limitsBelow(
  limits: readonly { readonly id: string; readonly parent?: string | undefined }[],
  top: string,
): Set<string> {
  const found = new Set(limits.some((limit) => limit.id === top) ? [top] : []);
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const limit of limits)
      if (limit.parent !== undefined && found.has(limit.parent)) found.add(limit.id);
  }
  return found;
}

function replace<T extends object>(target: T, values: T): void {
  for (const key of Object.keys(target) as (keyof T)[]) delete target[key];
  Object.assign(target, values);
}

function parentsFirst<T extends { readonly id: string; readonly parent?: string | undefined }>(
  limits: readonly T[],
): T[] {
  const ordered: T[] = [];
  const add = (limit: T): void => {
    if (ordered.includes(limit)) return;
    const parent = limits.find((candidate) => candidate.id === limit.parent);
    if (parent !== undefined) add(parent);
    ordered.push(limit);
  };
  limits.forEach(add);
  return ordered;
}

const isFamily = (name: string): name is FirmwareFamily => name in MINER_TWINS;

/** What firmware plays a place: as configured, else by a tag, else by the model's vendor. */
function firmwareOf(place: MinerPlace): FirmwareFamily {
  const { firmware, model, tags } = place.entry;
  if (firmware !== 'auto') return firmware;
  const tagged = tags.find(isFamily);
  if (tagged !== undefined) return tagged;
  return model.startsWith('Whatsminer') ? 'whatsminer' : 'luxos';
}

function modelOf(place: MinerPlace): string {
  const { model } = place.entry;
  return model !== 'auto' ? model : MINER_TWINS[firmwareOf(place)].model;
}

function serveMiner(
  miner: SimulatedMiner,
  place: MinerPlace,
  index: number,
  clock: Clock,
  faults: MinerWireFaults,
): Promise<SimulatedServer> {
  const hex = index.toString(16).padStart(4, '0').toUpperCase();
  const where = {
    host: place.host,
    port: place.port,
    webPort: place.entry.webPort,
    // Locally administered addresses: no vendor's.
    macAddress: `02:00:00:00:${hex.slice(0, 2)}:${hex.slice(2)}`,
    serialNumber: `SIM${String(index).padStart(6, '0')}`,
    model: modelOf(place),
    clock,
  };
  return MINER_TWINS[firmwareOf(place)].serve(miner, where, faults);
}

async function serveAllMeters(
  loaded: LoadedConfig,
  site: SimulatedSite,
  clock: Clock,
  random: Random,
): Promise<MeterServer[]> {
  const { config } = loaded;
  const groups = new Map<string, (typeof config.meters)[number][]>();
  for (const meter of config.meters) {
    if (meter.transport.kind === 'rtu') throw new Error(`${meter.id}: serial meters are not simulated`);
    const key = `${meter.transport.kind} ${meter.transport.host}:${meter.transport.port}`;
    groups.set(key, [...(groups.get(key) ?? []), meter]);
  }
  const servers: MeterServer[] = [];
  for (const group of groups.values()) {
    const { transport } = group[0]!;
    if (transport.kind === 'rtu') continue;
    servers.push(
      await serveMeters(
        {
          host: transport.host,
          port: transport.port,
          framing: transport.kind === 'rtu-over-tcp' ? 'rtu' : 'mbap',
          clock,
          random,
        },
        group.map((meter) => {
          const limit = config.limits.find((candidate) => candidate.meter === meter.id)?.id ?? '';
          return {
            profile: meter.profile,
            unit: meter.transport.kind === 'rtu' ? 1 : meter.transport.unit,
            // A little noise in the last digits, as every real meter has.
            readings: () => ({
              powerWatts: (site.watts(limit) + 1) * (1 + (random() - 0.5) * 0.001),
              powerFactor: 0.97,
            }),
            faults: {},
          };
        }),
      ),
    );
  }
  return servers;
}

/** What the node was promised for good, or null where nothing says that more is lent to it. */
function firmWatts(config: LoadedConfig['config'], node: GpuNodeConfig): number | null {
  const workload = config.workloads.find((candidate) => candidate.nodes.includes(node.id));
  return workload === undefined || workload.flexible === 0 ? null : workload.firm / workload.nodes.length;
}

/**
 * Eight H100 in a host that draws most of its part all the time. A node that lives on its firm watts and borrows
 * the rest begins with its caps at them.
 */
function simulatedNode(node: GpuNodeConfig, firm: number | null, random: Random): SimulatedGpuNode {
  const capWatts =
    firm === null ? 700 : Math.min(700, Math.max(200, Math.floor((firm - (node.hostWatts ?? 2000)) / 8)));
  const gpus = Array.from({ length: 8 }, (_, index) => ({
    uuid: `GPU-${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-a${hex(random, 3)}-${hex(random, 12)}`,
    name: 'NVIDIA H100 80GB HBM3',
    minLimitWatts: 200,
    maxLimitWatts: 700,
    idleWatts: 70 + index,
    limitWatts: capWatts,
    utilization: 0.2,
  }));
  return new SimulatedGpuNode(node.id, gpus, (node.hostWatts ?? 2000) * 0.9, random);
}

function hex(random: Random, digits: number): string {
  return Array.from({ length: digits }, () => Math.floor(random() * 16).toString(16)).join('');
}

/** Its exporter and its nvidia-smi, where the configuration names a loopback address for them. */
async function serveGpuNode(
  node: SimulatedGpuNode,
  config: GpuNodeConfig,
  clock: Clock,
): Promise<{ close(): Promise<void> }[]> {
  const servers: { close(): Promise<void> }[] = [];
  if (config.reader.kind === 'dcgm') {
    const url = new URL(config.reader.url);
    servers.push(
      await serveDcgm(node, {
        host: url.hostname,
        port: Number(url.port),
        clock,
        collectIntervalMs: 1000,
        withLimits: true,
      }),
    );
  }
  const commands = [
    config.reader.kind === 'nvidia-smi' ? config.reader.command : undefined,
    config.cap.kind === 'nvidia-smi' ? config.cap.command : undefined,
  ];
  const places = new Set(
    commands.flatMap((command) => command?.filter((word) => /^127\.\d+\.\d+\.\d+:\d+$/.test(word)) ?? []),
  );
  for (const place of places) {
    const [host, port] = place.split(':') as [string, string];
    servers.push(await serveNvidiaSmi(node, { host, port: Number(port), clock }));
  }
  return servers;
}
