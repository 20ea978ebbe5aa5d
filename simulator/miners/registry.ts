import type { FirmwareFamily } from '../../config/miners/firmwares.ts';
import type { SimulatedMiner } from '../physics.ts';
import type { MinerWireFaults, SimulatedMinerPlace, SimulatedServer } from './api-server.ts';
import { serveAvalon } from './avalon.ts';
import { serveBitmain } from './bitmain.ts';
import { serveBraiins } from './braiins.ts';
import { serveBfgminer, serveCgminer } from './cgminer.ts';
import { serveEpic } from './epic.ts';
import { serveFluxos } from './fluxos.ts';
import { serveLuxos } from './luxos.ts';
import { serveVnish } from './vnish.ts';
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

/** Every family and its twin; the compiler asks for a line per family. */
export const MINER_TWINS: Readonly<Record<FirmwareFamily, MinerTwin>> = {
  cgminer: { serve: serveCgminer, model: 'Antminer S9' },
  bfgminer: { serve: serveBfgminer, model: 'Antminer S9' },
  bitmain: { serve: serveBitmain, model: 'Antminer S21' },
  luxos: { serve: serveLuxos, model: 'Antminer S19k Pro' },
  whatsminer: { serve: serveWhatsminer, model: 'Whatsminer M60S' },
  'whatsminer-v3': { serve: serveWhatsminerV3, model: 'Whatsminer M60S' },
  braiins: { serve: serveBraiins, model: 'Antminer S19 XP' },
  vnish: { serve: serveVnish, model: 'Antminer S21 Pro' },
  avalon: { serve: serveAvalon, model: 'Avalon A1246' },
  epic: { serve: serveEpic, model: 'Antminer S19 XP' },
  fluxos: { serve: serveFluxos, model: 'Antminer S21' },
};
