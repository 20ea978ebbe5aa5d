import type { FirmwareFamily } from '../../config/miners/firmwares.ts';
import type { SimulatedMiner } from '../physics.ts';
import type { MinerWireFaults, SimulatedMinerPlace, SimulatedServer } from './api-server.ts';
import { serveBitmain } from './bitmain.ts';
import { serveBfgminer, serveCgminer } from './cgminer.ts';
import { serveLuxos } from './luxos.ts';
import { serveWhatsminer } from './whatsminer.ts';
import { serveWhatsminerV3 } from './whatsminer-v3.ts';

/** Puts a simulated machine behind the sockets of its firmware. */
export type ServeMiner = (
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  faults?: MinerWireFaults,
) => Promise<SimulatedServer>;

/** How a family is simulated. */
export interface MinerTwin {
  readonly serve: ServeMiner;
  /** Whose figures it has where nothing else is said: a name of the model table. */
  readonly model: string;
}

/** Every family and its twin; the compiler asks for a line per family. `null`: not simulated yet. */
export const MINER_TWINS: Readonly<Record<FirmwareFamily, MinerTwin | null>> = {
  cgminer: { serve: serveCgminer, model: 'Antminer S9' },
  bfgminer: { serve: serveBfgminer, model: 'Antminer S9' },
  bitmain: { serve: serveBitmain, model: 'Antminer S21' },
  luxos: { serve: serveLuxos, model: 'Antminer S19k Pro' },
  whatsminer: { serve: serveWhatsminer, model: 'Whatsminer M60S' },
  'whatsminer-v3': { serve: serveWhatsminerV3, model: 'Whatsminer M60S' },
  braiins: null,
  vnish: null,
  avalon: null,
  epic: null,
  fluxos: null,
};
