import { describe, expect, it } from 'vitest';
import { foretell } from '../../../../agent/cli/dry-run.ts';
import type { LoadCommand, LoadControl } from '../../../../drivers/load-driver.ts';
import { gpuNodeReading, minerReading } from '../../../support/readings.ts';

const said = (command: LoadCommand, reading: Parameters<typeof foretell>[1]): string => {
  const foretold = foretell(command, reading);
  return foretold.ok ? `would ${foretold.value}` : `${foretold.error.kind}: ${foretold.error.message}`;
};
const CONTROL = minerReading(0).control!;
const withControl = (changes: Partial<LoadControl>) =>
  minerReading(0, { control: { ...CONTROL, ...changes } });
const run = (limitWatts: number | null): LoadCommand => ({ kind: 'run', limitWatts });

describe('what a command would do', () => {
  it('to a miner: sleep, wake and its light, where its firmware can', () => {
    expect(said({ kind: 'sleep' }, minerReading(0))).toBe('would put it to sleep (now hashing, 2760 W)');
    expect(said(run(null), minerReading(0, { state: 'sleeping', powerWatts: 30 }))).toBe(
      'would wake it (now sleeping, 30 W)',
    );
    expect(said({ kind: 'locate', on: true }, minerReading(0))).toBe('would switch its light on');
    expect(said({ kind: 'sleep' }, withControl({ sleep: false }))).toMatch(
      /^unsupported: its firmware cannot/,
    );
    expect(said(run(null), withControl({ wake: false }))).toMatch(/^unsupported: its firmware cannot wake/);
  });

  it('to a miner: a power limit, within its range and steps, where it has one', () => {
    const preset = withControl({
      powerLimit: { minWatts: 1500, maxWatts: 3000, kind: 'preset', presetsWatts: [1500, 2200, 3000] },
    });
    expect(said(run(2200), preset)).toBe(
      'would limit it to 2200 W (now hashing, 2760 W; range 1500 to 3000 W, in steps: 1500 W, 2200 W, 3000 W)',
    );
    for (const watts of [1499, 3001])
      expect(said(run(watts), preset)).toBe(
        `refused: ${watts} W is outside 1500 to 3000 W, the range of the device`,
      );
    expect(said(run(2000), withControl({ powerLimit: null }))).toMatch(/offers no power limit/);
  });

  it('to a GPU: a cap within its range, on a GPU that is there', () => {
    const node = gpuNodeReading(0, 1, 300, 700);
    const [gpu] = node.gpus;
    const { uuid, minLimitWatts, maxLimitWatts } = gpu!;
    const cap = (limitWatts: number, id = uuid): LoadCommand => ({ kind: 'cap', uuid: id, limitWatts });
    expect(said(cap(minLimitWatts!), node)).toContain(`would cap it at ${minLimitWatts} W (in force `);
    expect(said(cap(maxLimitWatts! + 1), node)).toBe(
      `refused: ${uuid}: ${maxLimitWatts! + 1} W is outside ${minLimitWatts} to ${maxLimitWatts} W, the range of the device`,
    );
    expect(said(cap(minLimitWatts!, 'GPU-absent'), node)).toBe(
      'wrong-device: GPU-absent is not in this node',
    );
    expect(said({ kind: 'sleep' }, node)).toMatch(/^unsupported/);
  });
});
