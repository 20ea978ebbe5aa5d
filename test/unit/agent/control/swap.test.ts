import { describe, expect, it } from 'vitest';
import { commandsOf } from '../../../../agent/control/gate.ts';
import { type DeviceInput, NEW_ENTRY } from '../../../../agent/control/ledger.ts';
import { newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import { buildPlan, type PlanRules } from '../../../../agent/control/plan.ts';
import type { DeviceFacts } from '../../../../agent/control/points.ts';
import type { StepContext } from '../../../../agent/control/step-context.ts';

const NOW = 1_000_000;

function device(id: string, pointId: 'sleep' | 'normal', worth: number): DeviceInput {
  const watts = pointId === 'sleep' ? 60 : 3000;
  const facts: DeviceFacts = {
    id,
    kind: 'miner',
    limit: 'grid',
    className: 'luxos',
    nameplateWatts: 3000,
    points: [
      { id: 'sleep', kind: 'sleep', watts: 60, limitWatts: null, dollarsPerHour: 0 },
      { id: 'normal', kind: 'run', watts: 3000, limitWatts: null, dollarsPerHour: worth },
    ],
    sleepMs: 10_000,
    wakeMs: 60_000,
    changeMs: 10_000,
    wakeDollars: 0.001,
  };
  const observed: ObservedDevice = {
    id,
    inventory: 'present',
    activity: pointId === 'sleep' ? 'asleep' : 'running',
    powerWatts: watts,
    reported: true,
    limitWatts: null,
    requestedAt: NOW - 500,
    sampledAt: NOW - 400,
    fresh: true,
    failure: null,
    firmware: 'luxos',
    model: null,
    nominalHashrateThs: 100,
    hashrateThs: null,
    control: null,
    gpus: null,
    implausible: false,
  };
  return { entry: { ...NEW_ENTRY, id, provenWatts: watts, pointId }, facts, device: observed };
}

const rules: PlanRules = {
  now: NOW,
  shedOnly: false,
  dwellMs: 0,
  leastSleepMs: 0,
  wakesPerHour: 60,
  meterLagMs: 2500,
  ceilings: {},
  unseen: new Map(),
  doubted: new Map(),
};

/** Falls to `low`, rises to `high`, both wanted by the answer; `capacityWatts` decides whether the fall is needed. */
function gate(capacityWatts: number) {
  const inputs = [device('high', 'sleep', 0.4), device('low', 'normal', 0.1)];
  const limit = {
    limit: 'grid',
    parent: null,
    gain: 1,
    capacityWatts,
    fixedWatts: 0,
    authority: 'full',
    noRise: false,
    deadlineAt: null,
  } as const;
  const plan = buildPlan([limit], inputs, [], rules);
  const sums = {
    limit: 'grid',
    expectedWatts: 3060,
    worstWatts: 3060,
    sumWorstWatts: 3060,
    meteredWorstWatts: null,
    measuredWatts: null,
  };
  return commandsOf({
    context: {
      limits: [
        {
          id: 'grid',
          parent: null,
          gain: 1,
          ratingWatts: 10_000,
          loadWorstWatts: 0,
          metered: false,
          authority: 'full',
        },
      ],
      devices: [],
      floors: [],
      rules: { wakesPerTenSeconds: 9, reserveShare: 0, pollMs: 5000, rampPercentPerMinute: 100 },
    } as unknown as StepContext,
    plan,
    answer: {
      status: 'optimal',
      dollarsPerHour: 0,
      upperBoundDollarsPerHour: 0,
      gap: 0,
      modes: { high: 'normal', low: 'sleep' },
      limits: [{ id: 'grid', watts: 3060, capacityWatts, dollarsPerKwh: 0.01 }],
      infeasible: [],
      milliseconds: 0,
    },
    limits: { grid: { ...newLimitMemory(10_000, 0), inForceWatts: 10_000 } },
    sums: new Map([['grid', sums]]),
    inputs,
    orders: { reservedWatts: {}, ceilings: {} },
    now: NOW,
    rampTokensWatts: 100_000,
    fallTokensWatts: 0,
  });
}

describe('a fall and a rise in one answer', () => {
  it('an exchange that only earns more forbids no rise: what fits goes up, now and in the next cycle', () => {
    const gated = gate(5000);
    expect(gated.commands.map((command) => `${command.device} ${command.pointId}`)).toEqual([
      'low sleep',
      'high normal',
    ]);
    expect(gated.shedLimits).toEqual([]);
  });

  it('a fall that the limit needs forbids every rise below it', () => {
    const gated = gate(3000);
    expect(gated.commands.map((command) => `${command.device} ${command.pointId}`)).toEqual(['low sleep']);
    expect(gated.shedLimits).toEqual(['grid']);
    expect(gated.heldBack?.why).toBe('grid was shed in this cycle');
  });
});
