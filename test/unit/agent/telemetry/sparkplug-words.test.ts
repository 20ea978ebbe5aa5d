import { describe, expect, it } from 'vitest';
import { EMPTY_BOOK } from '../../../../agent/orders/book.ts';
import { buildSiteModel } from '../../../../agent/site/model.ts';
import { SiteState } from '../../../../agent/site/state.ts';
import { buildView } from '../../../../agent/site/view.ts';
import { orderId, readCommand } from '../../../../agent/telemetry/sparkplug/commands.ts';
import { planNodes } from '../../../../agent/telemetry/sparkplug/groups.ts';
import { groupImage, siteImage } from '../../../../agent/telemetry/sparkplug/images.ts';
import { loadConfigText } from '../../../../config/load.ts';
import type { SparkplugMetric } from '../../../../protocols/sparkplug/payload.ts';
import { meterReading, minerReading } from '../../../support/readings.ts';
import { EPOCH, NodeUnderTest } from '../../../support/sparkplug-node.ts';

const text = (more = '') => `
site: { id: t }
limits:
  - { id: grid, rating: 100 kW, meter: gm, authority: full }
  - { id: feeder, parent: grid, rating: 50 kW }
  - { id: ai, parent: grid, rating: 50 kW }
meters: [{ id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1 } }]
miners:
  - { id: m, limit: feeder, hosts: [10.0.0.1-10.0.0.5], location: { building: B, row: "Row 1", rack: r1 } }
  - { id: site, limit: feeder, hosts: [10.0.1.1-10.0.1.2] }
gpuNodes:
  - { id: g-1, limit: ai, nameplate: 10 kW, reader: { kind: nvidia-smi } }
  - { id: g-2, limit: ai, nameplate: 10 kW, reader: { kind: nvidia-smi } }
issuers:
  - { id: scada, maxPriority: 50, orders: all, limits: all, unsigned: true }
  - { id: signed, maxPriority: 50, orders: all, limits: all, key: "x" }
${more}`;

function site() {
  const loaded = loadConfigText(text());
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const model = buildSiteModel(loaded.value.config, loaded.value.miners);
  return { model, state: new SiteState(model, { meterStaleMs: 5000, deviceStaleMs: 30_000 }) };
}

describe('edge nodes of a site', () => {
  const rules = { node: 'site', by: 'entry', devicesPerNode: 250 } as const;
  const plan = (more: Partial<Parameters<typeof planNodes>[1]> = {}) =>
    planNodes(site().model.devices, { ...rules, ...more }).map(
      ({ node, devices }) => `${node} ${devices.length}`,
    );

  it('are entries, GPU nodes by limit, never with the name of the site node', () => {
    expect(plan()).toEqual(['m 5', 'site.1 2', 'ai 2']);
  });

  it('are parts of a group that is too large', () => {
    expect(plan({ devicesPerNode: 2 })).toEqual(['m.1 2', 'm.2 2', 'm.3 1', 'site.1 2', 'ai 2']);
  });

  it('are limits or places, and the entry where there is no place', () => {
    expect(plan({ by: 'limit' })).toEqual(['feeder 7', 'ai 2']);
    expect(plan({ by: 'rack' })).toEqual(['B.Row-1.r1 5', 'site.1 2', 'g-1 1', 'g-2 1']);
    expect(plan({ by: 'building' })).toEqual(['B 5', 'site.1 2', 'g-1 1', 'g-2 1']);
  });
});

describe('what an edge node says', () => {
  const { model, state } = site();
  for (const id of ['m-001', 'm-002']) state.recordReading(id, minerReading(500), EPOCH);
  state.recordMeter('gm', meterReading(1000, 42_000));
  const snapshot = state.freeze(1500, EPOCH + 1500);
  const view = buildView(model, snapshot, {
    mode: 'normal',
    inForce: new Map(),
    worstWatts: new Map(),
    alarms: [],
  });

  it('is by the rules, for the site and for a group', () => {
    for (const image of [
      siteImage(view, snapshot, EMPTY_BOOK, new Map()),
      groupImage(
        snapshot.devices.filter(({ kind }) => kind === 'miner'),
        snapshot.epochMs,
        () => false,
        new Map(),
      ),
    ]) {
      const node = new NodeUnderTest();
      node.now = 1500;
      node.connect();
      node.do({ kind: 'image', image });
      expect(node.checker.findings).toEqual([]);
      expect(node.said.length).toBeGreaterThan(2);
    }
  });

  it('has the watts of limits, meters and devices, with the time of the reading', () => {
    const { devices } = siteImage(view, snapshot, EMPTY_BOOK, new Map());
    expect(devices.map(({ id }) => id)).toEqual(['limit.grid', 'limit.feeder', 'limit.ai', 'meter.gm']);
    const power = devices[0]!.metrics.find(({ name }) => name === 'powerWatts');
    expect(power).toMatchObject({ value: 42_000, at: EPOCH + 1000, quality: 192 });
  });

  it('counts who answers as alive, and nobody else', () => {
    const { devices } = groupImage(snapshot.devices, snapshot.epochMs, () => false, new Map());
    expect(devices.filter(({ alive }) => alive).map(({ id }) => id)).toEqual(['m-001', 'm-002']);
    expect(
      new Set(devices.filter(({ id }) => id.startsWith('m-')).map(({ metrics }) => metrics.length)).size,
    ).toBe(1);
  });

  it('says that a figure is stale', () => {
    const late = state.freeze(60_000, EPOCH + 60_000);
    const { devices } = groupImage(late.devices, late.epochMs, () => false, new Map());
    expect(devices[0]!.metrics.find(({ name }) => name === 'powerWatts')).toMatchObject({ quality: 500 });
  });
});

describe('a command', () => {
  const node = new NodeUnderTest();
  const read = (device: string | null, metrics: SparkplugMetric[], issuer: string | null = 'scada') =>
    readCommand(node.state, device, { timestamp: EPOCH, metrics }, { issuer, withinMs: 30_000 });

  it('on a limit is a limit, a set point, or gives back', () => {
    expect(read('limit.grid', [{ name: 'limitWatts', doubleValue: 5000 }]).orders).toEqual([
      { type: 'set_limit', args: { limit: 'grid', watts: 5000, withinMs: 30_000 } },
    ]);
    expect(read('limit.grid', [{ name: 'limitWatts', longValue: 5000n }]).orders).toHaveLength(1);
    expect(
      read('limit.grid', [
        { name: 'setPointWatts', doubleValue: 7000 },
        { name: 'setPointBandWatts', doubleValue: 200 },
      ]).orders,
    ).toEqual([{ type: 'set_point', args: { limit: 'grid', targetWatts: 7000, bandWatts: 200 } }]);
    for (const metric of [
      { name: 'limitWatts', isNull: true },
      { name: 'Limit Control/Restore', booleanValue: true },
    ])
      expect(read('limit.grid', [metric]).orders).toEqual([{ type: 'restore', args: { limit: 'grid' } }]);
  });

  it('on a device holds and releases it, on the site acknowledges an alarm', () => {
    expect(read('m-001', [{ name: 'held', booleanValue: true }]).orders[0]).toMatchObject({
      type: 'hold',
      args: { target: 'm-001', who: 'scada' },
    });
    expect(read('m-001', [{ name: 'held', booleanValue: false }]).orders[0]?.type).toBe('release');
    expect(read(null, [{ name: 'Alarms/acknowledge', stringValue: 'over-limit:grid' }]).orders).toEqual([
      { type: 'acknowledge', args: { alarm: 'over-limit:grid', who: 'scada' } },
    ]);
  });

  it.each([
    ['limit.grid', { name: 'worstWatts', doubleValue: 1 }],
    ['limit.grid', { name: 'limitWatts', stringValue: '5000' }],
    ['limit.grid', { name: 'setPointBandWatts', doubleValue: 1 }],
    ['limit.grid', { name: 'Limit Control/Restore', booleanValue: false }],
    ['m-001', { name: 'powerLimitWatts', doubleValue: 1 }],
    ['meter.gm', { name: 'powerWatts', doubleValue: 1 }],
    [null, { name: 'mode', stringValue: 'normal' }],
    ['limit.grid', { alias: 99n, doubleValue: 1 }],
  ] as const)('on %s that means nothing changes nothing (%#)', (device, metric) => {
    const command = read(device, [{ name: 'limitWatts', doubleValue: 5 }, metric as SparkplugMetric]);
    expect(command.orders).toEqual([]);
    expect(command.refusal).toMatch(/malformed/);
  });

  it('orders nothing where no issuer is configured; a rebirth needs none', () => {
    const write = read('limit.grid', [{ name: 'limitWatts', doubleValue: 5 }], null);
    expect([write.orders, write.refusal]).toEqual([[], expect.stringContaining('no issuer')]);
    const rebirth = [{ name: 'Node Control/Rebirth', booleanValue: true }];
    expect(read(null, rebirth, null)).toMatchObject({ rebirth: true, refusal: null });
    expect(read(null, [{ name: 'Node Control/Rebirth', booleanValue: false }]).rebirth).toBe(false);
    expect(read('limit.grid', rebirth).rebirth).toBe(false);
  });

  it('has an id by what it says: the same again is the same order', () => {
    const [order] = read('limit.grid', [{ name: 'limitWatts', doubleValue: 5 }]).orders;
    const [other] = read('limit.grid', [{ name: 'limitWatts', doubleValue: 6 }]).orders;
    const place = { node: 'site', device: 'limit.grid' };
    expect(orderId('scada', place, EPOCH, order!)).toBe(orderId('scada', place, EPOCH, order!));
    const ids = [
      orderId('scada', place, EPOCH, order!),
      orderId('scada', place, EPOCH, other!),
      orderId('scada', place, EPOCH + 1, order!),
      orderId('scada', { node: 'site', device: 'limit.ai' }, EPOCH, order!),
    ];
    expect(new Set(ids).size).toBe(4);
    for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_.-]{1,100}$/);
  });
});

describe('the configuration', () => {
  const problems = (more: string) => {
    const loaded = loadConfigText(text(more));
    return loaded.ok
      ? loaded.value.warnings.map(({ code }) => code)
      : loaded.problems.map(({ code }) => code);
  };

  it('takes the broker of mqtt, or one of its own', () => {
    expect(problems('mqtt: { url: "mqtt://b" }\nsparkplug: {}')).toEqual([]);
    expect(problems('sparkplug: { url: "mqtt://b", username: u, issuer: scada }')).toEqual([]);
    expect(problems('sparkplug: {}')).toContain('sparkplug-without-broker');
    expect(problems('mqtt: { url: "mqtt://b" }\nsparkplug: { username: u }')).toContain(
      'sparkplug-access-without-url',
    );
  });

  it('lets only an issuer order that there is and that needs no signature', () => {
    const mqtt = 'mqtt: { url: "mqtt://b" }\n';
    expect(problems(`${mqtt}sparkplug: { issuer: scadu }`)).toContain('unknown-reference');
    expect(problems(`${mqtt}sparkplug: { issuer: signed }`)).toContain('unsigned-source');
  });

  it('takes only names that are levels of topics', () => {
    expect(problems('mqtt: { url: "mqtt://b" }\nsparkplug: { group: "a/b" }').length).toBeGreaterThan(0);
    expect(problems('mqtt: { url: "mqtt://b" }\nsparkplug: { primaryHost: "+" }').length).toBeGreaterThan(0);
  });
});
