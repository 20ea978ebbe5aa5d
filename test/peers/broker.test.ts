import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { connect, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { messageSchemas } from '../../agent/telemetry/asyncapi.ts';
import { formOf } from '../../agent/telemetry/schemas.ts';
import {
  freePort,
  type LiveSite,
  runCli,
  startAgentProcess,
  startLiveSite,
  until,
} from '../support/live-site.ts';
import { available, startMosquitto } from '../support/mosquitto.ts';

describe.skipIf(!available('mosquitto'))(
  'a real mosquitto (skipped without the Debian package mosquitto)',
  () => {
    let folder = '';
    let port = 0;
    let broker: ChildProcess;
    let live: LiveSite;
    let agent: ChildProcess;
    let client: MqttClient;
    const seen: { topic: string; retain: boolean; body: Record<string, unknown> }[] = [];
    /** Everything that ever came, for the schemas. */
    const every: { topic: string; body: Record<string, unknown> }[] = [];
    const last = (topic: string) =>
      seen.findLast((message) => message.topic === `switchyard/v1/demo/${topic}`)?.body ?? null;

    const watch = async () => {
      client = connect({ protocol: 'mqtt', host: '127.0.0.1', port, reconnectPeriod: 200 });
      client.on('message', (topic, payload, packet) => {
        if (payload.length > 0)
          seen.push({ topic, retain: packet.retain, body: JSON.parse(payload.toString('utf8')) });
        if (payload.length > 0) every.push({ topic, body: JSON.parse(payload.toString('utf8')) });
      });
      await until(() => (client.connected ? true : null));
      await client.subscribeAsync('switchyard/v1/demo/#', { qos: 1 });
    };

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-broker-'));
      port = await freePort();
      broker = await startMosquitto(folder, port);
      live = await startLiveSite({ miners: 12, gpuNodes: 2 }, port);
      await watch();
      agent = startAgentProcess(live.config);
    });

    afterAll(async () => {
      client?.end(true);
      agent?.kill('SIGTERM');
      await live?.stop();
      broker?.kill('SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    });

    it('gets state, info, limits and telemetry in the contract form', async () => {
      const gridNow = () =>
        (
          last('tele/site') as { limits: { id: string; powerWatts: number | null; basis: string }[] } | null
        )?.limits.find((limit) => limit.id === 'grid');
      // The agent reports before it has read everything: what it has not seen is told as that.
      await until(() =>
        gridNow()?.basis === 'measured' &&
        (gridNow()?.powerWatts ?? 0) > 10_000 &&
        last('tele/miners') !== null &&
        last('tele/gpus') !== null &&
        last('tele/meters') !== null &&
        last('info/devices/0') !== null
          ? true
          : null,
      );
      expect(last('state')).toMatchObject({ v: 1, site: 'demo', online: true });
      expect(last('info/site')).toMatchObject({ schema: 1 });
      const site = last('tele/site') as {
        seq: number;
        limits: { id: string; powerWatts: number | null; quality: string; basis: string }[];
      };
      expect(gridNow()).toMatchObject({ basis: 'measured', quality: 'good' });
      expect(site.seq).toBeGreaterThan(0);
      const retained = await until(async () => {
        const again = connect({ protocol: 'mqtt', host: '127.0.0.1', port });
        const topics = new Set<string>();
        again.on('message', (topic, _payload, packet) => {
          if (packet.retain) topics.add(topic);
        });
        await until(() => (again.connected ? true : null));
        await again.subscribeAsync('switchyard/v1/demo/#', { qos: 1 });
        await until(() => (topics.size >= 5 ? true : null), 5000).catch(() => null);
        again.end(true);
        return topics;
      });
      expect([...retained].sort()).toEqual(
        ['alarms', 'info/devices/0', 'info/site', 'limits', 'state'].map(
          (topic) => `switchyard/v1/demo/${topic}`,
        ),
      );
    });

    it('carries an order, and its answers tell what was measured', async () => {
      const order = {
        v: 1,
        id: 'test-1',
        site: 'demo',
        type: 'set_limit',
        issuer: 'demo',
        priority: 50,
        issued: Date.now(),
        expires: Date.now() + 30_000,
        seq: 1,
        args: { limit: 'grid', watts: 30_000, withinMs: 30_000 },
      };
      await client.publishAsync('switchyard/v1/demo/cmd/req/test-1', JSON.stringify(order), { qos: 1 });
      await until(() =>
        seen.some(
          (message) => message.topic.endsWith('cmd/res/test-1') && message.body['status'] === 'accepted',
        )
          ? true
          : null,
      );
      const accepted = seen.find((message) => message.topic.endsWith('cmd/res/test-1'))!.body;
      expect(accepted).toMatchObject({ limitWatts: 30_000 });
      expect(accepted['expectedWatts']).toBeTypeOf('number');
      const done = await until(
        () =>
          seen.find(
            (message) =>
              message.topic.endsWith('cmd/res/test-1') &&
              (message.body['status'] === 'done' || message.body['status'] === 'failed'),
          ) ?? null,
      );
      expect(done.body).toMatchObject({ status: 'done', limitWatts: 30_000 });
      expect(done.body['measuredWatts']).toBeLessThanOrEqual(30_000);
      expect(last('decision')).toMatchObject({ mode: 'curtailed' });
    });

    it('comes back after the broker was away, and says everything retained again', async () => {
      broker.kill('SIGKILL');
      await until(() => (client.connected ? null : true));
      seen.length = 0;
      broker = await startMosquitto(folder, port);
      await until(() => (client.connected ? true : null));
      await client.subscribeAsync('switchyard/v1/demo/#', { qos: 1 });
      await until(() =>
        last('state')?.['online'] === true && last('limits') !== null && last('tele/site') !== null
          ? true
          : null,
      );
    });

    it('delivers the will when the agent is killed', async () => {
      agent.kill('SIGKILL');
      await until(() => (last('state')?.['online'] === false ? true : null));
      agent = startAgentProcess(live.config);
      await until(() => (last('state')?.['online'] === true ? true : null));
    });

    it('keeps an order that came while the agent was down', async () => {
      agent.kill('SIGKILL');
      await until(() => (last('state')?.['online'] === false ? true : null));
      const order = {
        v: 1,
        id: 'test-2',
        site: 'demo',
        type: 'ping',
        issuer: 'demo',
        priority: 50,
        issued: Date.now(),
        expires: Date.now() + 60_000,
        seq: 2,
        args: {},
      };
      await client.publishAsync('switchyard/v1/demo/cmd/req/test-2', JSON.stringify(order), { qos: 1 });
      agent = startAgentProcess(live.config);
      const answer = await until(
        () => seen.findLast((message) => message.topic.endsWith('cmd/res/test-2')) ?? null,
      );
      expect(answer.body['status']).toMatch(/accepted|done/);
    });

    it('sent nothing that its schema does not describe', () => {
      const ajv = new Ajv2020({ strict: false });
      const validators = new Map(
        Object.entries(messageSchemas()).map(([name, schema]) => [name, ajv.compile(schema as object)]),
      );
      const names = new Set<string>();
      for (const { topic, body } of every) {
        const form = formOf(topic.slice('switchyard/v1/demo/'.length));
        expect(form, topic).not.toBeNull();
        const validate = validators.get(form!.name)!;
        if (!validate(body)) throw new Error(`${topic}: ${ajv.errorsText(validate.errors)}`);
        names.add(form!.name);
      }
      for (const name of [
        'state',
        'limits',
        'alarms',
        'teleSite',
        'teleMeters',
        'event',
        'decision',
        'answer',
        'health',
      ])
        expect([...names]).toContain(name);
    });

    it('answers mqtt test and has metrics that promtool accepts', async () => {
      const test = await runCli(['mqtt', 'test', '--url', `mqtt://127.0.0.1:${port}`, '--json']);
      expect(JSON.parse(test.stdout)).toMatchObject({ ok: true, exit: 0 });
      const dead = await runCli(['mqtt', 'test', '--url', `mqtt://127.0.0.1:${await freePort()}`]);
      expect(dead.code).toBe(4);
      expect(dead.stderr).toMatch(/no broker at/);
      if (!available('promtool')) return;
      const metrics = await until(async () => {
        const response = await fetch(`http://127.0.0.1:${live.pagePort}/metrics`).catch(() => null);
        return response === null ? null : response.text();
      });
      const checked = spawn('promtool', ['check', 'metrics']);
      let said = '';
      checked.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
      });
      checked.stdin.end(metrics);
      const code = await new Promise((resolve) => checked.once('close', resolve));
      expect(said).toBe('');
      expect(code).toBe(0);
    });
  },
);
