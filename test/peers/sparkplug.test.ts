import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSparkplugStore, type SparkplugStore } from '../../agent/store/sparkplug-store.ts';
import { NodeLine } from '../../agent/telemetry/sparkplug/node-line.ts';
import { TokenBucket } from '../../agent/telemetry/token-bucket.ts';
import { type Clock, systemClock } from '../../protocols/clock.ts';
import { DATATYPE, decodePayload, encodePayload } from '../../protocols/sparkplug/payload.ts';
import { type RecordingBroker, startRecordingBroker } from '../support/aedes-recorder.ts';
import { imageOf, RULES } from '../support/sparkplug-node.ts';

const REBIRTH = encodePayload({
  timestamp: Date.now(),
  metrics: [{ name: 'Node Control/Rebirth', timestamp: Date.now(), booleanValue: true }],
});
const state = (online: boolean, timestamp: number) => JSON.stringify({ online, timestamp });
const HOST = 'spBv1.0/STATE/ignition';

/** Runs a thousand times faster than life: pauses between attempts cost nothing. */
const hurried: Clock = {
  ...systemClock,
  monotonicMs: () => systemClock.monotonicMs() * 1000,
  after: (ms, callback) => systemClock.after(ms / 1000, callback),
};

describe('an edge node on a real connection (aedes)', () => {
  let folder = '';
  let store: SparkplugStore;
  let brokers: RecordingBroker[] = [];
  let lines: NodeLine[] = [];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-sparkplug-'));
    store = openSparkplugStore({ folder, maximumBytes: 10_000_000, now: () => systemClock.epochMs() });
  });

  afterEach(async () => {
    for (const line of lines) await line.stop();
    for (const broker of brokers) await broker.close();
    store.close();
    rmSync(folder, { recursive: true, force: true });
    [brokers, lines] = [[], []];
  });

  const broker = async () => {
    const one = await startRecordingBroker();
    brokers.push(one);
    return one;
  };
  const open = (ports: readonly number[], more: { primaryHost?: string; clock?: Clock } = {}) => {
    const commands: string[] = [];
    const line = new NodeLine(
      { ...RULES, primaryHost: more.primaryHost ?? null, brokers: ports.length },
      {
        urls: ports.map((port) => `mqtt://127.0.0.1:${port}`),
        clientId: 'mine-hall-a',
        username: null,
        password: null,
        tls: { ca: null, cert: null, key: null },
        // In the time of the clock: 20 s of life either way.
        keepaliveMs: more.clock === hurried ? 20_000_000 : 20_000,
        writable: true,
      },
      store,
      {
        onCommand: (device, payload, retained) => {
          commands.push(`${device} ${payload.length} ${retained}`);
          const decoded = decodePayload(payload);
          if (decoded.ok && decoded.value.metrics.some(({ booleanValue }) => booleanValue === true))
            line.rebirth();
        },
        onChange: () => undefined,
      },
      more.clock ?? systemClock,
      () => 0,
    );
    lines.push(line);
    line.start();
    return { line, commands };
  };
  const see = (line: NodeLine, watts: Record<string, number | null>) =>
    line.see(imageOf(watts, 0, Date.now()));

  it('subscribes before it is born, connects by the rules and says its end', async () => {
    const one = await broker();
    const { line } = open([one.port]);
    see(line, { m1: 3000, m2: 3100 });
    await expect.poll(() => one.passed).toEqual(['NBIRTH hall-a', 'DBIRTH hall-a/m1', 'DBIRTH hall-a/m2']);
    expect(one.subscriptions).toEqual(['spBv1.0/mine/NCMD/hall-a 1', 'spBv1.0/mine/DCMD/hall-a/+ 1']);
    await line.stop();
    expect(one.passed.at(-1)).toBe('NDEATH hall-a');
    expect(one.checker.findings).toEqual([]);
  });

  it('connects 257 times with a number of its own in each will, also over a restart', async () => {
    const one = await broker();
    const { line } = open([one.port], { clock: hurried });
    const births = () => one.passed.filter((what) => what.startsWith('NBIRTH')).length;
    const feed = setInterval(() => see(line, { m1: births() * 100 }), 5);
    const dropper = setInterval(() => {
      if (line.state.phase === 'born') one.drop();
    }, 5);
    try {
      await expect.poll(() => one.connects.length, { timeout: 200_000 }).toBeGreaterThanOrEqual(257);
    } finally {
      clearInterval(dropper);
      await expect.poll(() => line.state.phase).toBe('born');
      clearInterval(feed);
    }
    await line.stop();
    // The numbers went around; the next life of the agent goes on from there.
    const { line: again } = open([one.port]);
    const before = births();
    see(again, { m1: 1 });
    await expect.poll(births).toBeGreaterThan(before);
    expect(one.together()).toBe(1);
    expect(one.checker.findings).toEqual([]);
  });

  it('answers a storm of rebirth requests with one more birth', async () => {
    const one = await broker();
    const { line, commands } = open([one.port]);
    see(line, { m1: 3000 });
    await expect.poll(() => one.passed.length).toBe(2);
    for (let ask = 0; ask < 500; ask += 1) await one.publish('spBv1.0/mine/NCMD/hall-a', REBIRTH);
    await expect.poll(() => commands.length).toBe(500);
    const bucket = new TokenBucket();
    await expect
      .poll(() => {
        line.tick(bucket);
        return one.passed.filter((what) => what === 'NBIRTH hall-a').length;
      })
      .toBe(2);
    see(line, { m1: 10 });
    await expect.poll(() => one.passed.at(-1)).toBe('DDATA hall-a/m1');
    expect(one.passed.filter((what) => what === 'NBIRTH hall-a').length).toBe(2);
    expect(one.checker.findings).toEqual([]);
  });

  it('waits for its host, ignores an older word, and walks to the next broker with it', async () => {
    const [one, two] = [await broker(), await broker()];
    await one.publish(HOST, state(true, 1000), true);
    await two.publish(HOST, state(true, 900), true);
    const { line } = open([one.port, two.port], { primaryHost: 'ignition' });
    see(line, { m1: 3000 });
    await expect.poll(() => one.passed.length).toBe(2);
    expect(one.subscriptions).toContain(`${HOST} 1`);
    await one.publish(HOST, state(false, 999));
    await one.publish(HOST, state(false, 998));
    see(line, { m1: 10 });
    await expect.poll(() => one.passed.at(-1)).toBe('DDATA hall-a/m1');
    expect(two.connects).toEqual([]);
    await one.publish(HOST, state(false, 1000), true);
    await expect.poll(() => two.passed).toEqual(['NBIRTH hall-a', 'DBIRTH hall-a/m1']);
    expect(one.passed.at(-1)).toBe('NDEATH hall-a');
    expect([one.checker.findings, two.checker.findings]).toEqual([[], []]);
  });

  it('waits on the only broker without a word until the host is there', async () => {
    const one = await broker();
    await one.publish(HOST, state(false, 1000), true);
    const { line } = open([one.port], { primaryHost: 'ignition' });
    see(line, { m1: 3000 });
    await expect.poll(() => one.subscriptions.length).toBe(3);
    await one.publish('spBv1.0/STATE/another', state(true, 5000), true);
    await one.publish(HOST, 'ONLINE');
    see(line, { m1: 10 });
    expect(one.passed).toEqual([]);
    await one.publish(HOST, state(true, 2000), true);
    await expect.poll(() => one.passed).toEqual(['NBIRTH hall-a', 'DBIRTH hall-a/m1']);
    expect(one.connects.length).toBe(1);
    expect(one.checker.findings).toEqual([]);
  });

  it('tells what passed while the broker was away as history, and keeps it until it is safe', async () => {
    const first = await broker();
    const { line } = open([first.port], { clock: hurried });
    see(line, { m1: 3000 });
    await expect.poll(() => first.passed.length).toBe(2);
    await first.close();
    brokers = [];
    await expect.poll(() => line.state.phase).toBe('down');
    for (const watts of [2000, 1000, 500]) see(line, { m1: watts });
    expect(store.counts().batches).toBeGreaterThanOrEqual(3);
    const second = await startRecordingBroker(first.port);
    brokers = [second];
    const values: (readonly [boolean, number | undefined])[] = [];
    second.broker.on('publish', (packet) => {
      if (!packet.topic.includes('/DDATA/')) return;
      const payload = decodePayload(Buffer.from(packet.payload));
      if (payload.ok)
        for (const { isHistorical, doubleValue } of payload.value.metrics)
          values.push([isHistorical === true, doubleValue]);
    });
    const bucket = new TokenBucket();
    await expect
      .poll(() => {
        bucket.refill(performance.now(), 100_000);
        line.tick(bucket);
        return values.map(([historical, value]) => `${historical} ${value}`);
      })
      .toEqual(expect.arrayContaining(['true 2000', 'true 1000', 'true 500']));
    expect(second.checker.findings).toEqual([]);
    await expect
      .poll(() => {
        see(line, { m1: 500 });
        line.tick(bucket);
        return store.counts().batches;
      })
      .toBe(0);
  });

  it('hands commands on, with the word that one was retained', async () => {
    const one = await broker();
    const payload = encodePayload({
      timestamp: Date.now(),
      metrics: [{ name: 'limitWatts', timestamp: Date.now(), datatype: DATATYPE.Double, doubleValue: 5 }],
    });
    await one.publish('spBv1.0/mine/DCMD/hall-a/m1', payload, true);
    const { commands } = open([one.port]);
    await expect.poll(() => commands).toEqual([`m1 ${payload.length} true`]);
    await one.publish('spBv1.0/mine/DCMD/hall-a/m1', payload);
    await expect.poll(() => commands.length).toBe(2);
    expect(commands[1]).toBe(`m1 ${payload.length} false`);
  });
});
