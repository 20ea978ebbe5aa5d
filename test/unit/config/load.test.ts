import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, loadConfigText } from '../../../config/load.ts';
import { formatProblem } from '../../../config/problem.ts';

const minimal = `site: { id: a }
limits:
  - { id: grid, rating: 20 MW }
`;

function messages(text: string, environment: Record<string, string> = {}): string[] {
  const loaded = loadConfigText(text, 'switchyard.yaml', environment);
  return loaded.ok ? loaded.value.warnings.map(formatProblem) : loaded.problems.map(formatProblem);
}

describe('loadConfigText', () => {
  it('reads the secrets of brokers and askers', () => {
    const loaded = loadConfigText(
      `${minimal}issuers: [{ id: i, maxPriority: 1, orders: all, limits: all, unsigned: true }]
transfers: { askers: [{ id: slurm, issuer: i, token: { env: TOKEN } }] }
sparkplug: { url: "mqtt://b", password: { env: WORD } }
`,
      'switchyard.yaml',
      { TOKEN: 'abc', WORD: 'def' },
    );
    if (!loaded.ok) throw new Error(loaded.problems.map(formatProblem).join());
    const { secrets } = loaded.value;
    expect(secrets.get('transfers.askers[0].token')?.reveal()).toBe('abc');
    expect(secrets.get('sparkplug.password')?.reveal()).toBe('def');
  });

  it('takes quantities, fills defaults and reads 20 MW as watts', () => {
    const loaded = loadConfigText(minimal);
    expect(loaded.ok && loaded.value.config.limits[0]).toMatchObject({ rating: 20e6, losses: 1, margin: 0 });
    expect(loaded.ok && loaded.value.config.control.cycle).toBe(1000);
    expect(loaded.ok && loaded.value.config.page.listen).toBe('127.0.0.1:7420');
  });

  it.each([
    [
      'an unknown key',
      `${minimal}limts: []\n`,
      'switchyard.yaml:4:1 limts: unknown key "limts". Did you mean "limits"?',
    ],
    [
      'a nested unknown key',
      'site: { id: a }\nlimits:\n  - { id: grid, ratting: 2 MW, rating: 1 MW }\n',
      'switchyard.yaml:3:17 limits[0].ratting: unknown key "ratting". Did you mean "rating"?',
    ],
    [
      'heat that no machine has',
      'site: { id: a }\nlimits:\n  - { id: grid, rating: 2 MW, meter: m, thermal: { continuous: 1 MW, timeConstant: 30s } }\nmeters:\n  - { id: m, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1 } }\n',
      'switchyard.yaml:3:50 limits[0].thermal: `thermal` needs a load above 0 and a time constant of a minute at least.',
    ],
    [
      'heat that nothing measures',
      'site: { id: a }\nlimits:\n  - { id: grid, rating: 2 MW, thermal: { continuous: 1 MW, timeConstant: 90min } }\n',
      'switchyard.yaml:3:40 limits[0].thermal: nothing measures what "grid" carries. Name its `meter`, or give `thermal` to the limit above that has one.',
    ],
    [
      'an average that nothing measures',
      'site: { id: a }\nlimits:\n  - { id: grid, rating: 2 MW, average: { watts: 1 MW, over: 15min } }\n',
      'switchyard.yaml:3:40 limits[0].average: nothing measures the average of "grid". Name its `meter`, or give the average to the limit above that has one.',
    ],
    [
      'a power without sense',
      'site: { id: a }\nlimits:\n  - { id: grid, rating: 20 bananas }\n',
      'switchyard.yaml:3:25 limits[0].rating: "20 bananas" is not understood: write for example 20 MW, 3.2 kW or 2900 W.',
    ],
    [
      'a missing key',
      'site: { id: a }\nlimits:\n  - { id: grid }\n',
      'switchyard.yaml:3:5 limits[0]: "rating" is missing. Add `rating:`.',
    ],
    [
      'an unknown parent',
      'site: { id: a }\nlimits:\n  - { id: grid, rating: 1 MW }\n  - { id: f, parent: gird, rating: 1 MW }\n',
      'switchyard.yaml:4:22 limits[1].parent: there is no limit "gird". Did you mean "grid"?',
    ],
    [
      'a cycle',
      'site: { id: a }\nlimits:\n  - { id: g, rating: 1 }\n  - { id: x, parent: y, rating: 1 }\n  - { id: y, parent: x, rating: 1 }\n',
      'switchyard.yaml:4:22 limits[1].parent: "x" is above itself: x -> y -> x.',
    ],
    [
      'a cap by Redfish of what is read by GPU',
      `${minimal}gpuNodes:\n  - { id: g, limit: grid, nameplate: 9 kW, reader: { kind: nvidia-smi }, cap: { kind: redfish } }\n`,
      'switchyard.yaml:5:79 gpuNodes[0].cap: a cap by Redfish covers the whole node and needs `reader: { kind: redfish, ... }` to show it.',
    ],
    [
      'a cap by GPU of what is read as a whole',
      `${minimal}gpuNodes:\n  - { id: g, limit: grid, nameplate: 9 kW, hostWatts: 2 kW, reader: { kind: redfish, url: "https://b", user: u, passwordFile: p }, cap: { kind: nvidia-smi } }\n`,
      'switchyard.yaml:5:137 gpuNodes[0].cap: a node that is read by Redfish is capped by Redfish or not at all, not by nvidia-smi.',
    ],
    [
      'a host part of what is read as a whole',
      `${minimal}gpuNodes:\n  - { id: g, limit: grid, nameplate: 9 kW, hostWatts: 2 kW, reader: { kind: redfish, url: "https://b", user: u, passwordFile: p } }\n`,
      'switchyard.yaml:5:55 gpuNodes[0].hostWatts: what Redfish shows is the whole node: its host part is in it already.',
    ],
    [
      'an API server in clear text',
      `${minimal}gpuNodes:\n  - { id: g, limit: grid, nameplate: 9 kW, reader: { kind: nvidia-smi }, drain: { kind: kubernetes, node: n, url: "http://k:6443", tokenFile: t } }\n`,
      'switchyard.yaml:5:115 gpuNodes[0].drain.url: write https://host or https://host:port.',
    ],
    [
      'an address used twice',
      `${minimal}miners:\n  - { id: m, limit: grid, hosts: [10.0.0.1-10.0.0.3, 10.0.0.2] }\n`,
      'switchyard.yaml:5:34 miners[0].hosts: 10.0.0.2:4028 is already m-002.',
    ],
    [
      'a duplicate YAML key',
      'site: { id: a }\nsite: { id: b }\n',
      'switchyard.yaml:2:1 Map keys must be unique',
    ],
    [
      'an unset variable',
      'site:\n  id: $' + '{NOWHERE}\nlimits: []\n',
      'switchyard.yaml:2:7 site.id: the environment variable NOWHERE is not set: set it, or write $' +
        '{NOWHERE:-default}',
    ],
  ])('names file, line, column and the way out for %s', (_name, text, expected) => {
    expect(messages(text)).toContain(expected);
  });

  it('fills variables in values only and retypes a lone one', () => {
    const loaded = loadConfigText(
      'site: { id: "$' + '{ID:-x}" }\nlimits:\n  - id: grid\n    rating: $' + '{W}\n',
      'f.yaml',
      { W: '5000' },
    );
    expect(loaded.ok && loaded.value.config.limits[0]?.rating).toBe(5000);
    expect(loaded.ok && loaded.value.config.site.id).toBe('x');
    const hostile = loadConfigText(`${minimal}page:\n  listen: ${'$'}{L}\n`, 'f.yaml', { L: 'a, evil: 1' });
    expect(hostile.ok).toBe(false);
  });

  it('refuses an alias bomb', () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n`;
    expect(messages(bomb)[0]).toMatch(/alias/i);
  });

  it('numbers the devices of an entry in the order of its addresses', () => {
    const loaded = loadConfigText(
      `${minimal}miners:\n  - { id: m, limit: grid, hosts: [10.0.0.9, 10.0.0.1-2, "h:4029"] }\n`,
    );
    expect(
      loaded.ok && loaded.value.miners.map((place) => `${place.deviceId} ${place.host}:${place.port}`),
    ).toEqual(['m-001 10.0.0.9:4028', 'm-002 10.0.0.1:4028', 'm-003 10.0.0.2:4028', 'm-004 h:4029']);
  });
});

describe('loadConfig', () => {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-config-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('joins conf.d, blames the right file, and never prints a secret', () => {
    mkdirSync(join(folder, 'conf.d'));
    writeFileSync(join(folder, 'switchyard.yaml'), minimal);
    writeFileSync(join(folder, 'pw'), 'hunter2\n', { mode: 0o600 });
    writeFileSync(
      join(folder, 'conf.d', 'a.yaml'),
      'miners:\n  - { id: m, limit: grid, hosts: [10.0.0.1], password: { file: pw } }\n',
    );
    const loaded = loadConfig(join(folder, 'switchyard.yaml'), {});
    expect(loaded.ok && loaded.value.secrets.get('miners[0].password')?.reveal()).toBe('hunter2');
    expect(JSON.stringify(loaded)).not.toContain('hunter2');
    writeFileSync(
      join(folder, 'conf.d', 'b.yaml'),
      'miners:\n  - { id: n, limit: nowhere, hosts: [10.0.0.2] }\n',
    );
    const broken = loadConfig(join(folder, 'switchyard.yaml'), {});
    expect(
      broken.ok
        ? []
        : broken.problems.map(
            (problem) => `${problem.file.split('/').at(-1)}:${problem.line} ${problem.path}`,
          ),
    ).toEqual(['b.yaml:2 miners[1].limit']);
  });

  it('says so when there is no such file', () => {
    const loaded = loadConfig(join(folder, 'none.yaml'), {});
    expect(loaded.ok ? '' : formatProblem(loaded.problems[0]!)).toMatch(/none\.yaml:1:1 no such file$/);
  });

  it.each(readdirSync('config/examples'))('accepts the example %s without a warning', (name) => {
    const loaded = loadConfig(join('config/examples', name), {});
    expect(loaded.ok ? loaded.value.warnings.map(formatProblem) : loaded.problems.map(formatProblem)).toEqual(
      [],
    );
  });
});
