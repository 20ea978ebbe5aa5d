import type { EpochMs } from '../../protocols/units.ts';
import { encodeBody, type Gap, type NewRow, RECORD_PRIORITY } from '../store/spool-rows.ts';
import type { Outgoing } from './messages.ts';

/** Events, decisions, energy, answers and gaps: sent from the disk, never evicted by telemetry. */
export function isRecord(row: NewRow): boolean {
  return row.priority >= RECORD_PRIORITY;
}

/** What is evicted first when the disk has no room; from 5 on telemetry never evicts it. */
const PRIORITIES: Readonly<Record<string, number>> = {
  miners: 1,
  gpus: 1,
  meters: 2,
  health: 2,
  site: 3,
  event: 5,
  decision: 5,
  energy: 6,
  gap: 7,
  answer: 7,
};

function streamOf(topic: string): string {
  if (topic.startsWith('tele/')) return topic.slice('tele/'.length);
  return topic.startsWith('cmd/res/') ? 'answer' : topic;
}

/** A message as a row of the spool. */
export function rowOf(message: Outgoing, topic: string, body: Readonly<Record<string, unknown>>): NewRow {
  const stream = streamOf(message.topic);
  const { seq, ts } = message.body;
  return {
    topic,
    stream,
    seq: typeof seq === 'number' ? seq : 0,
    ts: typeof ts === 'number' ? ts : 0,
    priority: PRIORITIES[stream] ?? 5,
    body: encodeBody(body),
  };
}

/** Live telemetry that was not taken in time, as it follows later. */
export function historyRow(message: Outgoing): NewRow {
  return rowOf(message, `hist/${streamOf(message.topic)}`, { ...message.body, hist: true });
}

/** The message that tells of a gap. */
export function gapRow(gap: Gap, site: string, ts: EpochMs, seq: number): NewRow {
  return {
    topic: 'hist/gap',
    stream: 'gap',
    seq,
    ts,
    priority: PRIORITIES['gap']!,
    body: encodeBody({ v: 1, site, ts, seq, ...gap }),
  };
}
