import type { Problem, ProblemDevice, ProblemLimit } from '../../agent/allocation/problem.ts';
import { type Random, seededRandom } from '../../protocols/random.ts';
import { manyFloors, nestedFloors, randomSite } from './allocation-problems.ts';

/**
 * Trees made to be hard: where greedy choices are worst (subset sums, correlated values after Pisinger's classes),
 * where everything ties, where limits bind at every level or to the watt, where floors nest or cut across.
 */
export const ADVERSARIAL = [
  'subset-sum',
  'correlated',
  'equal-fleet',
  'deep-chain',
  'knife-edge',
  'no-room',
  'nested-floors',
  'many-floors',
  'tight-floors',
] as const;
export type Adversarial = (typeof ADVERSARIAL)[number];

/** About a hundred devices of one kind of hardness. */
export function adversarialSite(kind: Adversarial, seed: number): Problem {
  const random = seededRandom(seed * 48_611 + ADVERSARIAL.indexOf(kind));
  if (kind === 'nested-floors')
    return nestedFloors(randomSite({ family: 'plain', deviceCount: 100, seed }), seed);
  if (kind === 'tight-floors')
    return nestedFloors(randomSite({ family: 'tight', deviceCount: 100, seed }), seed);
  if (kind === 'many-floors')
    return manyFloors(randomSite({ family: 'tight', deviceCount: 100, seed }), seed);
  const limits = kind === 'deep-chain' ? chain(12) : bush(random, 20);
  const devices = Array.from({ length: 100 }, (_, d): ProblemDevice => {
    const id = `d${String(d).padStart(3, '0')}`;
    const limit = limits[1 + (d % (limits.length - 1))]!.id;
    const modes = modesOf(kind, random);
    return { id, limit, current: null, modes, switchDollarsPerHour: {}, allowed: null };
  });
  return { limits: withCapacities(kind, random, limits, devices), devices, floors: [] };
}

function modesOf(kind: Adversarial, random: Random): ProblemDevice['modes'] {
  const off = { id: 'off', watts: 0, dollarsPerHour: 0 };
  const watts = 2 * Math.round(1000 + 2000 * random()) + 1;
  switch (kind) {
    case 'subset-sum':
      // Each watt is worth the same: nothing but how well the watts add up decides.
      return [off, { id: 'on', watts, dollarsPerHour: watts * 0.00005 }];
    case 'correlated':
      return [off, { id: 'on', watts, dollarsPerHour: watts * 0.00005 + 0.05 }];
    case 'equal-fleet':
      return [
        { id: 'sleep', watts: 30, dollarsPerHour: 0 },
        { id: 'low', watts: 2800, dollarsPerHour: 0.212 },
        { id: 'normal', watts: 3500, dollarsPerHour: 0.251 },
      ];
    default: {
      const modes = [{ id: 'sleep', watts: Math.round(15 + 40 * random()), dollarsPerHour: 0 }];
      for (const share of [0.6, 0.75, 0.9, 1, 1.15]) {
        const noise = 0.93 + 0.14 * random();
        modes.push({
          id: `p${share}`,
          watts: Math.round(watts * share),
          dollarsPerHour: watts * share ** 0.8 * 0.00006 * noise,
        });
      }
      return modes;
    }
  }
}

type Shape = readonly { readonly id: string; readonly parent: string | null }[];

function chain(depth: number): Shape {
  return Array.from({ length: depth }, (_, n) => ({ id: `l${n}`, parent: n === 0 ? null : `l${n - 1}` }));
}

function bush(random: Random, count: number): Shape {
  return Array.from({ length: count }, (_, n) => ({
    id: `l${n}`,
    parent: n === 0 ? null : `l${Math.floor(random() * Math.min(n, 4))}`,
  }));
}

/** Every limit somewhat tighter than what hangs below it; the least always fits. */
function withCapacities(
  kind: Adversarial,
  random: Random,
  shape: Shape,
  devices: readonly ProblemDevice[],
): ProblemLimit[] {
  const limits: ProblemLimit[] = [];
  const most = new Map<string, number>();
  const least = new Map<string, number>();
  const add = (to: Map<string, number>, id: string, watts: number): void => {
    to.set(id, (to.get(id) ?? 0) + watts);
  };
  for (const device of devices) {
    add(least, device.limit, device.modes[0]!.watts);
    // To the watt: what some choice takes exactly.
    const chosen = kind === 'knife-edge' ? device.modes[Math.floor(random() * device.modes.length)]! : null;
    add(most, device.limit, (chosen ?? device.modes.at(-1)!).watts);
  }
  for (const { id, parent } of [...shape].reverse()) {
    const low = least.get(id) ?? 0;
    const share =
      kind === 'knife-edge' ? 1 : kind === 'no-room' && random() < 0.5 ? 0 : 0.55 + 0.4 * random();
    const capacityWatts = Math.max(low, Math.round((most.get(id) ?? 0) * share));
    limits.push({ id, parent, capacityWatts, fixedWatts: 0, gain: 1 });
    if (parent === null) continue;
    add(least, parent, low);
    add(most, parent, capacityWatts);
  }
  return limits.reverse();
}
