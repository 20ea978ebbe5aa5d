import type { Bus, BusRequest } from '../../protocols/modbus/bus.ts';
import { openBus } from '../../protocols/modbus/bus.ts';
import { seededRandom } from '../../protocols/random.ts';
import type { LineKind, LineRequest } from './fault-line.ts';
import { FaultLine } from './fault-line.ts';
import { VirtualClock } from './virtual-clock.ts';

/** What a soak found. A `wrong` answer is data of other registers than were asked for, given out as good. */
export interface SoakVerdict {
  /** Requests that reached the peer. */
  readonly requests: number;
  readonly good: number;
  readonly failed: number;
  readonly wrong: number;
  readonly unsettled: number;
  /** How often each fault was played. */
  readonly faults: Readonly<Record<string, number>>;
}

const TIMEOUT_MS = 100;
const EXCEPTIONS = [1, 2, 3, 4, 5, 6, 8, 10, 11] as const;
const never = new AbortController().signal;

/** A reply that the peer keeps back, and until when it may still send it. */
interface Held {
  readonly request: LineRequest;
  readonly until: number;
}

type Fault = (request: LineRequest, random: () => number, held: Held[], now: number) => void;

/**
 * How late a stale reply may be, counted from its request. Beyond two and a half times the time allowed, a stale
 * RTU reply of the right unit, function and length has no mark at all: no reader can know it.
 */
const STALE_MOST_MS = 2.45 * TIMEOUT_MS;

const later = (random: () => number, most: number) => 1 + Math.floor(random() * most);

/** Everything that a line, a gateway or a meter is known to do. Sources: facts 1.2, 1.3; the fault table test. */
const FAULTS: Readonly<Record<string, Fault>> = {
  late: (request, random) => {
    request.send(request.reply(), TIMEOUT_MS + later(random, STALE_MOST_MS - TIMEOUT_MS));
  },
  duplicated: (request, random) => {
    request.send(request.reply());
    request.send(request.reply(), random() < 0.5 ? 0 : later(random, 8));
  },
  reordered: (request, _random, held, now) => held.push({ request, until: now + STALE_MOST_MS }),
  cut: (request, random) => {
    const bytes = request.reply();
    request.send(bytes.subarray(0, 1 + Math.floor(random() * (bytes.length - 1))));
  },
  merged: (request, _random, held, now) => {
    const parts = [...release(held, now).map((owed) => owed.reply()), request.reply()];
    request.send(Buffer.concat(parts));
  },
  junk: (request, random) => {
    const size = 1 + Math.floor(random() * 12);
    const junk = Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)));
    request.send(random() < 0.5 ? junk : Buffer.concat([junk, request.reply()]));
  },
  wrongTransaction: (request) =>
    request.send(request.reply({ transactionId: request.transactionId ^ 0x4000 })),
  wrongUnit: (request, random) =>
    request.send(request.reply({ unit: 1 + ((request.unit + Math.floor(random() * 200)) % 247) })),
  wrongFunction: (request) =>
    request.send(
      request.reply({ functionCode: request.functionCode === 3 ? 4 : 3, words: [0xdead, 0xbeef] }),
    ),
  wrongLength: (request, random) => {
    const size = Math.max(1, request.count + (random() < 0.5 ? -1 : 1));
    const words = new Array<number>(size).fill(0xbad);
    if (size !== request.count) request.send(request.reply({ words }));
  },
  wrongCheckSum: (request, random) => {
    // One flipped bit: on RTU the check sum catches it, on TCP the network does, so there it hits the head behind the id.
    const bytes = Buffer.from(request.reply());
    const isRtu = request.transactionId === 0;
    const bit = isRtu ? Math.floor(random() * bytes.length * 8) : 16 + Math.floor(random() * 5 * 8);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    request.send(bytes);
  },
  exception: (request, random) =>
    request.send(request.exception(EXCEPTIONS[Math.floor(random() * EXCEPTIONS.length)]!)),
  close: (request) => request.close(),
  replyAndClose: (request) => {
    request.send(request.reply());
    request.close();
  },
  silence: () => undefined,
};
const FAULT_NAMES = Object.keys(FAULTS);

/** How many requests of a soak meet a fault. */
const FAULT_SHARE = 0.15;

/**
 * Has `requests` reads of random blocks reach four units over one line whose peer misbehaves at random, in virtual
 * time, and holds every answer against the address that its data encode. Some ask for a spare register, some not;
 * some are given up half way.
 */
export async function soak(kind: LineKind, requests: number, seed: number): Promise<SoakVerdict> {
  const clock = new VirtualClock();
  const random = seededRandom(seed);
  const played: Record<string, number> = {};
  const held: Held[] = [];
  let reached = 0;
  const line = new FaultLine(kind, clock, (request) => {
    reached += 1;
    const now = clock.monotonicMs();
    const owed = held.length > 0 && random() < 0.5 ? release(held, now) : [];
    if (random() >= FAULT_SHARE) request.send(request.reply(), later(random, 8));
    else {
      const name = FAULT_NAMES[Math.floor(random() * FAULT_NAMES.length)]!;
      played[name] = (played[name] ?? 0) + 1;
      FAULTS[name]!(request, random, held, now);
    }
    for (const stale of owed) stale.send(stale.reply());
  });
  const inFlightMost = kind === 'modbus-tcp' ? 4 : 1;
  const bus: Bus = openBus(
    {
      name: 'soak',
      framing: line.framing,
      connect: line.connect,
      responseTimeoutMs: TIMEOUT_MS,
      inFlightMost,
    },
    { clock, random },
  );
  const verdict = { good: 0, failed: 0, wrong: 0, unsettled: 0 };
  let pending = 0;
  const ask = async () => {
    const address = Math.floor(random() * 60_000);
    const count = 1 + Math.floor(random() * 3);
    const functionCode = random() < 0.5 ? 3 : 4;
    const request: BusRequest = { kind: 'read', functionCode, address, count };
    const told = random() < 0.5 ? { ...request, spareCount: 1 } : request;
    const unit = 1 + Math.floor(random() * 4);
    const givesUp = random() < 0.01 ? new AbortController() : null;
    if (givesUp !== null) clock.after(later(random, 50), () => givesUp.abort());
    const result = await bus.exchange(unit, told, clock.monotonicMs() + 600, givesUp?.signal ?? never);
    if (!result.ok) {
      verdict.failed += 1;
      // As a poller would: not at once again.
      await clock.sleep(20, never);
    } else if (isOwn(result.value.words, address, count)) verdict.good += 1;
    else verdict.wrong += 1;
  };
  while (reached < requests) {
    while (pending < 6) {
      pending += 1;
      void ask().finally(() => {
        pending -= 1;
      });
    }
    await clock.advance(7);
  }
  await clock.advance(2000);
  verdict.unsettled = pending;
  await bus[Symbol.asyncDispose]();
  return { requests: reached, ...verdict, faults: played };
}

function release(held: Held[], now: number): LineRequest[] {
  return held
    .splice(0)
    .filter(({ until }) => until > now)
    .map(({ request }) => request);
}

function isOwn(words: readonly number[], address: number, count: number): boolean {
  return words.length === count && words.every((word, index) => word === ((address + index) & 0xffff));
}
