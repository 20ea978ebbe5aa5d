import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { Instrumenter } from '@stryker-mutator/instrumenter';
import type { MutationJob, MutationLine, MutationOutcome } from './mutation-job.ts';
import { MUTATION_PARTS, type MutationPart } from './mutation-parts.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const FOLDER = `${ROOT}.tmp/mutation`;
/**
 * Processor time after which the tests of one change are held to be endless, about a second of them at a time: this, and so many
 * times what they take without a change. Stryker allows 5 s and one and a half times what all of them take, by the clock.
 */
const ENDLESS_SECONDS = 15;
const ENDLESS_FACTOR = 3;
/**
 * Stands before an instrumented source, in place of Stryker's own count, which knows of the change that is on alone: every
 * round of a loop asks for some change, so no loop of this source goes on for ever. What is come past is asked for until every
 * test has run once: afterwards it would only take time. One line: places stay where they are.
 */
const COUNT_STEPS =
  '{ const shared = stryNS_9fa48(); shared.steps ??= 0; shared.stepLimit ??= Infinity; stryMutAct_9fa48 = (id) => { ' +
  "if (++shared.steps > shared.stepLimit) throw new Error('no end'); return shared.activeMutant === id; }; " +
  'stryCov_9fa48 = function () { const { passed } = shared; if (passed === undefined) return; ' +
  'for (let n = 0; n < arguments.length; n += 1) passed.add(arguments[n]); }; } ';
/** Changes that are judged in a process before it gives its memory back. */
const ANEW_AT_ONCE = 25;

interface Judged {
  readonly outcome: MutationOutcome;
  readonly by?: string;
}

/**
 * Mutation testing: every single change that Stryker knows, in the sources of each part, one after another in one
 * warm process; the tests that come past it have to fail. Stryker's own runner starts its tests anew for each
 * change, which takes some seconds; here most take some milliseconds. Prints the share noticed by file and folder, and what
 * survived. `only`: names of parts, or parts of file names; `again`: keeps what the run before noticed and judges the
 * rest, for work on the tests.
 */
export async function proveMutation(only: readonly string[]): Promise<boolean> {
  const named = only.filter((one) => one in MUTATION_PARTS);
  const again = only.includes('again');
  const within = only.filter((one) => !(one in MUTATION_PARTS) && one !== 'again');
  let good = true;
  for (const [name, part] of Object.entries(MUTATION_PARTS)) {
    if (named.length > 0 && !named.includes(name)) continue;
    const files = globSync([...part.files], { cwd: ROOT }).sort();
    const wanted = files.filter((file) => within.length === 0 || within.some((one) => file.includes(one)));
    if (wanted.length > 0) good = (await provePart(name, part, wanted, again)) && good;
  }
  return good;
}

async function provePart(
  name: string,
  part: MutationPart,
  files: readonly string[],
  again: boolean,
): Promise<boolean> {
  const tests = globSync([...part.tests], { cwd: ROOT })
    .sort()
    .map((file) => `${ROOT}${file}`);
  const sum = { noticed: 0, all: 0 };
  for (const file of files) {
    const { noticed, all } = await proveFile(file, tests, again);
    sum.noticed += noticed;
    sum.all += all;
  }
  console.log(`${name}: ${percent(sum.noticed, sum.all)} of ${sum.all} changes noticed`);
  return (100 * sum.noticed) / sum.all >= part.atLeastPercent;
}

/** One source at a time: what is not changed runs at its full speed. */
async function proveFile(
  file: string,
  tests: readonly string[],
  again: boolean,
): Promise<{ readonly noticed: number; readonly all: number }> {
  const path = `${ROOT}${file}`;
  const content = readFileSync(path, 'utf8');
  const silent = { debug() {}, info() {}, isDebugEnabled: () => false };
  const { files, mutants } = await new Instrumenter(silent as never).instrument(
    [{ name: path, content, mutate: true }],
    { plugins: null, excludedMutations: [], ignorers: [] },
  );
  const job = { sources: { [path]: `${COUNT_STEPS}${files[0]!.content}` }, tests };
  const keptAt = `${FOLDER}/${createHash('sha256').update(content).digest('hex')}.json`;
  const judged = new Map<string, Judged>();
  if (again && existsSync(keptAt))
    for (const [id, one] of JSON.parse(readFileSync(keptAt, 'utf8')) as [string, Judged][])
      if (one.outcome === 'killed' || one.outcome === 'endless') judged.set(id, one);
  const judge = async (ids: readonly string[], anew: boolean) => {
    await judgeAll(job, ids, anew, judged, () => writeFileSync(keptAt, JSON.stringify([...judged])));
  };
  const ids = mutants.map(({ id }) => id);
  await judge(ids, false);
  const anew = ids.filter((id) => judged.get(id)?.outcome === 'static');
  for (const id of anew) judged.delete(id);
  await judge(anew, true);
  return report(file, content.split('\n'), mutants, judged);
}

type Mutant = Awaited<ReturnType<Instrumenter['instrument']>>['mutants'][number];

function report(
  file: string,
  lines: readonly string[],
  mutants: readonly Mutant[],
  judged: ReadonlyMap<string, Judged>,
): { readonly noticed: number; readonly all: number } {
  const counts = { killed: 0, endless: 0, survived: 0, uncovered: 0, static: 0 };
  for (const { id, mutatorName, location, replacement } of mutants) {
    const { outcome } = judged.get(id)!;
    counts[outcome] += 1;
    if (outcome === 'killed' || outcome === 'endless') continue;
    const { start, end } = location;
    const first = lines[start.line]!;
    const from =
      start.line === end.line ? first.slice(start.column, end.column) : `${first.slice(start.column)} ...`;
    const to = replacement.replaceAll(/\s+/g, ' ').slice(0, 120);
    console.log(`${outcome} ${file}:${start.line + 1}:${start.column + 1} ${mutatorName}: ${from} -> ${to}`);
  }
  const noticed = counts.killed + counts.endless;
  const all = mutants.length;
  if (all === 0) return { noticed, all };
  console.log(
    `${file}: ${percent(noticed, all)} of ${all} noticed (${counts.endless} by an end that never came), ` +
      `${counts.survived} survived, ${counts.uncovered} no test comes past`,
  );
  return { noticed, all };
}

const percent = (some: number, all: number): string => `${((100 * some) / all).toFixed(1)} %`;

/** Runs processes until every change is judged; one that does not come to an end any more is ended, and counts as noticed. */
async function judgeAll(
  job: Pick<MutationJob, 'sources' | 'tests'>,
  ids: readonly string[],
  anew: boolean,
  judged: Map<string, Judged>,
  keep: () => void,
): Promise<void> {
  for (;;) {
    const open = ids.filter((id) => !judged.has(id));
    if (open.length === 0) return;
    const folder = `${FOLDER}/${process.pid}`;
    mkdirSync(folder, { recursive: true });
    const log = `${folder}/log`;
    writeFileSync(log, '');
    const some = anew ? open.slice(0, ANEW_AT_ONCE) : open;
    writeFileSync(
      `${folder}/job.json`,
      JSON.stringify({ ...job, ids: some, loadedAnew: anew ? some : [], log } satisfies MutationJob),
    );
    const said = await runOnce(`${folder}/job.json`, log);
    let begun: string | null = null;
    let fault: string | null = null;
    for (const line of said) {
      if ('begun' in line) begun = line.begun;
      if ('fault' in line) fault = line.fault;
      if (!('id' in line)) continue;
      judged.set(line.id, line);
      begun = null;
    }
    if (fault !== null) throw new Error(fault);
    if (begun !== null && !judged.has(begun)) judged.set(begun, { outcome: 'endless' });
    else if (some.every((id) => !judged.has(id)))
      throw new Error('the tests fail without a change, see npm test');
    keep();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One process; ended when one change takes too much processor time. */
async function runOnce(job: string, log: string): Promise<MutationLine[]> {
  const run = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--config=test/proof/mutation.config.ts'],
    {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'ignore'],
      env: { ...process.env, MUTATION_JOB: job, CASES_SHARE: process.env['CASES_SHARE'] ?? '0.01' },
    },
  );
  let over = false;
  const ended = new Promise<void>((resolve) =>
    run.on('exit', () => {
      over = true;
      resolve();
    }),
  );
  const lines = (): MutationLine[] =>
    readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as MutationLine);
  let seen = 0;
  let spentAt = 0;
  let seconds = Number.POSITIVE_INFINITY;
  while (!over) {
    await Promise.race([ended, wait(2000)]);
    const said = lines();
    const first = said[0];
    if (over || first === undefined || !('pid' in first)) continue;
    const spent = processorSeconds(first.pid);
    if (said.length > seen) {
      seen = said.length;
      spentAt = spent;
      const last = said.at(-1)!;
      seconds = 'begun' in last ? ENDLESS_SECONDS + ENDLESS_FACTOR * last.seconds : Number.POSITIVE_INFINITY;
    } else if (spent - spentAt > seconds) {
      process.kill(first.pid, 'SIGKILL');
    }
  }
  return lines();
}

function processorSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}
