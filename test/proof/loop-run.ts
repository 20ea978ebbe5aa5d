import { seededRandom } from '../../protocols/random.ts';
import { minerTraits } from '../../simulator/miners/traits.ts';
import { type MinerTraits, SimulatedMiner, SimulatedSite } from '../../simulator/physics.ts';
import { traitsOf } from '../support/virtual-drivers.ts';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

/**
 * One run of the whole loop against physics in virtual time: a site of some hundred miners under three feeders,
 * meters two seconds late, one in ten miners disobedient, three in a hundred dead at some moment, restarts, drift,
 * liars, lost answers, a pool outage that returns every miner in the same second, and a restart of the agent. The
 * limit falls by 40 %, comes back, and moves in steps. The judge is the true power, never the agent's books.
 */

export const MIXES = {
  fast: ['whatsminer', 'whatsminer', 'whatsminer'],
  slow: ['bitmain', 'bitmain', 'bitmain'],
  mixed: ['luxos', 'bitmain', 'whatsminer'],
} as const;
export type Mix = keyof typeof MIXES;

const MODELS = {
  luxos: 'Antminer S19k Pro',
  bitmain: 'Antminer S21',
  whatsminer: 'Whatsminer M60S',
} as const;

const DEADLINE_MS = 30_000;
const MINUTE_MS = 60_000;
/** When the limit changes, and to which share of the rating. */
const STEPS: readonly (readonly [minute: number, share: number])[] = [
  [10, 0.6],
  [25, 1],
  [40, 0.75],
  [50, 0.78],
  [60, 1],
];
const END_MINUTE = 80;

/** What one run came to. */
export interface Verdict {
  /** Seconds over the limit in force after its deadline, where no shortfall was told. */
  overSeconds: number;
  /** Seconds over a limit that had been met before. */
  againSeconds: number;
  /** Seconds over a feeder's rating. */
  feederSeconds: number;
  worstOverWatts: number;
  /** From each fall of the limit until it is met. */
  readonly metMs: number[];
  told: number;
  usedWattSeconds: number;
  allowedWattSeconds: number;
  switches: number;
}

interface Site {
  readonly ratingWatts: number;
  readonly config: string;
}

function siteOf({ mix, count, coolingShare }: LoopJob): Site {
  const each = Math.floor(count / 3);
  const feeders = MIXES[mix].map((family) => ({
    family,
    watts: minerTraits(MODELS[family]).normalWatts * each,
  }));
  const cooling = Math.round(feeders.reduce((sum, { watts }) => sum + watts, 0) * coolingShare);
  // The connection carries a little less than everything at once: there is always something to decide.
  const ratingWatts = Math.round(feeders.reduce((sum, { watts }) => sum + watts, cooling) * 0.97);
  const lines = [
    'site: { id: proof }',
    'limits:',
    `  - { id: grid, rating: ${ratingWatts}, meter: gm, authority: full }`,
    ...feeders.map(
      ({ watts }, index) =>
        `  - { id: f${index}, parent: grid, rating: ${Math.round(watts * 1.06)}, meter: m${index} }`,
    ),
    ...(cooling === 0 ? [] : [`loads: [{ id: cooling, limit: grid, worst: ${cooling} }]`]),
    'meters:',
    ...['gm', 'm0', 'm1', 'm2'].map(
      (id, unit) =>
        `  - { id: ${id}, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: ${unit + 1} } }`,
    ),
    'miners:',
    ...feeders.map(
      ({ family }, index) =>
        `  - { id: f${index}m, limit: f${index}, hosts: [10.${index}.0.1-10.${index}.${each >> 8}.${each & 255}], firmware: ${family}, model: "${MODELS[family]}" }`,
    ),
    // Feeders without inrush to be spared, meters that are right to some tenths of a per cent.
    `control: { restoreRampPercentPerMinute: 100, wakesPerTenSeconds: ${Math.max(100, Math.round(count / 5))}, overshedPercent: 8, reserve: 0.5, driftPercent: 1 }`,
  ];
  return { ratingWatts, config: lines.join('\n') };
}

/** What is wrong with each miner, drawn in order: disobedient, liar, the rest restarts and drifts. */
function faultsOf(random: () => number) {
  const draw = random();
  if (draw < 0.1) return { disobeys: true, driftShare: 0.04 };
  const base = { restartsPerHour: 0.01, driftShare: 0.04, losesAnswers: 0.02 };
  return draw < 0.12 ? { ...base, lies: 0.9 + 0.2 * random() } : base;
}

/** Wakes of 20 to 60 s, then a rise of 2 to 7 minutes that ends 8 % over its target. */
function traitsFor(traits: MinerTraits, random: () => number): MinerTraits {
  return {
    ...traits,
    wakeDelayMs: [20_000, 60_000],
    wakeRampMs: 120_000 + 300_000 * random(),
    overshoot: 1.08,
  };
}

/** One run: which miners, how many, and whether meters fail as well. */
export interface LoopJob {
  readonly mix: Mix;
  /** A multiple of three: there are three feeders. */
  readonly count: number;
  readonly seed: number;
  /** The grid's meter is silent and freezes for some minutes, and so does one feeder's. */
  readonly failingMeters: boolean;
  /** An uncontrolled load, at worst this share of the miners; it draws 60 % of that. */
  readonly coolingShare: number;
}

/** The agent, and two other controls on the same seed. */
export interface LoopResult {
  readonly ledger: Verdict;
  readonly headroom: Verdict;
  readonly told: Verdict;
}

export async function runLoop(job: LoopJob): Promise<LoopResult> {
  return {
    ledger: await runAgent(job),
    headroom: runOther('headroom', job),
    told: runOther('told', job),
  };
}

/** What goes wrong with the site in a run, in virtual minutes. */
interface Mishaps {
  readonly deaths: readonly { readonly minute: number; readonly index: number }[];
  readonly outageMinute: number;
  readonly outageMs: number;
  readonly restartMinute: number;
  readonly meters: readonly MeterMishap[];
}

/** A meter shows nothing, or the same, for some minutes. */
interface MeterMishap {
  readonly meter: string;
  readonly fault: 'silent' | 'frozen';
  readonly minute: number;
  readonly minutes: number;
}

function mishapsOf({ seed, count, failingMeters }: LoopJob): Mishaps {
  const random = seededRandom(seed * 7919);
  return {
    deaths: Array.from({ length: Math.round(count * 0.03) }, () => ({
      minute: 2 + Math.floor(random() * 70),
      index: Math.floor(random() * count),
    })),
    outageMinute: 28 + Math.floor(random() * 8),
    outageMs: 60_000 + Math.floor(random() * 120_000),
    restartMinute: 64 + Math.floor(random() * 8),
    meters: failingMeters ? meterMishapsOf(random) : [],
  };
}

/** The grid's meter fails both ways, and a feeder's in one: half a minute to some minutes, at any moment, also in a fall. */
function meterMishapsOf(random: () => number): MeterMishap[] {
  const minutes = () => 1 + Math.floor(random() * 6);
  const feeder = `m${Math.floor(random() * 3)}`;
  return [
    { meter: 'gm', fault: 'silent', minute: 5 + Math.floor(random() * 25), minutes: minutes() },
    { meter: 'gm', fault: 'frozen', minute: 42 + Math.floor(random() * 25), minutes: minutes() },
    {
      meter: feeder,
      fault: random() < 0.5 ? 'silent' : 'frozen',
      minute: 5 + Math.floor(random() * 60),
      minutes: minutes(),
    },
  ];
}

async function runAgent(job: LoopJob): Promise<Verdict> {
  const { seed } = job;
  const { ratingWatts, config } = siteOf(job);
  const virtual = startVirtualSite({
    seed,
    config,
    traits: traitsFor,
    faults: (_id, random) => faultsOf(random),
  });
  const verdict = newVerdict();
  const judge = judgeOf(verdict, ratingWatts, virtual.site, [...virtual.miners.values()]);
  virtual.watch = judge.watch;
  const mishaps = mishapsOf(job);
  for (let minute = 0; minute < END_MINUTE; minute += 1) {
    const step = STEPS.find(([at]) => at === minute);
    if (step !== undefined) order(virtual, judge, ratingWatts, step[1]);
    strike(virtual, mishaps, minute);
    await virtual.run(MINUTE_MS);
  }
  verdict.switches = judge.switches();
  virtual.stop();
  return verdict;
}

function order(virtual: VirtualSite, judge: Judge, ratingWatts: number, share: number): void {
  const watts = Math.round(ratingWatts * share);
  const answer = virtual.order('set_limit', { limit: 'grid', watts, withinMs: DEADLINE_MS });
  if (answer.status !== 'accepted') throw new Error(`set_limit: ${JSON.stringify(answer)}`);
  judge.limit(watts, virtual.clock.monotonicMs(), (answer.shortfallWatts ?? 0) > 0);
}

function strike(virtual: VirtualSite, mishaps: Mishaps, minute: number): void {
  const miners = [...virtual.miners.values()];
  for (const death of mishaps.deaths) if (death.minute === minute) miners[death.index]!.supply(false);
  if (minute === mishaps.outageMinute) {
    for (const miner of miners) miner.starve(true);
    virtual.clock.after(mishaps.outageMs, () => {
      for (const miner of miners) miner.starve(false);
    });
  }
  for (const { meter, fault, minute: from, minutes } of mishaps.meters) {
    if (minute === from) virtual.meterFaults.set(meter, { [fault]: true });
    if (minute === from + minutes) virtual.meterFaults.delete(meter);
  }
  if (minute === mishaps.restartMinute) virtual.restart();
}

interface Judge {
  watch(nowMs: number): void;
  limit(watts: number, nowMs: number, told: boolean): void;
  /** Times that a miner went from work to sleep or back. */
  switches(): number;
}

function newVerdict(): Verdict {
  return {
    overSeconds: 0,
    againSeconds: 0,
    feederSeconds: 0,
    worstOverWatts: 0,
    metMs: [],
    told: 0,
    usedWattSeconds: 0,
    allowedWattSeconds: 0,
    switches: 0,
  };
}

/** Looks at the true power ten times a second. */
function judgeOf(
  verdict: Verdict,
  ratingWatts: number,
  site: SimulatedSite,
  miners: readonly SimulatedMiner[],
): Judge {
  let limitWatts = ratingWatts;
  let since = 0;
  let shortfallTold = false;
  let metAt: number | null = 0;
  let switches = 0;
  let ableWatts = 0;
  let countedAt = -1000;
  const worked = miners.map(() => true);
  const feederRatings = site.limits
    .filter((limit) => limit.parent !== null)
    .map((limit, index) => {
      const each = miners.length / 3;
      const watts = miners
        .slice(index * each, (index + 1) * each)
        .reduce((s, m) => s + m.traits.normalWatts, 0);
      return [limit.id, Math.round(watts * 1.06)] as const;
    });
  const count = () => {
    ableWatts = 0;
    for (const [index, miner] of miners.entries()) {
      if (!miner.faults.dead && !miner.isStarved) ableWatts += miner.traits.normalWatts;
      const works = miner.state === 'hashing' || miner.state === 'starting';
      if (works !== worked[index]) switches += 1;
      worked[index] = works;
    }
  };
  return {
    watch: (nowMs) => {
      const watts = site.watts('grid');
      const over = watts - limitWatts;
      // Nobody sleeps and works again within a second.
      if (nowMs - countedAt >= 1000) {
        countedAt = nowMs;
        count();
      }
      verdict.usedWattSeconds += Math.min(watts, limitWatts) * 0.1;
      verdict.allowedWattSeconds += Math.min(limitWatts, ableWatts * 1.02) * 0.1;
      if (over <= 0) {
        if (metAt === null) {
          metAt = nowMs;
          verdict.metMs.push(nowMs - since);
        }
      } else {
        verdict.worstOverWatts = Math.max(verdict.worstOverWatts, nowMs - since > DEADLINE_MS ? over : 0);
        if (nowMs - since > DEADLINE_MS && !shortfallTold) verdict.overSeconds += 0.1;
        if (metAt !== null && nowMs - since > DEADLINE_MS) verdict.againSeconds += 0.1;
      }
      for (const [id, rating] of feederRatings) if (site.watts(id) > rating) verdict.feederSeconds += 0.1;
    },
    limit: (watts, nowMs, told) => {
      if (watts < limitWatts) metAt = null;
      if (told) verdict.told += 1;
      shortfallTold = told;
      limitWatts = watts;
      since = nowMs;
    },
    switches: () => switches,
  };
}

/**
 * Other controls for comparison; least efficient asleep first when over, most efficient awake first when under.
 * `headroom` is the field's usual loop: every second, what the meter shows against the limit, nothing kept of what is under
 * way. `told` knows who obeys, who is dead and what each draws at full power, waits for no meter, keeps no reserve, and wakes
 * at the moment that the limit rises: what it does not use, hardly anybody without foresight can.
 */
function runOther(by: 'headroom' | 'told', job: LoopJob): Verdict {
  const { mix, count, seed } = job;
  const { ratingWatts } = siteOf(job);
  const random = seededRandom(seed);
  const each = Math.floor(count / 3);
  const cooling = minersWatts(mix, each) * job.coolingShare * 0.6;
  const site = new SimulatedSite([
    { id: 'grid', parent: null, gain: 1, loadWatts: () => cooling },
    ...MIXES[mix].map((_family, index) => ({ id: `f${index}`, parent: 'grid', gain: 1, loadWatts: () => 0 })),
  ]);
  const miners = MIXES[mix].flatMap((family, feeder) =>
    Array.from({ length: each }, (_, index) => {
      const traits = traitsFor(traitsOf(MODELS[family], family), random);
      const number = feeder * each + index;
      const miner = new SimulatedMiner(
        `m${number}`,
        traits,
        seededRandom(seed * 1000 + number),
        faultsOf(random),
      );
      site.place(`f${feeder}`, miner);
      return miner;
    }),
  );
  const verdict = newVerdict();
  const judge = judgeOf(verdict, ratingWatts, site, miners);
  const mishaps = mishapsOf(job);
  const wanted = miners.map(() => true);
  const ranked = miners
    .map((miner, index) => ({
      miner,
      index,
      joules: miner.traits.normalWatts / miner.traits.normalHashrateThs,
    }))
    .sort((a, b) => b.joules - a.joules);
  let limitWatts = ratingWatts;
  let outageEnds = Number.POSITIVE_INFINITY;
  for (let tick = 0; tick < END_MINUTE * 600; tick += 1) {
    const now = tick * 100;
    if (now % MINUTE_MS === 0) {
      const minute = now / MINUTE_MS;
      const step = STEPS.find(([at]) => at === minute);
      if (step !== undefined) {
        limitWatts = Math.round(ratingWatts * step[1]);
        judge.limit(limitWatts, now, false);
      }
      for (const death of mishaps.deaths) if (death.minute === minute) miners[death.index]!.supply(false);
      if (minute === mishaps.outageMinute) {
        for (const miner of miners) miner.starve(true);
        outageEnds = now + mishaps.outageMs;
      }
    }
    if (now >= outageEnds) {
      for (const miner of miners) miner.starve(false);
      outageEnds = Number.POSITIVE_INFINITY;
    }
    site.advance(now);
    judge.watch(now);
    if (now % 1000 !== 0) continue;
    let excess = -limitWatts;
    if (by === 'headroom') excess += site.watts('grid', 2000);
    else excess += cooling + planned(miners, wanted);
    for (const { miner, index } of ranked) {
      if (excess <= 0) break;
      if (!wanted[index] || miner.faults.dead) continue;
      wanted[index] = false;
      miner.sleep();
      excess -= miner.traits.normalWatts;
    }
    for (const { miner, index } of ranked.toReversed()) {
      if (wanted[index] || miner.faults.dead || excess + miner.traits.normalWatts > 0) continue;
      wanted[index] = true;
      miner.run(null);
      excess += miner.traits.normalWatts;
    }
  }
  verdict.switches = judge.switches();
  return verdict;
}

/** Watts once all that are wanted are at full power: those that obey when wanted, the others always. */
function planned(miners: readonly SimulatedMiner[], wanted: readonly boolean[]): number {
  return miners.reduce((sum, miner, index) => {
    const draws = !miner.faults.dead && (wanted[index] || miner.faults.disobeys);
    return sum + (draws ? miner.traits.normalWatts : miner.faults.dead ? 0 : miner.traits.sleepWatts);
  }, 0);
}

function minersWatts(mix: Mix, each: number): number {
  return MIXES[mix].reduce((sum, family) => sum + minerTraits(MODELS[family]).normalWatts * each, 0);
}
