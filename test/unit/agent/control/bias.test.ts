import { describe, expect, it } from 'vitest';
import { correctBias } from '../../../../agent/control/bias.ts';
import type { DeviceInput } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { NodeSums } from '../../../../agent/control/node-sums.ts';
import {
  entryOf,
  minerFacts,
  observed,
  pendingOf,
  stepContextOf,
  stepLimit,
} from '../../../support/control-states.ts';

const NOW = 1_000_000;
const LIMIT_WATTS = 100_000;
/** One poll and what a meter lags: every device was read again. */
const ROUND_MS = 7000;

/** Miners on their way up to 3 kW that drew `drawn` when they were read. */
const waking = (count: number, drawn: number): DeviceInput[] =>
  Array.from({ length: count }, (_, n) => ({
    entry: entryOf({
      id: `d${n}`,
      pending: pendingOf({ pointId: 'normal', kind: 'run', watts: 3000, direction: 'up' }),
    }),
    facts: minerFacts({ id: `d${n}` }),
    device: observed({ id: `d${n}`, activity: 'starting', powerWatts: drawn }),
  }));

/** Of a limit of 100 kW, what its memory becomes when its meter and the rises below it come to `expected`. */
function corrected(
  expected: number,
  inputs: readonly DeviceInput[],
  memory: Partial<LimitMemory> = {},
  { edition = 2, now = NOW }: { edition?: number; now?: number } = {},
): LimitMemory {
  const context = stepContextOf([stepLimit({ metered: true })]);
  const limits = { grid: { ...newLimitMemory(LIMIT_WATTS, now), ...memory } };
  const sum: NodeSums = {
    limit: 'grid',
    expectedWatts: expected,
    worstWatts: expected,
    sumWorstWatts: expected,
    meteredWorstWatts: expected,
    measuredWatts: 60_000,
  };
  correctBias(
    { ...context, rules: { ...context.rules, edition } },
    limits,
    new Map([['grid', sum]]),
    inputs,
    new Map(),
    now,
  );
  return limits.grid;
}

describe('more than the plan knows of', () => {
  it('counts at once where the meter alone says so', () => {
    expect(corrected(104_000, []).biasWatts).toBe(4000 + 30_000);
    // 5 kW of it may be rises that count twice: not all of the 7 kW.
    expect(corrected(107_000, waking(5, 2000))).toMatchObject({ biasRaisedAt: NOW });
  });

  it('waits for every device to be read again where rises that the meter may show already make it', () => {
    // Two readings apart: the meter has seen them come back (a pool), their own readings have not.
    const inputs = waking(20, 500);
    const first = corrected(104_000, inputs);
    expect(first).toMatchObject({ biasWatts: 0, overSince: NOW });
    const early = corrected(104_000, inputs, { overSince: NOW }, { now: NOW + ROUND_MS - 1 });
    expect(early).toMatchObject({ biasWatts: 0, overSince: NOW });
    const sure = corrected(104_000, inputs, { overSince: NOW }, { now: NOW + ROUND_MS });
    expect(sure).toMatchObject({ biasWatts: 4000, biasRaisedAt: NOW + ROUND_MS, overSince: NOW });
    const over = corrected(99_000, inputs, { overSince: NOW - 1 });
    expect(over).not.toHaveProperty('overSince');
  });

  it('counts at once in journals of the first edition', () => {
    const memory = corrected(104_000, waking(20, 500), {}, { edition: 1 });
    expect(memory.biasWatts).toBe(4000);
    expect(memory).not.toHaveProperty('overSince');
  });

  it('takes what failed to rise, or is not read, for nothing that is to come', () => {
    const failed = waking(20, 500).map((input) => ({
      ...input,
      entry: { ...input.entry, pending: { ...input.entry.pending!, failed: true } },
    }));
    expect(corrected(104_000, failed).biasRaisedAt).toBe(NOW);
    const unread = waking(1, 500).map((input) => ({ ...input, device: { ...input.device, fresh: false } }));
    // 3 kW may still come: not 2.5.
    expect(corrected(102_900, unread).overSince).toBe(NOW);
    const silent = waking(1, 500).map((input) => ({
      ...input,
      device: { ...input.device, powerWatts: null },
    }));
    expect(corrected(102_900, silent)).toMatchObject({ biasWatts: 0, overSince: NOW });
  });
});

describe('devices that were never asked', () => {
  const unasked = (count: number, more: Partial<DeviceInput['device']> = {}): DeviceInput[] =>
    Array.from({ length: count }, (_, n) => ({
      entry: entryOf({ id: `d${n}`, pointId: null }),
      facts: minerFacts({ id: `d${n}`, nameplateWatts: 3300 }),
      device: observed({
        id: `d${n}`,
        inventory: 'expected',
        activity: 'unknown',
        requestedAt: null,
        sampledAt: null,
        fresh: false,
        powerWatts: null,
        ...more,
      }),
    }));

  /** A hall below a grid, with losses of a fifth in between: what each is put down to, and what their memories become. */
  function corrections(
    expected: { readonly grid: number; readonly hall: number | null },
    inputs: readonly DeviceInput[],
    edition = 3,
  ) {
    const context = stepContextOf([
      stepLimit({ metered: true }),
      stepLimit({ id: 'hall', parent: 'grid', gain: 1.25, metered: true }),
    ]);
    const limits: Record<string, LimitMemory> = {
      grid: newLimitMemory(LIMIT_WATTS, NOW),
      hall: newLimitMemory(LIMIT_WATTS, NOW),
    };
    const sumOf = (limit: 'grid' | 'hall'): [string, NodeSums] => [
      limit,
      {
        limit,
        expectedWatts: expected[limit] ?? 0,
        worstWatts: expected[limit] ?? 0,
        sumWorstWatts: expected[limit] ?? 0,
        meteredWorstWatts: expected[limit],
        measuredWatts: expected[limit],
      },
    ];
    const unknown = correctBias(
      { ...context, rules: { ...context.rules, edition } },
      limits,
      new Map([sumOf('grid'), sumOf('hall')]),
      inputs.map((input) => ({ ...input, facts: { ...input.facts, limit: 'hall' } })),
      new Map(),
      NOW,
    );
    return { unknown: Object.fromEntries(unknown), grid: limits['grid']!, hall: limits['hall']! };
  }

  it('are what a meter shows beyond the plan, up to their nameplates; the rest counts at once', () => {
    const { unknown, grid, hall } = corrections({ grid: 125_000, hall: 100_000 }, unasked(40));
    expect(unknown).toEqual({ hall: 100_000 });
    expect([grid.biasWatts, hall.biasWatts]).toEqual([0, 0]);
    const more = corrections({ grid: 137_500, hall: 110_000 }, unasked(30));
    expect(more.unknown).toEqual({ hall: 99_000 });
    // 11 kW of the hall's 110 are nobody's, and 10 of them are over.
    expect(more.hall).toMatchObject({ biasWatts: 10_000, biasRaisedAt: NOW });
  });

  it('count once on the way up: at the lowest meter, and at the next above where that is not read', () => {
    const above = corrections({ grid: 127_000, hall: 100_000 }, unasked(40));
    // 2 kW more than the hall and its losses: 32 kW of the nameplates are left for them.
    expect(above.unknown).toEqual({ hall: 100_000, grid: 2000 });
    expect(above.grid.biasWatts).toBe(0);
    expect(corrections({ grid: 100_000, hall: null }, unasked(40)).unknown).toEqual({ grid: 100_000 });
    expect(corrections({ grid: 170_000, hall: null }, unasked(40)).unknown).toEqual({ grid: 165_000 });
  });

  it('are none once they were asked, seen before, or in journals of earlier editions', () => {
    const meters = { grid: 125_000, hall: 100_000 };
    for (const inputs of [
      unasked(40, { requestedAt: NOW - 10 }),
      unasked(40, { failure: 'timeout' }),
      unasked(40, { inventory: 'removed' }),
    ])
      expect(corrections(meters, inputs).unknown).toEqual({});
    const earlier = corrections({ grid: 0, hall: 104_000 }, unasked(40), 2);
    expect(earlier.unknown).toEqual({});
    expect(earlier.hall.biasWatts).toBe(4000);
    expect(corrections({ grid: 0, hall: 0 }, unasked(40)).unknown).toEqual({});
  });
});
