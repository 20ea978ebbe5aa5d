import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MqttClient } from 'mqtt';
import { openSpool } from '../agent/store/spool.ts';
import { encodeBody } from '../agent/store/spool-rows.ts';
import { envelope, ROWS_PER_MESSAGE } from '../agent/telemetry/messages.ts';
import { MqttLink } from '../agent/telemetry/mqtt-link.ts';
import { brokerAddress, openStream } from '../agent/telemetry/mqtt-stream.ts';
import { Outbox, type Transport } from '../agent/telemetry/outbox.ts';
import { changesOf, type Row } from '../agent/telemetry/row-changes.ts';
import { systemClock } from '../protocols/clock.ts';
import { seededRandom } from '../protocols/random.ts';
import { freePort, until } from '../test/support/live-site.ts';
import { available, endProcess, startMosquitto } from '../test/support/mosquitto.ts';
import { VirtualClock } from '../test/support/virtual-clock.ts';

const MINERS = 5000;
const INTERVAL_MS = 10_000;
const ROUNDS = 60;
const CHANGED = 0.2;
const NO_TLS = { ca: null, cert: null, key: null };

/** Twenty figures of a miner, five significant digits. */
const METRICS: readonly [name: string, centre: number][] = [
  ['powerWatts', 3300],
  ['hashrateThs', 118],
  ['chipTemperatureCelsius', 71],
  ['boardTemperatureCelsius', 60],
  ['inletTemperatureCelsius', 28],
  ['fan1Rpm', 5400],
  ['fan2Rpm', 5390],
  ['fan3Rpm', 5410],
  ['fan4Rpm', 5380],
  ['board1Ths', 39.5],
  ['board2Ths', 39.3],
  ['board3Ths', 39.2],
  ['chip1Celsius', 70],
  ['chip2Celsius', 71],
  ['chip3Celsius', 69],
  ['efficiencyJoulesPerTh', 27.9],
  ['acceptedShares', 90_000],
  ['rejectedShares', 120],
  ['inputVolts', 231],
  ['powerFactor', 0.98],
];

/** The rows of all miners, a fifth of their figures changed from one round to the next. */
function* rounds(random: () => number): Generator<Row[]> {
  const rows = Array.from({ length: MINERS }, (_, index): Row => {
    const row: Row = { id: `hall-a-${String(index).padStart(4, '0')}`, quality: 'good', state: 'hashing' };
    for (const [name, centre] of METRICS) row[name] = figure(centre, random);
    return row;
  });
  for (;;) {
    for (const row of rows)
      for (const [name, centre] of METRICS) if (random() < CHANGED) row[name] = figure(centre, random);
    yield rows;
  }
}

/** Messages of one round: what changed, a hundred rows in each, as the reporter makes them. */
function messagesOf(rows: readonly Row[], sent: Map<string, Row>): Record<string, unknown>[] {
  const due = rows.flatMap((row) => changesOf(sent.get(row.id) ?? null, { ...row }) ?? []);
  const messages: Record<string, unknown>[] = [];
  for (let at = 0; at < due.length; at += ROWS_PER_MESSAGE) {
    const batch = due.slice(at, at + ROWS_PER_MESSAGE);
    for (const row of batch) sent.set(row.id, { ...sent.get(row.id), ...row });
    messages.push({ full: false, rows: batch });
  }
  return messages;
}

/** A change that no dead band hides. */
function figure(centre: number, random: () => number): number {
  return Number((centre * (0.85 + 0.3 * random())).toPrecision(5));
}

/** Bytes on the wire of one PUBLISH and its PUBACK: MQTT header, 40 bytes of TCP/IP for each segment of 1,448. */
function wireBytes(topic: string, payload: string | Uint8Array): number {
  const size = 7 + Buffer.byteLength(`switchyard/v1/black-pearl/${topic}`) + Buffer.byteLength(payload);
  return size + 40 * Math.ceil(size / 1448) + 44;
}

function writtenBytes(): number {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1] ?? 0);
}

/** `npm run bench -- telemetry`: a site of 5,000 miners, 20 figures each, every 10 s, 20 % of them changed. */
export async function benchTelemetry(): Promise<void> {
  await benchSite(true);
  await benchSite(false);
  benchSpool();
  await benchBroker();
}

async function benchSite(connected: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-bench-'));
  const clock = new VirtualClock();
  let bytes = 0;
  let messages = 0;
  const transport: Transport = {
    connected,
    send: (topic, payload) => {
      bytes += wireBytes(topic, payload);
      messages += 1;
      return Promise.resolve();
    },
  };
  const spool = openSpool({ folder, maximumBytes: 800_000_000, clock });
  const outbox = new Outbox(transport, spool, clock, seededRandom(1), {
    site: 's',
    compress: true,
    replayBytesPerSecond: 250_000,
    replayDelayMs: 0,
  });
  if (connected) outbox.connected();
  const source = rounds(seededRandom(7));
  // The first round sends everything.
  const sent = new Map<string, Row>();
  messagesOf(source.next().value as Row[], sent);
  const diskBefore = writtenBytes();
  const cpuBefore = process.cpuUsage();
  let simulatedUs = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const made = process.cpuUsage();
    const rows = source.next().value as Row[];
    simulatedUs += total(process.cpuUsage(made));
    for (const body of messagesOf(rows, sent))
      outbox.publish({
        topic: 'tele/miners',
        kind: 'telemetry',
        retain: false,
        body: envelope('s', clock.epochMs(), { seq: spool.nextSequence('miners'), ...body }),
      });
    await clock.advance(INTERVAL_MS);
  }
  const seconds = (ROUNDS * INTERVAL_MS) / 1000;
  const cpu = (total(process.cpuUsage(cpuBefore)) - simulatedUs) / 1e6;
  outbox.stop();
  const disk = writtenBytes() - diskBefore;
  const days = 86_400 / seconds;
  console.log(
    connected
      ? `broker there:  ${((bytes * 8) / seconds / 1e6).toFixed(3)} Mbit/s on the wire, ${(messages / seconds).toFixed(1)} messages/s, ` +
          `${((disk * days) / 1e9).toFixed(2)} GB a day written, CPU ${((cpu / seconds) * 100).toFixed(2)} % of one core`
      : `broker away:   ${((disk * days) / 1e9).toFixed(2)} GB a day written, CPU ${((cpu / seconds) * 100).toFixed(2)} % of one core`,
  );
  rmSync(folder, { recursive: true, force: true });
}

function total(usage: NodeJS.CpuUsage): number {
  return usage.user + usage.system;
}

function benchSpool(): void {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-bench-'));
  const spool = openSpool({ folder, maximumBytes: 2_000_000_000, clock: systemClock });
  const [body] = messagesOf(rounds(seededRandom(7)).next().value as Row[], new Map());
  const encoded = encodeBody(body!);
  const times: number[] = [];
  const batches = 200;
  for (let batch = 0; batch < batches; batch += 1) {
    const startedAt = performance.now();
    spool.add(
      Array.from({ length: 50 }, () => ({
        topic: 'hist/miners',
        stream: 'miners',
        seq: spool.nextSequence('miners'),
        ts: Date.now(),
        priority: 1,
        body: encoded,
      })),
    );
    times.push(performance.now() - startedAt);
  }
  times.sort((a, b) => a - b);
  const sum = times.reduce((all, ms) => all + ms, 0);
  console.log(
    `spool:         ${Math.round((batches * 50 * 1000) / sum)} messages/s of ${(encoded.length / 1000).toFixed(1)} kB (100 whole rows each), ` +
      `50 in a transaction: median ${times[batches >> 1]!.toFixed(1)} ms, p99 ${times[Math.floor(batches * 0.99)]!.toFixed(1)} ms`,
  );
  spool.close();
  rmSync(folder, { recursive: true, force: true });
}

/** The same messages to a real broker: through outbox and link, and with MQTT.js alone, 20 at a time. */
async function benchBroker(): Promise<void> {
  if (!available('mosquitto')) {
    console.log('broker:        skipped, there is no mosquitto here');
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-bench-'));
  const port = await freePort();
  const broker = await startMosquitto(folder, port);
  const count = 20_000;
  const body = { v: 1, site: 's', ts: Date.now(), filler: 'x'.repeat(260) };
  const ours: number[] = [];
  const plain: number[] = [];
  for (let run = 0; run < 3; run += 1) {
    ours.push(await throughOutbox(join(folder, String(run)), port, count, body));
    plain.push(await throughClient(port, count, JSON.stringify({ ...body, seq: 1 })));
  }
  const median = (values: number[]) => Math.round(values.sort((a, b) => a - b)[1]!);
  console.log(
    `to mosquitto:  ${median(ours)} messages/s of 300 B through outbox and link, ${median(plain)} with MQTT.js alone (median of 3)`,
  );
  await endProcess(broker);
  rmSync(folder, { recursive: true, force: true });
}

async function throughOutbox(folder: string, port: number, count: number, body: object): Promise<number> {
  const spool = openSpool({ folder, maximumBytes: 100_000_000, clock: systemClock });
  const link = new MqttLink(
    {
      urls: [`mqtt://127.0.0.1:${port}`],
      prefix: 'x/v1/s',
      clientId: 'bench',
      username: null,
      password: null,
      keepaliveMs: 20_000,
      tls: NO_TLS,
      subscriptions: [],
    },
    {
      will: () => ({ online: false }),
      onConnected: () => outbox.connected(),
      onLost: () => outbox.lost(),
      onMessage: () => undefined,
    },
    systemClock,
    Math.random,
  );
  const outbox = new Outbox(link, spool, systemClock, Math.random, {
    site: 's',
    compress: false,
    replayBytesPerSecond: 1e9,
    replayDelayMs: 0,
  });
  link.start();
  await until(() => (link.connected ? true : null));
  const startedAt = performance.now();
  for (let sent = 0; sent < count; ) {
    // As many as the live lane holds, then it is let run empty.
    for (let lane = 0; lane < 300 && sent < count; lane += 1, sent += 1)
      outbox.publish({
        topic: 'tele/site',
        kind: 'telemetry',
        retain: false,
        body: { ...body, seq: spool.nextSequence('site') },
      });
    while (outbox.health().sent < sent) await new Promise((resolve) => setImmediate(resolve));
  }
  const perSecond = (count * 1000) / (performance.now() - startedAt);
  outbox.stop();
  await link.stop(null);
  return perSecond;
}

async function throughClient(port: number, count: number, payload: string): Promise<number> {
  const address = brokerAddress(`mqtt://127.0.0.1:${port}`);
  const client = new MqttClient(() => openStream(address, NO_TLS, 1_000_000), {
    protocolId: 'MQTT',
    protocolVersion: 5,
    clientId: 'plain',
    clean: true,
    reconnectPeriod: 0,
  });
  await until(() => (client.connected ? true : null));
  const startedAt = performance.now();
  await new Promise<void>((resolve) => {
    let [next, acknowledged] = [0, 0];
    const more = () => {
      if (next >= count) return;
      next += 1;
      client.publish('x/v1/s/plain', payload, { qos: 1 }, () => {
        acknowledged += 1;
        if (acknowledged === count) resolve();
        else more();
      });
    };
    for (let window = 0; window < 20; window += 1) more();
  });
  const perSecond = (count * 1000) / (performance.now() - startedAt);
  client.end(true);
  return perSecond;
}
