import { parentPort, workerData } from 'node:worker_threads';
import type { Problem } from '../allocation/problem.ts';
import { solveProblem } from '../allocation/solve.ts';

/** A thread of its own: solves the problem it is given with ever more work, tells each answer, and ends. */
const WORK_UNITS = [1_000_000, 6_000_000, 40_000_000] as const;
/** The thread lives within the service's own bounds of memory: about 20 MB for this. */
const MOST_STATES = 400_000;

let known: Readonly<Record<string, string>> | null = null;
for (const workUnits of WORK_UNITS) {
  const answer = solveProblem(workerData as Problem, {
    workUnits,
    mostStates: MOST_STATES,
    known,
    // It does not know which breakers have meters; see the step.
    wholeBreakers: false,
  });
  if (answer.status === 'infeasible') break;
  known = answer.modes;
  parentPort?.postMessage(known);
  if (answer.status === 'optimal') break;
}
