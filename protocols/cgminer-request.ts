import { Buffer } from 'node:buffer';

/** cgminer reads a request with one `recv` of this size; what is longer is answered as broken. */
export const CGMINER_REQUEST_MAXIMUM_BYTES = 4095;

/**
 * `{"command":...}` with an optional parameter, compact and without a newline: the form that cgminer,
 * bfgminer and every ASIC firmware accept. Throws a RangeError when it would not fit one `recv`.
 *
 * Source: cgminer 4.11.1 API-README and api.c, tried against a running daemon.
 */
export function encodeCgminerRequest(command: string, parameter?: string): Uint8Array {
  if (parameter !== undefined) return encoded({ command, parameter });
  const known = PLAIN_REQUESTS.get(command);
  if (known !== undefined) return known;
  const request = encoded({ command });
  if (PLAIN_REQUESTS.size < PLAIN_REQUESTS_MOST) PLAIN_REQUESTS.set(command, request);
  return request;
}

/** Requests without a parameter, of which drivers send the same few to every miner; never written to. */
const PLAIN_REQUESTS = new Map<string, Uint8Array>();
const PLAIN_REQUESTS_MOST = 64;

function encoded(request: object): Uint8Array {
  return bounded(Buffer.from(JSON.stringify(request), 'utf8'));
}

/** `command` or `command|parameter`, the form that is answered as text. Same bound. */
export function encodeCgminerTextRequest(command: string, parameter?: string): Uint8Array {
  return bounded(Buffer.from(parameter === undefined ? command : `${command}|${parameter}`, 'utf8'));
}

/** Several parameterless reads in one request. Only for firmware known to take it. */
export function joinCgminerCommands(commands: readonly string[]): string {
  return commands.join('+');
}

function bounded(request: Buffer): Uint8Array {
  if (request.length > CGMINER_REQUEST_MAXIMUM_BYTES)
    throw new RangeError(`a cgminer request of ${request.length} bytes does not fit one read of the server`);
  return request;
}
