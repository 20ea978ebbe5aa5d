import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { book, type Entry, type Finding, learn, NEW_ENTRY, worstOf } from '../../../agent/control/ledger.ts';
import { sumNodes } from '../../../agent/control/node-sums.ts';
import type { ObservedDevice } from '../../../agent/control/observation.ts';
import type { DeviceFacts, OperatingPoint } from '../../../agent/control/points.ts';
import { cases } from '../../support/cases.ts';

const SEED = 20_261_122;
const RUNS = cases(10_000);

const points: readonly OperatingPoint[] = [
  { id: 'sleep', kind: 'sleep', watts: 60, limitWatts: null, dollarsPerHour: 0 },
  { id: 'low-1', kind: 'run', watts: 1500, limitWatts: 1500, dollarsPerHour: 0.1 },
  { id: 'normal', kind: 'run', watts: 3000, limitWatts: 3000, dollarsPerHour: 0.2 },
];
const facts: DeviceFacts = {
  id: 'd',
  kind: 'miner',
  limit: 'grid',
  className: 'luxos',
  nameplateWatts: 3300,
  points,
  sleepMs: 15_000,
  wakeMs: 300_000,
  changeMs: 60_000,
  wakeDollars: 0.02,
};

/** Readings arrive with times in any relation to commands. */
const reading = fc.record({
  activity: fc.constantFrom('running', 'starting', 'asleep', 'fault', 'unknown') as fc.Arbitrary<
    ObservedDevice['activity']
  >,
  powerWatts: fc.option(fc.integer({ min: 0, max: 4000 })),
  reported: fc.boolean(),
  requestedAgoMs: fc.integer({ min: 0, max: 20_000 }),
  inventory: fc.constantFrom('present', 'present', 'present', 'absent', 'held') as fc.Arbitrary<
    ObservedDevice['inventory']
  >,
  limitWatts: fc.option(fc.constantFrom(1500, 3000)),
});
const event = fc.oneof(
  fc.record({ kind: fc.constant('command' as const), point: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ kind: fc.constant('reading' as const), reading }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 100, max: 60_000 }) }),
);

function observed(
  now: number,
  given: typeof reading extends fc.Arbitrary<infer T> ? T : never,
): ObservedDevice {
  return {
    id: 'd',
    inventory: given.inventory,
    activity: given.activity,
    powerWatts: given.powerWatts,
    reported: given.reported,
    limitWatts: given.limitWatts,
    requestedAt: now - given.requestedAgoMs,
    sampledAt: now - given.requestedAgoMs + 20,
    fresh: given.requestedAgoMs < 15_000,
    failure: null,
    firmware: 'luxos',
    model: null,
    nominalHashrateThs: 120,
    hashrateThs: null,
    control: null,
    gpus: null,
    implausible: false,
  };
}

/** Runs a history and calls `check` after every step. */
function replay(
  events: readonly (typeof event extends fc.Arbitrary<infer T> ? T : never)[],
  check: (before: Entry, after: Entry, kind: string, device: ObservedDevice | null, now: number) => void,
): void {
  let entry: Entry = { ...NEW_ENTRY, id: 'd', provenWatts: facts.nameplateWatts };
  let now = 1_000_000;
  for (const one of events) {
    const before = entry;
    let device: ObservedDevice | null = null;
    if (one.kind === 'wait') now += one.ms;
    else if (one.kind === 'command') {
      const target = points[one.point]!;
      const from =
        points.find((point) => point.id === (entry.pending?.pointId ?? entry.pointId)) ?? points[2]!;
      if (target.id !== from.id && entry.quarantine === null)
        entry = book(entry, facts, target, from, now, 10_000, 'test');
    } else {
      device = observed(now, one.reading);
      const findings: Finding[] = [];
      entry = learn(entry, facts, device, now, findings);
    }
    check(before, entry, one.kind, device, now);
  }
}

describe('the ledger', () => {
  it('never lowers its bound on anything requested before the command, nor on an order alone', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        replay(events, (before, after, kind, device) => {
          if (after.provenWatts >= before.provenWatts) return;
          if (kind !== 'reading' || device === null)
            throw new Error(`${kind} lowered ${before.provenWatts} to ${after.provenWatts}`);
          if (!device.fresh) throw new Error('a stale reading lowered the bound');
          if (before.pending !== null && device.requestedAt! <= before.pending.sentAt)
            throw new Error('a reading older than the command lowered the bound');
        });
      }),
      { numRuns: RUNS, seed: SEED },
    );
  });

  it('books a rise before it is sent, and keeps it until something is seen', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        replay(events, (_before, after) => {
          const { pending } = after;
          if (pending?.direction === 'up') expect(after.provenWatts).toBeGreaterThanOrEqual(pending.watts);
        });
      }),
      { numRuns: RUNS, seed: SEED + 1 },
    );
  });

  it('counts at nameplate whoever is silent, held or set aside', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        replay(events, (_before, after, _kind, device) => {
          if (device === null) return;
          if (after.quarantine !== null || device.inventory !== 'present' || !device.fresh) {
            expect(worstOf(after, facts, device)).toBeGreaterThanOrEqual(facts.nameplateWatts);
          }
        });
      }),
      { numRuns: RUNS, seed: SEED + 2 },
    );
  });

  it('has a worst case that is never below what a meter shows, and never above the sum of the parts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(event, { maxLength: 8 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 0, max: 20_000 }),
        fc.integer({ min: 0, max: 3000 }),
        (histories, metered, load) => {
          const inputs = histories.map((events, index) => {
            let last: Entry = { ...NEW_ENTRY, id: `d${index}`, provenWatts: facts.nameplateWatts };
            let device = observed(1_000_000, {
              activity: 'running',
              powerWatts: 3000,
              reported: true,
              requestedAgoMs: 100,
              inventory: 'present',
              limitWatts: null,
            });
            replay(events, (_before, after, _kind, seen) => {
              last = after;
              if (seen !== null) device = seen;
            });
            return { entry: last, facts, device };
          });
          const nodes = [
            {
              limit: 'grid',
              parent: null,
              gain: 1,
              loadWorstWatts: load,
              measured: { watts: metered, highestWatts: metered, sampledAt: 1_000_000 },
            },
          ];
          const sums = sumNodes(nodes, inputs, {
            driftShare: 0.02,
            sleepersAtLeast: 2,
            gone: () => false,
            meterLagMs: 2500,
            now: 1_000_000,
          }).get('grid')!;
          expect(sums.worstWatts).toBeLessThanOrEqual(sums.sumWorstWatts);
          expect(sums.worstWatts).toBeGreaterThanOrEqual(metered);
          expect(sums.meteredWorstWatts!).toBeGreaterThanOrEqual(metered);
          const blind = sumNodes([{ ...nodes[0]!, measured: null }], inputs, {
            driftShare: 0.02,
            sleepersAtLeast: 2,
            gone: () => false,
            meterLagMs: 2500,
            now: 1_000_000,
          }).get('grid')!;
          // Losing the meter makes no room. (What it showed above the parts is remembered as bias, and its limit
          // may not rise while it is silent.)
          if (metered <= blind.sumWorstWatts)
            expect(blind.worstWatts).toBeGreaterThanOrEqual(sums.worstWatts);
        },
      ),
      { numRuns: cases(3000), seed: SEED + 3 },
    );
  });
});
