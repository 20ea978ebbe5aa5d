import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EMPTY_BOOK, type OrderAnswer } from '../../../agent/orders/book.ts';
import { JOURNAL_FILE, openForReading, openSqlite } from '../../../agent/store/database.ts';
import { openJournal } from '../../../agent/store/journal.ts';
import { type Line, pack, unpack } from '../../../agent/store/records.ts';
import { replayJournal } from '../../../agent/store/replay.ts';
import { controlSite, SITE_START_MS } from '../../support/control-site.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const RULES = { meterStaleMs: 5000 };
const MAXIMUM = 50_000_000;
const SEED = 4;

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-journal-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A run of `cycles` seconds with a limit that falls and returns, written to the folder's journal. */
async function writeRun(cycles: number, clock = new VirtualClock(SITE_START_MS), maximum = MAXIMUM) {
  const journal = openJournal(folder, maximum, clock);
  journal.restore(RULES);
  const site = controlSite(12, SEED);
  const full = site.limitWatts;
  for (let index = 0; index < cycles; index += 1) {
    site.limitWatts = index % 240 > 60 && index % 240 < 150 ? full * 0.5 : full;
    expect(journal.recordStep(site.cycle())).toBe(true);
    await clock.advance(1000);
  }
  journal.close();
  return site;
}

function replay() {
  const database = openForReading(join(folder, JOURNAL_FILE));
  try {
    return replayJournal(database);
  } finally {
    database.close();
  }
}

describe('openJournal', () => {
  it('counts its lives and knows devices, orders and holds of earlier ones', () => {
    const clock = new VirtualClock();
    const first = openJournal(folder, MAXIMUM, clock);
    expect(first.restore(RULES)).toEqual({ epoch: 1, book: EMPTY_BOOK, controlState: null, seenDevices: [] });
    const answer: OrderAnswer = { v: 1, id: 'o-1', status: 'accepted', at: 5 };
    const book = {
      ...EMPTY_BOOK,
      leases: [
        {
          orderId: 'o-1',
          issuer: 'grid',
          priority: 80,
          limit: 'grid',
          watts: 5000,
          createdAt: 5,
          expiresAt: null,
          onExpiry: 'hold' as const,
          overdue: false,
          notBefore: null,
          withinMs: 30_000,
        },
      ],
      holds: [{ target: 'm-1', who: 'ann', why: 'fan', since: 5, until: null }],
      lastSeq: { grid: 7 },
      answers: { 'o-1': answer },
    };
    expect(first.persist(book)).toBe(true);
    const done: OrderAnswer = { ...answer, status: 'done' };
    expect(first.persist({ ...book, answers: { ...book.answers, 'o-1': done, 'o-2': answer } })).toBe(true);
    first.recordEvents([{ epochMs: 9, kind: 'present', target: 'm-1', message: 'answers' }]);
    first.close();
    const second = openJournal(folder, MAXIMUM, clock);
    expect(second.restore(RULES)).toEqual({
      epoch: 2,
      book: { ...book, answers: { 'o-1': done, 'o-2': answer } },
      controlState: null,
      seenDevices: [],
    });
    second.recordEvents([
      { epochMs: 10, kind: 'absent', target: 'm-2', message: 'silent', detail: { n: 1 } },
    ]);
    expect(second.log({ count: 10 }).map(({ id, target }) => [id, target])).toEqual([
      [1, 'm-1'],
      [2, 'm-2'],
    ]);
    expect(second.log({ count: 10, target: 'm-2' })[0]?.detail).toEqual({ n: 1 });
    second.close();
  });

  it('has the orders on the disk before it says so, whatever becomes of the process', () => {
    const journal = openJournal(folder, MAXIMUM, new VirtualClock());
    journal.persist({ ...EMPTY_BOOK, lastSeq: { grid: 3 } });
    // Read through another connection while the first still lives: nothing waits in its memory.
    const other = openJournal(folder, MAXIMUM, new VirtualClock());
    expect(other.restore(RULES).book.lastSeq).toEqual({ grid: 3 });
    other.close();
    journal.close();
  });

  it('refuses a journal of a newer version, in words, and leaves it alone', () => {
    openJournal(folder, MAXIMUM, new VirtualClock()).close();
    const database = new DatabaseSync(join(folder, JOURNAL_FILE));
    database.exec('PRAGMA user_version = 99');
    // As no agent of today keeps it: a setting that is touched shows.
    database.exec('PRAGMA journal_mode = DELETE');
    database.close();
    const before = readFileSync(join(folder, JOURNAL_FILE));
    const journal = openJournal(folder, MAXIMUM, new VirtualClock());
    expect(readFileSync(join(folder, JOURNAL_FILE)).equals(before)).toBe(true);
    expect(journal.failure).toContain('newer version of the agent (tables 99, this one knows 1)');
    expect(journal.persist(EMPTY_BOOK)).toBe(false);
    expect(() => openForReading(join(folder, JOURNAL_FILE))).toThrow('newer version');
    expect(readdirSync(folder).filter((name) => name.includes('damaged'))).toEqual([]);
    journal.close();
  });

  it('stays within its size and drops whole segments, oldest first', async () => {
    const maximum = 400_000;
    await writeRun(2000, new VirtualClock(SITE_START_MS), maximum);
    const database = openForReading(join(folder, JOURNAL_FILE));
    const bytes = Number(Object.values(database.prepare('SELECT sum(bytes) FROM record').get()!)[0]);
    const first = database.prepare('SELECT kind, segment FROM record ORDER BY id LIMIT 1').get();
    database.close();
    expect(bytes).toBeLessThanOrEqual(maximum * 0.7);
    expect(first?.['kind']).toBe('start');
    expect(Number(first?.['segment'])).toBeGreaterThan(1);
    expect(replay().difference).toBeNull();
  });
});

describe('replayJournal', () => {
  it('decides a run of 700 cycles again to the last byte', async () => {
    await writeRun(700);
    const report = replay();
    expect(report.difference).toBeNull();
    expect(report).toMatchObject({ cycles: 700, agreed: 700, segments: 3, epochs: 1 });
    expect(report.commands).toBeGreaterThan(20);
  });

  it('finds one changed figure in a decision, and names the cycle and what differs', async () => {
    await writeRun(300);
    const database = openSqlite(join(folder, JOURNAL_FILE));
    const rows = database.prepare("SELECT id, body FROM record WHERE kind = 'lines' ORDER BY id").all();
    let changed: number | null = null;
    for (const row of rows) {
      const text = JSON.stringify(unpack<Line[]>(row['body'] as Uint8Array));
      const at = text.indexOf('"fromWatts":');
      if (at < 0) continue;
      const digit = at + '"fromWatts":'.length;
      const flipped = `${text.slice(0, digit)}${text[digit] === '9' ? '8' : '9'}${text.slice(digit + 1)}`;
      changed = (JSON.parse(flipped) as { k: string; cycle: number; decision: unknown }[]).find(
        (line) => line.k === 'cycle' && JSON.stringify(line.decision ?? '').includes('"fromWatts":'),
      )!.cycle;
      database
        .prepare('UPDATE record SET body = ? WHERE id = ?')
        .run(pack(JSON.parse(flipped)), Number(row['id']));
      break;
    }
    database.close();
    const { difference } = replay();
    expect(difference?.cycle).toBe(changed);
    expect(difference?.what).toMatch(/^decision\.commands.*fromWatts/);
  });

  it('finds one flipped byte in a record', async () => {
    await writeRun(50);
    const database = openSqlite(join(folder, JOURNAL_FILE));
    const row = database.prepare("SELECT id, body FROM record WHERE kind = 'lines' LIMIT 1 OFFSET 2").get()!;
    const body = Uint8Array.from(row['body'] as Uint8Array);
    body[Math.floor(body.length / 2)]! ^= 0x10;
    database.prepare('UPDATE record SET body = ? WHERE id = ?').run(body, Number(row['id']));
    database.close();
    const { difference } = replay();
    expect(difference).toMatchObject({ record: Number(row['id']), cycle: null });
  });
});
