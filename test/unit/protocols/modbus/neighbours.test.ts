import { describe, expect, test } from 'vitest';
import { openMeter } from '../../../../drivers/modbus-meter.ts';
import { openBus } from '../../../../protocols/modbus/bus.ts';
import { BusPool } from '../../../../protocols/modbus/bus-pool.ts';
import type { ConnectPath } from '../../../../protocols/modbus/connect.ts';
import { serialFailure, serialPath, tcpPath } from '../../../../protocols/modbus/connect.ts';
import { seededRandom } from '../../../../protocols/random.ts';
import { fail } from '../../../../protocols/result.ts';
import { serveMeter } from '../../../../simulator/meter.ts';
import { FaultLine, LINE_KINDS } from '../../../support/fault-line.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const never = new AbortController().signal;
const TIMEOUT_MS = 400;
const REPLY_MS = 20;
const PACE_MS = 200;

describe.each(LINE_KINDS)('a dead unit behind a gateway over %s', (kind) => {
  /** Polls three units for a minute; unit 1 may be dead. */
  async function poll(isDead: boolean, answersDead?: 11) {
    const clock = new VirtualClock();
    const asked: { unit: number; at: number }[] = [];
    const line = new FaultLine(kind, clock, (request) => {
      asked.push({ unit: request.unit, at: clock.monotonicMs() });
      if (request.unit !== 1 || !isDead) request.send(request.reply(), REPLY_MS);
      else if (answersDead !== undefined) request.send(request.exception(answersDead), REPLY_MS);
    });
    const bus = openBus(
      { name: 'gateway', framing: line.framing, connect: line.connect, responseTimeoutMs: TIMEOUT_MS },
      { clock, random: seededRandom(1) },
    );
    const good: Record<number, number[]> = { 1: [], 2: [], 3: [] };
    const stop = new AbortController();
    const pollUnit = async (unit: number) => {
      while (!stop.signal.aborted) {
        const startedAt = clock.monotonicMs();
        const request = {
          kind: 'read',
          functionCode: 3,
          address: 10 * unit,
          count: unit,
          spareCount: 0,
        } as const;
        const result = await bus.exchange(unit, request, startedAt + 5000, never);
        if (result.ok) good[unit]!.push(clock.monotonicMs());
        await clock.sleep(Math.max(1, startedAt + PACE_MS - clock.monotonicMs()), stop.signal);
      }
    };
    const polling = [1, 2, 3].map(pollUnit);
    await clock.advance(60_000);
    stop.abort();
    await bus[Symbol.asyncDispose]();
    await Promise.all(polling);
    const gaps = (unit: number) => good[unit]!.map((at, index) => at - (good[unit]![index - 1] ?? 0));
    const tries = asked.filter(({ unit }) => unit === 1).map(({ at }) => at);
    return { good, gaps, tries };
  }

  test('costs its neighbours at most one time-out per step, and the steps grow', async () => {
    const { good, gaps, tries } = await poll(true);
    const healthy = await poll(false);
    // Once a second at most in the beginning, then every five.
    expect(tries.length).toBeLessThan(20);
    const steps = tries.slice(1).map((at, index) => at - tries[index]!);
    expect(steps.at(-1)).toBeGreaterThanOrEqual(5000);
    expect(good[1]).toEqual([]);
    for (const unit of [2, 3]) {
      // The very first try of a unit that was never silent before costs a time-out and the silence after it on RTU.
      const first = kind === 'modbus-tcp' ? 1 : 2;
      const reconnectMs = kind === 'modbus-tcp' ? 0 : 130;
      const later = gaps(unit).slice(2);
      expect(Math.max(...gaps(unit))).toBeLessThanOrEqual(
        first * TIMEOUT_MS + PACE_MS + 2 * REPLY_MS + reconnectMs,
      );
      expect(Math.max(...later)).toBeLessThanOrEqual(TIMEOUT_MS + PACE_MS + 2 * REPLY_MS + reconnectMs);
      const lost = healthy.good[unit]!.length - good[unit]!.length;
      const perTry = Math.ceil((TIMEOUT_MS + reconnectMs) / PACE_MS) + 1;
      expect(lost).toBeLessThanOrEqual(tries.length * perTry);
    }
  });

  test('of which the gateway says so (exception 11) costs them nothing but the question', async () => {
    const { good, gaps } = await poll(true, 11);
    const healthy = await poll(false);
    for (const unit of [2, 3]) {
      expect(Math.max(...gaps(unit))).toBeLessThanOrEqual(PACE_MS + 3 * REPLY_MS);
      expect(good[unit]!.length).toBeGreaterThanOrEqual(healthy.good[unit]!.length - 3);
    }
  });
});

describe('a dead TCP meter', () => {
  test.each(['refuses', 'never answers a connection', 'accepts and is silent'])(
    'that %s costs the others nothing',
    async (how) => {
      const clock = new VirtualClock();
      const server = await serveMeter({
        profile: 'eastron-sdm630',
        host: '127.0.0.1',
        port: 0,
        unit: 1,
        readings: () => ({ powerWatts: 5000 }),
        clock,
        random: seededRandom(1),
      });
      const silent = new FaultLine('modbus-tcp', clock, () => undefined);
      const dead: ConnectPath = (signal) => {
        if (how === 'refuses') return Promise.resolve(fail('unreachable', 'refused'));
        if (how === 'accepts and is silent') return silent.connect(signal);
        return clock.sleep(3000, signal).then(() => fail('timeout', 'no connection'));
      };
      const { host, port } = server.address;
      const buses = new BusPool({
        clock,
        random: seededRandom(2),
        pathTo: (transport) =>
          transport.kind !== 'rtu' && transport.host === 'dead' ? dead : tcpPath(host, port, 1000, clock),
      });
      const meter = (at: string) =>
        openMeter(
          {
            id: at,
            profile: 'eastron-sdm630',
            transport: { kind: 'modbus-tcp', host: at, port: 502, unit: 1 },
          },
          { clock, buses },
        );
      const [alive, gone] = [meter('alive'), meter('dead')];
      // A minute of reads of the dead one, under way all the time.
      let isOver = false;
      const trying = (async () => {
        while (!isOver) {
          expect((await gone.read(never)).ok).toBe(false);
          await clock.sleep(100, never);
        }
      })();
      for (let second = 0; second < 60; second += 1) {
        const before = clock.monotonicMs();
        expect(await alive.read(never)).toMatchObject({ ok: true, value: { quality: 'good' } });
        // Not one tick of its clock passed while it was read.
        expect(clock.monotonicMs()).toBe(before);
        for (let step = 0; step < 10; step += 1) await clock.advance(100);
      }
      isOver = true;
      await buses[Symbol.asyncDispose]();
      await clock.advance(10_000);
      await trying;
      await server.close();
    },
  );
});

describe('a serial device that cannot be opened', () => {
  test.each([
    ['Error: No such file or directory, cannot open /dev/ttyUSB0', 'unreachable', 'does not exist', 'by-id'],
    ['Error: Permission denied, cannot open /dev/ttyUSB0', 'unauthorised', 'may not be opened', 'dialout'],
    ['Error Resource temporarily unavailable Cannot lock port', 'busy', 'another program', 'fuser'],
    ['Error: Device or resource busy, cannot open /dev/ttyUSB0', 'busy', 'another program', 'fuser'],
    ['Error: Inappropriate ioctl for device', 'unsupported', 'no serial device', '/dev/ttyUSB0'],
    ['Error: something else', 'unreachable', 'something else', undefined],
  ] as const)('%s', (reason, kind, message, hint) => {
    const { error } = serialFailure('/dev/ttyUSB0', reason);
    expect(error.kind).toBe(kind);
    expect(error.message).toContain(message);
    if (hint === undefined) expect(error.hint).toBeUndefined();
    else expect(error.hint).toContain(hint);
  });

  test('says so to who reads the meter, with what to do', async () => {
    const clock = new VirtualClock();
    const buses = new BusPool({ clock, random: seededRandom(1) });
    const line = { device: '/dev/does-not-exist', baud: 9600, parity: 'none', stopBits: 1 } as const;
    const opened = await serialPath(line)(never);
    const meter = openMeter(
      { id: 'm', profile: 'eastron-sdm630', transport: { kind: 'rtu', unit: 1, ...line } },
      { clock, buses },
    );
    const result = await meter.read(never);
    expect(result).toMatchObject({ ok: false });
    if (result.ok || opened.ok) return;
    // Where the optional package is missing, that is what is told instead.
    expect(result.error).toMatchObject({ kind: opened.error.kind, hint: opened.error.hint });
    expect(result.error.hint).toBeTruthy();
    await buses[Symbol.asyncDispose]();
  });
});
