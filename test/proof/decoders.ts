import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { DECODERS } from '../corpus/decoders.ts';
import { replyLike } from '../corpus/reply-like.ts';

interface Nasty {
  readonly name: string;
  readonly before: string;
  readonly unit: string;
  readonly after: string;
}

/** What one reply may be: the cap on every exchange. */
const LARGEST_BYTES = 1024 * 1024;
/** Processor time: a decoder that takes more over one largest reply holds everything else up. */
const LONGEST_MS = 500;

/**
 * `npm run proof -- decoders [CASES] [SEED]`: so many random replies through every decoder, then the nasty corpus at the
 * size of the cap, with the processor time that each took. True when nothing threw and nothing took longer than LONGEST_MS.
 */
export async function proveDecoders(cases: number, seed: number): Promise<boolean> {
  console.log(`seed ${seed}, ${cases} cases a decoder`);
  const corpus = JSON.parse(
    readFileSync(join(import.meta.dirname, '../corpus/nasty-replies.json'), 'utf8'),
  ) as readonly Nasty[];
  let holds = true;
  for (const [name, decode] of Object.entries(DECODERS)) {
    const startedAt = performance.now();
    let bytes = 0;
    const result = fc.check(
      fc.property(replyLike, (reply) => {
        bytes += reply.length;
        decode(reply);
      }),
      { seed, numRuns: cases },
    );
    const tookMs = performance.now() - startedAt;
    if (result.failed) {
      holds = false;
      console.log(fc.defaultReportMessage(result));
    }
    let worst = { ms: 0, name: '' };
    for (const nasty of corpus) {
      const { before, unit, after } = nasty;
      const reply = Buffer.from(
        before + unit.repeat(Math.ceil(LARGEST_BYTES / unit.length)) + after,
        'latin1',
      );
      const startedWith = process.cpuUsage();
      decode(reply);
      const { user, system } = process.cpuUsage(startedWith);
      const ms = (user + system) / 1000;
      if (ms > worst.ms) worst = { ms, name: nasty.name };
    }
    if (worst.ms > LONGEST_MS) holds = false;
    console.log(
      `${name}: ${result.failed ? 'FAILED' : 'nothing thrown'}, ${(bytes / cases).toFixed(0)} bytes a case, ` +
        `${((tookMs / cases) * 1000).toFixed(0)} us a case made and decoded; ` +
        `most processor time at 1 MiB ${worst.ms.toFixed(0)} ms (${worst.name})`,
    );
  }
  return holds;
}
