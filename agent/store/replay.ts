import type { DatabaseSync } from 'node:sqlite';
import type { EpochMs } from '../../protocols/units.ts';
import { type StepResult, step } from '../control/step.ts';
import type { StepContext } from '../control/step-context.ts';
import { diff, type Patch } from './patch.ts';
import {
  decisionHash,
  EMPTY_PICTURE,
  type Line,
  type Picture,
  type ReadCycle,
  readLine,
  type SegmentStart,
  startPicture,
  unpack,
} from './records.ts';
import { recordRows } from './segments.ts';

/** The first thing in a journal that does not come out again. */
export interface Difference {
  readonly record: number;
  readonly epoch: number;
  /** `null`: the record itself cannot be read. */
  readonly cycle: number | null;
  readonly ts: EpochMs;
  /** What differs: a path such as `decision.commands.0.watts`, with both values. */
  readonly what: string;
}

export interface ReplayReport {
  readonly cycles: number;
  readonly agreed: number;
  readonly segments: number;
  readonly commands: number;
  /** Lives of the agent that the journal covers. */
  readonly epochs: number;
  readonly fromMs: EpochMs | null;
  readonly untilMs: EpochMs | null;
  readonly difference: Difference | null;
}

/** Decides every cycle of a journal again and compares to the last byte; stops at the first difference. */
export function replayJournal(database: DatabaseSync): ReplayReport {
  const counts = { cycles: 0, agreed: 0, segments: 0, commands: 0 };
  const epochs = new Set<number>();
  let fromMs: EpochMs | null = null;
  let untilMs: EpochMs | null = null;
  let context: StepContext | null = null;
  let picture: Picture = EMPTY_PICTURE;
  const report = (difference: Difference | null): ReplayReport => ({
    ...counts,
    epochs: epochs.size,
    fromMs,
    untilMs,
    difference,
  });
  for (const row of recordRows(database)) {
    epochs.add(row.epoch);
    const where = { record: row.id, epoch: row.epoch, ts: row.ts };
    try {
      if (row.kind === 'start') {
        const start = unpack<SegmentStart>(row.body);
        context = readContext(database, start.contextHash);
        picture = startPicture(start.state);
        counts.segments += 1;
        continue;
      }
      if (context === null) continue;
      for (const line of unpack<Line[]>(row.body)) {
        if (line.k !== 'cycle') continue;
        const read = readLine(picture, line);
        ({ picture } = read);
        fromMs ??= line.ts;
        untilMs = line.ts;
        counts.cycles += 1;
        counts.commands += read.cycle.decision.commands.length;
        const what = compare(read.cycle, again(context, read.cycle));
        if (what !== null) return report({ ...where, cycle: line.cycle, ts: line.ts, what });
        counts.agreed += 1;
      }
    } catch (error) {
      return report({
        ...where,
        cycle: null,
        what: `the record cannot be read: ${(error as Error).message}`,
      });
    }
  }
  return report(null);
}

function again(context: StepContext, cycle: ReadCycle): StepResult {
  return step(context, cycle.before, cycle.observation, cycle.orders);
}

/** What differs between a written cycle and the same one decided again, or null. */
function compare(cycle: ReadCycle, result: StepResult): string | null {
  const { sums: _sums, ...decision } = result.decision;
  return (
    difference('decision', cycle.decision, decision) ??
    difference('findings', cycle.findings, result.findings) ??
    difference('state', cycle.after, result.state) ??
    (JSON.stringify(cycle.decision) === JSON.stringify(decision) &&
    cycle.hash === decisionHash(result.decision, result.findings)
      ? null
      : `decision: its hash is ${cycle.hash} in the journal, ${decisionHash(result.decision, result.findings)} now`)
  );
}

function difference(name: string, written: unknown, now: unknown): string | null {
  // Through JSON once, so that both are what the journal can carry.
  const patch = diff(written, JSON.parse(JSON.stringify(now)));
  if (patch === null) return null;
  const path = firstPath(patch);
  const at = (value: unknown) => JSON.stringify(path.reduce<unknown>(part, value)) ?? 'nothing';
  return `${[name, ...path].join('.')}: ${at(written).slice(0, 200)} in the journal, ${at(now).slice(0, 200)} now`;
}

function part(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function firstPath(patch: Patch): string[] {
  if (patch[0] === 0) return [];
  const first = Object.entries(patch[1])[0];
  return first === undefined ? [patch[2]?.[0] ?? ''] : [first[0], ...firstPath(first[1])];
}

function readContext(database: DatabaseSync, hash: string): StepContext {
  const row = database.prepare('SELECT body FROM context WHERE hash = ?').get(hash);
  if (row === undefined) throw new Error('the configuration of that time is no longer kept');
  return unpack<StepContext>(row['body'] as Uint8Array);
}
