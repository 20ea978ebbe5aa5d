import { createServer } from 'node:net';
import type { Random } from '../../protocols/random.ts';

/** Where the demo's simulated devices and services listen. */
export interface DemoPlaces {
  /** First two numbers of the loopback network: `127.77`. */
  readonly network: string;
  readonly mqttPort: number;
  readonly pagePort: number;
  readonly stateFolder: string;
  /** Command prefix of the simulated nvidia-smi that listens at `host:port`. */
  readonly smiCommand: (place: string) => readonly string[];
  /** The site is Sparkplug edge nodes too, commanded by whoever may order in the demo. */
  readonly sparkplug?: boolean;
}

export interface DemoSize {
  readonly miners: number;
  readonly gpuNodes: number;
}

const MINER_PORT = 4028;
const WEB_PORT = 8080;
const METER_PORT = 5020;
const DCGM_PORT = 9400;
const SMI_PORT = 9500;
const HOSTS_PER_ROW = 250;

interface Hall {
  readonly id: string;
  readonly limit: string;
  readonly firmware: string;
  readonly model: string;
  readonly watts: number;
  readonly count: number;
  readonly extra: string;
}

/** The halls of a demo of `miners` machines: four firmware families over three feeders. */
function halls(miners: number): Hall[] {
  const third = Math.floor(miners / 3);
  const generic = Math.min(20, Math.floor(third / 5));
  return [
    {
      id: 'hall-a',
      limit: 'feeder-a',
      firmware: 'auto',
      model: 'Antminer S19k Pro',
      watts: 2760,
      count: third,
      extra: '',
    },
    {
      id: 'hall-b',
      limit: 'feeder-b',
      firmware: 'bitmain',
      model: 'Antminer S21',
      watts: 3500,
      count: third,
      extra: ', user: root, password: root',
    },
    {
      id: 'hall-c',
      limit: 'feeder-c',
      firmware: 'whatsminer',
      model: 'Whatsminer M60S',
      watts: 3441,
      count: miners - 2 * third - generic,
      extra: ', password: admin',
    },
    {
      id: 'legacy',
      limit: 'feeder-c',
      firmware: 'cgminer',
      model: 'Antminer S9',
      watts: 1350,
      count: generic,
      extra: '',
    },
  ];
}

/**
 * The configuration of the demo's site: real YAML that anybody could have written, every address on loopback.
 * Ratings leave a tenth of room above what everything draws together.
 */
export function demoConfig(size: DemoSize, places: DemoPlaces): string {
  const rows = halls(size.miners);
  const feeders = ['feeder-a', 'feeder-b', 'feeder-c'];
  const drawAt = (feeder: string) =>
    rows.filter((hall) => hall.limit === feeder).reduce((sum, hall) => sum + hall.watts * hall.count, 0);
  const roundUp = (watts: number) => Math.ceil((watts * 1.12) / 10_000) * 10_000;
  const gpuRating = Math.max(10_000, Math.ceil((size.gpuNodes * 10_200 * 1.05) / 1000) * 1000);
  const coolingWatts = Math.max(5000, Math.round((size.miners * 130) / 1000) * 1000);
  const total =
    feeders.reduce((sum, feeder) => sum + drawAt(feeder), 0) + size.gpuNodes * 10_200 + coolingWatts;
  const lines = [
    '# The demo: everything here is simulated on loopback. The same file with real addresses runs a real site.',
    'site: { id: demo, name: "Demo site", timezone: UTC }',
    'limits:',
    `  - { id: grid, rating: ${roundUp(total)} W, meter: grid-meter, authority: full }`,
    ...feeders.map(
      (feeder) =>
        `  - { id: ${feeder}, parent: grid, rating: ${Math.max(20_000, roundUp(drawAt(feeder)))} W, meter: ${feeder}-meter }`,
    ),
    `  - { id: feeder-g, parent: grid, rating: ${gpuRating} W, losses: 1.04, meter: feeder-g-meter }`,
    'loads:',
    `  - { id: cooling, limit: grid, worst: ${coolingWatts} W }`,
    'meters:',
    meter('grid-meter', 'schneider-pm5560', places.network, 1, '250ms'),
    meter('feeder-a-meter', 'eastron-sdm630', places.network, 2, '500ms'),
    meter('feeder-b-meter', 'abb-b23-b24', places.network, 3, '1s'),
    meter('feeder-c-meter', 'schneider-iem3155', places.network, 4, '1s'),
    meter('feeder-g-meter', 'siemens-pac3200-pac4200', places.network, 5, '500ms'),
    'miners:',
    ...rows.filter((hall) => hall.count > 0).map((hall, index) => minerLine(hall, places.network, index)),
  ];
  if (size.gpuNodes > 0)
    lines.push(
      'gpuNodes:',
      ...gpuLines(size.gpuNodes, places),
      'workloads:',
      ...workloadLines(size.gpuNodes),
    );
  lines.push(
    'economics: { hashpriceDollarsPerPhDay: 45, energyDollarsPerMwh: 42 }',
    'issuers:',
    '  - { id: demo, maxPriority: 80, orders: all, limits: all, onExpiry: release, unsigned: true }',
    'control: { dwell: 60s, restoreRampPercentPerMinute: 20 }',
    `mqtt: { url: "mqtt://127.0.0.1:${places.mqttPort}", root: switchyard }`,
    ...(places.sparkplug === true ? ['sparkplug: { issuer: demo }'] : []),
    `page: { listen: "127.0.0.1:${places.pagePort}" }`,
    `store: { path: ${JSON.stringify(places.stateFolder)} }`,
    '',
  );
  return lines.join('\n');
}

function meter(id: string, profile: string, network: string, host: number, interval: string): string {
  return `  - { id: ${id}, profile: ${profile}, transport: { kind: modbus-tcp, host: ${network}.200.${host}, port: ${METER_PORT}, unit: 1 }, interval: ${interval} }`;
}

function minerLine(hall: Hall, network: string, index: number): string {
  const ranges: string[] = [];
  for (let first = 0; first < hall.count; first += HOSTS_PER_ROW) {
    const last = Math.min(hall.count, first + HOSTS_PER_ROW) - first;
    const row = `${network}.${index * 40 + 10 + first / HOSTS_PER_ROW}`;
    ranges.push(last === 1 ? `${row}.1` : `${row}.1-${row}.${last}`);
  }
  return `  - { id: ${hall.id}, limit: ${hall.limit}, hosts: [${ranges.join(', ')}], port: ${MINER_PORT}, webPort: ${WEB_PORT}, firmware: ${hall.firmware}, model: "${hall.model}"${hall.extra} }`;
}

function gpuLines(count: number, places: DemoPlaces): string[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `gpu-${index + 1}`;
    // Every second node is read through its DCGM exporter; all are capped by nvidia-smi.
    const command = JSON.stringify(places.smiCommand(`${places.network}.202.${index + 1}:${SMI_PORT}`));
    const reader =
      index % 2 === 0
        ? `{ kind: nvidia-smi, command: ${command} }`
        : `{ kind: dcgm, url: "http://${places.network}.201.${index + 1}:${DCGM_PORT}/metrics", collectInterval: 1s }`;
    return `  - { id: ${id}, limit: feeder-g, nameplate: 10.2 kW, hostWatts: 2.2 kW, reader: ${reader}, cap: { kind: nvidia-smi, command: ${command} } }`;
  });
}

function workloadLines(count: number): string[] {
  return Array.from(
    { length: count },
    (_, index) =>
      `  - { id: job-${index + 1}, nodes: [gpu-${index + 1}], firm: 5 kW, flexible: 3 kW, notice: 30s, checkpoint: 10s, dollarsPerGpuHour: 2.3, penaltyDollarsPerHour: 100 }`,
  );
}

/**
 * A loopback network (`127.<n>`) on which nothing listens yet. Begins at a random one, so that two demos that
 * start together hardly ever choose the same; who still loses the race tries again.
 */
export async function freeNetwork(random: Random = Math.random): Promise<string> {
  const first = Math.floor(random() * NETWORKS);
  for (let tried = 0; tried < NETWORKS; tried += 1) {
    const network = `127.${LOWEST_NETWORK + ((first + tried) % NETWORKS)}`;
    const probes = [portFree(`${network}.200.1`, METER_PORT), portFree(`${network}.10.1`, MINER_PORT)];
    if ((await Promise.all(probes)).every((free) => free)) return network;
  }
  throw new Error(`no free loopback network: are ${NETWORKS} demos running?`);
}

const LOWEST_NETWORK = 64;
const NETWORKS = 180;

/** The port, or a free one when it is taken. */
export async function portOrFree(port: number): Promise<number> {
  if (await portFree('127.0.0.1', port)) return port;
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

function portFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
