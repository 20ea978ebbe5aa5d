import { describe, expect, it } from 'vitest';
import type { HostInventory } from '../../../../agent/telemetry/inventory.ts';
import { InventoryWatch } from '../../../../agent/telemetry/inventory-watch.ts';
import { systemClock } from '../../../../protocols/clock.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const box = (model: string) => ({ model }) as HostInventory;

describe('the inventory', () => {
  it('is read after the start and daily, and what failed once is kept', async () => {
    const clock = new VirtualClock();
    const stop = new AbortController();
    const answers = [box('one'), null, box('three')];
    let reads = 0;
    const watch = new InventoryWatch(clock, stop.signal, () => {
      reads += 1;
      return Promise.resolve(answers.shift() ?? null);
    });
    expect(watch.current()).toBeNull();
    await clock.advance(31_000);
    expect(watch.current()?.model).toBe('one');
    await clock.advance(86_400_000);
    expect(watch.current()?.model).toBe('one');
    expect(answers.length).toBe(1);
    await clock.advance(86_400_000);
    expect(watch.current()?.model).toBe('three');
    stop.abort();
    await clock.advance(86_400_000 * 2);
    expect(reads).toBe(3);
  });

  it('comes from a process of its own', async () => {
    const stop = new AbortController();
    const soon = { ...systemClock, after: (_ms: number, call: () => void) => systemClock.after(0, call) };
    const watch = new InventoryWatch(soon, stop.signal);
    await expect.poll(() => watch.current()?.architecture, { timeout: 60_000 }).toBe(process.arch);
    stop.abort();
  });
});
