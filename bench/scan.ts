import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type FleetOptions, fleetMembers, startFleet } from './fleet.ts';

const run = promisify(execFile);

const FLEET: FleetOptions = {
  firstHost: '127.60.0.1',
  devices: 441,
  silent: 50,
  deadShare: 0,
  drippingShare: 0,
  wildcard: false,
};
const RUNS = 3;

interface Scanned {
  readonly scanned: number;
  readonly seconds: number;
  readonly found: readonly { readonly address: string; readonly firmware: string; readonly state: string }[];
  readonly unknown: readonly unknown[];
}

/**
 * `npm run bench -- scan`: the command line scans a /22 of loopback: 441 devices of all families, 50 addresses that
 * take connections and stay silent, the rest refusing. Prints seconds of the whole process and what was missed.
 */
export async function benchScan(): Promise<void> {
  const fleet = await startFleet(FLEET);
  const times: number[] = [];
  try {
    for (let attempt = 0; attempt < RUNS; attempt += 1) {
      const startedAt = performance.now();
      const { stdout } = await run(
        process.execPath,
        [join(import.meta.dirname, '../agent/main.ts'), '--json', '-q', 'scan', '127.60.0.0/22'],
        { maxBuffer: 64 * 1024 * 1024 },
      );
      times.push((performance.now() - startedAt) / 1000);
      report((JSON.parse(stdout) as { data: Scanned }).data, times.at(-1)!);
    }
  } finally {
    await fleet.stop();
  }
  times.sort((a, b) => a - b);
  console.log(
    `median of ${RUNS}: ${times[Math.floor(RUNS / 2)]!.toFixed(2)} s from start to end of the process`,
  );
}

function report({ scanned, found, unknown }: Scanned, seconds: number): void {
  const firmwareAt = new Map(found.map(({ address, firmware }) => [address.replace(/:\d+$/, ''), firmware]));
  const wrong = fleetMembers(FLEET).filter(({ host, firmware }) => firmwareAt.get(host) !== firmware);
  const unread = found.filter(({ state }) => state === 'unknown').length;
  console.log(
    `${seconds.toFixed(2)} s: ${scanned} addresses, ${found.length} found, ${wrong.length} missing or taken for another ` +
      `family, ${unread} identified but not read, ${unknown.length} that answer nothing known`,
  );
  const first = wrong[0];
  if (first !== undefined)
    console.log(`  for example ${first.host}: ${firmwareAt.get(first.host)} for ${first.firmware}`);
}
