import { MqttClient } from 'mqtt';
import type { LoadedConfig } from '../../config/load.ts';
import { brokerAddress, openStream } from '../telemetry/mqtt-stream.ts';
import { type Context, needConfig } from './context.ts';
import { type TestedBroker, testBroker } from './mqtt-test.ts';
import { EXIT, type Outcome } from './outcome.ts';

export interface BrokerFlags {
  /** `mqtt://host:port` in place of the configuration's broker. */
  readonly url?: string;
}

/** The broker that is meant, or why there is none. */
export function brokerOf(
  context: Context,
  flags: BrokerFlags,
): { broker: TestedBroker } | { outcome: Outcome } {
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

function brokerFrom(url: string, prefix: string, loaded: LoadedConfig | null): TestedBroker {
  const mqtt = loaded?.config.mqtt;
  const password = loaded?.secrets.get('mqtt.password');
  const username = mqtt?.username;
  return {
    prefix: prefix.replace('+', 'test'),
    address: brokerAddress(url),
    tls: { ca: mqtt?.ca ?? null, cert: mqtt?.cert ?? null, key: mqtt?.key ?? null },
    shown: new URL(url).host,
    options: {
      protocolId: 'MQTT',
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

/** `mqtt test`: connection, certificates, credentials, and whether this site may write and gets its orders. */
export async function mqttTestCommand(context: Context, flags: BrokerFlags): Promise<Outcome> {
  const found = brokerOf(context, flags);
  return 'outcome' in found ? found.outcome : testBroker(context, found.broker);
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
  // Without a configuration: whatever site there is.
  const below = flags.url === undefined ? broker.prefix : 'switchyard/v1/+';
  const filter = topic === undefined ? `${below}/#` : topic.includes('/v1/') ? topic : `${below}/${topic}`;
  const client = new MqttClient(() => openStream(broker.address, broker.tls, 1_000_000), broker.options);
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
