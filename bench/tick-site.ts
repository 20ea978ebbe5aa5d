import type { Problem, ProblemDevice, ProblemLimit } from '../agent/allocation/problem.ts';

/** PDUs below feeders below four transformers below the site: `limitCount` limits in all. Made-up figures. */
export function largeSite(deviceCount: number, limitCount: number, random: () => number): Problem {
  const feederCount = Math.max(4, Math.round(limitCount * 0.07));
  const pduCount = limitCount - feederCount - 5;
  const devices: ProblemDevice[] = [];
  const most = new Array<number>(pduCount).fill(0);
  for (let d = 0; d < deviceCount; d += 1) {
    const pdu = Math.floor((d * pduCount) / deviceCount);
    const device = madeDevice(`m${String(d).padStart(6, '0')}`, `pdu-${pdu}`, random);
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

/** New facts about some device of the site. */
export function changedDevice(devices: readonly ProblemDevice[], random: () => number): ProblemDevice {
  const device = devices[Math.floor(random() * devices.length)]!;
  return madeDevice(device.id, device.limit, random);
}
