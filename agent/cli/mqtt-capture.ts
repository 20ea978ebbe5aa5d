import { writeFileSync } from 'node:fs';
import { MqttClient } from 'mqtt';
import { parseDuration } from '../../config/quantity.ts';
import { systemClock } from '../../protocols/clock.ts';
import { openStream } from '../telemetry/mqtt-stream.ts';
import type { Context } from './context.ts';
import { brokerOf } from './mqtt-commands.ts';
import type { TestedBroker } from './mqtt-test.ts';
import { EXIT, type Outcome } from './outcome.ts';

/** One message of a capture. */
export interface CapturedMessage {
  readonly topic: string;
  /** As the broker hands it on to a subscriber with QoS 1. */
  readonly qos: number;
  readonly retain: boolean;
  readonly payload_b64: string;
  /** ISO 8601, when it came. */
  readonly at: string;
}

/** Most that is held before it is written: a capture is looked at by hand. */
const MAXIMUM_BYTES = 200_000_000;
const MAXIMUM_INBOUND_BYTES = 4_000_000;

/**
 * `mqtt capture FILE`: what passes on a filter, as `{"captures":[{"name","messages":[...]}]}` with the payloads in
 * base64, until interrupted or `--for` is over.
 */
export async function mqttCaptureCommand(
  context: Context,
  file: string,
  flags: { url?: string; topic: string; for?: string; name: string },
): Promise<Outcome> {
  const length = flags.for === undefined ? null : parseDuration(flags.for);
  if (length?.ok === false)
    return { exit: EXIT.usage, problems: [{ code: 'usage', message: `--for: ${length.message}.` }] };
  const found = brokerOf(context, flags);
  if ('outcome' in found) return found.outcome;
  const messages: CapturedMessage[] = [];
  let problem: string | null = 'older';
  // Only version 5 tells a retained publication from any other.
  for (const version of [5, 4] as const) {
    if (problem !== 'older') break;
    problem = await listen(context, found.broker, version, flags.topic, length?.value ?? null, messages);
  }
  if (problem !== null && messages.length === 0)
    return {
      exit: EXIT.unanswered,
      problems: [{ code: 'unreachable', message: `no broker at ${found.broker.shown}: ${problem}.` }],
    };
  try {
    writeFileSync(file, `${JSON.stringify({ captures: [{ name: flags.name, messages }] }, null, 1)}\n`);
  } catch (error) {
    return {
      exit: EXIT.problems,
      problems: [{ code: 'unwritable', message: `cannot write ${file}: ${(error as Error).message}.` }],
    };
  }
  return {
    exit: problem === null ? EXIT.ok : EXIT.problems,
    data: { file, messages: messages.length },
    text: `${messages.length} messages of ${flags.topic} are in ${file}.`,
    problems:
      problem === null ? [] : [{ code: 'cut-short', message: `the capture ended early: ${problem}.` }],
  };
}

/** Resolves with `null` when the time is over, `older` when the broker speaks no version 5, else with what went wrong. */
function listen(
  context: Context,
  broker: TestedBroker,
  protocolVersion: 4 | 5,
  filter: string,
  lengthMs: number | null,
  messages: CapturedMessage[],
): Promise<string | null> {
  const client = new MqttClient(() => openStream(broker.address, broker.tls, MAXIMUM_INBOUND_BYTES), {
    ...broker.options,
    protocolVersion,
  });
  const ended = new AbortController();
  return new Promise<string | null>((resolve) => {
    const start = () => {
      client.subscribe(filter, protocolVersion === 5 ? { qos: 1, rap: true } : { qos: 1 });
      context.streams.err(`Writing down ${filter} of ${broker.shown} ...\n`);
      if (lengthMs !== null) void systemClock.sleep(lengthMs, ended.signal).then(() => resolve(null));
    };
    let bytes = 0;
    client.on('connect', start);
    client.on('error', (error: Error & { code?: unknown }) =>
      resolve(protocolVersion === 5 && (error.code === 1 || error.code === 0x84) ? 'older' : error.message),
    );
    client.on('close', () => resolve('the broker closed the connection'));
    client.on('message', (topic, payload, packet) => {
      bytes += payload.length;
      if (bytes > MAXIMUM_BYTES) {
        resolve(`more than ${MAXIMUM_BYTES / 1e6} MB`);
        return;
      }
      messages.push({
        topic,
        qos: packet.qos,
        retain: packet.retain,
        payload_b64: payload.toString('base64'),
        at: new Date(systemClock.epochMs()).toISOString(),
      });
    });
    if (context.signal.aborted) resolve(null);
    context.signal.addEventListener('abort', () => resolve(null), { once: true });
  }).finally(() => {
    ended.abort();
    client.end(true);
  });
}
