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

/** Most heads; the body behind need not become text with them. */
const USUAL_HEAD_BYTES = 512;

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
  /** The head of the answer, line by line. */
  private headText = '';
  private readonly body: Uint8Array[] = [];
  private phase: 'head' | 'length' | 'chunk-size' | 'chunk' | 'trailer' | 'until-close' | 'end' | 'no-http' =
    'head';
  /** Bytes of the body or of the chunk that are still to come. */
  private left = 0;
  /** A line of the chunked form that has begun. */
  private line = '';
  /** Bytes came behind the end. */
  private hasMore = false;

  /** Takes the next piece, copying what it keeps. True when nothing more is wanted. */
  take(piece: Uint8Array): boolean {
    let at = 0;
    while (at < piece.length && this.phase !== 'end' && this.phase !== 'no-http')
      at = this.phase === 'head' ? this.takeHead(piece.subarray(at)) + at : this.takeBody(piece, at);
    if (at < piece.length) this.hasMore = true;
    return this.phase === 'end' || this.phase === 'no-http';
  }

  /** True when the answer is whole and the server takes another request on the connection. Source: RFC 9112, 9.3. */
  get staysOpen(): boolean {
    return (
      this.phase === 'end' &&
      !this.hasMore &&
      this.headText.startsWith(START_OF_1_1) &&
      !CLOSES.test(fieldOf(this.headText, CONNECTION) ?? '')
    );
  }

  /** The answer, or why there is none. `end`: how the connection ended. */
  answer(end: HttpEnd): HttpMessage | 'no-http' | 'no-head' {
    if (this.phase === 'no-http') return 'no-http';
    if (this.phase === 'head') return 'no-head';
    const whole = this.phase === 'end' || (this.phase === 'until-close' && end !== 'broken');
    const { status, body, headText } = this;
    return new ReadMessage(status, body.length === 1 ? body[0]! : Buffer.concat(body), !whole, headText);
  }

  /** Bytes of `piece` that were used up. */
  private takeHead(piece: Uint8Array): number {
    const before = this.headLength;
    // Most often it is there at once; else what came of it is gathered.
    if (before === 0) {
      let text = textOf(piece, 0, Math.min(piece.length, USUAL_HEAD_BYTES));
      let last = END_OF_HEAD.exec(text);
      if (last === null && piece.length > USUAL_HEAD_BYTES) {
        text = textOf(piece, 0, Math.min(piece.length, HTTP_HEAD_MOST_BYTES));
        last = END_OF_HEAD.exec(text);
      }
      if (last !== null && text.startsWith(START)) {
        const end = last.index + last[0].length;
        this.readHead(text.slice(0, end));
        return end;
      }
    }
    const gathered = this.gather(piece);
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
    const status = /^HTTP\/1\.\d (\d{3})/.exec(text)?.[1];
    this.status = Number(status);
    this.headText = text;
    if (status === undefined) this.phase = 'no-http';
    // "100 Continue" and its like come before the answer.
    else if (this.status < 200) this.phase = 'head';
    else if (this.status === 204 || this.status === 304) this.phase = 'end';
    else if (/(?:^|,)\s*chunked\s*$/i.test(fieldOf(text, TRANSFER_ENCODING) ?? '')) this.phase = 'chunk-size';
    else this.expectLength(fieldOf(text, CONTENT_LENGTH));
  }

  private expectLength(said: string | null): void {
    if (said === null) {
      this.phase = 'until-close';
      return;
    }
    const [length = '', ...others] = said.split(',').map((each) => each.trim());
    if (others.every((other) => other === length) && /^\d{1,15}$/.test(length))
      this.expect(Number(length), 'length', 'end');
    else this.phase = 'no-http';
  }

  private expect(bytes: number, phase: 'length' | 'chunk', otherwise: 'end' | 'trailer'): void {
    this.left = bytes;
    this.phase = bytes > 0 ? phase : otherwise;
  }

  /** Where in `piece` to go on. */
  private takeBody(piece: Uint8Array, from: number): number {
    if (this.phase === 'chunk-size' || this.phase === 'trailer') return this.takeLine(piece, from);
    if (this.phase === 'until-close') {
      this.body.push(copyOf(piece, from, piece.length));
      return piece.length;
    }
    const to = Math.min(piece.length, from + this.left);
    this.body.push(copyOf(piece, from, to));
    this.left -= to - from;
    if (this.left === 0) this.phase = this.phase === 'length' ? 'end' : 'chunk-size';
    return to;
  }

  /** A line with the length of a chunk, the empty one behind a chunk, or one of the trailer. */
  private takeLine(piece: Uint8Array, from: number): number {
    const newline = piece.indexOf(0x0a, from);
    const to = newline < 0 ? piece.length : newline;
    // The empty line behind each chunk is not worth a text.
    if (this.phase === 'chunk-size' && this.line === '' && newline >= 0 && isBlank(piece, from, to))
      return newline + 1;
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

/** Its fields are read when they are asked for: of thousands of answers a second, hardly any is. */
class ReadMessage implements HttpMessage {
  readonly status: number;
  readonly body: Uint8Array;
  readonly cut: boolean;
  private readonly headText: string;
  private fields: HttpHeaders | null = null;

  constructor(status: number, body: Uint8Array, cut: boolean, headText: string) {
    this.status = status;
    this.body = body;
    this.cut = cut;
    this.headText = headText;
  }

  get headers(): HttpHeaders {
    this.fields ??= readFields(this.headText.split('\n'));
    return this.fields;
  }
}

function isBlank(bytes: Uint8Array, from: number, to: number): boolean {
  return to === from || (to === from + 1 && bytes[from] === 0x0d);
}

/** Characters of a line that says how long a chunk is. */
const LONGEST_LINE = 1024;

function textOf(bytes: Uint8Array, from: number, to: number): string {
  const buffer =
    bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('latin1', from, to);
}

function copyOf(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const copy = Buffer.allocUnsafe(to - from);
  copy.set(from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to));
  return copy;
}

const START = 'HTTP/1.';
const START_OF_1_1 = 'HTTP/1.1 ';
const START_BYTES = Buffer.from(START);
/** The empty line after the head, and the newline before it. */
const END_OF_HEAD = /\n\r?\n/;

function startsLikeHttp(bytes: Uint8Array): boolean {
  for (let at = 0; at < START_BYTES.length && at < bytes.length; at += 1)
    if (bytes[at] !== START_BYTES[at]) return false;
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

/** Fields that are looked for in every head, as `readFields` would find them. */
const TRANSFER_ENCODING = /\n[^\S\n]*transfer-encoding[^\S\n]*:([^\n]*)/gi;
const CONTENT_LENGTH = /\n[^\S\n]*content-length[^\S\n]*:([^\n]*)/gi;
const CONNECTION = /\n[^\S\n]*connection[^\S\n]*:([^\n]*)/gi;
/** Whoever wants another protocol on the connection does not go on with this one either. */
const CLOSES = /(?:^|,)\s*(?:close|upgrade)\s*(?:,|$)/i;

/** The value of one field of a head, `null` where it is not there. */
function fieldOf(head: string, field: RegExp): string | null {
  field.lastIndex = 0;
  const first = field.exec(head);
  if (first === null) return null;
  let value = first[1]!.trim();
  for (let next = field.exec(head); next !== null; next = field.exec(head)) value += `, ${next[1]!.trim()}`;
  return value;
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
