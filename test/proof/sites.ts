import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JOURNAL_FILE, openForReading } from '../../agent/store/database.ts';
import { type Journal, openJournal } from '../../agent/store/journal.ts';
import { replayJournal } from '../../agent/store/replay.ts';
import { seededRandom } from '../../protocols/random.ts';
import type { MinerFaults } from '../../simulator/physics.ts';
import { pick, type RandomLimit, type RandomSite, randomSite } from '../support/random-site.ts';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

/**
 * Sites drawn at random, an hour of virtual time each: limits, set points, prices and holds ordered at random on random
 * limits, jobs that swing, and in every other run faults: disobedient miners, liars, restarts, drift, lost answers, dead
 * meters, a switch that is off, a pool outage, restarts of the agent. The judge is the true power at every limit,
 * with a meter or without, and the replay of the journal where the agent lived through.
 */

const MINUTE_MS = 60_000;
const MINUTES = 60;
/** What runs at the start is brought under its limits within this. */
const START_MS = 2 * MINUTE_MS;
/** Nothing is ordered and nothing breaks in the end: what is allowed is used again. */
const CALM_MINUTES = 25;
/** With faults a limit may be exceeded by what a miner does on its own account, until it is seen and made up for. */
const OVER_SHARE = 0.02;

interface Verdict {
  readonly overs: readonly string[];
  /** Worst seconds over a limit, and by which share of it. */
  readonly seconds: number;
  readonly share: number;
  /** Part of what the site can carry that flows in the end. */
  readonly used: number;
  readonly switches: number;
  readonly replay: string | null;
}

/** Runs `runs` sites from `firstSeed` on. Fails on any second over a limit without faults, and on a replay that differs. */
export async function proveSites(runs: number, firstSeed: number): Promise<boolean> {
  let kept = true;
  const verdicts: Verdict[] = [];
  for (let seed = firstSeed; seed < firstSeed + runs; seed += 1) {
    const faulty = seed % 2 === 1;
    const verdict = await new Run(seed, faulty).play();
    verdicts.push(verdict);
    const bad = verdict.replay !== null || (faulty ? verdict.share > OVER_SHARE : verdict.seconds > 0);
    if (bad) kept = false;
    if (bad || verdict.overs.length > 0)
      console.log(
        `seed ${seed}${faulty ? ' (faults)' : ''}: ${verdict.overs.join('; ')} ${verdict.replay ?? ''}`,
      );
  }
  const sorted = verdicts.map(({ used }) => used).sort((a, b) => a - b);
  const over = verdicts.filter(({ seconds }) => seconds > 0);
  console.log(
    `${runs} sites from seed ${firstSeed}: ${over.length} with any second over a limit ` +
      `(worst ${Math.max(0, ...over.map(({ seconds }) => seconds)).toFixed(1)} s, ${(Math.max(0, ...over.map(({ share }) => share)) * 100).toFixed(2)} %), ` +
      `${(sorted[sorted.length >> 1]! * 100).toFixed(1)} % of what they can carry used in the end (least ${(sorted[0]! * 100).toFixed(1)}), ` +
      `${(verdicts.reduce((sum, { switches }) => sum + switches, 0) / runs).toFixed(1)} switches a miner`,
  );
  return kept;
}

/** What holds at a limit, for the judge. */
interface Held {
  watts: number;
  fromMs: number;
  /** What its order's answer said at once would be short. */
  toldWatts: number;
}

class Run {
  private readonly random: () => number;
  private readonly site: RandomSite;
  private readonly virtual: VirtualSite;
  private readonly folder = mkdtempSync(join(tmpdir(), 'switchyard-sites-'));
  private journal: Journal | null = null;
  private restarted = false;
  private readonly held: Map<string, Held>;
  private readonly over = new Map<string, { seconds: number; share: number }>();
  private switches = 0;
  private readonly works = new Map<string, boolean>();
  private readonly faulty: boolean;

  constructor(seed: number, faulty: boolean) {
    this.faulty = faulty;
    this.random = seededRandom(seed * 31 + 5);
    this.site = randomSite(this.random, seed % 4 < 2);
    this.held = new Map(
      this.site.limits.map(({ id, ratingWatts }) => [
        id,
        { watts: ratingWatts, fromMs: START_MS, toldWatts: 0 },
      ]),
    );
    this.virtual = startVirtualSite({
      seed,
      config: this.site.config,
      load: (id, worst, now) => worst * (0.55 + 0.4 * Math.sin(now / 90_000 + id.charCodeAt(9))),
      ...(faulty ? { faults: (_id: string, random: () => number) => faultsOf(random) } : {}),
      journal: (clock) => {
        this.journal ??= openJournal(this.folder, 200_000_000, clock);
        return this.journal;
      },
    });
    for (const node of this.virtual.nodes.values()) node.setUtilization(1);
    this.virtual.watch = (now) => this.judge(now);
  }

  async play(): Promise<Verdict> {
    for (let minute = 0; minute < MINUTES; minute += 1) {
      const calm = minute >= MINUTES - CALM_MINUTES;
      if (minute === MINUTES - CALM_MINUTES) this.calm();
      if (minute >= 3 && !calm && this.random() < 0.35) this.order();
      if (!calm) this.swing();
      if (!calm && this.faulty) this.strike();
      await this.virtual.run(MINUTE_MS);
    }
    const used = this.virtual.site.watts('grid') / this.able('grid');
    this.virtual.stop();
    return {
      overs: [...this.over].map(
        ([id, { seconds, share }]) => `${id} ${seconds.toFixed(1)} s by ${(share * 100).toFixed(2)} %`,
      ),
      seconds: Math.max(0, ...[...this.over.values()].map(({ seconds }) => seconds)),
      share: Math.max(0, ...[...this.over.values()].map(({ share }) => share)),
      used,
      switches: this.switches / this.site.miners,
      replay: this.replay(),
    };
  }

  /** Looks at the true power of every limit, ten times a second. */
  private judge(now: number): void {
    const leased = new Set(this.virtual.orders.book.leases.map((lease) => lease.limit));
    for (const { id, ratingWatts } of this.site.limits) {
      const held = this.held.get(id)!;
      // Its order has ended.
      if (held.watts < ratingWatts && !leased.has(id)) this.hold(id, ratingWatts, now, 0);
      const { watts, fromMs, toldWatts } = this.held.get(id)!;
      const excess = this.virtual.site.watts(id) - watts - Math.max(toldWatts, this.namedWatts(id));
      if (now < fromMs || excess <= 1) continue;
      const { seconds, share } = this.over.get(id) ?? { seconds: 0, share: 0 };
      this.over.set(id, { seconds: seconds + 0.1, share: Math.max(share, excess / watts) });
    }
    for (const [id, miner] of this.virtual.miners) {
      const works = miner.powerWatts > 500;
      if (this.works.has(id) && this.works.get(id) !== works) this.switches += 1;
      this.works.set(id, works);
    }
  }

  /**
   * With faults: what the agent says now that nothing it commands can take off. A machine that ignores its order on a
   * breaker of few was not known when the order was answered.
   */
  private namedWatts(id: string): number {
    if (!this.faulty) return 0;
    const { shortfalls = [] } = this.virtual.controller.lastResult?.decision ?? {};
    return shortfalls.find(({ target }) => target === id)?.watts ?? 0;
  }

  private hold(id: string, watts: number, fromMs: number, toldWatts: number): void {
    this.held.set(id, { watts, fromMs, toldWatts });
  }

  private order(): void {
    const { random, virtual } = this;
    const limit = pick(this.site.limits, random);
    const now = virtual.clock.monotonicMs();
    const dice = random();
    if (dice < 0.12)
      virtual.order('prices', { energyDollarsPerMwh: pick([-20, 5, 40, 75, 120, 400], random) });
    else if (dice < 0.18) virtual.order('hold', { target: pick([...virtual.miners.keys()], random) });
    else if (dice < 0.28) this.setPoint(limit);
    else if (dice < 0.45) {
      if (virtual.order('restore', { limit: limit.id }).status === 'accepted')
        this.hold(limit.id, limit.ratingWatts, now, 0);
    } else {
      const watts = Math.round(limit.ratingWatts * (0.25 + 0.75 * random()));
      const withinMs = pick([30_000, 60_000], random);
      const answer = virtual.order('set_limit', { limit: limit.id, watts, withinMs });
      if (answer.status === 'accepted')
        this.hold(limit.id, watts, now + withinMs, answer.shortfallWatts ?? 0);
    }
  }

  /** What is held at is judged by the scenarios of set points; here the rating is. */
  private setPoint(limit: RandomLimit): void {
    const targetWatts = Math.round(limit.ratingWatts * (0.3 + 0.6 * this.random()));
    const ramp = this.random() < 0.5 ? { rampWattsPerMinute: Math.round(limit.ratingWatts / 10) } : {};
    const bandWatts = Math.round(targetWatts * 0.03);
    const answer = this.virtual.order('set_point', { limit: limit.id, targetWatts, bandWatts, ...ramp });
    if (answer.status === 'accepted' || answer.status === 'running')
      this.hold(limit.id, limit.ratingWatts, this.virtual.clock.monotonicMs(), 0);
  }

  private swing(): void {
    for (const node of this.virtual.nodes.values())
      if (this.random() < 0.3) node.setUtilization(this.random());
  }

  private strike(): void {
    const { random, virtual } = this;
    const miners = [...virtual.miners.values()];
    if (random() < 0.02) {
      virtual.restart();
      this.restarted = true;
    }
    if (random() < 0.05) {
      const miner = pick(miners, random);
      miner.supply(false);
      if (random() < 0.7) virtual.clock.after(3 * MINUTE_MS, () => miner.supply(true));
    }
    if (random() < 0.04) {
      const meter = `m-${
        pick(
          this.site.limits.filter(({ metered }) => metered),
          random,
        ).id
      }`;
      virtual.meterFaults.set(meter, { silent: true });
      virtual.clock.after(2 * MINUTE_MS, () => virtual.meterFaults.delete(meter));
    }
    if (random() < 0.02) {
      for (const miner of miners) miner.starve(true);
      virtual.clock.after(2 * MINUTE_MS, () => {
        for (const miner of miners) miner.starve(false);
      });
    }
  }

  private calm(): void {
    const now = this.virtual.clock.monotonicMs();
    this.virtual.order('prices', { energyDollarsPerMwh: 40 });
    for (const { id, ratingWatts } of this.site.limits) {
      this.virtual.order('restore', { limit: id });
      this.hold(id, ratingWatts, now, 0);
    }
    for (const { target } of this.virtual.orders.book.holds) this.virtual.order('release', { target });
    for (const node of this.virtual.nodes.values()) node.setUtilization(1);
  }

  /** The most that can flow through a limit, in watts: what hangs there, under its own ratings. */
  private able(id: string): number {
    const limit = this.site.limits.find((candidate) => candidate.id === id)!;
    const below = this.site.limits.filter(({ parent }) => parent === id);
    const loads = limit.fullWatts - below.reduce((sum, child) => sum + child.fullWatts, 0);
    const full =
      below.length === 0
        ? limit.fullWatts
        : loads * 0.55 + below.reduce((sum, child) => sum + this.able(child.id), 0);
    return Math.min(limit.ratingWatts, full);
  }

  /** What differs when the journal is replayed; `null`: nothing, or the agent did not live through. */
  private replay(): string | null {
    this.journal?.close();
    let said: string | null = null;
    if (!this.restarted) {
      const database = openForReading(join(this.folder, JOURNAL_FILE));
      const { difference, agreed } = replayJournal(database);
      database.close();
      if (difference !== null) said = `replay differs: ${JSON.stringify(difference).slice(0, 200)}`;
      else if (agreed < 3000) said = `only ${agreed} cycles were replayed`;
    }
    rmSync(this.folder, { recursive: true, force: true });
    return said;
  }
}

function faultsOf(random: () => number): MinerFaults {
  const draw = random();
  const base: MinerFaults = { driftShare: 0.03, restartsPerHour: 0.05, losesAnswers: 0.03 };
  if (draw < 0.04) return { ...base, disobeys: true };
  return draw < 0.06 ? { ...base, lies: 0.9 + 0.2 * random() } : base;
}
