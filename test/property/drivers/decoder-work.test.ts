import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DECODERS } from '../../corpus/decoders.ts';
import { createStepCounter } from '../../support/step-counter.ts';

interface Nasty {
  readonly name: string;
  readonly before: string;
  readonly unit: string;
  readonly after: string;
}

const CORPUS = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../corpus/nasty-replies.json'), 'utf8'),
) as readonly Nasty[];

/** A nasty reply, grown to about `length` bytes. */
const grown = ({ before, unit, after }: Nasty, length: number): Uint8Array =>
  Buffer.from(before + unit.repeat(Math.ceil(length / unit.length)) + after, 'latin1');

/** Blocks of our sources per byte of a reply, at most; the steepest known is about a third of it. */
const STEPS_PER_BYTE = 60;
/** What a decoder does before it looks at the first byte. */
const STEPS_AT_LEAST = 5000;

// Before anything is called: V8 counts the blocks of functions that it compiles from now on.
const counter = createStepCounter();
afterAll(() => counter[Symbol.dispose]());

describe('work of decoders, counted', () => {
  it.each(Object.entries(DECODERS))(
    '%s takes every nasty reply in proportion to its bytes',
    (_name, decode) => {
      for (const nasty of CORPUS) {
        // Both long enough for everything that a short reply is spared.
        const short = grown(nasty, 8000);
        const long = grown(nasty, 64_000);
        const [few, many] = [short, long].map((bytes) => counter.count(() => decode(bytes))) as [
          number,
          number,
        ];
        expect(many, `${nasty.name}: ${many} steps for ${long.length} bytes`).toBeLessThan(
          STEPS_AT_LEAST + STEPS_PER_BYTE * long.length,
        );
        // Eight times the bytes: eight times the work and a little, never sixty-four times.
        expect(many, `${nasty.name}: ${few}, then ${many} steps`).toBeLessThan(12 * few + STEPS_AT_LEAST);
      }
    },
  );

  it('sees a loop, and tells work in proportion from work that grows by the square', async () => {
    const { isTooDeep } = await import('../../../protocols/json-depth.ts');
    const text = '[]'.repeat(500);
    const once = counter.count(() => isTooDeep(text));
    const twice = counter.count(() => isTooDeep(text + text));
    expect(once).toBeGreaterThanOrEqual(1000);
    expect(twice / once).toBeGreaterThan(1.8);
    expect(twice / once).toBeLessThan(2.2);
    const square = counter.count(() => {
      for (let from = 0; from < text.length; from += 1) isTooDeep(text.slice(from));
    });
    expect(square / once).toBeGreaterThan(400);
  });
});
