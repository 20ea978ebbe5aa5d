import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import type { LoadedConfig } from '../../config/load.ts';
import type { Clock } from '../../protocols/clock.ts';
import type { Random } from '../../protocols/random.ts';
import type { EpochMs } from '../../protocols/units.ts';
import type { Condition } from '../site/alarms.ts';
import { openSpool } from '../store/spool.ts';
import type { Outgoing } from './messages.ts';
import { type LinkState, MqttLink } from './mqtt-link.ts';
import { Outbox, type OutboxHealth } from './outbox.ts';

/** What `health`, the page and the metrics show of the line to the broker. */
export type LinkHealth = LinkState & OutboxHealth;

/** Everything between the reporter and the broker. */
export interface Telemetry {
  publish(message: Outgoing): void;
  nextSequence(stream: string): number;
  health(): LinkHealth;
  conditions(now: EpochMs): readonly Condition[];
  start(): void;
  /** Sends a last retained message, writes down what waits; resolves within a few seconds. */
  stop(last: Outgoing): Promise<void>;
}

export interface TelemetryHandlers {
  will(): Readonly<Record<string, unknown>>;
  onConnected(): void;
  onLost(reason: string): void;
  onMessage(topic: string, payload: Buffer, retained: boolean): void;
}

/** Part of the store's maximum that messages waiting for the broker may use. */
const SPOOL_SHARE = 0.4;

/** Builds spool, outbox and link of a configuration; `null` where it names no broker. */
export function openTelemetry(
  loaded: LoadedConfig,
  handlers: TelemetryHandlers,
  clock: Clock,
  random: Random,
): Telemetry | null {
  const { mqtt, site, store } = loaded.config;
  if (mqtt === undefined) return null;
  const spool = openSpool({ folder: store.path, maximumBytes: store.maximum * SPOOL_SHARE, clock });
  const link = new MqttLink(
    {
      urls: [mqtt.url, ...(mqtt.secondUrl === undefined ? [] : [mqtt.secondUrl])],
      prefix: `${mqtt.root}/v1/${site.id}`,
      clientId: mqtt.clientId ?? `switchyard-${site.id}`,
      username: mqtt.username ?? null,
      password: loaded.secrets.get('mqtt.password') ?? null,
      keepaliveMs: mqtt.keepalive,
      tls: { ca: mqtt.ca ?? null, cert: mqtt.cert ?? null, key: mqtt.key ?? null },
      subscriptions: [
        'cmd/req/+',
        ...mqtt.targets.map(({ topic }) => `/${topic}`),
        ...loaded.config.transfers.askers.flatMap(({ topic }) => (topic === undefined ? [] : [`/${topic}`])),
      ],
    },
    {
      ...handlers,
      onConnected: () => {
        outbox.connected();
        handlers.onConnected();
      },
      onLost: (reason) => {
        outbox.lost();
        handlers.onLost(reason);
      },
    },
    clock,
    random,
  );
  const outbox = new Outbox(link, spool, clock, random, {
    site: site.id,
    compress: mqtt.compress,
    replayBytesPerSecond: mqtt.replay,
    replayDelayMs: mqtt.replayDelay,
  });
  return {
    publish: (message) => outbox.publish(message),
    nextSequence: (stream) => spool.nextSequence(stream),
    health: () => ({ ...link.state(), ...outbox.health() }),
    conditions: (now) => [
      ...outbox.conditions(),
      ...(link.state().contested ? [CONTESTED] : []),
      ...certificateConditions(mqtt.cert ?? null, now),
    ],
    start: () => link.start(),
    stop: async (last) => {
      outbox.stop();
      await link.stop({ topic: last.topic, payload: JSON.stringify(last.body), retain: true });
    },
  };
}

const CONTESTED: Condition = {
  code: 'client-id-used-twice',
  severity: 'major',
  target: 'site',
  message: 'The broker keeps throwing this agent out: another client uses the same client id.',
  nextStep: 'Stop the other one, or give this site a `clientId` of its own.',
};

const DAY_MS = 86_400_000;

/** Said once a day is left per step: 30, 14, 3 days before the end. The file is read when it is asked for. */
function certificateConditions(file: string | null, now: EpochMs): Condition[] {
  const daysLeft = file === null ? null : daysOfCertificate(file, now);
  if (daysLeft === null || daysLeft > 30) return [];
  return [
    {
      code: 'certificate-ends',
      severity: daysLeft <= 3 ? 'major' : daysLeft <= 14 ? 'minor' : 'info',
      target: 'site',
      message:
        daysLeft <= 0
          ? 'The certificate of this site for the broker has ended.'
          : `The certificate of this site for the broker ends in ${daysLeft} days.`,
      nextStep: `Put a new certificate at ${file}: it is used at the next connection, without a restart.`,
    },
  ];
}

let cached: { file: string; at: EpochMs; ends: EpochMs | null } | null = null;

function daysOfCertificate(file: string, now: EpochMs): number | null {
  if (cached === null || cached.file !== file || Math.abs(now - cached.at) > DAY_MS / 24) {
    let ends: EpochMs | null = null;
    try {
      if (existsSync(file)) ends = new X509Certificate(readFileSync(file)).validToDate.getTime();
    } catch {
      // No certificate: the connection says so.
    }
    cached = { file, at: now, ends };
  }
  return cached.ends === null ? null : Math.floor((cached.ends - now) / DAY_MS);
}
