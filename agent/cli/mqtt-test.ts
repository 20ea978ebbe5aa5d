import { type IClientOptions, MqttClient } from 'mqtt';
import { type BrokerAddress, openStream, type TlsFiles } from '../telemetry/mqtt-stream.ts';
import type { Context } from './context.ts';
import { EXIT, type Outcome, type Problem } from './outcome.ts';

/** A broker and what is needed to reach it. */
export interface TestedBroker {
  readonly address: BrokerAddress;
  readonly tls: TlsFiles;
  readonly prefix: string;
  readonly shown: string;
  readonly options: IClientOptions;
}

/**
 * - `writes`: the broker took an answer of this site; 3.1.1 acknowledges also what it forbids, then `unknown`
 * - `orders`: an order reaches this site; `not-writable`: this user may not order, so it could not be tried
 */
interface Findings {
  readonly broker: string;
  readonly protocol: 4 | 5;
  readonly connectMs: number;
  readonly roundTripMs: number;
  readonly writes: 'ok' | 'refused' | 'unknown';
  readonly orders: 'ok' | 'not-writable' | 'not-delivered';
}

const MAXIMUM_INBOUND_BYTES = 262_144;
/** A broker that delivers does so within this; then the subscription counts as forbidden. */
const DELIVERY_MS = 1500;

/** Connects with version 5, with 3.1.1 where the broker knows no other, and tries what this site must be able to do. */
export async function testBroker(context: Context, broker: TestedBroker): Promise<Outcome> {
  const first = await attempt(context, broker, 5);
  const last = first === 'older' ? await attempt(context, broker, 4) : first;
  return last === 'older' ? unreachable(broker, 'it speaks neither MQTT 5 nor 3.1.1') : last;
}

async function attempt(
  context: Context,
  broker: TestedBroker,
  protocolVersion: 4 | 5,
): Promise<Outcome | 'older'> {
  const startedAt = performance.now();
  const ended = new AbortController();
  let client: MqttClient;
  try {
    client = new MqttClient(() => openStream(broker.address, broker.tls, MAXIMUM_INBOUND_BYTES), {
      ...broker.options,
      protocolVersion,
      connectTimeout: context.flags.timeoutMs,
    });
  } catch (error) {
    return unreachable(broker, (error as Error).message);
  }
  try {
    return await Promise.race([
      connected(client).then(
        () => explore(client, broker, protocolVersion, performance.now() - startedAt),
        (error: Error & { code?: unknown }) => refusal(broker, error, protocolVersion),
      ),
      timeout(context, broker, ended.signal),
    ]);
  } finally {
    ended.abort();
    client.end(true);
  }
}

function connected(client: MqttClient): Promise<void> {
  return new Promise((resolve, reject) => {
    // Stays for the whole life of the client: an error without a listener would end the process.
    client.on('error', reject);
    client.once('connect', () => resolve());
    client.once('close', () => reject(new Error('the connection was closed')));
  });
}

function timeout(context: Context, broker: TestedBroker, ended: AbortSignal): Promise<Outcome> {
  return new Promise((resolve) => {
    const timer = setTimeout(
      () =>
        resolve({
          exit: EXIT.timeout,
          problems: [
            {
              code: 'timeout',
              message: `the broker at ${broker.shown} did not answer within ${context.flags.timeoutMs} ms.`,
              hint: 'It takes the connection and then says nothing: look at its log.',
            },
          ],
        }),
      context.flags.timeoutMs,
    );
    context.signal.addEventListener('abort', () => resolve({ exit: EXIT.interrupted }), { once: true });
    ended.addEventListener('abort', () => clearTimeout(timer), { once: true });
  });
}

async function explore(
  client: MqttClient,
  broker: TestedBroker,
  protocol: 4 | 5,
  connectMs: number,
): Promise<Outcome> {
  const id = `mqtt-test-${process.pid}`;
  const [answers, orders] = [`${broker.prefix}/cmd/res/${id}`, `${broker.prefix}/cmd/req/${id}`];
  const arrived = new Set<string>();
  let onArrival: () => void = () => undefined;
  client.on('message', (topic) => {
    arrived.add(topic);
    onArrival();
  });
  const wait = (topic: string) =>
    new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), DELIVERY_MS);
      onArrival = () => {
        if (!arrived.has(topic)) return;
        clearTimeout(timer);
        resolve(true);
      };
      onArrival();
    });
  // A subscription that is forbidden is often granted all the same: only what arrives counts.
  for (const topic of [answers, orders])
    await client.subscribeAsync(topic, { qos: 1 }).catch(() => undefined);
  const sentAt = performance.now();
  const body = JSON.stringify({ v: 1, id, status: 'rejected', reason: 'a test of the line', at: Date.now() });
  // Some brokers close the line on what they forbid; MQTT.js then leaves the publish pending for ever.
  const closed = new Promise<boolean>((resolve) => client.once('close', () => resolve(false)));
  const publish = (topic: string) =>
    Promise.race([
      closed,
      client.publishAsync(topic, body, { qos: 1 }).then(
        () => true,
        () => false,
      ),
    ]);
  const written = await publish(answers);
  let roundTripMs = performance.now() - sentAt;
  const back = written && (await wait(answers));
  if (back) roundTripMs = performance.now() - sentAt;
  const mayOrder = await publish(orders);
  const delivered = mayOrder && (await wait(orders));
  return judge(broker, {
    broker: broker.shown,
    protocol,
    connectMs: Math.round(connectMs),
    roundTripMs: Math.round(roundTripMs * 10) / 10,
    writes: !written ? 'refused' : back || protocol === 5 ? 'ok' : 'unknown',
    orders: delivered ? 'ok' : mayOrder ? 'not-delivered' : 'not-writable',
  });
}

function judge(broker: TestedBroker, findings: Findings): Outcome {
  const problems: Problem[] = [];
  if (findings.writes === 'refused')
    problems.push({
      code: 'write-refused',
      message: `the broker at ${broker.shown} does not let this user write to ${broker.prefix}/cmd/res/....`,
      hint: `Allow writing below ${broker.prefix}/: state, info, limits, alarms, tele, hist, energy, event, decision, health, transfer, cmd/res.`,
    });
  if (findings.orders === 'not-delivered')
    problems.push({
      code: 'orders-not-delivered',
      message: `an order to ${broker.prefix}/cmd/req/... does not reach this user.`,
      hint: `Allow reading ${broker.prefix}/cmd/req/+.`,
    });
  const { broker: shown, protocol, connectMs, roundTripMs, writes, orders } = findings;
  const words = {
    ok: 'orders arrive',
    'not-writable': 'orders could not be tried (this user may not write them, which is as it should be)',
    'not-delivered': 'orders do not arrive',
  };
  return {
    exit: problems.length === 0 ? EXIT.ok : EXIT.refused,
    data: findings,
    text: `${shown}: MQTT ${protocol === 5 ? '5' : '3.1.1'}, connected in ${connectMs} ms, acknowledged in ${roundTripMs} ms; writing ${writes}; ${words[orders]}.`,
    problems,
  };
}

function refusal(
  broker: TestedBroker,
  error: Error & { code?: unknown },
  protocol: 4 | 5,
): Outcome | 'older' {
  const { code, message } = error;
  if (protocol === 5 && (code === 1 || code === 0x84)) return 'older';
  if (code === 4 || code === 5 || code === 0x86 || code === 0x87)
    return {
      exit: EXIT.refused,
      problems: [
        {
          code: 'unauthorised',
          message: `the broker at ${broker.shown} does not accept these credentials.`,
        },
      ],
    };
  if (typeof code === 'string' && /CERT|SSL|TLS|ALTNAME/.test(code))
    return {
      exit: EXIT.refused,
      problems: [
        {
          code: 'certificate',
          message: `the secure connection to ${broker.shown} failed: ${message}.`,
          hint: /REQUIRED|ALERT/.test(code)
            ? 'The broker wants a certificate of this site: set mqtt.cert and mqtt.key.'
            : 'Set mqtt.ca to the authority that signed the certificate of the broker.',
        },
      ],
    };
  return unreachable(broker, message || String(code));
}

function unreachable(broker: TestedBroker, reason: string): Outcome {
  return {
    exit: EXIT.unanswered,
    problems: [{ code: 'unreachable', message: `no broker at ${broker.shown}: ${reason}.` }],
  };
}
