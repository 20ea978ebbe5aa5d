import { createServer, type Server as HttpServer, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { type Clock, systemClock } from '../../protocols/clock.ts';
import type { SimulatedMiner } from '../physics.ts';
import type { ListenerHub } from './listener-hub.ts';

/** Where a simulated miner listens and who it says it is. */
export interface SimulatedMinerPlace {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly webPort: number;
  readonly macAddress: string;
  readonly serialNumber: string;
  readonly model: string;
  /** Where many units share one listener a port; without it each has its own. */
  readonly hub?: ListenerHub;
  /** For time stamps, sessions and tokens; the physics are moved by whoever owns the site. */
  readonly clock?: Clock;
  /** Where the firmware has a login. */
  readonly user?: string;
  readonly password?: string;
}

/** What is wrong on the wire, beside what is wrong with the machine. May be changed while it runs. */
export interface MinerWireFaults {
  /** Writes are done, but their answers never come. */
  losesAnswers?: boolean;
  /** Writes are refused for want of permission. */
  readOnly?: boolean;
  /** Set: every token given so far has ended, once; the unit clears it. */
  tokensEnded?: boolean;
  /** Noted by the unit: its locating light blinks. */
  blinks?: boolean;
  /** Counted by the unit: how often it was shown a wrong password. */
  wrongPasswords?: number;
}

/** Notes a wrong password. */
export function wrongPassword(faults: MinerWireFaults): void {
  faults.wrongPasswords = (faults.wrongPasswords ?? 0) + 1;
}

/** True once after `tokensEnded` was set. */
export function takeEndedTokens(faults: MinerWireFaults): boolean {
  const ended = faults.tokensEnded === true;
  faults.tokensEnded = false;
  return ended;
}

export interface SimulatedServer {
  /** `host:port` of the API. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  /** `null` where this firmware has no web page here. */
  readonly webPort: number | null;
  close(): Promise<void>;
}

/** One record or list of a reply. */
export type ReplyBody = Readonly<Record<string, unknown>>;

/** An answer, or `null` for a connection that ends without one. */
export type ApiAnswer = string | Uint8Array | null;

export interface ApiRequest {
  readonly text: string;
  readonly json: ReplyBody | null;
  readonly command: string;
  readonly parameter: string;
}

/**
 * The API port: one request per connection, read once, answered with a NUL behind it, closed. A dead miner
 * takes connections and says nothing.
 */
export async function serveApi(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  answer: (request: ApiRequest) => ApiAnswer,
): Promise<OpenServer> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      if (miner.faults.dead === true) return;
      const reply = answer(parseRequest(bytes));
      if (reply === null) socket.destroy();
      else if (miner.faults.drips === true) drip(socket, Buffer.from(reply));
      else socket.end(Buffer.concat([Buffer.from(reply), Buffer.from([0])]));
    });
  });
  return await listen(server, place, place.port);
}

/** The web port of a miner that has one. */
export async function serveWeb(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  listener: RequestListener,
): Promise<OpenServer> {
  const asked = new WeakSet<Socket>();
  const server = createServer({ keepAlive: false }, (request, response) => {
    if (asked.has(request.socket)) place.hub?.noteAnother();
    asked.add(request.socket);
    if (miner.faults.dead === true) return;
    if (miner.faults.drips === true) {
      const timer = setInterval(() => response.write(' '), 1000);
      response.on('close', () => clearInterval(timer));
      return;
    }
    listener(request, response);
  });
  return await listen(server, place, place.webPort);
}

/**
 * A port of frames, each with its length in four bytes before it, little endian: one request per connection.
 * What is no frame is closed without an answer.
 */
export async function serveFrames(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  answer: (request: ReplyBody) => ReplyBody | null,
): Promise<OpenServer> {
  const server = createTcpServer((socket) => {
    let bytes: Buffer = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (piece) => {
      if (miner.faults.dead === true) return;
      bytes = Buffer.concat([bytes, piece]);
      if (bytes.length < 4) return;
      const length = bytes.readUInt32LE();
      if (length > FRAME_MAXIMUM_BYTES) {
        socket.destroy();
        return;
      }
      if (bytes.length < 4 + length) return;
      const reply = framed(bytes.subarray(4, 4 + length), answer);
      if (reply === null) socket.destroy();
      else if (miner.faults.drips === true) drip(socket, reply);
      else socket.end(reply);
    });
  });
  return await listen(server, place, place.webPort);
}

/** Requests are a few hundred bytes. */
const FRAME_MAXIMUM_BYTES = 64 * 1024;

function framed(request: Buffer, answer: (request: ReplyBody) => ReplyBody | null): Buffer | null {
  let asked: ReplyBody;
  try {
    asked = JSON.parse(request.toString('utf8')) as ReplyBody;
  } catch {
    return null;
  }
  const reply = answer(asked);
  if (reply === null) return null;
  const body = Buffer.from(JSON.stringify(reply), 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32LE(body.length);
  return Buffer.concat([length, body]);
}

/** A byte a second, for as long as anybody listens. */
function drip(socket: Socket, answer: Buffer): void {
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || at >= answer.length) clearInterval(timer);
    else socket.write(answer.subarray(at, at + 1));
    at += 1;
  }, 1000);
  socket.on('close', () => clearInterval(timer));
}

export interface OpenServer {
  readonly port: number;
  close(): Promise<void>;
}

/** What is served, as one thing to close. */
export function combined(
  place: SimulatedMinerPlace,
  api: OpenServer,
  web: OpenServer | null,
): SimulatedServer {
  return {
    address: `${place.host}:${api.port}`,
    host: place.host,
    port: api.port,
    webPort: web?.port ?? null,
    close: async () => {
      await Promise.all([api.close(), web?.close()]);
    },
  };
}

/** The same with pages that are opened after the port; the port is closed again where they cannot be. */
export async function combinedWith(
  place: SimulatedMinerPlace,
  api: OpenServer,
  web: Promise<OpenServer>,
): Promise<SimulatedServer> {
  try {
    return combined(place, api, await web);
  } catch (error) {
    await api.close();
    throw error;
  }
}

/** Unix seconds on the miner's clock. */
export function whenSeconds(place: SimulatedMinerPlace): number {
  return Math.floor((place.clock ?? systemClock).epochMs() / 1000);
}

export function monotonicMs(place: SimulatedMinerPlace): number {
  return (place.clock ?? systemClock).monotonicMs();
}

/** Digits after the point as firmware prints them. */
export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Fans follow the load: idle speed plus what the heat asks for. */
export function fanRpm(miner: SimulatedMiner): number {
  const share = miner.powerWatts / miner.traits.normalWatts;
  return Math.round((1800 + 3900 * Math.min(1.1, share)) / 30) * 30;
}

/** Hottest chip: room plus what the load adds. */
export function chipCelsius(miner: SimulatedMiner): number {
  return Math.round(28 + 46 * Math.min(1.1, miner.powerWatts / miner.traits.normalWatts));
}

function parseRequest(bytes: Buffer): ApiRequest {
  const text = bytes.toString('utf8');
  const empty = { text, json: null, command: '', parameter: '' };
  if (!text.startsWith('{')) {
    const [command = '', ...parameter] = text.replace(/[|\0]+$/, '').split('|');
    return { ...empty, command, parameter: parameter.join('|') };
  }
  try {
    const json = JSON.parse(text) as ReplyBody;
    const command = json['command'] ?? json['cmd'];
    const parameter = json['parameter'];
    return {
      text,
      json,
      command: typeof command === 'string' ? command : '',
      parameter: parameter === undefined ? '' : String(parameter),
    };
  } catch {
    return empty;
  }
}

async function listen(
  server: Server | HttpServer,
  { host, hub }: SimulatedMinerPlace,
  port: number,
): Promise<OpenServer> {
  if (hub !== undefined) {
    const close = await hub.open(host, port, (socket) => server.emit('connection', socket));
    return { port, close };
  }
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
