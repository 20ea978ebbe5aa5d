import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, it } from 'vitest';
import { AlarmBook, conditionsOf } from '../../agent/site/alarms.ts';
import { buildSiteModel } from '../../agent/site/model.ts';
import { SiteState as AgentState } from '../../agent/site/state.ts';
import { buildView, type InForce } from '../../agent/site/view.ts';
import { openSpool } from '../../agent/store/spool.ts';
import { messageSchemas } from '../../agent/telemetry/asyncapi.ts';
import { deviceRow, meterRow } from '../../agent/telemetry/messages.ts';
import { Outbox } from '../../agent/telemetry/outbox.ts';
import { Reporter } from '../../agent/telemetry/reporter.ts';
import { formOf } from '../../agent/telemetry/schemas.ts';
import { loadConfigText } from '../../config/load.ts';
import { SiteState } from '../../docs/examples/subscriber.ts';
import { seededRandom } from '../../protocols/random.ts';
import { FakeBroker } from '../support/fake-broker.ts';
import { gpuNodeReading, meterReading, minerReading } from '../support/readings.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const SEED = 21;
const CONFIG = `
site: { id: s }
limits:
  - { id: grid, rating: 300 kW, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 200 kW, meter: ma }
loads: [{ id: cooling, limit: grid, worst: 20 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: ma, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.40], firmware: luxos, model: "Antminer S19k Pro" }
gpuNodes:
  - { id: n1, limit: grid, nameplate: 10 kW, reader: { kind: nvidia-smi } }
`;

it(`an hour of faults (seed ${SEED}): every message is as its schema says, and a subscriber that knows only the topics
ends with the state of the agent`, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-telemetry-'));
  const random = seededRandom(SEED);
  const clock = new VirtualClock();
  const loaded = loadConfigText(CONFIG);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const model = buildSiteModel(loaded.value.config, loaded.value.miners);
  const state = new AgentState(model, { meterStaleMs: 5000, deviceStaleMs: 30_000 });
  const alarms = new AlarmBook();
  const broker = new FakeBroker();
  const ajv = new Ajv2020({ strict: false });
  const validators = new Map(
    Object.entries(messageSchemas()).map(([name, schema]) => [name, ajv.compile(schema as object)]),
  );
  const judged = new Map<string, number>();
  const steady = new SiteState();
  let restarting = new SiteState();
  const kept = new Map<string, Buffer>();
  broker.onMessage = ({ topic, retain, body }) => {
    const form = formOf(topic);
    expect(form, topic).not.toBeNull();
    const validate = validators.get(form!.name)!;
    if (!validate(body))
      throw new Error(`${topic}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(body)}`);
    expect(retain).toBe(form!.retained);
    judged.set(form!.name, (judged.get(form!.name) ?? 0) + 1);
    const bytes = Buffer.from(JSON.stringify(body));
    if (retain) kept.set(topic, bytes);
    // A broker may deliver twice.
    for (let times = random() < 0.05 ? 2 : 1; times > 0; times -= 1)
      for (const subscriber of [steady, restarting]) subscriber.apply(topic.replace(/\/z$/, ''), bytes);
  };

  const spool = openSpool({ folder, maximumBytes: 50_000_000, clock, disk: () => null });
  const outbox = new Outbox(broker, spool, clock, random, {
    site: 's',
    compress: true,
    replayBytesPerSecond: 1e6,
    replayDelayMs: 20_000,
  });
  const reporter = new Reporter(
    model,
    { agentVersion: '1', session: 'x' },
    { siteIntervalMs: 1000, rowIntervalMs: 10_000, fullIntervalMs: 300_000 },
    outbox,
    (stream) => spool.nextSequence(stream),
  );
  const limitWatts = () => 150_000 + Math.floor(random() * 3) * 10_000;
  const freeze = () => state.freeze(clock.monotonicMs(), clock.epochMs());
  const cycle = (watts: number) => {
    const now = clock.monotonicMs();
    for (const device of model.devices) {
      if (random() < 0.02 || now < 3000) continue;
      const draw = 2600 + Math.floor(random() * 300);
      if (device.kind === 'miner')
        state.recordReading(device.id, minerReading(now, { powerWatts: draw }), clock.epochMs());
      else state.recordReading(device.id, gpuNodeReading(now, 8, draw / 8, 700), clock.epochMs());
    }
    for (const meter of model.meters)
      if (random() > 0.01)
        state.recordMeter(meter.id, meterReading(now, 100_000 + random() * 5000, { importWattHours: now }));
    const snapshot = freeze();
    const { raised } = alarms.update(conditionsOf(model, snapshot), snapshot.epochMs);
    const inForce = new Map<string, InForce>(
      model.limits.map((limit) => [
        limit.id,
        { limit: limit.id, watts, source: 'x', priority: 1, until: null, onExpiry: null },
      ]),
    );
    const view = buildView(model, snapshot, {
      mode: 'normal',
      inForce,
      worstWatts: new Map(),
      alarms: alarms.active(),
    });
    const events = [
      ...state.drainEvents(),
      ...raised.map((alarm) => ({
        epochMs: snapshot.epochMs,
        kind: 'alarm',
        target: alarm.target,
        message: alarm.message,
      })),
    ];
    reporter.cycle(view, snapshot, [...inForce.values()], events);
    return { snapshot, view };
  };
  const up = () => {
    broker.connected = true;
    outbox.connected();
    reporter.forgetRetained();
    reporter.full(freeze());
  };
  const down = () => {
    broker.hangs = false;
    broker.drop();
    outbox.lost();
  };

  up();
  let watts = 150_000;
  let outages = 0;
  for (let second = 0; second < 3600; second += 1) {
    if (second % 60 === 0) watts = limitWatts();
    cycle(watts);
    await clock.advance(1000);
    if (random() < 0.004) broker.hangs = true;
    if (broker.connected && random() < 0.01) {
      down();
      outages += 1;
    } else if (!broker.connected && random() < 0.03) up();
    if (random() < 0.003) {
      // The subscriber starts anew: it gets what is retained and waits for the rest.
      restarting = new SiteState();
      for (const [topic, bytes] of kept) restarting.apply(topic, bytes);
    }
  }
  down();
  up();
  const { snapshot, view } = cycle(watts);
  reporter.full(snapshot);
  await clock.advance(120_000);

  expect(outages).toBeGreaterThan(10);
  expect(steady.duplicates).toBeGreaterThan(50);
  expect(steady.missing()).toEqual({});
  for (const subscriber of [steady, restarting]) {
    expect(subscriber.online).toBe(true);
    expect(subscriber.retained.get('alarms')?.['alarms']).toEqual(JSON.parse(JSON.stringify(view.alarms)));
    for (const row of [...snapshot.devices.map(deviceRow), ...snapshot.meters.map(meterRow)])
      expect(subscriber.rows.get(row.id)).toEqual(row);
    expect(subscriber.site?.['totals']).toMatchObject({ powerWatts: view.totals.powerWatts });
  }
  for (const name of [
    'state',
    'infoSite',
    'infoDevices',
    'limits',
    'teleSite',
    'histSite',
    'teleMiners',
    'histMiners',
    'teleGpus',
    'teleMeters',
    'event',
  ])
    expect(judged.get(name), name).toBeGreaterThan(0);
  outbox.stop();
  rmSync(folder, { recursive: true, force: true });
});
