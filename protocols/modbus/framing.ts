import type { ModbusRequest } from './pdu.ts';
import { functionCodeOf, replyLength } from './pdu.ts';

/**
 * Frames on the wire: MBAP on Modbus TCP, unit and CRC on RTU (serial lines and transparent gateways).
 * Pure: bytes are pushed in, whole frames come out.
 * Source: Modbus Messaging on TCP/IP V1.0b section 3.1.3; Modbus over Serial Line V1.02 section 2.5.1.
 */

export interface MbapFrame {
  readonly transactionId: number;
  readonly unit: number;
  readonly pdu: Buffer;
}

/** Junk on the path: nothing that follows it can be trusted. */
export interface FrameFault {
  readonly kind: 'fault';
  readonly message: string;
}

/** Transaction id 0 to 65535, unit 0 to 255, PDU of at most 253 bytes, to one frame. */
export function encodeMbap(transactionId: number, unit: number, pdu: Buffer): Buffer {
  const frame = Buffer.alloc(7 + pdu.length);
  frame.writeUInt16BE(transactionId, 0);
  frame.writeUInt16BE(0, 2);
  frame.writeUInt16BE(1 + pdu.length, 4);
  frame.writeUInt8(unit, 6);
  pdu.copy(frame, 7);
  return frame;
}

/** What looks like the head of a reply in the middle of another one; `null` where the frame ends before it. */
export interface HeadInside {
  readonly transactionId: number;
  /** Bytes from the unit on. */
  readonly length: number;
  readonly unit: number | null;
  readonly functionCode: number | null;
}

/** Whether a reply with this head may still come. `isSpread`: the frame at hand came in several pieces. */
export type MayCome = (head: HeadInside, isSpread: boolean) => boolean;

/**
 * Cuts a stream into MBAP frames. A gateway that loses the end of a reply makes the next reply its rest, which
 * looks like a whole frame with wrong data: so nothing that came with a fault is given out, nor a frame before the
 * head behind it has been judged, nor one that holds the head of another reply. After a fault the reader must be
 * thrown away with its connection.
 */
export class MbapReader {
  private pending: Buffer = Buffer.alloc(0);
  private held: MbapFrame[] = [];

  /** Whether part of a frame has come and the rest has not. */
  get hasPart(): boolean {
    return this.pending.length > 0;
  }

  /** Every frame that is complete and certain now; a fault condemns all that came with it. */
  push(
    chunk: Buffer,
    mayCome: MayCome = () => false,
  ): { readonly frames: MbapFrame[]; readonly fault: FrameFault | null } {
    let isSpread = this.pending.length > 0;
    this.pending = isSpread ? Buffer.concat([this.pending, chunk]) : chunk;
    const condemned = (message: string) => ({ frames: [], fault: fault(message) });
    for (;;) {
      // Judge each header byte as it comes: junk must not wait for a length that it invented.
      const header = this.pending;
      if (header.length >= 4 && header.readUInt16BE(2) !== 0) {
        return condemned(`protocol id ${header.readUInt16BE(2)} instead of 0`);
      }
      if (header.length < 6) return { frames: header.length === 0 ? this.take() : [], fault: null };
      const length = header.readUInt16BE(4);
      if (length < 3 || length > 254) return condemned(`a frame length of ${length}`);
      if (header.length < 6 + length) return { frames: this.take(), fault: null };
      const frame = header.subarray(0, 6 + length);
      // Its own id turns up in its data by chance once in a while: only a frame in pieces is doubted for that.
      const own = isSpread ? null : frame.readUInt16BE(0);
      if (holdsHead(frame, (head) => head.transactionId !== own && mayCome(head, isSpread)))
        return condemned('a reply inside another one');
      this.held.push({
        transactionId: frame.readUInt16BE(0),
        unit: frame.readUInt8(6),
        pdu: frame.subarray(7),
      });
      this.pending = header.subarray(6 + length);
      isSpread = false;
    }
  }

  private take(): MbapFrame[] {
    const frames = this.held;
    this.held = [];
    return frames;
  }
}

/** Whether the head of a reply that may come stands anywhere behind the first byte of `frame`. */
function holdsHead(frame: Buffer, mayCome: (head: HeadInside) => boolean): boolean {
  for (let at = 1; at + 6 <= frame.length; at += 1) {
    if (frame[at + 2] !== 0 || frame[at + 3] !== 0 || frame[at + 4] !== 0) continue;
    const length = frame[at + 5]!;
    if (length < 3) continue;
    const head: HeadInside = {
      transactionId: frame.readUInt16BE(at),
      length,
      unit: frame[at + 6] ?? null,
      functionCode: frame[at + 7] ?? null,
    };
    if (mayCome(head)) return true;
  }
  return false;
}

/** Whether `head` fits the reply, or the exception, to `request` of `unit` as far as it can be seen. */
export function isHeadOf(head: HeadInside, unit: number, request: ModbusRequest): boolean {
  const { length, functionCode } = head;
  const own = functionCodeOf(request);
  const isReply = length === 1 + replyLength(request) && (functionCode ?? own) === own;
  const isException = length === 3 && (functionCode ?? own | 0x80) === (own | 0x80);
  return (head.unit ?? unit) === unit && (isReply || isException);
}

/** Unit 1 to 247 and PDU to one RTU frame with its CRC. */
export function encodeRtu(unit: number, pdu: Buffer): Buffer {
  const frame = Buffer.alloc(pdu.length + 3);
  frame.writeUInt8(unit, 0);
  pdu.copy(frame, 1);
  frame.writeUInt16LE(crc16(frame.subarray(0, pdu.length + 1)), pdu.length + 1);
  return frame;
}

export type RtuProgress =
  | { readonly kind: 'partial' }
  | { readonly kind: 'frame'; readonly pdu: Buffer }
  | FrameFault;

/**
 * Looks for the reply to `request` of `unit` in the bytes so far. RTU has no length field and silence cannot be
 * seen through USB or TCP, so the length follows from the function code; every other byte is a fault.
 */
export function readRtu(request: ModbusRequest, unit: number, bytes: Buffer): RtuProgress {
  const functionCode = functionCodeOf(request);
  if (bytes.length >= 1 && bytes[0] !== unit) return fault(`a reply of unit ${bytes[0]} instead of ${unit}`);
  if (bytes.length < 2) return { kind: 'partial' };
  const received = bytes[1]!;
  if (received !== functionCode && received !== (functionCode | 0x80)) {
    return fault(`a reply for function ${received} instead of ${functionCode}`);
  }
  const length = received === functionCode ? replyLength(request) + 3 : 5;
  if (request.kind === 'read' && received === functionCode && bytes.length >= 3) {
    if (bytes[2] !== 2 * request.count)
      return fault(`a byte count of ${bytes[2]} for ${request.count} registers`);
  }
  if (bytes.length < length) return { kind: 'partial' };
  if (bytes.length > length) return fault(`${bytes.length - length} bytes after the reply`);
  if (crc16(bytes.subarray(0, length - 2)) !== bytes.readUInt16LE(length - 2)) {
    return fault('a reply with a wrong check sum');
  }
  return { kind: 'frame', pdu: Buffer.from(bytes.subarray(1, length - 2)) };
}

/** CRC-16 of RTU frames (polynomial 0xA001 reflected, start 0xFFFF). */
export function crc16(bytes: Uint8Array): number {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xa001 : crc >>> 1;
  }
  return crc;
}

function fault(message: string): FrameFault {
  return { kind: 'fault', message };
}
