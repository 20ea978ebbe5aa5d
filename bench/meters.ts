import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import modbusSerial from 'modbus-serial';
import { client as packageClient } from 'node-modbus';
import { Loop } from '../agent/control/loop.ts';
import { Poller } from '../agent/control/poller.ts';
import { meterOptions } from '../agent/drivers.ts';
import { meterTarget } from '../agent/poll-targets.ts';
import { buildSiteModel } from '../agent/site/model.ts';
import { SiteState } from '../agent/site/state.ts';
import { loadConfigText } from '../config/load.ts';
import { openMeter } from '../drivers/modbus-meter.ts';
import { systemClock } from '../protocols/clock.ts';
import { openBus } from '../protocols/modbus/bus.ts';
import { BusPool } from '../protocols/modbus/bus-pool.ts';
import { tcpPath } from '../protocols/modbus/connect.ts';

const never = new AbortController().signal;

/**
 * 40 meters at 5 Hz and one at 10 Hz over Modbus TCP, read by the agent's own poller for a decision a second: how
 * old the samples are when it decides, and what that costs. Then requests a second and processor time for each,
 * beside the clients of the npm packages, on one libmodbus server. `seconds` of load, twice: just after the start, and
 * when a minute has passed, as it goes on for years.
 */
export async function benchMeters(seconds = 30): Promise<void> {
  await benchLoad(seconds);
  await benchClients();
}

const REFRESH_MS = 100;

async function benchLoad(seconds: number): Promise<void> {
  const peer = spawn(
    process.execPath,
    [join(import.meta.dirname, 'meters-peer.ts'), '41', String(REFRESH_MS)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const ports = JSON.parse(await firstLine(peer.stdout)) as number[];
  const meters = ports.map((port, index) => {
    const interval = index === 0 ? '100ms' : '200ms';
    const transport = `{ kind: modbus-tcp, host: 127.0.0.1, port: ${port}, unit: 1 }`;
    return `  - { id: m${index}, profile: schneider-pm5560, interval: ${interval}, transport: ${transport} }`;
  });
  const loaded = loadConfigText(
    `site: { id: bench }\nlimits:\n  - { id: grid, rating: 10 MW, meter: m0 }\nmeters:\n${meters.join('\n')}\n`,
  );
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config, profiles } = loaded.value;
  const state = new SiteState(buildSiteModel(config, []), { meterStaleMs: 5000, deviceStaleMs: 5000 });
  const stop = new AbortController();
  const ages: number[] = [];
  let bad = 0;
  const loop = new Loop(
    systemClock,
    1000,
    () => {
      const now = systemClock.monotonicMs();
      for (const meter of state.freeze(now, systemClock.epochMs()).meters) {
        if (meter.reading === null || meter.quality !== 'good') bad += 1;
        else ages.push(now - meter.reading.sampledAt);
      }
    },
    (error) => {
      throw error;
    },
  );
  const buses = new BusPool({ clock: systemClock, random: Math.random });
  const rules = { concurrency: config.meters.length, maximumBackoffMs: 2000 };
  const poller = new Poller(systemClock, Math.random, rules, stop.signal);
  const decisions = { nextAt: () => loop.dueAt, periodMs: 1000 };
  poller.add(
    config.meters.map((meter) =>
      meterTarget(
        meter,
        openMeter(meterOptions(meter, profiles), { clock: systemClock, buses }),
        state,
        systemClock,
        decisions,
      ),
    ),
    200,
  );
  loop.start();
  const measure = async (when: string): Promise<void> => {
    ages.length = 0;
    bad = 0;
    const [reads, cpu, startedAt] = [poller.counters.reads, process.cpuUsage(), performance.now()];
    await systemClock.sleep(seconds * 1000, never);
    const passedMs = performance.now() - startedAt;
    const { user, system } = process.cpuUsage(cpu);
    const rate = ((poller.counters.reads - reads) / passedMs) * 1000;
    const share = (user + system) / 10 / passedMs;
    console.log(
      `${when}: ${config.meters.length} meters, 40 at 5 Hz and one at 10 Hz, for ${(passedMs / 1000).toFixed(0)} s: ${rate.toFixed(0)} reads/s, ` +
        `age at the decision p50 ${at(ages, 0.5)} ms, p99 ${at(ages, 0.99)} ms, worst ${at(ages, 1)} ms beyond a refresh of ${REFRESH_MS} ms, ` +
        `${bad} samples not good, ${poller.counters.failures} failures, processor ${share.toFixed(1)} % of one core`,
    );
  };
  // The first reads bring every point, and the reads find their place before the decision.
  await systemClock.sleep(3000, never);
  await measure('just started');
  await systemClock.sleep(Math.max(0, 60_000 - seconds * 1000), never);
  await measure('after a minute');
  loop.stop();
  stop.abort();
  await buses[Symbol.asyncDispose]();
  peer.kill('SIGKILL');
}

/** One read of 60 registers from `address`; resolves with the first of them. */
type Ask = (address: number) => Promise<number>;

interface Contender {
  readonly name: string;
  open(port: number, atOnce: number): Promise<{ ask: Ask; close(): Promise<void> }>;
}

const COUNT = 60;
const ROUNDS = 30;

const CONTENDERS: Contender[] = [
  {
    name: 'switchyard',
    open: async (port, atOnce) => {
      const bus = openBus(
        {
          name: 'bench',
          framing: 'mbap',
          connect: tcpPath('127.0.0.1', port, 1000, systemClock),
          responseTimeoutMs: 2000,
          inFlightMost: atOnce,
        },
        { clock: systemClock, random: Math.random },
      );
      const ask: Ask = async (address) => {
        const request = { kind: 'read', functionCode: 4, address, count: COUNT } as const;
        const reply = await bus.exchange(1, request, systemClock.monotonicMs() + 5000, never);
        if (!reply.ok) throw new Error(reply.error.message);
        return reply.value.words[0]!;
      };
      return { ask, close: async () => bus[Symbol.asyncDispose]() };
    },
  },
  {
    name: 'jsmodbus 5.0.0',
    open: async (port) => {
      const socket = new Socket();
      const client = new packageClient.TCP(socket, 1, 2000);
      socket.connect(port, '127.0.0.1');
      await once(socket, 'connect');
      const ask: Ask = async (address) => {
        const { response } = await client.readInputRegisters(address, COUNT);
        return Number(response.body.valuesAsArray[0]);
      };
      return {
        ask,
        close: async () => {
          socket.destroy();
        },
      };
    },
  },
  {
    name: 'modbus-serial 8.0.25',
    open: async (port) => {
      const client = new modbusSerial.default();
      await client.connectTCP('127.0.0.1', { port });
      client.setID(1);
      client.setTimeout(2000);
      return {
        ask: async (address) => (await client.readInputRegisters(address, COUNT)).data[0]!,
        close: () => new Promise((resolve) => client.close(() => resolve())),
      };
    },
  },
];

async function benchClients(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-bench-'));
  const program = join(folder, 'sdm630');
  const source = join(import.meta.dirname, '..', 'test', 'peers', 'sdm630-server.c');
  const flags = execFileSync('pkg-config', ['--cflags', '--libs', 'libmodbus'], { encoding: 'utf8' });
  execFileSync('gcc', ['-O2', '-o', program, source, ...flags.trim().split(/\s+/)]);
  const server = spawn(program, { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = Number(await firstLine(server.stdout));
  for (const atOnce of [1, 8]) {
    const rows = new Map<string, { rate: number; cpu: number; wrong: number }[]>();
    // Turn about in short rounds, so that a noisy moment of the machine meets all of them; each round begins with another.
    for (let round = 0; round < ROUNDS; round += 1) {
      for (let turn = 0; turn < CONTENDERS.length; turn += 1) {
        const contender = CONTENDERS[(round + turn) % CONTENDERS.length]!;
        const { ask, close } = await contender.open(port, atOnce);
        await run(ask, atOnce, 1000);
        const result = await run(ask, atOnce, 5000);
        rows.set(contender.name, [...(rows.get(contender.name) ?? []), result]);
        await close();
      }
    }
    const ours = rows.get(CONTENDERS[0]!.name)!;
    for (const { name } of CONTENDERS) {
      const results = rows.get(name)!;
      const median = (values: readonly number[], digits: number) => at(values, 0.5, digits);
      const rate = median(
        results.map((result) => result.rate),
        0,
      );
      const cpu = median(
        results.map((result) => result.cpu),
        1,
      );
      const wrong = results.reduce((sum, result) => sum + result.wrong, 0);
      const faster = results.map((result, round) => ours[round]!.rate / result.rate);
      const ahead = faster.filter((ratio) => ratio > 1).length;
      console.log(
        `${name}, ${atOnce} outstanding: ${rate} requests/s, ${cpu} us of processor each, ${wrong} wrong` +
          (results === ours
            ? ''
            : `; switchyard is ${median(faster, 2)} times as fast in the median round, ahead in ${ahead} of ${ROUNDS}`),
      );
    }
  }
  server.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}

/** `total` requests, `atOnce` under way; the first register of each is held against what the server holds. */
async function run(
  ask: Ask,
  atOnce: number,
  total: number,
): Promise<{ rate: number; cpu: number; wrong: number }> {
  let sent = 0;
  let wrong = 0;
  const [cpu, startedAt] = [process.cpuUsage(), performance.now()];
  const worker = async () => {
    while (sent < total) {
      sent += 1;
      // Registers 12 and 52 of the server: 10,000 W and 30,000 W as floats.
      const [address, first] = sent % 2 === 0 ? [12, 0x461c] : [52, 0x46ea];
      if ((await ask(address)) !== first) wrong += 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const passedMs = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpu);
  return { rate: (total / passedMs) * 1000, cpu: (user + system) / total, wrong };
}

async function firstLine(stream: Readable): Promise<string> {
  for await (const line of createInterface({ input: stream })) return line;
  throw new Error('it ended before it said anything');
}

function at(values: readonly number[], share: number, digits = 1): string {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(
    digits,
  );
}
