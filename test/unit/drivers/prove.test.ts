import { describe, expect, it } from 'vitest';
import type { Applied, LoadCommand, LoadDriver, MinerReading } from '../../../drivers/load-driver.ts';
import { nothingSaid } from '../../../drivers/miners/reply-fields.ts';
import { judge, prove } from '../../../drivers/prove.ts';
import { fail, ok, type Result } from '../../../protocols/result.ts';
import { createPatientClock } from '../../support/patient-clock.ts';

const never = new AbortController().signal;
const sleep: LoadCommand = { kind: 'sleep' };

function reading(fields: Partial<MinerReading>): MinerReading {
  return {
    ...nothingSaid('luxos'),
    sampledAt: 0,
    requestedAt: 0,
    roundTripMs: 0,
    state: 'hashing',
    ...fields,
  };
}

/** A driver that gives what it is told to. */
function scripted(applied: Result<Applied>, read: () => Result<MinerReading>): LoadDriver {
  return {
    deviceId: 'x',
    identify: () => Promise.resolve(fail('unsupported', 'not asked for here')),
    apply: () => Promise.resolve(applied),
    read: () => Promise.resolve(read()),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const yes: Applied = { acknowledged: true, sentAt: 100, limitWatts: null, note: null };
const before = reading({ powerWatts: 3000, powerSource: 'reported', hashrateThs: 100 });
const asleep = { state: 'sleeping', powerWatts: 30, powerSource: 'reported', hashrateThs: 0 } as const;

describe('proof of a command', () => {
  it('counts no reading that was requested before the command was sent', async () => {
    const clock = createPatientClock();
    const stale = scripted(ok(yes), () => ok(reading({ ...asleep, requestedAt: 99 })));
    expect(await prove(stale, sleep, before, clock, never)).toMatchObject({
      outcome: 'unknown',
      after: null,
    });
    const fresh = scripted(ok(yes), () => ok(reading({ ...asleep, requestedAt: 101 })));
    expect(await prove(fresh, sleep, before, clock, never)).toMatchObject({ outcome: 'verified' });
  });

  it('is unknown where nothing answers, refused where the device or a rule said no', async () => {
    const clock = createPatientClock();
    const silent = scripted(ok({ ...yes, acknowledged: null }), () => fail('timeout', 'nothing'));
    expect((await prove(silent, sleep, before, clock, never)).outcome).toBe('unknown');
    for (const kind of ['refused', 'unauthorised', 'wrong-device', 'busy', 'unsupported'] as const) {
      const proof = await prove(
        scripted(fail(kind, 'no'), () => fail('timeout', '')),
        sleep,
        before,
        clock,
        never,
      );
      expect(proof).toMatchObject({ outcome: 'refused', applied: null, failure: { kind } });
    }
    const gone = scripted(fail('unreachable', 'gone'), () => fail('timeout', ''));
    expect((await prove(gone, sleep, before, clock, never)).outcome).toBe('unknown');
  });

  it('is contradicted by watts, whatever the state says', async () => {
    const clock = createPatientClock();
    const lying = scripted(ok(yes), () => ok(reading({ ...asleep, powerWatts: 2900, requestedAt: 101 })));
    expect((await prove(lying, sleep, before, clock, never)).outcome).toBe('contradicted');
  });

  it('judges by watts where they are reported, by set point and estimate together where not', () => {
    const limit: LoadCommand = { kind: 'run', limitWatts: 3000 };
    const works = { hashrateThs: 180, nominalHashrateThs: 200 };
    const at = (fields: Partial<MinerReading>) => judge(limit, before, reading({ ...works, ...fields }));
    expect(at({ powerWatts: 3050, powerSource: 'reported' })).toBe('shown');
    expect(at({ powerWatts: 3200, powerSource: 'reported', powerLimitWatts: 2975 })).toBe('not-shown');
    expect(at({ powerWatts: 3400, powerSource: 'estimated', powerLimitWatts: 2975 })).toBe('not-shown');
    expect(at({ powerWatts: 3000, powerSource: 'estimated', powerLimitWatts: 3500 })).toBe('not-shown');
    expect(at({ powerWatts: 3000, powerSource: 'estimated', powerLimitWatts: 2975 })).toBe('shown');
    expect(at({})).toBe('silent');
    expect(at({ state: 'unknown' })).toBe('silent');
    expect(at({ hashrateThs: 3, powerWatts: 50, powerSource: 'reported' })).toBe('not-shown');
    expect(judge(sleep, before, reading({ state: 'stopped', hashrateThs: 0 }))).toBe('not-shown');
  });
});
