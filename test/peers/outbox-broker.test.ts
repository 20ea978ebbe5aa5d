import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type MqttClient } from 'mqtt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openSpool, type Spool } from '../../agent/store/spool.ts';
import { MqttLink } from '../../agent/telemetry/mqtt-link.ts';
import { Outbox } from '../../agent/telemetry/outbox.ts';
import { systemClock } from '../../protocols/clock.ts';
import { freePort, until } from '../support/live-site.ts';
import { available, endProcess, startMosquitto } from '../support/mosquitto.ts';

/** Records and telemetry through a real broker that is killed, stopped, restarted and slow. */
describe.skipIf(!available('mosquitto'))(
  'what is published while a real mosquitto misbehaves (skipped without the Debian package mosquitto)',
  () => {
    let folder = '';
    let port = 0;
    let broker: ChildProcess;
    let spool: Spool;
    let link: MqttLink;
    let outbox: Outbox;
    let reader: MqttClient;
    const received = new Map<string, number[]>();

    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-outbox-'));
      port = await freePort();
      broker = await startMosquitto(folder, port, ['allow_anonymous true'], true);
      spool = openSpool({ folder, maximumBytes: 50_000_000, clock: systemClock });
      link = new MqttLink(
        {
          urls: [`mqtt://127.0.0.1:${port}`],
          prefix: 'x/v1/s',
          clientId: 'site',
          username: null,
          password: null,
          keepaliveMs: 1000,
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
      outbox = new Outbox(link, spool, systemClock, () => 0, {
        site: 's',
        compress: false,
        replayBytesPerSecond: 10_000_000,
        replayDelayMs: 0,
      });
      received.clear();
      reader = connect({
        protocol: 'mqtt',
        host: '127.0.0.1',
        port,
        clientId: 'centre',
        clean: false,
        reconnectPeriod: 100,
        protocolVersion: 4,
      });
      reader.on('message', (topic, payload) => {
        const { seq } = JSON.parse(payload.toString('utf8')) as { seq: number };
        received.set(topic, [...(received.get(topic) ?? []), seq]);
      });
      await until(() => (reader.connected ? true : null));
      await reader.subscribeAsync('x/v1/s/#', { qos: 1 });
      link.start();
      await until(() => (link.connected ? true : null));
    });

    afterEach(async () => {
      outbox.stop();
      await link.stop(null);
      reader.end(true);
      broker.kill('SIGCONT');
      await endProcess(broker);
      rmSync(folder, { recursive: true, force: true });
    });

    const say = (topic: string, kind: 'record' | 'telemetry') => {
      const seq = spool.nextSequence(topic.replace('tele/', ''));
      outbox.publish({ topic, kind, retain: false, body: { v: 1, site: 's', ts: Date.now(), seq } });
      return seq;
    };
    /** Publishes a record and a telemetry message each 5 ms for `ms`, calling `during` half way. */
    const publishFor = async (ms: number, during: () => Promise<void> | void) => {
      const said = { event: [] as number[], site: [] as number[] };
      const mishaps: unknown[] = [];
      for (let at = 0; at < ms; at += 5) {
        if (at === Math.floor(ms / 10) * 5) mishaps.push(during());
        said.event.push(say('event', 'record'));
        said.site.push(say('tele/site', 'telemetry'));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await Promise.all(mishaps);
      return said;
    };
    const allThere = async (said: { event: number[]; site: number[] }) => {
      await until(() => {
        const events = new Set(received.get('x/v1/s/event'));
        const site = new Set([
          ...(received.get('x/v1/s/tele/site') ?? []),
          ...(received.get('x/v1/s/hist/site') ?? []),
        ]);
        return said.event.every((seq) => events.has(seq)) && said.site.every((seq) => site.has(seq))
          ? true
          : null;
      });
      // Without its duplicates each stream is in order.
      for (const topic of ['x/v1/s/event', 'x/v1/s/tele/site', 'x/v1/s/hist/site']) {
        const once = [...new Set(received.get(topic) ?? [])];
        expect(once).toEqual([...once].sort((a, b) => a - b));
      }
    };

    it('killed and started again: nothing is lost', async () => {
      const said = await publishFor(2000, async () => {
        await endProcess(broker, 'SIGTERM');
        broker = await startMosquitto(folder, port, ['allow_anonymous true'], true);
      });
      await allThere(said);
    });

    it('killed without warning: everything that it had not acknowledged comes', async () => {
      // What it did acknowledge may be gone with it: nobody but the broker can help that.
      const before = spool.counts().records;
      await endProcess(broker);
      const said = await publishFor(500, () => undefined);
      expect(spool.counts().records).toBeGreaterThanOrEqual(before + said.event.length);
      broker = await startMosquitto(folder, port, ['allow_anonymous true'], true);
      // A killed broker may have forgotten the subscription of the centre.
      await until(() => (reader.connected ? true : null));
      await reader.subscribeAsync('x/v1/s/#', { qos: 1 });
      await allThere(said);
    });

    it('stopped for longer than the keep-alive: noticed, and nothing is lost', async () => {
      const attempts = link.state().attempts;
      const said = await publishFor(2000, async () => {
        broker.kill('SIGSTOP');
        await until(() => (link.connected ? null : true));
        broker.kill('SIGCONT');
      });
      await allThere(said);
      expect(link.state().attempts).toBeGreaterThan(attempts);
    });

    it('slow: live telemetry overtakes what waits, nothing is lost', async () => {
      const said = await publishFor(2000, async () => {
        for (let round = 0; round < 4; round += 1) {
          broker.kill('SIGSTOP');
          await new Promise((resolve) => setTimeout(resolve, 150));
          broker.kill('SIGCONT');
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      });
      await allThere(said);
    });
  },
);
