import { describe, expect, it } from 'vitest';
import { NodeDrains, serviceAction } from '../../../../agent/control/node-drains.ts';
import type { DrainDriver, ServiceReading } from '../../../../drivers/gpu/drain.ts';
import { fail, ok } from '../../../../protocols/result.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const stop = new AbortController().signal;

describe('what is done about a node', () => {
  it.each([
    ['h-1', 'in-service', null, true, 'drain'],
    ['h-1', 'draining', 'h-1', true, 'evict'],
    ['h-1', 'draining', 'h-1', false, null],
    // Somebody else's drain ends as they see fit.
    ['h-1', 'draining', null, true, null],
    ['h-1', 'drained', 'h-1', true, null],
    ['h-1', 'down', 'h-1', true, null],
    [null, 'draining', 'h-1', true, 'resume'],
    [null, 'draining', null, true, null],
    [null, 'in-service', null, true, null],
  ] as const)('wanted for %s, %s under %s, may evict: %s', (wanted, state, mark, mayEvict, action) => {
    const may = { evict: mayEvict, powerDown: false, powerUpAgain: false };
    expect(serviceAction(wanted, { state, mark }, may)).toBe(action);
  });

  it.each([
    // Drained and handed over for long enough.
    ['h-1', 'drained', 'h-1', 'on', true, { powerDown: true }, 'power-down'],
    ['h-1', 'drained', null, 'on', true, { powerDown: true }, null],
    ['h-1', 'draining', 'h-1', 'on', true, { powerDown: true }, null],
    // Going down takes the drain away: the queue must not wake it.
    ['h-1', 'down', 'h-1', 'going-off', false, {}, 'drain'],
    ['h-1', 'down', 'h-1', 'off', false, {}, 'drain'],
    ['h-1', 'down', 'h-1', 'off', true, {}, null],
    ['h-1', 'down', null, 'off', false, {}, null],
    // Back: not while it goes down, where it would be lost; again while it is off.
    [null, 'down', 'h-1', 'going-off', true, {}, null],
    [null, 'down', 'h-1', 'off', true, {}, 'power-up'],
    [null, 'down', null, 'off', false, { powerUpAgain: true }, 'power-up'],
    [null, 'down', null, 'off', false, {}, null],
    [null, 'down', null, 'coming-on', false, { powerUpAgain: true }, null],
  ] as const)(
    'wanted for %s, %s under %s, %s, closed: %s, may %j',
    (wanted, state, mark, power, closed, own, action) => {
      const may = { evict: false, powerDown: false, powerUpAgain: false, ...own };
      expect(serviceAction(wanted, { state, mark, power, closed }, may)).toBe(action);
    },
  );
});

function start(graceMs: number, refusing: 'evict' | 'nothing') {
  const clock = new VirtualClock();
  const calls: string[] = [];
  const reading = (): ServiceReading => ({
    state: 'draining',
    mark: 'h-1',
    reason: 'h-1',
    requestedAt: clock.monotonicMs(),
  });
  const driver: DrainDriver = {
    kind: 'kubernetes',
    graceMs,
    read: async () => ok(reading()),
    drain: async () => ok({ sent: true, note: 'drain' }),
    resume: async () => ok({ sent: true, note: 'resume' }),
    evict: async () => {
      calls.push(`evict at ${clock.monotonicMs() / 1000} s`);
      return refusing === 'evict'
        ? fail('unauthorised', 'it does not let this account create pods/eviction', 'Add the verb.')
        : ok({ sent: true, note: 'evicted' });
    },
  };
  const drains = new NodeDrains(new Map([['g1', driver]]), {
    clock,
    stop,
    dryRun: false,
    hurry: () => undefined,
  });
  const [target] = drains.targets();
  /** One reading and one decision. */
  const round = async (noticeEnds: number | null) => {
    await clock.advance(5000);
    target!.onResult(await target!.read(stop));
    drains.want({ g1: 'h-1' }, () => ({ noticeEnds, isSettled: false }), clock.monotonicMs());
    await clock.advance(0);
  };
  return { clock, calls, drains, round };
}

describe('work is told to end', () => {
  it('no sooner than its notice leaves it the time to, and again until it has', async () => {
    const { clock, calls, round } = start(120_000, 'nothing');
    const endsAt = clock.monotonicMs() + 600_000;
    const begins = clock.monotonicMs() + 600_000 - 120_000 - 15_000;
    while (clock.monotonicMs() + 5000 < begins) await round(endsAt);
    expect(calls).toEqual([]);
    await round(endsAt);
    await round(endsAt);
    expect(calls).toHaveLength(2);
  });

  it('at once where the notice is shorter than that, or over', async () => {
    const { clock, calls, round } = start(120_000, 'nothing');
    await round(clock.monotonicMs() + 60_000);
    await round(null);
    expect(calls).toHaveLength(2);
  });

  it('and where that fails again and again, somebody is told what to do, though every reading goes well', async () => {
    const { drains, round } = start(0, 'evict');
    await round(null);
    await round(null);
    expect(drains.conditions()).toEqual([]);
    await round(null);
    expect(drains.conditions()).toMatchObject([{ code: 'workload-manager', target: 'g1' }]);
    expect(drains.conditions()[0]!.nextStep).toContain('Add the verb.');
  });
});
