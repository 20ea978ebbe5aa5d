import { describe, expect, it } from 'vitest';
import { mergedRecords } from '../../../drivers/miners/reply-fields.ts';

describe('records of one section, merged', () => {
  it('have the fields of all, the later where both name one', () => {
    const body = { STATS: [{ Type: 'S19', Elapsed: 1 }, { Elapsed: 2 }, 'noise', { fan1: 5700 }] };
    expect(mergedRecords(body, 'STATS')).toEqual({ Type: 'S19', Elapsed: 2, fan1: 5700 });
    expect(mergedRecords({ STATS: { Elapsed: 3 } }, 'STATS')).toEqual({ Elapsed: 3 });
    for (const none of [undefined, {}, { STATS: [] }, { STATS: 'text' }])
      expect(mergedRecords(none, 'STATS')).toEqual({});
  });

  it('take nothing from a field that is named like the prototype', () => {
    const nasty = JSON.parse('{"__proto__":{"Watts":1},"fan1":5700}') as Record<string, unknown>;
    for (const STATS of [[nasty, { Elapsed: 1 }], [{ Elapsed: 1 }, nasty], [nasty]]) {
      const merged = mergedRecords({ STATS }, 'STATS');
      expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
      expect(merged['Watts']).toBeUndefined();
      expect(merged['fan1']).toBe(5700);
    }
  });
});
