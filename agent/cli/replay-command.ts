import { statSync } from 'node:fs';
import { join } from 'node:path';
import { JOURNAL_FILE, openForReading } from '../store/database.ts';
import { type ReplayReport, replayJournal } from '../store/replay.ts';
import { EXIT, type Outcome } from './outcome.ts';

/** `replay JOURNAL`: decides again from a journal (the file, or the state folder) and compares to the last byte. */
export function replayCommand(journal: string): Outcome {
  let report: ReplayReport;
  try {
    const file = statSync(journal).isDirectory() ? join(journal, JOURNAL_FILE) : journal;
    const database = openForReading(file);
    try {
      report = replayJournal(database);
    } finally {
      database.close();
    }
  } catch (error) {
    return {
      exit: EXIT.problems,
      problems: [
        {
          code: 'journal-unreadable',
          message: `${journal} cannot be read as a journal: ${(error as Error).message}.`,
          hint: 'Name the file journal.db or the folder of `store: { path: ... }`; SQLite needs to write beside it.',
        },
      ],
    };
  }
  return { exit: report.difference === null ? EXIT.ok : EXIT.problems, data: report, text: render(report) };
}

function render(report: ReplayReport): string {
  if (report.cycles === 0 && report.difference === null) return 'The journal holds no cycle.';
  const time = (ms: number | null) => (ms === null ? '-' : new Date(ms).toISOString());
  const lines = [
    `${report.agreed} of ${report.cycles} cycles agree to the last byte: ${report.commands} commands, ${report.segments} segments, ${report.epochs} starts of the agent, ${time(report.fromMs)} to ${time(report.untilMs)}.`,
  ];
  const { difference } = report;
  if (difference !== null) {
    const which = difference.cycle === null ? `record ${difference.record}` : `cycle ${difference.cycle}`;
    lines.push(
      `First difference: ${which} of start ${difference.epoch} at ${time(difference.ts)} (record ${difference.record}).`,
      `  ${difference.what}`,
    );
  }
  return lines.join('\n');
}
