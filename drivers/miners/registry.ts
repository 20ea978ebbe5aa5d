import type { MinerFirmware } from '../../config/miners/firmwares.ts';
import { KeptWire } from '../../protocols/kept-wire.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { DeviceStarts } from '../../protocols/start-together.ts';
import type { LoadDriver, MinerEndpoint } from '../load-driver.ts';
import { avalonFamily } from './avalon.ts';
import { bitmainFamily } from './bitmain.ts';
import { braiinsFamily } from './braiins.ts';
import { cgminerFamily } from './cgminer.ts';
import { epicFamily } from './epic.ts';
import { fluxosFamily } from './fluxos.ts';
import { luxosFamily } from './luxos.ts';
import { createMinerDriver, type MinerDeps, type MinerFamily } from './miner-driver.ts';
import { recognise } from './recognise.ts';
import type { MinerFields } from './reply-fields.ts';
import { vnishFamily } from './vnish.ts';
import { whatsminerFamily } from './whatsminer.ts';
import { whatsminerV3Family } from './whatsminer-v3.ts';

type FamilyFactory = (endpoint: MinerEndpoint, deps: MinerDeps) => MinerFamily;

/** Read through the cgminer API alone: no commands are known for it here. */
const readOnly =
  (firmware: MinerFirmware): FamilyFactory =>
  (endpoint, deps) =>
    cgminerFamily(firmware, endpoint, deps);

/** Every firmware and who drives it; the compiler asks for a line per firmware. */
const FAMILIES: Readonly<Record<MinerFirmware, FamilyFactory>> = {
  cgminer: readOnly('cgminer'),
  bfgminer: readOnly('bfgminer'),
  bitmain: bitmainFamily,
  luxos: luxosFamily,
  whatsminer: (endpoint, deps) => whatsminerFamily('whatsminer', endpoint, deps),
  'whatsminer-v3': whatsminerV3Family,
  braiins: braiinsFamily,
  vnish: vnishFamily,
  avalon: avalonFamily,
  epic: epicFamily,
  fluxos: fluxosFamily,
  unknown: readOnly('unknown'),
};

/** What a device is known as from before, so that a stranger at its address is told at once. */
export interface KnownMiner {
  readonly macAddress?: string | null;
  readonly serialNumber?: string | null;
}

/**
 * A driver for the miner at `endpoint`. With `auto` the firmware is recognised at the first request that gets
 * an answer, and again after the miner was lost for long or answers as no member of the family found.
 */
export function openMiner(
  endpoint: MinerEndpoint,
  firmware: MinerFirmware | 'auto',
  deps: MinerDeps,
  known: KnownMiner = {},
): LoadDriver {
  const pace = deps.starts === undefined ? null : new DeviceStarts(deps.starts);
  const own = { ...deps, ...(pace !== null && { starts: pace }), kept: new KeptWire() };
  const family = firmware === 'auto' ? recognising(endpoint, own) : FAMILIES[firmware](endpoint, own);
  return createMinerDriver(family, endpoint, own, known, pace);
}

/** A family that finds out at first use what it is. */
function recognising(endpoint: MinerEndpoint, deps: MinerDeps): MinerFamily {
  let found: MinerFamily | null = null;
  const resolve = async (signal: AbortSignal): Promise<Result<MinerFamily>> => {
    if (found !== null) return ok(found);
    const firmware = await recognise(endpoint, deps, signal);
    if (!firmware.ok) return firmware;
    found = FAMILIES[firmware.value](endpoint, deps);
    return ok(found);
  };
  /** Another firmware at the address does not answer like the one found: look again next time. */
  const forgetting = <T>(result: Result<T>): Result<T> => {
    if (!result.ok && ['malformed', 'unsupported', 'refused', 'wrong-device'].includes(result.error.kind))
      found = null;
    return result;
  };
  return {
    get firmware() {
      return found?.firmware ?? 'unknown';
    },
    get leastCommandMs() {
      return found?.leastCommandMs ?? 0;
    },
    who: async (signal, forWrite) => {
      const family = await resolve(signal);
      return family.ok ? forgetting(await family.value.who(signal, forWrite)) : family;
    },
    poll: async (signal): Promise<Result<MinerFields>> => {
      const family = await resolve(signal);
      return family.ok ? forgetting(await family.value.poll(signal)) : family;
    },
    send: async (command, latest, signal) => {
      const family = await resolve(signal);
      if (!family.ok) return family;
      return family.value.send === undefined
        ? fail('unsupported', `${endpoint.host}: ${family.value.firmware} firmware takes no commands`)
        : await family.value.send(command, latest, signal);
    },
  };
}
