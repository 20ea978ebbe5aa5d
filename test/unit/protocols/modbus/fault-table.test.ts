import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../../../protocols/modbus/bus.ts';
import { openBus } from '../../../../protocols/modbus/bus.ts';
import { seededRandom } from '../../../../protocols/random.ts';
import type { LineKind, LineRequest } from '../../../support/fault-line.ts';
import { FaultLine, LINE_KINDS } from '../../../support/fault-line.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

/**
 * The faults by which the npm packages for Modbus were measured (`Source: facts on Modbus packages, tables 1.2 and
 * 1.3`), each on all three transports. Register n holds n, so an answer to another request is seen at once.
 */
const TIMEOUT_MS = 150;
const never = new AbortController().signal;
let clock: VirtualClock;
let bus: Bus;
let line: FaultLine;
let asked: LineRequest[];

function open(kind: LineKind, peer: (request: LineRequest, index: number) => void, inFlightMost = 1): void {
  clock = new VirtualClock();
  asked = [];
  line = new FaultLine(kind, clock, (request) => {
    asked.push(request);
    peer(request, asked.length - 1);
  });
  const { framing, connect } = line;
  bus = openBus(
    { name: 'line', framing, connect, responseTimeoutMs: TIMEOUT_MS, inFlightMost },
    { clock, random: seededRandom(1) },
  );
}

async function read(
  address: number,
  { count = 2, unit = 1, withinMs = 4000, functionCode = 3 as 3 | 4 } = {},
) {
  const request = { kind: 'read', functionCode, address, count } as const;
  const result = await bus.exchange(unit, request, clock.monotonicMs() + withinMs, never);
  return result.ok ? result.value.words : result.error;
}

/** Lets virtual time run until the promise settles. */
async function during<T>(promise: Promise<T>): Promise<T> {
  let isSettled = false;
  const done = promise.finally(() => {
    isSettled = true;
  });
  while (!isSettled) await clock.advance(5);
  return done;
}

const own = (address: number, count = 2) => Array.from({ length: count }, (_, index) => address + index);

/** The next reads, each of other registers, all bring their own data: the path is as good as new. */
async function recovers(polls = 30): Promise<void> {
  const from = asked.length;
  for (let poll = 0; poll < polls; poll += 1) {
    const address = 2000 + 10 * poll;
    expect(await during(read(address))).toEqual(own(address));
  }
  expect(asked.length - from).toBe(polls);
}

beforeEach(() => open('modbus-tcp', () => undefined));
afterEach(() => bus[Symbol.asyncDispose]());

/** A first reply that must fail, by transport; `null`: it cannot happen there. */
const BAD_REPLIES: [string, (request: LineRequest) => Buffer, Record<LineKind, string | null>][] = [
  [
    'with another unit',
    (request) => request.reply({ unit: 2 }),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'with another function code',
    (request) => request.reply({ functionCode: 4 }),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'with fewer registers than asked',
    (request) => request.reply({ words: [1] }),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'with more registers than asked',
    (request) => request.reply({ words: [1, 2, 3] }),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'with another transaction id',
    (request) => request.reply({ transactionId: request.transactionId ^ 0x1111, words: [1, 2] }),
    { 'modbus-tcp': 'timeout', 'rtu-over-tcp': null, serial: null },
  ],
  [
    'with a protocol id that is not 0',
    (request) => request.reply({ protocolId: 1 }),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': null, serial: null },
  ],
  [
    'that is four bytes of junk',
    () => Buffer.from('deadbeef', 'hex'),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'behind four bytes of junk',
    (request) => Buffer.concat([Buffer.from('deadbeef', 'hex'), request.reply()]),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'with a wrong check sum',
    (request) => {
      const bytes = Buffer.from(request.reply());
      bytes[bytes.length - 1]! ^= 0x40;
      return bytes;
    },
    { 'modbus-tcp': null, 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'for the other framing',
    (request) =>
      request.transactionId === 0
        ? Buffer.from('000100000007010304006400650000', 'hex')
        : Buffer.from('01030400640065ca3c', 'hex'),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'to a function that reads and writes (23)',
    (request) => request.reply({ functionCode: 23 }),
    { 'modbus-tcp': 'malformed', 'rtu-over-tcp': 'malformed', serial: 'malformed' },
  ],
  [
    'cut short',
    (request) => request.reply().subarray(0, 6),
    { 'modbus-tcp': 'timeout', 'rtu-over-tcp': 'timeout', serial: 'timeout' },
  ],
  [
    'that never comes',
    () => Buffer.alloc(0),
    { 'modbus-tcp': 'timeout', 'rtu-over-tcp': 'timeout', serial: 'timeout' },
  ],
];

describe.each(LINE_KINDS)('the fault table over %s', (kind) => {
  test.each(BAD_REPLIES)(
    'a reply %s is no reading, and thirty reads after it are right',
    async (_, bytes, kinds) => {
      const expected = kinds[kind];
      if (expected === null) return;
      open(kind, (request, index) => request.send(index === 0 ? bytes(request) : request.reply()));
      expect(await during(read(100))).toMatchObject({ kind: expected, exceptionCode: null });
      await recovers();
    },
  );

  test.each([1, 2, 3, 4, 5, 6, 8, 10, 11])(
    'exception %i is an answer with its code, and the connection stays',
    async (code) => {
      open(kind, (request, index) => request.send(index === 0 ? request.exception(code) : request.reply()));
      expect(await during(read(100))).toMatchObject({ exceptionCode: code });
      await recovers();
      expect(line.connections).toBe(1);
    },
  );

  test('a reply byte by byte is whole', async () => {
    open(kind, (request) => {
      for (const byte of request.reply()) request.send(Buffer.from([byte]));
    });
    expect(await during(read(100))).toEqual(own(100));
    await recovers();
  });

  test('a reply in two segments is whole', async () => {
    open(kind, (request) => {
      const bytes = request.reply();
      request.send(bytes.subarray(0, 5));
      request.send(bytes.subarray(5), 20);
    });
    expect(await during(read(100))).toEqual(own(100));
  });

  test('three reads at once each get their own data', async () => {
    open(kind, (request) => request.send(request.reply(), 5), 3);
    expect(await during(Promise.all([read(100), read(200), read(300)]))).toEqual([
      own(100),
      own(200),
      own(300),
    ]);
  });

  test('three replies in one segment, in reverse order, bring no foreign data', async () => {
    const owed: LineRequest[] = [];
    open(
      kind,
      (request) => {
        owed.push(request);
        // On RTU the second request comes only when the first is over, so the replies stay away.
        if (owed.length === 3) request.send(Buffer.concat(owed.reverse().map((one) => one.reply())));
      },
      3,
    );
    const answers = await during(Promise.all([read(100), read(200), read(300)]));
    if (kind === 'modbus-tcp') expect(answers).toEqual([own(100), own(200), own(300)]);
    else for (const answer of answers) expect(answer).not.toBeInstanceOf(Array);
  });

  test('a duplicate reply is never the answer to the next request', async () => {
    open(kind, (request, index) => {
      request.send(request.reply(), 10);
      if (index === 0) request.send(request.reply(), 14);
    });
    expect(await during(read(100))).toEqual(own(100));
    const next = await during(read(200));
    if (!Array.isArray(next)) expect(next).toMatchObject({ kind: 'malformed' });
    else expect(next).toEqual(own(200));
    await recovers();
  });

  test.each([50, 150, 200])(
    'one reply comes %i ms after its time; thirty reads after it are right',
    async (late) => {
      open(kind, (request, index) => request.send(request.reply(), index === 0 ? TIMEOUT_MS + late : 40));
      expect(await during(read(100))).toMatchObject({ kind: 'timeout' });
      const right = [];
      for (let poll = 0; poll < 30; poll += 1) right.push(await during(read(200 + 2 * poll)));
      for (const [poll, words] of right.entries()) expect(words).toEqual(own(200 + 2 * poll));
    },
  );

  test('a slave that is always later than its time gives no reading at all', async () => {
    open(kind, (request) => request.send(request.reply(), TIMEOUT_MS + 60));
    for (let poll = 0; poll < 16; poll += 1) {
      expect(await during(read(200 + 2 * poll))).not.toBeInstanceOf(Array);
    }
  });

  test('a peer that closes while a read waits fails it at once, and the next connection works', async () => {
    open(kind, (request, index) => (index === 0 ? request.close() : request.send(request.reply())));
    const before = clock.monotonicMs();
    expect(await read(100)).toMatchObject({ kind: 'unreachable' });
    expect(clock.monotonicMs()).toBe(before);
    await recovers();
    expect(line.connections).toBe(2);
  });

  test('closing from this side settles everything that waits', async () => {
    open(kind, () => undefined);
    const all = Promise.all([read(100), read(200), read(300)]);
    await clock.advance(1);
    await bus[Symbol.asyncDispose]();
    expect(await all).toMatchObject([{ kind: 'cancelled' }, { kind: 'cancelled' }, { kind: 'cancelled' }]);
  });

  test('three hundred reads of sixty registers are all right', async () => {
    open(kind, (request) => request.send(request.reply()));
    for (let poll = 0; poll < 300; poll += 1) {
      expect(await during(read(100 * (poll % 7), { count: 60 }))).toEqual(own(100 * (poll % 7), 60));
    }
    expect(line.connections).toBe(1);
    expect(bus.counters).toMatchObject({ replies: 300, timeouts: 0, poisoned: 0 });
  });

  test('a half reply is not filled up with the reply that follows it', async () => {
    // 60 registers, the last 40 of which get lost; a stale reply and a fresh one come after it.
    open(
      kind,
      (request, index) => {
        if (index === 0) request.send(request.reply().subarray(0, 49));
        else request.send(request.reply());
      },
      2,
    );
    const [first, second] = await during(
      Promise.all([read(100, { count: 60 }), read(500, { count: 60 }), read(900, { count: 20 })]),
    );
    expect(first).not.toBeInstanceOf(Array);
    if (Array.isArray(second)) expect(second).toEqual(own(500, 60));
    await clock.advance(1000);
    await recovers();
  });
});
