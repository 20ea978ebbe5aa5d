import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { MqttFrameGuard } from '../../protocols/mqtt-frame-guard.ts';

/** Files of a TLS connection. They are read at every attempt, so a renewed certificate is used without a restart. */
export interface TlsFiles {
  /** Only what this authority signed is trusted; `null`: what the system trusts. */
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
  readonly secure: boolean;
}

/** Takes `mqtt://` and `mqtts://` addresses apart; the ports are 1883 and 8883 by default. Throws a TypeError. */
export function brokerAddress(url: string): BrokerAddress {
  const parsed = new URL(url);
  const secure = parsed.protocol === 'mqtts:';
  return {
    host: parsed.hostname.replace(/^\[|\]$/g, ''),
    port: parsed.port === '' ? (secure ? 8883 : 1883) : Number(parsed.port),
    secure,
  };
}

/** Opens the connection below MQTT. It ends with an error before a packet over `maximumBytes` is collected. */
export function openStream(address: BrokerAddress, files: TlsFiles, maximumBytes: number): Socket {
  const { host, port } = address;
  const socket = address.secure
    ? connectTls({ host, port, minVersion: 'TLSv1.2', ...serverName(host), ...read(files) })
    : connectTcp({ host, port });
  socket.setNoDelay(true);
  const guard = new MqttFrameGuard(maximumBytes);
  // Registered before the parser: this listener sees each chunk first.
  socket.on('data', (chunk: Buffer) => {
    if (!guard.feed(chunk))
      socket.destroy(new Error(`the broker announced a packet of more than ${maximumBytes} bytes`));
  });
  return socket;
}

function serverName(host: string): { servername?: string } {
  // Source: RFC 6066, 3: no literal addresses in the server name.
  return /^[\d.]+$|:/.test(host) ? {} : { servername: host };
}

function read(files: TlsFiles): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
  return {
    ...(files.ca === null ? {} : { ca: readFileSync(files.ca) }),
    ...(files.cert === null ? {} : { cert: readFileSync(files.cert) }),
    ...(files.key === null ? {} : { key: readFileSync(files.key) }),
  };
}
