import {
  DATATYPE,
  encodePayload,
  type SparkplugMetric,
  type SparkplugPayload,
} from '../../../protocols/sparkplug/payload.ts';
import { type HostState, type SparkplugType, sparkplugTopic } from '../../../protocols/sparkplug/topic.ts';
import {
  type MetricType,
  type PlainValue,
  QUALITY,
  qualityProperty,
  wireValue,
} from '../../../protocols/sparkplug/value.ts';
import type { EpochMs, Milliseconds, MonotonicMs } from '../../../protocols/units.ts';
import { isNews } from '../row-changes.ts';

/**
 * One Sparkplug B edge node as a state and its inputs: births, deaths, numbers, the primary host, rebirths, report by
 * exception. Pure: what is to be sent or kept comes out as effects. Source: Eclipse Sparkplug 3.0.0, 5 and 6.4.
 */

/** A metric with its value of now. */
export interface MetricImage {
  readonly name: string;
  readonly type: MetricType;
  readonly value: PlainValue;
  /** When the value was true. */
  readonly at: EpochMs;
  /** A number of `QUALITY`. */
  readonly quality: number;
}

export interface DeviceImage {
  readonly id: string;
  /** The agent has contact with it. */
  readonly alive: boolean;
  /** The same names in the same order for as long as the agent runs. */
  readonly metrics: readonly MetricImage[];
}

/** Everything that an edge node could say now. */
export interface NodeImage {
  readonly metrics: readonly MetricImage[];
  readonly devices: readonly DeviceImage[];
}

export interface NodeRules {
  readonly group: string;
  readonly node: string;
  /** Data goes by alias, without names. */
  readonly aliases: boolean;
  /** Nothing is said before this host application is there; `null`: none is waited for. */
  readonly primaryHost: string | null;
  /** Brokers in the list: with more than one, a broker without the host is left. */
  readonly brokers: number;
  /** What was sent longer ago than this, on a line that still holds, has arrived. */
  readonly safeAfterMs: Milliseconds;
}

/** Values that could not be sent in time, of one device (`null`: of the node itself). */
export interface KeptData {
  readonly device: string | null;
  readonly metrics: readonly MetricImage[];
}

export interface EdgeNodeState {
  /** `waiting`: connected, and without host, or without anything to say yet. */
  readonly phase: 'down' | 'waiting' | 'born';
  /** Of the CONNECT in force. */
  readonly bdSeq: number;
  /** Of the next message. */
  readonly seq: number;
  readonly image: NodeImage | null;
  /** Devices that were born since the last NBIRTH, and whether they still live. */
  readonly born: ReadonlyMap<string, boolean>;
  /** First alias of each device; the node's own begin at 0. */
  readonly aliases: ReadonlyMap<string, number>;
  /** What was last said or kept, by device (empty: the node) and name. */
  readonly said: ReadonlyMap<string, ReadonlyMap<string, MetricImage>>;
  readonly host: HostState | null;
  readonly waitingSince: MonotonicMs;
  readonly bornAt: MonotonicMs;
  /** A birth sequence that was asked for, and waits only so that a storm of asks is one birth. */
  readonly birthDueAt: MonotonicMs | null;
  /** What was sent and may not have arrived. */
  readonly recent: readonly (KeptData & { readonly sentAt: MonotonicMs })[];
}

export type EdgeNodeInput =
  /** A CONNECT with this number in its will was sent. */
  | { readonly kind: 'dialled'; readonly bdSeq: number }
  /** The broker took the connection and the subscriptions. */
  | { readonly kind: 'connected' }
  | { readonly kind: 'lost' }
  | { readonly kind: 'host'; readonly state: HostState }
  | { readonly kind: 'rebirth' }
  | { readonly kind: 'image'; readonly image: NodeImage }
  /** Kept data, oldest first; of devices that are alive and born only. */
  | { readonly kind: 'history'; readonly data: readonly KeptData[] }
  | { readonly kind: 'tick' }
  | { readonly kind: 'stop' };

export type EdgeNodeEffect =
  | { readonly kind: 'publish'; readonly topic: string; readonly payload: Buffer; readonly qos: 0 | 1 }
  /** End the session and ask the next broker; `stop`: for good. */
  | { readonly kind: 'leave'; readonly stop: boolean }
  | { readonly kind: 'keep'; readonly data: readonly KeptData[] };

export interface Moment {
  readonly monotonicMs: MonotonicMs;
  readonly epochMs: EpochMs;
}

export const REBIRTH = 'Node Control/Rebirth';
/** Births follow each other no faster than this, however often they are asked for. */
export const BIRTHS_APART_MS: Milliseconds = 5000;
/** With another broker in the list, a broker on which the host says nothing is left after this. */
const HOST_PATIENCE_MS: Milliseconds = 30_000;

/** Before the first CONNECT. */
export const NEW_NODE: EdgeNodeState = {
  phase: 'down',
  bdSeq: 0,
  seq: 0,
  image: null,
  born: new Map(),
  aliases: new Map(),
  said: new Map(),
  host: null,
  waitingSince: 0,
  bornAt: Number.NEGATIVE_INFINITY,
  birthDueAt: null,
  recent: [],
};

/** The payload of an NDEATH, also as the will. */
export function deathPayload(bdSeq: number, epochMs: EpochMs): Buffer {
  return encodePayload({ timestamp: epochMs, metrics: [bdSeqMetric(bdSeq, epochMs)] });
}

/** One input; gives the state after it and what follows from it, in order. */
export function stepEdgeNode(
  state: EdgeNodeState,
  input: EdgeNodeInput,
  rules: NodeRules,
  moment: Moment,
): { readonly state: EdgeNodeState; readonly effects: readonly EdgeNodeEffect[] } {
  const step = new Step(state, rules, moment);
  step.take(input);
  return { state: step.state, effects: step.effects };
}

type Draft<T> = { -readonly [K in keyof T]: T[K] };

/** The changes of one step: collected here, never kept. */
class Step {
  readonly state: Draft<EdgeNodeState>;
  readonly effects: EdgeNodeEffect[] = [];
  private readonly rules: NodeRules;
  private readonly moment: Moment;
  private readonly recent: EdgeNodeState['recent'][number][];
  private said: Map<string, ReadonlyMap<string, MetricImage>> | null = null;

  constructor(state: EdgeNodeState, rules: NodeRules, moment: Moment) {
    const safe = moment.monotonicMs - rules.safeAfterMs;
    this.recent = state.recent.filter((data) => data.sentAt > safe);
    this.state = { ...state, recent: this.recent };
    this.rules = rules;
    this.moment = moment;
  }

  take(input: EdgeNodeInput): void {
    const { state } = this;
    switch (input.kind) {
      case 'dialled':
        state.bdSeq = input.bdSeq;
        // Another broker may know the host by an older, still true word: the first one counts again.
        state.host = null;
        break;
      case 'connected':
        state.phase = 'waiting';
        state.waitingSince = this.moment.monotonicMs;
        if (state.host?.online === false && this.rules.brokers > 1) this.leave(false);
        break;
      case 'lost':
        this.lost();
        return;
      case 'host':
        this.hear(input.state);
        break;
      case 'rebirth':
        this.wantBirth();
        break;
      case 'image':
        this.see(input.image);
        break;
      case 'history':
        if (this.mayTell()) this.tellHistory(input.data);
        break;
      case 'tick':
        this.seekHost();
        break;
      case 'stop':
        this.leave(true);
        return;
    }
    this.bearWhenDue();
  }

  /** Numbers and births of a session end with it; what may not have arrived is kept. */
  private lost(): void {
    const { state } = this;
    const data = this.recent.splice(0).map(({ device, metrics }) => ({ device, metrics }));
    if (data.length > 0) this.effects.push({ kind: 'keep', data });
    state.phase = 'down';
    state.born = new Map();
    state.birthDueAt = null;
    state.bornAt = Number.NEGATIVE_INFINITY;
  }

  private leave(stop: boolean): void {
    if (this.state.phase === 'born')
      this.publish('NDEATH', null, deathPayload(this.state.bdSeq, this.moment.epochMs), 1);
    this.effects.push({ kind: 'leave', stop });
    this.lost();
  }

  private hear(said: HostState): void {
    const { state, rules } = this;
    if (rules.primaryHost === null) return;
    const before = state.host;
    if (before !== null && said.timestamp < before.timestamp) return;
    // Its retained word may come before the subscriptions are through.
    state.host = said;
    if (state.phase === 'down') return;
    if (said.online) {
      // A host that came anew without its end being seen knows nothing of this node.
      if (state.phase === 'born' && before !== null && said.timestamp > before.timestamp) this.wantBirth();
    } else if (state.phase === 'born' || rules.brokers > 1) this.leave(false);
  }

  private seekHost(): void {
    const { state, rules, moment } = this;
    if (state.phase !== 'waiting' || rules.primaryHost === null || rules.brokers < 2) return;
    if (state.host === null && moment.monotonicMs - state.waitingSince >= HOST_PATIENCE_MS) this.leave(false);
  }

  private wantBirth(): void {
    if (this.state.phase === 'born') this.state.birthDueAt ??= this.state.bornAt + BIRTHS_APART_MS;
  }

  /** True: a birth sequence was said. */
  private bearWhenDue(): boolean {
    const { state, rules, moment } = this;
    if (state.image === null) return false;
    const first = state.phase === 'waiting' && (rules.primaryHost === null || state.host?.online === true);
    const again = state.phase === 'born' && state.birthDueAt !== null;
    if (!first && !(again && moment.monotonicMs >= state.birthDueAt!)) return false;
    this.bear(state.image);
    return true;
  }

  private mayTell(): boolean {
    return this.state.phase === 'born' && this.state.birthDueAt === null;
  }

  /** NBIRTH, then the DBIRTH of every device there is. */
  private bear(image: NodeImage): void {
    const { state, moment } = this;
    state.phase = 'born';
    state.bornAt = moment.monotonicMs;
    state.birthDueAt = null;
    state.seq = 0;
    let alias = image.metrics.length;
    const aliases = new Map<string, number>();
    for (const device of image.devices) {
      aliases.set(device.id, alias);
      alias += device.metrics.length;
    }
    state.aliases = aliases;
    state.born = new Map();
    const { epochMs } = moment;
    this.send('NBIRTH', null, [
      ...this.birthMetrics(null, image.metrics),
      bdSeqMetric(state.bdSeq, epochMs),
      { name: REBIRTH, timestamp: epochMs, datatype: DATATYPE.Boolean, booleanValue: false },
    ]);
    this.remember(null, image.metrics);
    for (const device of image.devices) if (device.alive) this.bearDevice(device);
  }

  private bearDevice(device: DeviceImage): void {
    this.send('DBIRTH', device.id, this.birthMetrics(device.id, device.metrics));
    this.remember(device.id, device.metrics);
    this.state.born = new Map(this.state.born).set(device.id, true);
  }

  private see(image: NodeImage): void {
    const { state } = this;
    state.image = image;
    if (this.mayTell()) {
      for (const { id, alive } of image.devices) {
        // All births stand together: a device that the last sequence did not have begins a new one.
        if (alive && !state.born.has(id)) this.wantBirth();
      }
    }
    if (this.bearWhenDue()) return;
    // What passes while nothing may be said is kept for later.
    if (!this.mayTell()) {
      const data = this.news(image, (device) => device.alive);
      if (data.length > 0) this.effects.push({ kind: 'keep', data });
      for (const { device, metrics } of data) this.note(device, metrics);
      return;
    }
    for (const device of image.devices) {
      const lives = state.born.get(device.id);
      if (lives === true && !device.alive) {
        this.send('DDEATH', device.id, []);
        state.born = new Map(state.born).set(device.id, false);
      } else if (lives === false && device.alive) this.bearDevice(device);
    }
    for (const { device, metrics } of this.news(
      image,
      ({ id, alive }) => alive && state.born.get(id) === true,
    )) {
      this.send(device === null ? 'NDATA' : 'DDATA', device, this.dataMetrics(device, metrics, false));
      this.remember(device, metrics);
    }
  }

  private tellHistory(data: readonly KeptData[]): void {
    for (const { device, metrics } of data)
      this.send(device === null ? 'NDATA' : 'DDATA', device, this.dataMetrics(device, metrics, true));
  }

  /** What has changed since it was last said, by device. */
  private news(image: NodeImage, counts: (device: DeviceImage) => boolean): KeptData[] {
    const all: KeptData[] = [{ device: null, metrics: image.metrics }];
    for (const device of image.devices)
      if (counts(device)) all.push({ device: device.id, metrics: device.metrics });
    return all.flatMap(({ device, metrics }) => {
      const said = this.state.said.get(device ?? '');
      const changed = metrics.filter((metric) => {
        const before = said?.get(metric.name);
        return (
          before === undefined ||
          before.quality !== metric.quality ||
          isNews(metric.name, before.value, metric.value)
        );
      });
      return changed.length === 0 ? [] : [{ device, metrics: changed }];
    });
  }

  /** Notes what was sent: for report by exception, and as not yet arrived. */
  private remember(device: string | null, metrics: readonly MetricImage[]): void {
    this.note(device, metrics);
    this.recent.push({ device, metrics, sentAt: this.moment.monotonicMs });
  }

  private note(device: string | null, metrics: readonly MetricImage[]): void {
    // One copy a step, not one a message.
    if (this.said === null) {
      this.said = new Map(this.state.said);
      this.state.said = this.said;
    }
    const own = new Map(this.said.get(device ?? ''));
    for (const metric of metrics) own.set(metric.name, metric);
    this.said.set(device ?? '', own);
  }

  private birthMetrics(device: string | null, metrics: readonly MetricImage[]): SparkplugMetric[] {
    const base = this.firstAlias(device);
    return metrics.map((metric, index) => ({
      name: metric.name,
      ...(base === null ? {} : { alias: BigInt(base + index) }),
      timestamp: metric.at,
      datatype: DATATYPE[metric.type],
      ...tail(metric),
    }));
  }

  private dataMetrics(
    device: string | null,
    metrics: readonly MetricImage[],
    historical: boolean,
  ): SparkplugMetric[] {
    const base = this.firstAlias(device);
    const { image } = this.state;
    const all =
      base === null
        ? null
        : device === null
          ? image!.metrics
          : image!.devices.find(({ id }) => id === device)!.metrics;
    return metrics.map((metric) => ({
      ...(base === null || all === null
        ? { name: metric.name }
        : { alias: BigInt(base + all.findIndex(({ name }) => name === metric.name)) }),
      timestamp: metric.at,
      ...(historical ? { isHistorical: true } : {}),
      ...tail(metric),
    }));
  }

  /** Where the aliases of a device begin; `null`: they are not used. */
  private firstAlias(device: string | null): number | null {
    if (!this.rules.aliases) return null;
    return device === null ? 0 : this.state.aliases.get(device)!;
  }

  private send(type: SparkplugType, device: string | null, metrics: readonly SparkplugMetric[]): void {
    const { state, moment } = this;
    const payload: SparkplugPayload = {
      timestamp: moment.epochMs,
      // Within a message time runs forward.
      metrics: [...metrics].sort((a, b) => (a.timestamp ?? 0) - (b.timestamp ?? 0)),
      seq: state.seq,
    };
    state.seq = (state.seq + 1) % 256;
    this.publish(type, device, encodePayload(payload), 0);
  }

  private publish(type: SparkplugType, device: string | null, payload: Buffer, qos: 0 | 1): void {
    const { group, node } = this.rules;
    this.effects.push({
      kind: 'publish',
      topic: sparkplugTopic({ group, type, node, device }),
      payload,
      qos,
    });
  }
}

function tail(metric: MetricImage): SparkplugMetric {
  return {
    // Without this property a value is good.
    ...(metric.quality === QUALITY.good ? {} : { properties: [qualityProperty(metric.quality)] }),
    ...wireValue(metric.type, metric.value),
  };
}

function bdSeqMetric(bdSeq: number, epochMs: EpochMs): SparkplugMetric {
  return { name: 'bdSeq', timestamp: epochMs, datatype: DATATYPE.Int64, longValue: BigInt(bdSeq) };
}

/** The name of a metric that a command names by name or alias; `null`: there is none. */
export function commandedName(
  state: EdgeNodeState,
  device: string | null,
  metric: Pick<SparkplugMetric, 'name' | 'alias'>,
): string | null {
  if (metric.name !== undefined) return metric.name;
  const metrics =
    device === null ? state.image?.metrics : state.image?.devices.find(({ id }) => id === device)?.metrics;
  const base = device === null ? 0 : state.aliases.get(device);
  if (metric.alias === undefined || metrics === undefined || base === undefined) return null;
  return metrics[Number(metric.alias) - base]?.name ?? null;
}
