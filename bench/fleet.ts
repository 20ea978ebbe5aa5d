import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { FIRMWARE_FAMILIES, type FirmwareFamily } from '../config/miners/firmwares.ts';

/** A fleet of simulated miners of every family, played by a process of its own. */
export interface FleetOptions {
  /** First address; the others follow it. */
  readonly firstHost: string;
  readonly devices: number;
  /** Accept connections and say nothing: placed after the devices, or among them (`deadShare`). */
  readonly silent: number;
  /** Part of the devices that is dead, evenly among them. */
  readonly deadShare: number;
  /** Part of the devices that drips a byte a second. */
  readonly drippingShare: number;
  /** One listener a port for all (more units), or one for each address (others refuse). */
  readonly wildcard: boolean;
}

export interface FleetMember {
  readonly host: string;
  readonly firmware: FirmwareFamily;
  readonly state: 'well' | 'dead' | 'dripping';
}

/** Password of every unit of the fleet; user root. */
export const FLEET_PASSWORD = 'bench-secret';

/** Address number `index` from `first` on. */
export function hostAt(first: string, index: number): string {
  const number = first.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + index;
  return [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
}

/** Who is where: families in turn, the dead and the dripping evenly among them. */
export function fleetMembers(options: FleetOptions): readonly FleetMember[] {
  const { firstHost, devices, deadShare, drippingShare } = options;
  return Array.from({ length: devices }, (_, index) => {
    // Sevenths of a turn keep the shares apart from the turns of the families.
    const place = ((index * 7) % 100) / 100;
    return {
      host: hostAt(firstHost, index),
      firmware: FIRMWARE_FAMILIES[index % FIRMWARE_FAMILIES.length]!,
      state: place < deadShare ? 'dead' : place < deadShare + drippingShare ? 'dripping' : 'well',
    };
  });
}

/** Living members with the plainest exchange there is: one small command on the API port. */
export function plainHosts(options: FleetOptions): readonly string[] {
  return fleetMembers(options).flatMap(({ state, host, firmware }) =>
    state === 'well' && firmware !== 'epic' ? [host] : [],
  );
}

/** The process that plays a fleet, once everything listens. */
export interface RunningFleet {
  readonly process: ChildProcess;
  ask(op: 'watts' | 'connections' | 'exchanges' | 'usage'): Promise<number>;
  stop(): Promise<void>;
}

/** Starts the fleet; rejects when it does not come up. */
export async function startFleet(options: FleetOptions): Promise<RunningFleet> {
  const child = fork(join(import.meta.dirname, 'fleet-process.ts'), [JSON.stringify(options)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const onExit = (code: number | null): void => reject(new Error(`the fleet ended with ${code}`));
      child.once('exit', onExit);
      child.once('message', (message) => {
        child.off('exit', onExit);
        resolve(message);
      });
    });
  await next();
  return {
    process: child,
    ask: async (op) => {
      const answer = next();
      child.send({ op });
      return Number(await answer);
    },
    stop: async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await ended;
    },
  };
}
