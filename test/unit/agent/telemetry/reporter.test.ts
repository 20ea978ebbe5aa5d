import { describe, expect, it } from 'vitest';
import { buildSiteModel, type SiteModel } from '../../../../agent/site/model.ts';
import { SiteState } from '../../../../agent/site/state.ts';
import { buildView } from '../../../../agent/site/view.ts';
import type { Outgoing } from '../../../../agent/telemetry/messages.ts';
import { Reporter, reportRules } from '../../../../agent/telemetry/reporter.ts';
import { loadConfigText } from '../../../../config/load.ts';
import type { Identity } from '../../../../drivers/load-driver.ts';

const config = (place: string) => `
site: { id: s }
limits: [{ id: grid, rating: 300 kW }]
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.3], firmware: luxos, model: "Antminer S19k Pro", tags: [${place}] }
`;
const modelOf = (place: string): SiteModel => {
  const loaded = loadConfigText(config(place));
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return buildSiteModel(loaded.value.config, loaded.value.miners);
};
const IDENTITY: Identity = {
  basis: 'mac',
  value: '02:00:00:00:00:01',
  vendor: 'Bitmain',
  model: 'Antminer S19k Pro',
  firmware: 'luxos',
  firmwareVersion: '2026.1',
  macAddress: '02:00:00:00:00:01',
  serialNumber: 'X1',
};

describe('what is retained about devices', () => {
  const built = { model: modelOf('north') };
  const model = { ...built.model };
  const state = new SiteState(model, { meterStaleMs: 5000, deviceStaleMs: 30_000 });
  const said: Outgoing[] = [];
  const reporter = new Reporter(
    model,
    { agentVersion: '1', session: 's' },
    reportRules(undefined),
    { publish: (message) => said.push(message) },
    () => 1,
  );
  let now = 0;
  const id = model.devices[0]!.id;
  /** The topics of `info` that one cycle says. */
  const cycle = (): string[] => {
    said.length = 0;
    now += 1000;
    const snapshot = state.freeze(now, now);
    reporter.cycle(
      buildView(model, snapshot, { mode: 'normal', inForce: new Map(), worstWatts: new Map(), alarms: [] }),
      snapshot,
      [],
      [],
    );
    return said.map(({ topic }) => topic).filter((topic) => topic.startsWith('info/'));
  };
  const saidOf = () =>
    said
      .filter(({ topic }) => topic === 'info/devices/0')
      .map(({ body }) => (body as unknown as { devices: object[] }).devices[0])
      .at(-1);

  it('is said once, and again for each part of an identity that changes', () => {
    expect(cycle()).toEqual(['info/site', 'info/devices/0']);
    expect(cycle()).toEqual([]);
    state.recordIdentity(id, IDENTITY, now);
    expect(cycle()).toEqual(['info/site', 'info/devices/0']);
    state.recordIdentity(id, { ...IDENTITY }, now);
    expect(cycle()).toEqual([]);
    for (const part of [
      'vendor',
      'model',
      'firmware',
      'firmwareVersion',
      'macAddress',
      'serialNumber',
    ] as const) {
      state.recordIdentity(id, { ...IDENTITY, [part]: 'another' }, now);
      expect(cycle(), part).toEqual(['info/site', 'info/devices/0']);
      expect(saidOf()).toMatchObject({ [part]: 'another' });
      expect(cycle(), part).toEqual([]);
    }
  });

  it('is said again where it stands at another address', () => {
    state.restoreIdentity(id, IDENTITY, '10.0.0.9:4028');
    expect(cycle()).toEqual(['info/site', 'info/devices/0']);
    expect(saidOf()).toMatchObject({ address: '10.0.0.9:4028' });
  });

  it('is said again after a reload, and where the broker may have lost it', () => {
    Object.assign(model, modelOf('south'));
    expect(cycle()).toEqual(['info/site', 'info/devices/0']);
    expect(saidOf()).toMatchObject({ tags: ['south'] });
    reporter.forgetRetained();
    expect(cycle()).toEqual(['info/site', 'info/devices/0']);
  });
});
