import { compileProblem } from '../agent/allocation/compile.ts';
import { createBench, decide } from '../agent/allocation/decide.ts';
import { sortAllSegments } from '../agent/allocation/floors.ts';
import type { Problem, ProblemDevice, ProblemLimit } from '../agent/allocation/problem.ts';
import { createTick, runTick, updateDevice } from '../agent/allocation/tick.ts';
import { seededRandom } from '../protocols/random.ts';

/**
 * One control cycle's allocation on a large site: 10,000 devices x 6 modes x 500 limits, 1 % of the devices
 * changed before each run. Prints milliseconds.
 */
export function benchTick(): void {
  const random = seededRandom(1);
  const problem = largeSite(10_000, random);
  const coldTimes: number[] = [];
  for (let run = 0; run < 12; run += 1) {
    const start = performance.now();
    const bench = createBench(compileProblem(problem));
    const compiled = performance.now();
    sortAllSegments(bench.compiled, bench.workspace);
    decide(bench, { energyDollarsPerWattHour: 0.038 / 1000, workUnits: 0 });
    if (run >= 2) coldTimes.push(performance.now() - compiled);
    if (run === 2) console.log(`compile ${(compiled - start).toFixed(1)} ms`);
  }
  report('cold: sort, sweep, bound, fill', coldTimes);
  for (const workUnits of [0, 20_000, 200_000]) {
    const tick = createTick(problem, { energyDollarsPerKwh: 0.038 });
    const times: number[] = [];
    let worstGap = 0;
    for (let run = 0; run < 460; run += 1) {
      const changed = Array.from({ length: 100 }, () => changedDevice(tick.devices, random));
      const start = performance.now();
      for (const device of changed) updateDevice(tick, device);
      const decision = runTick(tick, { workUnits });
      if (run >= 60) times.push(performance.now() - start);
      worstGap = Math.max(worstGap, decision.gap ?? 1);
    }
    report(`warm, 1 % changed, window search ${workUnits} units`, times);
    console.log(`  worst certified gap ${(worstGap * 100).toFixed(5)} %`);
  }
}

function report(name: string, times: number[]): void {
  times.sort((a, b) => a - b);
  const at = (share: number): string =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))]!.toFixed(2);
  console.log(`${name}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (${times.length} runs)`);
}

function largeSite(deviceCount: number, random: () => number): Problem {
  const pduCount = 460;
  const feederCount = 35;
  const devices: ProblemDevice[] = [];
  const most = new Array<number>(pduCount).fill(0);
  for (let d = 0; d < deviceCount; d += 1) {
    const pdu = Math.floor((d * pduCount) / deviceCount);
    const device = madeDevice(`m${String(d).padStart(5, '0')}`, `pdu-${pdu}`, random);
    most[pdu]! += device.modes.at(-1)!.watts;
    devices.push(device);
  }
  const limits: ProblemLimit[] = [];
  const feederMost = new Array<number>(feederCount).fill(0);
  let sum = 0;
  for (let p = 0; p < pduCount; p += 1) {
    const capacityWatts = Math.round(most[p]! * (0.75 + 0.3 * random()));
    feederMost[p % feederCount]! += capacityWatts;
    limits.push({
      id: `pdu-${p}`,
      parent: `feeder-${p % feederCount}`,
      capacityWatts,
      fixedWatts: 0,
      gain: 1,
    });
  }
  for (let f = 0; f < feederCount; f += 1) {
    const capacityWatts = Math.round(feederMost[f]! * (0.85 + 0.2 * random()));
    sum += capacityWatts;
    limits.push({ id: `feeder-${f}`, parent: `tx-${f % 4}`, capacityWatts, fixedWatts: 5000, gain: 1 });
  }
  for (let t = 0; t < 4; t += 1) {
    limits.push({
      id: `tx-${t}`,
      parent: 'site',
      capacityWatts: Math.round(sum / 3.6),
      fixedWatts: 0,
      gain: 1,
    });
  }
  limits.push({ id: 'site', parent: null, capacityWatts: Math.round(sum * 0.85), fixedWatts: 0, gain: 1 });
  return { limits, devices, floors: [] };
}

function madeDevice(id: string, limit: string, random: () => number): ProblemDevice {
  const joulesPerTh = 15 + 6.5 * random();
  const normalWatts = 3200 + 2500 * random();
  const modes = [{ id: 'sleep', watts: Math.round(15 + 40 * random()), dollarsPerHour: 0 }];
  for (const share of [0.6, 0.75, 0.9, 1, 1.15]) {
    const watts = Math.round(normalWatts * share);
    const efficiency = joulesPerTh * (0.8 + 0.2 * share ** 2) * (0.99 + 0.02 * random());
    modes.push({ id: `p${share * 100}`, watts, dollarsPerHour: ((watts / efficiency) * 45) / 24_000 });
  }
  const current = modes[Math.floor(random() * modes.length)]!.id;
  return { id, limit, current, modes, switchDollarsPerHour: { sleep: 0.01 }, allowed: null };
}

function changedDevice(devices: readonly ProblemDevice[], random: () => number): ProblemDevice {
  const device = devices[Math.floor(random() * devices.length)]!;
  return madeDevice(device.id, device.limit, random);
}
