import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { recogniseMiner } from '../../../drivers/miners/recognise.ts';
import { rejectedPercent } from '../../../drivers/miners/reply-fields.ts';
import { parseRepaired } from '../../../protocols/cgminer-repair.ts';
import { accepted, decodeCgminerReply, joinedSections } from '../../../protocols/cgminer-reply.ts';
import { decryptWhatsminerText, md5Crypt } from '../../../protocols/whatsminer-crypto.ts';
import { PORT_DECODERS } from '../../corpus/family-decoders.ts';
import { REPLY_NAMES } from '../../corpus/reply-like.ts';
import { cases } from '../../support/cases.ts';

const seed = 20_261_121;

const leaf = fc.oneof(
  fc.double(),
  fc.integer(),
  fc.constantFrom('', 'N/A', 'nan', '37603.30', '3250 W', '78-50-69-70', 'm-m-m-m', '0:00:03', 'true', '-1'),
  fc.string(),
  fc.boolean(),
  fc.constant(null),
);
const { node: anyJson } = fc.letrec((tie) => ({
  node: fc.oneof({ maxDepth: 4, depthSize: 'small' }, leaf, tie('list'), tie('object')),
  list: fc.array(tie('node'), { maxLength: 4 }),
  object: fc.dictionary(fc.oneof(fc.constantFrom(...REPLY_NAMES), fc.string()), tie('node'), { maxKeys: 8 }),
}));
const bodyOf = fc.dictionary(fc.constantFrom(...REPLY_NAMES), anyJson as fc.Arbitrary<unknown>, {
  maxKeys: 8,
});

const { bitmain, cgminer, luxos, whatsminer } = PORT_DECODERS;
const decoders = { bitmain, cgminer, luxos, whatsminer };

describe('decoders of miner replies, on anything', () => {
  it('no codec throws on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const reply = decodeCgminerReply(bytes);
        if (!reply.ok) return;
        joinedSections(reply.value);
        accepted(reply.value, 'x');
        recogniseMiner({ version: reply.value });
      }),
      { seed, numRuns: cases(2000) },
    );
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'{}[],:"\\ \n0123456789.-einfa='), maxLength: 60 }),
        (text) => {
          parseRepaired(text);
          decodeCgminerReply(Buffer.from(text));
        },
      ),
      { seed, numRuns: cases(5000) },
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.string(), (key, data) => {
        decryptWhatsminerText(key, data);
        expect(md5Crypt(data.slice(0, 40), 'salt')).toHaveLength(22);
      }),
      { seed, numRuns: 50 },
    );
  });

  it('a reply that is whole JSON is never repaired', () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const repaired = parseRepaired(JSON.stringify(value) ?? 'null');
        expect(repaired?.repairs).toEqual([]);
      }),
      { seed },
    );
  });

  it('cutting a reply anywhere leaves only numbers that were in it', () => {
    fc.assert(
      fc.property(bodyOf, fc.double({ min: 0, max: 1, noNaN: true }), (body, share) => {
        const text = JSON.stringify(body);
        const cut = parseRepaired(text.slice(0, Math.floor(text.length * share)));
        if (cut === null) return;
        const whole = new Set(numbersIn(JSON.parse(text)));
        for (const number of numbersIn(cut.value)) expect(whole).toContain(number);
      }),
      { seed, numRuns: cases(1000) },
    );
  });

  it.each(Object.entries(decoders))('%s throws on nothing and makes up no number', (_name, decode) => {
    fc.assert(
      fc.property(bodyOf, (body) => {
        const wire = JSON.parse(JSON.stringify(body)) as Record<string, unknown>;
        const reading = decode(wire);
        const said = literalsIn(wire);
        const comes = (value: number | null, scales: readonly number[] = [1]): void => {
          if (value === null) return;
          const found = scales.some((scale) =>
            said.some((literal) => Object.is(literal / scale, value) || literal / scale === value),
          );
          expect(found, `${value} is not in ${JSON.stringify(wire)}`).toBe(true);
        };
        const hashrate = [1, 1e3, 1e6];
        comes(reading.hashrateThs, hashrate);
        comes(reading.nominalHashrateThs, hashrate);
        if (reading.powerSource === 'reported') comes(reading.powerWatts);
        if (reading.powerSource === null) expect(reading.powerWatts).toBeNull();
        if (reading.firmware !== 'bitmain') comes(reading.powerLimitWatts);
        comes(reading.chipTemperatureCelsius);
        comes(reading.boardTemperatureCelsius);
        comes(reading.uptimeSeconds);
        for (const rpm of reading.fanRpm) comes(rpm);
        for (const board of reading.boards) {
          comes(board.hashrateThs, hashrate);
          comes(board.chipTemperatureCelsius);
          comes(board.chipsAlive);
        }
        for (const pool of reading.pools) comes(pool.priority);
      }),
      { seed, numRuns: cases(1500) },
    );
  });

  it('the share of rejected shares is a per cent or nothing, whatever the counters say', () => {
    const names = [
      'Accepted',
      'Rejected',
      'accepted',
      'rejected',
      'Difficulty Accepted',
      'Difficulty Rejected',
    ];
    const counter = fc.oneof(leaf, fc.nat(5000), fc.double({ min: 0, noNaN: true }));
    const records = fc.array(fc.dictionary(fc.constantFrom(...names), counter), { maxLength: 4 });
    let told = 0;
    fc.assert(
      fc.property(records, (said) => {
        const percent = rejectedPercent(said);
        if (percent === null) return;
        told += 1;
        expect(percent).toBeGreaterThanOrEqual(0);
        expect(percent).toBeLessThanOrEqual(100);
      }),
      { seed, numRuns: cases(3000) },
    );
    expect(told, 'something was told').toBeGreaterThan(0);
  });
});

function numbersIn(value: unknown): readonly number[] {
  if (typeof value === 'number') return [value];
  if (Array.isArray(value)) return value.flatMap(numbersIn);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(numbersIn) : [];
}

/** Every number of a reply, also those that stand in text, alone, with a unit or in a list. */
function literalsIn(value: unknown): readonly number[] {
  if (typeof value === 'number') return [value];
  if (typeof value === 'string')
    return [...(value.match(/[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?/gi) ?? []), ...value.split('-')].map(Number);
  if (Array.isArray(value)) return value.flatMap(literalsIn);
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(literalsIn) : [];
}
