import type { Random } from '../../protocols/random.ts';
import type { DeviceId, LimitId, Milliseconds, Watts } from '../../protocols/units.ts';

/**
 * Which device hangs on which meter, found by toggling small groups in coded patterns and watching every meter.
 * Every miner is toggled once in each of several passes, and no two share a group twice: a miner on the wrong
 * limit moves the wrong meter, and another one that hides it in one pass cannot hide it in the next. Pure: plans
 * and judges; whoever commands the miners keeps to the ledger and brings the measurements.
 */

/** A miner as configured, with what it gives up when it is toggled. */
export interface TopologyMiner {
  readonly id: DeviceId;
  /** The nearest limit with a meter, itself or above. */
  readonly limit: LimitId;
  readonly watts: Watts;
}

export interface TopologyBounds {
  /** The most that is toggled at once over the whole site. */
  readonly groupWattsMost: Watts;
  /** The longest that the whole run may take, and what one round takes: down, measured, up, measured. */
  readonly runMsMost: Milliseconds;
  readonly roundMs: Milliseconds;
}

/** Miners that are toggled together. */
export type Round = readonly DeviceId[];

/** What the meters showed for one round. */
export interface RoundResult {
  readonly round: Round;
  /**
   * Watts that each metered limit lost of its own: its meter's drop without the drops of the meters below it, and
   * the mean of the levels before and after taken for what would have been.
   */
  readonly dropWatts: ReadonlyMap<LimitId, Watts>;
}

/** Where a miner was found; `null`: no meter moved with it. */
export interface Found {
  readonly id: DeviceId;
  readonly configured: LimitId;
  readonly found: LimitId | null;
}

/** What the rounds of all passes say. */
export interface Suspicion {
  /** Miners that explain what the meters showed when they are taken to hang elsewhere. */
  readonly suspects: readonly Found[];
  /** Everybody who must be toggled alone before a word is said: the suspects, and rounds that nothing explains. */
  readonly alone: readonly DeviceId[];
}

const PASSES = 2;

/**
 * The rounds of all passes, in order. Each round takes at most one miner of a limit where that is possible, within
 * the bound of watts. Throws when one miner alone is above the bound: that is a mistake of the caller.
 */
export function planTopology(
  miners: readonly TopologyMiner[],
  bounds: Pick<TopologyBounds, 'groupWattsMost'>,
  random: Random,
): Round[] {
  const largest = Math.max(0, ...miners.map(({ watts }) => watts));
  if (largest > bounds.groupWattsMost) {
    throw new RangeError(`one miner of ${largest} W is above the bound of ${bounds.groupWattsMost} W`);
  }
  const together = new Set<string>();
  const rounds: Round[] = [];
  for (let pass = 0; pass < PASSES; pass += 1) rounds.push(...onePass(miners, bounds, random, together));
  return rounds;
}

/** How long a plan takes, with as many single rounds after it as there may be suspects. */
export function planMs(rounds: number, suspects: number, roundMs: Milliseconds): Milliseconds {
  return (rounds + suspects) * roundMs;
}

function onePass(
  miners: readonly TopologyMiner[],
  bounds: Pick<TopologyBounds, 'groupWattsMost'>,
  random: Random,
  together: Set<string>,
): Round[] {
  const groups: { members: TopologyMiner[]; watts: Watts }[] = [];
  const pair = (a: string, b: string) => (a < b ? `${a} ${b}` : `${b} ${a}`);
  for (const miner of shuffled(miners, random)) {
    const fits = groups.find(
      (group) =>
        group.watts + miner.watts <= bounds.groupWattsMost &&
        group.members.every(
          (member) => member.limit !== miner.limit && !together.has(pair(member.id, miner.id)),
        ),
    );
    if (fits === undefined) groups.push({ members: [miner], watts: miner.watts });
    else {
      fits.members.push(miner);
      fits.watts += miner.watts;
    }
  }
  for (const { members } of groups) {
    members.forEach((member, index) => {
      for (const other of members.slice(index + 1)) together.add(pair(member.id, other.id));
    });
  }
  return groups.map(({ members }) => members.map(({ id }) => id));
}

/**
 * Judges the results of all rounds: what the configured map leaves unexplained is explained by moving as few
 * miners as possible. `noiseWatts`: what a drop may be off by without anything being wrong.
 */
export function judgeTopology(
  miners: readonly TopologyMiner[],
  results: readonly RoundResult[],
  noiseWatts: Watts,
): Suspicion {
  const byId = new Map(miners.map((miner) => [miner.id, miner]));
  const roundsOf = new Map<DeviceId, number[]>();
  const residuals = results.map(({ round, dropWatts }, index) => {
    const left = new Map(dropWatts);
    for (const id of round) {
      const miner = byId.get(id)!;
      left.set(miner.limit, (left.get(miner.limit) ?? 0) - miner.watts);
      roundsOf.set(id, [...(roundsOf.get(id) ?? []), index]);
    }
    return left;
  });
  const limits: (LimitId | null)[] = [
    ...new Set(results.flatMap(({ dropWatts }) => [...dropWatts.keys()])),
    null,
  ];
  const moved = new Map<DeviceId, LimitId | null>();
  for (;;) {
    const best = bestMove(miners, moved, limits, residuals, roundsOf, noiseWatts);
    if (best === null) break;
    for (const index of roundsOf.get(best.miner.id) ?? []) shift(residuals[index]!, best.miner, best.to);
    moved.set(best.miner.id, best.to);
  }
  const suspects = [...moved].map(([id, found]) => ({ id, configured: byId.get(id)!.limit, found }));
  const unexplained = results.flatMap(({ round }, index) =>
    [...residuals[index]!.values()].some((watts) => Math.abs(watts) > noiseWatts) ? round : [],
  );
  return { suspects, alone: [...new Set([...moved.keys(), ...unexplained])] };
}

/** The single move that explains most, or `null` when none explains more than noise in every round of its miner. */
function bestMove(
  miners: readonly TopologyMiner[],
  moved: ReadonlyMap<DeviceId, LimitId | null>,
  limits: readonly (LimitId | null)[],
  residuals: readonly Map<LimitId, Watts>[],
  roundsOf: ReadonlyMap<DeviceId, readonly number[]>,
  noiseWatts: Watts,
): { readonly miner: TopologyMiner; readonly to: LimitId | null } | null {
  let best: { miner: TopologyMiner; to: LimitId | null; gain: Watts } | null = null;
  for (const miner of miners) {
    if (moved.has(miner.id)) continue;
    const rounds = (roundsOf.get(miner.id) ?? []).map((index) => residuals[index]!);
    // Its own meter did not lose what it should have, at least once: else there is nothing to explain.
    if (!rounds.some((left) => (left.get(miner.limit) ?? 0) < -noiseWatts)) continue;
    for (const to of limits) {
      if (to === miner.limit) continue;
      const gain = rounds.reduce((sum, left) => sum + explained(left, miner, to), 0);
      if (gain > (best?.gain ?? noiseWatts)) best = { miner, to, gain };
    }
  }
  return best;
}

/** By how much the residual of one round shrinks when `miner` is taken to hang on `to`. */
function explained(left: ReadonlyMap<LimitId, Watts>, miner: TopologyMiner, to: LimitId | null): Watts {
  const own = left.get(miner.limit) ?? 0;
  const there = to === null ? 0 : (left.get(to) ?? 0);
  const before = Math.abs(own) + Math.abs(there);
  const after = Math.abs(own + miner.watts) + (to === null ? 0 : Math.abs(there - miner.watts));
  return before - after;
}

function shift(left: Map<LimitId, Watts>, miner: TopologyMiner, to: LimitId | null): void {
  left.set(miner.limit, (left.get(miner.limit) ?? 0) + miner.watts);
  if (to !== null) left.set(to, (left.get(to) ?? 0) - miner.watts);
}

/**
 * What a miner that was toggled alone proves: the limit whose meter lost its watts. `undetermined` when two meters
 * moved, or one by another amount: then something else happened, and the round is worth nothing.
 */
export function locate(miner: TopologyMiner, result: RoundResult, noiseWatts: Watts): Found | 'undetermined' {
  const movers = [...result.dropWatts].filter(([, watts]) => Math.abs(watts) > noiseWatts);
  if (movers.length === 0) return { id: miner.id, configured: miner.limit, found: null };
  const [first] = movers;
  if (movers.length > 1 || first === undefined || Math.abs(first[1] - miner.watts) > noiseWatts) {
    return 'undetermined';
  }
  return { id: miner.id, configured: miner.limit, found: first[0] };
}

function shuffled<T>(values: readonly T[], random: Random): T[] {
  const result = [...values];
  for (let index = result.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [result[index], result[other]] = [result[other]!, result[index]!];
  }
  return result;
}
