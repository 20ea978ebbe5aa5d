import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { connect, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodePayload, encodePayload, type SparkplugMetric } from '../../protocols/sparkplug/payload.ts';
import {
  freePort,
  type LiveSite,
  runCli,
  startAgentProcess,
  startLiveSite,
  until,
} from '../support/live-site.ts';
import { available, endProcess, startMosquitto } from '../support/mosquitto.ts';
import { SparkplugChecker } from '../support/sparkplug-checker.ts';

const GROUP = 'spBv1.0/demo';
const MAIN = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');

describe.skipIf(!available('mosquitto'))(
  'the agent as Sparkplug edge nodes at a mosquitto (skipped without the Debian package mosquitto)',
  () => {
    let folder = '';
    let port = 0;
    let broker: ChildProcess;
    let live: LiveSite;
    let agent: ChildProcess;
    let client: MqttClient;
    const checker = new SparkplugChecker();
    const seen: { topic: string; metrics: readonly SparkplugMetric[] }[] = [];

    const watch = async () => {
      client = connect({
        protocol: 'mqtt',
        host: '127.0.0.1',
        port,
        protocolVersion: 5,
        reconnectPeriod: 200,
        resubscribe: true,
      });
      // A broker that is killed sends no wills.
      client.on('close', () => checker.lost());
      client.on('message', (topic, payload, packet) => {
        checker.message({ topic, payload, qos: packet.qos, retain: packet.retain });
        const decoded = decodePayload(payload);
        if (decoded.ok) seen.push({ topic, metrics: decoded.value.metrics });
      });
      await until(() => (client.connected ? true : null));
      await client.subscribeAsync('spBv1.0/#', { qos: 1, rap: true });
    };
    const topics = () => seen.map(({ topic }) => topic.slice(GROUP.length + 1));
    /** Last value of a metric of a device of the site's node. */
    const last = (device: string, name: string) =>
      seen
        .filter(({ topic }) => topic.endsWith(`/site/${device}`) && !topic.includes('CMD'))
        .flatMap(({ metrics }) => metrics.filter((metric) => metric.name === name))
        .at(-1);
    const write = (device: string, name: string, doubleValue: number) =>
      client.publishAsync(
        `${GROUP}/DCMD/site/${device}`,
        encodePayload({
          timestamp: Date.now(),
          metrics: [{ name, timestamp: Date.now(), doubleValue }],
        }),
        { qos: 0 },
      );

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-spb-'));
      port = await freePort();
      broker = await startMosquitto(folder, port);
      live = await startLiveSite({ miners: 12, gpuNodes: 2 }, port);
      appendFileSync(
        live.config,
        'sparkplug: { issuer: demo, primaryHost: ignition, keepalive: 2s, rowInterval: 1s }\n',
      );
      await watch();
    });

    afterAll(async () => {
      client?.end(true);
      agent?.kill('SIGTERM');
      await live?.stop();
      if (broker !== undefined) await endProcess(broker);
      rmSync(folder, { recursive: true, force: true });
    });

    it('is born when its host is there, and captured as it is', async () => {
      agent = startAgentProcess(live.config);
      const file = join(folder, 'capture.json');
      const capture = spawn(process.execPath, [
        MAIN,
        'mqtt',
        'capture',
        file,
        '--url',
        `mqtt://127.0.0.1:${port}`,
        '--topic',
        `${GROUP}/+/site/#`,
      ]);
      let said = '';
      capture.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString('utf8');
      });
      await expect.poll(() => said).toContain('Writing down');
      // Its connection is there, and nothing is said.
      await expect
        .poll(async () => (await runCli(['status', '--json', '-c', live.config])).stdout.length)
        .toBeGreaterThan(100);
      expect(topics()).toEqual([]);
      await client.publishAsync(
        'spBv1.0/STATE/ignition',
        JSON.stringify({ online: true, timestamp: Date.now() }),
        { qos: 1, retain: true },
      );
      await expect
        .poll(topics)
        .toEqual(
          expect.arrayContaining(['NBIRTH/site', 'DBIRTH/site/limit.grid', 'DBIRTH/site/meter.grid-meter']),
        );
      await expect.poll(topics).toEqual(expect.arrayContaining(['DBIRTH/hall-a/hall-a-001']));
      await expect
        .poll(() => topics().filter((topic) => topic.startsWith('DDATA/site')).length)
        .toBeGreaterThan(3);
      const ended = new Promise((resolve) => capture.once('close', resolve));
      capture.kill('SIGINT');
      await ended;
      const { captures } = JSON.parse(readFileSync(file, 'utf8')) as {
        captures: {
          name: string;
          messages: { topic: string; qos: number; retain: boolean; payload_b64: string; at: string }[];
        }[];
      };
      const judge = new SparkplugChecker();
      for (const { payload_b64, ...message } of captures[0]!.messages)
        judge.message({ ...message, payload: Buffer.from(payload_b64, 'base64') });
      expect(judge.counts['NBIRTH']).toBe(1);
      expect(judge.findings).toEqual([]);
      expect(new Date(captures[0]!.messages[0]!.at).getTime()).toBeGreaterThan(0);
      expect(checker.findings).toEqual([]);
    });

    it('takes a limit that is written, with the authority of its issuer, and says what became of it', async () => {
      const power = last('limit.grid', 'powerWatts')!.doubleValue!;
      const watts = Math.round(power * 0.7);
      await write('limit.grid', 'limitWatts', watts);
      await expect.poll(() => last('limit.grid', 'limitWatts')?.doubleValue).toBe(watts);
      expect(last('limit.grid', 'limitSource')?.stringValue).toBe('demo');
      await expect.poll(() => last('limit.grid', 'orderStatus')?.stringValue).toBe('done');
      await write('limit.grid', 'limitWatts', -5);
      await expect.poll(() => last('limit.grid', 'orderStatus')?.stringValue).toBe('rejected');
      expect(last('limit.grid', 'limitWatts')?.doubleValue).toBe(watts);
      await write('limit.grid', 'worstWatts', 1);
      await expect.poll(() => last('limit.grid', 'orderReason')?.stringValue).toMatch(/worstWatts/);
    });

    it('is dead when it is killed, and goes on with the next number', async () => {
      const numbers = () =>
        seen
          .filter(({ topic }) => topic === `${GROUP}/NBIRTH/site`)
          .map(({ metrics }) => metrics.find(({ name }) => name === 'bdSeq')!.longValue!);
      const before = numbers().at(-1)!;
      await endProcess(agent, 'SIGKILL');
      await expect.poll(() => topics().filter((topic) => topic === 'NDEATH/site').length).toBe(1);
      agent = startAgentProcess(live.config);
      await expect.poll(() => numbers().at(-1)).toBe((before + 1n) % 256n);
      expect(checker.findings).toEqual([]);
    });

    it('tells what passed while the broker was away as history', async () => {
      await expect
        .poll(() => topics().filter((topic) => topic === 'DBIRTH/site/limit.grid').length)
        .toBeGreaterThan(1);
      await endProcess(broker);
      const gone = Date.now();
      const kept = () => {
        const database = new DatabaseSync(join(live.folder, 'state', 'sparkplug.db'), { readOnly: true });
        const row = database.prepare('SELECT count(*) AS count FROM kept WHERE ts > ?').get(gone + 1000);
        database.close();
        return Number(row?.['count']);
      };
      await expect.poll(kept).toBeGreaterThan(2);
      const back = Date.now();
      broker = await startMosquitto(folder, port);
      await client.publishAsync(
        'spBv1.0/STATE/ignition',
        JSON.stringify({ online: true, timestamp: Date.now() }),
        { qos: 1, retain: true },
      );
      const late = () =>
        seen.flatMap(({ metrics }) =>
          metrics.filter(
            ({ isHistorical, timestamp }) => isHistorical === true && timestamp! > gone && timestamp! < back,
          ),
        );
      await expect.poll(() => late().length).toBeGreaterThan(0);
      expect(checker.findings).toEqual([]);
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      agent.kill('SIGTERM');
      await ended;
      await expect.poll(() => topics().at(-1)).toMatch(/^NDEATH/);
      expect(checker.findings).toEqual([]);
    });
  },
);
