import { createServer, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../config/load.ts';
import { freePort, type LiveSite, runCli, startLiveSite } from '../support/live-site.ts';

describe('the command line against devices on loopback', () => {
  let live: LiveSite;
  let silent: Server;
  let silentPort = 0;
  let places: { host: string; port: number; firmware: string }[] = [];

  beforeAll(async () => {
    live = await startLiveSite({ miners: 12, gpuNodes: 2 }, 1);
    const loaded = loadConfig(live.config);
    if (!loaded.ok) throw new Error('the demo configuration is invalid');
    places = loaded.value.miners.map((place) => ({
      host: place.host,
      port: place.port,
      firmware: place.entry.firmware,
    }));
    silent = createServer(() => undefined);
    silentPort = await new Promise<number>((resolve) => {
      silent.listen(0, '127.0.0.1', () => {
        const address = silent.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      });
    });
  });

  afterAll(async () => {
    silent.close();
    await live.stop();
  });

  it('reads a miner of each family and says what it is', async () => {
    const found = new Set<string>();
    for (const place of [
      places[0]!,
      places.find((candidate) => candidate.firmware === 'bitmain')!,
      places.find((candidate) => candidate.firmware === 'whatsminer')!,
    ]) {
      const result = await runCli([
        'miner',
        `${place.host}:${place.port}`,
        '--web-port',
        '8080',
        '--json',
        '--timeout',
        '10s',
      ]);
      const envelope = JSON.parse(result.stdout) as {
        ok: boolean;
        data: { kind: string; firmware: string; powerWatts: number; state: string; address: string };
      };
      expect(envelope.ok, result.stdout + result.stderr).toBe(true);
      expect(envelope.data).toMatchObject({
        kind: 'miner',
        state: 'hashing',
        address: `${place.host}:${place.port}`,
      });
      expect(envelope.data.powerWatts).toBeGreaterThan(1000);
      found.add(envelope.data.firmware);
    }
    expect([...found].sort()).toEqual(['bitmain', 'luxos', 'whatsminer']);
  });

  it('writes only with --apply, and then proves it', async () => {
    const { host, port } = places[0]!;
    const dry = await runCli(['miner', `${host}:${port}`, 'sleep', '--json']);
    expect(JSON.parse(dry.stdout)).toMatchObject({
      exit: 0,
      data: { kind: 'write', applied: false, outcome: 'not-applied' },
    });
    const wet = await runCli([
      '-c',
      live.config,
      'miner',
      `${host}:${port}`,
      'sleep',
      '--apply',
      '--json',
      '--timeout',
      '60s',
    ]);
    expect(JSON.parse(wet.stdout), wet.stderr).toMatchObject({
      exit: 0,
      data: { applied: true, outcome: 'verified', after: { state: 'sleeping' } },
    });
  });

  it('commissions a meter by reading only', async () => {
    const run = await runCli(['-c', live.config, 'meter', 'grid-meter', '--commission', '--json']);
    const { data } = JSON.parse(run.stdout) as { data: { findings: { check: string; result: string }[] } };
    const results = Object.fromEntries(data.findings.map(({ check, result }) => [check, result]));
    expect(results).toMatchObject({ 'word-order': 'ok', figures: 'ok', direction: 'ok' });
    const refused = await runCli([
      '-c',
      live.config,
      'meter',
      'grid-meter',
      '--commission',
      '--known-load',
      'much',
    ]);
    expect(refused.code).toBe(2);
  });

  it('reads meters by name and by profile, and registers', async () => {
    const named = await runCli(['-c', live.config, 'meter', 'grid-meter', '--json']);
    const envelope = JSON.parse(named.stdout) as {
      data: { kind: string; quality: string; powerWatts: number; profile: string };
    };
    expect(envelope.data).toMatchObject({ kind: 'meter', quality: 'good', profile: 'schneider-pm5560' });
    expect(envelope.data.powerWatts).toBeGreaterThan(1000);
    const wrong = await runCli(['-c', live.config, 'meter', 'grid-metre']);
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toMatch(/Did you mean "grid-meter"\?/);
    const loaded = loadConfig(live.config);
    const transport = loaded.ok ? loaded.value.config.meters[1]!.transport : null;
    if (transport?.kind !== 'modbus-tcp') throw new Error('no meter');
    const poked = await runCli([
      'modbus',
      'read',
      `${transport.host}:${transport.port}`,
      '1',
      '52',
      '2',
      '--input',
      '--as',
      'f32',
      '--json',
    ]);
    expect(JSON.parse(poked.stdout)).toMatchObject({ ok: true, data: { kind: 'registers', address: 52 } });
  });

  it('reads a GPU node by both tools', async () => {
    const loaded = loadConfig(live.config);
    if (!loaded.ok) throw new Error('configuration');
    const [first, second] = loaded.value.config.gpuNodes;
    const command = first?.reader.kind === 'nvidia-smi' ? first.reader.command!.join(' ') : '';
    const smi = await runCli(['gpu', '--nvidia-smi', command, '--json', '--timeout', '20s']);
    expect(JSON.parse(smi.stdout), smi.stderr).toMatchObject({
      ok: true,
      data: { kind: 'gpu-node', source: 'nvidia-smi' },
    });
    const url = second?.reader.kind === 'dcgm' ? second.reader.url : '';
    const dcgm = await runCli(['gpu', '--dcgm', url, '--json']);
    expect(JSON.parse(dcgm.stdout), dcgm.stderr).toMatchObject({ ok: true, data: { source: 'dcgm' } });
  });

  it.each<[string, () => Promise<string[]>, number, RegExp]>([
    [
      'a closed port',
      async () => ['miner', `127.0.0.1:${await freePort()}`],
      4,
      /refuse|nothing listens|unreachable/i,
    ],
    [
      'a port that accepts and says nothing',
      async () => [
        'miner',
        `127.0.0.1:${silentPort}`,
        '--timeout',
        '2s',
        '--web-port',
        String(await freePort()),
      ],
      7,
      /./,
    ],
    [
      'a name that does not exist',
      async () => ['miner', 'no-such-miner.invalid', '--timeout', '3s'],
      4,
      /no-such-miner\.invalid/,
    ],
    [
      'a meter port where a miner answers',
      async () => [
        'meter',
        '--profile',
        'eastron-sdm630',
        '--host',
        places[1]!.host,
        '--port',
        String(places[1]!.port),
        '--timeout',
        '3s',
      ],
      4,
      /./,
    ],
    ['no address', async () => ['miner', '10.0.0.'], 2, /address|IPv4|host/],
    [
      'an unknown profile',
      async () => ['meter', '--profile', 'eastron-sdm631', '--host', '127.0.0.1'],
      2,
      /eastron-sdm630/,
    ],
    ['an unknown command', async () => ['minerr'], 2, /minerr/],
    ['no configuration', async () => ['-c', '/nonexistent.yaml', 'check'], 3, /no such file/],
    ['no agent', async () => ['-c', live.config, 'status'], 4, /no agent is running/],
  ])('gives %s one clear sentence and its exit code', async (_name, args, code, words) => {
    const result = await runCli(await args());
    expect(result.code, result.stdout + result.stderr).toBe(code);
    expect(result.stderr).toMatch(words);
    expect(result.stderr.trim().split('\n').length).toBeLessThanOrEqual(6);
  });

  it('prints schema, samples and version, each as text and JSON', async () => {
    expect(JSON.parse((await runCli(['schema'])).stdout)).toMatchObject({ type: 'object' });
    for (const kind of ['meter', 'miner', 'gpu', 'mqtt', 'all'])
      expect((await runCli(['sample', kind])).code).toBe(0);
    expect(JSON.parse((await runCli(['version', '--json'])).stdout)).toMatchObject({
      v: 1,
      command: 'version',
      ok: true,
      exit: 0,
      problems: [],
    });
  });
});
