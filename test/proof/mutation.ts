import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '../../protocols/random.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const COPIED = [
  'agent',
  'config',
  'drivers',
  'protocols',
  'simulator',
  'test',
  'package.json',
  'vitest.config.ts',
];

const ALLOCATION = ['tick', 'laws', 'brute-force', 'against-highs'].map(
  (name) => `test/property/allocation/${name}.test.ts`,
);
const CONTROL = [
  'test/unit/agent/control',
  'test/property/control/ledger.test.ts',
  'test/property/control/laws.test.ts',
];

/** What is changed, and the tests that have to notice. */
const TARGETS: readonly { readonly files: readonly string[]; readonly tests: readonly string[] }[] = [
  {
    files: readdirSync(join(ROOT, 'agent/allocation')).map((name) => `agent/allocation/${name}`),
    tests: ['test/unit/allocation', ...ALLOCATION],
  },
  {
    files: ['ledger', 'node-sums', 'gate', 'unseen', 'class-memory', 'limit-memory', 'plan'].map(
      (name) => `agent/control/${name}.ts`,
    ),
    tests: [...CONTROL, 'test/scenario/deceit.test.ts'],
  },
];

/** One operator for another. The formatter puts spaces around binary operators and none into types. */
const SWAPS: readonly (readonly [RegExp, string])[] = [
  [/ < /g, ' <= '],
  [/ <= /g, ' < '],
  [/ > /g, ' >= '],
  [/ >= /g, ' > '],
  [/ === /g, ' !== '],
  [/ !== /g, ' === '],
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/ \+ /g, ' - '],
  [/ - /g, ' + '],
  [/ \* /g, ' / '],
  [/ \/ /g, ' * '],
  [/ \+= /g, ' -= '],
  [/ -= /g, ' += '],
  [/\bMath\.max\b/g, 'Math.min'],
  [/\bMath\.min\b/g, 'Math.max'],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
  [/\bif \(/g, 'if (!'],
  [/\bcontinue;/g, ';'],
  [/\bbreak;/g, ';'],
];

interface Mutant {
  readonly file: string;
  readonly tests: readonly string[];
  readonly line: number;
  readonly from: string;
  readonly to: string;
  /** The changed file; `null`: no change. */
  readonly text: string | null;
}

/**
 * Mutation testing of the allocation and the ledger: a seeded sample of single changes, each of which the tests of
 * its folder must notice. Runs in copies outside the repository, two at a time, until its time is over. Prints what
 * survived.
 */
export async function proveMutation(
  count: number,
  seed: number,
  only: string,
  minutes: number,
): Promise<boolean> {
  const end = performance.now() + minutes * 60_000;
  const all = TARGETS.flatMap(({ files, tests }) =>
    files.filter((file) => file.includes(only)).flatMap((file) => mutantsOf(file, tests)),
  );
  const random = seededRandom(seed);
  const sample = all
    .map((mutant) => ({ mutant, at: random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ mutant }) => mutant);
  const open = [...sample];
  const survived: Mutant[] = [];
  let done = 0;
  await Promise.all(
    [0, 1].map(async (worker) => {
      const folder = mkdtempSync(join(tmpdir(), 'switchyard-mutation-'));
      for (const name of COPIED) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
      symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
      // Tests that fail anyway would notice everything.
      const untouched = all.find((mutant) => mutant.tests === TARGETS[worker]!.tests);
      if (untouched !== undefined && (await isNoticed(folder, { ...untouched, text: null })))
        throw new Error(`${untouched.tests.join(' ')}: fail without a change`);
      for (let next = open.pop(); next !== undefined && performance.now() < end; next = open.pop()) {
        const killed = await isNoticed(folder, next);
        done += 1;
        if (killed) continue;
        survived.push(next);
        console.log(`survived: ${next.file}:${next.line}:${next.from}->${next.to}`);
      }
      rmSync(folder, { recursive: true, force: true });
    }),
  );
  const killed = done - survived.length;
  const share = ((100 * killed) / done).toFixed(1);
  console.log(
    `seed ${seed}: ${killed} of ${done} noticed (${share} %), drawn from ${all.length} single changes`,
  );
  return killed / done >= 0.85;
}

function mutantsOf(file: string, tests: readonly string[]): Mutant[] {
  const source = readFileSync(join(ROOT, file), 'utf8');
  // Comments, imports, texts and regular expressions say nothing to a test; their length stays.
  const code = source.replaceAll(
    /\/\*[\s\S]*?\*\/|\/\/.*|^import[\s\S]*?;$|'[^'\n]*'|`[^`]*`|^(export )?(type|interface) [\s\S]*?^(}|.*;$)/gm,
    (text) => text.replaceAll(/[^\n]/g, '_'),
  );
  return SWAPS.flatMap(([pattern, to]) =>
    [...code.matchAll(pattern)].map(({ 0: from, index }): Mutant => {
      const line = code.slice(0, index).split('\n').length;
      const text = source.slice(0, index) + changed(code, source, index, from, to);
      return { file, tests, line, from, to, text };
    }),
  );
}

/** The rest of a source from a change on; a condition is negated as a whole. */
function changed(code: string, source: string, index: number, from: string, to: string): string {
  const rest = source.slice(index + from.length);
  if (from !== 'if (') return to + rest;
  let depth = 1;
  let end = index + from.length;
  for (; depth > 0; end += 1) depth += code[end] === '(' ? 1 : code[end] === ')' ? -1 : 0;
  return `if (!(${source.slice(index + from.length, end - 1)}))${source.slice(end)}`;
}

/** A change is noticed when a test fails, or when the tests do not come to an end any more. */
async function isNoticed(folder: string, mutant: Mutant): Promise<boolean> {
  const path = join(folder, mutant.file);
  const original = readFileSync(path, 'utf8');
  if (mutant.text !== null) writeFileSync(path, mutant.text);
  try {
    const args = ['vitest', 'run', '--bail=1', '--reporter=dot', '--maxWorkers=1', ...mutant.tests];
    const run = spawn('npx', args, { cwd: folder, stdio: 'ignore', detached: true });
    const timer = setTimeout(() => process.kill(-run.pid!, 'SIGKILL'), 240_000);
    const code = await new Promise<number | null>((resolve) => run.on('exit', resolve));
    clearTimeout(timer);
    return code !== 0;
  } finally {
    writeFileSync(path, original);
  }
}
