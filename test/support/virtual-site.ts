import {
  type ControlCycle,
  type ControlJournal,
  Controller,
  promise,
} from '../../agent/control/controller.ts';
import { explain } from '../../agent/control/explain.ts';
import { NodeDrains } from '../../agent/control/node-drains.ts';
import type { Polisher } from '../../agent/control/polisher.ts';
import { Poller } from '../../agent/control/poller.ts';
import { economicsOf, stepContext } from '../../agent/control/rules.ts';
import type { ControlState } from '../../agent/control/step.ts';
import { transferFacts } from '../../agent/control/transfer-evidence.ts';
import { TransferService } from '../../agent/control/transfer-service.ts';
import type { OrderAnswer } from '../../agent/orders/book.ts';
import { EMPTY_BOOK } from '../../agent/orders/book.ts';
import { OrderService } from '../../agent/orders/service.ts';
import type { SiteRecord } from '../../agent/record/site-record.ts';
import { type Condition, conditionsOf } from '../../agent/site/alarms.ts';
import { groupByCause, placesOf } from '../../agent/site/first-cause.ts';
import { buildSiteModel, type SiteModel } from '../../agent/site/model.ts';
import { SiteState } from '../../agent/site/state.ts';
import { buildView } from '../../agent/site/view.ts';
import { pathsOf } from '../../agent/site-lookups.ts';
import { recoverState } from '../../agent/store/recover.ts';
import { type LoadedConfig, loadConfigText } from '../../config/load.ts';
import type { DrainDriver } from '../../drivers/gpu/drain.ts';
import type { LoadDriver, LoadReading, MeterReading } from '../../drivers/load-driver.ts';
import { seededRandom } from '../../protocols/random.ts';
import type { Result } from '../../protocols/result.ts';
import {
  type MinerFaults,
  type MinerTraits,
  SimulatedGpuNode,
  SimulatedMiner,
  SimulatedSite,
} from '../../simulator/physics.ts';
import { meterReading } from './readings.ts';
import { VirtualClock } from './virtual-clock.ts';
import { FAMILY_TIMING, type Family, traitsOf, virtualMiner, virtualNode } from './virtual-drivers.ts';

/**
 * The whole control side of the agent (pollers, site state, orders, controller) against simulated physics in
 * virtual time. Devices answer with the delays and habits of their firmware families; meters lag. The judge is
 * the physics: `watch` looks at true watts ten times a second.
 */
export interface VirtualSite {
  readonly clock: VirtualClock;
  readonly site: SimulatedSite;
  readonly miners: ReadonlyMap<string, SimulatedMiner>;
  readonly nodes: ReadonlyMap<string, SimulatedGpuNode>;
  /** The controller of the agent's present life. */
  readonly controller: Controller;
  readonly orders: OrderService;
  readonly transfers: TransferService;
  readonly answers: OrderAnswer[];
  /** Miners at whose address another MAC answers now. */
  readonly strangers: Set<string>;
  /** Miners that go on working and answer nobody: their switch is dead. */
  readonly unreachable: Set<string>;
  /** Commands handed to drivers so far. */
  applied(): number;
  readonly meterFaults: Map<string, { frozen?: boolean; factor?: number; silent?: boolean }>;
  /** What `explain` says of a target now. */
  explain(target: string): readonly string[];
  /** Conditions of the last cycle. */
  conditions(): readonly Condition[];
  /** Runs `ms` of virtual time. */
  run(ms: number): Promise<void>;
  order(type: string, args: Record<string, unknown>, more?: Record<string, unknown>): OrderAnswer;
  /** Switches a GPU node on. */
  energise(id: string): void;
  /** Called ten times a second with true watts. */
  watch: (nowMs: number) => void;
  /** The agent dies and starts again: what its journal knows is kept, every reading is lost. */
  restart(): void;
  stop(): void;
}

export interface VirtualOptions {
  readonly seed: number;
  readonly config: string;
  readonly meterLagMs?: number;
  /** Workload managers by node. */
  readonly drains?: (clock: VirtualClock) => ReadonlyMap<string, DrainDriver>;
  /** GPU nodes that are off at the start. */
  readonly offNodes?: readonly string[];
  /** Wall time at the start. */
  readonly epochMs?: number;
  /** Range of the GPU caps, and the caps that nodes are found with; default: 200 to 700 W, 700 W. */
  readonly gpu?: { readonly minWatts: number; readonly maxWatts: number; readonly foundWatts: number };
  /** Takes cycles and orders in as the agent's record does. */
  readonly record?: (loaded: LoadedConfig, model: SiteModel, clock: VirtualClock) => SiteRecord;
  /** Where the controller writes down what it does; default: nowhere. */
  readonly journal?: (clock: VirtualClock) => ControlJournal;
  /** What searches on between the cycles; default: nothing does. */
  readonly polisher?: (clock: VirtualClock) => Pick<Polisher, 'found' | 'offer'>;
  /** Other physics than the family's own. */
  readonly traits?: (traits: MinerTraits, random: () => number) => MinerTraits;
  /** Faults by device id. */
  readonly faults?: (id: string, random: () => number) => MinerFaults;
  /** Share of the power through a limit on its fullest phase; default: a third, all are equal. */
  readonly fullestPhase?: (limit: string) => number;
  /** Uncontrolled load by its id: true watts over time. */
  readonly load?: (id: string, worst: number, nowMs: number) => number;
}

export function startVirtualSite(options: VirtualOptions): VirtualSite {
  const clock = new VirtualClock(options.epochMs, false);
  const random = seededRandom(options.seed);
  const loaded = loadConfigText(options.config);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const { config } = loaded.value;
  const model = buildSiteModel(config, loaded.value.miners);
  const site = new SimulatedSite(
    model.limits.map((limit) => ({
      id: limit.id,
      parent: limit.parent,
      gain: limit.gain,
      loadWatts: (now) =>
        model.loads
          .filter((load) => load.limit === limit.id)
          .reduce(
            (sum, load) => sum + (options.load?.(load.id, load.worstWatts, now) ?? load.worstWatts * 0.6),
            0,
          ),
    })),
  );
  const strangers = new Set<string>();
  const unreachable = new Set<string>();
  let applied = 0;
  const counted = (driver: LoadDriver): LoadDriver => ({
    ...driver,
    apply: (command, signal) => {
      applied += 1;
      return driver.apply(command, signal);
    },
  });
  const miners = new Map<string, SimulatedMiner>();
  const nodes = new Map<string, SimulatedGpuNode>();
  const drivers = new Map<string, LoadDriver>();
  for (const [index, place] of loaded.value.miners.entries()) {
    const family = (place.entry.firmware in FAMILY_TIMING ? place.entry.firmware : 'luxos') as Family;
    const miner = new SimulatedMiner(
      place.deviceId,
      options.traits?.(traitsOf(place.entry.model, family), random) ?? traitsOf(place.entry.model, family),
      seededRandom(options.seed * 1000 + index),
      options.faults?.(place.deviceId, random) ?? {},
    );
    miners.set(place.deviceId, miner);
    site.place(place.entry.limit, miner);
    const driver = virtualMiner(miner, family, place.entry.model, clock, random, {
      stranger: () => strangers.has(place.deviceId),
      silent: () => miner.faults.dead === true || unreachable.has(place.deviceId),
      losesAnswer: () => random() < (miner.faults.losesAnswers ?? 0),
    });
    drivers.set(place.deviceId, counted(driver));
  }
  const off = new Set(options.offNodes ?? []);
  for (const node of config.gpuNodes) {
    const gpus = Array.from({ length: 8 }, (_, index) => ({
      uuid: `GPU-${node.id}-${index}`,
      name: 'NVIDIA H100 80GB HBM3',
      minLimitWatts: options.gpu?.minWatts ?? 200,
      maxLimitWatts: options.gpu?.maxWatts ?? 700,
      idleWatts: 70,
      limitWatts: options.gpu?.foundWatts ?? 700,
      utilization: 0,
    }));
    const simulated = new SimulatedGpuNode(
      node.id,
      gpus,
      node.hostWatts ?? 2000,
      seededRandom(options.seed + 99),
    );
    nodes.set(node.id, simulated);
    // A node that is off draws nothing and answers nobody until it is energised.
    simulated.dead = off.has(node.id);
    site.place(node.limit, {
      advance: (now) => simulated.advance(now),
      get powerWatts() {
        return off.has(node.id) ? 0 : simulated.powerWatts;
      },
    });
    drivers.set(node.id, virtualNode(simulated, clock, random));
  }
  const stop = new AbortController();
  const newState = () =>
    new SiteState(model, {
      meterStaleMs: config.control.staleAfter,
      deviceStaleMs: config.control.deviceStaleAfter,
    });
  let state = newState();
  const poller = new Poller(clock, random, { concurrency: 48, maximumBackoffMs: 120_000 }, stop.signal);
  const context = stepContext(config, model);
  const newController = (restored: ControlState | null) => {
    const made = new Controller(
      {
        model,
        context,
        clock,
        drivers,
        stop: stop.signal,
        dryRun: false,
        deviceStaleMs: config.control.deviceStaleAfter,
        journal: options.journal?.(clock) ?? null,
        hurry: (id) => poller.hurry(id),
        ...(options.polisher === undefined ? {} : { polisher: options.polisher(clock) }),
      },
      restored,
    );
    made.gpusOf = (id) =>
      (nodes.get(id)?.gpus ?? []).map((gpu) => ({
        uuid: gpu.uuid,
        minWatts: gpu.minLimitWatts,
        maxWatts: gpu.maxLimitWatts,
      }));
    return made;
  };
  let controller = newController(null);
  const meterFaults: VirtualSite['meterFaults'] = new Map();
  const record = options.record?.(loaded.value, model, clock) ?? null;
  /** Energy counters of the meters, in watt-hours. */
  const counters = new Map(model.meters.map((meter) => [meter.id, 5_000_000]));
  const answers: OrderAnswer[] = [];
  const orders = new OrderService(
    {
      site: model.siteId,
      limits: model.limits,
      pathsOf: (target) => pathsOf(model, target),
      issuers: config.issuers,
      localControl: false,
      now: () => clock.epochMs(),
      monotonic: () => clock.monotonicMs(),
      clockSynchronised: () => true,
      drawWatts: (limit) => site.watts(limit),
      baselineWatts: (limit) => site.watts(limit),
      alarm: () => null,
      keyOf: () => null,
    },
    {
      answer: (answer) => {
        answers.push(answer);
        record?.answer(answer);
      },
      received: (id, raw) => record?.order(id, raw, 'local', clock.epochMs()),
      persist: () => true,
      decideNow: (lease) => {
        cycle();
        return promise(controller.lastResult!, lease, context, clock.monotonicMs());
      },
      snapshot: () => undefined,
      released: (target) => controller.intervene({ kind: 'release', device: target, why: 'released' }),
      delegate: (order, answer) => transfers.order(order, answer),
    },
    EMPTY_BOOK,
  );
  const drainPoller = new Poller(clock, random, { concurrency: 8, maximumBackoffMs: 60_000 }, stop.signal);
  const drains = new NodeDrains(options.drains?.(clock) ?? new Map(), {
    clock,
    stop: stop.signal,
    dryRun: false,
    hurry: (id) => drainPoller.hurry(id),
  });
  drainPoller.add(drains.targets(), 1000);
  const transfers = new TransferService(
    transferFacts(config, model, context),
    {
      persist: (kept) => orders.keepTransfers(kept),
      answer: (answer) => orders.conclude(answer),
      publish: () => undefined,
      clear: () => undefined,
      drains,
    },
    null,
    { now: clock.monotonicMs(), epochMs: clock.epochMs() },
  );
  let conditions: readonly Condition[] = [];
  let inForce: ControlCycle['inForce'] = new Map();
  const cycle = () => {
    const snapshot = state.freeze(clock.monotonicMs(), clock.epochMs());
    const control = controller.cycle(snapshot, orders.book, economicsOf(config, orders.book.prices), {
      shedOnly: false,
      deadlineAt: (id) => orders.deadlineAt(id),
      ...transfers.permits(),
    });
    inForce = control.inForce;
    transfers.cycle(context, control.result, (limit) => control.inForce.get(limit)!.watts, snapshot.epochMs);
    orders.cycle(
      (limit) => {
        const meter = snapshot.meters.find((candidate) => candidate.limit === limit);
        return meter?.quality === 'good' && meter.reading?.powerWatts != null
          ? { watts: meter.reading.powerWatts, sampledAt: meter.reading.sampledAt }
          : null;
      },
      (limit) => control.worstWatts.get(limit) ?? null,
    );
    conditions = groupByCause(
      [...conditionsOf(model, snapshot), ...control.conditions, ...transfers.conditions()],
      () => placesOf(model, snapshot),
    );
    for (const event of [...state.drainEvents(), ...control.events, ...orders.drainEvents()])
      record?.event(event);
    record?.cycle(snapshot, orders.book.leases, control.result.decision.commands);
  };

  const lagMs = options.meterLagMs ?? 2000;
  poller.add(
    [...drivers.values()].map((driver) => ({
      id: driver.deviceId,
      intervalMs: nodes.has(driver.deviceId) ? 2000 : 5000,
      read: (signal: AbortSignal) => driver.read(signal),
      onResult: (result: Result<LoadReading>) => {
        if (result.ok) state.recordReading(driver.deviceId, result.value, clock.epochMs());
        else state.recordFailure(driver.deviceId, result.error, clock.epochMs());
      },
    })),
    3000,
  );
  const frozen = new Map<string, number>();
  const every = (ms: number, body: () => void) => {
    const again = () => {
      if (stop.signal.aborted) return;
      body();
      clock.after(ms, again);
    };
    clock.after(ms, again);
  };
  const virtual: VirtualSite = {
    clock,
    site,
    miners,
    nodes,
    get controller() {
      return controller;
    },
    orders,
    transfers,
    answers,
    meterFaults,
    strangers,
    unreachable,
    applied: () => applied,
    explain: (target) => {
      const snapshot = state.freeze(clock.monotonicMs(), clock.epochMs());
      const view = buildView(model, snapshot, {
        mode: 'normal',
        inForce,
        worstWatts: new Map(controller.lastResult?.decision.sums.map((sum) => [sum.limit, sum.worstWatts])),
        alarms: [],
      });
      return explain({
        target,
        model,
        snapshot,
        view,
        result: controller.lastResult,
        commands: controller.commandsOf(target),
        decisions: controller.recentDecisions(),
        holds: orders.book.holds,
      }).sentences;
    },
    conditions: () => conditions,
    run: (ms) => clock.advance(ms),
    order: (type, args, more = {}) =>
      orders.receiveLocal({
        v: 1,
        id: `order-${answers.length}-${clock.monotonicMs()}`,
        site: model.siteId,
        type,
        issuer: 'local',
        issued: clock.epochMs(),
        seq: 0,
        args,
        ...more,
      }),
    energise: (id) => {
      off.delete(id);
      nodes.get(id)!.dead = false;
      nodes.get(id)!.setUtilization(1);
    },
    watch: () => undefined,
    restart: () => {
      const last = controller.lastResult;
      const seen = state
        .freeze(clock.monotonicMs(), clock.epochMs())
        .devices.filter((device) => device.inventory !== 'expected')
        .map((device) => device.id);
      state = newState();
      state.restoreSeen(seen);
      const restored =
        last === null
          ? null
          : recoverState(
              {
                state: last.state,
                observation: null,
                ts: clock.epochMs(),
                now: clock.monotonicMs(),
                sent: [],
                damaged: false,
              },
              {
                meterStaleMs: config.control.staleAfter,
                epochMs: clock.epochMs(),
                monotonicMs: clock.monotonicMs(),
              },
            );
      controller = newController(restored);
      // A new life asks everybody at once, whoever had been given up.
      for (const device of model.devices) poller.hurry(device.id);
    },
    stop: () => stop.abort(),
  };
  site.advance(0);
  every(100, () => {
    site.advance(clock.monotonicMs());
    for (const meter of model.meters)
      if (meter.limit !== null)
        counters.set(meter.id, counters.get(meter.id)! + site.watts(meter.limit, lagMs) / 36_000);
    virtual.watch(clock.monotonicMs());
  });
  every(1000, () => {
    for (const meter of model.meters) {
      if (meter.limit === null) continue;
      const fault = meterFaults.get(meter.id) ?? {};
      if (fault.silent) {
        state.recordMeterFailure(
          meter.id,
          { kind: 'timeout', message: `${meter.id} did not answer` },
          clock.epochMs(),
        );
        continue;
      }
      const truth = site.watts(meter.limit, lagMs) * (fault.factor ?? 1) * (1 + (random() - 0.5) * 0.002);
      const shown = fault.frozen ? (frozen.get(meter.id) ?? truth) : truth;
      frozen.set(meter.id, shown);
      const importWattHours = fault.frozen ? null : Math.round(counters.get(meter.id)! * (fault.factor ?? 1));
      state.recordMeter(
        meter.id,
        meterReading(clock.monotonicMs(), Math.round(shown * 10) / 10, {
          importWattHours,
          ...currents(shown, options.fullestPhase?.(meter.limit) ?? 1 / 3),
        }),
      );
    }
  });
  clock.after(50, () => every(1000, cycle));
  return virtual;
}

/** Currents at 230 V; what is not on the fullest phase is shared by the two others. */
function currents(watts: number, fullest: number): Pick<MeterReading, 'currentAmps'> {
  const amps = (share: number) => Math.round(((watts * share) / 230) * 100) / 100;
  return { currentAmps: { l1: amps(fullest), l2: amps((1 - fullest) / 2), l3: amps((1 - fullest) / 2) } };
}
