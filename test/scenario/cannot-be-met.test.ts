import { describe, expect, it } from 'vitest';
import { startVirtualSite } from '../support/virtual-site.ts';

/** Two halls; an office that nobody controls hangs on the first. */
const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 400 kW, meter: gm, authority: full }
  - { id: a, parent: grid, rating: 200 kW, meter: am, authority: full }
  - { id: b, parent: grid, rating: 200 kW, meter: bm, authority: full }
loads: [{ id: office, limit: a, worst: 20 kW }]
meters:
${['gm', 'am', 'bm'].map((id, index) => `  - { id: ${id}, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: ${index + 1} } }`).join('\n')}
miners:
  - { id: x, limit: a, hosts: [10.0.0.1-10.0.0.30], firmware: whatsminer, model: "Whatsminer M60S" }
  - { id: y, limit: b, hosts: [10.0.1.1-10.0.1.30], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 50 }
`;
const MINUTE = 60_000;

describe('a limit that nothing can meet', () => {
  it.each([3])(
    'is named with its watts at once, and costs the rest of the site nothing (seed %i)',
    async (seed) => {
      const virtual = startVirtualSite({ seed, config: CONFIG });
      await virtual.run(MINUTE);
      const before = virtual.site.watts('b');
      expect(before).toBeGreaterThan(95_000);
      const short = () => virtual.conditions().filter((condition) => condition.code === 'cannot-be-met');
      expect(short()).toEqual([]);
      const answer = virtual.order('set_limit', { limit: 'a', watts: 10_000, withinMs: 30_000 });
      // What cannot be moved draws 12 kW, and the sleepers something.
      expect(answer).toMatchObject({ status: 'accepted' });
      expect(answer.shortfallWatts).toBeGreaterThan(2000);
      await virtual.run(10 * MINUTE);
      expect(virtual.site.watts('a')).toBeLessThan(14_000);
      expect(virtual.site.watts('b')).toBeGreaterThan(before * 0.98);
      expect(short()).toMatchObject([{ target: 'a', severity: 'critical' }]);
      expect(short()[0]!.message).toMatch(
        /^a cannot be met by anything the agent may command: \d+ W too many/,
      );
      expect(virtual.controller.lastResult!.decision).toMatchObject({
        status: 'infeasible',
        gap: null,
        upperBoundDollarsPerHour: null,
      });
      virtual.order('restore', {});
      await virtual.run(15 * MINUTE);
      expect(virtual.site.watts('a')).toBeGreaterThan(95_000);
      expect(short()).toEqual([]);
      virtual.stop();
    },
  );

  it('of the whole site puts everything to sleep', async () => {
    const virtual = startVirtualSite({ seed: 4, config: CONFIG });
    await virtual.run(MINUTE);
    virtual.order('set_limit', { limit: 'grid', watts: 10_000, withinMs: 30_000 });
    await virtual.run(2 * MINUTE);
    expect(virtual.site.watts('b')).toBeLessThan(3000);
    expect(virtual.controller.lastResult!.decision.shortfalls.map(({ target }) => target)).toEqual(['grid']);
    virtual.stop();
  });
});
