import { compileProblem } from '../agent/allocation/compile.ts';
import { createBench, decide } from '../agent/allocation/decide.ts';
import { sortAllSegments } from '../agent/allocation/floors.ts';
import type { Problem } from '../agent/allocation/problem.ts';
import { solveProblem } from '../agent/allocation/solve.ts';
import { createTick, runTick, updateDevice } from '../agent/allocation/tick.ts';
import { CYCLE_SEARCH } from '../agent/control/solve-plan.ts';
import { seededRandom } from '../protocols/random.ts';
import { loadOracle } from '../test/support/highs-oracle.ts';
import { choiceDollars, leastEfficientFirst, measuredHeadroom } from './tick-baselines.ts';
import { changedDevice, largeSite } from './tick-site.ts';

const DOLLARS_PER_KWH = 0.038;

/**
 * One control cycle's allocation on large sites of 6 modes a device, 1 % of the devices changed before each run: wall
 * time and processor time of this one thread. Then the value reached on the same sites, beside HiGHS and what the
 * field does.
 */
export async function benchTick([most = '100000']: readonly string[]): Promise<void> {
  const sizes = [
    { devices: 1000, limits: 60, runs: 300 },
    { devices: 10_000, limits: 500, runs: 300 },
    { devices: 100_000, limits: 5000, runs: 40 },
  ].filter(({ devices }) => devices <= Number(most));
  for (const { devices, limits, runs } of sizes) {
    console.log(`${devices} devices x 6 modes x ${limits} limits, 1 % changed:`);
    const problem = largeSite(devices, limits, seededRandom(1));
    cold(problem);
    warm(problem, 'no window search', { workUnits: 0 }, runs);
    warm(problem, 'searching as the control loop does', CYCLE_SEARCH, runs);
  }
  await compare(1000, 60, 30);
  await compare(10_000, 500, 60);
}

function cold(problem: Problem): void {
  const compiling: Spent[] = [];
  const deciding: Spent[] = [];
  for (let run = 0; run < 8; run += 1) {
    const start = stamp();
    const bench = createBench(compileProblem(problem));
    const compiled = stamp();
    sortAllSegments(bench.compiled, bench.workspace);
    decide(bench, { energyDollarsPerWattHour: DOLLARS_PER_KWH / 1000, workUnits: 0 });
    if (run < 2) continue;
    compiling.push(since(start, compiled));
    deciding.push(since(compiled, stamp()));
  }
  report('cold: compile', compiling);
  report('cold: sort, sweep, bound, fill', deciding);
}

function warm(
  problem: Problem,
  how: string,
  options: { readonly workUnits: number; readonly smallGap?: number; readonly smallGapUnits?: number },
  runs: number,
): void {
  const random = seededRandom(2);
  const tick = createTick(problem, { energyDollarsPerKwh: DOLLARS_PER_KWH });
  const spent: Spent[] = [];
  let worstGap = 0;
  for (let run = -runs / 5; run < runs; run += 1) {
    const count = Math.round(problem.devices.length / 100);
    const changed = Array.from({ length: count }, () => changedDevice(tick.devices, random));
    const start = stamp();
    for (const device of changed) updateDevice(tick, device);
    const decision = runTick(tick, options);
    if (run >= 0) spent.push(since(start, stamp()));
    worstGap = Math.max(worstGap, decision.gap ?? 1);
  }
  report(`warm, ${how} (gap at most ${(worstGap * 100).toFixed(5)} %)`, spent);
}

/** Value of everybody's choice on one site against the bound. HiGHS has `seconds`. */
async function compare(devices: number, limits: number, seconds: number): Promise<void> {
  const site = largeSite(devices, limits, seededRandom(3));
  // Everybody is given values net of energy.
  const problem: Problem = {
    ...site,
    devices: site.devices.map((device) => ({
      ...device,
      modes: device.modes.map((mode) => ({
        ...mode,
        dollarsPerHour: mode.dollarsPerHour - (DOLLARS_PER_KWH * mode.watts) / 1000,
      })),
    })),
  };
  const rows: (readonly [string, number, Spent])[] = [];
  const timed = (name: string, value: () => number): void => {
    const start = stamp();
    const dollars = value();
    rows.push([name, dollars, since(start, stamp())]);
  };
  let bound = 0;
  for (const workUnits of [0, 200_000, 12_000_000]) {
    timed(`ours, cold, ${workUnits} units`, () => {
      const answer = solveProblem(problem, { workUnits });
      bound = answer.upperBoundDollarsPerHour!;
      return answer.dollarsPerHour;
    });
  }
  const oracle = await loadOracle();
  let status = '';
  timed('HiGHS', () => {
    const answer = oracle(problem, { relaxed: false, relativeGap: 1e-6, timeLimitSeconds: seconds });
    status = answer.status;
    return answer.dollarsPerHour;
  });
  timed('least efficient first', () => choiceDollars(problem, leastEfficientFirst(problem)));
  timed('measured headroom', () => choiceDollars(problem, measuredHeadroom(problem)));
  console.log(`value on ${devices} devices x ${limits} limits, bound ${bound.toFixed(4)} $/h:`);
  for (const [name, dollars, { wall, cpu }] of rows) {
    const short = (((bound - dollars) / bound) * 100).toFixed(5);
    const said = name === 'HiGHS' ? ` (${status.toLowerCase()})` : '';
    console.log(
      `  ${name}${said}: ${dollars.toFixed(4)} $/h, ${short} % short; ${wall.toFixed(0)} ms, processor ${cpu.toFixed(0)} ms`,
    );
  }
}

interface Spent {
  readonly wall: number;
  readonly cpu: number;
}

interface Stamp {
  readonly wall: number;
  readonly cpu: number;
}

/** Now, in milliseconds of the wall clock and of this thread's processor time. */
function stamp(): Stamp {
  const { user, system } = process.threadCpuUsage();
  return { wall: performance.now(), cpu: (user + system) / 1000 };
}

function since(start: Stamp, end: Stamp): Spent {
  return { wall: end.wall - start.wall, cpu: end.cpu - start.cpu };
}

function report(name: string, spent: readonly Spent[]): void {
  const at = (values: readonly number[], share: number): string => {
    const sorted = values.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!.toFixed(2);
  };
  const wall = spent.map((one) => one.wall);
  // The system counts processor time in steps of some milliseconds: only its mean says something.
  const cpu = spent.reduce((sum, one) => sum + one.cpu, 0) / spent.length;
  console.log(
    `  ${name}: p50 ${at(wall, 0.5)} ms, p99 ${at(wall, 0.99)} ms, processor mean ${cpu.toFixed(2)} ms ` +
      `(${spent.length} runs)`,
  );
}
