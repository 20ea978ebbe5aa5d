import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetOptions, plainHosts, type RunningFleet, startFleet } from './fleet.ts';
import { type FloorInC, floorInC } from './poll-c.ts';
import { benchRead } from './read.ts';

/** What the polling process reports at its end. */
export interface PollReport {
  readonly reads: number;
  readonly failures: number;
  readonly exchanges: number;
  readonly worstLatenessMs: number;
  readonly residentMiB: number;
  readonly processorMs: number;
  readonly seconds: number;
}

const FIRST_HOST = '127.80.0.1';
/** From the first read of each to where it is measured. */
export const WARM_UP_SECONDS = 30;
/** What decoding costs is measured apart, without sockets. */
const READ_ROUNDS = 180;

/**
 * `npm run bench -- poll [DEVICES] [SECONDS] [beside]`: miners of every family polled every 10 s, 10 % dead (they take connections
 * and are silent) and 2 % dripping, the fleet in a process of its own behind wildcard listeners, the drivers and the
 * poller of the agent in another. Then the same number of exchanges by plain node:net against the same fleet, and by a
 * client in C where there is a compiler. `beside`: drivers
 * and floor in the same seconds, for a machine that has other work.
 */
export async function benchPoll(args: readonly string[]): Promise<void> {
  const [devices = 10_000, seconds = 60] = args.slice(0, 2).map(Number);
  const isBeside = args[2] === 'beside';
  const fleetOptions: FleetOptions = {
    firstHost: FIRST_HOST,
    devices,
    silent: 0,
    deadShare: 0.1,
    drippingShare: 0.02,
    wildcard: true,
  };
  const fleet = await startFleet(fleetOptions);
  try {
    if (isBeside) {
      await compareBeside(fleet, fleetOptions, seconds);
      return;
    }
    const fleetBefore = await fleet.ask('usage');
    const startedAt = performance.now();
    const polled = await inProcess('drivers', { fleetOptions, seconds, exchanges: 0 }, () =>
      fleet.ask('exchanges'),
    );
    console.log(
      `${devices} miners every 10 s for ${polled.seconds.toFixed(0)} s: ${polled.reads} reads, ${polled.failures} of them failed, ` +
        `no healthy read later than ${polled.worstLatenessMs.toFixed(0)} ms, ${polled.exchanges} exchanges, ` +
        `${polled.residentMiB.toFixed(0)} MiB resident, processor ${percent(polled)} % of one core ` +
        `(${perExchange(polled)} us an exchange, ${((polled.processorMs / polled.reads) * 1000).toFixed(0)} us a read)`,
    );
    const fleetMs = (await fleet.ask('usage')) - fleetBefore;
    console.log(
      `the fleet itself took ${((100 * fleetMs) / (performance.now() - startedAt)).toFixed(0)} % of one core, warm-up included`,
    );
    const floor = await inProcess('floor', { fleetOptions, seconds, exchanges: polled.exchanges }, () =>
      fleet.ask('exchanges'),
    );
    console.log(
      `the same number of exchanges by plain node:net: ${floor.exchanges} in ${floor.seconds.toFixed(0)} s, processor ` +
        `${percent(floor)} % of one core (${perExchange(floor)} us an exchange), ${floor.residentMiB.toFixed(0)} MiB`,
    );
    const ratio = polled.processorMs / polled.exchanges / (floor.processorMs / floor.exchanges);
    console.log(`the drivers take ${ratio.toFixed(2)} times the floor`);
    const inC = await floorInC(plainHosts(fleetOptions), seconds, polled.exchanges);
    console.log(
      inC === null
        ? 'no C compiler here: no client in C beside it'
        : `the same by a client in C with epoll: ${inC.exchanges} exchanges, ${perExchange(inC)} us each, ${inC.residentMiB.toFixed(0)} MiB`,
    );
  } finally {
    await fleet.stop();
  }
  await benchRead(READ_ROUNDS);
}

/** Both at once: whatever else the machine does, it does to both. Each has half the fleet's attention. */
async function compareBeside(
  fleet: RunningFleet,
  fleetOptions: FleetOptions,
  seconds: number,
): Promise<void> {
  const before = await fleet.ask('exchanges');
  const drivers = startSide('drivers', { fleetOptions, seconds, exchanges: 0 });
  await drivers.measuring;
  const exchanges = (((await fleet.ask('exchanges')) - before) / WARM_UP_SECONDS) * seconds;
  const started = await fleet.ask('exchanges');
  const connectionsBefore = await fleet.ask('connections');
  const floor = startSide('floor', { fleetOptions, seconds, exchanges });
  const polled = await drivers.report;
  const bare = await floor.report;
  const all = (await fleet.ask('exchanges')) - started;
  const connections = (await fleet.ask('connections')) - connectionsBefore - bare.reads;
  const ours = { ...polled, exchanges: all - bare.reads };
  const theirs = { ...bare, exchanges: bare.reads };
  const ratio = ours.processorMs / ours.exchanges / (theirs.processorMs / theirs.exchanges);
  console.log(
    `${fleetOptions.devices} miners, in the same ${seconds} s: ours ${ours.exchanges} exchanges over ${connections} connections, ${perExchange(ours)} us each, ` +
      `bare ${theirs.exchanges} of ${perExchange(theirs)} us, each connected anew: ${ratio.toFixed(2)} times; ` +
      `no healthy read later than ${ours.worstLatenessMs.toFixed(0)} ms, ${ours.residentMiB.toFixed(0)} MiB`,
  );
}

const percent = ({ processorMs, seconds }: PollReport): string => (processorMs / seconds / 10).toFixed(0);
const perExchange = ({ processorMs, exchanges }: FloorInC): string =>
  ((processorMs / exchanges) * 1000).toFixed(0);

/** How the unit of a large site starts Node. */
function unitFlags(): readonly string[] {
  const unit = readFileSync(join(import.meta.dirname, '../packaging/drop-ins/large-site.conf'), 'utf8');
  const start = /^ExecStart=(.+)$/m.exec(unit)?.[1] ?? '';
  return start.split(' ').filter((word) => word.startsWith('--'));
}

/** Runs one side in a process of its own. */
function startSide(
  mode: 'drivers' | 'floor',
  work: object,
): { readonly measuring: Promise<unknown>; readonly report: Promise<PollReport> } {
  const child = fork(join(import.meta.dirname, 'poll-process.ts'), [mode, JSON.stringify(work)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: [...process.execArgv, ...unitFlags()],
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  const next = (): Promise<unknown> => new Promise((resolve) => child.once('message', resolve));
  const measuring = next();
  return {
    measuring,
    report: measuring.then(async () => {
      const report = (await next()) as PollReport;
      child.disconnect();
      return report;
    }),
  };
}

/** The same alone, its exchanges counted by the fleet between its start and end signals. */
async function inProcess(
  mode: 'drivers' | 'floor',
  work: object,
  exchangesOf: () => Promise<number>,
): Promise<PollReport> {
  const side = startSide(mode, work);
  await side.measuring;
  const before = await exchangesOf();
  const report = await side.report;
  const exchanges = (await exchangesOf()) - before;
  return { ...report, exchanges };
}
