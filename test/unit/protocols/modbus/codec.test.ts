import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeMbap, encodeRtu, MbapReader, readRtu } from '../../../../protocols/modbus/framing.ts';
import type { ModbusRequest } from '../../../../protocols/modbus/pdu.ts';
import { decodeReply, encodeRequest } from '../../../../protocols/modbus/pdu.ts';
import type { RegisterType, WordOrder } from '../../../../protocols/modbus/values.ts';
import { decodeNumber, isNotAvailable, lin3, poke, scaled } from '../../../../protocols/modbus/values.ts';

const golden = new URL('../../../golden/modbus/', import.meta.url);

interface RecordedFrame {
  readonly case: string;
  readonly tcp: { readonly request: string; readonly response: string };
  readonly rtu: { readonly request: string; readonly response: string } | null;
}

const { frames } = JSON.parse(readFileSync(new URL('frames.json', golden), 'utf8')) as {
  frames: RecordedFrame[];
};

/** What each recorded case asks in our words and what must come out; cases we never send are not listed. */
const KNOWN: Record<string, { request: ModbusRequest; reply: unknown }> = {
  'FC3 read 2 regs @0x0102': {
    request: { kind: 'read', functionCode: 3, address: 0x0102, count: 2 },
    reply: { kind: 'words', words: [0x0102, 0x0103] },
  },
  'FC4 read 2 regs @0x0034': {
    request: { kind: 'read', functionCode: 4, address: 0x0034, count: 2 },
    reply: { kind: 'words', words: [0x0034, 0x0035] },
  },
  'FC6 write 0x0064=0x1234': {
    request: { kind: 'write', address: 0x64, words: [0x1234] },
    reply: { kind: 'written' },
  },
  'FC16 write 2 regs @0x0070': {
    request: { kind: 'write', address: 0x70, words: [0xdead, 0xbeef] },
    reply: { kind: 'written' },
  },
  'FC3 illegal address 0xFFFF x2': {
    request: { kind: 'read', functionCode: 3, address: 0xfffe, count: 2 },
    reply: { kind: 'exception', code: 2 },
  },
};

describe('recorded Modbus frames', () => {
  test.each(frames.filter((frame) => frame.case in KNOWN))('$case', (frame) => {
    const { request, reply } = KNOWN[frame.case]!;
    const recorded = Buffer.from(frame.tcp.request, 'hex');
    // The recorded illegal read runs beyond 0xFFFF, which our encoder refuses to send: only its reply is used.
    if (!frame.case.includes('illegal')) {
      const encoded = encodeMbap(recorded.readUInt16BE(0), 1, encodeRequest(request));
      expect(encoded.toString('hex')).toBe(frame.tcp.request);
      expect(encodeRtu(1, encodeRequest(request)).toString('hex')).toBe(frame.rtu?.request);
    }
    const read = new MbapReader().push(Buffer.from(frame.tcp.response, 'hex'));
    expect(read.fault).toBeNull();
    expect(read.frames).toHaveLength(1);
    expect(read.frames[0]).toMatchObject({ transactionId: recorded.readUInt16BE(0), unit: 1 });
    expect(decodeReply(request, read.frames[0]!.pdu)).toEqual(reply);
    const rtu = readRtu(request, 1, Buffer.from(frame.rtu!.response, 'hex'));
    expect(rtu.kind).toBe('frame');
    if (rtu.kind === 'frame') expect(decodeReply(request, rtu.pdu)).toEqual(reply);
  });

  test('every recorded case is used or named as not ours', () => {
    const notOurs = [
      'FC23 write 1 @0x0080, read 2 @0x0070',
      'FC3 illegal quantity 126',
      'FC 0x2B/0x0E device id unsupported',
    ];
    expect(frames.map((frame) => frame.case).sort()).toEqual([...Object.keys(KNOWN), ...notOurs].sort());
  });

  test('an illegal quantity recorded as exception 3 is read as one', () => {
    const frame = frames.find((candidate) => candidate.case === 'FC3 illegal quantity 126')!;
    const [reply] = new MbapReader().push(Buffer.from(frame.tcp.response, 'hex')).frames;
    const request: ModbusRequest = { kind: 'read', functionCode: 3, address: 0, count: 125 };
    expect(decodeReply(request, reply!.pdu)).toEqual({ kind: 'exception', code: 3 });
  });
});

describe('Modbus PDUs', () => {
  const request: ModbusRequest = { kind: 'read', functionCode: 3, address: 10, count: 2 };

  test.each([
    ['another function', '0404000a000b', 'function 4 instead of 3'],
    ['fewer registers than asked', '0302000a', '4 bytes instead of 6'],
    ['more registers than asked', '0306000a000b000c', '8 bytes instead of 6'],
    ['a byte count that lies', '0306000a000b', 'byte count of 6'],
    ['a long exception', '830200', 'exception of 3 bytes'],
    ['nothing', '', 'empty'],
  ])('a reply with %s is a fault', (_, hex, message) => {
    const reply = decodeReply(request, Buffer.from(hex, 'hex'));
    expect(reply).toEqual({ kind: 'fault', message: expect.stringContaining(message) });
  });

  test('a write confirmed at another address or with another value is a fault', () => {
    const write: ModbusRequest = { kind: 'write', address: 0x64, words: [0x1234] };
    expect(decodeReply(write, Buffer.from('0600651234', 'hex')).kind).toBe('fault');
    expect(decodeReply(write, Buffer.from('0600641235', 'hex')).kind).toBe('fault');
    expect(decodeReply(write, Buffer.from('0600641234', 'hex')).kind).toBe('written');
  });

  test.each([121, 122, 123])('a write of %i registers is laid out whole', (count) => {
    const words = Array.from({ length: count }, (_, index) => index + 1);
    const pdu = encodeRequest({ kind: 'write', address: 7, words });
    expect(pdu.length).toBe(6 + 2 * count);
    expect([...pdu.subarray(0, 6)]).toEqual([16, 0, 7, 0, count, 2 * count]);
    expect(pdu.readUInt16BE(pdu.length - 2)).toBe(count);
  });

  test.each([
    { kind: 'read', functionCode: 3, address: 0, count: 126 },
    { kind: 'read', functionCode: 3, address: 0, count: 0 },
    { kind: 'read', functionCode: 4, address: 65_535, count: 2 },
    { kind: 'write', address: 0, words: new Array<number>(124).fill(0) },
    { kind: 'write', address: 0, words: [65_536] },
  ] satisfies ModbusRequest[])('a request that no device may be asked throws: %o', (bad) => {
    expect(() => encodeRequest(bad)).toThrow(RangeError);
  });
});

interface Vector {
  readonly name: string;
  readonly type: string;
  readonly wordOrder: WordOrder;
  readonly regs: string[];
  readonly scale: number | null;
  readonly value: number | null;
}

const { vectors } = JSON.parse(readFileSync(new URL('decode-vectors.json', golden), 'utf8')) as {
  vectors: Vector[];
};

/** What meters send for "not available", as the profiles give it; ABB writes the largest signed value too. */
const NOT_AVAILABLE: Record<string, string[]> = {
  i16: ['8000', '7FFF'],
  u16: ['FFFF'],
  i32: ['80000000', '7FFFFFFF'],
  u32: ['FFFFFFFF'],
  i64: ['8000000000000000'],
  u64: ['FFFFFFFFFFFFFFFF'],
  sunssf: ['8000'],
};

function decodeVector(vector: Vector): number | null {
  const words = vector.regs.map(Number);
  if (vector.type === 'lin3') {
    const raw = decodeNumber('u16', vector.wordOrder, words);
    return raw === null ? null : lin3(raw, -108682.56, 108682.56);
  }
  if (vector.type === 'i16+sf') {
    const raw = decodeNumber('i16', vector.wordOrder, words.slice(0, 1));
    const factor = decodeNumber('sunssf', vector.wordOrder, words.slice(1));
    return raw === null || factor === null ? null : raw * 10 ** factor;
  }
  const type = vector.type as RegisterType;
  if (isNotAvailable(NOT_AVAILABLE[type] ?? [], vector.wordOrder, words)) return null;
  const raw = decodeNumber(type, vector.wordOrder, words);
  return raw === null ? null : scaled(raw, vector.scale ?? 1);
}

describe('register values', () => {
  test('all 28 vectors are there', () => expect(vectors).toHaveLength(28));
  test.each(vectors)('$name', (vector) => {
    expect(decodeVector(vector)).toBe(vector.value);
  });

  test('a 64-bit count beyond 2^53 is no number', () => {
    expect(decodeNumber('u64', 'msw', [0x0020, 0, 0, 0])).toBeNull();
    expect(decodeNumber('u64', 'msw', [0x001f, 0xffff, 0xffff, 0xffff])).toBe(Number.MAX_SAFE_INTEGER);
  });

  test('a poke shows all word orders side by side', () => {
    expect(poke(52, [0x7800, 0xc4be, 0x0001], 'f32')).toEqual([
      {
        address: 52,
        words: [0x7800, 0xc4be],
        values: {
          msw: decodeNumber('f32', 'msw', [0x7800, 0xc4be]),
          lsw: -1523.75,
          badc: decodeNumber('f32', 'badc', [0x7800, 0xc4be]),
          dcba: decodeNumber('f32', 'dcba', [0x7800, 0xc4be]),
        },
      },
    ]);
  });
});

describe('a scale', () => {
  test.each([
    [12_345, 0.01, 123.45],
    [12_345, 1, 12_345],
    [7, 1000, 7000],
    // What a current transformer makes of a count is seldom one over a whole number.
    [1000, 0.7, 700],
    [1000, 0.15, 150],
    [1000, 0.625, 625],
  ])('%d times %d', (raw, scale, value) => {
    expect(scaled(raw, scale)).toBeCloseTo(value, 9);
  });
});
