import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { JOURNAL_FILE, openForReading } from '../../agent/store/database.ts';
import { type Journal, openJournal } from '../../agent/store/journal.ts';
import { replayJournal } from '../../agent/store/replay.ts';
import { startVirtualSite } from '../support/virtual-site.ts';

const CONFIG = `
site: { id: t }
limits:
  - { id: grid, rating: 1060 kW, meter: gm, authority: full }
  - { id: fa, parent: grid, rating: 330 kW, meter: ma }
  - { id: fb, parent: grid, rating: 400 kW, meter: mb }
  - { id: fc, parent: grid, rating: 400 kW }
loads: [{ id: cooling, limit: grid, worst: 40 kW }]
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
  - { id: ma, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 2 } }
  - { id: mb, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 3 } }
miners:
  - { id: a, limit: fa, hosts: [10.0.0.1-10.0.0.100], firmware: luxos, model: "Antminer S19k Pro" }
  - { id: b, limit: fb, hosts: [10.0.1.1-10.0.1.100], firmware: bitmain, model: "Antminer S21" }
  - { id: c, limit: fc, hosts: [10.0.2.1-10.0.2.100], firmware: whatsminer, model: "Whatsminer M60S" }
control: { restoreRampPercentPerMinute: 20 }
`;
const SEED = 8;
/** Of 300 miners, for each cycle of a second: 2 GB last for weeks. */
const BYTES_PER_CYCLE_AT_MOST = 6000;

describe('the journal of a site of 300 miners', () => {
  it(`replays a shed and a restore with faults to the last byte (seed ${SEED})`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'switchyard-scenario-'));
    let journal: Journal | null = null;
    const virtual = startVirtualSite({
      seed: SEED,
      config: CONFIG,
      journal: (clock) => {
        journal = openJournal(folder, 100_000_000, clock);
        return journal;
      },
      faults: (_id, random) => {
        const draw = random();
        return draw < 0.05 ? { disobeys: true } : draw < 0.08 ? { dead: true } : { restartsPerHour: 0.05 };
      },
    });
    await virtual.run(60_000);
    virtual.order('set_limit', { limit: 'grid', watts: 600_000, withinMs: 30_000 });
    await virtual.run(120_000);
    virtual.order('restore', { limit: 'grid' });
    await virtual.run(420_000);
    virtual.stop();
    journal!.close();
    const database = openForReading(join(folder, JOURNAL_FILE));
    const report = replayJournal(database);
    const bytes = Number(database.prepare('SELECT sum(bytes) AS bytes FROM record').get()?.['bytes']);
    database.close();
    expect(report.difference).toBeNull();
    expect(report.agreed).toBeGreaterThan(590);
    expect(report.commands).toBeGreaterThan(200);
    expect(bytes / report.cycles).toBeLessThan(BYTES_PER_CYCLE_AT_MOST);
    expect(statSync(join(folder, JOURNAL_FILE)).size).toBeLessThan(bytes * 1.5 + 1_000_000);
    rmSync(folder, { recursive: true, force: true });
  });
});

const SMALL = `
site: { id: t }
limits:
  - { id: grid, rating: 120 kW, meter: gm, authority: full }
meters:
  - { id: gm, profile: eastron-sdm630, transport: { kind: modbus-tcp, host: 127.0.0.1, unit: 1 } }
miners:
  - { id: a, limit: grid, hosts: [10.0.0.1-10.0.0.30], firmware: luxos, model: "Antminer S19k Pro" }
control: { restoreRampPercentPerMinute: 50, dwell: 30s }
`;

describe('an agent whose disk fails', () => {
  it(`goes on shedding, lets nothing rise, says so, and restores when the disk is back (seed ${SEED})`, async () => {
    let failure: string | null = null;
    const virtual = startVirtualSite({
      seed: SEED,
      config: SMALL,
      journal: () => ({
        get failure() {
          return failure;
        },
        recordStep: () => failure === null,
        recordSent: () => undefined,
      }),
    });
    await virtual.run(60_000);
    const before = virtual.site.watts('grid');
    failure = 'database or disk is full';
    virtual.order('set_limit', { limit: 'grid', watts: 50_000, withinMs: 30_000 });
    await virtual.run(60_000);
    const low = virtual.site.watts('grid');
    expect(low).toBeLessThan(50_000);
    expect(virtual.conditions().map(({ code }) => code)).toContain('journal-failed');
    virtual.order('restore', { limit: 'grid' });
    let highest = 0;
    virtual.watch = () => {
      highest = Math.max(highest, virtual.site.watts('grid'));
    };
    await virtual.run(600_000);
    expect(highest).toBeLessThan(low * 1.05);
    failure = null;
    await virtual.run(900_000);
    expect(virtual.conditions().map(({ code }) => code)).not.toContain('journal-failed');
    expect(virtual.site.watts('grid')).toBeGreaterThan(before * 0.9);
    virtual.stop();
  });
});
