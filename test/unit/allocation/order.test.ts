import { describe, expect, test } from 'vitest';
import { mergeOrders, sortByFallingKey } from '../../../agent/allocation/order.ts';
import { seededRandom } from '../../../protocols/random.ts';

const SEED = 17;

/** By falling key, equal keys by rising index: said in one line. */
function inOrder(items: readonly number[], keys: Float64Array): number[] {
  return [...items].sort((a, b) => keys[b]! - keys[a]! || a - b);
}

/** Indices 0 to count - 1, shuffled. */
function shuffled(count: number, random: () => number): number[] {
  const items = Array.from({ length: count }, (_, n) => n);
  for (let n = count - 1; n > 0; n -= 1) {
    const other = Math.floor(random() * (n + 1));
    [items[n], items[other]] = [items[other]!, items[n]!];
  }
  return items;
}

describe('an order of segments', () => {
  test.each([0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 100, 128, 129, 300])(
    `%i of them come out by falling key, equal keys by index (seed ${SEED})`,
    (count) => {
      const random = seededRandom(SEED + count);
      for (const distinct of [1, 3, 1e9]) {
        const keys = Float64Array.from({ length: count }, () => Math.floor(random() * distinct));
        const items = shuffled(count, random);
        // What stands behind `count` belongs to somebody else.
        const list = Int32Array.from([...items, -7, -8, -9]);
        sortByFallingKey(list, count, keys, new Int32Array(count + 3).fill(5));
        expect([...list]).toEqual([...inOrder(items, keys), -7, -8, -9]);
      }
    },
  );

  test('already in order, and the other way round', () => {
    const keys = Float64Array.from({ length: 40 }, (_, n) => n);
    const falling = Array.from({ length: 40 }, (_, n) => 39 - n);
    for (const items of [falling, falling.toReversed()]) {
      const list = Int32Array.from(items);
      sortByFallingKey(list, 40, keys, new Int32Array(40));
      expect([...list]).toEqual(falling);
    }
  });

  test.each([1, 2, 3, 4, 5, 8, 20])('%i runs in order come out as one', (runs) => {
    const random = seededRandom(SEED + runs);
    for (const length of [16, 17, 40]) {
      for (const distinct of [1, 4, 1e9]) {
        const count = runs * length;
        const keys = Float64Array.from({ length: count }, () => Math.floor(random() * distinct));
        const all = shuffled(count, random);
        // Of unequal lengths, none or one of them long.
        const ends = Array.from({ length: runs - 1 }, () => Math.floor(random() * count)).sort(
          (a, b) => a - b,
        );
        const items = [0, ...ends].flatMap((from, n) => inOrder(all.slice(from, ends[n] ?? count), keys));
        const list = Int32Array.from([...items, -7]);
        sortByFallingKey(list, count, keys, new Int32Array(count + 1));
        expect([...list]).toEqual([...inOrder(items, keys), -7]);
      }
    }
  });

  test('two of them merge into one, whatever their lengths', () => {
    const random = seededRandom(SEED);
    for (const [inA, inB] of [
      [0, 0],
      [0, 3],
      [3, 0],
      [1, 1],
      [5, 2],
      [2, 5],
      [40, 7],
      [7, 40],
    ] as const) {
      for (const distinct of [1, 4, 1e9]) {
        const all = shuffled(inA + inB, random);
        const keys = Float64Array.from(all, () => Math.floor(random() * distinct));
        const a = inOrder(all.slice(0, inA), keys);
        const b = inOrder(all.slice(inA), keys);
        const out = new Int32Array(inA + inB + 2).fill(-1);
        // Only the first of each list count.
        const count = mergeOrders(
          Int32Array.from([...a, 0, 0]),
          inA,
          Int32Array.from([...b, 0, 0]),
          inB,
          keys,
          out,
        );
        expect(count).toBe(inA + inB);
        expect([...out]).toEqual([...inOrder(all, keys), -1, -1]);
      }
    }
  });
});
