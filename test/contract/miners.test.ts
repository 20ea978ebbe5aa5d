import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import type { MinerEndpoint } from '../../drivers/load-driver.ts';
import { openMiner } from '../../drivers/miners/registry.ts';
import { seededRandom } from '../../protocols/random.ts';
import type {
  MinerWireFaults,
  SimulatedMinerPlace,
  SimulatedServer,
} from '../../simulator/miners/api-server.ts';
import { serveAvalon } from '../../simulator/miners/avalon.ts';
import { serveBitmain } from '../../simulator/miners/bitmain.ts';
import { serveBraiins, serveBraiinsGraphql } from '../../simulator/miners/braiins.ts';
import { serveBfgminer, serveCgminer } from '../../simulator/miners/cgminer.ts';
import { serveEpic } from '../../simulator/miners/epic.ts';
import { serveFluxos } from '../../simulator/miners/fluxos.ts';
import { serveLuxos } from '../../simulator/miners/luxos.ts';
import { minerTraits } from '../../simulator/miners/traits.ts';
import { serveVnish } from '../../simulator/miners/vnish.ts';
import { serveWhatsminer } from '../../simulator/miners/whatsminer.ts';
import { serveWhatsminerV3 } from '../../simulator/miners/whatsminer-v3.ts';
import { SimulatedMiner } from '../../simulator/physics.ts';
import { createFaultProxy, type FaultProxy } from '../support/fault-proxy.ts';
import { createPatientClock } from '../support/patient-clock.ts';
import { closedPort } from '../support/recorded-server.ts';
import { type ContractBench, type ContractSubject, loadDriverContract } from './load-driver.ts';

type Serve = (
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults: MinerWireFaults,
) => Promise<SimulatedServer>;

interface Family extends Omit<ContractSubject, 'open' | 'firmware'> {
  readonly firmware: MinerFirmware;
  readonly serve: Serve;
  readonly model: string;
  readonly reportedModel: string;
  readonly password: string;
}

const SEED = 20_261_121;

async function openBench(family: Family, asked: MinerFirmware | 'auto'): Promise<ContractBench> {
  const random = seededRandom(SEED);
  const makeMiner = (id: string): SimulatedMiner => new SimulatedMiner(id, minerTraits(family.model), random);
  const miner = makeMiner('first');
  const other = makeMiner('other');
  const clock = createPatientClock((nowMs) => {
    miner.advance(nowMs);
    other.advance(nowMs);
  });
  // A unit that has been at work for a while.
  await clock.pass(10_000);
  const faults: MinerWireFaults = {};
  const servers: SimulatedServer[] = [];
  const serve = async (which: SimulatedMiner, unit: number, as: Serve): Promise<SimulatedServer> => {
    const place: SimulatedMinerPlace = {
      host: '127.0.0.1',
      port: 0,
      webPort: 0,
      macAddress: `02:00:00:00:00:0${unit}`,
      serialNumber: `SIM00000${unit}`,
      model: family.reportedModel,
      clock,
      user: 'root',
      password: family.password,
    };
    const server = await as(which, place, faults);
    servers.push(server);
    return server;
  };
  const first = await serve(miner, 1, family.serve);
  const api = await createFaultProxy(first.port, clock);
  const nobody = await closedPort();
  const web: FaultProxy | null = first.webPort === null ? null : await createFaultProxy(first.webPort, clock);
  const endpoint: MinerEndpoint = {
    deviceId: 'unit-1',
    host: '127.0.0.1',
    port: api.port,
    webPort: web?.port ?? nobody,
    user: 'root',
    password: { reveal: () => family.password },
    model: null,
  };
  const deps = { clock, random };
  const put = (server: SimulatedServer): void => {
    api.upstreamPort = server.port;
    if (web !== null) web.upstreamPort = server.webPort ?? nobody;
  };
  return {
    clock,
    miner,
    faults,
    proxies: web === null ? [api] : [api, web],
    driver: openMiner(endpoint, asked, deps),
    swap: async () => put(await serve(other, 2, family.serve)),
    replaceWithCgminer: async () => put(await serve(other, 3, serveCgminer)),
    withWrongPassword: () =>
      family.password === ''
        ? null
        : openMiner({ ...endpoint, password: { reveal: () => 'wrong' } }, asked, deps),
    atClosedPort: async () => openMiner({ ...endpoint, port: nobody, webPort: nobody }, asked, deps),
    [Symbol.asyncDispose]: async () => {
      await api[Symbol.asyncDispose]();
      await web?.[Symbol.asyncDispose]();
      for (const server of servers) await server.close();
    },
  };
}

const FAMILIES: readonly Family[] = [
  {
    name: 'cgminer',
    firmware: 'cgminer',
    serve: serveCgminer,
    model: 'Antminer S19j Pro',
    reportedModel: '',
    password: '',
    hasIdentity: false,
    commands: false,
    limitWatts: null,
    rejectedPercent: 100 / 1484,
  },
  {
    name: 'bfgminer',
    firmware: 'bfgminer',
    serve: serveBfgminer,
    model: 'Antminer S9',
    reportedModel: '',
    password: '',
    hasIdentity: false,
    commands: false,
    limitWatts: null,
    rejectedPercent: 100 / 1484,
  },
  {
    name: 'LuxOS',
    firmware: 'luxos',
    serve: serveLuxos,
    model: 'Antminer S19k Pro',
    reportedModel: 'Antminer S19k Pro',
    password: '',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 1800,
    rejectedPercent: 0,
  },
  {
    name: 'stock Bitmain',
    firmware: 'bitmain',
    serve: serveBitmain,
    model: 'Antminer S21',
    reportedModel: 'Antminer S21',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 3000,
    rejectedPercent: 0,
  },
  {
    name: 'Whatsminer',
    firmware: 'whatsminer',
    serve: serveWhatsminer,
    model: 'Whatsminer M60S',
    reportedModel: 'M60S-VK40',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 2400,
    rejectedPercent: 0,
    hasTokens: true,
  },
  {
    name: 'Whatsminer API 3',
    firmware: 'whatsminer-v3',
    serve: serveWhatsminerV3,
    model: 'Whatsminer M60S',
    reportedModel: 'M60S-VK40',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 2400,
    rejectedPercent: null,
  },
  {
    name: 'Braiins OS 25.07',
    firmware: 'braiins',
    serve: serveBraiins,
    model: 'Antminer S19 XP',
    reportedModel: 'Antminer S19 XP',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 2000,
    rejectedPercent: 1800 / 10_482,
    hasTokens: true,
  },
  {
    name: 'Braiins OS 25.05',
    firmware: 'braiins',
    serve: serveBraiinsGraphql,
    model: 'Antminer S19 XP',
    reportedModel: 'Antminer S19 XP',
    password: '',
    hasIdentity: false,
    commands: true,
    limitWatts: null,
    rejectedPercent: 0,
  },
  {
    name: 'VNish',
    firmware: 'vnish',
    serve: serveVnish,
    model: 'Antminer S21 Pro',
    reportedModel: 'Antminer S21 Pro',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 2500,
    rejectedPercent: 0,
    hasTokens: true,
  },
  {
    name: 'Avalon A1246',
    firmware: 'avalon',
    serve: serveAvalon,
    model: 'Avalon A1246',
    reportedModel: '1246-83',
    password: '',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: null,
    rejectedPercent: 0,
  },
  {
    name: 'Avalon Q',
    firmware: 'avalon',
    serve: serveAvalon,
    model: 'Avalon Home Q',
    reportedModel: 'Q',
    password: '',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 1400,
    rejectedPercent: 0,
  },
  {
    name: 'ePIC PowerPlay',
    firmware: 'epic',
    serve: serveEpic,
    model: 'Antminer S19 XP',
    reportedModel: 'AntMiner S19 XP',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    limitWatts: 2300,
    rejectedPercent: 200 / 1864,
  },
  {
    name: 'FluxOS',
    firmware: 'fluxos',
    serve: serveFluxos,
    model: 'Antminer S21',
    reportedModel: 'AT2880',
    password: 'site-secret',
    hasIdentity: true,
    commands: true,
    locates: true,
    limitWatts: 2600,
    rejectedPercent: 0,
    hasTokens: true,
  },
];

for (const family of FAMILIES) {
  loadDriverContract({ ...family, open: () => openBench(family, family.firmware) });
  loadDriverContract({
    ...family,
    name: `${family.name}, recognised`,
    open: () => openBench(family, 'auto'),
  });
}
