import type { Problem } from '../../agent/allocation/problem.ts';

/** The best choice found by trying every one. `null`: no choice is feasible. */
export function bruteForce(problem: Problem): { dollarsPerHour: number } | null {
  const choices = problem.devices.map((device) =>
    device.modes.filter((mode) => device.allowed === null || device.allowed.includes(mode.id)),
  );
  const at = new Array<number>(choices.length).fill(0);
  let best: number | null = null;
  for (;;) {
    const modes: Record<string, string> = {};
    for (const [d, device] of problem.devices.entries()) modes[device.id] = choices[d]![at[d]!]!.id;
    const judged = judge(problem, modes);
    if (judged.violations.length === 0 && (best === null || judged.dollarsPerHour > best)) {
      best = judged.dollarsPerHour;
    }
    let d = 0;
    while (d < at.length && at[d] === choices[d]!.length - 1) at[d++] = 0;
    if (d === at.length) break;
    at[d]! += 1;
  }
  return best === null ? null : { dollarsPerHour: best };
}

export interface Judgement {
  readonly dollarsPerHour: number;
  /** Limits and floors that the choice misses by more than 1e-6 W, and modes that it may not use. */
  readonly violations: readonly string[];
}

/** Judges a choice by the outside form's words alone, apart from the core's own code. */
export function judge(problem: Problem, modes: Readonly<Record<string, string>>): Judgement {
  const violations: string[] = [];
  const watts = new Map<string, number>();
  let dollarsPerHour = 0;
  const hanging = new Map<string, number>();
  for (const device of problem.devices) {
    const mode = device.modes.find(({ id }) => id === modes[device.id]);
    if (mode === undefined || (device.allowed !== null && !device.allowed.includes(mode.id))) {
      violations.push(`device ${device.id}: ${modes[device.id]}`);
      continue;
    }
    watts.set(device.id, mode.watts);
    hanging.set(device.limit, (hanging.get(device.limit) ?? 0) + mode.watts);
    dollarsPerHour += mode.dollarsPerHour;
    if (mode.id !== device.current) dollarsPerHour -= device.switchDollarsPerHour[mode.id] ?? 0;
  }
  const total = (id: string, fixedWatts: number): number => {
    let sum = fixedWatts + (hanging.get(id) ?? 0);
    for (const child of problem.limits) {
      if (child.parent === id) sum += child.gain * total(child.id, child.fixedWatts);
    }
    return sum;
  };
  for (const limit of problem.limits) {
    if (total(limit.id, limit.fixedWatts) > limit.capacityWatts + 1e-6) violations.push(`limit ${limit.id}`);
  }
  for (const floor of problem.floors) {
    const sum = floor.devices.reduce((reached, id) => reached + (watts.get(id) ?? 0), 0);
    if (sum < floor.watts - 1e-6) violations.push(`floor ${floor.id}`);
  }
  return { dollarsPerHour, violations };
}
