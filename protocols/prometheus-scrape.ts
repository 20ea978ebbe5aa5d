import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { Clock } from './clock.ts';
import type { PrometheusText } from './prometheus.ts';
import { parsePrometheus } from './prometheus.ts';
import type { Failure, Result } from './result.ts';
import { fail, ok } from './result.ts';
import { connectionFailure } from './tcp-exchange.ts';
import type { Milliseconds, MonotonicMs } from './units.ts';

export interface Scrape {
  readonly text: PrometheusText;
  readonly requestedAt: MonotonicMs;
  readonly repliedAt: MonotonicMs;
}

const BODY_MOST = 8_000_000;

/**
 * GETs `url` once, over a connection of its own, and parses the body. Fails `unreachable`, `timeout` (the whole
 * exchange, however it drips), `unauthorised` (401, 403), `refused` (any other status but 200), `malformed`
 * (too long, cut, or no metrics), `cancelled`.
 */
export async function scrapePrometheus(
  url: string,
  timeoutMs: Milliseconds,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result<Scrape>> {
  const requestedAt = clock.monotonicMs();
  const body = await get(url, timeoutMs, clock, signal);
  if (!body.ok) return body;
  const repliedAt = clock.monotonicMs();
  const text = parsePrometheus(body.value);
  if (!text.ok) return fail('malformed', `${url}: ${text.error.message}`);
  // While dcgm-exporter reloads its configuration it answers 200 with nothing.
  if (text.value.samples.length === 0) return fail('malformed', `${url}: no metrics in the answer`);
  return ok({ text: text.value, requestedAt, repliedAt });
}

function get(
  url: string,
  timeoutMs: Milliseconds,
  clock: Clock,
  signal: AbortSignal,
): Promise<Result<Uint8Array, Failure>> {
  if (signal.aborted) return Promise.resolve(fail('cancelled', `${url}: given up`));
  return new Promise((resolve) => {
    const open = url.startsWith('https:') ? requestHttps : requestHttp;
    const headers = { accept: 'text/plain;version=0.0.4', connection: 'close' };
    const call = open(url, { agent: false, headers });
    let isSettled = false;
    const settle = (result: Result<Uint8Array, Failure>) => {
      if (isSettled) return;
      isSettled = true;
      cancelTimeout();
      signal.removeEventListener('abort', onAbort);
      call.destroy();
      resolve(result);
    };
    const onAbort = () => settle(fail('cancelled', `${url}: given up`));
    const cancelTimeout = clock.after(timeoutMs, () =>
      settle(fail('timeout', `${url}: no complete answer within ${timeoutMs} ms`)),
    );
    signal.addEventListener('abort', onAbort, { once: true });
    call.on('error', (error: NodeJS.ErrnoException) => {
      const isProtocol = error.code?.startsWith('HPE_') === true;
      const { host } = new URL(url);
      settle(
        isProtocol
          ? fail('malformed', `${url}: ${error.code}`, 'Something else than an exporter answers there.')
          : fail(
              'unreachable',
              `${url}: ${connectionFailure(host, error)}`,
              'Check that the exporter runs there (dcgm-exporter listens on 9400 by default).',
            ),
      );
    });
    call.on('response', (response) => {
      const status = response.statusCode ?? 0;
      if (status === 401 || status === 403) return settle(fail('unauthorised', `${url}: status ${status}`));
      if (status !== 200) return settle(fail('refused', `${url}: status ${status}`));
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > BODY_MOST) settle(fail('malformed', `${url}: more than ${BODY_MOST} bytes`));
        else chunks.push(chunk);
      });
      response.on('error', (error: NodeJS.ErrnoException) =>
        settle(fail('unreachable', `${url}: the answer broke off: ${error.code ?? error.message}`)),
      );
      response.on('end', () => settle(ok(Buffer.concat(chunks))));
    });
    call.end();
  });
}
