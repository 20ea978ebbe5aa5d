import type { StepRecord } from '../../agent/control/controller.ts';
import type { Observation, ObservedDevice } from '../../agent/control/observation.ts';
import { type ControlState, INITIAL_STATE, type StepOrders, step } from '../../agent/control/step.ts';
import type { StepContext } from '../../agent/control/step-context.ts';
import { seededRandom } from '../../protocols/random.ts';
import { minerTraits } from '../../simulator/miners/traits.ts';
import { SimulatedMiner, SimulatedSite } from '../../simulator/physics.ts';

/** A site of simulated miners around `step`, without sockets: what the store's tests record and replay. */
export interface ControlSite {
  readonly context: StepContext;
  readonly miners: readonly SimulatedMiner[];
  readonly site: SimulatedSite;
  state: ControlState;
  nowMs: number;
  /** Watts in force at the root. */
  limitWatts: number;
  /** Commands are kept from their devices: the agent died before they left. */
  deaf: boolean;
  /** One second of physics, one cycle of control; commands reach the miners at once. */
  cycle(): StepRecord;
  /** Forgets every reading, as a new life of the agent does, and starts its clock at `nowMs`. */
  restart(state: ControlState | null, nowMs: number): void;
}

const POLL_MS = 5000;
export const SITE_START_MS = 1_790_000_000_000;

export function controlSite(count: number, seed: number, faulty = true): ControlSite {
  const random = seededRandom(seed);
  const traits = minerTraits('Antminer S19k Pro');
  const fast = { ...traits, wakeDelayMs: [4000, 12_000] as const, wakeRampMs: 20_000, changeRampMs: 8000 };
  const rating = Math.round(count * traits.normalWatts * 1.15) + 5000;
  const miners = Array.from(
    { length: count },
    (_, index) =>
      new SimulatedMiner(`m-${index}`, fast, seededRandom(seed * 31 + index), {
        ...(faulty && random() < 0.1 ? { disobeys: true } : {}),
        ...(faulty && random() < 0.1 ? { restartsPerHour: 20 } : {}),
      }),
  );
  const limits = ['grid', 'feeder-a', 'feeder-b'].map((id) => ({
    id,
    parent: id === 'grid' ? null : 'grid',
    gain: 1,
    ratingWatts: id === 'grid' ? rating : Math.round(rating * 0.7),
    ratingAmps: null,
    average: null,
    loadWorstWatts: id === 'grid' ? 4000 : 0,
    // One feeder without a meter: there the sum of the parts is all there is.
    metered: id !== 'feeder-b',
    authority: 'full' as const,
  }));
  const site = new SimulatedSite(
    limits.map(({ id, parent, gain }) => ({ id, parent, gain, loadWatts: () => (id === 'grid' ? 2000 : 0) })),
  );
  for (const [index, miner] of miners.entries()) site.place(index % 2 === 0 ? 'feeder-a' : 'feeder-b', miner);
  const context: StepContext = {
    limits,
    devices: miners.map((miner, index) => ({
      model: {
        id: miner.id,
        kind: 'miner',
        limit: index % 2 === 0 ? 'feeder-a' : 'feeder-b',
        entry: 'm',
        address: `m-${index}`,
        tenant: null,
        tags: [],
        location: null,
        nameplateWatts: null,
        hostWatts: null,
        modelName: 'Antminer S19k Pro',
        intervalMs: POLL_MS,
      },
      hostWatts: null,
      dollarsPerGpuHour: 0,
      cappable: false,
    })),
    floors: [],
    jobs: [],
    rules: {
      meterStaleMs: 5000,
      deviceStaleMs: 15_000,
      staleGraceMs: 30_000,
      meterLagMs: 2500,
      pollMs: POLL_MS,
      dwellMs: 30_000,
      leastSleepMs: 10_000,
      wakesPerHour: 60,
      wakesPerTenSeconds: 20,
      restoreHoldMs: 10_000,
      rampPercentPerMinute: 100,
      overshedShare: 0.05,
      driftShare: 0.02,
      reserveShare: 0.01,
      shareLimits: true,
      wholeRises: true,
      edition: 3,
    },
  };
  const readings = new Map<string, ObservedDevice>();
  let cycle = 0;
  // Physics go on while the agent is dead; only the agent's clock starts anew.
  let physicsMs = 0;
  const self: ControlSite = {
    context,
    miners,
    site,
    state: INITIAL_STATE,
    nowMs: 0,
    limitWatts: rating,
    deaf: false,
    restart: (state, nowMs) => {
      physicsMs += 1000;
      readings.clear();
      self.state = state ?? INITIAL_STATE;
      self.nowMs = nowMs;
    },
    cycle: () => {
      cycle += 1;
      self.nowMs += 1000;
      physicsMs += 1000;
      site.advance(physicsMs);
      const { nowMs } = self;
      for (const [index, miner] of miners.entries())
        if ((cycle + index) % (POLL_MS / 1000) === 0 && random() > 0.02)
          readings.set(miner.id, observed(miner, nowMs));
      const observation: Observation = {
        now: nowMs,
        meters: limits
          .filter((limit) => limit.metered)
          .map((limit) => ({
            limit: limit.id,
            powerWatts: Math.round(site.watts(limit.id) * (1 + 0.002 * (random() - 0.5))),
            quality: 'good',
            sampledAt: nowMs - 200,
          })),
        devices: miners.map((miner) => aged(readings.get(miner.id) ?? unseen(miner.id, self.state), nowMs)),
      };
      const orders: StepOrders = {
        economics: { hashpriceDollarsPerPhDay: 45, energyDollarsPerMwh: 40, poolFeePercent: 1 },
        inForce: { grid: { watts: self.limitWatts, deadlineAt: null } },
        shedOnly: false,
        reservedWatts: {},
        ceilings: {},
        interventions: [],
      };
      const before = self.state;
      const result = step(context, before, observation, orders);
      self.state = result.state;
      if (!self.deaf) {
        for (const command of result.decision.commands) {
          const miner = miners.find((candidate) => candidate.id === command.device)!;
          if (command.kind === 'sleep') miner.sleep();
          else miner.run(command.limitWatts);
        }
      }
      return { cycle, ts: SITE_START_MS + physicsMs, observation, orders, result, before, context };
    },
  };
  return self;
}

function observed(miner: SimulatedMiner, nowMs: number): ObservedDevice {
  const { state } = miner;
  return {
    id: miner.id,
    inventory: 'present',
    activity: state === 'sleeping' ? 'asleep' : state === 'starting' ? 'starting' : 'running',
    powerWatts: Math.round(miner.claimedWatts),
    reported: true,
    limitWatts: miner.limitWatts,
    requestedAt: nowMs - 40,
    sampledAt: nowMs - 20,
    fresh: true,
    failure: null,
    firmware: 'luxos',
    model: 'Antminer S19k Pro',
    nominalHashrateThs: 120,
    hashrateThs: Math.round(miner.hashrateThs * 10) / 10,
    control: {
      sleep: true,
      wake: true,
      powerLimit: { minWatts: 800, maxWatts: miner.traits.normalWatts, kind: 'watts' },
      sleepMs: 16_000,
      wakeMs: 40_000,
      changeMs: 10_000,
    },
    gpus: null,
    implausible: false,
  };
}

function unseen(id: string, state: ControlState): ObservedDevice {
  return {
    id,
    inventory: state.entries[id] === undefined ? 'expected' : 'present',
    activity: 'unknown',
    powerWatts: null,
    reported: false,
    limitWatts: null,
    requestedAt: null,
    sampledAt: null,
    fresh: false,
    failure: null,
    firmware: 'unknown',
    model: 'Antminer S19k Pro',
    nominalHashrateThs: null,
    hashrateThs: null,
    control: null,
    gpus: null,
    implausible: false,
  };
}

function aged(device: ObservedDevice, nowMs: number): ObservedDevice {
  return device.sampledAt === null ? device : { ...device, fresh: nowMs - device.sampledAt <= 15_000 };
}
