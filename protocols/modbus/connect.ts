import { createConnection } from 'node:net';
import { Duplex } from 'node:stream';
import type { SerialPort } from 'serialport';
import type { Clock } from '../clock.ts';
import type { Failure, Result } from '../result.ts';
import { fail, ok } from '../result.ts';
import type { Milliseconds } from '../units.ts';

/** Opens the path of a bus, once per call. Resolves within its own limit of time; never rejects. */
export type ConnectPath = (signal: AbortSignal) => Promise<Result<Duplex>>;

/** How a serial line is set. */
export interface SerialSettings {
  readonly device: string;
  readonly baud: number;
  readonly parity: 'none' | 'even' | 'odd';
  readonly stopBits: 1 | 2;
}

/** A TCP path to `host`:`port`; fails `unreachable`, or `timeout` after `limitMs`. */
export function tcpPath(host: string, port: number, limitMs: Milliseconds, clock: Clock): ConnectPath {
  return (signal) =>
    new Promise((resolve) => {
      const socket = createConnection({
        host,
        port,
        noDelay: true,
        keepAlive: true,
        keepAliveInitialDelay: 10_000,
      });
      const settle = (result: Result<Duplex>) => {
        cancelLimit();
        signal.removeEventListener('abort', onAbort);
        socket.removeListener('connect', onConnect);
        socket.removeListener('error', onError);
        if (!result.ok) {
          // A late error of the abandoned socket has no reader any more.
          socket.on('error', () => undefined);
          socket.destroy();
        }
        resolve(result);
      };
      const onConnect = () => settle(ok(socket));
      const onError = (error: NodeJS.ErrnoException) =>
        settle(fail('unreachable', `${host}:${port} cannot be reached: ${error.code ?? error.message}`));
      const onAbort = () => settle(fail('cancelled', `connecting to ${host}:${port} was given up`));
      const cancelLimit = clock.after(limitMs, () =>
        settle(fail('timeout', `${host}:${port} did not accept a connection within ${limitMs} ms`)),
      );
      socket.once('connect', onConnect);
      socket.once('error', onError);
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
}

/** A serial line. Needs the optional package `serialport`: fails `unsupported` where it is not installed. */
export function serialPath(settings: SerialSettings): ConnectPath {
  return async () => {
    let Port: typeof SerialPort;
    try {
      ({ SerialPort: Port } = await import('serialport'));
    } catch {
      return fail(
        'unsupported',
        `serial lines need the package serialport, which is not here (the Debian package brings it)`,
        'install it, or use a gateway with Modbus TCP or RTU over TCP',
      );
    }
    const { device, baud, parity, stopBits } = settings;
    return new Promise((resolve) => {
      const port = new Port(
        { path: device, baudRate: baud, parity, stopBits, dataBits: 8, lock: true },
        (error) => resolve(error ? serialFailure(device, error.message) : ok(new SerialLine(port))),
      );
    });
  };
}

/**
 * An open serial port as a stream that lets go of its device when it is destroyed. The stream of the package does
 * not: the device stays locked, and whoever opens it next finds it busy for as long as the process lives.
 * Source: serialport 13.0.0, seen on a pty.
 */
class SerialLine extends Duplex {
  private readonly port: SerialPort;

  constructor(port: SerialPort) {
    super();
    this.port = port;
    port.on('data', (bytes: Buffer) => this.push(bytes));
    port.on('error', (error: Error) => this.destroy(error));
    port.on('close', () => this.destroy());
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.port.write(bytes, (error) => done(error ?? null));
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.port.isOpen) done(error);
    else this.port.close(() => done(error));
  }
}

/** Why a serial device cannot be opened, and what to do, by what the system said. */
export function serialFailure(
  device: string,
  reason: string,
): { readonly ok: false; readonly error: Failure } {
  if (/no such file|ENOENT|file not found/i.test(reason)) {
    return fail(
      'unreachable',
      `the serial device ${device} does not exist`,
      'plug the adapter in, or look for its name: ls -l /dev/serial/by-id',
    );
  }
  if (/permission denied|EACCES|EPERM|access denied/i.test(reason)) {
    return fail(
      'unauthorised',
      `the serial device ${device} may not be opened by this user`,
      'add the user of the agent to the group dialout and start the agent again',
    );
  }
  if (/cannot lock|busy|temporarily unavailable|EBUSY|EAGAIN/i.test(reason)) {
    return fail(
      'busy',
      `the serial device ${device} is in use by another program`,
      `find it with: fuser -v ${device}; stop it, for only one program can read a line`,
    );
  }
  if (/inappropriate ioctl|ENOTTY|not a typewriter/i.test(reason)) {
    return fail(
      'unsupported',
      `${device} is no serial device`,
      'name the device of the adapter, for example /dev/ttyUSB0',
    );
  }
  return fail('unreachable', `the serial device ${device} cannot be opened: ${reason}`);
}
