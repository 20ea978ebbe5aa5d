import { describe, expect, test } from 'vitest';
import type { MeterPoint } from '../../../config/meters/profile.ts';
import type { ReadLimits } from '../../../drivers/meter/plan.ts';
import { cutOf, planReads, withSpares } from '../../../drivers/meter/plan.ts';

function point(address: number, functionCode?: 3 | 4): MeterPoint {
  return {
    name: `p${address}`,
    address,
    type: 'f32',
    scale: 1,
    unit: 'W',
    confidence: 'A',
    sources: ['test'],
    functionCode,
  };
}

const limits: ReadLimits = { functionCode: 4, registersMost: 50, gapMost: 31, holes: [], cuts: new Set() };
const plan = (points: MeterPoint[], change: Partial<ReadLimits> = {}) =>
  planReads(points, { ...limits, ...change }).map((block) => [
    block.functionCode,
    block.address,
    block.count,
  ]);

describe('planning of reads', () => {
  test('neighbours share a request, in whatever order they are named', () => {
    expect(plan([point(4), point(0), point(2)])).toEqual([[4, 0, 6]]);
  });
  test('a narrow gap is read over, a wide one is not', () => {
    expect(plan([point(0), point(33)])).toEqual([[4, 0, 35]]);
    expect(plan([point(0), point(34)])).toEqual([
      [4, 0, 2],
      [4, 34, 2],
    ]);
  });
  test('no request is longer than the meter answers, and no value is cut', () => {
    const points = Array.from({ length: 30 }, (_, index) => point(index * 2));
    expect(plan(points, { registersMost: 25 })).toEqual([
      [4, 0, 24],
      [4, 24, 24],
      [4, 48, 12],
    ]);
  });
  test('holes, cuts and other function codes part requests', () => {
    expect(plan([point(0), point(6)], { holes: [[3, 3]] })).toHaveLength(2);
    expect(plan([point(0), point(2)], { cuts: new Set([2]) })).toHaveLength(2);
    expect(plan([point(0), point(2, 3)])).toEqual([
      [3, 2, 2],
      [4, 0, 2],
    ]);
  });
  test('a refused block is cut at its widest gap, else in the middle, a lone point nowhere', () => {
    const [gapped] = planReads([point(0), point(2), point(14), point(16)], limits);
    expect(cutOf(gapped!)).toBe(14);
    const [solid] = planReads([point(0), point(2), point(4), point(6)], limits);
    expect(cutOf(solid!)).toBe(4);
    const [lone] = planReads([point(0)], limits);
    expect(cutOf(lone!)).toBeNull();
  });
  test('a spare register is known only where a mapped point follows directly', () => {
    const all = [point(0), point(2), point(6)];
    const blocks = planReads([point(0)], limits);
    expect(withSpares(blocks, all, limits)[0]?.spareCount).toBe(2);
    expect(withSpares(planReads([point(0), point(2)], limits), all, limits)[0]?.spareCount).toBe(0);
  });
});
