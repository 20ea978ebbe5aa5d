import type { Failure, FailureKind } from '../../protocols/result.ts';

/** Exit codes of every command. The list is `docs/errors.md`; a test holds the two together. */
export const EXIT = {
  ok: 0,
  problems: 1,
  usage: 2,
  configuration: 3,
  unanswered: 4,
  partial: 5,
  refused: 6,
  timeout: 7,
  internal: 70,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly file?: string;
  readonly line?: number;
  readonly column?: number;
  readonly path?: string;
}

/** What a command has to say: data for programs, text for people, and how it ended. */
export interface Outcome {
  readonly exit: ExitCode;
  readonly data?: unknown;
  /** Lines for people, on stdout. */
  readonly text?: string;
  readonly problems?: readonly Problem[];
}

/** How a failure ends a command that had one target. */
export function exitOf(kind: FailureKind): ExitCode {
  switch (kind) {
    case 'unreachable':
    case 'malformed':
    case 'wrong-device':
      return EXIT.unanswered;
    case 'timeout':
    case 'busy':
      return EXIT.timeout;
    case 'refused':
    case 'unauthorised':
      return EXIT.refused;
    case 'unsupported':
      return EXIT.problems;
    case 'cancelled':
      return EXIT.interrupted;
  }
}

/** One failure as the outcome of a command. */
export function failureOutcome(failure: Failure): Outcome {
  return {
    exit: exitOf(failure.kind),
    problems: [
      {
        code: failure.kind,
        message: failure.message,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      },
    ],
  };
}

/** The global flags. */
export interface GlobalFlags {
  readonly config?: string;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly color: boolean;
  readonly timeoutMs: number;
  /** `--timeout` was written, not defaulted. */
  readonly timeoutGiven: boolean;
  readonly yes: boolean;
}

export interface Streams {
  out(text: string): void;
  err(text: string): void;
  /** `err` is a terminal: a line may be written over. */
  readonly isTerminal?: boolean;
}

/** Prints an outcome: one JSON document with `--json`, else text on stdout and problems on stderr. */
export function printOutcome(command: string, outcome: Outcome, flags: GlobalFlags, streams: Streams): void {
  const problems = outcome.problems ?? [];
  if (flags.json) {
    streams.out(
      `${JSON.stringify({ v: 1, command, ok: outcome.exit === EXIT.ok, exit: outcome.exit, data: outcome.data ?? null, problems })}\n`,
    );
    return;
  }
  if (
    outcome.text !== undefined &&
    outcome.text !== '' &&
    !(flags.quiet && outcome.exit === EXIT.ok && problems.length === 0 && outcome.data === undefined)
  ) {
    const text = printable(outcome.text);
    streams.out(text.endsWith('\n') ? text : `${text}\n`);
  }
  for (const problem of problems) {
    const where =
      problem.file === undefined ? '' : `${problem.file}:${problem.line ?? 1}:${problem.column ?? 1} `;
    const path = problem.path === undefined || problem.path === '' ? '' : `${problem.path}: `;
    const stop = /[.!?:]$/.test(problem.message) ? '' : '.';
    const hint = problem.hint === undefined ? '' : `${stop} ${problem.hint}`;
    streams.err(`${printable(`${where}${path}${problem.message}${hint}`)}\n`);
  }
}

/** Without control characters: what a device says of itself must not steer the terminal of who reads it. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, '\u{FFFD}');
}
