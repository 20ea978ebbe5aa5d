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
