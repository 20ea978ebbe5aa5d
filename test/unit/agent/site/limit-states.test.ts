import { describe, expect, it } from 'vitest';
import type { DeviceState, MeterState } from '../../../../agent/site/snapshot.ts';
import { devicePower, hostWattsOf, limitStates, SiteState } from '../../../../agent/site/state.ts';
import { gpuNodeReading, meterReading, minerReading } from '../../../support/readings.ts';
import { deviceModel, deviceState, limitModel, meterState, siteModel } from '../../../support/site-states.ts';

const model = {
  ...siteModel(
    [
      limitModel('grid', { meterId: 'gm' }),
      limitModel('hall', { parent: 'grid', gain: 1.1, meterId: null }),
      limitModel('rack', { parent: 'hall', meterId: null }),
      limitModel('spare', { parent: 'grid', meterId: null }),
    ],
    [deviceModel('m', { limit: 'rack' }), deviceModel('o', { limit: 'hall' })],
  ),
  loads: [{ id: 'fans', name: 'fans', limit: 'hall', worstWatts: 500 }],
};
const flows = (devices: readonly DeviceState[], meter: Partial<MeterState> = {}) =>
  Object.fromEntries(
    limitStates(model, [meterState('gm', meter)], devices).map(({ id, ...state }) => [id, state]),
  );
const m = (changes: Partial<DeviceState> = {}) => deviceState('m', { limit: 'rack', ...changes });
const o = (changes: Partial<DeviceState> = {}) => deviceState('o', { limit: 'hall', ...changes });

describe('what flows through a limit', () => {
  it('is what its meter shows, with the age of the sample', () => {
    const reading = meterReading(60_000, 42_000);
    expect(flows([m()], { reading, ageMs: 900 })['grid']).toEqual({
      powerWatts: 42_000,
      basis: 'measured',
      quality: 'good',
      ageMs: 900,
      sampledAt: 60_000,
    });
    expect(flows([], { reading, quality: 'stale' })['grid']).toMatchObject({
      basis: 'measured',
      quality: 'stale',
    });
  });

  it('is not what a meter shows that is bad, missing or without power', () => {
    const reading = meterReading(60_000, 42_000);
    for (const quality of ['bad', 'missing'] as const)
      expect(flows([m()], { reading, quality })['grid']!.basis).toBe('estimated');
    expect(flows([m()], { reading: meterReading(0, null) })['grid']!.basis).toBe('estimated');
    expect(flows([m()], { reading: null })['grid']!.basis).toBe('estimated');
  });

  it('is else the sum below it, losses and fixed loads included, as old as the oldest part', () => {
    const states = flows([
      m({ reading: minerReading(50_000, { powerWatts: 1000 }), ageMs: 11_000 }),
      o({ reading: minerReading(58_000, { powerWatts: 2000 }), ageMs: 3000 }),
    ]);
    expect(states['rack']).toEqual({
      powerWatts: 1000,
      basis: 'estimated',
      quality: 'estimated',
      ageMs: 11_000,
      sampledAt: 50_000,
    });
    expect(states['hall']).toMatchObject({ powerWatts: 3500, ageMs: 11_000, sampledAt: 50_000 });
    expect(states['grid']!.powerWatts).toBeCloseTo(3850, 9);
    expect(states['grid']).toMatchObject({ quality: 'estimated', ageMs: 11_000, sampledAt: 50_000 });
    // Of what was never seen, and has nothing below it, nothing is known.
    expect(states['spare']).toEqual({
      powerWatts: null,
      basis: 'estimated',
      quality: 'missing',
      ageMs: null,
      sampledAt: null,
    });
  });

  it('is the newer of two where the older is the other limit', () => {
    const states = flows([
      m({ reading: minerReading(58_000, { powerWatts: 1000 }), ageMs: 3000 }),
      o({ reading: minerReading(50_000, { powerWatts: 2000 }), ageMs: 11_000 }),
    ]);
    expect(states['hall']).toMatchObject({ ageMs: 11_000, sampledAt: 50_000 });
  });

  it('is bad where a part of it is unknown, on any floor, and missing where all is', () => {
    expect(flows([m(), o({ reading: null })])['hall']).toMatchObject({ quality: 'bad', powerWatts: 3260 });
    // The rack has a device of which nothing is known: so is the hall's sum.
    expect(flows([m({ reading: null }), o()])['hall']!.quality).toBe('bad');
    expect(flows([m({ reading: null }), o()])['grid']).toMatchObject({ quality: 'estimated' });
    expect(flows([m({ reading: null }), o({ reading: null })])['grid']!.quality).toBe('missing');
  });

  it('is bad where a device two floors below is unknown, and whole where the empty floor has none', () => {
    const deep = siteModel(
      [
        limitModel('grid', { meterId: null }),
        limitModel('hall', { parent: 'grid', meterId: null }),
        limitModel('rack', { parent: 'hall', meterId: null }),
      ],
      [deviceModel('m', { limit: 'rack' }), deviceModel('g')],
    );
    const grid = (devices: readonly DeviceState[], site = deep) => limitStates(site, [], devices)[0]!.quality;
    expect(grid([m({ reading: null }), deviceState('g')])).toBe('bad');
    expect(grid([deviceState('g')], { ...deep, devices: [deviceModel('g')] })).toBe('estimated');
  });

  it('leaves out who was never seen and who was removed', () => {
    expect(flows([m({ inventory: 'expected' })])['rack']!.quality).toBe('missing');
    expect(flows([m({ inventory: 'removed' })])['rack']!.powerWatts).toBeNull();
    expect(flows([m({ inventory: 'absent' })])['rack']!.powerWatts).toBe(2760);
    expect(flows([o({ inventory: 'removed' }), m()])['hall']).toMatchObject({ quality: 'estimated' });
  });
});

describe('what a device draws', () => {
  const NODE = gpuNodeReading(0, 2, 300, 500);
  const node = deviceState('n', { kind: 'gpu-node', reading: NODE });

  it('is its own figure, for a node with what stands beside its GPUs', () => {
    expect(devicePower(deviceState('m'), undefined)).toBe(2760);
    expect(devicePower(deviceState('m', { reading: null }), undefined)).toBeNull();
    expect(
      devicePower(deviceState('m', { reading: minerReading(0, { powerWatts: null }) }), undefined),
    ).toBeNull();
    expect(devicePower(node, deviceModel('n', { hostWatts: 400 }))).toBe(1000);
  });

  it('beside its GPUs, as configured, or what the nameplate leaves above the caps', () => {
    expect(hostWattsOf(NODE, deviceModel('n', { hostWatts: 0 }))).toBe(0);
    expect(hostWattsOf(NODE, deviceModel('n', { nameplateWatts: 2000 }))).toBe(600);
    const gpu = { ...NODE.gpus[0]!, maxLimitWatts: null };
    expect(hostWattsOf({ ...NODE, gpus: [gpu] }, deviceModel('n', { nameplateWatts: 2000 }))).toBe(1300);
    const blank = { ...gpu, defaultLimitWatts: null };
    expect(hostWattsOf({ ...NODE, gpus: [blank] }, deviceModel('n', { nameplateWatts: 2000 }))).toBe(2000);
    expect(hostWattsOf(NODE, deviceModel('n', { nameplateWatts: 1000 }))).toBe(0);
    expect(hostWattsOf(NODE, deviceModel('n', { nameplateWatts: null }))).toBe(0);
    expect(hostWattsOf(NODE, undefined)).toBe(0);
  });
});

describe('how good a figure is', () => {
  const rules = { meterStaleMs: 5000, deviceStaleMs: 30_000 };
  const metered = {
    ...model,
    meters: [{ id: 'gm', name: 'gm', profile: 'x', limit: 'grid', intervalMs: 1000 }],
  };
  const open = () => new SiteState(metered, rules);

  it('of a device: missing, good, estimated, stale', () => {
    const quality = (now: number, ...reading: Parameters<typeof minerReading>) => {
      const state = open();
      state.recordReading('m', minerReading(...reading), 0);
      const [first] = state.freeze(now, 0).devices;
      return `${first!.quality} ${first!.ageMs}`;
    };
    expect(quality(31_000, 1000)).toBe('good 30000');
    expect(quality(31_001, 1000)).toBe('stale 30001');
    expect(quality(1000, 1000, { powerWatts: null })).toBe('missing 0');
    expect(quality(1000, 1000, { powerSource: 'estimated' })).toBe('estimated 0');
    const state = open();
    state.recordReading('m', gpuNodeReading(1000, 1, 300, 500), 0);
    expect(state.freeze(1000, 0).devices[0]!.quality).toBe('good');
    expect(state.freeze(1000, 0).devices[1]).toMatchObject({
      quality: 'missing',
      ageMs: null,
      kind: 'miner',
    });
  });

  it('of a meter: as it says, missing without power, stale with age, bad whatever its age', () => {
    const meter = (now: number, ...reading: Parameters<typeof meterReading>) => {
      const state = open();
      state.recordMeter('gm', meterReading(...reading));
      return state.freeze(now, 0).meters[0]!;
    };
    expect(meter(6000, 1000, 500)).toMatchObject({ quality: 'good', ageMs: 5000, limit: 'grid', doubts: [] });
    expect(meter(6001, 1000, 500).quality).toBe('stale');
    expect(meter(1000, 1000, null).quality).toBe('missing');
    expect(meter(9000, 1000, 500, { quality: 'bad', doubts: ['x'] })).toMatchObject({
      quality: 'bad',
      doubts: ['x'],
    });
    expect(meter(1000, 1000, null, { quality: 'bad' }).quality).toBe('bad');
    expect(open().freeze(0, 0).meters[0]).toMatchObject({ quality: 'missing', ageMs: null, reading: null });
  });

  it('of a meter that stands still under load, in every figure: bad, and it says for how long', () => {
    const still = (changes: (second: number) => Parameters<typeof meterReading>[2], powerWatts = 900) => {
      const state = open();
      for (let second = 0; second < 12; second += 1)
        state.recordMeter('gm', meterReading(second * 1000, powerWatts, changes(second)));
      return state.freeze(11_000, 0).meters[0]!;
    };
    expect(still(() => ({}))).toMatchObject({
      quality: 'bad',
      doubts: ['every value has been the same to the last bit for 11 s'],
    });
    const none = { l1: 0, l2: 0, l3: 0 };
    const some = { l1: null, l2: null, l3: null };
    for (const [name, changes] of Object.entries({
      power: (second: number) => ({ powerWatts: 900 + second }),
      frequency: (second: number) => ({ frequencyHz: 50 + second / 100 }),
      'first voltage': (second: number) => ({ voltageVolts: { l1: 230 + second, l2: 230, l3: 230 } }),
      'second voltage': (second: number) => ({ voltageVolts: { l1: 230, l2: 230 + second, l3: 230 } }),
      'third voltage': (second: number) => ({ voltageVolts: { l1: 230, l2: 230, l3: 230 + second } }),
      'first current': (second: number) => ({ currentAmps: { ...none, l1: second } }),
      'second current': (second: number) => ({ currentAmps: { ...none, l2: second } }),
      'third current': (second: number) => ({ currentAmps: { ...none, l3: second } }),
    }))
      expect(still(changes).quality, name).toBe('good');
    // Without load its figures may stand still; a current alone is load, and so is power alone.
    expect(still(() => ({ currentAmps: none }), 0).quality).toBe('good');
    expect(still(() => ({ currentAmps: some }), 0).quality).toBe('good');
    for (const phase of ['l1', 'l2', 'l3'])
      expect(still(() => ({ currentAmps: { ...some, [phase]: 1 } }), 0).quality, phase).toBe('bad');
    expect(still(() => ({ currentAmps: some })).quality).toBe('bad');
    // Without a frequency it is believed for a minute.
    expect(still(() => ({ frequencyHz: null })).quality).toBe('good');
    expect(still(() => ({ powerWatts: null })).quality).toBe('missing');
  });
});
