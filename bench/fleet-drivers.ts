import type { LoadDriver } from '../drivers/load-driver.ts';
import { openMiner } from '../drivers/miners/registry.ts';
import { systemClock } from '../protocols/clock.ts';
import { seededRandom } from '../protocols/random.ts';
import { startTogether } from '../protocols/start-together.ts';
import { FLEET_PASSWORD, type FleetMember } from './fleet.ts';

/** A driver for every member of a fleet, as a configuration that names the firmware opens them. */
export function openFleetDrivers(members: readonly FleetMember[]): readonly LoadDriver[] {
  const deps = { clock: systemClock, random: seededRandom(1), starts: startTogether(systemClock) };
  const password = { reveal: () => FLEET_PASSWORD };
  return members.map(({ host, firmware }, index) =>
    openMiner(
      {
        deviceId: `m-${index}`,
        host,
        port: 4028,
        webPort: 80,
        user: 'root',
        password,
        model: null,
      },
      firmware,
      deps,
    ),
  );
}

/** Runs `work` for every index, so many at once. */
export async function forEachOf(
  count: number,
  atOnce: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await work(index);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker));
}

/** The value at a share of sorted values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
