import { describe, expect, it } from 'vitest';
import { buildSiteModel, pathUp } from '../../../../agent/site/model.ts';
import { loadConfigText } from '../../../../config/load.ts';

function built(text: string) {
  const loaded = loadConfigText(text);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return buildSiteModel(loaded.value.config, loaded.value.miners);
}

const model = built(`
site: { id: t, name: Test site }
tenants: [{ id: acme }, { id: lab }]
limits:
  - { id: rack, parent: hall, rating: { amps: 100, volts: 230, phases: 1 }, authority: observe }
  - { id: hall, parent: grid, name: Hall A, rating: { amps: 1200, volts: 415 }, continuous: true, margin: 500 W, losses: 1.02, meter: hm }
  - { id: grid, rating: { kva: 1000, powerFactor: 0.9 }, authority: full, meter: gm, average: { watts: 800.9, over: 15min }, thermal: { continuous: 700.9, timeConstant: 90min } }
  - { id: solo, rating: 5 kW, margin: 6 kW }
loads: [{ id: fans, limit: grid, worst: 5 kW }, { id: lights, name: Lights, limit: hall, worst: 1 kW }]
meters:
  - { id: hm, name: Hall meter, profile: eastron-sdm630, interval: 2s, transport: { kind: modbus-tcp, host: 127.0.0.1 } }
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.3 } }
  - { id: loose, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.2 } }
miners:
  - { id: m, limit: rack, hosts: [10.0.0.1], interval: 7s, nameplate: 3300 W, model: Antminer S19, tenant: acme, tags: [x], location: { row: r1 } }
  - { id: n, limit: hall, hosts: [10.0.0.2] }
gpuNodes:
  - { id: g1, limit: hall, nameplate: 10 kW, reader: { kind: nvidia-smi } }
  - { id: g2, limit: hall, nameplate: 10 kW, hostWatts: 900 W, tags: [y], tenant: lab, location: { rack: q }, reader: { kind: nvidia-smi, command: [ssh, gpu, nvidia-smi] } }
  - { id: g3, limit: hall, nameplate: 10 kW, reader: { kind: dcgm, url: 'http://10.0.0.3:9400/metrics' } }
  - { id: g4, limit: hall, nameplate: 10 kW, reader: { kind: redfish, url: 'https://10.0.0.4', gpus: 8, user: u, passwordFile: /run/p } }
`);

describe('the site as configured', () => {
  it('has parents before children, with ratings in watts by the form that they have', () => {
    expect(model).toMatchObject({ siteId: 't', name: 'Test site' });
    const hallWatts = Math.floor(Math.sqrt(3) * 415 * 1200 * 0.8 - 500);
    expect(model.limits).toEqual([
      {
        id: 'grid',
        name: 'grid',
        parent: null,
        ratingWatts: 900_000,
        ratingText: '1000 kVA at power factor 0.9',
        gain: 1,
        meterId: 'gm',
        authority: 'full',
        ratingAmps: null,
        average: { watts: 800, overMs: 900_000 },
        thermal: { watts: 700, constantMs: 5_400_000 },
      },
      {
        id: 'hall',
        name: 'Hall A',
        parent: 'grid',
        ratingWatts: hallWatts,
        ratingText: '1200 A at 415 V, three phases, 80 % for continuous load',
        gain: 1.02,
        meterId: 'hm',
        authority: 'full',
        // What the phases may carry follows from what is left of the rating.
        ratingAmps: (1200 * hallWatts) / (Math.sqrt(3) * 415 * 1200),
        average: null,
        thermal: null,
      },
      {
        id: 'rack',
        name: 'rack',
        parent: 'hall',
        ratingWatts: 23_000,
        ratingText: '100 A at 230 V, one phase',
        gain: 1,
        meterId: null,
        authority: 'observe',
        ratingAmps: 100,
        average: null,
        thermal: null,
      },
      expect.objectContaining({ id: 'solo', ratingWatts: 0, ratingText: '5000 W', authority: 'observe' }),
    ]);
  });

  it('has loads and meters with their names and places', () => {
    expect(model.loads).toEqual([
      { id: 'fans', name: 'fans', limit: 'grid', worstWatts: 5000 },
      { id: 'lights', name: 'Lights', limit: 'hall', worstWatts: 1000 },
    ]);
    expect(model.meters).toEqual([
      { id: 'hm', name: 'Hall meter', profile: 'eastron-sdm630', limit: 'hall', intervalMs: 2000 },
      expect.objectContaining({ id: 'gm', limit: 'grid' }),
      expect.objectContaining({ id: 'loose', name: 'loose', limit: null }),
    ]);
  });

  it('has devices with what the configuration says of them, and null where it says nothing', () => {
    const [m, n, ...nodes] = model.devices;
    expect(m).toEqual({
      id: expect.any(String),
      kind: 'miner',
      limit: 'rack',
      entry: 'm',
      address: '10.0.0.1:4028',
      tenant: 'acme',
      tags: ['x'],
      location: { row: 'r1' },
      nameplateWatts: 3300,
      hostWatts: null,
      modelName: 'Antminer S19',
      intervalMs: 7000,
    });
    expect(n).toMatchObject({ tenant: null, location: null, nameplateWatts: null, modelName: null });
    expect(nodes).toMatchObject([
      {
        id: 'g1',
        kind: 'gpu-node',
        entry: 'g1',
        address: 'nvidia-smi',
        tenant: null,
        location: null,
        nameplateWatts: 10_000,
        hostWatts: null,
        modelName: null,
      },
      {
        address: 'ssh gpu nvidia-smi',
        hostWatts: 900,
        tags: ['y'],
        tenant: 'lab',
        location: { rack: 'q' },
      },
      { address: 'http://10.0.0.3:9400/metrics', hostWatts: null },
      // Redfish shows the whole node.
      { address: 'https://10.0.0.4', hostWatts: 0 },
    ]);
  });

  it('tells the way up, the limit itself first', () => {
    expect(pathUp(model, 'rack')).toEqual(['rack', 'hall', 'grid']);
    expect(pathUp(model, 'grid')).toEqual(['grid']);
    expect(pathUp(model, 'none')).toEqual([]);
  });
});

it('a site without a name is called by its id', () => {
  expect(built('site: { id: t }\nlimits: [{ id: grid, rating: 1 kW }]').name).toBe('t');
});
