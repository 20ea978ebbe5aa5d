import { readFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, 'tls');
export const AUTHORITY = join(FOLDER, 'authority.pem');

/** Which certificate a server shows: one that the authority signed, or one with something wrong. */
export type Shown = 'server' | 'own' | 'expired' | 'elsewhere';

export function certificate(shown: Shown): string {
  return readFileSync(join(FOLDER, `${shown}.pem`), 'utf8');
}

/** An HTTPS server on loopback, on a free port. */
export async function startTlsServer(listener: RequestListener, shown: Shown = 'server') {
  const key = readFileSync(join(FOLDER, `${shown === 'elsewhere' ? 'server' : shown}.key`));
  const server = createServer({ key, cert: certificate(shown) }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The whole body of a request. */
export async function bodyOf(request: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}
