import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import { gzipSync } from 'node:zlib';
import { type Asker, type Asks, MAXIMUM_ASK_BYTES } from '../orders/asks.ts';
import { deviceRows } from './device-rows.ts';
import { renderMetrics } from './metrics.ts';
import type { PageSource } from './source.ts';

/** A file of the page, kept in memory: requests never touch the disk. */
export interface StaticFile {
  readonly type: string;
  readonly body: Buffer;
}

export interface PageOptions {
  readonly host: string;
  readonly port: number;
  /** Names under which the page may be asked for, beside addresses and localhost. */
  readonly allowedHosts: readonly string[];
  readonly files: ReadonlyMap<string, StaticFile>;
  /** Who may ask for watts, with a token of its own; absent: nothing can be written. */
  readonly asks?: Pick<Asks, 'bearer' | 'post'>;
}

export interface RunningPage {
  readonly url: string;
  readonly port: number;
  /** Sends one event to everybody who listens on `/events`. */
  broadcast(event: unknown): void;
  close(): Promise<void>;
}

const MAXIMUM_LISTENERS = 32;
/** A listener that takes nothing for this much is gone. */
const LISTENER_BUFFER_BYTES = 512_000;

/** Nothing is loaded from elsewhere, nothing is framed, no script but our own files runs. */
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
} as const;

/** Serves the page and the read-only API. Fails (rejects) when the port is taken. */
export async function servePage(source: PageSource, options: PageOptions): Promise<RunningPage> {
  const listeners = new Set<ServerResponse>();
  const server = createServer(
    { headersTimeout: 3000, requestTimeout: 5000, connectionsCheckingInterval: 500, maxHeaderSize: 8192 },
    (request, response) => answer(source, options, listeners, request, response),
  );
  server.maxConnections = 64;
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}/`,
    port,
    broadcast: (event) => {
      const text = `data: ${JSON.stringify(event)}\n\n`;
      for (const listener of listeners) {
        if (listener.writableLength > LISTENER_BUFFER_BYTES) listener.destroy();
        else listener.write(text);
      }
    },
    close: async () => {
      for (const listener of listeners) listener.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Why nobody can listen there, `EADDRINUSE` where somebody else has the port; `null`: it is free. Takes nothing. */
export async function portFault(address: {
  readonly host: string;
  readonly port: number;
}): Promise<NodeJS.ErrnoException | null> {
  const server = createServer();
  try {
    await listen(server, address);
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
  await new Promise((resolve) => server.close(resolve));
  return null;
}

function listen(server: Server, options: Pick<PageOptions, 'host' | 'port'>): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function answer(
  source: PageSource,
  options: PageOptions,
  listeners: Set<ServerResponse>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
  if (!hostAllowed(request.headers.host, options.allowedHosts)) {
    // A foreign name that resolves here is DNS rebinding.
    send(
      request,
      response,
      403,
      'text/plain',
      'This page is not served under that name: add it to page.hosts.\n',
    );
    return;
  }
  if (request.method === 'POST' && request.url === '/api/v1/ask' && options.asks !== undefined) {
    takeAsk(options.asks, request, response);
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    send(request, response, 405, 'text/plain', 'Read only.\n');
    return;
  }
  const url = addressOf(request.url ?? '/');
  if (url === null) {
    send(request, response, 404, 'text/plain', 'Not found.\n');
    return;
  }
  if (url.pathname === '/events') {
    openStream(source, listeners, request, response);
    return;
  }
  const reply = route(source, options, url);
  send(request, response, reply.status, reply.type, reply.body, reply.cache);
}

/** `POST /api/v1/ask`: the only thing that can be written, by who shows a token of the configuration. */
function takeAsk(
  asks: Pick<Asks, 'bearer' | 'post'>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const asker: Asker | null = asks.bearer(request.headers.authorization);
  if (asker === null) {
    response.setHeader('www-authenticate', 'Bearer');
    request.resume();
    send(request, response, 401, 'text/plain', 'Asking needs a token of the configuration.\n');
    return;
  }
  const chunks: Buffer[] = [];
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    // The rest is read and thrown away, so that the answer can be read.
    if (size <= MAXIMUM_ASK_BYTES + 1) chunks.push(chunk);
  });
  request.on('error', () => undefined);
  request.on('end', () => {
    const whole = size <= MAXIMUM_ASK_BYTES ? Buffer.concat(chunks) : Buffer.alloc(MAXIMUM_ASK_BYTES + 1);
    const { status, body } = asks.post(asker, whole);
    const reply = json(status, body);
    send(request, response, reply.status, reply.type, reply.body);
  });
}

/** Only plain paths of this server: no other authority, nothing encoded, nothing that climbs. */
function addressOf(raw: string): URL | null {
  const path = raw.split('?', 1)[0] ?? '';
  if (!/^\/(?!\/)[A-Za-z0-9._/-]*$/.test(path) || path.includes('..')) return null;
  return new URL(raw, 'http://page');
}

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: string | Buffer;
  readonly cache?: boolean;
}

function route(source: PageSource, options: PageOptions, url: URL): Reply {
  const { pathname } = url;
  if (pathname === '/healthz') {
    const health = source.healthy();
    return { status: health.ok ? 200 : 503, type: 'text/plain', body: `${health.reason}\n` };
  }
  if (pathname === '/metrics')
    return { status: 200, type: 'text/plain; version=0.0.4', body: renderMetrics(source) };
  if (pathname.startsWith('/api/v1/')) {
    const body = apiBody(source, pathname.slice('/api/v1/'.length), url.searchParams);
    return body === null ? json(404, { v: 1, error: 'no such resource' }) : json(200, body);
  }
  const file = options.files.get(pathname === '/' ? '/index.html' : pathname);
  if (file === undefined) return { status: 404, type: 'text/plain', body: 'Not found.\n' };
  return { status: 200, type: file.type, body: file.body, cache: true };
}

function json(status: number, body: unknown): Reply {
  return { status, type: 'application/json', body: JSON.stringify(body) };
}

/** The body of one API resource, or null where there is none. */
export function apiBody(source: PageSource, name: string, query: URLSearchParams): unknown {
  if (name === 'site')
    return (
      source.view() ?? {
        v: 1,
        site: source.model.siteId,
        mode: 'starting',
        limits: [],
        totals: null,
        alarms: [],
      }
    );
  if (name === 'host') return { v: 1, ...source.host() };
  if (name === 'alarms') return { v: 1, alarms: source.view()?.alarms ?? [] };
  if (name === 'devices' && query.has('rows')) return deviceRows(source, query);
  // Nothing to explain is an answer, not a missing resource.
  if (name === 'explain') return source.api(name, query) ?? { v: 1, target: query.get('target') };
  return source.api(name, query);
}

function openStream(
  source: PageSource,
  listeners: Set<ServerResponse>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (listeners.size >= MAXIMUM_LISTENERS) {
    send(request, response, 503, 'text/plain', 'Too many listeners.\n');
    return;
  }
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  response.write('retry: 2000\n\n');
  const view = source.view();
  if (view !== null) response.write(`data: ${JSON.stringify(eventOf(source))}\n\n`);
  listeners.add(response);
  response.on('close', () => listeners.delete(response));
  response.on('error', () => listeners.delete(response));
}

/** An event stays under 20 kB whatever the size of the site: limits (parents first) come before alarms. */
const EVENT_LIMIT_BYTES = 16_500;
const EVENT_BYTES = 19_000;

/**
 * The event of one cycle, `null` before the first. `limitCount` and `alarmCount` say how many there are where
 * not all fit; the rest stands in `/api/v1/site`.
 */
export function eventOf(source: PageSource): unknown {
  const view = source.view();
  if (view === null) return null;
  const { ts, cycle, mode, totals } = view;
  const head = { v: 1, ts, cycle, mode, totals };
  const used = JSON.stringify(head).length;
  const limits = fitting(
    view.limits,
    ({ name: _name, parent: _parent, authority: _authority, ...rest }) => rest,
    EVENT_LIMIT_BYTES - used,
  );
  const alarms = fitting(
    view.alarms,
    ({ id, code, severity, target, message, since, acknowledgedBy }) => ({
      id,
      code,
      severity,
      target,
      message: message.slice(0, 300),
      since,
      acknowledgedBy,
    }),
    EVENT_BYTES - used - limits.bytes,
  );
  return {
    ...head,
    limits: limits.items,
    limitCount: view.limits.length,
    alarms: alarms.items,
    alarmCount: view.alarms.length,
  };
}

/** As many items from the first on as fit into `bytes` of JSON. */
function fitting<T, U>(
  items: readonly T[],
  brief: (item: T) => U,
  bytes: number,
): { items: U[]; bytes: number } {
  const taken: U[] = [];
  let used = 0;
  for (const item of items) {
    const short = brief(item);
    const size = Buffer.byteLength(JSON.stringify(short)) + 1;
    if (used + size > bytes) break;
    taken.push(short);
    used += size;
  }
  return { items: taken, bytes: used };
}

function hostAllowed(header: string | undefined, allowed: readonly string[]): boolean {
  if (header === undefined) return false;
  const name = header
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase();
  return (
    isIP(name) !== 0 || name === 'localhost' || allowed.some((candidate) => candidate.toLowerCase() === name)
  );
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  type: string,
  body: string | Buffer,
  cache = false,
): void {
  const raw = typeof body === 'string' ? Buffer.from(body) : body;
  const zip = raw.length > 1000 && /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  const bytes = zip ? gzipSync(raw) : raw;
  response.writeHead(status, {
    'content-type': type.startsWith('text/') && !type.includes('charset') ? `${type}; charset=utf-8` : type,
    'content-length': bytes.length,
    'cache-control': cache ? 'no-cache' : 'no-store',
    ...(zip ? { 'content-encoding': 'gzip', vary: 'accept-encoding' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}
