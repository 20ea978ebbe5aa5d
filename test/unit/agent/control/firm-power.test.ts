import { describe, expect, it } from 'vitest';
import type { Answer, Shortfall } from '../../../../agent/allocation/problem.ts';
import {
  type FirmMemory,
  firmKept,
  firmMemories,
  floorsBelow,
  loweredFloors,
  missedFloors,
  withFirm,
} from '../../../../agent/control/firm-power.ts';
import type { DeviceInput, Entry } from '../../../../agent/control/ledger.ts';
import { type LimitMemory, newLimitMemory } from '../../../../agent/control/limit-memory.ts';
import type { ObservedDevice } from '../../../../agent/control/observation.ts';
import { buildPlan, type PlanFloor, type PlanRules } from '../../../../agent/control/plan.ts';
import type { StepContext, StepDevice } from '../../../../agent/control/step-context.ts';
import {
  CONTROL_RULES,
  entryOf,
  minerFacts,
  nodeFacts,
  observed,
  pendingOf,
  stepLimit,
} from '../../../support/control-states.ts';

const NOW = 1_000_000;
/** A poll of 5 s and a lag of 2 s. */
const ROUND_MS = 7000;
const LIMITS = [
  stepLimit(),
  stepLimit({ id: 'hall', parent: 'grid' }),
  stepLimit({ id: 'other', parent: 'grid' }),
];
const RULES: PlanRules = {
  ...CONTROL_RULES,
  now: NOW,
  shedOnly: false,
  ceilings: {},
  unseen: new Map(),
  doubted: new Map(),
};

const miner = (entry: Partial<Entry> = {}, limit = 'hall'): DeviceInput => ({
  entry: entryOf({ id: 'm', pointId: 'sleep', provenWatts: 60, ...entry }),
  facts: minerFacts({ id: 'm', limit }),
  device: observed({ id: 'm', activity: 'asleep', powerWatts: 60 }),
});
const node = (id: string, seen: Partial<ObservedDevice> = {}, limit = 'hall', worth = 1): DeviceInput => ({
  entry: entryOf({ id, pointId: 'full', provenWatts: 8000 }),
  facts: nodeFacts({
    id,
    limit,
    points: nodeFacts().points.map((point) => ({ ...point, dollarsPerHour: point.dollarsPerHour * worth })),
  }),
  device: observed({ id, powerWatts: 7900, ...seen }),
});
const contextOf = (inputs: readonly DeviceInput[], floors: readonly PlanFloor[] = []): StepContext => ({
  limits: LIMITS,
  devices: inputs.map(({ facts }) => ({ model: { id: facts.id, limit: facts.limit } }) as StepDevice),
  floors,
  rules: CONTROL_RULES,
});
const planOf = (inputs: readonly DeviceInput[], floors: readonly PlanFloor[] = []) =>
  buildPlan(
    LIMITS.map(({ id, parent }) => ({
      limit: id,
      parent,
      gain: 1,
      capacityWatts: 100_000,
      fixedWatts: 0,
      authority: 'full',
      noRise: false,
      deadlineAt: null,
    })),
    inputs,
    floors,
    RULES,
  );
const answerOf = (infeasible: readonly Shortfall[], modes: Readonly<Record<string, string>> = {}) =>
  ({ infeasible, modes }) as unknown as Answer;
const memories = (hall: Partial<LimitMemory>) => ({
  grid: newLimitMemory(100_000, 0),
  other: newLimitMemory(100_000, 0),
  hall: { ...newLimitMemory(10_000, 0), ...hall },
});
const shows = (...watts: number[]) => ({
  samples: watts.map((value, index) => [NOW - 1000 * (watts.length - index), value] as const),
});

describe('when firm power gives way', () => {
  const asked = (inputs: readonly DeviceInput[], hall: Partial<LimitMemory> = {}, limit = 'hall') =>
    firmMemories(
      contextOf(inputs),
      memories(hall),
      inputs,
      {
        plan: planOf(inputs),
        answer: answerOf([
          { limit, watts: 900 },
          { floor: 'f', watts: 1 },
        ]),
      },
      NOW,
    ).get(limit);
  const NEW: FirmMemory = { since: NOW, yields: false };

  it('is when all else below has been down for a poll and the lag of a meter', () => {
    expect(asked([miner(), node('g')])).toEqual(NEW);
    const since = (at: number) => asked([miner(), node('g')], { firm: { since: at, yields: false } });
    expect(since(NOW - ROUND_MS + 1)!.yields).toBe(false);
    expect(since(NOW - ROUND_MS)).toEqual({ since: NOW - ROUND_MS, yields: true });
  });

  it('is not while a miner there is up or on its way, set aside ones and those elsewhere apart', () => {
    expect(asked([miner({ pointId: 'normal' }), node('g')])).toBeUndefined();
    expect(asked([miner({ pointId: 'normal', pending: pendingOf() }), node('g')])).toBeUndefined();
    expect(asked([miner({ pending: pendingOf({ failed: true }) }), node('g')])).toEqual(NEW);
    expect(asked([miner({ pointId: 'normal' }, 'other'), node('g')])).toEqual(NEW);
    expect(asked([miner({ pointId: 'normal' }, 'other'), node('g')], {}, 'grid')).toBeUndefined();
    const aside = miner({ pointId: 'normal', quarantine: { since: 0, why: 'liar' } });
    expect(asked([aside, node('g')])).toEqual(NEW);
  });

  it('is not where the meter shows that it fits, with what nodes may still draw', () => {
    const held = (watts: readonly number[], drawn: number | null) =>
      asked([miner(), node('g', { powerWatts: drawn })], shows(...watts));
    expect(held([10_001], 8000)).toEqual(NEW);
    expect(held([10_000], 8000)).toBeUndefined();
    expect(held([9999], 7998)).toEqual(NEW);
    expect(held([9000], 8500)).toBeUndefined();
    expect(held([2001], null)).toEqual(NEW);
    // The lowest of the last round: what was there before the fall says nothing.
    expect(held([30_000, 10_000], 8000)).toBeUndefined();
    const old = { samples: [[NOW - CONTROL_RULES.meterStaleMs - 1, 1] as const] };
    expect(asked([miner(), node('g')], old)).toEqual(NEW);
  });

  it('goes on, whatever else happens, while floors overrun the limit, and afterwards while they are short', () => {
    const firm = { since: 5, yields: true };
    expect(asked([miner({ pointId: 'normal' }), node('g')], { ...shows(1), firm })).toEqual(firm);
    const kept = (isShort: boolean, memory: FirmMemory) =>
      firmKept(contextOf([]), memories({ firm: memory }), (ids) => isShort && ids.has('hall'));
    expect([...kept(true, firm)]).toEqual([['hall', firm]]);
    expect(kept(false, firm).size).toBe(0);
    expect(kept(true, { since: 5, yields: false }).size).toBe(0);
  });

  it('is remembered with its limit, and forgotten', () => {
    const memory = newLimitMemory(1000, 0);
    const with5 = withFirm(memory, { since: 5, yields: true });
    expect(with5).toEqual({ ...memory, firm: { since: 5, yields: true } });
    expect(withFirm(with5, undefined)).toEqual(memory);
  });
});

describe('how far', () => {
  const inputs = [node('g'), node('h', {}, 'hall', 0.5), node('x', {}, 'other')];
  const FLOORS = [
    { id: 'dear', devices: ['g'], watts: 8000 },
    { id: 'cheap', devices: ['h', 'x'], watts: 16_000 },
  ];
  const lower = (watts: number, factor = 1, floors: readonly PlanFloor[] = FLOORS, modes = 'full') =>
    loweredFloors(
      contextOf(inputs, floors),
      floors,
      {
        plan: planOf(inputs, floors),
        answer: answerOf(
          [
            { limit: 'hall', watts },
            { limit: 'other', watts: 7 },
            { floor: 'cheap', watts: 7 },
          ],
          { g: modes, h: modes, x: modes },
        ),
      },
      new Set(['hall']),
      factor,
    )?.map((floor) => floor.watts);

  it('what is too much is taken, from the least worth first, and from what hangs there alone', () => {
    expect(lower(900)).toEqual([8000, 15_100]);
    expect(lower(450, 2)).toEqual([8000, 15_100]);
    expect(lower(8000)).toEqual([8000, 8000]);
    expect(lower(8100)).toEqual([7900, 8000]);
    expect(lower(99_000)).toEqual([0, 8000]);
  });

  it('nothing, where nothing firm is left there', () => {
    expect(lower(900, 1, [{ id: 'cheap', devices: ['x'], watts: 8000 }])).toBeUndefined();
    expect(lower(900, 1, [{ id: 'dear', devices: ['g'], watts: 0 }])).toBeUndefined();
  });

  it('what floors are short of counts nodes that are there by what they may draw at most', () => {
    const missed = (
      modes: Readonly<Record<string, string>>,
      ceilings: Readonly<Record<string, number>> = {},
    ) => missedFloors(FLOORS, { ceilings }, planOf(inputs), answerOf([], modes));
    const all = { g: 'full', h: 'full', x: 'full' };
    expect(missed(all)).toEqual([]);
    expect(missed({ ...all, g: 'cap-5' })).toEqual([{ floor: 'dear', watts: 3000 }]);
    expect(missed({ ...all, g: 'cap-5' }, { g: 7999 })).toEqual([]);
    expect(missed({ ...all, g: 'cap-5' }, { g: 100 })).toEqual([]);
    const away = planOf([node('g', { inventory: 'removed' }), ...inputs.slice(1)]);
    expect(missedFloors(FLOORS, RULES, away, answerOf([], all))).toEqual([]);
  });

  it('floors below a limit are those with a node there', () => {
    const below = (...ids: string[]) =>
      floorsBelow(contextOf(inputs, FLOORS), new Set(ids)).map((floor) => floor.id);
    expect(below()).toEqual([]);
    expect(below('grid')).toEqual(['dear', 'cheap']);
    expect(below('hall')).toEqual(['dear', 'cheap']);
    expect(below('other')).toEqual(['cheap']);
  });
});
