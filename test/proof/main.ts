import { proveDecoders } from './decoders.ts';
import { proveKill } from './kill.ts';
import { provePlan } from './plan.ts';

/** `npm run proof -- NAME [ARGUMENTS]`: long runs with real processes; each says what it did and fails loudly. */
const PROOFS: Readonly<Record<string, (args: readonly string[]) => Promise<boolean>>> = {
  decoders: ([cases = '100000', seed = '1']) => proveDecoders(Number(cases), Number(seed)),
  kill: proveKill,
  plan: async ([seeds = '60', seconds = '10']) => (await provePlan(Number(seeds), Number(seconds))) === 0,
};

const [name, ...args] = process.argv.slice(2);
const proof = name === undefined ? undefined : PROOFS[name];
if (proof === undefined) {
  console.log(`usage: npm run proof -- NAME, where NAME is one of: ${Object.keys(PROOFS).join(', ')}`);
  process.exitCode = 2;
} else {
  process.exitCode = (await proof(args)) ? 0 : 1;
}
