import type { Clock } from '../../../protocols/clock.ts';
import type { Random } from '../../../protocols/random.ts';
import { parseHostState, sparkplugTopic, stateTopic } from '../../../protocols/sparkplug/topic.ts';
import type { Milliseconds } from '../../../protocols/units.ts';
import type { SparkplugStore } from '../../store/sparkplug-store.ts';
import { type LinkState, MqttLink } from '../mqtt-link.ts';
import type { TlsFiles } from '../mqtt-stream.ts';
import type { TokenBucket } from '../token-bucket.ts';
import {
  deathPayload,
  type EdgeNodeEffect,
  type EdgeNodeInput,
  type EdgeNodeState,
  NEW_NODE,
  type NodeImage,
  type NodeRules,
  stepEdgeNode,
} from './edge-node.ts';
import { HistoryLane, keptText } from './history.ts';

/** How edge nodes reach their brokers. */
export interface LineOptions {
  readonly urls: readonly string[];
  /** Of this edge node: two with the same throw each other out. */
  readonly clientId: string;
  readonly username: string | null;
  readonly password: { reveal(): string } | null;
  readonly tls: TlsFiles;
  readonly keepaliveMs: Milliseconds;
  /** Device commands are taken too. */
  readonly writable: boolean;
}

export interface LineHandlers {
  /** An NCMD (`device` null) or DCMD of this node. */
  onCommand(device: string | null, payload: Uint8Array, retained: boolean): void;
  onChange(state: LinkState, phase: EdgeNodeState['phase']): void;
}

/** One edge node on its own connection: carries out what the pure state says. */
export class NodeLine {
  readonly rules: NodeRules;
  private readonly link: MqttLink;
  private readonly store: SparkplugStore;
  private readonly clock: Clock;
  private readonly lane: HistoryLane;
  private readonly handlers: LineHandlers;
  private current: EdgeNodeState = NEW_NODE;
  /** bdSeq in the will of the attempt under way. */
  private tried = 0;
  /** The death that a leave sends before the line is let go. */
  private death: { topic: string; payload: Buffer } | null = null;
  private ended: Promise<void> = Promise.resolve();

  constructor(
    rules: NodeRules,
    options: LineOptions,
    store: SparkplugStore,
    handlers: LineHandlers,
    clock: Clock,
    random: Random,
  ) {
    this.rules = rules;
    this.store = store;
    this.handlers = handlers;
    this.clock = clock;
    this.lane = new HistoryLane(store, rules.node, rules.safeAfterMs);
    const { group, node, primaryHost } = rules;
    const topic = (type: 'NCMD' | 'DCMD', device: string | null) =>
      `/${sparkplugTopic({ group, type, node, device })}`;
    const { writable, ...line } = options;
    this.link = new MqttLink(
      {
        ...line,
        prefix: '',
        session: 'clean',
        subscriptions: [
          topic('NCMD', null),
          ...(writable ? [topic('DCMD', '+')] : []),
          ...(primaryHost === null ? [] : [`/${stateTopic(primaryHost)}`]),
        ],
      },
      {
        will: () => this.will(),
        onDialled: () => {
          // Before the broker can have read it: a number is never used twice.
          store.keepNumber(node, this.tried);
          this.do({ kind: 'dialled', bdSeq: this.tried });
        },
        onConnected: () => this.do({ kind: 'connected' }),
        onLost: () => this.do({ kind: 'lost' }),
        onMessage: (topic, payload, retained) => this.receive(topic, payload, retained),
      },
      clock,
      random,
    );
  }

  get state(): EdgeNodeState {
    return this.current;
  }

  linkState(): LinkState {
    return this.link.state();
  }

  start(): void {
    this.link.start();
  }

  see(image: NodeImage): void {
    this.do({ kind: 'image', image });
  }

  rebirth(): void {
    this.do({ kind: 'rebirth' });
  }

  /** Once a cycle: what is due by time, and history as far as `bucket` lets it through. */
  tick(bucket: TokenBucket): void {
    this.do({ kind: 'tick' });
    const now = this.clock.monotonicMs();
    this.lane.settle(now, this.clock.epochMs());
    const { phase, birthDueAt, image, born } = this.current;
    if (phase !== 'born' || birthDueAt !== null || image === null || !bucket.open) return;
    const data = this.lane.next(now, image, (device) => device === null || born.get(device) === true);
    if (data.length === 0) return;
    for (const effect of this.do({ kind: 'history', data }))
      if (effect.kind === 'publish') bucket.take(effect.payload.length + effect.topic.length);
  }

  /** Says its end, then lets the line go. */
  async stop(): Promise<void> {
    this.do({ kind: 'stop' });
    await this.ended;
  }

  private will() {
    const { group, node } = this.rules;
    const last = this.store.lastNumber(node);
    this.tried = last === null ? 0 : (last + 1) % 256;
    return {
      message: {
        topic: `/${sparkplugTopic({ group, type: 'NDEATH', node, device: null })}`,
        payload: deathPayload(this.tried, this.clock.epochMs()),
        retain: false,
      },
    };
  }

  private receive(topic: string, payload: Buffer, retained: boolean): void {
    const { primaryHost } = this.rules;
    if (primaryHost !== null && topic === `/${stateTopic(primaryHost)}`) {
      const state = parseHostState(payload);
      if (state !== null) this.do({ kind: 'host', state });
      return;
    }
    const [, , , type, , device] = topic.split('/');
    if (type === 'NCMD' || type === 'DCMD') this.handlers.onCommand(device ?? null, payload, retained);
  }

  private do(input: EdgeNodeInput): readonly EdgeNodeEffect[] {
    const { state, effects } = stepEdgeNode(this.current, input, this.rules, {
      monotonicMs: this.clock.monotonicMs(),
      epochMs: this.clock.epochMs(),
    });
    const { phase, born } = this.current;
    this.current = state;
    if (state.phase !== phase) this.lane.rewind();
    else if (state.born !== born) this.lane.lookAgain();
    for (const effect of effects) this.carryOut(effect);
    if (state.phase !== phase || input.kind === 'dialled')
      this.handlers.onChange(this.link.state(), state.phase);
    return effects;
  }

  private carryOut(effect: EdgeNodeEffect): void {
    if (effect.kind === 'publish') {
      const topic = `/${effect.topic}`;
      if (effect.qos === 0) this.link.post(topic, effect.payload);
      else this.death = { topic, payload: effect.payload };
    } else if (effect.kind === 'keep') {
      const at = this.clock.epochMs();
      this.store.add([{ node: this.rules.node, at, body: keptText(effect.data) }]);
      this.lane.wake();
    } else {
      const last = this.death === null ? null : { ...this.death, retain: false };
      this.death = null;
      this.ended = effect.stop ? this.link.stop(last) : this.link.leave(last);
    }
  }
}
