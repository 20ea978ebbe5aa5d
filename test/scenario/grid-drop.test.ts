import { describe, expect, it } from 'vitest';
import { startVirtualSite, type VirtualSite } from '../support/virtual-site.ts';

/** 300 miners of three families, one feeder each, one grid meter and three feeder meters. */
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 1060 kW, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 330 kW, meter: ma }
  - { id: fb, parent: grid, rating: 400 kW, meter: mb }
  - { id: fc, parent: grid, rating: 400 kW, meter: mc }
loads: [{ id: cooling, limit: grid, worst: 40 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: ma, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
  - { id: mb, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 3 } }
  - { id: mc, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 4 } }
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.100], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: b, limit: fb, hosts: [10.0.1.1-10.0.1.100], firmware: bitmain, model: "Antminer S21" }
  - { id: c, limit: fc, hosts: [10.0.2.1-10.0.2.100], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 5 }
`;

const LIMIT = 636_000;
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

/** 5 % disobey, 3 % are dead, 1 % of the rest restart by themselves per hour. */
function faults(_id: string, random: () => number) {
  const draw = random();
  if (draw < 0.05) return { disobeys: true };
  if (draw < 0.08) return { dead: true };
  return { restartsPerHour: 0.01 };
}

interface Run {
  metAtMs: number | null;
  overAfterDeadlineSeconds: number;
  worstOverWatts: number;
  overRatingSeconds: number;
}

function judge(virtual: VirtualSite): Run {
  const run: Run = { metAtMs: null, overAfterDeadlineSeconds: 0, worstOverWatts: 0, overRatingSeconds: 0 };
  const start = virtual.clock.monotonicMs();
  virtual.watch = (now) => {
    const watts = virtual.site.watts('grid');
    if (watts <= LIMIT) run.metAtMs ??= now - start;
    else if (now - start > 30_000) {
      run.overAfterDeadlineSeconds += 0.1;
      run.worstOverWatts = Math.max(run.worstOverWatts, watts - LIMIT);
    }
    for (const [id, rating] of [
      ['fa', 330_000],
      ['fb', 400_000],
      ['fc', 400_000],
      ['grid', 1_060_000],
    ] as const) {
      if (virtual.site.watts(id) > rating) run.overRatingSeconds += 0.1;
    }
  };
  return run;
}

describe('the grid limit falls by 40 % within 30 s', () => {
  it.each(SEEDS)('is met and held, then restored by ramp (seed %i)', async (seed) => {
    const virtual = startVirtualSite({ seed, config: CONFIG, faults });
    await virtual.run(60_000);
    expect(virtual.site.watts('grid')).toBeGreaterThan(900_000);
    const run = judge(virtual);
    const sentBefore = virtual.applied();
    const answer = virtual.order('set_limit', { limit: 'grid', watts: LIMIT, withinMs: 30_000 });
    // In the same turn of the event loop: commands are with their drivers before anything else may run.
    expect(virtual.applied() - sentBefore).toBeGreaterThan(40);
    expect(answer.status).toBe('accepted');
    expect(answer.limitWatts).toBe(LIMIT);
    await virtual.run(12 * 60_000);
    const note = `seed ${seed}: ${JSON.stringify(run)} ${JSON.stringify(virtual.answers)}`;
    // This site can do it, so no shortfall is told, and the promise holds to the second.
    expect(answer.shortfallWatts ?? 0, note).toBe(0);
    expect(run.metAtMs ?? Number.POSITIVE_INFINITY, note).toBeLessThanOrEqual(30_000);
    expect(run.overAfterDeadlineSeconds, note).toBe(0);
    expect(run.overRatingSeconds, note).toBe(0);
    expect(virtual.answers.at(-1)?.status, note).toBe('done');
    // The room is used: a limit that is met with a quarter of it unused would be no optimum.
    expect(virtual.site.watts('grid'), note).toBeGreaterThan(LIMIT * 0.9);
    const before = virtual.site.watts('grid');
    const restored = judge(virtual);
    virtual.order('restore', {});
    await virtual.run(60_000);
    // By ramp: at most 5 % of the site in a minute.
    expect(virtual.site.watts('grid') - before, note).toBeLessThan(0.062 * 1_060_000);
    await virtual.run(25 * 60_000);
    expect(virtual.site.watts('grid'), note).toBeGreaterThan(850_000);
    expect(restored.overRatingSeconds, note).toBe(0);
    virtual.stop();
  });
});
