import { appendFileSync, readFileSync } from 'node:fs';
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
const SETS = job.loadedAnew.length === 0 ? [''] : job.loadedAnew;
/** A loop that a change made endless ends here: so many times what all tests together need. */
const HITS = 100;
const CHECK_EVERY = 250;

tell({ pid: process.pid });
/** With these a test could not even be loaded: that is noticed. */
const unloadable = new Set<string>();
const millis = new Map<string, number>();
let startedAt = 0;
beforeEach(({ task }) => {
  switches.currentTestId = task.id;
  startedAt = performance.now();
});
afterEach(({ task }) => {
  switches.currentTestId = undefined;
  millis.set(task.id, performance.now() - startedAt);
});

for (const set of SETS) {
  // Loaded anew, the tests are only collected here, and run below.
  const group = set === '' ? describe : describe.skip;
  group(set === '' ? 'once unchanged' : `loaded with ${set}`, async () => {
    switches.activeMutant = set === '' ? undefined : set;
    if (set !== '') {
      tell({ begun: set });
      vi.resetModules();
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
  if (job.loadedAnew.length > 0) {
    for (const [n, set] of SETS.entries()) {
      tell({ begun: set });
      switches.activeMutant = set;
      switches.hitCount = 0;
      switches.hitLimit = 1e7;
      const tests = testsOf(groups[n]!);
      if (tests.length === 0 && !unloadable.has(set)) tell({ fault: `no test was loaded with ${set}` });
      const by = unloadable.has(set) ? 'loading' : await firstFailure(tests);
      switches.activeMutant = undefined;
      tell({ id: set, outcome: by === null ? 'survived' : 'killed', ...(by === null ? {} : { by }) });
    }
    return;
  }
  const tests = testsOf(groups[0]!);
  const failed = tests.filter((one) => one.result?.state !== 'pass' && one.mode === 'run');
  if (failed.length > 0)
    throw new Error(`fails without a change: ${failed.map((one) => one.name).join(', ')}`);
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
    tell({ begun: id });
    switches.hitCount = 0;
    switches.hitLimit = HITS * covering.reduce((sum, one) => sum + coverage.perTest[one.id]![id]!, 0);
    switches.activeMutant = id;
    const by = await firstFailure(covering);
    switches.activeMutant = undefined;
    switches.hitCount = undefined;
    tell({ id, outcome: by === null ? unnoticed : 'killed', ...(by === null ? {} : { by }) });
    if ((n + 1) % CHECK_EVERY === 0 || n === job.ids.length - 1) {
      const fault = await firstFailure(quick);
      if (fault !== null) {
        tell({ fault: `${fault} fails without a change: an earlier change left something behind` });
        throw new Error(fault);
      }
    }
  }
});

function testsOf(task: RunnerTask): Extract<RunnerTask, { type: 'test' }>[] {
  return task.type === 'suite' ? task.tasks.flatMap(testsOf) : [task];
}

/** The name of the first test that fails; `null`: none does. */
async function firstFailure(tests: readonly Extract<RunnerTask, { type: 'test' }>[]): Promise<string | null> {
  for (const test of tests) {
    try {
      await TestRunner.getTestFn(test)();
    } catch {
      return test.name;
    }
  }
  return null;
}
