import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type SimulatorProcess, startSimulator } from '../../agent/cli/simulator-process.ts';
import { openForReading } from '../../agent/store/database.ts';
import {
  EMPTY_PICTURE,
  type Line,
  readLine,
  type SegmentStart,
  startPicture,
  unpack,
} from '../../agent/store/records.ts';
import { type ReplayReport, replayJournal } from '../../agent/store/replay.ts';
import { recordRows } from '../../agent/store/segments.ts';
import { type Random, seededRandom } from '../../protocols/random.ts';
import { RealSite, writeRealSite } from './real-site.ts';

const PACE = '10';
const LOW_SHARE = 0.5;
const CONTROL = '{ dwell: 20s, restoreRampPercentPerMinute: 100 }';
/** The order's own deadline; kills may eat into it, so what is judged is this plus the lives that were cut. */
const WITHIN_MS = 30_000;

interface HeardCommand {
  readonly ts: number;
  readonly device: string;
  readonly command: 'sleep' | 'run' | 'restart';
  readonly state: string;
}

/**
 * `npm run proof -- kill [--kills N] [--seed S] [--miners N]`: SIGKILLs the agent at random moments of sheds and
 * restores of a simulated site in processes of its own. The judges are the simulator and the journal, not the agent.
 */
export async function proveKill(args: readonly string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: '50' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      miners: { type: 'string', default: '40' },
      keep: { type: 'boolean', default: false },
    },
  });
  const kills = Number(values.kills);
  const random = seededRandom(Number(values.seed));
  console.log(
    `kill: seed ${values.seed}, ${kills} kills, ${values.miners} miners, physics ${PACE} times as fast`,
  );
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-kill-'));
  const file = await writeRealSite(folder, Number(values.miners), CONTROL);
  const simulator = await startSimulator(file, values.seed, PACE);
  const world = new World(simulator, file, join(folder, 'state'));
  try {
    await runKills(world, kills, random);
    const problems = await judge(world);
    for (const problem of problems) console.log(`  NOT OK ${problem}`);
    console.log(
      problems.length === 0 ? 'kill: everything holds' : `kill: ${problems.length} things do not hold`,
    );
    if (values.keep || problems.length > 0) console.log(`  kept: ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
    return problems.length === 0;
  } finally {
    await world.end();
    await simulator.stop();
  }
}

/** The processes, and everything that was seen of them. */
class World extends RealSite {
  readonly heard: HeardCommand[];
  readonly replays: ReplayReport[] = [];

  constructor(simulator: SimulatorProcess, file: string, state: string) {
    const heard: HeardCommand[] = [];
    super(simulator, file, state, {
      op: 'commands',
      take: (answer) => heard.push(...(answer['commands'] as HeardCommand[])),
    });
    this.heard = heard;
  }
}

/** A phase of one limit lasts for so many kills. */
const KILLS_PER_PHASE = 9;

async function runKills(world: World, kills: number, random: Random): Promise<void> {
  await world.start();
  await world.until('the first normal mode', 60_000, () => world.isNormal());
  for (let kill = 0; kill < kills; kill += 1) {
    const phase = Math.floor(kill / KILLS_PER_PHASE);
    if (kill % KILLS_PER_PHASE === 0) {
      await world.order(phase % 2 === 0 ? Math.round(world.ratingWatts * LOW_SHARE) : null, WITHIN_MS);
      // The first kill of a phase strikes in the middle of what the order set off.
      await sleep(random() * 1500);
    } else await sleep(200 + random() * 10_000);
    await world.kill('SIGKILL');
    world.replays.push(replay(world.state));
    await sleep(random() * 1000);
    await world.start();
    await carriedOn(world);
  }
  // A restore and a shed in peace at the end: the agent still does its work after all that.
  await world.order(null, WITHIN_MS);
  await world.until('all power again', 300_000, async () => world.gridWatts >= world.ratingWatts * 0.75);
  await world.order(Math.round(world.ratingWatts * LOW_SHARE), WITHIN_MS);
  await sleep(500);
  await world.until('the last shed', 120_000, async () => world.gridWatts <= world.ratingWatts * LOW_SHARE);
  await sleep(1000);
  await world.kill('SIGTERM');
  world.replays.push(replay(world.state));
}

/** The order in force is still in force after a start. */
async function carriedOn(world: World): Promise<void> {
  const expected = world.phases.at(-1)?.watts ?? null;
  const orders = await world.get('/api/v1/orders');
  const leases = (orders?.['leases'] ?? []) as { limit: string; watts: number }[];
  const now = leases.find((lease) => lease.limit === 'grid')?.watts ?? null;
  if (now !== expected)
    world.problems.push(`after start ${world.lives.length} the limit is ${now} W, not ${expected} W`);
}

function replay(state: string): ReplayReport {
  const database = openForReading(join(state, 'journal.db'));
  try {
    return replayJournal(database);
  } finally {
    database.close();
  }
}

/** What the journal says of each life: when everything had been read afresh, and which wakes were booked. */
interface Booked {
  /** By epoch: wall time of the first cycle on fresh evidence. */
  readonly freshAt: ReadonlyMap<number, number>;
  readonly wakes: readonly { readonly ts: number; readonly device: string; readonly epoch: number }[];
  readonly upsTooEarly: readonly string[];
}

function readBooked(state: string): Booked {
  const freshAt = new Map<number, number>();
  const wakes: { ts: number; device: string; epoch: number }[] = [];
  const upsTooEarly: string[] = [];
  const database = openForReading(join(state, 'journal.db'));
  let picture = EMPTY_PICTURE;
  for (const row of recordRows(database)) {
    if (row.kind === 'start') {
      picture = startPicture(unpack<SegmentStart>(row.body).state);
      continue;
    }
    for (const line of unpack<Line[]>(row.body)) {
      if (line.k !== 'cycle') continue;
      const read = readLine(picture, line);
      ({ picture } = read);
      const { observation, decision } = read.cycle;
      // Each life's monotonic clock starts near zero: any reading that it has is its own.
      const fresh =
        observation.meters.every((meter) => meter.sampledAt !== null && meter.sampledAt > 0) &&
        observation.devices.every((device) => device.requestedAt !== null || device.failure !== null);
      if (fresh && !freshAt.has(row.epoch)) freshAt.set(row.epoch, line.ts);
      for (const command of decision.commands) {
        if (command.direction !== 'up') continue;
        if (!fresh) upsTooEarly.push(`${command.device} in cycle ${line.cycle} of start ${row.epoch}`);
        if (command.kind === 'run' && command.fromPointId === 'sleep')
          wakes.push({ ts: line.ts, device: command.device, epoch: row.epoch });
      }
    }
  }
  database.close();
  return { freshAt, wakes, upsTooEarly };
}

/** A command may be on its way for so long: driver, network, simulator. */
const ON_THE_WAY_MS = 5000;

async function judge(world: World): Promise<string[]> {
  const problems = [...world.problems];
  const booked = readBooked(world.state);
  for (const early of booked.upsTooEarly) problems.push(`booked to rise before fresh evidence: ${early}`);
  const woken = world.heard.filter(
    ({ command, state }) => command === 'run' && (state === 'sleeping' || state === 'stopping'),
  );
  earlyRises(world, booked, woken, problems);
  doubleWakes(booked, woken, problems);
  const broken = world.replays.filter((report) => report.difference !== null);
  for (const { difference } of broken) problems.push(`replay differs: ${JSON.stringify(difference)}`);
  const over = overLimit(world, problems);
  const last = world.replays.at(-1);
  const startMs = world.lives.slice(1).map((life, index) => life.startedAt - world.lives[index]!.endedAt);
  const freshMs = [...booked.freshAt].flatMap(([epoch, ts]) => {
    const life = world.lives[epoch - 1];
    return life === undefined ? [] : [ts - life.startedAt];
  });
  console.log(
    [
      `  ${world.lives.length} starts, ${world.lives.length - 1} of them after SIGKILL; paused ${Math.round(Math.max(0, ...startMs))} ms at most`,
      `  ${booked.freshAt.size} lives came to fresh evidence, after ${Math.round(median(freshMs))} ms (median)`,
      `  ${world.heard.length} commands reached the miners, ${woken.length} of them wakes; ${booked.wakes.length} wakes booked`,
      `  ${over}`,
      `  ${world.replays.length} replays; the last: ${last?.agreed} of ${last?.cycles} cycles agree, ${last?.commands} commands`,
    ].join('\n'),
  );
  if (booked.wakes.length === 0) problems.push('nothing was ever woken: the run proves nothing');
  return problems;
}

/** Nothing rises between a start and its first fresh evidence, by what the miners heard. */
function earlyRises(world: World, booked: Booked, woken: readonly HeardCommand[], problems: string[]): void {
  for (const [index, life] of world.lives.entries()) {
    const freshAt = booked.freshAt.get(index + 1) ?? life.endedAt;
    for (const { ts, device } of woken)
      if (ts > life.startedAt && ts < Math.min(freshAt, life.endedAt))
        problems.push(`${device} was woken ${freshAt - ts} ms before fresh evidence of start ${index + 1}`);
  }
}

/** Each wake that a miner heard is one that was booked before, and no booking is heard twice. */
function doubleWakes(booked: Booked, woken: readonly HeardCommand[], problems: string[]): void {
  const left = new Map<string, number[]>();
  for (const { device, ts } of booked.wakes) left.set(device, [...(left.get(device) ?? []), ts]);
  for (const { device, ts } of woken) {
    const bookings = left.get(device) ?? [];
    const index = bookings.findIndex((at) => at <= ts && ts - at < ON_THE_WAY_MS);
    if (index < 0)
      problems.push(`${device} was woken at ${new Date(ts).toISOString()} without a booking of its own`);
    else bookings.splice(index, 1);
  }
}

/** How long after an order the truth is under its limit, and whether it stays there. */
function overLimit(world: World, problems: string[]): string {
  const seconds: number[] = [];
  for (const [index, phase] of world.phases.entries()) {
    if (phase.watts === null) continue;
    const endsAt = world.phases[index + 1]?.ts ?? Number.POSITIVE_INFINITY;
    const samples = world.samples.filter(({ ts }) => ts >= phase.ts && ts < endsAt);
    const met = samples.find(({ watts }) => watts['grid']! <= phase.watts!);
    if (met === undefined) {
      problems.push(`the limit of ${phase.watts} W was never met (${samples.length} samples)`);
      continue;
    }
    seconds.push((met.ts - phase.ts) / 1000);
    if (met.ts - phase.ts > WITHIN_MS)
      problems.push(`${phase.watts} W met only after ${(met.ts - phase.ts) / 1000} s`);
    const above = samples.filter(({ ts, watts }) => ts > met.ts && watts['grid']! > phase.watts! * 1.005);
    if (above.length > 0)
      problems.push(
        `over ${phase.watts} W again, up to ${Math.max(...above.map(({ watts }) => watts['grid']!))} W`,
      );
  }
  const high = world.samples.filter(({ watts }) => watts['grid']! > world.ratingWatts);
  if (high.length > 0) problems.push(`over the rating in ${high.length} samples`);
  return `limit falls met after ${seconds.map((value) => value.toFixed(1)).join(', ')} s (deadline ${WITHIN_MS / 1000} s), by the simulator's truth`;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
