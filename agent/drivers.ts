import type { LoadedConfig, MinerPlace } from '../config/load.ts';
import type { GpuNodeConfig, MeterConfig } from '../config/schema.ts';
import type { Secret } from '../config/secret.ts';
import { type DrainDriver, openDrain } from '../drivers/gpu/drain.ts';
import { openGpuNode } from '../drivers/gpu/gpu-node.ts';
import { RedfishNode } from '../drivers/gpu/redfish-node.ts';
import type { Identity, LoadDriver, MeterDriver } from '../drivers/load-driver.ts';
import { openMiner } from '../drivers/miners/registry.ts';
import type { MeterConfig as MeterOptions } from '../drivers/modbus-meter.ts';
import { openMeter } from '../drivers/modbus-meter.ts';
import type { Clock } from '../protocols/clock.ts';
import { BusPool } from '../protocols/modbus/bus-pool.ts';
import type { Random } from '../protocols/random.ts';
import { startTogether } from '../protocols/start-together.ts';
import type { LessonStore } from './store/meter-lessons.ts';

/** How drivers are made: real ones in `main`, simulated ones in scenarios. */
export interface DriverFactories {
  /** `known`: who is expected there; `null`: whoever answers first. */
  miner(place: MinerPlace, password: Secret | null, known: Identity | null): LoadDriver;
  meter(config: MeterConfig): MeterDriver;
  gpuNode(config: GpuNodeConfig): LoadDriver;
  /** The workload manager of a node; `null`: none is configured. */
  drain(config: GpuNodeConfig): DrainDriver | null;
}

/** A meter of the configuration as its driver takes it. `profiles`: register maps of the site's own. */
export function meterOptions(meter: MeterConfig, profiles: LoadedConfig['profiles']): MeterOptions {
  return {
    id: meter.id,
    profile: profiles.get(meter.profile) ?? meter.profile,
    transport: meter.transport,
    invert: meter.invert,
    confirmed: meter.confirmed,
    ...(meter.nominalVolts === undefined ? {} : { nominalVolts: meter.nominalVolts }),
    ...(meter.ratedAmps === undefined ? {} : { ratedAmps: meter.ratedAmps }),
    ...(meter.parameters === undefined ? {} : { parameters: meter.parameters }),
  };
}

/** The real drivers, over real sockets and processes. `lessons`: what meters refused before; the agent keeps them. */
export function realDrivers(
  clock: Clock,
  random: Random,
  profiles: LoadedConfig['profiles'],
  lessons: LessonStore | null = null,
): DriverFactories {
  const buses = new BusPool({ clock, random });
  const starts = startTogether(clock);
  return {
    miner: (place, password, known) =>
      openMiner(
        {
          deviceId: place.deviceId,
          host: place.host,
          port: place.port,
          webPort: place.entry.webPort,
          user: place.entry.user ?? null,
          password,
          model: place.entry.model === 'auto' ? null : place.entry.model,
        },
        place.entry.firmware,
        { clock, random, starts },
        known ?? {},
      ),
    meter: (meter) =>
      openMeter(meterOptions(meter, profiles), {
        clock,
        buses,
        ...(lessons === null
          ? {}
          : {
              lessons: { known: lessons.of(meter.id), keep: (learnt) => lessons.keep(meter.id, learnt) },
            }),
      }),
    gpuNode: (node) => openNode(node, clock),
    drain: ({ id, drain }) => (drain.kind === 'none' ? null : openDrain(id, drain, clock)),
  };
}

function openNode(node: GpuNodeConfig, clock: Clock): LoadDriver {
  const { id, reader, cap } = node;
  const bounds = {
    ...(cap.kind === 'none' || cap.min === undefined ? {} : { capMinWatts: cap.min }),
    ...(cap.kind === 'none' || cap.max === undefined ? {} : { capMaxWatts: cap.max }),
  };
  if (reader.kind === 'redfish')
    return new RedfishNode({ id, ...reader, canCap: cap.kind === 'redfish', ...bounds }, clock);
  return openGpuNode(
    {
      id,
      reader:
        reader.kind === 'dcgm'
          ? { kind: 'dcgm', url: reader.url, collectIntervalMs: reader.collectInterval }
          : viaSmi(reader.command),
      // The configuration was checked: a cap by Redfish goes with a reader by Redfish.
      cap: cap.kind === 'nvidia-smi' ? viaSmi(cap.command) : cap.kind === 'redfish' ? { kind: 'none' } : cap,
      nameplateWatts: node.nameplate,
      ...bounds,
    },
    { clock },
  );
}

function viaSmi(command: readonly string[] | undefined): { kind: 'nvidia-smi'; command?: readonly string[] } {
  return command === undefined ? { kind: 'nvidia-smi' } : { kind: 'nvidia-smi', command };
}

/** The workload managers of the nodes that have one. */
export function drainsOf(
  nodes: readonly GpuNodeConfig[],
  drivers: DriverFactories,
): ReadonlyMap<string, DrainDriver> {
  return new Map(
    nodes.flatMap((node) => {
      const driver = drivers.drain(node);
      return driver === null ? [] : [[node.id, driver] as const];
    }),
  );
}
