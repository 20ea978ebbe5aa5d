import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fail, ok, type Result } from '../../protocols/result.ts';
import { apiBody } from './server.ts';
import type { PageSource } from './source.ts';

/** Where the agent of a state folder listens for the command line: systemd's runtime folder, else the state itself. */
export function localSocketPath(
  stateFolder: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string {
  const runtime = environment['RUNTIME_DIRECTORY']?.split(':')[0];
  if (runtime !== undefined && runtime !== '') return join(runtime, 'agent.sock');
  const installed = '/run/switchyard/agent.sock';
  if (stateFolder === '/var/lib/switchyard' && existsSync(installed)) return installed;
  return join(stateFolder, 'agent.sock');
}

/** Takes one local request; `status` is an HTTP status, `body` JSON. */
export type LocalHandler = (verb: string, args: unknown) => Promise<{ status: number; body: unknown }>;

const MAXIMUM_BODY_BYTES = 64_000;

/**
 * The same API as the page over a unix socket that only owner and group may use (0660), plus `POST /local/<verb>`
 * to steer the agent. Works with the page off. Fails when another agent listens there.
 */
export async function serveLocal(
  path: string,
  source: PageSource,
  handle: LocalHandler,
): Promise<{ close(): Promise<void> }> {
  mkdirSync(dirname(path), { recursive: true });
  if (existsSync(path)) {
    if (await somebodyListens(path)) throw new Error(`another agent is running: ${path} answers`);
    rmSync(path);
  }
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5000 }, (incoming, response) => {
    const reply = (status: number, body: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const url = new URL(incoming.url ?? '/', 'http://agent');
    if (incoming.method === 'GET' && url.pathname.startsWith('/api/v1/')) {
      const body = apiBody(source, url.pathname.slice('/api/v1/'.length), url.searchParams);
      reply(body === null ? 404 : 200, body ?? { error: 'no such resource' });
      return;
    }
    if (incoming.method !== 'POST' || !url.pathname.startsWith('/local/')) {
      reply(404, { error: 'no such resource' });
      return;
    }
    readBody(incoming)
      .then((text) => handle(url.pathname.slice('/local/'.length), text === '' ? {} : JSON.parse(text)))
      .then(({ status, body }) => reply(status, body))
      .catch((error: Error) => reply(400, { error: error.message }));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
  chmodSync(path, 0o660);
  return {
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function somebodyListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function readBody(incoming: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of incoming) {
    text += String(chunk);
    if (text.length > MAXIMUM_BODY_BYTES) throw new Error('request too large');
  }
  return text;
}

/** Asks the agent behind a socket. Fails `unreachable` when none listens, `timeout`, `refused` (403), `malformed`. */
export function askAgent(
  path: string,
  method: 'GET' | 'POST',
  resource: string,
  body: unknown,
  timeoutMs: number,
): Promise<Result<{ status: number; body: unknown }>> {
  return new Promise((resolve) => {
    const outgoing = request({
      socketPath: path,
      method,
      path: resource,
      headers: { 'content-type': 'application/json' },
      timeout: timeoutMs,
    });
    outgoing.on('response', (response) => {
      readReply(response).then(
        (text) => resolve(ok({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown })),
        (error: Error) =>
          resolve(fail('malformed', `the agent's answer is not understood: ${error.message}`)),
      );
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('timeout')));
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      if (error.message === 'timeout')
        resolve(fail('timeout', `the agent at ${path} did not answer within ${timeoutMs} ms.`));
      else if (error.code === 'EACCES')
        resolve(
          fail(
            'unauthorised',
            `no permission to use ${path}.`,
            'Run as root or join the group of the service.',
          ),
        );
      else
        resolve(
          fail(
            'unreachable',
            `no agent is running here: nothing answers at ${path}.`,
            'Start it with `switchyard run`, or name its configuration with --config.',
          ),
        );
    });
    outgoing.end(method === 'GET' ? undefined : JSON.stringify(body));
  });
}

const MAXIMUM_REPLY_BYTES = 32_000_000;

async function readReply(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > MAXIMUM_REPLY_BYTES) throw new Error('answer too large');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
