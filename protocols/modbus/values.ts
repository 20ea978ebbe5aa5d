/**
 * Registers to numbers and back. Registers are 16-bit words, bytes big-endian on the wire; what spans several
 * registers has a word order of its own per meter.
 * Source: Modbus Application Protocol V1.1b3 section 4.2; vendor maps for the word orders.
 */

/** `msw` ABCD high word first, `lsw` CDAB low word first, `badc` high word first with swapped bytes, `dcba` all reversed. */
export const WORD_ORDERS = ['msw', 'lsw', 'badc', 'dcba'] as const;
export type WordOrder = (typeof WORD_ORDERS)[number];

/** `mod10k`: low + 10000 x high. `str`: two characters a register. `str1`: one character a register. */
export const REGISTER_TYPES = [
  'i16',
  'u16',
  'i32',
  'u32',
  'i64',
  'u64',
  'u48',
  'f32',
  'f64',
  'mod10k',
  'sunssf',
  'str',
  'str1',
] as const;
export type RegisterType = (typeof REGISTER_TYPES)[number];

/** Registers that a type fills; `null` for strings, whose length stands in the map. */
export function wordsOf(type: RegisterType): number | null {
  return WORDS[type];
}

const WORDS: Readonly<Record<RegisterType, number | null>> = {
  i16: 1,
  u16: 1,
  sunssf: 1,
  i32: 2,
  u32: 2,
  f32: 2,
  mod10k: 2,
  u48: 3,
  i64: 4,
  u64: 4,
  f64: 4,
  str: null,
  str1: null,
};

/** The bits of `words` in the order high byte first, whatever the order on the wire. */
export function orderedBytes(words: readonly number[], order: WordOrder): Buffer {
  const bytes = Buffer.allocUnsafe(words.length * 2);
  const reversed = order === 'lsw' || order === 'dcba';
  const swapped = order === 'badc' || order === 'dcba';
  // A loop, not an iteration: this runs for every point of every reading.
  for (let index = 0; index < words.length; index += 1) {
    const word = words[reversed ? words.length - 1 - index : index]!;
    bytes[index * 2] = swapped ? word & 0xff : word >> 8;
    bytes[index * 2 + 1] = swapped ? word >> 8 : word & 0xff;
  }
  return bytes;
}

/**
 * The raw number in `words`, before scale. 64-bit integers beyond 2^53 and floats that are no number come out
 * as `null`. Throws when the count of words does not fit the type: that is a bug of the caller.
 */
export function decodeNumber(type: RegisterType, order: WordOrder, words: readonly number[]): number | null {
  const wanted = wordsOf(type);
  if (wanted === null || words.length !== wanted) {
    throw new RangeError(`type ${type} does not fit ${words.length} registers`);
  }
  if (type === 'mod10k') return words[0]! + 10_000 * words[1]!;
  const bytes = orderedBytes(words, order);
  switch (type) {
    case 'i16':
    case 'sunssf':
      return bytes.readInt16BE(0);
    case 'u16':
      return bytes.readUInt16BE(0);
    case 'i32':
      return bytes.readInt32BE(0);
    case 'u32':
      return bytes.readUInt32BE(0);
    case 'u48':
      return bytes.readUIntBE(0, 6);
    case 'f32':
      return finite(bytes.readFloatBE(0));
    case 'f64':
      return finite(bytes.readDoubleBE(0));
    case 'i64':
      return safe(bytes.readBigInt64BE(0));
    default:
      return safe(bytes.readBigUInt64BE(0));
  }
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function safe(value: bigint): number | null {
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  return value > limit || value < -limit ? null : Number(value);
}

/** Text in registers, cut at the first NUL, without blanks around it; `null` when nothing readable is there. */
export function decodeText(type: 'str' | 'str1', order: WordOrder, words: readonly number[]): string | null {
  const swapped = order === 'badc' || order === 'dcba';
  const bytes = words.flatMap((word) => {
    const pair = swapped ? [word & 0xff, word >> 8] : [word >> 8, word & 0xff];
    return type === 'str1' ? [word & 0xff] : pair;
  });
  const end = bytes.indexOf(0);
  const text = String.fromCharCode(...(end < 0 ? bytes : bytes.slice(0, end))).trim();
  return /^[\x20-\x7e]+$/.test(text) ? text : null;
}

/** Whether `words` hold one of the patterns (hex, high word first, upper case) that a meter sends for "not available". */
export function isNotAvailable(
  patterns: readonly string[],
  order: WordOrder,
  words: readonly number[],
): boolean {
  if (patterns.length === 0) return false;
  return patterns.includes(orderedBytes(words, order).toString('hex').toUpperCase());
}

/**
 * `raw` times `scale`. A scale that is one over a whole number is divided by: 12345 at 0.01 is 123.45 and not
 * 123.45000000000002, which is what a double makes of 0.01.
 */
export function scaled(raw: number, scale: number): number {
  const divisor = Math.round(1 / scale);
  return scale > 0 && scale < 1 && 1 / divisor === scale ? raw / divisor : raw * scale;
}

/** SATEC's linear form: 0 to 9999 between two engineering limits. Source: SATEC PM180 Modbus manual, LIN3. */
export function lin3(raw: number, low: number, high: number): number {
  return (raw * (high - low)) / 9999 + low;
}

/** Number to registers, clamped to the range of the type and rounded for integers; `null` writes NaN or all ones. */
export function encodeNumber(type: RegisterType, order: WordOrder, value: number | null): number[] {
  const count = wordsOf(type);
  if (count === null) throw new RangeError(`type ${type} holds text`);
  if (type === 'mod10k') {
    const whole = Math.max(0, Math.round(value ?? 0));
    return [whole % 10_000, Math.floor(whole / 10_000) % 0x10000];
  }
  const bytes = Buffer.alloc(count * 2, 0xff);
  if (type === 'f32') bytes.writeFloatBE(value ?? Number.NaN, 0);
  else if (type === 'f64') bytes.writeDoubleBE(value ?? Number.NaN, 0);
  else if (value !== null) writeInteger(bytes, type.startsWith('u') ? 0n : null, value);
  else if (!type.startsWith('u')) bytes.fill(0).writeUInt8(0x80, 0);
  return wireWords(bytes, order);
}

/** Writes two's complement over the whole buffer; `lowest` 0 makes the range unsigned. */
function writeInteger(bytes: Buffer, lowest: 0n | null, value: number): void {
  const bits = BigInt(bytes.length * 8);
  const low = lowest ?? -(1n << (bits - 1n));
  const high = (lowest === null ? 1n << (bits - 1n) : 1n << bits) - 1n;
  let whole = BigInt(Math.round(value));
  if (whole < low) whole = low;
  if (whole > high) whole = high;
  let rest = BigInt.asUintN(bytes.length * 8, whole);
  for (let index = bytes.length - 1; index >= 0; index -= 1) {
    bytes[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
}

/** Text to `count` registers, padded with NUL. */
export function encodeText(type: 'str' | 'str1', order: WordOrder, text: string, count: number): number[] {
  const swapped = order === 'badc' || order === 'dcba';
  return Array.from({ length: count }, (_, index) => {
    if (type === 'str1') return text.charCodeAt(index) & 0xff || 0;
    const first = text.charCodeAt(index * 2) & 0xff || 0;
    const second = text.charCodeAt(index * 2 + 1) & 0xff || 0;
    return swapped ? (second << 8) | first : (first << 8) | second;
  });
}

/** The inverse of `orderedBytes`. */
function wireWords(bytes: Buffer, order: WordOrder): number[] {
  const swapped = order === 'badc' || order === 'dcba';
  const words = Array.from({ length: bytes.length / 2 }, (_, index) =>
    swapped ? bytes.readUInt16LE(index * 2) : bytes.readUInt16BE(index * 2),
  );
  return order === 'lsw' || order === 'dcba' ? words.reverse() : words;
}

/** One reading of a register run as one type, in every word order: what a technician compares by eye. */
export interface Poke {
  /** Address of the first register of the value. */
  readonly address: number;
  readonly words: readonly number[];
  readonly values: Readonly<Record<WordOrder, number | null>>;
}

/**
 * The registers from `address` read as `type`, all word orders side by side. Registers left over at the end
 * that do not fill a value are not shown. Strings are not offered: their order never mixes words.
 */
export function poke(
  address: number,
  words: readonly number[],
  type: Exclude<RegisterType, 'str' | 'str1'>,
): Poke[] {
  const size = wordsOf(type)!;
  const rows: Poke[] = [];
  for (let index = 0; index + size <= words.length; index += size) {
    const part = words.slice(index, index + size);
    rows.push({
      address: address + index,
      words: part,
      values: {
        msw: decodeNumber(type, 'msw', part),
        lsw: decodeNumber(type, 'lsw', part),
        badc: decodeNumber(type, 'badc', part),
        dcba: decodeNumber(type, 'dcba', part),
      },
    });
  }
  return rows;
}
