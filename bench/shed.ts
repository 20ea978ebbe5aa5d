import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Dispatcher, type Sent } from '../agent/control/dispatch.ts';
import type { FirmwareFamily } from '../config/miners/firmwares.ts';
import type { LoadDriver } from '../drivers/load-driver.ts';
import { systemClock } from '../protocols/clock.ts';
import { type FleetOptions, fleetMembers, startFleet } from './fleet.ts';
import { forEachOf, openFleetDrivers, quantile } from './fleet-drivers.ts';

/** Longest that the watts are waited for. */
const WATTS_MS = 90_000;
const READS_AT_ONCE = 256;

interface Run {
  readonly lastSentMs: ReadonlyMap<FirmwareFamily, number>;
  readonly sent: number;
  readonly failed: number;
  readonly wattsGoneMs: number | null;
  readonly processorMs: number;
  readonly handshakes: number;
  readonly longestBlockMs: number;
}

/**
 * `npm run bench -- shed [DEVICES] [RUNS] [WRITES AT ONCE]`: every family in turn, 10 % dead (they take connections and
 * are silent), all read once before. From the order to the last byte of the last sleep command of those that live, and
 * until 90 % of their watts are gone.
 */
export async function benchShed(args: readonly string[]): Promise<void> {
  const [devices = 1000, runs = 3, writesAtOnce = 512] = args.map(Number);
  const done: Run[] = [];
  for (let run = 0; run < runs; run += 1) {
    const result = await shedOnce(devices, writesAtOnce);
    done.push(result);
    console.log(
      `${devices} miners, ${writesAtOnce} writes at once: last byte after ${seconds(lastOf(result))} ` +
        `(${result.sent} commands, ${result.failed} without), 90 % of the watts gone after ` +
        `${result.wattsGoneMs === null ? 'more than 90 s' : seconds(result.wattsGoneMs)}, ` +
        `${result.handshakes} handshakes, ${seconds(result.processorMs)} of processor time, longest block of the loop ${result.longestBlockMs.toFixed(0)} ms`,
    );
  }
  const median = quantile(done.map(lastOf), 0.5);
  const withoutLuxos = quantile(
    done.map(({ lastSentMs }) =>
      Math.max(...[...lastSentMs].flatMap(([firmware, ms]) => (firmware === 'luxos' ? [] : [ms]))),
    ),
    0.5,
  );
  console.log(
    `median of ${runs}: ${seconds(median)}; without LuxOS, which wants a second between connections, ${seconds(withoutLuxos)}`,
  );
  const last = done.at(-1);
  if (last !== undefined)
    console.log([...last.lastSentMs].map(([firmware, ms]) => `  ${firmware} ${seconds(ms)}`).join('\n'));
}

const lastOf = ({ lastSentMs }: Run): number => Math.max(...lastSentMs.values());

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

async function shedOnce(devices: number, writesAtOnce: number): Promise<Run> {
  const options: FleetOptions = {
    firstHost: '127.64.0.1',
    devices,
    silent: 0,
    deadShare: 0.1,
    drippingShare: 0,
    wildcard: true,
  };
  const members = fleetMembers(options);
  const fleet = await startFleet(options);
  const stop = new AbortController();
  try {
    const drivers = openFleetDrivers(members);
    await forEachOf(devices, READS_AT_ONCE, async (index) => {
      if (members[index]!.state === 'well') await drivers[index]!.read(stop.signal);
    });
    // LuxOS wants a second after the reading.
    await systemClock.sleep(1100, stop.signal);
    const living = new Set(members.flatMap(({ state }, index) => (state === 'well' ? [index] : [])));
    // What cannot be commanded (plain cgminer) draws on: the watts to shed are those of the rest.
    const before = await fleet.ask('watts');
    const handshakes = await fleet.ask('connections');
    const usage = process.cpuUsage();
    const delay = monitorEventLoopDelay({ resolution: 10 });
    delay.enable();
    const startedAt = systemClock.monotonicMs();
    const lastSentMs = new Map<FirmwareFamily, number>();
    let sent = 0;
    let failed = 0;
    let waiting = living.size;
    await new Promise<void>((resolve) => {
      const dispatcher = new Dispatcher({
        drivers: new Map(
          drivers.map((driver, index) => [
            driver.deviceId,
            {
              ...driver,
              apply: async (command, signal) => {
                const applied = await driver.apply(command, signal);
                const { firmware } = members[index]!;
                if (applied.ok)
                  lastSentMs.set(
                    firmware,
                    Math.max(lastSentMs.get(firmware) ?? 0, applied.value.sentAt - startedAt),
                  );
                return applied;
              },
            } satisfies LoadDriver,
          ]),
        ),
        clock: systemClock,
        stop: stop.signal,
        caps: () => [],
        writesAtOnce,
        onSent: ({ device, failure }: Sent) => {
          if (!living.has(Number(device.slice(2)))) return;
          if (failure === null) sent += 1;
          else failed += 1;
          waiting -= 1;
          if (waiting === 0) resolve();
        },
      });
      dispatcher.emit(
        drivers.map(({ deviceId }) => ({
          device: deviceId,
          pointId: 'sleep',
          kind: 'sleep' as const,
          limitWatts: null,
          watts: 0,
          direction: 'down' as const,
          fromPointId: 'full',
          fromWatts: 0,
          why: 'bench',
          bindingLimit: null,
          dollarsPerKwh: null,
        })),
        // As the poller knows it: who is dead did not answer its last reading.
        (device) => !living.has(Number(device.slice(2))),
      );
    });
    delay.disable();
    const { user, system } = process.cpuUsage(usage);
    const made = (await fleet.ask('connections')) - handshakes;
    const commandable = before * (sent / devices);
    let wattsGoneMs: number | null = null;
    while (wattsGoneMs === null && systemClock.monotonicMs() - startedAt < WATTS_MS) {
      if (before - (await fleet.ask('watts')) >= 0.9 * commandable)
        wattsGoneMs = systemClock.monotonicMs() - startedAt;
      else await systemClock.sleep(250, stop.signal);
    }
    return {
      lastSentMs,
      sent,
      failed,
      wattsGoneMs,
      processorMs: (user + system) / 1000,
      handshakes: made,
      longestBlockMs: delay.max / 1e6,
    };
  } finally {
    stop.abort();
    await fleet.stop();
  }
}
