import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { applyPatch, diff, patchInPlace } from '../../../agent/store/patch.ts';

const SEED = 20261121;

describe('diff and applyPatch', () => {
  it('says nothing about equal values, and only what changed of others', () => {
    const before = {
      now: 1,
      devices: [
        { id: 'a', watts: 1 },
        { id: 'b', watts: 2 },
      ],
      gone: 1,
    };
    const after = {
      now: 2,
      devices: [
        { id: 'a', watts: 1 },
        { id: 'b', watts: 3 },
      ],
    };
    expect(diff(before, structuredClone(before))).toBeNull();
    expect(diff(before, after)).toEqual([
      1,
      { now: [0, 2], devices: [1, { 1: [1, { watts: [0, 3] }] }] },
      ['gone'],
    ]);
    expect(applyPatch(before, diff(before, after))).toEqual(after);
    expect(before.gone).toBe(1);
  });

  it(`turns any value into any other through JSON (seed ${SEED})`, () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 4 }), (left, right) => {
        const before = JSON.parse(JSON.stringify(left));
        const after = JSON.parse(JSON.stringify(right));
        const patch = JSON.parse(JSON.stringify(diff(before, after)));
        expect(applyPatch(before, patch)).toEqual(after);
        expect(patchInPlace(structuredClone(before), patch)).toEqual(after);
      }),
      { seed: SEED, numRuns: 2000 },
    );
  });
});
