import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EMPTY_BOOK } from '../../../agent/orders/book.ts';
import {
  BALLAST_BYTES,
  JOURNAL_FILE,
  type OpenDatabase,
  openForReading,
} from '../../../agent/store/database.ts';
import { type Journal, openJournal } from '../../../agent/store/journal.ts';
import { replayJournal } from '../../../agent/store/replay.ts';
import { type ControlSite, controlSite, SITE_START_MS } from '../../support/control-site.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const RULES = { meterStaleMs: 5000 };
const MAXIMUM = 50_000_000;

let folder = '';
let clock = new VirtualClock(SITE_START_MS);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-disk-'));
  clock = new VirtualClock(SITE_START_MS);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** One cycle that wants a rise: the booking has to be durable. */
function rise(site: ControlSite, journal: Journal): boolean {
  const record = site.cycle();
  const command = {
    device: 'm-0',
    pointId: 'normal',
    kind: 'run' as const,
    watts: 2760,
    limitWatts: null,
    direction: 'up' as const,
    fromPointId: 'sleep',
    fromWatts: 60,
    why: 'test',
    bindingLimit: null,
    dollarsPerKwh: null,
  };
  const { result } = record;
  return journal.recordStep({
    ...record,
    result: { ...result, decision: { ...result.decision, commands: [command] } },
  });
}

/** A database whose writes fail with a result code of SQLite while `fault.code` is set. */
function failing(fault: { code: number | null }): OpenDatabase {
  return (path) => {
    const database = new DatabaseSync(path);
    const exec = database.exec.bind(database);
    database.exec = (sql: string) => {
      if (fault.code !== null && /^(BEGIN|COMMIT|CREATE)/.test(sql.trim()))
        throw Object.assign(new Error('injected fault'), { code: 'ERR_SQLITE_ERROR', errcode: fault.code });
      exec(sql);
    };
    return database;
  };
}

describe('a journal on a bad disk', () => {
  it('refuses bookings while writes fail, tries again every ten seconds, and then holds the whole state', async () => {
    const fault: { code: number | null } = { code: null };
    const journal = openJournal(folder, MAXIMUM, clock, failing(fault));
    journal.restore(RULES);
    const site = controlSite(4, 1);
    expect(rise(site, journal)).toBe(true);
    fault.code = 10; // SQLITE_IOERR
    expect(rise(site, journal)).toBe(false);
    expect(journal.failure).toBe('injected fault');
    expect(journal.persist({ ...EMPTY_BOOK, lastSeq: { grid: 1 } })).toBe(false);
    fault.code = null;
    // Not tried at once: a disk that hangs must not hang every cycle.
    expect(rise(site, journal)).toBe(false);
    await clock.advance(10_000);
    expect(rise(site, journal)).toBe(true);
    expect(journal.failure).toBeNull();
    expect(journal.epoch).toBe(1);
    journal.close();
    const next = openJournal(folder, MAXIMUM, clock);
    const restored = next.restore(RULES);
    // The order of the bad time was written as soon as that was possible.
    expect(restored.book.lastSeq).toEqual({ grid: 1 });
    expect(restored.epoch).toBe(2);
    expect(Object.keys(restored.controlState?.entries ?? {})).toHaveLength(4);
    next.close();
  });

  it('keeps a ballast and gives it up for what must be written when the disk is full', async () => {
    const fault: { code: number | null } = { code: null };
    const journal = openJournal(folder, MAXIMUM, clock, failing(fault));
    expect(statSync(join(folder, 'ballast')).size).toBe(BALLAST_BYTES);
    expect(journal.conditions()).toEqual([]);
    fault.code = 13; // SQLITE_FULL
    expect(rise(controlSite(4, 1), journal)).toBe(false);
    expect(existsSync(join(folder, 'ballast'))).toBe(false);
    expect(journal.failure).toBe('injected fault');
    fault.code = null;
    await clock.advance(10_000);
    expect(rise(controlSite(4, 1), journal)).toBe(true);
    // There is room again: so is the ballast.
    expect(existsSync(join(folder, 'ballast'))).toBe(true);
    journal.close();
  });

  it('sets a file aside that is no database, begins a new one, and lets nothing rise until a restart', () => {
    writeFileSync(
      join(folder, JOURNAL_FILE),
      'this is not a database, but it is long enough to look like one'.repeat(99),
    );
    const journal = openJournal(folder, MAXIMUM, clock);
    const aside = readdirSync(folder).find((name) => name.startsWith('journal.damaged-2026-'));
    expect(readFileSync(join(folder, aside!), 'utf8')).toMatch(/^this is not/);
    expect(journal.conditions().map(({ code }) => code)).toEqual(['journal-set-aside']);
    expect(journal.failure).toContain('orders given before may be missing');
    // Written down, but nothing may rise: a limit that somebody set may be forgotten.
    expect(journal.persist({ ...EMPTY_BOOK, lastSeq: { grid: 5 } })).toBe(true);
    expect(rise(controlSite(4, 1), journal)).toBe(false);
    expect(journal.log({ count: 5 })[0]?.kind).toBe('journal-set-aside');
    journal.close();
    const next = openJournal(folder, MAXIMUM, clock);
    expect(next.failure).toBeNull();
    expect(next.restore(RULES).book.lastSeq).toEqual({ grid: 5 });
    next.close();
  });

  it('sets a file aside that breaks while it runs, and goes on with everything it knows', async () => {
    const fault: { code: number | null } = { code: null };
    const opened: string[] = [];
    const broken = failing(fault);
    const journal = openJournal(folder, MAXIMUM, clock, (path) => {
      // Only the first file is broken.
      if (opened.push(path) > 1) fault.code = null;
      return broken(path);
    });
    const book = { ...EMPTY_BOOK, holds: [{ target: 'm-1', who: 'ann', why: 'fan', since: 1, until: null }] };
    const site = controlSite(4, 1);
    journal.restore(RULES);
    expect(journal.persist(book)).toBe(true);
    for (let index = 0; index < 10; index += 1) journal.recordStep(site.cycle());
    fault.code = 11; // SQLITE_CORRUPT
    expect(rise(site, journal)).toBe(true);
    expect(journal.failure).toBeNull();
    expect(readdirSync(folder).some((name) => name.startsWith('journal.damaged-'))).toBe(true);
    journal.close();
    const next = openJournal(folder, MAXIMUM, clock);
    const restored = next.restore(RULES);
    expect(restored.book.holds).toEqual(book.holds);
    expect(restored.seenDevices).toHaveLength(4);
    expect(Object.keys(restored.controlState?.entries ?? {})).toHaveLength(4);
    next.close();
  });

  it('runs from memory where no folder can be made, and says so', async () => {
    writeFileSync(join(folder, 'file'), '');
    const journal = openJournal(join(folder, 'file', 'state'), MAXIMUM, clock);
    expect(journal.restore(RULES)).toMatchObject({ epoch: 0, controlState: null, seenDevices: [] });
    expect(journal.failure).toMatch(/ENOTDIR/);
    const site = controlSite(4, 1);
    for (let index = 0; index < 2000; index += 1) {
      expect(journal.recordStep(site.cycle())).toBe(false);
      if (index % 100 === 0) await clock.advance(1000);
    }
    journal.recordEvents([{ epochMs: 1, kind: 'present', target: 'm-1', message: 'answers' }]);
    expect(journal.log({ count: 5 }).at(-1)?.target).toBe('m-1');
    journal.close();
  });

  it('does not overwrite orders of a disk that appears after the start', async () => {
    const state = join(folder, 'state');
    const earlier = openJournal(state, MAXIMUM, clock);
    earlier.persist({ ...EMPTY_BOOK, lastSeq: { grid: 9 } });
    earlier.close();
    const fault: { code: number | null } = { code: 14 }; // SQLITE_CANTOPEN
    const journal = openJournal(state, MAXIMUM, clock, (path) => {
      if (fault.code !== null) throw Object.assign(new Error('unable to open'), { errcode: fault.code });
      return new DatabaseSync(path);
    });
    journal.restore(RULES);
    fault.code = null;
    await clock.advance(10_000);
    expect(journal.persist(EMPTY_BOOK)).toBe(false);
    expect(journal.failure).toContain('restart the agent to take its orders in');
    journal.close();
    const next = openJournal(state, MAXIMUM, clock);
    expect(next.restore(RULES).book.lastSeq).toEqual({ grid: 9 });
    next.close();
  });
});

/** A tmpfs of `megabytes` on the folder, or null where this user may not mount. */
function mountSmall(path: string, megabytes: number): (() => void) | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'none', path], { stdio: 'ignore' });
    return () => {
      execFileSync('umount', [path], { stdio: 'ignore' });
    };
  } catch {
    return null;
  }
}

const canMount = (() => {
  const probe = mkdtempSync(join(tmpdir(), 'switchyard-mount-'));
  const unmount = mountSmall(probe, 1);
  unmount?.();
  rmSync(probe, { recursive: true, force: true });
  return unmount !== null;
})();

describe.skipIf(!canMount)('a journal on a real small disk (needs the right to mount a tmpfs)', () => {
  let unmount: (() => void) | null = null;
  let state = '';
  beforeEach(() => {
    state = join(folder, 'mounted');
    mkdirSync(state);
    unmount = mountSmall(state, 24);
  });
  afterEach(() => unmount?.());

  /** Takes every byte that is left. */
  function fill() {
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${join(state, 'filler')}`, 'bs=4096'], { stdio: 'ignore' });
    } catch {
      // dd ends with an error when the disk is full: that is what it is for.
    }
  }

  it('goes on writing on a disk that somebody else filled: the ballast makes room, the journal shrinks', async () => {
    const journal = openJournal(state, MAXIMUM, clock);
    journal.restore(RULES);
    const site = controlSite(10, 3);
    expect(rise(site, journal)).toBe(true);
    fill();
    let refused = 0;
    for (let index = 0; index < 900; index += 1) {
      if (!rise(site, journal)) refused += 1;
      await clock.advance(1000);
    }
    expect(existsSync(join(state, 'ballast'))).toBe(false);
    expect(refused).toBe(0);
    expect(journal.conditions().map(({ code }) => code)).toEqual(['disk-full']);
    journal.close();
    const database = openForReading(join(state, JOURNAL_FILE));
    expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
    database.close();
    const next = openJournal(state, MAXIMUM, clock);
    expect(Object.keys(next.restore(RULES).controlState?.entries ?? {})).toHaveLength(10);
    next.close();
  });

  it('only lowers on a disk that turned read-only, and recovers when it is writable again', async () => {
    const journal = openJournal(state, MAXIMUM, clock);
    journal.restore(RULES);
    const site = controlSite(10, 3);
    expect(rise(site, journal)).toBe(true);
    journal.close();
    execFileSync('mount', ['-o', 'remount,ro', state]);
    const next = openJournal(state, MAXIMUM, clock);
    expect(next.failure).not.toBeNull();
    next.restore(RULES);
    expect(rise(site, next)).toBe(false);
    execFileSync('mount', ['-o', 'remount,rw', state]);
    next.close();
    const last = openJournal(state, MAXIMUM, clock);
    last.restore(RULES);
    expect(rise(site, last)).toBe(true);
    last.close();
  });
});

describe('replay of a journal that lived through a failure', () => {
  it('agrees on both sides of the gap', async () => {
    const fault: { code: number | null } = { code: null };
    const journal = openJournal(folder, MAXIMUM, clock, failing(fault));
    journal.restore(RULES);
    const site = controlSite(8, 5);
    const full = site.limitWatts;
    for (let index = 0; index < 200; index += 1) {
      fault.code = index >= 80 && index < 100 ? 10 : null;
      site.limitWatts = index > 60 && index < 120 ? full * 0.5 : full;
      journal.recordStep(site.cycle());
      await clock.advance(1000);
    }
    journal.close();
    const database = openForReading(join(folder, JOURNAL_FILE));
    const report = replayJournal(database);
    database.close();
    expect(report.difference).toBeNull();
    expect(report.segments).toBe(2);
    expect(report.cycles).toBeGreaterThan(150);
    expect(report.cycles).toBeLessThan(190);
  });
});
