import { connect, type Socket } from 'node:net';
import type { Clock } from '../../protocols/clock.ts';
import { HttpAnswerReader } from '../../protocols/http-answer.ts';
import { listenOnLoopback } from './recorded-server.ts';

/** What can go wrong on the way to a device. */
export const WIRE_FAULTS = ['hang', 'drip', 'cut', 'reset', 'endless', 'garbage', 'html'] as const;
export type WireFault = (typeof WIRE_FAULTS)[number] | BrokenJson;

/** JSON as firmware really breaks it; what the repairs are for. */
export const BROKEN_JSON = {
  'trailing-comma': (text: string) => text.replaceAll('}]', '},]'),
  'no-comma-between-objects': (text: string) => text.replaceAll('},{', '}{'),
  'comma-first-in-list': (text: string) => text.replaceAll('[{', '[,{'),
  'control-characters': (text: string) => text.replaceAll('":"', '":"\n'),
  'nan-values': (text: string) => text.replace(/:0([,}])/g, ':nan$1'),
  'inner-nul': (text: string) => text.replaceAll('":', '"\0:'),
  'leading-comma': (text: string) => text.replace(/^\{/, ','),
  'rest-of-another-reply': (text: string) => `${text}${text.slice(0, 40)}`,
} as const;
export type BrokenJson = keyof typeof BROKEN_JSON;

/** Stands before a device on a port of its own and spoils what comes back. */
export interface FaultProxy extends AsyncDisposable {
  readonly port: number;
  /** `null` passes everything on untouched. */
  fault: WireFault | null;
  /** The device behind; may be exchanged for another. */
  upstreamPort: number;
  /** The most connections that waited for an answer at once. */
  readonly mostAtOnce: number;
  /** When each connection came. */
  readonly openedAt: readonly number[];
}

export async function createFaultProxy(upstreamPort: number, clock: Clock): Promise<FaultProxy> {
  let open = 0;
  let mostAtOnce = 0;
  const openedAt: number[] = [];
  const listener = await listenOnLoopback((socket) => {
    openedAt.push(clock.monotonicMs());
    let waits = false;
    const began = (): void => {
      if (!waits) open += 1;
      waits = true;
      mostAtOnce = Math.max(mostAtOnce, open);
    };
    const ended = (): void => {
      if (waits) open -= 1;
      waits = false;
    };
    began();
    socket.on('close', ended);
    spoil(proxy, socket, clock, { began, ended });
  });
  const proxy: FaultProxy = {
    port: listener.port,
    fault: null,
    upstreamPort,
    get mostAtOnce() {
      return mostAtOnce;
    },
    openedAt,
    [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose](),
  };
  return proxy;
}

/** Whether a connection waits for an answer: from its start, or from a further request on it, to the answer's end. */
interface Waiting {
  began(): void;
  ended(): void;
}

function spoil(proxy: FaultProxy, socket: Socket, clock: Clock, waiting: Waiting): void {
  switch (proxy.fault) {
    case 'hang':
      return;
    case 'reset':
      socket.once('data', () => socket.resetAndDestroy());
      return;
    case 'endless': {
      const pour = (): void => {
        while (socket.writable && socket.write('{"STATUS":[{"STATUS":"S"},'.repeat(2000)));
      };
      socket.once('data', pour);
      socket.on('drain', pour);
      return;
    }
    case 'html':
      socket.once('data', () => socket.end(HTML));
      return;
    case 'garbage':
      socket.once('data', () => socket.end(Buffer.from([0xff, 0x00, 0x7b, 0x80, 0x22, 0x0a, 0x00])));
      return;
    default:
      forward(proxy, socket, clock, waiting);
  }
}

function forward(proxy: FaultProxy, socket: Socket, clock: Clock, { began, ended }: Waiting): void {
  const { fault } = proxy;
  let answer = new HttpAnswerReader();
  let isWhole = false;
  const upstream = connect({ host: '127.0.0.1', port: proxy.upstreamPort });
  const pieces: Buffer[] = [];
  upstream.on('error', () => socket.destroy());
  socket.on('error', () => upstream.destroy());
  socket.on('close', () => upstream.destroy());
  socket.on('data', (piece) => {
    if (isWhole) {
      answer = new HttpAnswerReader();
      isWhole = false;
      began();
    }
    upstream.write(fault === null ? piece : closing(piece));
  });
  upstream.on('data', (piece: Buffer) => {
    pieces.push(piece);
    if (fault !== null) return;
    // A connection that is kept open waits no longer.
    if (!isWhole && answer.take(piece) && typeof answer.answer('whole') !== 'string') {
      isWhole = true;
      ended();
    }
    socket.write(piece);
  });
  upstream.on('close', () => {
    const bytes = Buffer.concat(pieces);
    if (fault === 'cut') socket.end(bytes.subarray(0, Math.floor(bytes.length * 0.6)));
    else if (fault === 'drip') drip(socket, bytes, clock);
    else if (fault !== null && fault in BROKEN_JSON)
      socket.end(Buffer.from(BROKEN_JSON[fault as BrokenJson](bytes.toString('latin1')), 'latin1'));
    else {
      ended();
      socket.end();
    }
  });
}

/** What is spoilt is one whole answer: a web server is told to close behind it. */
function closing(request: Buffer): Buffer {
  const text = request.toString('latin1');
  const isHttp = /^[A-Z]+ [^\r\n]+ HTTP\/1\.1\r\n/.exec(text);
  if (isHttp === null || /\r\nconnection:/i.test(text)) return request;
  const first = isHttp[0].length;
  return Buffer.from(`${text.slice(0, first)}connection: close\r\n${text.slice(first)}`, 'latin1');
}

const PAGE = '<!DOCTYPE html><html><head><title>Login</title></head><body>404 1 2 3</body></html>';
const HTML = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${PAGE.length}\r\nConnection: close\r\n\r\n${PAGE}`;

/** A byte a second. */
function drip(socket: Socket, answer: Buffer, clock: Clock): void {
  let at = 0;
  const next = (): void => {
    if (socket.destroyed || at >= answer.length) return;
    socket.write(answer.subarray(at, at + 1));
    at += 1;
    clock.after(1000, next);
  };
  next();
}
