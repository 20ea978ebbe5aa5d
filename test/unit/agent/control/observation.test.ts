import { describe, expect, it } from 'vitest';
import { observe } from '../../../../agent/control/observation.ts';
import type { LoadReading } from '../../../../drivers/load-driver.ts';
import { gpuNodeReading, minerReading } from '../../../support/readings.ts';
import { deviceState, limitModel, siteModel, snapshotOf } from '../../../support/site-states.ts';

const model = siteModel([limitModel('grid', {})]);
const observed = (reading: LoadReading | null) =>
  observe(model, snapshotOf({ devices: [deviceState('d', { reading })] }), { deviceStaleMs: 30_000 })
    .devices[0]!;

describe('what control sees of the shares that pools reject', () => {
  it.each([
    [1, 1],
    [1.99, 1],
    [4.6, 4],
    [99.999, 99],
    [100, 100],
  ])('%s per cent is %s: whole, rounded down', (rejectedPercent, whole) => {
    expect(observed(minerReading(0, { rejectedPercent })).rejectedPercent).toBe(whole);
  });

  it.each([null, 0, 0.27, 0.999])('%s is nothing, and not written down', (rejectedPercent) => {
    expect(observed(minerReading(0, { rejectedPercent }))).not.toHaveProperty('rejectedPercent');
  });

  it('is nothing of a GPU node, or where nothing was read', () => {
    expect(observed(gpuNodeReading(0, 2, 300, 500))).not.toHaveProperty('rejectedPercent');
    expect(observed(null)).not.toHaveProperty('rejectedPercent');
  });
});
