import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { openSpool } from '../../agent/store/spool.ts';
import { decodeBody } from '../../agent/store/spool-rows.ts';
import { MqttLink } from '../../agent/telemetry/mqtt-link.ts';
import { Outbox } from '../../agent/telemetry/outbox.ts';
import { systemClock } from '../../protocols/clock.ts';
import { seededRandom } from '../../protocols/random.ts';
import { freePort, until } from '../support/live-site.ts';
import { available, endProcess, startMosquitto } from '../support/mosquitto.ts';

const WRITER = join(import.meta.dirname, 'spool-writer.ts');
const GROUP = 3;
const SAMPLES = 50;

/** Store and forward with real processes, a real disk and a real broker. True when every promise held. */
export async function proveSpool(kills = 100, messages = 70_000): Promise<boolean> {
  const results = [await proveKills(kills), await proveQueue(messages), proveFullDisk()];
  return results.every(Boolean);
}

/** kill -9 while batches are written: nothing that was taken is gone, no batch is half there. */
async function proveKills(kills: number): Promise<boolean> {
  const seed = Date.now() % 1_000_000;
  const random = seededRandom(seed);
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-spool-'));
  let acknowledged = 0;
  let lost = 0;
  let half = 0;
  let damaged = 0;
  let unreported = 0;
  const repeats = new Set<number>();
  for (let kill = 0; kill < kills; kill += 1) {
    const child = spawn(process.execPath, [WRITER, 'write', folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = new Promise((resolve) => child.once('close', resolve));
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
    });
    await until(() => (said.includes('\n') ? true : null));
    await new Promise((resolve) => setTimeout(resolve, random() * 120));
    child.kill('SIGKILL');
    await gone;
    const taken = said
      .slice(0, said.lastIndexOf('\n'))
      .split('\n')
      .map(Number)
      .filter((seq) => seq > 0);
    const database = new DatabaseSync(join(folder, 'spool.db'));
    if (database.prepare('PRAGMA integrity_check').get()?.['integrity_check'] !== 'ok') damaged += 1;
    const bySeq = new Map<number, Uint8Array>();
    for (const row of database.prepare("SELECT seq, body FROM spool WHERE stream = 'miners'").iterate())
      bySeq.set(Number(row['seq']), row['body'] as Uint8Array);
    for (const last of taken) {
      for (let seq = last - GROUP + 1; seq <= last; seq += 1) {
        acknowledged += SAMPLES;
        if (repeats.has(seq)) lost += SAMPLES;
        repeats.add(seq);
        const body = bySeq.get(seq);
        if (body === undefined) lost += SAMPLES;
        else if ((decodeBody(body)['rows'] as unknown[]).length !== SAMPLES) half += 1;
      }
    }
    if (bySeq.size % GROUP !== 0) half += 1;
    unreported += bySeq.size / GROUP > taken.length ? 1 : 0;
    database.exec('DELETE FROM spool');
    database.close();
  }
  rmSync(folder, { recursive: true, force: true });
  console.log(
    `kills: ${kills} (seed ${seed}), ${acknowledged} samples acknowledged, ${lost} lost or repeated, ${half} half batches, ${damaged} damaged files; ${unreported} times one more batch was there than reported`,
  );
  return lost === 0 && half === 0 && damaged === 0 && acknowledged > 0;
}

/** The broker is away while messages queue: memory stays flat, and all arrive afterwards. */
async function proveQueue(messages: number): Promise<boolean> {
  if (!available('mosquitto')) {
    console.log('queue: skipped, there is no mosquitto here');
    return true;
  }
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-spool-'));
  const port = await freePort();
  const spool = openSpool({ folder, maximumBytes: 1_000_000_000, clock: systemClock });
  const link = new MqttLink(
    {
      urls: [`mqtt://127.0.0.1:${port}`],
      prefix: 'x/v1/s',
      clientId: 'proof',
      username: null,
      password: null,
      keepaliveMs: 10_000,
      tls: { ca: null, cert: null, key: null },
      subscriptions: [],
    },
    {
      will: () => ({ online: false }),
      onConnected: () => outbox.connected(),
      onLost: () => outbox.lost(),
      onMessage: () => undefined,
    },
    systemClock,
    () => 0,
  );
  const outbox = new Outbox(link, spool, systemClock, () => 0, {
    site: 's',
    compress: false,
    replayBytesPerSecond: 100_000_000,
    replayDelayMs: 0,
  });
  const memory = () => {
    (globalThis as { gc?: () => void }).gc?.();
    return process.memoryUsage().heapUsed / 1e6;
  };
  const before = memory();
  let most = before;
  const filler = 'x'.repeat(200);
  const queuedAt = performance.now();
  for (let count = 0; count < messages; count += 1) {
    const kind = count % 2 === 0 ? 'telemetry' : 'record';
    const topic = kind === 'telemetry' ? 'tele/site' : 'event';
    outbox.publish({
      topic,
      kind,
      retain: false,
      body: { v: 1, site: 's', ts: Date.now(), seq: spool.nextSequence(kind), filler },
    });
    if (count % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
    if (count % 5000 === 4999) most = Math.max(most, memory());
  }
  outbox.lost();
  const queuedMs = performance.now() - queuedAt;
  const waiting = spool.counts();
  const broker = await startMosquitto(folder, port);
  const { connect } = await import('mqtt');
  const reader = connect({ protocol: 'mqtt', host: '127.0.0.1', port, reconnectPeriod: 100 });
  const seen = new Set<string>();
  reader.on('message', (topic, payload) =>
    seen.add(`${topic} ${(JSON.parse(payload.toString('utf8')) as { seq: number }).seq}`),
  );
  await until(() => (reader.connected ? true : null));
  await reader.subscribeAsync('x/v1/s/#', { qos: 1 });
  const sentAt = performance.now();
  link.start();
  await until(() => (seen.size >= messages ? true : null), 300_000).catch(() => null);
  const sentMs = performance.now() - sentAt;
  most = Math.max(most, memory());
  outbox.stop();
  await link.stop(null);
  reader.end(true);
  await endProcess(broker);
  rmSync(folder, { recursive: true, force: true });
  console.log(
    `queue: ${messages} messages without a broker, ${waiting.history + waiting.records} on the disk (${(waiting.bytes / 1e6).toFixed(1)} MB) in ${(queuedMs / 1000).toFixed(1)} s; ` +
      `heap ${before.toFixed(1)} MB before, ${most.toFixed(1)} MB at most; ${seen.size} delivered within ${(sentMs / 1000).toFixed(1)} s`,
  );
  return seen.size === messages && most - before < 40;
}

/** A disk that is really full: a tmpfs of 6 MB in a mount namespace of its own. */
function proveFullDisk(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-full-'));
  const run = spawnSync(
    'unshare',
    [
      '-Urm',
      'sh',
      '-c',
      'mount -t tmpfs -o size=6m none "$1" && exec "$2" "$3" fill "$1"',
      'sh',
      folder,
      process.execPath,
      WRITER,
    ],
    { encoding: 'utf8' },
  );
  rmSync(folder, { recursive: true, force: true });
  if (run.status !== 0) {
    console.log(`full disk: skipped, no mount namespace here (${(run.stderr ?? '').trim().slice(0, 200)})`);
    return true;
  }
  const seen = JSON.parse(run.stdout.trim().split('\n').at(-1)!) as Record<string, number> & {
    codes: string[];
  };
  console.log(
    `full disk: 6 MB, ${seen['taken']} batches taken, ${seen['refused']} refused; ${seen['recordsKept']} of ${seen['records']} records kept (${seen['recordsRefused']} refused, which the agent keeps in memory); ` +
      `alarms ${seen.codes.join(', ') || 'none'}; reopened with ${seen['reopened']} batches, ${seen['readable']} readable`,
  );
  return (
    seen['recordsKept'] === seen['records'] &&
    seen['reopened'] === seen['readable'] &&
    seen.codes.includes('disk-low')
  );
}
