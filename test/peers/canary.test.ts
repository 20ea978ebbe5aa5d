import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { inflateSync } from 'node:zlib';
import { Aedes } from 'aedes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LiveSite, runCli, startLiveSite, until } from '../support/live-site.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'agent', 'main.ts');
/** Secrets of every kind that a configuration can hold. */
const CANARIES = {
  literal: 'canary-Literal-7x!',
  file: 'canary/File"7y',
  broker: 'canary-Broker-7z',
} as const;

/** Each canary as it is, and as JSON, a URL or basic authentication would carry it. */
const forms = Object.values(CANARIES).flatMap((secret) => [
  secret,
  JSON.stringify(secret).slice(1, -1),
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64'),
]);
const found = (text: string) => forms.filter((form) => text.includes(form));

describe('secrets of the configuration', () => {
  let live: LiveSite;
  let server: Server;
  let broker: Aedes;
  let agent: ChildProcess;
  let log = '';
  let published = '';
  let messages = 0;
  let credentials = '';

  beforeAll(async () => {
    broker = await Aedes.createBroker();
    broker.authenticate = (_client, _user, password, done) => {
      credentials = String(password);
      done(null, true);
    };
    broker.on('publish', (packet) => {
      published += `${packet.topic} ${String(packet.payload)}\n`;
      messages += 1;
    });
    server = createServer(broker.handle);
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
    live = await startLiveSite({ miners: 6, gpuNodes: 0 }, port);
    writeFileSync(join(live.folder, 'secret'), CANARIES.file, { mode: 0o600 });
    const text = readFileSync(live.config, 'utf8');
    let entries = 0;
    const salted = text
      .split('\n')
      .filter((line) => !line.startsWith('mqtt:'))
      .map((line) => {
        if (!/^ {2}- \{ id: [^,]+, limit: [^,]+, hosts:/.test(line)) return line;
        entries += 1;
        const bare = line.replace(/, (user|password): [^,}]+/g, '');
        const password = entries % 2 === 0 ? '{ file: secret }' : JSON.stringify(CANARIES.literal);
        return bare.replace(/ \}$/, `, user: root, password: ${password} }`);
      })
      .join('\n');
    expect(entries).toBeGreaterThanOrEqual(2);
    writeFileSync(
      live.config,
      `${salted}\nmqtt: { url: "mqtt://127.0.0.1:${port}", username: s, password: { env: BROKER } }\n`,
    );
    agent = spawn(process.execPath, [MAIN, 'run', '-v', '--config', live.config], {
      env: { ...process.env, BROKER: CANARIES.broker },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [agent.stdout, agent.stderr])
      stream?.on('data', (chunk: Buffer) => {
        log += chunk.toString('utf8');
      });
    await until(() => (messages > 10 && published.includes('tele/site') ? true : null));
  });

  afterAll(async () => {
    agent.kill('SIGKILL');
    server.close();
    broker.close();
    await live.stop();
  });

  it('reach whom they are for, and stand in no message to the broker', () => {
    expect(credentials).toBe(CANARIES.broker);
    expect(found(published)).toEqual([]);
  });

  it('stand in nothing that the page, the metrics and the command line give', async () => {
    const base = `http://127.0.0.1:${live.pagePort}`;
    for (const path of ['/', '/metrics', '/healthz', ...API.map((name) => `/api/v1/${name}`)]) {
      const text = await (await fetch(`${base}${path}`)).text();
      expect(text.length, path).toBeGreaterThan(1);
      expect(found(text), path).toEqual([]);
    }
    for (const command of ['status', 'check', 'reload', 'doctor', 'log']) {
      const run = await runCli([command, '--json', '--config', live.config], { BROKER: CANARIES.broker });
      expect(found(run.stdout + run.stderr), command).toEqual([]);
    }
  });

  it('stand in no support bundle', async () => {
    const file = join(live.folder, 'support.json');
    const run = await runCli(['support', '-o', file, '--config', live.config], { BROKER: CANARIES.broker });
    expect(run.code, run.stderr).toBe(0);
    const text = readFileSync(file, 'utf8');
    expect(found(text)).toEqual([]);
    const bundle = JSON.parse(text) as {
      configuration: { inForce: { miners: { password: unknown }[] } };
      agent: { status: { site: string } };
    };
    expect(bundle.configuration.inForce.miners[0]?.password).toBe('[secret]');
    expect(bundle.agent.status.site).toBe('demo');
  });

  it('stand neither in the log nor anywhere in the state, packed columns included', async () => {
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill('SIGTERM');
    await ended;
    expect(log).toContain('agent runs');
    expect(found(log)).toEqual([]);
    const state = join(live.folder, 'state');
    let packed = 0;
    for (const name of readdirSync(state)) {
      if (name.endsWith('.sock')) continue;
      expect(found(readFileSync(join(state, name), 'latin1')), name).toEqual([]);
      if (!name.endsWith('.db')) continue;
      const database = new DatabaseSync(join(state, name), { readOnly: true });
      const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
      for (const { name: table } of tables)
        for (const row of database.prepare(`SELECT * FROM "${String(table)}"`).iterate())
          for (const column of Object.values(row)) {
            if (!(column instanceof Uint8Array)) continue;
            const text = inflated(column);
            if (text === null) continue;
            packed += 1;
            expect(found(text), `${name} ${String(table)}`).toEqual([]);
          }
      database.close();
    }
    expect(packed).toBeGreaterThan(1);
  });
});

const API = ['site', 'devices', 'decisions', 'alarms', 'plan', 'orders', 'transfers', 'log'];

function inflated(bytes: Uint8Array): string | null {
  try {
    return inflateSync(bytes).toString('utf8');
  } catch {
    return null;
  }
}
