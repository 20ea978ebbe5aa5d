import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../../../protocols/modbus/bus.ts';
import { openBus } from '../../../../protocols/modbus/bus.ts';
import type { BusFailure } from '../../../../protocols/modbus/bus-failure.ts';
import { tcpPath } from '../../../../protocols/modbus/connect.ts';
import { encodeRtu } from '../../../../protocols/modbus/framing.ts';
import type { ReadRequest } from '../../../../protocols/modbus/pdu.ts';
import { seededRandom } from '../../../../protocols/random.ts';
import type { Result } from '../../../../protocols/result.ts';
import type { ModbusPeer } from '../../../support/modbus-peer.ts';
import { honestReply, mbap, modbusPeer, readPdu } from '../../../support/modbus-peer.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const TIMEOUT_MS = 150;
const never = new AbortController().signal;
let clock: VirtualClock;
let peer: ModbusPeer;
let bus: Bus;

function open(framing: 'mbap' | 'rtu' = 'mbap', inFlightMost = 1): Bus {
  const connect = tcpPath(peer.host, peer.port, 1000, clock);
  const name = 'meter';
  return openBus(
    { name, framing, connect, responseTimeoutMs: TIMEOUT_MS, inFlightMost },
    { clock, random: seededRandom(1) },
  );
}

function read(address: number, count = 2, unit = 1, withinMs = 10_000) {
  const request: ReadRequest = { kind: 'read', functionCode: 3, address, count };
  return bus.exchange(unit, request, clock.monotonicMs() + withinMs, never);
}

function failureOf(result: Result<unknown, BusFailure>): BusFailure | null {
  return result.ok ? null : result.error;
}

function wordsOf(result: Awaited<ReturnType<typeof read>>): readonly number[] | null {
  return result.ok ? result.value.words : null;
}

/** Answers the next request honestly. */
async function answer(): Promise<number> {
  const request = await peer.next();
  request.socket.write(honestReply(request));
  return request.connection;
}

/** Reads once with an honest peer, after letting the bus rest as long as it wants. */
async function recovers(address = 500): Promise<void> {
  await clock.advance(3000);
  const reading = read(address);
  await answer();
  expect(wordsOf(await reading)).toEqual([address, address + 1]);
}

beforeEach(async () => {
  clock = new VirtualClock();
  peer = await modbusPeer();
  bus = open();
});

afterEach(async () => {
  await bus[Symbol.asyncDispose]();
  await peer.close();
});

describe('a Modbus TCP path', () => {
  test('matches a reply that comes byte by byte', async () => {
    const reading = read(100);
    const request = await peer.next();
    for (const byte of honestReply(request)) request.socket.write(Buffer.from([byte]));
    expect(wordsOf(await reading)).toEqual([100, 101]);
  });

  test('has one request outstanding unless told otherwise', async () => {
    const both = [read(100), read(200)];
    const first = await peer.next();
    expect(peer.waiting).toBe(0);
    first.socket.write(honestReply(first));
    await answer();
    expect((await Promise.all(both)).map(wordsOf)).toEqual([
      [100, 101],
      [200, 201],
    ]);
  });

  test('matches replies in reverse order and in one segment where several may be outstanding', async () => {
    await bus[Symbol.asyncDispose]();
    bus = open('mbap', 3);
    const three = [read(100), read(200), read(300)];
    const requests = [await peer.next(), await peer.next(), await peer.next()];
    requests[0]!.socket.write(Buffer.concat(requests.reverse().map(honestReply)));
    expect((await Promise.all(three)).map(wordsOf)).toEqual([
      [100, 101],
      [200, 201],
      [300, 301],
    ]);
  });

  test.each([1, 2, 3, 4, 6, 10, 11])('exception %i is an answer: the connection stays', async (code) => {
    const reading = read(100);
    const request = await peer.next();
    request.socket.write(mbap(request.transactionId, 1, Buffer.from([0x83, code])));
    expect(failureOf(await reading)).toMatchObject({ exceptionCode: code });
    const next = read(200);
    expect(await answer()).toBe(0);
    expect(wordsOf(await next)).toEqual([200, 201]);
    expect(bus.counters).toMatchObject({ exceptions: 1, poisoned: 0, connects: 1 });
  });

  test.each([
    ['another unit', (id: number) => mbap(id, 2, readPdu(3, [1, 2])), 'unit 2 instead of 1'],
    ['another function', (id: number) => mbap(id, 1, readPdu(4, [1, 2])), 'function 4'],
    ['fewer registers', (id: number) => mbap(id, 1, readPdu(3, [1])), 'bytes instead of'],
    ['protocol id 1', (id: number) => mbap(id, 1, readPdu(3, [1, 2]), 1), 'protocol id 1'],
    ['junk', () => Buffer.from('deadbeef', 'hex'), 'protocol id'],
    ['a frame that claims 60,000 bytes', () => Buffer.from('00010000ea6001', 'hex'), 'length of 60000'],
  ])('a reply with %s fails and costs the connection', async (_, bytes, message) => {
    const reading = read(100);
    const request = await peer.next();
    request.socket.write(bytes(request.transactionId));
    expect(failureOf(await reading)).toMatchObject({
      kind: 'malformed',
      message: expect.stringContaining(message),
    });
    expect(bus.counters.poisoned).toBe(1);
    await recovers();
    expect(bus.counters.connects).toBe(2);
  });

  test('a reply with another transaction id is nobody’s; the request times out', async () => {
    const reading = read(100);
    const request = await peer.next();
    request.socket.write(mbap(request.transactionId ^ 0x5555, 1, readPdu(3, [1, 2])));
    request.socket.write(mbap(request.transactionId ^ 0x5555, 1, readPdu(3, [1, 2])));
    await clock.advance(TIMEOUT_MS);
    expect(failureOf(await reading)).toMatchObject({ kind: 'timeout' });
  });

  test('a duplicate reply is ignored', async () => {
    const reading = read(100);
    const request = await peer.next();
    request.socket.write(Buffer.concat([honestReply(request), honestReply(request)]));
    expect(wordsOf(await reading)).toEqual([100, 101]);
    const next = read(200);
    await answer();
    expect(wordsOf(await next)).toEqual([200, 201]);
    expect(bus.counters.strayFrames).toBe(1);
  });

  test('after a late reply every one of thirty polls gets its own answer', async () => {
    const late = read(100);
    const first = await peer.next();
    await clock.advance(TIMEOUT_MS);
    expect(failureOf(await late)).toMatchObject({ kind: 'timeout' });
    first.socket.write(honestReply(first));
    for (let poll = 0; poll < 30; poll += 1) {
      const reading = read(200 + 2 * poll);
      expect(await answer()).toBe(0);
      expect(wordsOf(await reading)).toEqual([200 + 2 * poll, 201 + 2 * poll]);
    }
    expect(bus.counters).toMatchObject({ lateReplies: 1, timeouts: 1, connects: 1 });
  });

  test('three timeouts in a row cost the connection, two do not', async () => {
    for (let poll = 0; poll < 3; poll += 1) {
      const reading = read(100);
      expect((await peer.next()).connection).toBe(0);
      await clock.advance(TIMEOUT_MS);
      expect(failureOf(await reading)).toMatchObject({ kind: 'timeout' });
    }
    await recovers();
    expect(bus.counters.connects).toBe(2);
  });

  test('a request that gets no turn before its deadline was never sent', async () => {
    const first = read(100);
    const second = read(200, 2, 1, 100);
    const request = await peer.next();
    await clock.advance(100);
    expect(failureOf(await second)).toMatchObject({ kind: 'busy' });
    request.socket.write(honestReply(request));
    expect(wordsOf(await first)).toEqual([100, 101]);
    expect(peer.waiting).toBe(0);
  });

  test('a deadline that is nearer than the reply timeout bounds the wait', async () => {
    const reading = read(100, 2, 1, 40);
    await peer.next();
    await clock.advance(40);
    expect(failureOf(await reading)).toMatchObject({
      kind: 'timeout',
      message: expect.stringContaining('40 ms'),
    });
  });

  test('the queue has an end', async () => {
    const many = Array.from({ length: 80 }, (_, index) => read(index * 2));
    await peer.next();
    await clock.advance(TIMEOUT_MS);
    await bus[Symbol.asyncDispose]();
    const kinds = (await Promise.all(many)).map((result) => failureOf(result)?.kind);
    expect(kinds.filter((kind) => kind === 'busy').length).toBeGreaterThanOrEqual(15);
    expect(kinds.every((kind) => kind === 'busy' || kind === 'timeout' || kind === 'cancelled')).toBe(true);
  });

  test('a peer that closes while a request waits fails it at once', async () => {
    const reading = read(100);
    (await peer.next()).socket.end();
    expect(failureOf(await reading)).toMatchObject({ kind: 'unreachable' });
    await recovers();
  });

  test('a peer that resets while a request waits fails it at once', async () => {
    const reading = read(100);
    (await peer.next()).socket.resetAndDestroy();
    expect(failureOf(await reading)).toMatchObject({ kind: 'unreachable' });
    await recovers();
  });

  test('closing settles everything that waits', async () => {
    const all = [read(100), read(200), read(300)];
    await peer.next();
    await bus[Symbol.asyncDispose]();
    expect((await Promise.all(all)).map((result) => failureOf(result)?.kind)).toEqual([
      'cancelled',
      'cancelled',
      'cancelled',
    ]);
    expect(failureOf(await read(400))).toMatchObject({ kind: 'cancelled' });
  });

  test('an abort settles at once, queued or sent, and the next request is answered', async () => {
    const controller = new AbortController();
    const request: ReadRequest = { kind: 'read', functionCode: 3, address: 100, count: 2 };
    const sent = bus.exchange(1, request, 10_000, controller.signal);
    const queued = bus.exchange(1, request, 10_000, controller.signal);
    const first = await peer.next();
    controller.abort();
    expect(failureOf(await sent)).toMatchObject({ kind: 'cancelled' });
    expect(failureOf(await queued)).toMatchObject({ kind: 'cancelled' });
    first.socket.write(honestReply(first));
    const next = read(200);
    await answer();
    expect(wordsOf(await next)).toEqual([200, 201]);
  });

  test('endless frames that nobody asked for cost the connection', async () => {
    const reading = read(100);
    const request = await peer.next();
    const stray = mbap(request.transactionId ^ 0x00ff, 1, readPdu(3, [7, 7]));
    request.socket.write(Buffer.concat(new Array<Buffer>(40).fill(stray)));
    expect(failureOf(await reading)).toMatchObject({ kind: 'malformed' });
    await recovers();
  });

  test('one reading in the middle of request and reply is timed on the monotonic clock', async () => {
    await clock.advance(1000);
    const reading = read(100);
    const request = await peer.next();
    await clock.advance(30);
    request.socket.write(honestReply(request));
    const result = await reading;
    expect(result.ok && [result.value.requestedAt, result.value.repliedAt]).toEqual([1000, 1030]);
  });
});

describe('a path that cannot be connected', () => {
  test('fails at once, then waits longer and longer before the next attempt', async () => {
    const free = createServer();
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve));
    const { port } = free.address() as AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    let attempts = 0;
    const inner = tcpPath('127.0.0.1', port, 1000, clock);
    const connect: typeof inner = (signal) => {
      attempts += 1;
      return inner(signal);
    };
    const refused = openBus(
      { name: 'gone', framing: 'mbap', connect, responseTimeoutMs: 100 },
      { clock, random: () => 0.5 },
    );
    const ask = () =>
      refused.exchange(
        1,
        { kind: 'read', functionCode: 3, address: 0, count: 1 },
        clock.monotonicMs() + 10,
        never,
      );
    expect(failureOf(await ask())).toMatchObject({ kind: 'unreachable' });
    const gaps: number[] = [];
    let since = clock.monotonicMs();
    while (gaps.length < 6) {
      const before = attempts;
      await ask();
      if (attempts > before) {
        gaps.push(clock.monotonicMs() - since);
        since = clock.monotonicMs();
      }
      await clock.advance(10);
    }
    expect(gaps).toEqual([100, 200, 500, 1000, 2000, 2000]);
    await refused[Symbol.asyncDispose]();
  });
});

describe('units behind one gateway', () => {
  test('a silent unit is left alone for a while; its neighbour keeps its pace', async () => {
    const warm = read(100, 2, 2);
    await answer();
    await warm;
    const dead = read(100, 2, 1);
    const asked = await peer.next();
    asked.socket.write(mbap(asked.transactionId, 1, Buffer.from([0x83, 11])));
    expect(failureOf(await dead)).toMatchObject({ kind: 'timeout', exceptionCode: 11 });
    for (let poll = 0; poll < 5; poll += 1) {
      expect(failureOf(await read(100, 2, 1))).toMatchObject({ kind: 'unreachable' });
      const alive = read(300, 2, 2);
      await answer();
      expect(wordsOf(await alive)).toEqual([300, 301]);
    }
    await clock.advance(250);
    const again = read(100, 2, 1);
    await answer();
    expect(wordsOf(await again)).toEqual([100, 101]);
  });
});

describe('an RTU path over TCP', () => {
  const rtuReply = (unit: number, words: readonly number[]) => encodeRtu(unit, readPdu(3, words));

  beforeEach(async () => {
    await bus[Symbol.asyncDispose]();
    await peer.close();
    peer = await modbusPeer('rtu');
    bus = open('rtu');
  });

  test('frames by length from the function code, whatever the segments', async () => {
    const reading = read(100);
    const request = await peer.next();
    for (const byte of rtuReply(1, [100, 101])) request.socket.write(Buffer.from([byte]));
    expect(wordsOf(await reading)).toEqual([100, 101]);
  });

  test('a late reply never becomes the answer to the next request', async () => {
    const late = read(100);
    const first = await peer.next();
    await clock.advance(TIMEOUT_MS);
    expect(failureOf(await late)).toMatchObject({ kind: 'timeout' });
    first.socket.write(rtuReply(1, [100, 101]));
    for (let poll = 0; poll < 16; poll += 1) {
      const reading = read(200 + 2 * poll);
      if (poll === 0) {
        await clock.advance(125);
        await expect.poll(() => bus.counters.connects).toBe(2);
        await clock.advance(TIMEOUT_MS);
      }
      // Two requests of one length for different registers are kept apart by a short silence.
      if (poll > 0) await clock.advance(TIMEOUT_MS);
      const request = await peer.next();
      expect(request.connection).toBe(1);
      request.socket.write(rtuReply(1, [request.address, request.address + 1]));
      expect(wordsOf(await reading)).toEqual([200 + 2 * poll, 201 + 2 * poll]);
    }
  });

  test('after a timeout the fresh path only listens for one timeout: what it brings is dropped', async () => {
    const late = read(100);
    await peer.next();
    await clock.advance(TIMEOUT_MS);
    await late;
    const reading = read(200);
    // Longest first step of the back-off, then the connection is open and the listening begins.
    await clock.advance(125);
    await expect.poll(() => bus.counters.connects).toBe(2);
    expect(peer.waiting).toBe(0);
    await clock.advance(TIMEOUT_MS);
    const request = await peer.next();
    expect(request.connection).toBe(1);
    request.socket.write(rtuReply(1, [200, 201]));
    expect(wordsOf(await reading)).toEqual([200, 201]);
  });

  test.each([
    ['a wrong check sum', Buffer.from('0103040064006500ff', 'hex'), 'check sum'],
    ['another unit', rtuReply(2, [1, 2]), 'unit 2'],
    ['another length', rtuReply(1, [1, 2, 3]), 'byte count'],
    ['bytes behind it', Buffer.concat([rtuReply(1, [1, 2]), Buffer.from([0])]), 'after the reply'],
    ['a Modbus TCP head', Buffer.from('00010000000701030400640065', 'hex'), 'unit 0'],
  ])('a reply with %s fails and costs the connection', async (_, bytes, message) => {
    const reading = read(100);
    (await peer.next()).socket.write(bytes);
    expect(failureOf(await reading)).toMatchObject({
      kind: 'malformed',
      message: expect.stringContaining(message),
    });
    expect(bus.counters.poisoned).toBe(1);
  });

  test('consecutive reads of one length differ on the wire where a spare register is known', async () => {
    const request = { kind: 'read', functionCode: 3, address: 100, count: 2, spareCount: 2 } as const;
    const counts: number[] = [];
    for (let poll = 0; poll < 4; poll += 1) {
      const reading = bus.exchange(1, request, clock.monotonicMs() + 1000, never);
      const asked = await peer.next();
      counts.push(asked.count);
      const words = Array.from({ length: asked.count }, (_, index) => 100 + index);
      asked.socket.write(rtuReply(1, words));
      expect(wordsOf(await reading)).toEqual([100, 101]);
    }
    expect(counts).toEqual([2, 4, 2, 4]);
  });

  test('units that cannot answer on a serial line are refused', async () => {
    expect(failureOf(await read(100, 2, 0))).toMatchObject({ kind: 'unsupported' });
    expect(failureOf(await read(100, 2, 255))).toMatchObject({ kind: 'unsupported' });
  });
});
