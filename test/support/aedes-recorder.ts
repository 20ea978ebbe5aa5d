import { createServer, type Server, type Socket } from 'node:net';
import { Aedes, type AedesPublishPacket, type Client } from 'aedes';
import { parseSparkplugTopic } from '../../protocols/sparkplug/topic.ts';
import { SparkplugChecker } from './sparkplug-checker.ts';

/** What the CONNECT packet holds, beside what aedes says of it. */
interface ConnectPacket {
  readonly protocolVersion?: number;
  readonly clean?: boolean;
  readonly properties?: { readonly sessionExpiryInterval?: number };
  readonly will?: {
    readonly topic: string;
    readonly payload: Buffer;
    readonly qos: number;
    readonly retain: boolean;
  };
}

/** An aedes on a loopback port whose hooks tell the rule checker what edge nodes really send. */
export interface RecordingBroker {
  readonly port: number;
  readonly checker: SparkplugChecker;
  /** Will topics of the CONNECTs of version 3.1.1, in order. */
  readonly connects: string[];
  /** `filter QoS` of each subscription. */
  readonly subscriptions: string[];
  /** `TYPE node[/device]` of each Sparkplug message, in order; wills included. */
  readonly passed: string[];
  /** Most connections of one edge node at the same time. */
  readonly together: () => number;
  readonly broker: Aedes;
  /** Throws everybody out. */
  drop(): void;
  publish(topic: string, payload: Buffer | string, retain?: boolean): Promise<void>;
  close(): Promise<void>;
}

/** Starts one; `port` 0 takes a free one. */
export async function startRecordingBroker(port = 0): Promise<RecordingBroker> {
  const checker = new SparkplugChecker();
  const connects: string[] = [];
  const subscriptions: string[] = [];
  const passed: string[] = [];
  const open = new Map<string, number>();
  let together = 0;
  const broker = await Aedes.createBroker({
    preConnect: (client: Client, packet: unknown, done: (error: Error | null, go: boolean) => void) => {
      const { protocolVersion = 4, clean, will, properties } = packet as ConnectPacket;
      const edge = will !== undefined && parseSparkplugTopic(will.topic) !== null;
      // A CONNECT of version 5 is refused, and counts as one that was sent all the same.
      if (edge)
        checker.connect({
          version: protocolVersion,
          clean: clean === true,
          sessionExpiry: properties?.sessionExpiryInterval ?? null,
          will,
        });
      if (edge && protocolVersion === 4) {
        connects.push(will.topic);
        const count = (open.get(will.topic) ?? 0) + 1;
        open.set(will.topic, count);
        together = Math.max(together, count);
        (client as unknown as { conn: Socket }).conn.once('close', () =>
          open.set(will.topic, open.get(will.topic)! - 1),
        );
      }
      done(null, true);
    },
    authorizeSubscribe: (_client, subscription, done) => {
      subscriptions.push(`${subscription.topic} ${subscription.qos}`);
      done(null, subscription);
    },
    authorizePublish: (_client, packet, done) => {
      see(packet);
      done(null);
    },
  });
  const see = ({
    topic,
    payload,
    qos,
    retain,
  }: AedesPublishPacket | Parameters<NonNullable<Aedes['authorizePublish']>>[1]) => {
    const parsed = parseSparkplugTopic(topic);
    if (parsed !== null)
      passed.push(`${parsed.type} ${parsed.node}${parsed.device === null ? '' : `/${parsed.device}`}`);
    checker.message({ topic, qos, retain, payload: Buffer.from(payload) });
  };
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    broker.handle(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const address = server.address();
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    checker,
    connects,
    subscriptions,
    passed,
    together: () => together,
    broker,
    drop,
    publish: (topic, payload, retain = false) =>
      new Promise((resolve, reject) =>
        broker.publish(
          { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain, dup: false },
          (error) => (error ? reject(error) : resolve()),
        ),
      ),
    close: async () => {
      drop();
      server.close();
      await new Promise<void>((resolve) => broker.close(() => resolve()));
    },
  };
}
