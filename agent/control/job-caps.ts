import type { Solver } from '../allocation/planner.ts';
import type { Answer, Problem, ProblemDevice } from '../allocation/problem.ts';

/**
 * Nodes of one job work in step: the slowest sets the pace of all, and watts beyond its cap are drawn for nothing. Their
 * caps are therefore the same share of their maximum, where limits and what was promised allow it.
 */
export interface Job {
  readonly id: string;
  readonly devices: readonly string[];
}

/** Common shares that are tried above the lowest one chosen. */
const STEPS_UP = 1;

/**
 * An answer to `problem` in which the caps of each job are level: the lowest share that was chosen for one of its
 * nodes, or one step above where that earns more; everything else is chosen anew around it. A job stays uneven where
 * no level fits: a limit, a floor or a grant per node comes before evenness. Pure.
 */
export function levelJobs(problem: Problem, answer: Answer, jobs: readonly Job[], solve: Solver): Answer {
  let level = { problem, answer };
  for (const job of jobs) level = levelJob(level, job, solve);
  if (level.answer === answer) return answer;
  // Every uneven choice was open to the first answer: its bound holds for whatever is level.
  const bound = answer.upperBoundDollarsPerHour;
  const value = level.answer.dollarsPerHour;
  const scale = scaleOf(problem, level.answer);
  return {
    ...level.answer,
    upperBoundDollarsPerHour: bound,
    gap: bound === null ? null : scale === 0 ? 0 : Math.max(0, bound - value) / scale,
    status: level.answer.status === 'infeasible' ? 'infeasible' : 'feasible',
  };
}

interface Level {
  readonly problem: Problem;
  readonly answer: Answer;
}

function levelJob(before: Level, job: Job, solve: Solver): Level {
  const { problem, answer } = before;
  if (answer.status === 'infeasible') return before;
  const inJob = new Set(job.devices);
  const devices = problem.devices.filter((device) => inJob.has(device.id));
  const chosen = devices.map((device) => capShare(answer.modes[device.id]!));
  if (devices.length < 2 || chosen.some((share) => share === null)) return before;
  const lowest = Math.min(...(chosen as number[]));
  if (chosen.every((share) => share === lowest)) return before;
  const shares = [...new Set(devices.flatMap(sharesOf))].filter((share) => share >= lowest);
  let best: Level | null = null;
  for (const share of shares.sort((a, b) => a - b).slice(0, 1 + STEPS_UP)) {
    const fixed = fixedAt(problem, inJob, share);
    if (fixed === null) continue;
    const tried = solve(fixed, { workUnits: LEVEL_WORK_UNITS });
    if (tried.status === 'infeasible') continue;
    if (best === null || tried.dollarsPerHour > best.answer.dollarsPerHour)
      best = { problem: fixed, answer: tried };
  }
  return best ?? before;
}

const LEVEL_WORK_UNITS = 20_000;

/** The same problem with the job's nodes at one share; `null` where one of them may not go there. */
function fixedAt(problem: Problem, inJob: ReadonlySet<string>, share: number): Problem | null {
  const devices: ProblemDevice[] = [];
  for (const device of problem.devices) {
    if (!inJob.has(device.id)) {
      devices.push(device);
      continue;
    }
    const mode = allowedIn(device).find((id) => capShare(id) === share);
    if (mode === undefined) return null;
    devices.push({ ...device, allowed: [mode] });
  }
  return { ...problem, devices };
}

function sharesOf(device: ProblemDevice): number[] {
  return allowedIn(device).flatMap((id) => capShare(id) ?? []);
}

function allowedIn(device: ProblemDevice): readonly string[] {
  return device.allowed ?? device.modes.map((mode) => mode.id);
}

/** `cap-70` is 70. */
function capShare(mode: string): number | null {
  const share = /^cap-(\d+)$/.exec(mode)?.[1];
  return share === undefined ? null : Number(share);
}

/** The scale of the gap: the sum of absolute values of the chosen modes. */
function scaleOf(problem: Problem, answer: Answer): number {
  return problem.devices.reduce((sum, device) => {
    const id = answer.modes[device.id];
    const mode = device.modes.find((candidate) => candidate.id === id);
    return sum + Math.abs(mode?.dollarsPerHour ?? 0);
  }, 0);
}
