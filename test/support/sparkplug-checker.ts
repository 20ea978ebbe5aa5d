import {
  DATATYPE,
  decodePayload,
  type SparkplugMetric,
  type SparkplugPayload,
} from '../../protocols/sparkplug/payload.ts';
import { parseHostState, parseSparkplugTopic, type SparkplugTopic } from '../../protocols/sparkplug/topic.ts';

/**
 * Judges what an edge node does by the requirements of Sparkplug 3.0.0: messages as a plain subscriber sees them, and
 * connections as the broker sees them. Knows nothing of the product.
 */

export interface SeenMessage {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly payload: Uint8Array;
}

/** A CONNECT as the broker got it. */
export interface SeenConnect {
  readonly version: number;
  readonly clean: boolean;
  readonly sessionExpiry: number | null;
  readonly will: SeenMessage | null;
}

export interface Finding {
  readonly id: string;
  /** A `warning` breaks a SHOULD, or one reading of a rule. */
  readonly level: 'error' | 'warning';
  readonly at: number;
  readonly message: string;
}

interface Born {
  readonly types: Map<string, number>;
  alive: boolean;
}

interface Node {
  online: boolean;
  bdSeq: bigint | null;
  nextSeq: number;
  /** Data was sent since the last NBIRTH. */
  dataSent: boolean;
  own: Map<string, number>;
  readonly aliases: Map<bigint, { device: string; name: string }>;
  readonly devices: Map<string, Born>;
}

const LEAST_TIME = Date.UTC(2000, 0, 1);
const MOST_TIME = Date.UTC(2100, 0, 1);
const REBIRTH = 'Node Control/Rebirth';
/** DataSet, Template, PropertySets: the edge nodes judged here have none. */
const UNUSED_TYPES = new Set<number>([
  0,
  DATATYPE.DataSet,
  DATATYPE.Template,
  DATATYPE.PropertySet,
  DATATYPE.PropertySetList,
]);

/** Judges one capture, message by message; commands and STATE are passed over. */
export class SparkplugChecker {
  readonly findings: Finding[] = [];
  /** How many messages of each type were judged. */
  readonly counts: Record<string, number> = {};
  private readonly nodes = new Map<string, Node>();
  private readonly wills = new Map<string, bigint>();
  private at = -1;

  /** A CONNECT of an edge node; the wills follow each other. */
  connect(connect: SeenConnect): void {
    const { will } = connect;
    this.must(will !== null, 'tck-id-message-flow-edge-node-birth-publish-will-message', 'no will');
    if (connect.version === 5)
      this.must(
        connect.clean && (connect.sessionExpiry ?? 0) === 0,
        'tck-id-principles-persistence-clean-session-50',
        'a session that lasts',
      );
    else this.must(connect.clean, 'tck-id-principles-persistence-clean-session-311', 'a session that lasts');
    if (will === null) return;
    const topic = parseSparkplugTopic(will.topic);
    this.must(
      topic?.type === 'NDEATH',
      'tck-id-message-flow-edge-node-birth-publish-will-message-topic',
      will.topic,
    );
    this.must(
      will.qos === 1,
      'tck-id-message-flow-edge-node-birth-publish-will-message-qos',
      `QoS ${will.qos}`,
    );
    this.must(
      !will.retain,
      'tck-id-message-flow-edge-node-birth-publish-will-message-will-retained',
      'a retained will',
    );
    const payload = decodePayload(will.payload);
    const bdSeq = payload.ok ? bdSeqOf(payload.value) : null;
    this.must(
      bdSeq !== null,
      'tck-id-message-flow-edge-node-birth-publish-will-message-payload',
      'a will that is no NDEATH',
    );
    if (topic === null || bdSeq === null) return;
    const key = `${topic.group}/${topic.node}`;
    const before = this.wills.get(key);
    const due = before === undefined ? bdSeq : (before + 1n) % 256n;
    this.must(
      bdSeq === due && bdSeq < 256n,
      'tck-id-message-flow-edge-node-birth-publish-will-message-payload-bdSeq',
      `bdSeq ${bdSeq} after ${before}`,
    );
    this.wills.set(key, bdSeq);
  }

  /** Whoever watches lost the broker: what passes meanwhile is not seen. */
  lost(): void {
    for (const node of this.nodes.values()) node.online = false;
  }

  message(message: SeenMessage): void {
    this.at += 1;
    if (message.topic.startsWith('spBv1.0/STATE/')) {
      if (parseHostState(message.payload) === null)
        this.warn('tck-id-host-topic-phid-birth-payload', 'STATE form');
      return;
    }
    const topic = parseSparkplugTopic(message.topic);
    if (topic === null) {
      this.must(
        message.topic.startsWith('spBv1.0/'),
        'tck-id-topic-structure-namespace-a',
        `namespace of ${message.topic}`,
      );
      this.must(
        !message.topic.startsWith('spBv1.0/'),
        'tck-id-topic-structure-namespace-device-id-associated-message-types',
        message.topic,
      );
      return;
    }
    if (topic.type === 'NCMD' || topic.type === 'DCMD') return;
    this.counts[topic.type] = (this.counts[topic.type] ?? 0) + 1;
    const decoded = decodePayload(message.payload);
    if (!decoded.ok) {
      this.error(`tck-id-payloads-${topic.type.toLowerCase()}-timestamp`, decoded.error.message);
      return;
    }
    this.transport(topic, message);
    this.judge(topic, decoded.value);
  }

  private transport({ type }: SparkplugTopic, { qos, retain }: SeenMessage): void {
    const low = type.toLowerCase();
    this.must(
      !retain,
      type === 'NDEATH' ? 'tck-id-payloads-ndeath-will-message-retain' : `tck-id-topics-${low}-mqtt`,
      'retained',
    );
    // Of an NDEATH that is not the will, only one reading of the rule wants QoS 1.
    if (type === 'NDEATH') {
      if (qos !== 1) this.warn('tck-id-payloads-ndeath-will-message-qos', `QoS ${qos}`);
    } else this.must(qos === 0, `tck-id-topics-${low}-mqtt`, `QoS ${qos}`);
  }

  private judge(topic: SparkplugTopic, payload: SparkplugPayload): void {
    const { type, device } = topic;
    const key = `${topic.group}/${topic.node}`;
    this.timestamps(type, payload);
    if (type === 'NDEATH') {
      this.death(key, payload);
      return;
    }
    if (type === 'NBIRTH') this.birth(key, payload);
    const node = this.nodes.get(key);
    const low = type.toLowerCase();
    if (node === undefined || !node.online) {
      this.error(
        type === 'DBIRTH'
          ? 'tck-id-message-flow-device-birth-publish-nbirth-wait'
          : type === 'NDATA' || type === 'DDATA'
            ? `tck-id-payloads-${low}-order`
            : 'tck-id-principles-birth-certificates-order',
        `${type} before NBIRTH`,
      );
      return;
    }
    this.sequence(low, node, payload);
    if (type === 'DBIRTH') this.deviceBirth(node, device!, payload);
    else if (type === 'DDEATH') {
      const born = node.devices.get(device!);
      this.must(born?.alive === true, 'tck-id-operational-behavior-device-ddeath', `${device} was not alive`);
      if (born !== undefined) born.alive = false;
    } else if (type === 'NDATA' || type === 'DDATA') {
      node.dataSent = true;
      this.data(node, low, device, payload);
    }
    this.order(low, payload);
  }

  private timestamps(type: string, payload: SparkplugPayload): void {
    if (type !== 'NDEATH')
      this.must(
        payload.timestamp !== undefined,
        `tck-id-payloads-${type.toLowerCase()}-timestamp`,
        'no time',
      );
    if (payload.timestamp !== undefined)
      this.must(plausible(payload.timestamp), 'tck-id-payloads-timestamp-in-UTC', String(payload.timestamp));
    for (const metric of payload.metrics) {
      this.must(
        metric.timestamp !== undefined || type === 'NDEATH',
        'tck-id-payloads-name-birth-data-requirement',
        `${label(metric)} has no time`,
      );
      if (metric.timestamp !== undefined)
        this.must(plausible(metric.timestamp), 'tck-id-payloads-metric-timestamp-in-UTC', label(metric));
      for (const { key, type: property, intValue } of metric.properties ?? [])
        if (key === 'Quality') {
          this.must(property === 3, 'tck-id-payloads-propertyset-quality-value-type', String(property));
          this.must(
            intValue === 0 || intValue === 192 || intValue === 500,
            'tck-id-payloads-propertyset-quality-value-value',
            String(intValue),
          );
        }
    }
  }

  private death(key: string, payload: SparkplugPayload): void {
    this.must(payload.seq === undefined, 'tck-id-payloads-ndeath-seq', 'NDEATH with seq');
    this.must(
      payload.metrics.length === 1,
      'tck-id-topics-ndeath-payload',
      `${payload.metrics.length} metrics`,
    );
    const bdSeq = bdSeqOf(payload);
    const node = this.nodes.get(key);
    // A session that ended before its birth has a will too: no NBIRTH is paired with it.
    const paired = node?.online === true && node.bdSeq !== null ? node.bdSeq : null;
    this.must(
      bdSeq !== null && (paired === null || bdSeq === paired),
      'tck-id-payloads-ndeath-bdseq',
      `bdSeq ${bdSeq}, born with ${node?.bdSeq}`,
    );
    if (node !== undefined) {
      node.online = false;
      for (const born of node.devices.values()) born.alive = false;
    }
  }

  private birth(key: string, payload: SparkplugPayload): void {
    const bdSeq = bdSeqOf(payload);
    const before = this.nodes.get(key);
    this.must(bdSeq !== null, 'tck-id-payloads-nbirth-bdseq', 'NBIRTH without bdSeq');
    // While it is online, a second birth is a rebirth: the CONNECT is the same.
    if (before?.online === true)
      this.must(
        bdSeq === before.bdSeq,
        'tck-id-operational-behavior-data-commands-rebirth-action-3',
        `rebirth with bdSeq ${bdSeq}, before ${before.bdSeq}`,
      );
    const will = this.wills.get(key);
    if (will !== undefined)
      this.must(bdSeq === will, 'tck-id-payloads-nbirth-bdseq-repeat', `bdSeq ${bdSeq}, will ${will}`);
    const rebirth = payload.metrics.find((metric) => metric.name === REBIRTH);
    this.must(rebirth !== undefined, 'tck-id-payloads-nbirth-rebirth-req', 'no rebirth metric');
    if (rebirth !== undefined) {
      const id = 'tck-id-operational-behavior-data-commands-rebirth';
      this.must(rebirth.datatype === DATATYPE.Boolean, `${id}-datatype`, String(rebirth.datatype));
      this.must(rebirth.booleanValue === false, `${id}-value`, String(rebirth.booleanValue));
      this.must(rebirth.alias === undefined, `${id}-name-aliases`, 'an alias');
    }
    this.must(payload.seq === 0, 'tck-id-topics-nbirth-seq-num', `seq ${payload.seq}`);
    const node: Node = {
      online: true,
      bdSeq,
      nextSeq: payload.seq ?? 0,
      dataSent: false,
      own: new Map(),
      aliases: new Map(),
      devices: new Map(),
    };
    this.nodes.set(key, node);
    node.own = this.birthMetrics(node, 'nbirth', '', payload);
  }

  private deviceBirth(node: Node, device: string, payload: SparkplugPayload): void {
    const before = node.devices.get(device);
    // A device that was born with the others may come back; one that was not belongs before the first data.
    this.must(
      before !== undefined || !node.dataSent,
      'tck-id-payloads-dbirth-order',
      `DBIRTH of ${device} after data`,
    );
    for (const [alias, owner] of node.aliases) if (owner.device === device) node.aliases.delete(alias);
    node.devices.set(device, { types: this.birthMetrics(node, 'dbirth', device, payload), alive: true });
  }

  private birthMetrics(
    node: Node,
    low: string,
    device: string,
    payload: SparkplugPayload,
  ): Map<string, number> {
    const types = new Map<string, number>();
    const folded = new Map<string, string>();
    for (const metric of payload.metrics) {
      this.must(
        metric.name !== undefined,
        'tck-id-payloads-alias-birth-requirement',
        'a metric without a name',
      );
      const name = metric.name ?? '';
      this.must(
        metric.datatype !== undefined,
        'tck-id-payloads-metric-datatype-req',
        `${name} has no datatype`,
      );
      const datatype = metric.datatype ?? 0;
      if (metric.datatype !== undefined)
        this.must(
          datatype <= 34 && !UNUSED_TYPES.has(datatype),
          'tck-id-payloads-metric-datatype-value',
          `${name}: ${datatype}`,
        );
      this.must(
        hasValue(metric, datatype),
        `tck-id-topics-${low}-metrics`,
        `${name} has no value of its type`,
      );
      this.must(!types.has(name), `tck-id-topics-${low}-metrics`, `${name} twice`);
      types.set(name, datatype);
      const same = folded.get(name.toLowerCase());
      if (same !== undefined && same !== name)
        this.warn('tck-id-case-sensitivity-metric-names', `${same}, ${name}`);
      folded.set(name.toLowerCase(), name);
      if (metric.alias === undefined) continue;
      const owner = node.aliases.get(metric.alias);
      this.must(
        owner === undefined,
        'tck-id-payloads-alias-uniqueness',
        `alias ${metric.alias} of ${name} is that of ${owner?.device} ${owner?.name}`,
      );
      node.aliases.set(metric.alias, { device, name });
    }
    return types;
  }

  private sequence(low: string, node: Node, payload: SparkplugPayload): void {
    const { seq } = payload;
    this.must(seq !== undefined, 'tck-id-payloads-sequence-num-always-included', `${low} without seq`);
    if (seq === undefined) {
      node.nextSeq = (node.nextSeq + 1) % 256;
      return;
    }
    this.must(
      seq === node.nextSeq && seq < 256,
      'tck-id-payloads-sequence-num-incrementing',
      `${low} with seq ${seq}, due ${node.nextSeq}`,
    );
    node.nextSeq = (seq + 1) % 256;
  }

  private data(node: Node, low: string, device: string | null, payload: SparkplugPayload): void {
    const born = device === null ? null : node.devices.get(device);
    if (device !== null && born?.alive !== true) {
      this.error('tck-id-payloads-ddata-order', `${device} is not alive`);
      return;
    }
    const types = born?.types ?? node.own;
    const side = low === 'ndata' ? 'nbirth' : 'dbirth';
    for (const metric of payload.metrics) {
      if (metric.datatype !== undefined)
        this.warn('tck-id-payloads-metric-datatype-not-req', `${label(metric)} repeats its datatype`);
      const owner = metric.alias === undefined ? null : (node.aliases.get(metric.alias) ?? null);
      const name = metric.name ?? (owner?.device === (device ?? '') ? owner?.name : undefined);
      const id = `tck-id-operational-behavior-data-publish-${side}`;
      if (name === undefined || !types.has(name)) {
        this.error(
          metric.name === undefined && metric.alias === undefined ? 'tck-id-payloads-name-requirement' : id,
          `${label(metric)} was not born`,
        );
        continue;
      }
      const aliased = [...node.aliases.values()].some(
        (one) => one.device === (device ?? '') && one.name === name,
      );
      this.must(
        !aliased || metric.name === undefined,
        'tck-id-payloads-alias-data-cmd-requirement',
        `${name} by its name, although it has an alias`,
      );
      this.must(hasValue(metric, types.get(name)!), `${id}-values`, `${name} has no value of its type`);
    }
  }

  /** Within a message, what is not historical stays in the order of time. */
  private order(low: string, payload: SparkplugPayload): void {
    const side = low === 'nbirth' || low === 'ndata' ? 'nbirth' : 'dbirth';
    let last = 0;
    for (const metric of payload.metrics) {
      if (metric.isHistorical === true) continue;
      this.must(
        (metric.timestamp ?? last) >= last,
        `tck-id-operational-behavior-data-publish-${side}-order`,
        `${label(metric)} is older than the one before it`,
      );
      last = metric.timestamp ?? last;
    }
  }

  private must(holds: boolean, id: string, message: string): void {
    if (!holds) this.error(id, message);
  }

  private error(id: string, message: string): void {
    this.findings.push({ id, level: 'error', at: this.at, message });
  }

  private warn(id: string, message: string): void {
    this.findings.push({ id, level: 'warning', at: this.at, message });
  }
}

function plausible(time: number): boolean {
  return time > LEAST_TIME && time < MOST_TIME;
}

function label(metric: SparkplugMetric): string {
  return metric.name ?? `alias ${metric.alias}`;
}

function bdSeqOf(payload: SparkplugPayload): bigint | null {
  const metric = payload.metrics.find(({ name }) => name === 'bdSeq');
  return metric?.datatype === DATATYPE.Int64 ? (metric.longValue ?? null) : null;
}

/** `isNull` without a value, or a value in the field of its type. */
function hasValue(metric: SparkplugMetric, datatype: number): boolean {
  const { intValue, longValue, floatValue, doubleValue, booleanValue, stringValue, bytesValue } = metric;
  const given = [intValue, longValue, floatValue, doubleValue, booleanValue, stringValue, bytesValue].filter(
    (value) => value !== undefined,
  ).length;
  if (metric.isNull === true) return given === 0;
  if (given !== 1) return false;
  if (datatype === 9) return floatValue !== undefined;
  if (datatype === 10) return doubleValue !== undefined;
  if (datatype === 11) return booleanValue !== undefined;
  if (datatype === 12 || datatype === 14 || datatype === 15) return stringValue !== undefined;
  if (datatype === 4 || datatype === 8 || datatype === 13) return longValue !== undefined;
  if (datatype >= 1 && datatype <= 7)
    return intValue !== undefined || (datatype === 7 && longValue !== undefined);
  return bytesValue !== undefined || datatype === 0;
}
