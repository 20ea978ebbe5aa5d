import { afterEach, describe, expect, test } from 'vitest';
import type { Bus } from '../../../protocols/modbus/bus.ts';
import { openBus } from '../../../protocols/modbus/bus.ts';
import { tcpPath } from '../../../protocols/modbus/connect.ts';
import { encodeRtu } from '../../../protocols/modbus/framing.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { LINE_KINDS } from '../../support/fault-line.ts';
import type { ModbusPeer, PeerRequest } from '../../support/modbus-peer.ts';
import { honestReply, mbap, modbusPeer, readPdu } from '../../support/modbus-peer.ts';
import { soak } from '../../support/modbus-soak.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const EXCHANGES = 1500;
const never = new AbortController().signal;
let bus: Bus | null = null;
let peer: ModbusPeer | null = null;

afterEach(async () => {
  await bus?.[Symbol.asyncDispose]();
  await peer?.close();
});

/** The honest reply in either framing: register n holds n, so that any mix-up shows in the data. */
function reply(framing: 'mbap' | 'rtu', request: PeerRequest): Buffer {
  if (framing === 'mbap') return honestReply(request);
  const words = Array.from({ length: request.count }, (_, index) => (request.address + index) & 0xffff);
  return encodeRtu(request.unit, readPdu(request.functionCode, words));
}

/** A peer that mostly answers, and otherwise does whatever a bad gateway does. */
function hostile(framing: 'mbap' | 'rtu', random: () => number): (request: PeerRequest) => void {
  let owed: PeerRequest | null = null;
  return (request) => {
    const { socket } = request;
    const dice = random();
    const stale = owed;
    owed = null;
    if (dice < 0.7) socket.write(reply(framing, request));
    else if (dice < 0.76) owed = request;
    else if (dice < 0.8 && stale !== null) socket.write(reply(framing, stale));
    else if (dice < 0.84 && stale !== null)
      socket.write(Buffer.concat([reply(framing, stale), reply(framing, request)]));
    else if (dice < 0.87) socket.write(Buffer.concat([reply(framing, request), reply(framing, request)]));
    else if (dice < 0.9) socket.write(reply(framing, request).subarray(0, 6));
    else if (dice < 0.92) socket.end();
    else if (dice < 0.94) socket.resetAndDestroy();
    else if (dice < 0.96) socket.write(Buffer.from('00ff17a5', 'hex'));
    else if (dice < 0.98) socket.write(mbap(request.transactionId, request.unit ^ 3, readPdu(3, [1, 2])));
    else socket.write(mbap(request.transactionId, request.unit, Buffer.from([0x83, 6])));
  };
}

describe.each(['mbap', 'rtu'] as const)('a soak over %s', (framing) => {
  test.each([1, 2, 3])(
    `${EXCHANGES} exchanges with a hostile peer bring no wrong word (seed %i)`,
    async (seed) => {
      const clock = new VirtualClock();
      const random = seededRandom(seed);
      const soaked = await modbusPeer(framing, hostile(framing, random));
      peer = soaked;
      const connect = tcpPath(soaked.host, soaked.port, 1000, clock);
      bus = openBus({ name: 'soak', framing, connect, responseTimeoutMs: 100 }, { clock, random });
      let good = 0;
      for (let round = 0; round < EXCHANGES; round += 1) {
        const address = Math.floor(random() * 60_000);
        const count = 1 + Math.floor(random() * 3);
        // An RTU reply names no address: only its length tells a late one apart, so a spare register is offered.
        const request = { kind: 'read', functionCode: 3, address, count, spareCount: 1 } as const;
        let isSettled = false;
        const exchange = bus.exchange(1, request, clock.monotonicMs() + 3000, never).finally(() => {
          isSettled = true;
        });
        while (!isSettled) await clock.advance(5);
        const result = await exchange;
        if (!result.ok) continue;
        good += 1;
        const expected = Array.from({ length: count }, (_, index) => (address + index) & 0xffff);
        expect(result.value.words, `seed ${seed}, round ${round}`).toEqual(expected);
      }
      // The peer answers seven times in ten: far fewer would mean that the path does not come back.
      expect(good).toBeGreaterThan(EXCHANGES / 2);
    },
  );
});

// The same with a million requests: `npm run proof -- meters`.
describe.each(LINE_KINDS)('a soak in memory over %s', (kind) => {
  test.each([11, 12])(
    '20000 requests with every known fault bring no wrong value (seed %i)',
    async (seed) => {
      const { requests, good, wrong, unsettled, faults } = await soak(kind, 20_000, seed);
      expect({ wrong, unsettled }).toEqual({ wrong: 0, unsettled: 0 });
      expect(requests).toBeGreaterThanOrEqual(20_000);
      expect(good).toBeGreaterThan(10_000);
      expect(Object.keys(faults)).toHaveLength(15);
    },
  );
});
