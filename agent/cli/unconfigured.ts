import { createServer } from 'node:http';
import type { Context } from './context.ts';
import { aborted, type Supervisor } from './lifecycle.ts';
import { EXIT, type Outcome } from './outcome.ts';

const PORT = 7420;

const STEPS = [
  'switchyard sample all > switchyard.yaml    a commented configuration',
  'switchyard check switchyard.yaml           what is wrong with it, by line',
  'switchyard run                             starts the agent with it',
];

/**
 * First start without a configuration: the agent runs, is healthy, and says on page and command line what to
 * do. It controls nothing.
 */
export async function serveUnconfigured(context: Context, supervisor: Supervisor): Promise<Outcome> {
  const body = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Switchyard: not configured</title><h1>Switchyard runs, and has no configuration yet</h1><p>Nothing is read and nothing is commanded. On this gateway:</p><pre>${STEPS.join('\n').replaceAll('>', '&gt;')}</pre><p>The configuration is looked for in <code>./switchyard.yaml</code>, then <code>/etc/switchyard/switchyard.yaml</code>.</p></html>`;
  const server = createServer({ headersTimeout: 3000, requestTimeout: 5000 }, (request, response) => {
    const { url } = request;
    const json = (status: number, value: unknown) => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(JSON.stringify(value));
    };
    if (url === '/healthz') {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.end('ok: unconfigured, nothing to control\n');
    } else if (url === '/api/v1/site')
      json(200, { v: 1, site: null, mode: 'unconfigured', limits: [], totals: null, alarms: [] });
    else if (url === '/') {
      response.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': "default-src 'none'",
      });
      response.end(body);
    } else json(404, { error: 'not configured' });
  });
  const port = await new Promise<number | null>((resolve) => {
    server.once('error', () => resolve(null));
    server.listen(PORT, '127.0.0.1', () => resolve(PORT));
  });
  context.streams.err(
    `There is no configuration yet: the agent runs, reads nothing and commands nothing.\n${STEPS.map((step) => `  ${step}`).join('\n')}\n${port === null ? '' : `The same at http://127.0.0.1:${port}/\n`}`,
  );
  supervisor.ready('no configuration: nothing is controlled', 0);
  supervisor.idle(context.signal);
  await aborted(context.signal);
  server.closeAllConnections();
  server.close();
  return { exit: EXIT.ok };
}
