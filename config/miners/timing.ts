import type { Milliseconds, Watts } from '../../protocols/units.ts';

/**
 * How long a command takes to show on a firmware family, at the slow end, and what rest costs. Defaults
 * from field notes and vendors' papers, to be checked on site; what is learnt there takes precedence.
 */
export interface MinerTiming {
  /** From the command until hashing has stopped and the draw is down. */
  readonly sleepMs: Milliseconds;
  /** From the command until the miner is at its operating point. */
  readonly wakeMs: Milliseconds;
  /** From the command until a new limit holds. */
  readonly changeMs: Milliseconds;
  /** Draw asleep, high end. */
  readonly sleepWatts: Watts;
}

/**
 * LuxOS: curtail about 10 s, wake 1 to 5 min, profile ramp 1 to 5 min.
 * Source: docs.luxor.tech and field notes.
 */
export const LUXOS_TIMING: MinerTiming = {
  sleepMs: 15_000,
  wakeMs: 300_000,
  changeMs: 300_000,
  sleepWatts: 50,
};

/**
 * Stock Bitmain: the answer to a write may take 30 s, hashing stops 5 to 30 s later; full rate 3 to 8 min
 * after a start (air). A change of mode reloads the mining program like a start.
 */
export const BITMAIN_TIMING: MinerTiming = {
  sleepMs: 60_000,
  wakeMs: 480_000,
  changeMs: 480_000,
  sleepWatts: 50,
};

/** Stock Bitmain, hydro: up to 15 min from cold. */
export const BITMAIN_HYDRO_TIMING: MinerTiming = { ...BITMAIN_TIMING, wakeMs: 900_000, changeMs: 900_000 };

/**
 * Whatsminer: off within 5 s, a percentage within 5 s; stable 15 to 30 min after power_on without fast boot.
 * Source: Whatsminer API 2.0.x and recordings ("Hash Stable Cost Seconds" 1538).
 */
export const WHATSMINER_TIMING: MinerTiming = {
  sleepMs: 5000,
  wakeMs: 1_800_000,
  changeMs: 5000,
  sleepWatts: 100,
};

/** Whatsminer: a change of the lasting power limit restarts the miner. */
export const WHATSMINER_RESTART_MS: Milliseconds = 900_000;

/** Low-power mode of stock Bitmain as a share of nominal watts: upper end of 75 to 85 %. */
export const BITMAIN_LOW_POWER_SHARE = 0.85;

/** Least percentage that `set_power_pct` holds without stopping boards: lower end of 40 to 50 %. */
export const WHATSMINER_LEAST_PERCENT = 40;

/**
 * Braiins OS: paused within 30 s, resumed within 2 min; a saved profile lands in 1 to 5 min, a new target
 * tunes for up to an hour and is not waited for.
 * Source: Braiins public API; durations are field notes to be checked on site.
 */
export const BRAIINS_TIMING: MinerTiming = {
  sleepMs: 30_000,
  wakeMs: 120_000,
  changeMs: 300_000,
  sleepWatts: 100,
};

/**
 * Avalon: soft off acts 5 s after the order and within 10 s more; 3 to 10 min to full rate after soft on.
 * Source: the vendor's API manual and field notes, to be checked on site.
 */
export const AVALON_TIMING: MinerTiming = {
  sleepMs: 20_000,
  wakeMs: 600_000,
  changeMs: 600_000,
  sleepWatts: 150,
};

/**
 * VNish: stopped within seconds, hashing 1 to 3 min after a start; a preset that is tuned lands in as long as a
 * restart. Presets that are not tuned take up to an hour and are not used.
 * Source: VNish API documents and field notes, to be checked on site.
 */
export const VNISH_TIMING: MinerTiming = {
  sleepMs: 30_000,
  wakeMs: 300_000,
  changeMs: 300_000,
  sleepWatts: 60,
};

/** ePIC PowerPlay: idle within 20 s of Stop, 2 to 4 min after Autostart; a new target takes minutes. */
export const EPIC_TIMING: MinerTiming = {
  sleepMs: 30_000,
  wakeMs: 300_000,
  changeMs: 300_000,
  sleepWatts: 60,
};

/** FluxOS: asleep within seconds, 1 to 3 min to wake; a new target takes minutes. Source: the vendor's API manual. */
export const FLUXOS_TIMING: MinerTiming = {
  sleepMs: 30_000,
  wakeMs: 240_000,
  changeMs: 300_000,
  sleepWatts: 70,
};

/**
 * Least power target of FluxOS as a share of the greatest that is known. No document names it: kept where the
 * neighbours (VNish 54 %, Braiins 45 %) still hold; what the miner declines is told as refused.
 */
export const FLUXOS_LEAST_SHARE = 0.6;
