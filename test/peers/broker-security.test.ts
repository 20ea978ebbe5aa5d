import { type ChildProcess, execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MqttLink } from '../../agent/telemetry/mqtt-link.ts';
import type { TlsFiles } from '../../agent/telemetry/mqtt-stream.ts';
import { systemClock } from '../../protocols/clock.ts';
import { freePort, runCli, until } from '../support/live-site.ts';
import { available, endProcess, startMosquitto } from '../support/mosquitto.ts';

const NO_TLS: TlsFiles = { ca: null, cert: null, key: null };

function openLink(urls: string[], more: { tls?: TlsFiles; username?: string; password?: string } = {}) {
  const seen: { topic: string; retained: boolean }[] = [];
  let losses = 0;
  const link = new MqttLink(
    {
      urls,
      prefix: 'mine/v1/edge1',
      clientId: 'edge1',
      username: more.username ?? null,
      password: more.password === undefined ? null : { reveal: () => more.password! },
      keepaliveMs: 1000,
      tls: more.tls ?? NO_TLS,
      subscriptions: ['cmd/req/+'],
    },
    {
      will: () => ({ online: false }),
      onConnected: () => undefined,
      onLost: () => {
        losses += 1;
      },
      onMessage: (topic, _payload, retained) => seen.push({ topic, retained }),
    },
    systemClock,
    () => 0,
  );
  link.start();
  return { link, seen, losses: () => losses };
}

describe.skipIf(!available('mosquitto') || !available('openssl'))(
  'brokers with certificates, passwords and access lists (skipped without mosquitto and openssl)',
  () => {
    let folder = '';
    const brokers: ChildProcess[] = [];
    const at = (name: string) => join(folder, name);
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
    const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const authority = (name: string) =>
      openssl(
        'req',
        '-x509',
        ...EC,
        '-days',
        '30',
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.crt`,
        '-subj',
        `/CN=${name}`,
      );
    const leaf = (name: string, ca: string) => {
      openssl('req', ...EC, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
      writeFileSync(at('ext'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n');
      openssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        `${ca}.crt`,
        '-CAkey',
        `${ca}.key`,
        '-CAcreateserial',
        '-days',
        '10',
        '-extfile',
        'ext',
        '-out',
        `${name}.crt`,
      );
    };
    let mtlsPort = 0;
    let passwordPort = 0;

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'switchyard-tls-'));
      authority('ca');
      authority('other-ca');
      leaf('server', 'ca');
      leaf('edge1', 'ca');
      leaf('stranger', 'other-ca');
      execFileSync('mosquitto_passwd', ['-c', '-b', at('passwd'), 'edge1', 'secret1'], { stdio: 'ignore' });
      execFileSync('mosquitto_passwd', ['-b', at('passwd'), 'mute', 'secret2'], { stdio: 'ignore' });
      execFileSync('mosquitto_passwd', ['-b', at('passwd'), 'deaf', 'secret3'], { stdio: 'ignore' });
      chmodSync(at('passwd'), 0o600);
      writeFileSync(
        at('acl'),
        [
          'user edge1',
          'topic write mine/v1/edge1/#',
          'topic read mine/v1/edge1/cmd/#',
          'user mute',
          'topic read mine/v1/edge1/#',
          'user deaf',
          'topic write mine/v1/edge1/#',
          '',
        ].join('\n'),
      );
      mtlsPort = await freePort();
      passwordPort = await freePort();
      brokers.push(
        await startMosquitto(folder, mtlsPort, [
          `cafile ${at('ca.crt')}`,
          `certfile ${at('server.crt')}`,
          `keyfile ${at('server.key')}`,
          'require_certificate true',
          'use_identity_as_username true',
          'allow_anonymous false',
          `acl_file ${at('acl')}`,
        ]),
        await startMosquitto(folder, passwordPort, [
          'allow_anonymous false',
          `password_file ${at('passwd')}`,
          `acl_file ${at('acl')}`,
        ]),
      );
    });
    afterAll(async () => {
      for (const broker of brokers) await endProcess(broker);
      rmSync(folder, { recursive: true, force: true });
    });

    const files = (ca: string, name: string | null): TlsFiles => ({
      ca: at(`${ca}.crt`),
      cert: name === null ? null : at(`${name}.crt`),
      key: name === null ? null : at(`${name}.key`),
    });

    it('connects with the certificate of the site to the broker of its authority, and sends', async () => {
      const { link, seen } = openLink([`mqtts://127.0.0.1:${mtlsPort}`], { tls: files('ca', 'edge1') });
      await until(() => (link.connected ? true : null));
      expect(link.state()).toMatchObject({ protocol: 5, lastError: null });
      await link.send('tele/site', '{}', false);
      await link.send('cmd/req/x', '{}', false);
      await until(() => (seen.length > 0 ? true : null));
      expect(seen).toEqual([{ topic: 'cmd/req/x', retained: false }]);
      await link.stop(null);
    });

    it.each([
      ['another authority than the pinned one', 'other-ca', 'edge1', /self.signed|unable to|certificate/i],
      ['no certificate of its own', 'ca', null, /certificate required|alert|closed/i],
      ['a certificate of another authority', 'ca', 'stranger', /unknown ca|alert|closed/i],
    ])('does not connect with %s', async (_name, ca, own, words) => {
      const { link } = openLink([`mqtts://localhost:${mtlsPort}`], { tls: files(ca, own) });
      const reason = await until(() => link.state().lastError);
      expect(reason).toMatch(words);
      expect(link.connected).toBe(false);
      await link.stop(null);
    });

    it('uses a renewed certificate at the next attempt, without a restart', async () => {
      const tls = { ca: at('ca.crt'), cert: at('renewed.crt'), key: at('renewed.key') };
      leaf('renewed', 'other-ca');
      const { link } = openLink([`mqtts://127.0.0.1:${mtlsPort}`], { tls });
      await until(() => link.state().lastError);
      expect(link.connected).toBe(false);
      leaf('renewed', 'ca');
      await until(() => (link.connected ? true : null));
      await link.stop(null);
    });

    it('says that a password is wrong and does not hammer', async () => {
      const { link } = openLink([`mqtt://127.0.0.1:${passwordPort}`], {
        username: 'edge1',
        password: 'wrong',
      });
      expect(await until(() => link.state().lastError)).toMatch(/does not accept these credentials/);
      expect(link.state().attempts).toBe(1);
      await link.stop(null);
    });

    it('rejects what the access list forbids instead of believing it was taken', async () => {
      const { link } = openLink([`mqtt://127.0.0.1:${passwordPort}`], {
        username: 'mute',
        password: 'secret2',
      });
      await until(() => (link.connected ? true : null));
      await expect(link.send('event', '{}', false)).rejects.toMatchObject({ code: 135 });
      expect(link.connected).toBe(true);
      await link.stop(null);
    });

    const mqttTest = (url: string, extra: string) => {
      const config = at('test.yaml');
      writeFileSync(
        config,
        `site: { id: edge1 }\nlimits: [{ id: grid, rating: 1 MW }]\nmqtt: { url: "${url}", root: mine, ${extra} }\n`,
      );
      return runCli(['mqtt', 'test', '--json', '--timeout', '20s', '--config', config]);
    };
    it('mqtt test: all is well, and over TLS', async () => {
      const tls = `ca: ${at('ca.crt')}, cert: ${at('edge1.crt')}, key: ${at('edge1.key')}`;
      const { code, stdout } = await mqttTest(`mqtts://127.0.0.1:${mtlsPort}`, tls);
      expect(JSON.parse(stdout)).toMatchObject({ data: { protocol: 5, writes: 'ok', orders: 'ok' } });
      expect(code).toBe(0);
    });

    it.each([
      ['mute', 'secret2', { writes: 'refused' }, 'write-refused'],
      ['deaf', 'secret3', { writes: 'ok', orders: 'not-delivered' }, 'orders-not-delivered'],
    ])('mqtt test finds what the access list of %s lacks', async (user, password, data, problem) => {
      writeFileSync(at('secret'), password, { mode: 0o600 });
      const { code, stdout } = await mqttTest(
        `mqtt://127.0.0.1:${passwordPort}`,
        `username: ${user}, password: { file: ${at('secret')} }`,
      );
      const answer = JSON.parse(stdout) as { data: unknown; problems: { code: string }[] };
      expect(answer.data).toMatchObject(data);
      expect(answer.problems.map((one) => one.code)).toContain(problem);
      expect(code).toBe(6);
    });

    it('mqtt test tells a wrong authority from a wrong password', async () => {
      const wrong = await mqttTest(`mqtts://127.0.0.1:${mtlsPort}`, `ca: ${at('other-ca.crt')}`);
      expect(JSON.parse(wrong.stdout)).toMatchObject({ problems: [{ code: 'certificate' }], exit: 6 });
      writeFileSync(at('secret'), 'no', { mode: 0o600 });
      const denied = await mqttTest(
        `mqtt://127.0.0.1:${passwordPort}`,
        `username: edge1, password: { file: ${at('secret')} }`,
      );
      expect(JSON.parse(denied.stdout)).toMatchObject({ problems: [{ code: 'unauthorised' }], exit: 6 });
    });

    it('goes to the second broker when the first one does not answer, and back when that one goes', async () => {
      const [first, second] = [await freePort(), await freePort()];
      let one = await startMosquitto(folder, first);
      const two = await startMosquitto(folder, second);
      brokers.push(two);
      const { link } = openLink([`mqtt://127.0.0.1:${first}`, `mqtt://127.0.0.1:${second}`]);
      await until(() => (link.connected ? true : null));
      expect(link.state().broker).toBe(`127.0.0.1:${first}`);
      await endProcess(one);
      await until(() => (link.connected && link.state().broker.endsWith(String(second)) ? true : null));
      one = await startMosquitto(folder, first);
      brokers.push(one);
      await endProcess(two);
      await until(() => (link.connected && link.state().broker.endsWith(String(first)) ? true : null));
      await link.stop(null);
    });
  },
);

describe('brokers that behave badly', () => {
  it('speaks 3.1.1 where the broker knows no 5, and remembers it', async () => {
    const aedes = await Aedes.createBroker();
    const server = createServer((socket) => aedes.handle(socket));
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
    );
    const { link } = openLink([`mqtt://127.0.0.1:${port}`]);
    await until(() => (link.connected ? true : null));
    expect(link.state()).toMatchObject({ protocol: 4, attempts: 2 });
    await link.stop(null);
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
    server.close();
  });

  /** A broker of a few bytes: takes CONNECT and SUBSCRIBE, then does what the test says. */
  const bareBroker = async (then: (socket: Socket) => void) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => {
        const type = chunk[0]! >> 4;
        // CONNACK of version 5: no session, success, no properties.
        if (type === 1) socket.write(Buffer.from([0x20, 3, 0, 0, 0]));
        // SUBACK with the packet's own id.
        if (type === 8) {
          socket.write(Buffer.from([0x90, 4, chunk[2]!, chunk[3]!, 0, 1]));
          then(socket);
        }
      });
    });
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port)),
    );
    return {
      port,
      close: () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    };
  };

  it('cuts the line before a packet of 200 MB is collected', async () => {
    const broker = await bareBroker((socket) => {
      // PUBLISH that announces 200 MB.
      socket.write(Buffer.from([0x30, 0x80, 0x84, 0xaf, 0x5f]));
    });
    const { link, losses } = openLink([`mqtt://127.0.0.1:${broker.port}`]);
    await until(() => (losses() > 0 ? true : null));
    expect(link.state().lastError).toMatch(/more than 262144 bytes|connection/);
    await link.stop(null);
    broker.close();
  });

  it('gives a line up on which nothing comes any more', async () => {
    const broker = await bareBroker(() => undefined);
    const { link, losses } = openLink([`mqtt://127.0.0.1:${broker.port}`]);
    await until(() => (link.connected ? true : null));
    const pending = link.send('event', '{}', false);
    await expect(pending).rejects.toThrow(/lost|acknowledged/);
    await until(() => (losses() > 0 ? true : null));
    await link.stop(null);
    broker.close();
  });
});
