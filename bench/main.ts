import { benchGpus } from './gpus.ts';
import { benchTelemetry } from './telemetry.ts';
import { benchTick } from './tick.ts';

/** `npm run bench -- NAME`: timings, which never belong in tests. */
const BENCHES: Readonly<Record<string, () => void | Promise<void>>> = {
  gpus: benchGpus,
  telemetry: benchTelemetry,
  tick: benchTick,
};

const name = process.argv[2];
const bench = name === undefined ? undefined : BENCHES[name];
if (bench === undefined) {
  console.log(`usage: npm run bench -- NAME, where NAME is one of: ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 2;
} else {
  await bench();
}
