import { describe, expect, it } from 'vitest';
import { DeviceStarts, startTogether } from '../../../protocols/start-together.ts';
import { exchangeOverTcp } from '../../../protocols/tcp-exchange.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

describe('exchanges that begin together', () => {
  it('wait for one moment, and the next ones for the next', async () => {
    const clock = new VirtualClock();
    const starts = startTogether(clock, 10);
    const begun: string[] = [];
    starts.enter(() => begun.push(`a ${clock.monotonicMs()}`));
    await clock.advance(4);
    starts.enter(() => begun.push(`b ${clock.monotonicMs()}`));
    await clock.advance(5);
    expect(begun).toEqual([]);
    await clock.advance(1);
    expect(begun).toEqual(['a 10', 'b 10']);
    starts.enter(() => begun.push(`c ${clock.monotonicMs()}`));
    await clock.advance(10);
    expect(begun).toEqual(['a 10', 'b 10', 'c 20']);
  });

  it('a device with a command under way waits for nobody', async () => {
    const starts = new DeviceStarts(startTogether(new VirtualClock(), 10));
    let begun = 0;
    starts.enter(() => begun++);
    expect(begun).toBe(0);
    starts.hurried = true;
    starts.enter(() => begun++);
    expect(begun).toBe(1);
  });

  it('one that is given up while it waits never connects', async () => {
    const clock = new VirtualClock();
    const starts = startTogether(clock, 10);
    const controller = new AbortController();
    const limits = { connectMs: 1000, idleMs: 1000, totalMs: 1000, maximumBytes: 100 };
    const connect = () => {
      throw new Error('connected');
    };
    const exchange = { host: '127.0.0.1', port: 1, request: Buffer.from('x'), limits, connect, starts };
    const answer = exchangeOverTcp(exchange, clock, controller.signal);
    controller.abort();
    expect(await answer).toMatchObject({ ok: false, error: { kind: 'cancelled', connected: false } });
    await clock.advance(20);
  });
});
