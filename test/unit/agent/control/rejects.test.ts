import { describe, expect, it } from 'vitest';
import { learnRejects, withKnownRejects } from '../../../../agent/control/rejects.ts';
import { type ControlState, step } from '../../../../agent/control/step.ts';
import { recoverState } from '../../../../agent/store/recover.ts';
import { controlSite } from '../../../support/control-site.ts';
import { entryOf, observed } from '../../../support/control-states.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NOW = 20 * HOUR;

describe('what pools reject', () => {
  it('is written down of a miner at work, the same figure every ten minutes', () => {
    const seen = (percent: number, before = entryOf(), now = NOW) =>
      learnRejects(before, observed({ rejectedPercent: percent }), now).rejects;
    expect(seen(40)).toEqual({ percent: 40, at: NOW });
    const known = entryOf({ rejects: { percent: 40, at: NOW } });
    expect(seen(40, known, NOW + 10 * MINUTE - 1)).toEqual({ percent: 40, at: NOW });
    expect(seen(40, known, NOW + 10 * MINUTE)).toEqual({ percent: 40, at: NOW + 10 * MINUTE });
    expect(seen(41, known, NOW + 1)).toEqual({ percent: 41, at: NOW + 1 });
  });

  it('is not learnt of a miner that does not work, or is not read', () => {
    for (const changes of [{ activity: 'asleep' }, { activity: 'starting' }, { fresh: false }] as const) {
      expect(learnRejects(entryOf(), observed({ rejectedPercent: 40, ...changes }), NOW)).toEqual(entryOf());
      const known = entryOf({ rejects: { percent: 40, at: 0 } });
      expect(learnRejects(known, observed(changes), NOW)).toEqual(known);
    }
  });

  it('is forgotten of a miner that worked for an hour without any', () => {
    const known = entryOf({ rejects: { percent: 40, at: NOW } });
    expect(learnRejects(known, observed(), NOW + HOUR)).toEqual(known);
    expect(learnRejects(known, observed(), NOW + HOUR + 1)).toEqual(entryOf());
  });

  it('counts while it sleeps, for six hours, unless it says a figure of its own', () => {
    const known = entryOf({ rejects: { percent: 40, at: NOW } });
    const asleep = observed({ activity: 'asleep' });
    expect(withKnownRejects(asleep, known, NOW + 6 * HOUR)).toEqual({ ...asleep, rejectedPercent: 40 });
    expect(withKnownRejects(asleep, known, NOW + 6 * HOUR + 1)).toEqual(asleep);
    expect(withKnownRejects(asleep, entryOf(), NOW)).toEqual(asleep);
    expect(withKnownRejects(asleep, undefined, NOW)).toEqual(asleep);
    const says = observed({ activity: 'asleep', rejectedPercent: 3 });
    expect(withKnownRejects(says, known, NOW)).toEqual(says);
    expect(withKnownRejects(observed(), known, NOW)).toEqual(observed());
  });
});

describe('a miner whose rejects make it unprofitable', () => {
  /** What a cycle makes of one miner that shows `changes`, out of `state`. */
  const site = controlSite(4, 3, false);
  for (let cycle = 0; cycle < 12; cycle += 1) site.cycle();
  const { before, observation, orders, context } = site.cycle();
  const cycle = (state: ControlState, changes: object, edition = 3) => {
    const devices = observation.devices.map((device) =>
      device.id === 'm-0' ? { ...device, ...changes } : device,
    );
    const ruled = { ...context, rules: { ...context.rules, edition } };
    const result = step(ruled, state, { ...observation, devices }, orders);
    const worth = result.facts.get('m-0')!.points.at(-1)!.dollarsPerHour;
    return { state: result.state, worth };
  };
  const ASLEEP = { activity: 'asleep', powerWatts: 30, hashrateThs: 0 };

  it('is worth no more when it sleeps and no longer counts them, also after a start of the agent', () => {
    const whole = cycle(before, {}).worth;
    const working = cycle(before, { rejectedPercent: 60 });
    expect(working.worth).toBeLessThan(0);
    expect(whole).toBeGreaterThan(0);
    expect(cycle(working.state, ASLEEP).worth).toBe(working.worth);

    const lost = {
      state: JSON.parse(JSON.stringify(working.state)) as ControlState,
      observation: null,
      now: observation.now,
      ts: 1_790_000_000_000,
      sent: [],
      damaged: false,
    };
    const recovered = recoverState(lost, {
      meterStaleMs: 5000,
      epochMs: lost.ts + HOUR,
      monotonicMs: observation.now,
    });
    expect(recovered.entries['m-0']!.rejects).toEqual({ percent: 60, at: observation.now - HOUR });
    expect(cycle(recovered, ASLEEP).worth).toBe(working.worth);
  });

  it('counts afresh by the rules of earlier versions, which write nothing down', () => {
    const working = cycle(before, { rejectedPercent: 60 }, 2);
    expect(working.state.entries['m-0']).not.toHaveProperty('rejects');
    expect(cycle(cycle(before, { rejectedPercent: 60 }).state, ASLEEP, 2).worth).toBe(
      cycle(before, {}).worth,
    );
  });
});
