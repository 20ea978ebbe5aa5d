import { spawnSync } from 'node:child_process';
import { proveCoverage } from './coverage.ts';
import { proveDecoders } from './decoders.ts';
import { proveFollow } from './follow.ts';
import { proveKill } from './kill.ts';
import { proveLoop } from './loop.ts';
import { proveMeters } from './meters.ts';
import { proveModel } from './model.ts';
import { proveMutation } from './mutation.ts';
import { provePackage } from './package.ts';
import { provePlan } from './plan.ts';
import { proveSites } from './sites.ts';
import { proveSoak } from './soak.ts';
import { proveSpool } from './spool.ts';
import { proveWire } from './wire.ts';

/** `npm run proof -- NAME [ARGUMENTS]`: long runs with real processes; each says what it did and fails loudly. */
const PROOFS: Readonly<Record<string, (args: readonly string[]) => Promise<boolean>>> = {
  follow: ([seeds = '3']) => proveFollow(Number(seeds)),
  coverage: proveCoverage,
  decoders: ([cases = '100000', seed = '1']) => proveDecoders(Number(cases), Number(seed)),
  kill: proveKill,
  laws: async ([histories = '50000']) => proveLaws(Number(histories)),
  loop: ([runs = '20', miners = '150', firstSeed = '1', ...mixes]) =>
    proveLoop(Number(runs), Number(miners), Number(firstSeed), mixes),
  meters: ([requests = '1000000', seed = '1']) => proveMeters(Number(requests), Number(seed)),
  package: provePackage,
  model: async ([traces = '200', steps = '2500']) => proveModel(Number(traces), Number(steps)),
  mutation: proveMutation,
  plan: async ([trees = '1000', seconds = '2', firstSeed = '1', minutes = 'Infinity']) =>
    (await provePlan(Number(trees), Number(seconds), Number(firstSeed), Number(minutes))) === 0,
  sites: ([runs = '100', firstSeed = '1']) => proveSites(Number(runs), Number(firstSeed)),
  soak: proveSoak,
  wire: ([runs = '20', miners = '1000', seed = '1']) => proveWire(Number(runs), Number(miners), Number(seed)),
  spool: ([kills = '100', messages = '70000']) => proveSpool(Number(kills), Number(messages)),
};

const [name, ...args] = process.argv.slice(2);
const proof = name === undefined ? undefined : PROOFS[name];
if (proof === undefined) {
  console.log(`usage: npm run proof -- NAME, where NAME is one of: ${Object.keys(PROOFS).join(', ')}`);
  process.exitCode = 2;
} else {
  process.exitCode = (await proof(args)) ? 0 : 1;
}

/** The laws of one control cycle over many more histories than `npm test` takes. */
function proveLaws(histories: number): boolean {
  const run = spawnSync('npx', ['vitest', 'run', 'test/property/control/laws.test.ts'], {
    stdio: 'inherit',
    env: { ...process.env, LAW_RUNS: String(histories) },
  });
  return run.status === 0;
}
