import {
  deathPayload,
  type EdgeNodeEffect,
  type EdgeNodeInput,
  type EdgeNodeState,
  type KeptData,
  type MetricImage,
  NEW_NODE,
  type NodeImage,
  type NodeRules,
  stepEdgeNode,
} from '../../agent/telemetry/sparkplug/edge-node.ts';
import { decodePayload, type SparkplugPayload } from '../../protocols/sparkplug/payload.ts';
import { QUALITY } from '../../protocols/sparkplug/value.ts';
import { SparkplugChecker } from './sparkplug-checker.ts';

export const RULES: NodeRules = {
  group: 'mine',
  node: 'hall-a',
  aliases: false,
  primaryHost: null,
  brokers: 1,
  safeAfterMs: 30_000,
};

export const EPOCH = Date.UTC(2026, 10, 1);

/** A device's image of one figure. */
export function metric(name: string, value: number | string | boolean | null, at: number): MetricImage {
  const type = typeof value === 'string' ? 'String' : typeof value === 'boolean' ? 'Boolean' : 'Double';
  return { name, type, value, at, quality: QUALITY.good };
}

export interface Said {
  /** `NBIRTH`, `DDATA m1`, ... */
  readonly what: string;
  readonly payload: SparkplugPayload;
  readonly qos: number;
}

/** An edge node with a clock of its own; everything it says goes past the rule checker. */
export class NodeUnderTest {
  state: EdgeNodeState = NEW_NODE;
  readonly checker = new SparkplugChecker();
  readonly kept: KeptData[] = [];
  readonly left: boolean[] = [];
  said: Said[] = [];
  now = 0;
  private bdSeq = -1;
  private readonly rules: NodeRules;

  constructor(rules: Partial<NodeRules> = {}) {
    this.rules = { ...RULES, ...rules };
  }

  get epochMs(): number {
    return EPOCH + this.now;
  }

  do(input: EdgeNodeInput): readonly EdgeNodeEffect[] {
    const { state, effects } = stepEdgeNode(this.state, input, this.rules, {
      monotonicMs: this.now,
      epochMs: this.epochMs,
    });
    this.state = state;
    for (const effect of effects) {
      if (effect.kind === 'keep') this.kept.push(...effect.data);
      if (effect.kind === 'leave') this.left.push(effect.stop);
      if (effect.kind !== 'publish') continue;
      this.checker.message({ ...effect, retain: false });
      const payload = decodePayload(effect.payload);
      if (!payload.ok) throw new Error(payload.error.message);
      const [, , type, , device] = effect.topic.split('/');
      this.said.push({
        what: device === undefined ? type! : `${type} ${device}`,
        payload: payload.value,
        qos: effect.qos,
      });
    }
    return effects;
  }

  /** A CONNECT that the broker takes. */
  connect(): void {
    this.dial();
    this.do({ kind: 'connected' });
  }

  dial(): void {
    this.bdSeq = (this.bdSeq + 1) % 256;
    this.checker.connect({
      version: 5,
      clean: true,
      sessionExpiry: 0,
      will: {
        topic: `spBv1.0/${this.rules.group}/NDEATH/${this.rules.node}`,
        qos: 1,
        retain: false,
        payload: deathPayload(this.bdSeq, this.epochMs),
      },
    });
    this.do({ kind: 'dialled', bdSeq: this.bdSeq });
  }

  /** The line is lost: the broker sends the will of a node that was there. */
  lose(): void {
    const was = this.state.phase;
    this.do({ kind: 'lost' });
    if (was !== 'down')
      this.checker.message({
        topic: `spBv1.0/${this.rules.group}/NDEATH/${this.rules.node}`,
        qos: 1,
        retain: false,
        payload: deathPayload(this.bdSeq, this.epochMs),
      });
  }

  /** The site as of now: watts by device; `null` for one that does not answer. */
  see(watts: Readonly<Record<string, number | null>>, total = 0): void {
    this.do({ kind: 'image', image: imageOf(watts, total, this.epochMs) });
  }

  /** What was said since the last look. */
  take(): string[] {
    const said = this.said.map(({ what }) => what);
    this.said = [];
    return said;
  }
}

export function imageOf(
  watts: Readonly<Record<string, number | null>>,
  total: number,
  at: number,
): NodeImage {
  return {
    metrics: [metric('powerWatts', total, at)],
    devices: Object.entries(watts).map(([id, value]) => ({
      id,
      alive: value !== null,
      metrics: [metric('powerWatts', value, at), metric('state', value === null ? null : 'hashing', at)],
    })),
  };
}
