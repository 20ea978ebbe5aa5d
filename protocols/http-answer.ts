import { Buffer } from 'node:buffer';

/** Header fields by lower-case name; of a field that came twice, both values with a comma between. */
export type HttpHeaders = Readonly<Record<string, string>>;

/** What an HTTP/1 server said. */
export interface HttpMessage {
  readonly status: number;
  readonly headers: HttpHeaders;
  readonly body: Uint8Array;
  /** The connection ended before the announced end. */
  readonly cut: boolean;
}

/** A head is longer on no device; what goes on without an empty line is none. */
export const HTTP_HEAD_MOST_BYTES = 16 * 1024;

/** What ends an answer besides the announced end. */
export type HttpEnd = 'whole' | 'closed' | 'broken';

/**
 * Reads one answer of an HTTP/1 server piece by piece, as leniently as boards need: bare newlines, blanks around names,
 * lines that are no field. What could be read in two ways (two lengths) is refused. The work is in proportion to the
 * bytes, whatever their pieces.
 *
 * Source: RFC 9112, sections 4 to 7.
 */
export class HttpAnswerReader {
  /** Of a head that came in pieces: what came so far. */
  private head: Uint8Array | null = null;
  private headLength = 0;
  private status = 0;
  private headers: HttpHeaders = {};
  private readonly body: Uint8Array[] = [];
  private phase: 'head' | 'length' | 'chunk-size' | 'chunk' | 'trailer' | 'until-close' | 'end' | 'no-http' =
    'head';
  /** Bytes of the body or of the chunk that are still to come. */
  private left = 0;
  /** A line of the chunked form that has begun. */
  private line = '';

  /** Takes the next piece, copying what it keeps. True when nothing more is wanted. */
  take(piece: Uint8Array): boolean {
    let at = 0;
    while (at < piece.length && this.phase !== 'end' && this.phase !== 'no-http')
      at = this.phase === 'head' ? this.takeHead(piece.subarray(at)) + at : this.takeBody(piece, at);
    return this.phase === 'end' || this.phase === 'no-http';
  }

  /** The answer, or why there is none. `end`: how the connection ended. */
  answer(end: HttpEnd): HttpMessage | 'no-http' | 'no-head' {
    if (this.phase === 'no-http') return 'no-http';
    if (this.phase === 'head') return 'no-head';
    const whole = this.phase === 'end' || (this.phase === 'until-close' && end !== 'broken');
    const { status, headers, body } = this;
    return { status, headers, body: body.length === 1 ? body[0]! : Buffer.concat(body), cut: !whole };
  }

  /** Bytes of `piece` that were used up. */
  private takeHead(piece: Uint8Array): number {
    const before = this.headLength;
    // Most often it is there at once; else what came of it is gathered.
    const gathered = before === 0 && endOfHead(piece, 0) !== null ? piece : this.gather(piece);
    const end = startsLikeHttp(gathered) ? endOfHead(gathered, Math.max(0, before - 2)) : null;
    if (end !== null && end <= HTTP_HEAD_MOST_BYTES) {
      this.headLength = 0;
      this.readHead(textOf(gathered, 0, end));
      return end - before;
    }
    if (end !== null || gathered.length >= HTTP_HEAD_MOST_BYTES || !startsLikeHttp(gathered))
      this.phase = 'no-http';
    return piece.length;
  }

  private gather(piece: Uint8Array): Uint8Array {
    this.head ??= Buffer.allocUnsafe(HTTP_HEAD_MOST_BYTES);
    const kept = piece.subarray(0, HTTP_HEAD_MOST_BYTES - this.headLength);
    this.head.set(kept, this.headLength);
    this.headLength += kept.length;
    return this.head.subarray(0, this.headLength);
  }

  private readHead(text: string): void {
    const lines = text.split('\n');
    const status = /^HTTP\/1\.\d (\d{3})/.exec(lines[0]!)?.[1];
    const headers = readFields(lines);
    this.status = Number(status);
    this.headers = headers;
    if (status === undefined) this.phase = 'no-http';
    // "100 Continue" and its like come before the answer.
    else if (this.status < 200) this.phase = 'head';
    else if (this.status === 204 || this.status === 304) this.phase = 'end';
    else if (/(?:^|,)\s*chunked\s*$/i.test(headers['transfer-encoding'] ?? '')) this.phase = 'chunk-size';
    else if (headers['content-length'] === undefined) this.phase = 'until-close';
    else {
      const lengths = new Set(headers['content-length'].split(',').map((length) => length.trim()));
      const [length = ''] = lengths;
      if (lengths.size === 1 && /^\d{1,15}$/.test(length)) this.expect(Number(length), 'length', 'end');
      else this.phase = 'no-http';
    }
  }

  private expect(bytes: number, phase: 'length' | 'chunk', otherwise: 'end' | 'trailer'): void {
    this.left = bytes;
    this.phase = bytes > 0 ? phase : otherwise;
  }

  /** Where in `piece` to go on. */
  private takeBody(piece: Uint8Array, from: number): number {
    if (this.phase === 'chunk-size' || this.phase === 'trailer') return this.takeLine(piece, from);
    if (this.phase === 'until-close') {
      this.body.push(Buffer.from(piece.subarray(from)));
      return piece.length;
    }
    const to = Math.min(piece.length, from + this.left);
    this.body.push(Buffer.from(piece.subarray(from, to)));
    this.left -= to - from;
    if (this.left === 0) this.phase = this.phase === 'length' ? 'end' : 'chunk-size';
    return to;
  }

  /** A line with the length of a chunk, the empty one behind a chunk, or one of the trailer. */
  private takeLine(piece: Uint8Array, from: number): number {
    const newline = piece.indexOf(0x0a, from);
    const to = newline < 0 ? piece.length : newline;
    this.line += textOf(piece, from, to);
    if (this.line.length > LONGEST_LINE) this.phase = 'no-http';
    if (newline < 0 || this.phase === 'no-http') return piece.length;
    const line = this.line.trim();
    this.line = '';
    if (this.phase === 'trailer') {
      if (line === '') this.phase = 'end';
    } else if (line !== '') {
      const size = /^([0-9a-f]{1,8})\s*(?:;|$)/i.exec(line)?.[1];
      if (size === undefined) this.phase = 'no-http';
      else this.expect(Number.parseInt(size, 16), 'chunk', 'trailer');
    }
    return newline + 1;
  }
}

/** Characters of a line that says how long a chunk is. */
const LONGEST_LINE = 1024;

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('latin1');
}

const START = Buffer.from('HTTP/1.');

function startsLikeHttp(bytes: Uint8Array): boolean {
  for (let at = 0; at < START.length && at < bytes.length; at += 1) if (bytes[at] !== START[at]) return false;
  return true;
}

/** Where the empty line after the head ends, looked for from `from` on. */
function endOfHead(bytes: Uint8Array, from: number): number | null {
  for (let at = bytes.indexOf(0x0a, from); at >= 0; at = bytes.indexOf(0x0a, at + 1)) {
    if (bytes[at + 1] === 0x0a) return at + 2;
    if (bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a) return at + 3;
  }
  return null;
}

function readFields(lines: readonly string[]): HttpHeaders {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>;
  for (let at = 1; at < lines.length; at += 1) {
    const line = lines[at]!;
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = fields[name];
    fields[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return fields;
}
