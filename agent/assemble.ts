import { randomUUID } from 'node:crypto';
import type { AgentOptions, RunningAgent } from './agent-options.ts';
import { apiOf } from './api.ts';
import { Controller, promise } from './control/controller.ts';
import { Loop } from './control/loop.ts';
import { NodeDrains } from './control/node-drains.ts';
import { Polisher, searchInThread } from './control/polisher.ts';
import { Poller } from './control/poller.ts';
import { economicsOf } from './control/rules.ts';
import { TransferService } from './control/transfer-service.ts';
import { drainsOf } from './drivers.ts';
import { LiveConfig, meterNow, type ReloadReport } from './live-config.ts';
import { localVerb, transferEnd } from './local-verbs.ts';
import { openPage, pageAddress, pagePortTaken } from './open-page.ts';
import { Asks } from './orders/asks.ts';
import { OrderService } from './orders/service.ts';
import { TargetSources } from './orders/target-sources.ts';
import { baselineOf, History } from './page/history.ts';
import { localSocketPath, serveLocal } from './page/local-socket.ts';
import { eventOf, portFault, type RunningPage } from './page/server.ts';
import type { PageSource } from './page/source.ts';
import { meterTarget, openLoads } from './poll-targets.ts';
import { SiteRecord } from './record/site-record.ts';
import { AlarmBook, alarmEvents, conditionsOf } from './site/alarms.ts';
import { groupByCause, placesOf } from './site/first-cause.ts';
import { MeterDoubts } from './site/meter-devices.ts';
import { pathUp } from './site/model.ts';
import { PlaceDoubts } from './site/place-doubts.ts';
import type { Snapshot } from './site/snapshot.ts';
import { SiteState } from './site/state.ts';
import { buildView, type SiteView } from './site/view.ts';
import { applyHolds, gpusOf, healthOf, measuredOf, pathsOf } from './site-lookups.ts';
import { openIdentities } from './store/identities.ts';
import { openJournal } from './store/journal.ts';
import { decisionEvent } from './store/journal-events.ts';
import { lockState } from './store/state-lock.ts';
import { HostAlarms } from './telemetry/host-alarms.ts';
import { HostHealthReader } from './telemetry/host-health.ts';
import { InventoryWatch } from './telemetry/inventory-watch.ts';
import { Reporter } from './telemetry/reporter.ts';
import { openSparkplug } from './telemetry/sparkplug/sparkplug.ts';
import { openTelemetry } from './telemetry/telemetry.ts';

/** Reads under way at once: a third of 300 miners may fall into time-outs together and delay nobody. */
const MINER_READS_AT_ONCE = 192;
/** Part of the store's maximum that the journal may use; the rest is for telemetry that waits. */
const JOURNAL_SHARE = 0.5;
const HEALTH_INTERVAL_MS = 10_000;
/** After a start an alarm has this long to come again before it counts as over. */
const ALARMS_RETURN_MS = 600_000;

/**
 * Builds the agent of one configuration out of its parts and starts it. Fails, before anything was touched, where
 * another agent has the state, and where somebody has the page's port unless devices were under control before.
 */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const pageTaken = options.anyPort ? null : await portFault(pageAddress(options.loaded.config));
  if (pageTaken !== null && !(options.controlled === true && pageTaken.code === 'EADDRINUSE'))
    throw pageTaken;
  const unlock = lockState(options.loaded.config.store.path);
  try {
    return await assemble(
      { ...options, anyPort: options.anyPort || pageTaken !== null },
      unlock ?? (() => undefined),
      pageTaken !== null,
    );
  } catch (error) {
    unlock?.();
    throw error;
  }
}

async function assemble(
  options: AgentOptions,
  unlock: () => void,
  pageTaken: boolean,
): Promise<RunningAgent> {
  const { loaded, clock, random, log } = options;
  const live = new LiveConfig(loaded, options.standIn);
  // What of it needs a restart to change is read from here, the rest from `live` at each use.
  const { config } = loaded;
  const { model } = live;
  const state = new SiteState(model, {
    get meterStaleMs() {
      return live.config.control.staleAfter;
    },
    get deviceStaleMs() {
      return live.config.control.deviceStaleAfter;
    },
  });
  const stop = new AbortController();
  const alarmBook = new AlarmBook();
  const meterDoubts = new MeterDoubts();
  const placeDoubts = new PlaceDoubts(model);
  const history = new History();
  const host = new HostHealthReader(config.store.path);
  const hostAlarms = new HostAlarms();
  const session = randomUUID();
  const startedAt = clock.monotonicMs();
  let view: SiteView | null = null;
  let snapshot: Snapshot | null = null;
  let page: RunningPage | null = null;
  let lastHealthMs = Number.NEGATIVE_INFINITY;
  const inventory = new InventoryWatch(clock, stop.signal);

  const loads = openLoads(() => live.loaded, options.drivers, state, clock, {
    identities: openIdentities(config.store.path),
    stop: stop.signal,
  });
  const meters = config.meters.map((meter) => ({ meter, driver: options.drivers.meter(meter) }));
  const minerPoller = new Poller(
    clock,
    random,
    { concurrency: MINER_READS_AT_ONCE, maximumBackoffMs: 120_000 },
    stop.signal,
  );
  // Meters and GPU nodes have slots of their own: nothing that miners do can delay them.
  const nodePoller = new Poller(clock, random, { concurrency: 8, maximumBackoffMs: 60_000 }, stop.signal);
  const meterPoller = new Poller(
    clock,
    random,
    { concurrency: Math.max(8, meters.length), maximumBackoffMs: 2000 },
    stop.signal,
  );

  // A workload manager that hangs delays nobody's watts.
  const drainPoller = new Poller(clock, random, { concurrency: 8, maximumBackoffMs: 60_000 }, stop.signal);
  const drains = new NodeDrains(drainsOf(config.gpuNodes, options.drivers), {
    clock,
    stop: stop.signal,
    dryRun: options.dryRun,
    hurry: (target) => drainPoller.hurry(target),
  });

  const link = openTelemetry(
    loaded,
    {
      will: () => reporter.willBody(clock.epochMs()),
      onConnected: () => {
        log.info('broker connected');
        reporter.forgetRetained();
        if (snapshot !== null) reporter.full(snapshot);
      },
      onLost: (reason) => log.warn({ reason }, 'broker lost'),
      onMessage: (topic, payload, retained) => {
        if (topic.startsWith('cmd/req/')) orders.receive(topic.slice('cmd/req/'.length), payload, retained);
        else if (topic.startsWith('/')) {
          levels.receive(topic.slice(1), payload, retained);
          asks.receive(topic.slice(1), payload, retained);
        }
      },
    },
    clock,
    random,
  );
  const reporter = new Reporter(
    model,
    { agentVersion: options.version, session },
    live.reports,
    { publish: (message) => link?.publish(message) },
    (stream) => link?.nextSequence(stream) ?? 0,
  );

  const journal = openJournal(config.store.path, config.store.maximum * JOURNAL_SHARE, clock);
  if (journal.failure !== null) log.error({ reason: journal.failure }, 'no journal: the agent only lowers');
  const record = new SiteRecord(config, model, clock, (interval) =>
    reporter.energy(clock.epochMs(), { ...interval }),
  );
  const restored = journal.restore({ meterStaleMs: config.control.staleAfter });
  state.restoreSeen(restored.seenDevices);
  const controller = new Controller(
    {
      model,
      get context() {
        return live.context;
      },
      clock,
      drivers: new Map(loads.map(({ driver }) => [driver.deviceId, driver])),
      stop: stop.signal,
      dryRun: options.dryRun,
      get deviceStaleMs() {
        return live.config.control.deviceStaleAfter;
      },
      journal,
      hurry: (device) => {
        minerPoller.hurry(device);
        nodePoller.hurry(device);
      },
      polisher: new Polisher({ clock, search: searchInThread, stop: stop.signal }),
    },
    restored.controlState,
  );
  controller.gpusOf = (device) => gpusOf(snapshot, device);
  const limitOf = (id: string) => view?.limits.find((limit) => limit.id === id);
  const orders = new OrderService(
    {
      site: model.siteId,
      get limits() {
        return model.limits;
      },
      get issuers() {
        return live.config.issuers;
      },
      get localControl() {
        return live.config.control.local;
      },
      now: () => clock.epochMs(),
      monotonic: () => clock.monotonicMs(),
      clockSynchronised: () => host.read().clockSynchronised,
      drawWatts: (limit) => limitOf(limit)?.powerWatts ?? null,
      baselineWatts: (limit) => baselineOf(history.points(limit, '1h')),
      pathsOf: (target) => pathsOf(model, target),
      alarm: (id) => alarmBook.get(id),
      keyOf: (issuer) =>
        live.loaded.secrets.get(`issuers[${live.config.issuers.indexOf(issuer)}].key`)?.reveal() ?? null,
    },
    {
      answer: (answer) => {
        record.answer(answer);
        sparkplug?.answer(answer);
        reporter.answer(answer.id, clock.epochMs(), answer);
      },
      received: (id, raw, local) => record.order(id, raw, local ? 'local' : 'broker', clock.epochMs()),
      persist: (book) => journal.persist(book),
      decideNow: (lease) => {
        loop.poke();
        const result = controller.lastResult;
        return result === null ? null : promise(result, lease, live.context, clock.monotonicMs());
      },
      snapshot: () => {
        if (snapshot !== null) reporter.full(snapshot);
      },
      released: (target) => {
        for (const device of model.devices) {
          if (
            device.id === target ||
            device.tags.includes(target) ||
            pathUp(model, device.limit).includes(target)
          ) {
            controller.intervene({ kind: 'release', device: device.id, why: 'released by a person' });
          }
        }
      },
      delegate: (order, answer) => transfers.order(order, answer),
    },
    restored.book,
  );
  const sparkplug = openSparkplug(
    loaded,
    model,
    {
      order: (...order) => orders.receiveFor(...order),
      book: () => orders.book,
      log: (node, words) => log.info({ node }, words),
    },
    clock,
    random,
  );
  const levels = new TargetSources(config.mqtt, clock, orders);
  const asks = new Asks(
    config.transfers.askers.map((asker, index) => ({
      ...asker,
      token: loaded.secrets.get(`transfers.askers[${index}].token`) ?? null,
    })),
    model.limits[0]!.id,
    {
      order: (issuer, id, args) => orders.receiveFor(issuer, 'transfer', args, { id }),
      answer: (answer) => reporter.answer(answer.id, clock.epochMs(), answer),
      now: () => clock.epochMs(),
    },
  );
  const transfers = new TransferService(
    live.transfers,
    {
      persist: (kept) => orders.keepTransfers(kept),
      answer: (answer) => orders.conclude(answer),
      publish: (id, epochMs, body) => reporter.retain(`transfer/${id}`, epochMs, body),
      clear: (id) => reporter.clearRetained(`transfer/${id}`),
      drains,
    },
    restored.book.transfers ?? null,
    { now: clock.monotonicMs(), epochMs: clock.epochMs() },
  );

  const cycle = () => {
    applyHolds(state, model, orders.book.holds);
    snapshot = state.freeze(clock.monotonicMs(), clock.epochMs());
    const control = controller.cycle(snapshot, orders.book, economicsOf(live.config, orders.book.prices), {
      shedOnly: live.shedOnly || pageTaken,
      deadlineAt: (id) => orders.deadlineAt(id),
      ...transfers.permits(),
    });
    transfers.cycle(
      live.context,
      control.result,
      (limit) => control.inForce.get(limit)!.watts,
      snapshot.epochMs,
    );
    levels.cycle();
    asks.cycle();
    orders.cycle(
      (limit) => measuredOf(snapshot, limit),
      (limit) => control.worstWatts.get(limit) ?? null,
    );
    const conditions = [
      ...conditionsOf(model, snapshot),
      ...meterDoubts.conditions(model, snapshot),
      ...placeDoubts.conditions(snapshot),
      ...control.conditions,
      ...orders.conditions(),
      ...levels.conditions(),
      ...transfers.conditions(),
      ...journal.conditions(),
      ...record.conditions(),
      ...(link?.conditions(snapshot.epochMs) ?? []),
      ...(sparkplug?.conditions() ?? []),
      ...live.conditions(),
      ...hostAlarms.conditions(host.read()),
      ...(pageTaken ? [pagePortTaken(config)] : []),
    ];
    // A meter that has not had time to answer is not yet silent.
    const settled = snapshot.monotonicMs - startedAt > live.config.control.staleAfter;
    const { raised, cleared } = alarmBook.update(
      groupByCause(
        settled ? conditions : conditions.filter((condition) => condition.code !== 'meter-silent'),
        () => placesOf(model, snapshot!),
      ),
      snapshot.epochMs,
      orders.book.acknowledged,
    );
    const returned = snapshot.monotonicMs - startedAt > ALARMS_RETURN_MS;
    const over = (id: string) => cleared.some((alarm) => alarm.id === id);
    orders.forgetAlarms((id) => over(id) || (returned && alarmBook.get(id) === null));
    const events = [
      ...state.drainEvents(),
      ...control.events,
      ...orders.drainEvents(),
      ...transfers.drainEvents(),
      ...live.drainEvents(),
      ...alarmEvents(raised, cleared, snapshot.epochMs),
    ];
    for (const alarm of raised) log.warn({ alarm: alarm.id }, alarm.message);
    journal.recordEvents(events);
    for (const event of events) record.event(event);
    view = buildView(model, snapshot, {
      mode: control.mode,
      inForce: control.inForce,
      worstWatts: control.worstWatts,
      alarms: alarmBook.active(),
      pace: options.pace ?? null,
    });
    history.record(view);
    journal.recordView(view);
    reporter.cycle(view, snapshot, [...control.inForce.values()], events);
    sparkplug?.cycle(view, snapshot);
    record.cycle(snapshot, orders.book.leases, control.result.decision.commands);
    if (control.decision !== null) {
      journal.recordDecision(control.decision);
      record.event(decisionEvent(control.decision));
      reporter.decision(snapshot.epochMs, { ...control.decision });
      log.info(
        { down: control.decision.devicesDown, up: control.decision.devicesUp, why: control.decision.why[0] },
        'decision',
      );
    }
    if (snapshot.monotonicMs - lastHealthMs >= HEALTH_INTERVAL_MS) {
      lastHealthMs = snapshot.monotonicMs;
      reporter.health(snapshot.epochMs, {
        host: host.read(),
        inventory: inventory.current(),
        agent: source.counters(),
        broker: link?.health() ?? null,
        sparkplug: sparkplug?.health() ?? null,
      });
      minerPoller.counters.worstLatenessMs = 0;
    }
    page?.broadcast(eventOf(source));
    options.onCycle?.();
  };
  let reportBug: (error: unknown) => void = () => undefined;
  const bug = new Promise<unknown>((resolve) => {
    reportBug = resolve;
  });
  const loop = new Loop(clock, config.control.cycle, cycle, reportBug);

  const source: PageSource = {
    version: options.version,
    model,
    view: () => view,
    snapshot: () => snapshot,
    host: () => host.read(),
    link: () => link?.health() ?? null,
    healthy: () => healthOf(view, snapshot, clock.monotonicMs(), config.control.cycle),
    counters: () => ({
      cycles: loop.counters.cycles,
      cyclesSkipped: loop.counters.skipped,
      lastCycleMs: loop.counters.lastMs,
      reads: minerPoller.counters.reads + nodePoller.counters.reads + meterPoller.counters.reads,
      readFailures:
        minerPoller.counters.failures + nodePoller.counters.failures + meterPoller.counters.failures,
      worstReadLatenessMs: minerPoller.counters.worstLatenessMs,
      commands: controller.commandCount,
    }),
    api: (name, query) => apiOf(name, query, source, history, controller, orders, transfers, journal),
  };

  const decisions = { nextAt: () => loop.dueAt, periodMs: config.control.cycle };
  meterPoller.add(
    meters.map(({ meter, driver }) => meterTarget(meterNow(live, meter), driver, state, clock, decisions)),
    0,
  );
  nodePoller.add(
    loads.filter((load) => load.kind === 'gpu-node').map((load) => load.target),
    1000,
  );
  drainPoller.add(drains.targets(), 1000);
  minerPoller.add(
    loads.filter((load) => load.kind === 'miner').map((load) => load.target),
    3000,
  );
  const reload = (): ReloadReport => {
    const { reread } = options;
    const report = live.take(
      reread === undefined ? { ok: true, value: live.loaded } : reread(),
      clock.epochMs(),
    );
    for (const path of report.reconnect) {
      const entry = path.split('.')[1];
      const ids = model.devices.filter((device) => device.entry === entry).map((device) => device.id);
      for (const { driver } of loads) if (ids.includes(driver.deviceId)) void driver.reopen();
    }
    if (report.ok) options.onReload?.(live.loaded);
    // A lower limit does not wait for the pace of the loop.
    loop.poke();
    return report;
  };
  const socketPath = localSocketPath(config.store.path);
  const local = await serveLocal(socketPath, source, async (verb, args) =>
    verb === 'order'
      ? { status: 200, body: orders.receiveLocal(args) }
      : verb === 'transfer-end'
        ? transferEnd(args, transfers)
        : verb === 'reload'
          ? { status: 200, body: reload() }
          : localVerb(verb, args, { model, state, controller, loads }),
  ).catch((error: NodeJS.ErrnoException) => {
    // A disk that cannot be written takes the command line away, never control. Another agent is another matter.
    if (error.code === undefined) throw error;
    log.error({ reason: error.message }, 'no local socket: the command line cannot reach this agent');
    return null;
  });
  page = await openPage(config, options, source, asks);
  loop.start();
  // After the first cycle, which is due first.
  clock.after(0, () => {
    link?.start();
    sparkplug?.start();
  });
  return {
    pageUrl: page.url,
    socketPath,
    source,
    bug,
    reload,
    stop: async () => {
      loop.stop();
      stop.abort();
      await Promise.all([
        link?.stop(reporter.lastWord(clock.epochMs())),
        sparkplug?.stop(),
        page?.close(),
        local?.close(),
        ...loads.map(({ driver }) => driver[Symbol.asyncDispose]()),
        ...meters.map(({ driver }) => driver[Symbol.asyncDispose]()),
      ]);
      journal.close();
      record.close();
      host.close();
      unlock();
    },
  };
}
