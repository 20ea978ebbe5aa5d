import { readFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { MinerEndpoint } from '../../../drivers/load-driver.ts';
import { openMiner } from '../../../drivers/miners/registry.ts';
import { systemClock } from '../../../protocols/clock.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';

const GOLDEN = join(import.meta.dirname, '../../golden');
const never = new AbortController().signal;
const deps = { clock: systemClock, random: seededRandom(1) };

const recorded = (file: string): string => readFileSync(join(GOLDEN, file), 'utf8');

interface Asked {
  readonly line: string;
  readonly body: string;
  readonly authorization: string | undefined;
  readonly token: string | undefined;
}

const tokenOf = (headers: IncomingHttpHeaders): string | undefined => String(headers['token'] ?? '');

/** A web server that answers each "METHOD path" as told and keeps what it was asked. */
async function webOf(answer: (asked: Asked) => { readonly status: number; readonly body: string }) {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => {
      body += piece;
    });
    request.on('end', () => {
      const line = `${request.method} ${request.url}`;
      const entry = {
        line,
        body,
        authorization: request.headers.authorization,
        token: tokenOf(request.headers),
      };
      asked.push(entry);
      const { status, body: text } = answer(entry);
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return {
    asked,
    port: address.port,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

const endpointOf = (port: number, webPort: number, password: string | null = null): MinerEndpoint => ({
  deviceId: 'm1' as MinerEndpoint['deviceId'],
  host: '127.0.0.1',
  port,
  webPort,
  user: password === null ? null : 'root',
  password: password === null ? null : { reveal: () => password },
  model: null,
});

/** A cgminer port that answers recorded replies by command and declines the rest. */
const portOf = (files: Readonly<Record<string, string>>) =>
  listenOnLoopback((socket) => {
    socket.once('data', (bytes) => {
      const { command } = JSON.parse(String(bytes)) as { command: string };
      const file = files[command];
      const no = '{"STATUS":[{"STATUS":"E","Code":14,"Msg":"Invalid command"}],"id":1}';
      socket.end(`${file === undefined ? no : recorded(file)}\0`);
    });
  });

describe('Braiins OS over REST', () => {
  const CONSTRAINTS =
    '{"tuner_constraints":{"power_target":{"default":{"watt":3031},"min":{"watt":1200},"max":{"watt":3600}}}}';
  const PAGES: Readonly<Record<string, string>> = {
    'miner/stats': 'miner_stats',
    'performance/tuner-state': 'performance_tuner_state',
    'miner/hw/hashboards': 'miner_hw_hashboards',
    'cooling/state': 'cooling_state',
    'pools/': 'pools',
    'miner/errors': 'miner_errors',
  };

  /** A unit that lets in who holds its token, paused or not. */
  const unit = (status: number) => {
    let tokens = 0;
    return webOf(({ line, authorization, body }) => {
      const [method = '', path = ''] = line.split(' ');
      const page = path.replace('/api/v1/', '');
      if (page === 'auth/login')
        return body === '{"username":"root","password":"secret"}'
          ? { status: 200, body: `{"token":"t${++tokens}","timeout_s":3600}` }
          : { status: 401, body: 'wrong' };
      if (authorization !== `t${tokens}` || tokens === 0) return { status: 401, body: 'no token' };
      if (method === 'PUT') return { status: 200, body: page.startsWith('actions/') ? 'false' : body };
      if (page === 'configuration/constraints') return { status: 200, body: CONSTRAINTS };
      if (page === 'miner/details') {
        const details = JSON.parse(recorded('braiins/s19xp-25.07-plus/miner_details.json')) as object;
        return { status: 200, body: JSON.stringify({ ...details, status }) };
      }
      const file = PAGES[page];
      return file === undefined
        ? { status: 404, body: 'not found' }
        : { status: 200, body: recorded(`braiins/s19xp-25.07-plus/${file}.json`) };
    });
  };
  const writes = (asked: readonly Asked[]) =>
    asked.filter(({ line }) => line.startsWith('PUT')).map(({ line, body }) => [line, body]);

  it('logs in once and reads', async () => {
    await using web = await unit(2);
    const miner = openMiner(endpointOf(1, web.port, 'secret'), 'braiins', deps);
    const reading = await miner.read(never);
    expect(reading).toMatchObject({
      ok: true,
      value: {
        powerWatts: 3137,
        macAddress: '02:ee:da:a9:b6:4a',
        control: { powerLimit: { maxWatts: 3600 } },
      },
    });
    expect(web.asked.filter(({ line }) => line === 'POST /api/v1/auth/login')).toHaveLength(1);
  });

  it('says that the password is wrong', async () => {
    await using web = await unit(2);
    const miner = openMiner(endpointOf(1, web.port, 'wrong'), 'braiins', deps);
    expect(await miner.read(never)).toMatchObject({ ok: false, error: { kind: 'unauthorised' } });
  });

  it('pauses', async () => {
    await using web = await unit(2);
    const miner = openMiner(endpointOf(1, web.port, 'secret'), 'braiins', deps);
    expect(await miner.apply({ kind: 'sleep' }, never)).toMatchObject({
      ok: true,
      value: { acknowledged: true },
    });
    expect(writes(web.asked)).toEqual([['PUT /api/v1/actions/pause', '']]);
  });

  it('sets the target before it resumes, never above what was asked', async () => {
    await using web = await unit(3);
    const miner = openMiner(endpointOf(1, web.port, 'secret'), 'braiins', deps);
    const applied = await miner.apply({ kind: 'run', limitWatts: 2500.9 }, never);
    expect(applied).toMatchObject({ ok: true, value: { acknowledged: true, limitWatts: 2500 } });
    expect(writes(web.asked)).toEqual([
      ['PUT /api/v1/performance/power-target', '{"watt":2500}'],
      ['PUT /api/v1/actions/resume', ''],
    ]);
  });

  it('refuses a target below the least and sends nothing', async () => {
    await using web = await unit(2);
    const miner = openMiner(endpointOf(1, web.port, 'secret'), 'braiins', deps);
    const applied = await miner.apply({ kind: 'run', limitWatts: 1100 }, never);
    expect(applied).toMatchObject({ ok: false, error: { kind: 'refused' } });
    expect(writes(web.asked)).toEqual([]);
  });

  it('reads an older release over GraphQL, and takes no command there', async () => {
    const folder = 'braiins/s21plus-25.05.1-plus';
    await using web = await webOf(({ line, body }) => {
      if (line !== 'POST /graphql') return { status: 404, body: 'not found' };
      const name = body.includes('childSolvers')
        ? 'boards'
        : body.includes('poolGroups')
          ? 'pools'
          : 'system';
      return { status: 200, body: recorded(`${folder}/gql_${name}.json`) };
    });
    const miner = openMiner(endpointOf(1, web.port, 'secret'), 'braiins', deps);
    expect(await miner.read(never)).toMatchObject({
      ok: true,
      value: { powerWatts: 3698, powerLimitWatts: 3878, control: { sleep: false } },
    });
    expect(await miner.apply({ kind: 'sleep' }, never)).toMatchObject({ ok: false });
    expect(writes(web.asked)).toEqual([]);
  });
});

describe('families that are only read', () => {
  it('reads ePIC over HTTP on the API port', async () => {
    await using web = await webOf(({ line }) => ({
      status: 200,
      body: recorded(`epic/s19xp-powerplay-bms-1.5.13/${line.replace('GET /', '')}.json`),
    }));
    const miner = openMiner(endpointOf(web.port, 1), 'epic', deps);
    expect(await miner.read(never)).toMatchObject({
      ok: true,
      value: { powerWatts: 2166.6174, macAddress: 'e6:d4:41:51:64:28', model: 'AntMiner S19 XP' },
    });
  });

  it('reads an Avalon that answers only its statistics', async () => {
    await using port = await portOf({ stats: 'avalon/a1246-21072802/stats.json' });
    const miner = openMiner(endpointOf(port.port, 1), 'avalon', deps);
    expect(await miner.read(never)).toMatchObject({
      ok: true,
      value: { powerWatts: 3504, serialNumber: '02010000cbd2fd6d', state: 'hashing' },
    });
  });

  it('reads VNish on both ports, and knows another firmware', async () => {
    const folder = 'vnish/s21pro-1.2.7';
    await using web = await webOf(({ line }) => ({
      status: 200,
      body: recorded(`${folder}/web__${line.replace('GET /api/v1/', '')}.json`),
    }));
    await using port = await portOf({
      stats: `${folder}/rpc__stats.json`,
      pools: `${folder}/rpc__pools.json`,
    });
    const miner = openMiner(endpointOf(port.port, web.port), 'vnish', deps);
    expect(await miner.read(never)).toMatchObject({
      ok: true,
      value: { powerWatts: 2583, powerLimitWatts: 2800, macAddress: '02:95:23:b3:e0:79' },
    });
    await using stock = await portOf({ stats: 'bitmain/s19pro-2022-12/stats.json' });
    const other = openMiner(endpointOf(stock.port, web.port), 'vnish', deps);
    expect(await other.read(never)).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
  });

  it('reads FluxOS on its port alone, and the rest with a token that it renews', async () => {
    const folder = 'fluxos/at1500-2023-12';
    const files = ['version', 'summary', 'devs', 'pools'].map((name) => [name, `${folder}/${name}.json`]);
    await using port = await portOf(Object.fromEntries(files) as Record<string, string>);
    let tokens = 0;
    let held = '';
    await using web = await webOf(({ line, body, token }) => {
      if (line === 'POST /token' && body === '{"command":"token","user":"root","password":"secret"}') {
        held = `t${++tokens}`;
        return { status: 200, body: `{"STATUS":[{"STATUS":"S"}],"Token":[{"Token":"${held}"}]}` };
      }
      if (token !== held || held === '') return { status: 200, body: '{"STATUS":[{"STATUS":"E"}]}' };
      return { status: 200, body: recorded(`${folder}/${line.replace('GET /', '')}.json`) };
    });
    const alone = openMiner(endpointOf(port.port, web.port), 'fluxos', deps);
    expect(await alone.read(never)).toMatchObject({
      ok: true,
      value: { powerWatts: null, macAddress: null },
    });
    expect(web.asked).toEqual([]);
    const miner = openMiner(endpointOf(port.port, web.port, 'secret'), 'fluxos', deps);
    const whole = { powerWatts: 58.94, powerLimitWatts: 2000, macAddress: '1c:00:00:0e:3b:2b' };
    expect(await miner.read(never)).toMatchObject({ ok: true, value: whole });
    held = 'ran out';
    expect(await miner.read(never)).toMatchObject({ ok: true, value: whole });
    expect(tokens).toBe(2);
  });
});

describe('what is asked now and then', () => {
  it('leaves out what another FluxOS answer tells, and asks the port who it is where the report does not come', async () => {
    const folder = 'fluxos/at1500-2023-12';
    const commands: string[] = [];
    let version = recorded(`${folder}/version.json`);
    await using port = await listenOnLoopback((socket) => {
      socket.once('data', (bytes) => {
        const { command } = JSON.parse(String(bytes)) as { command: string };
        commands.push(command);
        socket.end(command === 'version' ? version : recorded(`${folder}/${command}.json`));
      });
    });
    let reports = true;
    await using web = await webOf(({ line }) => {
      if (line === 'POST /token')
        return { status: 200, body: '{"STATUS":[{"STATUS":"S"}],"Token":[{"Token":"t"}]}' };
      if (line === 'GET /ipreport' && !reports) return { status: 404, body: '{}' };
      return { status: 200, body: recorded(`${folder}/${line.replace('GET /', '')}.json`) };
    });
    const miner = openMiner(endpointOf(port.port, web.port, 'secret'), 'fluxos', deps);
    expect((await miner.read(never)).ok).toBe(true);
    expect(commands).toEqual(['summary', 'version', 'devs', 'pools']);
    expect((await miner.read(never)).ok).toBe(true);
    expect(commands.slice(4)).toEqual(['summary']);
    reports = false;
    version = recorded('luxos/s19kpro-2025.4.8/version.json');
    expect(await miner.read(never)).toMatchObject({ ok: false, error: { kind: 'wrong-device' } });
  });
});

describe('Avalon, soft off and on', () => {
  /** A unit whose clock says `when`; `declines` tells which orders it takes no part in. */
  const unit = async (
    when: number,
    softOff: number,
    declines: (parameter: string) => boolean = () => false,
  ) => {
    const orders: string[] = [];
    const port = await listenOnLoopback((socket) => {
      socket.once('data', (bytes) => {
        const { command, parameter = '' } = JSON.parse(String(bytes)) as {
          command: string;
          parameter?: string;
        };
        const status = (letter: string, message: string) =>
          JSON.stringify({ STATUS: [{ STATUS: letter, When: when, Code: 118, Msg: message }], id: 1 });
        if (command === 'version')
          socket.end(
            JSON.stringify({
              STATUS: [{ STATUS: 'S', When: when, Code: 22, Msg: 'CGMiner versions' }],
              VERSION: [{ PROD: 'AvalonMiner 1246-83', DNA: '02010000cbd2fd6d', MAC: '0201000000aa' }],
            }),
          );
        else if (command === 'ascset') {
          orders.push(parameter);
          socket.end(
            declines(parameter)
              ? status('E', 'ASC 0 set failed: softoff')
              : status('I', `ASC 0 set info: success ${parameter}`),
          );
        } else if (command === 'stats')
          socket.end(
            recorded('avalon/a1246-21072802/stats.json').replace('SoftOFF[0]', `SoftOFF[${softOff}]`),
          );
        else socket.end(status('E', 'Invalid command'));
      });
    });
    return { port, orders, miner: openMiner(endpointOf(port.port, 1), 'avalon', deps) };
  };

  it('orders a soft off for a moment ahead on the clock of the miner', async () => {
    const { port, orders, miner } = await unit(1_753_434_816, 0);
    await using _ = port;
    expect(await miner.apply({ kind: 'sleep' }, never)).toMatchObject({
      ok: true,
      value: { acknowledged: true },
    });
    expect(orders).toEqual(['0,softoff,1:1753434821']);
  });

  it('leaves the moment out where the miner has no time of day, or declines it', async () => {
    const without = await unit(24701, 0);
    await using _ = without.port;
    await without.miner.apply({ kind: 'sleep' }, never);
    expect(without.orders).toEqual(['0,softoff']);
    const old = await unit(1_753_434_816, 0, (parameter) => parameter.includes(',1:'));
    await using __ = old.port;
    expect(await old.miner.apply({ kind: 'sleep' }, never)).toMatchObject({ ok: true });
    expect(old.orders).toEqual(['0,softoff,1:1753434821', '0,softoff']);
  });

  it('is not told to wake when it is awake, nor to hold a limit', async () => {
    const awake = await unit(1_753_434_816, 0);
    await using _ = awake.port;
    expect(await awake.miner.apply({ kind: 'run', limitWatts: null }, never)).toMatchObject({ ok: true });
    expect(await awake.miner.apply({ kind: 'run', limitWatts: 2000 }, never)).toMatchObject({
      ok: false,
      error: { kind: 'unsupported' },
    });
    expect(awake.orders).toEqual([]);
    const asleep = await unit(1_753_434_816, 4);
    await using __ = asleep.port;
    expect(await asleep.miner.apply({ kind: 'run', limitWatts: null }, never)).toMatchObject({ ok: true });
    expect(asleep.orders).toEqual(['0,softon,1:1753434821']);
  });

  it('says when it is refused', async () => {
    const { port, miner } = await unit(1_753_434_816, 0, () => true);
    await using _ = port;
    expect(await miner.apply({ kind: 'sleep' }, never)).toMatchObject({
      ok: false,
      error: { kind: 'refused' },
    });
  });
});
