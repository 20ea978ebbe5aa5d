import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openIdentities } from '../../../agent/store/identities.ts';
import { openJournal } from '../../../agent/store/journal.ts';
import { openMeterLessons } from '../../../agent/store/meter-lessons.ts';
import { openSpool } from '../../../agent/store/spool.ts';
import { loadConfig } from '../../../config/load.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const GOLDEN = join(import.meta.dirname, '../../golden/state');
const MAIN = join(import.meta.dirname, '../../../agent/main.ts');
/** Half a minute after the last record of the state. */
const NOW = 1_795_329_120_000;

/** Every version that was ever on a gateway: its state is taken over by this one. */
describe.each(readdirSync(GOLDEN))('the state that version %s left behind', (version) => {
  let folder: string;
  let state: string;
  let config: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'switchyard-earlier-'));
    state = join(folder, 'state');
    config = join(folder, 'switchyard.yaml');
    cpSync(join(GOLDEN, version, 'state'), state, { recursive: true });
    const text = readFileSync(join(GOLDEN, version, 'switchyard.yaml'), 'utf8');
    writeFileSync(config, text.replace('"STATE"', JSON.stringify(state)));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('gives orders, holds, quarantine and what was booked to the next life', () => {
    const journal = openJournal(state, 1e8, new VirtualClock(NOW));
    expect(journal.failure).toBeNull();
    const { epoch, book, controlState, seenDevices } = journal.restore({ meterStaleMs: 5000 });
    expect(epoch).toBe(2);
    expect(book.leases).toMatchObject([{ limit: 'feeder-a', watts: 15_000, priority: 100 }]);
    expect(book.holds).toMatchObject([{ target: 'hall-b-001', who: 'anna', until: null }]);
    expect(seenDevices).toHaveLength(6);
    // Nothing rises before fresh evidence.
    expect(controlState?.phase).toBe('starting');
    expect(controlState?.entries['hall-c-001']?.quarantine).not.toBeNull();
    expect(Object.keys(controlState?.entries ?? {})).toHaveLength(6);
    expect(journal.persist({ ...book, prices: { energyDollarsPerMwh: 50 } })).toBe(true);
    journal.close();
    // And once more: what this version wrote beside it is read with it.
    const next = openJournal(state, 1e8, new VirtualClock(NOW + 60_000));
    expect(next.restore({ meterStaleMs: 5000 })).toMatchObject({
      epoch: 3,
      book: { holds: [{ who: 'anna' }] },
    });
    next.close();
  });

  it('gives its messages, identities and lessons', () => {
    const spool = openSpool({ folder: state, maximumBytes: 1e8, clock: new VirtualClock(NOW) });
    expect(spool.counts()).toMatchObject({ records: expect.any(Number) });
    expect(spool.read('record', 0, 1000).length + spool.read('history', 0, 1000).length).toBe(121);
    expect(spool.conditions()).toEqual([]);
    spool.close();
    const loaded = loadConfig(config);
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const places = loaded.value.miners.filter((place) => place.entry.id === 'hall-a');
    const known = openIdentities(state).of(
      'hall-a',
      places.map(({ host, port }) => `${host}:${port}`),
    );
    expect(known.size).toBe(places.length);
    expect(openMeterLessons(state).of('grid-meter')).not.toBeUndefined();
  });

  it.each([
    ['replay', () => ['replay', join(state, 'journal.db')], /cycles agree/],
    ['report --verify', () => ['report', '--verify', '--config', config], /entries/],
  ] as const)('is read by %s', (_name, args, says) => {
    const run = spawnSync(process.execPath, [MAIN, ...args()], { encoding: 'utf8' });
    expect(run.stdout + run.stderr).toMatch(says);
    expect(run.status, run.stderr).toBe(0);
  });
});
