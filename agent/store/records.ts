import { hash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import type { EpochMs, MonotonicMs } from '../../protocols/units.ts';
import type { StepRecord } from '../control/controller.ts';
import type { Decision } from '../control/decision.ts';
import type { Finding } from '../control/ledger.ts';
import type { Observation } from '../control/observation.ts';
import { type ControlState, INITIAL_STATE, type StepOrders } from '../control/step.ts';
import type { StepContext } from '../control/step-context.ts';
import { applyPatch, diff, type Patch } from './patch.ts';

/**
 * What the journal writes of each cycle: its inputs and what became of them, as differences to the cycle before.
 * Reader and writer carry the same running picture along.
 */

/** A decision without its sums: those are covered by its hash. */
export type StoredDecision = Omit<Decision, 'sums'>;

/** The running picture that differences refer to. */
export interface Picture {
  readonly state: ControlState;
  readonly observation: Observation | null;
  readonly orders: StepOrders | null;
  readonly decision: StoredDecision | null;
}

/** A cycle as written. Short keys: there is one a second. */
export interface CycleLine {
  readonly k: 'cycle';
  readonly cycle: number;
  readonly ts: EpochMs;
  /** Change of the state from outside `step` (a dry run, a booking that could not be made durable). */
  readonly before: Patch | null;
  readonly observation: Patch | null;
  readonly orders: Patch | null;
  readonly decision: Patch | null;
  readonly findings: readonly Finding[];
  /** Of the whole decision, sums included, and its findings. */
  readonly hash: string;
  /** What `step` made of the state. */
  readonly after: Patch | null;
}

/** A command that was handed to its device, whatever it said. */
export interface SentLine {
  readonly k: 'sent';
  readonly device: string;
  readonly pointId: string;
  readonly at: MonotonicMs;
  readonly acknowledged: boolean | null;
}

export type Line = CycleLine | SentLine;

/** The start of a segment: everything that differences of its lines rest on. */
export interface SegmentStart {
  readonly contextHash: string;
  /** Monotonic time of its first cycle. */
  readonly now: MonotonicMs;
  readonly state: ControlState;
}

/** A cycle, whole again. */
export interface ReadCycle {
  readonly cycle: number;
  readonly ts: EpochMs;
  readonly before: ControlState;
  readonly observation: Observation;
  readonly orders: StepOrders;
  readonly decision: StoredDecision;
  readonly findings: readonly Finding[];
  readonly hash: string;
  readonly after: ControlState;
}

/** The picture at the start of a segment. */
export function startPicture(state: ControlState): Picture {
  return { state, observation: null, orders: null, decision: null };
}

/** The line of one cycle, and the picture after it. Pure. */
export function lineOf(picture: Picture, record: StepRecord): { line: CycleLine; picture: Picture } {
  const { result } = record;
  const { sums: _sums, ...decision } = result.decision;
  return {
    line: {
      k: 'cycle',
      cycle: record.cycle,
      ts: record.ts,
      before: diff(picture.state, record.before),
      observation: diff(picture.observation, record.observation),
      orders: diff(picture.orders, record.orders),
      decision: diff(picture.decision, decision),
      findings: result.findings,
      hash: decisionHash(result.decision, result.findings),
      after: diff(record.before, result.state),
    },
    picture: { state: result.state, observation: record.observation, orders: record.orders, decision },
  };
}

/** Reads a line back. Throws a TypeError when it does not fit the picture: a damaged journal. */
export function readLine(picture: Picture, line: CycleLine): { cycle: ReadCycle; picture: Picture } {
  const before = applyPatch(picture.state, line.before);
  const observation = applyPatch(picture.observation, line.observation);
  const orders = applyPatch(picture.orders, line.orders);
  const decision = applyPatch(picture.decision, line.decision);
  const after = applyPatch(before, line.after);
  if (observation === null || orders === null || decision === null)
    throw new TypeError('the first cycle of a segment is not whole');
  return {
    cycle: {
      cycle: line.cycle,
      ts: line.ts,
      before,
      observation,
      orders,
      decision,
      findings: line.findings,
      hash: line.hash,
      after,
    },
    picture: { state: after, observation, orders, decision },
  };
}

/** Hash of a decision and its findings, to the last byte of their JSON. */
export function decisionHash(decision: Decision, findings: readonly Finding[]): string {
  return hash('sha256', JSON.stringify([decision, findings]), 'base64url');
}

export function contextHash(context: StepContext): string {
  return hash('sha256', JSON.stringify(context), 'base64url');
}

/** Packs plain data for a column; the zlib form carries a checksum. */
export function pack(value: unknown): Uint8Array {
  return deflateSync(JSON.stringify(value), { level: 3 });
}

/** A record unpacks to at most this much: a damaged one must not fill the memory. */
const MAXIMUM_UNPACKED_BYTES = 256_000_000;

/** Unpacks a column. Throws on damaged bytes. */
export function unpack<T>(bytes: Uint8Array): T {
  return JSON.parse(inflateSync(bytes, { maxOutputLength: MAXIMUM_UNPACKED_BYTES }).toString('utf8')) as T;
}

export const EMPTY_PICTURE: Picture = startPicture(INITIAL_STATE);
