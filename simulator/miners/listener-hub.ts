import { createServer, type Server, type Socket } from 'node:net';

/** One listener a port on all addresses, for more units than a process can have listeners. */
export interface ListenerHub {
  /** Hands connections to `host`:`port` to `serve`; resolves, once the port listens, to what takes that back. */
  open(host: string, port: number, serve: (socket: Socket) => void): Promise<() => Promise<void>>;
  /** Connections taken so far. */
  readonly connections: number;
  /** Requests so far: one a connection, and those that came over one after its first. */
  readonly exchanges: number;
  /** Counts a request that came over a connection after its first. */
  noteAnother(): void;
  close(): Promise<void>;
}

/** A hub without any port yet. Connections to an address that nobody opened are closed at once. */
export function createListenerHub(): ListenerHub {
  const units = new Map<string, (socket: Socket) => void>();
  const servers = new Map<number, Promise<Server>>();
  const sockets = new Set<Socket>();
  let connections = 0;
  let others = 0;

  const listening = (port: number): Promise<Server> => {
    const known = servers.get(port);
    if (known !== undefined) return known;
    const server = createServer({ noDelay: true }, (socket) => {
      connections += 1;
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      const serve = units.get(`${socket.localAddress}:${port}`);
      if (serve === undefined) socket.destroy();
      else serve(socket);
    });
    const opened = new Promise<Server>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: '0.0.0.0', port, backlog: 4096 }, () => resolve(server));
    });
    servers.set(port, opened);
    return opened;
  };

  return {
    open: async (host, port, serve) => {
      await listening(port);
      units.set(`${host}:${port}`, serve);
      return async () => {
        units.delete(`${host}:${port}`);
        await Promise.resolve();
      };
    },
    get connections() {
      return connections;
    },
    get exchanges() {
      return connections + others;
    },
    noteAnother: () => {
      others += 1;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      for (const server of await Promise.all(servers.values()))
        await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
