import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ChainChecker } from '../../../../agent/record/chain.ts';
import {
  chainEntries,
  droppedTo,
  openRecordForReading,
  RECORD_PUBLIC_FILE,
  RECORD_TABLES,
  RecordBook,
  readRoots,
} from '../../../../agent/store/record-book.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const HOUR_MS = 3_600_000;
const MEGABYTE = 1_000_000;
/** A minute of energy with some two kilobytes to say. */
const BODY = { watts: Array.from({ length: 400 }, (_, index) => 1000 + index) };

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'switchyard-record-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const bookOf = (clock: VirtualClock, maximumBytes: number) =>
  new RecordBook({ folder, site: 'test', maximumBytes, clock });

/** An entry a minute, written as it comes. */
async function minutes(book: RecordBook, clock: VirtualClock, count: number): Promise<void> {
  for (let minute = 0; minute < count; minute += 1) {
    await clock.advance(60_000);
    book.append('energy', { ...BODY, minute: clock.epochMs() });
    book.flush();
  }
}

function checked() {
  const database = openRecordForReading(folder);
  try {
    const roots = readRoots(database);
    const checker = new ChainChecker(
      roots,
      readFileSync(join(folder, RECORD_PUBLIC_FILE), 'utf8'),
      droppedTo(database),
    );
    for (const entry of chainEntries(database)) checker.add(entry);
    return { ...checker.end(), days: roots.map(({ root }) => root.day) };
  } finally {
    database.close();
  }
}

const fileBytes = () => statSync(join(folder, RECORD_TABLES.file)).size;

describe('the record on a small disk', () => {
  it('goes on when one day is more than its room, drops the oldest and keeps the chain', async () => {
    // 22:00: the first day is short, then two that are each three times the room.
    const clock = new VirtualClock(Date.UTC(2026, 10, 22, 22));
    const book = bookOf(clock, MEGABYTE);
    for (let hour = 0; hour < 50; hour += 1) {
      await minutes(book, clock, 60);
      expect(book.conditions()).toEqual([]);
      expect(fileBytes()).toBeLessThanOrEqual(1.5 * MEGABYTE);
    }
    const now = clock.epochMs();
    const last = book.read<{ minute: number }>('energy', now - 2 * HOUR_MS, now);
    expect(last.map(({ minute }) => minute).at(-1)).toBe(now);
    expect(last).toHaveLength(121);
    book.close();
    const { problems, days, unsigned } = checked();
    expect(problems).toEqual([]);
    expect(unsigned).toBeLessThan(300);
    expect(days).toEqual(days.toSorted());
    expect(new Set(days.map((day) => day.slice(0, 10)))).toEqual(
      new Set(['2026-11-22', '2026-11-23', '2026-11-24']),
    );
  });

  it('closes a day once where a day has room', async () => {
    const clock = new VirtualClock(Date.UTC(2026, 10, 22, 22));
    const book = bookOf(clock, 100 * MEGABYTE);
    await minutes(book, clock, 49 * 60);
    book.close();
    expect(checked()).toMatchObject({ problems: [], days: ['2026-11-22', '2026-11-23'] });
  });

  it('goes on over a restart in the middle of a day, and when its room was made smaller', async () => {
    const clock = new VirtualClock(Date.UTC(2026, 10, 22, 1));
    const large = bookOf(clock, 100 * MEGABYTE);
    await minutes(large, clock, 20 * 60);
    large.close();
    const before = fileBytes();
    expect(before).toBeGreaterThan(2 * MEGABYTE);
    // Not one page is left, and nothing is signed that could go.
    const small = bookOf(clock, MEGABYTE);
    await minutes(small, clock, 20 * 60);
    expect(small.conditions()).toEqual([]);
    small.close();
    expect(fileBytes()).toBeLessThanOrEqual(before * 1.1);
    const { problems, entries } = checked();
    expect(problems).toEqual([]);
    expect(entries).toBeGreaterThan(60);
  });
});
