import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { type KubernetesConfig, KubernetesDrain } from '../../drivers/gpu/kubernetes-drain.ts';
import { systemClock } from '../../protocols/clock.ts';
import { startKubernetesApi } from '../support/kubernetes-api.ts';
import { freePort } from '../support/live-site.ts';
import { AUTHORITY, certificate, type Shown } from '../support/tls-server.ts';

const never = new AbortController().signal;
const live = { dryRun: false };
let folder: string;
let tokenFile: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-kubernetes-'));
  tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'first-token\n');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function start(options: { shown?: Shown } = {}) {
  const api = await startKubernetesApi(options);
  onTestFinished(api.stop);
  return api;
}

function open(url: string, own: Partial<KubernetesConfig> = {}): KubernetesDrain {
  const config = { kind: 'kubernetes', node: 'n1', url, ca: AUTHORITY, tokenFile, grace: 120_000 } as const;
  return new KubernetesDrain({ ...config, evict: 'gpu', ...own }, systemClock);
}

describe('eviction', () => {
  test('ends pods that hold a GPU, with grace, each as itself; leaves the others alone', async () => {
    const api = await start();
    api.set({ state: 'IDLE+DRAIN', reason: 'h-1' });
    api.setPods([
      { name: 'train-0', gpus: 8, owner: 'Job' },
      { name: 'dcgm-exporter', gpus: 1, owner: 'DaemonSet' },
      { name: 'web', namespace: 'shop' },
      { name: 'mirror', gpus: 1, mirror: true },
      { name: 'done', gpus: 8, phase: 'Succeeded' },
    ]);
    const driver = open(api.url);
    expect(await driver.read(never)).toMatchObject({ ok: true, value: { state: 'draining', mark: 'h-1' } });
    expect(await driver.evict({ dryRun: true }, never)).toEqual({
      ok: true,
      value: { sent: false, note: 'would run: evict ai/train-0' },
    });
    expect(api.writes()).toEqual([]);
    expect(await driver.evict(live, never)).toMatchObject({ ok: true, value: { sent: true } });
    const [only, ...more] = api.writes();
    expect(more).toEqual([]);
    expect(only).toMatch(/^evict ai\/train-0 /);
    expect(JSON.parse(only!.slice('evict ai/train-0 '.length))).toEqual({
      apiVersion: 'policy/v1',
      kind: 'Eviction',
      metadata: { name: 'train-0', namespace: 'ai' },
      deleteOptions: { gracePeriodSeconds: 120, preconditions: { uid: 'uid-train-0' } },
    });
    // It saves and ends: the node works on, and is asked nothing more.
    expect(await driver.read(never)).toMatchObject({ ok: true, value: { state: 'draining' } });
    expect(await driver.evict(live, never)).toMatchObject({ ok: true, value: { sent: false } });
    expect(api.writes()).toEqual([]);
    api.setPods(api.pods().filter((pod) => pod.name !== 'train-0'));
    expect(await driver.read(never)).toMatchObject({ ok: true, value: { state: 'drained', mark: 'h-1' } });
  });

  test('of every pod, where that is configured: those of DaemonSets and mirror pods stay', async () => {
    const api = await start();
    api.set({ state: 'IDLE+DRAIN', reason: 'h-1' });
    api.setPods([
      { name: 'web', namespace: 'shop' },
      { name: 'agent', owner: 'DaemonSet' },
      { name: 'proxy', mirror: true },
    ]);
    await open(api.url, { evict: 'all' }).evict(live, never);
    expect(api.writes().map((line) => line.split(' ')[1])).toEqual(['shop/web']);
  });

  test('is asked again of a pod that a disruption budget holds', async () => {
    const api = await start();
    api.set({ state: 'IDLE+DRAIN', reason: 'h-1' });
    api.setPods([
      { name: 'a', gpus: 1, budgetSays: 'no' },
      { name: 'b', gpus: 1 },
    ]);
    const driver = open(api.url);
    expect(await driver.evict(live, never)).toEqual({
      ok: true,
      value: { sent: true, note: 'evicted 1 of 2 pods; a disruption budget holds ai/a' },
    });
    delete api.pods()[0]!.budgetSays;
    api.writes();
    expect(await driver.evict(live, never)).toEqual({
      ok: true,
      value: { sent: true, note: 'evicted 1 of 1 pods' },
    });
    expect(api.writes()).toHaveLength(1);
  });

  test('a pod that went meanwhile, or whose name another has, is no failure', async () => {
    const api = await start();
    api.set({ state: 'IDLE+DRAIN', reason: 'h-1' });
    let looks = 0;
    // Listed under a uid that it does not have any more when it is evicted.
    const swapped = {
      name: 'a',
      gpus: 1,
      get uid() {
        looks += 1;
        return `uid-${looks}`;
      },
    };
    api.setPods([swapped]);
    expect(await open(api.url).evict(live, never)).toMatchObject({ ok: true });
    expect(api.pods()[0]).not.toHaveProperty('ending');
  });

  test('a list that goes on for ever is given up', async () => {
    const api = await start();
    api.set({ state: 'IDLE+DRAIN', reason: 'h-1' });
    api.setPods(Array.from({ length: 50 }, (_, index) => ({ name: `p${index}`, gpus: 1 })));
    expect(await open(api.url).read(never)).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });
});

describe('the cordon', () => {
  test('is not laid over one that somebody else laid between reading and writing', async () => {
    const api = await start();
    const driver = open(api.url);
    await driver.read(never);
    api.meddle('cordon');
    expect(await driver.drain('h-1', live, never)).toMatchObject({ ok: false, error: { kind: 'busy' } });
    expect(api.node()).toEqual({ state: 'IDLE+DRAIN', reason: '' });
  });

  test('leaves no mark behind when it goes', async () => {
    const api = await start();
    const driver = open(api.url);
    await driver.drain('h-1', live, never);
    expect(api.node()).toEqual({ state: 'IDLE+DRAIN', reason: 'h-1' });
    await driver.resume(live, never);
    expect(api.node()).toEqual({ state: 'IDLE', reason: '' });
  });

  test('that somebody took away by hand is no cordon, whatever mark is left', async () => {
    const api = await start();
    api.set({ state: 'IDLE', reason: 'h-1' });
    expect(await open(api.url).read(never)).toMatchObject({
      ok: true,
      value: { state: 'in-service', mark: null, reason: null },
    });
  });
});

describe('the token', () => {
  test('is read again at every request', async () => {
    const api = await start();
    const driver = open(api.url);
    expect((await driver.read(never)).ok).toBe(true);
    api.setToken('second-token');
    const stale = await driver.read(never);
    expect(stale).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    expect(!stale.ok && stale.error.message).toContain('does not accept the token');
    expect(JSON.stringify(stale)).not.toContain('first-token');
    writeFileSync(tokenFile, 'second-token\n');
    expect((await driver.read(never)).ok).toBe(true);
  });

  test.each([
    ['', 'is empty'],
    ['two words', 'holds no bearer token'],
  ])('a file with %j is told', async (text, words) => {
    const api = await start();
    writeFileSync(tokenFile, text);
    const reading = await open(api.url).read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    expect(!reading.ok && reading.error.message).toContain(words);
    expect(api.requests()).toBe(0);
  });

  test('a file that is not there is told', async () => {
    const reading = await open('https://127.0.0.1:1', { tokenFile: join(folder, 'none') }).read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    expect(!reading.ok && reading.error.message).toContain('ENOENT');
  });
});

describe('what goes wrong is said with what to do', () => {
  test.each([
    ['get', 'nodes', 'read'],
    ['list', 'pods', 'read'],
    ['patch', 'nodes', 'drain'],
    ['create', 'pods/eviction', 'evict'],
  ] as const)('an account that may not %s %s', async (verb, resource, what) => {
    const api = await start();
    api.set({ state: what === 'drain' ? 'MIXED' : 'MIXED+DRAIN', reason: what === 'drain' ? '' : 'h-1' });
    api.deny(verb, resource);
    const driver = open(api.url);
    const said =
      what === 'read'
        ? await driver.read(never)
        : what === 'drain'
          ? await driver.drain('h-1', live, never)
          : await driver.evict(live, never);
    expect(said).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
    if (said.ok) return;
    expect(said.error.message).toContain(`${verb} ${resource}`);
    expect(said.error.hint).toContain(`"${verb}" on resource "${resource}"`);
  });

  test('no such node', async () => {
    const api = await start();
    const reading = await open(api.url, { node: 'n2' }).read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    expect(!reading.ok && reading.error.hint).toContain('kubectl get nodes');
  });

  test('nobody there', async () => {
    const reading = await open(`https://127.0.0.1:${await freePort()}`).read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  });

  test('somebody who speaks no TLS', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume();
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => new Promise((resolve) => server.close(() => resolve())));
    const { port } = server.address() as { port: number };
    const reading = await open(`https://127.0.0.1:${port}`).read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  test.each([
    ['own', 'did not sign'],
    ['expired', 'not valid today'],
    ['elsewhere', 'for another name'],
  ] as const)('a certificate that is %s, before anything is sent', async (shown, words) => {
    const api = await start({ shown });
    const reading = await open(api.url).read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    expect(!reading.ok && reading.error.message).toContain(words);
    expect(!reading.ok && reading.error.hint).toBeTruthy();
    expect(api.requests()).toBe(0);
  });

  test('another certificate than the pinned one, before anything is sent', async () => {
    const api = await start({ shown: 'own' });
    const { fingerprint256 } = new X509Certificate(certificate('own'));
    const pinned = open(api.url, { ca: undefined, fingerprint: fingerprint256 });
    expect((await pinned.read(never)).ok).toBe(true);
    const before = api.requests();
    const other = open(api.url, { ca: undefined, fingerprint: fingerprint256.replace(/^../, '00') });
    const reading = await other.read(never);
    expect(reading).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
    expect(!reading.ok && reading.error.message).toContain('another certificate than the pinned one');
    expect(api.requests()).toBe(before);
  });
});
