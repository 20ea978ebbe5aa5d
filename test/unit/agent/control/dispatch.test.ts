import { describe, expect, it } from 'vitest';
import type { Command } from '../../../../agent/control/decision.ts';
import { Dispatcher } from '../../../../agent/control/dispatch.ts';
import type { LoadDriver } from '../../../../drivers/load-driver.ts';
import { fail, ok } from '../../../../protocols/result.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function command(device: string, direction: 'up' | 'down'): Command {
  return {
    device,
    pointId: direction === 'down' ? 'sleep' : 'normal',
    kind: direction === 'down' ? 'sleep' : 'run',
    watts: 0,
    limitWatts: null,
    direction,
    fromPointId: '',
    fromWatts: 0,
    why: '',
    bindingLimit: null,
    dollarsPerKwh: null,
  };
}

/** Devices `d*` answer after 100 ms, `x*` after a time-out of 3 s with nothing. */
function site(writesAtOnce: number) {
  const clock = new VirtualClock();
  const started: string[] = [];
  let most = 0;
  let now = 0;
  const driver = (id: string): LoadDriver => ({
    deviceId: id,
    identify: async () => fail('unsupported', 'none'),
    read: async () => fail('unsupported', 'none'),
    apply: async (one, signal) => {
      started.push(`${id} ${one.kind}`);
      now += 1;
      most = Math.max(most, now);
      await clock.sleep(id.startsWith('d') ? 100 : 3000, signal);
      now -= 1;
      return id.startsWith('x')
        ? fail('timeout', `${id} did not answer`)
        : ok({ acknowledged: true, sentAt: clock.monotonicMs(), limitWatts: null, note: null });
    },
    [Symbol.asyncDispose]: async () => undefined,
    leastCommandMs: id.startsWith('s') ? 2000 : 0,
  });
  const ids = ['d1', 'd2', 'd3', 'd4', 'd5', 'd6', 'x1', 'x2', 'x3', 'x4', 's1', 's2', 's3'];
  const dispatcher = new Dispatcher({
    drivers: new Map(ids.map((id) => [id, driver(id)])),
    clock,
    stop: new AbortController().signal,
    caps: () => [],
    onSent: () => undefined,
    writesAtOnce,
  });
  return { clock, dispatcher, started, most: () => most };
}

describe('sending', () => {
  it('falls leave before rises, and never more than so many at once', async () => {
    const { clock, dispatcher, started, most } = site(2);
    dispatcher.emit([command('d1', 'up'), command('d2', 'down'), command('d3', 'up'), command('d4', 'down')]);
    // In the same turn: nothing else may run before.
    expect(started).toEqual(['d2 sleep', 'd4 sleep']);
    await clock.advance(1000);
    expect(started).toEqual(['d2 sleep', 'd4 sleep', 'd1 run', 'd3 run']);
    expect(most()).toBe(2);
  });

  it('a later command takes the place of one that has not left', async () => {
    const { clock, dispatcher, started } = site(1);
    dispatcher.emit([command('d1', 'down'), command('d2', 'down')]);
    dispatcher.emit([command('d2', 'up')]);
    await clock.advance(1000);
    expect(started).toEqual(['d1 sleep', 'd2 run']);
  });

  it('who did not answer last time waits for those that do, and holds a quarter of the places at most', async () => {
    const { clock, dispatcher, started } = site(4);
    const dead = ['x1', 'x2', 'x3', 'x4'];
    dispatcher.emit(dead.map((id) => command(id, 'down')));
    await clock.advance(4000);
    started.length = 0;
    dispatcher.emit([...dead, 'd1', 'd2', 'd3', 'd4', 'd5', 'd6'].map((id) => command(id, 'down')));
    await clock.advance(250);
    expect(started.filter((line) => line.startsWith('d'))).toHaveLength(6);
    expect(started.filter((line) => line.startsWith('x'))).toHaveLength(1);
    await clock.advance(15_000);
    expect(started).toHaveLength(10);
  });

  it('who did not answer its last reading waits behind those that did, without having been sent to before', async () => {
    const { clock, dispatcher, started } = site(4);
    const commands = ['x1', 'x2', 'd1', 'd2', 'd3', 'd4', 'd5'].map((id) => command(id, 'down'));
    dispatcher.emit(commands, (id) => id.startsWith('x'));
    expect(started).toEqual(['d1 sleep', 'd2 sleep', 'd3 sleep', 'd4 sleep']);
    await clock.advance(150);
    expect(started.slice(4)).toEqual(['d5 sleep', 'x1 sleep']);
    await clock.advance(10_000);
    expect(started).toHaveLength(7);
  });

  it('who takes long by its own rules leaves first, and takes no place from the others', async () => {
    const { clock, dispatcher, started } = site(2);
    const ids = ['d1', 'd2', 'd3', 's1', 's2', 's3'];
    dispatcher.emit(ids.map((id) => command(id, 'down')));
    expect(started).toEqual(['s1 sleep', 's2 sleep', 's3 sleep', 'd1 sleep', 'd2 sleep']);
    await clock.advance(150);
    expect(started.slice(5)).toEqual(['d3 sleep']);
  });

  it('falls of every kind leave before rises', () => {
    const { dispatcher, started } = site(8);
    dispatcher.emit([command('s1', 'up'), command('d1', 'up'), command('d2', 'down'), command('s2', 'down')]);
    expect(started).toEqual(['s2 sleep', 'd2 sleep', 's1 run', 'd1 run']);
  });
});
