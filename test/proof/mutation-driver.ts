import { appendFileSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, it, type RunnerTask, TestRunner, vi } from 'vitest';
import type { MutationJob, MutationLine, MutationOutcome, Switches } from './mutation-job.ts';

/**
 * Runs inside vitest: loads the tests of a part once, runs them once to see which test comes past which change, then
 * switches on one change after another and runs the tests that come past it, the quickest first, until one fails.
 */
const job = JSON.parse(readFileSync(process.env['MUTATION_JOB']!, 'utf8')) as MutationJob;
const shared = globalThis as { __stryker__?: Switches };
shared.__stryker__ ??= {};
const switches = shared.__stryker__;
const tell = (line: MutationLine): void => appendFileSync(job.log, `${JSON.stringify(line)}\n`);
const SETS = ['', ...job.loadedAnew];
/**
 * A test that a change made endless ends here, in the source that is changed itself: so many times the places that it
 * comes past without a change, and never fewer than about a second holds. A change that costs a hundred times the work
 * is noticed by whoever waits; one that costs less is left to the tests. What goes on without end in other sources is
 * ended by processor time.
 */
const STEPS_FACTOR = 100;
const LEAST_STEPS = 1e7;
const CHECK_EVERY = 250;

// The first case that fails says enough: nobody reads a smaller one.
fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });

tell({ pid: process.pid });
/** With these a test could not even be loaded: that is noticed. */
const unloadable = new Set<string>();
const millis = new Map<string, number>();
/** Places that tests of a name come past without a change. */
const steps = new Map<string, number>();
let startedAt = 0;
beforeEach(({ task }) => {
  switches.currentTestId = task.id;
  switches.activeMutant = undefined;
  switches.steps = 0;
  switches.stepLimit = Number.POSITIVE_INFINITY;
  startedAt = performance.now();
});
afterEach(({ task }) => {
  switches.currentTestId = undefined;
  millis.set(task.id, performance.now() - startedAt);
  steps.set(task.name, Math.max(switches.steps ?? 0, steps.get(task.name) ?? 0));
});

for (const set of SETS) {
  // Loaded anew, the tests are only collected here, and run below.
  const group = set === '' ? describe : describe.skip;
  group(set === '' ? 'once unchanged' : `loaded with ${set}`, async () => {
    switches.activeMutant = set === '' ? undefined : set;
    if (set !== '') {
      // Loading is what takes the time: no longer than everything up to here.
      tell({ begun: set, seconds: performance.now() / 1000 });
      vi.resetModules();
      switches.steps = 0;
      switches.stepLimit = LEAST_STEPS;
    }
    try {
      for (const file of job.tests) await import(/* @vite-ignore */ file);
    } catch (error) {
      if (set === '') throw error;
      unloadable.add(set);
    }
    // It stays on: what these files describe is collected after this function, and before the next group.
  });
}

it('every change', async ({ task }) => {
  const groups = task.file.tasks.filter((one) => one.type === 'suite');
  const tests = testsOf(groups[0]!);
  const failed = tests.filter((one) => one.result?.state !== 'pass' && one.mode === 'run');
  if (failed.length > 0) {
    const fault = `fails without a change: ${failed.map((one) => one.name).join(', ')}`;
    tell({ fault });
    throw new Error(fault);
  }
  if (job.loadedAnew.length > 0) {
    for (const [n, set] of job.loadedAnew.entries()) {
      tell({ begun: set, seconds: secondsOf(testsOf(groups[0]!)) });
      const tests = testsOf(groups[n + 1]!);
      if (tests.length === 0 && !unloadable.has(set)) tell({ fault: `no test was loaded with ${set}` });
      switches.activeMutant = set;
      if (unloadable.has(set)) tell({ id: set, outcome: 'killed', by: 'loading' });
      else tell({ id: set, ...judged(await firstFailure(tests), 'survived') });
      switches.activeMutant = undefined;
    }
    return;
  }
  const coverage = switches.mutantCoverage ?? { static: {}, perTest: {} };
  const quick = tests
    .filter((one) => one.mode === 'run')
    .sort((a, b) => millis.get(a.id)! - millis.get(b.id)!);
  for (const [n, id] of job.ids.entries()) {
    const covering = quick.filter((one) => coverage.perTest[one.id]?.[id] !== undefined);
    const unnoticed: MutationOutcome = coverage.static[id] !== undefined ? 'static' : 'survived';
    if (covering.length === 0) {
      tell({ id, outcome: unnoticed === 'static' ? 'static' : 'uncovered' });
      continue;
    }
    tell({ begun: id, seconds: secondsOf(covering) });
    switches.activeMutant = id;
    const failure = await firstFailure(covering);
    switches.activeMutant = undefined;
    tell({ id, ...judged(failure, unnoticed) });
    if ((n + 1) % CHECK_EVERY === 0 || n === job.ids.length - 1) {
      const fault = await firstFailure(quick);
      if (fault !== null) {
        tell({ fault: `${fault.by} fails without a change: an earlier change left something behind` });
        throw new Error(fault.by);
      }
    }
  }
});

function testsOf(task: RunnerTask): Extract<RunnerTask, { type: 'test' }>[] {
  return task.type === 'suite' ? task.tasks.flatMap(testsOf) : [task];
}

/** How long they take without a change. */
function secondsOf(tests: readonly RunnerTask[]): number {
  return tests.reduce((sum, { id }) => sum + (millis.get(id) ?? 0), 0) / 1000;
}

interface Failure {
  /** Name of the test. */
  readonly by: string;
  readonly isEndless: boolean;
}

/** The first test that fails; `null`: none does. */
async function firstFailure(
  tests: readonly Extract<RunnerTask, { type: 'test' }>[],
): Promise<Failure | null> {
  for (const test of tests) {
    const limit = Math.max(LEAST_STEPS, STEPS_FACTOR * (steps.get(test.name) ?? 0));
    switches.steps = 0;
    switches.stepLimit = limit;
    try {
      await TestRunner.getTestFn(test)();
    } catch {
      return { by: test.name, isEndless: switches.steps > limit };
    }
  }
  return null;
}

function judged(
  failure: Failure | null,
  unnoticed: MutationOutcome,
): { readonly outcome: MutationOutcome; readonly by?: string } {
  if (failure === null) return { outcome: unnoticed };
  return { outcome: failure.isEndless ? 'endless' : 'killed', by: failure.by };
}
