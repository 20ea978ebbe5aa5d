import { describe, expect, it } from 'vitest';
import { exchangeOverTcp } from '../../../protocols/tcp-exchange.ts';
import { closedPort, listenOnLoopback, type TestListener } from '../../support/recorded-server.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const limits = { connectMs: 3000, idleMs: 3000, totalMs: 8000, maximumBytes: 1000 };
const request = Buffer.from('ask');
const never = new AbortController().signal;

function ask(target: { host: string; port: number }, clock: VirtualClock, signal = never) {
  return exchangeOverTcp({ host: target.host, port: target.port, request, limits }, clock, signal);
}

/** Lets I/O of this process run until `done`. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

describe('one bounded TCP exchange', () => {
  it('returns what came when the peer closes', async () => {
    await using peer = await listenOnLoopback((socket) =>
      socket.once('data', (data) => socket.end(`got ${data}`)),
    );
    const answer = await ask(peer, new VirtualClock());
    expect(answer.ok && Buffer.from(answer.value.bytes).toString()).toBe('got ask');
  });

  it('is unreachable where nobody listens', async () => {
    const answer = await ask({ host: '127.0.0.1', port: await closedPort() }, new VirtualClock());
    expect(answer).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  });

  it('times out on silence', async () => {
    let asked = false;
    await using peer = await listenOnLoopback((socket) => socket.on('data', () => (asked = true)));
    const clock = new VirtualClock();
    const answer = ask(peer, clock);
    await until(() => asked);
    await clock.advance(limits.idleMs);
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'timeout' } });
  });

  it('times out on an answer that trickles for ever', async () => {
    let sent = 0;
    const clock = new VirtualClock();
    let received = (): void => undefined;
    await using peer = await listenOnLoopback((socket) => {
      socket.once('data', () => received());
      received = () => {
        sent += 1;
        socket.write('x');
      };
    });
    const answer = ask(peer, clock);
    let settled = false;
    void answer.then(() => {
      settled = true;
    });
    await until(() => sent === 1);
    while (!settled && sent < 20) {
      await clock.advance(1000);
      received();
      for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    expect(clock.monotonicMs()).toBe(limits.totalMs);
  });

  it('stops an endless answer at its cap', async () => {
    await using peer = await listenOnLoopback((socket) => {
      const pour = (): void => {
        while (socket.writable && socket.write('x'.repeat(400)));
      };
      socket.once('data', pour);
      socket.on('drain', pour);
    });
    expect(await ask(peer, new VirtualClock())).toMatchObject({ ok: false, error: { kind: 'malformed' } });
  });

  it('is unreachable when reset before a byte, and says reset after some', async () => {
    const answerAfter = async (text: string) => {
      await using peer: TestListener = await listenOnLoopback((socket) =>
        socket.once('data', () => {
          if (text === '') socket.resetAndDestroy();
          else socket.write(text, () => setImmediate(() => socket.resetAndDestroy()));
        }),
      );
      return await ask(peer, new VirtualClock());
    };
    expect(await answerAfter('')).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
    const broken = await answerAfter('half');
    if (broken.ok) expect(['reset', 'closed']).toContain(broken.value.end);
    else expect(broken.error.kind).toBe('unreachable');
  });

  it('gives up when told to, and leaves no timer', async () => {
    const controller = new AbortController();
    let asked = false;
    await using peer = await listenOnLoopback((socket) => socket.on('data', () => (asked = true)));
    const clock = new VirtualClock();
    const answer = ask(peer, clock, controller.signal);
    await until(() => asked);
    controller.abort();
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    expect(await ask(peer, clock, controller.signal)).toMatchObject({
      ok: false,
      error: { kind: 'cancelled' },
    });
  });

  it('asks the watcher only when the peer does not close, and then once a piece', async () => {
    const clock = new VirtualClock();
    const seen: string[] = [];
    const watch = () => (piece: Uint8Array) => {
      seen.push(Buffer.from(piece).toString());
      return seen.join('').includes('}');
    };
    const askWatched = (port: number) =>
      exchangeOverTcp({ host: '127.0.0.1', port, request, limits, watch }, clock, never);
    {
      await using peer = await listenOnLoopback((socket) => socket.once('data', () => socket.end('{}')));
      expect(await askWatched(peer.port)).toMatchObject({ ok: true, value: { end: 'closed' } });
      expect(seen).toEqual([]);
    }
    const say: ((text: string) => void)[] = [];
    await using peer = await listenOnLoopback((socket) =>
      socket.once('data', () => say.push((text) => socket.write(text))),
    );
    const answer = askWatched(peer.port);
    await until(() => say.length === 1);
    for (const text of ['{', '"a":1', '}']) {
      say[0]!(text);
      // Moves on until the piece was looked at: it comes in its own time.
      for (let turn = 0; seen.at(-1) !== text && turn < 10_000; turn += 1) {
        await new Promise((resolve) => setImmediate(resolve));
        if (turn % 100 === 99) await clock.advance(100);
      }
    }
    expect(await answer).toMatchObject({ ok: true, value: { end: 'complete' } });
    expect(seen).toEqual(['{', '"a":1', '}']);
  });

  it('pieces that keep coming do not push the end away', async () => {
    const clock = new VirtualClock();
    let write = (): void => undefined;
    await using peer = await listenOnLoopback((socket) =>
      socket.once('data', () => {
        write = () => void socket.write('x');
      }),
    );
    const watch = () => () => false;
    const answer = exchangeOverTcp(
      { host: peer.host, port: peer.port, request, limits, watch },
      clock,
      never,
    );
    let settled = false;
    void answer.then(() => {
      settled = true;
    });
    for (let step = 0; !settled && step < 400; step += 1) {
      write();
      for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await clock.advance(50);
    }
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'timeout' } });
    expect(clock.monotonicMs()).toBeLessThanOrEqual(limits.totalMs + 50);
  });
});
