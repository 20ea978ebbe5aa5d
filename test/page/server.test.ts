import { request } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { pageFiles } from '../../agent/page/files.ts';
import { eventOf, type RunningPage, servePage } from '../../agent/page/server.ts';
import type { PageSource } from '../../agent/page/source.ts';
import type { Alarm } from '../../agent/site/alarms.ts';
import { madeUpLimit, madeUpSource, madeUpView } from '../support/page-source.ts';

const running: RunningPage[] = [];

afterEach(async () => {
  for (const page of running.splice(0)) await page.close();
});

async function serve(source: PageSource, allowedHosts: string[] = []): Promise<RunningPage> {
  const page = await servePage(source, { host: '127.0.0.1', port: 0, allowedHosts, files: pageFiles() });
  running.push(page);
  return page;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Sends the path exactly as given: clients that tidy it would hide what is tested. */
function ask(
  page: RunningPage,
  path: string,
  more: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: page.port,
        path,
        method: more.method ?? 'GET',
        headers: more.headers ?? {},
        agent: false,
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end();
  });
}

const grid = madeUpSource(madeUpView([madeUpLimit('grid', null), madeUpLimit('feeder-a', 'grid')]), 120);

describe('the page server', () => {
  test('serves the page with headers that allow nothing but its own files', async () => {
    const page = await serve(grid.source);
    const answer = await ask(page, '/');
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
    expect(answer.headers['referrer-policy']).toBe('no-referrer');
    expect(answer.headers['access-control-allow-origin']).toBeUndefined();
    const policy = String(answer.headers['content-security-policy']);
    for (const part of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "frame-ancestors 'none'",
    ])
      expect(policy).toContain(part);
    expect(policy).not.toContain('unsafe');
  });

  test.each([...pageFiles().keys()])(
    '%s refers to nothing elsewhere and holds no inline script or style',
    (path) => {
      const text = pageFiles().get(path)!.body.toString('utf8');
      const foreign = [...text.matchAll(/\b(?:https?:)?\/\/[a-z0-9-]+\.[a-z]{2,}[^\s'"`]*/gi)]
        .map(([address]) => address)
        .filter((address) => address !== 'http://www.w3.org/2000/svg');
      expect(foreign).toEqual([]);
      if (path.endsWith('.html')) {
        expect(text).not.toMatch(/<script(?![^>]*\bsrc=)/);
        expect(text).not.toMatch(/<style|\sstyle=|\son[a-z]+=/);
      }
      expect(text).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/);
    },
  );

  test('every file together stays under 40 kB of gzip', () => {
    const bytes = [...pageFiles().values()].reduce((sum, { body }) => sum + gzipSync(body).length, 0);
    expect(bytes).toBeLessThan(40_000);
  });

  test.each([
    ['example.com', 403],
    ['example.com:7420', 403],
    ['127.0.0.1.example.com', 403],
    ['localhost.example.com', 403],
    ['attacker', 403],
    ['127.0.0.1', 200],
    ['localhost:7420', 200],
    ['[::1]:7420', 200],
    ['10.0.0.5', 200],
    ['gateway.site', 200],
    ['GATEWAY.SITE:80', 200],
  ])('a request for host "%s" is answered %i', async (host, status) => {
    const page = await serve(grid.source, ['gateway.site']);
    expect((await ask(page, '/api/v1/site', { headers: { host } })).status).toBe(status);
  });

  test.each([
    '/../package.json',
    '/..%2fpackage.json',
    '/%2e%2e/package.json',
    '/%2e%2e%2f%2e%2e%2fetc/passwd',
    '/static/../../server.ts',
    '/index.html%00.js',
    '/..\\package.json',
    '//example.com/',
    '//example.com/index.html',
    '/server.ts',
    '/index.html/',
    '/INDEX.HTML',
    '/__proto__',
    '/constructor',
    '/api/v1/',
    '/api/v1/__proto__',
    '/api/v2/site',
    '/vendor/',
    'http://example.com/',
  ])('%s is not found', async (path) => {
    const page = await serve(grid.source);
    expect((await ask(page, path)).status).toBe(404);
  });

  test.each(['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])(
    '%s is refused: the page is read only',
    async (method) => {
      const page = await serve(grid.source);
      const answer = await ask(page, '/api/v1/site', { method });
      expect(answer.status).toBe(405);
      expect(answer.headers['allow']).toBe('GET, HEAD');
    },
  );

  test('HEAD has the headers of GET and no body', async () => {
    const page = await serve(grid.source);
    const answer = await ask(page, '/style.css', { method: 'HEAD' });
    expect(answer).toMatchObject({ status: 200, body: '' });
    expect(Number(answer.headers['content-length'])).toBeGreaterThan(1000);
  });

  test('a header beyond 8 kB is refused', async () => {
    const page = await serve(grid.source);
    expect((await ask(page, '/', { headers: { 'x-long': 'x'.repeat(9000) } })).status).toBe(431);
  });

  test('a client that drips its request is cut off', async () => {
    const page = await serve(grid.source);
    const socket = connect(page.port, '127.0.0.1');
    const closed = new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString('utf8');
      });
      socket.on('close', () => resolve(text));
      socket.on('error', () => undefined);
    });
    socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ');
    expect(await closed).toMatch(/^HTTP\/1\.1 408 /);
  });
});

describe('the lists behind the page', () => {
  test('devices come page by page', async () => {
    const page = await serve(grid.source);
    const all = JSON.parse((await ask(page, '/api/v1/devices?rows=25&offset=50&limit=grid')).body);
    expect(all).toMatchObject({ v: 1, total: 120, offset: 50 });
    expect(all.rows).toHaveLength(25);
    expect(all.rows[0].id).toBe('m-0051');
    const part = JSON.parse((await ask(page, '/api/v1/devices?rows=999999&limit=feeder-a')).body);
    expect(part.total).toBe(60);
    const found = JSON.parse((await ask(page, '/api/v1/devices?rows=5&q=M-0007')).body);
    expect(found.rows.map((row: { id: string }) => row.id)).toEqual(['m-0007']);
    expect(JSON.parse((await ask(page, '/api/v1/devices?rows=5&show=asleep')).body).total).toBe(0);
    expect(JSON.parse((await ask(page, '/api/v1/devices?rows=-3&offset=NaN')).body).rows).toHaveLength(1);
  });

  test('what cannot be explained is an answer, not an error', async () => {
    const page = await serve(grid.source);
    expect(await ask(page, '/api/v1/explain?target=m-0001')).toMatchObject({ status: 200 });
  });

  test('before the first cycle the site is starting', async () => {
    const page = await serve(madeUpSource(null).source);
    const site = JSON.parse((await ask(page, '/api/v1/site')).body);
    expect(site).toMatchObject({ mode: 'starting', limits: [], totals: null });
  });
});

describe('the events', () => {
  const longId = (index: number) => `${'feeder-with-a-very-long-name-'.repeat(2)}${index}`.slice(0, 63);
  const alarm = (index: number): Alarm => ({
    id: `device-silent:m-${index}`,
    code: 'device-silent',
    severity: 'minor',
    target: `m-${index}`,
    message: 'é'.repeat(400),
    nextStep: 'Check its network and supply.',
    since: 1_790_000_000_000,
    acknowledgedBy: null,
  });

  test.each([
    ['60 limits', 60, (index: number) => `pdu-${index}`, 60],
    ['400 limits with the longest names', 400, longId, 30],
  ])('stay under 20 kB with 5,000 devices, 3,000 alarms and %s', (_name, count, idOf, least) => {
    const limits = Array.from({ length: count }, (_, index) =>
      madeUpLimit(idOf(index), index === 0 ? null : idOf(0), {
        powerWatts: 12_345_678,
        limitWatts: 20_000_000,
        ratingWatts: 20_000_000,
        headroomWatts: 7_654_322,
        worstWatts: 13_000_000,
        miningWatts: 10_000_000,
        aiWatts: 2_000_000,
      }),
    );
    const view = madeUpView(limits, { alarms: Array.from({ length: 3000 }, (_, index) => alarm(index)) });
    const event = eventOf(madeUpSource(view, 5000).source) as {
      limits: unknown[];
      limitCount: number;
      alarms: unknown[];
      alarmCount: number;
    };
    expect(Buffer.byteLength(`data: ${JSON.stringify(event)}\n\n`)).toBeLessThan(20_000);
    expect(event.limits.length).toBeGreaterThanOrEqual(least);
    expect(event).toMatchObject({ limitCount: count, alarmCount: 3000 });
    expect(event.alarms.length).toBeGreaterThan(0);
  });

  test('come at once and with each cycle, and end with the page', async () => {
    const page = await serve(grid.source);
    const texts: string[] = [];
    let saw: () => void = () => undefined;
    const twice = new Promise<void>((resolve) => {
      saw = () => texts.join('').split('data: ').length >= 3 && resolve();
    });
    const ended = new Promise<void>((resolve) => {
      const sent = request(
        { host: '127.0.0.1', port: page.port, path: '/events', agent: false },
        (response) => {
          expect(response.headers['content-type']).toBe('text/event-stream');
          expect(response.headers['cache-control']).toBe('no-store');
          response.on('data', (chunk: Buffer) => {
            if (texts.length === 0) page.broadcast(eventOf(grid.source));
            texts.push(chunk.toString('utf8'));
            saw();
          });
          response.on('close', resolve);
          response.on('error', () => undefined);
        },
      );
      sent.on('error', () => undefined);
      sent.end();
    });
    await twice;
    expect(texts.join('')).toMatch(/^retry: \d+\n\ndata: \{"v":1,/);
    await page.close();
    await ended;
  });
});
