import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SimulatedMiner } from '../physics.ts';
import {
  type MinerWireFaults,
  type OpenServer,
  type ReplyBody,
  type SimulatedMinerPlace,
  serveWeb,
} from './api-server.ts';

/** A request to a page that speaks JSON. */
export interface PageRequest {
  readonly method: string;
  /** Without the first slash and without a query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly json: unknown;
}

/** What a page answers: JSON (or plain text) with a status, or `null` for a connection that breaks. */
export type PageAnswer = { readonly status?: number; readonly json?: unknown; readonly text?: string } | null;

/** Pages of a unit that answer JSON, on its web port or on `port`. */
export function servePages(
  miner: SimulatedMiner,
  place: SimulatedMinerPlace,
  answer: (request: PageRequest) => PageAnswer,
  port = place.webPort,
): Promise<OpenServer> {
  return serveWeb(miner, { ...place, webPort: port }, (request, response) => {
    readBody(request, (text) => {
      const asked: PageRequest = {
        method: request.method ?? 'GET',
        path: (request.url ?? '').replace(/^\//, '').replace(/\?.*$/, ''),
        headers: request.headers,
        text,
        json: parsed(text),
      };
      const said = answer(asked);
      if (said === null) response.destroy();
      else if (said.text !== undefined)
        response.writeHead(said.status ?? 200, { 'content-type': 'text/plain' }).end(said.text);
      else sendJson(response, said.json, said.status);
    });
  });
}

/** Tokens of a unit: one holds at a time. */
export interface TokenDesk {
  /** A new token for the right password; `null` and counted for a wrong one. */
  give(right: boolean): string | null;
  holds(token: string | undefined): boolean;
}

/** A desk without any token given; `faults.tokensEnded` ends the one that holds. */
export function openTokenDesk(faults: MinerWireFaults): TokenDesk {
  let count = 0;
  let current: string | null = null;
  return {
    give: (right) => {
      if (!right) {
        faults.wrongPasswords = (faults.wrongPasswords ?? 0) + 1;
        return null;
      }
      count += 1;
      current = `token${String(count).padStart(4, '0')}`;
      return current;
    },
    holds: (token) => {
      if (faults.tokensEnded === true) current = null;
      faults.tokensEnded = false;
      return current !== null && token === current;
    },
  };
}

/** JSON with a status. */
export function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Configuration pages send a few kilobytes. */
const BODY_MAXIMUM_CHARACTERS = 64 * 1024;

/** The whole body of a request as text. */
export function readBody(request: IncomingMessage, done: (text: string) => void): void {
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (piece: string) => {
    text += piece;
    if (text.length > BODY_MAXIMUM_CHARACTERS) request.destroy();
  });
  request.on('end', () => done(text));
}

/** The record that a request carries, `{}` for anything else. */
export function recordOf(value: unknown): ReplyBody {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as ReplyBody) : {};
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
