import { createConnection } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../clock.ts';
import type { Result } from '../result.ts';
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
    let SerialPort: typeof import('serialport').SerialPort;
    try {
      ({ SerialPort } = await import('serialport'));
    } catch {
      return fail(
        'unsupported',
        `serial lines need the package serialport, which is not installed`,
        'install it, or use a gateway with Modbus TCP or RTU over TCP',
      );
    }
    const { device, baud, parity, stopBits } = settings;
    return new Promise((resolve) => {
      const line = new SerialPort(
        { path: device, baudRate: baud, parity, stopBits, dataBits: 8, lock: true },
        (error) =>
          resolve(error ? fail('unreachable', `${device} cannot be opened: ${error.message}`) : ok(line)),
      );
    });
  };
}
