import { Buffer } from 'node:buffer';
import { createConnection, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Opens a connection; passed in so that a source address, a proxy or a test can stand behind it. */
export type Connect = (target: { readonly host: string; readonly port: number }) => Socket;

const connectTcp: Connect = ({ host, port }) => createConnection({ host, port });

/** Is told what happens on a wire while it has it. */
export interface WireUser {
  /** Connected, and the other side known to be the right one where that can be known. */
  onOpen(): void;
  /** The last byte of what was sent was handed to the transport. */
  onSent(): void;
  /** `piece` is valid only during the call. */
  onPiece(piece: Uint8Array): void;
  /** The other side closed, or the connection is gone. */
  onEnd(): void;
  onError(error: NodeJS.ErrnoException): void;
}

/** One buffer for what arrives on all plain connections: a piece is copied out before anything else may read. */
const ARRIVING = Buffer.allocUnsafeSlow(64 * 1024);

/** Elsewhere reading into it would begin before there is anything to read. */
const SHARES_BUFFER = process.platform !== 'win32';

/** What surely fits one packet, on any network. */
const ONE_PACKET_BYTES = 1200;

/** One connection with whoever has it at the moment. What comes while nobody has it ends it: nobody asked for that. */
export class Wire {
  private readonly socket: Socket;
  private user: WireUser | null;
  /** Something was sent of which it is not known yet that it left; an answer shows that it did. */
  private unsent = false;

  constructor(host: string, port: number, connect: Connect | undefined, user: WireUser) {
    this.user = user;
    const socket =
      connect === undefined && SHARES_BUFFER
        ? createConnection({
            host,
            port,
            onread: {
              buffer: ARRIVING,
              callback: (length) => {
                this.onPiece(ARRIVING.subarray(0, length));
                return true;
              },
            },
          })
        : (connect ?? connectTcp)({ host, port }).on('data', (piece: Buffer) => this.onPiece(piece));
    this.socket = socket;
    // Nothing is sent before the other side is known to be the right one.
    socket.on(socket instanceof TLSSocket ? 'secureConnect' : 'connect', () => {
      if (!socket.destroyed) this.user?.onOpen();
    });
    const onEnd = (): void => {
      if (this.user === null) socket.destroy();
      else this.user.onEnd();
    };
    socket.on('end', onEnd);
    socket.on('close', onEnd);
    socket.on('error', (error: NodeJS.ErrnoException) => this.user?.onError(error));
  }

  /** False once either side has closed it. */
  get isOpen(): boolean {
    return !this.socket.destroyed && this.socket.readable;
  }

  /** Sends `bytes` in one write. */
  send(bytes: Uint8Array): void {
    const { socket } = this;
    if (bytes.length > ONE_PACKET_BYTES || socket instanceof TLSSocket) {
      // What does not fit one packet must not wait for the first to be confirmed.
      if (bytes.length > ONE_PACKET_BYTES) socket.setNoDelay(true);
      socket.write(bytes, () => this.user?.onSent());
      return;
    }
    // Without a callback, which costs a turn of its own: the transport takes so little at once.
    socket.write(bytes);
    if (socket.writableLength === 0) this.user?.onSent();
    else this.unsent = true;
  }

  /** Whom to tell from now on; `null`: nobody has it. */
  giveTo(user: WireUser | null): void {
    this.user = user;
  }

  close(): void {
    this.user = null;
    this.socket.destroy();
  }

  private onPiece(piece: Uint8Array): void {
    if (this.user === null) {
      this.socket.destroy();
      return;
    }
    if (this.unsent) {
      this.unsent = false;
      this.user.onSent();
    }
    this.user.onPiece(piece);
  }
}
