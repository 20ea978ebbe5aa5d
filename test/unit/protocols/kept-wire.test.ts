import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { exchangeOverHttp, type HttpRequest } from '../../../protocols/http-exchange.ts';
import { KeptWire } from '../../../protocols/kept-wire.ts';
import { listenOnLoopback } from '../../support/recorded-server.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;
const limits = { connectMs: 3000, idleMs: 3000, totalMs: 8000, maximumBytes: 10_000 };
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';

/** What one request met: on which connection, the how manieth on it, its head. */
interface Asked {
  readonly connection: number;
  readonly turn: number;
  readonly head: string;
}

/** A web server that answers as `answer` says and closes nothing by itself, and one device that asks it. */
async function stage(answer: (asked: Asked, socket: Socket) => void) {
  const asked: Asked[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const peer = await listenOnLoopback((socket) => {
    const connection = connections;
    let turn = 0;
    connections += 1;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('data', (piece) => {
      asked.push({ connection, turn, head: piece.toString('latin1') });
      turn += 1;
      answer(asked.at(-1)!, socket);
    });
  });
  const clock = new VirtualClock();
  const kept = new KeptWire();
  kept.beginTurn();
  const ask = (signal = never, more: Partial<HttpRequest> & { port?: number } = {}) => {
    const { port = peer.port, ...request } = more;
    return exchangeOverHttp(
      { host: '127.0.0.1', port, clock, limits, kept },
      { method: 'GET', path: '/p', ...request },
      signal,
    );
  };
  const kindOf = async (answer: ReturnType<typeof ask>): Promise<string> => {
    const got = await answer;
    return got.ok ? Buffer.from(got.value.body).toString() : got.error.kind;
  };
  return {
    asked,
    clock,
    kept,
    ask,
    kindOf,
    openConnections: () => open.size,
    where: () => asked.map(({ connection, turn }) => `${connection}.${turn}`),
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  };
}

/** Lets I/O of this process run until `done`. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

const closes = ({ head }: Asked): boolean => head.includes('\r\nconnection: close\r\n');

describe('a kept connection', () => {
  it('takes one reading request after the other, and is closed at the end of the turn', async () => {
    await using site = await stage((_asked, socket) => socket.write(OK));
    for (let turn = 0; turn < 3; turn += 1) expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '0.1', '0.2']);
    expect(site.asked.some(closes)).toBe(false);
    expect(site.openConnections()).toBe(1);
    site.kept.endTurn();
    await until(() => site.openConnections() === 0);
    // Outside a turn nothing stays open, and the server is told so.
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(closes(site.asked.at(-1)!)).toBe(true);
    await until(() => site.openConnections() === 0);
  });

  it('is not kept past the end of a turn that an answer outlived', async () => {
    let reply = (): void => undefined;
    await using site = await stage((_asked, socket) => {
      reply = () => void socket.write(OK);
    });
    const late = site.kindOf(site.ask());
    await until(() => site.asked.length === 1);
    site.kept.endTurn();
    reply();
    expect(await late).toBe('ok');
    await until(() => site.openConnections() === 0);
  });

  it('carries no writes: they have a connection of their own, and the kept one is closed first', async () => {
    await using site = await stage((_asked, socket) => socket.write(OK));
    await site.ask();
    expect(await site.kindOf(site.ask(never, { method: 'POST', body: '{}' }))).toBe('ok');
    await until(() => site.openConnections() === 0);
    await site.ask();
    expect(site.where()).toEqual(['0.0', '1.0', '2.0']);
    expect(site.asked.map(closes)).toEqual([false, true, false]);
  });

  it.each([
    ['says close', 'HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 2\r\n\r\nok'],
    ['says close among others', 'HTTP/1.1 200 OK\r\nconnection: x, close\r\ncontent-length: 2\r\n\r\nok'],
    [
      'says close in a field of its own',
      'HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok',
    ],
    ['is older', 'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok'],
    ['says more than its answer', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and'],
  ])('is not there where the server %s', async (_name, text) => {
    await using site = await stage((_asked, socket) => socket.write(text));
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '1.0']);
  });

  it('stays after chunks, and after an answer without a body', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      'HTTP/1.1 204 No\r\n\r\n',
      OK,
    ];
    await using site = await stage((_asked, socket) => socket.write(answers.shift()!));
    for (const body of ['ok', '', 'ok']) expect(await site.kindOf(site.ask())).toBe(body);
    expect(site.where()).toEqual(['0.0', '0.1', '0.2']);
  });

  it('is asked anew where the server closed it without a word, and then only where it ever kept one', async () => {
    await using site = await stage(({ turn }, socket) => {
      if (turn === 0) socket.write(OK);
      else socket.destroy();
    });
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '0.1', '1.0']);
    // It never kept its word.
    await site.ask();
    await site.ask();
    expect(site.where()).toEqual(['0.0', '0.1', '1.0', '2.0', '3.0']);
    expect(site.asked.slice(3).every(closes)).toBe(true);
  });

  it('that served is believed once more after it broke', async () => {
    await using site = await stage(({ turn }, socket) => {
      if (turn < 2) socket.write(OK);
      else socket.resetAndDestroy();
    });
    for (let turn = 0; turn < 6; turn += 1) expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '0.1', '0.2', '1.0', '1.1', '1.2', '2.0', '2.1']);
  });

  it('that falls silent is a time-out like any other, and the last of its kind', async () => {
    await using site = await stage(({ turn }, socket) => {
      if (turn === 0) socket.write(OK);
    });
    await site.ask();
    const second = site.kindOf(site.ask());
    await until(() => site.asked.length === 2);
    await site.clock.advance(limits.idleMs - 1);
    expect(site.openConnections()).toBe(1);
    await site.clock.advance(1);
    expect(await second).toBe('timeout');
    expect(site.clock.monotonicMs()).toBe(limits.idleMs);
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '0.1', '1.0']);
    expect(closes(site.asked.at(-1)!)).toBe(true);
  });

  it('broken off after some bytes is a broken answer, not asked for again', async () => {
    await using site = await stage(({ turn }, socket) => {
      if (turn === 0) socket.write(OK);
      else socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf');
    });
    await site.ask();
    expect(await site.ask()).toMatchObject({ ok: true, value: { cut: true } });
    expect(site.where()).toEqual(['0.0', '0.1']);
  });

  it('is for one place, and for a moment', async () => {
    await using other = await listenOnLoopback((socket) => socket.on('data', () => socket.end(OK)));
    await using site = await stage((_asked, socket) => socket.write(OK));
    await site.ask();
    expect(await site.kindOf(site.ask(never, { port: other.port }))).toBe('ok');
    await until(() => site.openConnections() === 0);
    await site.ask();
    await site.clock.advance(1001);
    await site.ask();
    expect(site.where()).toEqual(['0.0', '1.0', '2.0']);
  });

  it('on which something comes unasked is closed', async () => {
    let say = (): void => undefined;
    await using site = await stage((_asked, socket) => {
      socket.write(OK);
      say = () => void socket.write(OK);
    });
    await site.ask();
    say();
    await until(() => site.openConnections() === 0);
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '1.0']);
  });

  it('that the other side closes is not asked any more', async () => {
    let close = (): void => undefined;
    await using site = await stage((_asked, socket) => {
      socket.write(OK);
      close = () => void socket.end();
    });
    await site.ask();
    close();
    await until(() => site.openConnections() === 0);
    expect(await site.kindOf(site.ask())).toBe('ok');
    expect(site.where()).toEqual(['0.0', '1.0']);
  });

  it('is closed when its user gives up', async () => {
    const controller = new AbortController();
    await using site = await stage(({ turn }, socket) => {
      if (turn === 0) socket.write(OK);
    });
    await site.ask();
    const second = site.kindOf(site.ask(controller.signal));
    await until(() => site.asked.length === 2);
    controller.abort();
    expect(await second).toBe('cancelled');
    await until(() => site.openConnections() === 0);
  });
});
