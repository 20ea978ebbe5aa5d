import { appendFileSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
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
/** Tests that are held against the end of processor time together: about so long without a change. */
const TOGETHER_MS = 1000;

// The first case that fails says enough: nobody reads a smaller one.
fc.configureGlobal({ ...fc.readConfigureGlobal(), endOnFailure: true });

tell({ pid: process.pid });
/** With these a test could not even be loaded: that is noticed. */
const unloadable = new Set<string>();
/** Of tests by name, without a change: how long they take, and the places that they come past. */
const millis = new Map<string, number>();
const steps = new Map<string, number>();
let startedAt = 0;
/** Changes that act while the tests are loaded, and those that each test comes past. */
const loaded = new Set<string>();
const passed = new Map<string, Set<string>>();
switches.passed = loaded;
beforeEach(({ task }) => {
  switches.passed = new Set();
  passed.set(task.id, switches.passed);
  switches.activeMutant = undefined;
  switches.steps = 0;
  switches.stepLimit = Number.POSITIVE_INFINITY;
  startedAt = performance.now();
});
afterEach(({ task }) => {
  switches.passed = loaded;
  millis.set(task.name, Math.max(performance.now() - startedAt, millis.get(task.name) ?? 0));
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
    if (set === '') {
      for (const file of job.tests) describe(file, () => import(/* @vite-ignore */ file));
      return;
    }
    try {
      for (const file of job.tests) await import(/* @vite-ignore */ file);
    } catch {
      unloadable.add(set);
    }
    // It stays on: what these files describe is collected after this function, and before the next group.
  });
}

it('every change', async ({ task }) => {
  // All that is come past is known: from here on asking for it would only take time.
  switches.passed = undefined;
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
      const tests = testsOf(groups[n + 1]!);
      if (tests.length === 0 && !unloadable.has(set)) tell({ fault: `no test was loaded with ${set}` });
      switches.activeMutant = set;
      if (unloadable.has(set)) tell({ id: set, outcome: 'killed', by: 'loading' });
      else tell({ id: set, ...judged(await firstFailure(tests, set), 'survived') });
      switches.activeMutant = undefined;
    }
    return;
  }
  // A source's own tests first: what they notice cannot make other sources loop in the tests of those.
  const own = new Set(groups[0]!.tasks.filter(({ name }) => isOwn(name)).flatMap(testsOf));
  const quick = tests
    .filter((one) => one.mode === 'run')
    .sort((a, b) => Number(own.has(b)) - Number(own.has(a)) || millisOf(a) - millisOf(b));
  for (const [n, id] of job.ids.entries()) {
    const covering = quick.filter((one) => passed.get(one.id)?.has(id));
    const unnoticed: MutationOutcome = loaded.has(id) ? 'static' : 'survived';
    if (covering.length === 0) {
      tell({ id, outcome: unnoticed === 'static' ? 'static' : 'uncovered' });
      continue;
    }
    switches.activeMutant = id;
    const failure = await firstFailure(covering, id);
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

/** Whether a file of tests is named after a source that is changed. */
function isOwn(file: string): boolean {
  return Object.keys(job.sources).some((source) => basename(file).startsWith(basename(source, '.ts')));
}

function millisOf({ name }: RunnerTask): number {
  return millis.get(name) ?? 0;
}

interface Failure {
  /** Name of the test. */
  readonly by: string;
  readonly isEndless: boolean;
}

/** The first test that fails; `null`: none does. What they may take is told for some at a time, with the change `id`. */
async function firstFailure(
  tests: readonly Extract<RunnerTask, { type: 'test' }>[],
  id: string | null = null,
): Promise<Failure | null> {
  let toldFor = 0;
  for (const [n, test] of tests.entries()) {
    if (id !== null && n >= toldFor) {
      let together = 0;
      for (; toldFor < tests.length && together < TOGETHER_MS; toldFor += 1)
        together += millisOf(tests[toldFor]!);
      tell({ begun: id, seconds: together / 1000 });
    }
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
