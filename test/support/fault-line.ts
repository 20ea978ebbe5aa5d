import { Duplex } from 'node:stream';
import type { ConnectPath } from '../../protocols/modbus/connect.ts';
import { encodeRtu } from '../../protocols/modbus/framing.ts';
import { ok } from '../../protocols/result.ts';
import { mbap, readPdu } from './modbus-peer.ts';
import type { VirtualClock } from './virtual-clock.ts';

/**
 * How bytes get from a meter to its reader. On `modbus-tcp` what was meant for a closed connection is gone; a
 * transparent gateway (`rtu-over-tcp`) hands late bytes to whoever is connected now, and a serial line (`serial`)
 * even keeps what comes while it is closed for the next one who opens it.
 */
export type LineKind = 'modbus-tcp' | 'rtu-over-tcp' | 'serial';
export const LINE_KINDS: readonly LineKind[] = ['modbus-tcp', 'rtu-over-tcp', 'serial'];

/** One request as it came over the line, and what a peer can do with it. Register n holds n. */
export interface LineRequest {
  /** 0 on RTU. */
  readonly transactionId: number;
  readonly unit: number;
  readonly functionCode: number;
  readonly address: number;
  readonly count: number;
  /** 0 for the first connection. */
  readonly connection: number;
  /** The bytes of an honest reply, or of one that differs where told. */
  reply(change?: Partial<ReplyShape>): Buffer;
  exception(code: number): Buffer;
  /** Sends bytes now or after `afterMs`, as the line would carry them by then. */
  send(bytes: Buffer, afterMs?: number): void;
  /** The peer ends the connection. */
  close(): void;
}

export interface ReplyShape {
  readonly transactionId: number;
  readonly unit: number;
  readonly functionCode: number;
  readonly words: readonly number[];
  /** Modbus TCP only. */
  readonly protocolId: number;
}

/** A Modbus line in memory: no sockets, so that a million requests take seconds of virtual time. */
export class FaultLine {
  readonly kind: LineKind;
  connections = 0;
  private end: LineEnd | null = null;
  private readonly backlog: Buffer[] = [];
  private readonly clock: VirtualClock;
  private readonly onRequest: (request: LineRequest) => void;

  constructor(kind: LineKind, clock: VirtualClock, onRequest: (request: LineRequest) => void) {
    this.kind = kind;
    this.clock = clock;
    this.onRequest = onRequest;
  }

  get framing(): 'mbap' | 'rtu' {
    return this.kind === 'modbus-tcp' ? 'mbap' : 'rtu';
  }

  readonly connect: ConnectPath = () => {
    const connection = this.connections;
    this.connections += 1;
    const end: LineEnd = new LineEnd((bytes) => this.take(end, connection, bytes));
    this.end = end;
    for (const bytes of this.backlog.splice(0)) end.receive(bytes);
    return Promise.resolve(ok(end));
  };

  private take(end: LineEnd, connection: number, bytes: Buffer): void {
    const isMbap = this.kind === 'modbus-tcp';
    const at = isMbap ? 6 : 0;
    const transactionId = isMbap ? bytes.readUInt16BE(0) : 0;
    const unit = bytes.readUInt8(at);
    const functionCode = bytes.readUInt8(at + 1);
    const address = bytes.readUInt16BE(at + 2);
    const count = bytes.readUInt16BE(at + 4);
    const frame = (shape: ReplyShape, pdu: Buffer) =>
      isMbap ? mbap(shape.transactionId, shape.unit, pdu, shape.protocolId) : encodeRtu(shape.unit, pdu);
    const honest = (): ReplyShape => ({
      transactionId,
      unit,
      functionCode,
      words: Array.from({ length: count }, (_, index) => (address + index) & 0xffff),
      protocolId: 0,
    });
    this.onRequest({
      transactionId,
      unit,
      functionCode,
      address,
      count,
      connection,
      reply: (change = {}) => {
        const shape = { ...honest(), ...change };
        return frame(shape, readPdu(shape.functionCode, shape.words));
      },
      exception: (code) => frame(honest(), Buffer.from([functionCode | 0x80, code])),
      send: (reply, afterMs = 0) => {
        const deliver = () => {
          const listener = this.kind === 'modbus-tcp' ? end : this.end;
          if (this.kind === 'serial' && listener?.destroyed !== false) this.backlog.push(reply);
          else listener?.receive(reply);
        };
        if (afterMs === 0) deliver();
        else this.clock.after(afterMs, deliver);
      },
      close: () => end.hangUp(),
    });
  }
}

class LineEnd extends Duplex {
  private readonly onBytes: (bytes: Buffer) => void;

  constructor(onBytes: (bytes: Buffer) => void) {
    super({ allowHalfOpen: false });
    this.onBytes = onBytes;
  }

  receive(bytes: Buffer): void {
    if (!this.destroyed && !this.readableEnded) this.push(bytes);
  }

  hangUp(): void {
    if (!this.destroyed) this.destroy();
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    done();
    this.onBytes(bytes);
  }
}
