import { createServer, type RequestListener } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HTTP_HEAD_MOST_BYTES, HttpAnswerReader, type HttpEnd } from '../../../protocols/http-answer.ts';
import { encodeHttpRequest, exchangeOverHttp } from '../../../protocols/http-exchange.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;
const limits = { connectMs: 3000, idleMs: 3000, totalMs: 8000, maximumBytes: 10_000 };
const seed = 20_261_122;

/** Reads `text` in pieces of so many bytes. */
function read(text: string, end: HttpEnd = 'closed', pieceBytes = text.length || 1) {
  const bytes = Buffer.from(text, 'latin1');
  const reader = new HttpAnswerReader();
  let whole = false;
  for (let at = 0; at < bytes.length && !whole; at += pieceBytes)
    whole = reader.take(bytes.subarray(at, at + pieceBytes));
  const answer = reader.answer(whole ? 'whole' : end);
  return typeof answer === 'string'
    ? answer
    : { ...answer, headers: answer.headers, whole, body: Buffer.from(answer.body).toString('latin1') };
}

describe('an answer of an HTTP server', () => {
  it('ends at its length, whatever comes after', () => {
    expect(read('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more')).toMatchObject({
      status: 200,
      whole: true,
      cut: false,
      body: 'hello',
    });
  });

  it('without a length ends with the connection, and is cut where that breaks', () => {
    const text = 'HTTP/1.0 200 OK\nServer: lighttpd\n\n{"a":1}';
    expect(read(text)).toMatchObject({ whole: false, cut: false, body: '{"a":1}' });
    expect(read(text, 'broken')).toMatchObject({ cut: true });
  });

  it('is cut before its length, and before its last chunk', () => {
    expect(read('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello')).toMatchObject({ cut: true });
    expect(read('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n')).toMatchObject({
      cut: true,
      body: 'hello',
    });
  });

  it('puts chunks together, with extensions and a trailer', () => {
    const text =
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n5;a=b\r\nhello\r\n00006\r\n world\r\n0\r\nx: y\r\n\r\n';
    expect(read(text)).toMatchObject({ whole: true, cut: false, body: 'hello world' });
  });

  it('has no body after 204 and 304, and none of length 0', () => {
    for (const head of [
      '204 No Content\r\n',
      '304 x\r\ncontent-length: 7\r\n',
      '200 OK\r\ncontent-length: 0\r\n',
    ])
      expect(read(`HTTP/1.1 ${head}\r\n`)).toMatchObject({ whole: true, cut: false, body: '' });
  });

  it('comes after what only says "go on"', () => {
    expect(
      read('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok'),
    ).toMatchObject({ status: 201, whole: true, body: 'ok' });
  });

  it('keeps both values of a field that comes twice, and skips lines that are none', () => {
    const answer = read(
      'HTTP/1.1 401 No\r\nnonsense\r\n: empty\r\nWWW-Authenticate : Basic realm="a"\r\nwww-authenticate: Digest realm="b"\r\ncontent-length: 0\r\n\r\n',
    );
    expect(answer).toMatchObject({
      headers: { 'www-authenticate': 'Basic realm="a", Digest realm="b"' },
    });
  });

  it('knows its length and form however their fields are written', () => {
    const ways = [
      'content-length:5\r\n',
      ' Content-Length : 5 \r\n',
      'CONTENT-LENGTH\t:\t5\n',
      'x: y\r\ncontent-length: 5\r\nContent-Length: 5\r\n',
      'content-length: 5, 5\r\n',
    ];
    for (const way of ways)
      expect(read(`HTTP/1.1 200 OK\r\n${way}\r\nhello and more`)).toMatchObject({
        body: 'hello',
        cut: false,
      });
    // A field of another name, a line that is none and the line of the status say nothing about it.
    for (const other of ['x-content-length: 3\r\n', 'content-length\n: 3\r\n', 'x: content-length: 3\r\n'])
      expect(read(`HTTP/1.1 200 OK\r\n${other}\r\nhello`)).toMatchObject({ body: 'hello', whole: false });
    expect(read('HTTP/1.1 200 content-length: 3\r\n\r\nhello')).toMatchObject({ body: 'hello' });
  });

  it('is none where two lengths could be meant, a chunk has no length, or the head has no end', () => {
    const bad = [
      'STATUS=E,Code=14|',
      '<html>',
      '{"STATUS":"E"}',
      'HTTP/2 200\r\n\r\n',
      'HTTP/1.1 OK\r\n\r\n',
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!',
      'HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello',
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nhello\r\n',
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${'1'.repeat(2000)}`,
      `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(HTTP_HEAD_MOST_BYTES / 6)}\r\n`,
      `HTTP/1.1 200 OK\r\nx: ${'y'.repeat(2 * HTTP_HEAD_MOST_BYTES)}`,
    ];
    for (const text of bad)
      for (const size of [text.length, 7]) expect(read(text, 'closed', size)).toBe('no-http');
    expect(read('HTTP/1.1 200 OK\r\ncontent-le')).toBe('no-head');
    expect(read('')).toBe('no-head');
  });

  it(`says the same however it is cut into pieces (500 cases, seed ${seed})`, () => {
    const part = fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.0 404 No\n',
      'HTTP/1.1 100 Go\r\n\r\n',
      'content-length: 5\r\n',
      'transfer-encoding: chunked\r\n',
      'a: b\r\n',
      '\r\n',
      '\n',
      '5\r\nhello\r\n',
      'a\r\n0123456789\r\n',
      '0\r\n',
      'hello',
      'x',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 12 }), fc.integer({ min: 1, max: 9 }), (parts, size) => {
        const text = parts.join('');
        expect(read(text, 'closed', size)).toEqual(read(text));
      }),
      { seed, numRuns: 500 },
    );
  });
});

describe('a request', () => {
  const encode = (path: string, headers = {}, body?: string) => {
    const wanted = { method: 'POST' as const, path, headers, ...(body !== undefined && { body }) };
    const bytes = encodeHttpRequest('10.0.0.1', wanted);
    return bytes === null ? null : Buffer.from(bytes).toString('utf8');
  };

  it('is written in one piece, its length in bytes', () => {
    expect(encode('/a?b', { token: 'x' }, '{"a":"é"}')).toBe(
      'POST /a?b HTTP/1.1\r\nhost: 10.0.0.1\r\nconnection: close\r\naccept: */*\r\ntoken: x\r\ncontent-length: 10\r\n\r\n{"a":"é"}',
    );
  });

  it('is none where a path or a value would break out of its place', () => {
    expect(encode('/a b')).toBeNull();
    expect(encode('/a\r\nx: y')).toBeNull();
    expect(encode('/a', { token: 'x\r\ny: z' })).toBeNull();
    expect(encode('/a', { token: 'x\ny' })).toBeNull();
  });
});

describe('one exchange over HTTP', () => {
  const ask = (port: number, clock = new VirtualClock()) =>
    exchangeOverHttp(
      { host: '127.0.0.1', port, clock, limits },
      { method: 'POST', path: '/p', body: '{}' },
      never,
    );

  it.each<[string, RequestListener]>([
    ['with a length', (_request, response) => response.setHeader('content-length', '5').end('hello')],
    [
      'in chunks',
      (_request, response) => {
        response.write('hel');
        setImmediate(() => response.end('lo'));
      },
    ],
  ])("takes the answer of Node's own server, %s", async (_name, serve) => {
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (piece) => (body += piece));
      request.on('end', () => (body === '{}' ? serve(request, response) : response.writeHead(400).end()));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    try {
      const answer = await ask(address.port);
      expect(answer).toMatchObject({ ok: true, value: { status: 200, cut: false } });
      if (answer.ok) expect(Buffer.from(answer.value.body).toString()).toBe('hello');
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('does not wait for a server that keeps the connection open', async () => {
    await using peer = await listenOnLoopback((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')),
    );
    expect(await ask(peer.port)).toMatchObject({ ok: true, value: { status: 200, cut: false } });
  });

  it('fails as what it is: no HTTP, nothing, too much, silence in the middle', async () => {
    const kindOf = async (said: string, clock?: VirtualClock): Promise<string> => {
      let asked = false;
      await using peer = await listenOnLoopback((socket) =>
        socket.once('data', () => {
          asked = true;
          if (clock === undefined) socket.end(said);
          else socket.write(said);
        }),
      );
      const answer = ask(peer.port, clock);
      while (clock !== undefined && !asked) await new Promise((resolve) => setImmediate(resolve));
      if (clock !== undefined) await clock.advance(limits.totalMs);
      const got = await answer;
      return got.ok ? 'ok' : got.error.kind;
    };
    expect(await kindOf('STATUS=E|')).toBe('malformed');
    expect(await kindOf('')).toBe('unreachable');
    expect(await kindOf(`HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(30_000)}`)).toBe('malformed');
    expect(await kindOf('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhell', new VirtualClock())).toBe(
      'timeout',
    );
  });
});
