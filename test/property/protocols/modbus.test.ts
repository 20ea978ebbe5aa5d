import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { registersOf } from '../../../config/meters/profile.ts';
import { meterProfiles } from '../../../config/meters/profiles.ts';
import { decodePoint } from '../../../drivers/meter/decode.ts';
import { encodeMbap, encodeRtu, MbapReader, readRtu } from '../../../protocols/modbus/framing.ts';
import type { ModbusRequest } from '../../../protocols/modbus/pdu.ts';
import { decodeReply, encodeRequest } from '../../../protocols/modbus/pdu.ts';
import type { RegisterType } from '../../../protocols/modbus/values.ts';
import { decodeNumber, encodeNumber, poke, WORD_ORDERS, wordsOf } from '../../../protocols/modbus/values.ts';
import { mbap, readPdu } from '../../support/modbus-peer.ts';

const word = fc.integer({ min: 0, max: 0xffff });
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const order = fc.constantFrom(...WORD_ORDERS);
const read: fc.Arbitrary<ModbusRequest> = fc
  .record({ functionCode: fc.constantFrom(3 as const, 4 as const), count: fc.integer({ min: 1, max: 125 }) })
  .chain(({ functionCode, count }) =>
    fc
      .integer({ min: 0, max: 0x10000 - count })
      .map((address) => ({ kind: 'read', functionCode, address, count }) as const),
  );
const write: fc.Arbitrary<ModbusRequest> = fc
  .array(word, { minLength: 1, maxLength: 123 })
  .map((words) => ({ kind: 'write', address: 100, words }) as const);
const request = fc.oneof(read, write);

/** The stream cut at any byte. */
const cuts = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 50 });
function* pieces(stream: Buffer, sizes: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (let index = 0; at < stream.length; index += 1) {
    const size = sizes[index % sizes.length]!;
    yield stream.subarray(at, at + size);
    at += size;
  }
}

describe('Modbus codecs', () => {
  test('no bytes make a decoder throw, and only the right reply is one', () => {
    fc.assert(
      fc.property(request, bytes, (asked, junk) => {
        const reply = decodeReply(asked, junk);
        expect(['words', 'written', 'exception', 'fault']).toContain(reply.kind);
        if (reply.kind === 'words' && asked.kind === 'read') expect(reply.words).toHaveLength(asked.count);
        new MbapReader().push(junk);
        readRtu(asked, 1, junk);
      }),
    );
  });

  test('a request goes out whole and its reply comes back, both framings, cut at any byte', () => {
    fc.assert(
      fc.property(read, fc.array(word, { minLength: 125, maxLength: 125 }), cuts, (asked, all, sizes) => {
        if (asked.kind !== 'read') return;
        const words = all.slice(0, asked.count);
        const pdu = readPdu(asked.functionCode, words);
        const stream = Buffer.concat([mbap(7, 9, pdu), mbap(8, 9, pdu)]);
        const reader = new MbapReader();
        const frames = [...pieces(stream, sizes)].flatMap((piece) => {
          const { frames: found, fault } = reader.push(piece);
          expect(fault).toBeNull();
          return found;
        });
        expect(frames.map((frame) => [frame.transactionId, frame.unit])).toEqual([
          [7, 9],
          [8, 9],
        ]);
        expect(decodeReply(asked, frames[1]!.pdu)).toEqual({ kind: 'words', words });
        const rtu = encodeRtu(9, pdu);
        for (let end = 0; end < rtu.length; end += 1) {
          expect(readRtu(asked, 9, rtu.subarray(0, end)).kind).toBe('partial');
        }
        expect(readRtu(asked, 9, rtu)).toEqual({ kind: 'frame', pdu });
      }),
      { numRuns: 60 },
    );
  });

  test('one flipped bit of an RTU reply never passes', () => {
    fc.assert(
      fc.property(read, fc.nat(), (asked, where) => {
        if (asked.kind !== 'read') return;
        const frame = encodeRtu(5, readPdu(asked.functionCode, new Array<number>(asked.count).fill(0x1234)));
        const bit = where % (frame.length * 8);
        frame[bit >> 3]! ^= 1 << (bit & 7);
        expect(readRtu(asked, 5, frame).kind).not.toBe('frame');
      }),
    );
  });

  test('requests encode to what MBAP carries', () => {
    fc.assert(
      fc.property(
        request,
        fc.integer({ min: 0, max: 0xffff }),
        fc.integer({ min: 0, max: 255 }),
        (asked, id, unit) => {
          const pdu = encodeRequest(asked);
          const { frames, fault } = new MbapReader().push(encodeMbap(id, unit, pdu));
          expect(fault).toBeNull();
          expect(frames).toEqual([{ transactionId: id, unit, pdu }]);
        },
      ),
    );
  });
});

describe('register values', () => {
  const integers: [RegisterType, bigint, bigint][] = [
    ['i16', -32768n, 32767n],
    ['u16', 0n, 65535n],
    ['i32', -(2n ** 31n), 2n ** 31n - 1n],
    ['u32', 0n, 2n ** 32n - 1n],
    ['u48', 0n, 2n ** 48n - 1n],
    ['i64', -(2n ** 53n) + 1n, 2n ** 53n - 1n],
    ['u64', 0n, 2n ** 53n - 1n],
  ];
  test.each(integers)('%s comes back in every word order', (type, min, max) => {
    fc.assert(
      fc.property(fc.bigInt({ min, max }), order, (value, how) => {
        expect(decodeNumber(type, how, encodeNumber(type, how, Number(value)))).toBe(Number(value));
      }),
    );
  });
  test('floats come back in every word order', () => {
    fc.assert(
      fc.property(
        fc.float({ noNaN: true, noDefaultInfinity: true }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        order,
        (single, double, how) => {
          expect(decodeNumber('f32', how, encodeNumber('f32', how, single))).toBe(single);
          expect(decodeNumber('f64', how, encodeNumber('f64', how, double))).toBe(double);
        },
      ),
    );
  });
  test('any registers poke without a throw', () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 20 }), (words) => {
        for (const type of ['i16', 'f32', 'u48', 'i64', 'mod10k', 'f64'] as const) {
          expect(poke(0, words, type)).toHaveLength(Math.floor(words.length / wordsOf(type)!));
        }
      }),
    );
  });
  test('no registers make a point of any profile throw or give a figure that is none', () => {
    const points = [...meterProfiles().values()].flatMap((profile) =>
      profile.points.map((point) => ({ profile, point })),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...points),
        fc.array(word, { minLength: 125, maxLength: 125 }),
        ({ profile, point }, words) => {
          const { value, gap } = decodePoint(profile, point, words.slice(0, registersOf(point)), {}, null);
          expect(value === null).toBe(gap !== null);
          if (typeof value === 'number') expect(Number.isFinite(value)).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
