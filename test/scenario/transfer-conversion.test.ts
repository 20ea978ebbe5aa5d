import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { renderConversion } from '../../agent/cli/transfer-command.ts';
import { startVirtualSite } from '../support/virtual-site.ts';

const EXAMPLE = readFileSync(join(import.meta.dirname, '../../config/examples/lease-by-lease.yaml'), 'utf8');
const NODES = ['row1-n1', 'row1-n2', 'row2-n1'];
/** Small enough that mining fills the feeder. */
const EAST_WATTS = 600_000;
const SEED = 5;

describe('a feeder that passes to AI lease by lease', () => {
  it(`mining is the bridge until nodes are energised, and there is always room for the next (seed ${SEED})`, async () => {
    const virtual = startVirtualSite({
      seed: SEED,
      config: EXAMPLE,
      offNodes: NODES,
      // Ten minutes before the first step, at the site's own midnight.
      epochMs: Date.parse('2026-11-30T23:50:00-05:00'),
    });
    let over = 0;
    virtual.order('set_limit', { limit: 'feeder-east', watts: EAST_WATTS, withinMs: 60_000 });
    await virtual.run(5 * 60_000);
    virtual.watch = () => {
      if (virtual.site.watts('feeder-east') > EAST_WATTS) over += 1;
    };
    const conversion = () => virtual.transfers.conversions()[0]!;
    const states = () => conversion().steps.map((step) => step.state);
    expect(states()).toEqual(['scheduled', 'scheduled']);
    expect(conversion()).toMatchObject({ entitledWatts: 0, reservedWatts: 0, bridgeWatts: 0 });
    const full = virtual.site.watts('feeder-east');
    expect(full).toBeGreaterThan(EAST_WATTS * 0.96);

    await virtual.run(15 * 60_000);
    expect(states()).toEqual(['bridging', 'scheduled']);
    // Room for one node of 10.2 kW; the rest of 25 kW is still mined on.
    expect(conversion()).toMatchObject({ entitledWatts: 10_200, reservedWatts: 10_200, bridgeWatts: 14_800 });
    expect(conversion().steps[0]?.waitingFor).toEqual(['row1-n1', 'row1-n2']);
    expect(virtual.site.watts('feeder-east')).toBeLessThan(EAST_WATTS - 10_200);
    expect(renderConversion(conversion())[1]).toBe(
      '  2026-12-01: 25.0 kW for AI, due, mining is the bridge until its nodes are energised; waits for row1-n1, row1-n2',
    );

    virtual.energise('row1-n1');
    await virtual.run(8 * 60_000);
    expect(conversion()).toMatchObject({ entitledWatts: 20_400, reservedWatts: 10_200, bridgeWatts: 4600 });
    virtual.energise('row1-n2');
    await virtual.run(8 * 60_000);
    expect(states()).toEqual(['converted', 'scheduled']);
    // All of the step is AI's, drawn or not.
    expect(conversion()).toMatchObject({ entitledWatts: 25_000, reservedWatts: 4600, bridgeWatts: 0 });
    expect(over, 'tenths of a second over the feeder limit').toBe(0);

    // A node that falls silent later does not give its capacity back to mining.
    virtual.nodes.get('row1-n2')!.dead = true;
    await virtual.run(5 * 60_000);
    expect(states()).toEqual(['converted', 'scheduled']);
    expect(over).toBe(0);
    virtual.stop();
  });

  it('the second step adds to the first from its own day', async () => {
    const virtual = startVirtualSite({
      seed: SEED,
      config: EXAMPLE,
      offNodes: ['row2-n1'],
      epochMs: Date.parse('2027-02-01T09:00:00-05:00'),
    });
    await virtual.run(60_000);
    const conversion = () => virtual.transfers.conversions()[0]!;
    expect(conversion().steps.map((step) => step.state)).toEqual(['converted', 'bridging']);
    expect(conversion()).toMatchObject({ entitledWatts: 35_200, bridgeWatts: 4800 });
    virtual.energise('row2-n1');
    await virtual.run(60_000);
    expect(conversion()).toMatchObject({ entitledWatts: 40_000, bridgeWatts: 0 });
    virtual.stop();
  });
});
