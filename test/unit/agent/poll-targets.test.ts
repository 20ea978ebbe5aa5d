import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { DriverFactories } from '../../../agent/drivers.ts';
import { openLoads } from '../../../agent/poll-targets.ts';
import { buildSiteModel } from '../../../agent/site/model.ts';
import { SiteState } from '../../../agent/site/state.ts';
import { openIdentities } from '../../../agent/store/identities.ts';
import { loadConfigText } from '../../../config/load.ts';
import type { Identity, LoadDriver } from '../../../drivers/load-driver.ts';
import { fail, ok, type Result } from '../../../protocols/result.ts';
import { minerReading } from '../../support/readings.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const TEXT = `
site: { id: t }
limits:
  - { id: grid, rating: 100 kW }
  - { id: other, parent: grid, rating: 50 kW }
miners:
  - { id: m, limit: grid, hosts: [10.0.0.1-10.0.0.3] }
  - { id: o, limit: other, hosts: [10.0.1.1] }
`;

const identity = (mac: string): Identity => ({
  basis: 'mac',
  value: mac,
  vendor: null,
  model: null,
  firmware: 'luxos',
  firmwareVersion: null,
  macAddress: mac,
  serialNumber: null,
});

/** Machines by address, behind drivers that pin the first one that answers, as the real ones do. */
function network(folder: string | null = null, text = TEXT) {
  const machines = new Map([
    ['10.0.0.1', 'aa'],
    ['10.0.0.2', 'bb'],
    ['10.0.0.3', 'cc'],
    ['10.0.1.1', 'dd'],
  ]);
  const loaded = loadConfigText(text);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const clock = new VirtualClock();
  const state = new SiteState(buildSiteModel(loaded.value.config, loaded.value.miners), {
    meterStaleMs: 5000,
    deviceStaleMs: 30_000,
  });
  const factories = {
    miner: (place, _password, known): LoadDriver => {
      let pinned = known?.value ?? null;
      const who = (): Result<string> => {
        const mac = machines.get(place.host);
        if (mac === undefined) return fail('timeout', `${place.host} did not answer.`);
        if (pinned !== null && pinned !== mac)
          return fail('wrong-device', `${place.host} answers as ${mac}.`);
        pinned = mac;
        return ok(mac);
      };
      return {
        deviceId: place.deviceId,
        identify: async () => {
          const mac = who();
          return mac.ok ? ok(identity(mac.value)) : mac;
        },
        read: async () => {
          const mac = who();
          return mac.ok ? ok(minerReading(clock.monotonicMs(), { macAddress: mac.value })) : mac;
        },
        apply: async () => fail('unsupported', 'none'),
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
    meter: () => {
      throw new Error('no meters here');
    },
    gpuNode: () => {
      throw new Error('no nodes here');
    },
    drain: () => null,
  } satisfies DriverFactories;
  const stop = new AbortController();
  const kept = folder === null ? null : { identities: openIdentities(folder), stop: stop.signal };
  const loads = openLoads(() => loaded.value, factories, state, clock, kept);
  const poll = async (times = 1) => {
    for (let round = 0; round < times; round += 1)
      for (const { target } of loads) target.onResult(await target.read(new AbortController().signal));
  };
  const events = () =>
    state
      .drainEvents()
      .filter((event) => event.kind === 'moved' || event.kind === 'swapped')
      .map((event) => `${event.kind} ${event.target}: ${event.message}`);
  const at = () =>
    Object.fromEntries(
      state
        .freeze(clock.monotonicMs(), 0)
        .devices.map(({ id, address, identity: who, failure }) => [
          id,
          `${address} ${who?.value} ${failure?.kind ?? 'ok'}`,
        ]),
    );
  return { machines, poll, events, at, clock };
}

describe('who answers where', () => {
  it('two machines of one entry that change addresses keep their ids', async () => {
    const { machines, poll, events, at } = network();
    await poll();
    machines.set('10.0.0.1', 'bb');
    machines.set('10.0.0.2', 'aa');
    await poll(3);
    expect(events()).toHaveLength(1);
    expect(at()).toMatchObject({
      'm-001': '10.0.0.2:4028 aa ok',
      'm-002': '10.0.0.1:4028 bb ok',
      'm-003': '10.0.0.3:4028 cc ok',
    });
  });

  it('three that change places in a ring are all found', async () => {
    const { machines, poll, events, at } = network();
    await poll();
    machines.set('10.0.0.1', 'cc');
    machines.set('10.0.0.2', 'aa');
    machines.set('10.0.0.3', 'bb');
    await poll(5);
    expect(events().every((event) => event.startsWith('moved '))).toBe(true);
    expect(at()).toMatchObject({
      'm-001': '10.0.0.2:4028 aa ok',
      'm-002': '10.0.0.3:4028 bb ok',
      'm-003': '10.0.0.1:4028 cc ok',
    });
  });

  it('one that moved to the address of a machine that is gone leaves its own to it', async () => {
    const { machines, poll, events, at } = network();
    await poll();
    machines.delete('10.0.0.1');
    machines.set('10.0.0.2', 'aa');
    await poll(4);
    expect(events()).toEqual(["moved m-001: m-001 (aa) answers at 10.0.0.2:4028 now, which was m-002's"]);
    expect(at()).toMatchObject({
      'm-001': '10.0.0.2:4028 aa ok',
      'm-002': '10.0.0.1:4028 bb timeout',
    });
  });

  it('a machine from another limit does not bring its limit along: told once, and commanded by nobody', async () => {
    const { machines, poll, events, at } = network();
    await poll();
    machines.set('10.0.0.1', 'dd');
    machines.delete('10.0.1.1');
    await poll(4);
    expect(events()).toEqual(['swapped m-001: dd, known as o-001, answers in the place of aa']);
    expect(at()).toMatchObject({
      'm-001': '10.0.0.1:4028 aa wrong-device',
      'o-001': '10.0.1.1:4028 dd timeout',
    });
  });

  it('a machine that was never seen is told once', async () => {
    const { machines, poll, events, at } = network();
    await poll();
    machines.set('10.0.0.3', 'ee');
    await poll(4);
    expect(events()).toEqual(['swapped m-003: ee answers in the place of cc']);
    expect(at()).toMatchObject({ 'm-003': '10.0.0.3:4028 cc wrong-device' });
  });

  it('a second machine with the same identity moves nobody', async () => {
    const { machines, poll, events, at } = network();
    await poll();
    machines.set('10.0.0.3', 'aa');
    await poll(4);
    expect(events()).toEqual([]);
    expect(at()).toMatchObject({ 'm-001': '10.0.0.1:4028 aa ok', 'm-003': '10.0.0.3:4028 cc wrong-device' });
  });

  it('remembers over a restart who answered where, and notices an exchange during the pause', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'switchyard-identities-'));
    const first = network(folder);
    await first.poll();
    first.machines.set('10.0.0.1', 'bb');
    first.machines.set('10.0.0.2', 'aa');
    await first.poll(3);
    await first.clock.advance(11_000);
    const second = network(folder);
    second.machines.set('10.0.0.1', 'bb');
    second.machines.set('10.0.0.2', 'aa');
    second.machines.set('10.0.0.3', 'ee');
    await second.poll(2);
    expect(second.events()).toEqual(['swapped m-003: ee answers in the place of cc']);
    expect(second.at()).toMatchObject({
      'm-001': '10.0.0.2:4028 aa ok',
      'm-002': '10.0.0.1:4028 bb ok',
      'm-003': '10.0.0.3:4028 cc wrong-device',
    });
    // Other addresses in the configuration: ids are given anew, in their order.
    const third = network(folder, TEXT.replace('10.0.0.1-10.0.0.3', '10.0.0.1-10.0.0.2'));
    await third.poll(2);
    expect(third.events()).toEqual([]);
    expect(third.at()).toMatchObject({ 'm-001': '10.0.0.1:4028 aa ok', 'm-002': '10.0.0.2:4028 bb ok' });
    rmSync(folder, { recursive: true });
  });
});
