import { describe, expect, it } from 'vitest';
import { openSupervisor, Supervisor } from '../../../../agent/cli/lifecycle.ts';
import { Loop } from '../../../../agent/control/loop.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function watched(watchdogMs = 30_000) {
  const clock = new VirtualClock();
  const said: string[] = [];
  return { clock, said, supervisor: new Supervisor((text) => said.push(text), watchdogMs, clock) };
}

describe('the watchdog', () => {
  it('is fed by completed cycles, three times in its time and no more', async () => {
    const { clock, said, supervisor } = watched();
    const loop = new Loop(
      clock,
      1000,
      () => supervisor.cycled(),
      () => undefined,
    );
    loop.start();
    await clock.advance(60_000);
    loop.stop();
    // At the start, then every ten seconds.
    expect(said).toEqual(Array(7).fill('WATCHDOG=1'));
  });

  it('is not fed while cycles do not end, however alive the timers are', async () => {
    const { clock, said, supervisor } = watched();
    let broken = false;
    const loop = new Loop(
      clock,
      1000,
      () => {
        if (broken) throw new Error('a bug');
        supervisor.cycled();
      },
      () => undefined,
    );
    let ticks = 0;
    const tick = () => {
      ticks += 1;
      clock.after(1000, tick);
    };
    tick();
    loop.start();
    await clock.advance(10_500);
    broken = true;
    said.length = 0;
    await clock.advance(120_000);
    expect(said).toEqual([]);
    expect(ticks).toBeGreaterThan(100);
  });

  it('tries again with the next cycle when the queue of systemd was full', async () => {
    const clock = new VirtualClock();
    const said: string[] = [];
    let full = true;
    const supervisor = new Supervisor(
      (text) => {
        if (full) throw new Error('EAGAIN');
        said.push(text);
      },
      30_000,
      clock,
    );
    supervisor.cycled();
    full = false;
    await clock.advance(1000);
    supervisor.cycled();
    expect(said).toEqual(['WATCHDOG=1']);
  });

  it('gets more time where a cycle takes longer than a third of it', async () => {
    const { said, supervisor } = watched();
    supervisor.ready('page', 1000);
    supervisor.ready('page', 60_000);
    expect(said).toEqual(['READY=1\nSTATUS=page', 'READY=1\nSTATUS=page\nWATCHDOG_USEC=180000000']);
  });

  it('is fed without a configuration until the end is asked for', async () => {
    const { clock, said, supervisor } = watched();
    const stop = new AbortController();
    supervisor.idle(stop.signal);
    await clock.advance(25_000);
    stop.abort();
    await clock.advance(100_000);
    expect(said).toEqual(Array(3).fill('WATCHDOG=1'));
  });

  it('takes its variables out of the environment, and minds only its own process', async () => {
    const environment = { NOTIFY_FD: '99', WATCHDOG_USEC: '3000000', WATCHDOG_PID: '1', PATH: '/bin' };
    const supervisor = openSupervisor(environment, new VirtualClock());
    expect(environment).toEqual({ PATH: '/bin' });
    expect(() => supervisor.cycled()).not.toThrow();
    expect(() => supervisor.stopping()).not.toThrow();
  });
});
