import type { Random } from '../../protocols/random.ts';
import type { DeviceId, EpochMs, LimitId, MonotonicMs, Watts } from '../../protocols/units.ts';
import type { Found, Round, RoundResult, TopologyBounds, TopologyMiner } from './topology.ts';
import { judgeTopology, locate, planTopology } from './topology.ts';

/** How a run reaches the site. All of it may fail by rejecting: then the group is woken and released and the run ends. */
export interface TopologySite {
  /** Takes the miners of a round out of control, so that the agent counts them at their worst and commands nobody. */
  hold(ids: Round): Promise<void>;
  release(ids: Round): Promise<void>;
  /** Puts the miners to sleep; resolves when they show it. */
  sleep(ids: Round): Promise<void>;
  /** Wakes the miners; resolves when they draw what they drew. */
  wake(ids: Round): Promise<void>;
  /** Watts of each metered limit by itself: its meter without the meters below it, over several fresh good samples. */
  levels(): Promise<ReadonlyMap<LimitId, Watts>>;
  monotonicMs(): MonotonicMs;
  epochMs(): EpochMs;
}

/** What a run proved, for the site's files. */
export interface TopologyRecord {
  readonly v: 1;
  readonly kind: 'topology-commissioning';
  readonly startedAt: EpochMs;
  readonly endedAt: EpochMs;
  readonly miners: number;
  readonly rounds: number;
  readonly mostWattsAtOnce: Watts;
  /** Miners on another limit than configured. */
  readonly wrong: readonly Found[];
  /** Miners about which nothing could be said. */
  readonly undetermined: readonly DeviceId[];
  /** Why it ended before it was through, or `null`. */
  readonly stopped: string | null;
}

/**
 * Runs a whole commissioning: the coded rounds, then every suspect alone. Ends early when the time is over, a step
 * fails or `signal` aborts, never with a miner asleep or held that was not before. Never rejects for what the site
 * does; throws when the bounds cannot be kept at all.
 */
export async function runTopology(
  miners: readonly TopologyMiner[],
  bounds: TopologyBounds,
  noiseWatts: Watts,
  site: TopologySite,
  random: Random,
  signal: AbortSignal,
  onRound: (done: number, planned: number) => void = () => undefined,
): Promise<TopologyRecord> {
  const startedAt = site.epochMs();
  const endAt = site.monotonicMs() + bounds.runMsMost;
  const byId = new Map(miners.map((miner) => [miner.id, miner]));
  const wattsOf = (round: Round) => round.reduce((sum, id) => sum + byId.get(id)!.watts, 0);
  const plan = planTopology(miners, bounds, random);
  let rounds = 0;
  let mostWattsAtOnce = 0;
  let stopped: string | null = null;

  /** One round; `null` when it was not played or did not come to its end. */
  const play = async (round: Round): Promise<RoundResult | null> => {
    if (signal.aborted) stopped ??= 'given up';
    else if (site.monotonicMs() + bounds.roundMs > endAt) stopped ??= 'the time was over';
    if (stopped !== null) return null;
    rounds += 1;
    mostWattsAtOnce = Math.max(mostWattsAtOnce, wattsOf(round));
    try {
      return { round, dropWatts: await playRound(round, site) };
    } catch (error) {
      stopped ??= (error as Error).message;
      return null;
    }
  };

  const results: RoundResult[] = [];
  for (const round of plan) {
    const result = await play(round);
    if (result === null) break;
    results.push(result);
    onRound(rounds, plan.length);
  }
  const wrong: Found[] = [];
  const undetermined: DeviceId[] = [];
  // Half a plan proves nothing about anybody: whoever was not toggled in every pass stays undetermined.
  const seen = new Map<DeviceId, number>();
  for (const { round } of results) for (const id of round) seen.set(id, (seen.get(id) ?? 0) + 1);
  const passes = plan.filter((round) => round.includes(miners[0]?.id ?? '')).length;
  for (const { id } of miners) if ((seen.get(id) ?? 0) < passes) undetermined.push(id);
  const { alone } = judgeTopology(miners, results, noiseWatts);
  for (const id of alone) {
    const result = await play([id]);
    const found = result === null ? 'undetermined' : locate(byId.get(id)!, result, noiseWatts);
    if (result !== null) onRound(rounds, plan.length + alone.length);
    if (found === 'undetermined') undetermined.push(id);
    else if (found.found !== found.configured) wrong.push(found);
  }
  return {
    v: 1,
    kind: 'topology-commissioning',
    startedAt,
    endedAt: site.epochMs(),
    miners: miners.length,
    rounds,
    mostWattsAtOnce,
    wrong,
    undetermined: [...new Set(undetermined)],
    stopped,
  };
}

/** Levels before, with the group asleep, and after it woke; whatever happens, it wakes and is released. */
async function playRound(round: Round, site: TopologySite): Promise<ReadonlyMap<LimitId, Watts>> {
  try {
    await site.hold(round);
    const before = await site.levels();
    let down: ReadonlyMap<LimitId, Watts>;
    try {
      await site.sleep(round);
      down = await site.levels();
    } finally {
      await site.wake(round);
    }
    const after = await site.levels();
    return new Map(
      [...before].map(([limit, watts]) => [
        limit,
        (watts + (after.get(limit) ?? watts)) / 2 - (down.get(limit) ?? watts),
      ]),
    );
  } finally {
    await site.release(round);
  }
}
