import { describe, expect, test } from 'vitest';
import { type Evaluation, minimiseBound } from '../../../agent/allocation/multipliers.ts';
import { seededRandom } from '../../../protocols/random.ts';

/** One relaxed answer: its value, and by how much it exceeds each floor. */
interface Line {
  readonly value: number;
  readonly surplus: readonly number[];
}

/** The bound at some multipliers is that of the answer that is worth most there: value plus multipliers times surplus. */
function boundOver(lines: readonly Line[]): {
  evaluate: (multipliers: Float64Array) => Evaluation;
  asked: number[][];
} {
  const asked: number[][] = [];
  return {
    asked,
    evaluate: (multipliers) => {
      asked.push([...multipliers]);
      const boundOf = (line: Line): number =>
        line.surplus.reduce((sum, surplus, k) => sum + multipliers[k]! * surplus, line.value);
      const top = lines.reduce((best, line) => (boundOf(line) > boundOf(best) ? line : best));
      return { bound: boundOf(top), surplus: Float64Array.from(top.surplus) };
    },
  };
}

/** The least of the greatest line over multipliers that are not negative, from every corner that it can lie at. */
function leastOf(lines: readonly Line[]): number {
  const at = (m: readonly number[]): number =>
    Math.max(...lines.map((line) => line.value + m[0]! * line.surplus[0]! + m[1]! * line.surplus[1]!));
  const corners: number[][] = [[0, 0]];
  for (const a of lines) {
    for (const b of lines) {
      for (const k of [0, 1]) {
        const meet = (b.value - a.value) / (a.surplus[k]! - b.surplus[k]!);
        if (meet >= 0 && Number.isFinite(meet)) corners.push(k === 0 ? [meet, 0] : [0, meet]);
      }
      for (const d of lines) {
        const [p, q, r] = [a.surplus[0]! - b.surplus[0]!, a.surplus[1]! - b.surplus[1]!, b.value - a.value];
        const [s, t, u] = [a.surplus[0]! - d.surplus[0]!, a.surplus[1]! - d.surplus[1]!, d.value - a.value];
        const corner = [(r * t - q * u) / (p * t - q * s), (p * u - r * s) / (p * t - q * s)];
        if (corner.every((one) => one >= 0 && Number.isFinite(one))) corners.push(corner);
      }
    }
  }
  return Math.min(...corners.map(at));
}

describe('several multipliers at once', () => {
  test('one floor: where a falling line meets a rising one', () => {
    // 10 - 2 m and 4 + m meet at 2, at 6 dollars.
    const { evaluate } = boundOver([
      { value: 10, surplus: [-2] },
      { value: 4, surplus: [1] },
    ]);
    const result = minimiseBound(evaluate, Float64Array.of(0), 100, 50);
    expect(result.multipliers[0]).toBeCloseTo(2, 12);
    expect(result.bound).toBeCloseTo(6, 12);
  });

  test('a floor that is met anyway needs no multiplier, from wherever it starts', () => {
    for (const start of [0, 3]) {
      const { evaluate } = boundOver([
        { value: 10, surplus: [2] },
        { value: 4, surplus: [5] },
      ]);
      const result = minimiseBound(evaluate, Float64Array.of(start), 100, 50);
      expect([...result.multipliers]).toEqual([0]);
      expect(result.bound).toBe(10);
    }
  });

  test('two floors that lie across each other: both multipliers, none at the edge', () => {
    // 12 - 3 a - 3 b, 6 + 2 a - b and 6 - a + 2 b: all are 6 + 6/7 at a = b = 6/7.
    const lines = [
      { value: 12, surplus: [-3, -3] },
      { value: 6, surplus: [2, -1] },
      { value: 6, surplus: [-1, 2] },
    ];
    const { evaluate } = boundOver(lines);
    const result = minimiseBound(evaluate, Float64Array.of(0, 0), 1000, 100);
    expect(result.multipliers[0]).toBeCloseTo(6 / 7, 12);
    expect(result.multipliers[1]).toBeCloseTo(6 / 7, 12);
    expect(result.bound).toBeCloseTo(6 + 6 / 7, 12);
    expect(leastOf(lines)).toBeCloseTo(6 + 6 / 7, 12);
  });

  test('what is returned is the best point that was asked, its bound as it was said', () => {
    const { evaluate, asked } = boundOver([
      { value: 12, surplus: [-3, -3] },
      { value: 6, surplus: [2, -1] },
      { value: 6, surplus: [-1, 2] },
    ]);
    for (const rounds of [0, 1, 2, 3, 4, 5, 100]) {
      asked.length = 0;
      const start = Float64Array.of(0.1, 0.2);
      const result = minimiseBound(evaluate, start, 1000, rounds);
      const points = asked.slice();
      expect(points[0]).toEqual([0.1, 0.2]);
      expect(points.length).toBeLessThanOrEqual(rounds + 1);
      const bounds = points.map((point) => evaluate(Float64Array.from(point)).bound);
      expect(result.bound).toBe(Math.min(...bounds));
      expect(points).toContainEqual([...result.multipliers]);
      expect([...start]).toEqual([0.1, 0.2]);
    }
  });

  test('a floor that nothing meets: the bound falls to what the largest multiplier allows', () => {
    const { evaluate, asked } = boundOver([{ value: 5, surplus: [-1] }]);
    const result = minimiseBound(evaluate, Float64Array.of(0), 50, 20);
    expect([...result.multipliers]).toEqual([50]);
    expect(result.bound).toBe(-45);
    // One more answer is the same one again: no better mixture.
    expect(asked).toEqual([[0], [50]]);
  });

  test('random lines: the least, no point asked below zero, and few of them (seeds 1 to 200)', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const random = seededRandom(seed);
      const figure = (): number => Math.round(random() * 40 - 20);
      const lines = Array.from({ length: 2 + Math.floor(random() * 6) }, () => ({
        value: figure() * 5,
        surplus: [figure(), figure()],
      }));
      // Something meets both floors, so that the least is within reach.
      lines.push({ value: -300, surplus: [5, 5] });
      const { evaluate, asked } = boundOver(lines);
      const start = Float64Array.of(random() * 3, random() * 3);
      const result = minimiseBound(evaluate, start, 1e6, 300);
      const scale = Math.max(1, Math.abs(leastOf(lines)));
      expect(Math.abs(result.bound - leastOf(lines)) / scale, `seed ${seed}`).toBeLessThan(1e-10);
      expect(result.bound, `seed ${seed}`).toBe(evaluate(result.multipliers).bound);
      for (const point of asked) expect(Math.min(...point), `seed ${seed}`).toBeGreaterThanOrEqual(0);
      expect(asked.length, `seed ${seed}`).toBeLessThan(30);
    }
  });

  test('three floors: no point beside what was found is lower (seeds 1 to 40)', () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seededRandom(1000 + seed);
      const figure = (): number => Math.round(random() * 40 - 20);
      const lines = Array.from({ length: 6 }, () => ({
        value: figure() * 5,
        surplus: [figure(), figure(), figure()],
      }));
      lines.push({ value: -200, surplus: [5, 4, 3] });
      const { evaluate, asked } = boundOver(lines);
      const { multipliers, bound } = minimiseBound(evaluate, new Float64Array(3), 1e6, 300);
      expect(asked.length, `seed ${seed}`).toBeLessThan(40);
      for (let n = 0; n < 60; n += 1) {
        const size = [0.001, 0.1, 10][n % 3]!;
        const beside = multipliers.map((one) => Math.max(0, one + size * (2 * random() - 1)));
        expect(evaluate(beside).bound, `seed ${seed}`).toBeGreaterThan(bound - 1e-9);
      }
    }
  });

  /** Says one answer after another, whatever the multipliers: the bound there and the surplus. */
  function script(answers: readonly (readonly [bound: number, surplus: number])[]) {
    let asked = 0;
    return {
      asked: () => asked,
      evaluate: (): Evaluation => {
        const [bound, surplus] = answers[asked] ?? [-1e9, 0];
        asked += 1;
        return { bound, surplus: Float64Array.of(surplus) };
      },
    };
  }

  test('answers that cannot be told apart end the search with what was found', () => {
    // The last two surpluses are less than a tenth of a picowatt apart: no basis can be made of them.
    const { evaluate, asked } = script([
      [10, -1],
      [1, 5e-14],
      [1, -4e-10],
      [1, -2e-14],
    ]);
    const result = minimiseBound(evaluate, Float64Array.of(0), 100, 100);
    expect(asked()).toBe(4);
    expect(result.bound).toBe(1);
  });

  test('surpluses beyond any site end the search with what was found', () => {
    // 10^13 W too little, as much too much for more money: what would rise is lost in rounding.
    const { evaluate, asked } = script([
      [10, -1e13],
      [20 + 1e14, 1e13],
    ]);
    const result = minimiseBound(evaluate, Float64Array.of(0), 10, 100);
    expect(asked()).toBe(2);
    expect(result).toEqual({ bound: 10, multipliers: Float64Array.of(0) });
  });
});
