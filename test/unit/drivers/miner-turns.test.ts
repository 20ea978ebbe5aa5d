import { describe, expect, it } from 'vitest';
import type { LoadDriver } from '../../../drivers/load-driver.ts';
import { createMinerDriver, type MinerFamily } from '../../../drivers/miners/miner-driver.ts';
import { nothingSaid } from '../../../drivers/miners/reply-fields.ts';
import { onAbort } from '../../../protocols/on-abort.ts';
import { fail, ok } from '../../../protocols/result.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const never = new AbortController().signal;

/** A miner whose reads end when `answer` is called, or as cancelled when their signal aborts. */
function createAsked(name: string): {
  readonly driver: LoadDriver;
  readonly signals: AbortSignal[];
  answer(): void;
} {
  const signals: AbortSignal[] = [];
  let answer = (): void => undefined;
  const family: MinerFamily = {
    firmware: 'cgminer',
    who: (signal) => family.poll(signal),
    poll: (signal) =>
      new Promise((resolve) => {
        signals.push(signal);
        const forget = onAbort(signal, () => resolve(fail('cancelled', `${name} gave up`)));
        answer = () => {
          forget();
          resolve(ok(nothingSaid('cgminer')));
        };
      }),
  };
  const endpoint = {
    deviceId: name,
    host: '10.0.0.1',
    port: 4028,
    webPort: 80,
    user: null,
    password: null,
    model: null,
  };
  const driver = createMinerDriver(family, endpoint, { clock: new VirtualClock(), random: () => 0.5 });
  return { driver, signals, answer: () => answer() };
}

describe('the turns of many devices', () => {
  it('end apart, though a turn that ended well leaves its controller to the next', async () => {
    const [one, other] = [createAsked('one'), createAsked('other')];
    const first = one.driver.read(never);
    one.answer();
    expect((await first).ok).toBe(true);
    const second = other.driver.read(never);
    await one.driver[Symbol.asyncDispose]();
    expect(other.signals[0]?.aborted).toBe(false);
    other.answer();
    expect((await second).ok).toBe(true);
  });

  it('are not begun with a controller that was aborted', async () => {
    const [one, other] = [createAsked('one'), createAsked('other')];
    const gaveUp = new AbortController();
    const first = one.driver.read(gaveUp.signal);
    gaveUp.abort();
    expect(await first).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    const second = other.driver.read(never);
    expect(other.signals[0]?.aborted).toBe(false);
    other.answer();
    expect((await second).ok).toBe(true);
  });

  it('are handed on to who waits, and end with the driver', async () => {
    const { driver, signals, answer } = createAsked('one');
    const [first, second] = [driver.read(never), driver.read(never)];
    answer();
    expect((await first).ok).toBe(true);
    await expect.poll(() => signals.length).toBe(2);
    const third = driver.read(never);
    await driver[Symbol.asyncDispose]();
    expect(await second).toMatchObject({ ok: false, error: { kind: 'cancelled' } });
    expect(await third).toMatchObject({ ok: false, error: { kind: 'busy' } });
  });
});
