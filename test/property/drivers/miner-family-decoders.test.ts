import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PORT_DECODERS, WEB_DECODERS } from '../../corpus/family-decoders.ts';
import { REPLY_NAMES } from '../../corpus/reply-like.ts';
import { cases } from '../../support/cases.ts';

const seed = 20_260_718;

const anyText = fc.oneof(
  fc.string({ maxLength: 20 }),
  fc.string({ unit: fc.constantFrom(..."[]{} :'PS0GHSspd1.-MT"), maxLength: 60 }),
  fc.constantFrom('GHSspd[1e400] PS[0 0 0 0 0 0 -5]', 'SoftOFF[x] MGHS[nan 1] MTmax[-273]', '12.5 W', 'NaN'),
);
const anyJson: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, false, 0, -1, 1e300, '', 'N/A'),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    anyText,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.constantFrom(...REPLY_NAMES), fc.string({ maxLength: 8 })), tie('value'), {
      maxKeys: 6,
    }),
  ),
})).value;

const record = fc
  .dictionary(fc.constantFrom(...REPLY_NAMES), anyJson, { maxKeys: 8 })
  .map((body) => JSON.parse(JSON.stringify(body)) as Record<string, unknown>);

const { avalon, fluxos, vnish } = PORT_DECODERS;
const decoders = { avalon, fluxos, vnish, ...WEB_DECODERS };

describe('decoders of the other firmware families, on any JSON value', () => {
  it.each(Object.entries(decoders))(
    `%s never throws and says only possible numbers (seed ${seed})`,
    (_, decode) => {
      fc.assert(
        fc.property(record, (body) => {
          const reading = decode(body);
          for (const value of [reading.hashrateThs, reading.nominalHashrateThs, reading.powerWatts])
            expect(value === null || (Number.isFinite(value) && value >= 0)).toBe(true);
          expect(reading.powerSource === null).toBe(reading.powerWatts === null);
          for (const rpm of reading.fanRpm) expect(Number.isFinite(rpm) && rpm >= 0).toBe(true);
        }),
        { seed, numRuns: cases(1500) },
      );
    },
  );
});
