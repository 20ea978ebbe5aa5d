import type { IClientOptions, MqttClient } from 'mqtt';
import type { Clock } from '../../protocols/clock.ts';
import type { Random } from '../../protocols/random.ts';
import type { EpochMs, Milliseconds, MonotonicMs } from '../../protocols/units.ts';
import { type BrokerAddress, brokerAddress, openStream, type TlsFiles } from './mqtt-stream.ts';

export interface LinkOptions {
  /** Brokers in the order in which they are tried. */
  readonly urls: readonly string[];
  /** Everything is below `<prefix>/`, that is `<root>/v1/<site>`. */
  readonly prefix: string;
  readonly clientId: string;
  readonly username: string | null;
  readonly password: { reveal(): string } | null;
  readonly keepaliveMs: Milliseconds;
  readonly tls: TlsFiles;
  /** Topics to listen to: below the prefix, or whole where they begin with `/`, which is cut off. */
  readonly subscriptions: readonly string[];
  /** `clean`: nothing of a session outlasts it, and its end sends the will. Default: the broker keeps it. */
  readonly session?: 'kept' | 'clean';
}

/** A message in its final form; `topic` is below the prefix, or whole where it begins with `/`. */
export interface LinkMessage {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly retain: boolean;
}

export interface LinkHandlers {
  /** The will as it stands at each attempt: the retained body of `state`, or a message of its own. */
  will(): Readonly<Record<string, unknown>> | { readonly message: LinkMessage };
  /** The line is open and the CONNECT with the last `will` goes out; a failed attempt may never come to that. */
  onDialled?(): void;
  onConnected(): void;
  onLost(reason: string): void;
  /** `topic` is below the prefix, or whole with a leading `/`. */
  onMessage(topic: string, payload: Buffer, retained: boolean): void;
}

export interface LinkState {
  readonly connected: boolean;
  readonly broker: string;
  readonly protocol: 4 | 5;
  readonly attempts: number;
  readonly lastError: string | null;
  /** Somebody else uses this client id: the two throw each other out. */
  readonly contested: boolean;
}

const ACK_TIMEOUT_MS = 20_000;
/** No packet from outside is larger: orders have 16 kB. */
const MAXIMUM_INBOUND_BYTES = 262_144;
/** How long it is remembered that a broker does not speak version 5. */
const FALLBACK_MS: Milliseconds = 86_400_000;
/** So many losses right after connecting mean that another client has the same id. */
const CONTESTED_LOSSES = 5;
const CONTESTED_WITHIN_MS = 60_000;
const CONTESTED_PAUSE_MS = 120_000;
const SESSION_TAKEN_OVER = 0x8e;
/** A broker that was left is not asked again at once, where there is no other. */
const LEAVE_PAUSE_MS: Milliseconds = 2000;

/**
 * The line to the broker. One MQTT.js client per attempt and own back-off: the library's own reconnection loses
 * messages silently (more than 65,535 pending), re-sends old data before new and gives up after a refusal.
 */
export class MqttLink {
  private readonly options: LinkOptions;
  private readonly handlers: LinkHandlers;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly brokers: readonly BrokerAddress[];
  private library: typeof MqttClient | null = null;
  private client: MqttClient | null = null;
  private isConnected = false;
  private stopped = false;
  /** The client that is being ended on purpose. */
  private leaving: MqttClient | null = null;
  private at = 0;
  /** Per broker: until when version 3.1.1 is spoken. */
  private readonly oldUntil = new Map<number, EpochMs>();
  private attempts = 0;
  private failuresInARow = 0;
  private quickLosses: MonotonicMs[] = [];
  private takenOver = false;
  private connectedAt = 0;
  private heardAt = 0;
  private lastError: string | null = null;
  private cancelRetry: (() => void) | null = null;
  private cancelWatch: (() => void) | null = null;

  constructor(options: LinkOptions, handlers: LinkHandlers, clock: Clock, random: Random) {
    this.options = options;
    this.handlers = handlers;
    this.clock = clock;
    this.random = random;
    this.brokers = options.urls.map(brokerAddress);
  }

  /** Connects, and from then on again after every loss. The library is loaded here: control does not wait for it. */
  start(): void {
    void import('mqtt').then(({ MqttClient }) => {
      this.library = MqttClient;
      this.attempt();
    });
  }

  get connected(): boolean {
    return this.isConnected;
  }

  state(): LinkState {
    const { host, port } = this.brokers[this.at]!;
    return {
      connected: this.isConnected,
      broker: `${host}:${port}`,
      protocol: this.protocol(),
      attempts: this.attempts,
      lastError: this.lastError,
      contested: this.contested(),
    };
  }

  /**
   * Sends one message, QoS 1. Resolves when the broker has it; rejects when it refuses it, or when the line is
   * lost or silent: MQTT.js alone would leave it pending for ever.
   */
  send(topic: string, payload: string | Uint8Array, retain: boolean): Promise<void> {
    const { client } = this;
    if (client === null || !this.isConnected) return Promise.reject(new Error('not connected'));
    return this.publish(client, topic, payload, retain);
  }

  /** Sends one message, QoS 0: in the order of the calls, and gone when the line is. */
  post(topic: string, payload: Uint8Array): void {
    if (this.client !== null && this.isConnected)
      this.client.publish(this.whole(topic), Buffer.from(payload), { qos: 0, retain: false });
  }

  /** Sends a last message, then ends the connection; resolves within two seconds. */
  async stop(last: LinkMessage | null): Promise<void> {
    this.stopped = true;
    this.cancelRetry?.();
    this.cancelWatch?.();
    const { client } = this;
    if (client !== null) await this.end(client, last);
  }

  /** Leaves this broker after a last message; the next one is asked when the connection is over, never before. */
  async leave(last: LinkMessage | null): Promise<void> {
    const { client } = this;
    if (client === null || this.stopped) return;
    this.cancelWatch?.();
    await this.end(client, last);
    if (this.client !== client || this.stopped) return;
    this.isConnected = false;
    this.client = null;
    this.at = (this.at + 1) % this.brokers.length;
    this.cancelRetry = this.clock.after(200 + this.random() * LEAVE_PAUSE_MS, () => this.attempt());
  }

  private async end(client: MqttClient, last: LinkMessage | null): Promise<void> {
    this.leaving = client;
    // With a clean session the broker sends the will also after an end that was meant. Source: MQTT 5, 3.14.2.1.
    const how = this.options.session === 'clean' && this.protocol() === 5 ? { reasonCode: 4 } : undefined;
    await Promise.race([
      (async () => {
        if (this.isConnected && last !== null)
          await this.publish(client, last.topic, last.payload, last.retain).catch(() => undefined);
        await client.endAsync(false, how).catch(() => undefined);
      })(),
      new Promise<void>((resolve) => this.clock.after(2000, resolve)),
    ]);
    client.end(true);
  }

  private protocol(): 4 | 5 {
    return (this.oldUntil.get(this.at) ?? 0) > this.clock.epochMs() ? 4 : 5;
  }

  private contested(): boolean {
    return this.takenOver || this.quickLosses.length >= CONTESTED_LOSSES;
  }

  private attempt(): void {
    const { library } = this;
    if (this.stopped || library === null) return;
    this.attempts += 1;
    let client: MqttClient;
    try {
      const broker = this.brokers[this.at]!;
      client = new library(() => {
        const stream = openStream(broker, this.options.tls, MAXIMUM_INBOUND_BYTES);
        stream.once(broker.secure ? 'secureConnect' : 'connect', () => this.handlers.onDialled?.());
        return stream;
      }, this.clientOptions());
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
    client.on('disconnect', (packet) => {
      if (packet.reasonCode === SESSION_TAKEN_OVER) this.takenOver = true;
    });
    client.on('packetreceive', () => {
      this.heardAt = this.clock.monotonicMs();
    });
    client.on('message', (topic, payload, packet) => {
      const prefix = `${this.options.prefix}/`;
      this.handlers.onMessage(
        topic.startsWith(prefix) ? topic.slice(prefix.length) : `/${topic}`,
        payload,
        packet.retain,
      );
    });
    client.once('close', () => {
      if (this.client !== client || this.leaving === client) return;
      client.end(true);
      // Code 1 (3.1.1) and 0x84 (5): the broker does not speak version 5.
      if (this.protocol() === 5 && (refused === 1 || refused === 0x84)) {
        this.oldUntil.set(this.at, this.clock.epochMs() + FALLBACK_MS);
        this.client = null;
        this.attempt();
        return;
      }
      this.lost(this.lastError ?? 'the broker closed the connection', refused);
    });
  }

  private clientOptions(): IClientOptions {
    const { options } = this;
    const protocolVersion = this.protocol();
    const clean = options.session === 'clean';
    return {
      protocolVersion,
      protocolId: 'MQTT',
      clientId: options.clientId,
      // Orders that come while the line is down wait at the broker; late ones are rejected by their own expiry.
      clean,
      keepalive: Math.max(1, Math.round(options.keepaliveMs / 1000)),
      connectTimeout: 10_000,
      reconnectPeriod: 0,
      queueQoSZero: false,
      resubscribe: false,
      ...(options.username === null ? {} : { username: options.username }),
      ...(options.password === null ? {} : { password: options.password.reveal() }),
      ...(protocolVersion === 5
        ? {
            properties: {
              maximumPacketSize: MAXIMUM_INBOUND_BYTES,
              receiveMaximum: 100,
              sessionExpiryInterval: clean ? 0 : 3600,
            },
          }
        : {}),
      will: this.will(),
    };
  }

  private will(): NonNullable<IClientOptions['will']> {
    const will = this.handlers.will();
    if (!isMessage(will))
      return {
        topic: this.whole('state'),
        payload: Buffer.from(JSON.stringify(will)),
        qos: 1,
        retain: true,
      };
    const { topic, payload, retain } = will.message;
    return { topic: this.whole(topic), payload: Buffer.from(payload), qos: 1, retain };
  }

  private whole(topic: string): string {
    return topic.startsWith('/') ? topic.slice(1) : `${this.options.prefix}/${topic}`;
  }

  private async onConnect(client: MqttClient): Promise<void> {
    this.heardAt = this.clock.monotonicMs();
    try {
      // Always: a broker that restarted has forgotten them, whatever it says of the session.
      for (const topic of this.options.subscriptions) {
        await client.subscribeAsync(this.whole(topic), { qos: 1 });
      }
    } catch (error) {
      this.lastError = `cannot subscribe: ${(error as Error).message}`;
    }
    if (this.client !== client || this.leaving === client || this.stopped) return;
    this.isConnected = true;
    this.connectedAt = this.clock.monotonicMs();
    this.lastError = null;
    this.watch(client);
    this.handlers.onConnected();
  }

  /** A line on which nothing came for two keep-alives is dead, whatever the socket says. */
  private watch(client: MqttClient): void {
    this.cancelWatch?.();
    this.cancelWatch = this.clock.after(this.options.keepaliveMs, () => {
      if (this.client !== client || this.stopped) return;
      if (this.clock.monotonicMs() - this.heardAt > 2 * this.options.keepaliveMs + 1000)
        this.giveUp(client, 'the broker is silent');
      else this.watch(client);
    });
  }

  private giveUp(client: MqttClient, reason: string): void {
    if (this.client !== client) return;
    this.lastError = reason;
    client.end(true);
    this.lost(reason);
  }

  private lost(reason: string, code?: number): void {
    const wasConnected = this.isConnected;
    this.isConnected = false;
    this.client = null;
    this.lastError = reason;
    this.cancelWatch?.();
    if (this.stopped) return;
    if (wasConnected) this.handlers.onLost(reason);
    const now = this.clock.monotonicMs();
    const heldMs = wasConnected ? now - this.connectedAt : 0;
    const steady = heldMs > CONTESTED_WITHIN_MS;
    this.failuresInARow = steady ? 0 : this.failuresInARow + 1;
    this.noteQuickLoss(now, wasConnected, steady);
    // Bad credentials (4, 5, 0x86, 0x87) do not mend themselves in a second.
    const denied = code === 4 || code === 5 || code === 0x86 || code === 0x87;
    const ceiling = denied
      ? Math.min(600_000, 60_000 * 2 ** Math.min(this.failuresInARow, 4))
      : Math.min(30_000, 1000 * 2 ** Math.min(this.failuresInARow, 5));
    // The next broker is asked at once the first time round.
    const another = this.brokers.length > 1;
    if (another) this.at = (this.at + 1) % this.brokers.length;
    const first = another && this.failuresInARow < this.brokers.length;
    const pauseMs = this.contested() ? CONTESTED_PAUSE_MS : first ? 200 : 200 + this.random() * ceiling;
    this.cancelRetry = this.clock.after(pauseMs, () => this.attempt());
  }

  private noteQuickLoss(now: MonotonicMs, wasConnected: boolean, steady: boolean): void {
    if (steady) {
      this.quickLosses = [];
      this.takenOver = false;
    } else if (wasConnected) {
      this.quickLosses = [...this.quickLosses, now].filter((at) => now - at < 5 * CONTESTED_PAUSE_MS);
    }
  }

  /** Settles in any case: MQTT.js leaves publishes pending for ever when a socket dies. */
  private publish(
    client: MqttClient,
    topic: string,
    payload: string | Uint8Array,
    retain: boolean,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const onClose = () => finish(new Error('connection lost'));
      const cancel = this.clock.after(ACK_TIMEOUT_MS, () => {
        finish(new Error('not acknowledged in time'));
        this.giveUp(client, 'the broker does not acknowledge');
      });
      const finish = (error: Error | undefined) => {
        cancel();
        client.off('close', onClose);
        if (error === undefined) resolve();
        else reject(error);
      };
      client.setMaxListeners(200);
      client.once('close', onClose);
      client.publish(
        this.whole(topic),
        typeof payload === 'string' ? payload : Buffer.from(payload),
        { qos: 1, retain },
        (error) => finish(error ?? undefined),
      );
    });
  }

  private describe(error: Error & { code?: number | string }): string {
    const { host, port } = this.brokers[this.at]!;
    const where = `${host}:${port}`;
    if (error.code === 'ECONNREFUSED') return `the broker at ${where} refuses connections`;
    if (error.code === 'ENOTFOUND') return `the broker's name in ${where} is not known`;
    if (error.code === 5 || error.code === 0x87 || error.code === 0x86 || error.code === 4) {
      return `the broker at ${where} does not accept these credentials`;
    }
    return `${where}: ${error.message}`;
  }
}

function isMessage(
  will: Readonly<Record<string, unknown>> | { readonly message: LinkMessage },
): will is { readonly message: LinkMessage } {
  return 'message' in will && typeof will.message === 'object';
}
