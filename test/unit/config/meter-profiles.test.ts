import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { MeterProfile } from '../../../config/meters/profile.ts';
import { meterProfileSchema, profileFaults } from '../../../config/meters/profile.ts';
import { indexProfiles, meterProfile, meterProfiles } from '../../../config/meters/profiles.ts';

const folder = new URL('../../../config/meters/', import.meta.url);
const all = [...meterProfiles().values()];

/** A profile with one law broken, as a map file would have it. */
function broken(change: (profile: MeterProfile) => void): MeterProfile {
  const copy = structuredClone(meterProfile('eastron-sdm630')!);
  change(copy);
  return copy;
}

describe('meter profiles', () => {
  test('every file of the folder is in the index under its own name', () => {
    const files = readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
    expect(all.map((profile) => profile.id).sort()).toEqual(files.sort());
    expect(all.length).toBe(26);
    expect(all.reduce((sum, profile) => sum + profile.points.length, 0)).toBe(643);
  });

  test('two maps of one name throw', () => {
    const profile = meterProfile('eastron-sdm630');
    expect(() => indexProfiles([profile, profile])).toThrow('two meter profiles are named eastron-sdm630');
  });

  test.each(all.map((profile) => [profile.id, profile] as const))('%s keeps the laws', (_, profile) => {
    expect(profileFaults(profile)).toEqual([]);
    const points = profile.sunspec?.layouts[0]?.points ?? profile.points;
    const power = profile.roles.power ?? ['power.active.total'];
    for (const name of power) expect(points.find((point) => point.name === name)?.unit).toBe('W');
    for (const point of points) {
      const [first] = point.name.split('.');
      if (first === 'frequency') expect(point.unit).toBe('Hz');
      if (first === 'voltage') expect(point.unit).toBe('V');
      if (first === 'current') expect(point.unit).toBe('A');
      if (point.name.startsWith('energy.active')) expect(point.unit).toBe('Wh');
      if (point.name.startsWith('power.active')) expect(point.unit).toBe('W');
      if (point.name.startsWith('power.apparent')) expect(point.unit).toBe('VA');
      if (point.name.startsWith('power.reactive')) expect(point.unit).toBe('var');
    }
  });

  test.each([
    ['a name twice', (p: MeterProfile) => p.points.push({ ...p.points[0]!, address: 9000 }), 'named twice'],
    ['an overlap', (p: MeterProfile) => Object.assign(p.points[1]!, { address: 1 }), 'overlap at 1'],
    ['a point in a hole', (p: MeterProfile) => p.holes.push([52, 53]), 'lies in a hole'],
    ['a role of nothing', (p: MeterProfile) => Object.assign(p.roles, { power: ['x'] }), 'points nowhere'],
    ['a cut value', (p: MeterProfile) => Object.assign(p.blocks[0]!, { count: 17 }), 'cuts power.active.l3'],
    ['a wrong length', (p: MeterProfile) => Object.assign(p.points[0]!, { words: 3 }), 'its type needs 2'],
    ['limits upside down', (p: MeterProfile) => Object.assign(p, { maxRegisters: 10 }), 'above maxRegisters'],
  ])('%s is found', (_, change, message) => {
    expect(
      profileFaults(broken(change))
        .map((fault) => fault.message)
        .join('\n'),
    ).toContain(message);
    expect(() => indexProfiles([broken(change)])).toThrow(message);
  });

  test('an unknown key is an error', () => {
    const profile = { ...meterProfile('eastron-sdm630')!, wordorder: 'msw' };
    expect(meterProfileSchema.safeParse(profile).success).toBe(false);
  });

  // One line per figure that a wrong reading of the register lists would change. Source: the vendors' lists.
  test.each([
    ['eastron-sdm630', 'power.active.total', 52, 'f32', 1, 4, 'msw'],
    ['eastron-sdm630', 'energy.active.import', 72, 'f32', 1000, 4, 'msw'],
    ['schneider-pm5560', 'power.active.total', 3059, 'f32', 1000, 3, 'msw'],
    ['schneider-pm5560', 'frequency', 3109, 'f32', 1, 3, 'msw'],
    ['schneider-pm5560', 'energy.active.import', 3203, 'i64', 1, 3, 'msw'],
    ['schneider-iem3155', 'power.active.total', 3059, 'f32', 1000, 3, 'msw'],
    ['abb-b23-b24', 'power.active.total', 23316, 'i32', 0.01, 3, 'msw'],
    ['abb-b23-b24', 'voltage.ln.l1', 23296, 'u32', 0.1, 3, 'msw'],
    ['abb-m4m', 'voltage.ln.l1', 23298, 'u32', 0.1, 3, 'msw'],
    ['abb-m4m', 'power.active.total', 23322, 'i32', 0.01, 3, 'msw'],
    ['siemens-pac3200-pac4200', 'power.active.total', 65, 'f32', 1, 3, 'msw'],
    ['siemens-pac3200-pac4200', 'frequency', 55, 'f32', 1, 3, 'msw'],
    ['siemens-pac3200-pac4200', 'energy.active.import.t1', 801, 'f64', 1, 3, 'msw'],
    ['carlogavazzi-em24-rtu', 'energy.active.import', 62, 'i32', 100, 4, 'lsw'],
    ['carlogavazzi-em24-e1', 'energy.active.import', 52, 'i32', 100, 3, 'lsw'],
    ['socomec-diris-b30', 'power.active.total', 18476, 'i32', 1, 3, 'msw'],
    ['socomec-countis', 'power.active.total', 50536, 'i32', 10, 3, 'msw'],
    ['janitza-umg-19000', 'power.active.total', 19026, 'f32', 1, 3, 'msw'],
  ] as const)('%s %s', (id, name, address, type, scale, functionCode, wordOrder) => {
    const profile = meterProfile(id)!;
    expect(profile.points.find((point) => point.name === name)).toMatchObject({ address, type, scale });
    expect(profile).toMatchObject({ functionCode, wordOrder });
  });
});
