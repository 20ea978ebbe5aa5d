import { connect, type IClientOptions } from 'mqtt';
import type { LoadedConfig } from '../../config/load.ts';
import { type Context, needConfig } from './context.ts';
import { EXIT, type Outcome } from './outcome.ts';

export interface BrokerFlags {
  /** `mqtt://host:port` in place of the configuration's broker. */
  readonly url?: string;
}

interface Broker {
  readonly options: IClientOptions;
  readonly prefix: string;
  readonly shown: string;
}

function brokerOf(context: Context, flags: BrokerFlags): { broker: Broker } | { outcome: Outcome } {
  if (flags.url !== undefined) return { broker: brokerFrom(flags.url, 'switchyard/v1/+', null) };
  const need = needConfig(context);
  if ('outcome' in need) return need;
  const { mqtt, site } = need.loaded.config;
  if (mqtt === undefined) {
    return {
      outcome: {
        exit: EXIT.configuration,
        problems: [
          {
            code: 'no-broker',
            message: 'the configuration names no broker.',
            hint: 'See `switchyard sample mqtt`.',
          },
        ],
      },
    };
  }
  return { broker: brokerFrom(mqtt.url, `${mqtt.root}/v1/${site.id}`, need.loaded) };
}

function brokerFrom(url: string, prefix: string, loaded: LoadedConfig | null): Broker {
  const parsed = new URL(url);
  const secure = parsed.protocol === 'mqtts:';
  const password = loaded?.secrets.get('mqtt.password');
  const username = loaded?.config.mqtt?.username;
  return {
    prefix,
    shown: parsed.host,
    options: {
      protocol: secure ? 'mqtts' : 'mqtt',
      host: parsed.hostname,
      port: parsed.port === '' ? (secure ? 8883 : 1883) : Number(parsed.port),
      clientId: `switchyard-cli-${process.pid}`,
      protocolVersion: 4,
      clean: true,
      reconnectPeriod: 0,
      connectTimeout: 10_000,
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password: password.reveal() }),
    },
  };
}

/** `mqtt test`: name, connection, credentials and a round trip of one message, in milliseconds. */
export async function mqttTestCommand(context: Context, flags: BrokerFlags): Promise<Outcome> {
  const found = brokerOf(context, flags);
  if ('outcome' in found) return found.outcome;
  const { broker } = found;
  const startedAt = performance.now();
  const client = connect({ ...broker.options, connectTimeout: context.flags.timeoutMs });
  const topic = `${broker.prefix.replace('+', 'test')}/test/${process.pid}`;
  return new Promise((resolve) => {
    const finish = (outcome: Outcome) => {
      clearTimeout(timer);
      context.signal.removeEventListener('abort', onAbort);
      client.end(true);
      resolve(outcome);
    };
    const onAbort = () => finish({ exit: EXIT.interrupted });
    const timer = setTimeout(
      () =>
        finish({
          exit: EXIT.timeout,
          problems: [
            {
              code: 'timeout',
              message: `the broker at ${broker.shown} did not return the test message within ${context.flags.timeoutMs} ms.`,
              hint: 'It accepts the connection; check that this user may write and read below the topic root.',
            },
          ],
        }),
      context.flags.timeoutMs,
    );
    context.signal.addEventListener('abort', onAbort, { once: true });
    let connectedMs = 0;
    client.on('error', (error: Error & { code?: unknown }) => {
      const denied = error.code === 4 || error.code === 5 || error.code === 134 || error.code === 135;
      finish({
        exit: denied ? EXIT.refused : EXIT.unanswered,
        problems: [
          {
            code: denied ? 'unauthorised' : 'unreachable',
            message: denied
              ? `the broker at ${broker.shown} does not accept these credentials.`
              : `no broker at ${broker.shown}: ${error.message || String(error.code)}.`,
          },
        ],
      });
    });
    client.on('connect', () => {
      connectedMs = performance.now() - startedAt;
      client.subscribe(topic, { qos: 1 }, () => client.publish(topic, 'test', { qos: 1 }));
    });
    client.on('message', () => {
      const roundTripMs = Math.round((performance.now() - startedAt - connectedMs) * 10) / 10;
      const data = { broker: broker.shown, connectMs: Math.round(connectedMs), roundTripMs };
      finish({
        exit: EXIT.ok,
        data,
        text: `${broker.shown}: connected in ${data.connectMs} ms, message back in ${roundTripMs} ms.`,
      });
    });
  });
}

/** `mqtt watch [TOPIC]`: one line per message, topic and payload, until interrupted. */
export async function mqttWatchCommand(
  context: Context,
  flags: BrokerFlags,
  topic: string | undefined,
): Promise<Outcome> {
  const found = brokerOf(context, flags);
  if ('outcome' in found) return found.outcome;
  const { broker } = found;
  const filter =
    topic === undefined ? `${broker.prefix}/#` : topic.includes('/v1/') ? topic : `${broker.prefix}/${topic}`;
  const client = connect(broker.options);
  return new Promise((resolve) => {
    const finish = (outcome: Outcome) => {
      client.end(true);
      resolve(outcome);
    };
    context.signal.addEventListener('abort', () => finish({ exit: EXIT.interrupted }), { once: true });
    client.on('error', (error) =>
      finish({
        exit: EXIT.unanswered,
        problems: [{ code: 'unreachable', message: `no broker at ${broker.shown}: ${error.message}.` }],
      }),
    );
    client.on('close', () =>
      finish({
        exit: EXIT.unanswered,
        problems: [{ code: 'unreachable', message: `the broker at ${broker.shown} closed the connection.` }],
      }),
    );
    client.on('connect', () => client.subscribe(filter, { qos: 0 }));
    client.on('message', (name, payload) => {
      context.streams.out(
        context.flags.json
          ? `${JSON.stringify({ topic: name, payload: parsed(payload) })}\n`
          : `${name} ${payload.toString('utf8')}\n`,
      );
    });
  });
}

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    return payload.toString('utf8');
  }
}
