import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isTooDeep } from '../../../protocols/json-depth.ts';
import { cases } from '../../support/cases.ts';

/** The same, character by character. */
function nestsBeyond64(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    if (inString && text[at] === '\\') at += 1;
    else if (text[at] === '"') inString = !inString;
    else if (!inString && '{['.includes(text[at]!)) depth += 1;
    else if (!inString && '}]'.includes(text[at]!)) depth -= 1;
    if (depth > 64) return true;
  }
  return false;
}

describe('how deep a text nests', () => {
  it('is told of 64 and of 65, of either kind and of both', () => {
    for (const open of ['[', '{"a":', '[{"a":']) {
      const each = open.replace(/[^[{]/g, '').length;
      expect(isTooDeep(open.repeat(64 / each))).toBe(false);
      expect(isTooDeep(`[${open.repeat(64 / each)}`)).toBe(true);
    }
    expect(isTooDeep(`"${'['.repeat(1000)}"`)).toBe(false);
    expect(isTooDeep('[]'.repeat(1000))).toBe(false);
  });

  it('is what reading it character by character gives, whatever stands in its strings', () => {
    const piece = fc.constantFrom('{', '[', '}', ']', '"', '\\', '\\"', '\\\\"', 'x', '["]"', '['.repeat(40));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const text = pieces.join('');
        expect(isTooDeep(text)).toBe(nestsBeyond64(text));
      }),
      { numRuns: cases(2000), seed: 11 },
    );
  });
});
