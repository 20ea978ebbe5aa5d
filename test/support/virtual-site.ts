import { type ControlJournal, Controller, promise } from '../../agent/control/controller.ts';
import { explain } from '../../agent/control/explain.ts';
import { Poller } from '../../agent/control/poller.ts';
import { economicsOf, stepContext } from '../../agent/control/rules.ts';
import { transferFacts } from '../../agent/control/transfer-evidence.ts';
import { TransferService } from '../../agent/control/transfer-service.ts';
import type { OrderAnswer } from '../../agent/orders/book.ts';
import { EMPTY_BOOK, limitsInForce } from '../../agent/orders/book.ts';
import { OrderService } from '../../agent/orders/service.ts';
import type { SiteRecord } from '../../agent/record/site-record.ts';
import { type Condition, conditionsOf } from '../../agent/site/alarms.ts';
import { buildSiteModel, type SiteModel } from '../../agent/site/model.ts';
import { SiteState } from '../../agent/site/state.ts';
import { buildView } from '../../agent/site/view.ts';
import { type LoadedConfig, loadConfigText } from '../../config/load.ts';
import { findMinerModel } from '../../config/miners/models.ts';
import { BITMAIN_TIMING, LUXOS_TIMING, WHATSMINER_TIMING } from '../../config/miners/timing.ts';
import type {
  Applied,
  Identity,
  LoadCommand,
  LoadDriver,
  LoadReading,
  MinerReading,
} from '../../drivers/load-driver.ts';
import { seededRandom } from '../../protocols/random.ts';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { minerTraits } from '../../simulator/miners/traits.ts';
import {
  type MinerFaults,
  type MinerTraits,
  SimulatedGpuNode,
  SimulatedMiner,
  SimulatedSite,
} from '../../simulator/physics.ts';
import { meterReading } from './readings.ts';
import { VirtualClock } from './virtual-clock.ts';

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
  readonly controller: Controller;
  readonly orders: OrderService;
  readonly transfers: TransferService;
  readonly answers: OrderAnswer[];
  /** Miners at whose address another MAC answers now. */
  readonly strangers: Set<string>;
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
  stop(): void;
}

export interface VirtualOptions {
  readonly seed: number;
  readonly config: string;
  readonly meterLagMs?: number;
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
  /** Faults by device id. */
  readonly faults?: (id: string, random: () => number) => MinerFaults;
  /** Uncontrolled load by its id: true watts over time. */
  readonly load?: (id: string, worst: number, nowMs: number) => number;
}

/** Stock firmware at its slowest: up to 30 s from the command until the draw is down. */
const STOCK_STOP_MS = [5000, 27_000] as const;

function traitsOf(model: string, family: Family): MinerTraits {
  const traits = minerTraits(model);
  return family === 'bitmain' ? { ...traits, stopDelayMs: STOCK_STOP_MS } : traits;
}

const FAMILY_TIMING = {
  luxos: LUXOS_TIMING,
  bitmain: BITMAIN_TIMING,
  whatsminer: WHATSMINER_TIMING,
} as const;
type Family = keyof typeof FAMILY_TIMING;

export function startVirtualSite(options: VirtualOptions): VirtualSite {
  const clock = new VirtualClock(options.epochMs);
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
      traitsOf(place.entry.model, family),
      seededRandom(options.seed * 1000 + index),
      options.faults?.(place.deviceId, random) ?? {},
    );
    miners.set(place.deviceId, miner);
    site.place(place.entry.limit, miner);
    const driver = virtualMiner(miner, family, place.entry.model, clock, random, () =>
      strangers.has(place.deviceId),
    );
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
  const state = new SiteState(model, {
    meterStaleMs: config.control.staleAfter,
    deviceStaleMs: config.control.deviceStaleAfter,
  });
  const poller = new Poller(clock, random, { concurrency: 48, maximumBackoffMs: 120_000 }, stop.signal);
  const context = stepContext(config, model);
  const controller = new Controller(
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
    },
    null,
  );
  controller.gpusOf = (id) =>
    (nodes.get(id)?.gpus ?? []).map((gpu) => ({
      uuid: gpu.uuid,
      minWatts: gpu.minLimitWatts,
      maxWatts: gpu.maxLimitWatts,
    }));
  const meterFaults: VirtualSite['meterFaults'] = new Map();
  const record = options.record?.(loaded.value, model, clock) ?? null;
  /** Energy counters of the meters, in watt-hours. */
  const counters = new Map(model.meters.map((meter) => [meter.id, 5_000_000]));
  const answers: OrderAnswer[] = [];
  const orders = new OrderService(
    {
      site: model.siteId,
      limits: model.limits,
      issuers: config.issuers,
      localControl: false,
      now: () => clock.epochMs(),
      monotonic: () => clock.monotonicMs(),
      clockSynchronised: () => true,
      drawWatts: (limit) => site.watts(limit),
      baselineWatts: (limit) => site.watts(limit),
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
  const transfers = new TransferService(
    transferFacts(config, model, context),
    {
      persist: (kept) => orders.keepTransfers(kept),
      answer: (answer) => orders.conclude(answer),
      publish: () => undefined,
      clear: () => undefined,
    },
    null,
    { now: clock.monotonicMs(), epochMs: clock.epochMs() },
  );
  let conditions: readonly Condition[] = [];
  const cycle = () => {
    const snapshot = state.freeze(clock.monotonicMs(), clock.epochMs());
    const control = controller.cycle(snapshot, orders.book, economicsOf(config, orders.book.prices), {
      shedOnly: false,
      deadlineAt: (id) => orders.deadlineAt(id),
      ...transfers.permits(),
    });
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
    conditions = [...conditionsOf(model, snapshot), ...control.conditions];
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
    controller,
    orders,
    transfers,
    answers,
    meterFaults,
    strangers,
    applied: () => applied,
    explain: (target) => {
      const snapshot = state.freeze(clock.monotonicMs(), clock.epochMs());
      const inForce = limitsInForce(orders.book, model.limits, clock.epochMs());
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
        meterReading(clock.monotonicMs(), Math.round(shown * 10) / 10, { importWattHours }),
      );
    }
  });
  clock.after(50, () => every(1000, cycle));
  return virtual;
}

function timing(now: number, roundTripMs: number) {
  return { requestedAt: now - roundTripMs, sampledAt: now - roundTripMs / 2, roundTripMs };
}

function virtualMiner(
  miner: SimulatedMiner,
  family: Family,
  modelName: string,
  clock: VirtualClock,
  random: () => number,
  stranger: () => boolean,
): LoadDriver {
  const facts = FAMILY_TIMING[family];
  const model = findMinerModel(modelName)!;
  const identity: Identity = {
    basis: 'mac',
    value: miner.id,
    vendor: model.vendor,
    model: model.name,
    firmware: family,
    firmwareVersion: null,
    macAddress: miner.id,
    serialNumber: null,
  };
  const wait = (ms: number, signal: AbortSignal) => clock.sleep(ms, signal);
  const reading = (requestedAt: number): MinerReading => {
    const states = {
      hashing: 'hashing',
      starting: 'starting',
      sleeping: 'sleeping',
      stopping: family === 'bitmain' ? 'sleeping' : 'hashing',
    } as const;
    const now = clock.monotonicMs();
    const estimated = family === 'bitmain';
    const state = states[miner.state];
    const nominal =
      state === 'sleeping' ? 50 : (model.nominalWatts * miner.hashrateThs) / model.nominalHashrateThs;
    return {
      kind: 'miner',
      ...timing(now, now - requestedAt),
      requestedAt,
      firmware: family,
      vendor: model.vendor,
      model: model.name,
      firmwareVersion: null,
      macAddress: miner.id,
      serialNumber: null,
      state,
      hashrateThs: miner.hashrateThs,
      nominalHashrateThs: model.nominalHashrateThs,
      powerWatts: Math.round(estimated ? nominal : miner.claimedWatts),
      powerSource: estimated ? 'estimated' : 'reported',
      powerLimitWatts: estimated ? null : miner.limitWatts,
      efficiencyJoulesPerTh: null,
      chipTemperatureCelsius: 70,
      boardTemperatureCelsius: null,
      fanRpm: [],
      uptimeSeconds: miner.uptimeMs / 1000,
      boards: [],
      pools: [],
      errors: [],
      control: {
        sleep: true,
        wake: true,
        powerLimit:
          family === 'bitmain'
            ? null
            : {
                minWatts: miner.traits.minimumWatts,
                maxWatts: miner.traits.normalWatts,
                kind: 'watts',
                stepWatts: 10,
              },
        sleepMs: facts.sleepMs,
        wakeMs: facts.wakeMs,
        changeMs: facts.changeMs,
      },
    };
  };
  return {
    deviceId: miner.id,
    identify: async () => ok(identity),
    read: async (signal) => {
      const requestedAt = clock.monotonicMs();
      await wait(miner.faults.dead ? 2000 : 30 + random() * 60, signal);
      if (miner.faults.dead) return fail('timeout', `${miner.id} did not answer within 2 s.`);
      return stranger()
        ? fail('wrong-device', `${miner.id}: another MAC answers at its address.`)
        : ok(reading(requestedAt));
    },
    apply: async (command: LoadCommand, signal): Promise<Result<Applied>> => {
      await wait(miner.faults.dead ? 3000 : 100 + random() * 400, signal);
      if (miner.faults.dead) return fail('timeout', `${miner.id} did not answer.`);
      if (stranger()) return fail('wrong-device', `${miner.id}: another MAC answers at its address.`);
      if (command.kind === 'sleep') miner.sleep();
      else if (command.kind === 'run') miner.run(command.limitWatts);
      return ok({ acknowledged: true, sentAt: clock.monotonicMs(), limitWatts: null, note: null });
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function virtualNode(node: SimulatedGpuNode, clock: VirtualClock, random: () => number): LoadDriver {
  return {
    deviceId: node.id,
    identify: async () =>
      ok({
        basis: 'serial',
        value: node.id,
        vendor: 'NVIDIA',
        model: 'H100',
        firmware: 'nvidia-smi',
        firmwareVersion: null,
        macAddress: null,
        serialNumber: node.id,
      }),
    read: async (signal) => {
      const requestedAt = clock.monotonicMs();
      await clock.sleep(200 + random() * 100, signal);
      if (node.dead) return fail('timeout', `${node.id} did not answer.`);
      const gpus = node.gpus.map((gpu, index) => ({
        uuid: gpu.uuid,
        index,
        name: gpu.name,
        state: 'ok' as const,
        powerWatts: node.gpuWatts(gpu),
        requestedLimitWatts: gpu.limitWatts,
        enforcedLimitWatts: gpu.limitWatts,
        defaultLimitWatts: gpu.maxLimitWatts,
        minLimitWatts: gpu.minLimitWatts,
        maxLimitWatts: gpu.maxLimitWatts,
        temperatureCelsius: 50,
        utilizationPercent: gpu.utilization * 100,
        memoryUsedMebibytes: null,
        memoryTotalMebibytes: null,
        migEnabled: false,
      }));
      const power = gpus.reduce((sum, gpu) => sum + gpu.powerWatts, 0);
      const now = clock.monotonicMs();
      return ok({
        kind: 'gpu-node' as const,
        ...timing(now, now - requestedAt),
        requestedAt,
        source: 'nvidia-smi' as const,
        driverVersion: null,
        powerWatts: power,
        knownPowerWatts: power,
        gpus,
        errors: [],
        control: { sleep: false, wake: false, powerLimit: null, sleepMs: null, wakeMs: null, changeMs: 5000 },
      });
    },
    apply: async (command, signal) => {
      await clock.sleep(300 + random() * 300, signal);
      if (command.kind !== 'cap') return fail('unsupported', 'caps only');
      return node.cap(command.uuid, command.limitWatts)
        ? ok({ acknowledged: true, sentAt: clock.monotonicMs(), limitWatts: command.limitWatts, note: null })
        : fail('refused', 'outside the range');
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}
