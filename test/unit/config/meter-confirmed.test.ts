import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { meterOptions } from '../../../agent/drivers.ts';
import { loadConfig } from '../../../config/load.ts';
import { meterProfile } from '../../../config/meters/profiles.ts';
import { openMeter } from '../../../drivers/modbus-meter.ts';
import { BusPool } from '../../../protocols/modbus/bus-pool.ts';
import { seededRandom } from '../../../protocols/random.ts';
import { serveMeter } from '../../../simulator/meter.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** A map whose power register nobody has confirmed, in a file of the site's own. */
describe('a register that is not confirmed', () => {
  let folder: string;
  const profile = structuredClone(meterProfile('siemens-pac3200-pac4200')!);
  profile.id = 'acme';
  for (const point of profile.points) if (point.name === 'power.active.total') point.confidence = 'C';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-profile-'));
    writeFileSync(join(folder, 'acme.json'), JSON.stringify(profile));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function load(port: number, more = '') {
    const file = join(folder, 'switchyard.yaml');
    const transport = `{ kind: modbus-tcp, host: 127.0.0.1, port: ${port}, unit: 1 }`;
    writeFileSync(
      file,
      `site: { id: s }\nlimits:\n  - { id: grid, rating: 1 MW, meter: m }\nmeters:\n  - { id: m, profile: ./acme.json, transport: ${transport}${more} }\n`,
    );
    const loaded = loadConfig(file, {});
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    return loaded.value;
  }

  async function qualityOf(more: string) {
    const clock = new VirtualClock();
    const server = await serveMeter({
      profile,
      host: '127.0.0.1',
      port: 0,
      unit: 1,
      readings: () => ({ powerWatts: 5000 }),
      clock,
      random: seededRandom(1),
    });
    const { config, profiles, warnings } = load(server.address.port, more);
    const buses = new BusPool({ clock, random: seededRandom(1) });
    const reading = await openMeter(meterOptions(config.meters[0]!, profiles), { clock, buses }).read(
      new AbortController().signal,
    );
    await buses[Symbol.asyncDispose]();
    await server.close();
    if (!reading.ok) throw new Error(reading.error.message);
    return { ...reading.value, warnings: warnings.map(({ code }) => code) };
  }

  test('is shown, never good, and the check says so', async () => {
    const { powerWatts, quality, doubts, warnings } = await qualityOf('');
    expect(powerWatts).toBeCloseTo(5000, 0);
    // Control goes by good figures only.
    expect(quality).toBe('estimated');
    expect(doubts.join()).toContain('not used for control');
    expect(warnings).toContain('unconfirmed-register');
  });

  test('is used once somebody at the site confirmed it', async () => {
    const { quality, warnings } = await qualityOf(', confirmed: [power.active.total]');
    expect(quality).toBe('good');
    expect(warnings).not.toContain('unconfirmed-register');
  });
});
