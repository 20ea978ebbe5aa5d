import { describe, expect, it } from 'vitest';
import { findMinerModel, MINER_MODELS } from '../../../config/miners/models.ts';
import { minerTraits, SIMULATED_MODELS } from '../../../simulator/miners/traits.ts';

describe('the table of miner models', () => {
  const names: readonly (readonly [string, string | null])[] = [
    ['Antminer S19k Pro', 'Antminer S19k Pro'],
    ['S19K PRO', 'Antminer S19k Pro'],
    ['Antminer S21 Pro (Vnish 1.2.7)', 'Antminer S21 Pro'],
    ['Antminer S19 XP Hyd.', 'Antminer S19 XP Hyd'],
    ['Antminer S19 Pro+ Hydro', 'Antminer S19 Pro+ Hyd'],
    ['Antminer S19j Pro+', 'Antminer S19j Pro+'],
    ['Antminer S21+', 'Antminer S21+'],
    ['Antminer S19 Pro Hyd', null],
    ['Antminer S19a', null],
    ['M60S-VK40', 'Whatsminer M60S'],
    ['Whatsminer M60S VK40', 'Whatsminer M60S'],
    ['M30S++VH100', 'Whatsminer M30S++'],
    ['M30S+ VE40', 'Whatsminer M30S+'],
    ['M50S++_VK10', 'Whatsminer M50S++'],
    ['1246-83', 'Avalon A1246'],
    ['AvalonMiner 15-194', 'Avalon A1566'],
    ['toaster', null],
    ['', null],
  ];
  it.each(names)('%s is %s', (name, expected) => {
    expect(findMinerModel(name)?.name ?? null).toBe(expected);
  });

  it('finds each of its models by its own name, and no name twice', () => {
    for (const model of MINER_MODELS) expect(findMinerModel(model.name)).toBe(model);
    expect(new Set(MINER_MODELS.map(({ name }) => name)).size).toBe(MINER_MODELS.length);
    expect(findMinerModel(null)).toBeNull();
  });

  it('has plausible efficiencies, and traits for the simulator', () => {
    for (const { name, nominalWatts, nominalHashrateThs } of MINER_MODELS) {
      const joulesPerTh = nominalWatts / nominalHashrateThs;
      expect(joulesPerTh, name).toBeGreaterThan(11);
      expect(joulesPerTh, name).toBeLessThan(101);
    }
    for (const name of SIMULATED_MODELS) expect(minerTraits(name).minimumWatts).toBeGreaterThan(0);
    expect(() => minerTraits('toaster')).toThrow(RangeError);
  });
});
