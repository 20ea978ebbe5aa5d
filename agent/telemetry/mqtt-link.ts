import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import type { Clock } from '../../protocols/clock.ts';
import type { Random } from '../../protocols/random.ts';
import type { Milliseconds } from '../../protocols/units.ts';
import type { Outgoing } from './messages.ts';

export interface LinkOptions {
  readonly url: string;
  /** Everything is below `<prefix>/`, that is `<root>/v1/<site>`. */
  readonly prefix: string;
  readonly clientId: string;
  readonly username: string | null;
  readonly password: { reveal(): string } | null;
  readonly keepaliveMs: Milliseconds;
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  /** Topics below the prefix to listen to. */
  readonly subscriptions: readonly string[];
}

export interface LinkHandlers {
  /** The will as it stands at each attempt. */
  will(): Readonly<Record<string, unknown>>;
  onConnected(): void;
  onLost(reason: string): void;
  onMessage(topic: string, payload: Buffer, retained: boolean): void;
}

export interface LinkHealth {
  readonly connected: boolean;
  readonly protocol: 4 | 5;
  readonly queued: number;
  readonly dropped: number;
  readonly sent: number;
  readonly attempts: number;
  readonly lastError: string | null;
}

/** Telemetry kept while the broker is away, in messages; beyond it the oldest are dropped and counted. */
const TELEMETRY_QUEUE = 2000;
/** Records (events, decisions, answers) kept while the broker is away. */
const RECORD_QUEUE = 20_000;
/** Unacknowledged messages at once: what mosquitto accepts by default. */
const WINDOW = 20;
const ACK_TIMEOUT_MS = 20_000;
const MAXIMUM_MESSAGE_BYTES = 128_000;

/**
 * The line to the broker. One MQTT.js client per attempt, own back-off, own queue: the library's own
 * reconnection loses messages silently (more than 65,535 pending) and re-sends old data before new.
 */
export class MqttLink {
  private readonly options: LinkOptions;
  private readonly handlers: LinkHandlers;
  private readonly clock: Clock;
  private readonly random: Random;
  private client: MqttClient | null = null;
  private connected = false;
  private stopped = false;
  private protocol: 4 | 5 = 5;
  private attempts = 0;
  private failuresInARow = 0;
  private connectedAt = 0;
  private lastError: string | null = null;
  private readonly retained = new Map<string, Outgoing>();
  private records: Outgoing[] = [];
  private telemetry: Outgoing[] = [];
  private inFlight = 0;
  private dropped = 0;
  private sent = 0;
  private cancelRetry: (() => void) | null = null;

  constructor(options: LinkOptions, handlers: LinkHandlers, clock: Clock, random: Random) {
    this.options = options;
    this.handlers = handlers;
    this.clock = clock;
    this.random = random;
  }

  start(): void {
    this.attempt();
  }

  /** Queues a message: retained ones latest wins per topic, records before telemetry. */
  publish(message: Outgoing): void {
    if (message.kind === 'retained') {
      this.retained.delete(message.topic);
      this.retained.set(message.topic, message);
    } else if (message.kind === 'record') {
      if (this.records.length >= RECORD_QUEUE) {
        this.records.shift();
        this.dropped += 1;
      }
      this.records.push(message);
    } else {
      if (this.telemetry.length >= TELEMETRY_QUEUE) {
        this.telemetry.shift();
        this.dropped += 1;
      }
      this.telemetry.push(message);
    }
    this.pump();
  }

  health(): LinkHealth {
    return {
      connected: this.connected,
      protocol: this.protocol,
      queued: this.records.length + this.telemetry.length + this.retained.size,
      dropped: this.dropped,
      sent: this.sent,
      attempts: this.attempts,
      lastError: this.lastError,
    };
  }

  /** Sends a last retained `state`, then ends the connection; resolves within two seconds. */
  async stop(last: Outgoing | null): Promise<void> {
    this.stopped = true;
    this.cancelRetry?.();
    const { client } = this;
    if (client === null) return;
    await Promise.race([
      (async () => {
        if (this.connected && last !== null) await this.send(client, last).catch(() => undefined);
        await client.endAsync(false).catch(() => undefined);
      })(),
      new Promise<void>((resolve) => this.clock.after(2000, resolve)),
    ]);
    client.end(true);
  }

  private attempt(): void {
    if (this.stopped) return;
    this.attempts += 1;
    let client: MqttClient;
    try {
      client = connect(this.clientOptions());
    } catch (error) {
      this.lost((error as Error).message);
      return;
    }
    this.client = client;
    let refused: number | undefined;
    client.on('connect', () => void this.onConnect(client));
    client.on('error', (error: Error & { code?: number | string }) => {
      this.lastError = this.describe(error);
      if (typeof error.code === 'number') refused = error.code;
    });
    client.on('message', (topic, payload, packet) => {
      const prefix = `${this.options.prefix}/`;
      if (topic.startsWith(prefix))
        this.handlers.onMessage(topic.slice(prefix.length), payload, packet.retain);
    });
    client.once('close', () => {
      if (this.client !== client) return;
      client.end(true);
      // Code 1 (3.1.1) and 0x84 (5): the broker does not speak version 5.
      if (this.protocol === 5 && (refused === 1 || refused === 0x84)) {
        this.protocol = 4;
        this.client = null;
        this.attempt();
        return;
      }
      this.lost(this.lastError ?? 'the broker closed the connection', refused);
    });
  }

  private clientOptions(): IClientOptions {
    const { options } = this;
    const url = new URL(options.url);
    const secure = url.protocol === 'mqtts:';
    // An options object, never a URL string: MQTT.js would parse it with a deprecated function.
    return {
      protocol: secure ? 'mqtts' : 'mqtt',
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (secure ? 8883 : 1883) : Number(url.port),
      protocolVersion: this.protocol,
      clientId: options.clientId,
      // Orders that come while the line is down wait at the broker; late ones are rejected by their own expiry.
      clean: false,
      keepalive: Math.max(5, Math.round(options.keepaliveMs / 1000)),
      connectTimeout: 10_000,
      reconnectPeriod: 0,
      queueQoSZero: false,
      ...(options.username === null ? {} : { username: options.username }),
      ...(options.password === null ? {} : { password: options.password.reveal() }),
      // Read at every attempt, so that a renewed certificate is used without a restart.
      ...(options.ca === null ? {} : { ca: readFileSync(options.ca) }),
      ...(options.cert === null ? {} : { cert: readFileSync(options.cert) }),
      ...(options.key === null ? {} : { key: readFileSync(options.key) }),
      ...(this.protocol === 5
        ? { properties: { maximumPacketSize: 262_144, receiveMaximum: 100, sessionExpiryInterval: 3600 } }
        : {}),
      will: {
        topic: `${options.prefix}/state`,
        payload: Buffer.from(JSON.stringify(this.handlers.will())),
        qos: 1,
        retain: true,
      },
    };
  }

  private async onConnect(client: MqttClient): Promise<void> {
    (client.stream as unknown as Socket).setNoDelay?.(true);
    try {
      for (const topic of this.options.subscriptions) {
        await client.subscribeAsync(`${this.options.prefix}/${topic}`, { qos: 1 });
      }
    } catch (error) {
      this.lastError = `cannot subscribe: ${(error as Error).message}`;
    }
    if (this.client !== client || this.stopped) return;
    this.connected = true;
    this.connectedAt = this.clock.monotonicMs();
    this.inFlight = 0;
    this.lastError = null;
    this.handlers.onConnected();
    this.pump();
  }

  private lost(reason: string, code?: number): void {
    const wasConnected = this.connected;
    this.connected = false;
    this.client = null;
    this.lastError = reason;
    if (this.stopped) return;
    if (wasConnected) this.handlers.onLost(reason);
    const steady = wasConnected && this.clock.monotonicMs() - this.connectedAt > 60_000;
    this.failuresInARow = steady ? 0 : this.failuresInARow + 1;
    // Bad credentials (4, 5, 0x86, 0x87) do not mend themselves in a second.
    const denied = code === 4 || code === 5 || code === 0x86 || code === 0x87;
    const ceiling = denied
      ? Math.min(600_000, 60_000 * 2 ** Math.min(this.failuresInARow, 4))
      : Math.min(30_000, 1000 * 2 ** Math.min(this.failuresInARow, 5));
    this.cancelRetry = this.clock.after(200 + this.random() * ceiling, () => this.attempt());
  }

  private pump(): void {
    const { client } = this;
    while (this.connected && client !== null && this.inFlight < WINDOW) {
      const message = this.next();
      if (message === undefined) return;
      this.inFlight += 1;
      this.send(client, message).then(
        () => {
          this.sent += 1;
          if (this.client === client) this.inFlight -= 1;
          this.pump();
        },
        () => {
          // Not acknowledged: it goes to the front again, the consumer knows duplicates by `seq` or `id`.
          if (message.kind === 'retained') {
            if (!this.retained.has(message.topic)) this.retained.set(message.topic, message);
          } else if (message.kind === 'record') this.records.unshift(message);
          else this.dropped += 1;
          if (this.client === client) this.inFlight -= 1;
        },
      );
    }
  }

  private next(): Outgoing | undefined {
    const [topic] = this.retained.keys();
    if (topic !== undefined) {
      const message = this.retained.get(topic)!;
      this.retained.delete(topic);
      return message;
    }
    return this.records.shift() ?? this.telemetry.shift();
  }

  /** Settles in any case: MQTT.js leaves publishes pending for ever when a socket dies. */
  private send(client: MqttClient, message: Outgoing): Promise<void> {
    const payload = message.body === CLEAR ? '' : JSON.stringify(message.body);
    if (payload.length > MAXIMUM_MESSAGE_BYTES) {
      this.dropped += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const onClose = () => finish(new Error('connection lost'));
      const cancel = this.clock.after(ACK_TIMEOUT_MS, () => finish(new Error('not acknowledged in time')));
      const finish = (error: Error | undefined) => {
        cancel();
        client.off('close', onClose);
        if (error === undefined) resolve();
        else reject(error);
      };
      client.once('close', onClose);
      client.setMaxListeners(WINDOW + 20);
      client.publish(
        `${this.options.prefix}/${message.topic}`,
        payload,
        { qos: 1, retain: message.retain },
        (error) => finish(error ?? undefined),
      );
    });
  }

  private describe(error: Error & { code?: number | string }): string {
    const where = new URL(this.options.url).host;
    if (error.code === 'ECONNREFUSED') return `the broker at ${where} refuses connections`;
    if (error.code === 'ENOTFOUND') return `the broker's name in ${where} is not known`;
    if (error.code === 5 || error.code === 0x87 || error.code === 0x86 || error.code === 4) {
      return `the broker at ${where} does not accept these credentials`;
    }
    return `${where}: ${error.message}`;
  }
}

/** A body that clears a retained topic: sent as an empty payload. */
export const CLEAR: Readonly<Record<string, unknown>> = Object.freeze({});
