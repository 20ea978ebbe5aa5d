/**
 * Protocol Buffers wire format, as far as Sparkplug B uses it: varints, fixed 32 and 64 bit, length-delimited.
 * Source: https://protobuf.dev/programming-guides/encoding/
 */

/** Wire types. Groups (3, 4) are of no use here and refused. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;

const MASK64 = 0xffff_ffff_ffff_ffffn;

/** Collects the fields of one message in the order in which they are written. */
export class WireWriter {
  private readonly chunks: number[] = [];

  /** An unsigned integer; a negative one as its 64-bit two's complement. */
  varint(field: number, value: number | bigint): this {
    this.tag(field, VARINT);
    this.raw(value);
    return this;
  }

  fixed32(field: number, value: number): this {
    this.tag(field, FIXED32);
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeFloatLE(value);
    this.push(bytes);
    return this;
  }

  fixed64(field: number, value: number): this {
    this.tag(field, FIXED64);
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeDoubleLE(value);
    this.push(bytes);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.tag(field, BYTES);
    this.raw(value.length);
    this.push(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'));
  }

  finish(): Buffer {
    return Buffer.from(this.chunks);
  }

  private tag(field: number, type: number): void {
    this.raw(field * 8 + type);
  }

  private raw(value: number | bigint): void {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) {
      let rest = value;
      while (rest > 127) {
        this.chunks.push((rest % 128) + 128);
        rest = Math.floor(rest / 128);
      }
      this.chunks.push(rest);
      return;
    }
    let rest = BigInt(value) & MASK64;
    while (rest > 127n) {
      this.chunks.push(Number(rest & 127n) + 128);
      rest >>= 7n;
    }
    this.chunks.push(Number(rest));
  }

  private push(bytes: Uint8Array): void {
    for (const byte of bytes) this.chunks.push(byte);
  }
}

/** One field as it stands: `value` is a bigint for varints, the bytes for everything else. */
export interface WireField {
  readonly field: number;
  readonly type: typeof VARINT | typeof FIXED64 | typeof BYTES | typeof FIXED32;
  readonly integer: bigint;
  readonly bytes: Uint8Array;
}

/** Bytes that are no message. */
export class WireError extends Error {}

const NOTHING = new Uint8Array(0);
const LARGEST_FIELD = 536_870_911n;

/** Takes a message apart, field by field. Throws a `WireError` on anything cut, overlong or of a type of its own. */
export function* wireFields(message: Uint8Array): Generator<WireField> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at];
      if (byte === undefined) throw new WireError('cut within a number');
      at += 1;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        if (value > MASK64) throw new WireError('a number of more than 64 bits');
        return value;
      }
    }
    throw new WireError('a number of more than ten bytes');
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw new WireError('cut within a field');
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = varint();
    const field = tag >> 3n;
    const type = Number(tag & 7n);
    if (field < 1n || field > LARGEST_FIELD) throw new WireError(`no field has the number ${field}`);
    const number = Number(field);
    if (type === VARINT) yield { field: number, type, integer: varint(), bytes: NOTHING };
    else if (type === FIXED64) yield { field: number, type, integer: 0n, bytes: take(8) };
    else if (type === FIXED32) yield { field: number, type, integer: 0n, bytes: take(4) };
    else if (type === BYTES) {
      const length = varint();
      if (length > BigInt(message.length)) throw new WireError('cut within a field');
      yield { field: number, type, integer: 0n, bytes: take(Number(length)) };
    } else throw new WireError(`wire type ${type}`);
  }
}
