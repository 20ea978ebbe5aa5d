import type { DatabaseSync } from 'node:sqlite';
import { type BookState, EMPTY_BOOK, type OrderAnswer } from '../orders/book.ts';

/**
 * Writes what changed of the order book since `before` (`null`: everything), inside the caller's transaction.
 * Answers are rows of their own: there may be ten thousand, and one order changes one of them.
 */
export function writeBook(database: DatabaseSync, book: BookState, before: BookState | null): void {
  if (before === null) database.exec('DELETE FROM answer');
  const { answers, ...rest } = book;
  database
    .prepare('INSERT INTO book(id, body) VALUES (1, ?) ON CONFLICT(id) DO UPDATE SET body = excluded.body')
    .run(JSON.stringify(rest));
  if (before?.answers === answers) return;
  const insert = database.prepare(
    `INSERT INTO answer(id, position, body) VALUES (?, (SELECT coalesce(max(position), 0) + 1 FROM answer), ?)
     ON CONFLICT(id) DO UPDATE SET body = excluded.body`,
  );
  for (const [id, answer] of Object.entries(answers))
    if (before === null || before.answers[id] !== answer) insert.run(id, JSON.stringify(answer));
  if (before === null) return;
  const remove = database.prepare('DELETE FROM answer WHERE id = ?');
  for (const id of Object.keys(before.answers)) if (answers[id] === undefined) remove.run(id);
}

/** Whether an order's effect, not only the words about it, changed: that must be on the disk before it acts. */
export function changesEffect(book: BookState, before: BookState | null): boolean {
  return (
    before === null ||
    book.leases !== before.leases ||
    book.holds !== before.holds ||
    book.lastSeq !== before.lastSeq ||
    book.prices !== before.prices ||
    book.transfers !== before.transfers ||
    book.acknowledged !== before.acknowledged ||
    book.schedules !== before.schedules
  );
}

/** Reads the order book; an empty one where none was written. */
export function readBook(database: DatabaseSync): BookState {
  const row = database.prepare('SELECT body FROM book WHERE id = 1').get();
  if (row === undefined) return EMPTY_BOOK;
  const rest = JSON.parse(String(row['body'])) as Omit<BookState, 'answers'>;
  const answers: Record<string, OrderAnswer> = {};
  for (const answer of database.prepare('SELECT id, body FROM answer ORDER BY position').all())
    answers[String(answer['id'])] = JSON.parse(String(answer['body'])) as OrderAnswer;
  return { ...EMPTY_BOOK, ...rest, answers };
}
