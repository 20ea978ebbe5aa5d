import { findMinerModel, MINER_MODELS, type MinerModel } from '../../config/miners/models.ts';
import type { MinerTraits } from '../physics.ts';

/** How a family behaves around its nominal figures. */
type Behaviour = Omit<MinerTraits, 'normalWatts' | 'minimumWatts' | 'normalHashrateThs'> & {
  /** Least power while hashing, as a share of nominal. */
  readonly minimumShare: number;
};

/** Bitmain hardware under its own or other firmware: a start is power-on, board init and a frequency ramp. */
const BITMAIN: Behaviour = {
  minimumShare: 0.28,
  sleepWatts: 31,
  stopDelayMs: [2000, 12_000],
  stopRampMs: 3000,
  wakeDelayMs: [60_000, 120_000],
  wakeRampMs: 120_000,
  changeRampMs: 60_000,
  overshoot: 1.03,
};

const BITMAIN_HYDRO: Behaviour = { ...BITMAIN, wakeDelayMs: [120_000, 240_000], wakeRampMs: 300_000 };

/** Off and percentages are fast; a start searches frequencies for a quarter of an hour and more. */
const WHATSMINER: Behaviour = {
  minimumShare: 0.4,
  sleepWatts: 42,
  stopDelayMs: [500, 1500],
  stopRampMs: 2000,
  wakeDelayMs: [30_000, 90_000],
  wakeRampMs: 900_000,
  changeRampMs: 3000,
  overshoot: 1.02,
};

const AVALON: Behaviour = {
  ...BITMAIN,
  // A home unit in eco mode draws less than half.
  minimumShare: 0.45,
  sleepWatts: 140,
  stopDelayMs: [3000, 8000],
};

const BEHAVIOURS: Readonly<Record<MinerModel['vendor'], Behaviour>> = {
  Bitmain: BITMAIN,
  MicroBT: WHATSMINER,
  Canaan: AVALON,
  Bitdeer: BITMAIN,
};

/** Names that `minerTraits` knows. */
export const SIMULATED_MODELS: readonly string[] = MINER_MODELS.map(({ name }) => name);

/** Traits of a model for `SimulatedMiner`, from its nominal figures; throws a RangeError for an unknown name. */
export function minerTraits(name: string): MinerTraits {
  const model = findMinerModel(name);
  if (model === null) throw new RangeError(`no figures for a miner named "${name}"`);
  const isHydro = model.vendor === 'Bitmain' && model.cooling === 'hydro';
  const { minimumShare, ...behaviour } = isHydro ? BITMAIN_HYDRO : BEHAVIOURS[model.vendor];
  return {
    ...behaviour,
    normalWatts: model.nominalWatts,
    minimumWatts: Math.round(model.nominalWatts * minimumShare),
    normalHashrateThs: model.nominalHashrateThs,
  };
}
