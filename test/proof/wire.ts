import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type SimulatorProcess, startSimulator } from '../../agent/cli/simulator-process.ts';
import { loadConfig } from '../../config/load.ts';
import { seededRandom } from '../../protocols/random.ts';
import { RealSite, type Sample, writeRealSite } from './real-site.ts';

/** Physics run so much faster than the clock: wakes of minutes fit in a run; deadlines and polls are real time. */
const PACE = 5;
const DEADLINE_MS = 30_000;
const CONTROL =
  '{ dwell: 20s, restoreRampPercentPerMinute: 100, overshedPercent: 8, wakesPerTenSeconds: 200 }';

/** What one run came to, by the simulator's true watts. */
interface Run {
  readonly problems: readonly string[];
  readonly overSeconds: number;
  readonly feederSeconds: number;
  readonly metSeconds: readonly number[];
  readonly told: number;
  /** Of each fall's limit, from its deadline on. */
  readonly usedShares: readonly number[];
}

/**
 * `npm run proof -- wire [RUNS] [MINERS] [FIRST SEED]`: the agent as it is started on a site, over real sockets, against single
 * miners of four firmware families in a process of their own: one in ten acknowledges and does nothing, 3 % lose their
 * supply, 2 % lie, 2 % do as they are told and never answer it, all drift by 4 %, restart by themselves, a pool outage
 * returns all in the same moment, and the agent is killed and started again. The limit falls to 60 % of the power at the
 * start, comes back, and falls to 75 %. The judge is the simulator's true power.
 */
export async function proveWire(runs: number, miners: number, firstSeed: number): Promise<boolean> {
  let kept = true;
  const all: Run[] = [];
  for (let seed = firstSeed; seed < firstSeed + runs; seed += 1) {
    console.log(
      `wire: run ${seed - firstSeed + 1} of ${runs}, seed ${seed}, ${miners} miners, physics ${PACE} times as fast`,
    );
    const run = await runOnce(miners, seed);
    all.push(run);
    for (const problem of run.problems) console.log(`  NOT OK ${problem}`);
    kept &&= run.problems.length === 0;
    console.log(
      `  over a limit after its deadline ${run.overSeconds.toFixed(1)} s, over a feeder ${run.feederSeconds.toFixed(1)} s; ` +
        `falls met after ${run.metSeconds.map((value) => value.toFixed(1)).join(', ')} s; shortfall told ${run.told} times; ` +
        `${run.usedShares.map((share) => (share * 100).toFixed(1)).join(' and ')} % of the limits used`,
    );
  }
  const met = all.flatMap(({ metSeconds }) => metSeconds).sort((a, b) => a - b);
  console.log(
    `wire: ${runs} runs of ${miners} miners: ${all.reduce((sum, run) => sum + run.overSeconds + run.feederSeconds, 0).toFixed(1)} s over ` +
      `any limit, falls met after ${met[met.length >> 1]?.toFixed(1)} s (worst ${met.at(-1)?.toFixed(1)} s)`,
  );
  return kept;
}

async function runOnce(miners: number, seed: number): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-wire-'));
  const file = await writeRealSite(folder, miners, CONTROL);
  const simulator = await startSimulator(file, String(seed), String(PACE));
  const site = new RealSite(simulator, file, join(folder, 'state'));
  try {
    const mishaps = breakSome(simulator, file, seed);
    await site.start();
    await site.until('the first normal mode', 120_000, () => site.isNormal());
    await sleep(5000);
    const fullWatts = site.gridWatts;
    const order = async (share: number | null) =>
      site.order(share === null ? null : Math.round(fullWatts * share), DEADLINE_MS);
    mishaps.die();
    await order(0.6);
    await sleep(60_000);
    mishaps.die();
    await order(null);
    await sleep(15_000);
    simulator.send({ op: 'pool', away: true });
    await sleep(12_000);
    simulator.send({ op: 'pool', away: false });
    await site.until(
      'nine tenths of the power again',
      120_000,
      async () => site.gridWatts >= fullWatts * 0.9,
    );
    mishaps.die();
    await order(0.75);
    await sleep(15_000);
    await site.kill('SIGKILL');
    await sleep(1000);
    await site.start();
    await sleep(45_000);
    await order(null);
    await sleep(20_000);
    return judge(site);
  } finally {
    await site.end();
    await simulator.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What is wrong with each miner; `die` takes the supply of another hundredth of them. */
function breakSome(simulator: SimulatorProcess, file: string, seed: number): { die(): void } {
  const loaded = loadConfig(file);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const random = seededRandom(seed * 7919);
  const ids = loaded.value.miners.map(({ deviceId }) => deviceId);
  for (const id of ids) {
    const draw = random();
    const faults = { driftShare: 0.04, restartsPerHour: 0.01 };
    if (draw < 0.1) simulator.send({ op: 'miner-fault', id, faults: { driftShare: 0.04, disobeys: true } });
    else
      simulator.send({
        op: 'miner-fault',
        id,
        faults: draw < 0.12 ? { ...faults, lies: 0.9 + 0.2 * random() } : faults,
      });
    if (draw > 0.98) simulator.send({ op: 'wire-fault', id, faults: { losesAnswers: true } });
  }
  return {
    die: () => {
      for (let death = 0; death < ids.length / 100; death += 1)
        simulator.send({ op: 'supply', id: ids[Math.floor(random() * ids.length)], on: false });
    },
  };
}

function judge(site: RealSite): Run {
  const problems = [...site.problems];
  const metSeconds: number[] = [];
  let overSeconds = 0;
  const usedShares: number[] = [];
  for (const [index, phase] of site.phases.entries()) {
    const endsAt = site.phases[index + 1]?.ts ?? Number.POSITIVE_INFINITY;
    const limit = phase.watts ?? site.ratingWatts;
    const during = site.samples.filter(({ ts }) => ts >= phase.ts && ts < endsAt);
    const met = during.find(({ watts }) => watts['grid']! <= limit);
    if (met === undefined) problems.push(`the limit of ${limit} W was never met`);
    else if (phase.watts !== null) metSeconds.push((met.ts - phase.ts) / 1000);
    const judged = during.filter(({ ts }) => ts > phase.ts + (phase.watts === null ? 0 : DEADLINE_MS));
    if (!phase.toldShort) overSeconds += seconds(site.samples, judged, ({ watts }) => watts['grid']! > limit);
    if (phase.watts === null) continue;
    const used = judged.reduce((sum, { watts }) => sum + Math.min(limit, watts['grid']!), 0);
    usedShares.push(used / (judged.length * limit));
  }
  const feederSeconds = Object.entries(site.ratings).reduce(
    (sum, [id, rating]) =>
      sum + seconds(site.samples, site.samples, ({ watts }) => (watts[id] ?? 0) > rating),
    0,
  );
  if (overSeconds > 0) problems.push(`over a limit after its deadline for ${overSeconds.toFixed(1)} s`);
  if (feederSeconds > 0) problems.push(`over a rating for ${feederSeconds.toFixed(1)} s`);
  return {
    problems,
    overSeconds,
    feederSeconds,
    metSeconds,
    told: site.phases.filter(({ toldShort }) => toldShort).length,
    usedShares,
  };
}

/** Seconds for which something held: each sample stands until the next. */
function seconds(
  all: readonly Sample[],
  some: readonly Sample[],
  holds: (sample: Sample) => boolean,
): number {
  const next = new Map(all.map((sample, index) => [sample, all[index + 1]?.ts ?? sample.ts]));
  return some.reduce((sum, sample) => sum + (holds(sample) ? (next.get(sample)! - sample.ts) / 1000 : 0), 0);
}
