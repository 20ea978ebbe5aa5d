import { Buffer } from 'node:buffer';

const BYTE_ORDER_MARK = 0xfeff;

/** The first `length` bytes as text; what is no UTF-8 becomes U+FFFD, a byte order mark is left out. Never throws. */
export function utf8Text(bytes: Uint8Array, length = bytes.length): string {
  // Without a decoder object: a fleet sends thousands of short texts a second.
  const buffer =
    bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString('utf8', 0, length);
  return text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text;
}
