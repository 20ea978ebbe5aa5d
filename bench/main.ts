import { benchGpus } from './gpus.ts';
import { benchMeters } from './meters.ts';
import { benchPoll } from './poll.ts';
import { benchRead } from './read.ts';
import { benchScan } from './scan.ts';
import { benchShed } from './shed.ts';
import { benchStart } from './start.ts';
import { benchTelemetry } from './telemetry.ts';
import { benchTick } from './tick.ts';

/** `npm run bench -- NAME`: timings, which never belong in tests. */
const BENCHES: Readonly<Record<string, (args: readonly string[]) => void | Promise<void>>> = {
  meters: ([seconds = '30']) => benchMeters(Number(seconds)),
  gpus: ([rounds = '4', parsers]) => benchGpus(Number(rounds), parsers),
  poll: benchPoll,
  read: ([rounds = '180']) => benchRead(Number(rounds)),
  scan: benchScan,
  shed: benchShed,
  start: benchStart,
  telemetry: benchTelemetry,
  tick: benchTick,
};

const [name, ...args] = process.argv.slice(2);
const bench = name === undefined ? undefined : BENCHES[name];
if (bench === undefined) {
  console.log(`usage: npm run bench -- NAME, where NAME is one of: ${Object.keys(BENCHES).join(', ')}`);
  process.exitCode = 2;
} else {
  await bench(args);
}
