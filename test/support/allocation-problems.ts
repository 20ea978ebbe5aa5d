import type {
  Problem,
  ProblemDevice,
  ProblemFloor,
  ProblemLimit,
  ProblemMode,
} from '../../agent/allocation/problem.ts';
import { type Random, seededRandom } from '../../protocols/random.ts';

/** Families of random sites. All figures are made up, in the range of real ones. */
export const FAMILIES = ['plain', 'gains', 'crossing-floor', 'non-concave', 'tight'] as const;
export type Family = (typeof FAMILIES)[number];

/** Efficiency and normal power of the miners drawn from. */
const MINERS: readonly (readonly [joulesPerTh: number, watts: number])[] = [
  [15, 3510],
  [16.5, 3500],
  [17.5, 3550],
  [18.5, 3420],
  [19, 5650],
  [21.5, 3250],
];

interface SiteShape {
  readonly family: Family;
  readonly deviceCount: number;
  readonly seed: number;
}

const between = (random: Random, low: number, high: number): number => low + (high - low) * random();
const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

/** A site of one family: root, feeders, PDUs; miners with five active modes and sleep, one GPU node in ten. */
export function randomSite({ family, deviceCount, seed }: SiteShape): Problem {
  const random = seededRandom(seed * 7919 + FAMILIES.indexOf(family));
  const devices: ProblemDevice[] = [];
  const pduCount = Math.max(2, Math.ceil(deviceCount / (family === 'tight' ? 6 : between(random, 12, 40))));
  const feederCount = Math.max(1, Math.ceil(pduCount / 8));
  const pduOf = (d: number): number => Math.min(pduCount - 1, Math.floor((d / deviceCount) * pduCount));
  for (let d = 0; d < deviceCount; d += 1) devices.push(randomDevice(random, family, d, `pdu-${pduOf(d)}`));
  const gain = (): number => (family === 'gains' ? 1 + Math.round(between(random, 0, 150)) / 1000 : 1);
  const tightness = family === 'tight' ? between(random, 0.35, 0.6) : between(random, 0.55, 1.05);
  const limits: ProblemLimit[] = [];
  const mostAt = new Map<string, number>();
  const leastAt = new Map<string, number>();
  const addLimit = (
    id: string,
    parent: string | null,
    [least, most]: readonly [number, number],
    share: number,
    fixedWatts: number,
  ): void => {
    const g = parent === null ? 1 : gain();
    // Always room for the least watts: what is infeasible is tested elsewhere.
    const capacityWatts = Math.ceil(fixedWatts + least + Math.max(0, most * share - least));
    limits.push({ id, parent, capacityWatts, fixedWatts, gain: g });
    mostAt.set(id, g * Math.min(capacityWatts, fixedWatts + most));
    leastAt.set(id, g * (fixedWatts + least));
  };
  for (let p = 0; p < pduCount; p += 1) {
    const range: [number, number] = [0, 0];
    for (const device of devices) {
      if (device.limit !== `pdu-${p}`) continue;
      const modes = usable(device);
      range[0] += modes[0]!.watts;
      range[1] += modes.at(-1)!.watts;
    }
    addLimit(`pdu-${p}`, `feeder-${p % feederCount}`, range, tightness * between(random, 0.8, 1.3), 0);
  }
  const range: [number, number] = [0, 0];
  for (let q = 0; q < feederCount; q += 1) {
    const own: [number, number] = [0, 0];
    for (let p = q; p < pduCount; p += feederCount) {
      own[0] += leastAt.get(`pdu-${p}`)!;
      own[1] += mostAt.get(`pdu-${p}`)!;
    }
    addLimit(`feeder-${q}`, 'site', own, between(random, 0.75, 1.05), Math.round(between(random, 0, 9000)));
    range[0] += leastAt.get(`feeder-${q}`)!;
    range[1] += mostAt.get(`feeder-${q}`)!;
  }
  addLimit('site', null, range, between(random, 0.7, 1.02), 0);
  const floors = family === 'crossing-floor' ? [crossingFloor(random, devices)] : [];
  return { limits: limits.reverse(), devices, floors };
}

function randomDevice(random: Random, family: Family, d: number, limit: string): ProblemDevice {
  const id = `m${String(d).padStart(5, '0')}`;
  const modes: ProblemMode[] = [];
  if (random() < 0.1) {
    const top = between(random, 4600, 10_200);
    for (const share of [0.35, 0.55, 0.7, 0.85, 1]) {
      const dollarsPerHour = 2 * (top / 1000) * share ** between(random, 0.35, 0.6);
      modes.push({ id: `cap-${share * 100}`, watts: Math.round(top * share), dollarsPerHour });
    }
  } else {
    const [joulesPerTh, normal] = pick(random, MINERS);
    modes.push({ id: 'sleep', watts: Math.round(between(random, 15, 60)), dollarsPerHour: 0 });
    for (const share of [0.6, 0.75, 0.9, 1, 1.15]) {
      const watts = Math.round(normal * share * between(random, 0.99, 1.01));
      const noise = family === 'non-concave' ? between(random, 0.925, 1.075) : between(random, 0.995, 1.005);
      const efficiency = joulesPerTh * (0.8 + 0.2 * share ** 2) * noise;
      const dollarsPerHour = ((watts / efficiency) * 45) / 24_000 - (watts / 1000) * 0.038;
      modes.push({ id: `p${Math.round(share * 100)}`, watts, dollarsPerHour });
    }
  }
  const current = pick(random, modes).id;
  const switchDollarsPerHour: Record<string, number> = {};
  for (const mode of modes) {
    if (mode.id !== current && random() < 0.7) switchDollarsPerHour[mode.id] = between(random, 0, 0.01);
  }
  const allowed =
    random() < 0.05 ? [current] : random() < 0.1 ? modes.slice(0, 3).map((mode) => mode.id) : null;
  return { id, limit, current, modes, switchDollarsPerHour, allowed };
}

/** A floor over devices all over the site that the free answer would probably not meet. */
function crossingFloor(random: Random, devices: readonly ProblemDevice[]): ProblemFloor {
  const members = devices.filter(() => random() < 0.3);
  if (members.length === 0) members.push(devices[0]!);
  const most = members.reduce((sum, device) => sum + usable(device).at(-1)!.watts, 0);
  return {
    id: 'floor-1',
    devices: members.map((device) => device.id),
    watts: Math.round(most * between(random, 0.3, 0.6)),
  };
}

/** Modes that may be chosen, by rising watts. */
export function usable(device: ProblemDevice): ProblemMode[] {
  return device.modes
    .filter((mode) => device.allowed === null || device.allowed.includes(mode.id))
    .sort((a, b) => a.watts - b.watts);
}

/** Big blocks on small breakers, on or off (or four modes): where rounding down loses most. */
export function coarseSite(
  seed: number,
  blockCount: number,
  breakerCount: number,
  modeCount: number,
): Problem {
  const random = seededRandom(seed * 104_729 + blockCount);
  const devices: ProblemDevice[] = [];
  const limits: ProblemLimit[] = [];
  const most = new Array<number>(breakerCount).fill(0);
  for (let d = 0; d < blockCount; d += 1) {
    const watts = Math.round(between(random, 100_000, 1_000_000));
    const perWatt = between(random, 0.00002, 0.00008);
    const breaker = d % breakerCount;
    most[breaker]! += watts;
    const modes: ProblemMode[] = [{ id: 'off', watts: 0, dollarsPerHour: 0 }];
    for (let m = 1; m < modeCount; m += 1) {
      const share = m / (modeCount - 1);
      modes.push({
        id: `on-${m}`,
        watts: Math.round(watts * share),
        dollarsPerHour: watts * perWatt * share ** 0.8,
      });
    }
    const id = `block-${String(d).padStart(4, '0')}`;
    devices.push({
      id,
      limit: `b${breaker}`,
      current: 'off',
      modes,
      switchDollarsPerHour: {},
      allowed: null,
    });
  }
  let sum = 0;
  for (let b = 0; b < breakerCount; b += 1) {
    const capacityWatts = Math.round(most[b]! * between(random, 0.5, 0.9));
    sum += capacityWatts;
    limits.push({ id: `b${b}`, parent: 'site', capacityWatts, fixedWatts: 0, gain: 1 });
  }
  const capacityWatts = Math.round(sum * between(random, 0.7, 1));
  limits.push({ id: 'site', parent: null, capacityWatts, fixedWatts: 0, gain: 1 });
  return { limits, devices, floors: [] };
}

/**
 * A tiny site for brute force: any shape, gains, floors nested or crossing, non-concave modes, equal watts,
 * restricted modes, negative values, fixed load; about one in six is infeasible.
 */
export function tinySite(seed: number): Problem {
  const random = seededRandom(seed * 15_485_863 + 11);
  const limitCount = 1 + Math.floor(random() * 4);
  const deviceCount = 1 + Math.floor(random() * 6);
  const withGains = random() < 0.4;
  const whole = random() < 0.6;
  const figure = (low: number, high: number): number => {
    const value = between(random, low, high);
    return whole ? Math.round(value) : Math.round(value * 1000) / 1000;
  };
  const parents = Array.from({ length: limitCount }, (_, n) => (n === 0 ? null : Math.floor(random() * n)));
  const devices: ProblemDevice[] = [];
  for (let d = 0; d < deviceCount; d += 1) {
    const modes: ProblemMode[] = [];
    const modeCount = 1 + Math.floor(random() * 4);
    for (let m = 0; m < modeCount; m += 1) {
      const watts = random() < 0.1 && m > 0 ? modes[m - 1]!.watts : figure(0, m === 0 ? 30 : 100);
      modes.push({ id: `x${m}`, watts, dollarsPerHour: figure(-20, 100) / 100 });
    }
    const current = random() < 0.2 ? null : pick(random, modes).id;
    const switchDollarsPerHour: Record<string, number> = {};
    for (const mode of modes) if (random() < 0.4) switchDollarsPerHour[mode.id] = figure(0, 20) / 100;
    const allowed = random() < 0.15 ? [pick(random, modes).id] : null;
    const limit = `l${Math.floor(random() * limitCount)}`;
    devices.push({ id: `d${d}`, limit, current, modes, switchDollarsPerHour, allowed });
  }
  const limits = parents.map(
    (parent, n): ProblemLimit => ({
      id: `l${n}`,
      parent: parent === null ? null : `l${parent}`,
      capacityWatts: figure(parent === null ? 60 : 30, parent === null ? 350 : 200),
      fixedWatts: random() < 0.3 ? figure(0, 30) : 0,
      gain: withGains && parent !== null ? 1 + figure(0, 200) / 1000 : 1,
    }),
  );
  return { limits, devices, floors: tinyFloors(random, devices, figure) };
}

function tinyFloors(
  random: Random,
  devices: readonly ProblemDevice[],
  figure: (low: number, high: number) => number,
): ProblemFloor[] {
  const floorCount = random() < 0.45 ? 0 : 1 + Math.floor(random() * 3);
  const floors: ProblemFloor[] = [];
  for (let f = 0; f < floorCount; f += 1) {
    const onOneLimit = random() < 0.5;
    const first = devices[Math.floor(random() * devices.length)]!;
    const members = devices.filter(
      (device, d) => d % floorCount === f && random() < 0.9 && (!onOneLimit || device.limit === first.limit),
    );
    if (members.length === 0) continue;
    floors.push({
      id: `f${f}`,
      devices: members.map((device) => device.id),
      watts: figure(5, 40 + 30 * members.length),
    });
  }
  return floors;
}

/** 50 to 1,000 devices, small sites more often than large ones. */
export function siteSize(seed: number): number {
  const random = seededRandom(seed * 31 + 5);
  return Math.round(50 * 20 ** (random() ** 2));
}

/** The site with floors below single limits: some devices of one PDU, all of a PDU, all of a feeder. */
export function nestedFloors(problem: Problem, seed: number): Problem {
  const random = seededRandom(seed * 6151 + 3);
  const floors: ProblemFloor[] = [];
  const taken = new Set<string>();
  const add = (members: readonly ProblemDevice[]): void => {
    const free = members.filter((device) => !taken.has(device.id));
    if (free.length === 0 || free.length < members.length) return;
    for (const device of free) taken.add(device.id);
    const most = free.reduce((sum, device) => sum + usable(device).at(-1)!.watts, 0);
    const watts = Math.round(most * between(random, 0.15, 0.45));
    floors.push({ id: `floor-${floors.length}`, devices: free.map((device) => device.id), watts });
  };
  for (const limit of problem.limits) {
    const direct = problem.devices.filter((device) => device.limit === limit.id);
    if (direct.length > 0 && random() < 0.4) add(direct.filter(() => random() < 0.6));
    else if (direct.length > 0 && random() < 0.3) add(direct);
  }
  const isBelow = (device: ProblemDevice, id: string): boolean =>
    problem.limits.find((limit) => limit.id === device.limit)!.parent === id;
  const sameGain = problem.limits.every((limit) => limit.gain === 1);
  if (sameGain) add(problem.devices.filter((device) => isBelow(device, 'feeder-0')));
  return { ...problem, floors };
}

/** The site with two to seven floors, each over devices all over the tree. */
export function manyFloors(problem: Problem, seed: number): Problem {
  const random = seededRandom(seed * 3571 + 9);
  const count = 2 + (seed % 6);
  const groups: ProblemDevice[][] = Array.from({ length: count }, () => []);
  for (const device of problem.devices) groups[Math.floor(random() * count * 1.6)]?.push(device);
  const floors = groups
    .filter((group) => group.length > 0)
    .map((group, f): ProblemFloor => {
      const most = group.reduce((sum, device) => sum + usable(device).at(-1)!.watts, 0);
      const watts = Math.round(most * between(random, 0.2, 0.6));
      return { id: `floor-${f}`, devices: group.map((device) => device.id), watts };
    });
  return { ...problem, floors };
}
