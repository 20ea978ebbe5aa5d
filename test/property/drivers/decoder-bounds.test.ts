import fc from 'fast-check';
import { describe, it } from 'vitest';
import { DECODERS } from '../../corpus/decoders.ts';
import { replyLike } from '../../corpus/reply-like.ts';

const seed = 20_261_122;

describe('decoders of miner replies', () => {
  it.each(Object.entries(DECODERS))(`%s throws on nothing (2,000 cases, seed ${seed})`, (_name, decode) => {
    fc.assert(
      fc.property(replyLike, (bytes) => decode(bytes)),
      { seed, numRuns: 2000 },
    );
  });
});
