import { requests, responses } from 'node-modbus';

/**
 * Modbus PDUs: what travels inside a frame of any transport. The npm package turns words into bytes and back;
 * every rule about which reply belongs to which request is checked here, because the package accepts short
 * arrays and foreign units.
 * Source: Modbus Application Protocol V1.1b3, sections 6 and 7.
 */

export interface ReadRequest {
  readonly kind: 'read';
  /** 3 reads holding registers, 4 input registers. */
  readonly functionCode: 3 | 4;
  /** Wire address, from 0. */
  readonly address: number;
  /** 1 to 125 registers. */
  readonly count: number;
}

export interface WriteRequest {
  readonly kind: 'write';
  /** Wire address, from 0. */
  readonly address: number;
  /** 1 to 123 words; one word is sent as function 6, more as function 16. */
  readonly words: readonly number[];
}

export type ModbusRequest = ReadRequest | WriteRequest;

/** What a matching reply says. A write that was confirmed has no words. */
export type ModbusReply =
  | { readonly kind: 'words'; readonly words: readonly number[] }
  | { readonly kind: 'written' }
  | { readonly kind: 'exception'; readonly code: number };

/** A reply that breaks the rules: the path it came by can no longer be trusted. */
export interface PduFault {
  readonly kind: 'fault';
  readonly message: string;
}

const READ_MAXIMUM = 125;
const WRITE_MAXIMUM = 123;

/** `request` without whatever a caller added to it. */
export function plainRequest(request: ModbusRequest): ModbusRequest {
  if (request.kind === 'write') return request;
  const { kind, functionCode, address, count } = request;
  return { kind, functionCode, address, count };
}

/** The function code that a request is sent with. */
export function functionCodeOf(request: ModbusRequest): 3 | 4 | 6 | 16 {
  if (request.kind === 'read') return request.functionCode;
  return request.words.length === 1 ? 6 : 16;
}

/** Request to bytes. Throws on a request that no device may be asked: that is a bug of the caller. */
export function encodeRequest(request: ModbusRequest): Buffer {
  const count = request.kind === 'read' ? request.count : request.words.length;
  const most = request.kind === 'read' ? READ_MAXIMUM : WRITE_MAXIMUM;
  if (!Number.isInteger(count) || count < 1 || count > most) {
    throw new RangeError(`Modbus ${request.kind} of ${count} registers: 1 to ${most} are allowed`);
  }
  const { address } = request;
  if (!Number.isInteger(address) || address < 0 || address + count > 0x10000) {
    throw new RangeError(`Modbus address ${address} with ${count} registers does not fit 16 bits`);
  }
  if (request.kind === 'read') {
    const Body =
      request.functionCode === 3
        ? requests.ReadHoldingRegistersRequestBody
        : requests.ReadInputRegistersRequestBody;
    return new Body(address, count).createPayload();
  }
  for (const word of request.words) {
    if (!Number.isInteger(word) || word < 0 || word > 0xffff)
      throw new RangeError(`${word} is no 16-bit word`);
  }
  if (request.words.length === 1) {
    return new requests.WriteSingleRegisterRequestBody(address, request.words[0]!).createPayload();
  }
  // The package cuts payloads above 246 bytes, that is from 121 registers on: those are laid out here.
  if (request.words.length <= 120) {
    return new requests.WriteMultipleRegistersRequestBody(address, [...request.words]).createPayload();
  }
  const bytes = Buffer.alloc(6 + 2 * request.words.length);
  bytes.writeUInt8(16, 0);
  bytes.writeUInt16BE(address, 1);
  bytes.writeUInt16BE(request.words.length, 3);
  bytes.writeUInt8(2 * request.words.length, 5);
  request.words.forEach((word, index) => {
    bytes.writeUInt16BE(word, 6 + 2 * index);
  });
  return bytes;
}

/** Length in bytes of the reply that a request must get when it is no exception. */
export function replyLength(request: ModbusRequest): number {
  return request.kind === 'read' ? 2 + 2 * request.count : 5;
}

/** Bytes of one whole reply to what they say, with every check that ties it to `request`. Never throws. */
export function decodeReply(request: ModbusRequest, pdu: Buffer): ModbusReply | PduFault {
  const expected = functionCodeOf(request);
  const received = pdu[0];
  if (received === undefined) return fault('an empty reply');
  if (received === (expected | 0x80)) {
    if (pdu.length !== 2) return fault(`an exception of ${pdu.length} bytes instead of 2`);
    return { kind: 'exception', code: pdu[1]! };
  }
  if (received !== expected) return fault(`a reply for function ${received} instead of ${expected}`);
  if (pdu.length !== replyLength(request)) {
    return fault(`a reply of ${pdu.length} bytes instead of ${replyLength(request)}`);
  }
  return request.kind === 'read' ? decodeRead(request, pdu) : decodeWrite(request, pdu);
}

function decodeRead(request: ReadRequest, pdu: Buffer): ModbusReply | PduFault {
  if (pdu[1] !== 2 * request.count) return fault(`a byte count of ${pdu[1]} for ${request.count} registers`);
  const Body =
    request.functionCode === 3
      ? responses.ReadHoldingRegistersResponseBody
      : responses.ReadInputRegistersResponseBody;
  const words = Body.fromBuffer(pdu)?.valuesAsArray;
  if (!Array.isArray(words) || words.length !== request.count) return fault('a reply that does not decode');
  return { kind: 'words', words };
}

function decodeWrite(request: WriteRequest, pdu: Buffer): ModbusReply | PduFault {
  const address = pdu.readUInt16BE(1);
  const second = pdu.readUInt16BE(3);
  const wanted = request.words.length === 1 ? request.words[0] : request.words.length;
  if (address !== request.address)
    return fault(`a write confirmed at ${address} instead of ${request.address}`);
  if (second !== wanted) return fault(`a write confirmed with ${second} instead of ${wanted}`);
  return { kind: 'written' };
}

function fault(message: string): PduFault {
  return { kind: 'fault', message };
}

/** Name of an exception code. Source: Modbus Application Protocol V1.1b3, section 7. */
export function exceptionName(code: number): string {
  return EXCEPTIONS[code] ?? 'unknown exception';
}

const EXCEPTIONS: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal data address',
  3: 'illegal data value',
  4: 'device failure',
  5: 'acknowledge',
  6: 'device busy',
  8: 'memory parity error',
  10: 'gateway path unavailable',
  11: 'gateway target did not respond',
};
