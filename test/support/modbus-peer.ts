import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';

/** One request that reached the peer, and the connection to answer (or ruin) it on. */
export interface PeerRequest {
  readonly transactionId: number;
  readonly unit: number;
  readonly functionCode: number;
  readonly address: number;
  readonly count: number;
  readonly bytes: Buffer;
  readonly socket: Socket;
  /** 0 for the first connection that was accepted. */
  readonly connection: number;
}

export interface ModbusPeer {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The next request that nobody has taken yet. */
  next(): Promise<PeerRequest>;
  /** Requests that wait to be taken. */
  readonly waiting: number;
  readonly connections: number;
  close(): Promise<void>;
}

/**
 * A Modbus server whose answers a test writes by hand, byte by byte. Register n holds n, so that an answer to
 * another request is seen at once.
 */
export async function modbusPeer(
  framing: 'mbap' | 'rtu' = 'mbap',
  onRequest?: (request: PeerRequest) => void,
): Promise<ModbusPeer> {
  const queue: PeerRequest[] = [];
  const takers: ((request: PeerRequest) => void)[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    const connection = connections;
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    let pending = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const size = framing === 'rtu' ? 8 : pending.length < 6 ? 6 : 6 + pending.readUInt16BE(4);
        if (pending.length < size || size === 6) return;
        const bytes = Buffer.from(pending.subarray(0, size));
        pending = Buffer.from(pending.subarray(size));
        const at = framing === 'rtu' ? 0 : 6;
        const request: PeerRequest = {
          transactionId: framing === 'rtu' ? 0 : bytes.readUInt16BE(0),
          unit: bytes.readUInt8(at),
          functionCode: bytes.readUInt8(at + 1),
          address: bytes.readUInt16BE(at + 2),
          count: bytes.readUInt16BE(at + 4),
          bytes,
          socket,
          connection,
        };
        if (onRequest !== undefined) onRequest(request);
        else if (takers.length > 0) takers.shift()?.(request);
        else queue.push(request);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    next: () =>
      new Promise((resolve) => {
        const request = queue.shift();
        if (request !== undefined) resolve(request);
        else takers.push(resolve);
      }),
    get waiting() {
      return queue.length;
    },
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** The honest reply: register n holds n. */
export function honestReply(request: PeerRequest): Buffer {
  const words = Array.from({ length: request.count }, (_, index) => (request.address + index) & 0xffff);
  return mbap(request.transactionId, request.unit, readPdu(request.functionCode, words));
}

export function readPdu(functionCode: number, words: readonly number[]): Buffer {
  const pdu = Buffer.alloc(2 + 2 * words.length);
  pdu.writeUInt8(functionCode, 0);
  pdu.writeUInt8(2 * words.length, 1);
  words.forEach((word, index) => {
    pdu.writeUInt16BE(word, 2 + 2 * index);
  });
  return pdu;
}

/** Written apart from the product's own framing, so that a mistake there cannot hide here. */
export function mbap(transactionId: number, unit: number, pdu: Buffer, protocolId = 0): Buffer {
  const head = Buffer.from([
    transactionId >> 8,
    transactionId & 0xff,
    protocolId >> 8,
    protocolId & 0xff,
    (pdu.length + 1) >> 8,
    (pdu.length + 1) & 0xff,
    unit,
  ]);
  return Buffer.concat([head, pdu]);
}
