import { connect } from 'node:net';
import { Poller } from '../agent/control/poller.ts';
import { systemClock } from '../protocols/clock.ts';
import { seededRandom } from '../protocols/random.ts';
import { type FleetOptions, fleetMembers, plainHosts } from './fleet.ts';
import { openFleetDrivers } from './fleet-drivers.ts';
import { WARM_UP_SECONDS } from './poll.ts';

const INTERVAL_MS = 10_000;

interface Work {
  readonly fleetOptions: FleetOptions;
  readonly seconds: number;
  /** For the floor: how many in those seconds. */
  readonly exchanges: number;
}

const mode = process.argv[2];
const work = JSON.parse(process.argv[3]!) as Work;
const stop = new AbortController();
const never = new AbortController().signal;

/** Measures from a signal to the parent until the seconds are over. */
async function measure(counters: {
  reads: number;
  failures: number;
  worstLatenessMs: number;
}): Promise<void> {
  counters.reads = 0;
  counters.failures = 0;
  counters.worstLatenessMs = 0;
  process.send!('measuring');
  const usage = process.cpuUsage();
  const startedAt = performance.now();
  let resident = 0;
  for (let second = 0; second < work.seconds; second += 1) {
    await systemClock.sleep(1000, never);
    resident = Math.max(resident, process.memoryUsage.rss());
  }
  const { user, system } = process.cpuUsage(usage);
  process.send!({
    reads: counters.reads,
    failures: counters.failures,
    exchanges: 0,
    worstLatenessMs: counters.worstLatenessMs,
    residentMiB: resident / 1024 / 1024,
    processorMs: (user + system) / 1000,
    seconds: (performance.now() - startedAt) / 1000,
  });
}

async function drivers(): Promise<void> {
  const random = seededRandom(5);
  const poller = new Poller(
    systemClock,
    random,
    { concurrency: 1024, maximumBackoffMs: 60_000 },
    stop.signal,
  );
  const opened = openFleetDrivers(fleetMembers(work.fleetOptions));
  poller.add(
    opened.map((driver) => ({
      id: driver.deviceId,
      intervalMs: INTERVAL_MS,
      read: (signal: AbortSignal) => driver.read(signal),
      onResult: () => undefined,
    })),
    INTERVAL_MS,
  );
  await systemClock.sleep(WARM_UP_SECONDS * 1000, never);
  await measure(poller.counters);
}

/** Connect, send, take what comes until the other side closes: nothing decoded, nothing kept. */
async function floor(): Promise<void> {
  const hosts = plainHosts(work.fleetOptions);
  const request = '{"command":"summary"}';
  let next = 0;
  const once = (): void => {
    const socket = connect({ host: hosts[next % hosts.length]!, port: 4028 });
    next += 1;
    const pieces: Buffer[] = [];
    socket.setNoDelay(true);
    socket.write(request);
    socket.on('data', (piece) => pieces.push(piece));
    socket.on('end', () => {
      Buffer.concat(pieces);
      counters.reads += 1;
      socket.destroy();
    });
    socket.on('error', () => undefined);
  };
  const counters = { reads: 0, failures: 0, worstLatenessMs: 0 };
  const perTick = work.exchanges / (work.seconds * 100);
  const startedAt = performance.now();
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 10) * perTick;
    while (next < due) once();
  }, 10);
  await measure(counters);
  clearInterval(timer);
}

await (mode === 'drivers' ? drivers() : floor());
process.on('disconnect', () => process.exit(0));
