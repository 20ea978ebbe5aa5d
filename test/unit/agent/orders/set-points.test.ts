import { describe, expect, it } from 'vitest';
import { EMPTY_BOOK, type Lease, type SetPoint } from '../../../../agent/orders/book.ts';
import { setPointsInForce } from '../../../../agent/orders/set-points.ts';

const LIMITS = [
  { id: 'grid', ratingWatts: 1000 },
  { id: 'hall', ratingWatts: 600 },
];
const START = 1_790_000_000_000;

const lease = (watts: number, changes: Partial<Lease> = {}): Lease => ({
  orderId: 'o',
  issuer: 'fleet',
  priority: 50,
  limit: 'grid',
  watts,
  createdAt: START,
  expiresAt: null,
  onExpiry: 'release',
  overdue: false,
  notBefore: null,
  withinMs: 0,
  ...changes,
});
const held = (targetWatts: number, changes: Partial<SetPoint> = {}, more: Partial<Lease> = {}): Lease => {
  const setPoint = { targetWatts, bandWatts: 10, fromWatts: null, rampWattsPerMinute: null, ...changes };
  return lease(Math.min(1000, targetWatts + setPoint.bandWatts), { setPoint, ...more });
};
const inForce = (leases: readonly Lease[], minutes = 0) =>
  Object.fromEntries(setPointsInForce({ ...EMPTY_BOOK, leases }, LIMITS, START + minutes * 60_000));

describe('the set point that decides', () => {
  it('is the one whose band ends below all else, under what stands without it', () => {
    expect(inForce([held(500)])).toEqual({
      grid: { targetWatts: 500, bandWatts: 10, headingWatts: null, ceilingWatts: 1000 },
    });
    expect(inForce([lease(800), held(500), lease(700)])['grid']).toMatchObject({ ceilingWatts: 700 });
    expect(inForce([held(500), lease(800)])['grid']).toMatchObject({ ceilingWatts: 800 });
    expect(inForce([lease(800, { limit: 'hall' }), held(500)])['grid']).toMatchObject({ ceilingWatts: 1000 });
  });

  it('is none where a limit is as low, where the rating is, and before its time', () => {
    expect(inForce([lease(500)])).toEqual({});
    expect(inForce([lease(510), held(500)])).toEqual({});
    expect(inForce([held(500), lease(400)])).toEqual({});
    expect(inForce([held(995)])).toEqual({});
    const later = held(500, {}, { notBefore: START + 60_000 });
    expect(inForce([later])).toEqual({});
    expect(inForce([later], 1)).toHaveProperty('grid');
    expect(inForce([lease(300, { notBefore: START + 60_000 }), held(500)])['grid']).toMatchObject({
      ceilingWatts: 1000,
    });
  });

  it('moves by its ramp, and says where to', () => {
    const down = held(500, { fromWatts: 800, rampWattsPerMinute: 100 });
    expect(inForce([down], 1)['grid']).toMatchObject({ targetWatts: 700, headingWatts: 500 });
    expect(inForce([down], 9)['grid']).toMatchObject({ targetWatts: 500, headingWatts: 500 });
    const up = held(500, { fromWatts: 300, rampWattsPerMinute: 100 });
    expect(inForce([up], 1)['grid']).toMatchObject({ targetWatts: 400, headingWatts: 500 });
    expect(inForce([up], 9)['grid']).toMatchObject({ targetWatts: 500, headingWatts: 500 });
  });
});
