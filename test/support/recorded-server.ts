import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** A listener on loopback that hands every connection to `serve`; closes everything it opened. */
export interface TestListener extends AsyncDisposable {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly connections: number;
}

export async function listenOnLoopback(serve: (socket: Socket) => void): Promise<TestListener> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections += 1;
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return {
    host: '127.0.0.1',
    port: address.port,
    get connections() {
      return connections;
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/**
 * A port of loopback on which nobody listens until this process ends: the near end of a connection that stays open. A port that
 * was merely free a moment ago may be some other test's server by now.
 */
export async function closedPort(): Promise<number> {
  const server = createServer((far) => far.unref())
    .listen(0, '127.0.0.1')
    .unref();
  await once(server, 'listening');
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(near, 'connect');
  near.unref();
  held.push(near);
  return near.localPort!;
}

const held: Socket[] = [];
