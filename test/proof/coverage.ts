import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { MUTATION_PARTS } from './mutation-parts.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const FOLDER = `${ROOT}.tmp/coverage`;
/** What only a whole site comes past; some of the cases of a property come past the same branches as all of them. */
const BESIDE = ['test/scenario/{deceit,unseen}.test.ts', 'test/unit/agent/control/*.test.ts'];
const CASES_SHARE = '0.05';

/** Istanbul's form, as far as it is used here. */
interface FileCoverage {
  readonly path: string;
  readonly branchMap: Readonly<
    Record<string, { readonly type: string; readonly loc: Location; readonly locations: readonly Location[] }>
  >;
  readonly b: Readonly<Record<string, readonly number[]>>;
}
interface Location {
  readonly start: { readonly line?: number; readonly column?: number };
}

/** Branch coverage of the allocation, the site and the ledger: every branch, or a list of those that no test takes. */
export async function proveCoverage(): Promise<boolean> {
  const parts = Object.entries(MUTATION_PARTS).filter(([name]) => name !== 'decoders');
  const sources = parts.flatMap(([, part]) => globSync([...part.files], { cwd: ROOT }));
  const tests = [...parts.flatMap(([, part]) => part.tests), ...BESIDE];
  const files = [...new Set(tests.flatMap((pattern) => globSync(pattern, { cwd: ROOT })))].sort();
  const options = [
    '--coverage.enabled',
    '--coverage.provider=v8',
    '--coverage.reporter=json',
    `--coverage.reportsDirectory=${FOLDER}`,
    ...sources.map((source) => `--coverage.include=${source}`),
  ];
  const run = spawn(
    process.execPath,
    ['node_modules/vitest/vitest.mjs', 'run', '--reporter=dot', ...options, ...files],
    { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, CASES_SHARE } },
  );
  const status = await new Promise<number | null>((resolve) => run.on('exit', resolve));
  if (status !== 0) throw new Error('the tests fail: see npm test');
  const covered = JSON.parse(readFileSync(`${FOLDER}/coverage-final.json`, 'utf8')) as Record<
    string,
    FileCoverage
  >;
  let whole = true;
  for (const [name, part] of parts) {
    let taken = 0;
    let all = 0;
    for (const file of globSync([...part.files], { cwd: ROOT }).sort()) {
      const one = covered[`${ROOT}${file}`];
      if (one === undefined) throw new Error(`${file}: no test loads it`);
      for (const [id, { type, loc, locations }] of Object.entries(one.branchMap)) {
        for (const [n, count] of one.b[id]!.entries()) {
          all += 1;
          if (count > 0) taken += 1;
          else {
            // An \`else\` that is not written stands nowhere.
            const { line = loc.start.line, column = loc.start.column } = locations[n]!.start;
            console.log(`never taken: ${file}:${line}:${column} ${type}`);
          }
        }
      }
    }
    console.log(`${name}: ${((100 * taken) / all).toFixed(1)} % of ${all} branches`);
    whole &&= taken === all;
  }
  return whole;
}
