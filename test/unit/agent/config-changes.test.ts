import { describe, expect, it } from 'vitest';
import { kindOf, mergeConfig } from '../../../agent/config-changes.ts';
import { LiveConfig, renderReload } from '../../../agent/live-config.ts';
import { type LoadedConfig, loadConfigText } from '../../../config/load.ts';

const BASE = `
site: { id: s }
limits:
  - { id: grid, rating: 1 MW, meter: m, authority: full }
  - { id: feeder, parent: grid, rating: 400 kW }
meters: [{ id: m, profile: schneider-pm5560, transport: { kind: modbus-tcp, host: 10.0.0.5 }, interval: 1s }]
miners:
  - { id: a, limit: feeder, hosts: [10.1.0.1], password: { env: A } }
  - { id: b, limit: feeder, hosts: [10.1.0.2], password: { env: B } }
tenants: [{ id: acme, energyDollarsPerMwh: 61 }]
issuers: [{ id: fleet, maxPriority: 60, orders: all, limits: all, unsigned: true }]
mqtt: { url: "mqtt://10.0.0.9:1883" }
`;

function load(text: string, environment: Record<string, string> = { A: 'one', B: 'two' }): LoadedConfig {
  const result = loadConfigText(text, 'switchyard.yaml', environment);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.value;
}

function changed(replace: readonly (readonly [string, string])[], environment?: Record<string, string>) {
  const text = replace.reduce((all, [from, to]) => {
    expect(all).toContain(from);
    return all.replace(from, to);
  }, BASE);
  return mergeConfig(load(BASE), load(text, environment));
}

describe('a changed configuration', () => {
  it('that says the same changes nothing', () => {
    const { changes, loaded } = mergeConfig(load(BASE), load(BASE));
    expect(changes).toEqual([]);
    expect(loaded.config).toEqual(load(BASE).config);
  });

  it('is told apart by what each key needs', () => {
    const { changes } = changed([
      ['rating: 400 kW', 'rating: { amps: 500, volts: 415 }'],
      ['interval: 1s', 'interval: 2s'],
      ['host: 10.0.0.5', 'host: 10.0.0.6'],
      ['password: { env: A }', 'password: { env: B }'],
      ['energyDollarsPerMwh: 61 }', 'energyDollarsPerMwh: 70, curtailmentShare: fair }'],
      ['maxPriority: 60', 'maxPriority: 50'],
      ['mqtt://10.0.0.9', 'mqtt://10.0.0.8'],
    ]);
    expect(Object.fromEntries(changes.map(({ path, kind }) => [path, kind]))).toEqual({
      'limits.feeder.rating': 'live',
      'meters.m.interval': 'live',
      'meters.m.transport.host': 'restart',
      'miners.a.password.env': 'reconnect',
      'tenants.acme.energyDollarsPerMwh': 'live',
      'tenants.acme.curtailmentShare': 'live',
      'issuers.fleet.maxPriority': 'live',
      'mqtt.url': 'restart',
    });
  });

  it('takes effect except for what needs a restart', () => {
    const { loaded } = changed([
      ['rating: 400 kW', 'rating: 300 kW, margin: 5 kW'],
      ['host: 10.0.0.5', 'host: 10.0.0.6'],
    ]);
    expect(loaded.config.limits[1]).toMatchObject({ rating: 300_000, margin: 5000 });
    expect(loaded.config.meters[0]?.transport).toMatchObject({ host: '10.0.0.5' });
  });

  it('lowers a limit even where another one is new or gone', () => {
    const { loaded, changes } = changed([
      [
        '- { id: feeder, parent: grid, rating: 400 kW }',
        '- { id: feeder, parent: grid, rating: 300 kW }\n  - { id: more, parent: grid, rating: 1 kW }',
      ],
    ]);
    expect(loaded.config.limits.map(({ id, rating }) => [id, rating])).toEqual([
      ['grid', 1e6],
      ['feeder', 300_000],
    ]);
    expect(changes).toContainEqual({ path: 'limits.more', kind: 'restart' });
  });

  it('moves a secret with its entry, whatever the order, and sees one whose content is new', () => {
    const [first, second] = BASE.split('\n').filter((line) => line.includes('hosts:'));
    const { loaded, changes } = changed([[`${first}\n${second}`, `${second}\n${first}`]], {
      A: 'new',
      B: 'two',
    });
    expect(loaded.config.miners.map((entry) => entry.id)).toEqual(['a', 'b']);
    expect(loaded.secrets.get('miners[0].password')?.reveal()).toBe('new');
    expect(loaded.secrets.get('miners[1].password')?.reveal()).toBe('two');
    expect(changes).toEqual([{ path: 'miners.a.password', kind: 'reconnect' }]);
  });

  it('takes a new issuer in and lets one go', () => {
    const { loaded, changes } = changed([['id: fleet', 'id: grid-operator']]);
    expect(loaded.config.issuers.map((issuer) => issuer.id)).toEqual(['grid-operator']);
    expect(changes.every((change) => change.kind === 'live')).toBe(true);
  });

  it('waits for a restart where nobody said otherwise', () => {
    for (const path of [
      'store.path',
      'page.listen',
      'control.cycle',
      'limits.x',
      'limits.x.meter',
      'future.key',
    ])
      expect(kindOf(path)).toBe('restart');
  });
});

describe('the configuration in force', () => {
  it('keeps its context where only prices change, and makes another one where a rating does', () => {
    const live = new LiveConfig(load(BASE));
    const { context, model } = live;
    live.take({ ok: true, value: load(`${BASE}economics: { energyDollarsPerMwh: 99 }\n`) }, 0);
    expect(live.config.economics.energyDollarsPerMwh).toBe(99);
    expect(live.context).toBe(context);
    live.take({ ok: true, value: load(BASE.replace('400 kW', '300 kW')) }, 0);
    expect(live.context).not.toBe(context);
    // Who holds the model sees the new rating.
    expect(live.model).toBe(model);
    expect(model.limits.map((limit) => limit.ratingWatts)).toEqual([1e6, 300_000]);
  });

  it('stays as it is when the file is invalid, and says so until it is valid', () => {
    const live = new LiveConfig(load(BASE));
    const before = live.loaded;
    const bad = loadConfigText(BASE.replace('400 kW', '400 kilo'), 'switchyard.yaml', { A: 'one', B: 'two' });
    const report = live.take(bad, 5);
    expect(report.ok).toBe(false);
    expect(live.loaded).toBe(before);
    expect(live.conditions()).toEqual([
      expect.objectContaining({
        code: 'reload-refused',
        message: expect.stringContaining('switchyard.yaml:5:'),
      }),
    ]);
    expect(live.drainEvents().map((event) => event.kind)).toEqual(['reload-refused']);
    expect(renderReload(live.take({ ok: true, value: load(BASE) }, 6))).toBe('Nothing has changed.');
    expect(live.conditions()).toEqual([]);
  });

  it('says what waits for a restart for as long as it does', () => {
    const live = new LiveConfig(load(BASE));
    const moved = load(BASE.replace('10.0.0.9', '10.0.0.8'));
    live.take({ ok: true, value: moved }, 0);
    live.take({ ok: true, value: moved }, 0);
    expect(live.conditions()).toEqual([
      expect.objectContaining({ code: 'restart-needed', message: expect.stringContaining('mqtt.url') }),
    ]);
    live.take({ ok: true, value: load(BASE) }, 0);
    expect(live.conditions()).toEqual([]);
  });
});
