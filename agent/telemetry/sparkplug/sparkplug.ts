import type { LoadedConfig } from '../../../config/load.ts';
import type { OrderType, SparkplugConfig } from '../../../config/schema.ts';
import type { Clock } from '../../../protocols/clock.ts';
import type { Random } from '../../../protocols/random.ts';
import { decodePayload } from '../../../protocols/sparkplug/payload.ts';
import type { EpochMs, Milliseconds, MonotonicMs } from '../../../protocols/units.ts';
import type { BookState, OrderAnswer } from '../../orders/book.ts';
import type { Condition } from '../../site/alarms.ts';
import type { SiteModel } from '../../site/model.ts';
import type { Snapshot } from '../../site/snapshot.ts';
import type { SiteView } from '../../site/view.ts';
import { openSparkplugStore, type SparkplugStore } from '../../store/sparkplug-store.ts';
import { TokenBucket } from '../token-bucket.ts';
import { COMMAND_LIFE_MS, orderId, readCommand } from './commands.ts';
import type { NodeRules } from './edge-node.ts';
import { type NodePlan, planNodes } from './groups.ts';
import { groupImage, type OrderWord, siteImage } from './images.ts';
import { NodeLine } from './node-line.ts';

/** What the edge nodes need of the agent. */
export interface SparkplugOutlets {
  /** Gives an order in the name of an issuer, by the same rules as any other. */
  order(
    issuer: string,
    type: OrderType,
    args: Readonly<Record<string, unknown>>,
    head: { readonly id: string; readonly issued: EpochMs; readonly expires: EpochMs },
    retained: boolean,
  ): OrderAnswer;
  book(): Pick<BookState, 'leases' | 'holds'>;
  log(node: string, words: string): void;
}

/** What the page and `health` show of the edge nodes. */
export interface SparkplugHealth {
  readonly nodes: number;
  readonly born: number;
  readonly waiting: readonly string[];
  readonly keptBatches: number;
  readonly keptBytes: number;
}

/** Part of the store's maximum that history of edge nodes may use. */
const STORE_SHARE = 0.1;
/** What has not answered by then is born when it does. */
const READ_WITHIN_MS: Milliseconds = 15_000;
/** Largest command that is looked at. */
const MAXIMUM_COMMAND_BYTES = 16_384;
/** With a keep-alive of this times, a line that is dead is known to be. Source: MQTT 5, 3.1.2.10. */
const DEAD_AFTER_KEEPALIVES = 1.5;

interface Node {
  readonly line: NodeLine;
  /** `null`: the node of the site itself. */
  readonly plan: NodePlan | null;
  lastMs: MonotonicMs;
}

/** The edge nodes of a site. */
export class Sparkplug {
  private readonly config: SparkplugConfig;
  private readonly outlets: SparkplugOutlets;
  private readonly store: SparkplugStore;
  private readonly nodes: readonly Node[];
  private readonly bucket = new TokenBucket();
  private hasRead = false;
  private seenAt: MonotonicMs | null = null;
  /** The last order of each device, and whose device an order is. */
  private readonly words = new Map<string, OrderWord>();
  private readonly deviceOf = new Map<string, string>();

  constructor(
    loaded: LoadedConfig,
    config: SparkplugConfig,
    model: SiteModel,
    outlets: SparkplugOutlets,
    clock: Clock,
    random: Random,
  ) {
    this.config = config;
    this.outlets = outlets;
    const { store, site, mqtt } = loaded.config;
    this.store = openSparkplugStore({
      folder: store.path,
      maximumBytes: store.maximum * STORE_SHARE,
      now: () => clock.epochMs(),
    });
    const own = config.url !== undefined;
    const access = own ? config : (mqtt ?? config);
    const urls = [access.url, access.secondUrl].filter((url) => url !== undefined);
    const group = config.group ?? site.id;
    const open = (node: string, plan: NodePlan | null): Node => {
      const rules: NodeRules = {
        group,
        node,
        aliases: config.aliases,
        primaryHost: config.primaryHost ?? null,
        brokers: urls.length,
        safeAfterMs: config.keepalive * DEAD_AFTER_KEEPALIVES,
      };
      const line = new NodeLine(
        rules,
        {
          urls,
          clientId: `switchyard-${group}-${node}`,
          username: access.username ?? null,
          password: loaded.secrets.get(own ? 'sparkplug.password' : 'mqtt.password') ?? null,
          keepaliveMs: config.keepalive,
          tls: { ca: access.ca ?? null, cert: access.cert ?? null, key: access.key ?? null },
          writable: config.issuer !== undefined,
        },
        this.store,
        {
          onCommand: (device, payload, retained) => this.command(line, device, payload, retained),
          onChange: (state, phase) =>
            outlets.log(
              node,
              `${phase} at ${state.broker}${state.lastError === null ? '' : `, ${state.lastError}`}`,
            ),
        },
        clock,
        random,
      );
      return { line, plan, lastMs: Number.NEGATIVE_INFINITY };
    };
    this.nodes = [
      open(config.node, null),
      ...planNodes(model.devices, config).map((plan) => open(plan.node, plan)),
    ];
  }

  start(): void {
    for (const { line } of this.nodes) line.start();
  }

  /** Once a control cycle. */
  cycle(view: SiteView, snapshot: Snapshot): void {
    const now = snapshot.monotonicMs;
    this.bucket.refill(now, this.config.replay);
    const book = this.outlets.book();
    const holds = new Set(book.holds.map(({ target }) => target));
    const states = new Map(snapshot.devices.map((device) => [device.id, device]));
    for (const [index, node] of this.nodes.entries()) {
      const { line, plan } = node;
      const interval = plan === null ? this.config.siteInterval : this.config.rowInterval;
      // Groups take turns: never all rows of a large site in one cycle.
      if (node.lastMs === Number.NEGATIVE_INFINITY)
        node.lastMs = now - interval + Math.floor((index / this.nodes.length) * interval);
      if (this.isRead(snapshot) && now - node.lastMs >= interval - 50) {
        node.lastMs = now;
        if (plan === null) line.see(siteImage(view, snapshot, book, this.words));
        else
          line.see(
            groupImage(
              plan.devices.flatMap((id) => states.get(id) ?? []),
              snapshot.epochMs,
              ({ id, inventory }) => holds.has(id) || inventory === 'held',
              this.words,
            ),
          );
      }
      line.tick(this.bucket);
    }
  }

  /** Births tell what there is: they wait until everything was asked once, for a while. */
  private isRead(snapshot: Snapshot): boolean {
    if (this.hasRead) return true;
    this.seenAt ??= snapshot.monotonicMs;
    const asked = [...snapshot.devices, ...snapshot.meters].every(
      ({ reading, failure }) => reading !== null || failure !== null,
    );
    this.hasRead = asked || snapshot.monotonicMs - this.seenAt >= READ_WITHIN_MS;
    return this.hasRead;
  }

  /** An answer to any order: what became of one that came as a command is a metric of its device. */
  answer(answer: OrderAnswer): void {
    const device = this.deviceOf.get(answer.id);
    if (device === undefined || this.words.get(device)?.id !== answer.id) return;
    this.words.set(device, { id: answer.id, status: answer.status, reason: answer.reason ?? null });
  }

  health(): SparkplugHealth {
    const { batches, bytes } = this.store.counts();
    return {
      nodes: this.nodes.length,
      born: this.nodes.filter(({ line }) => line.state.phase === 'born').length,
      waiting: this.nodes
        .filter(({ line }) => line.state.phase !== 'born')
        .slice(0, 20)
        .map(({ line }) => line.rules.node),
      keptBatches: batches,
      keptBytes: bytes,
    };
  }

  conditions(): readonly Condition[] {
    const contested = this.nodes.filter(({ line }) => line.linkState().contested);
    return [
      ...this.store.conditions(),
      ...(contested.length === 0
        ? []
        : [
            {
              code: 'edge-node-used-twice',
              severity: 'major',
              target: 'site',
              message: `The broker keeps throwing out ${contested.length} edge nodes, first ${contested[0]!.line.rules.node}: another client uses their ids.`,
              nextStep: 'Stop the other one, or give this site a `sparkplug.group` of its own.',
              count: contested.length,
            } as const,
          ]),
    ];
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(({ line }) => line.stop()));
    this.store.close();
  }

  private command(line: NodeLine, device: string | null, payload: Uint8Array, retained: boolean): void {
    const { issuer = null, within } = this.config;
    const { node } = line.rules;
    const place = `${node}${device === null ? '' : `/${device}`}`;
    if (payload.length > MAXIMUM_COMMAND_BYTES) {
      this.outlets.log(node, `a command for ${place} is oversized: ${payload.length} bytes`);
      return;
    }
    const decoded = decodePayload(payload);
    if (!decoded.ok) {
      this.outlets.log(node, `a command for ${place} is malformed: ${decoded.error.message}`);
      return;
    }
    const command = readCommand(line.state, device, decoded.value, { issuer, withinMs: within });
    if (command.rebirth && !retained) line.rebirth();
    const { refusal, writtenAt, orders } = command;
    const reason = refusal ?? (orders.length > 0 && writtenAt === null ? 'malformed: no timestamp' : null);
    if (reason !== null) {
      this.outlets.log(node, `a command for ${place} is refused: ${reason}`);
      this.words.set(device ?? '', { id: '', status: 'rejected', reason });
      return;
    }
    if (issuer === null || writtenAt === null) return;
    for (const order of orders) {
      const id = orderId(issuer, { node, device }, writtenAt, order);
      this.deviceOf.set(id, device ?? '');
      this.words.set(device ?? '', { id, status: 'received', reason: null });
      const head = { id, issued: writtenAt, expires: writtenAt + COMMAND_LIFE_MS };
      this.answer(this.outlets.order(issuer, order.type, order.args, head, retained));
    }
    this.forgetOldest();
  }

  /** As many orders are followed as there are devices, at least a hundred. */
  private forgetOldest(): void {
    const most = Math.max(100, this.words.size);
    for (const id of this.deviceOf.keys()) {
      if (this.deviceOf.size <= most) break;
      this.deviceOf.delete(id);
    }
  }
}

/** The edge nodes of a configuration; `null` where it wants none. */
export function openSparkplug(
  loaded: LoadedConfig,
  model: SiteModel,
  outlets: SparkplugOutlets,
  clock: Clock,
  random: Random,
): Sparkplug | null {
  const { sparkplug } = loaded.config;
  return sparkplug === undefined ? null : new Sparkplug(loaded, sparkplug, model, outlets, clock, random);
}
